//! The names by which thresholds, comparisons and searches ask for what a run is measured by, and bounds on
//! them.
//!
//! | name | unit | is |
//! |---|---|---|
//! | `throughput` | 1/s | completed orchestrations a second, from the first creation to the last update |
//! | `work` | 1/s | the same in the workload's own unit |
//! | `latency.p50` ... `latency.p99_9`, `latency.max` | ms | latency as the engine reports it; `p95` alone is `latency.p95` |
//! | `client.p50` ... `client.max` | ms | latency as clients see it, from the intended start to the answer |
//! | `operations` | count | storage and event operations for each completed orchestration |
//! | `kilobytes` | kB | what they carry, for each completed orchestration |
//! | `cost` | USD | for a million completed orchestrations |
//!
//! A [`Requirement`] bounds one of them (`latency.p99<100ms`, `throughput>=50`); a [`Limit`] bounds its
//! change between two results (`latency.p50>+5%`).

use crate::measure::{Percentiles, round};
use crate::span;
use crate::spec::SpecError;
use crate::statistics::{Better, Difference};
use crate::summary::Summary;
use serde_with::{DeserializeFromStr, SerializeDisplay};
use std::fmt;
use std::str::FromStr;

/// One thing a run is measured by.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its unit; nothing for a plain count.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
    of: fn(&Summary) -> Option<f64>,
}

impl PartialEq for Metric {
    fn eq(&self, other: &Metric) -> bool {
        self.name == other.name
    }
}

const fn metric(
    name: &'static str,
    unit: &'static str,
    better: Better,
    of: fn(&Summary) -> Option<f64>,
) -> Metric {
    Metric { name, unit, better, of }
}

const fn time(name: &'static str, of: fn(&Summary) -> Option<f64>) -> Metric {
    metric(name, "ms", Better::ShorterTime, of)
}

fn client(summary: &Summary, of: fn(&Percentiles) -> Option<f64>) -> Option<f64> {
    summary.client_latency_ms.as_ref().and_then(of)
}

/// All metrics, in the order in which they are shown.
pub const METRICS: [Metric; 17] = [
    metric("throughput", "1/s", Better::HigherRate, |s| s.throughput_per_s),
    metric("work", "1/s", Better::HigherRate, |s| s.work.per_s),
    time("latency.p50", |s| s.latency_ms.p50),
    time("latency.p90", |s| s.latency_ms.p90),
    time("latency.p95", |s| s.latency_ms.p95),
    time("latency.p99", |s| s.latency_ms.p99),
    time("latency.p99_9", |s| s.latency_ms.p99_9),
    time("latency.max", |s| s.latency_ms.max),
    time("client.p50", |s| client(s, |p| p.p50)),
    time("client.p90", |s| client(s, |p| p.p90)),
    time("client.p95", |s| client(s, |p| p.p95)),
    time("client.p99", |s| client(s, |p| p.p99)),
    time("client.p99_9", |s| client(s, |p| p.p99_9)),
    time("client.max", |s| client(s, |p| p.max)),
    metric("operations", "", Better::LowerCost, |s| s.operations_per_orchestration),
    metric("kilobytes", "kB", Better::LowerCost, |s| {
        let bytes = s.operations.keys().filter_map(|name| s.bytes.get(name)).sum::<u64>();
        each(s, bytes as f64 / 1e3)
    }),
    metric("cost", "USD per million", Better::LowerCost, |s| each(s, s.cost_usd * 1e6)),
];

/// A total by completed orchestrations.
fn each(summary: &Summary, total: f64) -> Option<f64> {
    let completed = summary.orchestrations.completed;
    (completed > 0).then(|| round(total / completed as f64, 6))
}

impl Metric {
    /// The metric of that name; a percentile alone, such as `p95`, is of the latency that the engine reports.
    ///
    /// # Errors
    /// An unknown name, with the nearest.
    pub fn named(name: &str) -> Result<Metric, SpecError> {
        let full = format!("latency.{name}");
        let known = |metric: &&Metric| metric.name == name || metric.name == full;
        let unknown = || SpecError::unknown("metric", name, METRICS.map(|metric| metric.name));
        METRICS.iter().find(known).copied().ok_or_else(unknown)
    }

    /// The value in this summary, if it was measured.
    pub fn of(&self, summary: &Summary) -> Option<f64> {
        (self.of)(summary)
    }

    /// Whether it is a latency.
    pub fn is_latency(&self) -> bool {
        self.better == Better::ShorterTime
    }

    /// Of a latency: the fraction that does not exceed it, and whether it is the clients'.
    pub(crate) fn percentile(&self) -> Option<(f64, bool)> {
        let (view, which) = self.name.split_once('.')?;
        let quantile = match which {
            "p50" => 0.5,
            "p90" => 0.9,
            "p95" => 0.95,
            "p99" => 0.99,
            "p99_9" => 0.999,
            _ => 1.0,
        };
        Some((quantile, view == "client"))
    }

    /// A value with its unit.
    pub fn shown(&self, value: f64) -> String {
        match self.unit {
            "" => value.to_string(),
            "1/s" => format!("{value}/s"),
            unit => format!("{value} {unit}"),
        }
    }
}

/// On which side of a bound a value has to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Less than the bound.
    Below,
    /// Less, or the bound.
    AtMost,
    /// More than the bound.
    Above,
    /// More, or the bound.
    AtLeast,
}

impl Side {
    const ALL: [(&'static str, Side); 4] =
        [("<=", Side::AtMost), (">=", Side::AtLeast), ("<", Side::Below), (">", Side::Above)];

    /// Splits a text at the first sign in it.
    fn split(text: &str) -> Option<(&str, Side, &str)> {
        let at = text.find(['<', '>'])?;
        let (sign, side) = Side::ALL.into_iter().find(|(sign, _)| text[at..].starts_with(sign))?;
        Some((text[..at].trim(), side, text[at + sign.len()..].trim()))
    }

    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Side::Below => value < bound,
            Side::AtMost => value <= bound,
            Side::Above => value > bound,
            Side::AtLeast => value >= bound,
        }
    }

    fn sign(self) -> &'static str {
        let own = Side::ALL.into_iter().find(|(_, side)| *side == self);
        own.expect("invariant: every side has a sign").0
    }
}

/// A bound on a metric: `latency.p99<100ms`, `throughput>50`.
///
/// ```
/// use sim_lab::metric::Requirement;
/// let target: Requirement = "p95<500ms".parse().unwrap();
/// assert_eq!(target.to_string(), "latency.p95<500ms");
/// assert!("p95<fast".parse::<Requirement>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, SerializeDisplay, DeserializeFromStr)]
pub struct Requirement {
    /// What is bounded.
    pub metric: Metric,
    side: Side,
    bound: f64,
}

impl Requirement {
    /// Whether a value lies within the bound.
    pub fn holds(&self, value: f64) -> bool {
        self.side.holds(value, self.bound)
    }

    /// The bound, in the metric's unit.
    pub fn bound(&self) -> f64 {
        self.bound
    }

    /// Whether the bound is one from above.
    pub fn is_ceiling(&self) -> bool {
        matches!(self.side, Side::Below | Side::AtMost)
    }

    /// What there is to say if the run does not meet it.
    pub fn unmet(&self, summary: &Summary) -> Option<String> {
        match self.metric.of(summary) {
            None => Some(format!("{self} is not met: nothing was measured")),
            Some(value) if self.holds(value) => None,
            Some(value) => Some(format!("{self} is not met: {}", self.metric.shown(value))),
        }
    }
}

impl FromStr for Requirement {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Requirement, SpecError> {
        let expected = "a bound such as latency.p99<100ms or throughput>50";
        let bad = || SpecError::bad("threshold", text, expected);
        let (name, side, value) = Side::split(text).ok_or_else(bad)?;
        let metric = Metric::named(name)?;
        let (bound, expected) = match metric.is_latency() {
            true => {
                let span = span::parse(value).map(|span| span.as_secs_f64() * 1e3);
                (span.or_else(|| number(value)), "a span such as 100ms or 1.5s")
            }
            false => (number(value), "a number that is not negative"),
        };
        let place = format!("threshold on {}", metric.name);
        let bound = bound.ok_or_else(|| SpecError::bad(place, value, expected))?;
        Ok(Requirement { metric, side, bound })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Requirement { metric, side, bound } = self;
        let unit = if metric.is_latency() { metric.unit } else { "" };
        write!(f, "{}{}{bound}{unit}", metric.name, side.sign())
    }
}

/// A change that is too much: `latency.p50>+5%` is exceeded where the mean grows by more than 5 %,
/// `throughput<-5%` where it falls by more.
#[derive(Clone, Copy, Debug, PartialEq, SerializeDisplay, DeserializeFromStr)]
pub struct Limit {
    /// What is bounded.
    pub metric: Metric,
    side: Side,
    percent: f64,
}

impl Limit {
    /// What there is to say if the difference is beyond it. By the mean of the differences: with few runs
    /// look at the interval too.
    pub fn exceeded(&self, difference: &Difference) -> Option<String> {
        let percent = difference.relative? * 100.0;
        if !self.side.holds(percent, self.percent) {
            return None;
        }
        let interval = difference.relative_interval.map(|interval| {
            let [low, high] = [interval.low, interval.high].map(|end| round(end * 100.0, 1));
            format!(" ({low:+} to {high:+} %)")
        });
        let percent = round(percent, 1);
        Some(format!("{self} holds: {percent:+} %{}", interval.unwrap_or_default()))
    }
}

impl FromStr for Limit {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Limit, SpecError> {
        let expected = "a change such as latency.p50>+5% or throughput<-5%";
        let bad = || SpecError::bad("threshold", text, expected);
        let (name, side, change) = Side::split(text).ok_or_else(bad)?;
        let metric = Metric::named(name)?;
        let percent = change.strip_suffix('%').and_then(|percent| {
            let percent: f64 = percent.trim().parse().ok()?;
            percent.is_finite().then_some(percent)
        });
        let place = format!("threshold on {}", metric.name);
        let percent =
            percent.ok_or_else(|| SpecError::bad(place, change, "percent such as +5% or -5%"))?;
        Ok(Limit { metric, side, percent })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:+}%", self.metric.name, self.side.sign(), self.percent)
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Confidence;

    #[test]
    fn bounds_are_read_and_printed() {
        for (text, shown) in [
            ("p95<500ms", "latency.p95<500ms"),
            ("client.p99 <= 1.5s", "client.p99<=1500ms"),
            ("latency.p50<20", "latency.p50<20ms"),
            ("throughput>50", "throughput>50"),
            ("cost<12.5", "cost<12.5"),
        ] {
            let bound: Requirement = text.parse().expect(text);
            assert_eq!(bound.to_string(), shown);
            assert_eq!(shown.parse(), Ok(bound));
        }
        for (text, message) in [
            ("latency.p9<5ms", "unknown metric \"latency.p9\": did you mean \"latency.p90\"?"),
            ("p95", "threshold: found \"p95\", expected a bound such as"),
            ("p95<soon", "threshold on latency.p95: found \"soon\", expected a span"),
            ("throughput>NaN", "threshold on throughput: found \"NaN\", expected a number"),
            ("throughput>-1", "threshold on throughput: found \"-1\""),
        ] {
            let error = text.parse::<Requirement>().expect_err(text).to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn a_bound_holds_on_its_own_side_only() {
        let of = |text: &str, value| text.parse::<Requirement>().expect(text).holds(value);
        assert!(of("p95<5ms", 4.9) && !of("p95<5ms", 5.0) && of("p95<=5ms", 5.0));
        assert!(of("throughput>5", 5.1) && !of("throughput>5", 5.0) && of("throughput>=5", 5.0));
    }

    #[test]
    fn limits_judge_the_mean_change() {
        let slower = Difference::paired(&[100.0, 100.0], &[106.0, 108.0], Confidence::default());
        let slower = slower.expect("pairs");
        let of = |text: &str| text.parse::<Limit>().expect(text).exceeded(&slower);
        assert_eq!(
            of("latency.p50>+5%").as_deref(),
            Some("latency.p50>+5% holds: +7 % (-5.7 to +19.7 %)")
        );
        assert_eq!(of("latency.p50>10%"), None);
        assert_eq!(of("latency.p50<-5%"), None);
        for bad in ["p50>5", "p50>x%", "p50=5%", "p50>NaN%", "p50>inf%"] {
            assert!(bad.parse::<Limit>().is_err(), "{bad}");
        }
    }
}
