//! Events of a partition: what its log holds and what it is sent.
//!
//! Names follow microsoft/durabletask-netherite (`Events/PartitionEvents`). Everything a partition
//! ever knows comes to it as one of these, in the order of its log.

use serde::{Deserialize, Serialize};
use sim_model::engine::{InstanceQuery, InstanceState};
use sim_model::history::HistoryEvent;
use sim_model::id::{InstanceId, WorkItemId};
use sim_model::ledger::Ledger;
use sim_model::message::{InstanceMessage, TaskMessage, TimerMessage};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use std::time::Duration;

/// A client's request, and where its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct RequestId {
    /// The client: the index of its host.
    pub client: u32,
    /// Its number among the client's requests.
    pub number: u64,
}

/// Where an event from another partition comes from. The position of the log event that sent it and
/// the number among what that event sent to one partition make it recognisable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub partition: u32,
    pub position: u64,
    pub sub_position: u32,
    /// The incarnation of the partition that sent it.
    pub epoch: u32,
    /// If it was sent before its position was committed: what it depends on that may still be lost,
    /// itself included. It may name more than that, never less.
    pub depends: Vec<Dependency>,
}

/// Work of a partition that something depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Dependency {
    pub partition: u32,
    /// The incarnation that did it, and the last log position of it that counts.
    pub epoch: u32,
    pub position: u64,
}

impl Origin {
    /// The work that sent it.
    pub(crate) fn itself(&self) -> Dependency {
        let Origin { partition, epoch, position, .. } = *self;
        Dependency { partition, epoch, position }
    }

    /// Whether it was sent before its position was committed.
    pub(crate) fn is_speculative(&self) -> bool {
        !self.depends.is_empty()
    }
}

/// A place in the input queue of a partition: an event of the event log, and the number among the
/// events of its batch, if it is a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct InputPosition {
    pub position: u64,
    pub sub_position: u32,
}

/// What a partition takes in, and what a record of its log holds: an event, and the place in the
/// input queue from which to go on once it is durable, if it came from there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Input {
    pub next: Option<InputPosition>,
    pub event: PartitionEvent,
}

impl From<PartitionEvent> for Input {
    fn from(event: PartitionEvent) -> Input {
        Input { next: None, event }
    }
}

/// The last position that a partition has received from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acknowledged {
    /// Who has received.
    pub receiver: u32,
    /// The position of the origin and the number among what it sent to this receiver.
    pub position: u64,
    pub sub_position: u32,
}

/// How far a client request has come. It is logged in both phases: first to load the instance it
/// is about, then to be processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    Read,
    ConfirmAndProcess,
}

/// What a step of an orchestration or an entity did.
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
    /// Whether `new_events` are the whole history from now on.
    pub replaces_history: bool,
    pub status: RuntimeStatus,
    pub custom_status: Option<Payload>,
    pub entity_state: Option<Payload>,
    /// Whether nothing is left of an entity: the instance is removed.
    pub deleted: bool,
    pub activities: Vec<TaskMessage>,
    pub messages: Vec<InstanceMessage>,
    pub timers: Vec<TimerMessage>,
    pub ledger: Ledger,
    /// Without speculation a step is logged, and submitted again once it is durable: only then its
    /// effects begin. The second time this holds the position at which it was logged first.
    pub persisted: Option<u64>,
}

/// What an activity did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ActivityCompleted {
    /// Its number on the partition that executed it.
    pub activity: u64,
    pub work_item: WorkItemId,
    /// The partition whose instance called it.
    pub origin: u32,
    pub timestamp: Timestamp,
    /// How many activities queued for a slot of the host when it ended.
    pub reported_load: u32,
    pub response: InstanceMessage,
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
    /// A client wants an instance to be removed.
    DeletionRequestReceived { request: RequestId, phase: Phase, instance: InstanceId },
    /// A client asks which instances there are. Read-only: never logged.
    InstanceQueryReceived { request: RequestId, query: InstanceQuery },
    /// A message from a client.
    ClientTaskMessagesReceived { message: InstanceMessage },
    /// Messages from another partition, numbered by the log position of the step that sent them.
    TaskMessagesReceived { origin: Origin, messages: Vec<InstanceMessage> },
    /// Activities of another partition, to be executed here. `decided` is the instant of the
    /// decision that moved them; a command of the load monitor is known by it.
    ActivityTransferReceived { origin: Origin, decided: Timestamp, activities: Vec<TaskMessage> },
    /// The result of an activity that this partition had given away.
    RemoteActivityResultReceived { origin: Origin, response: InstanceMessage },
    /// A step of an instance of this partition ended.
    BatchProcessed(Box<BatchProcessed>),
    /// The time of a timer has come.
    TimerFired { timer: u64 },
    /// An activity that this partition had started ended.
    ActivityCompleted(Box<ActivityCompleted>),
    /// It is time to move the backlog of activities to other partitions (scheduler `static`).
    OffloadDecision { decided: Timestamp },
    /// The load monitor wants to know the load of this partition for a while.
    SolicitationReceived { asked: Timestamp },
    /// The load monitor wants activities of the backlog to be moved.
    TransferCommandReceived { decided: Timestamp, count: u32, destination: u32 },
    /// What the event at `position` sent to partitions, to clients, or to both was taken by the
    /// transport.
    SendConfirmed { position: u64, partitions: bool, clients: bool },
    /// The load monitor passes on what other partitions have received from this one, durably.
    AcksReceived { acks: Vec<Acknowledged> },
    /// A new incarnation has rebuilt the state: what was under way starts again.
    RecoveryCompleted { recovered: Timestamp },
    /// How far another partition is committed, and where each of its incarnations began (position and
    /// number). Sent with speculation `global`; never logged.
    OriginCommitted { partition: u32, epochs: Vec<(u64, u32)>, committed: u64 },
    /// Another partition wants to know how far this one is committed. Never logged.
    CommitAsked { by: u32 },
}

impl PartitionEvent {
    /// Whether the event goes into the log.
    pub(crate) const fn is_logged(&self) -> bool {
        !matches!(
            self,
            PartitionEvent::StateRequestReceived { .. }
                | PartitionEvent::InstanceQueryReceived { .. }
                | PartitionEvent::OriginCommitted { .. }
                | PartitionEvent::CommitAsked { .. }
        )
    }

    /// Where the event comes from, if it is another partition.
    pub(crate) const fn origin(&self) -> Option<&Origin> {
        match self {
            PartitionEvent::TaskMessagesReceived { origin, .. }
            | PartitionEvent::ActivityTransferReceived { origin, .. }
            | PartitionEvent::RemoteActivityResultReceived { origin, .. } => Some(origin),
            _ => None,
        }
    }

    /// Marks an event for another partition as sent before it is committed, while its origin depended
    /// on `others`.
    pub(crate) fn speculate(&mut self, others: &[Dependency]) {
        match self {
            PartitionEvent::TaskMessagesReceived { origin, .. }
            | PartitionEvent::ActivityTransferReceived { origin, .. }
            | PartitionEvent::RemoteActivityResultReceived { origin, .. } => {
                origin.depends = vec![origin.itself()];
                origin.depends.extend_from_slice(others);
            }
            _ => {}
        }
    }

    /// Charges all messages inside the event, as it is passed on.
    pub(crate) fn charge(&mut self, charge: impl Fn(&mut Ledger)) {
        match self {
            PartitionEvent::CreationRequestReceived { message, .. }
            | PartitionEvent::ClientTaskMessagesReceived { message } => charge(&mut message.ledger),
            PartitionEvent::ActivityCompleted(completed) => charge(&mut completed.response.ledger),
            PartitionEvent::RemoteActivityResultReceived { response, .. } => {
                charge(&mut response.ledger);
            }
            PartitionEvent::ActivityTransferReceived { activities, .. } => {
                activities.iter_mut().for_each(|task| charge(&mut task.ledger));
            }
            PartitionEvent::TaskMessagesReceived { messages, .. } => {
                messages.iter_mut().for_each(|message| charge(&mut message.ledger));
            }
            PartitionEvent::BatchProcessed(batch) => {
                batch.activities.iter_mut().for_each(|task| charge(&mut task.ledger));
                batch.messages.iter_mut().for_each(|message| charge(&mut message.ledger));
            }
            PartitionEvent::WaitRequestReceived { .. }
            | PartitionEvent::StateRequestReceived { .. }
            | PartitionEvent::DeletionRequestReceived { .. }
            | PartitionEvent::InstanceQueryReceived { .. }
            | PartitionEvent::TimerFired { .. }
            | PartitionEvent::OffloadDecision { .. }
            | PartitionEvent::SolicitationReceived { .. }
            | PartitionEvent::TransferCommandReceived { .. }
            | PartitionEvent::SendConfirmed { .. }
            | PartitionEvent::AcksReceived { .. }
            | PartitionEvent::RecoveryCompleted { .. }
            | PartitionEvent::OriginCommitted { .. }
            | PartitionEvent::CommitAsked { .. } => {}
        }
    }
}

/// What a client is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ClientEvent {
    /// The answer to a creation: whether it took place.
    Creation { request: RequestId, created: bool },
    /// The end of an orchestration.
    End { request: RequestId, state: InstanceState },
    /// The present state, if there is such an instance.
    State { request: RequestId, state: Option<InstanceState> },
    /// What became of a request to remove an instance.
    Deletion { request: RequestId, deletion: Deletion },
    /// The instances of one partition that a query selects.
    Selected { request: RequestId, instances: Vec<(InstanceId, InstanceState)> },
}

/// What became of a request to remove an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Deletion {
    /// It is gone.
    Removed,
    /// There was none.
    Absent,
    /// It has not ended, or has messages to work off.
    Refused,
}

impl ClientEvent {
    /// The request that is answered.
    pub(crate) const fn request(&self) -> RequestId {
        match self {
            ClientEvent::Creation { request, .. }
            | ClientEvent::End { request, .. }
            | ClientEvent::State { request, .. }
            | ClientEvent::Deletion { request, .. }
            | ClientEvent::Selected { request, .. } => *request,
        }
    }
}

/// What the load monitor is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MonitorEvent {
    /// How busy a partition is.
    Load(LoadInformation),
    /// What a partition has received and made durable.
    Positions(Positions),
}

/// What a partition has received from others and made durable, and whom it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Positions {
    pub partition: u32,
    /// By origin: position and number of the last event received.
    pub received: Vec<(u32, u64, u32)>,
    /// Partitions that have not acknowledged something sent a while ago.
    pub wanted: Vec<u32>,
}

/// How busy a partition is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoadInformation {
    pub partition: u32,
    /// Activities that have to be executed here.
    pub stationary: u32,
    /// Activities that may be moved.
    pub mobile: u32,
    /// How long an activity takes from its arrival to its end; none has ended if absent.
    pub average_completion: Option<Duration>,
    /// The last transfer command that was carried out.
    pub carried_out: Option<Timestamp>,
    /// The last transfer that was received, for each partition that sent one.
    pub received: Vec<(u32, Timestamp)>,
}
