//! Seeded bootstrap intervals of percentiles.
//!
//! A percentile has no simple formula for its error. The bootstrap draws the sample again, with
//! replacement, some thousand times, takes the percentile of each resample, and gives the middle part of
//! these as the interval (Efron and Tibshirani 1993, section 13.3: the *percentile interval*).
//!
//! - [`Bootstrap::quantile`] draws single values: right for independent ones.
//! - [`Bootstrap::quantile_of_runs`] draws whole runs: latencies within a run depend on each other
//!   (queues), runs do not. With few runs it covers less than it says: a percentile of `n` runs can only vary
//!   as far as they do; 10 are a fair number.
//! - [`Bootstrap::difference_of_runs`] does that on two sides, pairs of runs together where they are paired.
//!
//! Resamples are drawn from the stream `statistics bootstrap NAME` of the seed tree: the same seed, name and
//! sample give the same interval on every machine. Far percentiles of small samples (p99 of 100) are bound
//! by the largest value and covered too rarely; [`PercentileEstimate::resolved`] says so.

use super::mean::{between, finite, position, quantile};
use super::{Confidence, Interval};
use serde::Serialize;
use sim_world::seed::{SeedTree, Stream};

/// How resamples are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// Seed of the draws.
    pub seed: u64,
    /// How many resamples: one less than a round number, so that the tails are whole numbers of them.
    pub resamples: usize,
    /// How often the interval is to hold the percentile.
    pub confidence: Confidence,
}

/// What is drawn again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resampled {
    /// Single values.
    Values,
    /// Whole runs.
    Runs,
}

/// A percentile with its bootstrap interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PercentileEstimate {
    /// The fraction that does not exceed it.
    pub quantile: f64,
    /// The percentile of the sample.
    pub value: f64,
    /// The interval; absent where one value or run is all there is.
    pub interval: Option<Interval>,
    /// The confidence of the interval.
    pub confidence: Confidence,
    /// What was drawn again.
    pub resampled: Resampled,
    /// How many values or runs there are to draw from.
    pub drawn_from: usize,
    /// How many values there are altogether.
    pub values: usize,
    /// How many resamples were drawn.
    pub resamples: usize,
}

impl PercentileEstimate {
    /// Whether at least 10 values lie on the rarer side of the percentile; below that, the interval is not
    /// to be trusted.
    pub fn resolved(&self) -> bool {
        self.values as f64 * self.quantile.min(1.0 - self.quantile) >= 10.0
    }

    /// How percentile and interval came about.
    pub fn method(&self) -> String {
        let what = match self.resampled {
            Resampled::Values => "values",
            Resampled::Runs => "runs",
        };
        match self.interval {
            Some(_) => format!(
                "percentile bootstrap over {} {what}, {} resamples, interval at {}",
                self.drawn_from, self.resamples, self.confidence
            ),
            None => format!("too few {what} for an interval"),
        }
    }
}

/// One percentile of two sets of runs, and how far they are apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PercentileDifference {
    /// That of the baseline.
    pub baseline: PercentileEstimate,
    /// The other.
    pub other: PercentileEstimate,
    /// The interval of the other less the baseline; absent where one run is all there is.
    pub interval: Option<Interval>,
    /// Whether pairs of runs were drawn.
    pub paired: bool,
}

impl PercentileDifference {
    /// The other less the baseline.
    pub fn difference(&self) -> f64 {
        self.other.value - self.baseline.value
    }

    /// How percentiles and intervals came about.
    pub fn method(&self) -> String {
        let how = if self.paired { "pairs together" } else { "each side by itself" };
        format!("{}; {how}", self.baseline.method())
    }
}

impl Bootstrap {
    /// Resamples by default.
    pub const RESAMPLES: usize = 1_999;

    /// Draws under this seed, with defaults.
    pub fn new(seed: u64) -> Bootstrap {
        Bootstrap { seed, resamples: Bootstrap::RESAMPLES, confidence: Confidence::default() }
    }

    /// The percentile `q` of independent values. `name` names the stream of the draws: two percentiles of
    /// one name and sample size meet the same draws. `None` of nothing, of values that are not finite, or
    /// outside of 0 to 1.
    pub fn quantile(&self, name: &str, values: &[f64], q: f64) -> Option<PercentileEstimate> {
        let mut sorted = finite(values)?.to_vec();
        sorted.sort_by(f64::total_cmp);
        let value = quantile(&sorted, q)?;
        let (below, part) = position(sorted.len() - 1, q);
        let mut stream = self.stream(name);
        let mut times = vec![0_usize; sorted.len()];
        let resampled = (0..self.resamples).map(|_| {
            draw(&mut stream, &mut times);
            let [one, other] = order_statistics(&sorted, below, |index| times[index]);
            between(one, other, part)
        });
        let resampled: Vec<f64> = resampled.collect();
        let count = sorted.len();
        Some(self.estimate(q, value, resampled, Resampled::Values, [count, count]))
    }

    /// The percentile `q` of all values of the runs together, where whole runs are drawn. `None` as for
    /// [`Bootstrap::quantile`]; a run may be empty, but not all.
    pub fn quantile_of_runs(
        &self,
        name: &str,
        runs: &[Vec<f64>],
        q: f64,
    ) -> Option<PercentileEstimate> {
        let pool = Pool::of(runs)?;
        let value = quantile(&pool.sorted, q)?;
        let mut stream = self.stream(name);
        let mut times = vec![0_usize; runs.len()];
        let mut resampled = Vec::with_capacity(self.resamples);
        while resampled.len() < self.resamples {
            draw(&mut stream, &mut times);
            // Only empty runs were drawn: such a resample has no percentile.
            resampled.extend(pool.quantile(&times, q));
        }
        let counts = [runs.len(), pool.sorted.len()];
        Some(self.estimate(q, value, resampled, Resampled::Runs, counts))
    }

    /// How far the percentile `q` of all values of the runs together is from that of other runs, where whole
    /// runs are drawn: of paired runs (equally many, in the same order) pairs, otherwise each side by itself.
    /// `None` as for [`Bootstrap::quantile_of_runs`], or if paired runs are not equally many.
    pub fn difference_of_runs(
        &self,
        name: &str,
        [baseline, other]: [&[Vec<f64>]; 2],
        q: f64,
        paired: bool,
    ) -> Option<PercentileDifference> {
        if (paired && baseline.len() != other.len()) || !(0.0..=1.0).contains(&q) {
            return None;
        }
        let pools = [Pool::of(baseline)?, Pool::of(other)?];
        let mut streams = [self.stream(name), self.stream(&format!("{name} of the other"))];
        let mut times = [vec![0_usize; baseline.len()], vec![0_usize; other.len()]];
        let mut resampled = [(); 3].map(|()| Vec::with_capacity(self.resamples));
        while resampled[0].len() < self.resamples {
            draw(&mut streams[0], &mut times[0]);
            match paired {
                true => times[1] = times[0].clone(),
                false => draw(&mut streams[1], &mut times[1]),
            }
            let [one, two] = [0, 1].map(|side| pools[side].quantile(&times[side], q));
            if let (Some(one), Some(two)) = (one, two) {
                let drawn = [one, two, two - one];
                resampled.iter_mut().zip(drawn).for_each(|(all, value)| all.push(value));
            }
        }
        let [one, two, between] = resampled;
        let side = |side: usize, runs: usize, drawn| {
            let value = quantile(&pools[side].sorted, q)?;
            let counts = [runs, pools[side].sorted.len()];
            Some(self.estimate(q, value, drawn, Resampled::Runs, counts))
        };
        let (baseline, other) = (side(0, baseline.len(), one)?, side(1, other.len(), two)?);
        let fewest = baseline.drawn_from.min(other.drawn_from);
        let interval = self.middle(between).filter(|_| fewest > 1);
        Some(PercentileDifference { baseline, other, interval, paired })
    }

    fn stream(&self, name: &str) -> Stream {
        SeedTree::new(self.seed).stream(&format!("statistics bootstrap {name}"))
    }

    fn estimate(
        &self,
        q: f64,
        value: f64,
        resampled: Vec<f64>,
        what: Resampled,
        [drawn_from, values]: [usize; 2],
    ) -> PercentileEstimate {
        let interval = self.middle(resampled);
        PercentileEstimate {
            quantile: q,
            value,
            interval: interval.filter(|_| drawn_from > 1),
            confidence: self.confidence,
            resampled: what,
            drawn_from,
            values,
            resamples: self.resamples,
        }
    }

    /// The part of the resamples that the interval is.
    fn middle(&self, mut resampled: Vec<f64>) -> Option<Interval> {
        resampled.sort_by(f64::total_cmp);
        // The (B + 1) tail-th from either end, rounded outwards: between B ordered resamples there are
        // B + 1 gaps, all equally likely to hold one more (Davison and Hinkley 1997, section 5.2).
        let outside = ((resampled.len() as f64 + 1.0) * self.confidence.tail()) as usize;
        let from_end = |end: usize| resampled.len().checked_sub(end).map(|index| resampled[index]);
        let ends = resampled.get(outside.max(1) - 1).copied().zip(from_end(outside.max(1)));
        ends.map(|(low, high)| Interval { low, high })
    }
}

/// The values of some runs, in order, each with the run that it is of.
struct Pool {
    sorted: Vec<f64>,
    run: Vec<usize>,
    sizes: Vec<usize>,
}

impl Pool {
    /// `None` of no values, or of values that are not finite.
    fn of(runs: &[Vec<f64>]) -> Option<Pool> {
        let of_run = |(run, values): (usize, &Vec<f64>)| -> Vec<(f64, usize)> {
            values.iter().map(|value| (*value, run)).collect()
        };
        let mut merged: Vec<(f64, usize)> = runs.iter().enumerate().flat_map(of_run).collect();
        merged.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (sorted, run): (Vec<f64>, Vec<usize>) = merged.into_iter().unzip();
        finite(&sorted)?;
        Some(Pool { sorted, run, sizes: runs.iter().map(Vec::len).collect() })
    }

    /// The percentile `q` where each run is there so many times; `None` if no value is.
    fn quantile(&self, times: &[usize], q: f64) -> Option<f64> {
        let drawn = self.sizes.iter().zip(times).map(|(size, times)| size * times).sum::<usize>();
        let (below, part) = position(drawn.checked_sub(1)?, q);
        let [one, other] = order_statistics(&self.sorted, below, |index| times[self.run[index]]);
        Some(between(one, other, part))
    }
}

/// Draws as many as there are places, with replacement, and counts how often each was drawn.
fn draw(stream: &mut Stream, times: &mut [usize]) {
    times.fill(0);
    for _ in 0..times.len() {
        times[stream.below(times.len() as u64) as usize] += 1;
    }
}

/// The value at `below` and the next one (or the last) of the sorted values, each taken `times` times.
fn order_statistics(sorted: &[f64], below: usize, times: impl Fn(usize) -> usize) -> [f64; 2] {
    let (mut so_far, mut one, mut last) = (0, None, sorted[0]);
    for (index, value) in sorted.iter().enumerate() {
        let more = times(index);
        if more == 0 {
            continue;
        }
        so_far += more;
        last = *value;
        if one.is_none() && so_far > below {
            one = Some(last);
        }
        if so_far > below + 1 {
            break;
        }
    }
    [one.unwrap_or(last), last]
}
