//! What is said after a panic: a panic is a fault of this program, and a run repeats exactly, so
//! the command that was running is all that is needed to find it.

use crate::terminal;
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What was running when the panic came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// What was done, for a person: engine and seed of a run.
    pub what: String,
    /// The command that repeats it.
    pub command: String,
}

/// Whether panics of runs are findings, which are reported elsewhere.
static ARE_FINDINGS: AtomicBool = AtomicBool::new(false);

/// From now on panics of runs are caught and reported as findings, and say nothing themselves.
pub(crate) fn are_findings() {
    ARE_FINDINGS.store(true, Ordering::Relaxed);
}

static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

/// Remembers what is running, for the case of a panic on any thread.
pub fn remember(running: Running) {
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
}

/// Replaces the panic hook by one that asks for a report. With `RUST_BACKTRACE` set, the backtrace
/// comes first, as usual.
pub fn install() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if ARE_FINDINGS.load(Ordering::Relaxed) {
            return;
        }
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            usual(info);
        }
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).clone();
        terminal::note(&message(info, running.as_ref()));
    }));
}

fn message(info: &PanicHookInfo<'_>, running: Option<&Running>) -> String {
    let what = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let mut text = format!("error: internal fault{place}: {what}\n");
    if let Some(Running { what, command }) = running {
        text += &format!("  while running {what}\n  repeat it with: {command}\n");
    }
    text + "This is a fault of the simulator. Please report it with the lines above; \
            RUST_BACKTRACE=1 adds a backtrace."
}
