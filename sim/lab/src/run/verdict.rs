//! What a run comes to: what it has used, its summary, and the outcome that waits for its digest.

use super::MachineUse;
use super::RunOutcome;
use crate::checks;
use crate::checks::durability::{Claims, Promises};
use crate::handover::Handover;
use crate::levels::{self, LevelSeries};
use crate::measure;
use crate::recorder::Recording;
use crate::spec::CheckedSpec;
use crate::summary::{FaultSummary, OrchestrationCounts, Summary};
use crate::workload::{EntityStates, Unit};
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use sim_world::cost::Cost;
use sim_world::kernel::EventTrail;
use sim_world::meter::{OperationCount, OperationSeries};
use sim_world::service::is_operation;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a run has used, up to an instant.
pub(super) struct Measured {
    pub(super) now: Timestamp,
    pub(super) faults: Option<FaultSummary>,
    pub(super) operations: Vec<OperationCount>,
    pub(super) series: Vec<OperationSeries>,
    pub(super) cost: Cost,
    pub(super) counters: Vec<(&'static str, u64)>,
    pub(super) levels: BTreeMap<&'static str, LevelSeries>,
    pub(super) handovers: Vec<Handover>,
    pub(super) host_time: Duration,
    pub(super) cpu_used: Vec<Duration>,
    pub(super) machines: Vec<MachineUse>,
}

/// The hash over the results of orchestrations and jobs, joined with that over the states of the
/// workload's entities, if it has any.
pub(super) fn results_digest(results: u128, entities: &EntityStates) -> String {
    if entities.is_empty() {
        return format!("{results:032x}");
    }
    let mut digest = blake3::Hasher::new();
    digest.update(&results.to_le_bytes());
    for (entity, state) in entities {
        let state = state.as_ref().map_or("", Payload::as_str);
        for text in [entity.name(), &**entity.key(), state] {
            digest.update(&(text.len() as u64).to_le_bytes());
            digest.update(text.as_bytes());
        }
    }
    digest.finalize().to_hex()[..32].to_owned()
}

/// An outcome that waits for the trail of its kernel.
pub(super) struct Judged {
    pub(super) outcome: RunOutcome,
    pub(super) completions: blake3::Hasher,
    /// What was told and what of it is promised, if the run is judged, and has come to its end.
    pub(super) claims: Option<Option<(Claims, Promises)>>,
}

impl Judged {
    pub(super) fn seal(mut self, trail: EventTrail) -> RunOutcome {
        let mut digest = blake3::Hasher::new();
        digest.update(&trail.digest.to_le_bytes());
        digest.update(&trail.events.to_le_bytes());
        digest.update(self.completions.finalize().as_bytes());
        self.outcome.summary.digest = digest.finalize().to_hex()[..32].to_owned();
        self.outcome.trail = trail;
        self.outcome
    }
}

pub(super) fn summarize(
    spec: &CheckedSpec,
    unit: Unit,
    recording: &Recording,
    measured: &Measured,
    checks: Vec<checks::Check>,
) -> Summary {
    let asked = spec.spec();
    let records = &recording.records;
    let Measured { operations, now, cost, .. } = measured;
    let name = |counted: &OperationCount| format!("{}.{}", counted.service, counted.kind);
    let real = |counted: &&OperationCount| is_operation(&counted.service, &counted.kind);
    let total: u64 = operations.iter().filter(real).map(|counted| counted.count).sum();
    let carried = operations.iter().filter(|counted| counted.bytes_in + counted.bytes_out > 0);
    let client_latency = || measure::client_latencies(records).percentiles();
    Summary {
        engine: asked.engine.clone(),
        workload: asked.workload.shown().to_string(),
        seed: asked.seed,
        digest: String::new(),
        orchestrations: OrchestrationCounts {
            started: recording.started(),
            completed: recording.completed,
            failed: recording.failed,
            terminated: recording.terminated,
        },
        virtual_seconds: measure::round(now.as_secs_f64(), 6),
        throughput_per_s: measure::throughput_per_s(records),
        work: measure::work(records, unit),
        other_instances_ended: recording.others_ended,
        latency_ms: measure::engine_latencies(records).percentiles(),
        client_latency_ms: asked.load.clients_wait().then(client_latency),
        operations: operations
            .iter()
            .filter(real)
            .map(|counted| (name(counted), counted.count))
            .collect(),
        operations_per_orchestration: (recording.completed > 0)
            .then(|| measure::round(total as f64 / recording.completed as f64, 3)),
        bytes: carried
            .map(|counted| (name(counted), counted.bytes_in + counted.bytes_out))
            .collect(),
        cost_usd: measure::round(cost.total_usd(), 9),
        faults: measured.faults.clone(),
        checks,
        breakdown_ms: measure::mean_breakdown_ms(records),
        levels: measured
            .levels
            .iter()
            .map(|(what, series)| (what.to_string(), levels::summarize(series, *now)))
            .collect(),
    }
}
