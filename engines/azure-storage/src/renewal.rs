//! Renewal of the visibility timeouts of what a worker runs: activities, and the messages of steps.
//!
//! A loop looks at all of it every 5 s, and hides a message for another visibility timeout when it
//! would become visible within 30 s. Messages that wait in memory for a slot are not renewed: they
//! are handed out again, and take the place of their earlier delivery.
//! Source: Azure/durabletask main@5217032, `TaskActivityDispatcher.cs` and
//! `TaskOrchestrationDispatcher.cs` (renewal loops: 30 s before the end, every 5 to 30 s).

use crate::worker::{Received, Worker};
use futures_util::future::join_all;
use sim_model::time::Timestamp;
use sim_world::queue::{MessageId, QueueMessage};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How often the loop looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// What is left of a timeout when it is renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(30);

/// A message that is being worked on.
struct Lock {
    delivery: QueueMessage,
    until: Timestamp,
}

/// The work items that a worker runs, by slot.
pub(crate) struct Locks(RefCell<Vec<Option<Lock>>>);

impl Locks {
    /// Locks for this many slots, all free.
    pub fn new(slots: usize) -> Locks {
        Locks(RefCell::new((0..slots).map(|_| None).collect()))
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.0.borrow().len()
    }

    /// A work item begins to run in `slot`; it is hidden until `until`.
    pub fn hold(&self, slot: usize, delivery: QueueMessage, until: Timestamp) {
        let before = self.0.borrow_mut()[slot].replace(Lock { delivery, until });
        assert!(before.is_none(), "a slot runs one work item at a time");
    }

    /// The work item in `slot` is done: its delivery, with the latest receipt.
    pub fn release(&self, slot: usize) -> QueueMessage {
        let lock = self.0.borrow_mut()[slot].take();
        lock.expect("invariant: the slot runs a work item").delivery
    }

    /// The slots whose timeouts must be renewed now, with what they run.
    fn due(&self, now: Timestamp) -> Vec<(usize, QueueMessage)> {
        let locks = self.0.borrow();
        let due = |lock: &&Lock| lock.until.since(now) <= RENEW_BEFORE;
        let running = locks.iter().enumerate();
        running
            .filter_map(|(slot, lock)| Some((slot, lock.as_ref().filter(due)?.delivery.clone())))
            .collect()
    }

    /// The timeout of what runs in `slot` was renewed, if it still runs.
    fn renewed(&self, slot: usize, renewed: QueueMessage, until: Timestamp) {
        let mut locks = self.0.borrow_mut();
        if let Some(lock) = &mut locks[slot]
            && lock.delivery.id == renewed.id
        {
            *lock = Lock { delivery: renewed, until };
        }
    }
}

/// The control messages of the steps that a worker runs, by queue and message.
#[derive(Default)]
pub(crate) struct ControlLocks(RefCell<BTreeMap<(usize, MessageId), Lock>>);

impl ControlLocks {
    /// A step with these messages begins.
    pub fn hold(&self, messages: &[Received]) {
        let mut locks = self.0.borrow_mut();
        for Received { delivery, queue, until, .. } in messages {
            let lock = Lock { delivery: delivery.clone(), until: *until };
            locks.insert((*queue, delivery.id), lock);
        }
    }

    /// The step is over, or never began: the message with the latest receipt of this delivery.
    pub fn release(&self, received: &Received) -> QueueMessage {
        let lock = self.0.borrow_mut().remove(&(received.queue, received.delivery.id));
        lock.map_or_else(|| received.delivery.clone(), |lock| lock.delivery)
    }

    fn due(&self, now: Timestamp) -> Vec<(usize, QueueMessage)> {
        let locks = self.0.borrow();
        let due = locks.iter().filter(|(_, lock)| lock.until.since(now) <= RENEW_BEFORE);
        due.map(|((queue, _), lock)| (*queue, lock.delivery.clone())).collect()
    }

    /// The timeout of a message was renewed, if its step still runs.
    fn renewed(&self, queue: usize, renewed: QueueMessage, until: Timestamp) {
        let mut locks = self.0.borrow_mut();
        if let Some(lock) = locks.get_mut(&(queue, renewed.id)) {
            *lock = Lock { delivery: renewed, until };
        }
    }
}

/// Renews the timeouts of what a worker runs, for ever.
pub(crate) async fn renew(worker: Rc<Worker>) {
    let shared = &worker.shared;
    loop {
        shared.kernel().sleep(INTERVAL).await;
        if !shared.parameters.visibility_renewal {
            continue;
        }
        renew_activities(&worker).await;
        let due = worker.control_locks.due(shared.now());
        join_all(due.into_iter().map(|(queue, delivery)| renew_control(&worker, queue, delivery)))
            .await;
    }
}

async fn renew_activities(worker: &Worker) {
    let shared = &worker.shared;
    let visibility = shared.parameters.work_item_visibility;
    for (slot, mut delivery) in worker.locks.due(shared.now()) {
        shared.counters.renewals.count();
        let (id, receipt) = (delivery.id, delivery.pop_receipt);
        let host = &worker.store.host;
        let update = shared.work_items.update(host, id, receipt, visibility);
        // A renewal that fails leaves the work item to be handed out again.
        if let Ok(reply) = worker.store.limited(update).await {
            delivery.pop_receipt = reply.value;
            worker.locks.renewed(slot, delivery, shared.now() + visibility);
        }
    }
}

async fn renew_control(worker: &Worker, queue: usize, mut delivery: QueueMessage) {
    let shared = &worker.shared;
    shared.counters.control_renewals.count();
    let visibility = shared.parameters.control_queue_visibility;
    let (id, receipt) = (delivery.id, delivery.pop_receipt);
    let update = shared.control_queues[queue].update(&worker.store.host, id, receipt, visibility);
    if let Ok(reply) = worker.store.limited(update).await {
        delivery.pop_receipt = reply.value;
        worker.control_locks.renewed(queue, delivery, shared.now() + visibility);
    }
}
