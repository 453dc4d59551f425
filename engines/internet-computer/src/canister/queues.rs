//! The queues of a canister: input by sender, calls that wait for a slot, and output.
//!
//! Input is taken in turns: client calls, the canister's own timers and outcalls, and each canister
//! that sends, one message each. A pair of canisters has one queue in each direction, first in first
//! out. Source: dfinity/ic rs/replicated_state (DEFAULT_QUEUE_CAPACITY, round robin over queues).

use super::{Call, Letter};
use crate::block::{CanisterId, Ingress};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Messages between two canisters in one direction, reserved slots included.
/// Source: dfinity/developer-docs, references/resource-limits (500).
pub(crate) const QUEUE_CAPACITY: usize = 500;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Turn {
    Ingress,
    Local,
    Canister,
}

/// All queues of a canister.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Queues {
    ingress: VecDeque<Rc<Ingress>>,
    local: VecDeque<Letter>,
    from: BTreeMap<CanisterId, VecDeque<Letter>>,
    /// Canisters whose queue is not empty, in the order of their turns.
    turns: VecDeque<CanisterId>,
    turn: Turn,
    /// Calls that wait in the canister's own memory for a free slot.
    kept: BTreeMap<CanisterId, VecDeque<Call>>,
    /// Calls to each canister whose response has not been taken.
    open: BTreeMap<CanisterId, usize>,
    output: VecDeque<(CanisterId, Letter)>,
}

impl Default for Queues {
    fn default() -> Self {
        Queues {
            ingress: VecDeque::new(),
            local: VecDeque::new(),
            from: BTreeMap::new(),
            turns: VecDeque::new(),
            turn: Turn::Ingress,
            kept: BTreeMap::new(),
            open: BTreeMap::new(),
            output: VecDeque::new(),
        }
    }
}

impl Queues {
    /// Whether no input waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.ingress.is_empty() && self.local.is_empty() && self.turns.is_empty()
    }

    pub(crate) fn push_ingress(&mut self, ingress: Rc<Ingress>) {
        self.ingress.push_back(ingress);
    }

    pub(crate) fn push_local(&mut self, letter: Letter) {
        self.local.push_back(letter);
    }

    /// Takes a message of another canister, or drops it if its queue is full: with reserved slots it
    /// never is. Whether it was taken.
    pub(crate) fn push(&mut self, letter: Letter, reservation: bool) -> bool {
        let from = match &letter {
            Letter::Request { from, .. } | Letter::Response { from, .. } => *from,
            Letter::Ingress(_) | Letter::Outcall(_) | Letter::Timer(_) => {
                unreachable!("messages of canisters are requests and responses")
            }
        };
        let queue = self.from.entry(from).or_default();
        if reservation {
            // Requests of the peer, and responses to calls of it.
            assert!(
                queue.len() < 2 * QUEUE_CAPACITY,
                "a reserved slot was taken by another message"
            );
        } else if queue.len() >= QUEUE_CAPACITY {
            return false;
        }
        queue.push_back(letter);
        if queue.len() == 1 {
            self.turns.push_back(from);
        }
        true
    }

    /// The next message to execute.
    pub(crate) fn pop(&mut self) -> Option<Letter> {
        for _ in 0..3 {
            let turn = self.turn;
            self.turn = match turn {
                Turn::Ingress => Turn::Local,
                Turn::Local => Turn::Canister,
                Turn::Canister => Turn::Ingress,
            };
            let letter = match turn {
                Turn::Ingress => self.ingress.pop_front().map(Letter::Ingress),
                Turn::Local => self.local.pop_front(),
                Turn::Canister => self.pop_of_canister(),
            };
            if letter.is_some() {
                return letter;
            }
        }
        None
    }

    fn pop_of_canister(&mut self) -> Option<Letter> {
        let from = self.turns.pop_front()?;
        let queue = self.from.get_mut(&from).expect("invariant: a turn is of a queue");
        let letter = queue.pop_front();
        if queue.is_empty() {
            self.from.remove(&from);
        } else {
            self.turns.push_back(from);
        }
        letter
    }

    /// Calls `to`, now or when a slot becomes free.
    pub(crate) fn call(&mut self, me: CanisterId, to: CanisterId, call: Call, reservation: bool) {
        self.kept.entry(to).or_default().push_back(call);
        self.make_calls(me, to, reservation);
    }

    /// Answers a call of `to`.
    pub(crate) fn respond(&mut self, to: CanisterId, letter: Letter) {
        self.output.push_back((to, letter));
    }

    /// A response of `from` was taken: its slot is free.
    pub(crate) fn close(&mut self, me: CanisterId, from: CanisterId, reservation: bool) {
        let open = self.open.entry(from).or_default();
        *open = open.checked_sub(1).expect("invariant: every call gets exactly one response");
        self.make_calls(me, from, reservation);
    }

    fn make_calls(&mut self, me: CanisterId, to: CanisterId, reservation: bool) {
        let Some(kept) = self.kept.get_mut(&to) else { return };
        let open = self.open.entry(to).or_default();
        while *open < QUEUE_CAPACITY || !reservation {
            let Some(call) = kept.pop_front() else { break };
            *open += 1;
            self.output.push_back((to, Letter::Request { from: me, call }));
        }
        if kept.is_empty() {
            self.kept.remove(&to);
        }
    }

    /// Calls that wait for a slot.
    pub(crate) fn kept(&self) -> usize {
        self.kept.values().map(VecDeque::len).sum()
    }

    /// What is to be routed, in order.
    pub(crate) fn take_output(&mut self) -> VecDeque<(CanisterId, Letter)> {
        std::mem::take(&mut self.output)
    }

    /// Puts back, in front, what could not be routed.
    pub(crate) fn put_back(&mut self, mut output: VecDeque<(CanisterId, Letter)>) {
        output.append(&mut self.output);
        self.output = output;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sim_model::history::{EventKind, HistoryEvent};
    use sim_model::id::{InstanceId, MessageId, Producer};
    use sim_model::ledger::Ledger;
    use sim_model::message::InstanceMessage;
    use sim_model::time::Timestamp;

    fn call(index: u32) -> Call {
        let kind = EventKind::ExecutionSuspended { reason: "".into() };
        Call::Deliver(InstanceMessage {
            id: MessageId { producer: Producer::Client, index },
            target: InstanceId::new("a"),
            event: HistoryEvent { timestamp: Timestamp::ZERO, kind },
            ledger: Ledger::new(Timestamp::ZERO),
        })
    }

    const A: CanisterId = CanisterId(1);
    const B: CanisterId = CanisterId(2);

    proptest! {
        /// Whatever the interleaving of calls and responses: never more than 500 calls are open, none
        /// is lost, and they are made in order.
        #[test]
        fn reserved_slots_bound_the_queues_and_lose_nothing(
            steps in proptest::collection::vec((0u32..400, 0usize..400), 1..20),
        ) {
            let (mut caller, mut callee) = (Queues::default(), Queues::default());
            let (mut made, mut executed) = (0, 0);
            let mut rounds = steps.into_iter().chain(std::iter::repeat((0, 500)));
            for _ in 0..60 {
                let (calls, executions) = rounds.next().expect("endless");
                for _ in 0..calls {
                    caller.call(A, B, call(made), true);
                    made += 1;
                }
                for (_, letter) in caller.take_output() {
                    prop_assert!(callee.push(letter, true));
                }
                prop_assert!(callee.from.get(&A).map_or(0, VecDeque::len) <= QUEUE_CAPACITY);
                for _ in 0..executions {
                    let Some(letter) = callee.pop() else { break };
                    prop_assert_eq!(letter, Letter::Request { from: A, call: call(executed) });
                    executed += 1;
                    callee.respond(A, Letter::Response { from: B, answer: None });
                }
                for _ in callee.take_output() {
                    caller.close(A, B, true);
                }
            }
            prop_assert_eq!(executed, made);
            prop_assert_eq!(caller.kept(), 0);
        }
    }

    #[test]
    fn without_reservation_a_full_queue_loses_messages() {
        let (mut caller, mut callee) = (Queues::default(), Queues::default());
        for index in 0..600 {
            caller.call(A, B, call(index), false);
        }
        let taken = caller
            .take_output()
            .into_iter()
            .filter(|(_, letter)| callee.push(letter.clone(), false));
        assert_eq!(taken.count(), QUEUE_CAPACITY);
    }

    #[test]
    fn senders_take_turns() {
        let mut queues = Queues::default();
        for from in [A, A, B, B] {
            queues.push(Letter::Response { from, answer: None }, true);
        }
        let order: Vec<_> = std::iter::from_fn(|| queues.pop()).collect();
        let of = |from| Letter::Response { from, answer: None };
        assert_eq!(order, [of(A), of(B), of(A), of(B)]);
    }
}
