//! The table of pending batches and active sessions of one worker.
//!
//! Messages that arrive for an instance join its *pending batch*. A new batch makes the worker read
//! the instance's history at once, in the background, even while an earlier step of the instance is
//! still being committed: the batch may then see a history that lacks that step. A batch is *ready*
//! when its history is there and the instance has no active session; opening it makes the instance
//! active until the session is closed. With extended sessions, messages for an active instance go to
//! the session's inbox instead, except for those that start an execution.
//!
//! Invariants: an instance has at most one pending batch and one active session; a batch is
//! announced as ready exactly once. Source: Azure/durabletask main@5217032,
//! `src/DurableTask.AzureStorage/OrchestrationSessionManager.cs`.

use rustc_hash::FxHashMap;
use sim_model::id::InstanceId;

/// A message as the table needs to know it.
pub(crate) trait Delivered {
    /// Whether `other` is an earlier delivery of the same message.
    fn same_message(&self, other: &Self) -> bool;
    /// Whether it starts an execution.
    fn starts_execution(&self) -> bool;
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is the first of a new batch, whose history must be read.
    NewBatch,
    /// It joined a batch.
    Joined,
    /// It took the place of an earlier delivery of itself.
    Replaced,
    /// It is in the inbox of the session in this slot.
    Inbox {
        /// The slot.
        slot: usize,
    },
}

/// A pending batch that was opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch<M, H> {
    /// The messages, in the order of their arrival.
    pub messages: Vec<M>,
    /// The history that was read ahead, if histories are read ahead.
    pub history: Option<H>,
    /// Whether an earlier session of this worker has changed the history, and to which version.
    pub expected: Option<u64>,
}

struct Pending<M, H> {
    messages: Vec<M>,
    /// `None` while the history is being read.
    history: Option<Option<H>>,
    expected: Option<u64>,
    announced: bool,
}

struct Active<M> {
    slot: usize,
    inbox: Vec<M>,
}

struct Entry<M, H> {
    active: Option<Active<M>>,
    pending: Option<Pending<M, H>>,
}

impl<M, H> Default for Entry<M, H> {
    fn default() -> Self {
        Entry { active: None, pending: None }
    }
}

impl<M, H> Entry<M, H> {
    /// Whether the pending batch is to be announced now.
    fn becomes_ready(&mut self) -> bool {
        match &mut self.pending {
            Some(pending) if self.active.is_none() && pending.history.is_some() => {
                !std::mem::replace(&mut pending.announced, true)
            }
            _ => false,
        }
    }
}

/// The table; `M` is a delivered message, `H` a history that was read.
pub(crate) struct Sessions<M, H> {
    entries: FxHashMap<InstanceId, Entry<M, H>>,
    extended: bool,
}

impl<M: Delivered, H> Sessions<M, H> {
    /// An empty table, with or without extended sessions.
    pub fn new(extended: bool) -> Self {
        Sessions { entries: FxHashMap::default(), extended }
    }

    /// A message for `instance` arrived.
    pub fn add(&mut self, instance: &InstanceId, message: M) -> Added {
        if !self.entries.contains_key(instance) {
            self.entries.insert(instance.clone(), Entry::default());
        }
        let entry = self.entries.get_mut(instance).expect("invariant: inserted above");
        if self.extended
            && !message.starts_execution()
            && let Some(active) = &mut entry.active
        {
            let slot = active.slot;
            put(&mut active.inbox, message);
            return Added::Inbox { slot };
        }
        match &mut entry.pending {
            Some(pending) => match put(&mut pending.messages, message) {
                true => Added::Replaced,
                false => Added::Joined,
            },
            none => {
                let messages = vec![message];
                let pending = Pending { messages, history: None, expected: None, announced: false };
                *none = Some(pending);
                Added::NewBatch
            }
        }
    }

    /// The history of a new batch was read, or (`None`) will be read later. True if the batch is
    /// ready now.
    pub fn loaded(&mut self, instance: &InstanceId, history: Option<H>) -> bool {
        let entry = self.entries.get_mut(instance).expect("invariant: a batch waits for this");
        let pending = entry.pending.as_mut().expect("invariant: a batch waits for this");
        assert!(pending.history.is_none(), "a history is read once for each batch");
        pending.history = Some(history);
        entry.becomes_ready()
    }

    /// Opens the ready batch of `instance` in a slot: its session begins.
    pub fn open(&mut self, instance: &InstanceId, slot: usize) -> Batch<M, H> {
        let entry = self.entries.get_mut(instance).expect("invariant: its batch is ready");
        assert!(entry.active.is_none(), "an instance has one session at a time");
        let pending = entry.pending.take().expect("invariant: its batch is ready");
        assert!(pending.announced && !pending.messages.is_empty(), "only ready batches open");
        entry.active = Some(Active { slot, inbox: Vec::new() });
        let history = pending.history.expect("invariant: ready batches have been loaded");
        Batch { messages: pending.messages, history, expected: pending.expected }
    }

    /// What has arrived for the open session of `instance` itself.
    pub fn take_inbox(&mut self, instance: &InstanceId) -> Vec<M> {
        let active = self.entries.get_mut(instance).and_then(|entry| entry.active.as_mut());
        std::mem::take(&mut active.expect("invariant: the session is open").inbox)
    }

    /// Closes the session of `instance`, which left the history at version `committed` if it wrote
    /// it. True if a batch that waited for this is ready now. The inbox must be empty.
    pub fn close(&mut self, instance: &InstanceId, committed: Option<u64>) -> bool {
        let entry = self.entries.get_mut(instance).expect("invariant: the session is open");
        let active = entry.active.take().expect("invariant: the session is open");
        assert!(active.inbox.is_empty(), "messages are taken before the session is closed");
        if let (Some(pending), Some(version)) = (&mut entry.pending, committed) {
            pending.expected = Some(version);
        }
        let ready = entry.becomes_ready();
        if entry.pending.is_none() {
            self.entries.remove(instance);
        }
        ready
    }

    /// How many instances are known.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Adds a message, in place of an earlier delivery of it if there is one.
fn put<M: Delivered>(messages: &mut Vec<M>, message: M) -> bool {
    let earlier = messages.iter_mut().find(|earlier| message.same_message(earlier));
    match earlier {
        Some(earlier) => {
            *earlier = message;
            true
        }
        None => {
            messages.push(message);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Message {
        id: u32,
        delivery: u32,
    }

    impl Delivered for Message {
        fn same_message(&self, other: &Self) -> bool {
            self.id == other.id
        }
        fn starts_execution(&self) -> bool {
            self.id == 0
        }
    }

    fn message(id: u32) -> Message {
        Message { id, delivery: 1 }
    }

    fn table(extended: bool) -> (Sessions<Message, &'static str>, InstanceId) {
        (Sessions::new(extended), InstanceId::new("i"))
    }

    #[test]
    fn messages_join_a_batch_until_it_is_opened() {
        let (mut table, i) = table(false);
        assert_eq!(table.add(&i, message(1)), Added::NewBatch);
        assert_eq!(table.add(&i, message(2)), Added::Joined);
        assert!(table.loaded(&i, Some("history")));
        assert_eq!(table.add(&i, message(3)), Added::Joined);
        let batch = table.open(&i, 0);
        assert_eq!(batch.messages, [message(1), message(2), message(3)]);
        assert_eq!((batch.history, batch.expected), (Some("history"), None));
        assert!(!table.close(&i, Some(7)));
        assert_eq!(table.len(), 0, "nothing is remembered of an idle instance");
    }

    #[test]
    fn a_second_delivery_replaces_the_first() {
        let (mut table, i) = table(false);
        table.add(&i, message(1));
        assert_eq!(table.add(&i, Message { id: 1, delivery: 2 }), Added::Replaced);
        assert!(table.loaded(&i, None));
        assert_eq!(table.open(&i, 0).messages, [Message { id: 1, delivery: 2 }]);
    }

    #[test]
    fn a_batch_waits_for_the_session_and_learns_that_its_history_is_old() {
        let (mut table, i) = table(false);
        table.add(&i, message(0));
        assert!(table.loaded(&i, Some("old")));
        table.open(&i, 0);
        assert_eq!(table.add(&i, message(1)), Added::NewBatch, "read ahead at once");
        assert!(!table.loaded(&i, Some("stale")), "the instance is active");
        assert!(table.close(&i, Some(42)), "and ready when it is not");
        let batch = table.open(&i, 1);
        assert_eq!((batch.history, batch.expected), (Some("stale"), Some(42)));
    }

    #[test]
    fn a_batch_whose_history_comes_after_the_session_is_announced_once() {
        let (mut table, i) = table(false);
        table.add(&i, message(0));
        assert!(table.loaded(&i, None));
        table.open(&i, 0);
        table.add(&i, message(1));
        assert!(!table.close(&i, Some(42)), "its history is still being read");
        assert!(table.loaded(&i, Some("history")));
        assert_eq!(table.open(&i, 0).expected, Some(42));
    }

    #[test]
    fn extended_sessions_take_messages_while_they_are_open() {
        let (mut table, i) = table(true);
        table.add(&i, message(0));
        assert!(table.loaded(&i, None));
        table.open(&i, 3);
        assert_eq!(table.add(&i, message(1)), Added::Inbox { slot: 3 });
        assert_eq!(table.add(&i, message(0)), Added::NewBatch, "a start never goes to a session");
        assert_eq!(table.take_inbox(&i), [message(1)]);
        assert!(!table.close(&i, None));
    }

    #[test]
    #[should_panic(expected = "one session at a time")]
    fn an_instance_is_never_active_twice() {
        let (mut table, i) = table(false);
        table.add(&i, message(1));
        table.loaded(&i, None);
        table.open(&i, 0);
        table.open(&i, 1);
    }
}
