//! Links: a pipe with many messages in flight, bandwidth, order, and death of either end.

use sim_model::time::Timestamp;
use sim_world::distribution::Latency;
use sim_world::fault::Carrier;
use sim_world::kernel::{Kernel, KernelOptions, NodeId, on_fresh_thread, simulate};
use sim_world::meter::Meter;
use sim_world::network::{LinkProfile, Network};
use sim_world::seed::SeedTree;
use std::future::Future;
use std::time::Duration;

/// When a message arrives, with nothing wrong.
fn arrival(network: &Network, from: NodeId, to: NodeId, bytes: u64) -> Timestamp {
    let arrival = network.arrival((from, to), bytes, Carrier::Message, None);
    arrival.first().expect("nothing is wrong")
}

const MS: Duration = Duration::from_millis(1);

fn link(latency: Latency) -> LinkProfile {
    LinkProfile { latency, bandwidth_bytes_per_s: None, ordered: false }
}

/// What a test needs: a network with two nodes.
struct Pair {
    kernel: Kernel,
    network: Network,
    meter: Meter,
    from: NodeId,
    to: NodeId,
}

fn run<F>(profile: LinkProfile, main: impl FnOnce(Pair) -> F + Send)
where
    F: Future<Output = ()> + 'static,
{
    let program = |kernel: Kernel| {
        let meter = Meter::new();
        let network = Network::new(&kernel, &SeedTree::new(1), &meter, profile);
        let (from, to) = (kernel.create_node("from"), kernel.create_node("to"));
        main(Pair { kernel, network, meter, from, to })
    };
    let result = on_fresh_thread(|| simulate(KernelOptions::with_seed(1), program));
    result.expect("the program comes to its end");
}

#[test]
fn a_link_of_10_ms_carries_far_more_than_a_hundred_messages_a_second() {
    const MESSAGES: u32 = 100_000;
    run(link(Latency::constant(10 * MS)), |pair| async move {
        let Pair { kernel, network, meter, from, to } = pair;
        let (sender, receiver) = network.mailbox(to);
        let clock = kernel.clone();
        kernel.spawn(from, async move {
            for message in 0..MESSAGES {
                sender.send(from, 100, (message, clock.now()));
                clock.sleep(Duration::from_micros(10)).await;
            }
        });
        for expected in 0..MESSAGES {
            let (message, sent) = receiver.recv().await;
            assert_eq!(message, expected);
            assert_eq!(kernel.now(), sent + 10 * MS);
        }
        let per_second = f64::from(MESSAGES) / kernel.now().as_secs_f64();
        assert!(per_second > 90_000.0, "{per_second} messages a second");
        assert_eq!(meter.total("network", "message"), u64::from(MESSAGES));
        assert_eq!(meter.snapshot()[0].bytes_in, u64::from(MESSAGES) * 100);
    });
}

#[test]
fn bandwidth_delays_a_message_by_its_size_and_those_before_it() {
    let profile =
        LinkProfile { bandwidth_bytes_per_s: Some(1_000_000), ..link(Latency::constant(10 * MS)) };
    run(profile, |pair| async move {
        let Pair { kernel, network, from, to, .. } = pair;
        assert_eq!(arrival(&network, from, to, 5_000), Timestamp::from_millis(15));
        assert_eq!(arrival(&network, from, to, 1_000), Timestamp::from_millis(16));
        assert_eq!(arrival(&network, to, from, 1_000), Timestamp::from_millis(11), "the other way");
        kernel.sleep(100 * MS).await;
        assert_eq!(arrival(&network, from, to, 1_000), Timestamp::from_millis(111), "free again");
    });
}

/// How many of 1,000 messages, sent one a microsecond, overtake the one before.
fn overtaking(ordered: bool) -> usize {
    let (result, _) = on_fresh_thread(|| {
        simulate(KernelOptions::with_seed(1), move |kernel| async move {
            let latency = Latency::Uniform { low_ms: 1.0, high_ms: 2.0 };
            let profile = LinkProfile { ordered, ..link(latency) };
            let network = Network::new(&kernel, &SeedTree::new(1), &Meter::new(), profile);
            let (from, to) = (kernel.create_node("from"), kernel.create_node("to"));
            let mut arrivals = Vec::new();
            for _ in 0..1000 {
                kernel.sleep(Duration::from_micros(1)).await;
                arrivals.push(arrival(&network, from, to, 1));
            }
            arrivals.windows(2).filter(|pair| pair[1] < pair[0]).count()
        })
    })
    .expect("it ends");
    result
}

#[test]
fn an_ordered_link_never_lets_a_message_overtake() {
    assert_eq!(overtaking(true), 0);
    assert!(overtaking(false) > 300);
}

#[test]
fn a_link_of_its_own_overrides_the_default() {
    run(link(Latency::constant(10 * MS)), |pair| async move {
        let Pair { network, from, to, .. } = pair;
        network.set_link(from, to, link(Latency::constant(MS)));
        assert_eq!(arrival(&network, from, to, 1), Timestamp::from_millis(1));
        assert_eq!(arrival(&network, to, from, 1), Timestamp::from_millis(10));
        network.set_default(link(Latency::constant(3 * MS)));
        assert_eq!(arrival(&network, from, to, 1), Timestamp::from_millis(1));
        assert_eq!(arrival(&network, to, from, 1), Timestamp::from_millis(3));
        assert_eq!(arrival(&network, to, to, 1 << 30), Timestamp::ZERO, "to the own node");
    });
}

#[test]
fn streams_of_links_do_not_depend_on_each_other() {
    let draws = |with_noise: bool| {
        let (arrivals, _) = on_fresh_thread(|| {
            simulate(KernelOptions::with_seed(1), move |kernel| async move {
                let profile = link(Latency::Exponential { mean_ms: 1.0 });
                let network = Network::new(&kernel, &SeedTree::new(1), &Meter::new(), profile);
                let (from, to) = (kernel.create_node("from"), kernel.create_node("to"));
                (0..100)
                    .map(|_| {
                        if with_noise {
                            arrival(&network, to, from, 1);
                        }
                        arrival(&network, from, to, 1)
                    })
                    .collect::<Vec<_>>()
            })
        })
        .expect("it ends");
        arrivals
    };
    assert_eq!(draws(false), draws(true));
}

#[test]
fn messages_survive_their_sender_but_not_their_receiver() {
    run(link(Latency::constant(10 * MS)), |pair| async move {
        let Pair { kernel, network, from, to, .. } = pair;
        let (sender, receiver) = network.mailbox(to);
        sender.send(from, 1, "sent before its sender died");
        drop(sender);
        kernel.kill(from);
        assert_eq!(receiver.recv().await, "sent before its sender died");

        let (sender, first_life) = network.mailbox(to);
        sender.send(from, 1, "in flight when the receiver crashed");
        kernel.restart(to);
        let (new_sender, second_life) = network.mailbox(to);
        new_sender.send(from, 1, "to the new life");
        assert_eq!(second_life.recv().await, "to the new life");
        assert!(first_life.is_empty() && second_life.is_empty());
        assert_eq!(new_sender.node(), to);
    });
}

#[test]
fn a_link_without_bandwidth_is_refused() {
    let profile = LinkProfile { bandwidth_bytes_per_s: Some(0), ..LinkProfile::INSTANT };
    let error = profile.validate().expect_err("no byte ever arrives");
    assert_eq!(error.field, "bandwidth_bytes_per_s");
}
