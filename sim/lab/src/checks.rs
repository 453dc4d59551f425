//! The oracles of a run: what must hold, each reported by name.
//!
//! A rule that the engine promises is passed or failed; a breach of a rule it does not promise is
//! only observed. Rules on messages in flight need a run that came to rest: on another run they
//! are not judged.

use crate::recorder::{Problems, Recording};
use crate::workload::Naming;
use serde::{Deserialize, Serialize};
use sim_model::engine::{Delivery, Guarantees};
use sim_model::graph::checks::{self, Finding};
use sim_model::graph::{Graph, Progress, WorkItemKind};

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
}

impl Check {
    fn new(name: &str, verdict: Verdict, detail: String) -> Check {
        Check { name: name.to_owned(), verdict, detail }
    }
}

/// All checks of a run, always the same ones in the same order.
pub(crate) fn all(
    graph: &Graph,
    guarantees: &Guarantees,
    recording: &Recording,
    naming: Naming,
) -> Vec<Check> {
    let at_rest = recording.unfinished() == 0;
    let (steps, tasks) = committed(graph);
    let sent = u64::from(graph.client_messages()) + produced(graph);
    let passed_steps = format!("{steps} steps committed");
    let exactly = |delivery| delivery == Delivery::ExactlyOnce;
    vec![
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
            rule("no-message-lost", true, &checks::no_message_lost(graph), passed)
        } else {
            let detail = "not judged: the run did not come to rest".to_owned();
            Check::new("no-message-lost", Verdict::Observed, detail)
        },
        rule("serial-instances", true, &checks::serial_instances(graph), passed_steps),
        rule(
            "causally-consistent-commit",
            guarantees.causally_consistent_commit,
            &checks::causally_consistent_commit(graph),
            format!("{} commits", graph.commits()),
        ),
        completion(recording, naming),
        problems(
            "results",
            &recording.result_problems,
            format!("{} results are as the workload expects", recording.ended()),
        ),
        problems(
            "breakdown",
            &recording.breakdown_problems,
            format!("parts sum to the latency in all {} orchestrations", recording.ended()),
        ),
    ]
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
            Check::new(name, verdict, detail)
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
fn completion(recording: &Recording, naming: Naming) -> Check {
    let mut faults = Vec::new();
    let unfinished = recording.unfinished();
    if unfinished > 0 {
        let running =
            |index: &usize| recording.records[*index].outcome == crate::recorder::Outcome::Running;
        let first: Vec<String> = (0..recording.records.len())
            .filter(running)
            .take(3)
            .map(|index| naming.instance(index as u64).to_string())
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
    Check::new("completion", Verdict::Fail, faults.join("; "))
}
