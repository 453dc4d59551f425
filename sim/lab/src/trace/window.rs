//! Which part of a run a trace shows, and how much of it.

use crate::span;
use sim_model::time::Timestamp;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// Most events of a trace, unless it is asked otherwise: a file of about 100 MB, which viewers open in
/// seconds.
pub const EVENTS_MAX_DEFAULT: u64 = 500_000;

/// What to keep of what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceOptions {
    /// What touches this part of virtual time.
    pub window: Window,
    /// No more events than this.
    pub events_max: u64,
}

impl Default for TraceOptions {
    fn default() -> Self {
        TraceOptions { window: Window::default(), events_max: EVENTS_MAX_DEFAULT }
    }
}

/// A part of virtual time, from the start of the run: `2s..5s`, `2s..` or `..5s`.
///
/// ```
/// use sim_lab::trace::Window;
/// let window: Window = "2s..5s".parse().unwrap();
/// assert_eq!(window.to_string(), "2s..5s");
/// assert!("5s..2s".parse::<Window>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its begin.
    pub from: Timestamp,
    /// Its end, which it does not contain.
    pub until: Timestamp,
}

/// A text that is no window.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{text:?} is not a part of virtual time: expected two instants, the first earlier, such as 2s..5s"
)]
pub struct WindowError {
    text: String,
}

impl Default for Window {
    fn default() -> Self {
        Window { from: Timestamp::ZERO, until: Timestamp::from_nanos(u64::MAX) }
    }
}

impl Window {
    /// Whether something that lasts from one instant to another touches it.
    pub(crate) fn touches(&self, from: Timestamp, until: Timestamp) -> bool {
        from < self.until && until >= self.from
    }
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Window, WindowError> {
        let error = || WindowError { text: text.to_owned() };
        let (from, until) = text.split_once("..").ok_or_else(error)?;
        let instant = |text: &str, open: Timestamp| match text {
            "" => Ok(open),
            _ => span::parse(text).map(|span| Timestamp::ZERO + span).ok_or_else(error),
        };
        let whole = Window::default();
        let window =
            Window { from: instant(from, whole.from)?, until: instant(until, whole.until)? };
        if text == ".." || window.from >= window.until {
            return Err(error());
        }
        Ok(window)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |at: Timestamp| span::format(Duration::from_nanos(at.as_nanos()));
        if self.from > Timestamp::ZERO {
            f.write_str(&shown(self.from))?;
        }
        f.write_str("..")?;
        match self.until == Window::default().until {
            true => Ok(()),
            false => f.write_str(&shown(self.until)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_two_instants_or_one() {
        for text in ["2s..5s", "1500ms..2s", "2s..", "..5s"] {
            assert_eq!(
                text.parse::<Window>().map(|window| window.to_string()).as_deref(),
                Ok(text)
            );
        }
        for bad in ["", "..", "2s", "5s..2s", "2s..2s", "2..5", "a..b", "-1s..2s", "1s..2s..3s"] {
            assert!(bad.parse::<Window>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_lasts_into_a_window_touches_it() {
        let window: Window = "2s..5s".parse().expect("a window");
        let touches =
            |from, until| window.touches(Timestamp::from_secs(from), Timestamp::from_secs(until));
        assert!(touches(0, 2) && touches(4, 9) && touches(0, 9) && touches(3, 3));
        assert!(!touches(0, 1) && !touches(5, 6));
    }
}
