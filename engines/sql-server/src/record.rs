//! What is measured: work items that became final, and when.
//!
//! The engine does not depend on any of it. Whether a transaction was committed is told by the database
//! itself ([`Transaction::when_settled`]), so that the record is right even if the host that asked
//! for it has crashed, or never got the answer.

use sim_model::engine::{Completion, Observer};
use sim_model::graph::Progress;
use sim_model::id::{InstanceId, MessageId, Producer, WorkItemId};
use sim_model::ledger::{Category, Ledger, Timing};
use sim_model::orchestration::RuntimeStatus;
use sim_model::time::Timestamp;
use sim_world::kernel::Kernel;
use sim_world::sql::{Fate, Transaction, Verdict};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

macro_rules! counters {
    ($($name:ident),* $(,)?) => {
        /// How often each mechanism came into play.
        #[derive(Default)]
        pub(crate) struct Counters { $(pub $name: Counter,)* }

        impl Counters {
            /// All of them, by name.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.0.get()),)*]
            }
        }
    };
}

/// A count.
#[derive(Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    /// One more.
    pub fn count(&self) {
        self.0.set(self.0.get() + 1);
    }
}

counters!(
    orchestration_fetches,
    empty_orchestration_fetches,
    activity_fetches,
    empty_activity_fetches,
    entity_steps,
    local_wake_ups,
    status_queries,
    repeated_calls,
    lock_renewals,
    split_brains,
    lost_tasks,
    discarded_messages,
    unfinished_work_items,
);

/// An orchestration that ends if a step is committed.
pub(crate) struct End {
    pub instance: InstanceId,
    pub created: Timestamp,
    pub status: RuntimeStatus,
    pub ledger: Ledger,
}

/// The record of a task hub.
pub(crate) struct Record {
    pub observer: Observer,
    pub counters: Counters,
    kernel: Kernel,
    committed: RefCell<BTreeMap<Producer, Timestamp>>,
    client_messages: RefCell<BTreeMap<u32, Timestamp>>,
    ends: RefCell<BTreeMap<WorkItemId, End>>,
}

impl Record {
    pub fn new(kernel: &Kernel, observer: Observer) -> Rc<Record> {
        Rc::new(Record {
            observer,
            counters: Counters::default(),
            kernel: kernel.clone(),
            committed: RefCell::default(),
            client_messages: RefCell::default(),
            ends: RefCell::default(),
        })
    }

    /// Notes what a step ends if it is committed.
    pub fn will_end(&self, item: WorkItemId, end: End) {
        self.ends.borrow_mut().insert(item, end);
    }

    /// Follows a transaction that commits a work item at `at`.
    pub fn follow(self: &Rc<Self>, transaction: &Transaction, item: WorkItemId) {
        let (record, at) = (self.clone(), transaction.now());
        transaction.when_settled(move |fate| {
            if fate == Fate::Committed {
                record.commit(item, at);
            }
        });
    }

    fn commit(&self, item: WorkItemId, at: Timestamp) {
        let graph = self.observer.graph();
        let is_open = graph.graph().item(item).progress == Progress::Executed;
        if !is_open {
            // Committed twice by one attempt: possible only without one of the checks.
            return;
        }
        graph.committed(item);
        self.committed.borrow_mut().insert(Producer::WorkItem(item), self.kernel.now());
        if let Some(End { instance, created, status, mut ledger }) =
            self.ends.borrow_mut().remove(&item)
        {
            let why = Category::Commit.because("the last step was committed in the database");
            ledger.charge(why, at);
            let completion = Completion { instance, created, last_updated: at, status, ledger };
            self.observer.completed(completion);
        }
    }

    /// A work item was given up that nothing can commit any more.
    pub fn gave_up(&self, item: WorkItemId) {
        let graph = self.observer.graph();
        let is_open = graph.graph().item(item).progress == Progress::Executed;
        if is_open {
            graph.aborted(item);
        }
    }

    /// Follows a transaction that drops messages.
    pub fn follow_discards(self: &Rc<Self>, transaction: &Transaction, dropped: Vec<MessageId>) {
        if dropped.is_empty() {
            return;
        }
        let record = self.clone();
        transaction.when_settled(move |fate| {
            if fate == Fate::Committed {
                dropped.iter().for_each(|message| record.discard(*message));
            }
        });
    }

    /// A message was dropped.
    pub fn discard(&self, message: MessageId) {
        self.counters.discarded_messages.count();
        self.observer.graph().discarded(message);
    }

    /// Follows a client's message: it is accepted, or never was.
    pub fn verdict_of_message(self: &Rc<Self>, message: MessageId) -> Verdict {
        let record = self.clone();
        Box::new(move |fate| match fate {
            Fate::Committed => {
                let now = record.kernel.now();
                record.client_messages.borrow_mut().insert(message.index, now);
            }
            Fate::Lost => record.observer.graph().discarded(message),
        })
    }

    /// When a message was committed by whoever sent it.
    fn sent(&self, message: MessageId) -> Option<Timestamp> {
        match message.producer {
            Producer::WorkItem(_) => self.committed.borrow().get(&message.producer).copied(),
            Producer::Client => self.client_messages.borrow().get(&message.index).copied(),
        }
    }

    /// Charges the ledger of a message up to the answer that brought it: the commit of its sender, the
    /// wait for a poll, and the poll.
    pub fn charge_fetch(&self, ledger: &mut Ledger, message: MessageId, timing: &Timing) {
        if let Some(sent) = self.sent(message) {
            let why = Category::Commit.because("committed in the database by whoever sent it");
            ledger.charge(why, sent);
        }
        let why = Category::Polling.because("waited for a poll, and was fetched");
        ledger.charge_request(timing, self.kernel.now(), why);
    }
}
