//! Positions of a log that are consumed out of order: only what has no gap before it can be committed.

use crate::event::Position;
use std::collections::BTreeMap;

/// Which positions of a log have been consumed without a gap.
#[derive(Default)]
pub(crate) struct OpenPositions {
    /// Received, in order; whether consumed.
    positions: BTreeMap<Position, bool>,
}

impl OpenPositions {
    /// A position was received.
    pub(crate) fn receive(&mut self, position: Position) {
        self.positions.entry(position).or_default();
    }

    /// Marks positions as consumed; the last one without a gap before it, if that is news.
    pub(crate) fn consume(&mut self, positions: &[Position]) -> Option<Position> {
        for position in positions {
            self.positions.insert(*position, true);
        }
        let mut last = None;
        while let Some(entry) = self.positions.first_entry().filter(|entry| *entry.get()) {
            last = Some(entry.remove_entry().0);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_behind_a_gap_is_committed() {
        let mut open = OpenPositions::default();
        let at = |number| Position(0, number);
        (1..=5).for_each(|number| open.receive(at(number)));
        assert_eq!(open.consume(&[at(2), at(3)]), None);
        assert_eq!(open.consume(&[at(1)]), Some(at(3)));
        assert_eq!(open.consume(&[at(5)]), None);
        assert_eq!(open.consume(&[at(4)]), Some(at(5)));
    }
}
