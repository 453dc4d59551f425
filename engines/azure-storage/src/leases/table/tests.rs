//! Workers that share a table of leases, without a world: rounds in any order, crashes, shutdowns.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const INTERVAL: Duration = Duration::from_secs(30);

/// A worker: what it listens to, and what it has not finished yet.
struct Worker {
    name: Rc<str>,
    listens: BTreeSet<usize>,
    /// Rounds for which each queue still has messages in memory once the worker drains it.
    busy: BTreeMap<usize, u32>,
    alive: bool,
    stopping: bool,
}

struct Table {
    rows: Vec<Row>,
    workers: Vec<Worker>,
    now: Timestamp,
    etag: u64,
}

impl Table {
    fn new(partitions: usize, workers: usize) -> Table {
        let row = |queue| Row { queue, etag: 0, lease: Lease::unowned() };
        let mut table = Table {
            rows: (0..partitions).map(row).collect(),
            workers: Vec::new(),
            now: Timestamp::from_secs(1),
            etag: 0,
        };
        (0..workers).for_each(|_| table.join());
        table
    }

    fn join(&mut self) {
        let name = format!("w{}", self.workers.len()).into();
        let (listens, busy) = (BTreeSet::new(), BTreeMap::new());
        self.workers.push(Worker { name, listens, busy, alive: true, stopping: false });
    }

    fn plan(&self, worker: usize) -> Round {
        let worker = &self.workers[worker];
        let me = Me {
            name: &worker.name,
            now: self.now,
            interval: INTERVAL,
            stopping: worker.stopping,
            listens: &|queue| worker.listens.contains(&queue),
            drained: &|queue| !worker.listens.contains(&queue) && !worker.busy.contains_key(&queue),
        };
        plan(&me, &self.rows)
    }

    /// One round of a worker.
    fn round(&mut self, index: usize) -> Round {
        let round = self.plan(index);
        for queue in &round.lost {
            self.workers[index].listens.remove(queue);
        }
        for write in &round.writes {
            let worker = &mut self.workers[index];
            if write.change == Change::Drain {
                worker.listens.remove(&write.queue);
                worker.busy.insert(write.queue, 2);
            }
            let row = &mut self.rows[write.queue];
            assert_eq!(row.etag, write.etag, "a round reads what is there");
            self.etag += 1;
            (row.etag, row.lease) = (self.etag, write.lease.clone());
            let keeps = write.change == Change::Renew && !write.lease.draining;
            if write.change == Change::Claim || keeps {
                worker.listens.insert(write.queue);
            }
        }
        let busy = &mut self.workers[index].busy;
        busy.retain(|_, rounds| {
            *rounds -= 1;
            *rounds > 0
        });
        round
    }

    /// Every worker in service does its round, ten seconds later.
    fn all(&mut self) {
        self.now += Duration::from_secs(10);
        for index in 0..self.workers.len() {
            if self.workers[index].alive {
                self.round(index);
                self.check();
            }
        }
    }

    /// No queue has two workers that listen to it, as long as no lease has run out unnoticed.
    fn check(&self) {
        for row in &self.rows {
            let listens = |worker: &&Worker| worker.alive && worker.listens.contains(&row.queue);
            let listeners = self.workers.iter().filter(listens).count();
            assert!(listeners <= 1, "queue {} has {listeners} listeners", row.queue);
        }
    }

    fn loads(&self) -> Vec<usize> {
        let workers = self.workers.iter().filter(|worker| worker.alive && !worker.stopping);
        workers.map(|worker| worker.listens.len()).collect()
    }

    fn is_balanced(&self) -> bool {
        let loads = self.loads();
        let spread = loads.iter().max().unwrap_or(&0) - loads.iter().min().unwrap_or(&0);
        loads.iter().sum::<usize>() == self.rows.len() && spread <= 1
    }
}

#[test]
fn the_first_worker_claims_everything_and_the_others_ask_for_their_share() {
    let mut table = Table::new(12, 4);
    assert_eq!(table.round(0).writes.len(), 12);
    assert_eq!(table.loads(), [12, 0, 0, 0]);
    let asked = table.round(1);
    assert!(asked.waits && asked.writes.iter().all(|write| write.change == Change::Steal));
    // The second worker that it knows of: half of all.
    assert_eq!(asked.writes.len(), 6);
    (0..8).for_each(|_| table.all());
    assert_eq!(table.loads(), [3, 3, 3, 3]);
}

#[test]
fn a_claim_lasts_a_minute_and_a_renewal_half_of_that() {
    let mut table = Table::new(1, 2);
    table.round(0);
    assert_eq!(table.rows[0].lease.expires, Timestamp::from_secs(61));
    table.now = Timestamp::from_secs(11);
    table.round(0);
    assert_eq!(table.rows[0].lease.expires, Timestamp::from_secs(41));
    table.now = Timestamp::from_secs(40);
    assert_eq!(table.plan(1).writes, [], "not expired, and no share for two");
    table.now = Timestamp::from_secs(41);
    let round = table.round(1);
    assert_eq!(round.writes[0].change, Change::Claim);
    // The former owner was away, and finds out.
    let round = table.round(0);
    assert_eq!((round.lost, round.writes), (vec![0], Vec::new()));
}

#[test]
fn a_row_that_is_asked_for_is_drained_and_then_released() {
    let mut table = Table::new(2, 2);
    table.round(0);
    assert_eq!(table.round(1).writes.len(), 1);
    let drain = table.round(0);
    assert_eq!(drain.writes[0].change, Change::Drain);
    assert!(drain.waits);
    assert_eq!(table.round(1).writes, [], "not released yet");
    let changes: Vec<Change> = (0..2).map(|_| table.round(0).writes[0].change).collect();
    assert_eq!(changes, [Change::Renew, Change::Release], "what was in memory comes first");
    assert_eq!(table.round(1).writes[0].change, Change::Claim);
    assert_eq!(table.loads(), [1, 1]);
}

#[test]
fn rows_of_a_worker_that_shuts_down_are_asked_for_at_once() {
    let mut table = Table::new(6, 3);
    (0..8).for_each(|_| table.all());
    table.workers[0].stopping = true;
    let round = table.round(0);
    assert!(!round.released_all && round.waits);
    let steals = table.round(1).writes.into_iter().filter(|write| write.change == Change::Steal);
    assert_eq!(steals.count(), 2, "both, though that is more than its share");
    (0..2).for_each(|_| drop(table.round(0)));
    assert!(table.round(0).released_all);
    (0..8).for_each(|_| table.all());
    assert!(table.is_balanced(), "{:?}", table.loads());
}

#[test]
fn a_claim_whose_answer_was_lost_is_renewed_as_ones_own() {
    let mut table = Table::new(1, 1);
    table.round(0);
    table.workers[0].listens.clear();
    assert_eq!(table.plan(0).writes[0].change, Change::Renew);
}

proptest! {
    /// Workers join, shut down and crash: the queues are shared evenly in the end, and nobody listens
    /// to what another listens to.
    #[test]
    fn ownership_comes_to_balance(
        partitions in 1usize..17,
        first in 1usize..6,
        faults in proptest::collection::vec((0u8..3, any::<proptest::sample::Index>(), 0usize..5), 0..6),
    ) {
        let mut table = Table::new(partitions, first);
        for (kind, which, rounds) in faults {
            (0..rounds).for_each(|_| table.all());
            let serving: Vec<usize> = (0..table.workers.len())
                .filter(|&index| table.workers[index].alive && !table.workers[index].stopping)
                .collect();
            let worker = serving[which.index(serving.len())];
            match kind {
                0 => table.join(),
                1 if serving.len() > 1 => table.workers[worker].stopping = true,
                2 if serving.len() > 1 => table.workers[worker].alive = false,
                _ => {}
            }
        }
        (0..40).for_each(|_| table.all());
        prop_assert!(table.is_balanced(), "{:?} of {}", table.loads(), partitions);
        for (index, worker) in table.workers.iter().enumerate() {
            if worker.alive && worker.stopping {
                prop_assert!(table.plan(index).released_all, "{}", worker.name);
            }
        }
    }
}
