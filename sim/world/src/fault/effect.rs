//! What troubles did to a run, counted.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Something that a trouble has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// A message was sent into a cut link, and is gone.
    MessageCut,
    /// A message was held until its link was free.
    MessageHeld,
    /// A message took longer.
    MessageDelayed,
    /// A transmission was lost, and repeated.
    Retransmission,
    /// A message was given up after too many lost transmissions.
    MessageLost,
    /// A message arrived twice.
    MessageDuplicated,
    /// A message was held back, for others to overtake.
    MessageReordered,
    /// A message was changed on the way, which broke its connection.
    MessageCorrupted,
    /// A request reached a service that was out.
    RequestUnanswered,
    /// A request was refused.
    RequestThrottled,
    /// A request took longer.
    RequestDelayed,
    /// A request was applied, and its answer lost.
    AnswerLost,
    /// A request was applied late.
    RequestAppliedLate,
    /// A lease was ended.
    LeaseBroken,
    /// A disk got a fault.
    DiskFault,
    /// A host's cores were slowed down, or went on as before.
    CpuChanged,
    /// A host's clock was put wrong, or right.
    ClockChanged,
    /// A connection that had lost something was opened anew by its reader.
    Reconnection,
    /// A replica did what its protocol forbids.
    ProtocolDeparture,
}

impl Effect {
    /// All effects.
    pub const ALL: [Effect; 19] = [
        Effect::MessageCut,
        Effect::MessageHeld,
        Effect::MessageDelayed,
        Effect::Retransmission,
        Effect::MessageLost,
        Effect::MessageDuplicated,
        Effect::MessageReordered,
        Effect::MessageCorrupted,
        Effect::RequestUnanswered,
        Effect::RequestThrottled,
        Effect::RequestDelayed,
        Effect::AnswerLost,
        Effect::RequestAppliedLate,
        Effect::LeaseBroken,
        Effect::DiskFault,
        Effect::CpuChanged,
        Effect::ClockChanged,
        Effect::Reconnection,
        Effect::ProtocolDeparture,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Effect::MessageCut => "message-cut",
            Effect::MessageHeld => "message-held",
            Effect::MessageDelayed => "message-delayed",
            Effect::Retransmission => "retransmission",
            Effect::MessageLost => "message-lost",
            Effect::MessageDuplicated => "message-duplicated",
            Effect::MessageReordered => "message-reordered",
            Effect::MessageCorrupted => "message-corrupted",
            Effect::RequestUnanswered => "request-unanswered",
            Effect::RequestThrottled => "request-throttled",
            Effect::RequestDelayed => "request-delayed",
            Effect::AnswerLost => "answer-lost",
            Effect::RequestAppliedLate => "request-applied-late",
            Effect::LeaseBroken => "lease-broken",
            Effect::DiskFault => "disk-fault",
            Effect::CpuChanged => "cpu-changed",
            Effect::ClockChanged => "clock-changed",
            Effect::Reconnection => "reconnection",
            Effect::ProtocolDeparture => "protocol-departure",
        }
    }
}

/// How often troubles did what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultCounts(BTreeMap<Effect, u64>);

impl FaultCounts {
    /// How often this happened.
    pub fn of(&self, effect: Effect) -> u64 {
        self.0.get(&effect).copied().unwrap_or(0)
    }

    /// Everything that happened at least once.
    pub fn iter(&self) -> impl Iterator<Item = (Effect, u64)> + '_ {
        self.0.iter().map(|(effect, count)| (*effect, *count))
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, effect: Effect, count: u64) {
        if count > 0 {
            *self.0.entry(effect).or_insert(0) += count;
        }
    }
}
