//! How many workers a task hub needs: what partitions publish, and the rule that reads it.
//!
//! **What it models.** Each partition keeps a row in a table: how much it has to do, and the trend of its
//! latency over the last five intervals, one letter each: I (idle), L (below 100 ms), M (below 1 s), H. A
//! partition that has been idle for the whole trend and has published that stays silent. The scale
//! controller of the platform reads the table every 10 s and asks the rule:
//!
//! 1. nobody works, and somebody has something to do: add a worker;
//! 2. everybody has been idle for long: go to zero; only a timer that comes due counts as work then;
//! 3. fewer workers than slow partitions (M or H in the last interval), or activities that wait although
//!    they could run elsewhere: add a worker;
//! 4. more workers than partitions that are not idle: remove one;
//! 5. all partitions are fast: remove one with a chance of 1/8.
//!
//! **Assumptions.** Latency is the time from taking an event in to its durability, at most, in the
//! interval. Slow means M or H. The rule votes: the vote is reported as a level (`recommended_workers`), and
//! who runs the hub may carry it out.
//!
//! Source: microsoft/durabletask-netherite, `Scaling/`, and its documentation `ptable.md`.

use serde::{Deserialize, Serialize};
use sim_model::time::Timestamp;
use std::time::Duration;

/// Intervals in a trend.
pub(crate) const TREND: usize = 5;
/// How often a partition publishes its load, and how often the controller reads the table.
pub(crate) const PUBLISH_INTERVAL: Duration = Duration::from_secs(8);
pub(crate) const READ_INTERVAL: Duration = Duration::from_secs(10);
/// Bounds of low and medium latency.
const LOW: Duration = Duration::from_millis(100);
const MEDIUM: Duration = Duration::from_secs(1);
/// One in so many votes removes a worker although nothing speaks for it but low latency.
pub(crate) const CHANCE_TO_SHRINK: u64 = 8;

/// The latency of one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Latency {
    /// Nothing was taken in, and nothing is to be done.
    Idle,
    Low,
    Medium,
    High,
}

impl Latency {
    /// The latency of an interval in which the slowest event took so long.
    pub(crate) fn of(slowest: Option<Duration>, busy: bool) -> Latency {
        match slowest {
            None if busy => Latency::Low,
            None => Latency::Idle,
            Some(span) if span < LOW => Latency::Low,
            Some(span) if span < MEDIUM => Latency::Medium,
            Some(_) => Latency::High,
        }
    }
}

/// What a partition has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Work {
    /// Instances with messages.
    pub steps: u32,
    /// Activities, and those of them that wait and could run elsewhere.
    pub activities: u32,
    pub backlog: u32,
    /// Requests of clients between their two phases.
    pub requests: u32,
    /// When the next timer is due.
    pub next_timer: Option<Timestamp>,
}

impl Work {
    fn is_none(&self) -> bool {
        self.steps == 0 && self.activities == 0 && self.requests == 0
    }
}

/// A row of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionLoad {
    pub work: Work,
    /// The newest last.
    pub trend: Vec<Latency>,
}

impl PartitionLoad {
    /// Adds an interval; whether the row has to be published.
    pub(crate) fn next(&mut self, work: Work, slowest: Option<Duration>) -> bool {
        let silent = self.is_long_idle() && work == self.work;
        self.work = work;
        self.trend.push(Latency::of(slowest, !work.is_none()));
        let surplus = self.trend.len().saturating_sub(TREND);
        self.trend.drain(..surplus);
        !(silent && self.is_long_idle())
    }

    fn is_long_idle(&self) -> bool {
        self.trend.len() == TREND && self.trend.iter().all(|latency| *latency == Latency::Idle)
    }

    fn last(&self) -> Latency {
        self.trend.last().copied().unwrap_or(Latency::Idle)
    }

    fn has_work(&self, now: Timestamp) -> bool {
        !self.work.is_none() || self.work.next_timer.is_some_and(|due| due <= now)
    }
}

/// What the rule votes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vote {
    Add,
    Keep,
    Remove,
    ToZero,
}

/// The vote for a hub with these rows and so many workers. `shrink` is drawn with the chance of
/// [`CHANCE_TO_SHRINK`].
pub(crate) fn vote(rows: &[PartitionLoad], workers: usize, now: Timestamp, shrink: bool) -> Vote {
    let any_work = rows.iter().any(|row| row.has_work(now));
    if workers == 0 {
        return if any_work { Vote::Add } else { Vote::Keep };
    }
    if rows.iter().all(PartitionLoad::is_long_idle) && !any_work {
        return Vote::ToZero;
    }
    let slow = |row: &&PartitionLoad| matches!(row.last(), Latency::Medium | Latency::High);
    if workers < rows.iter().filter(slow).count() || rows.iter().any(|row| row.work.backlog > 0) {
        return Vote::Add;
    }
    let awake = rows.iter().filter(|row| !row.is_long_idle() || row.has_work(now)).count();
    let fast = rows.iter().all(|row| matches!(row.last(), Latency::Idle | Latency::Low));
    if workers > awake.max(1) || (fast && shrink && workers > 1) {
        return Vote::Remove;
    }
    Vote::Keep
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(100);

    fn row(trend: &str, work: Work) -> PartitionLoad {
        let latency = |letter| match letter {
            'I' => Latency::Idle,
            'L' => Latency::Low,
            'M' => Latency::Medium,
            _ => Latency::High,
        };
        PartitionLoad { work, trend: trend.chars().map(latency).collect() }
    }

    #[test]
    fn an_idle_hub_goes_to_zero_and_only_work_wakes_it() {
        let idle = || row("IIIII", Work::default());
        assert_eq!(vote(&[idle(), idle()], 3, NOW, false), Vote::ToZero);
        assert_eq!(vote(&[idle(), idle()], 0, NOW, false), Vote::Keep);
        let timer = |due| Work { next_timer: Some(due), ..Work::default() };
        let later = row("IIIII", timer(Timestamp::from_secs(200)));
        assert_eq!(vote(&[idle(), later], 1, NOW, false), Vote::ToZero, "a timer does not hold it");
        assert_eq!(vote(&[idle(), row("IIIII", timer(NOW))], 0, NOW, false), Vote::Add);
        let request = Work { requests: 1, ..Work::default() };
        assert_eq!(vote(&[idle(), row("IIIII", request)], 0, NOW, false), Vote::Add);
    }

    #[test]
    fn slow_partitions_and_backlogs_ask_for_workers() {
        let busy = Work { steps: 3, ..Work::default() };
        let slow = || row("LLLLH", busy);
        assert_eq!(vote(&[slow(), slow(), slow()], 2, NOW, false), Vote::Add);
        assert_eq!(vote(&[slow(), slow(), slow()], 3, NOW, false), Vote::Keep);
        let backlog = Work { activities: 9, backlog: 5, ..Work::default() };
        assert_eq!(vote(&[row("LLLLL", backlog)], 4, NOW, false), Vote::Add);
    }

    #[test]
    fn idle_partitions_and_low_latency_give_workers_back() {
        let (awake, idle) = (row("IILLL", Work::default()), row("IIIII", Work::default()));
        assert_eq!(vote(&[awake.clone(), idle.clone()], 2, NOW, false), Vote::Remove);
        assert_eq!(vote(&[awake.clone(), awake.clone()], 2, NOW, false), Vote::Keep);
        assert_eq!(vote(&[awake.clone(), awake.clone()], 2, NOW, true), Vote::Remove);
        assert_eq!(vote(&[awake, idle], 1, NOW, true), Vote::Keep, "the last one stays");
    }

    #[test]
    fn a_partition_that_has_been_idle_for_long_falls_silent() {
        let mut load = PartitionLoad::default();
        let published = |load: &mut PartitionLoad| load.next(Work::default(), None);
        let rows: Vec<bool> = (0..8).map(|_| published(&mut load)).collect();
        assert_eq!(rows, [true, true, true, true, true, false, false, false]);
        assert!(load.next(Work::default(), Some(Duration::from_millis(20))), "something happened");
        assert_eq!(load.last(), Latency::Low);
    }
}
