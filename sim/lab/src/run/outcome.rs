//! What a run leaves.

use crate::explain::{Explained, NotExplained};
use crate::handover::Handover;
use crate::history::export::Seen;
use crate::levels::LevelSeries;
use crate::recorder::Record;
use crate::stuck::Stuck;
use crate::summary::Summary;
use crate::trace::Trace;
use crate::workload::{EntityStates, Naming};
use sim_model::orchestration::RuntimeStatus;
use sim_world::cost::Cost;
use sim_world::kernel::EventTrail;
use sim_world::machine::Machine;
use sim_world::meter::{OperationCount, OperationSeries};
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything a run leaves.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// The summary.
    pub summary: Summary,
    /// Every orchestration, by index.
    pub records: Vec<Record>,
    /// The names of their instances.
    pub naming: Naming,
    /// Whether they are jobs.
    pub jobs: bool,
    /// Counts of all kinds of operations, and of counters and messages, sorted by name.
    pub operations: Vec<OperationCount>,
    /// Price of one operation of each kind in [`RunOutcome::operations`], in US dollars.
    pub prices_usd: Vec<f64>,
    /// Operations by second.
    pub operation_series: Vec<OperationSeries>,
    /// Orchestrations started by second.
    pub started_per_second: Vec<u32>,
    /// Orchestrations ended by second.
    pub ended_per_second: Vec<u32>,
    /// Money.
    pub cost: Cost,
    /// Time that hosts are paid for, all together.
    pub host_time: Duration,
    /// The engine's own counters.
    pub counters: Vec<(&'static str, u64)>,
    /// Levels over time, by name.
    pub levels: BTreeMap<&'static str, LevelSeries>,
    /// Partitions that went from one host, or life of a host, to another, by time.
    pub handovers: Vec<Handover>,
    /// 32 hexadecimal digits over all results, whatever their order: equal for all engines if the
    /// workload does not depend on timing.
    pub results_digest: String,
    /// Whether that is so.
    pub timing_independent: bool,
    /// All results, if they were asked for.
    pub finals: Option<Finals>,
    /// What clients and callers of entities saw, if it was asked for.
    pub history: Option<Vec<Seen>>,
    /// What has not ended, and what it waits for.
    pub stuck: Vec<Stuck>,
    /// Where each core's time went: core time used by each host.
    pub cpu_used: Vec<Duration>,
    /// The machines that were rented besides the hosts, in the order they were rented.
    pub machines: Vec<MachineUse>,
    /// The event trail.
    pub trail: EventTrail,
    /// What happened, event by event, if that was asked for.
    pub trace: Option<Trace>,
    /// The orchestration that was to be explained, if one was.
    pub explained: Option<Result<Explained, NotExplained>>,
}

/// What a machine besides the hosts was used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineUse {
    /// Its name.
    pub name: String,
    /// Its class in the profile.
    pub class: String,
    /// Its cores.
    pub cores: u32,
    /// Core time that was used.
    pub cpu_used: Duration,
}

impl MachineUse {
    pub(super) fn of(machine: &Machine) -> MachineUse {
        let host = machine.host();
        MachineUse {
            name: host.name().to_owned(),
            class: machine.class().to_owned(),
            cores: host.cores(),
            cpu_used: host.cpu_used(),
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finals {
    /// How each orchestration or job ended, by index.
    pub statuses: Vec<RuntimeStatus>,
    /// The states of the workload's entities.
    pub entities: EntityStates,
}
