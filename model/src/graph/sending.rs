//! A client's message on its way: it counts once somebody was told that it was accepted.

use super::GraphRecorder;
use crate::id::MessageId;

/// A message that a client is sending. Unless it is [accepted](Sending::accepted) before this is dropped,
/// because the request failed, its outcome is unknown, or the client has died, nobody can rely on it:
/// it may be consumed, and need not be.
#[must_use = "a message that is not accepted need not be consumed"]
pub struct Sending {
    recorder: GraphRecorder,
    message: MessageId,
    accepted: bool,
}

impl Sending {
    /// The message.
    pub fn message(&self) -> MessageId {
        self.message
    }

    /// The client is told now that the message was accepted.
    pub fn accepted(mut self) {
        self.accepted = true;
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.accepted {
            self.recorder.discarded(self.message);
        }
    }
}

impl GraphRecorder {
    /// The next message from a client, which is being sent.
    pub fn sending(&self) -> Sending {
        Sending { recorder: self.clone(), message: self.client_message(), accepted: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::checks::no_message_lost;
    use crate::time::Timestamp;

    #[test]
    fn only_what_was_accepted_has_to_be_consumed() {
        let recorder = GraphRecorder::default();
        drop(recorder.sending());
        assert!(no_message_lost(&recorder.graph(), Timestamp::ZERO).is_none());
        recorder.sending().accepted();
        let (count, violation) = no_message_lost(&recorder.graph(), Timestamp::ZERO).expect("lost");
        assert_eq!(count, 1, "{violation:?}");
    }
}
