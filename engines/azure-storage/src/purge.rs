//! Removing an instance: its history, its large content and its row of the Instances table.
//!
//! Order, of Azure/durabletask main@5217032, `Tracking/AzureTableTrackingStore.cs`
//! (PurgeInstanceHistoryAsync): read the Instances row; query the history; delete its rows in
//! transactions of 100; list and delete the blobs of large content; delete the Instances row.
//!
//! The sentinel goes with the first transaction, under the ETag that was read. From then on the
//! instance has no history, whatever is left of its rows: a step that runs meanwhile is refused by
//! its own ETag and runs again on nothing. The condition is an addition; the published engine deletes
//! whatever it finds.

use crate::checkpoint::ENTITIES_MAX;
use crate::history::SENTINEL;
use crate::instances;
use crate::worker::Worker;
use sim_model::engine::ClientError;
use sim_model::id::InstanceId;
use sim_world::service::StorageError;
use sim_world::table::{Entity, TableAction, TableOperation};

/// Removes an instance; false if there was none.
pub(crate) async fn purge(worker: &Worker, instance: &InstanceId) -> Result<bool, ClientError> {
    let refused = |error: String| ClientError::Refused(error);
    let row = worker.store.read_instance(instance).await;
    let Some((row, _)) = row.map_err(|error| refused(error.to_string()))?.value else {
        return Ok(false);
    };
    if !row.status.is_final() && !instance.is_entity() {
        return Err(refused(format!("instance {instance} has not ended")));
    }
    let table = &worker.shared.history;
    let query = table.query_partition(&worker.store.host, instance.as_str());
    let rows = worker.store.limited(query).await;
    let rows = rows.map_err(|error| refused(error.to_string()))?.value;
    delete_history(worker, instance, rows).await.map_err(|error| match error {
        StorageError::PreconditionFailed | StorageError::NotFound { .. } => {
            refused(format!("instance {instance} was changed meanwhile"))
        }
        error => ClientError::Unknown(error.to_string()),
    })?;
    let unknown = |error: StorageError| ClientError::Unknown(error.to_string());
    worker.store.delete_large(instance).await.map_err(unknown)?;
    instances::remove(worker, instance).await.map_err(unknown)?;
    worker.shared.counters.purges.count();
    Ok(true)
}

/// Deletes the rows of a history, the sentinel with the first of them.
async fn delete_history(
    worker: &Worker,
    instance: &InstanceId,
    mut rows: Vec<Entity>,
) -> Result<(), StorageError> {
    rows.reverse();
    let has_sentinel = rows.first().is_some_and(|row| &*row.row_key == SENTINEL);
    for (number, part) in rows.chunks(ENTITIES_MAX).enumerate() {
        let deletes = part.iter().map(|row| {
            let etag = (&*row.row_key == SENTINEL).then_some(row.etag);
            TableOperation::new(row.row_key.clone(), TableAction::Delete(etag))
        });
        worker.store.write_history(instance, deletes.collect()).await?;
        if number == 0 && has_sentinel && instance.is_entity() {
            // An orchestration has ended its life itself.
            worker.shared.observer.graph().removed(instance);
        }
    }
    Ok(())
}
