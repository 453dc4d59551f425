//! The ingress pool of a replica: client calls that are in no finalized block.
//!
//! A block takes calls in the order of their arrival, up to 1,000 and 4 MiB. What was finalized is
//! remembered until it has expired, so that a call that is sent again does not enter the pool again.
//! Source: dfinity/ic rs/limits/src/lib.rs@051bb67c.

use crate::block::{Ingress, IngressId};
use rustc_hash::FxHashMap;
use sim_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What a block takes at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockLimits {
    /// Ingress messages.
    pub(crate) messages: usize,
    /// Bytes of ingress messages.
    pub(crate) bytes: u64,
}

/// The ingress pool.
#[derive(Debug, Default)]
pub(crate) struct IngressPool {
    arrived: u64,
    by_arrival: BTreeMap<u64, Rc<Ingress>>,
    places: FxHashMap<IngressId, u64>,
    /// Calls in finalized blocks, until they have expired.
    finalized: BTreeSet<IngressId>,
    forget: BTreeSet<(Timestamp, IngressId)>,
}

impl IngressPool {
    /// Adds a call; false if it is known, or has expired.
    pub(crate) fn add(&mut self, ingress: &Rc<Ingress>, now: Timestamp) -> bool {
        let known = self.places.contains_key(&ingress.id) || self.finalized.contains(&ingress.id);
        if known || ingress.expiry <= now {
            return false;
        }
        self.arrived += 1;
        self.places.insert(ingress.id, self.arrived);
        self.by_arrival.insert(self.arrived, ingress.clone());
        true
    }

    /// A call is in a finalized block.
    pub(crate) fn finalized(&mut self, ingress: &Ingress) {
        if let Some(place) = self.places.remove(&ingress.id) {
            self.by_arrival.remove(&place);
        }
        if self.finalized.insert(ingress.id) {
            self.forget.insert((ingress.expiry, ingress.id));
        }
    }

    /// Adds a call although it may be in a finalized block: deduplication is switched off.
    pub(crate) fn add_again(&mut self, ingress: &Rc<Ingress>, now: Timestamp) -> bool {
        self.finalized.remove(&ingress.id);
        self.add(ingress, now)
    }

    /// Drops what has expired.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        while let Some(&(expiry, id)) = self.forget.first() {
            if expiry > now {
                break;
            }
            self.forget.pop_first();
            self.finalized.remove(&id);
        }
        while let Some(first) = self.by_arrival.first_entry() {
            if first.get().expiry > now {
                break;
            }
            self.places.remove(&first.remove().id);
        }
    }

    /// The calls for a block of this time that does not take those in `taken`.
    pub(crate) fn select(
        &self,
        time: Timestamp,
        taken: &BTreeSet<IngressId>,
        limits: BlockLimits,
    ) -> Vec<Rc<Ingress>> {
        let mut bytes = 0;
        let fresh = self.by_arrival.values();
        fresh
            .filter(|ingress| ingress.expiry > time && !taken.contains(&ingress.id))
            .take_while(|ingress| {
                bytes += ingress.bytes;
                bytes <= limits.bytes
            })
            .take(limits.messages)
            .cloned()
            .collect()
    }

    /// Calls that wait.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.by_arrival.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{CanisterId, Method};
    use sim_model::id::InstanceId;

    fn ingress(id: u64) -> Rc<Ingress> {
        let method = Method::Purge(InstanceId::new("a"));
        Ingress::new(IngressId(id), CanisterId(0), Timestamp::from_secs(300), method)
    }

    const LIMITS: BlockLimits = BlockLimits { messages: 3, bytes: 4 << 20 };

    fn ids(selected: &[Rc<Ingress>]) -> Vec<u64> {
        selected.iter().map(|ingress| ingress.id.0).collect()
    }

    #[test]
    fn a_block_takes_the_oldest_within_its_limits() {
        let mut pool = IngressPool::default();
        for id in [7, 3, 9, 1, 5] {
            assert!(pool.add(&ingress(id), Timestamp::ZERO));
        }
        assert!(!pool.add(&ingress(9), Timestamp::ZERO), "it is known");
        let taken = BTreeSet::from([IngressId(3)]);
        assert_eq!(ids(&pool.select(Timestamp::ZERO, &taken, LIMITS)), [7, 9, 1]);
        let small = BlockLimits { bytes: 2 * ingress(1).bytes, ..LIMITS };
        assert_eq!(ids(&pool.select(Timestamp::ZERO, &BTreeSet::new(), small)), [7, 3]);
    }

    #[test]
    fn what_was_finalized_does_not_come_back_until_it_has_expired() {
        let mut pool = IngressPool::default();
        assert!(pool.add(&ingress(1), Timestamp::ZERO));
        pool.finalized(&ingress(1));
        assert_eq!(pool.len(), 0);
        assert!(!pool.add(&ingress(1), Timestamp::ZERO));
        pool.expire(Timestamp::from_secs(300));
        assert!(!pool.add(&ingress(1), Timestamp::from_secs(300)), "it has expired");
        assert!(pool.add_again(&ingress(1), Timestamp::ZERO), "only without deduplication");
    }

    #[test]
    fn expired_calls_enter_no_block() {
        let mut pool = IngressPool::default();
        pool.add(&ingress(1), Timestamp::ZERO);
        let late = Timestamp::from_secs(300);
        assert!(pool.select(late, &BTreeSet::new(), LIMITS).is_empty());
        pool.expire(late);
        assert_eq!(pool.len(), 0);
    }
}
