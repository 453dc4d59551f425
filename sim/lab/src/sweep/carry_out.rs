//! The runs of a sweep, carried out side by side.

use super::{Plan, SweepError, SweepFolder};
use crate::progress::Progress;
use crate::results::{Provenance, ResultsError};
use crate::run;
use rayon::prelude::*;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Who watches a sweep: measures how long runs take, and is told when one has ended. Nothing of it
/// reaches a result.
pub trait Watch: Sync {
    /// Does `work`, and says how it was made.
    fn made(&self, work: &mut (dyn FnMut() + Send)) -> Provenance;

    /// So many runs have ended.
    fn ended(&self, runs: usize);
}

/// Carries out these runs of a plan on the threads of the pool that this is called on, and writes each
/// down as it ends; runs with the greatest load first, so that no thread is left with a long one at the
/// end. A run that breaks off is written down as such, and the others go on. What is written does not
/// depend on the number of threads.
///
/// # Errors
/// The first error of the system in writing; no more runs are begun then.
pub fn carry_out(
    plan: &Plan,
    folder: &SweepFolder,
    runs: &[usize],
    watch: &dyn Watch,
) -> Result<(), SweepError> {
    if runs.is_empty() {
        return Ok(());
    }
    folder.remove_tables()?;
    let mut order = runs.to_vec();
    let load = |run: &usize| plan.runs()[*run].spec().load.expected().unwrap_or(u64::MAX);
    order.sort_by_key(|run| std::cmp::Reverse(load(run)));
    let (stopped, ended) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failed: Mutex<Option<SweepError>> = Mutex::new(None);
    // A bridge hands out one run at a time, in this order.
    order.into_iter().par_bridge().for_each(|run| {
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        match one(plan, folder, run, watch) {
            Ok(()) => watch.ended(ended.fetch_add(1, Ordering::Relaxed) + 1),
            Err(error) => {
                stopped.store(true, Ordering::Relaxed);
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert(error);
            }
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn one(plan: &Plan, folder: &SweepFolder, run: usize, watch: &dyn Watch) -> Result<(), SweepError> {
    let planned = &plan.runs()[run];
    let spec = planned.check().map_err(|problem| SweepError::Cell {
        path: folder.path().to_owned(),
        cell: plan.name(run),
        problem: Box::new(problem.into()),
    })?;
    let mut ended = None;
    let provenance = watch.made(&mut || {
        // Every run has a thread of its own (`run::run`): one that is used for two would remember.
        let body = || run::run(&spec, &Progress::default());
        ended = Some(panic::catch_unwind(AssertUnwindSafe(body)));
    });
    let ended = ended.expect("invariant: the work was done");
    let written: Result<(), ResultsError> =
        folder.write(planned, &spec, &ended, plan.sweep().keep, &provenance);
    Ok(written?)
}
