//! How often the engine's mechanisms came into play.

use crate::whereabouts::Point;
use std::cell::Cell;
use std::rc::Rc;

/// A count; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Counter(Rc<Cell<u64>>);

impl Counter {
    pub(crate) fn count(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, number: u64) {
        self.0.set(self.0.get() + number);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }
}

macro_rules! counters {
    ($($(#[$help:meta])* $name:ident,)*) => {
        /// The counts of a task hub.
        #[derive(Default)]
        pub(crate) struct Counters {
            $($(#[$help])* pub(crate) $name: Counter,)*
        }

        impl Counters {
            /// All counts by name, sorted.
            pub(crate) fn all(&self) -> Vec<(&'static str, u64)> {
                let mut all = vec![$((stringify!($name), self.$name.get()),)*];
                all.sort_unstable();
                all
            }
        }
    };
}

impl Counters {
    /// A worker's host has crashed while it was there.
    pub(crate) fn crashed_at(&self, point: Point) {
        let counter = match point {
            Point::Starting => &self.crashed_starting,
            Point::Writing => &self.crashed_writing,
            Point::Acting => &self.crashed_acting,
            Point::Unacknowledged => &self.crashed_unacknowledged,
            Point::InJoin => &self.crashed_in_join,
            Point::InJoinAfterFiring => &self.crashed_in_join_after_firing,
            Point::Waiting => &self.crashed_waiting,
        };
        counter.count();
    }
}

counters! {
    /// Workers that came up.
    workers_started,
    /// Events that workers took from streams.
    events_taken,
    /// Firings.
    firings,
    /// Events with the id of one that was consumed.
    duplicates_dropped,
    /// Events that no trigger knew and that were looked at again.
    redelivered,
    /// Events in queues that nobody reads.
    dead_letters,
    /// Events set aside.
    set_aside,
    /// Triggers found in the store for an unknown event.
    discoveries,
    /// Actions done again by a new worker.
    recovered,
    /// Runs of coordinators.
    coordinator_runs,
    /// Events that coordinators read.
    coordinator_events,
    /// Runs of coordinators that found nothing new.
    coordinator_idle_runs,
    /// Runs that another run had forestalled.
    coordinator_repetitions,
    /// Functions invoked.
    invocations,
    /// Invocations repeated by the caller.
    invocation_retries,
    /// Functions run again because their host had died.
    function_retries,
    /// Results that functions could not publish.
    lost_results,
    /// Timers set.
    timers,
    /// Notices to the control plane that were lost and sent again.
    notices_repeated,
    /// Workspaces that a host that came back has told the control plane of again.
    workspaces_relisted,
    /// Starts that somebody else had begun and not finished, taken up.
    starts_completed,
    /// Starts that found somebody else's when they had written theirs, or while they did.
    starts_overtaken,
    /// Runs that took the place of one that had ended.
    runs_replaced,
    /// Starts of other runs that lay in a stream.
    starts_left_out,
    /// Workers whose host crashed while they started.
    crashed_starting,
    /// While the contexts of a firing were written ahead of its action.
    crashed_writing,
    /// While an action was under way.
    crashed_acting,
    /// When an action was done, and not acknowledged.
    crashed_unacknowledged,
    /// When events were held, and nothing had fired.
    crashed_in_join,
    /// When events were held, and something else had fired.
    crashed_in_join_after_firing,
    /// When nothing was under way.
    crashed_waiting,
}
