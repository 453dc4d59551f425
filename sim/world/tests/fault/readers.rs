//! Readers of event logs: a connection that loses something is broken, and another one is opened.

use crate::common::{deterministic, ms, run, world};
use crate::{between, of_service, one_way};
use bytes::Bytes;
use proptest::prelude::*;
use sim_world::event_log::EventLog;
use sim_world::fault::{Effect, LinkTrouble, ServiceTrouble, Trouble};
use sim_world::kernel::Kernel;
use sim_world::profile::Profile;
use sim_world::world::World;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// A partition with a reader on the first host, which notes what it reads.
fn reader(world: &World) -> (EventLog, Rc<RefCell<Vec<u64>>>) {
    let log = world.event_log("log", 1);
    let read: Rc<RefCell<Vec<u64>>> = Rc::default();
    let (mut subscription, notes) = (log.subscribe(&world.hosts()[0], 0, 0), read.clone());
    world.hosts()[0].spawn(async move {
        loop {
            let events = subscription.recv(3).await;
            notes.borrow_mut().extend(events.iter().map(|event| event.position));
        }
    });
    (log, read)
}

/// Sends events one by one from the second host, each 100 ms after the one before.
async fn send(kernel: &Kernel, world: &World, log: &EventLog, count: usize) {
    for _ in 0..count {
        log.send(&world.hosts()[1], 0, vec![Bytes::from_static(b"e")]).await.expect("sent");
        kernel.sleep(ms(100)).await;
    }
}

fn small_prefetch(profile: &mut Profile) {
    deterministic(profile);
    profile.services.eventlog.prefetch_events = 6;
}

fn scene<F>(main: impl FnOnce(Kernel, World) -> F + Send)
where
    F: Future<Output = ()> + 'static,
{
    run(small_prefetch, |kernel, profile| {
        let world = world(&kernel, profile, 2);
        main(kernel, world)
    });
}

#[test]
fn a_reader_goes_on_where_it_stood_after_a_cut() {
    scene(|kernel, world| async move {
        let (log, read) = reader(&world);
        send(&kernel, &world, &log, 5).await;
        let cut = between("worker-0", "eventlog", LinkTrouble::Cut);
        let cut = world.begin(&cut).expect("begins");
        send(&kernel, &world, &log, 5).await;
        assert_eq!(*read.borrow(), [0, 1, 2, 3, 4]);
        world.end(cut);
        send(&kernel, &world, &log, 5).await;
        assert_eq!(read.borrow().len(), 5, "nobody has noticed yet");
        kernel.sleep(Duration::from_secs(60)).await;
        assert_eq!(*read.borrow(), (0..15).collect::<Vec<u64>>());
        assert_eq!(world.fault_counts().of(Effect::Reconnection), 1);
    });
}

#[test]
fn a_reader_tries_again_as_long_as_the_cut_lasts() {
    scene(|kernel, world| async move {
        let cut = between("worker-0", "eventlog", LinkTrouble::Cut);
        let cut = world.begin(&cut).expect("begins");
        let (log, read) = reader(&world);
        send(&kernel, &world, &log, 5).await;
        kernel.sleep(Duration::from_secs(130)).await;
        world.end(cut);
        kernel.sleep(Duration::from_secs(60)).await;
        assert_eq!(*read.borrow(), [0, 1, 2, 3, 4]);
        assert_eq!(world.fault_counts().of(Effect::Reconnection), 3);
    });
}

#[test]
fn a_reader_survives_lost_credit() {
    scene(|kernel, world| async move {
        let (log, read) = reader(&world);
        send(&kernel, &world, &log, 2).await;
        let cut = one_way("worker-0", "eventlog", LinkTrouble::Cut);
        let cut = world.begin(&cut).expect("begins");
        send(&kernel, &world, &log, 8).await;
        world.end(cut);
        kernel.sleep(Duration::from_secs(61)).await;
        send(&kernel, &world, &log, 20).await;
        assert_eq!(*read.borrow(), (0..30).collect::<Vec<u64>>());
    });
}

#[test]
fn a_reader_comes_back_to_a_log_that_was_out() {
    scene(|kernel, world| async move {
        let (log, read) = reader(&world);
        send(&kernel, &world, &log, 2).await;
        let host = world.hosts()[1].clone();
        // It is under way when the outage begins, so it is taken in.
        let sending = log.clone();
        host.clone().spawn(async move {
            sending.send(&host, 0, vec![Bytes::new()]).await.expect("sent");
        });
        kernel.sleep(ms(2)).await;
        let out = world.begin(&of_service("eventlog", ServiceTrouble::Outage)).expect("begins");
        kernel.sleep(Duration::from_secs(70)).await;
        assert_eq!(*read.borrow(), [0, 1]);
        world.end(out);
        kernel.sleep(Duration::from_secs(60)).await;
        assert_eq!(*read.borrow(), [0, 1, 2]);
    });
}

fn what() -> impl Strategy<Value = LinkTrouble> {
    let by = ms(250);
    prop_oneof![
        Just(LinkTrouble::Cut),
        Just(LinkTrouble::Clog),
        Just(LinkTrouble::Lose { probability: 0.3 }),
        Just(LinkTrouble::Duplicate { probability: 0.5 }),
        Just(LinkTrouble::Reorder { probability: 0.5, by }),
        Just(LinkTrouble::Corrupt { probability: 0.3 }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever happens to a reader's connection, it reads each event once, in order, and all of them
    /// in the end.
    #[test]
    fn every_event_is_read_once_and_in_order(
        what in what(),
        to_reader in any::<bool>(),
        before in 0..10_usize,
        during in 0..30_usize,
    ) {
        scene(move |kernel, world| async move {
            let (log, read) = reader(&world);
            send(&kernel, &world, &log, before).await;
            let trouble: Trouble = match to_reader {
                true => one_way("eventlog", "worker-0", what),
                false => between("eventlog", "worker-0", what),
            };
            let id = world.begin(&trouble).expect("begins");
            send(&kernel, &world, &log, during).await;
            world.end(id);
            send(&kernel, &world, &log, 10).await;
            // Losses of the last message before the end are repaired after the idle timeout; a
            // message that was lost many times in a row comes within minutes.
            kernel.sleep(Duration::from_secs(1_000)).await;
            let expected: Vec<u64> = (0..(before + during + 10) as u64).collect();
            assert_eq!(*read.borrow(), expected);
        });
    }
}
