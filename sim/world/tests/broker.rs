//! The log broker: produce, fetch, groups, flush policies, crashes.

mod common;

use bytes::Bytes;
use common::{deterministic, ms, run, world};
use sim_model::ledger::Category;
use sim_world::broker::{
    Acks, Broker, BrokerClient, BrokerError, BrokerSettings, Consumer, FetchOptions, Record,
    StartAt,
};
use sim_world::disk::DiskFault;
use sim_world::distribution::Latency;
use sim_world::kernel::Kernel;
use sim_world::profile::Profile;
use sim_world::selfhosted::CallError;
use sim_world::world::World;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const FLUSH_EACH: BrokerSettings =
    BrokerSettings { flush_messages: Some(1), segment_bytes: 1 << 30 };
const SMALL_SEGMENTS: BrokerSettings = BrokerSettings { flush_messages: None, segment_bytes: 400 };
const NO_WAIT: FetchOptions = FetchOptions { bytes_max: 1 << 20, wait_max: Duration::ZERO };

fn change(profile: &mut Profile) {
    deterministic(profile);
    profile.host.background_cores = 0.0;
    let disk = Arc::make_mut(profile.disks.get_mut("premium-ssd").expect("exists"));
    disk.write = Latency::constant(ms(2));
    disk.read = Latency::constant(ms(1));
    disk.flush = Latency::constant(ms(1));
    let disk = profile.disks["premium-ssd"].clone();
    profile.machines.get_mut("broker").expect("exists").disk = Some(disk);
}

fn record(text: &str) -> Record {
    Record::of(Bytes::copy_from_slice(text.as_bytes()))
}

/// A broker with topic `t` of two partitions, and a client on each of two hosts.
async fn started(
    kernel: &Kernel,
    profile: Rc<Profile>,
    settings: BrokerSettings,
) -> (World, Broker, BrokerClient, BrokerClient) {
    let world = world(kernel, profile, 2);
    let broker = Broker::start(&world, "broker-0", settings).expect("described");
    let clients = [0, 1].map(|host| broker.client(&world.hosts()[host]));
    // It makes its own topic first.
    kernel.sleep(ms(50)).await;
    assert!(clients[0].create_topic("t", 2).await.expect("answered").value);
    let [first, second] = clients;
    (world, broker, first, second)
}

async fn values(client: &BrokerClient, partition: u32) -> Vec<String> {
    let mut values = Vec::new();
    loop {
        let offset = values.len() as u64;
        let fetched = client.fetch("t", partition, offset, NO_WAIT).await.expect("answered").value;
        if fetched.records.is_empty() {
            assert_eq!(fetched.end, offset);
            return values;
        }
        for (of, record) in fetched.records {
            assert_eq!(of, values.len() as u64, "offsets follow each other");
            values.push(String::from_utf8(record.value.to_vec()).expect("text"));
        }
    }
}

#[test]
fn what_is_produced_is_fetched_in_order() {
    run(change, |kernel, profile| async move {
        let (world, _broker, client, _) = started(&kernel, profile, SMALL_SEGMENTS).await;
        let begun = kernel.now();
        let batch = [record("a"), Record { key: Some("k".into()), value: "b".into() }];
        let reply = client.produce("t", 1, &batch, Acks::Leader).await.expect("answered");
        assert_eq!(reply.value, Some(0));
        assert_eq!(reply.timing.total(), kernel.now().since(begun));
        assert_eq!(reply.timing.get(Category::Storage), Duration::ZERO, "the page cache");
        for number in 2..30u64 {
            let batch = [record(&format!("{number}"))];
            let reply = client.produce("t", 1, &batch, Acks::Leader).await.expect("answered");
            assert_eq!(reply.value, Some(number));
        }
        let expected: Vec<String> = ["a", "b"]
            .map(str::to_owned)
            .into_iter()
            .chain((2..30).map(|n| n.to_string()))
            .collect();
        assert_eq!(values(&client, 1).await, expected);
        assert_eq!(values(&client, 0).await, Vec::<String>::new());
        let fetched = client.fetch("t", 1, 1, NO_WAIT).await.expect("answered").value;
        assert_eq!(fetched.records[0], (1, Record { key: Some("k".into()), value: "b".into() }));
        let small = FetchOptions { bytes_max: 1, wait_max: Duration::ZERO };
        let fetched = client.fetch("t", 1, 5, small).await.expect("answered").value;
        assert_eq!((fetched.records.len(), fetched.end), (1, 30), "at least one batch");
        assert_eq!(client.offsets("t", 1).await.expect("answered").value, (0, 30));
        let error = client.fetch("t", 1, 31, NO_WAIT).await.expect_err("beyond the end");
        assert_eq!(error, BrokerError::OffsetOutOfRange { first: 0, end: 30 });
        let error = client.fetch("t", 2, 0, NO_WAIT).await.expect_err("two partitions");
        assert_eq!(error, BrokerError::UnknownPartition);
        assert!(!client.create_topic("t", 2).await.expect("answered").value);
        let error = client.create_topic("t", 3).await.expect_err("it has two");
        assert_eq!(error, BrokerError::TopicExists { partitions: 2 });
        let disk = _broker.machine().disk().expect("has one");
        let segments = disk.list().into_iter().filter(|name| name.starts_with("t-1/")).count();
        assert!(segments > 3, "{segments} segments");
        assert_eq!(world.meter().total("broker", "produce"), 29);
        assert!(world.meter().total("broker", "fetch") >= 5);
    });
}

#[test]
fn a_fetch_waits_for_records() {
    run(change, |kernel, profile| async move {
        let (_world, _broker, reader, writer) =
            started(&kernel, profile, BrokerSettings::default()).await;
        writer.offsets("t", 0).await.expect("connected");
        let options = FetchOptions { wait_max: Duration::from_secs(10), ..NO_WAIT };
        let fetch = async {
            let reply = reader.fetch("t", 0, 0, options).await.expect("answered");
            (kernel.now(), reply)
        };
        let produce = async {
            kernel.sleep(ms(200)).await;
            writer.produce("t", 1, &[record("other")], Acks::Leader).await.expect("answered");
            kernel.sleep(ms(200)).await;
            writer.produce("t", 0, &[record("mine")], Acks::Leader).await.expect("answered");
            kernel.now()
        };
        let ((woken, reply), produced) = futures_util::future::join(fetch, produce).await;
        assert_eq!(reply.value.records, [(0, record("mine"))]);
        assert!(woken.since(produced) < Duration::from_micros(200), "{woken} {produced}");
        assert!(reply.timing.get(Category::Polling) > ms(390));

        let begun = kernel.now();
        let options = FetchOptions { wait_max: ms(70), ..NO_WAIT };
        let reply = reader.fetch("t", 0, 1, options).await.expect("answered");
        assert!(reply.value.records.is_empty());
        assert_eq!(reply.timing.total(), kernel.now().since(begun));
        assert_eq!(kernel.now().since(begun).as_millis(), 72);
    });
}

#[test]
fn partitions_share_the_cores_and_one_partition_is_in_order() {
    let change = |profile: &mut Profile| {
        change(profile);
        let costs = Arc::make_mut(profile.broker.as_mut().expect("described"));
        (costs.request_cpu, costs.record_cpu) = (ms(8), Duration::ZERO);
        (costs.kibibyte_cpu, costs.client_cpu) = (Duration::ZERO, Duration::ZERO);
    };
    run(change, |kernel, profile| async move {
        let (_world, _broker, client, _) =
            started(&kernel, profile, BrokerSettings::default()).await;
        let begun = kernel.now();
        let batches: Vec<_> = (0..16).map(|number| [record(&format!("{number}"))]).collect();
        let calls = batches.iter().map(|batch| client.produce("t", 0, batch, Acks::Leader));
        futures_util::future::join_all(calls).await;
        // 16 requests of 8 ms on four cores, there and back.
        assert_eq!(kernel.now().since(begun), ms(2 + 16 * 8 / 4));
        let mut all: Vec<u32> =
            values(&client, 0).await.iter().map(|it| it.parse().expect("a number")).collect();
        all.sort_unstable();
        assert_eq!(all, (0..16).collect::<Vec<_>>());
    });
}

#[test]
fn a_group_goes_on_where_it_committed() {
    run(change, |kernel, profile| async move {
        let (_world, broker, client, other) =
            started(&kernel, profile, BrokerSettings::default()).await;
        for number in 0..10 {
            let batch = [record(&format!("{number}"))];
            client.produce("t", 0, &batch, Acks::Leader).await.expect("answered");
        }
        let start = |at| Consumer::start(&client, "g", "t", 0, at);
        let mut consumer = start(StartAt::Earliest).await.expect("answered");
        let polled = consumer.poll(NO_WAIT).await.expect("answered").value;
        assert_eq!(polled.len(), 10);
        consumer.seek(4);
        consumer.commit().await.expect("answered");
        broker.machine().restart();
        kernel.sleep(ms(50)).await;
        let mut consumer = start(StartAt::Latest).await.expect("answered");
        assert_eq!(consumer.position(), 4, "commits survive a crash of the process");
        assert_eq!(consumer.poll(NO_WAIT).await.expect("answered").value.len(), 6);
        let latest = Consumer::start(&other, "h", "t", 0, StartAt::Latest).await.expect("answered");
        assert_eq!(latest.position(), 10);
        client.commit("g", "t", 0, 99).await.expect("nobody checks");
        let mut lost = start(StartAt::Earliest).await.expect("answered");
        assert!(lost.poll(NO_WAIT).await.expect("reset").value.is_empty());
        assert_eq!(lost.position(), 0);
    });
}

/// Produces numbers one by one, crashes, restarts: how many were acknowledged, and how many are there.
fn survivors(settings: BrokerSettings, power: bool, crash_at: Duration) -> (u64, u64) {
    survivors_on(change, settings, power, crash_at)
}

/// A device with a cache that the power takes, and an operating system that writes back all the time.
fn volatile(profile: &mut Profile) {
    change(profile);
    let disk = Arc::make_mut(profile.disks.get_mut("local-ssd").expect("exists"));
    (disk.page_bytes, disk.sector_bytes, disk.request_bytes_max) = (512, 512, 1024);
    disk.writeback_interval = ms(20);
    disk.dirty_expire = ms(5);
    let disk = profile.disks["local-ssd"].clone();
    profile.machines.get_mut("broker").expect("exists").disk = Some(disk);
}

fn survivors_on(
    change: fn(&mut Profile),
    settings: BrokerSettings,
    power: bool,
    crash_at: Duration,
) -> (u64, u64) {
    run(change, move |kernel, profile| async move {
        let (world, broker, client, other) = started(&kernel, profile, settings).await;
        let acknowledged = Rc::new(RefCell::new(0));
        let noted = acknowledged.clone();
        world.hosts()[0].spawn(async move {
            for number in 0u64.. {
                let batch = [record(&format!("{number}"))];
                match client.produce("t", 0, &batch, Acks::Leader).await {
                    Ok(reply) => assert_eq!(reply.value, Some(number)),
                    Err(BrokerError::Call(_)) => break,
                    Err(error) => panic!("{error}"),
                }
                *noted.borrow_mut() += 1;
            }
        });
        kernel.sleep(crash_at).await;
        if power {
            broker.machine().lose_power()
        } else {
            broker.machine().kill()
        }
        kernel.sleep(Duration::from_secs(40)).await;
        broker.machine().restart();
        kernel.sleep(ms(500)).await;
        let kept = values(&other, 0).await;
        for (number, value) in kept.iter().enumerate() {
            assert_eq!(value, &number.to_string(), "nothing but a prefix survives");
        }
        // What was cut off is written anew.
        let batch = [record(&kept.len().to_string())];
        let reply = other.produce("t", 0, &batch, Acks::Leader).await.expect("answered");
        assert_eq!(reply.value, Some(kept.len() as u64));
        let acknowledged = *acknowledged.borrow();
        (acknowledged, kept.len() as u64)
    })
}

#[test]
fn what_was_acknowledged_survives_a_crash_of_the_process() {
    for settings in [BrokerSettings::default(), SMALL_SEGMENTS, FLUSH_EACH] {
        for millis in [300, 301, 1000] {
            let (acknowledged, kept) = survivors(settings, false, ms(millis));
            assert!(acknowledged > 20);
            assert!((acknowledged..=acknowledged + 1).contains(&kept), "{acknowledged} {kept}");
        }
    }
}

#[test]
fn a_power_loss_takes_what_was_not_flushed() {
    for millis in 300..310 {
        let (acknowledged, kept) = survivors(FLUSH_EACH, true, ms(millis));
        assert!((acknowledged..=acknowledged + 1).contains(&kept), "{acknowledged} {kept}");
    }
    let (acknowledged, kept) = survivors(BrokerSettings::default(), true, Duration::from_secs(3));
    assert!(acknowledged > 1000 && kept == 0, "{acknowledged} acknowledged, {kept} kept");
    // Full segments are flushed when the next one begins.
    let (acknowledged, kept) = survivors(SMALL_SEGMENTS, true, Duration::from_secs(3));
    assert!(kept > acknowledged - 30 && kept < acknowledged, "{acknowledged} {kept}");
    let ten = BrokerSettings { flush_messages: Some(10), ..BrokerSettings::default() };
    let (acknowledged, kept) = survivors(ten, true, Duration::from_secs(3));
    assert!(kept + 10 >= acknowledged && kept % 10 == 0, "{acknowledged} {kept}");
}

#[test]
fn a_volatile_device_and_write_back_leave_a_prefix() {
    let mut lost = 0;
    for millis in 500..530 {
        for settings in [BrokerSettings::default(), SMALL_SEGMENTS] {
            let (acknowledged, kept) = survivors_on(volatile, settings, true, ms(millis));
            assert!(kept > acknowledged / 2 && kept <= acknowledged + 1, "{acknowledged} {kept}");
            lost += u64::from(kept < acknowledged);
        }
        let (acknowledged, kept) = survivors_on(volatile, FLUSH_EACH, true, ms(millis));
        assert!((acknowledged..=acknowledged + 1).contains(&kept), "{acknowledged} {kept}");
    }
    assert!(lost > 30, "the last records are lost as a rule: {lost} of 60");
}

#[test]
fn without_acknowledgement_nobody_waits_and_nobody_is_told() {
    run(change, |kernel, profile| async move {
        let (world, broker, client, other) = started(&kernel, profile, FLUSH_EACH).await;
        let begun = kernel.now();
        let reply = client.produce("t", 0, &[record("a")], Acks::None).await.expect("sent");
        assert_eq!((reply.value, reply.timing.total()), (None, kernel.now().since(begun)));
        assert!(kernel.now().since(begun) < ms(1));
        kernel.sleep(ms(20)).await;
        assert_eq!(values(&other, 0).await, ["a"]);
        client.produce("t", 0, &[record("b")], Acks::None).await.expect("sent");
        broker.machine().kill();
        broker.machine().restart();
        kernel.sleep(ms(100)).await;
        assert_eq!(values(&other, 0).await, ["a"], "b is lost and nobody knows");
        let counted = world.meter().snapshot().into_iter().find(|op| op.kind == "produce");
        let counted = counted.expect("counted");
        assert_eq!((counted.count, counted.bytes_out), (1, 0));
    });
}

#[test]
fn a_broken_batch_cuts_the_log_at_the_start_and_is_refused_when_fetched() {
    run(change, |kernel, profile| async move {
        let (_world, broker, client, _) = started(&kernel, profile, SMALL_SEGMENTS).await;
        for number in 0..20 {
            let batch = [record(&format!("{number}"))];
            client.produce("t", 0, &batch, Acks::Leader).await.expect("answered");
        }
        broker.machine().kill();
        let disk = broker.machine().disk().expect("has one").clone();
        let segments: Vec<String> =
            disk.list().into_iter().filter(|name| name.starts_with("t-0/")).collect();
        assert!(segments.len() > 2, "{segments:?}");
        disk.write(&segments[1], 69, Bytes::from_static(b"?")).await.expect("room");
        broker.machine().restart();
        kernel.sleep(ms(50)).await;
        assert!(broker.recovery().expect("started").cut_bytes > 400);
        let kept = values(&client, 0).await;
        let first: usize = segments[1][4..24].parse().expect("its base offset");
        assert_eq!(kept.len(), first, "all before the broken batch, nothing after it");
        let left = disk.list().into_iter().filter(|name| name.starts_with("t-0/")).count();
        assert_eq!(left, 2, "later segments are gone");

        disk.write(&segments[0], 69, Bytes::from_static(b"?")).await.expect("room");
        let error = client.fetch("t", 0, 0, NO_WAIT).await.expect_err("the client checks");
        assert_eq!(error, BrokerError::CorruptBatch);
    });
}

#[test]
fn a_failed_flush_ends_what_other_threads_are_about_too() {
    run(change, |kernel, profile| async move {
        let (world, broker, client, other) = started(&kernel, profile, FLUSH_EACH).await;
        broker.machine().disk().expect("has one").inject(DiskFault::WriteErrors { count: 1 });
        let waits = other.clone();
        let second = Rc::new(RefCell::new(None));
        let answer = second.clone();
        world.hosts()[1].spawn(async move {
            let reply = waits.produce("t", 0, &[record("b")], Acks::Leader).await;
            answer.replace(Some(reply.map(|reply| reply.value)));
        });
        let first = client.produce("t", 0, &[record("a")], Acks::Leader).await;
        let broken = BrokerError::Call(CallError::Broken { service: "broker" });
        assert_eq!(first.expect_err("the flush fails"), broken);
        kernel.sleep(ms(50)).await;
        assert_eq!(second.take(), Some(Err(broken)), "it had waited for its turn");
        broker.machine().restart();
        kernel.sleep(ms(50)).await;
        let reply = client.produce("t", 0, &[record("c")], Acks::Leader).await.expect("a disk");
        assert!(reply.value.is_some());
    });
}

#[test]
fn a_full_disk_ends_the_broker() {
    run(change, |kernel, profile| async move {
        let (_world, broker, client, _) =
            started(&kernel, profile, BrokerSettings::default()).await;
        broker.machine().disk().expect("has one").inject(DiskFault::Full { free_bytes: 0 });
        let error =
            client.produce("t", 0, &[record("a")], Acks::Leader).await.expect_err("no room");
        assert_eq!(error, BrokerError::Call(CallError::Broken { service: "broker" }));
        let error = client.offsets("t", 0).await.expect_err("it has ended");
        assert_eq!(error, BrokerError::Call(CallError::Unreachable { service: "broker" }));
        broker.machine().disk().expect("has one").inject(DiskFault::Full { free_bytes: u64::MAX });
        broker.machine().restart();
        kernel.sleep(ms(50)).await;
        let reply = client.produce("t", 0, &[record("a")], Acks::Leader).await.expect("room");
        assert_eq!(reply.value, Some(0));
    });
}
