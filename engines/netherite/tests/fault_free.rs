//! Runs of the whole engine in a small world without faults.

use engine_netherite::Netherite;
use futures_util::future::join_all;
use sim_model::application::{ActivityContext, Application};
use sim_model::engine::{Completion, Deployment, Engine, Observer, StartRequest};
use sim_model::graph::{GraphRecorder, checks};
use sim_model::id::InstanceId;
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::time::Timestamp;
use sim_world::kernel::{KernelOptions, on_fresh_thread, simulate};
use sim_world::profile::Profile;
use sim_world::world::{Deployment as Machines, World};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

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

struct Outcome {
    digest: u64,
    completions: Vec<Completion>,
    counters: Vec<(&'static str, u64)>,
    findings: [bool; 5],
    operations: Vec<(String, u64)>,
}

impl Outcome {
    fn counter(&self, name: &str) -> u64 {
        self.counters.iter().find(|(key, _)| *key == name).expect("a counter").1
    }

    fn operations_of(&self, name: &str) -> u64 {
        self.operations.iter().find(|(key, _)| key == name).map_or(0, |(_, count)| *count)
    }
}

/// [`run_in`] the standard profile.
fn run(
    seed: u64,
    hosts: u32,
    sets: &[(&str, &str)],
    requests: Vec<(String, &'static str, u32)>,
    expected: usize,
) -> Outcome {
    let profile = || Profile::named("azure-2021-10").expect("the profile");
    run_in(profile, seed, hosts, sets, requests, expected)
}

/// Starts `requests`, all at once on host 0, and waits for `expected` completions.
fn run_in(
    profile: fn() -> Profile,
    seed: u64,
    hosts: u32,
    sets: &[(&str, &str)],
    requests: Vec<(String, &'static str, u32)>,
    expected: usize,
) -> Outcome {
    let mut settings = Settings::defaults(Netherite.settings());
    for (key, value) in sets {
        settings.set(key, value).expect("a valid setting");
    }
    let options = KernelOptions {
        seed,
        time_limit: Timestamp::from_secs(3600),
        mark_interval: 4096,
        window: None,
    };
    on_fresh_thread(move || {
        let main = move |kernel: sim_world::kernel::Kernel| async move {
            let profile = Rc::new(profile());
            let machines = Machines { plan: "EP2".to_string(), hosts, partitions: 12 };
            let world = World::new(&kernel, seed, profile, &machines).expect("a world");
            let graph = GraphRecorder::default();
            let completions: Rc<RefCell<Vec<Completion>>> = Rc::default();
            let sink = completions.clone();
            let observer = Observer::new(graph.clone(), move |done| sink.borrow_mut().push(done));
            let application = Rc::new(application());
            let deployment = Deployment { application, settings, observer };
            let hub = Netherite.deploy(&world, deployment).expect("deployed");
            (0..hosts as usize).for_each(|host| hub.start_host(host));
            kernel.sleep(Duration::from_secs(1)).await;
            let client = hub.client(0);
            let starts = requests.into_iter().map(|(id, name, input)| {
                let input = Payload::encode(&input).expect("a number");
                let instance = InstanceId::new(id);
                client.start(StartRequest { instance, name: name.into(), input })
            });
            for started in join_all(starts).await {
                started.expect("accepted");
            }
            while completions.borrow().len() < expected {
                kernel.sleep(Duration::from_millis(100)).await;
            }
            kernel.sleep(Duration::from_secs(1)).await;
            let graph = graph.graph();
            let findings = [
                checks::exactly_once(&graph, checks::is_step).is_some(),
                checks::exactly_once(&graph, checks::is_task).is_some(),
                checks::no_message_lost(&graph).is_some(),
                checks::serial_instances(&graph).is_some(),
                checks::causally_consistent_commit(&graph).is_some(),
            ];
            let operations = world.meter().snapshot().into_iter();
            let operations =
                operations.map(|op| (format!("{}.{}", op.service, op.kind), op.count)).collect();
            let completions = completions.borrow().clone();
            (completions, hub.counters(), findings, operations)
        };
        let ((completions, counters, findings, operations), trail) =
            simulate(options, main).expect("the run ends");
        Outcome { digest: trail.digest, completions, counters, findings, operations }
    })
}

fn hellos(count: u32, length: u32) -> Vec<(String, &'static str, u32)> {
    (0..count).map(|number| (format!("hello-{number}"), "Hello", length)).collect()
}

fn latencies_ms(outcome: &Outcome) -> Vec<f64> {
    let latency = |done: &Completion| done.last_updated.since(done.created).as_secs_f64() * 1e3;
    let mut latencies: Vec<f64> = outcome.completions.iter().map(latency).collect();
    latencies.sort_by(f64::total_cmp);
    latencies
}

#[test]
fn a_run_completes_and_breaks_no_rule() {
    for speculation in ["none", "local"] {
        let outcome = run(1, 2, &[("speculation", speculation)], hellos(50, 5), 50);
        assert_eq!(outcome.findings, [false; 5], "speculation {speculation}");
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
    assert_eq!(outcome.operations_of("blob.put"), commits + 12, "one for each lease blob");
}

#[test]
fn group_commit_amortises_under_load() {
    let few = run(1, 1, &[], hellos(1, 5), 1);
    let many = run(1, 1, &[], hellos(400, 5), 400);
    let events_per_commit =
        |run: &Outcome| run.counter("log_events") as f64 / run.counter("log_commits") as f64;
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
    let outcome = run(1, 4, &[], vec![("launcher".to_string(), "Launch", 60)], 61);
    assert_eq!(outcome.findings, [false; 5]);
    assert!(outcome.counter("sent_events") >= 11, "messages for the other partitions");
}

#[test]
fn replay_and_cursor_cache_agree() {
    let results = |cache| {
        let outcome = run(3, 2, &[("cursor_cache", cache)], hellos(20, 4), 20);
        let mut results: Vec<_> =
            outcome.completions.into_iter().map(|done| (done.instance, done.status)).collect();
        results.sort_by(|a, b| a.0.cmp(&b.0));
        (results, outcome.counters)
    };
    let (cached, _) = results("true");
    let (replayed, counters) = results("false");
    assert_eq!(cached, replayed);
    assert!(counters.contains(&("replays", 80)), "each step but the first: {counters:?}");
}

/// A message that leaves early is committed too early when its receiver commits before its origin
/// does, which takes a slow commit at the origin: here page writes vary widely.
#[test]
fn what_leaves_before_durability_breaks_causal_commit() {
    let launchers = || (0..24).map(|n| (format!("launcher-{n}"), "Launch", 20)).collect();
    let broken = |seed, sets: &[(&str, &str)]| {
        run_in(uneven_profile, seed, 4, sets, launchers(), 24 * 21).findings[4]
    };
    assert!((1..=5).all(|seed| !broken(seed, &[])));
    let early = [("outbox_after_durability", "false")];
    assert!((1..=5).any(|seed| broken(seed, &early)), "the ablation must be caught");
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
