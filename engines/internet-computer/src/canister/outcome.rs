//! What the execution of a message leads to.
//!
//! Effects are data: an execution that is paused, or waits for an outcall, keeps them as part of the
//! canister's state until they take effect.

use super::{Call, Reply};
use crate::block::{CanisterId, IngressId};
use serde::{Deserialize, Serialize};
use sim_model::engine::InstanceState;
use sim_model::id::InstanceId;
use sim_model::ledger::{Cause, Ledger};
use sim_model::message::{InstanceMessage, TimerMessage};
use sim_model::time::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;

/// Something outside the subnet that every replica does for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OutcallRequest {
    /// Read so many bytes of the application's storage.
    Read(u64),
    /// Write so many bytes to it.
    Write(u64),
    /// Call something that answers after this span.
    Wait(Duration),
}

/// An outcall, and what is executed when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutcallStep {
    pub(crate) request: OutcallRequest,
    /// Instructions of user code after it.
    pub(crate) instructions: u64,
}

/// An effect of a message execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Effect {
    /// Call another canister.
    Call(CanisterId, Call),
    /// Respond to a canister's call.
    Respond(CanisterId, Option<InstanceMessage>),
    /// Set a timer.
    Timer(TimerMessage),
    /// Answer a client.
    Reply(IngressId, Reply),
    /// An orchestration has ended; reported once that is certified.
    Ended(Box<Ended>),
    /// An instance may run its next step.
    Release(InstanceId),
    /// Carry out outcalls one after the other; the rest takes effect then.
    Outcalls(VecDeque<OutcallStep>, Vec<Effect>),
}

/// The end of an orchestration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) instance: InstanceId,
    pub(crate) state: InstanceState,
    pub(crate) ledger: Ledger,
}

impl Effect {
    /// Charges the time until `now` to the ledgers of what is sent.
    pub(crate) fn charge(&mut self, cause: Cause, now: Timestamp) {
        match self {
            Effect::Call(_, Call::Deliver(message)) | Effect::Respond(_, Some(message)) => {
                message.ledger.charge(cause, now);
            }
            Effect::Call(_, Call::Run(task)) => task.ledger.charge(cause, now),
            Effect::Ended(ended) => ended.ledger.charge(cause, now),
            Effect::Outcalls(_, then) => {
                then.iter_mut().for_each(|effect| effect.charge(cause, now));
            }
            Effect::Respond(_, None)
            | Effect::Timer(_)
            | Effect::Reply(..)
            | Effect::Release(_) => {}
        }
    }
}

/// What executing one message came to.
#[derive(Debug, Default)]
pub(crate) struct Executed {
    /// Instructions, the fixed overhead not counted.
    pub(crate) instructions: u64,
    /// In order.
    pub(crate) effects: Vec<Effect>,
    /// Bytes written to the canister's memory.
    pub(crate) written: u64,
}
