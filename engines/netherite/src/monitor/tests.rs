//! The monitor alone, without a world.

use super::*;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_secs(100);

fn report(partition: u32, stationary: u32, mobile: u32) -> LoadInformation {
    LoadInformation {
        partition,
        stationary,
        mobile,
        average_completion: None,
        carried_out: None,
        received: Vec::new(),
    }
}

fn tell(
    monitor: &mut LoadMonitor,
    reports: Vec<LoadInformation>,
    now: Timestamp,
) -> Vec<(u32, PartitionEvent)> {
    monitor.process(reports.into_iter().map(MonitorEvent::Load).collect(), now)
}

#[test]
fn acknowledgements_are_passed_on_once_and_again_to_whoever_asks() {
    let mut monitor = LoadMonitor::new(3, 100);
    let mut report = |partition, received: &[(u32, u64, u32)], wanted: &[u32]| {
        let (received, wanted) = (received.to_vec(), wanted.to_vec());
        let positions = Positions { partition, received, wanted };
        let events = monitor.process(vec![MonitorEvent::Positions(positions)], NOW);
        let acks = |(origin, event): (u32, PartitionEvent)| match event {
            PartitionEvent::AcksReceived { acks } => {
                (origin, acks.iter().map(|ack| (ack.receiver, ack.position)).collect::<Vec<_>>())
            }
            other => panic!("{other:?}"),
        };
        events.into_iter().map(acks).collect::<Vec<_>>()
    };
    assert_eq!(
        report(2, &[(0, 500, 0), (1, 70, 3)], &[]),
        [(0, vec![(2, 500)]), (1, vec![(2, 70)])]
    );
    assert!(report(2, &[(0, 500, 0), (1, 70, 3)], &[]).is_empty(), "they know");
    assert_eq!(report(0, &[], &[2]), [(0, vec![(2, 500)])], "it asks again");
    assert_eq!(report(2, &[(0, 600, 0)], &[]), [(0, vec![(2, 600)])]);
}

fn commands(events: &[(u32, PartitionEvent)]) -> Vec<(u32, u32, u32)> {
    let command = |(source, event): &(u32, PartitionEvent)| match event {
        PartitionEvent::TransferCommandReceived { count, destination, .. } => {
            Some((*source, *destination, *count))
        }
        _ => None,
    };
    events.iter().filter_map(command).collect()
}

fn decided(events: &[(u32, PartitionEvent)]) -> Timestamp {
    let instant = |(_, event): &(u32, PartitionEvent)| match event {
        PartitionEvent::TransferCommandReceived { decided, .. } => Some(*decided),
        _ => None,
    };
    events.iter().find_map(instant).expect("a command")
}

#[test]
fn nothing_moves_without_a_backlog() {
    let mut monitor = LoadMonitor::new(3, 100);
    let events = tell(&mut monitor, vec![report(0, 5_000, 0), report(1, 0, 0)], NOW);
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn who_holds_less_than_its_slots_pulls_from_the_backlog() {
    let mut monitor = LoadMonitor::new(3, 100);
    let events =
        tell(&mut monitor, vec![report(0, 10, 390), report(1, 0, 0), report(2, 40, 0)], NOW);
    assert_eq!(commands(&events), [(0, 1, 100), (0, 2, 60)]);
    let asked = events.iter().filter(|(_, event)| {
        matches!(event, PartitionEvent::SolicitationReceived { asked } if *asked == NOW)
    });
    assert_eq!(asked.count(), 3, "everybody is asked for denser reports");
}

#[test]
fn a_scarce_surplus_is_shared() {
    let mut monitor = LoadMonitor::new(4, 100);
    let reports = vec![report(0, 10, 150), report(1, 0, 0), report(2, 0, 0), report(3, 0, 0)];
    assert_eq!(commands(&tell(&mut monitor, reports, NOW)), [(0, 1, 20), (0, 2, 20), (0, 3, 20)]);
}

#[test]
fn what_is_needed_is_what_the_slots_finish_within_the_horizon() {
    let needs = |average| {
        let mut monitor = LoadMonitor::new(2, 10);
        let average_completion = Some(average);
        let slow = LoadInformation { average_completion, ..report(1, 0, 0) };
        let events = tell(&mut monitor, vec![report(0, 10, 5_000), slow], NOW);
        commands(&events)[0].2
    };
    // The horizon is 3 s + 5 s before a round trip was measured.
    assert_eq!(needs(Duration::from_secs(1)), 80);
    assert_eq!(needs(Duration::from_secs(3)), 27);
    assert_eq!(needs(Duration::from_secs(1_000)), 1);
}

#[test]
fn what_is_on_its_way_counts_until_it_is_reported() {
    let mut monitor = LoadMonitor::new(2, 100);
    let events = tell(&mut monitor, vec![report(0, 10, 390), report(1, 0, 0)], NOW);
    assert_eq!(commands(&events), [(0, 1, 100)]);
    let command = decided(&events);
    let again = tell(&mut monitor, vec![report(0, 10, 390), report(1, 0, 0)], NOW);
    assert!(commands(&again).is_empty(), "the same loads, but 100 are on their way");
    let left = LoadInformation { carried_out: Some(command), ..report(0, 10, 290) };
    let arrived = LoadInformation { received: vec![(0, command)], ..report(1, 70, 0) };
    let later = NOW + Duration::from_secs(1);
    assert_eq!(commands(&tell(&mut monitor, vec![left, arrived], later)), [(0, 1, 30)]);
    assert_eq!(monitor.round_trip, Duration::from_millis(2_800), "0.9 x 3 s + 0.1 x 1 s");
}

#[test]
fn a_lost_command_is_forgotten_after_an_hour() {
    let mut monitor = LoadMonitor::new(2, 100);
    let loads = || vec![report(0, 10, 390), report(1, 0, 0)];
    tell(&mut monitor, loads(), NOW);
    let late = NOW + COMMAND_EXPIRY;
    let before = Timestamp::from_nanos(late.as_nanos() - 1);
    assert!(commands(&tell(&mut monitor, loads(), before)).is_empty());
    assert_eq!(commands(&tell(&mut monitor, loads(), late)), [(0, 1, 100)]);
}

#[test]
fn reports_are_asked_for_every_ten_seconds() {
    let mut monitor = LoadMonitor::new(2, 100);
    let mut asks = |second| {
        let events = tell(&mut monitor, vec![report(0, 10, 5)], Timestamp::from_secs(second));
        events.len()
    };
    assert_eq!([asks(100), asks(109), asks(110), asks(111)], [2, 0, 2, 0]);
}

proptest! {
    /// Whatever is reported: nobody gives more than its backlog or more than it has to spare, and
    /// nobody is given more than it needs.
    #[test]
    fn plans_are_sound(loads in proptest::collection::vec((0u32..300, 0u32..1_000, 0u64..20), 1..12)) {
        let reports: Vec<LoadInformation> = loads.iter().enumerate().map(|(index, load)| {
            let average_completion = (load.2 > 0).then(|| Duration::from_secs(load.2));
            LoadInformation { average_completion, ..report(index as u32, load.0, load.1) }
        }).collect();
        let mut monitor = LoadMonitor::new(reports.len() as u32, 100);
        let events = tell(&mut monitor, reports.clone(), NOW);
        for (index, before) in reports.iter().enumerate() {
            let sum = |pick: fn(&(u32, u32, u32)) -> u32| {
                let of = |command: &&(u32, u32, u32)| pick(command) == index as u32;
                commands(&events).iter().filter(of).map(|command| command.2).sum::<u32>()
            };
            let (gives, takes) = (sum(|command| command.0), sum(|command| command.1));
            let needs = before.average_completion.map_or(100, |average| {
                (800.0 / average.as_secs_f64()).ceil() as u32
            });
            prop_assert!(gives <= before.mobile && (gives == 0 || takes == 0));
            let after = before.stationary + before.mobile - gives + takes;
            prop_assert!(gives == 0 || after >= needs);
            prop_assert!(takes == 0 || after <= needs);
        }
    }
}
