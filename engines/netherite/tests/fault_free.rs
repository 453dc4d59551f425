//! Runs of the whole engine in a small world without faults.

mod stage;

use engine_netherite::Netherite;
use futures_util::future::join_all;
use sim_model::application::{ActivityContext, Application};
use sim_model::engine::{Completion, Deployment, Engine, Observer};
use sim_model::graph::GraphRecorder;
use sim_model::id::InstanceId;
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::settings::Settings;
use sim_world::kernel::{KernelOptions, on_fresh_thread, simulate};
use sim_world::profile::Profile;
use sim_world::world::{Deployment as Machines, World};
use stage::{Outcome, Play, SPECULATION, Stage, request, stage};
use std::rc::Rc;

/// A chain of activities, and an orchestration that starts others.
fn application() -> Application {
    let mut app = Application::new();
    app.activity("SayHello", |_: ActivityContext, city: String| async move {
        Ok(format!("Hello {city}!"))
    });
    app.orchestration("Hello", |ctx: OrchestrationContext, n: u32| async move {
        let mut greetings = Vec::new();
        for number in 0..n {
            greetings.push(ctx.call_activity::<String>("SayHello", &number.to_string()).await?);
        }
        Ok(greetings)
    });
    app.orchestration("Launch", |ctx: OrchestrationContext, n: u32| async move {
        for number in 0..n {
            let child = format!("{}-{number}", ctx.instance_id());
            ctx.start_orchestration("Hello", InstanceId::new(child), &3)?;
        }
        Ok(())
    });
    app
}

/// [`run_in`] the standard profile.
fn run(
    seed: u64,
    hosts: u32,
    sets: &'static [(&'static str, &'static str)],
    requests: Vec<(String, &'static str, u32)>,
    expected: usize,
) -> Outcome<()> {
    run_in(Stage { seed, sets, ..stage(application).on(hosts) }, requests, expected)
}

/// Starts `requests`, all at once on host 0, and waits for `expected` completions.
fn run_in(
    stage: Stage,
    requests: Vec<(String, &'static str, u32)>,
    expected: usize,
) -> Outcome<()> {
    stage.play(async move |play: Rc<Play>| {
        let client = play.client();
        let starts =
            requests.iter().map(|(id, name, input)| client.start(request(id, name, input)));
        for started in join_all(starts).await {
            started.expect("accepted");
        }
        play.ended(expected).await;
    })
}

fn hellos(count: u32, length: u32) -> Vec<(String, &'static str, u32)> {
    (0..count).map(|number| (format!("hello-{number}"), "Hello", length)).collect()
}

fn latencies_ms(outcome: &Outcome<()>) -> Vec<f64> {
    let latency = |done: &Completion| done.last_updated.since(done.created).as_secs_f64() * 1e3;
    let mut latencies: Vec<f64> = outcome.completions.iter().map(latency).collect();
    latencies.sort_by(f64::total_cmp);
    latencies
}

#[test]
fn a_run_completes_and_breaks_no_rule() {
    for sets in SPECULATION {
        let outcome = run(1, 2, sets, hellos(50, 5), 50).sound();
        assert_eq!(outcome.counter("instances"), 50);
        for done in &outcome.completions {
            let RuntimeStatus::Completed(result) = &done.status else {
                panic!("{} ended as {:?}", done.instance, done.status);
            };
            let expected = "[\"Hello 0!\",\"Hello 1!\",\"Hello 2!\",\"Hello 3!\",\"Hello 4!\"]";
            assert_eq!(result.as_str(), expected);
            let timing = done.ledger.settle(done.created, done.last_updated);
            assert_eq!(timing.total(), done.last_updated.since(done.created));
        }
    }
}

#[test]
fn one_seed_is_one_run() {
    let digest = |seed| run(seed, 3, &[], hellos(20, 3), 20).digest;
    assert_eq!(digest(7), digest(7));
    assert_ne!(digest(7), digest(8));
}

#[test]
fn a_chain_costs_the_log_events_of_the_published_engine() {
    // Creation in two phases, n + 1 steps, n activities, one confirmation of the creation's answer.
    let local = run(1, 1, &[], hellos(1, 5), 1);
    assert_eq!(local.counter("log_events"), 2 + 6 + 5 + 1);
    // Without speculation each step is logged a second time once it is durable.
    let none = run(1, 1, &[("speculation", "none")], hellos(1, 5), 1);
    assert_eq!(none.counter("log_events"), 2 + 6 + 5 + 1 + 6);
}

#[test]
fn each_commit_is_two_dependent_writes() {
    let outcome = run(1, 2, &[], hellos(40, 5), 40);
    let commits = outcome.counter("log_commits");
    assert!(commits > 10);
    assert_eq!(outcome.operations_of("blob.page_write"), commits);
    // Two blobs with a lease for each partition, and one for the load monitor: each is created; who
    // gets an owner's blob writes its name to it, and who gets a log begins its incarnation.
    let starts = (12 + 12 + 1) + (12 + 1) + 12;
    assert_eq!(outcome.operations_of("blob.put"), commits + starts);
}

#[test]
fn group_commit_amortises_under_load() {
    let few = run(1, 1, &[], hellos(1, 5), 1);
    let many = run(1, 1, &[], hellos(400, 5), 400);
    let events_per_commit =
        |run: &Outcome<()>| run.counter("log_events") as f64 / run.counter("log_commits") as f64;
    assert!(events_per_commit(&many) > 3.0 * events_per_commit(&few));
}

#[test]
fn speculation_saves_the_wait_for_each_step() {
    let local = latencies_ms(&run(1, 4, &[], hellos(1, 10), 1))[0];
    let none = latencies_ms(&run(1, 4, &[("speculation", "none")], hellos(1, 10), 1))[0];
    assert!(none > 3.0 * local, "none {none} ms, local {local} ms");
}

#[test]
fn started_orchestrations_cross_partitions() {
    let outcome = run(1, 4, &[], vec![("launcher".to_string(), "Launch", 60)], 61).sound();
    assert!(outcome.counter("sent_events") >= 11, "messages for the other partitions");
}

#[test]
fn replay_and_cursor_cache_agree() {
    let results = |sets| {
        let outcome = run(3, 2, sets, hellos(20, 4), 20);
        let mut results: Vec<_> =
            outcome.completions.into_iter().map(|done| (done.instance, done.status)).collect();
        results.sort_by(|a, b| a.0.cmp(&b.0));
        (results, outcome.counters)
    };
    let (cached, _) = results(&[("cursor_cache", "true")]);
    let (replayed, counters) = results(&[("cursor_cache", "false")]);
    assert_eq!(cached, replayed);
    assert_eq!(counters["replays"], 80, "each step but the first: {counters:?}");
}

/// A message that leaves early is committed too early when its receiver commits before its origin
/// does, which takes a slow commit at the origin: here page writes vary widely.
#[test]
fn what_leaves_before_durability_breaks_causal_commit() {
    let launchers = || (0..24).map(|n| (format!("launcher-{n}"), "Launch", 20)).collect();
    let broken = |seed, sets| {
        let profile = uneven_profile;
        let stage = Stage { seed, sets, profile, ..stage(application).on(4) };
        run_in(stage, launchers(), 24 * 21).findings[4].is_some()
    };
    assert!((1..=5).all(|seed| !broken(seed, &[])));
    let early = &[("outbox_after_durability", "false")];
    assert!((1..=5).any(|seed| broken(seed, early)), "the ablation must be caught");
}

/// The standard profile with page writes of very uneven latency.
fn uneven_profile() -> Profile {
    let text = include_str!("../../../experiments/profiles/azure-2021-10.toml");
    let line = text.lines().find(|line| line.starts_with("page_write = ")).expect("page writes");
    let uneven = line.replace("sigma = 0.3", "sigma = 1.5");
    assert_ne!(line, uneven);
    Profile::parse("uneven", &text.replace(line, &uneven)).expect("a valid profile")
}

#[test]
fn settings_that_would_stop_every_partition_are_refused() {
    let refused = |key: &'static str, value: &'static str| {
        on_fresh_thread(move || {
            let main = move |kernel: sim_world::kernel::Kernel| async move {
                let profile = Rc::new(Profile::named("azure-2021-10").expect("the profile"));
                let machines = Machines { plan: "EP2".to_string(), hosts: 1, partitions: 2 };
                let world = World::new(&kernel, 1, profile, &machines).expect("a world");
                let mut settings = Settings::defaults(Netherite.settings());
                settings.set(key, value).expect("of the right kind");
                let observer = Observer::new(GraphRecorder::default(), |_| ());
                let application = Rc::new(application());
                let deployment = Deployment { application, settings, observer };
                Netherite.deploy(&world, deployment).err().map(|error| error.to_string())
            };
            simulate(KernelOptions::with_seed(1), main).expect("the run ends").0
        })
    };
    for (key, value) in [
        ("lease_duration", "5m"),
        ("lease_duration", "1s"),
        ("lease_renewal", "50s"),
        ("lease_renewal", "0s"),
        ("request_timeout", "0s"),
    ] {
        let error = refused(key, value).expect(value);
        assert!(error.starts_with("engine netherite: ") && error.contains(key), "{error}");
    }
    assert_eq!(refused("lease_duration", "60s"), None);
}
