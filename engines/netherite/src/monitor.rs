//! The load monitor: the singleton that balances activities between partitions.
//!
//! **What it models.** The global scheduler (`locavore`). Partitions report how many activities they
//! hold, how many of them may still move, and how long an activity takes from its arrival to its
//! end. The monitor plans so far ahead that a transfer pays: `horizon` is the estimated round trip of
//! a transfer plus 5 s, at most 60 s. A partition *needs* what its slots finish within the horizon,
//! `ceil(horizon x slots / completion time)`. Who holds less pulls from those who hold more and have
//! activities to give. The plan counts what is on its way: a command weighs on both sides until
//! their reports say that it was carried out. The monitor keeps nothing durable.
//!
//! While there is a backlog anywhere, all partitions are asked every 10 s for denser reports.
//!
//! It also passes on acknowledgements: partitions report what they have received from each other and
//! made durable, and each origin is told what its receivers have.
//!
//! **Assumptions.** A partition none of whose activities has ended needs one for each slot. Takers
//! pull in rounds, each at most its equal share of what is to give, beginning behind the partition
//! that began last time: who is first does not get everything.
//!
//! No clock and no I/O: instants come in. Source: microsoft/durabletask-netherite, `LoadMonitor.cs`.

use crate::event::{Acknowledged, LoadInformation, MonitorEvent, PartitionEvent, Positions};
use sim_model::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// The round trip of a transfer before one was measured.
const FIRST_ROUND_TRIP: Duration = Duration::from_secs(3);
/// The weight of the newest measurement in the estimate.
const SMOOTHING: f64 = 0.1;
/// What the horizon adds to the round trip, and its bound.
const HORIZON_MARGIN: Duration = Duration::from_secs(5);
const HORIZON_MAX: Duration = Duration::from_secs(60);
/// How often reports are asked for while there is a backlog.
const SOLICITATION_INTERVAL: Duration = Duration::from_secs(10);
/// A command that was not heard of for so long is forgotten.
const COMMAND_EXPIRY: Duration = Duration::from_secs(3600);

/// A transfer on its way.
struct Command {
    source: u32,
    destination: u32,
    count: u32,
    left_source: bool,
}

/// The load monitor of a task hub.
pub(crate) struct LoadMonitor {
    partitions: u32,
    slots: usize,
    reports: BTreeMap<u32, LoadInformation>,
    /// By the instant of the decision, which is never the same twice.
    commands: BTreeMap<Timestamp, Command>,
    last_decision: Timestamp,
    round_trip: Duration,
    solicited_at: Option<Timestamp>,
    first_taker: u32,
    /// By origin and receiver: what the receiver has, and what the origin was told of it.
    received: BTreeMap<(u32, u32), (u64, u32)>,
    told: BTreeMap<(u32, u32), (u64, u32)>,
}

/// A partition, as the plan sees it.
#[derive(Clone, Copy)]
struct Load {
    partition: u32,
    held: u32,
    mobile: u32,
    needs: u32,
}

impl Load {
    fn surplus(&self) -> u32 {
        self.held.saturating_sub(self.needs).min(self.mobile)
    }

    fn lack(&self) -> u32 {
        self.needs.saturating_sub(self.held)
    }
}

impl LoadMonitor {
    /// A monitor that has heard of nobody. `slots`: activities a host executes side by side.
    pub(crate) fn new(partitions: u32, slots: usize) -> LoadMonitor {
        LoadMonitor {
            partitions,
            slots,
            reports: BTreeMap::new(),
            commands: BTreeMap::new(),
            last_decision: Timestamp::ZERO,
            round_trip: FIRST_ROUND_TRIP,
            solicited_at: None,
            first_taker: 0,
            received: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// Takes reports that arrived together; what to send to which partition.
    pub(crate) fn process(
        &mut self,
        reports: Vec<MonitorEvent>,
        now: Timestamp,
    ) -> Vec<(u32, PartitionEvent)> {
        for report in reports {
            match report {
                MonitorEvent::Load(report) => {
                    self.confirm(&report, now);
                    self.reports.insert(report.partition, report);
                }
                MonitorEvent::Positions(positions) => self.take_positions(positions),
            }
        }
        self.commands.retain(|decided, _| now < *decided + COMMAND_EXPIRY);
        let mut events = self.acknowledge();
        if self.reports.values().any(|report| report.mobile > 0) {
            self.solicit(now, &mut events);
            self.balance(now, &mut events);
        }
        events
    }

    fn take_positions(&mut self, positions: Positions) {
        let Positions { partition, received, wanted } = positions;
        for (origin, position, sub_position) in received {
            let known = self.received.entry((origin, partition)).or_default();
            *known = (*known).max((position, sub_position));
        }
        for receiver in wanted {
            self.told.remove(&(partition, receiver));
        }
    }

    /// Tells origins what they were not told yet.
    fn acknowledge(&mut self) -> Vec<(u32, PartitionEvent)> {
        let mut acks: BTreeMap<u32, Vec<Acknowledged>> = BTreeMap::new();
        for ((origin, receiver), (position, sub_position)) in &self.received {
            let key = (*origin, *receiver);
            if self.told.get(&key) == Some(&(*position, *sub_position)) {
                continue;
            }
            self.told.insert(key, (*position, *sub_position));
            let (receiver, position, sub_position) = (*receiver, *position, *sub_position);
            acks.entry(*origin).or_default().push(Acknowledged {
                receiver,
                position,
                sub_position,
            });
        }
        let event = |(origin, acks)| (origin, PartitionEvent::AcksReceived { acks });
        acks.into_iter().map(event).collect()
    }

    /// Counts commands that the report says were carried out.
    fn confirm(&mut self, report: &LoadInformation, now: Timestamp) {
        let received: BTreeMap<u32, Timestamp> = report.received.iter().copied().collect();
        let round_trip = &mut self.round_trip;
        self.commands.retain(|decided, command| {
            if command.source == report.partition {
                command.left_source |= report.carried_out.is_some_and(|last| last >= *decided);
            }
            let arrived = command.destination == report.partition
                && received.get(&command.source).is_some_and(|last| last >= decided);
            if arrived {
                let measured = now.since(*decided).mul_f64(SMOOTHING);
                *round_trip = round_trip.mul_f64(1.0 - SMOOTHING) + measured;
            }
            !arrived
        });
    }

    fn solicit(&mut self, now: Timestamp, events: &mut Vec<(u32, PartitionEvent)>) {
        if self.solicited_at.is_some_and(|last| now < last + SOLICITATION_INTERVAL) {
            return;
        }
        self.solicited_at = Some(now);
        let event = PartitionEvent::SolicitationReceived { asked: now };
        events.extend((0..self.partitions).map(|partition| (partition, event.clone())));
    }

    /// Plans transfers from those who hold more than they need to those who hold less.
    fn balance(&mut self, now: Timestamp, events: &mut Vec<(u32, PartitionEvent)>) {
        let mut loads = self.loads();
        let takers = loads.iter().filter(|load| load.lack() > 0).count();
        let surplus: u32 = loads.iter().map(Load::surplus).sum();
        if takers == 0 || surplus == 0 {
            return;
        }
        let share = surplus.div_ceil(takers as u32);
        let first = loads.iter().position(|load| load.partition >= self.first_taker);
        let first = first.unwrap_or_default();
        self.first_taker = loads[first].partition + 1;
        let mut transfers: BTreeMap<(u32, u32), u32> = BTreeMap::new();
        loop {
            let mut moved = 0;
            for step in 0..loads.len() {
                let taker = (first + step) % loads.len();
                moved += pull(&mut loads, taker, share, &mut transfers);
            }
            if moved == 0 {
                break;
            }
        }
        for ((source, destination), count) in transfers {
            let decided = now.max(self.last_decision + Duration::from_nanos(1));
            self.last_decision = decided;
            let command = Command { source, destination, count, left_source: false };
            self.commands.insert(decided, command);
            let event = PartitionEvent::TransferCommandReceived { decided, count, destination };
            events.push((source, event));
        }
    }

    /// What each partition that has reported holds, with what is on its way.
    fn loads(&self) -> Vec<Load> {
        let horizon = (self.round_trip + HORIZON_MARGIN).min(HORIZON_MAX);
        let load = |report: &LoadInformation| {
            let needs = match report.average_completion {
                Some(average) if !average.is_zero() => {
                    let within = horizon.as_secs_f64() / average.as_secs_f64();
                    (within * self.slots as f64).ceil().min(f64::from(u32::MAX)) as u32
                }
                Some(_) => u32::MAX,
                None => self.slots as u32,
            };
            let held = report.stationary + report.mobile;
            Load { partition: report.partition, held, mobile: report.mobile, needs }
        };
        let mut loads: Vec<Load> = self.reports.values().map(load).collect();
        for command in self.commands.values() {
            for load in &mut loads {
                if load.partition == command.source && !command.left_source {
                    load.held = load.held.saturating_sub(command.count);
                    load.mobile = load.mobile.saturating_sub(command.count);
                } else if load.partition == command.destination {
                    load.held += command.count;
                }
            }
        }
        loads
    }
}

/// Lets one partition pull at most `share` from the others, in turn; how much that was.
fn pull(
    loads: &mut [Load],
    taker: usize,
    share: u32,
    transfers: &mut BTreeMap<(u32, u32), u32>,
) -> u32 {
    let mut wanted = loads[taker].lack().min(share);
    let mut pulled = 0;
    for step in 1..loads.len() {
        let giver = (taker + step) % loads.len();
        let count = loads[giver].surplus().min(wanted);
        if count == 0 {
            continue;
        }
        loads[giver].held -= count;
        loads[giver].mobile -= count;
        loads[taker].held += count;
        wanted -= count;
        pulled += count;
        *transfers.entry((loads[giver].partition, loads[taker].partition)).or_default() += count;
    }
    pulled
}

#[cfg(test)]
mod tests;
