//! The lease on a partition: who holds it may write the partition's log.
//!
//! **What it models.** A blob lease (45 s), renewed every 30 s. Whoever could not renew it stops a
//! safety buffer (10 s) before it would end, counted from the sending of the last renewal that was
//! answered, by the host's own timer: by then the partition makes no more promises, and another host can
//! take over. A lease that
//! another holds is asked for every second. Source: microsoft/durabletask-netherite,
//! `StorageLayer/Faster/AzureBlobs/BlobManager.cs`.
//!
//! A log on the disk of its host needs no lease: nobody else can write it, and a process of that host has
//! ended before the next one begins.

use crate::settings::Config;
use bytes::Bytes;
use sim_model::time::Timestamp;
use sim_world::blob::{BlobContainer, Condition, LeaseId};
use sim_world::host::Host;
use sim_world::kernel::Notify;
use sim_world::service::StorageError;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Until when the holder of a lease may act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseClock {
    duration: Duration,
    buffer: Duration,
    renewed: Timestamp,
}

impl LeaseClock {
    /// A lease that was asked for at `asked`, and granted.
    pub(crate) fn new(duration: Duration, buffer: Duration, asked: Timestamp) -> LeaseClock {
        LeaseClock { duration, buffer, renewed: asked }
    }

    /// A renewal that was asked for at `asked` was granted.
    pub(crate) fn renewed(&mut self, asked: Timestamp) {
        self.renewed = self.renewed.max(asked);
    }

    /// When the last renewal that was granted was asked for.
    pub(crate) fn asked(&self) -> Timestamp {
        self.renewed
    }

    /// How much longer its holder may act on it, having counted so much since that.
    pub(crate) fn left(&self, counted: Duration) -> Duration {
        (self.duration - self.buffer).saturating_sub(counted)
    }
}

/// A lease that this host holds, or has lost.
pub(crate) struct PartitionLease {
    host: Host,
    /// The lease on a blob; none if it is the disk of the host that says who may write.
    on_blob: Option<OnBlob>,
    config: Config,
    clock: Cell<LeaseClock>,
    lost: Cell<bool>,
    changed: Notify,
}

struct OnBlob {
    id: LeaseId,
    blobs: BlobContainer,
    blob: String,
}

impl PartitionLease {
    /// What stands for the lease of a log on the disk of `host`.
    pub(crate) fn of_disk(host: Host, config: Config) -> Rc<PartitionLease> {
        let kernel = host.kernel();
        let clock = LeaseClock::new(config.lease_duration, config.lease_buffer, kernel.now());
        let (clock, changed) = (Cell::new(clock), kernel.notify());
        Rc::new(PartitionLease {
            on_blob: None,
            config,
            clock,
            lost: Cell::new(false),
            changed,
            host,
        })
    }

    /// The lease on the blob, if there is one.
    pub(crate) fn id(&self) -> Option<LeaseId> {
        self.on_blob.as_ref().map(|held| held.id)
    }

    /// Asks for the lease on `blob` until it is granted. The blob is created if there is none.
    pub(crate) async fn acquire(
        host: Host,
        blobs: BlobContainer,
        blob: String,
        config: Config,
    ) -> Rc<PartitionLease> {
        let kernel = host.kernel().clone();
        let (asked, id) = loop {
            let asked = kernel.now();
            let acquired = blobs.acquire_lease(&host, &blob, Some(config.lease_duration));
            match acquired.await {
                Ok(reply) => break (asked, reply.value),
                Err(StorageError::NotFound { .. }) => {
                    // Whoever leases it first keeps it: this is refused then, however late it comes.
                    let condition = Condition::Absent;
                    let put = blobs.put_if(&host, &blob, Bytes::new(), None, condition);
                    if put.await.is_err() {
                        kernel.sleep(config.lease_retry).await;
                    }
                }
                Err(_) => kernel.sleep(config.lease_retry).await,
            }
        };
        let clock = LeaseClock::new(config.lease_duration, config.lease_buffer, asked);
        let lease = Rc::new(PartitionLease {
            on_blob: Some(OnBlob { id, blobs, blob }),
            config,
            clock: Cell::new(clock),
            lost: Cell::new(false),
            changed: kernel.notify(),
            host: host.clone(),
        });
        host.spawn(lease.clone().renew());
        host.spawn(lease.clone().watch());
        lease
    }

    /// Whether the holder must not act on it any more. A host that was frozen asks before it does
    /// anything.
    pub(crate) fn is_lost(&self) -> bool {
        let can_end = self.on_blob.is_some() && self.config.lease_watch;
        if !self.lost.get() && can_end && self.left().is_zero() {
            self.lose();
        }
        self.lost.get()
    }

    /// How much longer the holder may act on it, by the host's timer.
    fn left(&self) -> Duration {
        let clock = self.clock.get();
        clock.left(self.host.counted_since(clock.asked()))
    }

    /// Waits until the lease is lost.
    pub(crate) async fn lost(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_lost() {
                return;
            }
            changed.await;
        }
    }

    /// Gives it up.
    pub(crate) async fn release(&self) {
        self.lose();
        if let Some(OnBlob { id, blobs, blob }) = &self.on_blob {
            // A lease that cannot be released ends by itself.
            drop(blobs.release_lease(&self.host, blob, *id).await);
        }
    }

    fn lose(&self) {
        self.lost.set(true);
        self.changed.notify_all();
    }

    async fn renew(self: Rc<Self>) {
        let kernel = self.host.kernel().clone();
        let Some(OnBlob { id, blobs, blob }) = &self.on_blob else { return };
        while !self.lost.get() {
            self.host.sleep(self.config.lease_renewal).await;
            if self.lost.get() {
                return;
            }
            let asked = kernel.now();
            match blobs.renew_lease(&self.host, blob, *id).await {
                Ok(_) => {
                    let mut clock = self.clock.get();
                    clock.renewed(asked);
                    self.clock.set(clock);
                }
                Err(StorageError::Conflict { .. } | StorageError::NotFound { .. }) => self.lose(),
                // The service does not answer: the watch stops the partition if that goes on.
                Err(_) => {}
            }
        }
    }

    async fn watch(self: Rc<Self>) {
        while !self.is_lost() && self.config.lease_watch {
            self.host.sleep(self.left()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_stops_a_buffer_before_the_lease_ends() {
        let seconds = Duration::from_secs;
        let mut clock = LeaseClock::new(seconds(45), seconds(10), Timestamp::from_secs(100));
        assert_eq!(
            (clock.asked(), clock.left(seconds(34))),
            (Timestamp::from_secs(100), seconds(1))
        );
        assert_eq!((clock.left(seconds(35)), clock.left(seconds(99))), (seconds(0), seconds(0)));
        clock.renewed(Timestamp::from_secs(130));
        assert_eq!(clock.asked(), Timestamp::from_secs(130));
        clock.renewed(Timestamp::from_secs(120));
        assert_eq!(clock.asked(), Timestamp::from_secs(130), "answers may come out of order");
    }
}
