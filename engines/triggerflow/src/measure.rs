//! Measurements: what is reported to the observer. Nothing in the engine decides by them.
//!
//! A message for a workflow that has ended is dropped, and nobody is there to say so: the stream is not
//! read any more. So messages on their way to orchestrations are remembered here, and those that are left
//! when it ends, or come later, are reported as dropped.

use rustc_hash::{FxHashMap, FxHashSet};
use sim_model::engine::{Completion, Observer};
use sim_model::graph::{Progress, WorkItemKind};
use sim_model::id::{InstanceId, MessageId, Producer, WorkItemId};
use sim_model::message::InstanceMessage;
use std::cell::RefCell;

/// Messages of an orchestration.
#[derive(Default)]
struct Mail {
    /// The message that started its present run.
    start: Option<MessageId>,
    /// Whether the end of that was reported.
    ended: bool,
    /// The same of former runs.
    former: FxHashMap<MessageId, bool>,
    on_the_way: Vec<MessageId>,
}

/// The reports of a task hub.
pub(crate) struct Measure {
    observer: Observer,
    /// Looked up, never walked.
    mail: RefCell<FxHashMap<InstanceId, Mail>>,
}

impl Measure {
    pub(crate) fn new(observer: Observer) -> Measure {
        Measure { observer, mail: RefCell::default() }
    }

    /// A message was sent to an instance.
    pub(crate) fn sent(&self, instance: &InstanceId, message: MessageId) {
        if instance.is_entity() {
            return;
        }
        let mut all = self.mail.borrow_mut();
        let mail = all.entry(instance.clone()).or_default();
        if mail.ended {
            self.observer.graph().discarded(message);
        } else {
            mail.on_the_way.push(message);
        }
    }

    /// An orchestration is started by a message, in place of a former run if it has ended. Whoever learns of it
    /// says so, in any order.
    pub(crate) fn begun(&self, instance: &InstanceId, start: MessageId, former: Option<MessageId>) {
        let mut all = self.mail.borrow_mut();
        let mail = all.entry(instance.clone()).or_default();
        if let Some(former) = former.filter(|former| mail.start != Some(*former)) {
            mail.former.entry(former).or_insert(false);
        }
        if mail.start == Some(start) || mail.former.contains_key(&start) {
            return;
        }
        // Messages may be for this run, if their senders have learnt of it first.
        let has_ended = std::mem::take(&mut mail.ended);
        if let Some(former) = mail.start.replace(start) {
            mail.former.insert(former, has_ended);
        }
    }

    /// A message was found in a stream: the task that produced it is final. Whoever learns of it from
    /// the stream may do so before the task's own host does.
    pub(crate) fn found(&self, message: &InstanceMessage) {
        let Producer::WorkItem(item) = message.id.producer else { return };
        let kind = self.observer.graph().graph().find(item).map(|item| item.kind);
        if kind == Some(WorkItemKind::Task) {
            self.committed(item);
        }
    }

    /// The step has become final, as something stored shows. Bytes that a disk has changed may name one that
    /// never was.
    pub(crate) fn committed(&self, item: WorkItemId) {
        let graph = self.observer.graph();
        let progress = graph.graph().find(item).map(|item| item.progress);
        if progress != Some(Progress::Executed) {
            return;
        }
        graph.committed(item);
        let graph = graph.graph();
        let item = graph.item(item);
        let WorkItemKind::Step { instance, .. } = item.kind else { return };
        if let Some(mail) = self.mail.borrow_mut().get_mut(graph.instance(instance)) {
            let consumed: FxHashSet<MessageId> = graph.consumed(item).iter().copied().collect();
            mail.on_the_way.retain(|message| !consumed.contains(message));
        }
    }

    /// The step has come to nothing, unless something stored has shown that it is final.
    pub(crate) fn given_up(&self, item: WorkItemId) {
        let graph = self.observer.graph();
        let progress = graph.graph().item(item).progress;
        if progress == Progress::Executed {
            graph.aborted(item);
        }
    }

    /// The run of an orchestration that `start` started has ended: reports it, once.
    pub(crate) fn ended(&self, start: MessageId, completion: Completion) {
        let mut all = self.mail.borrow_mut();
        let mail = all.entry(completion.instance.clone()).or_default();
        let is_former = mail.start.is_some_and(|present| present != start);
        let reported = match is_former {
            true => mail.former.entry(start).or_insert(false),
            false => &mut mail.ended,
        };
        if std::mem::replace(reported, true) {
            return;
        }
        if !is_former {
            mail.start = Some(start);
            for message in mail.on_the_way.drain(..) {
                self.observer.graph().discarded(message);
            }
        }
        drop(all);
        self.observer.completed(completion);
    }
}
