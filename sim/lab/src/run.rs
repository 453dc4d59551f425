//! One run: a checked specification in, an outcome out.
//!
//! A run has a kernel, a world, a task hub and a load of its own, and happens on a fresh thread,
//! so that any number can go on side by side without touching each other. Its phases: hosts start
//! up for the load's `settle` time; the load runs; the run goes on until everything that was
//! started has ended and everyone who waits was answered, or until the bound of virtual time; then
//! it comes to rest (see `run/rest.rs`); what it cost is measured; the final states of the
//! workload's entities are read, which costs nothing that is reported; it is judged; and what was told in
//! the run is read once more (see `checks/durability.rs`), which is no part of its event trail.

mod outcome;
pub(crate) mod rest;
mod verdict;

pub use outcome::{Finals, MachineUse, RunOutcome};
pub use rest::{DRAIN, REST_BOUND, REST_BOUND_AFTER_FAULTS};

use crate::autoscale::{Autoscaler, Votes};
use crate::checks::durability::{self, Claims, Promises};
use crate::checks::{self, Entities, Evidence};
use crate::explain::Choice;
use crate::fault::{self, Fault, Targets};
use crate::handover::HandoverRecorder;
use crate::history::HistoryRecorder;
use crate::history::export;
use crate::host_event::{Fleet, HostEvent};
use crate::load;
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::spec::{CheckedSpec, SpecError};
use crate::stuck;
use crate::summary::FaultSummary;
use crate::trace::{TraceOptions, TraceRecorder};
use crate::workload::{EntityStates, Naming, Orchestrations, Start};
use sim_model::engine::{
    Client, DeployError, Deployment, FaultBudget, Guarantees, Observer, TaskHub,
};
use sim_model::graph::GraphRecorder;
use sim_model::id::InstanceId;
use sim_model::time::Timestamp;
use sim_world::cost::{self, Cost, Rented};
use sim_world::kernel::{self, EventTrail, Kernel, KernelError, KernelOptions, NodeId};
use sim_world::meter::OperationCount;
use sim_world::seed::SeedTree;
use sim_world::world::{self, World, WorldError};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;
use thiserror::Error;
use verdict::{Judged, Measured, results_digest, summarize};

/// How much longer than its load a run may take, in virtual time.
pub const BOUND_DEFAULT: Duration = Duration::from_secs(3600);
/// Virtual time after a run's load, faults and bound in which it has to come to rest and be looked at.
/// Each of these phases has a bound of its own, and together they take less than an hour: a run that is not
/// over by then ends with an error.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// Events between two marks of the event trail.
pub const MARK_INTERVAL: u64 = 4096;

/// What a run depends on besides its specification: nothing of it changes the results of a run
/// that ends in time.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// How much longer than its load the run may take, in virtual time.
    pub bound: Duration,
    /// Events, by their index, to keep in full in the trail.
    pub window: Option<Range<u64>>,
    /// Whether to keep all results, not only their hash: [`RunOutcome::finals`].
    pub keep_results: bool,
    /// Whether to keep what clients and callers of entities saw: [`RunOutcome::history`].
    pub keep_history: bool,
    /// Whether to judge the run. A summary without checks says nothing about it: this is for measuring
    /// what judging costs.
    pub judge: bool,
    /// What to keep of what happens, event by event: [`RunOutcome::trace`].
    pub trace: Option<TraceOptions>,
    /// Which orchestration to explain, if one: [`RunOutcome::explained`].
    pub explain: Option<Choice>,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            bound: BOUND_DEFAULT,
            window: None,
            keep_results: false,
            keep_history: false,
            judge: true,
            trace: None,
            explain: None,
        }
    }
}

/// A run that could not be carried out.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum RunError {
    /// The engine cannot run like this.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// The world cannot be built.
    #[error(transparent)]
    World(#[from] WorldError),
    /// A fault concerns what there is not.
    #[error(transparent)]
    Fault(#[from] SpecError),
    /// Virtual time came to an end.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Carries out a run.
///
/// # Errors
/// If the engine or the world refuses the specification. A run whose orchestrations do not end is
/// not an error here: the check `completion` fails.
pub fn run(spec: &CheckedSpec, progress: &Progress) -> Result<RunOutcome, RunError> {
    run_with(spec, progress, &RunOptions::default())
}

/// [`run`], with options.
///
/// # Errors
/// As for [`run`].
pub fn run_with(
    spec: &CheckedSpec,
    progress: &Progress,
    options: &RunOptions,
) -> Result<RunOutcome, RunError> {
    progress.expect(spec.spec().load.expected().unwrap_or(0));
    let outcome = kernel::on_fresh_thread(|| simulate(spec, progress, options));
    progress.complete_run();
    outcome
}

/// What faults of such a run can concern: everything is deployed, and nothing runs.
///
/// # Errors
/// If the engine or the world refuses the specification.
pub fn targets(spec: &CheckedSpec) -> Result<(Targets, FaultBudget), RunError> {
    let spec = spec.clone();
    kernel::on_fresh_thread(move || {
        let main = |kernel: Kernel| async move {
            let options = RunOptions::default();
            let stage = Stage::set(&kernel, &spec, &Progress::default(), &options)?;
            Ok::<_, RunError>((Targets::of(&stage.world), stage.budget))
        };
        let (targets, _) = kernel::simulate(KernelOptions::with_seed(0), main)?;
        targets
    })
}

fn simulate(
    spec: &CheckedSpec,
    progress: &Progress,
    options: &RunOptions,
) -> Result<RunOutcome, RunError> {
    let all_well = spec.spec().all_host_events().iter().map(HostEvent::end).max();
    let last = all_well.max(Some(fault::play::last_end(&spec.spec().faults)));
    let load = spec.spec().load.settle() + spec.spec().load.duration();
    let kernel_options = KernelOptions {
        mark_interval: MARK_INTERVAL,
        time_limit: Timestamp::ZERO + load + last.unwrap_or_default() + options.bound + PATIENCE,
        window: options.window.clone(),
        ..KernelOptions::with_seed(spec.spec().seed)
    };
    let (spec, progress, options) = (spec.clone(), progress.clone(), options.clone());
    let main = |kernel: Kernel| async move {
        let stage = Stage::set(&kernel, &spec, &progress, &options)?;
        stage.play(&spec, options.bound).await;
        let measured = stage.measure();
        if let Some(autoscaler) = &stage.autoscaler {
            autoscaler.end().await;
        }
        let entities = stage.read_entities().await;
        let judged = stage.judge(&spec, measured, entities, &options);
        Ok::<_, RunError>(stage.look_again(judged).await)
    };
    let (outcome, trail) = kernel::simulate(kernel_options, main)?;
    Ok(outcome?.seal(trail))
}

/// A record of work items that knows the instant and the host of what it is told.
fn recording_moments(kernel: &Kernel) -> GraphRecorder {
    let (clock, nodes) = (kernel.clone(), kernel.clone());
    GraphRecorder::with_moments(
        move || clock.now(),
        move || nodes.current_node().map(|node| node.0),
    )
}

/// A run on its way.
struct Stage {
    world: World,
    hub: Rc<dyn TaskHub>,
    graph: GraphRecorder,
    guarantees: Guarantees,
    budget: FaultBudget,
    /// What goes wrong, if anything does.
    faults: Option<Vec<Fault>>,
    orchestrations: Orchestrations,
    recorder: Recorder,
    history: HistoryRecorder,
    handovers: HandoverRecorder,
    fleet: Fleet,
    autoscaler: Option<Autoscaler>,
    trace: Option<TraceRecorder>,
}

impl Stage {
    /// Builds the world and deploys the application.
    fn set(
        kernel: &Kernel,
        spec: &CheckedSpec,
        progress: &Progress,
        options: &RunOptions,
    ) -> Result<Stage, RunError> {
        let asked = spec.spec();
        let deployment = world::Deployment {
            plan: asked.plan.clone(),
            hosts: asked.hosts_at_most(),
            partitions: asked.partitions,
        };
        let world = World::new(kernel, asked.seed, Rc::new(spec.profile()), &deployment)?;
        let key = SeedTree::new(asked.seed).stream("workload names").below(u64::MAX);
        let orchestrations = Orchestrations::new(spec.build_workload(), Naming::new(key));
        let clients_wait = asked.load.clients_wait();
        let keep_results = options.keep_results;
        let recorder = Recorder::new(kernel, &orchestrations, progress, clients_wait, keep_results);
        let graph = recording_moments(kernel);
        let is_traced = options.trace.is_some() || options.explain.is_some();
        let trace = is_traced.then(|| TraceRecorder::new(&world, &graph, options.trace));
        let (listener, tracer) = (recorder.clone(), trace.clone());
        let observer = Observer::new(graph.clone(), move |completion| {
            tracer.iter().for_each(|tracer| tracer.ended(&completion));
            listener.ended(&completion);
        });
        let listener = recorder.clone();
        let votes = Votes::new(kernel, asked.hosts);
        let heard = votes.clone();
        let observer = observer.with_levels(move |what, value| {
            listener.level(what, value);
            heard.level(what, value);
        });
        let (handovers, clock) = (HandoverRecorder::default(), kernel.clone());
        let (listener, tracer) = (handovers.clone(), trace.clone());
        let observer = observer.with_progress(move |partition, owner| {
            tracer.iter().for_each(|tracer| tracer.progressed(clock.now(), partition, owner));
            listener.progressed(clock.now(), partition, owner);
        });
        let engine = spec.engine();
        let deployment = Deployment {
            application: Rc::new(orchestrations.application()),
            settings: spec.settings().clone(),
            observer,
        };
        let hub = engine.deploy(&world, deployment)?;
        let guarantees = engine.guarantees(spec.settings());
        let budget = engine.fault_budget(spec.settings());
        let faults = Some(asked.faults.clone()).filter(|faults| !faults.is_empty());
        fault::play::check_targets(&asked.faults, &Targets::of(&world))?;
        let fleet = Fleet::new(&world, &hub);
        let history = HistoryRecorder::new(kernel);
        let pace = world.profile().scaling;
        let autoscaler = asked
            .autoscale
            .zip(pace)
            .map(|scaling| Autoscaler::new(kernel, scaling, asked.hosts, votes, &fleet, &recorder));
        Ok(Stage {
            world,
            hub,
            graph,
            guarantees,
            budget,
            faults,
            orchestrations,
            recorder,
            history,
            handovers,
            fleet,
            autoscaler,
            trace,
        })
    }

    /// Runs the load to its end, or to the bound.
    async fn play(&self, spec: &CheckedSpec, bound: Duration) {
        let load = &spec.spec().load;
        let kernel = self.world.kernel();
        let disturbed = self.hosts_change(spec) || spec.spec().is_disturbed();
        let (events, faults) = (&spec.spec().all_host_events(), &spec.spec().faults);
        self.fleet.start(events, spec.spec().hosts);
        kernel.sleep(load.settle()).await;
        let field = load::Field {
            world: &self.world,
            hub: &self.hub,
            orchestrations: &self.orchestrations,
            recorder: &self.recorder,
            history: &self.history,
            running: self.fleet.running(),
            hosts_change: disturbed,
            messages_can_be_lost: !faults.is_empty(),
        };
        if disturbed {
            self.recorder.robots_ask_again();
        }
        let door = load::generate(&field, load);
        self.fleet.play(events, &door);
        if let Some(autoscaler) = &self.autoscaler {
            autoscaler.start(&door);
        }
        let begin = kernel.now();
        let events_end = events.iter().map(HostEvent::end).max().unwrap_or_default();
        let all_well = events_end.max(fault::play::last_end(faults));
        let last = load.duration().max(all_well);
        fault::play::play(&self.world, faults);
        let over = match faults.is_empty() {
            true => kernel.timeout(last + bound, self.recorder.over()).await,
            false => {
                // Three phases: faults and load; then all is well again; then everything completes, or
                // nothing has for longer than the engine may take.
                let over = kernel.timeout(last, self.recorder.over()).await;
                match over {
                    Some(()) => Some(()),
                    None => {
                        rest::complete(kernel, &self.recorder, self.budget.heals_within, bound)
                            .await
                    }
                }
            }
        };
        if over.is_some() {
            // Hosts that are away at the end come back first: everything else is looked at in peace.
            if kernel.now() < begin + all_well {
                kernel.sleep_until(begin + all_well).await;
            }
            rest::come_to_rest(kernel, &self.graph, disturbed).await;
        }
    }

    fn hosts_change(&self, spec: &CheckedSpec) -> bool {
        !spec.spec().host_events.is_empty() || self.autoscaler.is_some()
    }

    /// What the run has used so far.
    fn measure(&self) -> Measured {
        let now = self.world.kernel().now();
        let operations = self.world.meter().snapshot();
        Measured {
            now,
            cost: self.cost(&operations, now),
            operations,
            faults: self.faults.as_ref().map(|faults| self.fault_summary(faults)),
            series: self.world.meter().series(),
            counters: self.hub.counters(),
            levels: self.recorder.levels().take(now),
            handovers: self.handovers.take(),
            host_time: self.fleet.host_time(),
            cpu_used: self.world.hosts().iter().map(|host| host.cpu_used()).collect(),
            machines: self.world.machines().iter().map(MachineUse::of).collect(),
        }
    }

    fn fault_summary(&self, faults: &[Fault]) -> FaultSummary {
        let by_kind = fault::by_kind(faults).into_iter();
        FaultSummary {
            by_kind: by_kind.map(|(kind, count)| (kind.to_owned(), count)).collect(),
            last_end_seconds: fault::play::last_end(faults).as_secs_f64(),
            effects: fault::play::effects(&self.world),
            heals_within_seconds: self.budget.heals_within.as_secs_f64(),
        }
    }

    /// The final states of the workload's entities, if the run has come to its end.
    async fn read_entities(&self) -> Entities {
        let asked = self.orchestrations.workload().entities(self.recorder.started());
        if asked.is_empty() {
            return Entities::Read(EntityStates::new());
        }
        if !self.recorder.is_over() {
            return Entities::NotRead;
        }
        let (workload, started) = (self.orchestrations.workload(), self.recorder.started());
        let mut healing = self.healing();
        loop {
            match rest::read_entities(self.world.kernel(), self.client(), asked.clone()).await {
                Ok(states) => {
                    let is_expected = workload.check_entities(started, &states).is_ok();
                    if is_expected {
                        return Entities::Read(states);
                    }
                    // Looking again is no part of the run.
                    self.world.kernel().end_trail();
                    if !healing.goes_on().await {
                        return Entities::Read(states);
                    }
                }
                Err(problem) => return Entities::Unreadable(problem),
            }
        }
    }

    /// What the engine may still take to be well again: nothing without faults.
    fn healing(&self) -> rest::Healing {
        let heals_within =
            self.faults.as_ref().map_or(Duration::ZERO, |_| self.budget.heals_within);
        rest::Healing::within(self.world.kernel(), heals_within)
    }

    /// The client on the first host that runs and does not stand still.
    fn client(&self) -> Rc<dyn Client> {
        let (kernel, hosts) = (self.world.kernel(), self.world.hosts());
        let awake = |host: usize| hosts[host].is_alive() && !kernel.is_paused(hosts[host].node());
        let running = self.fleet.running();
        let mut on = (0..running.len()).filter(|host| running[*host]);
        let first = on.clone().next();
        let host = on.find(|host| awake(*host)).or(first).unwrap_or(0);
        self.history.watch(host, self.hub.client(host))
    }

    /// Judges the run; the trail is added when the kernel has ended.
    fn judge(
        &self,
        spec: &CheckedSpec,
        measured: Measured,
        entities: Entities,
        options: &RunOptions,
    ) -> Judged {
        let recording = self.recorder.take();
        let workload = self.orchestrations.workload();
        let kernel = self.world.kernel();
        let nodes = (0..kernel.nodes()).map(|node| kernel.node_name(NodeId(node)).to_string());
        self.graph.name_places(nodes);
        let graph = &self.graph.graph();
        let history = self.history.so_far();
        let (now, all) = (measured.now, &self.orchestrations);
        let stuck = stuck::find(graph, &recording, all, &history, now);
        let evidence = Evidence {
            graph,
            at: now,
            guarantees: &self.guarantees,
            recording: &recording,
            orchestrations: all,
            entities: &entities,
            history: &history,
            stuck: &stuck,
        };
        let checks = options.judge.then(|| checks::all(&evidence));
        let mut checks = checks.unwrap_or_default();
        let classes = spec.spec().fault_classes();
        let targets = Targets::of(&self.world);
        let budget = fault::budget_under(&self.budget, &spec.spec().faults, &targets);
        checks::excuse(&mut checks, &evidence, &classes, &budget);
        let claims = options.judge.then(|| {
            let outside = checks::outside_of_budget(&classes, &budget);
            let Guarantees { durable, durable_reads, .. } = self.guarantees;
            // Nothing is lost before anything goes wrong, not even what is only in memory.
            let reads = durable_reads || durable && classes.is_empty();
            let promises = Promises { told: durable, reads, outside };
            self.recorder.is_over().then(|| (Claims::of(&evidence), promises))
        });
        let entities = entities.into_states();
        let is_of_load = |instance: &InstanceId| self.orchestrations.index_of(instance).is_some();
        let told = self.trace.as_ref().map(|trace| {
            trace.take(&self.world, graph, spec.spec(), options.explain.as_ref(), &is_of_load)
        });
        let (trace, explained) = told.map_or((None, None), |told| (told.trace, told.explained));
        let summary = summarize(spec, workload.unit(), &recording, &measured, checks);
        let prices = &self.world.profile().prices;
        let price = |counted: &OperationCount| {
            cost::operation_price(prices, &counted.service, &counted.kind)
        };
        let outcome = RunOutcome {
            summary,
            naming: self.orchestrations.naming(),
            jobs: matches!(workload.start(), Start::Job(_)),
            prices_usd: measured.operations.iter().map(price).collect(),
            operation_series: measured.series,
            operations: measured.operations,
            cost: measured.cost,
            counters: measured.counters,
            levels: measured.levels,
            handovers: measured.handovers,
            host_time: measured.host_time,
            results_digest: results_digest(recording.results, &entities),
            timing_independent: workload.timing_independent(),
            finals: recording.kept.map(|statuses| Finals { statuses, entities }),
            history: options.keep_history.then(|| export::seen(graph, &history)),
            stuck,
            cpu_used: measured.cpu_used,
            machines: measured.machines,
            trail: EventTrail {
                digest: 0,
                events: 0,
                mark_interval: MARK_INTERVAL,
                marks: Vec::new(),
                window: Vec::new(),
            },
            trace,
            explained,
            records: recording.records,
            started_per_second: recording.started_per_second,
            ended_per_second: recording.ended_per_second,
        };
        Judged { outcome, completions: recording.completions, claims }
    }

    /// Ends the trail, and reads once more what was told.
    async fn look_again(&self, mut judged: Judged) -> Judged {
        let kernel = self.world.kernel();
        kernel.end_trail();
        let checks = match judged.claims.take() {
            None => return judged,
            Some(None) => vec![durability::not_judged()],
            Some(Some((claims, promises))) => {
                let (client, healing) = (self.client(), self.healing());
                durability::check(kernel, client, &self.graph, claims, promises, healing).await
            }
        };
        judged.outcome.summary.checks.extend(checks);
        judged
    }

    fn cost(&self, operations: &[OperationCount], now: Timestamp) -> Cost {
        let elapsed = now.since(Timestamp::ZERO);
        let uses_events = operations.iter().any(|counted| counted.service == "eventlog");
        let units = if uses_events { self.world.throughput_units() } else { 0 };
        let rented = Rented {
            host_time: self.fleet.host_time(),
            throughput_unit_time: elapsed * units,
            machines_usd: self.world.machines().iter().map(|machine| machine.cost_usd()).sum(),
        };
        cost::cost(&self.world.profile().prices, self.world.plan(), operations, &rented)
    }
}
