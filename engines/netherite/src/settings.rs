//! What can be set on the engine, with the defaults of the published implementation.

use sim_model::settings::{Purpose, Setting, SettingKind, Settings};
use sim_model::step::EntityBackend;
use sim_world::profile::BlobProfile;
use std::time::Duration;

/// When the successors of a step may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speculation {
    /// After the step is durable.
    None,
    /// At once on the same partition, after durability on another.
    Local,
}

/// Who decides on which partition an activity runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Nobody: it runs where its caller lives.
    Local,
    /// Each partition deals its backlog to all.
    Static,
    /// The load monitor moves the backlog to partitions that hold too little.
    Locavore,
}

const fn count(
    key: &'static str,
    default: &'static str,
    max: u64,
    purpose: Purpose,
    help: &'static str,
) -> Setting {
    Setting { key, kind: SettingKind::Count { min: 1, max }, default, purpose, help }
}

const fn span(key: &'static str, default: &'static str, help: &'static str) -> Setting {
    let kind = SettingKind::Span { max: Duration::from_secs(3600) };
    Setting { key, kind, default, purpose: Purpose::Parameter, help }
}

const fn flag(key: &'static str, purpose: Purpose, help: &'static str) -> Setting {
    Setting { key, kind: SettingKind::Flag, default: "true", purpose, help }
}

/// The declared settings.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        key: "speculation",
        kind: SettingKind::Choice(&["none", "local"]),
        default: "local",
        purpose: Purpose::Performance,
        help: "when successors of a step start: none = once it is durable (PersistStepsFirst), \
               local = at once within the partition [paper 5.3]",
    },
    flag(
        "cursor_cache",
        Purpose::Performance,
        "keep suspended orchestrations in memory instead of replaying their history \
         (CacheOrchestrationCursors)",
    ),
    count(
        "max_orchestrations",
        "100",
        10_000,
        Purpose::Parameter,
        "steps of orchestrations that a host executes side by side \
         (MaxConcurrentOrchestratorFunctions)",
    ),
    count(
        "max_entities",
        "100",
        10_000,
        Purpose::Parameter,
        "steps of entities that a host executes side by side (MaxConcurrentEntityFunctions)",
    ),
    count(
        "entity_batch",
        "1000",
        1_000_000,
        Purpose::Performance,
        "operations that one step of an entity runs at most (MaxEntityOperationBatchSize)",
    ),
    count(
        "max_activities",
        "100",
        10_000,
        Purpose::Parameter,
        "activities that a host executes side by side (MaxConcurrentActivityFunctions)",
    ),
    Setting {
        key: "activity_scheduler",
        kind: SettingKind::Choice(&["local", "static", "locavore"]),
        default: "locavore",
        purpose: Purpose::Performance,
        help: "where an activity runs: local = on the partition of its caller, static = a backlog is \
               dealt to all partitions, locavore = the load monitor moves it to those that hold too \
               little (ActivityScheduler)",
    },
    count(
        "activity_queue_limit",
        "10",
        1_000_000,
        Purpose::Parameter,
        "activities that may queue for a slot of the host, by the partition's estimate, before it \
         keeps the rest in its backlog (WorkItemQueueLimit)",
    ),
    count(
        "intake_batch",
        "500",
        100_000,
        Purpose::Performance,
        "events that a partition takes in at once (MAXBATCHSIZE)",
    ),
    count(
        "send_batch_events",
        "300",
        5_000,
        Purpose::Performance,
        "events in one batch of the transport",
    ),
    count(
        "send_batch_bytes",
        "30720",
        500_000,
        Purpose::Parameter,
        "a batch of more bytes goes through a blob",
    ),
    count(
        "pack_messages",
        "100",
        5_000,
        Purpose::Performance,
        "messages to one partition packed into one event (PackPartitionTaskMessages)",
    ),
    span("request_timeout", "5m", "how long a client waits for an answer"),
    span("lease_duration", "45s", "how long the lease on a partition lasts without renewal"),
    span("lease_renewal", "30s", "how often the lease on a partition is renewed"),
    flag("dedup", Purpose::Safety, "drop messages whose origin position was seen before"),
    flag(
        "outbox_after_durability",
        Purpose::Safety,
        "send messages to other partitions and answers to clients only after the step is durable",
    ),
];

/// Shorter intervals make no sense: a loop would spin, an answer could not arrive.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// The settings of one deployment.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub speculation: Speculation,
    pub cursor_cache: bool,
    pub max_orchestrations: usize,
    pub max_entities: usize,
    pub entity_batch: usize,
    pub max_activities: usize,
    pub placement: Placement,
    pub activity_queue_limit: usize,
    pub intake_batch: usize,
    pub send_batch_events: usize,
    pub send_batch_bytes: usize,
    pub pack_messages: usize,
    pub request_timeout: Duration,
    pub lease_duration: Duration,
    pub lease_renewal: Duration,
    pub dedup: bool,
    pub outbox_after_durability: bool,
}

impl Config {
    pub(crate) fn new(settings: &Settings) -> Config {
        let count = |key| settings.count(key) as usize;
        Config {
            speculation: match settings.choice("speculation") {
                "none" => Speculation::None,
                _ => Speculation::Local,
            },
            cursor_cache: settings.flag("cursor_cache"),
            max_orchestrations: count("max_orchestrations"),
            max_entities: count("max_entities"),
            entity_batch: count("entity_batch"),
            max_activities: count("max_activities"),
            placement: match settings.choice("activity_scheduler") {
                "local" => Placement::Local,
                "static" => Placement::Static,
                _ => Placement::Locavore,
            },
            activity_queue_limit: count("activity_queue_limit"),
            intake_batch: count("intake_batch"),
            send_batch_events: count("send_batch_events"),
            send_batch_bytes: count("send_batch_bytes"),
            pack_messages: count("pack_messages"),
            request_timeout: settings.span("request_timeout"),
            lease_duration: settings.span("lease_duration"),
            lease_renewal: settings.span("lease_renewal"),
            dedup: settings.flag("dedup"),
            outbox_after_durability: settings.flag("outbox_after_durability"),
        }
    }

    /// What the model is told of this engine: its transport keeps order and drops duplicates.
    pub(crate) fn entity_backend(&self) -> EntityBackend {
        EntityBackend {
            reorder_window: Duration::ZERO,
            max_operations: self.entity_batch,
            max_signal_delay: None,
            implicit_deletion: true,
        }
    }

    /// What keeps these settings from working on blobs with these limits: a lease that is refused,
    /// or that ends before it is renewed, would stop every partition.
    pub(crate) fn problem(&self, blobs: &BlobProfile) -> Option<String> {
        let allowed = blobs.lease_min..=blobs.lease_max;
        if !allowed.contains(&self.lease_duration) {
            let (min, max) = (blobs.lease_min.as_secs(), blobs.lease_max.as_secs());
            return Some(format!("setting lease_duration must be from {min}s to {max}s"));
        }
        if self.lease_renewal < SHORTEST_INTERVAL {
            return Some("setting lease_renewal must be at least 1ms: a loop must not spin".into());
        }
        if self.lease_renewal >= self.lease_duration {
            return Some("lease_renewal is not shorter than lease_duration".into());
        }
        if self.request_timeout < SHORTEST_INTERVAL {
            return Some("setting request_timeout must be at least 1ms".into());
        }
        None
    }
}
