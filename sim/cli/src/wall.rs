//! The wall clock, for people and for `provenance.json`. Nothing of it reaches a result.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "how long a run took is shown and recorded as provenance; no result depends on it"
)]

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often a progress display is brought up to date.
const TICK: Duration = Duration::from_millis(100);

/// Does `work` and measures how long it takes.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed())
}

/// An instant of the wall clock, after which something ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// So long from now; never for `None`, or if that is further away than clocks reach.
    pub(crate) fn after(span: Option<Duration>) -> Deadline {
        Deadline(span.and_then(|span| Instant::now().checked_add(span)))
    }

    /// Whether it is over.
    pub(crate) fn is_over(self) -> bool {
        self.0.is_some_and(|end| Instant::now() >= end)
    }
}

/// Does `work` while another thread calls `show` ten times a second, and once more at the end.
pub(crate) fn watched<T>(work: impl FnOnce() -> T, show: impl Fn() + Send) -> T {
    let (working, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                show();
            }
            show();
        });
        let value = work();
        drop(working);
        value
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn work_is_watched_until_it_ends() {
        let shown = std::sync::atomic::AtomicU32::new(0);
        let count = || {
            shown.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        assert_eq!(watched(|| 7, count), 7);
        assert!(shown.into_inner() >= 1);
    }

    #[test]
    fn a_panic_of_the_work_ends_the_watch() {
        let shown = Cell::new(());
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            watched(|| std::panic::resume_unwind(Box::new("over")), || ());
            shown.set(());
        }));
        assert!(outcome.is_err());
    }

    #[test]
    fn time_passes() {
        let ((), took) = timed(|| std::thread::sleep(Duration::from_millis(2)));
        assert!(took >= Duration::from_millis(2), "{took:?}");
    }
}
