//! Dedup: which messages of other partitions this one has seen.
//!
//! A transport may deliver twice, and an origin that recovers sends again what it is not sure of.
//! Messages of one origin carry growing positions, and the transport keeps their order, so the last
//! position of each origin tells old from new.

use crate::event::Origin;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The last position received from each origin partition.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Dedup {
    last: BTreeMap<u32, (u64, u32)>,
}

impl Dedup {
    /// Whether what comes from `origin` is new; it is old from then on.
    pub(crate) fn admit(&mut self, origin: &Origin) -> bool {
        let received = (origin.position, origin.sub_position);
        match self.last.get(&origin.partition) {
            Some(last) if *last >= received => false,
            _ => {
                self.last.insert(origin.partition, received);
                true
            }
        }
    }

    /// The last position and number received from each origin.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (u32, u64, u32)> {
        self.last.iter().map(|(origin, (position, sub))| (*origin, *position, *sub))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn origin(partition: u32, position: u64, sub_position: u32) -> Origin {
        Origin { partition, position, sub_position, epoch: 0, depends: Vec::new() }
    }

    proptest! {
        /// Whatever is repeated behind the last new position, every position is admitted once.
        #[test]
        fn each_position_is_admitted_once(repeats in proptest::collection::vec(0usize..6, 1..60)) {
            let mut dedup = Dedup::default();
            let mut admitted = 0;
            for (index, repeat) in repeats.iter().enumerate() {
                for back in 0..=*repeat {
                    let position = index.saturating_sub(back) as u64;
                    admitted += usize::from(dedup.admit(&origin(7, position, 1)));
                }
            }
            prop_assert_eq!(admitted, repeats.len());
        }
    }

    #[test]
    fn origins_and_sub_positions_count_apart() {
        let mut dedup = Dedup::default();
        let mut admit = |partition, position, sub_position| {
            dedup.admit(&origin(partition, position, sub_position))
        };
        assert!(admit(0, 10, 0));
        assert!(admit(1, 10, 0));
        assert!(admit(0, 10, 1));
        assert!(!admit(0, 10, 0));
        assert!(!admit(0, 9, 5));
    }
}
