//! What a worker does about the rows of the Partitions table: a plan for one round.
//!
//! A worker reads all rows, and goes through them in order. It *claims* a row that has no owner, has
//! expired, or was released to it; it *renews* its own; if another is named as the next owner of one
//! of its own, it *drains* the queue and then *releases* the row; rows of others it counts. Then it
//! *balances*: with `p` partitions and `w` workers each is to have `p / w`, rounded down; a worker that
//! has fewer names itself as the next owner of rows of workers that have more. If the division leaves
//! a rest, a worker that has its share takes one more from a worker that has two more. Rows of a
//! worker that is shutting down (draining without a next owner) are asked for at once. A worker that
//! shuts down itself drains and releases all its rows, and claims none.
//!
//! Every write is made under the ETag that was read; a refused one ends the round, and the next one
//! begins at once.
//!
//! Source: Azure/durabletask main@5217032, `Partitioning/TablePartitionManager.cs`. A worker that
//! finds a row of its own that it does not listen to (the answer to its claim was lost) takes it for
//! its own \[infer\]; a worker that shuts down takes its name from rows that were not released to it
//! yet \[infer\].

use serde::{Deserialize, Serialize};
use sim_model::time::Timestamp;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How long a lease lasts that was claimed. Source: `TablePartitionManager.cs` (ClaimLease).
pub(crate) const CLAIM_INTERVAL: Duration = Duration::from_secs(60);

/// A row of the Partitions table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// Who owns the control queue.
    pub owner: Option<Rc<str>>,
    /// Who has asked for it.
    pub next_owner: Option<Rc<str>>,
    /// When the owner claimed it.
    pub owned_since: Timestamp,
    /// When it was last renewed.
    pub renewed: Timestamp,
    /// From when on anybody may claim it.
    pub expires: Timestamp,
    /// Whether its owner is giving it up.
    pub draining: bool,
}

impl Lease {
    /// The lease of a control queue that nobody has owned yet.
    pub fn unowned() -> Lease {
        Lease {
            owner: None,
            next_owner: None,
            owned_since: Timestamp::ZERO,
            renewed: Timestamp::ZERO,
            expires: Timestamp::ZERO,
            draining: false,
        }
    }

    fn is_of(&self, worker: &str) -> bool {
        self.owner.as_deref() == Some(worker)
    }

    fn is_next_of(&self, worker: &str) -> bool {
        self.next_owner.as_deref() == Some(worker)
    }

    /// Who will have it in the end, as far as is known; nobody if its owner shuts down.
    fn destined(&self) -> Option<&Rc<str>> {
        self.next_owner.as_ref().or(self.owner.as_ref().filter(|_| !self.draining))
    }

    fn renew(mut self, now: Timestamp, interval: Duration) -> Lease {
        (self.renewed, self.expires) = (now, now + interval);
        self
    }
}

/// A row as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The control queue.
    pub queue: usize,
    /// The version.
    pub etag: u64,
    /// The content.
    pub lease: Lease,
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The worker owns the queue once this is written.
    Claim,
    /// The worker goes on owning the queue, listening to it or draining it.
    Renew,
    /// The worker begins to drain the queue, before this is written.
    Drain,
    /// The worker gives the queue up.
    Release,
    /// The worker asks another one for the queue.
    Steal,
    /// The worker no longer asks for the queue.
    Withdraw,
}

/// A write of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    /// The control queue.
    pub queue: usize,
    /// The version that was read.
    pub etag: u64,
    /// The new content.
    pub lease: Lease,
    /// What it is for.
    pub change: Change,
}

/// What is known of the worker itself.
pub(crate) struct Me<'a> {
    /// Its name.
    pub name: &'a Rc<str>,
    /// The present.
    pub now: Timestamp,
    /// How long a renewed lease lasts.
    pub interval: Duration,
    /// Whether it is shutting down.
    pub stopping: bool,
    /// Whether it listens to a queue.
    pub listens: &'a dyn Fn(usize) -> bool,
    /// Whether nothing of a queue is in its hands.
    pub drained: &'a dyn Fn(usize) -> bool,
}

/// What a worker does in one round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Round {
    /// Queues that it listens to and another owns: it ceases to, at once.
    pub lost: Vec<usize>,
    /// Rows that it writes, in this order.
    pub writes: Vec<Write>,
    /// Whether it drains a queue or waits for one: it looks again soon.
    pub waits: bool,
    /// Whether no row names it once all is written.
    pub released_all: bool,
}

/// Plans a round by the rows that were read.
pub(crate) fn plan(me: &Me<'_>, rows: &[Row]) -> Round {
    let mut round = Round::default();
    let mut after: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        if (me.listens)(row.queue) && !row.lease.is_of(me.name) {
            round.lost.push(row.queue);
        }
        let change = if me.stopping { give_up(me, row) } else { keep(me, row) };
        let mut row = row.clone();
        if let Some((change, lease)) = change {
            round.waits |= matches!(change, Change::Drain);
            row.lease = lease.clone();
            round.writes.push(Write { queue: row.queue, etag: row.etag, lease, change });
        }
        let drains = row.lease.is_of(me.name) && row.lease.draining;
        round.waits |= drains || row.lease.is_next_of(me.name);
        after.push(row);
    }
    if !me.stopping {
        for row in balance(me, &after) {
            let lease = Lease { next_owner: Some(me.name.clone()), ..row.lease.clone() };
            let (queue, etag) = (row.queue, row.etag);
            round.writes.push(Write { queue, etag, lease, change: Change::Steal });
            round.waits = true;
        }
    }
    let named = |row: &Row| row.lease.is_of(me.name) || row.lease.is_next_of(me.name);
    round.released_all = !after.iter().any(named);
    round
}

/// What a worker in service does about a row.
fn keep(me: &Me<'_>, row: &Row) -> Option<(Change, Lease)> {
    let lease = row.lease.clone();
    let released = lease.owner.is_none();
    let free = released && (lease.next_owner.is_none() || lease.is_next_of(me.name));
    let expired = me.now >= lease.expires;
    if free || (expired && !lease.is_of(me.name)) {
        let claimed = Lease {
            owner: Some(me.name.clone()),
            next_owner: None,
            owned_since: me.now,
            draining: false,
            ..lease
        };
        return Some((Change::Claim, claimed.renew(me.now, CLAIM_INTERVAL)));
    }
    if !lease.is_of(me.name) {
        return None;
    }
    if lease.next_owner.is_none() {
        let renewed = Lease { draining: false, ..lease }.renew(me.now, me.interval);
        return Some((Change::Renew, renewed));
    }
    Some(hand_over(me, row))
}

/// What a worker that shuts down does about a row.
fn give_up(me: &Me<'_>, row: &Row) -> Option<(Change, Lease)> {
    if row.lease.is_of(me.name) {
        return Some(hand_over(me, row));
    }
    let waits = row.lease.is_next_of(me.name);
    waits.then(|| (Change::Withdraw, Lease { next_owner: None, ..row.lease.clone() }))
}

/// The next act of handing over one's own row: drain, wait, release.
fn hand_over(me: &Me<'_>, row: &Row) -> (Change, Lease) {
    let lease = row.lease.clone();
    if (me.listens)(row.queue) || !lease.draining {
        let draining = Lease { draining: true, ..lease }.renew(me.now, me.interval);
        return (Change::Drain, draining);
    }
    if (me.drained)(row.queue) {
        return (Change::Release, Lease { owner: None, draining: false, ..lease });
    }
    (Change::Renew, lease.renew(me.now, me.interval))
}

/// The rows of others that a worker asks for.
fn balance<'a>(me: &Me<'_>, rows: &'a [Row]) -> Vec<&'a Row> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    counts.insert(me.name, 0);
    for owner in rows.iter().filter_map(|row| row.lease.destined()) {
        *counts.entry(owner).or_default() += 1;
    }
    let workers = counts.len();
    let (share, rest) = (rows.len() / workers, rows.len() % workers);
    let mut asked: Vec<&Row> = rows.iter().filter(|row| is_abandoned(me, row)).collect();
    let mut mine = counts.remove(&**me.name).unwrap_or(0) + asked.len();
    loop {
        // The one that has most; the first by name among equals.
        let most = counts.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
        let Some((&worker, &count)) = most else { break };
        let below = mine < share && count > share;
        let uneven = rest > 0 && mine == share && count > share + 1;
        if !below && !uneven {
            break;
        }
        let taken = |row: &&Row| asked.iter().any(|asked| asked.queue == row.queue);
        let can_be_asked = |row: &&Row| {
            let lease = &row.lease;
            lease.is_of(worker) && lease.next_owner.is_none() && !lease.draining && !taken(row)
        };
        let Some(row) = rows.iter().find(can_be_asked) else { break };
        asked.push(row);
        *counts.get_mut(worker).expect("invariant: counted above") -= 1;
        mine += 1;
    }
    asked
}

/// Whether the owner of a row is shutting down and nobody has asked for it.
fn is_abandoned(me: &Me<'_>, row: &Row) -> bool {
    let lease = &row.lease;
    lease.owner.is_some() && !lease.is_of(me.name) && lease.draining && lease.next_owner.is_none()
}

#[cfg(test)]
mod tests;
