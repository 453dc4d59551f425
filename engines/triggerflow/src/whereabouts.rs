//! Where in the protocol a worker is: what its host's crash interrupts.
//!
//! A measurement, and nothing decides by it. A worker notes what its main loop does and how much lies behind
//! it; when its host comes back after a crash, where the worker was is counted, in a counter for each
//! [`Point`]. So a sweep of crashes over many instants can be told apart by what they hit.
//!
//! Points are told from the most to the least under way: a worker that acts while its committer has a former
//! firing to acknowledge counts as acting.

use std::cell::Cell;
use std::rc::Rc;

/// Where a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// It starts: it reads what there is, and does again what was begun.
    Starting,
    /// A firing's contexts are being written before its action (v4).
    Writing,
    /// An action is under way: functions are invoked, messages sent.
    Acting,
    /// An action is done; what is to be stored behind it (acknowledgement, contexts, deletion) is not.
    Unacknowledged,
    /// Events were taken in that no firing has consumed, and nothing has fired in this life.
    InJoin,
    /// The same, and something has fired in this life.
    InJoinAfterFiring,
    /// Nothing is under way.
    Waiting,
}

/// What the main loop does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doing {
    #[default]
    Starting,
    Taking,
    Writing,
    Acting,
}

#[derive(Default)]
struct Noted {
    doing: Cell<Doing>,
    /// Firings whose action is done and that the committer has not settled.
    unsettled: Cell<usize>,
    /// Events taken in and not consumed.
    held: Cell<usize>,
    has_fired: Cell<bool>,
}

/// The whereabouts of one worker; clones are of the same one.
#[derive(Clone, Default)]
pub(crate) struct Whereabouts(Rc<Noted>);

impl Whereabouts {
    /// It takes events in.
    pub(crate) fn takes(&self, held: usize) {
        self.0.doing.set(Doing::Taking);
        self.0.held.set(held);
    }

    /// A firing is being stored ahead of its action.
    pub(crate) fn writes(&self) {
        self.0.doing.set(Doing::Writing);
    }

    /// An action begins.
    pub(crate) fn acts(&self) {
        self.0.doing.set(Doing::Acting);
    }

    /// An action is done, and left to the committer.
    pub(crate) fn acted(&self) {
        self.0.doing.set(Doing::Taking);
        self.0.has_fired.set(true);
        self.0.unsettled.set(self.0.unsettled.get() + 1);
    }

    /// The committer has settled a firing.
    pub(crate) fn settled(&self) {
        self.0.unsettled.set(self.0.unsettled.get().saturating_sub(1));
    }

    /// Where it is.
    pub(crate) fn point(&self) -> Point {
        let Noted { doing, unsettled, held, has_fired } = &*self.0;
        match doing.get() {
            Doing::Starting => Point::Starting,
            Doing::Writing => Point::Writing,
            Doing::Acting => Point::Acting,
            Doing::Taking if unsettled.get() > 0 => Point::Unacknowledged,
            Doing::Taking if held.get() == 0 => Point::Waiting,
            Doing::Taking if has_fired.get() => Point::InJoinAfterFiring,
            Doing::Taking => Point::InJoin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_where_the_most_is_under_way() {
        let worker = Whereabouts::default();
        assert_eq!(worker.point(), Point::Starting);
        worker.takes(0);
        assert_eq!(worker.point(), Point::Waiting);
        worker.takes(3);
        assert_eq!(worker.point(), Point::InJoin);
        worker.writes();
        assert_eq!(worker.point(), Point::Writing);
        worker.acts();
        assert_eq!(worker.point(), Point::Acting);
        worker.acted();
        assert_eq!(worker.point(), Point::Unacknowledged);
        worker.clone().settled();
        assert_eq!(worker.point(), Point::InJoinAfterFiring);
    }
}
