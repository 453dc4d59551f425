//! Links: lost, held, late, doubled, overtaken.

use crate::common::{deterministic, ms, run, world};
use crate::{between, one_way};
use proptest::prelude::*;
use sim_model::time::Timestamp;
use sim_world::fault::{Carrier, Effect, LinkTrouble, Trouble};
use sim_world::kernel::{Kernel, NodeId};
use sim_world::network::Arrival;
use sim_world::world::World;
use std::time::Duration;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn node(world: &World, index: usize) -> NodeId {
    world.hosts()[index].node()
}

/// Puts one message on the link from the first host to the second, which is ordered and takes 1 ms.
fn put(world: &World) -> Arrival {
    let way = (node(world, 0), node(world, 1));
    world.network().arrival(way, 100, Carrier::Message, None)
}

fn scene<F>(main: impl FnOnce(Kernel, World) -> F + Send)
where
    F: Future<Output = ()> + 'static,
{
    run(deterministic, |kernel, profile| {
        let world = world(&kernel, profile, 3);
        main(kernel, world)
    });
}

#[test]
fn a_cut_loses_what_is_sent_meanwhile_and_only_that_way() {
    scene(|kernel, world| async move {
        let cut = world.begin(&one_way("worker-0", "worker-1", LinkTrouble::Cut)).expect("begins");
        assert_eq!(put(&world), Arrival::Never);
        let back = (node(&world, 1), node(&world, 0));
        let back = world.network().arrival(back, 100, Carrier::Message, None);
        assert_eq!(back, Arrival::Once(at(1)), "the way back is whole");
        kernel.sleep(ms(5)).await;
        world.end(cut);
        assert_eq!(put(&world), Arrival::Once(at(6)));
        assert_eq!(world.fault_counts().of(Effect::MessageCut), 1);
    });
}

#[test]
fn a_clog_holds_messages_and_lets_them_go_in_order() {
    scene(|kernel, world| async move {
        let (sender, receiver) = world.network().mailbox::<u32>(node(&world, 1));
        let from = node(&world, 0);
        let clog = || world.begin(&between("worker-0", "worker-1", LinkTrouble::Clog));
        let (first, second) = (clog().expect("begins"), clog().expect("begins"));
        for number in 0..3 {
            sender.send(from, 100, number);
            kernel.sleep(ms(10)).await;
        }
        assert!(receiver.is_empty());
        world.end(first);
        world.hosts()[0].kill();
        kernel.sleep(ms(70)).await;
        assert!(receiver.is_empty(), "another clog holds them");
        world.end(second);
        assert_eq!([receiver.recv().await, receiver.recv().await], [0, 1], "of a dead sender");
        assert_eq!((receiver.recv().await, kernel.now()), (2, at(101)));
        assert_eq!(world.fault_counts().of(Effect::MessageHeld), 3);
    });
}

#[test]
fn a_delay_adds_to_the_latency_and_ends() {
    scene(|_, world| async move {
        let delay = LinkTrouble::Delay { by: ms(20), jitter: ms(10) };
        let delay = world.begin(&between("worker-0", "worker-1", delay)).expect("begins");
        let late = put(&world).first().expect("it arrives");
        assert!((at(21)..at(31)).contains(&late), "{late}");
        world.end(delay);
        assert_eq!(put(&world), Arrival::Once(late), "behind the one before: the link is ordered");
    });
}

#[test]
fn lost_transmissions_come_after_timeouts_that_double() {
    scene(|kernel, world| async move {
        let lose = LinkTrouble::Lose { probability: 0.5 };
        world.begin(&between("worker-*", "queue", lose)).expect("begins");
        let mut counts = [0_u32; 4];
        // The first node after the client's. Its links are not ordered: nobody waits for another.
        let queue = NodeId(world.client_node().0 + 1);
        assert_eq!(&*kernel.node_name(queue), "queue");
        let way = (node(&world, 0), queue);
        for _ in 0..4_000 {
            let arrival = world.network().arrival(way, 0, Carrier::Message, None);
            let late = arrival.first().expect("it arrives").since(at(1));
            // 0, 200, 200 + 400, 200 + 400 + 800 ms, ...
            let lost = (late.as_millis() / 200 + 1).ilog2() as usize;
            assert_eq!(late, ms(200) * ((1 << lost) - 1), "{late:?}");
            if lost < counts.len() {
                counts[lost] += 1;
            }
        }
        for (lost, count) in counts.iter().enumerate() {
            let expected = 4_000.0 * 0.5_f64.powi(lost as i32 + 1);
            let off = (f64::from(*count) - expected).abs() / expected.sqrt();
            assert!(off < 4.0, "{count} messages lost {lost} times, expected {expected}");
        }
    });
}

#[test]
fn a_message_that_is_always_lost_is_given_up() {
    scene(|_, world| async move {
        let lose = LinkTrouble::Lose { probability: 1.0 };
        world.begin(&between("worker-0", "worker-1", lose)).expect("begins");
        assert_eq!(put(&world), Arrival::Never);
        assert_eq!(world.fault_counts().of(Effect::MessageLost), 1);
    });
}

#[test]
fn a_lost_transmission_holds_up_an_ordered_link() {
    scene(|_, world| async move {
        let lose =
            world.begin(&between("worker-0", "worker-1", LinkTrouble::Lose { probability: 0.9 }));
        let late = put(&world).first().expect("it arrives");
        assert!(late >= at(201), "{late}");
        world.end(lose.expect("begins"));
        assert_eq!(put(&world), Arrival::Once(late));
    });
}

#[test]
fn a_reordered_message_is_overtaken_but_not_on_a_connection() {
    scene(|_, world| async move {
        let reorder = LinkTrouble::Reorder { probability: 1.0, by: ms(50) };
        let id = world.begin(&between("worker-*", "worker-*", reorder)).expect("begins");
        assert_eq!(put(&world), Arrival::Once(at(51)));
        let connection = (node(&world, 0), node(&world, 2));
        let late = world.network().arrival(connection, 1, Carrier::Connection, None);
        assert_eq!(late, Arrival::Once(at(51)));
        world.end(id);
        assert_eq!(put(&world), Arrival::Once(at(1)), "it overtakes");
        let next = world.network().arrival(connection, 1, Carrier::Connection, None);
        assert_eq!(next, Arrival::Once(at(51)), "it waits");
    });
}

#[test]
fn what_is_corrupted_never_arrives() {
    scene(|_, world| async move {
        let corrupt = LinkTrouble::Corrupt { probability: 1.0 };
        let id = world.begin(&between("worker-0", "worker-1", corrupt)).expect("begins");
        assert_eq!(put(&world), Arrival::Never);
        world.end(id);
        assert_eq!(put(&world), Arrival::Once(at(1)));
        assert_eq!(world.fault_counts().of(Effect::MessageCorrupted), 1);
    });
}

#[test]
fn a_message_comes_twice_if_it_can_be_copied() {
    scene(|kernel, world| async move {
        let duplicate = LinkTrouble::Duplicate { probability: 1.0 };
        world.begin(&between("worker-0", "worker-1", duplicate)).expect("begins");
        let (sender, receiver) = world.network().mailbox_with_copies::<u32>(node(&world, 1));
        let (single, alone) = world.network().mailbox::<u32>(node(&world, 1));
        sender.send(node(&world, 0), 100, 7);
        single.send(node(&world, 0), 100, 8);
        kernel.sleep(ms(100)).await;
        assert_eq!(receiver.drain(9), [7, 7]);
        assert_eq!(alone.drain(9), [8]);
        assert_eq!(world.fault_counts().of(Effect::MessageDuplicated), 1);
    });
}

/// Latencies of messages from each host to the next, with and without trouble on the first link.
fn latencies(trouble: Option<Trouble>, count: usize) -> [Vec<Option<Timestamp>>; 2] {
    let noisy = |profile: &mut sim_world::profile::Profile| {
        profile.host.background_cores = 0.0;
    };
    run(noisy, |kernel, profile| async move {
        let world = world(&kernel, profile, 3);
        let id = trouble.map(|trouble| world.begin(&trouble).expect("begins"));
        let mut seen = [Vec::new(), Vec::new()];
        for message in 0..count {
            if message == count / 2 {
                id.into_iter().for_each(|id| world.end(id));
            }
            for (from, seen) in seen.iter_mut().enumerate() {
                let way = (node(&world, from), node(&world, from + 1));
                let arrival = world.network().arrival(way, 100, Carrier::Message, None);
                seen.push(arrival.first());
            }
            kernel.sleep(Duration::from_secs(1000)).await;
        }
        seen
    })
}

fn what() -> impl Strategy<Value = LinkTrouble> {
    let by = Duration::from_millis(20);
    let probability = 0.0..=1.0;
    prop_oneof![
        Just(LinkTrouble::Cut),
        Just(LinkTrouble::Clog),
        Just(LinkTrouble::Delay { by, jitter: by }),
        probability.clone().prop_map(|probability| LinkTrouble::Lose { probability }),
        probability.clone().prop_map(|probability| LinkTrouble::Duplicate { probability }),
        probability.clone().prop_map(move |probability| LinkTrouble::Reorder { probability, by }),
        probability.prop_map(|probability| LinkTrouble::Corrupt { probability }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever happens on one link, another one's latencies are as without, and so are its own once
    /// it is over: runs with and without the trouble stay paired.
    #[test]
    fn others_meet_what_they_would_have_met(what in what()) {
        let [_, unrelated] = latencies(None, 20);
        let [own, _] = latencies(None, 20);
        let [troubled, beside] = latencies(Some(one_way("worker-0", "worker-1", what)), 20);
        prop_assert_eq!(beside, unrelated);
        prop_assert_eq!(&troubled[10..], &own[10..]);
    }
}
