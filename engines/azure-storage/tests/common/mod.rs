//! A small harness: deploys the engine in a world, runs a batch of orchestrations, and reports.

use engine_azure_storage::AzureStorage;
use sim_model::application::{ActivityContext, Application};
use sim_model::engine::{Completion, Deployment, Engine, Observer, StartRequest};
use sim_model::graph::{GraphRecorder, checks};
use sim_model::id::InstanceId;
use sim_model::ledger::{Category, Timing};
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::time::Timestamp;
use sim_world::kernel::{KernelError, KernelOptions, on_fresh_thread, simulate};
use sim_world::profile::Profile;
use sim_world::service::is_operation;
use sim_world::world::{self, World};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// What to run.
#[derive(Clone)]
pub struct Plan {
    pub seed: u64,
    pub plan: &'static str,
    pub hosts: u32,
    pub partitions: u32,
    pub orchestrations: u32,
    /// The registered orchestration.
    pub name: &'static str,
    /// Its input.
    pub input: u64,
    /// Time between two starts; zero starts all at once.
    pub interval: Duration,
    /// Whether each client waits for its orchestration.
    pub wait: bool,
    pub settings: &'static [(&'static str, &'static str)],
    /// Whether host 0 crashes; clients then run on the other hosts.
    pub crash: Option<Crash>,
    pub profile: fn(&mut Profile),
}

/// A crash of host 0.
#[derive(Clone, Copy)]
pub struct Crash {
    pub at: Duration,
    pub down: Duration,
}

impl Plan {
    /// `orchestrations` chains of `length` activities on `hosts` EP2 hosts.
    pub fn hello(hosts: u32, orchestrations: u32, length: u64) -> Plan {
        Plan {
            seed: 7,
            plan: "EP2",
            hosts,
            partitions: 12,
            orchestrations,
            name: "HelloSequence",
            input: length,
            interval: Duration::ZERO,
            wait: false,
            settings: &[],
            crash: None,
            profile: |_| {},
        }
    }
}

/// One orchestration that ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    pub instance: String,
    pub latency: Duration,
    pub result: Result<String, String>,
    pub timing: Timing,
}

/// What a run showed.
#[derive(Debug, PartialEq)]
pub struct Report {
    pub ends: Vec<End>,
    pub digest: u64,
    pub events: u64,
    /// Operations by "service.kind".
    pub operations: BTreeMap<String, u64>,
    pub counters: BTreeMap<&'static str, u64>,
    /// Breaches of the rules that hold without faults, CCC apart.
    pub violations: Vec<String>,
    /// Breaches of causally consistent commit.
    pub ccc: u64,
    /// Rows in the history of the first orchestration, the sentinel not counted.
    pub history_rows: usize,
    pub finished_at: Timestamp,
}

impl Report {
    /// The sum of all storage operations.
    pub fn storage_operations(&self) -> u64 {
        let storage =
            |name: &str| ["queue.", "table.", "blob."].iter().any(|s| name.starts_with(s));
        self.operations.iter().filter(|(name, _)| storage(name)).map(|(_, count)| count).sum()
    }

    pub fn counter(&self, name: &str) -> u64 {
        self.counters[name]
    }

    /// The latency at this quantile.
    pub fn latency(&self, quantile: f64) -> Duration {
        let mut latencies: Vec<Duration> = self.ends.iter().map(|end| end.latency).collect();
        latencies.sort_unstable();
        latencies[((latencies.len() - 1) as f64 * quantile).round() as usize]
    }
}

/// The application of the tests.
pub fn application() -> Application {
    let mut app = Application::new();
    app.activity("SayHello", |_: ActivityContext, city: String| async move {
        Ok(format!("Hello {city}!"))
    });
    app.activity("Echo", |_: ActivityContext, text: String| async move { Ok(text) });
    app.activity("Slow", |context: ActivityContext, seconds: u64| async move {
        context.wait(Duration::from_secs(seconds)).await;
        Ok(seconds)
    });
    app.orchestration("HelloSequence", |ctx: OrchestrationContext, length: u64| async move {
        let mut said: Vec<String> = Vec::new();
        for number in 0..length {
            said.push(ctx.call_activity("SayHello", &format!("city {number}")).await?);
        }
        Ok(said.join(" "))
    });
    app.orchestration("FanOut", |ctx: OrchestrationContext, width: u64| async move {
        let calls: Vec<_> =
            (0..width).map(|n| ctx.call_activity::<String>("SayHello", &n.to_string())).collect();
        let mut total = 0;
        for call in calls {
            total += call.await?.len();
        }
        Ok(total.to_string())
    });
    app.orchestration("Large", |ctx: OrchestrationContext, bytes: u64| async move {
        let text = "x".repeat(bytes as usize);
        let echo: String = ctx.call_activity("Echo", &text).await?;
        Ok(echo.len().to_string())
    });
    app.orchestration("SlowActivity", |ctx: OrchestrationContext, seconds: u64| async move {
        let slept: u64 = ctx.call_activity("Slow", &seconds).await?;
        Ok(slept.to_string())
    });
    app.orchestration("Launch", |ctx: OrchestrationContext, count: u64| async move {
        for number in 0..count {
            let instance = InstanceId::new(format!("{}-{number}", ctx.instance_id()));
            ctx.start_orchestration("HelloSequence", instance, &1u64)?;
        }
        Ok(count.to_string())
    });
    app
}

/// The result of "HelloSequence".
pub fn hello(length: u64) -> String {
    let said: Vec<String> = (0..length).map(|number| format!("Hello city {number}!")).collect();
    said.join(" ")
}

/// Runs until `expected` orchestrations have ended, for at most an hour.
pub fn try_run(plan: &Plan, expected: usize) -> Result<Report, KernelError> {
    on_fresh_thread(|| {
        let mut options = KernelOptions::with_seed(plan.seed);
        options.time_limit = Timestamp::from_secs(3600);
        let plan = plan.clone();
        let body = move |kernel: sim_world::kernel::Kernel| async move {
            let mut profile = Profile::named("azure-2021-10").expect("embedded");
            (plan.profile)(&mut profile);
            let deployment = world::Deployment {
                plan: plan.plan.to_string(),
                hosts: plan.hosts,
                partitions: plan.partitions,
            };
            let world = World::new(&kernel, plan.seed, Rc::new(profile), &deployment)
                .expect("a valid deployment");
            run_in(&world, &plan, expected).await
        };
        let (mut report, trail) = simulate(options, body)?;
        report.digest = trail.digest;
        report.events = trail.events;
        Ok(report)
    })
}

/// Runs until `expected` orchestrations have ended, those that others start included.
pub fn run_until(plan: &Plan, expected: usize) -> Report {
    try_run(plan, expected).expect("the run comes to its end")
}

/// Runs until all orchestrations that clients start have ended.
pub fn run(plan: &Plan) -> Report {
    run_until(plan, plan.orchestrations as usize)
}

async fn run_in(world: &World, plan: &Plan, expected: usize) -> Report {
    let kernel = world.kernel().clone();
    let recorder = GraphRecorder::default();
    let ends: Rc<RefCell<Vec<End>>> = Rc::default();
    let (done, all_done) = kernel.completion();
    let done = RefCell::new(Some(done));
    let seen = ends.clone();
    let observer = Observer::new(recorder.clone(), move |completion: Completion| {
        seen.borrow_mut().push(end_of(&completion));
        if seen.borrow().len() == expected {
            done.borrow_mut().take().expect("once").resolve(());
        }
    });
    let mut settings = Settings::defaults(AzureStorage.settings());
    for (key, value) in plan.settings {
        settings.set(key, value).expect("a valid setting");
    }
    let deployment = Deployment { application: Rc::new(application()), settings, observer };
    let hub = AzureStorage.deploy(world, deployment).expect("deployable");
    for host in 0..plan.hosts as usize {
        hub.start_host(host);
    }
    for number in 0..plan.orchestrations {
        let host = match plan.crash {
            None => number % plan.hosts,
            Some(_) => 1 + number % (plan.hosts - 1),
        } as usize;
        let client = hub.client(host);
        let (name, wait) = (plan.name, plan.wait);
        let input = Payload::encode(&plan.input).expect("a number");
        let instance = InstanceId::new(format!("i{number}"));
        world.hosts()[host].spawn(async move {
            let request = StartRequest { instance: instance.clone(), name: name.into(), input };
            client.start(request).await.expect("started");
            if wait {
                let state = client.wait(instance).await.expect("ended");
                assert!(state.status.is_final());
            }
        });
        if !plan.interval.is_zero() {
            kernel.sleep(plan.interval).await;
        }
    }
    if let Some(crash) = plan.crash {
        let host = &world.hosts()[0];
        kernel.sleep(crash.at).await;
        host.kill();
        kernel.sleep(crash.down).await;
        host.restart();
        hub.start_host(0);
    }
    all_done.await;
    let finished_at = kernel.now();
    // What was in flight comes to rest: deletes, and after a crash what it left behind.
    let rest = if plan.crash.is_some() { 1200 } else { 1 };
    kernel.sleep(Duration::from_secs(rest)).await;
    let operations = world
        .meter()
        .snapshot()
        .into_iter()
        .filter(|operation| is_operation(&operation.service, &operation.kind))
        .map(|operation| (format!("{}.{}", operation.service, operation.kind), operation.count))
        .collect();
    let history = world.storage().table("taskhubHistory");
    let rows = history.query_partition(world.client(), "i0").await.expect("a read").value;
    let graph = recorder.graph();
    let findings = [
        ("exactly-once steps", checks::exactly_once(&graph, checks::is_step)),
        ("exactly-once tasks", checks::exactly_once(&graph, checks::is_task)),
        ("no message lost", checks::no_message_lost(&graph, kernel.now())),
        ("serial instances", checks::serial_instances(&graph)),
    ];
    let violations = findings
        .into_iter()
        .filter_map(|(name, finding)| Some(format!("{name}: {:?}", finding?)))
        .collect();
    let ccc = checks::causally_consistent_commit(&graph).map_or(0, |(count, _)| count);
    let mut ends = ends.borrow().clone();
    ends.sort_by(|a, b| a.instance.cmp(&b.instance));
    Report {
        ends,
        digest: 0,
        events: 0,
        operations,
        counters: hub.counters().into_iter().collect(),
        violations,
        ccc,
        history_rows: rows.len().saturating_sub(1),
        finished_at,
    }
}

fn end_of(completion: &Completion) -> End {
    let timing = completion.ledger.settle(completion.created, completion.last_updated);
    let latency = completion.last_updated.since(completion.created);
    assert_eq!(timing.total(), latency, "the parts sum to the latency");
    let result = match &completion.status {
        RuntimeStatus::Completed(result) => Ok(result.decode::<String>().expect("text")),
        RuntimeStatus::Failed(error) => Err(error.to_string()),
        RuntimeStatus::Terminated(reason) => Err(format!("terminated: {reason}")),
        RuntimeStatus::Running | RuntimeStatus::Suspended => {
            unreachable!("completions are final")
        }
    };
    End { instance: completion.instance.to_string(), latency, result, timing }
}

/// The mean time spent for `category`, in milliseconds.
pub fn mean_millis(report: &Report, category: Category) -> f64 {
    let sum: Duration = report.ends.iter().map(|end| end.timing.get(category)).sum();
    sum.as_secs_f64() * 1e3 / report.ends.len() as f64
}
