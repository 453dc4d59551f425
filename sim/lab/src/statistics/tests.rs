//! Known answers: data sets of textbooks and of the reference data sets of NIST, with their sources; and
//! the coverage of intervals on samples whose true value is known.

use super::ranks::{mann_whitney, signed_rank};
use super::warm_up::{WarmUp, mser_5, steady};
use super::*;
use sim_world::seed::{SeedTree, Stream};

/// Additional hours of sleep by two drugs on ten patients: Cushny and Peebles 1905, as in Student, *The
/// probable error of a mean*, Biometrika 6, 1908. Answers: `t.test(extra ~ group, data = sleep)` of R.
const SLEEP_ONE: [f64; 10] = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
const SLEEP_TWO: [f64; 10] = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];

/// Heights of cross-fertilised less self-fertilised maize, in eighths of an inch: Darwin 1876, as in Fisher,
/// *The Design of Experiments*, 1935, chapter III. He finds t = 2.148.
const MAIZE: [f64; 15] =
    [49.0, -67.0, 8.0, 16.0, 6.0, 23.0, 28.0, 41.0, 14.0, 29.0, 56.0, 24.0, 75.0, 60.0, -48.0];

fn confidence() -> Confidence {
    Confidence::default()
}

fn close(found: f64, expected: f64, digits: i32) {
    let within = 0.5 * 10_f64.powi(-digits);
    assert!((found - expected).abs() <= within, "{found} instead of {expected}");
}

fn ends(interval: Option<Interval>) -> [f64; 2] {
    let interval = interval.expect("an interval");
    [interval.low, interval.high]
}

#[test]
fn quantiles_of_t_are_those_of_the_tables() {
    // Table of Student's t, two-sided 5 %: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
    for (freedom, expected) in [(1.0, 12.706), (2.0, 4.303), (9.0, 2.262), (30.0, 2.042)] {
        close(super::mean::student_quantile(freedom, confidence()), expected, 3);
    }
    let high = Confidence::new(0.99).expect("a level");
    close(super::mean::student_quantile(9.0, high), 3.250, 3);
}

#[test]
fn a_paired_difference_is_that_of_student() {
    let found = Difference::paired(&SLEEP_ONE, &SLEEP_TWO, confidence()).expect("pairs");
    close(found.difference, 1.58, 12);
    let [low, high] = ends(found.interval);
    close(low, 0.7001142, 7);
    close(high, 2.4598858, 7);
    close(found.p_value.expect("a test"), 0.002833, 6);
    close(found.effect_size.expect("varies"), 4.0621 / 10_f64.sqrt(), 4);
    close(found.relative.expect("a mean"), 1.58 / 0.75, 12);
    assert_eq!(Verdict::of(&found, Better::Neither), Verdict::Higher);
    assert!(found.method().contains("10 seeds"), "{}", found.method());
}

#[test]
fn the_same_patients_as_two_samples_show_no_difference() {
    let found = Difference::independent(&SLEEP_ONE, &SLEEP_TWO, confidence()).expect("samples");
    let [low, high] = ends(found.interval);
    close(low, -0.2054832, 7);
    close(high, 3.3654832, 7);
    close(found.p_value.expect("a test"), 0.07939, 5);
    assert_eq!(Verdict::of(&found, Better::ShorterTime), Verdict::NoDifferenceShown);
    // Hedges 1981: d = t √(1/10 + 1/10) for equal sizes, times 1 - 3 / (4 · 18 - 1).
    let d = 1.8608 * 0.2_f64.sqrt();
    close(found.effect_size.expect("varies"), d * (1.0 - 3.0 / 71.0), 4);
}

#[test]
fn a_mean_is_that_of_fisher() {
    let found = MeanEstimate::of(&MAIZE, confidence()).expect("values");
    let [low, high] = ends(found.interval);
    // In inches: t.test(Difference, data = ZeaMays) of the R package HistData.
    close(low / 8.0, 0.003899165, 8);
    close(high / 8.0, 5.229434169, 8);
    close(found.mean / 8.0, 2.616667, 6);
    let against_zero = Difference::paired(&[0.0; 15], &MAIZE, confidence()).expect("pairs");
    close(against_zero.p_value.expect("a test"), 0.0497, 4);
    assert_eq!(against_zero.relative, None, "by a mean of zero");
}

#[test]
fn mean_and_deviation_keep_their_digits() {
    // NumAcc3 and NumAcc4 of the Statistical Reference Datasets of NIST: certified mean 1,000,000.2 and
    // 10,000,000.2, standard deviation 0.1.
    for (base, digits) in [(1_000_000.0, 9), (10_000_000.0, 8)] {
        let pair = [base + 0.1, base + 0.3];
        let values: Vec<f64> =
            std::iter::once(base + 0.2).chain((0..1_000).map(|index| pair[index % 2])).collect();
        let found = MeanEstimate::of(&values, confidence()).expect("values");
        close(found.mean, base + 0.2, digits - 1);
        close(found.deviation.expect("many"), 0.1, digits);
    }
}

#[test]
#[allow(clippy::approx_constant, reason = "3.14 is a score")]
fn ranks_are_those_of_the_textbooks() {
    // Darwin's maize again; wilcox.test of R gives V = 96, p = 0.04126.
    let found = signed_rank(&MAIZE).expect("differences");
    assert_eq!((found.statistic, found.exact), (96.0, true));
    close(found.p_value, 0.04126, 5);
    // Depression scores before and after: Hollander and Wolfe, *Nonparametric Statistical Methods*, 1973,
    // page 29; V = 40, one-sided p = 0.01953.
    let before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30];
    let after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29];
    let differences: Vec<f64> = before.iter().zip(after).map(|(one, two)| one - two).collect();
    let found = signed_rank(&differences).expect("differences");
    assert_eq!(found.statistic, 40.0);
    close(found.p_value / 2.0, 0.01953, 5);
    // Permeability of membranes: the same book, page 69; W = 35, one-sided p = 0.1272.
    let at_term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
    let earlier = [1.15, 0.88, 0.90, 0.74, 1.21];
    for (one, two, u) in [(&at_term[..], &earlier[..], 35.0), (&earlier, &at_term, 15.0)] {
        let found = mann_whitney(one, two).expect("samples");
        assert_eq!(found.statistic, u);
        close(found.p_value / 2.0, 0.1272, 4);
    }
}

#[test]
fn tied_ranks_are_counted_out_and_agree_with_the_normal_tail() {
    // Three ties of size 1 and one of size 2: of 2^4 signs, 1 each gives all positive or all negative.
    let found = signed_rank(&[1.0, 1.0, 1.0, 2.0, 0.0]).expect("differences");
    assert_eq!((found.statistic, found.p_value), (10.0, 2.0 / 16.0));
    assert_eq!(signed_rank(&[0.0, 0.0]), None);
    // Ten against ten without overlap: 2 of 20 over 10 = 184,756.
    let (one, two): (Vec<f64>, Vec<f64>) =
        (0..10).map(|n| (f64::from(n), f64::from(n + 20))).unzip();
    let found = mann_whitney(&one, &two).expect("samples");
    assert!((found.p_value - 2.0 / 184_756.0).abs() < 1e-15, "{found:?}");
    // Beyond the limit of counting, near what counting gives.
    let mut stream = SeedTree::new(1).stream("test ranks");
    let values: Vec<f64> = (0..60).map(|_| stream.unit() - 0.42).collect();
    let counted = signed_rank(&values).expect("differences");
    let normal = signed_rank(&[&values[..], &[1e-9]].concat()).expect("differences");
    assert!(counted.exact && !normal.exact);
    assert!((counted.p_value - normal.p_value).abs() < 0.001, "{counted:?} {normal:?}");
}

#[test]
fn quantiles_lie_between_neighbours() {
    // Hyndman and Fan 1996, type 7: quantile(1:10, c(.1, .25, .5)) of R.
    let values: Vec<f64> = (1..=10).map(f64::from).collect();
    for (q, expected) in [(0.0, 1.0), (0.1, 1.9), (0.25, 3.25), (0.5, 5.5), (1.0, 10.0)] {
        close(quantile(&values, q).expect("values"), expected, 12);
    }
    assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!((median(&[]), quantile(&[], 0.5), mean(&[])), (None, None, None));
}

#[test]
fn what_has_no_answer_has_none() {
    let nan = f64::NAN;
    assert_eq!(MeanEstimate::of(&[], confidence()), None);
    assert_eq!(MeanEstimate::of(&[1.0, nan], confidence()), None);
    assert_eq!(Difference::paired(&[1.0], &[1.0, 2.0], confidence()), None);
    assert_eq!(Difference::independent(&[f64::INFINITY], &[1.0], confidence()), None);
    assert_eq!(Bootstrap::new(1).quantile("x", &[], 0.5), None);
    assert_eq!(Bootstrap::new(1).quantile("x", &[1.0], 1.5), None);
    assert_eq!(Bootstrap::new(1).quantile_of_runs("x", &[vec![], vec![]], 0.5), None);
    for level in [0.0, 0.49, 1.0, nan] {
        assert_eq!(Confidence::new(level), None, "{level}");
    }
    let one = MeanEstimate::of(&[2.0], confidence()).expect("a value");
    assert_eq!((one.mean, one.interval), (2.0, None));
    let pair = Difference::paired(&[1.0], &[2.0], confidence()).expect("a pair");
    assert_eq!(Verdict::of(&pair, Better::ShorterTime), Verdict::TooFewRuns);
}

#[test]
fn equal_runs_show_no_difference_and_a_constant_one_is_sure() {
    let values = [1.0, 2.0, 4.0];
    let same = Difference::paired(&values, &values, confidence()).expect("pairs");
    assert_eq!((same.difference, same.p_value, same.effect_size), (0.0, Some(1.0), None));
    assert_eq!(Verdict::of(&same, Better::ShorterTime), Verdict::NoDifferenceShown);
    let more = Difference::paired(&values, &[2.0, 3.0, 5.0], confidence()).expect("pairs");
    assert_eq!((more.difference, more.p_value), (1.0, Some(0.0)));
    for (better, expected) in [
        (Better::ShorterTime, Verdict::Slower),
        (Better::HigherRate, Verdict::Faster),
        (Better::LowerCost, Verdict::Dearer),
    ] {
        assert_eq!(Verdict::of(&more, better), expected);
    }
    let less = Difference::paired(&[2.0, 3.0, 5.0], &values, confidence()).expect("pairs");
    assert_eq!(Verdict::of(&less, Better::ShorterTime), Verdict::Faster);
}

/// A normal sample, by Box and Muller.
fn normal(stream: &mut Stream) -> f64 {
    let radius = (-2.0 * libm::log(1.0 - stream.unit())).sqrt();
    radius * libm::cos(std::f64::consts::TAU * stream.unit())
}

fn exponential(stream: &mut Stream) -> f64 {
    -libm::log(1.0 - stream.unit())
}

/// How many of `experiments` seeds have an interval that holds `truth`.
fn covered(
    experiments: u64,
    truth: f64,
    interval: impl Fn(u64, &mut Stream) -> Option<Interval>,
) -> u64 {
    let holds = |seed: &u64| {
        let mut stream = SeedTree::new(*seed).stream("test coverage");
        interval(*seed, &mut stream).expect("an interval").contains(truth)
    };
    (0..experiments).filter(holds).count() as u64
}

/// Whether the count is within three binomial standard deviations of 95 %.
fn within_binomial_error(covered: u64, experiments: u64) {
    let expected = 0.95 * experiments as f64;
    let error = 3.0 * (expected * 0.05).sqrt();
    let found = covered as f64;
    assert!((found - expected).abs() <= error, "{covered} of {experiments}: {expected} ± {error}");
}

#[test]
fn intervals_of_means_cover_as_often_as_they_say() {
    let experiments = 4_000;
    let of = |count: usize, draw: fn(&mut Stream) -> f64| {
        move |_: u64, stream: &mut Stream| {
            let values: Vec<f64> = (0..count).map(|_| draw(stream)).collect();
            MeanEstimate::of(&values, confidence())?.interval
        }
    };
    // Exact for normal samples of any size.
    within_binomial_error(covered(experiments, 0.0, of(3, normal)), experiments);
    within_binomial_error(covered(experiments, 0.0, of(10, normal)), experiments);
    // For exponential ones the error of the coverage is about 0.9 / n (Hall, *Theoretical comparison of
    // bootstrap confidence intervals*, Annals of Statistics 16, 1988): small for 200, told for 5.
    within_binomial_error(covered(experiments, 1.0, of(200, exponential)), experiments);
    let few = covered(experiments, 1.0, of(5, exponential));
    assert!(
        (3_450..3_600).contains(&few),
        "{few}: about 88 %, as is known of 5 exponential values"
    );
}

#[test]
fn intervals_of_differences_cover_as_often_as_they_say() {
    let experiments = 4_000;
    // A large part in common, as under common random numbers; the true difference is 1.
    let pairs = |stream: &mut Stream| -> (Vec<f64>, Vec<f64>) {
        let pair = |stream: &mut Stream| {
            let common = 10.0 * exponential(stream);
            (common + normal(stream), common + normal(stream) + 1.0)
        };
        (0..6).map(|_| pair(stream)).unzip()
    };
    let paired = |_: u64, stream: &mut Stream| {
        let (one, two) = pairs(stream);
        Difference::paired(&one, &two, confidence())?.interval
    };
    within_binomial_error(covered(experiments, 1.0, paired), experiments);
    let welch = |_: u64, stream: &mut Stream| {
        let one: Vec<f64> = (0..8).map(|_| normal(stream)).collect();
        let two: Vec<f64> = (0..12).map(|_| 1.0 + 3.0 * normal(stream)).collect();
        Difference::independent(&one, &two, confidence())?.interval
    };
    within_binomial_error(covered(experiments, 1.0, welch), experiments);
    // What pairing is for: the interval is much shorter.
    let mut stream = SeedTree::new(1).stream("test pairs");
    let (one, two) = pairs(&mut stream);
    let width =
        |found: Option<Difference>| found.and_then(|found| found.interval).map(|i| i.half_width());
    let with = width(Difference::paired(&one, &two, confidence())).expect("pairs");
    let without = width(Difference::independent(&one, &two, confidence())).expect("samples");
    assert!(with < without / 4.0, "{with} {without}");
}

#[test]
fn bootstrap_intervals_cover_as_often_as_they_say() {
    let experiments = 500;
    let of = |q: f64, draw: fn(&mut Stream) -> f64| {
        move |seed: u64, stream: &mut Stream| {
            let values: Vec<f64> = (0..400).map(|_| draw(stream)).collect();
            let bootstrap = Bootstrap { resamples: 199, ..Bootstrap::new(seed) };
            bootstrap.quantile("latency", &values, q)?.interval
        }
    };
    let ln = libm::log;
    within_binomial_error(covered(experiments, 0.0, of(0.5, normal)), experiments);
    within_binomial_error(covered(experiments, ln(2.0), of(0.5, exponential)), experiments);
    within_binomial_error(covered(experiments, ln(10.0), of(0.9, exponential)), experiments);
    // Whole runs that share something each: drawing single values would cover far too rarely.
    let runs = |stream: &mut Stream| -> Vec<Vec<f64>> {
        let run = |stream: &mut Stream| {
            let common = normal(stream);
            (0..20).map(|_| common + normal(stream)).collect()
        };
        (0..40).map(|_| run(stream)).collect()
    };
    let whole = |seed: u64, stream: &mut Stream| {
        let bootstrap = Bootstrap { resamples: 199, ..Bootstrap::new(seed) };
        bootstrap.quantile_of_runs("latency", &runs(stream), 0.5)?.interval
    };
    within_binomial_error(covered(experiments, 0.0, whole), experiments);
    let single = |seed: u64, stream: &mut Stream| {
        let bootstrap = Bootstrap { resamples: 199, ..Bootstrap::new(seed) };
        bootstrap.quantile("latency", &runs(stream).concat(), 0.5)?.interval
    };
    assert!(covered(200, 0.0, single) < 120, "values of one run are not independent");
}

#[test]
fn bootstrap_intervals_of_differences_cover_as_often_as_they_say() {
    // Each seed has a level of its own, which both sides have where they are paired; the other is 0.5 above.
    let sides = |stream: &mut Stream, paired: bool| {
        let mut one = Vec::new();
        let mut two = Vec::new();
        for _ in 0..40 {
            let level = normal(stream);
            let other = if paired { level } else { normal(stream) };
            one.push((0..20).map(|_| level + normal(stream)).collect::<Vec<f64>>());
            two.push((0..20).map(|_| 0.5 + other + normal(stream)).collect::<Vec<f64>>());
        }
        [one, two]
    };
    let interval = |paired: bool| {
        move |seed: u64, stream: &mut Stream| {
            let bootstrap = Bootstrap { resamples: 199, ..Bootstrap::new(seed) };
            let [one, two] = sides(stream, paired);
            bootstrap.difference_of_runs("latency", [&one, &two], 0.5, paired)?.interval
        }
    };
    within_binomial_error(covered(400, 0.5, interval(true)), 400);
    within_binomial_error(covered(400, 0.5, interval(false)), 400);
    // Pairs that are drawn apart give an interval that is much too wide.
    let mut stream = SeedTree::new(3).stream("test pairs of runs");
    let [one, two] = sides(&mut stream, true);
    let width = |paired| {
        let found = Bootstrap::new(1).difference_of_runs("x", [&one, &two], 0.5, paired);
        found.and_then(|found| found.interval).expect("runs").half_width()
    };
    assert!(width(true) < width(false) / 2.0, "{} {}", width(true), width(false));
}

#[test]
fn a_difference_of_runs_has_the_percentiles_of_both_sides() {
    let (one, two) = (vec![vec![1.0, 2.0], vec![3.0]], vec![vec![5.0], vec![7.0, 9.0]]);
    let found = Bootstrap::new(1).difference_of_runs("x", [&one, &two], 0.5, true).expect("values");
    assert_eq!((found.baseline.value, found.other.value, found.difference()), (2.0, 7.0, 5.0));
    assert_eq!((found.baseline.drawn_from, found.baseline.values), (2, 3));
    assert!(found.method().ends_with("interval at 95 %; pairs together"), "{}", found.method());
    let alone = Bootstrap::new(1).quantile_of_runs("x", &one, 0.5).expect("values");
    assert_eq!(found.baseline, alone, "the same draws");
    let refused = |sides: [&[Vec<f64>]; 2], q| {
        Bootstrap::new(1).difference_of_runs("x", sides, q, true).is_none()
    };
    assert!(refused([&one, &two[..1]], 0.5), "pairs need partners");
    assert!(refused([&one, &[vec![], vec![]]], 0.5), "nothing on one side");
    assert!(refused([&one, &two], f64::NAN) && refused([&one, &two], 1.5));
    let single = Bootstrap::new(1).difference_of_runs("x", [&one[..1], &two[..1]], 0.5, true);
    assert_eq!(single.expect("values").interval, None);
}

#[test]
fn a_bootstrap_is_a_function_of_seed_name_and_sample() {
    let mut stream = SeedTree::new(5).stream("test bootstrap");
    let values: Vec<f64> = (0..500).map(|_| exponential(&mut stream)).collect();
    let of = |seed, name| Bootstrap::new(seed).quantile(name, &values, 0.95).expect("values");
    assert_eq!(of(1, "p95"), of(1, "p95"));
    assert_ne!(of(1, "p95").interval, of(2, "p95").interval);
    assert_ne!(of(1, "p95").interval, of(1, "other").interval);
    let mut turned = values.clone();
    turned.reverse();
    let reversed = Bootstrap::new(1).quantile("p95", &turned, 0.95).expect("values");
    assert_eq!(of(1, "p95"), reversed, "the order of values does not matter");
    // Pinned: intervals that were written down stay what they are.
    let [low, high] = ends(of(1, "p95").interval);
    assert_eq!([low, high].map(|end| format!("{end:.6}")), ["2.486247", "3.270453"]);
    assert!(of(1, "p95").resolved());
    assert!(!Bootstrap::new(1).quantile("x", &values, 0.999).expect("values").resolved());
}

#[test]
fn a_bootstrap_takes_what_an_explicit_resample_would_have() {
    let values = [5.0, 1.0, 4.0, 2.0, 3.0];
    let sorted = [1.0, 2.0, 3.0, 4.0, 5.0];
    let bootstrap = Bootstrap { resamples: 399, ..Bootstrap::new(9) };
    let found = bootstrap.quantile("x", &values, 0.3).expect("values");
    let mut stream = SeedTree::new(9).stream("statistics bootstrap x");
    let mut explicit: Vec<f64> = (0..399)
        .map(|_| {
            let mut drawn: Vec<f64> = (0..5).map(|_| sorted[stream.below(5) as usize]).collect();
            drawn.sort_by(f64::total_cmp);
            quantile(&drawn, 0.3).expect("values")
        })
        .collect();
    explicit.sort_by(f64::total_cmp);
    assert_eq!(ends(found.interval), [explicit[9], explicit[389]], "10 of 400 gaps on each side");
}

#[test]
fn mser_cuts_off_a_known_transient() {
    let flat = |index: usize| [9.0, 11.0][index % 2];
    // A step: 60 values at 50, then level.
    let step: Vec<f64> = (0..600).map(|n| if n < 60 { 50.0 } else { flat(n) }).collect();
    assert_eq!(mser_5(&step), WarmUp::Cut { observations: 60 });
    assert!(steady(&step).iter().all(|value| *value < 12.0));
    // A start from empty: 1 - exp(-t / 40) of the level, with noise of a tenth. After 5 time constants the
    // bias is below the noise of a batch; a cut at 2 would leave a bias of 13 %.
    for seed in 0..20 {
        let mut stream = SeedTree::new(seed).stream("test warm-up");
        let level = |n: usize| 10.0 * (1.0 - libm::exp(-(n as f64) / 40.0));
        let filling: Vec<f64> = (0..2_000).map(|n| level(n) + normal(&mut stream)).collect();
        let cut = mser_5(&filling).observations();
        assert!((80..=400).contains(&cut), "seed {seed}: {cut}");
        let (with, without) =
            (mean(&filling).expect("many"), mean(steady(&filling)).expect("many"));
        assert!((without - 10.0).abs() < 0.1 && with < 9.9, "seed {seed}: {with} {without}");
    }
}

#[test]
fn mser_leaves_what_has_no_transient_and_refuses_what_never_settles() {
    let flat: Vec<f64> = (0..300).map(|n| [1.0, 2.0, 3.0, 2.0, 1.0][n % 5]).collect();
    assert_eq!(mser_5(&flat), WarmUp::Cut { observations: 0 });
    let growing: Vec<f64> = (0..300).map(f64::from).collect();
    assert_eq!(mser_5(&growing), WarmUp::TooShort);
    assert_eq!(mser_5(&[1.0; 49]), WarmUp::TooShort);
    assert_eq!(mser_5(&[f64::NAN; 100]), WarmUp::TooShort);
    assert_eq!(steady(&growing).len(), 300);
}
