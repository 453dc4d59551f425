//! The space-time view of a run: who did what and when, and which messages went where, in a window.
//!
//! A run that was traced has `trace.json` in its folder, in the trace event format of Chrome, which
//! Perfetto reads as well: processes are hosts, services and orchestrations, threads are partitions
//! and instances. What is drawn of it:
//!
//! - a **lane** for each thread that has anything in the window, grouped by process;
//! - **spans**: complete events (`X`);
//! - **messages**: pairs of flow events with one name and identity (`s` where it was sent, `f` where
//!   it arrived; steps between them, `t`, are ends of a part and beginnings of the next);
//! - **faults**: events of category `fault`, shaded over all lanes of their process, or over
//!   everything if that is named for faults.
//!
//! A trace can have millions of events and a page cannot: the window is what is asked for, or else
//! begins just before the first fault, or with the first message after the start of the load. It
//! ends when [`EVENTS_MAX`] are in it, and what had to be left out is counted. Times of the format
//! are microseconds with three digits, here nanoseconds.

mod event;
mod window;

use super::ReportError;
use super::find::Place;
use super::run::Run;
use event::Trace;
use std::fs;
use std::io::Read;
use std::path::Path;

pub use window::Window;

/// The file of a trace.
pub(super) const TRACE: &str = "trace.json";
/// Most spans, messages and faults in the views of all runs together.
const EVENTS_MAX: usize = 12_000;
/// Most runs with a view.
const VIEWS_MAX: usize = 8;
/// The largest trace that is read.
const BYTES_MAX: u64 = 1 << 30;

/// A row of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    pub process: String,
    pub thread: String,
}

/// Something that took a while on a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub lane: usize,
    /// Nanoseconds from the start of the run.
    pub at: u64,
    pub lasting: u64,
    pub name: String,
    pub category: String,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrow {
    pub from: usize,
    pub sent: u64,
    pub to: usize,
    pub arrived: u64,
    pub name: String,
}

/// A fault, on one lane or on all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FaultSpan {
    pub lane: Option<usize>,
    pub at: u64,
    pub lasting: u64,
    pub name: String,
}

/// What is drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SpaceTime {
    /// The window, in nanoseconds from the start of the run.
    pub from: u64,
    pub to: u64,
    /// The first and the last instant of the whole trace.
    pub trace_from: u64,
    pub trace_to: u64,
    /// Where the trace itself was cut, if it was.
    pub cut_at: Option<u64>,
    pub lanes: Vec<Lane>,
    pub spans: Vec<Span>,
    pub arrows: Vec<Arrow>,
    pub faults: Vec<FaultSpan>,
    /// Events of the window that did not fit.
    pub left_out: usize,
}

/// Reads the traces there are. The first [`VIEWS_MAX`] runs with one get a view.
pub(super) fn read_all(
    runs: &mut [Run],
    places: &[Place],
    window: Option<Window>,
) -> Result<(), ReportError> {
    let traced = |(_, place): &(&mut Run, &Place)| place.path.join(TRACE).is_file();
    let traced: Vec<_> = runs.iter_mut().zip(places).filter(traced).take(VIEWS_MAX).collect();
    let most = EVENTS_MAX / traced.len().max(1);
    for (run, place) in traced {
        let path = place.path.join(TRACE);
        let load_starts = u64::try_from(run.settle.as_nanos()).unwrap_or(u64::MAX);
        run.trace = Some(read(&path, window, load_starts, most)?);
    }
    Ok(())
}

fn read(
    path: &Path,
    window: Option<Window>,
    load_starts: u64,
    most: usize,
) -> Result<SpaceTime, ReportError> {
    let damaged = |problem: String| ReportError::damaged(path, problem);
    let file = fs::File::open(path).map_err(|error| damaged(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| damaged(error.to_string()))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(damaged(format!(
            "has more than {BYTES_MAX} bytes, which is the most that is read"
        )));
    }
    let trace = Trace::parse(&bytes).map_err(damaged)?;
    trace.view(path, window, load_starts, most)
}
