//! A small harness: deploys the engine in a world, runs a batch of orchestrations, and reports.
#![allow(dead_code)]

use engine_internet_computer::InternetComputer;
use sim_model::application::{ActivityContext, Application};
use sim_model::engine::{Completion, Deployment, Engine, Observer, StartRequest, TaskHub};
use sim_model::graph::{GraphRecorder, checks};
use sim_model::id::{EntityId, InstanceId};
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::time::Timestamp;
use sim_world::fault::{Effect, Trouble};
use sim_world::kernel::{KernelError, KernelOptions, on_fresh_thread, simulate};
use sim_world::machine::Machine;
use sim_world::profile::Profile;
use sim_world::world::{self, World};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// What happens to replicas, and when: the first `count` machines of subnet 0.
#[derive(Clone, Copy)]
pub struct Outage {
    pub at: Duration,
    pub count: usize,
    pub down: Duration,
}

/// What to run.
#[derive(Clone)]
pub struct Plan {
    pub seed: u64,
    pub orchestrations: u32,
    /// The registered orchestration.
    pub name: &'static str,
    /// Its input.
    pub input: u64,
    /// Time between two starts; zero starts all at once.
    pub interval: Duration,
    pub settings: &'static [(&'static str, &'static str)],
    pub outages: &'static [Outage],
    /// What goes wrong besides, and for how long.
    pub troubles: fn() -> Vec<(Trouble, Duration, Duration)>,
    pub profile: fn(&mut Profile),
}

impl Plan {
    /// `orchestrations` chains of `length` activities.
    pub fn hello(orchestrations: u32, length: u64) -> Plan {
        Plan {
            seed: 7,
            orchestrations,
            name: "HelloSequence",
            input: length,
            interval: Duration::ZERO,
            settings: &[],
            outages: &[],
            troubles: Vec::new,
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
}

/// What a run showed.
#[derive(Debug, PartialEq)]
pub struct Report {
    pub ends: Vec<End>,
    /// What clients that waited were told, by instance: how it ended, or why that is not known.
    pub told: BTreeMap<String, Result<String, String>>,
    /// The final states of the counters "0" to "3", where they exist.
    pub counters_read: Vec<Option<String>>,
    pub digest: u64,
    pub counters: BTreeMap<&'static str, u64>,
    /// Breaches of all rules.
    pub violations: Vec<String>,
    pub finished_at: Timestamp,
    /// How often replicas did what the protocol forbids.
    pub departures: u64,
}

impl Report {
    pub fn counter(&self, name: &str) -> u64 {
        self.counters[name]
    }

    /// The latency at this quantile.
    pub fn latency(&self, quantile: f64) -> Duration {
        let mut latencies: Vec<Duration> = self.ends.iter().map(|end| end.latency).collect();
        latencies.sort_unstable();
        latencies[((latencies.len() - 1) as f64 * quantile).round() as usize]
    }

    /// Everything completed with this result, clients were told so, and no rule is breached.
    pub fn expect(&self, count: usize, result: &str) {
        assert_eq!(self.ends.len(), count);
        for end in &self.ends {
            assert_eq!(end.result.as_deref(), Ok(result), "{}", end.instance);
        }
        assert!(self.told.values().all(Result::is_ok), "{:?}", self.told);
        assert_eq!(self.violations, Vec::<String>::new());
    }
}

/// The application of the tests.
pub fn application() -> Application {
    let mut app = Application::new();
    app.activity("SayHello", |_: ActivityContext, city: String| async move {
        Ok(format!("Hello {city}!"))
    });
    app.activity("Work", |context: ActivityContext, millis: u64| async move {
        context.compute(Duration::from_millis(millis)).await;
        Ok(millis)
    });
    app.activity("Fetch", |context: ActivityContext, bytes: u64| async move {
        context.read_blob(bytes).await;
        context.wait(Duration::from_millis(50)).await;
        context.compute(Duration::from_millis(10)).await;
        context.write_blob(bytes / 2).await;
        Ok(bytes)
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
    app.orchestration("Work", |ctx: OrchestrationContext, millis: u64| async move {
        let done: u64 = ctx.call_activity("Work", &millis).await?;
        Ok(done.to_string())
    });
    app.orchestration("Fetch", |ctx: OrchestrationContext, bytes: u64| async move {
        let done: u64 = ctx.call_activity("Fetch", &bytes).await?;
        Ok(done.to_string())
    });
    app.orchestration("Count", |ctx: OrchestrationContext, times: u64| async move {
        for number in 0..times {
            let counter = EntityId::new("Counter", (number % 4).to_string());
            let _: u64 = ctx.call_entity(&counter, "Add", &1u64).await?;
        }
        ctx.create_timer(ctx.now() + Duration::from_secs(2)).await?;
        Ok(times.to_string())
    });
    app.entity::<u64>("Counter").operation("Add", |_, count: &mut u64, amount: u64| {
        *count += amount;
        Ok(*count)
    });
    app
}

/// The result of "HelloSequence".
pub fn hello(length: u64) -> String {
    let said: Vec<String> = (0..length).map(|number| format!("Hello city {number}!")).collect();
    said.join(" ")
}

/// Runs until all orchestrations have ended, for at most `limit`.
pub fn try_run(plan: &Plan, limit: Duration) -> Result<Report, KernelError> {
    on_fresh_thread(|| {
        let mut options = KernelOptions::with_seed(plan.seed);
        options.time_limit = Timestamp::ZERO + limit;
        let plan = plan.clone();
        let body = move |kernel: sim_world::kernel::Kernel| async move {
            let mut profile = Profile::named("azure-2021-10").expect("embedded");
            (plan.profile)(&mut profile);
            let deployment = world::Deployment { plan: "EP2".to_string(), hosts: 2, partitions: 6 };
            let world = World::new(&kernel, plan.seed, Rc::new(profile), &deployment)
                .expect("a valid deployment");
            run_in(&world, &plan).await
        };
        let (mut report, trail) = simulate(options, body)?;
        report.digest = trail.digest;
        Ok(report)
    })
}

/// Runs until all orchestrations have ended.
pub fn run(plan: &Plan) -> Report {
    try_run(plan, Duration::from_secs(3600)).expect("the run comes to its end")
}

async fn run_in(world: &World, plan: &Plan) -> Report {
    let kernel = world.kernel().clone();
    let recorder = GraphRecorder::default();
    let ends: Rc<RefCell<Vec<End>>> = Rc::default();
    let seen = ends.clone();
    let observer = Observer::new(recorder.clone(), move |completion: Completion| {
        seen.borrow_mut().push(end_of(&completion));
    });
    let mut settings = Settings::defaults(InternetComputer.settings());
    for (key, value) in plan.settings {
        settings.set(key, value).expect("a valid setting");
    }
    let deployment = Deployment { application: Rc::new(application()), settings, observer };
    let hub = InternetComputer.deploy(world, deployment).expect("deployable");
    (0..2).for_each(|host| hub.start_host(host));
    let told: Rc<RefCell<BTreeMap<String, Result<String, String>>>> = Rc::default();
    let (done, all_done) = kernel.completion();
    let done = Rc::new(RefCell::new(Some(done)));
    for outage in plan.outages {
        schedule(world, *outage);
    }
    for (trouble, at, lasting) in (plan.troubles)() {
        disturb(world, trouble, at, lasting);
    }
    for number in 0..plan.orchestrations {
        let host = number as usize % 2;
        let client = hub.client(host);
        let request = StartRequest {
            instance: InstanceId::new(format!("i{number}")),
            name: plan.name.into(),
            input: Payload::encode(&plan.input).expect("a number"),
        };
        let (told, done, count) = (told.clone(), done.clone(), plan.orchestrations as usize);
        world.hosts()[host].spawn(async move {
            let instance = request.instance.clone();
            client.start(request).await.expect("started");
            let answer = client.wait(instance.clone()).await;
            let answer = answer.map(|state| format!("{:?}", state.status));
            let answer = answer.map_err(|error| error.to_string());
            told.borrow_mut().insert(instance.to_string(), answer);
            if told.borrow().len() == count {
                done.borrow_mut().take().expect("once").resolve(());
            }
        });
        if !plan.interval.is_zero() {
            kernel.sleep(plan.interval).await;
        }
    }
    all_done.await;
    let finished_at = kernel.now();
    // What was in flight comes to rest.
    kernel.sleep(Duration::from_secs(5)).await;
    let counters_read = read_counters(&*hub).await;
    let mut ends = ends.borrow().clone();
    ends.sort_by(|a, b| a.instance.cmp(&b.instance));
    let told = told.borrow().clone();
    Report {
        ends,
        told,
        counters_read,
        digest: 0,
        counters: hub.counters().into_iter().collect(),
        violations: violations(&recorder, kernel.now()),
        finished_at,
        departures: world.fault_counts().of(Effect::ProtocolDeparture),
    }
}

fn schedule(world: &World, outage: Outage) {
    let kernel = world.kernel().clone();
    let machines: Vec<Machine> = world.machines().into_iter().take(outage.count).collect();
    let world_node = world.client_node();
    kernel.clone().spawn(world_node, async move {
        kernel.sleep(outage.at).await;
        machines.iter().for_each(Machine::kill);
        kernel.sleep(outage.down).await;
        machines.iter().for_each(Machine::restart);
    });
}

fn disturb(world: &World, trouble: Trouble, at: Duration, lasting: Duration) {
    let (kernel, world) = (world.kernel().clone(), world.clone());
    kernel.clone().spawn(world.client_node(), async move {
        kernel.sleep(at).await;
        let begun = world.begin(&trouble).expect("it can go wrong");
        kernel.sleep(lasting).await;
        world.end(begun);
    });
}

async fn read_counters(hub: &dyn TaskHub) -> Vec<Option<String>> {
    let client = hub.client(0);
    let mut states = Vec::new();
    for key in 0..4 {
        let id = EntityId::new("Counter", key.to_string()).instance_id();
        let state = client.status(id).await.expect("answered");
        let value = state.and_then(|state| state.entity_state);
        states.push(value.map(|value| value.as_str().to_owned()));
    }
    states
}

fn violations(recorder: &GraphRecorder, now: Timestamp) -> Vec<String> {
    let graph = recorder.graph();
    let findings = [
        ("exactly-once steps", checks::exactly_once(&graph, checks::is_step)),
        ("exactly-once tasks", checks::exactly_once(&graph, checks::is_task)),
        ("no message lost", checks::no_message_lost(&graph, now)),
        ("serial instances", checks::serial_instances(&graph)),
        ("no timer early", checks::no_timer_early(&graph)),
        ("causally consistent commit", checks::causally_consistent_commit(&graph)),
    ];
    let found = findings.into_iter();
    found.filter_map(|(name, finding)| Some(format!("{name}: {:?}", finding?))).collect()
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
    End { instance: completion.instance.to_string(), latency, result }
}
