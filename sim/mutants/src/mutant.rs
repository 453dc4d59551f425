//! Which mutant the run on this thread has.
//!
//! A run has a thread of its own ([`sim_world::kernel::on_fresh_thread`]), so the choice is one of the
//! thread: runs of different mutants can go side by side.

use std::cell::Cell;

thread_local! {
    static CHOSEN: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Chooses for this thread.
pub(crate) fn choose(mutant: Option<&'static str>) {
    CHOSEN.set(mutant);
}

/// Whether this is the mutant that was chosen; called from the copies.
pub(crate) fn is(name: &str) -> bool {
    CHOSEN.get() == Some(name)
}
