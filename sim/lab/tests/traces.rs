//! Traces and critical paths on every engine: they follow the rules of their formats, sum to what the run
//! reports, and change nothing.

use rustc_hash::FxHashMap;
use serde_json::Value;
use sim_lab::critical_path::Element;
use sim_lab::explain::{Choice, Explained, NotExplained};
use sim_lab::progress::Progress;
use sim_lab::registry;
use sim_lab::run::{RunOptions, RunOutcome, run_with};
use sim_lab::spec::RunSpec;
use sim_lab::trace::{TraceOptions, Window};
use sim_lab::workload::Orchestrations;
use std::collections::{BTreeMap, BTreeSet};

fn spec(engine: &str, workload: &str) -> RunSpec {
    RunSpec {
        engine: engine.to_owned(),
        workload: workload.parse().expect("a workload"),
        load: "batch:12".parse().expect("a load"),
        hosts: 2,
        ..RunSpec::default()
    }
}

fn run(spec: &RunSpec, options: &RunOptions) -> RunOutcome {
    let checked = spec.check().expect("a valid specification");
    run_with(&checked, &Progress::default(), options).expect("it can be carried out")
}

fn traced() -> RunOptions {
    RunOptions { trace: Some(TraceOptions::default()), ..RunOptions::default() }
}

fn engines() -> Vec<&'static str> {
    registry::engines().iter().map(|engine| engine.name()).collect()
}

/// The events of a written trace, and the rest of it.
fn written(outcome: &RunOutcome) -> (Vec<Value>, Value) {
    let trace = outcome.trace.as_ref().expect("it was asked for");
    let mut json: Value = serde_json::from_str(&trace.write(&outcome.summary)).expect("JSON");
    assert!(json.get("displayTimeUnit").is_none(), "it would change the unit of times");
    let events = json["traceEvents"].take().as_array().expect("a list").clone();
    (events, json["otherData"].take())
}

type Track = (u64, u64);

fn track(event: &Value) -> Track {
    let number = |field: &str| event[field].as_u64().unwrap_or_else(|| panic!("{field}: {event}"));
    (number("pid"), number("tid"))
}

/// A time in whole nanoseconds; a duration may have been written a tenth of one shorter.
fn nanos(event: &Value, field: &str) -> u64 {
    let micros = event[field].as_f64().unwrap_or_else(|| panic!("{field}: {event}"));
    let nanos = (micros * 1e3).round();
    let shorter = if field == "dur" { 0.101 } else { 0.001 };
    assert!((nanos - shorter..nanos + 0.001).contains(&(micros * 1e3)), "{field}: {event}");
    nanos as u64
}

/// Holds a trace against the rules of the format, and returns the names of its processes and how many
/// events there are of each category.
fn validate(events: &[Value]) -> (BTreeSet<String>, BTreeMap<String, usize>) {
    let (mut processes, mut threads) = (BTreeMap::new(), BTreeSet::new());
    let mut last: FxHashMap<Track, u64> = FxHashMap::default();
    let mut open: FxHashMap<Track, Vec<u64>> = FxHashMap::default();
    let mut spans: FxHashMap<Track, Vec<(u64, u64)>> = FxHashMap::default();
    let mut arrows: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for event in events {
        let phase = event["ph"].as_str().expect("a phase");
        if phase == "M" {
            let pid = event["pid"].as_u64().expect("a process");
            match event["name"].as_str() {
                Some("process_name") => {
                    let name = event["args"]["name"].as_str().expect("a name").to_owned();
                    assert!(processes.insert(pid, name).is_none(), "named once: {event}");
                }
                Some("thread_name") => assert!(threads.insert(track(event)), "once: {event}"),
                _ => assert!(event["args"]["sort_index"].is_u64(), "{event}"),
            }
            continue;
        }
        let (track, at) = (track(event), nanos(event, "ts"));
        assert!(processes.contains_key(&track.0) && threads.contains(&track), "named: {event}");
        assert!(event["name"].is_string() && event["cat"].is_string(), "{event}");
        assert!(last.insert(track, at).is_none_or(|before| before <= at), "monotone: {event}");
        *counts.entry(event["cat"].as_str().expect("seen").to_owned()).or_insert(0) += 1;
        match phase {
            "X" => {
                let end = at + nanos(event, "dur");
                let number = |field: &str| event[field].as_f64().expect("seen");
                let neighbour = format!("{}.{:03}", end / 1_000, end % 1_000);
                let neighbour: f64 = neighbour.parse().expect("a number");
                assert!(number("ts") + number("dur") <= neighbour, "in binary, too: {event}");
                let open = open.entry(track).or_default();
                open.retain(|outer| *outer > at);
                assert!(open.iter().all(|outer| end <= *outer), "nested: {event}");
                open.push(end);
                spans.entry(track).or_default().push((at, end));
            }
            "i" => assert_eq!(event["s"], "t", "{event}"),
            "s" | "f" => {
                arrows.entry(event["id"].as_u64().expect("an id")).or_default().push(event)
            }
            other => panic!("phase {other}"),
        }
    }
    for ends in arrows.values() {
        let [begin, end] = ends[..] else { panic!("two ends: {ends:?}") };
        assert_eq!((&begin["ph"], &end["ph"], &end["bp"]), (&"s".into(), &"f".into(), &"e".into()));
        assert_eq!((&begin["cat"], &begin["name"]), (&end["cat"], &end["name"]));
        assert!(nanos(begin, "ts") <= nanos(end, "ts"), "cause before effect: {ends:?}");
        for one in ends {
            let at = nanos(one, "ts");
            let holds = |(from, until): &(u64, u64)| *from <= at && (at < *until || from == until);
            assert!(spans[&track(one)].iter().any(holds), "an arrow in a span: {one}");
        }
    }
    (processes.into_values().collect(), counts)
}

#[test]
fn a_trace_follows_the_rules_and_changes_nothing_on_every_engine() {
    for engine in engines() {
        let spec = spec(engine, "hello:length=3");
        let plain = run(&spec, &RunOptions::default());
        let outcome = run(&spec, &traced());
        assert_eq!(outcome.summary, plain.summary, "{engine}");
        assert_eq!(outcome.trail, plain.trail, "{engine}: event for event");
        let (events, about) = written(&outcome);
        let (processes, counts) = validate(&events);
        assert_eq!(about["digest"], plain.summary.digest, "{engine}");
        assert!(about.get("cut_at_us").is_none(), "{engine}: {about}");
        assert!(processes.contains("orchestrations"), "{engine}: {processes:?}");
        assert!(processes.iter().any(|name| name.starts_with("host ")), "{engine}: {processes:?}");
        // 12 orchestrations of 3 activities and 4 steps; a message to and from each activity, both ends.
        for (category, expected) in
            [("life", 12), ("step", 48), ("task", 36), ("message", 144), ("start", 24)]
        {
            assert_eq!(counts.get(category), Some(&expected), "{engine}: {category}: {counts:?}");
        }
        let partitioned = ["azure-storage", "netherite"].contains(&engine);
        assert_eq!(processes.contains("partitions"), partitioned, "{engine}: {processes:?}");
        let operations = plain.summary.operations.values().sum::<u64>() as usize;
        let requests = counts.get("served").copied().unwrap_or(0);
        assert!(requests <= operations && requests * 10 >= operations * 9, "{engine}: {counts:?}");
    }
}

#[test]
fn traces_of_all_kinds_of_work_follow_the_rules() {
    // Entities and sections; timers and lives that go on; sub-orchestrations; jobs.
    for workload in [
        "bank",
        "periodic:ticks=3",
        "fanout:width=5",
        "collision:billions=1",
        "producerconsumer:batches=2,batch_size=5",
    ] {
        for engine in engines() {
            let mut spec = spec(engine, workload);
            spec.load = if workload.starts_with("producer") { "batch:1" } else { "batch:3" }
                .parse()
                .expect("a load");
            let checked = spec.check().expect("a valid specification");
            // An engine may refuse a workload.
            let Ok(outcome) = run_with(&checked, &Progress::default(), &traced()) else { continue };
            validate(&written(&outcome).0);
        }
    }
}

/// What a run explains of one of its orchestrations.
fn explain(spec: &RunSpec, choice: Choice) -> (RunOutcome, Result<Explained, NotExplained>) {
    let options = RunOptions { explain: Some(choice), ..RunOptions::default() };
    let mut outcome = run(spec, &options);
    let explained = outcome.explained.take().expect("it was asked for");
    (outcome, explained)
}

#[test]
fn critical_paths_sum_to_the_columns_of_the_breakdown_on_every_engine() {
    for workload in ["hello:length=3", "bank", "fanout:width=5", "collision:billions=1"] {
        for engine in engines() {
            for choice in [Choice::Slowest, Choice::Percentile(50.0), Choice::Percentile(0.0)] {
                let mut spec = spec(engine, workload);
                spec.load = "batch:3".parse().expect("a load");
                let (outcome, explained) = explain(&spec, choice.clone());
                let path = explained.expect("something has ended").path;
                assert_eq!(path.check(), Ok(()), "{engine} {workload}");
                let workload_of = spec.check().expect("valid").build_workload();
                let orchestrations = Orchestrations::new(workload_of, outcome.naming);
                let index = orchestrations.index_of(&path.instance).expect("one of the load");
                let record = outcome.records[index as usize];
                assert_eq!(Some(path.timing), record.timing, "{engine} {workload}");
                assert_eq!(path.latency(), record.latency(), "{engine} {workload}");
                let latencies = outcome.records.iter().map(|record| record.latency());
                match choice {
                    Choice::Slowest => assert_eq!(Some(path.latency()), latencies.max()),
                    Choice::Percentile(0.0) => assert_eq!(Some(path.latency()), latencies.min()),
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn a_path_leads_through_the_work_items_of_the_orchestration_on_every_engine() {
    for engine in engines() {
        let spec = spec(engine, "hello:length=3");
        let (_, explained) = explain(&spec, Choice::Slowest);
        let path = explained.expect("all have ended").path;
        let turns: Vec<&str> = path
            .elements
            .iter()
            .filter_map(|element| match element {
                Element::Turn(turn) => Some(turn.words.as_str()),
                Element::Stretch(_) => None,
            })
            .collect();
        // A client, three calls, three answers, the end.
        assert_eq!(turns.len(), 8, "{engine}: {turns:#?}");
        assert!(turns[0].starts_with("a client sends"), "{engine}: {turns:#?}");
        for call in [1, 3, 5] {
            let (call, answer) = (turns[call], turns[call + 1]);
            assert!(call.contains("calls an activity"), "{engine}: {turns:#?}");
            assert!(answer.contains(&format!("answers {}", path.instance)), "{engine}: {turns:#?}");
        }
        assert!(turns[7].ends_with("ends the orchestration"), "{engine}: {turns:#?}");
        assert_eq!(path.uncounted.total().as_nanos(), 0, "{engine}");
    }
}

#[test]
fn explaining_changes_nothing() {
    for engine in engines() {
        let spec = spec(engine, "hello:length=3");
        let (outcome, _) = explain(&spec, Choice::Slowest);
        assert_eq!(outcome.trail, run(&spec, &RunOptions::default()).trail, "{engine}");
    }
}

#[test]
fn an_orchestration_is_found_by_the_begin_of_its_name() {
    let spec = spec("in-memory", "hello");
    let (outcome, _) = explain(&spec, Choice::Slowest);
    let orchestrations =
        Orchestrations::new(spec.check().expect("valid").build_workload(), outcome.naming);
    let name = orchestrations.instance(3).to_string();
    for given in [&name[..], &name[..name.len() - 2]] {
        let (_, explained) = explain(&spec, Choice::Named(given.to_owned()));
        assert_eq!(explained.expect("found").path.instance.as_str(), name);
    }
    let refused = |given: &str| explain(&spec, Choice::Named(given.to_owned())).1.expect_err(given);
    let text = refused("zzz").to_string();
    assert!(text.starts_with("no orchestration is named \"zzz\""), "{text}");
    let near = format!("{}x", &name[..name.len() - 1]);
    let text = refused(&near).to_string();
    assert!(text.contains("did you mean"), "{text}");
    assert!(matches!(refused("0"), NotExplained::Ambiguous { count: 12, .. }));
}

#[test]
fn faults_are_on_the_tracks_of_what_they_concern() {
    let mut spec = spec("netherite", "hello:length=3");
    spec.load = "open:rate=10,duration=4s".parse().expect("a load");
    for fault in [
        "crash:host=0,at=1s,for=1s",
        "outage:service=blob,at=500ms,for=100ms",
        "cut:from=worker-1,to=queue,at=2s,for=300ms",
    ] {
        spec.faults.push(fault.parse().expect("a fault"));
    }
    spec.host_events.push("pause:host=1,at=3s,for=200ms".parse().expect("an event"));
    let outcome = run(&spec, &traced());
    let (events, _) = written(&outcome);
    validate(&events);
    let names: FxHashMap<u64, &str> = events
        .iter()
        .filter(|event| event["name"] == "process_name")
        .map(|event| (event["pid"].as_u64().expect("a number"), event["args"]["name"].as_str()))
        .filter_map(|(pid, name)| Some((pid, name?)))
        .collect();
    let faults = events.iter().filter(|event| event["cat"] == "fault");
    let seen: BTreeSet<(String, String, u64, u64)> = faults
        .map(|event| {
            let process = names[&track(event).0].to_owned();
            let kind = event["name"].as_str().expect("a name").to_owned();
            (process, kind, nanos(event, "ts") / 1_000_000, nanos(event, "dur") / 1_000_000)
        })
        .collect();
    // Counted from the end of the settle time of 2 s.
    let expected = [
        ("host worker-0", "crash", 3_000, 1_000),
        ("host worker-1", "cut", 4_000, 300),
        ("host worker-1", "pause", 5_000, 200),
        ("service blob", "outage", 2_500, 100),
    ];
    let expected = expected.map(|(a, b, from, dur)| (a.to_owned(), b.to_owned(), from, dur));
    assert_eq!(seen, BTreeSet::from(expected));
}

#[test]
fn a_window_and_a_limit_leave_out_the_rest() {
    let mut spec = spec("netherite", "hello:length=3");
    spec.load = "open:rate=20,duration=3s".parse().expect("a load");
    let with = |window: &str, events_max: u64| {
        let window: Window = window.parse().expect("a window");
        let trace = Some(TraceOptions { window, events_max });
        run(&spec, &RunOptions { trace, ..RunOptions::default() })
    };
    let part = with("3s..3500ms", 1_000_000);
    let (events, _) = written(&part);
    validate(&events);
    for event in events.iter().filter(|event| event["ph"] == "X" && event["cat"] == "step") {
        let from = nanos(event, "ts");
        let until = from + nanos(event, "dur");
        assert!(from < 3_500_000_000 && until >= 3_000_000_000, "{event}");
    }
    let cut = with("0s..", 500);
    let (events, about) = written(&cut);
    validate(&events);
    let trace = cut.trace.as_ref().expect("asked for");
    assert!(trace.events.len() <= 500 && trace.events.len() > 300, "{}", trace.events.len());
    let at = trace.cut.expect("there is more").at;
    let spans = events.iter().filter(|event| event["ph"] == "X");
    assert!(spans.map(|span| nanos(span, "ts")).all(|from| from <= at.as_nanos()));
    assert_eq!(about["cut_at_us"], at.as_nanos() / 1_000);
    assert!(about["left_out"].as_u64().expect("a number") > 500, "{about}");
}
