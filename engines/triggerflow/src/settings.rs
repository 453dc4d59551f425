//! What can be set on the engine, with the defaults of the published implementation.
//!
//! Sources: `worker` stands for triggerflow/triggerflow@e1f9f6d, `triggerflow/service/worker.py`;
//! `actions` for `triggerflow/service/actions/default.py`, `controller` for
//! `deploy/keda/controller.py`, and `proxy` for `runtime/ibm_cloud_functions/actionproxy.py` there.

use sim_model::engine::{Delivery, Guarantees};
use sim_model::settings::{Purpose, Setting, SettingKind, Settings};
use sim_world::stream_store::{Durability, Fsync};
use std::time::Duration;

/// How a worker makes the effects of events last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Discipline {
    /// The worker of June 2020 (@38186b6): acknowledges what a firing consumed, writes no context.
    V1,
    /// The last published worker (@e1f9f6d): writes every context at every firing, acknowledges
    /// nothing.
    V2,
    /// The Go worker (go-worker@7f7501e): deletes all events received so far at every firing.
    V3,
    /// The design of the paper: contexts, then actions, then acknowledgements; events have ids.
    V4,
}

/// How an event store is told what need not be delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acknowledgement {
    /// A list of ids beside a stream.
    List,
    /// The position up to which a log has been consumed.
    Positional,
}

/// Who starts and stops workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scaling {
    /// Pods, started when events come in and stopped when none do.
    Keda,
    /// Processes, started with their workspace and stopped with it.
    Standalone,
}

const fn setting(
    key: &'static str,
    kind: SettingKind,
    default: &'static str,
    purpose: Purpose,
    help: &'static str,
) -> Setting {
    Setting { key, kind, default, purpose, help }
}

const fn span(key: &'static str, default: &'static str, help: &'static str) -> Setting {
    let kind = SettingKind::Span { max: Duration::from_secs(3600) };
    setting(key, kind, default, Purpose::Parameter, help)
}

const fn count(
    key: &'static str,
    (min, max): (u64, u64),
    default: &'static str,
    help: &'static str,
) -> Setting {
    setting(key, SettingKind::Count { min, max }, default, Purpose::Parameter, help)
}

const fn safety(key: &'static str, help: &'static str) -> Setting {
    setting(key, SettingKind::Flag, "true", Purpose::Safety, help)
}

/// The declared settings.
pub(crate) const SETTINGS: &[Setting] = &[
    setting(
        "discipline",
        SettingKind::Choice(&["v1", "v2", "v3", "v4"]),
        "v4",
        Purpose::Parameter,
        "how a worker makes effects last: v1 the worker of June 2020, v2 the last published one, v3 \
         the one in Go, v4 the design of the paper",
    ),
    setting(
        "acknowledgement",
        SettingKind::Choice(&["list", "positional"]),
        "list",
        Purpose::Parameter,
        "list: events in a stream, the ids of consumed ones in a list; positional: events in a log, \
         the offset up to which it was consumed",
    ),
    setting(
        "scaling",
        SettingKind::Choice(&["keda", "standalone"]),
        "keda",
        Purpose::Parameter,
        "keda: at most one pod for each workspace, none while no events come in; standalone: a \
         process for each workspace as long as it lives",
    ),
    span("polling_interval", "5s", "between two looks at a workspace's events (controller)"),
    span("cooldown", "10s", "without new events before a pod is stopped (controller)"),
    span(
        "idle_stop",
        "0s",
        "without an event before a worker stops itself; 0s for never; the worker of June 2020: 10s \
         (deploy/keda/worker.py@38186b6)",
    ),
    span("pod_start", "2s", "from the decision to the running worker [assumption]"),
    span("process_start", "200ms", "the same, for a process under scaling=standalone [assumption]"),
    count(
        "pods_per_core",
        (1, 1000),
        "10",
        "pods that a host takes for each of its cores: requests of 0.1 core [assumption; published \
         is only the limit of a pod, 1 core and 1 GiB. Requests equal to limits: 1]",
    ),
    count("redeliveries", (0, 1000), "2", "of an event that no trigger knows, v1 to v3 (worker)"),
    count("invocation_threads", (1, 10_000), "128", "invocations of an action at a time (actions)"),
    count("invocation_retries", (0, 10), "5", "of an invocation, after 2^r s each (actions)"),
    span("invocation_timeout", "10s", "of the request that invokes a function (actions)"),
    count(
        "publish_attempts",
        (1, 100),
        "5",
        "of a function to append its event to a stream (proxy)",
    ),
    span("publish_delay", "100ms", "between two such attempts (proxy)"),
    span(
        "event_time",
        "57us",
        "core time of a worker for one event: condition and action (published worker, measured on \
         Python 3.11 without logging)",
    ),
    count(
        "entity_workspaces",
        (1, 1024),
        "4",
        "workspaces that entities are spread over, by the hash of their key [extension]",
    ),
    span(
        "function_retry_delay",
        "1m",
        "until a function is run again whose host has died (AWS Lambda: one minute before the first \
         retry of an asynchronous invocation [general])",
    ),
    span(
        "set_aside_delay",
        "1s",
        "until events that wait for a trigger are looked at again, v4 [assumption]",
    ),
    setting(
        "durability",
        SettingKind::Choice(&["none", "always", "every-second", "never-synced"]),
        "every-second",
        Purpose::Parameter,
        "when the store syncs its append-only file; none: it keeps none [assumption; a crash of the \
         store's machine may lose what was not synced]",
    ),
    setting(
        "dirty_checkpoints",
        SettingKind::Flag,
        "true",
        Purpose::Performance,
        "v4 writes only contexts that changed since they were written; v2 always writes all",
    ),
    safety("dedup", "v4 drops events with the id of one that was consumed"),
    safety("applied_ids", "v4 keeps in each context which events it has taken in"),
    safety(
        "ordered_commit",
        "v4 writes contexts before it acts and acknowledges after; off: it acts, acknowledges, then \
         writes",
    ),
    safety(
        "broker_local_events",
        "v4 appends events between triggers to the stream, not to memory",
    ),
    safety("set_aside", "v4 sets events aside until a trigger knows them"),
    safety(
        "register_before_invoke",
        "v4 registers the trigger that wakes a coordinator before it invokes functions; off: after, \
         as published",
    ),
    safety("function_retries", "functions whose host has died are run again (AWS Lambda)"),
];

/// The values of a deployment.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    pub(crate) discipline: Discipline,
    pub(crate) acknowledgement: Acknowledgement,
    pub(crate) scaling: Scaling,
    pub(crate) polling_interval: Duration,
    pub(crate) cooldown: Duration,
    pub(crate) idle_stop: Option<Duration>,
    pub(crate) worker_start: Duration,
    pub(crate) pods_per_core: u64,
    pub(crate) redeliveries: u32,
    pub(crate) invocation_threads: usize,
    pub(crate) invocation_retries: u32,
    pub(crate) invocation_timeout: Duration,
    pub(crate) publish_attempts: u32,
    pub(crate) publish_delay: Duration,
    pub(crate) event_time: Duration,
    pub(crate) entity_workspaces: u32,
    pub(crate) function_retry_delay: Duration,
    pub(crate) set_aside_delay: Duration,
    pub(crate) dirty_checkpoints: bool,
    pub(crate) dedup: bool,
    pub(crate) applied_ids: bool,
    pub(crate) ordered_commit: bool,
    pub(crate) broker_local_events: bool,
    pub(crate) set_aside: bool,
    pub(crate) register_first: bool,
    pub(crate) function_retries: bool,
}

impl Parameters {
    pub(crate) fn new(settings: &Settings) -> Parameters {
        let discipline = discipline(settings);
        let v4 = |key| discipline == Discipline::V4 && settings.flag(key);
        let count = |key| u32::try_from(settings.count(key)).expect("invariant: declared bounds");
        let positional = settings.choice("acknowledgement") == "positional";
        let keda = settings.choice("scaling") == "keda";
        Parameters {
            discipline,
            acknowledgement: match positional {
                true => Acknowledgement::Positional,
                false => Acknowledgement::List,
            },
            scaling: if keda { Scaling::Keda } else { Scaling::Standalone },
            polling_interval: settings.span("polling_interval").max(Duration::from_millis(1)),
            cooldown: settings.span("cooldown"),
            idle_stop: Some(settings.span("idle_stop")).filter(|idle| !idle.is_zero()),
            worker_start: settings.span(if keda { "pod_start" } else { "process_start" }),
            pods_per_core: settings.count("pods_per_core"),
            redeliveries: count("redeliveries"),
            invocation_threads: count("invocation_threads") as usize,
            invocation_retries: count("invocation_retries"),
            invocation_timeout: settings.span("invocation_timeout"),
            // The proxy for a log tries once and swallows the error.
            publish_attempts: if positional { 1 } else { count("publish_attempts") },
            publish_delay: settings.span("publish_delay"),
            event_time: settings.span("event_time"),
            entity_workspaces: count("entity_workspaces"),
            function_retry_delay: settings.span("function_retry_delay"),
            set_aside_delay: settings.span("set_aside_delay").max(Duration::from_millis(1)),
            dirty_checkpoints: v4("dirty_checkpoints"),
            dedup: v4("dedup"),
            applied_ids: v4("applied_ids"),
            ordered_commit: v4("ordered_commit"),
            broker_local_events: v4("broker_local_events"),
            set_aside: v4("set_aside"),
            register_first: v4("register_before_invoke"),
            function_retries: settings.flag("function_retries"),
        }
    }
}

/// What survives a crash of the store.
pub(crate) fn durability(settings: &Settings) -> Durability {
    match settings.choice("durability") {
        "none" => Durability::None,
        "always" => Durability::AppendOnly(Fsync::Always),
        "never-synced" => Durability::AppendOnly(Fsync::No),
        _ => Durability::AppendOnly(Fsync::EverySecond),
    }
}

fn discipline(settings: &Settings) -> Discipline {
    match settings.choice("discipline") {
        "v1" => Discipline::V1,
        "v2" => Discipline::V2,
        "v3" => Discipline::V3,
        _ => Discipline::V4,
    }
}

/// What is promised: by the discipline, whatever is switched off. A repeated invocation is another
/// execution of its task under every discipline; under v4 its second event is dropped.
pub(crate) fn guarantees(settings: &Settings) -> Guarantees {
    let v4 = discipline(settings) == Discipline::V4;
    let durable = v4 && durability(settings) != Durability::None;
    Guarantees {
        steps: if v4 { Delivery::ExactlyOnce } else { Delivery::AtLeastOnce },
        tasks: Delivery::AtLeastOnce,
        causally_consistent_commit: v4,
        fifo_between_instances: v4,
        durable,
        durable_reads: durable,
        lossless: v4,
        serial_instances: v4,
    }
}
