use super::*;

fn embedded(name: &str) -> BarsExperiment {
    match super::super::named(name) {
        Ok(Experiment::Bars(experiment)) => experiment,
        other => panic!("{other:?}"),
    }
}

fn small() -> BarsExperiment {
    let mut experiment = embedded("costs");
    experiment.series.truncate(2);
    experiment.seeds = vec![1, 2];
    for panel in &mut experiment.panels {
        panel.workload = "hello:length=2".parse().expect("a workload");
        panel.load = "batch:3".parse().expect("a load");
    }
    experiment
}

#[test]
fn panels_that_run_the_same_share_their_runs() {
    let checked = embedded("costs").check().expect("valid");
    // Two workloads on six engines under three seeds, looked at twice.
    assert_eq!(checked.runs(), 2 * 6 * 3);
    let mut split = embedded("costs");
    split.panels[1].load = "batch:7".parse().expect("a load");
    assert_eq!(split.check().expect("valid").runs(), 3 * 6 * 3);
    let mut other = embedded("costs");
    other.panels[0].only = vec!["netherite".to_owned()];
    assert_eq!(other.check().expect("valid").runs(), 2 * 6 * 3, "who is not shown runs later");
}

#[test]
fn parts_sum_to_what_the_summary_of_a_run_says() {
    let checked = small().check().expect("valid");
    let outcome = checked.run(Some(1), &Progress::default()).expect("carried out");
    let spec = checked.jobs.iter().find(|job| job.series == 1).expect("netherite");
    let run = crate::run::run(&spec.spec, &Progress::default()).expect("carried out");
    let ResultTable::Comparison(rows) = &outcome.table else { panic!("another table") };
    let sum = |experiment: &BarsExperiment, seeds: usize| {
        assert_eq!(experiment.seeds.len(), seeds);
        let found = rows.iter().find(|row| {
            row.panel.ends_with("operations") && row.series == "netherite" && row.metric == "sum"
        });
        found.expect("a sum").simulated.expect("simulated")
    };
    let mean = sum(&small(), 2);
    let other = checked.jobs.iter().filter(|job| job.series == 1).nth(1).expect("two seeds");
    let other = crate::run::run(&other.spec, &Progress::default()).expect("carried out");
    let each = [&run, &other]
        .map(|run| run.summary.operations_per_orchestration.expect("something completed"));
    assert!((mean - (each[0] + each[1]) / 2.0).abs() < 2e-3, "{mean} of {each:?}");
}

#[test]
fn a_part_that_a_run_lacks_counts_for_nothing_there() {
    let parts = |parts: &[(&str, f64)]| -> Parts {
        parts.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    };
    let (one, other) = (parts(&[("a", 2.0)]), parts(&[("b", 4.0), ("a", 4.0)]));
    assert_eq!(mean(&[&one, &other]), parts(&[("a", 3.0), ("b", 2.0)]));
    assert_eq!(range(&[&one, &other]), (2.0, 8.0));
}

#[test]
fn published_sums_are_read_by_name() {
    let checked = embedded("netherite-storage-traffic").check().expect("valid");
    assert_eq!(checked.measured.get(&(0, 0)), Some(&74.91));
    let bytes = checked.measured.get(&(1, 1)).expect("published");
    assert!((bytes - (93.0 + 59.5 + 1.9 + 2.4)).abs() < 1e-9, "{bytes}");
    let mut unknown = embedded("netherite-storage-traffic");
    let sum = unknown.panels[0].published.get_mut("netherite").expect("published");
    sum.metrics[0] = "storage_request".to_owned();
    let error = unknown.check().expect_err("refused").to_string();
    assert!(error.contains("storage_request") && error.contains("storage_requests"), "{error}");
    let mut none = embedded("netherite-storage-traffic");
    none.panels[0].published.get_mut("netherite").expect("published").by = f64::NAN;
    assert!(none.check().expect_err("refused").to_string().contains("a number above 0"));
}

#[test]
fn series_that_do_not_exist_are_refused() {
    let mut unknown = embedded("costs");
    unknown.panels[0].only = vec!["netherit".to_owned()];
    let error = unknown.check().expect_err("refused").to_string();
    assert!(error.contains("netherit") && error.contains("netherite"), "{error}");
}
