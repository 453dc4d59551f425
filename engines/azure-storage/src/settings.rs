//! What can be set on the engine, with the defaults of the published implementation.
//!
//! Sources: `settings` stands for Azure/durabletask main@5217032,
//! `src/DurableTask.AzureStorage/AzureStorageOrchestrationServiceSettings.cs`; `functions host` for
//! the overrides of the Durable Functions extension on premium plans (learn.microsoft.com,
//! host.json reference). The number of control queues is the world's number of partitions.

use sim_model::settings::{Purpose, Setting, SettingKind, Settings};
use sim_model::step::EntityBackend;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Most control queues of a task hub.
/// Source: `settings`, PartitionCount.
pub(crate) const PARTITIONS_MAX: u32 = 16;

/// How far ahead a signal can be scheduled; later ones are scheduled in stages.
/// Source: Azure/durabletask main@5217032, EntityBackendProperties of AzureStorage.
const MAX_SIGNAL_DELAY: Duration = Duration::from_secs(6 * 24 * 3600);

const fn count(key: &'static str, default: &'static str, max: u64, help: &'static str) -> Setting {
    let kind = SettingKind::Count { min: 1, max };
    Setting { key, kind, default, purpose: Purpose::Parameter, help }
}

const fn span(key: &'static str, default: &'static str, help: &'static str) -> Setting {
    let kind = SettingKind::Span { max: Duration::from_secs(3600) };
    Setting { key, kind, default, purpose: Purpose::Parameter, help }
}

const fn flag(
    key: &'static str,
    default: &'static str,
    purpose: Purpose,
    help: &'static str,
) -> Setting {
    Setting { key, kind: SettingKind::Flag, default, purpose, help }
}

/// The declared settings.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        key: "partition_management",
        kind: SettingKind::Choice(&["static", "table", "blob-safe", "blob-legacy"]),
        default: "static",
        purpose: Purpose::Parameter,
        help: "who owns which control queue: static (no leases: assigned once, nothing moves), or by \
               leases in a table (settings: UseTablePartitionManagement, version 3), on blobs with \
               intent and ownership (SafePartitionManager.cs, as measured in 2021), on blobs with \
               one lease (LegacyPartitionManager.cs)",
    },
    span(
        "lease_renew_interval",
        "10s",
        "pause between two renewals of leases on blobs (settings: LeaseRenewInterval; ownership: \
         SafePartitionManager.cs)",
    ),
    span(
        "lease_acquire_interval",
        "10s",
        "pause between two looks at all leases; the table manager renews at the same time (settings: \
         LeaseAcquireInterval)",
    ),
    span(
        "lease_interval",
        "30s",
        "how long a renewed lease lasts; one that the table manager claims lasts 60 s at first \
         (settings: LeaseInterval)",
    ),
    count(
        "control_queue_batch_size",
        "32",
        32,
        "messages of one get from a control queue (settings: ControlQueueBatchSize, the service's \
         maximum)",
    ),
    count(
        "control_queue_buffer_threshold",
        "256",
        1_000_000,
        "messages in a worker's memory at which it stops dequeuing for 1 s (functions host: 256 on \
         dedicated and premium plans)",
    ),
    span(
        "control_queue_visibility_timeout",
        "5m",
        "how long a control message is hidden once it was handed out (settings: \
         ControlQueueVisibilityTimeout)",
    ),
    span(
        "work_item_queue_visibility_timeout",
        "5m",
        "how long a work item is hidden once it was handed out; renewed while it runs (settings: \
         WorkItemQueueVisibilityTimeout)",
    ),
    span(
        "min_polling_interval",
        "50ms",
        "first delay after an empty poll (BackoffPollingHelper.cs)",
    ),
    span(
        "max_polling_interval",
        "30s",
        "longest delay after an empty poll (settings: MaxQueuePollingInterval)",
    ),
    span(
        "status_polling_interval",
        "2s",
        "delay between two reads of a client that waits for an orchestration \
         (AzureStorageOrchestrationService.cs: WaitForOrchestrationAsync)",
    ),
    span(
        "fetch_error_delay",
        "10s",
        "pause of a dequeue loop after a failed get (AzureStorageOrchestrationService.cs)",
    ),
    count(
        "orchestrations_per_core",
        "10",
        10_000,
        "orchestration steps side by side, for each core of the host (functions host: 10 x cores)",
    ),
    count(
        "entities_per_core",
        "10",
        10_000,
        "entity steps side by side, for each core of the host, besides orchestrations (functions \
         host: 10 x cores)",
    ),
    count(
        "entity_operation_batch_size",
        "5000",
        1_000_000,
        "operations of one step of an entity (functions host: MaxEntityOperationBatchSize, 5000 on \
         dedicated and premium plans [general])",
    ),
    span(
        "entity_reorder_window",
        "30m",
        "how long entities remember what they received, to restore the order of messages and drop \
         duplicates; 0s switches that off (settings: EntityMessageReorderWindowInMinutes)",
    ),
    count(
        "activities_per_core",
        "10",
        10_000,
        "activities side by side, for each core of the host (functions host: 10 x cores)",
    ),
    count(
        "storage_operations_per_core",
        "25",
        10_000,
        "storage operations of a worker side by side, for each core of the host (settings: \
         MaxStorageOperationConcurrency)",
    ),
    span(
        "extended_session_idle_timeout",
        "30s",
        "how long an extended session waits for messages (settings: ExtendedSessionIdleTimeout)",
    ),
    flag(
        "extended_sessions",
        "false",
        Purpose::Performance,
        "keep the suspended code of an orchestration, and its dispatch slot, between steps \
         (settings: ExtendedSessionsEnabled, off by default)",
    ),
    flag(
        "prefetch",
        "true",
        Purpose::Performance,
        "read the history when the first message of a step arrives, and not when the step is \
         dispatched (OrchestrationSessionManager.cs)",
    ),
    flag(
        "local_wake_up",
        "true",
        Purpose::Performance,
        "a message that a worker puts into a queue ends that worker's own polling delay there \
         (BackoffPollingHelper.cs)",
    ),
    Setting {
        key: "step_order",
        kind: SettingKind::Choice(&["send-first", "history-first"]),
        default: "send-first",
        purpose: Purpose::Parameter,
        help: "send-first puts what a step sends and then writes its history \
               (AzureStorageOrchestrationService.cs:1150-1283); history-first, an addition, writes \
               what it sends with its history and puts it after that: steps exactly once, and nothing \
               is sent that is not final",
    },
    flag(
        "instance_etag",
        "false",
        Purpose::Safety,
        "a row of the Instances table is written only if nobody else wrote it since the session read \
         it (settings: UseInstanceTableEtag, off by default; costs a read for each session)",
    ),
    flag(
        "lease_etag",
        "true",
        Purpose::Safety,
        "a lease in the Partitions table is written only if nobody else wrote it since it was read \
         (TablePartitionManager.cs)",
    ),
    flag(
        "drain_before_release",
        "true",
        Purpose::Safety,
        "a control queue is handed over only when nothing of it is in its owner's memory any more \
         (OrchestrationSessionManager.cs: DrainAsync)",
    ),
    flag(
        "visibility_renewal",
        "true",
        Purpose::Safety,
        "messages of running activities and steps are kept hidden from other workers \
         (TaskActivityDispatcher.cs, TaskOrchestrationDispatcher.cs: renewal loops)",
    ),
    flag(
        "message_sorter",
        "true",
        Purpose::Safety,
        "entities bring messages into the order they were sent, and drop second copies \
         (DurableTask.Core: MessageSorter.cs); off is a reorder window of zero",
    ),
    flag(
        "history_etag",
        "true",
        Purpose::Safety,
        "a history is written only if nobody else wrote it since it was read \
         (AzureTableTrackingStore.cs: sentinel row)",
    ),
    flag(
        "out_of_order_rule",
        "true",
        Purpose::Safety,
        "an answer whose TaskScheduled is not in the history that was read is put back \
         (OrchestrationSession.cs: IsOutOfOrderMessage)",
    ),
    flag(
        "dedupe_read",
        "true",
        Purpose::Safety,
        "a start message runs only if the Instances row shows its execution \
         (OrchestrationSessionManager.cs: DedupeExecutionStartedMessagesAsync)",
    ),
];

/// By what means control queues get their owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartitionManagement {
    /// Assigned once.
    Static,
    /// Leases that are rows of the Partitions table.
    Table,
    /// An intent lease and an ownership lease on blobs.
    BlobSafe,
    /// One lease on a blob.
    BlobLegacy,
}

impl PartitionManagement {
    fn of(word: &str) -> PartitionManagement {
        match word {
            "static" => PartitionManagement::Static,
            "table" => PartitionManagement::Table,
            "blob-safe" => PartitionManagement::BlobSafe,
            "blob-legacy" => PartitionManagement::BlobLegacy,
            other => unreachable!("{other:?} is not a declared choice"),
        }
    }
}

/// The settings of a deployment, read once.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    pub partition_management: PartitionManagement,
    pub lease_renew_interval: Duration,
    pub lease_acquire_interval: Duration,
    pub lease_interval: Duration,
    pub history_first: bool,
    pub instance_etag: bool,
    pub lease_etag: bool,
    pub drain_before_release: bool,
    pub visibility_renewal: bool,
    pub control_queue_batch: usize,
    pub control_queue_buffer: usize,
    pub control_queue_visibility: Duration,
    pub work_item_visibility: Duration,
    pub min_polling_interval: Duration,
    pub max_polling_interval: Duration,
    pub status_polling_interval: Duration,
    pub fetch_error_delay: Duration,
    pub orchestrations_per_core: usize,
    pub entities_per_core: usize,
    pub entity_operation_batch: usize,
    pub entity_reorder_window: Duration,
    pub activities_per_core: usize,
    pub storage_operations_per_core: usize,
    pub extended_session_idle: Duration,
    pub extended_sessions: bool,
    pub prefetch: bool,
    pub local_wake_up: bool,
    pub history_etag: bool,
    pub out_of_order_rule: bool,
    pub dedupe_read: bool,
}

impl Parameters {
    /// Reads a complete set of settings.
    ///
    /// # Errors
    /// Settings that contradict each other, in words.
    pub fn new(settings: &Settings) -> Result<Parameters, String> {
        let count = |key| settings.count(key) as usize;
        let sorts = settings.flag("message_sorter");
        let window = settings.span("entity_reorder_window");
        let parameters = Parameters {
            partition_management: PartitionManagement::of(settings.choice("partition_management")),
            lease_renew_interval: settings.span("lease_renew_interval"),
            lease_acquire_interval: settings.span("lease_acquire_interval"),
            lease_interval: settings.span("lease_interval"),
            history_first: settings.choice("step_order") == "history-first",
            instance_etag: settings.flag("instance_etag"),
            lease_etag: settings.flag("lease_etag"),
            drain_before_release: settings.flag("drain_before_release"),
            visibility_renewal: settings.flag("visibility_renewal"),
            control_queue_batch: count("control_queue_batch_size"),
            control_queue_buffer: count("control_queue_buffer_threshold"),
            control_queue_visibility: settings.span("control_queue_visibility_timeout"),
            work_item_visibility: settings.span("work_item_queue_visibility_timeout"),
            min_polling_interval: settings.span("min_polling_interval"),
            max_polling_interval: settings.span("max_polling_interval"),
            status_polling_interval: settings.span("status_polling_interval"),
            fetch_error_delay: settings.span("fetch_error_delay"),
            orchestrations_per_core: count("orchestrations_per_core"),
            entities_per_core: count("entities_per_core"),
            entity_operation_batch: count("entity_operation_batch_size"),
            entity_reorder_window: if sorts { window } else { Duration::ZERO },
            activities_per_core: count("activities_per_core"),
            storage_operations_per_core: count("storage_operations_per_core"),
            extended_session_idle: settings.span("extended_session_idle_timeout"),
            extended_sessions: settings.flag("extended_sessions"),
            prefetch: settings.flag("prefetch"),
            local_wake_up: settings.flag("local_wake_up"),
            history_etag: settings.flag("history_etag"),
            out_of_order_rule: settings.flag("out_of_order_rule"),
            dedupe_read: settings.flag("dedupe_read"),
        };
        parameters.check()?;
        Ok(parameters)
    }

    /// Checks what is set against how long the service leases blobs.
    ///
    /// # Errors
    /// A lease that it refuses, in words: nobody would ever own a control queue.
    pub fn check_blob_leases(&self, allowed: RangeInclusive<Duration>) -> Result<(), String> {
        let on_blobs = matches!(
            self.partition_management,
            PartitionManagement::BlobSafe | PartitionManagement::BlobLegacy
        );
        if !on_blobs || allowed.contains(&self.lease_interval) {
            return Ok(());
        }
        let [from, to] = [allowed.start(), allowed.end()].map(Duration::as_secs);
        Err(format!("lease_interval: the service leases blobs for {from} s to {to} s"))
    }

    /// How long a journal keeps what may come again: beyond the reorder window of entities, and beyond
    /// the time after which a message that was not deleted is handed out again.
    pub fn journal_keep(&self) -> Duration {
        self.entity_reorder_window.max(self.control_queue_visibility * 4)
    }

    /// What entities have to know of this engine. Its queues deliver in any order and more than
    /// once, and hide a message for seven days at most.
    pub fn entity_backend(&self) -> EntityBackend {
        EntityBackend {
            reorder_window: self.entity_reorder_window,
            max_operations: self.entity_operation_batch,
            max_signal_delay: Some(MAX_SIGNAL_DELAY),
            implicit_deletion: false,
        }
    }

    fn check(&self) -> Result<(), String> {
        let least = Duration::from_millis(1);
        for (key, span) in [
            ("min_polling_interval", self.min_polling_interval),
            ("status_polling_interval", self.status_polling_interval),
            ("fetch_error_delay", self.fetch_error_delay),
            ("lease_renew_interval", self.lease_renew_interval),
            ("lease_acquire_interval", self.lease_acquire_interval),
        ] {
            if span < least {
                return Err(format!("setting {key} must be at least 1ms: a loop must not spin"));
            }
        }
        if self.min_polling_interval > self.max_polling_interval {
            return Err("min_polling_interval is longer than max_polling_interval".to_string());
        }
        let pause = self.lease_renew_interval.max(self.lease_acquire_interval);
        if self.lease_interval <= pause {
            return Err("lease_interval is not longer than lease_renew_interval and \
                        lease_acquire_interval: leases would run out between two renewals"
                .to_string());
        }
        for (key, span) in [
            ("control_queue_visibility_timeout", self.control_queue_visibility),
            ("work_item_queue_visibility_timeout", self.work_item_visibility),
        ] {
            if span < Duration::from_secs(1) {
                return Err(format!("setting {key} must be at least 1s, the service's least"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_published_engine() {
        let parameters = Parameters::new(&Settings::defaults(SETTINGS)).expect("they agree");
        assert_eq!(parameters.control_queue_batch, 32);
        assert_eq!(parameters.control_queue_visibility, Duration::from_secs(300));
        assert!(parameters.prefetch && !parameters.extended_sessions);
        let backend = parameters.entity_backend();
        assert_eq!(backend.reorder_window, Duration::from_secs(1800));
        assert_eq!((backend.max_operations, backend.implicit_deletion), (5000, false));
    }

    #[test]
    fn contradictions_are_named() {
        let mut settings = Settings::defaults(SETTINGS);
        settings.set("min_polling_interval", "40s").expect("a span");
        let problem = Parameters::new(&settings).expect_err("longer than the longest");
        assert!(problem.contains("max_polling_interval"), "{problem}");
        settings.set("min_polling_interval", "0ms").expect("a span");
        assert!(Parameters::new(&settings).expect_err("spins").contains("spin"));
        let mut settings = Settings::defaults(SETTINGS);
        settings.set("lease_interval", "10s").expect("a span");
        let problem = Parameters::new(&settings).expect_err("no longer than the renewal");
        assert!(problem.contains("run out between"), "{problem}");
    }

    #[test]
    fn leases_that_the_service_refuses_are_refused_at_once() {
        let mut settings = Settings::defaults(SETTINGS);
        settings.set("lease_interval", "90s").expect("a span");
        let allowed = || Duration::from_secs(15)..=Duration::from_secs(60);
        let check = |settings: &Settings| {
            Parameters::new(settings).expect("they agree").check_blob_leases(allowed())
        };
        assert_eq!(check(&settings), Ok(()), "no blob is leased");
        settings.set("partition_management", "blob-safe").expect("a choice");
        assert!(check(&settings).expect_err("too long").contains("15 s to 60 s"));
    }
}
