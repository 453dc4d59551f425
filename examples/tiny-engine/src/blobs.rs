//! Histories in blobs: one for each instance, replaced whole by each step.
//!
//! A request that the client library has given up is made again after a second, for ever: the engine has
//! no other copy. The time it took is charged to whoever waits for the step.

use sim_model::codec;
use sim_model::history::HistoryEvent;
use sim_model::id::InstanceId;
use sim_model::ledger::{Category, Ledger, Timing};
use sim_world::blob::BlobContainer;
use sim_world::host::Host;
use sim_world::kernel::Kernel;
use sim_world::service::{Reply, StorageError};
use sim_world::world::World;
use std::time::Duration;

/// Pause before a request is made again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct Blobs {
    kernel: Kernel,
    container: BlobContainer,
}

impl Blobs {
    pub(crate) fn new(world: &World) -> Blobs {
        let container = world.storage().container("histories");
        Blobs { kernel: world.kernel().clone(), container }
    }

    /// The history of an instance that has run a step.
    pub(crate) async fn read(
        &self,
        host: &Host,
        instance: &InstanceId,
        ledger: &mut Ledger,
    ) -> Vec<HistoryEvent> {
        let reply = self.persistently(async || self.container.get(host, instance.as_str()).await);
        let reply = reply.await;
        ledger.charge_request(&reply.timing, self.kernel.now(), Category::Retries);
        codec::decode(&reply.value).expect("invariant: it is what a step has written")
    }

    /// Replaces the history of an instance, and says where the time went.
    pub(crate) async fn write(
        &self,
        host: &Host,
        instance: &InstanceId,
        history: &[HistoryEvent],
    ) -> Timing {
        let bytes = codec::encode(&history);
        let put = async || self.container.put(host, instance.as_str(), bytes.clone(), None).await;
        self.persistently(put).await.timing
    }

    /// Removes the history of an instance.
    pub(crate) async fn remove(&self, host: &Host, instance: &InstanceId) {
        let removed = async || match self.container.delete(host, instance.as_str(), None).await {
            // An instance that has not run a step has none.
            Err(StorageError::NotFound { .. }) => {
                Ok(Reply { value: (), timing: Timing::default() })
            }
            other => other,
        };
        self.persistently(removed).await;
    }

    async fn persistently<T>(
        &self,
        request: impl AsyncFn() -> Result<Reply<T>, StorageError>,
    ) -> Reply<T> {
        loop {
            match request().await {
                Ok(reply) => return reply,
                Err(StorageError::ServerBusy { .. } | StorageError::TimedOut { .. }) => {
                    self.kernel.sleep(AGAIN_AFTER).await;
                }
                Err(error) => panic!("a mistake of this engine: {error}"),
            }
        }
    }
}
