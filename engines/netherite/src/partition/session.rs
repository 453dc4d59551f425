//! Sessions: the unprocessed messages of an instance and the batch taken from them.
//!
//! A step that sends messages to its own instance puts up a *barrier*: the next batch waits until
//! that step is durable. So an instance that keeps itself busy cannot speculate without bound. A
//! recovery puts one up too: what was under way starts again when the recovery is durable.

use serde::{Deserialize, Serialize};
use sim_model::ledger::Category;
use sim_model::message::InstanceMessage;
use sim_model::time::Timestamp;
use std::collections::VecDeque;

/// The messages of one instance that no committed step has consumed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Session {
    pub id: u64,
    /// How many messages were consumed before the first one buffered.
    batch_start: u64,
    /// How often a recovery has begun the batch at the head anew (`DequeueCount`).
    attempts: u32,
    /// How many messages the step in progress was given; 0 if there is none.
    #[serde(skip)]
    in_progress: usize,
    /// The log position that has to be durable before the next batch is taken.
    #[serde(skip)]
    barrier: Option<u64>,
    messages: VecDeque<InstanceMessage>,
}

/// A batch taken for a step.
pub(crate) struct Batch {
    pub start: u64,
    pub messages: Vec<InstanceMessage>,
}

impl Session {
    pub(crate) fn new(id: u64) -> Session {
        Session {
            id,
            batch_start: 0,
            attempts: 0,
            in_progress: 0,
            barrier: None,
            messages: VecDeque::new(),
        }
    }

    /// Buffers a message; a batch to execute if no step is in progress.
    pub(crate) fn push(&mut self, message: InstanceMessage) -> Option<Batch> {
        self.messages.push_back(message);
        self.take_batch()
    }

    /// Removes what a finished step consumed; the next batch if messages are left. A step read from
    /// the log was given its batch by an earlier incarnation: only its place in the session counts.
    ///
    /// # Panics
    /// If the step does not continue where the last one ended.
    pub(crate) fn consume(&mut self, start: u64, length: usize) -> Option<Batch> {
        assert_eq!(start, self.batch_start, "steps of a session consume it in order");
        assert!(length <= self.messages.len(), "a step consumes the batch it was given");
        self.messages.drain(..length);
        self.batch_start += length as u64;
        self.attempts = 0;
        self.in_progress = 0;
        self.take_batch()
    }

    /// Lets the next batch wait until `position` is durable.
    pub(crate) fn put_up_barrier(&mut self, position: u64) {
        self.barrier = Some(position);
    }

    /// Takes the barrier at `position` away; a batch to execute if it held one back.
    pub(crate) fn remove_barrier(&mut self, position: u64) -> Option<Batch> {
        if self.barrier == Some(position) {
            self.barrier = None;
        }
        self.take_batch()
    }

    /// A new incarnation begins: no step is in progress but one whose `in_progress` messages are
    /// logged and wait to be durable.
    pub(crate) fn recover(&mut self, in_progress: usize) {
        self.in_progress = in_progress;
        self.barrier = None;
    }

    /// The recovery is logged at `position`: a batch that was under way begins anew when that is
    /// durable. Whether there is one.
    pub(crate) fn restart(&mut self, position: u64, now: Timestamp) -> bool {
        if self.in_progress > 0 || self.messages.is_empty() {
            return false;
        }
        self.attempts += 1;
        for message in &mut self.messages {
            let why = Category::Retries.because("its step was started again after a recovery");
            message.ledger.charge(why, now);
        }
        self.barrier = Some(position);
        true
    }

    /// Whether a step was given the batch that begins here.
    pub(crate) fn continues_at(&self, start: u64, length: usize) -> bool {
        start == self.batch_start && length <= self.messages.len()
    }

    /// Whether no message waits and no step is in progress.
    pub(crate) fn is_idle(&self) -> bool {
        self.messages.is_empty()
    }

    /// The messages nobody will consume.
    pub(crate) fn into_rest(self) -> impl Iterator<Item = InstanceMessage> {
        self.messages.into_iter()
    }

    fn take_batch(&mut self) -> Option<Batch> {
        if self.in_progress > 0 || self.barrier.is_some() || self.messages.is_empty() {
            return None;
        }
        self.in_progress = self.messages.len();
        let messages = self.messages.iter().cloned().collect();
        Some(Batch { start: self.batch_start, messages })
    }
}
