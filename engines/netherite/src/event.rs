//! Events of a partition: what its log holds and what it is sent.
//!
//! Names follow microsoft/durabletask-netherite (`Events/PartitionEvents`). Everything a partition
//! ever knows comes to it as one of these, in the order of its log.

use serde::{Deserialize, Serialize};
use sim_model::engine::InstanceState;
use sim_model::history::HistoryEvent;
use sim_model::id::{InstanceId, WorkItemId};
use sim_model::ledger::Ledger;
use sim_model::message::{InstanceMessage, TaskMessage};
use sim_model::orchestration::RuntimeStatus;
use sim_model::time::Timestamp;

/// A client's request, and where its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct RequestId {
    /// The client: the index of its host.
    pub client: u32,
    /// Its number among the client's requests.
    pub number: u64,
}

/// How far a client request has come. It is logged in both phases: first to load the instance it
/// is about, then to be processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    Read,
    ConfirmAndProcess,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BatchProcessed {
    pub instance: InstanceId,
    /// The session and the place in it that the batch was taken from; a step of a session that was
    /// replaced meanwhile is discarded.
    pub session: u64,
    pub batch_start: u64,
    pub batch_length: u32,
    pub work_item: WorkItemId,
    /// When the step ended: the instance's time of last update.
    pub timestamp: Timestamp,
    pub new_events: Vec<HistoryEvent>,
    pub status: RuntimeStatus,
    pub activities: Vec<TaskMessage>,
    pub messages: Vec<InstanceMessage>,
    pub ledger: Ledger,
    /// Without speculation a step is logged, and submitted again once it is durable: only then its
    /// effects begin. This marks the second time.
    pub persisted: bool,
}

/// An event of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PartitionEvent {
    /// A client starts an orchestration.
    CreationRequestReceived { request: RequestId, phase: Phase, message: InstanceMessage },
    /// A client waits for the end of an orchestration.
    WaitRequestReceived { request: RequestId, phase: Phase, instance: InstanceId },
    /// A client asks for the present state. Read-only: never logged.
    StateRequestReceived { request: RequestId, instance: InstanceId },
    /// Messages from another partition, numbered by the log position of the step that sent them.
    TaskMessagesReceived {
        origin: u32,
        position: u64,
        sub_position: u32,
        messages: Vec<InstanceMessage>,
    },
    /// A step of an instance of this partition ended.
    BatchProcessed(Box<BatchProcessed>),
    /// An activity of this partition ended.
    ActivityCompleted { activity: u64, work_item: WorkItemId, response: InstanceMessage },
    /// Everything that the event at `position` sent was taken by the transport.
    SendConfirmed { position: u64 },
}

impl PartitionEvent {
    /// Whether the event goes into the log.
    pub(crate) const fn is_logged(&self) -> bool {
        !matches!(self, PartitionEvent::StateRequestReceived { .. })
    }

    /// Charges all messages inside the event, as it is passed on.
    pub(crate) fn charge(&mut self, charge: impl Fn(&mut Ledger)) {
        match self {
            PartitionEvent::CreationRequestReceived { message, .. } => charge(&mut message.ledger),
            PartitionEvent::ActivityCompleted { response, .. } => charge(&mut response.ledger),
            PartitionEvent::TaskMessagesReceived { messages, .. } => {
                messages.iter_mut().for_each(|message| charge(&mut message.ledger));
            }
            PartitionEvent::BatchProcessed(batch) => {
                batch.activities.iter_mut().for_each(|task| charge(&mut task.ledger));
                batch.messages.iter_mut().for_each(|message| charge(&mut message.ledger));
            }
            PartitionEvent::WaitRequestReceived { .. }
            | PartitionEvent::StateRequestReceived { .. }
            | PartitionEvent::SendConfirmed { .. } => {}
        }
    }
}

/// What a client is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ClientEvent {
    /// The answer to a creation: whether the instance is new.
    Creation { request: RequestId, created: bool },
    /// The end of an orchestration.
    End { request: RequestId, state: InstanceState },
    /// The present state, if there is such an instance.
    State { request: RequestId, state: Option<InstanceState> },
}

impl ClientEvent {
    /// The request that is answered.
    pub(crate) const fn request(&self) -> RequestId {
        match self {
            ClientEvent::Creation { request, .. }
            | ClientEvent::End { request, .. }
            | ClientEvent::State { request, .. } => *request,
        }
    }
}
