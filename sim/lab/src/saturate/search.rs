//! Bracketing and bisection over rates: a plain search, which asks its owner whether a rate meets the
//! target.
//!
//! Latency need not grow with the load: an engine that polls is slowest when it has little to do. So if no
//! rate down to the lowest one meets the target, rates above the first are doubled as long as the engine
//! keeps up, before the search gives up.
//!
//! Rates are rounded to three digits, so that a trail can be read and repeated by hand.

use crate::spec::SpecError;
use serde::{Deserialize, Serialize};

/// The least rate that may be tried, a second.
pub const RATE_MIN: f64 = 0.001;
/// The greatest rate that may be tried, a second: that of an open load.
pub const RATE_MAX: f64 = 1_000_000.0;
/// Limits of the tolerance.
pub const TOLERANCE: [f64; 2] = [0.005, 0.5];

/// Which rates are tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// The first.
    pub start: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
    /// How far apart, as a part, the last rate that meets the target and the first that does not may be.
    pub tolerance: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Rates { start: 10.0, min: 1.0, max: 10_000.0, tolerance: 0.05 }
    }
}

/// What a rate comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It meets the target.
    Met,
    /// It does not, although the engine keeps up with it.
    Missed,
    /// The engine does not keep up with it.
    Behind,
}

/// Where the highest rate lies that meets the target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bracket {
    /// The highest rate that was tried and met it; absent if not even the lowest did.
    #[serde(rename = "met_per_s")]
    pub met: Option<f64>,
    /// The lowest rate above that, which did not; absent if the highest did.
    #[serde(rename = "unmet_per_s")]
    pub unmet: Option<f64>,
}

impl Rates {
    /// Checks the order of the rates and the tolerance.
    ///
    /// # Errors
    /// The first that does not fit.
    pub fn check(&self) -> Result<(), SpecError> {
        let Rates { start, min, max, tolerance } = *self;
        let within = |place: &str, rate: f64, low: f64, high: f64| match (low..=high)
            .contains(&rate)
        {
            true => Ok(()),
            false => {
                Err(SpecError::bad(place, rate, format!("a rate from {low} to {high} a second")))
            }
        };
        within("lowest rate", min, RATE_MIN, RATE_MAX)?;
        within("highest rate", max, min, RATE_MAX)?;
        within("first rate", start, min, max)?;
        let [low, high] = TOLERANCE;
        match (low..=high).contains(&tolerance) {
            true => Ok(()),
            false => {
                let expected = format!("from {} % to {} %", low * 100.0, high * 100.0);
                Err(SpecError::bad("tolerance", format!("{} %", tolerance * 100.0), expected))
            }
        }
    }

    /// How many rates are tried, about: some to bracket, and a halving for each bit of the tolerance.
    pub(super) fn steps_about(&self) -> usize {
        let halvings = (std::f64::consts::LN_2 / libm::log1p(self.tolerance)).log2().ceil();
        4 + halvings.max(1.0) as usize
    }

    /// Searches; `attempt` is asked about one rate after the other.
    ///
    /// # Errors
    /// The first of `attempt`.
    pub fn search<E>(
        &self,
        mut attempt: impl FnMut(f64) -> Result<Answer, E>,
    ) -> Result<Bracket, E> {
        let bracket = self.bracket(&mut attempt)?;
        let Bracket { met: Some(mut met), unmet: Some(mut unmet) } = bracket else {
            return Ok(bracket);
        };
        while unmet / met > 1.0 + self.tolerance {
            let middle = three_digits((met * unmet).sqrt());
            if !(met < middle && middle < unmet) {
                break;
            }
            match attempt(middle)? {
                Answer::Met => met = middle,
                Answer::Missed | Answer::Behind => unmet = middle,
            }
        }
        Ok(Bracket { met: Some(met), unmet: Some(unmet) })
    }

    /// A rate that meets the target, and one about twice as high that does not.
    fn bracket<E>(&self, attempt: &mut impl FnMut(f64) -> Result<Answer, E>) -> Result<Bracket, E> {
        let first = attempt(self.start)?;
        if first == Answer::Met {
            return self.upwards(self.start, attempt);
        }
        let mut rate = self.start;
        while rate > self.min {
            let next = three_digits(rate / 2.0).max(self.min);
            if attempt(next)? == Answer::Met {
                return Ok(Bracket { met: Some(next), unmet: Some(rate) });
            }
            rate = next;
        }
        let (mut answer, mut rate) = (first, self.start);
        while answer == Answer::Missed && rate < self.max {
            rate = self.above(rate);
            answer = attempt(rate)?;
        }
        match answer {
            Answer::Met => self.upwards(rate, attempt),
            Answer::Missed | Answer::Behind => Ok(Bracket { met: None, unmet: Some(self.min) }),
        }
    }

    /// Doubles a rate that meets the target until one does not.
    fn upwards<E>(
        &self,
        mut met: f64,
        attempt: &mut impl FnMut(f64) -> Result<Answer, E>,
    ) -> Result<Bracket, E> {
        while met < self.max {
            let next = self.above(met);
            if attempt(next)? != Answer::Met {
                return Ok(Bracket { met: Some(met), unmet: Some(next) });
            }
            met = next;
        }
        Ok(Bracket { met: Some(met), unmet: None })
    }

    fn above(&self, rate: f64) -> f64 {
        three_digits(rate * 2.0).min(self.max)
    }
}

/// The rate with three digits that count.
fn three_digits(rate: f64) -> f64 {
    // Printing and reading round correctly.
    format!("{rate:.2e}").parse().expect("invariant: a number that was printed")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches where every rate up to `capacity` meets the target, and the rates that were tried.
    fn found(rates: Rates, capacity: f64) -> (Bracket, Vec<f64>) {
        let mut tried = Vec::new();
        let bracket = rates.search(|rate| {
            tried.push(rate);
            Ok::<_, ()>(if rate <= capacity { Answer::Met } else { Answer::Behind })
        });
        (bracket.expect("no error"), tried)
    }

    #[test]
    fn a_known_capacity_is_found_within_the_tolerance() {
        for capacity in [1.0, 1.7, 9.99, 10.0, 133.0, 4_999.0, 9_999.0] {
            for tolerance in [0.01, 0.05, 0.3] {
                let rates = Rates { tolerance, ..Rates::default() };
                let (Bracket { met, unmet }, tried) = found(rates, capacity);
                let (met, unmet) = (met.expect("met"), unmet.expect("not met"));
                assert!(met <= capacity && capacity < unmet, "{met} {capacity} {unmet}");
                // Three digits leave up to 1 % at the lower end of each power of ten.
                assert!(unmet / met <= 1.0 + tolerance.max(0.0101), "{met} {unmet}");
                assert!(tried.len() < 25, "{tried:?}");
                let mut distinct = tried.clone();
                distinct.sort_by(f64::total_cmp);
                distinct.dedup();
                assert_eq!(distinct.len(), tried.len(), "no rate is tried twice: {tried:?}");
            }
        }
    }

    #[test]
    fn the_ends_are_told() {
        let (bracket, tried) = found(Rates::default(), 1e9);
        assert_eq!(bracket, Bracket { met: Some(10_000.0), unmet: None });
        assert_eq!(tried[..3], [10.0, 20.0, 40.0]);
        let (bracket, tried) = found(Rates::default(), 0.5);
        assert_eq!(bracket, Bracket { met: None, unmet: Some(1.0) });
        assert_eq!(tried, [10.0, 5.0, 2.5, 1.25, 1.0]);
        let only = Rates { start: 5.0, min: 5.0, max: 5.0, tolerance: 0.05 };
        assert_eq!(found(only, 9.0), (Bracket { met: Some(5.0), unmet: None }, vec![5.0]));
    }

    #[test]
    fn an_engine_that_is_slow_when_idle_is_searched_above_the_first_rate() {
        let mut tried = Vec::new();
        let found = Rates::default().search(|rate| {
            tried.push(rate);
            Ok::<_, ()>(match rate {
                ..30.0 => Answer::Missed,
                30.0..150.0 => Answer::Met,
                _ => Answer::Behind,
            })
        });
        let Ok(Bracket { met: Some(met), unmet: Some(unmet) }) = found else { panic!("{found:?}") };
        assert!((140.0..150.0).contains(&met) && (150.0..158.0).contains(&unmet), "{found:?}");
        assert_eq!(tried[..8], [10.0, 5.0, 2.5, 1.25, 1.0, 20.0, 40.0, 80.0]);
        let never = Rates::default()
            .search(|rate| Ok::<_, ()>(if rate < 100.0 { Answer::Missed } else { Answer::Behind }));
        assert_eq!(never, Ok(Bracket { met: None, unmet: Some(1.0) }));
    }

    #[test]
    fn rates_out_of_order_are_refused() {
        let usual = Rates::default();
        for (rates, message) in [
            (Rates { min: 0.0, ..usual }, "lowest rate: found \"0\", expected a rate from 0.001"),
            (Rates { max: 0.5, ..usual }, "highest rate: found \"0.5\", expected a rate from 1 to"),
            (Rates { start: 0.5, ..usual }, "first rate: found \"0.5\", expected a rate from 1"),
            (Rates { start: f64::NAN, ..usual }, "first rate: found \"NaN\""),
            (Rates { tolerance: 0.0, ..usual }, "tolerance: found \"0 %\", expected from 0.5 %"),
        ] {
            let error = rates.check().expect_err(message).to_string();
            assert!(error.starts_with(message), "{error}");
        }
        assert_eq!(usual.check(), Ok(()));
    }
}
