//! What can be set on the engine, with the defaults of the published implementation.

use serde::{Deserialize, Serialize};
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
    /// At once everywhere; what another partition loses is rolled back.
    Global,
}

/// Who decides on which partition an activity runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Placement {
    /// Nobody: it runs where its caller lives.
    Local,
    /// Each partition deals its backlog to all.
    Static,
    /// The load monitor moves the backlog to partitions that hold too little.
    Locavore,
}

/// On what the commit logs lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogMedium {
    /// Page blobs of the storage account.
    PageBlob,
    /// The disk of the host.
    LocalDisk,
    /// The disks of three machines.
    ReplicatedDisk,
}

/// Machines that keep a replicated log.
pub(crate) const LOG_MACHINES: u64 = 3;

impl LogMedium {
    const NAMES: &[&str] = &["page-blob", "local-disk", "replicated-disk"];

    /// Its name in settings.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
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
        kind: SettingKind::Choice(&["none", "local", "global"]),
        default: "local",
        purpose: Purpose::Performance,
        help: "when successors of a step start: none = once it is durable (PersistStepsFirst), \
               local = at once within the partition, global = at once on all partitions, rolled back \
               if the step is lost [paper 5.3; docs/speculation.md]",
    },
    Setting {
        key: "log",
        kind: SettingKind::Choice(LogMedium::NAMES),
        default: "page-blob",
        purpose: Purpose::Performance,
        help: "on what the commit logs lie: page-blob = the storage account, as published; local-disk = \
               the disk of the host, on which the partition then stays; replicated-disk = the disks of \
               three rented machines, two of which have to have it",
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
    span(
        "lease_buffer",
        "10s",
        "a partition stops so long before a lease ends that could not be renewed (safety buffer)",
    ),
    span("lease_retry", "1s", "how often a lease that another holds is asked for"),
    count(
        "partition_starts",
        "5",
        1_000,
        Purpose::Parameter,
        "partitions that a host starts side by side",
    ),
    span(
        "ownership_lease",
        "30s",
        "how long a host owns a partition of the event log without renewal (event processor host)",
    ),
    span(
        "ownership_interval",
        "10s",
        "how often a host renews what it owns, and takes what nobody owns or another has too much of \
         (event processor host)",
    ),
    count(
        "checkpoint_bytes",
        "20971520",
        1 << 40,
        Purpose::Parameter,
        "bytes of log after which a checkpoint is taken (MaxNumberBytesBetweenCheckpoints)",
    ),
    count(
        "checkpoint_events",
        "10000",
        1 << 40,
        Purpose::Parameter,
        "events after which a checkpoint is taken (MaxNumberEventsBetweenCheckpoints)",
    ),
    span(
        "checkpoint_idle",
        "60s",
        "time without a checkpoint after which one is taken, if there is something to write \
         (IdleCheckpointFrequencyMs)",
    ),
    flag(
        "checkpoint_on_stop",
        Purpose::Performance,
        "take a checkpoint when a partition is stopped in an orderly way \
         (TakeStateCheckpointWhenStoppingPartition; true in 2021)",
    ),
    count(
        "instance_cache",
        "200",
        1 << 20,
        Purpose::Parameter,
        "MiB of instances that a host keeps in memory for each of its cores (InstanceCacheSizeMB)",
    ),
    Setting {
        key: "load_publishing",
        kind: SettingKind::Flag,
        default: "false",
        purpose: Purpose::Parameter,
        help: "partitions publish their load in a table, and a scale controller reports how many \
               workers it would run (level recommended_workers); off: the number of hosts is fixed",
    },
    span("ack_interval", "8s", "how often a partition tells what it has received and made durable"),
    span(
        "rollback_caution",
        "5s",
        "speculation global: how long a new incarnation sends only what is committed",
    ),
    Setting {
        key: "log_quorum",
        kind: SettingKind::Count { min: 1, max: LOG_MACHINES },
        default: "2",
        purpose: Purpose::Parameter,
        help: "log=replicated-disk: of the three machines, how many have to have a commit, and have to \
               promise that they take nothing more from those before; below 2 two hosts may have no \
               machine in common",
    },
    flag("log_sync", Purpose::Safety, "logs on disks: sync what was written before it counts"),
    flag("dedup", Purpose::Safety, "drop messages whose origin position was seen before"),
    flag(
        "outbox_after_durability",
        Purpose::Safety,
        "send messages to other partitions and answers to clients only after the step is durable",
    ),
    flag(
        "outbox_acks",
        Purpose::Parameter,
        "keep what was sent to another partition until that has it durably, not only until the \
         transport has it; no safety here: event logs keep what they took, and a receiver that \
         recovers reads it again",
    ),
    flag("outbox_resend", Purpose::Safety, "after a recovery send again what may not have arrived"),
    flag(
        "input_position",
        Purpose::Safety,
        "after a recovery go on receiving where the log ends, not where the event log ends",
    ),
    flag(
        "restart_pending",
        Purpose::Safety,
        "after a recovery start steps and activities again that were under way",
    ),
    flag(
        "fencing",
        Purpose::Safety,
        "write the log under the partition's lease, each incarnation into blobs of its own; off: a \
         host that was thought dead can go on writing",
    ),
    flag(
        "lease_watch",
        Purpose::Safety,
        "stop a partition whose lease could not be renewed in time, before it ends; off: a host that was \
         thought dead can go on answering questions",
    ),
    flag(
        "commit_clip",
        Purpose::Safety,
        "speculation global: what is durable is committed only when what it depends on is",
    ),
    flag(
        "rollback",
        Purpose::Safety,
        "speculation global: undo what depends on work that another partition has lost",
    ),
];

/// Shorter intervals make no sense: a loop would spin, an answer could not arrive.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// The settings of one deployment.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub speculation: Speculation,
    pub log: LogMedium,
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
    pub lease_buffer: Duration,
    pub lease_retry: Duration,
    pub partition_starts: usize,
    pub ownership_lease: Duration,
    pub ownership_interval: Duration,
    pub checkpoint_bytes: u64,
    pub checkpoint_events: u64,
    pub checkpoint_idle: Duration,
    pub checkpoint_on_stop: bool,
    pub instance_cache: u64,
    pub load_publishing: bool,
    pub ack_interval: Duration,
    pub rollback_caution: Duration,
    pub log_quorum: usize,
    pub log_sync: bool,
    pub dedup: bool,
    pub outbox_after_durability: bool,
    pub outbox_acks: bool,
    pub outbox_resend: bool,
    pub input_position: bool,
    pub restart_pending: bool,
    pub fencing: bool,
    pub lease_watch: bool,
    pub commit_clip: bool,
    pub rollback: bool,
}

impl Config {
    pub(crate) fn new(settings: &Settings) -> Config {
        let count = |key| settings.count(key) as usize;
        Config {
            speculation: match settings.choice("speculation") {
                "none" => Speculation::None,
                "global" => Speculation::Global,
                _ => Speculation::Local,
            },
            log: match settings.choice("log") {
                "local-disk" => LogMedium::LocalDisk,
                "replicated-disk" => LogMedium::ReplicatedDisk,
                _ => LogMedium::PageBlob,
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
            lease_buffer: settings.span("lease_buffer"),
            lease_retry: settings.span("lease_retry"),
            partition_starts: count("partition_starts"),
            ownership_lease: settings.span("ownership_lease"),
            ownership_interval: settings.span("ownership_interval"),
            checkpoint_bytes: settings.count("checkpoint_bytes"),
            checkpoint_events: settings.count("checkpoint_events"),
            checkpoint_idle: settings.span("checkpoint_idle"),
            checkpoint_on_stop: settings.flag("checkpoint_on_stop"),
            instance_cache: settings.count("instance_cache"),
            load_publishing: settings.flag("load_publishing"),
            ack_interval: settings.span("ack_interval"),
            rollback_caution: settings.span("rollback_caution"),
            log_quorum: count("log_quorum"),
            log_sync: settings.flag("log_sync"),
            dedup: settings.flag("dedup"),
            outbox_after_durability: settings.flag("outbox_after_durability"),
            outbox_acks: settings.flag("outbox_acks"),
            outbox_resend: settings.flag("outbox_resend"),
            input_position: settings.flag("input_position"),
            restart_pending: settings.flag("restart_pending"),
            fencing: settings.flag("fencing"),
            lease_watch: settings.flag("lease_watch"),
            commit_clip: settings.flag("commit_clip"),
            rollback: settings.flag("rollback"),
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
        for (key, lease) in
            [("lease_duration", self.lease_duration), ("ownership_lease", self.ownership_lease)]
        {
            if !allowed.contains(&lease) {
                let (min, max) = (blobs.lease_min.as_secs(), blobs.lease_max.as_secs());
                return Some(format!("setting {key} must be from {min}s to {max}s"));
            }
        }
        for (key, interval) in [
            ("lease_renewal", self.lease_renewal),
            ("lease_retry", self.lease_retry),
            ("ownership_interval", self.ownership_interval),
            ("checkpoint_idle", self.checkpoint_idle),
            ("ack_interval", self.ack_interval),
            ("request_timeout", self.request_timeout),
        ] {
            if interval < SHORTEST_INTERVAL {
                return Some(format!("setting {key} must be at least 1ms: a loop must not spin"));
            }
        }
        if self.lease_renewal + self.lease_buffer >= self.lease_duration {
            return Some(
                "lease_renewal and lease_buffer together are not shorter than lease_duration"
                    .into(),
            );
        }
        if self.ownership_interval >= self.ownership_lease {
            return Some("ownership_interval is not shorter than ownership_lease".into());
        }
        None
    }
}
