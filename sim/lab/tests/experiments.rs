//! Experiments: what comes out does not depend on how many threads carry them.

use sim_lab::experiment::{
    self, CheckedExperiment, CrashMatrixExperiment, Experiment, LatencyExperiment,
    MaximaExperiment, PredictionsExperiment, ResultTable, ScalingExperiment, ThroughputExperiment,
};
use sim_lab::progress::Progress;

/// The embedded experiment, at a small size and on the engine without cost.
fn small() -> LatencyExperiment {
    let Ok(Experiment::Latency(mut experiment)) = experiment::named("netherite-hello-latency")
    else {
        panic!("embedded, of this kind");
    };
    experiment.load = "open:rate=20,duration=3s".parse().expect("a load");
    experiment.seeds = vec![1, 2];
    for series in &mut experiment.series {
        series.engine = "in-memory".to_owned();
        series.settings.clear();
    }
    experiment
}

/// The other embedded experiment, with few orchestrations in each run.
fn small_throughput() -> ThroughputExperiment {
    let Ok(Experiment::Throughput(mut experiment)) =
        experiment::named("netherite-hello-throughput")
    else {
        panic!("embedded, of this kind");
    };
    for load in experiment.panels.iter_mut().flat_map(|panel| panel.loads.values_mut()).flatten() {
        *load = "batch:20,launcher=0".parse().expect("a load");
    }
    experiment
}

/// The maxima, at a small size and on the engine without cost.
fn small_maxima() -> MaximaExperiment {
    let Ok(Experiment::Maxima(mut experiment)) = experiment::named("netherite-maxima") else {
        panic!("embedded, of this kind");
    };
    experiment.engine.engine = "in-memory".to_owned();
    for (scenario, workload, units) in [
        (0, "hello:length=20", 20.0),
        (1, "fanout:width=20", 20.0),
        (2, "counter:signals=300", 1.0),
        (3, "hello:length=5", 1.0),
    ] {
        experiment.scenarios[scenario].workload = workload.parse().expect("a workload");
        experiment.scenarios[scenario].units = units;
    }
    experiment.scenarios[3].load = "batch:20".parse().expect("a load");
    experiment.seeds = vec![1, 2];
    experiment
}

/// The predictions, at a small size and on the engine without cost.
fn small_predictions() -> PredictionsExperiment {
    let Ok(Experiment::Predictions(mut experiment)) = experiment::named("predictions") else {
        panic!("embedded, of this kind");
    };
    for series in &mut experiment.series {
        series.engine = "in-memory".to_owned();
        series.settings.clear();
    }
    experiment.panels.truncate(2);
    for (panel, workload) in
        ["bank", "wordcount:mappers=2,reducers=2,word_limit=50"].iter().enumerate()
    {
        experiment.panels[panel].workload = workload.parse().expect("a workload");
        experiment.panels[panel].load = "batch:2".parse().expect("a load");
    }
    experiment.plans.truncate(2);
    experiment.hosts = vec![1, 2];
    experiment.panels[1].hosts = Some(vec![3]);
    experiment.seeds = vec![1, 2];
    experiment
}

/// Scaling, at a small size.
fn small_scaling() -> ScalingExperiment {
    let Ok(Experiment::Scaling(mut experiment)) = experiment::named("sql-server-scaling") else {
        panic!("embedded, of this kind");
    };
    experiment.load = "batch:20".parse().expect("a load");
    experiment.cores.truncate(2);
    experiment.seeds = vec![1, 2];
    experiment
}

/// The crash matrix, with few crashes.
fn small_crashes() -> CrashMatrixExperiment {
    let Ok(Experiment::CrashMatrix(mut experiment)) = experiment::named("triggerflow-crashes")
    else {
        panic!("embedded, of this kind");
    };
    experiment.scenarios.truncate(2);
    for scenario in &mut experiment.scenarios {
        scenario.crashes = 3;
    }
    experiment
}

#[test]
fn every_embedded_experiment_is_valid() {
    for experiment in experiment::all() {
        let checked = experiment.check();
        assert!(checked.is_ok(), "{}: {:?}", experiment.name(), checked.err());
        assert_eq!(Experiment::from_toml(&experiment.to_toml()), Ok(experiment));
    }
}

#[test]
fn threads_change_no_byte() {
    let experiments = [
        (Experiment::Latency(small()), 12),
        (Experiment::Throughput(small_throughput()), 24),
        (Experiment::Maxima(small_maxima()), 4 * 3 * 2),
        (Experiment::Predictions(small_predictions()), (3 * 2 * 2 + 3 * 2) * 2),
        (Experiment::Scaling(small_scaling()), 2 * 2),
        (Experiment::CrashMatrix(small_crashes()), 2 * 4 * 2 * 3),
    ];
    for (experiment, runs) in experiments {
        let checked = experiment.check().expect("valid");
        assert_eq!(checked.runs(), runs);
        compare_threads(&checked);
    }
}

fn compare_threads(checked: &CheckedExperiment) {
    let files = |threads| {
        let outcome = checked.run(Some(threads), &Progress::default()).expect("runs");
        assert!(outcome.runs.iter().all(|run| run.failed_checks.is_empty()), "{:?}", outcome.runs);
        outcome.files().expect("files")
    };
    let one = files(1);
    let two = files(2);
    assert_eq!(one.keys().collect::<Vec<_>>(), two.keys().collect::<Vec<_>>());
    for (name, content) in &one {
        assert!(content == &two[name], "{name} differs");
    }
}

#[test]
fn the_table_compares_with_what_was_measured() {
    let outcome = small().check().expect("valid").run(None, &Progress::default()).expect("runs");
    assert_eq!(outcome.rows().len(), 2 * 3 * 5);
    let median = outcome
        .rows()
        .into_iter()
        .find(|row| {
            (&*row.panel, &*row.series, &*row.metric) == ("Hello3", "netherite none", "p50 ms")
        })
        .expect("a row");
    assert_eq!(median.measured, Some(93.68));
    let ratio = median.ratio().expect("both are known");
    assert!(ratio > 0.0 && ratio < 1.0, "{ratio}");
    let slow = outcome.rows().into_iter().find(|row| row.metric == "above 2s").expect("a row");
    assert_eq!((slow.simulated, slow.measured, slow.ratio()), (Some(0.0), None, None));
}

#[test]
fn throughput_is_compared_configuration_by_configuration() {
    let checked = small_throughput().check().expect("valid");
    let outcome = checked.run(None, &Progress::default()).expect("runs");
    assert_eq!((outcome.rows().len(), outcome.runs.len()), (24, 24));
    for (row, run) in outcome.rows().iter().zip(&outcome.runs) {
        assert_eq!((&row.panel, &row.series), (&run.panel, &run.series));
        assert_eq!(row.simulated, run.throughput_per_s, "one seed is its own mean");
        assert!(row.ratio().is_some(), "{row:?}");
    }
    let of = |panel: &str, series: &str, metric: &str| {
        let rows = &mut outcome.rows().into_iter();
        let same = |row: &&experiment::Row| {
            (&*row.panel, &*row.series, &*row.metric) == (panel, series, metric)
        };
        rows.find(same).expect("a row").measured
    };
    assert_eq!(of("EP1 (1 core)", "azure-storage", "1 host, per s"), Some(15.0521));
    assert_eq!(of("EP3 (4 cores)", "netherite", "12 hosts, per s"), Some(1455.6201));
    let conclusion = outcome.conclusion.expect("some were measured");
    assert!(conclusion.contains("of 12"), "{conclusion}");
}

#[test]
fn maxima_are_rates_beside_published_ones() {
    let outcome = small_maxima().check().expect("valid").run(None, &Progress::default());
    let outcome = outcome.expect("runs");
    let ResultTable::Maxima(maxima) = &outcome.table else { panic!("of this kind") };
    assert_eq!(maxima.len(), 4 * 3);
    let first = &maxima[0];
    assert_eq!((&*first.row.metric, first.row.measured), ("EP1, activities per s", Some(250.0)));
    let of_runs = outcome.runs[..2].iter().map(|run| run.throughput_per_s.expect("a rate"));
    let mean = of_runs.sum::<f64>() / 2.0 * 20.0;
    let simulated = first.row.simulated.expect("a rate");
    assert!((simulated - mean).abs() < 0.02, "{simulated}, mean of the seeds {mean}");
    for maximum in maxima {
        let agrees = maximum.row.ratio().is_some_and(|ratio| (0.6..=1.4).contains(&ratio));
        assert_eq!(maximum.agrees, agrees, "{maximum:?}");
        assert_eq!(maximum.source, "netherite gh-pages docs/scenarios.md");
    }
    let agreeing = maxima.iter().filter(|maximum| maximum.agrees).count();
    let conclusion = outcome.conclusion.expect("all were published");
    assert!(conclusion.contains(&format!("{agreeing} of ")), "{conclusion}");
    let mut misspelt = small_maxima();
    misspelt.scenarios[2].published = "C signals to one entitty".to_owned();
    let error = misspelt.check().expect_err("no such scenario").to_string();
    assert!(error.contains("did you mean \"C signals to one entity\"?"), "{error}");
}

#[test]
fn predictions_have_a_row_for_each_configuration() {
    let experiment = small_predictions();
    let outcome = experiment.check().expect("valid").run(None, &Progress::default());
    let outcome = outcome.expect("runs");
    let ResultTable::Predictions(rows) = &outcome.table else { panic!("of this kind") };
    assert_eq!(rows.len(), 3 * 2 * 2 + 3 * 2);
    let bank = &rows[0];
    assert_eq!((&*bank.panel, &*bank.plan, bank.hosts), ("Bank", "EP1", 1));
    assert_eq!((bank.counts.started, bank.counts.completed), (4, 4), "two for each seed");
    assert_eq!(bank.unit, "transactions");
    let words = rows.last().expect("rows");
    assert_eq!((&*words.unit, words.hosts, &*words.plan), ("words", 3, "EP2"));
    for row in rows {
        assert!(row.complete && row.per_s.is_some(), "{row:?}");
        let [p50, p95, p99] = row.latency_ms.map(|latency| latency.expect("completed"));
        assert!(p50 <= p95 && p95 <= p99, "{row:?}");
    }
    let names: Vec<&str> = outcome.figures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["bank", "wordcount-15x40"]);
    let mut misspelt = small_predictions();
    misspelt.panels[0].series[0] = "netherit".to_owned();
    let error = misspelt.check().expect_err("no such series").to_string();
    assert!(error.contains("did you mean \"netherite\"?"), "{error}");
}

#[test]
fn what_a_throughput_experiment_names_must_exist() {
    let refused = |change: fn(&mut ThroughputExperiment), expected: &str| {
        let mut experiment = small_throughput();
        change(&mut experiment);
        let error = experiment.check().expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(
        |it| it.campaign = "vldb-oct-2021__helo.csv".to_owned(),
        "did you mean \"vldb-oct-2021__hello.csv\"?",
    );
    let tag = |it: &mut ThroughputExperiment| {
        it.published.insert("netherite".to_owned(), "nethe".to_owned());
    };
    refused(tag, "did you mean \"neth\"?");
    refused(|it| it.panels[1].plan = "EP9".to_owned(), "EP9");
    refused(|it| it.hosts = vec![4, 1, 8, 12], "ascending");
    refused(|it| it.hosts.truncate(3), "loads of netherite: found \"4\", expected 3, one for each");
    refused(|it| it.hosts.clear(), "hosts: found \"none\"");
    refused(|it| it.seeds = (1..=1_000).collect(), "found \"24000\", expected at most 10000");
    let misspelt = |it: &mut ThroughputExperiment| {
        let loads = it.panels[0].loads["netherite"].clone();
        it.panels[0].loads.insert("netherit".to_owned(), loads);
    };
    refused(misspelt, "did you mean \"netherite\"?");
}

#[test]
fn what_an_experiment_names_must_exist() {
    let mut experiment = small();
    experiment.panels[0].published.insert("azure-storage".to_owned(), "hello-orgi".to_owned());
    let error = experiment.check().expect_err("no such row").to_string();
    assert!(error.contains("did you mean \"hello-orig\"?"), "{error}");
    let mut experiment = small();
    experiment.panels[0].published_slow.insert("azur-storage".to_owned(), 0.1);
    let error = experiment.check().expect_err("no such series").to_string();
    assert!(error.contains("did you mean \"azure-storage\"?"), "{error}");
    let mut experiment = small();
    experiment.seeds.clear();
    assert!(experiment.check().is_err());
    let mut experiment = small();
    experiment.series[1].label = experiment.series[0].label.clone();
    assert!(experiment.check().is_err());
}
