//! Load: when orchestrations are started, and by whom.
//!
//! Three shapes, as the published benchmarks have them.
//!
//! - **batch**: N at once. One HTTP trigger on host 0 starts all of them, 200 at a time; larger
//!   batches go through launchers (see [`crate::workload::launcher`]), which the trigger starts in
//!   the same way. Nobody waits for the results.
//! - **open**: arrivals of a Poisson process at a rate, whatever the system does (no coordinated
//!   omission). A robot on the load generator's machine sends an HTTP request to a host, in turn;
//!   the host starts the orchestration, waits for its end, and answers. The client's latency runs
//!   from the *intended* arrival to the answer.
//! - **closed**: N clients, each with one request at a time, and an exponential think time with
//!   the given mean before each request (none at `think=0s`).
//!
//! If hosts change during the run, robots whose connection broke, or whose request ended with an
//! unknown outcome, ask again (see `door`).
//!
//! Before any of it hosts start up and queues go idle, for the `settle` time.
//!
//! Random draws come from the streams `workload arrivals` and `workload think <client>` alone.
//! Units: rates are orchestrations a second.

mod door;
mod front;
mod generator;

pub(crate) use door::FrontDoor;
pub(crate) use generator::{Field, generate};

use crate::span;
use crate::spec::{Items, SpecError};
use serde_with::{DeserializeFromStr, SerializeDisplay};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How a batch is started: this many starts are under way at a time.
pub const PARALLEL_STARTS: usize = 200;
/// Batches beyond this size use launchers unless the load says otherwise.
pub const DIRECT_BATCH_MAX: u64 = 1_000;
/// Orchestrations of one launcher unless the load says otherwise.
pub const LAUNCHER_DEFAULT: u64 = 200;
/// Most orchestrations of one run.
pub const ORCHESTRATIONS_MAX: u64 = 5_000_000;
/// The settle time of a load that names none.
pub const SETTLE_DEFAULT: Duration = Duration::from_secs(2);

const LAUNCHER_MAX: u64 = 10_000;
const CLIENTS_MAX: u64 = 100_000;
const RATE_MAX: f64 = 1_000_000.0;
const DURATION_MIN: Duration = Duration::from_millis(1);
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// A load, as on the command line: `batch:10000`, `batch:10000,launcher=200`,
/// `open:rate=20,duration=30s`, `closed:clients=10,duration=30s,think=0s`; each also takes
/// `settle=2s`.
///
/// ```
/// use sim_lab::load::LoadSpec;
/// let load: LoadSpec = "open:rate=20,duration=30s".parse().unwrap();
/// assert_eq!(load.to_string(), "open:rate=20,duration=30s");
/// assert!("open:rate=-1".parse::<LoadSpec>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, SerializeDisplay, DeserializeFromStr)]
pub enum LoadSpec {
    /// Many at once.
    Batch {
        /// Orchestrations.
        size: u64,
        /// Orchestrations of each launcher; 0 starts all from the trigger. `None` picks by size.
        launcher: Option<u64>,
        /// Time before the load starts.
        settle: Duration,
    },
    /// Poisson arrivals.
    Open {
        /// Orchestrations a second.
        rate: f64,
        /// How long arrivals go on.
        duration: Duration,
        /// Time before the load starts.
        settle: Duration,
    },
    /// Clients that wait for their results.
    Closed {
        /// Clients.
        clients: u32,
        /// How long clients send new requests.
        duration: Duration,
        /// Mean think time before each request.
        think: Duration,
        /// Time before the load starts.
        settle: Duration,
    },
}

impl LoadSpec {
    /// The load of a run that asks for none: 20 a second for 30 s.
    pub const DEFAULT: LoadSpec =
        LoadSpec::Open { rate: 20.0, duration: Duration::from_secs(30), settle: SETTLE_DEFAULT };

    /// Time before the load starts.
    pub fn settle(&self) -> Duration {
        match self {
            LoadSpec::Batch { settle, .. }
            | LoadSpec::Open { settle, .. }
            | LoadSpec::Closed { settle, .. } => *settle,
        }
    }

    /// How long new orchestrations arrive; zero for a batch.
    pub fn duration(&self) -> Duration {
        match self {
            LoadSpec::Batch { .. } => Duration::ZERO,
            LoadSpec::Open { duration, .. } | LoadSpec::Closed { duration, .. } => *duration,
        }
    }

    /// Whether clients wait for results, so that there is a client latency.
    pub fn clients_wait(&self) -> bool {
        !matches!(self, LoadSpec::Batch { .. })
    }

    /// How many orchestrations to expect, for a progress bar; `None` if that depends on the run.
    pub fn expected(&self) -> Option<u64> {
        match self {
            LoadSpec::Batch { size, .. } => Some(*size),
            LoadSpec::Open { rate, duration, .. } => Some((rate * duration.as_secs_f64()) as u64),
            LoadSpec::Closed { .. } => None,
        }
    }

    /// The same load with every choice written out.
    pub fn completed(&self) -> LoadSpec {
        let mut load = self.clone();
        if let LoadSpec::Batch { size, launcher: launcher @ None, .. } = &mut load {
            *launcher = Some(if *size > DIRECT_BATCH_MAX { LAUNCHER_DEFAULT } else { 0 });
        }
        load
    }

    /// Checks every number against its limits.
    ///
    /// # Errors
    /// The first number that is out of its limits, with what was expected.
    pub fn check(&self) -> Result<(), SpecError> {
        match self {
            LoadSpec::Batch { size, launcher, settle } => {
                let place = "load batch";
                within(place, "size", *size, 1, ORCHESTRATIONS_MAX)?;
                within(place, "launcher", launcher.unwrap_or(0), 0, LAUNCHER_MAX)?;
                span_within(place, "settle", *settle, Duration::ZERO, PAUSE_MAX)
            }
            LoadSpec::Open { rate, duration, settle } => {
                let place = "load open";
                // A comparison with NaN is false.
                if !(*rate > 0.0 && *rate <= RATE_MAX) {
                    let expected = "a rate above 0, at most 1000000 a second";
                    // A number of hundreds of digits says less than its exponent.
                    let given = match *rate > 1e15 {
                        true => format!("{rate:e}"),
                        false => rate.to_string(),
                    };
                    return Err(SpecError::bad(format!("{place}: rate"), given, expected));
                }
                span_within(place, "duration", *duration, DURATION_MIN, DURATION_MAX)?;
                span_within(place, "settle", *settle, Duration::ZERO, PAUSE_MAX)?;
                let arrivals = rate * duration.as_secs_f64();
                if arrivals > ORCHESTRATIONS_MAX as f64 {
                    let place = format!("{place}: rate times duration");
                    let expected = format!("at most {ORCHESTRATIONS_MAX} orchestrations");
                    return Err(SpecError::bad(place, arrivals.round(), expected));
                }
                Ok(())
            }
            LoadSpec::Closed { clients, duration, think, settle } => {
                let place = "load closed";
                within(place, "clients", u64::from(*clients), 1, CLIENTS_MAX)?;
                span_within(place, "duration", *duration, DURATION_MIN, DURATION_MAX)?;
                span_within(place, "think", *think, Duration::ZERO, PAUSE_MAX)?;
                span_within(place, "settle", *settle, Duration::ZERO, PAUSE_MAX)
            }
        }
    }
}

fn within(place: &str, key: &str, value: u64, min: u64, max: u64) -> Result<(), SpecError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let expected = format!("a whole number from {min} to {max}");
    Err(SpecError::bad(format!("{place}: {key}"), value, expected))
}

fn span_within(
    place: &str,
    key: &str,
    value: Duration,
    min: Duration,
    max: Duration,
) -> Result<(), SpecError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let expected = format!("a span from {} to {}", span::format(min), span::format(max));
    Err(SpecError::bad(format!("{place}: {key}"), span::format(value), expected))
}

impl fmt::Display for LoadSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadSpec::Batch { size, launcher, .. } => {
                write!(f, "batch:{size}")?;
                if let Some(launcher) = launcher {
                    write!(f, ",launcher={launcher}")?;
                }
            }
            LoadSpec::Open { rate, duration, .. } => {
                write!(f, "open:rate={rate},duration={}", span::format(*duration))?;
            }
            LoadSpec::Closed { clients, duration, think, .. } => {
                let (duration, think) = (span::format(*duration), span::format(*think));
                write!(f, "closed:clients={clients},duration={duration},think={think}")?;
            }
        }
        if self.settle() != SETTLE_DEFAULT {
            write!(f, ",settle={}", span::format(self.settle()))?;
        }
        Ok(())
    }
}

impl FromStr for LoadSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<LoadSpec, SpecError> {
        let (shape, rest) = text.split_once(':').map_or((text, None), |(s, r)| (s, Some(r)));
        let keys: &[&str] = match shape {
            "batch" => &["size", "launcher", "settle"],
            "open" => &["rate", "duration", "settle"],
            "closed" => &["clients", "duration", "think", "settle"],
            _ => return Err(SpecError::unknown("load", shape, ["batch", "open", "closed"])),
        };
        let positional = (shape == "batch").then_some("size");
        let mut items = Items::read(format!("load {shape}"), rest, positional)?.only(keys)?;
        let seconds = Duration::from_secs;
        let load = match shape {
            "batch" => LoadSpec::Batch {
                size: items.required("size", number, "a whole number of orchestrations")?,
                launcher: items.take("launcher", number, "a whole number")?,
                settle: items.span("settle", SETTLE_DEFAULT)?,
            },
            "open" => LoadSpec::Open {
                rate: items.take("rate", number, "a rate a second")?.unwrap_or(20.0),
                duration: items.span("duration", seconds(30))?,
                settle: items.span("settle", SETTLE_DEFAULT)?,
            },
            _ => LoadSpec::Closed {
                clients: items.take("clients", number, "a whole number")?.unwrap_or(10),
                duration: items.span("duration", seconds(30))?,
                think: items.span("think", Duration::ZERO)?,
                settle: items.span("settle", SETTLE_DEFAULT)?,
            },
        };
        load.check()?;
        Ok(load)
    }
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn loads() -> impl Strategy<Value = LoadSpec> {
        let span = |min: u64, max: u64| (min..max).prop_map(Duration::from_micros);
        let (hour, day) = (3_600_000_000, 86_400_000_000);
        prop_oneof![
            (1..=ORCHESTRATIONS_MAX, proptest::option::of(0..=LAUNCHER_MAX), span(0, hour))
                .prop_map(|(size, launcher, settle)| LoadSpec::Batch { size, launcher, settle }),
            (1e-9..50.0, span(1_000, day), span(0, hour))
                .prop_map(|(rate, duration, settle)| LoadSpec::Open { rate, duration, settle }),
            (1..=CLIENTS_MAX as u32, span(1_000, day), span(0, hour), span(0, hour)).prop_map(
                |(clients, duration, think, settle)| LoadSpec::Closed {
                    clients,
                    duration,
                    think,
                    settle
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn a_load_survives_being_printed(load in loads()) {
            prop_assert_eq!(load.to_string().parse::<LoadSpec>(), Ok(load.clone()));
            let completed = load.completed();
            prop_assert_eq!(completed.to_string().parse::<LoadSpec>(), Ok(completed));
        }

        #[test]
        fn no_text_makes_the_parser_panic(
            text in "\\PC{0,40}|(batch|open|closed):?[a-z0-9=,.:-]{0,40}"
        ) {
            let _ = text.parse::<LoadSpec>();
        }
    }

    #[test]
    fn defaults_fill_what_is_left_out() {
        assert_eq!("open".parse(), Ok(LoadSpec::DEFAULT));
        let batch = "batch:size=1000".parse::<LoadSpec>().expect("a batch");
        assert_eq!(batch, "batch:1000".parse().expect("the same batch"));
        assert_eq!(batch.completed().to_string(), "batch:1000,launcher=0");
        let large = "batch:1001".parse::<LoadSpec>().expect("a batch");
        assert_eq!(large.completed().to_string(), "batch:1001,launcher=200");
        let explicit = "batch:10000,launcher=0".parse::<LoadSpec>().expect("a batch");
        assert_eq!(explicit.completed(), explicit);
    }

    #[test]
    fn errors_name_the_place_and_what_is_expected() {
        for (text, message) in [
            (
                "btach:10",
                "unknown load \"btach\": did you mean \"batch\"? valid: batch, open, closed",
            ),
            ("batch", "load batch: size is missing, expected a whole number of orchestrations"),
            ("batch:", "load batch: found \"\", expected key=value"),
            ("batch:0", "load batch: size: found \"0\", expected a whole number from 1 to 5000000"),
            (
                "batch:5000001",
                "load batch: size: found \"5000001\", expected a whole number from 1 to 5000000",
            ),
            (
                "batch:-1",
                "load batch: size: found \"-1\", expected a whole number of orchestrations",
            ),
            (
                "open:rate=0",
                "load open: rate: found \"0\", expected a rate above 0, at most 1000000 a second",
            ),
            (
                "open:rate=NaN",
                "load open: rate: found \"NaN\", expected a rate above 0, at most 1000000 a second",
            ),
            ("open:rate=fast", "load open: rate: found \"fast\", expected a rate a second"),
            ("open:20", "load open: found \"20\", expected key=value"),
            ("open:rate=1,rate=2", "load open: rate is given twice"),
            (
                "open:durration=1s",
                "unknown key of load open \"durration\": did you mean \"duration\"? valid: rate, duration, settle",
            ),
            (
                "open:duration=0s",
                "load open: duration: found \"0s\", expected a span from 1ms to 24h",
            ),
            (
                "open:duration=5",
                "load open: duration: found \"5\", expected a span such as 30s, 1.5s, 250ms or 2m",
            ),
            (
                "open:rate=1000,duration=24h",
                "load open: rate times duration: found \"86400000\", expected at most 5000000 orchestrations",
            ),
            (
                "closed:clients=0",
                "load closed: clients: found \"0\", expected a whole number from 1 to 100000",
            ),
        ] {
            let error = text.parse::<LoadSpec>().expect_err(text);
            assert_eq!(error.to_string(), message, "{text}");
        }
    }
}
