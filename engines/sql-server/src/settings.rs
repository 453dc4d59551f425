//! What can be set on the engine, with the defaults of the published implementation.
//!
//! Source: microsoft/durabletask-mssql main@e7d35db; `settings` stands for
//! `src/DurableTask.SqlServer/SqlOrchestrationServiceSettings.cs`, `schema` for
//! `src/DurableTask.SqlServer/Scripts/`.

use crate::procedures::Rules;
use sim_model::settings::{Purpose, Setting, SettingKind, Settings};
use sim_model::step::EntityBackend;
use std::time::Duration;

const fn count(key: &'static str, default: &'static str, max: u64, help: &'static str) -> Setting {
    let kind = SettingKind::Count { min: 0, max };
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
        key: "vcores",
        kind: SettingKind::Choice(&["2", "4", "8", "16"]),
        default: "4",
        purpose: Purpose::Parameter,
        help: "virtual cores of the database (docs/scaling.md: the sizes that were measured)",
    },
    span(
        "work_item_lock_timeout",
        "2m",
        "how long a fetched work item is locked; renewed while it runs (settings: \
         WorkItemLockTimeout)",
    ),
    Setting {
        key: "work_item_batch_size",
        kind: SettingKind::Count { min: 1, max: 10_000 },
        default: "10",
        purpose: Purpose::Performance,
        help: "most messages of one orchestration step (settings: WorkItemBatchSize)",
    },
    span("min_polling_interval", "50ms", "first delay after an empty poll (settings)"),
    span("max_polling_interval", "3s", "longest delay after an empty poll (settings)"),
    span("delta_polling_interval", "50ms", "step by which the delay grows (settings)"),
    span(
        "status_polling_interval",
        "1s",
        "delay between two queries of a client that waits for an orchestration \
         (SqlOrchestrationService.cs: WaitForOrchestrationAsync)",
    ),
    count(
        "max_concurrent_activities",
        "0",
        10_000,
        "activities of a host side by side; 0 for its number of cores (settings: \
         MaxConcurrentActivities)",
    ),
    count(
        "max_active_orchestrations",
        "0",
        10_000,
        "steps of a host side by side; 0 for its number of cores (settings: \
         MaxActiveOrchestrations)",
    ),
    span(
        "entity_reorder_window",
        "30m",
        "how long entities remember what they received, to restore the order of messages and drop \
         duplicates; 0s switches that off (SqlOrchestrationService.cs: EntityBackendProperties)",
    ),
    count(
        "entity_operation_batch_size",
        "5000",
        1_000_000,
        "operations of one step of an entity; 0 for no limit (functions host: \
         MaxEntityOperationBatchSize [general])",
    ),
    flag(
        "local_wake_up",
        "true",
        Purpose::Performance,
        "what a host commits ends its own polling delays [general]",
    ),
    flag(
        "readpast",
        "true",
        Purpose::Performance,
        "fetching skips rows that others hold, and does not wait for them (schema: READPAST)",
    ),
    flag(
        "delayed_durability",
        "false",
        Purpose::Performance,
        "a commit does not wait for the log: what a client was told is complete can be lost with \
         the database's machine, so the engine then promises less",
    ),
    flag(
        "row_locks",
        "true",
        Purpose::Safety,
        "fetching looks at a row again once it holds its lock; without, two hosts that fetch at \
         the same time get the same work item (schema: UPDATE TOP (1) ... WITH (READPAST))",
    ),
    flag(
        "lock_renewal",
        "true",
        Purpose::Safety,
        "the lock of a work item that still runs is renewed (schema: _RenewOrchestrationLocks, \
         _RenewTaskLocks)",
    ),
    flag(
        "history_key",
        "true",
        Purpose::Safety,
        "a second row of history in the same place violates the primary key and aborts the commit \
         (schema: _CheckpointOrchestration)",
    ),
    flag(
        "execution_check",
        "true",
        Purpose::Safety,
        "a commit must find the execution that was fetched: the history of an instance that \
         continued as new has no common place with the one before",
    ),
    flag(
        "task_check",
        "true",
        Purpose::Safety,
        "completing an activity must delete its row; if that is gone, the completion is rolled \
         back (schema: _CompleteTasks)",
    ),
    flag(
        "atomic_commit",
        "true",
        Purpose::Safety,
        "a step is committed in one transaction; without, what it sends goes first, in a \
         transaction of its own",
    ),
];

/// The settings of a deployment, read once.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    pub vcores: u32,
    pub lock_timeout: Duration,
    pub batch: usize,
    pub min_polling_interval: Duration,
    pub max_polling_interval: Duration,
    pub delta_polling_interval: Duration,
    pub status_polling_interval: Duration,
    max_activities: usize,
    max_orchestrations: usize,
    entity_reorder_window: Duration,
    entity_operation_batch: usize,
    pub local_wake_up: bool,
    pub delayed_durability: bool,
    pub lock_renewal: bool,
    pub atomic_commit: bool,
    pub rules: Rules,
}

impl Parameters {
    /// Reads a complete set of settings.
    ///
    /// # Errors
    /// Settings that contradict each other, in words.
    pub fn new(settings: &Settings) -> Result<Parameters, String> {
        let count = |key| settings.count(key) as usize;
        let parameters = Parameters {
            vcores: settings.choice("vcores").parse().expect("invariant: the words are numbers"),
            lock_timeout: settings.span("work_item_lock_timeout"),
            batch: count("work_item_batch_size"),
            min_polling_interval: settings.span("min_polling_interval"),
            max_polling_interval: settings.span("max_polling_interval"),
            delta_polling_interval: settings.span("delta_polling_interval"),
            status_polling_interval: settings.span("status_polling_interval"),
            max_activities: count("max_concurrent_activities"),
            max_orchestrations: count("max_active_orchestrations"),
            entity_reorder_window: settings.span("entity_reorder_window"),
            entity_operation_batch: count("entity_operation_batch_size"),
            local_wake_up: settings.flag("local_wake_up"),
            delayed_durability: settings.flag("delayed_durability"),
            lock_renewal: settings.flag("lock_renewal"),
            atomic_commit: settings.flag("atomic_commit"),
            rules: Rules {
                readpast: settings.flag("readpast"),
                row_locks: settings.flag("row_locks"),
                history_key: settings.flag("history_key"),
                execution_check: settings.flag("execution_check"),
                task_check: settings.flag("task_check"),
            },
        };
        parameters.check()?;
        Ok(parameters)
    }

    fn check(&self) -> Result<(), String> {
        let positive = [
            ("work_item_lock_timeout", self.lock_timeout),
            ("min_polling_interval", self.min_polling_interval),
            ("status_polling_interval", self.status_polling_interval),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, span)| span.is_zero()) {
            return Err(format!("{key} is 0, expected more"));
        }
        if self.min_polling_interval > self.max_polling_interval {
            return Err("min_polling_interval is longer than max_polling_interval".to_owned());
        }
        Ok(())
    }

    /// How many activities a host of so many cores runs side by side.
    pub fn activities(&self, cores: u32) -> usize {
        if self.max_activities == 0 { cores as usize } else { self.max_activities }
    }

    /// How many steps a host of so many cores runs side by side.
    pub fn orchestrations(&self, cores: u32) -> usize {
        if self.max_orchestrations == 0 { cores as usize } else { self.max_orchestrations }
    }

    /// What the model has to know of this engine.
    pub fn entity_backend(&self) -> EntityBackend {
        EntityBackend {
            reorder_window: self.entity_reorder_window,
            max_operations: match self.entity_operation_batch {
                0 => usize::MAX,
                most => most,
            },
            max_signal_delay: None,
            implicit_deletion: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_published_ones() {
        let parameters = Parameters::new(&Settings::defaults(SETTINGS)).expect("consistent");
        assert_eq!(parameters.lock_timeout, Duration::from_secs(120));
        assert_eq!((parameters.batch, parameters.vcores), (10, 4));
        assert_eq!((parameters.activities(2), parameters.orchestrations(4)), (2, 4));
        assert_eq!(parameters.entity_backend().reorder_window, Duration::from_secs(1800));
    }

    #[test]
    fn contradictions_are_refused() {
        for (key, value) in [
            ("min_polling_interval", "5s"),
            ("min_polling_interval", "0s"),
            ("work_item_lock_timeout", "0s"),
            ("status_polling_interval", "0s"),
        ] {
            let mut settings = Settings::defaults(SETTINGS);
            settings.set(key, value).expect("a span");
            assert!(Parameters::new(&settings).is_err(), "{key}={value}");
        }
    }
}
