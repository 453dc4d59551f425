//! Servers on rented machines: the path of a command, its timing, and what a crash does to clients.

mod common;

use bytes::Bytes;
use common::{deterministic, ms, run, world};
use sim_model::ledger::Category;
use sim_world::broker::{Broker, BrokerSettings};
use sim_world::kernel::Kernel;
use sim_world::machine::Machine;
use sim_world::profile::Profile;
use sim_world::selfhosted::{CallError, Command, Endpoint, EndpointOptions};
use sim_world::stream_store::{Durability, Fsync, StreamStore};
use sim_world::world::World;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Puts bytes into a file, or asks how long the server is alive.
enum Note {
    Put(Bytes),
    Hang,
}

impl Command for Note {
    type Answer = u64;
    const KINDS: &'static [&'static str] = &["put", "hang"];

    fn kind(&self) -> usize {
        match self {
            Note::Put(_) => 0,
            Note::Hang => 1,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Note::Put(bytes) => bytes.len() as u64,
            Note::Hang => 0,
        }
    }

    fn answer_bytes(_: &u64) -> u64 {
        8
    }

    fn digest(&self) -> u64 {
        self.bytes()
    }
}

fn change(profile: &mut Profile) {
    deterministic(profile);
    profile.host.background_cores = 0.0;
    let disk = Arc::make_mut(profile.disks.get_mut("premium-ssd").expect("exists"));
    disk.write = sim_world::distribution::Latency::constant(ms(3));
    disk.flush = sim_world::distribution::Latency::constant(ms(4));
    let disk = profile.disks["premium-ssd"].clone();
    profile.machines.get_mut("stream-store").expect("exists").disk = Some(disk);
}

/// A server that takes one command at a time: 10 ms of core time, then an append and a sync.
fn serve(world: &World, timeout: Option<Duration>) -> (Machine, Endpoint<Note>) {
    let machine = world.rent("notes", "stream-store", Some(1)).expect("a class");
    let options = EndpointOptions { service: "notes", client_cpu: ms(1), timeout };
    let endpoint: Endpoint<Note> = world.endpoint(&machine, options).expect("described");
    let (server, at) = (machine.clone(), endpoint.clone());
    machine.run(move || {
        let (listener, disk) = (at.listen(), server.disk().expect("has one").clone());
        server.host().spawn(async move {
            let mut held = Vec::new();
            loop {
                let mut incoming = listener.next().await;
                incoming.cpu(ms(10)).await;
                let Note::Put(bytes) = incoming.command() else {
                    held.push(incoming);
                    continue;
                };
                let offset = disk.append("notes", bytes.clone()).await.expect("room");
                let offset = incoming.note(offset);
                let synced = disk.sync("notes").await.expect("synced");
                incoming.note(synced);
                incoming.answer(offset);
            }
        });
    });
    (machine, endpoint)
}

fn put(text: &'static str) -> Note {
    Note::Put(Bytes::from_static(text.as_bytes()))
}

#[test]
fn the_time_of_a_command_is_split_exactly() {
    run(change, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let (_, endpoint) = serve(&world, None);
        let client = endpoint.client(&world.hosts()[0]);
        let begun = kernel.now();
        let reply = client.call(put("first")).await.expect("answered");
        let timing = reply.timing;
        assert_eq!(timing.total(), kernel.now().since(begun), "nothing is left out");
        assert_eq!(timing.get(Category::Network), ms(4), "a handshake, and there and back");
        assert_eq!(timing.get(Category::Storage).as_millis(), 3 + 3 + 4, "data, journal, flush");
        assert!(timing.get(Category::Cpu) >= ms(11), "the client's and the server's");
        let begun = kernel.now();
        let both =
            futures_util::future::join(client.call(put("second")), client.call(put("third")));
        let (second, third) = both.await;
        let (second, third) = (second.expect("answered"), third.expect("answered"));
        assert_eq!((second.value, third.value), (5, 11), "one after the other");
        assert_eq!(second.timing.get(Category::Network), ms(2), "the connection is open");
        assert!(third.timing.get(Category::Queueing) >= ms(20), "behind the second");
        assert_eq!(third.timing.total(), kernel.now().since(begun));
        assert_eq!(world.meter().total("notes", "put"), 3);
        let bytes = world.meter().snapshot().into_iter().find(|op| op.service == "notes");
        let bytes = bytes.expect("counted");
        assert_eq!((bytes.bytes_in, bytes.bytes_out), (16 + 3 * 66, 3 * (66 + 8)));
    });
}

#[test]
fn a_command_is_served_after_its_client_died() {
    run(change, |kernel, profile| async move {
        let world = world(&kernel, profile, 2);
        let (machine, endpoint) = serve(&world, None);
        let (first, second) = (world.hosts()[0].clone(), world.hosts()[1].clone());
        let client = endpoint.client(&first);
        first.spawn(async move {
            client.call(put("late")).await.expect("nobody sees this");
            unreachable!("the client is dead");
        });
        kernel.sleep(ms(4)).await;
        first.kill();
        let reply = endpoint.client(&second).call(put("after")).await.expect("answered");
        assert_eq!(reply.value, 4, "the dead client's bytes come first");
        let disk = machine.disk().expect("has one");
        assert_eq!(&disk.read_all("notes").await.expect("there").value[..], b"lateafter");
    });
}

/// When calls ended, and how.
type Ends = Rc<RefCell<Vec<(Duration, Result<u64, CallError>)>>>;

/// Calls, and notes the instant and the error.
fn call(kernel: &Kernel, world: &World, endpoint: &Endpoint<Note>, note: Note) -> Ends {
    let ends = Rc::new(RefCell::new(Vec::new()));
    let (client, kernel, noted) =
        (endpoint.client(&world.hosts()[0]), kernel.clone(), ends.clone());
    world.hosts()[0].spawn(async move {
        let begun = kernel.now();
        let result = client.call(note).await.map(|reply| reply.value);
        noted.borrow_mut().push((kernel.now().since(begun), result));
    });
    ends
}

#[test]
fn a_crash_of_processes_breaks_connections_at_once() {
    run(change, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let (machine, endpoint) = serve(&world, None);
        let ends = call(&kernel, &world, &endpoint, Note::Hang);
        kernel.sleep(ms(50)).await;
        machine.kill();
        kernel.sleep(ms(2)).await;
        let broken = CallError::Broken { service: "notes" };
        assert!(broken.is_ambiguous());
        assert_eq!(ends.borrow()[..], [(ms(51), Err(broken))]);
        let ends = call(&kernel, &world, &endpoint, put("x"));
        kernel.sleep(ms(5)).await;
        let unreachable = CallError::Unreachable { service: "notes" };
        assert!(!unreachable.is_ambiguous());
        assert_eq!(ends.borrow()[0].1, Err(unreachable), "refused by the operating system");
        machine.restart();
        let ends = call(&kernel, &world, &endpoint, put("y"));
        kernel.sleep(ms(100)).await;
        assert_eq!(ends.borrow()[0].1, Ok(0));
    });
}

#[test]
fn a_connection_reopens_after_a_restart() {
    run(change, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let (machine, endpoint) = serve(&world, None);
        let client = endpoint.client(&world.hosts()[0]);
        client.call(put("a")).await.expect("answered");
        machine.restart();
        client.call(put("b")).await.expect("the client knew that the old connection was broken");
        machine.lose_power();
        machine.restart();
        let error = client.call(put("c")).await.expect_err("the client did not know");
        assert_eq!(error, CallError::Broken { service: "notes" });
        assert_eq!(client.call(put("d")).await.expect("answered").value, 2, "c was not applied");
    });
}

#[test]
fn a_power_loss_is_silent() {
    run(change, |kernel, profile| async move {
        let keep_alive = profile.selfhosted.as_ref().expect("described").keep_alive;
        let connect_timeout = profile.selfhosted.as_ref().expect("described").connect_timeout;
        let world = world(&kernel, profile, 1);
        let (machine, endpoint) = serve(&world, None);
        let ends = call(&kernel, &world, &endpoint, Note::Hang);
        kernel.sleep(ms(50)).await;
        machine.lose_power();
        let refused = call(&kernel, &world, &endpoint, put("x"));
        kernel.sleep(Duration::from_secs(60)).await;
        let broken = CallError::Broken { service: "notes" };
        assert_eq!(ends.borrow()[..], [(ms(50) + keep_alive, Err(broken))]);
        let (took, result) = refused.borrow()[0];
        assert_eq!(result, Err(CallError::Unreachable { service: "notes" }));
        assert_eq!(took, ms(1 + 1) + connect_timeout);
    });
}

#[test]
fn a_machine_is_paid_for_with_its_disk() {
    run(change, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let machine = world.rent("two", "stream-store", None).expect("a class");
        kernel.sleep(Duration::from_secs(3600)).await;
        let hour = (2.0 * 35.04 + 73.22) / 730.0;
        assert!((machine.cost_usd() - hour).abs() < 1e-9, "{}", machine.cost_usd());
        let disk = world.host_disk(0).expect("hosts have disks");
        disk.append("scratch", Bytes::from_static(b"x")).await.expect("room");
        assert_eq!(world.host_disk(0).expect("the same").size("scratch"), Some(1));
        world.hosts()[0].kill();
        assert_eq!(disk.size("scratch"), Some(1), "a crash of the processes");
        world.lose_power_of_host(0);
        assert_eq!(disk.size("scratch"), None);
    });
}

#[test]
fn a_server_needs_its_section_and_its_disk() {
    let without_disk = |profile: &mut Profile| {
        for class in ["stream-store", "broker"] {
            profile.machines.get_mut(class).expect("exists").disk = None;
        }
    };
    run(without_disk, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let appending = Durability::AppendOnly(Fsync::No);
        let error = StreamStore::start(&world, "s", appending).err().expect("no disk");
        let expected = "profile azure-2021-10: machines of class stream-store have no disk, which an \
                        append-only file needs";
        assert_eq!(error.to_string(), expected);
        assert!(StreamStore::start(&world, "m", Durability::None).is_ok(), "needs none");
        let error = Broker::start(&world, "b", BrokerSettings::default()).err().expect("no disk");
        assert!(error.to_string().contains("class broker have no disk"), "{error}");
    });
    run(
        |profile| profile.store = None,
        |kernel, profile| async move {
            let world = world(&kernel, profile, 1);
            let error =
                StreamStore::start(&world, "s", Durability::None).err().expect("no section");
            let expected =
                "profile azure-2021-10 has no section [stream_store], which a stream store needs";
            assert_eq!(error.to_string(), expected);
        },
    );
}

#[test]
fn a_timeout_leaves_the_command_in_flight() {
    run(change, |kernel, profile| async move {
        let world = world(&kernel, profile, 1);
        let (machine, endpoint) = serve(&world, Some(ms(5)));
        let client = endpoint.client(&world.hosts()[0]);
        let error = client.call(put("slow")).await.expect_err("takes longer");
        assert_eq!(error, CallError::TimedOut { service: "notes" });
        kernel.sleep(ms(100)).await;
        assert_eq!(machine.disk().expect("has one").size("notes"), Some(4));
        let held = client.call_within(None, put("patient")).await.expect("answered");
        assert_eq!(held.value, 4);
    });
}
