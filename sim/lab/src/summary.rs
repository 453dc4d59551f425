//! The summary of a run: what `sim run --json` prints and `summary.json` holds.
//!
//! Keys and their order are fixed, and floating-point numbers are rounded to fixed digits, so the
//! text of two equal runs is equal byte by byte. Latencies are milliseconds. `operations` holds
//! the operations on storage and event services in the whole run, start-up and polling included;
//! `operations_per_orchestration` is their sum by completed orchestrations; `bytes` adds requests
//! and replies, and also has the network's messages. `breakdown_ms` is the mean time for each
//! category: together the mean latency; null for workloads that are jobs. `orchestrations` counts
//! what the load started (orchestrations or jobs), `other_instances_ended` what these started in
//! turn. `work` is the same throughput in the workload's own unit. `levels` is there only if the
//! engine or the workload has reported any.

use crate::checks::{Check, Verdict};
use crate::levels::LevelSummary;
use crate::measure::Percentiles;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many orchestrations came how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrchestrationCounts {
    /// Accepted by the engine.
    pub started: u64,
    /// Ended with a result.
    pub completed: u64,
    /// Ended with an error.
    pub failed: u64,
    /// Ended from outside.
    pub terminated: u64,
}

/// What completed, in the workload's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// The unit's plural.
    pub unit: String,
    /// How much completed.
    pub total: f64,
    /// How much a second, over the same time as the throughput.
    pub per_s: Option<f64>,
}

/// The faults of a run, and how it got over them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSummary {
    /// How many there were of each kind.
    pub by_kind: BTreeMap<String, usize>,
    /// When the last had ended, in virtual seconds from the start of the load.
    pub last_end_seconds: f64,
    /// How often each way in which faults disturb came about, such as messages lost.
    pub effects: BTreeMap<String, u64>,
    /// The longest that the engine may take to be well again, in seconds, from its fault budget.
    pub heals_within_seconds: f64,
}

/// The summary of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// The engine.
    pub engine: String,
    /// The workload with its parameters.
    pub workload: String,
    /// The seed.
    pub seed: u64,
    /// 32 hexadecimal digits over every event of the run and every completion in order.
    pub digest: String,
    /// How many orchestrations came how far.
    pub orchestrations: OrchestrationCounts,
    /// Virtual length of the run, from nothing to rest.
    pub virtual_seconds: f64,
    /// Completed orchestrations a second, from the first creation to the last update.
    pub throughput_per_s: Option<f64>,
    /// What completed, in the workload's unit.
    pub work: Work,
    /// Sub-orchestrations and others that ended and were not started by the load.
    pub other_instances_ended: u64,
    /// Latency as the engine reports it.
    pub latency_ms: Percentiles,
    /// Latency as clients see it; absent if no client waits.
    pub client_latency_ms: Option<Percentiles>,
    /// Operations by `service.kind`.
    pub operations: BTreeMap<String, u64>,
    /// All operations by completed orchestrations.
    pub operations_per_orchestration: Option<f64>,
    /// Bytes in and out by `service.kind`.
    pub bytes: BTreeMap<String, u64>,
    /// Money for hosts, operations, and reserved throughput.
    pub cost_usd: f64,
    /// The checks.
    pub checks: Vec<Check>,
    /// Mean time for each category; absent where there is no breakdown.
    pub breakdown_ms: Option<IndexMap<String, f64>>,
    /// What went wrong on purpose; absent if nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultSummary>,
    /// Levels over time, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub levels: BTreeMap<String, LevelSummary>,
}

impl Summary {
    /// The summary on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("invariant: a summary has a JSON form")
    }

    /// The summary on many lines, with a line feed at the end.
    pub fn to_json_pretty(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("invariant: a summary has a JSON form") + "\n"
    }

    /// Whether no check failed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Fail)
    }
}
