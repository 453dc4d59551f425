//! A history of an entity that no order explains, in words.

use super::collect::{Object, Op, Origin};
use super::{Action, OfEntity};
use crate::linearizability::{Evidence, Interval, Specification};
use sim_model::error::ApplicationResult;
use sim_model::graph::words::{Story, name};
use sim_model::graph::{Graph, WorkItemKind};
use sim_model::payload::Payload;

/// How many operations that are explained are told; those before them are counted.
const EXPLAINED_TOLD: usize = 6;
/// How many that are not explained are told.
const UNEXPLAINED_TOLD: usize = 6;
/// How much of a value is shown.
const VALUE_MAX: usize = 60;

fn shown(text: &str) -> String {
    let mut letters = text.chars();
    let start: String = letters.by_ref().take(VALUE_MAX).collect();
    if letters.next().is_some() { format!("{start}...") } else { start }
}

fn state(state: &Option<Payload>) -> String {
    state.as_ref().map_or_else(|| "no state".to_owned(), |state| shown(state.as_str()))
}

fn result(result: &ApplicationResult) -> String {
    match result {
        Ok(value) => shown(value.as_str()),
        Err(error) => shown(&error.to_string()),
    }
}

fn who(graph: &Graph, op: &Op) -> String {
    match op.origin {
        Origin::Client(host) => format!("a client on host {host} signals"),
        Origin::Step(item) => {
            let verb = if op.operation.caller.is_some() { "calls" } else { "signals" };
            let by = match graph.item(item).kind {
                WorkItemKind::Step { instance, .. } => graph.instance(instance).to_string(),
                WorkItemKind::Task => "a task".to_owned(),
            };
            format!("{by} {verb}")
        }
    }
}

fn asked(op: &Op) -> String {
    format!("{}({})", op.operation.name, shown(op.operation.input.as_str()))
}

/// The first line and the history that shows it: the operations that can be explained last, in the
/// order that explains them, and those of which none can come next.
pub(super) fn tell(
    graph: &Graph,
    specification: &OfEntity<'_>,
    object: &Object,
    history: &[Interval<Action>],
    part: &[usize],
    evidence: &Evidence,
) -> (String, Vec<String>) {
    let mut reached = specification.initial();
    let mut story = Story::of(graph);
    let told = evidence.explained.len().saturating_sub(EXPLAINED_TOLD);
    let mut before = String::new();
    for (position, index) in evidence.explained.iter().enumerate() {
        if position == told && told > 0 {
            before = format!("after {told} earlier operations: {}", state(&reached));
        }
        let action = &history[*index].operation;
        if let Some(after) = specification.apply(&reached, action) {
            reached = after;
        }
        if position >= told {
            story = add(story, graph, object, action);
        }
    }
    for index in evidence.unexplained.iter().take(UNEXPLAINED_TOLD) {
        story = add(story, graph, object, &history[*index].operation);
    }
    let mut lines: Vec<String> = Vec::new();
    lines.extend((!before.is_empty()).then(|| format!("-  {before}")));
    lines.extend(story.lines());
    for index in evidence.unexplained.iter().take(UNEXPLAINED_TOLD) {
        lines.push(format!("-  {}", verdict(specification, &reached, &history[*index].operation)));
    }
    let first = evidence.unexplained.first().map(|index| &history[*index].operation);
    let what = match first {
        Some(Action::Op(_, op)) => format!("the result of {}", asked(op)),
        Some(Action::Read(..)) => "a status read".to_owned(),
        None => "its history".to_owned(),
    };
    let detail = format!(
        "{}: {what} fits no order of the {} operations up to it",
        object.entity,
        part.len()
    );
    (detail, lines)
}

fn add<'a>(story: Story<'a>, graph: &'a Graph, object: &Object, action: &Action) -> Story<'a> {
    match action {
        Action::Read(number, seen) => {
            let read = &object.reads[*number];
            let who = format!("a client on host {} reads the status", read.host);
            story
                .line(Some(read.invoked), format!("{who}, read {number}"))
                .line(Some(read.responded), format!("read {number} shows {}", state(seen)))
        }
        Action::Op(number, op) => {
            let told = story.line(
                Some(op.invoked),
                format!("{} {}, operation {number}", who(graph, op), asked(op)),
            );
            match op.observed.as_ref() {
                None => told,
                Some(seen) => told.line(
                    Some(seen.at),
                    format!(
                        "operation {number} is answered with {}, in {}",
                        result(&seen.result),
                        name(graph, seen.by)
                    ),
                ),
            }
        }
    }
}

fn verdict(specification: &OfEntity<'_>, reached: &Option<Payload>, action: &Action) -> String {
    match action {
        Action::Read(number, seen) => {
            format!("in state {}, read {number} cannot show {}", state(reached), state(seen))
        }
        Action::Op(number, op) => {
            let (after, would) = specification.run(reached, op);
            match &op.observed {
                Some(seen) if seen.result != would => format!(
                    "in state {}, operation {number} would be answered with {}",
                    state(reached),
                    result(&would)
                ),
                _ => format!(
                    "in state {}, operation {number} would lead to {}, and to no explanation",
                    state(reached),
                    state(&after)
                ),
            }
        }
    }
}
