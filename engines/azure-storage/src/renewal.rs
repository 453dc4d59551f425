//! Renewal of the visibility timeouts of running activities.
//!
//! A loop looks at all running activities every 5 s, and hides a work item for another visibility
//! timeout when it would become visible within 30 s. Messages in control queues are not renewed in
//! this version: a step holds them for seconds, and their timeout is five minutes.
//! Source: Azure/durabletask main@5217032, `TaskActivityDispatcher.cs` (renewal loop).

use crate::worker::Worker;
use sim_model::time::Timestamp;
use sim_world::queue::QueueMessage;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// How often the loop looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// What is left of a timeout when it is renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(30);

/// The work item of one slot.
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

/// Renews the timeouts of a worker's activities, for ever.
pub(crate) async fn renew(worker: Rc<Worker>) {
    let shared = &worker.shared;
    let visibility = shared.parameters.work_item_visibility;
    loop {
        shared.kernel().sleep(INTERVAL).await;
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
}
