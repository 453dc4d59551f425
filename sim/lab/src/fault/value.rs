//! Values of a fault: how each kind of value is written, read, and drawn from a range.

use crate::span;
use sim_world::fault::Pattern;
use sim_world::seed::Stream;
use std::fmt;
use std::time::Duration;

/// The longest span of a fault.
pub(super) const SPAN_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a key of a fault takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// The number of a host, from 0.
    Host,
    /// Names, with `*` for any run of characters.
    Pattern(Target),
    /// A span of time.
    Span,
    /// A span of time that may be negative.
    Offset,
    /// From 0 to 1.
    Probability,
    /// A factor from 1.
    Factor,
    /// A whole number.
    Count,
    /// A whole number that may be negative.
    Ppm,
    /// `true` or `false`.
    Flag,
    /// What a replica is made to do, by the name that its engine has for it.
    Behaviour,
}

/// What a pattern names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nodes: hosts, services, rented machines, the load generator's machine.
    Node,
    /// What has cores and a clock: hosts, rented machines, the load generator's machine.
    Computer,
    /// Rented machines.
    Machine,
    /// Services.
    Service,
    /// Machines with a disk.
    Disk,
    /// Blobs.
    Blob,
    /// Replicas that can be made to depart from their protocol. A number alone stands for the replica with
    /// that number in each group: `3` for `*-3`.
    Replica,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of [`ValueKind::Host`] and [`ValueKind::Count`].
    Count(u64),
    /// Of [`ValueKind::Pattern`].
    Pattern(Pattern),
    /// Of [`ValueKind::Span`].
    Span(Duration),
    /// Of [`ValueKind::Offset`], in nanoseconds.
    Offset(i64),
    /// Of [`ValueKind::Probability`] and [`ValueKind::Factor`].
    Number(f64),
    /// Of [`ValueKind::Ppm`].
    Ppm(i64),
    /// Of [`ValueKind::Flag`].
    Flag(bool),
    /// Of [`ValueKind::Behaviour`].
    Behaviour(String),
}

impl ValueKind {
    /// What is accepted, for a person.
    pub fn expected(self) -> &'static str {
        match self {
            ValueKind::Host => "the number of a host, from 0",
            ValueKind::Pattern(Target::Replica) => {
                "the number of a replica in its group, or a name, with * for any characters, such as \
                 replica-0-3 or replica-0-*"
            }
            ValueKind::Pattern(_) => {
                "a name, with * for any characters, such as worker-1 or worker-*"
            }
            ValueKind::Span => "a span of at most 24h, such as 30s, 1.5s, 250ms or 2m",
            ValueKind::Offset => "a span of at most 24h, such as 2s or -500ms",
            ValueKind::Probability => "a probability from 0 to 1",
            ValueKind::Factor => "a factor from 1 to 1000",
            ValueKind::Count => "a whole number from 0 to 1000000000000",
            ValueKind::Ppm => "parts per million, from -100000 to 100000",
            ValueKind::Flag => "true or false",
            ValueKind::Behaviour => "what a replica is made to do, such as withhold or equivocate",
        }
    }

    /// Reads a value; `None` if the text is none.
    pub fn parse(self, text: &str) -> Option<Value> {
        let number = |low: f64, high: f64| {
            let number: f64 = text.parse().ok()?;
            // A comparison with NaN is false.
            (number >= low && number <= high).then_some(Value::Number(number))
        };
        match self {
            ValueKind::Host => text.parse().ok().filter(|n| *n < 1_000).map(Value::Count),
            ValueKind::Count => {
                text.parse().ok().filter(|n| *n <= 1_000_000_000_000).map(Value::Count)
            }
            ValueKind::Pattern(Target::Replica) if text.parse::<u16>().is_ok() => {
                format!("*-{text}").parse().ok().map(Value::Pattern)
            }
            ValueKind::Pattern(_) => text.parse().ok().map(Value::Pattern),
            ValueKind::Behaviour => {
                let is_word = !text.is_empty()
                    && text.chars().all(|c| c.is_ascii_lowercase() || "-_".contains(c));
                is_word.then(|| Value::Behaviour(text.to_owned()))
            }
            ValueKind::Span => bounded_span(text).map(Value::Span),
            ValueKind::Offset => {
                let (sign, span) = match text.strip_prefix('-') {
                    Some(rest) => (-1, bounded_span(rest)?),
                    None => (1, bounded_span(text)?),
                };
                let nanos = i64::try_from(span.as_nanos()).ok()?;
                Some(Value::Offset(sign * nanos))
            }
            ValueKind::Probability => number(0.0, 1.0),
            ValueKind::Factor => number(1.0, 1_000.0),
            ValueKind::Ppm => {
                text.parse().ok().filter(|n: &i64| n.abs() <= 100_000).map(Value::Ppm)
            }
            ValueKind::Flag => text.parse().ok().map(Value::Flag),
        }
    }

    /// Draws a value evenly from `low..high`, both included; `None` if these are no bounds of this kind.
    /// Factors and spans are drawn evenly by their logarithm: what lasts 1 s is as likely to be doubled as
    /// what lasts 10 s.
    pub(super) fn draw(self, low: &Value, high: &Value, stream: &mut Stream) -> Option<Value> {
        Some(match (low, high) {
            (Value::Count(low), Value::Count(high)) if low <= high => {
                Value::Count(low + stream.below(high - low + 1))
            }
            (Value::Span(low), Value::Span(high)) if low <= high => {
                let (low, high) = (low.as_micros().max(1) as f64, high.as_micros().max(1) as f64);
                let drawn = logarithmic(low, high, stream).round();
                Value::Span(Duration::from_micros(
                    in_millis(drawn as u64).clamp(low as u64, high as u64),
                ))
            }
            (Value::Offset(low), Value::Offset(high)) if low <= high => {
                let micros = (high - low) / 1_000;
                Value::Offset(low + stream.below(micros as u64 + 1) as i64 * 1_000)
            }
            (Value::Number(low), Value::Number(high)) if low <= high => {
                let drawn = match self {
                    ValueKind::Factor => logarithmic(*low, *high, stream),
                    _ => low + (high - low) * stream.unit(),
                };
                // Three digits say all there is to say, and read better.
                Value::Number(((drawn * 1_000.0).round() / 1_000.0).clamp(*low, *high))
            }
            (Value::Ppm(low), Value::Ppm(high)) if low <= high => {
                Value::Ppm(low + stream.below((high - low) as u64 + 1) as i64)
            }
            _ => return None,
        })
    }
}

/// Whole milliseconds, if there are any: they say all there is to say, and read better.
pub(super) fn in_millis(micros: u64) -> u64 {
    if micros >= 1_000 { micros / 1_000 * 1_000 } else { micros }
}

fn logarithmic(low: f64, high: f64, stream: &mut Stream) -> f64 {
    low * libm::pow(high / low, stream.unit())
}

fn bounded_span(text: &str) -> Option<Duration> {
    span::parse(text).filter(|span| *span <= SPAN_MAX)
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Count(count) => write!(f, "{count}"),
            Value::Pattern(pattern) => write!(f, "{pattern}"),
            Value::Span(span) => f.write_str(&span::format(*span)),
            Value::Offset(nanos) => {
                let sign = if *nanos < 0 { "-" } else { "" };
                let span = Duration::from_nanos(nanos.unsigned_abs());
                write!(f, "{sign}{}", span::format(span))
            }
            Value::Number(number) => write!(f, "{number}"),
            Value::Ppm(ppm) => write!(f, "{ppm}"),
            Value::Flag(flag) => write!(f, "{flag}"),
            Value::Behaviour(word) => f.write_str(word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sim_world::seed::SeedTree;

    #[test]
    fn what_does_not_fit_is_no_value() {
        for (kind, bad) in [
            (ValueKind::Host, "-1"),
            (ValueKind::Host, "1000"),
            (ValueKind::Span, "25h"),
            (ValueKind::Span, "-1s"),
            (ValueKind::Probability, "1.1"),
            (ValueKind::Probability, "NaN"),
            (ValueKind::Factor, "0.5"),
            (ValueKind::Factor, "inf"),
            (ValueKind::Ppm, "100001"),
            (ValueKind::Flag, "yes"),
            (ValueKind::Offset, "--1s"),
            (ValueKind::Pattern(Target::Node), ""),
            (ValueKind::Behaviour, ""),
            (ValueKind::Behaviour, "two words"),
        ] {
            assert_eq!(kind.parse(bad), None, "{kind:?} {bad:?}");
        }
    }

    const KINDS: [ValueKind; 6] = [
        ValueKind::Count,
        ValueKind::Span,
        ValueKind::Offset,
        ValueKind::Probability,
        ValueKind::Factor,
        ValueKind::Ppm,
    ];

    proptest! {
        #[test]
        fn draws_lie_between_their_bounds_and_survive_being_printed(
            kind in 0..KINDS.len(), a in 0_u64..100_000, b in 0_u64..100_000, seed: u64,
        ) {
            let kind = KINDS[kind];
            let (a, b) = (a.min(b), a.max(b));
            let text = |n: u64| match kind {
                ValueKind::Count | ValueKind::Ppm => n.to_string(),
                ValueKind::Span | ValueKind::Offset => format!("{n}us"),
                ValueKind::Probability => (n as f64 / 1e5).to_string(),
                _ => (1.0 + n as f64 / 1e3).to_string(),
            };
            let (low, high) = (kind.parse(&text(a)).expect("a value"), kind.parse(&text(b)).expect("a value"));
            let mut stream = SeedTree::new(seed).stream("draw");
            let drawn = kind.draw(&low, &high, &mut stream).expect("bounds");
            prop_assert_eq!(kind.parse(&drawn.to_string()), Some(drawn.clone()));
            let order = |value: &Value| match value {
                Value::Count(n) => *n as f64,
                Value::Span(span) => span.as_micros().max(1) as f64,
                Value::Offset(nanos) => *nanos as f64,
                Value::Number(number) => *number,
                Value::Ppm(ppm) => *ppm as f64,
                other => panic!("{other:?}"),
            };
            prop_assert!(order(&low) <= order(&drawn) && order(&drawn) <= order(&high), "{} {} {}", low, drawn, high);
        }
    }
}
