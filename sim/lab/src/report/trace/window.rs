//! A part of virtual time that a person asks for.

use crate::report::ReportError;
use crate::span;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// From one instant of virtual time to a later one, both from the start of the run: `12s..12500ms`,
/// `12s..` or `..1m`.
///
/// ```
/// use sim_lab::report::Window;
/// let window: Window = "12s..12500ms".parse().unwrap();
/// assert_eq!(window.to_string(), "12s..12500ms");
/// assert_eq!("12s..".parse::<Window>().unwrap().to_string(), "12s..");
/// assert!("3s..2s".parse::<Window>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its beginning.
    pub from: Duration,
    /// Its end.
    pub until: Duration,
}

impl FromStr for Window {
    type Err = ReportError;

    fn from_str(text: &str) -> Result<Window, ReportError> {
        let refused = || ReportError::Window { given: text.to_owned() };
        let instant = |text: &str, absent: Duration| match text {
            "" => Some(absent),
            "0" | "0s" => Some(Duration::ZERO),
            text => span::parse(text),
        };
        let (from, until) = text.split_once("..").ok_or_else(refused)?;
        let from = instant(from, Duration::ZERO).ok_or_else(refused)?;
        let until = instant(until, Duration::MAX).ok_or_else(refused)?;
        if from < until && text != ".." { Ok(Window { from, until }) } else { Err(refused()) }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from > Duration::ZERO {
            f.write_str(&span::format(self.from))?;
        }
        f.write_str("..")?;
        if self.until < Duration::MAX {
            f.write_str(&span::format(self.until))?;
        }
        Ok(())
    }
}
