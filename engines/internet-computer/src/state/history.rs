//! The ingress history: which client calls are known, and what was answered.
//!
//! **What it models.** A call enters the history with the block that carries it, and stays until it can
//! no longer enter a block: its identity is not accepted a second time, and its answer can be asked
//! for. A call that was not answered stays longer. Source: dfinity/developer-docs,
//! guides/canister-calls/idempotency; dfinity/ic rs/limits/src/lib.rs@051bb67c (5 minutes, 600,000).

use crate::block::{Height, IngressId};
use crate::canister::Reply;
use serde::{Deserialize, Serialize};
use sim_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Calls in the history at which no more enter a block.
pub(crate) const HISTORY_MAX: usize = 600_000;
/// How long an answer can be asked for after its call has expired.
const GRACE: Duration = Duration::from_secs(60);

/// The ingress history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct History {
    calls: BTreeMap<IngressId, Option<(Height, Reply)>>,
    /// When calls may be forgotten.
    forget: BTreeSet<(Timestamp, IngressId)>,
}

impl History {
    /// Notes a call; false if it is known.
    pub(crate) fn add(&mut self, id: IngressId, expiry: Timestamp) -> bool {
        let new = !self.calls.contains_key(&id);
        if new {
            self.calls.insert(id, None);
            self.forget.insert((expiry + GRACE, id));
        }
        new
    }

    /// Whether a call is known.
    pub(crate) fn contains(&self, id: IngressId) -> bool {
        self.calls.contains_key(&id)
    }

    /// Notes an answer that was given at `height`.
    pub(crate) fn answer(&mut self, id: IngressId, height: Height, reply: Reply) {
        self.calls.insert(id, Some((height, reply)));
    }

    /// The answer to a call, if it was given at `height` or before.
    pub(crate) fn reply(&self, id: IngressId, height: Height) -> Option<&Reply> {
        let (at, reply) = self.calls.get(&id)?.as_ref()?;
        (*at <= height).then_some(reply)
    }

    /// Calls that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Forgets answered calls whose time has passed.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        while let Some(&(at, id)) = self.forget.first() {
            if at >= now {
                break;
            }
            self.forget.pop_first();
            if self.calls.get(&id).is_some_and(Option::is_none) {
                self.forget.insert((now + GRACE, id));
            } else {
                self.calls.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_until_it_cannot_come_again() {
        let mut history = History::default();
        let expiry = Timestamp::from_secs(300);
        assert!(history.add(IngressId(1), expiry));
        assert!(!history.add(IngressId(1), expiry), "the same call");
        assert!(history.add(IngressId(2), expiry));
        history.answer(IngressId(1), 7, Reply::Accepted);
        assert_eq!(history.reply(IngressId(1), 6), None, "it was not answered then");
        assert_eq!(history.reply(IngressId(1), 7), Some(&Reply::Accepted));
        history.forget(Timestamp::from_secs(300));
        assert!(history.contains(IngressId(1)));
        history.forget(Timestamp::from_secs(361));
        assert!(!history.contains(IngressId(1)));
        assert!(history.contains(IngressId(2)), "it was not answered");
        history.answer(IngressId(2), 9, Reply::Accepted);
        history.forget(Timestamp::from_secs(500));
        assert_eq!(history.len(), 0);
    }
}
