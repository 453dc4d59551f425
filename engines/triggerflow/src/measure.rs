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
    ended: bool,
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

    /// An instance begins, perhaps once more.
    pub(crate) fn begun(&self, instance: &InstanceId) {
        self.mail.borrow_mut().insert(instance.clone(), Mail::default());
    }

    /// An instance begins, unless it has begun and not ended.
    pub(crate) fn begun_unless_under_way(&self, instance: &InstanceId) {
        let mut all = self.mail.borrow_mut();
        let mail = all.entry(instance.clone()).or_default();
        if mail.ended {
            *mail = Mail::default();
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

    /// An orchestration has ended: reports it, once.
    pub(crate) fn ended(&self, completion: Completion) {
        let mut all = self.mail.borrow_mut();
        let mail = all.entry(completion.instance.clone()).or_default();
        if std::mem::replace(&mut mail.ended, true) {
            return;
        }
        for message in mail.on_the_way.drain(..) {
            self.observer.graph().discarded(message);
        }
        drop(all);
        self.observer.completed(completion);
    }
}
