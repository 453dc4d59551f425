use super::*;

fn embedded(name: &str) -> TimelineExperiment {
    match super::super::named(name) {
        Ok(Experiment::Timeline(experiment)) => experiment,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_timeline_cannot_show_is_refused_by_name() {
    let refusal = |name: &str, change: fn(&mut TimelineExperiment)| {
        let mut experiment = embedded(name);
        change(&mut experiment);
        experiment.check().expect_err("refused").to_string()
    };
    let nothing = refusal("recovery", |asked| asked.panels[0].host_events.clear());
    assert!(nothing.contains("host_events") && nothing.contains("or a fault"), "{nothing}");
    let levels = refusal("recovery", |asked| asked.panels[0].levels = vec!["workers".to_owned()]);
    assert!(levels.contains("levels in a timeline of levels"), "{levels}");
    let none = refusal("triggerflow-scaling", |asked| asked.panels[0].levels.clear());
    assert!(none.contains("levels in a timeline of levels"), "{none}");
    let window = refusal("recovery-operations", |asked| asked.window = "1500ms".to_owned());
    assert!(window.contains("whole seconds"), "{window}");
    let shown = refusal("triggerflow-scaling", |asked| asked.panels[0].shown = None);
    assert!(shown.contains("windows in the load"), "{shown}");
    let late = refusal("recovery-operations", |asked| {
        asked.panels[0].faults = vec!["outage:service=blob,at=1h,for=5s".parse().expect("a fault")];
    });
    assert!(late.contains("during the load"), "{late}");
}

#[test]
fn operations_are_counted_from_the_start_of_the_load() {
    let mut experiment = embedded("recovery-operations");
    experiment.seeds = vec![1];
    experiment.panels.truncate(1);
    let panel = &mut experiment.panels[0];
    panel.load = "open:rate=10,duration=20s,settle=3s".parse().expect("a load");
    panel.host_events = vec!["pause:host=1,at=8s,for=1s".parse().expect("an event")];
    panel.faults.clear();
    let checked = experiment.check().expect("valid");
    let job = &checked.jobs[0];
    let outcome = crate::run::run(&job.spec, &Progress::default()).expect("carried out");
    let wanted = Wanted {
        panel: &checked.experiment.panels[0],
        window: checked.window,
        measure: TimelineMeasure::Operations,
        counters: &[],
    };
    let counted: f64 = Measured::of(&outcome, &wanted).curves[0].iter().sum();
    let from = |series: &sim_world::meter::OperationSeries| -> u32 {
        series.per_second.iter().skip(3).take(20).sum()
    };
    let stored = outcome.operation_series.iter().filter(|series| series.service != "network");
    assert_eq!(counted, f64::from(stored.map(from).sum::<u32>()));
    assert!(counted > 0.0);
}
