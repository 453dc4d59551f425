//! The stream store: commands, blocking reads, durability policies, crashes.

mod common;

use bytes::Bytes;
use common::{deterministic, ms, run, world};
use sim_model::ledger::Category;
use sim_world::disk::DiskFault;
use sim_world::distribution::Latency;
use sim_world::kernel::Kernel;
use sim_world::profile::Profile;
use sim_world::selfhosted::CallError;
use sim_world::stream_store::{Block, Durability, EntryId, Fields, Fsync, StoreError, StreamStore};
use sim_world::world::World;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const ALWAYS: Durability = Durability::AppendOnly(Fsync::Always);
const EVERY_SECOND: Durability = Durability::AppendOnly(Fsync::EverySecond);
const NO_SYNC: Durability = Durability::AppendOnly(Fsync::No);

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect()
}

fn change(profile: &mut Profile) {
    deterministic(profile);
    profile.host.background_cores = 0.0;
    let disk = Arc::make_mut(profile.disks.get_mut("premium-ssd").expect("exists"));
    disk.write = Latency::constant(ms(2));
    disk.flush = Latency::constant(ms(1));
    let disk = profile.disks["premium-ssd"].clone();
    profile.machines.get_mut("stream-store").expect("exists").disk = Some(disk);
}

fn started(kernel: &Kernel, profile: Rc<Profile>, durability: Durability) -> (World, StreamStore) {
    let world = world(kernel, profile, 2);
    let store = StreamStore::start(&world, "store-0", durability).expect("described");
    (world, store)
}

#[test]
fn commands_do_what_they_say_and_are_counted() {
    run(change, |kernel, profile| async move {
        let (world, store) = started(&kernel, profile, Durability::None);
        let client = store.client(&world.hosts()[0]);
        let begun = kernel.now();
        let first = client.xadd("s", fields(&[("subject", "a"), ("type", "ok")])).await;
        let first = first.expect("answered");
        assert_eq!(first.timing.total(), kernel.now().since(begun));
        assert_eq!(first.timing.get(Category::Network), ms(4), "with the handshake");
        let second = client.xadd("s", fields(&[("subject", "b")])).await.expect("answered").value;
        assert!(second > first.value);
        let all = client.xread("s", EntryId::ZERO, None, Block::No).await.expect("answered").value;
        assert_eq!(all.iter().map(|entry| entry.id).collect::<Vec<_>>(), [first.value, second]);
        assert_eq!(all[0].fields, fields(&[("subject", "a"), ("type", "ok")]));
        let one = client.xread("s", EntryId::ZERO, Some(1), Block::No).await.expect("answered");
        assert_eq!(one.value, all[..1]);
        let rest = client.xread("s", first.value, None, Block::Forever).await.expect("answered");
        assert_eq!(rest.value, all[1..]);
        let gone = client.xdel("s", vec![first.value, EntryId::ZERO]).await.expect("answered");
        assert_eq!(gone.value, 1);

        assert_eq!(client.rpush("l", vec![text("x"), text("y")]).await.expect("answered").value, 2);
        let list = client.lrange("l", 0, -1).await.expect("answered").value;
        assert_eq!(list, [text("x"), text("y")]);
        assert!(client.hset("h", "a", text("1")).await.expect("answered").value);
        let added = client.hmset("h", fields(&[("a", "2"), ("b", "3")])).await.expect("answered");
        assert_eq!(added.value, 1);
        assert_eq!(client.hget("h", "a").await.expect("answered").value, Some(text("2")));
        assert!(client.hexists("h", "b").await.expect("answered").value);
        let all = client.hgetall("h").await.expect("answered").value;
        assert_eq!(all, fields(&[("a", "2"), ("b", "3")]));
        assert_eq!(client.hdel("h", vec!["a".into()]).await.expect("answered").value, 1);
        assert_eq!(client.del(vec!["l".into(), "m".into()]).await.expect("answered").value, 1);
        let replace = async |expected, value| {
            let values = (text(expected), Some(text(value)));
            client.replace("h", "b", values, vec!["s".into()]).await.expect("answered").value
        };
        assert!(!replace("4", "5").await);
        assert!(replace("3", "4").await);
        assert_eq!(client.hget("h", "b").await.expect("answered").value, Some(text("4")));
        assert_eq!(client.xinfo("s").await.expect("answered").value, EntryId::ZERO, "it is gone");
        let error = client.rpush("h", vec![text("x")]).await.expect_err("a hash");
        assert_eq!(error, StoreError::WrongType);
        let counts: Vec<(String, u64)> = world
            .meter()
            .snapshot()
            .into_iter()
            .filter(|counted| counted.service == "stream-store")
            .map(|counted| (counted.kind, counted.count))
            .collect();
        let expected = [
            ("del", 1),
            ("evalsha", 2),
            ("hdel", 1),
            ("hexists", 1),
            ("hget", 2),
            ("hgetall", 1),
            ("hmset", 1),
            ("hset", 1),
            ("lrange", 1),
            ("rpush", 2),
            ("xadd", 2),
            ("xdel", 1),
            ("xinfo", 1),
            ("xread", 3),
        ];
        assert_eq!(counts, expected.map(|(kind, count)| (kind.to_owned(), count)));
        assert_eq!(world.meter().total("disk", "write"), 0, "nothing is kept");
    });
}

#[test]
fn a_waiting_read_is_woken_by_the_entry_it_waits_for() {
    run(change, |kernel, profile| async move {
        let (world, store) = started(&kernel, profile, Durability::None);
        let reader = store.client(&world.hosts()[0]);
        let writer = store.client(&world.hosts()[1]);
        let read = async {
            let reply = reader.xread("s", EntryId::ZERO, None, Block::Forever).await;
            (kernel.now(), reply.expect("answered"))
        };
        let write = async {
            kernel.sleep(ms(100)).await;
            writer.xadd("other", fields(&[("a", "1")])).await.expect("answered");
            kernel.sleep(ms(100)).await;
            writer.xadd("s", fields(&[("a", "2")])).await.expect("answered");
            kernel.now()
        };
        let ((woken, reply), written) = futures_util::future::join(read, write).await;
        assert_eq!(reply.value[0].fields, fields(&[("a", "2")]));
        assert!(woken.since(written) < Duration::from_micros(100), "{woken} {written}");
        assert!(reply.timing.get(Category::Polling) > ms(195), "it waited for the entry");

        let begun = kernel.now();
        let block = Block::For(ms(50));
        let reply = reader.xread("none", EntryId::ZERO, None, block).await.expect("answered");
        assert!(reply.value.is_empty());
        let took = kernel.now().since(begun);
        assert!(took > ms(52) && took < ms(53), "{took:?}");
        assert_eq!(reply.timing.total(), took);
    });
}

#[test]
fn a_waiting_read_of_a_dead_client_costs_nothing() {
    run(change, |kernel, profile| async move {
        let (world, store) = started(&kernel, profile, Durability::None);
        for _ in 0..2 {
            let (reader, host) = (store.client(&world.hosts()[0]), world.hosts()[0].clone());
            host.spawn(async move {
                let _ = reader.xread("s", EntryId::ZERO, None, Block::Forever).await;
                unreachable!("its host is dead");
            });
        }
        kernel.sleep(ms(10)).await;
        world.hosts()[0].kill();
        let writer = store.client(&world.hosts()[1]);
        writer.xadd("s", fields(&[("a", "1")])).await.expect("answered");
        kernel.sleep(ms(10)).await;
        assert_eq!(world.meter().total("stream-store", "xread"), 0);
    });
}

#[test]
fn one_thread_executes_one_command_after_another() {
    let change = |profile: &mut Profile| {
        change(profile);
        let store = Arc::make_mut(profile.store.as_mut().expect("described"));
        (store.command_cpu, store.element_cpu) = (ms(1), Duration::ZERO);
        (store.kibibyte_cpu, store.client_cpu) = (Duration::ZERO, Duration::ZERO);
    };
    run(change, |kernel, profile| async move {
        let (world, store) = started(&kernel, profile, Durability::None);
        let begun = kernel.now();
        let clients: Vec<_> = (0..100).map(|_| store.client(&world.hosts()[0])).collect();
        let calls = clients.iter().map(|client| client.hset("h", "f", text("v")));
        let replies = futures_util::future::join_all(calls).await;
        let took = kernel.now().since(begun);
        assert_eq!(took, ms(4 + 100), "two cores, one thread");
        let total: Duration =
            replies.into_iter().map(|reply| reply.expect("answered").timing.total()).sum();
        assert_eq!(total, ms(100 * 104), "they came in one round, and its end answers all");
    });
}

#[test]
fn a_round_shares_its_sync() {
    run(change, |kernel, profile| async move {
        let (world, store) = started(&kernel, profile, ALWAYS);
        let clients: Vec<_> = (0..50).map(|_| store.client(&world.hosts()[0])).collect();
        for _ in 0..2 {
            let calls = clients.iter().map(|client| client.rpush("l", vec![text("v")]));
            let replies = futures_util::future::join_all(calls).await;
            for reply in replies {
                let timing = reply.expect("answered").timing;
                let storage = timing.get(Category::Storage);
                // Data, journal and flush; the file is made in the first.
                assert!(storage >= ms(5) && storage < ms(6), "{storage:?}");
            }
        }
        assert_eq!(
            store.client(&world.hosts()[0]).lrange("l", 0, -1).await.expect("answered").value.len(),
            100
        );
        let syncs = world.meter().total("disk", "fsync");
        assert!((2..=6).contains(&syncs), "{syncs} syncs for 100 changes");
    });
}

/// How a store dies.
#[derive(Clone, Copy, PartialEq)]
enum Crash {
    Processes,
    Power,
}

/// Pushes numbers one by one, crashes at `crash_at`, restarts: how many pushes were answered, when the
/// last ones were, and how many values the store has then; they must be the first ones.
fn survivors(durability: Durability, crash: Crash, crash_at: Duration) -> (Vec<Duration>, u64) {
    survivors_on(change, durability, crash, crash_at)
}

/// A device with a cache that the power takes, and an operating system that writes back all the time.
fn volatile(profile: &mut Profile) {
    change(profile);
    let disk = Arc::make_mut(profile.disks.get_mut("local-ssd").expect("exists"));
    (disk.page_bytes, disk.sector_bytes, disk.request_bytes_max) = (512, 512, 1024);
    disk.writeback_interval = ms(20);
    disk.dirty_expire = ms(5);
    let disk = profile.disks["local-ssd"].clone();
    profile.machines.get_mut("stream-store").expect("exists").disk = Some(disk);
}

fn survivors_on(
    change: fn(&mut Profile),
    durability: Durability,
    crash: Crash,
    crash_at: Duration,
) -> (Vec<Duration>, u64) {
    run(change, move |kernel, profile| async move {
        let (world, store) = started(&kernel, profile, durability);
        let answered = Rc::new(RefCell::new(Vec::new()));
        let (client, clock, noted) =
            (store.client(&world.hosts()[0]), kernel.clone(), answered.clone());
        let begun = kernel.now();
        world.hosts()[0].spawn(async move {
            for number in 0u64.. {
                let value = text(&format!("{number:08}"));
                match client.rpush("l", vec![value]).await {
                    Ok(_) => noted.borrow_mut().push(clock.now().since(begun)),
                    Err(StoreError::Call(_)) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        kernel.sleep(crash_at).await;
        match crash {
            Crash::Processes => store.machine().kill(),
            Crash::Power => store.machine().lose_power(),
        }
        kernel.sleep(Duration::from_secs(20)).await;
        store.machine().restart();
        kernel.sleep(Duration::from_secs(1)).await;
        let client = store.client(&world.hosts()[1]);
        let values = client.lrange("l", 0, -1).await.expect("it is back").value;
        for (number, value) in values.iter().enumerate() {
            assert_eq!(value, &text(&format!("{number:08}")), "nothing but a prefix survives");
        }
        let answered = answered.borrow().clone();
        (answered, values.len() as u64)
    })
}

#[test]
fn without_a_file_nothing_survives() {
    for crash in [Crash::Processes, Crash::Power] {
        let (answered, kept) = survivors(Durability::None, crash, ms(500));
        assert!(answered.len() > 50 && kept == 0, "{} answered, {kept} kept", answered.len());
    }
}

#[test]
fn what_was_answered_survives_a_crash_of_the_process() {
    for durability in [ALWAYS, EVERY_SECOND, NO_SYNC] {
        for millis in [500, 503, 1717, 2500] {
            let (answered, kept) = survivors(durability, Crash::Processes, ms(millis));
            let answered = answered.len() as u64;
            // One command can be in the file whose answer was on its way.
            assert!(
                (answered..=answered + 1).contains(&kept),
                "{durability:?}: {answered}, {kept}"
            );
        }
    }
}

#[test]
fn with_always_what_was_answered_survives_a_power_loss() {
    for millis in 500..520 {
        let (answered, kept) = survivors(ALWAYS, Crash::Power, ms(millis));
        let answered = answered.len() as u64;
        assert!(answered > 40 && (answered..=answered + 1).contains(&kept), "{answered}, {kept}");
    }
}

#[test]
fn with_every_second_a_power_loss_costs_about_a_second() {
    for millis in [2500, 2750, 3100] {
        let (answered, kept) = survivors(EVERY_SECOND, Crash::Power, ms(millis));
        // A sync is begun at most a second after a change and takes some milliseconds.
        let safe = ms(millis) - Duration::from_secs(1) - ms(20);
        let must = answered.iter().filter(|at| **at < safe).count() as u64;
        assert!(kept >= must, "{kept} kept, {must} were older than a second");
        let all = answered.len() as u64;
        assert!(must > 100 && kept < all, "{kept} of {all}: the last second is lost");
    }
}

#[test]
fn without_syncs_a_power_loss_costs_what_was_not_written_back() {
    let (answered, kept) = survivors(NO_SYNC, Crash::Power, Duration::from_secs(4));
    assert!(answered.len() > 1000 && kept == 0, "{} answered, {kept} kept", answered.len());
    // Written back when 30 s old, at a round of 5 s, and committed at the next.
    let (answered, kept) = survivors(NO_SYNC, Crash::Power, Duration::from_secs(52));
    let all = answered.len() as u64;
    assert!(kept > all / 10 && kept < all, "{kept} of {all}");
}

#[test]
fn a_volatile_device_and_write_back_leave_a_prefix() {
    let mut lost = 0;
    for millis in 500..530 {
        let (answered, kept) = survivors_on(volatile, NO_SYNC, Crash::Power, ms(millis));
        let answered = answered.len() as u64;
        assert!(kept > answered / 2 && kept <= answered + 1, "{answered}, {kept}");
        lost += u64::from(kept < answered);
        let (answered, kept) = survivors_on(volatile, ALWAYS, Crash::Power, ms(millis));
        let answered = answered.len() as u64;
        assert!((answered..=answered + 1).contains(&kept), "{answered}, {kept}");
    }
    assert!(lost > 20, "the last changes are lost as a rule: {lost} of 30");
}

#[test]
fn clients_learn_of_a_crash_and_reconnect() {
    run(change, |kernel, profile| async move {
        let (world, store) = started(&kernel, profile, ALWAYS);
        let client = store.client(&world.hosts()[0]);
        let added = client.xadd("s", fields(&[("a", "1")])).await.expect("answered").value;
        let read = client.xread("s", added, None, Block::Forever);
        let crash = async {
            kernel.sleep(ms(50)).await;
            store.machine().kill();
        };
        let (read, ()) = futures_util::future::join(read, crash).await;
        let error = read.expect_err("the connection broke");
        assert_eq!(error, StoreError::Call(CallError::Broken { service: "stream-store" }));
        assert!(error.is_ambiguous());
        let error = client.hgetall("h").await.expect_err("nobody is there");
        assert_eq!(error, StoreError::Call(CallError::Unreachable { service: "stream-store" }));
        store.machine().restart();
        kernel.sleep(ms(50)).await;
        let recovery = store.recovery().expect("it has started");
        assert_eq!((recovery.commands, recovery.cut_bytes), (1, 0));
        let later = client.xadd("s", fields(&[("a", "2")])).await.expect("reconnected").value;
        assert!(later > added, "ids go on after a restart");
        let all = client.xread("s", EntryId::ZERO, None, Block::No).await.expect("answered");
        assert_eq!(all.value.len(), 2);
    });
}

#[test]
fn a_torn_end_of_the_file_is_cut_off() {
    run(change, |kernel, profile| async move {
        let (world, store) = started(&kernel, profile, ALWAYS);
        let client = store.client(&world.hosts()[0]);
        client.hset("h", "a", text("1")).await.expect("answered");
        store.machine().kill();
        let disk = store.machine().disk().expect("has one").clone();
        let size = disk.size("appendonly.aof").expect("there");
        disk.append("appendonly.aof", text("*4\r\n$4\r\nhset\r\n$1\r\nh\r")).await.expect("room");
        store.machine().restart();
        kernel.sleep(ms(50)).await;
        let recovery = store.recovery().expect("it has started");
        assert_eq!((recovery.commands, recovery.cut_bytes), (1, 20));
        assert_eq!(disk.size("appendonly.aof"), Some(size));
        client.hset("h", "b", text("2")).await.expect("answered");
        store.machine().restart();
        kernel.sleep(ms(50)).await;
        assert_eq!(client.hgetall("h").await.expect("answered").value.len(), 2);
    });
}

#[test]
fn a_failing_disk_stops_changes_or_the_server() {
    run(change, |kernel, profile| async move {
        let (world, store) = started(&kernel, profile, ALWAYS);
        let client = store.client(&world.hosts()[0]);
        client.hset("h", "a", text("1")).await.expect("answered");
        store.machine().disk().expect("has one").inject(DiskFault::WriteErrors { count: 1 });
        let error = client.hset("h", "b", text("2")).await.expect_err("the server exits");
        assert_eq!(error, StoreError::Call(CallError::Broken { service: "stream-store" }));
    });
    run(change, |kernel, profile| async move {
        let (world, store) = started(&kernel, profile, EVERY_SECOND);
        let client = store.client(&world.hosts()[0]);
        client.hset("h", "a", text("1")).await.expect("answered");
        let disk = store.machine().disk().expect("has one");
        disk.inject(DiskFault::WriteErrors { count: 1 });
        kernel.sleep(Duration::from_millis(1500)).await;
        let error = client.hset("h", "b", text("2")).await.expect_err("refused");
        assert_eq!(error, StoreError::CannotPersist);
        assert!(!error.is_ambiguous());
        assert_eq!(client.hget("h", "a").await.expect("reads go on").value, Some(text("1")));
        kernel.sleep(Duration::from_secs(2)).await;
        client.hset("h", "b", text("2")).await.expect("a sync has succeeded");

        disk.inject(DiskFault::Full { free_bytes: 0 });
        let big = Bytes::from(vec![b'x'; 10_000]);
        client.hset("h", "c", big).await.expect("only the next change learns of it");
        let error = client.hset("h", "d", text("4")).await.expect_err("refused");
        assert_eq!(error, StoreError::CannotPersist);
        disk.inject(DiskFault::Full { free_bytes: u64::MAX });
        assert_eq!(client.hget("h", "a").await.expect("reads go on").value, Some(text("1")));
        client.hset("h", "d", text("4")).await.expect("what was held back is written");
        store.machine().restart();
        kernel.sleep(ms(100)).await;
        assert_eq!(client.hgetall("h").await.expect("answered").value.len(), 4);
    });
}
