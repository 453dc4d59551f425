//! Which control queues a worker listens to, and what of each is still in its hands.
//!
//! A queue that a worker owns has a dequeue loop. When the worker gives it up (its lease was lost, is
//! wanted by another, or the host is taken out of service) the loop stops at its next turn; what was
//! taken before stays in memory until it is consumed or put back. The queue is *drained* once the
//! loop has ended, no message of it is in memory and no session of an instance of it is open.
//!
//! Source: Azure/durabletask main@5217032, `OrchestrationSessionManager.cs` (AddQueue, ReleaseQueue,
//! DrainAsync, IsControlQueueReceivingMessages, IsControlQueueProcessingMessages).

/// One control queue, as a worker sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Queue {
    listens: bool,
    loop_runs: bool,
    messages: usize,
    sessions: usize,
}

/// The control queues of a task hub, as one worker sees them.
#[derive(Clone, Debug)]
pub(crate) struct Listening(Vec<Queue>);

impl Listening {
    /// A worker that listens to none of this many queues.
    pub fn new(queues: usize) -> Listening {
        Listening(vec![Queue::default(); queues])
    }

    /// The worker listens from now on. True if a dequeue loop must be started: there is none, not even
    /// one that was told to end and has not done so.
    pub fn start(&mut self, queue: usize) -> bool {
        self.0[queue].listens = true;
        !std::mem::replace(&mut self.0[queue].loop_runs, true)
    }

    /// The dequeue loop is to end. False if the worker did not listen.
    pub fn stop(&mut self, queue: usize) -> bool {
        std::mem::take(&mut self.0[queue].listens)
    }

    /// Whether the worker listens.
    pub fn listens(&self, queue: usize) -> bool {
        self.0[queue].listens
    }

    /// The dequeue loop has ended.
    pub fn loop_ended(&mut self, queue: usize) {
        let state = &mut self.0[queue];
        assert!(state.loop_runs && !state.listens, "a loop runs as long as its queue is owned");
        state.loop_runs = false;
    }

    /// A message of the queue is in memory.
    pub fn hold(&mut self, queue: usize) {
        self.0[queue].messages += 1;
    }

    /// A message of the queue is no longer in memory.
    pub fn forget(&mut self, queue: usize) {
        let messages = &mut self.0[queue].messages;
        *messages = messages.checked_sub(1).expect("only what is in memory is forgotten");
    }

    /// How many messages are in memory.
    pub fn messages(&self) -> usize {
        self.0.iter().map(|queue| queue.messages).sum()
    }

    /// A session of an instance of the queue begins.
    pub fn session_opened(&mut self, queue: usize) {
        self.0[queue].sessions += 1;
    }

    /// A session of an instance of the queue has ended.
    pub fn session_closed(&mut self, queue: usize) {
        let sessions = &mut self.0[queue].sessions;
        *sessions = sessions.checked_sub(1).expect("only what is open is closed");
    }

    /// Whether nothing of the queue is in the worker's hands any more.
    pub fn is_drained(&self, queue: usize) -> bool {
        self.0[queue] == Queue::default()
    }

    /// Whether all queues are drained.
    pub fn all_drained(&self) -> bool {
        (0..self.0.len()).all(|queue| self.is_drained(queue))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_drained_when_loop_messages_and_sessions_are_gone() {
        let mut listening = Listening::new(2);
        assert!(listening.start(1) && listening.listens(1) && !listening.is_drained(1));
        listening.hold(1);
        listening.session_opened(1);
        assert!(listening.stop(1) && !listening.stop(1));
        listening.loop_ended(1);
        listening.forget(1);
        assert!(!listening.is_drained(1), "a session is open");
        listening.session_closed(1);
        assert!(listening.is_drained(1) && listening.all_drained());
    }

    #[test]
    fn a_loop_that_is_still_ending_goes_on() {
        let mut listening = Listening::new(1);
        assert!(listening.start(0));
        listening.stop(0);
        assert!(!listening.start(0), "no second loop");
        listening.stop(0);
        listening.loop_ended(0);
        assert!(listening.start(0), "and one after it has ended");
    }
}
