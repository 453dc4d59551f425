//! The Instances table: one row for each instance, with what clients see of it.
//!
//! A step writes the row of its instance once its history is written, without an ETag unless
//! `instance_etag` is on (a worker that hung in between can then overwrite what a later step wrote); a client writes the first row of an orchestration that
//! it starts. The row of an entity holds all that the entity remembers, in the column of the input.
//! Merging into a row leaves what the writer does not know of as it is in the published engine; here
//! a step writes the whole row, so the input that a client wrote is gone after the first step. Nobody
//! reads it.
//!
//! **Queries.** The published engine reads the whole table, or the range of keys with a prefix, in
//! pages of 1000 rows, and filters most conditions on the client's side. The tables of the world are
//! read by partition, and each row of this table is a partition of its own: a query here is one
//! point read for each row whose key has the prefix, side by side within the limit of the host's
//! storage operations. It costs up to 1000 times the operations of the published one.
//!
//! Source: Azure/durabletask main@5217032, `Tracking/AzureTableTrackingStore.cs`.

use crate::dispatch::Session;
use crate::store::StoreError;
use crate::wire::{INSTANCE_ROW_ENVELOPE, InstanceRow, instance_blob};
use crate::worker::Worker;
use futures_util::future::join_all;
use sim_model::engine::{InstanceQuery, InstanceState};
use sim_model::history::EventKind;
use sim_model::id::{InstanceId, MessageId};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::step::StepOutcome;
use sim_model::time::Timestamp;
use sim_world::service::StorageError;
use sim_world::table::{TableAction, TableOperation};

/// What a step leaves for clients to see.
pub(crate) struct View {
    /// When it was executed.
    pub at: Timestamp,
    /// Where its instance is.
    pub status: RuntimeStatus,
    /// What the orchestration has set.
    pub custom_status: Option<Payload>,
    /// What the entity remembers.
    pub remembered: Option<Payload>,
}

impl View {
    /// What this step leaves.
    pub fn of(instance: &InstanceId, outcome: &StepOutcome) -> View {
        let last = outcome.new_events.last().expect("invariant: a step adds events");
        let input = outcome.new_events.iter().find_map(|event| match &event.kind {
            EventKind::ExecutionStarted { input, .. } => Some(input.clone()),
            _ => None,
        });
        View {
            at: last.timestamp,
            status: outcome.status.clone(),
            custom_status: outcome.custom_status.clone(),
            remembered: input.filter(|_| instance.is_entity()),
        }
    }
}

/// Writes the row of an instance after a step.
pub(crate) async fn write(
    worker: &Worker,
    session: &mut Session,
    execution: MessageId,
    view: &View,
) -> Result<(), StorageError> {
    let (store, instance) = (&worker.store, session.instance.clone());
    let row = InstanceRow {
        execution,
        created: session.cursor.created().expect("invariant: it was started"),
        last_updated: view.at,
        status: view.status.clone(),
        name: session.cursor.name().cloned().unwrap_or_else(|| "".into()),
        custom_status: view.custom_status.clone(),
        input: view.remembered.clone(),
    };
    let step = session.cursor.last_step().map(|step| step.0);
    let blob = || instance_blob(&instance, step);
    let body = store.row(&row, INSTANCE_ROW_ENVELOPE, blob).await?;
    let table = &worker.shared.instances;
    let action = match (worker.shared.parameters.instance_etag, session.row_version) {
        (false, _) => TableAction::InsertOrMerge(body),
        (true, None) => TableAction::Insert(body),
        (true, version) => TableAction::Merge(body, version),
    };
    let operation = TableOperation::new("", action);
    let write = table.execute(&store.host, instance.as_str(), operation);
    session.row_version = Some(store.limited(write).await?.value);
    note(worker, &instance);
    Ok(())
}

/// Writes the row of an orchestration that a client starts: a new one, or in place of `version`. A
/// row that somebody else wrote meanwhile (409, 412) is left as it is.
pub(crate) async fn create(
    worker: &Worker,
    instance: &InstanceId,
    row: &InstanceRow,
    version: Option<u64>,
) -> Result<(), StorageError> {
    let store = &worker.store;
    let body = store.row(row, INSTANCE_ROW_ENVELOPE, || instance_blob(instance, None)).await?;
    let action = match version {
        None => TableAction::Insert(body),
        Some(version) => TableAction::Replace(body, Some(version)),
    };
    let operation = TableOperation::new("", action);
    let table = &worker.shared.instances;
    let write = table.execute(&store.host, instance.as_str(), operation);
    match store.limited(write).await {
        Ok(_)
        | Err(
            StorageError::Conflict { .. }
            | StorageError::PreconditionFailed
            | StorageError::NotFound { .. },
        ) => {
            note(worker, instance);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Deletes the row of an instance, whatever it holds now.
pub(crate) async fn remove(worker: &Worker, instance: &InstanceId) -> Result<(), StorageError> {
    let (store, table) = (&worker.store, &worker.shared.instances);
    match store.limited(table.delete(&store.host, instance.as_str(), "", None)).await {
        Ok(_) | Err(StorageError::NotFound { .. }) => {
            worker.shared.directory.borrow_mut().remove(instance);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The table has a row with this key.
fn note(worker: &Worker, instance: &InstanceId) {
    let mut directory = worker.shared.directory.borrow_mut();
    if !directory.contains(instance) {
        directory.insert(instance.clone());
    }
}

/// The instances that `query` selects, in the order of their keys.
pub(crate) async fn query(
    worker: &Worker,
    query: &InstanceQuery,
) -> Result<Vec<(InstanceId, InstanceState)>, StoreError> {
    let prefix = query.prefix.as_deref().unwrap_or("");
    let from = InstanceId::new(prefix);
    let keys: Vec<InstanceId> = {
        let directory = worker.shared.directory.borrow();
        let range = directory.range(from..);
        range.take_while(|key| key.as_str().starts_with(prefix)).cloned().collect()
    };
    let reads = keys.iter().map(|key| {
        worker.shared.counters.query_reads.count();
        worker.store.read_instance(key)
    });
    let rows = join_all(reads).await;
    let mut selected = Vec::new();
    for (key, row) in keys.iter().zip(rows) {
        // A row may have been deleted meanwhile.
        let Some((row, _)) = row?.value else { continue };
        let state = row.state(key);
        if query.selects(key, &state) {
            selected.push((key.clone(), state));
        }
    }
    Ok(selected)
}
