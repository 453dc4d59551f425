//! The numbers by which runs are told apart, in the order in which a page shows them.

use super::run::Run;

/// Which of two values is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    Less,
    More,
    /// Neither: it depends on what was asked.
    Neither,
}

impl Better {
    pub(super) const fn sign(self) -> i8 {
        match self {
            Better::Less => -1,
            Better::More => 1,
            Better::Neither => 0,
        }
    }
}

/// A number that every run may have.
pub(super) struct Metric {
    pub name: &'static str,
    /// What it means, in a sentence.
    pub meaning: &'static str,
    pub digits: usize,
    pub better: Better,
    /// Whether the table of all runs has it.
    pub in_table: bool,
    pub of: fn(&Run) -> Option<f64>,
}

const ENGINE: &str = "Latency as the engine reports it, from created to last updated.";
const CLIENT: &str = "Latency as clients see it, from the intended request to the answer.";

/// All of them.
pub(super) const METRICS: [Metric; 15] = [
    metric(
        "completed",
        "Orchestrations or jobs of the load that ended with a result.",
        0,
        Better::More,
        true,
        |run| Some(run.summary.orchestrations.completed as f64),
    ),
    metric(
        "failed",
        "Orchestrations or jobs of the load that ended with an error.",
        0,
        Better::Less,
        true,
        |run| Some(run.summary.orchestrations.failed as f64),
    ),
    metric(
        "per second",
        "Completed a second, from the first creation to the last update.",
        2,
        Better::More,
        true,
        |run| run.summary.throughput_per_s,
    ),
    metric("p50 ms", ENGINE, 1, Better::Less, true, |run| run.summary.latency_ms.p50),
    metric("p90 ms", ENGINE, 1, Better::Less, false, |run| run.summary.latency_ms.p90),
    metric("p95 ms", ENGINE, 1, Better::Less, false, |run| run.summary.latency_ms.p95),
    metric("p99 ms", ENGINE, 1, Better::Less, true, |run| run.summary.latency_ms.p99),
    metric("p99.9 ms", ENGINE, 1, Better::Less, false, |run| run.summary.latency_ms.p99_9),
    metric("max ms", ENGINE, 1, Better::Less, false, |run| run.summary.latency_ms.max),
    metric("client p50 ms", CLIENT, 1, Better::Less, true, |run| {
        run.summary.client_latency_ms.as_ref().and_then(|latency| latency.p50)
    }),
    metric("client p99 ms", CLIENT, 1, Better::Less, true, |run| {
        run.summary.client_latency_ms.as_ref().and_then(|latency| latency.p99)
    }),
    metric(
        "operations each",
        "Storage and event operations by completed orchestration.",
        2,
        Better::Less,
        true,
        |run| run.summary.operations_per_orchestration,
    ),
    metric(
        "kB each",
        "Kilobytes of requests and replies of these, without the network's messages.",
        2,
        Better::Less,
        false,
        |run| {
            let of_operations =
                run.summary.operations.keys().filter_map(|name| run.summary.bytes.get(name));
            each(run, of_operations.sum::<u64>() as f64 / 1e3)
        },
    ),
    metric(
        "USD a million",
        "Hosts, operations and reserved throughput, for a million completed.",
        2,
        Better::Less,
        true,
        |run| each(run, run.summary.cost_usd * 1e6),
    ),
    metric(
        "virtual s",
        "Virtual length of the run, from nothing to rest.",
        2,
        Better::Neither,
        false,
        |run| Some(run.summary.virtual_seconds),
    ),
];

const fn metric(
    name: &'static str,
    meaning: &'static str,
    digits: usize,
    better: Better,
    in_table: bool,
    of: fn(&Run) -> Option<f64>,
) -> Metric {
    Metric { name, meaning, digits, better, in_table, of }
}

fn each(run: &Run, total: f64) -> Option<f64> {
    let completed = run.summary.orchestrations.completed;
    (completed > 0).then(|| total / completed as f64)
}
