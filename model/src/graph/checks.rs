//! The rules that a recorded execution graph must obey.
//!
//! 1. *exactly-once consumption*: among committed work items every message is consumed at most
//!    once;
//! 2. *no message lost*: everything a committed work item or a client sent is consumed by a
//!    committed work item, or was dropped on purpose (checked when the run has come to rest);
//! 3. *serial instances*: the committed steps of an instance form one chain;
//! 4. *causally consistent commit* (CCC): a work item is committed after everything it depends on,
//!    and nothing committed depends on something that was not;
//! 5. *no timer early*: what was sent for later is consumed then, not before;
//! 6. *first in, first out* between two instances: what one sends to the other is consumed in the order
//!    in which it was sent (`checks/order.rs`).
//!
//! Each check is linear in the size of the graph, and looks nothing up by hash that has a number. A
//! violation is reported with the shortest history that shows it, in the words of the model.

mod order;

pub use order::{Pairs, fifo_between_instances};

use super::numbers::Column;
use super::words::{Story, describe};
use super::{Graph, Progress, WorkItem, WorkItemKind};
use crate::id::{MessageId, Producer, WorkItemId};
use crate::time::Timestamp;

/// The breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The work item at which it shows.
    pub at: WorkItemId,
    /// What happened, for a person.
    pub detail: String,
    /// The events that show it, in their order, one a line.
    pub history: Vec<String>,
}

/// What a rule says of a graph: how many times it is breached, and the first breach.
pub type Finding = Option<(u64, Violation)>;

/// Counts a breach; the first one is described, with its history.
fn note(finding: &mut Finding, at: WorkItemId, tell: impl FnOnce() -> (String, Vec<String>)) {
    match finding {
        Some((count, _)) => *count += 1,
        None => {
            let (detail, history) = tell();
            *finding = Some((1, Violation { at, detail, history }));
        }
    }
}

fn committed(graph: &Graph) -> impl Iterator<Item = (WorkItemId, &WorkItem)> {
    graph.items().filter(|(_, item)| matches!(item.progress, Progress::Committed(_)))
}

/// Rule 1 for steps or tasks, as `kind` selects.
pub fn exactly_once(graph: &Graph, kind: fn(&WorkItemKind) -> bool) -> Finding {
    let mut consumers = Column::new(graph);
    let mut finding = None;
    for (id, item) in committed(graph).filter(|(_, item)| kind(&item.kind)) {
        for message in graph.consumed(item) {
            if let Some(other) = consumers.set(message, id.0) {
                let other = WorkItemId(other);
                note(&mut finding, id, || {
                    let (first, second) = (describe(graph, other), describe(graph, id));
                    let story = Story::of(graph).sent(message);
                    let story = story.fetched(other, Some(message)).settled(other);
                    (
                        format!(
                            "{message} was consumed by {first} and by {second}, both committed"
                        ),
                        story.fetched(id, Some(message)).settled(id).lines(),
                    )
                });
            }
        }
    }
    finding
}

/// Whether a work item is a step.
pub fn is_step(kind: &WorkItemKind) -> bool {
    matches!(kind, WorkItemKind::Step { .. })
}

/// Whether a work item is a task.
pub fn is_task(kind: &WorkItemKind) -> bool {
    matches!(kind, WorkItemKind::Task)
}

/// Rule 2, at the end of a run. Only meaningful once nothing is in flight any more, besides messages
/// that were sent for later than `now`, or later than `now`: the graph may have gone on meanwhile.
pub fn no_message_lost(graph: &Graph, now: Timestamp) -> Finding {
    let mut accounted = Column::new(graph);
    for (id, item) in committed(graph) {
        for message in graph.consumed(item) {
            accounted.set(message, id.0);
        }
    }
    for message in graph.discarded() {
        accounted.set(message, 0);
    }
    let mut finding = None;
    for index in 0..graph.client_messages() {
        let message = MessageId { producer: Producer::Client, index };
        let later = || graph.client_sent_at(index).is_some_and(|sent| sent > now);
        if accounted.get(&message).is_none() && !later() {
            note(&mut finding, WorkItemId(0), || {
                (format!("{message} was never consumed"), lost(graph, &message))
            });
        }
    }
    for (id, item) in committed(graph) {
        if item.settled_at.is_some_and(|committed| committed > now) {
            continue;
        }
        for index in 0..item.produced {
            let message = MessageId { producer: Producer::WorkItem(id), index };
            let later = || graph.due(&message).is_some_and(|due| due > now);
            if accounted.get(&message).is_none() && !later() {
                note(&mut finding, id, || {
                    let from = describe(graph, id);
                    (format!("{message}, {from}, was never consumed"), lost(graph, &message))
                });
            }
        }
    }
    finding
}

/// What became of a message that nobody consumed: who sent it, and every attempt at it.
fn lost(graph: &Graph, message: &MessageId) -> Vec<String> {
    let mut story = Story::of(graph).sent(message);
    if let Producer::WorkItem(producer) = message.producer {
        story = story.settled(producer);
    }
    let mut attempts = 0;
    for (id, item) in graph.items() {
        if graph.consumed(item).contains(message) {
            attempts += 1;
            story = story.fetched(id, Some(message)).settled(id);
        }
    }
    let end = match attempts {
        0 => format!("nobody fetched {message}"),
        _ => format!("no committed work item consumed {message}"),
    };
    let mut lines = story.lines();
    lines.push(format!("-  {end}"));
    lines
}

/// Rule 3. An instance whose life has ended (by its end, or by being removed) may begin another one:
/// a chain of its own, committed after that end. Nothing continues from the state of an ended life.
pub fn serial_instances(graph: &Graph) -> Finding {
    // A step has one instance, so the step that wrote a state names it.
    let mut successor: Vec<Option<WorkItemId>> = vec![None; graph.items().len()];
    let mut lives = Lives::of(graph);
    let mut finding = None;
    for id in in_commit_order(graph) {
        let item = graph.item(id);
        let WorkItemKind::Step { instance, predecessor } = item.kind else {
            continue;
        };
        let problem = match predecessor {
            None => lives.begin(instance, id).map(|first| (first, "no state".to_string())),
            Some(step) if !is_live_state(graph, instance, step) => {
                note(&mut finding, id, || {
                    let (second, first) = (describe(graph, id), describe(graph, step));
                    let story = Story::of(graph).fetched(step, None).settled(step);
                    (
                        format!("{second} continued from {first}, which left no state for it"),
                        story.fetched(id, None).settled(id).lines(),
                    )
                });
                None
            }
            Some(step) => {
                let first = successor[step.0 as usize].replace(id);
                first.map(|first| (first, format!("the state written by {step}")))
            }
        };
        if item.ends_life {
            lives.end(instance);
        }
        if let Some((first, state)) = problem {
            note(&mut finding, id, || {
                let mut story = Story::of(graph);
                if let Some(step) = predecessor {
                    story = story.settled(step);
                }
                let story = story.fetched(first, None).settled(first).fetched(id, None);
                let (first, second) = (describe(graph, first), describe(graph, id));
                (
                    format!("{first} and {second} both continued from {state}"),
                    story.settled(id).lines(),
                )
            });
        }
    }
    finding
}

/// The committed work items in the order of their commits.
pub fn in_commit_order(graph: &Graph) -> Vec<WorkItemId> {
    let mut order = vec![WorkItemId(u32::MAX); graph.commits() as usize];
    for (id, item) in graph.items() {
        if let Progress::Committed(number) = item.progress {
            order[number as usize] = id;
        }
    }
    order
}

/// Whether `step` has left a state that another step of `instance` can read.
fn is_live_state(graph: &Graph, instance: u32, step: WorkItemId) -> bool {
    let item = graph.item(step);
    matches!(item.kind, WorkItemKind::Step { instance: of, .. } if of == instance)
        && !item.ends_life
}

/// Which instances may begin a life: each of them once, and once more for each life that ended.
struct Lives {
    /// How many lives may begin besides the first, by instance.
    further: Vec<u32>,
    /// The step that began the last life, by instance.
    begun: Vec<Option<WorkItemId>>,
}

impl Lives {
    fn of(graph: &Graph) -> Lives {
        let mut further = vec![0; graph.instances()];
        graph.removed().for_each(|(instance, times)| further[instance as usize] = times);
        Lives { further, begun: vec![None; graph.instances()] }
    }

    fn end(&mut self, instance: u32) {
        self.further[instance as usize] += 1;
    }

    /// A life begins with `step`; the step that began the one before, if that has not ended.
    fn begin(&mut self, instance: u32, step: WorkItemId) -> Option<WorkItemId> {
        let before = self.begun[instance as usize].replace(step)?;
        match &mut self.further[instance as usize] {
            0 => Some(before),
            left => {
                *left -= 1;
                None
            }
        }
    }
}

/// Rule 5. A message that was sent for later is consumed then, not before.
pub fn no_timer_early(graph: &Graph) -> Finding {
    if graph.timers() == 0 {
        return None;
    }
    let mut finding = None;
    for (id, item) in committed(graph) {
        for message in graph.consumed(item) {
            if let Some(due) = graph.due(message).filter(|due| *due > item.fetched_at) {
                note(&mut finding, id, || {
                    let consumer = describe(graph, id);
                    let story = Story::of(graph).sent(message).fetched(id, Some(message));
                    (
                        format!("{consumer} consumed {message}, which was due at {due}"),
                        story.settled(id).line(Some(due), format!("{message} is due")).lines(),
                    )
                });
            }
        }
    }
    finding
}

/// Rule 4.
pub fn causally_consistent_commit(graph: &Graph) -> Finding {
    let mut finding = None;
    for (id, item) in committed(graph) {
        let Progress::Committed(order) = item.progress else {
            continue;
        };
        let producers = graph.consumed(item).iter().filter_map(|message| match message.producer {
            Producer::WorkItem(producer) => Some((producer, Some(message))),
            Producer::Client => None,
        });
        let state = match item.kind {
            WorkItemKind::Step { predecessor, .. } => predecessor,
            WorkItemKind::Task => None,
        };
        for (cause, message) in producers.chain(state.map(|state| (state, None))) {
            let problem = match graph.item(cause).progress {
                Progress::Committed(earlier) if earlier < order => continue,
                Progress::Committed(_) => "was committed before",
                Progress::Aborted => "was committed although it depends on the aborted",
                _ => "was committed although it depends on the uncommitted",
            };
            note(&mut finding, id, || {
                let mut story = Story::of(graph).fetched(cause, None);
                story = match message {
                    Some(message) => story.sent(message),
                    None => story,
                };
                let story = story.settled(cause).fetched(id, message).settled(id);
                (
                    format!("{} {problem} {}", describe(graph, id), describe(graph, cause)),
                    story.lines(),
                )
            });
        }
    }
    finding
}

#[cfg(test)]
mod tests;
