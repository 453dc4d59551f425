//! What the code of canisters uses besides the canister: costs, outcalls under way, the record of work
//! items, and suspended user code.

use super::outcome::{Effect, OutcallRequest, OutcallStep};
use crate::block::{CanisterId, OutcallId};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use sim_model::cursor::Cursor;
use sim_model::id::{InstanceId, WorkItemId};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// Of one step, its operations not counted.
    pub(crate) step: u64,
    /// Of one task, its own work not counted.
    pub(crate) task: u64,
    /// Of one operation of an entity, its own work not counted.
    pub(crate) operation: u64,
    /// That a core executes in a second.
    pub(crate) per_second: u64,
    /// Of one message execution at most.
    pub(crate) message_max: u64,
    /// Bytes of one outcall at most.
    pub(crate) outcall_bytes_max: u64,
}

impl Costs {
    /// Instructions that take this long.
    pub(crate) fn of(&self, work: Duration) -> u64 {
        let instructions = work.as_nanos() * u128::from(self.per_second) / 1_000_000_000;
        u64::try_from(instructions).unwrap_or(u64::MAX)
    }

    /// How long instructions take.
    pub(crate) fn time(&self, instructions: u64) -> Duration {
        let nanos = u128::from(instructions) * 1_000_000_000 / u128::from(self.per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Outcalls that are under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcalls {
    next: u64,
    open: BTreeMap<OutcallId, Open>,
}

/// An outcall that is under way, and what comes after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Open {
    canister: CanisterId,
    /// Whether its outcome is in the canister's queue.
    answered: bool,
    pub(super) steps: VecDeque<OutcallStep>,
    pub(super) then: Vec<Effect>,
}

impl Outcalls {
    /// Begins an outcall of `canister`, with what comes after it; its identity.
    pub(super) fn begin(
        &mut self,
        canister: CanisterId,
        steps: VecDeque<OutcallStep>,
        then: Vec<Effect>,
    ) -> OutcallId {
        let id = OutcallId(self.next);
        self.next += 1;
        self.open.insert(id, Open { canister, answered: false, steps, then });
        id
    }

    /// The outcalls without an outcome, and what is asked for by each.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (OutcallId, OutcallRequest)> + '_ {
        let open = self.open.iter().filter(|(_, open)| !open.answered);
        open.map(|(id, open)| (*id, open.steps[0].request))
    }

    /// The outcalls that have had an outcome.
    pub(crate) fn answered(&self) -> impl Iterator<Item = OutcallId> + '_ {
        let all = (0..self.next).map(OutcallId);
        all.filter(|id| self.open.get(id).is_none_or(|open| open.answered))
    }

    /// Ends an outcall.
    pub(super) fn end(&mut self, id: OutcallId) -> Open {
        self.open.remove(&id).expect("invariant: an outcall is answered once")
    }

    /// Notes the outcome of an outcall; the canister that waits, unless it was noted before.
    pub(crate) fn answer(&mut self, id: OutcallId) -> Option<CanisterId> {
        let open = self.open.get_mut(&id).filter(|open| !open.answered)?;
        open.answered = true;
        Some(open.canister)
    }
}

/// Work items of a round: given by an earlier execution of the same round, or new.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) given: VecDeque<WorkItemId>,
    pub(crate) used: Vec<WorkItemId>,
    /// Whether the round was executed before: nothing is recorded again.
    pub(crate) again: bool,
}

impl Trace {
    pub(super) fn item(&mut self, fetch: impl FnOnce() -> WorkItemId) -> WorkItemId {
        let item = if self.again {
            self.given.pop_front().expect("an execution that is repeated does the same again")
        } else {
            fetch()
        };
        self.used.push(item);
        item
    }
}

/// Suspended user code, by instance.
pub(crate) type Cursors = FxHashMap<InstanceId, Cursor>;
