//! The kernel's promises: an exact clock, cancellation, crash and restart, fair waiting lines,
//! typed ends of a run, and a determinism check that catches leaks.

mod clock;
mod determinism;
mod devices;
mod nodes;
mod standstill;
mod support;
mod sync;
