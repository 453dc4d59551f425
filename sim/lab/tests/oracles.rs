//! The oracles on whole runs: what a run that goes well shows, one that is cut off, and one on an engine
//! that does not promise everything.

use sim_lab::checks::{Check, Verdict};
use sim_lab::explore::Regression;
use sim_lab::history::export::{self, Form};
use sim_lab::progress::Progress;
use sim_lab::results;
use sim_lab::run::{RunOptions, RunOutcome, run_with};
use sim_lab::spec::RunSpec;
use std::path::Path;
use std::time::Duration;

fn spec(engine: &str, workload: &str, load: &str) -> RunSpec {
    RunSpec {
        engine: engine.to_owned(),
        workload: workload.parse().expect("a workload"),
        load: load.parse().expect("a load"),
        hosts: 2,
        ..RunSpec::default()
    }
}

fn run(spec: &RunSpec, options: &RunOptions) -> RunOutcome {
    let checked = spec.check().expect("a valid specification");
    run_with(&checked, &Progress::default(), options).expect("it can be carried out")
}

fn check<'a>(outcome: &'a RunOutcome, name: &str) -> &'a Check {
    let found = outcome.summary.checks.iter().find(|check| check.name == name);
    found.unwrap_or_else(|| panic!("no check {name}: {:?}", outcome.summary.checks))
}

#[test]
fn entities_and_sections_are_judged_on_every_engine() {
    for engine in [
        "azure-storage",
        "in-memory",
        "internet-computer",
        "netherite",
        "sql-server",
        "triggerflow",
    ] {
        let outcome = run(
            &spec(engine, "bank:variant=random,accounts=5", "batch:20"),
            &RunOptions::default(),
        );
        for (name, detail) in [
            ("linearizable-entities", "60 operations on 5 entities"),
            ("linearizable-reads", "5 status reads on 5 entities"),
            ("isolated-sections", "20 critical sections, 60 accesses to entities"),
            ("durability", "25 instances are as was told"),
        ] {
            let check = check(&outcome, name);
            assert_eq!((check.verdict, &*check.detail), (Verdict::Pass, detail), "{engine} {name}");
        }
        assert!(check(&outcome, "fifo-between-instances").detail.contains("messages between"));
        assert!(outcome.stuck.is_empty());
    }
}

#[test]
fn keeping_the_history_changes_nothing_and_shows_every_call() {
    let spec = spec("netherite", "bank", "batch:5");
    let plain = run(&spec, &RunOptions::default());
    let kept = run(&spec, &RunOptions { keep_history: true, ..RunOptions::default() });
    assert_eq!(plain.summary, kept.summary);
    assert_eq!(plain.history, None);
    let history = kept.history.expect("it was asked for");
    let count = |function: &str| history.iter().filter(|seen| seen.function == function).count();
    assert_eq!((count("start"), count("Get"), count("Add"), count("status")), (5, 5, 10, 10));
    assert!(history.iter().all(|seen| seen.end.is_some()), "everyone was answered");
    assert_eq!(export::write(&history, Form::Jsonl).lines().count(), 30);
    assert_eq!(export::write(&history, Form::Edn).lines().count(), 60);
}

#[test]
fn a_run_that_is_cut_off_tells_what_everything_waits_for() {
    let spec = spec("netherite", "hello", "batch:10");
    let options = RunOptions { bound: Duration::from_millis(60), ..RunOptions::default() };
    let outcome = run(&spec, &options);
    assert_eq!(outcome.stuck.len(), 10);
    let known = ["step", "message", "activity", "start"];
    for stuck in &outcome.stuck {
        assert!(known.contains(&stuck.waiting.kind), "{stuck}");
    }
    let told = &check(&outcome, "completion").history;
    assert_eq!(told.len(), 3, "the first ones");
    assert!(told[0].contains(" waits for "), "{told:?}");
    assert_eq!(check(&outcome, "durability").verdict, Verdict::Observed);
    let checked = spec.check().expect("a valid specification");
    let files = results::files(&checked, &outcome).expect("files");
    let table = String::from_utf8(files["stuck.csv"].clone()).expect("text");
    assert_eq!(table.lines().count(), 11, "{table}");
    assert!(table.starts_with("instance,at_ns,waits_for,since_ns,detail\n"), "{table}");
}

#[test]
fn a_breach_tells_its_history_with_hosts_and_instants() {
    let outcome = run(&spec("azure-storage", "sequence", "batch:20"), &RunOptions::default());
    let check = check(&outcome, "causally-consistent-commit");
    assert_eq!(check.verdict, Verdict::Observed, "{}", check.detail);
    let history = check.history.join("\n");
    assert!(history.contains("is committed, as number"), "{history}");
    assert!(history.contains(" on worker-"), "{history}");
    let instants: Vec<f64> = check
        .history
        .iter()
        .map(|line| line.split(' ').next().and_then(|at| at.parse().ok()).expect("an instant"))
        .collect();
    assert!(instants.is_sorted(), "{history}");
}

/// The specification of a run that was kept as a file, from the root of the tree.
fn kept(file: &str) -> RunSpec {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    Regression::load(&path).expect("it was kept").run
}

#[test]
fn a_state_that_is_told_late_is_observed_and_one_that_is_wrong_fails() {
    let late = kept("experiments/regressions/azure-storage-entity-told-late.toml");
    let outcome = run(&late, &RunOptions::default());
    let entities = check(&outcome, "entities");
    assert_eq!(entities.verdict, Verdict::Observed, "{}", entities.detail);
    assert!(entities.detail.starts_with("a client is told what an earlier step left: @Account"));
    assert_eq!(check(&outcome, "durability").verdict, Verdict::Observed);

    // An engine that promises as little, and whose entities are left in a wrong state by a mechanism that is off.
    let mut wrong = spec("azure-storage", "periodic:ticks=3", "batch:4");
    (wrong.hosts, wrong.partitions, wrong.seed) = (3, 3, 8_000_000_162);
    for (key, value) in
        [("local_wake_up", "false"), ("message_sorter", "false"), ("step_order", "history-first")]
    {
        wrong.settings.insert(format!("azure-storage.{key}"), value.to_owned());
    }
    wrong.faults = [
        "power-loss:host=0,at=1ms,for=587ms",
        "duplicate:from=worker-0,to=*,one_way=false,probability=0.303,at=153ms,for=5034ms",
    ]
    .map(|fault| fault.parse().expect("a fault"))
    .to_vec();
    let outcome = run(&wrong, &RunOptions::default());
    assert_eq!(check(&outcome, "entities").verdict, Verdict::Fail);
}

#[test]
fn who_asks_in_vain_for_what_lost_steps_have_is_observed_and_who_is_not_answered_fails() {
    let grants = kept("experiments/regressions/azure-storage-grants-nobody-knows.toml");
    let outcome = run(&grants, &RunOptions::default());
    let completion = check(&outcome, "completion");
    assert_eq!(completion.verdict, Verdict::Observed, "{}", completion.detail);
    let why = "an entity does what steps that were lost had asked of it: 3 of 3 did not end";
    assert!(completion.detail.starts_with(why), "{}", completion.detail);

    // Cut off before the steps have run again: the engine owes everybody something.
    let options = RunOptions { bound: Duration::from_secs(60), ..RunOptions::default() };
    let outcome = run(&grants, &options);
    assert_eq!(check(&outcome, "completion").verdict, Verdict::Fail);

    // An engine that loses answers.
    let lost =
        kept("results/ablations/plan-azure-storage-out_of_order_rule-step_order-send-first.toml");
    let outcome = run(&lost, &RunOptions::default());
    assert_eq!(check(&outcome, "completion").verdict, Verdict::Fail);
}

#[test]
fn an_operation_that_came_before_its_lock_is_observed() {
    for late in ["lock-not-held", "lock-asked-again"] {
        let run_kept = kept(&format!("experiments/regressions/azure-storage-{late}.toml"));
        let outcome = run(&run_kept, &RunOptions::default());
        let completion = check(&outcome, "completion");
        assert_eq!(completion.verdict, Verdict::Observed, "{}", completion.detail);
        let why = "steps that were lost had asked for locks: ";
        assert!(completion.detail.starts_with(why), "{}", completion.detail);
    }
}
