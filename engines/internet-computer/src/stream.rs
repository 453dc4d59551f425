//! Streams between subnets: what is sent, what was taken, and what may be forgotten.
//!
//! **What it models.** For each destination a subnet has one stream of messages with consecutive
//! indices. A stream is visible once the round that wrote it is certified. The block maker of the
//! receiver pulls a *slice*, the messages from the first index it has not agreed on yet, and puts it
//! into a block. With each slice goes the sender's header: how far it has itself taken the reverse
//! stream (its signals). A sender forgets what was signalled. Slices are bounded, and a stream takes
//! no more than it can hold; what does not fit waits in the output queues of canisters.
//!
//! **Left out.** Reject signals, which tell that a canister has moved to another subnet: canisters do
//! not move here. Sources: R. Kashitsyn, mmapped.blog posts/08; dfinity/developer-docs, message-routing;
//! limits: dfinity/ic rs/config message_routing.

use crate::block::{CanisterId, Height, SubnetId, encode};
use crate::canister::Letter;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Most messages of a stream. Source: dfinity/ic rs/config message_routing (10,000).
pub(crate) const STREAM_MESSAGES_MAX: usize = 10_000;
/// Bytes at which a stream takes no more. Source: the same (10 MiB).
pub(crate) const STREAM_BYTES_TARGET: u64 = 10 << 20;
/// Most bytes of a slice. [assumption] half of a block, so that a stream does not shut out clients.
pub(crate) const SLICE_BYTES_MAX: u64 = 2 << 20;

/// A message of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Routed {
    /// The height at which it was put into the stream.
    pub(crate) height: Height,
    pub(crate) to: CanisterId,
    pub(crate) letter: Letter,
    bytes: u64,
}

/// Part of a stream, with the sender's signals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Slice {
    /// Who sends.
    pub(crate) from: SubnetId,
    /// The index of the first message.
    pub(crate) begin: u64,
    pub(crate) messages: Vec<Routed>,
    /// Messages of the reverse stream below this index were taken.
    pub(crate) signals: u64,
}

impl Slice {
    /// The index after the last message.
    pub(crate) fn end(&self) -> u64 {
        self.begin + self.messages.len() as u64
    }

    /// Bytes on the wire.
    pub(crate) fn wire_bytes(&self) -> u64 {
        self.messages.iter().map(|routed| routed.bytes).sum::<u64>() + 200
    }
}

/// The messages for one other subnet, and what came from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stream {
    /// The index of the first message that is kept.
    begin: u64,
    messages: VecDeque<Routed>,
    bytes: u64,
    /// The next index that is taken of the reverse stream.
    pub(crate) taken: u64,
}

impl Stream {
    /// Whether the stream takes another message.
    pub(crate) fn has_room(&self) -> bool {
        self.messages.len() < STREAM_MESSAGES_MAX && self.bytes < STREAM_BYTES_TARGET
    }

    /// Adds a message.
    pub(crate) fn push(&mut self, height: Height, to: CanisterId, letter: Letter) {
        let bytes = encode(&letter).len() as u64;
        self.bytes += bytes;
        self.messages.push_back(Routed { height, to, letter, bytes });
    }

    /// The messages from index `from` on that were there at `certified`.
    pub(crate) fn slice(&self, me: SubnetId, from: u64, certified: Height, signals: u64) -> Slice {
        let begin = from.max(self.begin);
        let mut bytes = 0;
        let skip = usize::try_from(begin - self.begin).expect("invariant: indices of a stream");
        let messages = self.messages.iter().skip(skip).take_while(|routed| {
            bytes += routed.bytes;
            routed.height <= certified && bytes <= SLICE_BYTES_MAX
        });
        Slice { from: me, begin, messages: messages.cloned().collect(), signals }
    }

    /// Forgets what the receiver has taken, and takes the messages of a slice that are new; messages
    /// of a slice that begins beyond the next index are not.
    pub(crate) fn accept(&mut self, slice: &Slice) -> Vec<Routed> {
        while self.begin < slice.signals {
            let Some(gone) = self.messages.pop_front() else { break };
            self.bytes -= gone.bytes;
            self.begin += 1;
        }
        if slice.begin > self.taken || slice.end() <= self.taken {
            return Vec::new();
        }
        let known = usize::try_from(self.taken - slice.begin).expect("invariant: within the slice");
        self.taken = slice.end();
        slice.messages[known..].to_vec()
    }

    /// The messages that wait for the other subnet.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.messages.len()
    }

    /// The index of the first message that is kept.
    pub(crate) fn begin(&self) -> u64 {
        self.begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::CanisterId;
    use proptest::prelude::*;

    fn letter(number: u32) -> Letter {
        Letter::Response { from: CanisterId(number), answer: None }
    }

    const HERE: SubnetId = SubnetId(0);
    const THERE: SubnetId = SubnetId(1);

    #[test]
    fn only_what_is_certified_can_be_pulled() {
        let mut stream = Stream::default();
        for height in 1..=5 {
            stream.push(height, CanisterId(9), letter(height as u32));
        }
        assert_eq!(stream.slice(HERE, 0, 3, 0).messages.len(), 3);
        assert_eq!(stream.slice(HERE, 2, 3, 0).messages.len(), 1);
        assert_eq!(stream.slice(HERE, 0, 0, 0).messages.len(), 0);
    }

    #[test]
    fn a_full_stream_takes_no_more_until_it_is_signalled() {
        let mut stream = Stream::default();
        for _ in 0..STREAM_MESSAGES_MAX {
            assert!(stream.has_room());
            stream.push(1, CanisterId(9), letter(0));
        }
        assert!(!stream.has_room());
        let ack = Slice { from: THERE, begin: 0, messages: Vec::new(), signals: 4 };
        stream.accept(&ack);
        assert!(stream.has_room());
        assert_eq!(stream.waiting(), STREAM_MESSAGES_MAX - 4);
    }

    proptest! {
        /// Whatever slices are pulled when, and however often one is put into a block, every message
        /// arrives once and in order.
        #[test]
        fn messages_arrive_once_and_in_order(
            pulls in proptest::collection::vec((0u64..4, 0u64..4, 0u64..3), 1..60),
        ) {
            let (mut sender, mut receiver) = (Stream::default(), Stream::default());
            let (mut sent, mut received): (u32, Vec<Letter>) = (0, Vec::new());
            let mut old: Vec<Slice> = Vec::new();
            for (height, (new, lag, again)) in pulls.into_iter().enumerate() {
                let height = height as u64 + 1;
                for _ in 0..new {
                    sender.push(height, CanisterId(9), letter(sent));
                    sent += 1;
                }
                let certified = height.saturating_sub(lag);
                let slice = sender.slice(HERE, receiver.taken, certified, sender.taken);
                old.push(slice);
                let pick = old.len() - 1 - (again as usize).min(old.len() - 1);
                received.extend(receiver.accept(&old[pick]).into_iter().map(|r| r.letter));
                let back = receiver.slice(THERE, sender.taken, height, receiver.taken);
                sender.accept(&back);
                prop_assert!(sender.waiting() <= sent as usize - received.len() + 4);
            }
            let last = sender.slice(HERE, receiver.taken, u64::MAX, sender.taken);
            received.extend(receiver.accept(&last).into_iter().map(|routed| routed.letter));
            let expected: Vec<Letter> = (0..sent).map(letter).collect();
            prop_assert_eq!(received, expected);
        }
    }
}
