//! The tasks of a worker that manages its leases on blobs.
//!
//! A *set* of leases is one blob for each control queue. Two tasks look after each set: one looks at
//! all blobs (a list, and a read of each that is leased) and takes what [`crate::leases::balance`] says, one
//! renews what is held. A blob holds the name of its holder and the identifier of the lease, by which
//! others can take the lease over.
//!
//! **Legacy.** One set. Whoever holds the lease of a queue listens to it; who finds at a renewal that
//! it was taken stops. Until then two workers listen.
//!
//! **Safe.** The *intent* set is balanced. The *ownership* set follows: a worker acquires ownership of
//! a queue only if it has the intent, and nobody steals ownership. Who loses an intent stops
//! listening, renews the ownership until the queue is drained, and then gives it up.
//!
//! Source: Azure/durabletask main@5217032, `Partitioning/SafePartitionManager.cs` (ownership: acquire
//! 5 s, renew 10 s, lease 15 s), `LegacyPartitionManager.cs`, `LeaseCollectionBalancer.cs`,
//! `BlobPartitionLeaseManager.cs`. A lease that could not be renewed until it ran out counts as lost
//! \[infer\]; looking after a draining queue every 500 ms is `OrchestrationSessionManager.cs` (DrainAsync).

use super::balance::{Seen, Take, take};
use super::{drain, is_drained, lose, own};
use crate::shared::Shared;
use crate::wire::{LEASE_ENVELOPE, Stored, inline, open};
use crate::worker::Worker;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sim_model::time::Timestamp;
use sim_world::blob::{BlobContainer, LeaseId};
use sim_world::service::{RequestOptions, StorageError};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

const OWNERSHIP_ACQUIRE: Duration = Duration::from_secs(5);
const OWNERSHIP_RENEW: Duration = Duration::from_secs(10);
const OWNERSHIP_LEASE: Duration = Duration::from_secs(15);
/// How often a draining queue is looked after.
const DRAIN_POLL: Duration = Duration::from_millis(500);
/// Deadline of an operation on a lease: within the shortest lease, so that a lost answer leaves time
/// for another try. Source: \[assumption\].
const DEADLINE: Duration = Duration::from_secs(2);

/// The content of a lease blob.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Content {
    holder: Option<Rc<str>>,
    lease: u64,
}

/// A lease that the worker holds.
#[derive(Clone, Copy)]
struct Held {
    lease: LeaseId,
    /// When its last renewal was sent.
    renewed: Timestamp,
}

/// What a set of leases stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Legacy,
    Intent,
    Ownership,
}

/// One blob for each control queue, as one worker sees them.
struct Set {
    role: Role,
    folder: &'static str,
    blobs: BlobContainer,
    acquire: Duration,
    renew: Duration,
    term: Duration,
    held: RefCell<BTreeMap<usize, Held>>,
}

impl Set {
    fn new(worker: &Worker, role: Role) -> Rc<Set> {
        let parameters = &worker.shared.parameters;
        let (folder, acquire, renew, term) = match role {
            Role::Ownership => ("ownership", OWNERSHIP_ACQUIRE, OWNERSHIP_RENEW, OWNERSHIP_LEASE),
            Role::Intent | Role::Legacy => (
                if role == Role::Intent { "intent" } else { "default" },
                parameters.lease_acquire_interval,
                parameters.lease_renew_interval,
                parameters.lease_interval,
            ),
        };
        let blobs = worker.shared.leases.with_options(RequestOptions::once(DEADLINE));
        let held = RefCell::default();
        Rc::new(Set { role, folder, blobs, acquire, renew, term, held })
    }

    fn blob(&self, queue: usize) -> String {
        format!("{}/{}", self.folder, Shared::queue_name(queue))
    }

    fn holds(&self, queue: usize) -> bool {
        self.held.borrow().contains_key(&queue)
    }
}

/// One set of leases.
pub(super) fn start_legacy(worker: &Rc<Worker>) {
    let set = Set::new(worker, Role::Legacy);
    worker.spawn_counted(take_leases(worker.clone(), set.clone(), None));
    worker.spawn_counted(renew_leases(worker.clone(), set));
}

/// Intent and ownership.
pub(super) fn start_safe(worker: &Rc<Worker>) {
    let (intent, ownership) = (Set::new(worker, Role::Intent), Set::new(worker, Role::Ownership));
    worker.spawn_counted(take_leases(worker.clone(), intent.clone(), None));
    worker.spawn_counted(renew_leases(worker.clone(), intent.clone()));
    worker.spawn_counted(take_leases(worker.clone(), ownership.clone(), Some(intent.clone())));
    worker.spawn_counted(renew_leases(worker.clone(), ownership.clone()));
    worker.spawn_counted(hand_over(worker.clone(), intent, ownership));
}

/// Takes leases of a set until the worker stops. Of ownership, only those whose `intent` it has.
async fn take_leases(worker: Rc<Worker>, set: Rc<Set>, intent: Option<Rc<Set>>) {
    let may_have = |queue: usize| intent.as_ref().is_none_or(|intent| intent.holds(queue));
    while !worker.is_stopping() {
        match look(&worker, &set).await {
            Ok(seen) => {
                let plan = take(&worker.name, &seen, may_have, set.role != Role::Ownership);
                for taken in plan {
                    if worker.is_stopping() {
                        break;
                    }
                    if acquire(&worker, &set, taken).await.is_err() {
                        worker.shared.counters.lease_conflicts.count();
                    }
                }
            }
            Err(_) => worker.shared.counters.lease_failures.count(),
        }
        rest(&worker, set.acquire).await;
    }
}

/// Waits, but not longer than until the worker is to stop.
async fn rest(worker: &Worker, span: Duration) {
    let until = worker.shared.now() + span;
    while !worker.is_stopping() && worker.shared.now() < until {
        let pause = until.since(worker.shared.now()).min(Duration::from_secs(1));
        worker.shared.kernel().sleep(pause).await;
    }
}

/// Lists all blobs of a set, makes those that are missing, and reads those that are leased.
async fn look(worker: &Worker, set: &Set) -> Result<Vec<Seen>, StorageError> {
    let (store, counters) = (&worker.store, &worker.shared.counters);
    counters.lease_operations.count();
    let prefix = format!("{}/", set.folder);
    let listed = store.limited(set.blobs.list_details(&store.host, &prefix)).await?.value;
    let leased: BTreeMap<Rc<str>, bool> =
        listed.into_iter().map(|blob| (blob.name, blob.leased)).collect();
    let looks = (0..worker.shared.control_queues.len()).map(async |queue| {
        let holder = match leased.get(&*set.blob(queue)) {
            Some(false) => None,
            Some(true) => read(worker, set, queue).await?.and_then(|content| content.holder),
            None => {
                // Somebody else may have made and leased it meanwhile: then this is refused.
                let content = Content { holder: None, lease: 0 };
                let made = write(worker, set, queue, &content, None).await;
                if !matches!(made, Ok(()) | Err(StorageError::LeaseLost)) {
                    made?;
                }
                None
            }
        };
        Ok(Seen { queue, holder })
    });
    join_all(looks).await.into_iter().collect()
}

async fn read(worker: &Worker, set: &Set, queue: usize) -> Result<Option<Content>, StorageError> {
    worker.shared.counters.lease_operations.count();
    let (store, blob) = (&worker.store, set.blob(queue));
    let body = store.limited(set.blobs.get(&store.host, &blob)).await?.value;
    match open::<Content>(&body) {
        Ok(Stored::Inline(content)) => Ok(Some(content)),
        _ => Ok(None),
    }
}

async fn write(
    worker: &Worker,
    set: &Set,
    queue: usize,
    content: &Content,
    lease: Option<LeaseId>,
) -> Result<(), StorageError> {
    worker.shared.counters.lease_operations.count();
    let (store, blob) = (&worker.store, set.blob(queue));
    let body = inline(content, LEASE_ENVELOPE);
    store.limited(set.blobs.put(&store.host, &blob, body, lease)).await.map(|_| ())
}

/// Acquires or steals a lease, and signs its blob.
async fn acquire(worker: &Rc<Worker>, set: &Set, taken: Take) -> Result<(), StorageError> {
    let (store, counters) = (&worker.store, &worker.shared.counters);
    let sent = worker.shared.now();
    let (queue, lease) = match taken {
        Take::Acquire(queue) => {
            counters.lease_operations.count();
            let (blob, term) = (set.blob(queue), Some(set.term));
            let acquired = set.blobs.acquire_lease(&store.host, &blob, term);
            (queue, store.limited(acquired).await?.value)
        }
        Take::Steal(queue) => {
            let Some(content) = read(worker, set, queue).await? else { return Ok(()) };
            counters.lease_operations.count();
            let (blob, held) = (set.blob(queue), LeaseId::from_bits(content.lease));
            let changed = store.limited(set.blobs.change_lease(&store.host, &blob, held)).await?;
            counters.leases_stolen.count();
            (queue, changed.value)
        }
    };
    let content = Content { holder: Some(worker.name.clone()), lease: lease.to_bits() };
    write(worker, set, queue, &content, Some(lease)).await?;
    set.held.borrow_mut().insert(queue, Held { lease, renewed: sent });
    if worker.is_stopping() {
        // It was asked to stop meanwhile, and may have given up all else.
        release(worker, set, queue).await;
    } else if set.role != Role::Intent {
        own(worker, queue);
    }
    Ok(())
}

/// Renews the leases of a set until the worker stops and has given them all up.
async fn renew_leases(worker: Rc<Worker>, set: Rc<Set>) {
    loop {
        if worker.is_stopping() {
            give_up(&worker, &set).await;
            if set.held.borrow().is_empty() {
                return;
            }
        }
        let held: Vec<(usize, Held)> =
            set.held.borrow().iter().map(|(queue, held)| (*queue, *held)).collect();
        join_all(held.into_iter().map(|(queue, held)| renew(&worker, &set, queue, held))).await;
        match worker.is_stopping() {
            true => worker.shared.kernel().sleep(DRAIN_POLL).await,
            false => rest(&worker, set.renew).await,
        }
    }
}

async fn renew(worker: &Worker, set: &Set, queue: usize, held: Held) {
    let (store, counters) = (&worker.store, &worker.shared.counters);
    if worker.is_stopping() && worker.shared.now().since(held.renewed) < set.renew {
        return;
    }
    counters.lease_operations.count();
    let (sent, blob) = (worker.shared.now(), set.blob(queue));
    let renewal = store.limited(set.blobs.renew_lease(&store.host, &blob, held.lease)).await;
    let mut all = set.held.borrow_mut();
    let Some(entry) = all.get_mut(&queue).filter(|entry| entry.lease == held.lease) else {
        return;
    };
    let ran_out = store.host.counted_since(held.renewed) >= set.term;
    match renewal {
        Ok(_) => {
            counters.leases_renewed.count();
            entry.renewed = sent;
        }
        Err(error) if ran_out || !is_transient(&error) => {
            all.remove(&queue);
            match set.role {
                // What is in memory is drained; the ownership goes over after that.
                Role::Intent => drain(worker, queue),
                Role::Legacy | Role::Ownership => lose(worker, queue),
            }
        }
        Err(_) => counters.lease_failures.count(),
    }
}

fn is_transient(error: &StorageError) -> bool {
    matches!(error, StorageError::TimedOut { .. } | StorageError::ServerBusy { .. })
}

/// Gives up the leases of queues that the worker no longer needs because it stops.
async fn give_up(worker: &Worker, set: &Set) {
    let queues: Vec<usize> = set.held.borrow().keys().copied().collect();
    for queue in queues {
        drain(worker, queue);
        // An intent goes at once, so that another can have it; the queue itself when it is drained.
        if set.role == Role::Intent || (!worker.listens(queue) && is_drained(worker, queue)) {
            release(worker, set, queue).await;
        }
    }
}

async fn release(worker: &Worker, set: &Set, queue: usize) {
    let Some(held) = set.held.borrow_mut().remove(&queue) else { return };
    let (store, counters) = (&worker.store, &worker.shared.counters);
    let content = Content { holder: None, lease: 0 };
    let signed = write(worker, set, queue, &content, Some(held.lease)).await;
    counters.lease_operations.count();
    let blob = set.blob(queue);
    let released = store.limited(set.blobs.release_lease(&store.host, &blob, held.lease));
    // A lease that could not be given up runs out.
    match (signed, released.await) {
        (_, Ok(_)) => counters.leases_released.count(),
        _ => counters.lease_failures.count(),
    }
}

/// Gives up the ownership of queues whose intent is gone once they are drained, until the worker
/// stops; then [`renew_leases`] does it.
async fn hand_over(worker: Rc<Worker>, intent: Rc<Set>, ownership: Rc<Set>) {
    while !worker.is_stopping() {
        let owned: Vec<usize> = ownership.held.borrow().keys().copied().collect();
        for queue in owned {
            if intent.holds(queue) {
                // Also when the intent was lost and has come back before the queue was handed over.
                own(&worker, queue);
                continue;
            }
            drain(&worker, queue);
            if is_drained(&worker, queue) {
                release(&worker, &ownership, queue).await;
            }
        }
        worker.shared.kernel().sleep(DRAIN_POLL).await;
    }
}
