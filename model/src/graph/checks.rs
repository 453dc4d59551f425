//! The rules that a recorded execution graph must obey.
//!
//! 1. *exactly-once consumption*: among committed work items every message is consumed at most
//!    once;
//! 2. *no message lost*: everything a committed work item or a client sent is consumed by a
//!    committed work item, or was dropped on purpose (checked when the run has come to rest);
//! 3. *serial instances*: the committed steps of an instance form one chain;
//! 4. *causally consistent commit* (CCC): a work item is committed after everything it depends on,
//!    and nothing committed depends on something that was not.
//!
//! Each check is linear in the size of the graph. A violation is reported with the shortest
//! description that shows it, in the words of the model.

use super::{Graph, Progress, WorkItem, WorkItemKind};
use crate::id::{MessageId, Producer, WorkItemId};
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

/// Rule 2. Only meaningful once nothing is in flight any more.
pub fn no_message_lost(graph: &Graph) -> Finding {
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
            if !accounted.contains(&message) {
                let from = || format!("{message}, {}, was never consumed", describe(graph, id));
                note(&mut finding, id, from);
            }
        }
    }
    finding
}

/// Rule 3.
pub fn serial_instances(graph: &Graph) -> Finding {
    let mut successor: FxHashMap<(u32, Option<WorkItemId>), WorkItemId> = FxHashMap::default();
    let mut finding = None;
    for (id, item) in committed(graph) {
        let WorkItemKind::Step { instance, predecessor } = item.kind else {
            continue;
        };
        if let Some(other) = successor.insert((instance, predecessor), id) {
            note(&mut finding, id, || {
                let (first, second) = (describe(graph, other), describe(graph, id));
                let state = predecessor
                    .map_or("no state".to_string(), |step| format!("the state written by {step}"));
                format!("{first} and {second} both continued from {state}")
            });
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
mod tests {
    use super::*;
    use crate::graph::GraphRecorder;
    use crate::id::InstanceId;
    use crate::time::Timestamp;

    const NOW: Timestamp = Timestamp::ZERO;

    fn produced(by: WorkItemId, index: u32) -> MessageId {
        MessageId { producer: Producer::WorkItem(by), index }
    }

    fn commit(recorder: &GraphRecorder, id: WorkItemId, produced: u32) {
        recorder.executed(id, produced);
        recorder.committed(id);
    }

    /// A legal run: client -> step -> task -> step.
    fn legal() -> (GraphRecorder, InstanceId, [WorkItemId; 3]) {
        let recorder = GraphRecorder::default();
        let instance = InstanceId::new("i");
        let start = recorder.client_message();
        let first = recorder.fetch_step(&instance, None, [start].into_iter(), NOW);
        commit(&recorder, first, 1);
        let task = recorder.fetch_task(produced(first, 0), NOW);
        commit(&recorder, task, 1);
        let messages = [produced(task, 0)].into_iter();
        let second = recorder.fetch_step(&instance, Some(first), messages, NOW);
        commit(&recorder, second, 0);
        (recorder, instance, [first, task, second])
    }

    fn findings(recorder: &GraphRecorder) -> [bool; 5] {
        let graph = recorder.graph();
        [
            exactly_once(&graph, is_step).is_some(),
            exactly_once(&graph, is_task).is_some(),
            no_message_lost(&graph).is_some(),
            serial_instances(&graph).is_some(),
            causally_consistent_commit(&graph).is_some(),
        ]
    }

    #[test]
    fn a_legal_run_breaks_no_rule() {
        assert_eq!(findings(&legal().0), [false; 5]);
    }

    #[test]
    fn aborted_attempts_break_no_rule() {
        let (recorder, instance, [first, task, second]) = legal();
        let again = recorder.fetch_task(produced(first, 0), NOW);
        recorder.executed(again, 1);
        recorder.aborted(again);
        let messages = [produced(task, 0)].into_iter();
        let stale = recorder.fetch_step(&instance, Some(second), messages, NOW);
        recorder.aborted(stale);
        assert_eq!(findings(&recorder), [false; 5]);
    }

    #[test]
    fn a_task_that_is_committed_twice_is_found() {
        let (recorder, _, [first, ..]) = legal();
        let again = recorder.fetch_task(produced(first, 0), NOW);
        commit(&recorder, again, 0);
        assert_eq!(findings(&recorder), [false, true, false, false, false]);
    }

    #[test]
    fn a_message_consumed_by_two_steps_is_found() {
        let (recorder, instance, [_, task, second]) = legal();
        let messages = [produced(task, 0)].into_iter();
        let again = recorder.fetch_step(&instance, Some(second), messages, NOW);
        commit(&recorder, again, 0);
        assert_eq!(findings(&recorder), [true, false, false, false, false]);
    }

    #[test]
    fn a_lost_message_is_found_and_a_dropped_one_is_not() {
        let (recorder, ..) = legal();
        let lost = recorder.client_message();
        assert_eq!(findings(&recorder), [false, false, true, false, false]);
        recorder.discarded(lost);
        assert_eq!(findings(&recorder), [false; 5]);
    }

    #[test]
    fn an_answer_nobody_consumed_is_found() {
        let (recorder, _, [_, _, second]) = legal();
        let task = recorder.fetch_task(recorder.client_message(), NOW);
        commit(&recorder, task, 1);
        let (count, violation) = no_message_lost(&recorder.graph()).expect("lost");
        assert_eq!((count, violation.at), (1, task));
        assert!(task > second);
    }

    #[test]
    fn two_steps_from_one_state_are_found() {
        let (recorder, instance, [first, ..]) = legal();
        let messages = [recorder.client_message()].into_iter();
        let fork = recorder.fetch_step(&instance, Some(first), messages, NOW);
        commit(&recorder, fork, 0);
        assert_eq!(findings(&recorder), [false, false, false, true, false]);
        let graph = recorder.graph();
        let (_, violation) = serial_instances(&graph).expect("a fork");
        assert!(violation.detail.contains("state written by work item 0"), "{}", violation.detail);
    }

    #[test]
    fn a_commit_before_its_cause_is_found() {
        let recorder = GraphRecorder::default();
        let instance = InstanceId::new("i");
        let messages = [recorder.client_message()].into_iter();
        let step = recorder.fetch_step(&instance, None, messages, NOW);
        recorder.executed(step, 1);
        let task = recorder.fetch_task(produced(step, 0), NOW);
        commit(&recorder, task, 0);
        assert!(findings(&recorder)[4], "the cause is not committed at all");
        recorder.committed(step);
        assert!(findings(&recorder)[4], "the cause is committed later");
    }

    #[test]
    fn a_commit_that_depends_on_an_aborted_item_is_found() {
        let recorder = GraphRecorder::default();
        let lost = recorder.fetch_task(recorder.client_message(), NOW);
        recorder.executed(lost, 1);
        recorder.aborted(lost);
        let task = recorder.fetch_task(produced(lost, 0), NOW);
        commit(&recorder, task, 0);
        let graph = recorder.graph();
        let (_, violation) = causally_consistent_commit(&graph).expect("a breach");
        assert!(violation.detail.contains("aborted"), "{}", violation.detail);
    }
}
