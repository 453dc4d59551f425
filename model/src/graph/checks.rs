//! The rules that a recorded execution graph must obey.
//!
//! 1. *exactly-once consumption*: among committed work items every message is consumed at most
//!    once;
//! 2. *no message lost*: everything a committed work item or a client sent is consumed by a
//!    committed work item, or was dropped on purpose (checked when the run has come to rest);
//! 3. *serial instances*: the committed steps of an instance form one chain;
//! 4. *causally consistent commit* (CCC): a work item is committed after everything it depends on,
//!    and nothing committed depends on something that was not;
//! 5. *no timer early*: what was sent for later is consumed then, not before.
//!
//! Each check is linear in the size of the graph. A violation is reported with the shortest
//! description that shows it, in the words of the model.

use super::{Graph, Progress, WorkItem, WorkItemKind};
use crate::id::{MessageId, Producer, WorkItemId};
use crate::time::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};

/// The breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The work item at which it shows.
    pub at: WorkItemId,
    /// What happened, for a person.
    pub detail: String,
}

/// What a rule says of a graph: how many times it is breached, and the first breach.
pub type Finding = Option<(u64, Violation)>;

fn note(finding: &mut Finding, at: WorkItemId, detail: impl FnOnce() -> String) {
    match finding {
        Some((count, _)) => *count += 1,
        None => *finding = Some((1, Violation { at, detail: detail() })),
    }
}

fn committed(graph: &Graph) -> impl Iterator<Item = (WorkItemId, &WorkItem)> {
    graph.items().filter(|(_, item)| matches!(item.progress, Progress::Committed(_)))
}

fn describe(graph: &Graph, id: WorkItemId) -> String {
    let item = graph.item(id);
    match item.kind {
        WorkItemKind::Task => format!("{id} (a task fetched at {})", item.fetched_at),
        WorkItemKind::Step { instance, .. } => {
            let name = graph.instance(instance);
            format!("{id} (a step of {name} fetched at {})", item.fetched_at)
        }
    }
}

/// Rule 1 for steps or tasks, as `kind` selects.
pub fn exactly_once(graph: &Graph, kind: fn(&WorkItemKind) -> bool) -> Finding {
    let mut consumers: FxHashMap<MessageId, WorkItemId> = FxHashMap::default();
    let mut finding = None;
    for (id, item) in committed(graph).filter(|(_, item)| kind(&item.kind)) {
        for message in graph.consumed(item) {
            if let Some(other) = consumers.insert(*message, id) {
                note(&mut finding, id, || {
                    let (first, second) = (describe(graph, other), describe(graph, id));
                    format!("{message} was consumed by {first} and by {second}, both committed")
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
/// that were sent for later than `now`.
pub fn no_message_lost(graph: &Graph, now: Timestamp) -> Finding {
    let consumed = committed(graph).flat_map(|(_, item)| graph.consumed(item));
    let accounted: FxHashSet<MessageId> = consumed.chain(graph.discarded()).copied().collect();
    let mut finding = None;
    for index in 0..graph.client_messages() {
        let message = MessageId { producer: Producer::Client, index };
        if !accounted.contains(&message) {
            note(&mut finding, WorkItemId(0), || format!("{message} was never consumed"));
        }
    }
    for (id, item) in committed(graph) {
        for index in 0..item.produced {
            let message = MessageId { producer: Producer::WorkItem(id), index };
            let later = || graph.due(&message).is_some_and(|due| due > now);
            if !accounted.contains(&message) && !later() {
                let from = || format!("{message}, {}, was never consumed", describe(graph, id));
                note(&mut finding, id, from);
            }
        }
    }
    finding
}

/// Rule 3. An instance whose life has ended (by its end, or by being removed) may begin another one:
/// a chain of its own, committed after that end. Nothing continues from the state of an ended life.
pub fn serial_instances(graph: &Graph) -> Finding {
    let mut successor: FxHashMap<(u32, WorkItemId), WorkItemId> = FxHashMap::default();
    let mut lives = Lives::of(graph);
    let mut finding = None;
    for (id, item) in in_commit_order(graph) {
        let WorkItemKind::Step { instance, predecessor } = item.kind else {
            continue;
        };
        let problem = match predecessor {
            None => lives.begin(instance, id).map(|first| (first, "no state".to_string())),
            Some(step) if !is_live_state(graph, instance, step) => {
                note(&mut finding, id, || {
                    let (second, first) = (describe(graph, id), describe(graph, step));
                    format!("{second} continued from {first}, which left no state for it")
                });
                None
            }
            Some(step) => {
                let first = successor.insert((instance, step), id);
                first.map(|first| (first, format!("the state written by {step}")))
            }
        };
        if item.ends_life {
            lives.end(instance);
        }
        if let Some((first, state)) = problem {
            note(&mut finding, id, || {
                let (first, second) = (describe(graph, first), describe(graph, id));
                format!("{first} and {second} both continued from {state}")
            });
        }
    }
    finding
}

fn in_commit_order(graph: &Graph) -> Vec<(WorkItemId, &WorkItem)> {
    let mut items: Vec<_> = committed(graph).collect();
    items.sort_by_key(|(_, item)| match item.progress {
        Progress::Committed(order) => order,
        _ => u32::MAX,
    });
    items
}

/// Whether `step` has left a state that another step of `instance` can read.
fn is_live_state(graph: &Graph, instance: u32, step: WorkItemId) -> bool {
    let item = graph.item(step);
    matches!(item.kind, WorkItemKind::Step { instance: of, .. } if of == instance)
        && !item.ends_life
}

/// Which instances may begin a life: each of them once, and once more for each life that ended.
struct Lives {
    /// How many lives may begin besides the first.
    further: FxHashMap<u32, u32>,
    /// The step that began the last life.
    begun: FxHashMap<u32, WorkItemId>,
}

impl Lives {
    fn of(graph: &Graph) -> Lives {
        Lives { further: graph.removed().collect(), begun: FxHashMap::default() }
    }

    fn end(&mut self, instance: u32) {
        *self.further.entry(instance).or_default() += 1;
    }

    /// A life begins with `step`; the step that began the one before, if that has not ended.
    fn begin(&mut self, instance: u32, step: WorkItemId) -> Option<WorkItemId> {
        let before = self.begun.insert(instance, step)?;
        match self.further.get_mut(&instance).filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                None
            }
            None => Some(before),
        }
    }
}

/// Rule 5. A message that was sent for later is consumed then, not before.
pub fn no_timer_early(graph: &Graph) -> Finding {
    let mut finding = None;
    for (id, item) in committed(graph) {
        for message in graph.consumed(item) {
            if let Some(due) = graph.due(message).filter(|due| *due > item.fetched_at) {
                note(&mut finding, id, || {
                    format!("{} consumed {message}, which was due at {due}", describe(graph, id))
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
            Producer::WorkItem(producer) => Some(producer),
            Producer::Client => None,
        });
        let state = match item.kind {
            WorkItemKind::Step { predecessor, .. } => predecessor,
            WorkItemKind::Task => None,
        };
        for cause in producers.chain(state) {
            let problem = match graph.item(cause).progress {
                Progress::Committed(earlier) if earlier < order => continue,
                Progress::Committed(_) => "was committed before",
                Progress::Aborted => "was committed although it depends on the aborted",
                _ => "was committed although it depends on the uncommitted",
            };
            note(&mut finding, id, || {
                format!("{} {problem} {}", describe(graph, id), describe(graph, cause))
            });
        }
    }
    finding
}

#[cfg(test)]
mod tests;
