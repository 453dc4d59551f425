//! What a history remembers of steps whose messages may come again: the order *history first*.
//!
//! The published engine puts what a step sends, and writes its history after that: a step that is cut
//! off between the two has sent what was never committed, and sends it again under other identities
//! when it runs again. With `step_order=history-first`, which is an addition, the sentinel of the
//! history carries a journal, written in the transaction that commits the step, and the messages are put
//! after it:
//!
//! - each step that is not known to be *settled* (all it sent is in its queues, all it consumed is
//!   deleted), with the identities of what it consumed, and with its outbox;
//! - identities of consumed messages that could be sent again and that nothing else tells from new ones
//!   (lock requests on their way from entity to entity, delayed signals, events from orchestrations).
//!
//! A step that was cut off has not deleted all it consumed. So one of these messages is handed out
//! again; whoever takes it finds its identity in the journal, puts the outbox once more, with the
//! identities it had, and deletes the message. No message is consumed by two steps, and nothing is sent
//! by a step that is not final.
//!
//! A worker knows which of its own steps are settled, and drops them when it writes the next step. Of
//! those of others it does not know; it keeps them until they must have come again if they ever do.

use serde::{Deserialize, Serialize};
use sim_model::id::{MessageId, WorkItemId};
use sim_model::message::{InstanceMessage, TaskMessage, TimerMessage};
use sim_model::step::StepOutcome;
use sim_model::time::Timestamp;
use std::time::Duration;

/// What a step sends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outbox {
    /// Activities.
    pub tasks: Vec<TaskMessage>,
    /// Messages to instances.
    pub messages: Vec<InstanceMessage>,
    /// Messages for later.
    pub timers: Vec<TimerMessage>,
}

impl Outbox {
    /// What the step with this outcome sends.
    pub fn of(outcome: &StepOutcome) -> Outbox {
        let StepOutcome { tasks, messages, timers, .. } = outcome;
        Outbox { tasks: tasks.clone(), messages: messages.clone(), timers: timers.clone() }
    }
}

/// A step that is not known to be settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unsettled {
    /// The step.
    pub step: WorkItemId,
    /// What it consumed.
    pub consumed: Vec<MessageId>,
    /// What it sends; empty once that is known to be in its queues.
    pub outbox: Outbox,
    /// When a worker first wrote it down for a step of another worker.
    carried: Option<Timestamp>,
}

impl Unsettled {
    /// A step that is about to be committed.
    pub fn new(step: WorkItemId, consumed: Vec<MessageId>, outbox: Outbox) -> Unsettled {
        Unsettled { step, consumed, outbox, carried: None }
    }
}

/// What a worker knows of steps that it ran or sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// All it sent is in its queues.
    Sent,
    /// And all it consumed is deleted.
    Settled,
}

/// The journal of one history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    steps: Vec<Unsettled>,
    remembered: Vec<(MessageId, Timestamp)>,
}

impl Journal {
    /// Whether a message has been consumed already.
    pub fn has_consumed(&self, message: &MessageId) -> bool {
        self.steps.iter().any(|step| step.consumed.contains(message))
            || self.remembered.iter().any(|(id, _)| id == message)
    }

    /// The steps of whose consumed messages one is among `messages`.
    pub fn consumers<'a>(
        &'a self,
        messages: &'a [MessageId],
    ) -> impl Iterator<Item = &'a Unsettled> {
        let consumed = |step: &&Unsettled| step.consumed.iter().any(|id| messages.contains(id));
        self.steps.iter().filter(consumed)
    }

    /// The journal once `step` is committed at `now`, which has consumed `remember` among others.
    /// Nothing is kept for longer than `keep`.
    pub fn after_step(
        &self,
        step: Unsettled,
        remember: impl Iterator<Item = MessageId>,
        known: impl Fn(WorkItemId) -> Option<Known>,
        now: Timestamp,
        keep: Duration,
    ) -> Journal {
        let carry = |step: &Unsettled| {
            let carried = step.carried.unwrap_or(now);
            let knowledge = known(step.step);
            if knowledge == Some(Known::Settled) || now.since(carried) > keep {
                return None;
            }
            let sent = knowledge == Some(Known::Sent);
            let outbox = if sent { Outbox::default() } else { step.outbox.clone() };
            Some(Unsettled { outbox, carried: Some(carried), ..step.clone() })
        };
        let mut steps: Vec<Unsettled> = self.steps.iter().filter_map(carry).collect();
        steps.push(step);
        let recent = self.remembered.iter().filter(|(_, at)| now.since(*at) <= keep).copied();
        let remembered = recent.chain(remember.map(|id| (id, now))).collect();
        Journal { steps, remembered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_model::id::Producer;

    const KEEP: Duration = Duration::from_secs(1800);

    fn message(index: u32) -> MessageId {
        MessageId { producer: Producer::Client, index }
    }

    fn step(number: u32, consumed: &[u32]) -> Unsettled {
        let consumed = consumed.iter().map(|index| message(*index)).collect();
        Unsettled::new(WorkItemId(number), consumed, Outbox::default())
    }

    fn steps(journal: &Journal) -> Vec<u32> {
        journal.steps.iter().map(|step| step.step.0).collect()
    }

    #[test]
    fn settled_steps_are_dropped_and_others_stay_until_they_must_have_come_again() {
        let at = Timestamp::from_secs;
        let write = |journal: &Journal, number, known: Option<Known>, secs| {
            let remember = std::iter::empty();
            journal.after_step(step(number, &[number]), remember, |_| known, at(secs), KEEP)
        };
        let first = write(&Journal::default(), 1, None, 0);
        assert_eq!(steps(&write(&first, 2, Some(Known::Settled), 5)), [2]);
        let kept = write(&first, 2, Some(Known::Sent), 7000);
        assert_eq!(steps(&kept), [1, 2], "however late it is written down");
        assert!(kept.has_consumed(&message(1)) && !kept.has_consumed(&message(3)));
        let consumers: Vec<u32> = kept.consumers(&[message(1)]).map(|step| step.step.0).collect();
        assert_eq!(consumers, [1]);
        assert_eq!(steps(&write(&kept, 3, None, 8800)), [1, 2, 3]);
        assert_eq!(steps(&write(&kept, 3, None, 8801)), [2, 3]);
    }

    #[test]
    fn what_is_remembered_is_forgotten_after_a_while() {
        let at = Timestamp::from_secs;
        let settled = |_| Some(Known::Settled);
        let remember = [message(9)].into_iter();
        let first = Journal::default().after_step(step(1, &[1]), remember, settled, at(0), KEEP);
        let second = first.after_step(step(2, &[2]), std::iter::empty(), settled, at(1800), KEEP);
        assert!(second.has_consumed(&message(9)));
        let third = second.after_step(step(3, &[3]), std::iter::empty(), settled, at(1801), KEEP);
        assert!(!third.has_consumed(&message(9)));
    }
}
