//! How far a run is, for whoever watches it from another thread.

use sim_model::time::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a run that another thread may read while it goes on. Cloning shares them. Nothing
/// in a run reads them.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    expected: AtomicU64,
    completed: AtomicU64,
    virtual_nanos: AtomicU64,
    runs_completed: AtomicU64,
}

impl Progress {
    /// Orchestrations that are expected to end; an estimate for open loads, and 0 where nothing
    /// is known.
    pub fn expected(&self) -> u64 {
        self.0.expected.load(Ordering::Relaxed)
    }

    /// Orchestrations that have ended.
    pub fn completed(&self) -> u64 {
        self.0.completed.load(Ordering::Relaxed)
    }

    /// Virtual time of the last orchestration that ended; of parallel runs, the latest.
    pub fn virtual_time(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.virtual_nanos.load(Ordering::Relaxed))
    }

    /// Runs that have ended, for experiments of many.
    pub fn runs_completed(&self) -> u64 {
        self.0.runs_completed.load(Ordering::Relaxed)
    }

    pub(crate) fn expect(&self, orchestrations: u64) {
        self.0.expected.fetch_add(orchestrations, Ordering::Relaxed);
    }

    pub(crate) fn complete(&self, at: Timestamp) {
        self.0.completed.fetch_add(1, Ordering::Relaxed);
        self.0.virtual_nanos.fetch_max(at.as_nanos(), Ordering::Relaxed);
    }

    pub(crate) fn complete_run(&self) {
        self.0.runs_completed.fetch_add(1, Ordering::Relaxed);
    }
}
