use super::*;

fn asked(parameters: &[&str]) -> Sensitivity {
    let base = RunSpec {
        engine: "netherite".to_owned(),
        workload: "hello:length=2".parse().expect("a workload"),
        load: "open:rate=20,duration=2s".parse().expect("a load"),
        hosts: 2,
        partitions: 4,
        ..RunSpec::default()
    };
    Sensitivity {
        base,
        metric: Metric::named("p50").expect("a metric"),
        parameters: parameters.iter().map(|name| (*name).to_owned()).collect(),
        factor: 2.0,
        seeds: vec![1, 2, 3],
    }
}

fn outcome(asked: &Sensitivity, threads: usize) -> SensitivityOutcome {
    asked.check().expect("valid").run(Some(threads), &Progress::default()).expect("carried out")
}

#[test]
fn the_cost_of_a_step_moves_the_latency_and_an_unused_service_does_not() {
    let asked = asked(&["profile.cpu.step", "profile.services.queue", "netherite.speculation"]);
    let found = outcome(&asked, 1);
    let row = |name: &str| {
        let row = found.parameters.iter().find(|row| row.name == name);
        row.unwrap_or_else(|| panic!("{name}"))
    };
    let step = row("profile.cpu.step");
    assert_eq!(step.default, "1.4 ms");
    let changes: Vec<(&str, f64)> = step
        .values
        .iter()
        .map(|value| match &value.effect {
            Effect::Change(change) => (value.value.as_str(), change.difference),
            other => panic!("{other:?}"),
        })
        .collect();
    // Three steps of 1.4 ms lie on the way of each orchestration; cores have little to queue for.
    let [("0.7 ms", less), ("2.8 ms", more)] = changes[..] else { panic!("{changes:?}") };
    assert!((-4.0..-1.5).contains(&less) && (3.0..8.0).contains(&more), "{changes:?}");
    let swing = step.swing.as_ref().expect("measured");
    assert_eq!((swing.lowest_at.as_str(), swing.highest_at.as_str()), ("0.7 ms", "2.8 ms"));
    assert!((swing.difference.difference - (more - less)).abs() < 1e-9);
    assert!(row("profile.services.queue.latency.put").has_no_effect(), "no queue is used");
    let speculation = row("netherite.speculation");
    assert!(speculation.values.iter().any(|value| value.value == "none"), "{speculation:?}");
    let swings: Vec<f64> = found
        .parameters
        .iter()
        .filter_map(|row| row.swing.as_ref())
        .map(|swing| swing.difference.difference)
        .collect();
    assert!(swings.is_sorted_by(|one, next| one >= next), "{swings:?}");
}

#[test]
fn an_analysis_is_the_same_on_any_number_of_threads_and_draws_itself() {
    let asked = asked(&["profile.cpu.step", "profile.cpu.activity"]);
    let files = outcome(&asked, 1).files().expect("drawn");
    assert_eq!(files, outcome(&asked, 3).files().expect("drawn"));
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "sensitivity.png",
            "sensitivity.svg",
            "sensitivity.toml",
            "spec.toml",
            "summary.json",
            "table.csv"
        ]
    );
    let table = String::from_utf8(files["table.csv"].clone()).expect("text");
    assert_eq!(table.lines().count(), 5, "{table}");
}

#[test]
fn what_cannot_be_analysed_is_refused() {
    for (asked, message) in [
        (Sensitivity { factor: 1.0, ..asked(&[]) }, "factor: found \"1\", expected a factor"),
        (Sensitivity { factor: f64::NAN, ..asked(&[]) }, "factor: found \"NaN\""),
        (Sensitivity { seeds: vec![], ..asked(&[]) }, "seeds: found \"none\""),
        (
            asked(&["profile.cpu.stpe"]),
            "parameter: found \"profile.cpu.stpe\", expected settings, profile, a setting such as",
        ),
    ] {
        let error = asked.check().expect_err(message).to_string();
        assert!(error.starts_with(message), "{error}");
        let named = error.contains("stpe");
        assert!(!named || error.ends_with("; the nearest is \"profile.cpu.step\""), "{error}");
    }
    let safety = asked(&[]).check().expect("valid");
    assert!(!safety.parameters.iter().any(|parameter| parameter.name == "netherite.dedup"));
    let named = asked(&["netherite.dedup"]).check().expect("valid");
    assert_eq!(named.parameters(), 1, "a switch of safety, by its name");
}
