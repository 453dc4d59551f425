//! CollisionSearch: which numbers have a given hash.
//!
//! One orchestration searches `billions` times 1e9 integers. With `variant=divide-and-conquer` it
//! cuts its interval into ten, one sub-orchestration for each part, until an interval has at most
//! 1e9 integers, which the activity `Search` goes through: 400 billion integers are 1111
//! orchestrations and 1000 activities of 0.4e9 each. With `variant=flat-parallel` the one
//! orchestration calls an activity for each 1e9 integers, all in parallel. The published runs start
//! one orchestration at a time, so the load should be `batch:1`.
//!
//! **Core time.** `Search` computes at most 1e9 hashes in a loop and does nothing else. It takes
//! [`SEARCH_NANOS_PER_TEN`] core-nanoseconds for ten hashes: about 0.9 core-seconds for 1e9, as
//! published.
//!
//! **Modelled.** No hash is computed. A hash of 32 bits takes each value about once in 2^32
//! integers, so the integers are cut into blocks of 2^32, and each has one hit, at a place that is a
//! hash of the block. The orchestration returns all hits in order; they are checked against a search
//! of the whole interval in one piece.

use super::declare::{choice, count};
use super::{Start, Unit, Workload, WorkloadKind, completed, mix};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use sim_model::application::{ActivityContext, Application, ApplicationError};
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use std::rc::Rc;
use std::time::Duration;

/// Core time of ten hashes, in nanoseconds: about 0.9 core-seconds for 1e9
/// (microsoft/durabletask-netherite, `test/PerformanceTests/Benchmarks/CollisionSearch`).
const SEARCH_NANOS_PER_TEN: u64 = 9;
/// Most integers of one activity.
const ACTIVITY_MAX: u64 = 1_000_000_000;
/// Parts into which an interval is cut.
const ARITY: u64 = 10;
/// The hash that is looked for.
const TARGET: u64 = 0x5eed;

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "collision",
    summary: "CollisionSearch: looks for a hash, by sub-orchestrations or one wide fan-out",
    parameters: &[
        choice(
            "variant",
            &["divide-and-conquer", "flat-parallel"],
            "divide-and-conquer",
            "divide-and-conquer: ten sub-orchestrations at each level; flat-parallel: one fan-out",
        ),
        count(
            "billions",
            (1, 10_000),
            "400",
            "integers to search, in 1e9; published: 100, 400 and 1000, with load batch:1",
        ),
    ],
    files: &[],
    load: "batch:1",
    build: |parameters| Ok(Rc::new(Collision::new(parameters))),
};

/// Integers to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Interval {
    start: u64,
    count: u64,
}

impl Interval {
    /// The interval in pieces of `size`, the last of which may be smaller.
    fn pieces(self, size: u64) -> impl Iterator<Item = Interval> {
        (0..self.count.div_ceil(size)).map(move |number| {
            let offset = number * size;
            Interval { start: self.start + offset, count: size.min(self.count - offset) }
        })
    }

    /// The integers in it whose hash is the target, in order.
    fn hits(self) -> Vec<u64> {
        let end = self.start + self.count;
        let blocks = self.start >> 32..=(end - 1) >> 32;
        let hit = |block| block << 32 | mix(TARGET ^ mix(block)) >> 32;
        blocks.map(hit).filter(|hit| (self.start..end).contains(hit)).collect()
    }
}

async fn divide_and_conquer(
    context: OrchestrationContext,
    interval: Interval,
) -> Result<Vec<u64>, ApplicationError> {
    if interval.count <= ACTIVITY_MAX {
        return context.call_activity("Search", &interval).await;
    }
    let parts = interval.pieces(interval.count.div_ceil(ARITY));
    let searches = parts.map(|part| context.call_sub_orchestration(DIVIDE_AND_CONQUER, &part));
    let hits: Vec<Vec<u64>> = try_join_all(searches).await?;
    Ok(hits.concat())
}

async fn flat_parallel(
    context: OrchestrationContext,
    interval: Interval,
) -> Result<Vec<u64>, ApplicationError> {
    let parts = interval.pieces(ACTIVITY_MAX);
    let searches = parts.map(|part| context.call_activity("Search", &part));
    let hits: Vec<Vec<u64>> = try_join_all(searches).await?;
    Ok(hits.concat())
}

async fn search(cx: ActivityContext, interval: Interval) -> Result<Vec<u64>, ApplicationError> {
    cx.compute(Duration::from_nanos(interval.count * SEARCH_NANOS_PER_TEN / 10)).await;
    Ok(interval.hits())
}

const DIVIDE_AND_CONQUER: &str = "DivideAndConquerSearch";
const FLAT_PARALLEL: &str = "FlatParallelSearch";

struct Collision {
    orchestration: &'static str,
    billions: u64,
}

impl Collision {
    fn new(parameters: &Settings) -> Self {
        let orchestration = match parameters.choice("variant") {
            "flat-parallel" => FLAT_PARALLEL,
            _ => DIVIDE_AND_CONQUER,
        };
        Collision { orchestration, billions: parameters.count("billions") }
    }

    fn interval(&self) -> Interval {
        Interval { start: 0, count: self.billions * 1_000_000_000 }
    }
}

impl Workload for Collision {
    fn register(&self, application: &mut Application) {
        application.activity("Search", search);
        application.orchestration(DIVIDE_AND_CONQUER, divide_and_conquer);
        application.orchestration(FLAT_PARALLEL, flat_parallel);
    }

    fn start(&self) -> Start {
        Start::Orchestration(self.orchestration)
    }

    fn input(&self, _index: u64) -> Payload {
        Payload::encode(&self.interval()).expect("invariant: two numbers have a JSON form")
    }

    fn check(&self, _index: u64, status: &RuntimeStatus) -> Result<(), String> {
        let hits: Vec<u64> = completed(status)?;
        let expected = self.interval().hits();
        if hits == expected {
            return Ok(());
        }
        Err(format!(
            "found {} hits, {hits:?}; expected {}, {expected:?}",
            hits.len(),
            expected.len()
        ))
    }

    fn timing_independent(&self) -> bool {
        true
    }

    fn unit(&self) -> Unit {
        Unit { name: "billion numbers", per_orchestration: self.billions as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Orchestrations and activities of a divide-and-conquer search, and how large the latter are.
    fn tree(interval: Interval) -> (u64, Vec<u64>) {
        if interval.count <= ACTIVITY_MAX {
            return (1, vec![interval.count]);
        }
        let parts = interval.pieces(interval.count.div_ceil(ARITY));
        parts.map(tree).fold((1, Vec::new()), |(sum, mut sizes), (orchestrations, more)| {
            sizes.extend(more);
            (sum + orchestrations, sizes)
        })
    }

    #[test]
    fn the_published_searches_have_the_published_shape() {
        for (billions, orchestrations, activities, each) in [
            (100, 111, 100, 1_000_000_000),
            (400, 1111, 1000, 400_000_000),
            (1000, 1111, 1000, 1_000_000_000),
        ] {
            let whole = Interval { start: 0, count: billions * 1_000_000_000 };
            assert_eq!(tree(whole), (orchestrations, vec![each; activities]), "{billions}");
            assert_eq!(whole.pieces(ACTIVITY_MAX).count() as u64, billions);
        }
    }

    #[test]
    fn every_way_to_cut_an_interval_finds_the_same_hits() {
        let whole = Interval { start: 0, count: 100_000_000_000 };
        let hits = whole.hits();
        // One in each block of 2^32, but perhaps in the last, which is cut off.
        assert!((23..=24).contains(&hits.len()), "{hits:?}");
        for size in [333_333_333, 1_000_000_000, 7_000_000_001] {
            let found: Vec<u64> = whole.pieces(size).flat_map(Interval::hits).collect();
            assert_eq!(found, hits, "{size}");
        }
    }

    #[test]
    fn the_check_knows_right_from_wrong() {
        let collision = Collision::new(&Settings::defaults(KIND.parameters));
        let check = |hits: &[u64]| {
            let result = Payload::encode(&hits).expect("numbers");
            collision.check(0, &RuntimeStatus::Completed(result))
        };
        let hits = collision.interval().hits();
        assert_eq!(check(&hits), Ok(()));
        assert!(check(&hits[1..]).is_err());
        assert!(check(&[&hits[1..], &hits[..1]].concat()).is_err());
    }
}
