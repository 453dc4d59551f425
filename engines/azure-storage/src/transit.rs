//! How long messages took to get into their queues: a measurement.
//!
//! A message carries its ledger as of the moment before it was put. What the put itself cost is
//! known only to the putting side, when it is acknowledged; it is kept here for the side that takes
//! the message, so that the ledger can tell a busy host from a slow service. Nothing in the engine
//! depends on it.

use rustc_hash::FxHashMap;
use sim_model::id::MessageId;
use sim_model::ledger::{Category, Ledger, Timing};
use sim_model::time::Timestamp;
use sim_world::queue::QueueMessage;
use std::cell::RefCell;

#[derive(Clone, Copy)]
struct Put {
    timing: Timing,
    acknowledged: Timestamp,
}

/// The puts that were acknowledged and whose messages were not taken yet.
#[derive(Default)]
pub(crate) struct Transit(RefCell<FxHashMap<MessageId, Put>>);

impl Transit {
    /// A put, with everything that was done for it, was acknowledged.
    pub fn acknowledged(&self, message: MessageId, timing: Timing, now: Timestamp) {
        self.0.borrow_mut().insert(message, Put { timing, acknowledged: now });
    }

    /// Charges everything from the ledger's instant (before the put) to `now` (after the get).
    pub fn charge_delivery(
        &self,
        message: MessageId,
        ledger: &mut Ledger,
        delivery: &QueueMessage,
        get: &Timing,
        now: Timestamp,
    ) {
        let put = self.0.borrow_mut().remove(&message);
        let inserted = delivery.insertion_time;
        match put {
            Some(put) => {
                let timing = one_way(&put, inserted);
                let why = Category::Queueing.because("stored, and put into the queue");
                ledger.charge_request(&timing, inserted, why);
            }
            // Taken before it was acknowledged, or for a second time.
            None => ledger.charge(Category::Storage.because("put into the queue"), inserted),
        }
        // A message that was put for later is visible once its delay has passed in the queue.
        let hidden = match delivery.dequeue_count > 1 {
            true => Category::Retries.because("hidden in the queue after it was taken before"),
            false => Category::Storage.because("hidden in the queue"),
        };
        ledger.charge(hidden, delivery.visible_since);
        ledger.charge_request(get, now, Category::Polling.because("lay in the queue, and was got"));
    }
}

/// The put's timing without the way of its acknowledgement.
fn one_way(put: &Put, inserted: Timestamp) -> Timing {
    let back = put.acknowledged.since(inserted);
    let mut timing = Timing::default();
    for category in Category::ALL {
        let part = put.timing.get(category);
        let way = category == Category::Network;
        timing.add(category, if way { part.saturating_sub(back) } else { part });
    }
    timing
}
