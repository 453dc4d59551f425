//! Triggers: activation events, a condition, an action, and a context.
//!
//! A trigger is stored as bytes in the workspace's table of triggers, with its context. Its condition
//! and action are code that is deployed with the worker; a [`Role`] names the pair. The context lives as
//! long as the trigger. What only the design of the paper needs ([`Context::applied`],
//! [`Context::outbox`]) stays empty under the other disciplines.

use crate::event::{Event, EventId, Frame, Kind, TaskCall};
use crate::record::Record;
use crate::store::Stored;
use crate::worker::EntityValue;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sim_model::application::ApplicationResult;
use sim_model::codec::decode;
use sim_model::id::WorkItemId;
use sim_model::message::{InstanceMessage, TimerMessage};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The name of a trigger within its workspace.
pub(crate) type TriggerId = Arc<str>;

/// What code a trigger runs: its condition and its action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// The task of a graph with this index: all upstream tasks have ended well; invoke it.
    DagTask(u32),
    /// The end of a graph: all leaves have ended; end the workflow.
    DagEnd,
    /// The join with this number: so many events have come; the last of all joins ends the workflow.
    Join(u32),
    /// The state of a machine with this index: it is entered; carry it out.
    State(u32),
    /// The end of the machines within the state with this index: all have ended; go on.
    StateJoin(u32),
    /// The end of a machine.
    MachineEnd,
    /// Whatever has come: invoke the coordinator that runs workflow code.
    Wake,
    /// What is left of a [`Role::Wake`] whose run is done with, so that no late attempt at it counts.
    Done,
    /// A message for an entity that has no trigger: insert one for it.
    Entities,
    /// A message for an entity: run its operation.
    Entity,
}

/// An event that activates a trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Activation {
    /// Events of this subject and kind.
    Of(Arc<str>, Kind),
    /// Events that no other trigger names.
    Any,
}

/// The state of a state machine's state in one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FrameState {
    /// What the state was entered with.
    pub(crate) input: Option<Payload>,
    /// How many states its machine had entered then.
    pub(crate) entered: u32,
    /// How many machines within the state have to end.
    pub(crate) expected: Option<u32>,
    /// Those that have, by their number.
    pub(crate) ended: BTreeMap<u32, ApplicationResult>,
    /// Machines that ended, repetitions included: what the join counts.
    pub(crate) count: u32,
}

/// What an action does besides changing contexts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Effects {
    /// Functions to invoke.
    pub(crate) calls: Vec<TaskCall>,
    /// Events to the own workspace.
    pub(crate) locals: Vec<Event>,
    /// Messages to other instances.
    pub(crate) messages: Vec<InstanceMessage>,
    /// Messages for later.
    pub(crate) timers: Vec<TimerMessage>,
    /// How the workflow ended, if it did.
    pub(crate) ended: Option<RuntimeStatus>,
}

impl Effects {
    /// How many messages they are.
    pub(crate) fn produced(&self) -> u32 {
        let Effects { calls, locals, messages, timers, .. } = self;
        (calls.len() + locals.len() + messages.len() + timers.len()) as u32
    }
}

/// What a firing leaves in the context of its trigger until its events are acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outbox {
    /// The step.
    pub(crate) item: WorkItemId,
    /// The events whose acknowledgement shows that all of it was done, and those of former firings of the
    /// trigger that were not acknowledged by then.
    pub(crate) consumed: Vec<EventId>,
    /// What is to be done.
    pub(crate) effects: Effects,
}

/// The state of a trigger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Context {
    /// Events counted, by the number of the upstream task.
    pub(crate) arrived: BTreeMap<u32, u64>,
    /// Events awaited, by the number of the upstream task; -1 until the action of that task has said.
    pub(crate) expected: BTreeMap<u32, i64>,
    /// What came with the events, by the number of the call.
    pub(crate) results: BTreeMap<u32, ApplicationResult>,
    /// States of machines.
    pub(crate) frames: BTreeMap<Frame, FrameState>,
    /// The state of an entity, or the record of a coordinator.
    pub(crate) value: Option<Bytes>,
    /// How often the trigger has fired.
    pub(crate) firings: u32,
    /// Events whose effect is in this context and that may be delivered again.
    pub(crate) applied: BTreeSet<EventId>,
    /// What the last firing has to do.
    pub(crate) outbox: Option<Outbox>,
    /// The last step of the workspace, when this was written.
    pub(crate) last_step: Option<WorkItemId>,
}

/// A trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trigger {
    pub(crate) id: TriggerId,
    pub(crate) activation: Vec<Activation>,
    pub(crate) role: Role,
    /// Whether it is gone once it has fired.
    pub(crate) transient: bool,
    pub(crate) context: Context,
}

impl Stored for Trigger {
    fn is_whole(&self) -> bool {
        match (self.role, &self.context.value) {
            (Role::Wake, value) => value.as_ref().is_some_and(Record::is_whole),
            (Role::Entity, Some(value)) => decode::<EntityValue>(value).is_ok(),
            _ => true,
        }
    }
}

impl Trigger {
    /// A trigger that stays, with an empty context.
    pub(crate) fn persistent(id: TriggerId, activation: Vec<Activation>, role: Role) -> Trigger {
        Trigger { id, activation, role, transient: false, context: Context::default() }
    }

    /// What is left of a coordinator's trigger.
    pub(crate) fn done(id: TriggerId) -> Trigger {
        Trigger::persistent(id, Vec::new(), Role::Done)
    }

    /// Whether there is anything in its context: the published worker writes such contexts only.
    pub(crate) fn has_context(&self) -> bool {
        self.role != Role::Entities
    }
}
