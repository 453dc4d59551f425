//! What a host owns: claims, renewals, and the partitions that run because of them.
//!
//! Each partition of the event log has a blob `owners/p..` whose lease says who owns it, and the load
//! monitor's event log has `owners/monitor`. The decisions are [`crate::ownership`]'s. While a host owns
//! a partition it keeps it running: it acquires the partition's own lease, lets an incarnation live
//! until it ends, and begins the next one: at once after a rollback, after a growing pause (0, 1, 5,
//! 10, 60 s) after a failure. Source of the pauses: microsoft/durabletask-netherite,
//! `TransportLayer/EventHubs/PartitionProcessor.cs`.
//!
//! A partition whose log lies on the disk of a host is that host's: it begins there whenever the host
//! starts, without any lease, and is neither taken nor stolen by others.

use crate::commit_log::LogLost;
use crate::host::HostProcess;
use crate::lease::PartitionLease;
use crate::monitor_runner::{self, MonitorCounts};
use crate::ownership::{Plan, Seen, plan};
use crate::placement::host_of;
use crate::reports::bump;
use crate::runner::{Ending, PartitionRunner, Resumption};
use crate::settings::LogMedium;
use crate::stop::Stop;
use bytes::Bytes;
use futures_util::future::join_all;
use sim_model::time::Timestamp;
use sim_world::blob::LeaseId;
use sim_world::kernel::Completion;
use sim_world::service::StorageError;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// When a host first looks at what nobody owns: the hosts that start with it have claimed their own.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// Something a host owns.
struct Owned {
    /// None for a partition that the disk of this host holds.
    lease: Option<LeaseId>,
    renewed: Timestamp,
    /// Ends what runs because of it.
    stop: Rc<Stop>,
    /// Resolved when that has ended.
    ended: Option<Completion<()>>,
}

/// What one host owns. The load monitor counts as one more partition.
pub(crate) struct Owner {
    process: Rc<HostProcess>,
    monitored: Rc<MonitorCounts>,
    owned: RefCell<BTreeMap<u32, Owned>>,
    stopping: Cell<bool>,
}

impl Owner {
    pub(crate) fn new(process: Rc<HostProcess>, monitored: Rc<MonitorCounts>) -> Rc<Owner> {
        let (owned, stopping) = (RefCell::default(), Cell::new(false));
        Rc::new(Owner { process, monitored, owned, stopping })
    }

    /// The number that stands for the load monitor.
    fn monitor(&self) -> u32 {
        self.process.setup.partitions
    }

    /// Whether the disk of one host says who owns it.
    fn is_on_disk(&self, unit: u32) -> bool {
        unit != self.monitor() && self.process.setup.config.log == LogMedium::LocalDisk
    }

    fn blob(&self, unit: u32) -> String {
        if unit == self.monitor() {
            "owners/monitor".to_owned()
        } else {
            format!("owners/p{unit:02}")
        }
    }

    /// Claims what was dealt to this host, and then keeps looking, until it is stopped.
    pub(crate) async fn run(self: Rc<Self>) {
        let setup = &self.process.setup;
        let hosts = setup.hosts as usize;
        let dealt = |unit: &u32| match *unit == self.monitor() {
            true => host_of(0, hosts) == setup.index as usize,
            false => host_of(*unit, hosts) == setup.index as usize,
        };
        let dealt: Vec<u32> = (0..=self.monitor()).filter(dealt).collect();
        let (held, dealt): (Vec<u32>, Vec<u32>) =
            dealt.into_iter().partition(|unit| self.is_on_disk(*unit));
        held.into_iter().for_each(|unit| self.begin(unit, None, setup.kernel.now()));
        join_all(dealt.into_iter().map(|unit| self.claim(unit, false))).await;
        let mut draws = setup.seeds.stream(&format!("ownership {}", self.process.host().name()));
        let mut pause = FIRST_LOOK;
        loop {
            setup.kernel.sleep(pause).await;
            pause = setup.config.ownership_interval;
            if self.stopping.get() {
                return;
            }
            self.renew().await;
            let Some((seen, monitor_is_free)) = self.look().await else { continue };
            if monitor_is_free {
                self.claim(self.monitor(), false).await;
            }
            if self.is_on_disk(0) {
                continue;
            }
            let Plan { take, steal_one_of } = plan(&seen, &self.process.name());
            join_all(take.into_iter().map(|unit| self.claim(unit, false))).await;
            if !steal_one_of.is_empty() {
                let chosen = draws.below(steal_one_of.len() as u64) as usize;
                self.claim(steal_one_of[chosen], true).await;
            }
        }
    }

    /// Who owns the partitions, and whether nobody owns the load monitor.
    async fn look(&self) -> Option<(Vec<Seen>, bool)> {
        let setup = &self.process.setup;
        let listed =
            setup.services.blobs.list_details(self.process.host(), "owners/").await.ok()?;
        let listed = listed.value;
        let owner = |unit: u32| -> Option<Rc<str>> {
            let blob = listed.iter().find(|blob| *blob.name == *self.blob(unit))?;
            let name = std::str::from_utf8(&blob.metadata).expect("names are text");
            blob.leased.then(|| Rc::from(name))
        };
        let seen = |partition| Seen { partition, owner: owner(partition) };
        let seen = (0..setup.partitions).map(seen).collect();
        Some((seen, owner(self.monitor()).is_none()))
    }

    /// Claims something that nobody owns, or steals it; then lets it run.
    async fn claim(self: &Rc<Self>, unit: u32, steal: bool) {
        let setup = &self.process.setup;
        let (host, blobs, blob) = (self.process.host(), &setup.services.blobs, self.blob(unit));
        if self.stopping.get() || self.owned.borrow().contains_key(&unit) {
            return;
        }
        if steal && blobs.break_lease(host, &blob).await.is_err() {
            return;
        }
        let duration = Some(setup.config.ownership_lease);
        let mut asked = setup.kernel.now();
        let mut acquired = blobs.acquire_lease(host, &blob, duration).await;
        if let Err(StorageError::NotFound { .. }) = acquired {
            if blobs.put(host, &blob, Bytes::new(), None).await.is_err() {
                return;
            }
            asked = setup.kernel.now();
            acquired = blobs.acquire_lease(host, &blob, duration).await;
        }
        let Ok(lease) = acquired.map(|reply| reply.value) else { return };
        let name = Bytes::copy_from_slice(self.process.name().as_bytes());
        if blobs.set_metadata(host, &blob, name, Some(lease)).await.is_err() {
            return;
        }
        self.begin(unit, Some(lease), asked);
    }

    fn begin(self: &Rc<Self>, unit: u32, lease: Option<LeaseId>, renewed: Timestamp) {
        let setup = &self.process.setup;
        let stop = Rc::new(Stop::new(&setup.kernel));
        let (resolver, ended) = setup.kernel.completion();
        let owned = Owned { lease, renewed, stop: stop.clone(), ended: Some(ended) };
        self.owned.borrow_mut().insert(unit, owned);
        let owner = self.clone();
        self.process.host().spawn(async move {
            if unit == owner.monitor() {
                owner.run_monitor(&stop).await;
            } else {
                run_partition(&owner.process, unit, &stop).await;
            }
            resolver.resolve(());
        });
    }

    async fn run_monitor(&self, stop: &Stop) {
        let process = self.process.clone();
        let monitor = monitor_runner::run(process, self.monitored.clone());
        stop.unless(monitor).await;
    }

    /// Renews what is owned, and gives up what is not owned any more.
    async fn renew(&self) {
        let setup = &self.process.setup;
        let leases: Vec<(u32, LeaseId)> = self
            .owned
            .borrow()
            .iter()
            .filter_map(|(unit, owned)| Some((*unit, owned.lease?)))
            .collect();
        let asked = setup.kernel.now();
        let renew = async |(unit, lease): (u32, LeaseId)| {
            let blob = self.blob(unit);
            let renewed = setup.services.blobs.renew_lease(self.process.host(), &blob, lease).await;
            let mut owned = self.owned.borrow_mut();
            let Some(entry) = owned.get_mut(&unit).filter(|entry| entry.lease == Some(lease))
            else {
                return;
            };
            let counted = self.process.host().counted_since(entry.renewed);
            let expired = counted >= setup.config.ownership_lease;
            match renewed {
                Ok(_) => entry.renewed = asked,
                Err(StorageError::Conflict { .. } | StorageError::NotFound { .. }) => {
                    entry.stop.stop();
                    owned.remove(&unit);
                }
                Err(_) if expired => {
                    entry.stop.stop();
                    owned.remove(&unit);
                }
                Err(_) => {}
            }
        };
        join_all(leases.into_iter().map(renew)).await;
    }

    /// Gives up everything, in an orderly way.
    pub(crate) async fn stop(&self) {
        self.stopping.set(true);
        let owned = std::mem::take(&mut *self.owned.borrow_mut());
        let give_up = async |(unit, mut owned): (u32, Owned)| {
            owned.stop.stop();
            if let Some(ended) = owned.ended.take() {
                ended.await;
            }
            if let Some(lease) = owned.lease {
                let (host, blobs) = (self.process.host(), &self.process.setup.services.blobs);
                // What cannot be released ends by itself.
                drop(blobs.release_lease(host, &self.blob(unit), lease).await);
            }
        };
        join_all(owned.into_iter().map(give_up)).await;
        self.process.drain().await;
    }
}

/// The pause before the next attempt after so many failures in a row.
fn pause_after(failures: u32) -> Duration {
    Duration::from_secs(match failures {
        0..2 => 0,
        2..10 => 1,
        10..100 => 5,
        100..200 => 10,
        _ => 60,
    })
}

/// Keeps a partition running, one incarnation after the other, until it is stopped.
async fn run_partition(process: &Rc<HostProcess>, index: u32, stop: &Stop) {
    let setup = &process.setup;
    let mut failures = 0;
    while !stop.is_stopped() {
        let (host, blobs) = (process.host().clone(), setup.services.blobs.clone());
        let lease = match setup.config.log {
            LogMedium::LocalDisk => PartitionLease::of_disk(host, setup.config.clone()),
            LogMedium::PageBlob | LogMedium::ReplicatedDisk => {
                let blob = lease_blob(index, setup.config.fencing);
                let acquired = PartitionLease::acquire(host, blobs, blob, setup.config.clone());
                let Some(lease) = stop.unless(acquired).await else { return };
                lease
            }
        };
        let clean = run_under(process, index, &lease, stop).await;
        if clean {
            lease.release().await;
            return;
        }
        lease.release().await;
        bump(&setup.reports[index as usize].counts.lost, 1);
        failures += 1;
        let pause = setup.kernel.sleep(pause_after(failures));
        stop.unless(pause).await;
    }
}

/// The blob whose lease the writer of a partition's log holds. Without fencing it is another one than
/// the log's own.
fn lease_blob(index: u32, fenced: bool) -> String {
    let name = if fenced { "commit" } else { "lease" };
    format!("p{index:02}/{name}")
}

/// Lets incarnations live under one lease; whether the last one was stopped in an orderly way.
async fn run_under(
    process: &Rc<HostProcess>,
    index: u32,
    lease: &Rc<PartitionLease>,
    stop: &Stop,
) -> bool {
    let mut left = Resumption::default();
    loop {
        let permit = process.starts.acquire().await;
        let starting = PartitionRunner::start(process, index, lease.clone(), left.clone());
        let started = match process.setup.config.log {
            // A majority of the machines may be gone for long.
            LogMedium::ReplicatedDisk => stop.unless(starting).await.unwrap_or(Err(LogLost)),
            LogMedium::PageBlob | LogMedium::LocalDisk => starting.await,
        };
        drop(permit);
        let Ok(runner) = started else { return false };
        process.add_runner(index, &runner);
        let ending = match stop.unless(runner.ended()).await {
            Some(ending) => ending,
            None => runner.stop().await,
        };
        process.remove_runner(index, &runner);
        match ending {
            Ending::RollBack(resumption) => left = resumption,
            Ending::Stopped => return true,
            Ending::Lost => return false,
        }
    }
}
