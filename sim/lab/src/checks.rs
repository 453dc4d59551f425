//! The oracles of a run: what must hold, each reported by name.
//!
//! | check | what must hold |
//! |---|---|
//! | `exactly-once-steps`, `exactly-once-tasks` | among committed work items every message is consumed at most once |
//! | `no-message-lost` | and, of those sent until the run has come to rest, none is left over |
//! | `serial-instances` | the committed steps of an instance form one chain |
//! | `no-timer-early` | what was sent for later is consumed then, not before |
//! | `causally-consistent-commit` | commits follow causes; nothing committed depends on what was given up |
//! | `completion` | everything that was started ends, and whoever waits is answered |
//! | `results`, `entities` | results and final states of entities are as the workload expects |
//! | `breakdown` | the parts of each latency sum to it |
//! | `fifo-between-instances` | what one instance sends another is consumed in the order it was sent |
//! | `linearizable-entities` | what callers saw of an entity fits operations one after the other (`checks/entities.rs`) |
//! | `linearizable-reads` | and so does what clients read of it |
//! | `isolated-sections` | what critical sections saw fits running them one after the other (`checks/sections.rs`) |
//! | `durability` | what was told stays so (`checks/durability.rs`) |
//! | `durable-reads` | and so does what a status showed |
//!
//! A rule that the engine promises is passed or failed; a breach of a rule it does not promise is
//! only observed. Rules on messages in flight need a run that came to rest: on another run they
//! are not judged. Rules on entities, on critical sections and on messages between instances are there if
//! a run had any. A check that found something tells the events that show it ([`Check::history`]).
//! All of them together cost O(1) for each work item.

pub(crate) mod durability;
mod entities;
mod excuse;
mod lost;
#[cfg(test)]
mod scene;
mod sections;

use crate::history::ClientOperation;
use crate::recorder::{Problems, Recording};
use crate::stuck::Stuck;
use crate::workload::{EntityStates, Orchestrations};
pub(crate) use excuse::{excuse, outside_of_budget};
use serde::{Deserialize, Serialize};
use sim_model::engine::{Delivery, Guarantees};
use sim_model::graph::checks::{self, Finding};
use sim_model::graph::{Graph, Progress, WorkItemKind};
use sim_model::time::Timestamp;

/// The names of all checks that a run can have.
pub const NAMES: [&str; 16] = [
    "exactly-once-steps",
    "exactly-once-tasks",
    "no-message-lost",
    "serial-instances",
    "no-timer-early",
    "causally-consistent-commit",
    "completion",
    "results",
    "breakdown",
    "entities",
    "fifo-between-instances",
    "linearizable-entities",
    "linearizable-reads",
    "isolated-sections",
    "durability",
    "durable-reads",
];

/// How the detail of a check begins that could not be judged.
const NOT_JUDGED: &str = "not judged";

/// How many of those that did not end are told.
const STUCK_TOLD: usize = 3;

/// What a check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The rule holds.
    Pass,
    /// The rule is promised and broken.
    Fail,
    /// The rule is broken and not promised, or could not be judged.
    Observed,
}

impl Verdict {
    /// The verdict as a word.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Observed => "observed",
        }
    }
}

/// One rule and how the run stands to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The rule.
    pub name: String,
    /// How the run stands to it.
    pub verdict: Verdict,
    /// What was found, for a person.
    pub detail: String,
    /// The shortest history that shows it: events in the order of virtual time, one a line, each
    /// beginning with its instant, or a dash if it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<String>,
}

impl Check {
    fn new(name: &str, verdict: Verdict, detail: String) -> Check {
        Check { name: name.to_owned(), verdict, detail, history: Vec::new() }
    }

    /// Whether the rule was judged and is broken, be it promised or not.
    pub fn is_broken(&self) -> bool {
        self.verdict != Verdict::Pass && !self.detail.starts_with(NOT_JUDGED)
    }

    fn with_history(self, history: Vec<String>) -> Check {
        Check { history, ..self }
    }
}

/// Whether an engine with these guarantees promises the rule of a check, under faults of its budget.
pub fn is_promised(guarantees: &Guarantees, check: &str) -> bool {
    let exact_steps = guarantees.steps == Delivery::ExactlyOnce;
    match check {
        "exactly-once-steps" | "linearizable-entities" | "isolated-sections" => exact_steps,
        "exactly-once-tasks" => guarantees.tasks == Delivery::ExactlyOnce,
        "causally-consistent-commit" => guarantees.causally_consistent_commit,
        "fifo-between-instances" => guarantees.fifo_between_instances,
        "durability" => guarantees.durable,
        "durable-reads" => guarantees.durable_reads,
        "no-message-lost" | "completion" => guarantees.lossless,
        "serial-instances" => guarantees.serial_instances,
        "linearizable-reads" => false,
        _ => true,
    }
}

/// What was found out about the workload's entities.
pub(crate) enum Entities {
    /// Their states; none if the workload names no entities.
    Read(EntityStates),
    /// The engine did not tell: why, for a person.
    Unreadable(String),
    /// The run was not over.
    NotRead,
}

impl Entities {
    /// The states that were read.
    pub(crate) fn into_states(self) -> EntityStates {
        match self {
            Entities::Read(states) => states,
            Entities::Unreadable(_) | Entities::NotRead => EntityStates::new(),
        }
    }
}

/// What a run is judged by.
pub(crate) struct Evidence<'a> {
    /// The record of work items.
    pub(crate) graph: &'a Graph,
    /// The instant at which the run had come to rest. The graph may have gone on: reading states takes time.
    pub(crate) at: Timestamp,
    /// What the engine promises.
    pub(crate) guarantees: &'a Guarantees,
    /// What load and engine reported.
    pub(crate) recording: &'a Recording,
    /// What was started.
    pub(crate) orchestrations: &'a Orchestrations,
    /// What became of entities.
    pub(crate) entities: &'a Entities,
    /// What clients asked and were told.
    pub(crate) history: &'a [ClientOperation],
    /// What has not ended, and what it waits for.
    pub(crate) stuck: &'a [Stuck],
}

/// All checks of a run but `durability` and `durable-reads`, always in the same order; the last ones, and `entities`, are
/// there only if there is something to judge by them.
pub(crate) fn all(evidence: &Evidence<'_>) -> Vec<Check> {
    let Evidence { graph, at, guarantees, recording, orchestrations, entities, .. } = *evidence;
    let at_rest = recording.unfinished() == 0;
    let (steps, tasks) = committed(graph);
    let sent = u64::from(graph.client_messages()) + produced(graph);
    let passed_steps = format!("{steps} steps committed");
    let exactly = |delivery| delivery == Delivery::ExactlyOnce;
    let mut all = vec![
        rule(
            "exactly-once-steps",
            exactly(guarantees.steps),
            &checks::exactly_once(graph, checks::is_step),
            passed_steps.clone(),
        ),
        rule(
            "exactly-once-tasks",
            exactly(guarantees.tasks),
            &checks::exactly_once(graph, checks::is_task),
            format!("{tasks} tasks committed"),
        ),
        if at_rest {
            let passed = format!("{sent} messages sent");
            rule(
                "no-message-lost",
                guarantees.lossless,
                &checks::no_message_lost(graph, at),
                passed,
            )
        } else {
            let detail = "not judged: the run did not come to rest".to_owned();
            Check::new("no-message-lost", Verdict::Observed, detail)
        },
        rule(
            "serial-instances",
            guarantees.serial_instances,
            &checks::serial_instances(graph),
            passed_steps,
        ),
        rule(
            "no-timer-early",
            true,
            &checks::no_timer_early(graph),
            format!("{} messages sent for later", graph.timers()),
        ),
        rule(
            "causally-consistent-commit",
            guarantees.causally_consistent_commit,
            &checks::causally_consistent_commit(graph),
            format!("{} commits", graph.commits()),
        ),
        completion(guarantees, recording, orchestrations, evidence.stuck),
        problems(
            "results",
            &recording.result_problems,
            format!("{} results are as the workload expects", recording.ended()),
        ),
        problems(
            "breakdown",
            &recording.breakdown_problems,
            format!("parts sum to the latency in all {} orchestrations", recording.broken_down),
        ),
    ];
    all.extend(entity_states(orchestrations, recording.started(), entities));
    all.extend(client_view(evidence));
    all
}

/// What instances and clients see of each other.
fn client_view(evidence: &Evidence<'_>) -> Vec<Check> {
    let Evidence { graph, guarantees, orchestrations, history, .. } = *evidence;
    let mut checks = Vec::new();
    let (pairs, finding) = checks::fifo_between_instances(graph);
    if pairs.messages > 0 {
        let passed =
            format!("{} messages between {} pairs of instances", pairs.messages, pairs.pairs);
        let promised = guarantees.fifo_between_instances;
        checks.push(rule("fifo-between-instances", promised, &finding, passed));
    }
    if !graph.entities().steps().is_empty() {
        let application = orchestrations.application();
        checks.extend(entities::checks(graph, history, &application, guarantees.steps));
        checks.extend(sections::check(graph, &application, guarantees.steps));
    }
    checks
}

/// Whether the final states of entities are as the workload expects.
fn entity_states(
    orchestrations: &Orchestrations,
    started: u64,
    entities: &Entities,
) -> Option<Check> {
    let check = |verdict, detail| Some(Check::new("entities", verdict, detail));
    match entities {
        Entities::Read(states) if states.is_empty() => None,
        Entities::Read(states) => match orchestrations.workload().check_entities(started, states) {
            Ok(()) => {
                let passed = format!("{} states are as the workload expects", states.len());
                check(Verdict::Pass, passed)
            }
            Err(problem) => check(Verdict::Fail, problem),
        },
        Entities::Unreadable(problem) => check(Verdict::Fail, problem.clone()),
        Entities::NotRead => {
            let detail = "not judged: the run did not come to rest".to_owned();
            check(Verdict::Observed, detail)
        }
    }
}

fn committed(graph: &Graph) -> (u64, u64) {
    let (mut steps, mut tasks) = (0, 0);
    for (_, item) in graph.items() {
        match (item.progress, item.kind) {
            (Progress::Committed(_), WorkItemKind::Step { .. }) => steps += 1,
            (Progress::Committed(_), WorkItemKind::Task) => tasks += 1,
            _ => {}
        }
    }
    (steps, tasks)
}

fn produced(graph: &Graph) -> u64 {
    let committed =
        graph.items().filter(|(_, item)| matches!(item.progress, Progress::Committed(_)));
    committed.map(|(_, item)| u64::from(item.produced)).sum()
}

fn rule(name: &str, promised: bool, finding: &Finding, passed: String) -> Check {
    match finding {
        None => Check::new(name, Verdict::Pass, passed),
        Some((count, violation)) => {
            let verdict = if promised { Verdict::Fail } else { Verdict::Observed };
            let detail = format!("{count} breaches, first: {}", violation.detail);
            Check::new(name, verdict, detail).with_history(violation.history.clone())
        }
    }
}

fn problems(name: &str, problems: &Problems, passed: String) -> Check {
    match problems.count {
        0 => Check::new(name, Verdict::Pass, passed),
        count => {
            let detail = format!("{count} problems, first: {}", problems.first.join("; "));
            Check::new(name, Verdict::Fail, detail)
        }
    }
}

/// Whether everything that was started has ended, once, and everyone who waited was answered.
fn completion(
    guarantees: &Guarantees,
    recording: &Recording,
    orchestrations: &Orchestrations,
    stuck: &[Stuck],
) -> Check {
    let mut faults = Vec::new();
    let unfinished = recording.unfinished();
    if unfinished > 0 {
        let running =
            |index: &usize| recording.records[*index].outcome == crate::recorder::Outcome::Running;
        let first: Vec<String> = (0..recording.records.len())
            .filter(running)
            .take(STUCK_TOLD)
            .map(|index| orchestrations.instance(index as u64).to_string())
            .collect();
        let started = recording.started();
        let first = first.join(", ");
        faults.push(format!("{unfinished} of {started} did not end, first: {first}"));
    }
    for (what, problems) in [
        ("requests failed", &recording.client_problems),
        ("impossible reports", &recording.report_problems),
    ] {
        if problems.count > 0 {
            let first = problems.first.join("; ");
            faults.push(format!("{} {what}, first: {first}", problems.count));
        }
    }
    if faults.is_empty() {
        let detail = format!("all {} orchestrations ended", recording.started());
        return Check::new("completion", Verdict::Pass, detail);
    }
    let history = stuck.iter().take(STUCK_TOLD).map(Stuck::to_string).collect();
    // Whoever may lose a message may leave someone waiting for it.
    let verdict = if guarantees.lossless { Verdict::Fail } else { Verdict::Observed };
    Check::new("completion", verdict, faults.join("; ")).with_history(history)
}
