//! Traces: what happened in a run, event by event, as Chrome trace JSON.
//!
//! Perfetto (<https://ui.perfetto.dev>), speedscope and `chrome://tracing` open what [`Trace::write`]
//! writes. Times are virtual. A trace is made of what is recorded anyhow (the execution graph, completions,
//! progress of partitions, the faults of the specification) and of the requests that the world's meter
//! keeps when it is asked to. Recording takes no virtual time, and no event of the run's trail.
//!
//! **Format.** One object: `traceEvents`, and `otherData` with `engine`, `workload`, `seed`, `digest`,
//! `events_max`, and, if the limit was reached, `cut_at_us` and `left_out`. No `displayTimeUnit`. Fields of an event:
//!
//! | field | holds |
//! |---|---|
//! | `ph` | `X` a span, `i` an instant, `s` and `f` the ends of an arrow, `M` the name of a track |
//! | `ts`, `dur` | microseconds of virtual time since the start of the run, with three digits: exact nanoseconds |
//! | `pid`, `tid` | the track: process and thread, by the numbers that the `M` events name |
//! | `cat` | what it is, see below |
//! | `name` | for a person |
//! | `id` | of an arrow: the same at both ends |
//! | `args` | more, by name |
//!
//! **Tracks.** A process for each `host NAME`, each `service NAME` of the cloud, and one each for
//! `partitions`, `orchestrations` and `entities`; in the first two a thread for each kind of thing
//! (`work items`, `requests`, `serves SERVICE`, `faults`), in the others one for each partition (`partition 3`) or
//! instance. Spans of one thread nest. What goes on side by side has rows of its own, named
//! `requests (2)`, `requests (3)`, ...
//!
//! | `cat` of a span | thread | from, to | `args` |
//! |---|---|---|---|
//! | `step`, `task` | `work items` of its host | fetched, executed | `work_item`, `instance`, `outcome` (`committed`, `aborted`, `executed`, `fetched`), `messages` consumed |
//! | `request` | `requests` of the client's host | sent, answered or given up | `service`, `kind`, `end`, `bytes_in`, `bytes_out` |
//! | `served` | of the service | arrived, answer left | `client`, `kind`, `end`; in it `throttled`: until its turn came |
//! | `owner` | `partition N` | first, last step of an owner that became final | `partition`, `host`, `life` |
//! | `commit` | `partition N work items` | fetched, final | `work_item`, `instance` |
//! | `life` | the instance | created, last updated; in it the stretches of its critical path | `instance`, `status` |
//! | a category of latencies, or `several` | the instance, in its `life` | begin, end of a stretch | the parts in microseconds, by category |
//! | `item` | `INSTANCE steps` | fetched, final or given up; in it `execute`: until executed | `work_item`, `outcome`, `host` |
//! | `fault` | `faults` of each target | begin, end (an instant if it does not last) | `kind`, `fault` as in the specification |
//!
//! | `cat` of an arrow | from | to |
//! |---|---|---|
//! | `message` | the `step` or `task` that sent it, at its end | the `step` or `task` that consumed it, at its begin |
//! | `ask` | the `request`, when it was sent | `served`, when it arrived |
//! | `answer` | `served`, when the answer left | the `request`, when that arrived; also what an event log pushes |
//! | `start` | the `life` of an instance | its first `step` |
//!
//! An arrow that leaves a span at its very end is written a nanosecond earlier, so that it lies in the span.
//! To draw a space-time diagram, take processes or threads as lanes, arrows as messages, and shade lanes
//! while a span of `fault` lasts.
//!
//! **Limit.** Events are taken in the order of their begin until there are `events_max`; a trace that was
//! cut is complete up to its last event, but for requests that had not ended by then.

mod build;
mod faults;
mod requests;
mod slice;
mod window;
mod work;
mod write;

pub use build::{Cut, Event, Phase, Process, Thread, Trace};
pub use window::{EVENTS_MAX_DEFAULT, TraceOptions, Window, WindowError};

use crate::critical_path::Finder;
use crate::explain::{Choice, Ends, Explained, NotExplained};
use crate::spec::RunSpec;
use build::Builder;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use sim_model::engine::{Completion, HostLife};
use sim_model::graph::{Graph, GraphRecorder};
use sim_model::id::{InstanceId, WorkItemId};
use sim_model::ledger::{Ledger, trail};
use sim_model::time::Timestamp;
use sim_world::kernel::NodeId;
use sim_world::requests::{Keep, Request};
use sim_world::world::World;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How an orchestration ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) created: Timestamp,
    pub(crate) last_updated: Timestamp,
    pub(crate) status: &'static str,
    pub(crate) ledger: Ledger,
}

impl End {
    /// The latency as the engine reports it.
    pub(crate) fn latency(&self) -> Duration {
        self.last_updated.since(self.created)
    }
}

/// A step that became final in a partition.
struct Progress {
    at: Timestamp,
    partition: u32,
    owner: HostLife,
    item: Option<WorkItemId>,
}

/// Listens to a run of which a trace is wanted. Cloning shares what was heard.
#[derive(Clone)]
pub(crate) struct TraceRecorder(Rc<Inner>);

struct Inner {
    options: Option<TraceOptions>,
    graph: GraphRecorder,
    ends: RefCell<IndexMap<InstanceId, End, FxBuildHasher>>,
    progress: RefCell<Vec<Progress>>,
}

impl TraceRecorder {
    /// Keeps what a trace, or an explanation without a trace, needs of a run. To be made on the thread of
    /// the run.
    pub(crate) fn new(
        world: &World,
        graph: &GraphRecorder,
        options: Option<TraceOptions>,
    ) -> TraceRecorder {
        if let Some(TraceOptions { window: Window { from, until }, events_max }) = options {
            let most = usize::try_from(events_max).unwrap_or(usize::MAX);
            world.meter().keep_requests(Keep { from, until, most });
        }
        trail::begin();
        TraceRecorder(Rc::new(Inner {
            options,
            graph: graph.clone(),
            ends: RefCell::default(),
            progress: RefCell::default(),
        }))
    }

    /// An orchestration has ended. Of one that ends twice, since somebody asked again, the first end counts.
    pub(crate) fn ended(&self, completion: &Completion) {
        let Completion { instance, created, last_updated, status, ledger } = completion;
        let (created, last_updated, ledger) = (*created, *last_updated, *ledger);
        let end = End { created, last_updated, status: status.name(), ledger };
        self.0.ends.borrow_mut().entry(instance.clone()).or_insert(end);
    }

    /// A step of a partition, the one that was committed last, has become final.
    pub(crate) fn progressed(&self, at: Timestamp, partition: u32, owner: HostLife) {
        let item = self.0.graph.graph().last_committed();
        self.0.progress.borrow_mut().push(Progress { at, partition, owner, item });
    }

    /// What was asked for, of what has happened so far.
    pub(crate) fn take(
        &self,
        world: &World,
        graph: &Graph,
        spec: &RunSpec,
        choice: Option<&Choice>,
        is_of_load: &dyn Fn(&InstanceId) -> bool,
    ) -> Told {
        let trail = trail::take();
        let (ends, progress) = (&*self.0.ends.borrow(), &*self.0.progress.borrow());
        let partitions = progress.iter().filter_map(|step| Some((step.item?, step.partition)));
        let finder = Finder::new(graph, &trail, partitions);
        let trace = self.0.options.map(|options| {
            let (nodes, now) = (Nodes::of(world), world.kernel().now());
            let scene = Scene { graph, finder: &finder, ends, progress, nodes, now };
            trace_of(&scene, world, spec, options)
        });
        let ends = Ends { all: ends, graph, is_of_load };
        Told { trace, explained: choice.map(|choice| ends.explain(choice, &finder)) }
    }
}

/// What was recorded, as it was asked for.
pub(crate) struct Told {
    pub(crate) trace: Option<Trace>,
    pub(crate) explained: Option<Result<Explained, NotExplained>>,
}

fn trace_of(scene: &Scene<'_>, world: &World, spec: &RunSpec, options: TraceOptions) -> Trace {
    let requests = world.meter().take_requests();
    let mut builder = Builder::new(options);
    work::add(scene, &mut builder);
    requests::add(scene, &requests, &mut builder);
    faults::add(scene, spec, &requests.kept, &mut builder);
    builder.build(&scene.nodes)
}

/// What a trace is made of.
struct Scene<'a> {
    graph: &'a Graph,
    finder: &'a Finder<'a>,
    ends: &'a IndexMap<InstanceId, End, FxBuildHasher>,
    progress: &'a [Progress],
    nodes: Nodes,
    now: Timestamp,
}

/// The nodes of a world by name.
struct Nodes {
    names: Vec<String>,
    /// Whether something runs there: a host, a machine, the load generator.
    is_host: Vec<bool>,
}

impl Nodes {
    fn of(world: &World) -> Nodes {
        let kernel = world.kernel();
        let names = (0..kernel.nodes()).map(|node| kernel.node_name(NodeId(node)).to_string());
        let names: Vec<String> = names.collect();
        let machines = world.fault_targets().machines;
        let is_host = names.iter().map(|name| machines.contains(name) || name == "client");
        Nodes { is_host: is_host.collect(), names }
    }

    fn name(&self, node: u32) -> &str {
        self.names.get(node as usize).map_or("?", String::as_str)
    }

    /// The name of the process of a node.
    fn process(&self, node: u32) -> String {
        let is_host = self.is_host.get(node as usize).copied().unwrap_or(false);
        format!("{} {}", if is_host { "host" } else { "service" }, self.name(node))
    }

    fn all(&self) -> impl Iterator<Item = (u32, &str)> {
        self.names.iter().enumerate().map(|(node, name)| (node as u32, name.as_str()))
    }
}

/// The services that requests went to, with the nodes that serve them.
fn services(requests: &[Request]) -> BTreeMap<(&'static str, u32), ()> {
    requests.iter().map(|request| ((request.service, request.server.0), ())).collect()
}
