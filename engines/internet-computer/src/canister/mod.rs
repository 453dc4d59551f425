//! A canister: memory, queues, and what the engine's code in it remembers of instances.
//!
//! **What it models.** A canister is an actor: it executes one message at a time, atomically, in the
//! order of its queues. Its memory persists by itself; nothing is replayed. Canisters of the engine hold
//! the instances of the model: a message to an instance is a call whose execution runs one step of it.
//! Every call gets exactly one response: a task canister answers with the result of the task, an
//! instance canister with an empty acknowledgement, which the system takes without executing anything.
//!
//! **Back-pressure.** A call reserves a slot for its response, and at most 500 calls from one canister
//! to another are open. A canister that may not call yet keeps the call in its own memory and makes it
//! when a response frees a slot. Source: dfinity/developer-docs, references/resource-limits,
//! message-execution-properties.

mod code;
mod outcome;
mod queues;
mod resources;

pub(crate) use code::CodeEnvironment;
pub(crate) use outcome::{Effect, Ended, Executed, OutcallRequest, OutcallStep};
pub(crate) use queues::Queues;
pub(crate) use resources::{Costs, Cursors, Outcalls, Trace};

use crate::block::{CanisterId, Ingress, IngressId, OutcallId};
use serde::{Deserialize, Serialize};
use sim_model::engine::InstanceState;
use sim_model::history::{EventId, HistoryEvent};
use sim_model::id::{InstanceId, WorkItemId};
use sim_model::message::{InstanceMessage, TaskMessage, TimerMessage};
use sim_model::time::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// What one canister asks of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Call {
    /// Deliver a message to an instance; acknowledged.
    Deliver(InstanceMessage),
    /// Run a task; the response is its result.
    Run(TaskMessage),
}

/// A message in an input queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Letter {
    /// A call of a client.
    Ingress(Rc<Ingress>),
    /// A call of a canister.
    Request { from: CanisterId, call: Call },
    /// The response of `from` to a call.
    Response { from: CanisterId, answer: Option<InstanceMessage> },
    /// An outcall was carried out.
    Outcall(OutcallId),
    /// A canister timer whose time has come.
    Timer(TimerMessage),
}

/// The answer to a call of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The request has taken effect.
    Accepted,
    /// The request did not take effect.
    Refused(String),
    /// The instance that was waited for has ended.
    Ended(InstanceState),
    /// Whether there was an instance to remove.
    Purged(bool),
    /// The message did not enter a block in time and never will.
    Expired,
}

/// What a canister remembers of an instance of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) history: Vec<HistoryEvent>,
    pub(crate) state: InstanceState,
    pub(crate) last_step: Option<WorkItemId>,
    /// The number of the first decision of the next life under this key, once this one has ended.
    pub(crate) next_event_id: EventId,
    /// Client calls that are answered when the instance has ended.
    pub(crate) waiting: Vec<IngressId>,
    /// Whether a step waits for an outcall; its messages then wait in `held`.
    pub(crate) busy: bool,
    pub(crate) held: VecDeque<InstanceMessage>,
}

/// An execution that took more than a slice, and goes on in the next rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Paused {
    /// Instructions of the whole execution.
    pub(crate) total: u64,
    /// Instructions still to be executed.
    pub(crate) remaining: u64,
    /// What takes effect when it is done.
    pub(crate) effects: Vec<Effect>,
}

/// A canister.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Canister {
    pub(crate) id: CanisterId,
    pub(crate) queues: Queues,
    /// Shared with older states while a fork is possible; copied on the first change.
    pub(crate) instances: BTreeMap<InstanceId, Rc<Instance>>,
    /// Messages for later, in the order of their instants.
    pub(crate) timers: BTreeMap<(Timestamp, u64), TimerMessage>,
    pub(crate) timers_started: u64,
    /// The next task goes to the task canister with this turn.
    pub(crate) tasks_started: u64,
    pub(crate) paused: Option<Paused>,
    /// Bytes of heap delta that were written beyond the rate and have to be waited off.
    pub(crate) heap_delta_debit: u64,
}

impl Canister {
    pub(crate) fn new(id: CanisterId) -> Canister {
        Canister {
            id,
            queues: Queues::default(),
            instances: BTreeMap::new(),
            timers: BTreeMap::new(),
            timers_started: 0,
            tasks_started: 0,
            paused: None,
            heap_delta_debit: 0,
        }
    }

    /// Whether there is something to execute.
    pub(crate) fn has_work(&self) -> bool {
        self.paused.is_some() || !self.queues.is_empty()
    }

    /// Moves timers whose time has come to the input queue.
    pub(crate) fn fire_timers(&mut self, now: Timestamp) {
        while let Some(first) = self.timers.first_entry() {
            if first.key().0 > now {
                break;
            }
            self.queues.push_local(Letter::Timer(first.remove()));
        }
    }
}
