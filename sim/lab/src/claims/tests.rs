use super::*;
use crate::experiment::{self, Experiment, Unit};
use std::collections::BTreeSet;

fn row(series: &str, metric: &str, simulated: f64, measured: Option<f64>) -> Row {
    Row {
        panel: "Hello3".to_owned(),
        series: series.to_owned(),
        metric: metric.to_owned(),
        unit: Unit::Milliseconds,
        simulated: Some(simulated),
        measured,
    }
}

fn outcome(rows: Vec<Row>) -> ExperimentOutcome {
    ExperimentOutcome {
        experiment: experiment::named("netherite-hello-latency").expect("embedded"),
        figures: Vec::new(),
        table: ResultTable::Comparison(rows),
        conclusion: None,
        runs: Vec::new(),
    }
}

fn claim(judged: &str) -> Claim {
    let text = format!("[[claims]]\nfigure = \"x\"\nsays = \"y\"\n{judged}");
    from_toml(&text).expect("valid").remove(0)
}

#[test]
fn every_figure_has_a_claim_and_every_claim_a_figure() {
    let claimed: BTreeSet<String> = all().into_iter().map(|claim| claim.figure).collect();
    let figures: BTreeSet<String> =
        experiment::all().iter().map(|figure| Experiment::name(figure).to_owned()).collect();
    assert_eq!(claimed, figures);
}

#[test]
fn panels_series_and_metrics_of_claims_exist() {
    for claim in all() {
        let figure = experiment::named(&claim.figure).expect("a figure");
        let labels = || figure.series().expect("compared").iter().map(|series| &series.label);
        match &claim.judged {
            Judged::Row { series, .. } => {
                assert!(labels().any(|label| label == series), "{}: {series}", claim.says);
            }
            Judged::Ratio { series, over, .. } => {
                assert!(labels().any(|label| label == series), "{}: {series}", claim.says);
                assert!(labels().any(|label| label == over), "{}: {over}", claim.says);
            }
            Judged::Agreement { .. } | Judged::Median { .. } | Judged::Sound => {}
        }
    }
}

#[test]
fn a_row_is_held_to_what_was_measured_of_it() {
    let judged =
        "kind = \"row\"\npanel = \"Hello3\"\nseries = \"a\"\nmetric = \"p50 ms\"\nfactor = 1.25";
    let claim = claim(judged);
    let verdict = |simulated, measured| {
        claim.judge(&outcome(vec![row("a", "p50 ms", simulated, measured)])).verdict
    };
    assert_eq!(verdict(10.0, Some(12.5)), ClaimVerdict::Pass);
    assert_eq!(verdict(10.0, Some(12.6)), ClaimVerdict::Miss, "too low");
    assert_eq!(verdict(12.6, Some(10.0)), ClaimVerdict::Miss, "too high");
    assert_eq!(verdict(10.0, None), ClaimVerdict::Miss, "nothing was measured");
    let missing = claim.judge(&outcome(Vec::new()));
    assert_eq!((missing.obtained.as_str(), missing.verdict), ("-", ClaimVerdict::Miss));
    let known = Claim { because: Some("it is far".to_owned()), ..claim };
    assert_eq!(known.judge(&outcome(Vec::new())).verdict, ClaimVerdict::KnownMiss);
}

#[test]
fn a_ratio_is_of_one_metric_or_of_the_best_of_all() {
    let rows = vec![
        row("a", "p50 ms", 30.0, None),
        row("a", "p90 ms", 90.0, None),
        row("b", "p50 ms", 10.0, None),
        row("b", "p90 ms", 15.0, None),
    ];
    let ratio = "kind = \"ratio\"\nseries = \"a\"\nover = \"b\"\nexpected = 6.0\nfactor = 1.5\n";
    let of_one = claim(&format!("{ratio}metric = \"p50 ms\"")).judge(&outcome(rows.clone()));
    assert_eq!((of_one.obtained.as_str(), of_one.verdict), ("3.00", ClaimVerdict::Miss));
    let of_best = claim(&format!("{ratio}best = true")).judge(&outcome(rows));
    assert_eq!((of_best.obtained.as_str(), of_best.verdict), ("6.00", ClaimVerdict::Pass));
}

#[test]
fn agreement_median_and_soundness_are_of_the_whole_table() {
    let rows = vec![
        row("a", "p50 ms", 10.0, Some(10.0)),
        row("a", "p90 ms", 10.0, Some(15.0)),
        row("a", "p99 ms", 10.0, Some(30.0)),
    ];
    let all = claim("kind = \"agreement\"\nat_least = 1.0").judge(&outcome(rows.clone()));
    assert_eq!((all.obtained.as_str(), all.verdict), ("2 of 3", ClaimVerdict::Miss));
    let half = claim("kind = \"agreement\"\nat_least = 0.5").judge(&outcome(rows.clone()));
    assert_eq!(half.verdict, ClaimVerdict::Pass);
    let median = claim("kind = \"median\"\nfactor = 1.5").judge(&outcome(rows));
    assert_eq!((median.obtained.as_str(), median.verdict), ("1.50", ClaimVerdict::Pass));
    let nothing = claim("kind = \"sound\"").judge(&outcome(Vec::new()));
    assert_eq!(nothing.verdict, ClaimVerdict::Miss, "what nothing was run for is not shown");
}

#[test]
fn what_a_claim_does_not_know_is_refused() {
    let refused = |text: &str| {
        let text = format!("[[claims]]\nfigure = \"x\"\nsays = \"y\"\n{text}");
        from_toml(&text).expect_err("refused").to_string()
    };
    assert!(refused("kind = \"sounds\"").contains("sound"));
    assert!(refused("kind = \"median\"").contains("factor"));
}
