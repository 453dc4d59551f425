//! The lock manager: who may read and write which row, and who waits for whom.
//!
//! **What it models.** Row locks in the modes shared, update and exclusive. A request that conflicts
//! with what others hold, or that comes behind somebody who waits, waits in line; conversions of a
//! lock that is held come before new requests. Locks are granted in the order of the line and never
//! out of it. A transaction waits for one lock at a time.
//!
//! **Deadlocks.** A request that closes a cycle of waits is found when it is made
//! ([`LockTable::cycle`]); who is rolled back is the caller's decision.
//!
//! A plain state machine: no time passes here. Source: learn.microsoft.com, SQL Server transaction
//! locking and row versioning guide (modes, compatibility, conversion, deadlocks) [general].

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::Hash;

/// A transaction, numbered in the order of their beginnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub u64);

/// What a lock lets its holder do, and others not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    /// Read: others may read.
    Shared,
    /// Read, and perhaps write later: others may read, but not with the same intention.
    Update,
    /// Write: others may do nothing.
    Exclusive,
}

impl LockMode {
    /// Whether two transactions can hold one row in these modes.
    pub fn is_compatible(self, other: LockMode) -> bool {
        use LockMode::{Exclusive, Shared, Update};
        match (self, other) {
            (Exclusive, _) | (_, Exclusive) | (Update, Update) => false,
            (Shared, Shared | Update) | (Update, Shared) => true,
        }
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requested {
    /// The lock is held.
    Granted,
    /// The transaction stands in line.
    Waiting,
}

#[derive(Default)]
struct Entry {
    holders: SmallVec<[(TransactionId, LockMode); 2]>,
    waiters: VecDeque<Waiter>,
}

#[derive(Clone, Copy)]
struct Waiter {
    transaction: TransactionId,
    mode: LockMode,
    converts: bool,
}

impl Entry {
    fn held(&self, transaction: TransactionId) -> Option<LockMode> {
        self.holders.iter().find(|(holder, _)| *holder == transaction).map(|(_, mode)| *mode)
    }

    /// Whether no other holder stands in the way.
    fn admits(&self, transaction: TransactionId, mode: LockMode) -> bool {
        self.holders.iter().all(|(holder, held)| *holder == transaction || held.is_compatible(mode))
    }

    fn hold(&mut self, transaction: TransactionId, mode: LockMode) {
        match self.holders.iter_mut().find(|(holder, _)| *holder == transaction) {
            Some((_, held)) => *held = mode.max(*held),
            None => self.holders.push((transaction, mode)),
        }
    }

    fn join(&mut self, waiter: Waiter) {
        let place = match waiter.converts {
            true => self.waiters.iter().take_while(|before| before.converts).count(),
            false => self.waiters.len(),
        };
        self.waiters.insert(place, waiter);
    }
}

/// All locks of a database, on resources named by `R`.
pub struct LockTable<R> {
    entries: FxHashMap<R, Entry>,
    held: BTreeMap<TransactionId, Vec<R>>,
    waits: BTreeMap<TransactionId, R>,
}

impl<R> Default for LockTable<R> {
    fn default() -> Self {
        LockTable { entries: FxHashMap::default(), held: BTreeMap::new(), waits: BTreeMap::new() }
    }
}

impl<R: Clone + Eq + Hash> LockTable<R> {
    /// Asks for a lock, and joins the line if it is not to be had.
    ///
    /// # Panics
    /// If the transaction stands in a line already.
    pub fn request(
        &mut self,
        transaction: TransactionId,
        resource: &R,
        mode: LockMode,
    ) -> Requested {
        if self.try_request(transaction, resource, mode) {
            return Requested::Granted;
        }
        assert!(!self.waits.contains_key(&transaction), "{transaction:?} waits for two locks");
        let entry = self.entries.entry(resource.clone()).or_default();
        let converts = entry.held(transaction).is_some();
        entry.join(Waiter { transaction, mode, converts });
        self.waits.insert(transaction, resource.clone());
        Requested::Waiting
    }

    /// Takes a lock if it is to be had at once; false, and nothing changes, if not.
    pub fn try_request(
        &mut self,
        transaction: TransactionId,
        resource: &R,
        mode: LockMode,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(resource) else {
            let mut entry = Entry::default();
            entry.hold(transaction, mode);
            self.entries.insert(resource.clone(), entry);
            self.held.entry(transaction).or_default().push(resource.clone());
            return true;
        };
        let held = entry.held(transaction);
        if held.is_some_and(|held| held >= mode) {
            return true;
        }
        let in_line = |waiter: &Waiter| held.is_none() || waiter.converts;
        if entry.waiters.iter().any(in_line) || !entry.admits(transaction, mode) {
            return false;
        }
        entry.hold(transaction, mode);
        if held.is_none() {
            self.held.entry(transaction).or_default().push(resource.clone());
        }
        true
    }

    /// The mode in which a transaction holds a resource.
    pub fn held(&self, transaction: TransactionId, resource: &R) -> Option<LockMode> {
        self.entries.get(resource)?.held(transaction)
    }

    /// Whether a transaction stands in line.
    pub fn is_waiting(&self, transaction: TransactionId) -> bool {
        self.waits.contains_key(&transaction)
    }

    /// Gives up everything a transaction holds or waits for; the transactions that now hold what
    /// they waited for, in order.
    pub fn release_all(&mut self, transaction: TransactionId) -> Vec<TransactionId> {
        let mut granted = Vec::new();
        if let Some(resource) = self.waits.remove(&transaction) {
            let entry = self.entries.get_mut(&resource).expect("invariant: it is waited for");
            entry.waiters.retain(|waiter| waiter.transaction != transaction);
            self.promote(&resource, &mut granted);
        }
        for resource in self.held.remove(&transaction).unwrap_or_default() {
            granted.extend(self.leave(transaction, &resource));
        }
        granted
    }

    fn leave(&mut self, transaction: TransactionId, resource: &R) -> Vec<TransactionId> {
        let mut granted = Vec::new();
        if let Some(entry) = self.entries.get_mut(resource) {
            entry.holders.retain(|(holder, _)| *holder != transaction);
            self.promote(resource, &mut granted);
        }
        granted
    }

    /// Lets those at the head of a line pass who can.
    fn promote(&mut self, resource: &R, granted: &mut Vec<TransactionId>) {
        let Some(entry) = self.entries.get_mut(resource) else { return };
        while let Some(Waiter { transaction, mode, converts }) = entry.waiters.front().copied() {
            if !entry.admits(transaction, mode) {
                break;
            }
            entry.waiters.pop_front();
            entry.hold(transaction, mode);
            if !converts {
                self.held.entry(transaction).or_default().push(resource.clone());
            }
            self.waits.remove(&transaction);
            granted.push(transaction);
        }
        if entry.holders.is_empty() && entry.waiters.is_empty() {
            self.entries.remove(resource);
        }
    }

    /// Whom a transaction that stands in line waits for: those who hold the resource in the way,
    /// and those before it in the line.
    fn blockers(&self, transaction: TransactionId) -> Vec<TransactionId> {
        let Some(resource) = self.waits.get(&transaction) else { return Vec::new() };
        let entry = &self.entries[resource];
        let is_own = |waiter: &Waiter| waiter.transaction == transaction;
        let place = entry.waiters.iter().position(is_own).expect("invariant: it stands in line");
        let mode = entry.waiters[place].mode;
        let in_the_way = |(holder, held): &&(TransactionId, LockMode)| {
            *holder != transaction && !held.is_compatible(mode)
        };
        let holders = entry.holders.iter().filter(in_the_way).map(|(holder, _)| *holder);
        let before = entry.waiters.iter().take(place).map(|waiter| waiter.transaction);
        holders.chain(before).collect()
    }

    /// The transactions of a cycle of waits that `transaction` is part of, itself first; empty if
    /// there is none.
    pub fn cycle(&self, transaction: TransactionId) -> Vec<TransactionId> {
        let mut path = vec![transaction];
        let mut branches = vec![self.blockers(transaction)];
        let mut seen = BTreeSet::new();
        while let Some(branch) = branches.last_mut() {
            match branch.pop() {
                Some(next) if next == transaction => return path,
                Some(next) if seen.insert(next) => {
                    branches.push(self.blockers(next));
                    path.push(next);
                }
                Some(_) => {}
                None => {
                    branches.pop();
                    path.pop();
                }
            }
        }
        Vec::new()
    }

    /// Whether nobody holds or waits for anything.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.waits.is_empty()
    }
}

#[cfg(test)]
mod tests;
