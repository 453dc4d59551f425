//! What hangs: orchestrations and jobs of the load that have not ended, and what each waits for.
//!
//! A run that reaches its bound of virtual time leaves these instead of results. What an orchestration
//! waits for is read off the record of work items ([`sim_model::graph::waiting`]); of one that has run
//! no step, what the client that asked for it was told. The check `completion` tells the first ones,
//! and a results folder has all of them in `stuck.csv`.
//!
//! Units: virtual nanoseconds since the start of the run.

use crate::history::{ClientOperation, ClientRequest, Told};
use crate::recorder::{Outcome, Recording};
use crate::workload::{Orchestrations, Start};
use rustc_hash::FxHashMap;
use sim_model::graph::Graph;
use sim_model::graph::waiting::{OpenEnds, Waiting};
use sim_model::id::InstanceId;
use sim_model::time::Timestamp;
use std::fmt;

/// Something that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The instance; for a job, the name it is known by.
    pub instance: InstanceId,
    /// The instant at which it was looked at.
    pub at: Timestamp,
    /// What it waits for.
    pub waiting: Waiting,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stuck { instance, at, waiting } = self;
        write!(f, "{at}  {instance} waits for {}", waiting.detail)?;
        match waiting.since {
            Some(since) => write!(f, " (since {since})"),
            None => Ok(()),
        }
    }
}

/// What has not ended at `now`, by index.
pub(crate) fn find(
    graph: &Graph,
    recording: &Recording,
    orchestrations: &Orchestrations,
    history: &[ClientOperation],
    now: Timestamp,
) -> Vec<Stuck> {
    let records = recording.records.iter().enumerate();
    let running = records.filter(|(_, record)| record.outcome == Outcome::Running);
    let instances: Vec<InstanceId> =
        running.map(|(index, _)| orchestrations.instance(index as u64)).collect();
    if instances.is_empty() {
        return Vec::new();
    }
    if matches!(orchestrations.workload().start(), Start::Job(_)) {
        return instances
            .into_iter()
            .map(|instance| Stuck { waiting: of_job(&instance, history), instance, at: now })
            .collect();
    }
    let ends = OpenEnds::of(graph, now);
    let mut starts: FxHashMap<&InstanceId, &ClientOperation> = FxHashMap::default();
    for operation in history {
        if matches!(operation.request, ClientRequest::Start { .. }) {
            starts.insert(&operation.instance, operation);
        }
    }
    instances
        .into_iter()
        .map(|instance| {
            let mut waiting = ends.waiting(&instance);
            if waiting.kind == "start" {
                let (since, told) = of_start(starts.get(&instance).copied());
                waiting.since = since;
                waiting.detail += &format!(": {told}");
            }
            Stuck { instance, at: now, waiting }
        })
        .collect()
}

/// What the client that asked for a start was told.
fn of_start(start: Option<&ClientOperation>) -> (Option<Timestamp>, String) {
    let Some(ClientOperation { invoked, answer, .. }) = start else {
        return (None, "no client has asked for its start".to_owned());
    };
    let told = match answer {
        None => format!("a client asked for its start at {invoked} and was not answered"),
        Some((at, Told::Refused(problem))) => format!("its start was refused at {at}: {problem}"),
        Some((at, Told::Unknown(problem))) => {
            format!("the outcome of its start was unknown at {at}: {problem}")
        }
        Some((at, _)) => format!("its start was accepted at {at}"),
    };
    (Some(*invoked), told)
}

/// The last request of a job that was not answered, as far as its name shows.
fn of_job(instance: &InstanceId, history: &[ClientOperation]) -> Waiting {
    let own = |operation: &&ClientOperation| {
        operation.instance.as_str().starts_with(instance.as_str()) && operation.answer.is_none()
    };
    match history.iter().rev().find(own) {
        Some(operation) => {
            let what = format!("the answer to its request about {}", operation.instance);
            Waiting::new("client", Some(operation.invoked), what)
        }
        None => Waiting::new("job", None, "its code to come to an end".to_owned()),
    }
}
