use super::*;

fn asked() -> Saturation {
    let place = RunSpec { hosts: 1, partitions: 2, plan: "EP1".to_owned(), ..RunSpec::default() };
    Saturation {
        place: RunSpec { workload: "hello:length=1".parse().expect("a workload"), ..place },
        target: "p90<300ms".parse().expect("a target"),
        completes: 0.9,
        rates: Rates { start: 40.0, min: 5.0, max: 2_000.0, tolerance: 0.2 },
        duration: Duration::from_secs(3),
        settle: Duration::from_secs(2),
        seeds: vec![1, 2],
    }
}

#[test]
fn a_search_is_deterministic_and_brackets_its_rate() {
    let run = |threads| {
        let checked = asked().check().expect("valid");
        checked.run(Some(threads), &Progress::default()).expect("carried out")
    };
    let (one, two) = (run(1), run(2));
    assert_eq!(one.files().expect("drawn"), two.files().expect("drawn"));
    let rate = one.rate_per_s.expect("found");
    let interval = one.interval.expect("two seeds");
    assert!(interval.contains(rate) && !one.at_least, "{rate} {interval:?}");
    for search in &one.searches {
        let (met, unmet) = (search.bracket.met.expect("met"), search.bracket.unmet.expect("not"));
        assert!(unmet / met <= 1.2, "{search:?}");
        let last = |rate: f64| search.trail.iter().find(|trial| trial.rate_per_s == rate);
        assert_eq!(last(met).expect("tried").judgement, Judgement::Met);
        assert_ne!(last(unmet).expect("tried").judgement, Judgement::Met);
    }
    let files = one.files().expect("drawn");
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let expected =
        ["saturation.png", "saturation.svg", "saturation.toml", "summary.json", "table.csv"];
    assert_eq!(names, expected);
}

#[test]
fn a_target_that_nothing_meets_has_no_rate() {
    let asked = Saturation {
        target: "p50<1us".parse().expect("a target"),
        rates: Rates { start: 10.0, min: 5.0, max: 20.0, tolerance: 0.2 },
        ..asked()
    };
    let outcome = asked.check().expect("valid").run(Some(1), &Progress::default());
    let outcome = outcome.expect("carried out");
    assert_eq!((outcome.rate_per_s, outcome.interval), (None, None));
    assert!(outcome.searches.iter().all(|search| (2..=3).contains(&search.trail.len())));
}

#[test]
fn what_cannot_be_searched_for_is_refused() {
    let target = |text: &str| text.parse().expect("a bound");
    for (asked, message) in [
        (
            Saturation { target: target("throughput>5"), ..asked() },
            "target: found \"throughput>5\"",
        ),
        (Saturation { target: target("p95>5ms"), ..asked() }, "target: found \"latency.p95>5ms\""),
        (Saturation { target: target("p95<0"), ..asked() }, "target: found \"latency.p95<0ms\""),
        (Saturation { completes: 0.0, ..asked() }, "completes: found \"0\""),
        (Saturation { seeds: vec![], ..asked() }, "seeds: found \"none\""),
        (
            Saturation { duration: Duration::from_secs(7_200), ..asked() },
            "load open: rate times duration: found",
        ),
    ] {
        let error = asked.check().expect_err(message).to_string();
        assert!(error.starts_with(message), "{error}");
    }
}
