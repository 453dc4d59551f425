//! Histories under random interleavings, and recovery after a crash anywhere.

use super::*;
use crate::sql::checkpoint::recover;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::rc::Rc;

const SCHEMA: &[TableSpec] =
    &[TableSpec { name: "One", indexes: 1 }, TableSpec { name: "Two", indexes: 0 }];
const FORMAT: LogFormat = LogFormat { sector: 64, overhead: 10 };
const ONE: TableId = TableId(0);
const TWO: TableId = TableId(1);

fn key(number: u8) -> Key {
    Rc::from([number])
}

fn row(table: TableId, value: u64) -> Row {
    let value = Bytes::copy_from_slice(&value.to_be_bytes());
    let index_keys = if table == ONE { vec![value.slice(7..)] } else { Vec::new() };
    Row { value, index_keys }
}

fn number(row: &Row) -> u64 {
    u64::from_be_bytes(row.value[..].try_into().expect("8 bytes"))
}

fn create() -> Core {
    Core::create(SCHEMA, FORMAT)
}

fn put(core: &mut Core, tx: TransactionId, table: TableId, at: u8, value: u64) {
    assert_eq!(core.lock(tx, table, &key(at), LockMode::Exclusive), Locked::Granted);
    core.write(tx, table, &key(at), Some(row(table, value)));
}

#[test]
fn nobody_sees_what_is_not_durable() {
    let mut core = create();
    let writer = core.begin();
    put(&mut core, writer, ONE, 1, 7);
    assert_eq!(core.commit(writer, false), Committed::Waiting);
    let reader = core.begin();
    assert_eq!(core.table(ONE).get(reader, &[1]), None);
    assert_eq!(core.lock(reader, ONE, &key(1), LockMode::Shared), Locked::Waiting);
    let (_, end) = core.log_mut().take().expect("a block");
    let ended = core.log_written(end);
    assert_eq!(ended, [(writer, Ended { granted: vec![reader] })]);
    assert_eq!(core.table(ONE).get(reader, &[1]).map(number), Some(7));
    assert_eq!(core.commit(reader, false), Committed::Ended(Ended::default()));
    assert_eq!(core.active(), 0);
}

#[test]
fn with_delayed_durability_it_is_seen_at_once() {
    let mut core = create();
    let writer = core.begin();
    put(&mut core, writer, TWO, 1, 7);
    assert_eq!(core.commit(writer, true), Committed::Ended(Ended::default()));
    let reader = core.begin();
    assert_eq!(core.table(TWO).get(reader, &[1]).map(number), Some(7));
}

#[test]
fn what_is_rolled_back_leaves_gaps_and_nothing_else() {
    let mut core = create();
    let writer = core.begin();
    assert_eq!(core.next_identity(ONE), 1);
    put(&mut core, writer, ONE, 1, 7);
    put(&mut core, writer, ONE, 1, 8);
    core.roll_back(writer);
    let next = core.begin();
    assert_eq!(core.table(ONE).get(next, &[1]), None);
    assert_eq!(core.next_identity(ONE), 2);
    assert_eq!(core.table(ONE).scan_index(0, Bytes::new()).count(), 0);
    put(&mut core, next, ONE, 1, 9);
}

#[test]
fn the_cheapest_of_a_deadlock_is_the_victim() {
    let mut core = create();
    let (rich, poor) = (core.begin(), core.begin());
    put(&mut core, rich, ONE, 1, 1);
    put(&mut core, rich, ONE, 2, 1);
    put(&mut core, poor, ONE, 3, 1);
    assert_eq!(core.lock(poor, ONE, &key(1), LockMode::Shared), Locked::Waiting);
    assert_eq!(core.lock(rich, ONE, &key(3), LockMode::Shared), Locked::Deadlock(poor));
    assert_eq!(core.roll_back(poor), Ended { granted: vec![rich] });
}

#[test]
fn indexes_list_committed_rows() {
    let mut core = create();
    let writer = core.begin();
    (1..=3).for_each(|at| put(&mut core, writer, ONE, at, u64::from(10 - at)));
    core.commit(writer, true);
    let found = |core: &Core, from: u8| {
        let entries = core.table(ONE).scan_index(0, Bytes::copy_from_slice(&[from]));
        entries.map(|(_, key)| key[0]).collect::<Vec<u8>>()
    };
    assert_eq!(found(&core, 0), [3, 2, 1]);
    assert_eq!(found(&core, 8), [2, 1]);
    let again = core.begin();
    put(&mut core, again, ONE, 3, 20);
    assert_eq!(found(&core, 0), [3, 2, 1], "not committed");
    core.commit(again, true);
    assert_eq!(found(&core, 0), [2, 1, 3]);
}

/// What a transaction of a history does.
#[derive(Clone, Debug)]
enum Op {
    Read(TableId, u8),
    /// Reads a row with the intention to write it, and sets it to a function of what was read.
    Change(TableId, u8, u64),
    Delete(TableId, u8),
}

/// What a driver does next.
#[derive(Clone, Debug)]
enum Event {
    /// One more operation of the n-th transaction under way.
    Step(usize),
    /// The next block of the log goes to the disk.
    Write,
    /// The n-th of the writes under way is on the disk.
    Written(usize),
    Checkpoint(bool),
}

fn op() -> impl Strategy<Value = Op> {
    let table = prop_oneof![Just(ONE), Just(TWO)];
    prop_oneof![
        2 => (table.clone(), 0u8..4).prop_map(|(t, k)| Op::Read(t, k)),
        3 => (table.clone(), 0u8..4, 1u64..100).prop_map(|(t, k, n)| Op::Change(t, k, n)),
        1 => (table, 0u8..4).prop_map(|(t, k)| Op::Delete(t, k)),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (0usize..6).prop_map(Event::Step),
        3 => Just(Event::Write),
        3 => (0usize..3).prop_map(Event::Written),
        1 => any::<bool>().prop_map(Event::Checkpoint),
    ]
}

type State = BTreeMap<(TableId, u8), u64>;

struct Running {
    id: TransactionId,
    script: Vec<Op>,
    at: usize,
    waiting: bool,
    seen: Vec<Option<u64>>,
    committing: bool,
}

/// A database whose disk is a list of blocks.
struct Driver {
    core: Core,
    scripts: std::vec::IntoIter<Vec<Op>>,
    running: Vec<Running>,
    committed: Vec<(Vec<Op>, Vec<Option<u64>>)>,
    /// Blocks by segment; whether they are on the disk, and where they end in the log.
    blocks: Vec<(u64, Bytes, bool, u64)>,
    images: Vec<(u64, Bytes)>,
    first_segment: u64,
    delayed: bool,
}

impl Driver {
    fn act(&mut self, event: &Event) {
        match event {
            Event::Step(index) => self.step(*index),
            Event::Write => self.write_block(),
            Event::Written(index) => {
                let mut under_way = self.blocks.iter_mut().filter(|block| !block.2);
                let Some(block) = under_way.nth(*index) else { return };
                block.2 = true;
                let end = block.3;
                for (id, ended) in self.core.log_written(end) {
                    self.finish(id, &ended);
                }
            }
            Event::Checkpoint(complete) => {
                while self.core.log().unwritten() > 0 {
                    self.write_block();
                }
                let number = self.images.len() as u64 + 1;
                let complete = *complete || self.images.is_empty();
                let image = self.core.checkpoint(number, complete);
                self.first_segment = image.first_segment;
                self.images.push((number, image.to_bytes()));
            }
        }
    }

    fn write_block(&mut self) {
        let segment = self.core.segment();
        if let Some((bytes, end)) = self.core.log_mut().take() {
            self.blocks.push((segment, bytes, false, end));
        }
    }

    fn finish(&mut self, id: TransactionId, ended: &Ended) {
        let place = self.running.iter().position(|running| running.id == id).expect("runs");
        let done = self.running.remove(place);
        self.committed.push((done.script, done.seen));
        self.let_in(ended);
    }

    fn let_in(&mut self, ended: &Ended) {
        for id in &ended.granted {
            let running = self.running.iter_mut().find(|running| running.id == *id);
            running.expect("who is let in runs").waiting = false;
        }
    }

    fn step(&mut self, index: usize) {
        if index >= self.running.len() {
            let Some(script) = self.scripts.next() else { return };
            let id = self.core.begin();
            let (waiting, committing) = (false, false);
            self.running.push(Running { id, script, at: 0, waiting, seen: vec![], committing });
            return;
        }
        let running = &mut self.running[index];
        if running.waiting || running.committing {
            return;
        }
        let id = running.id;
        let Some(op) = running.script.get(running.at).cloned() else {
            let delayed = self.delayed;
            running.committing = true;
            if let Committed::Ended(ended) = self.core.commit(id, delayed) {
                self.finish(id, &ended);
            }
            return;
        };
        let (table, at, mode) = match &op {
            Op::Read(table, at) => (*table, *at, LockMode::Shared),
            Op::Change(table, at, _) | Op::Delete(table, at) => (*table, *at, LockMode::Exclusive),
        };
        match self.core.lock(id, table, &key(at), mode) {
            Locked::Granted => {}
            Locked::Waiting => {
                running.waiting = true;
                return;
            }
            Locked::Deadlock(victim) => {
                running.waiting = true;
                let place = self.running.iter().position(|one| one.id == victim).expect("runs");
                self.running.remove(place);
                let ended = self.core.roll_back(victim);
                self.let_in(&ended);
                return;
            }
        }
        let before = self.core.table(table).get(id, &[at]).map(number);
        running.seen.push(before);
        running.at += 1;
        match op {
            Op::Read(..) => {}
            Op::Change(_, _, add) => {
                let after = row(table, before.unwrap_or(0).wrapping_mul(31).wrapping_add(add));
                self.core.write(id, table, &key(at), Some(after));
            }
            Op::Delete(..) => self.core.write(id, table, &key(at), None),
        }
    }
}

/// The transactions one after the other, in the order of their commits; what each has seen.
fn serially(history: &[(Vec<Op>, Vec<Option<u64>>)]) -> (State, Vec<Vec<Option<u64>>>) {
    let (mut state, mut all) = (State::new(), Vec::new());
    for (script, _) in history {
        let mut seen = Vec::new();
        for op in script {
            let (table, at) = match op {
                Op::Read(table, at) | Op::Change(table, at, _) | Op::Delete(table, at) => {
                    (*table, *at)
                }
            };
            let before = state.get(&(table, at)).copied();
            seen.push(before);
            match op {
                Op::Read(..) => {}
                Op::Change(_, _, add) => {
                    let after = before.unwrap_or(0).wrapping_mul(31).wrapping_add(*add);
                    state.insert((table, at), after);
                }
                Op::Delete(..) => _ = state.remove(&(table, at)),
            }
        }
        all.push(seen);
    }
    (state, all)
}

fn state_of(core: &Core) -> State {
    let mut state = State::new();
    for (index, table) in core.tables().iter().enumerate() {
        let rows = table.committed();
        state.extend(rows.map(|(key, row)| ((TableId(index as u8), key[0]), number(row))));
    }
    state
}

fn drive(scripts: Vec<Vec<Op>>, events: &[Event], delayed: bool) -> Driver {
    let (running, committed, blocks, images) = (vec![], vec![], vec![], vec![]);
    let scripts = scripts.into_iter();
    let core = create();
    let mut driver =
        Driver { core, scripts, running, committed, blocks, images, first_segment: 0, delayed };
    events.iter().for_each(|event| driver.act(event));
    driver
}

fn scripts() -> impl Strategy<Value = Vec<Vec<Op>>> {
    proptest::collection::vec(proptest::collection::vec(op(), 1..6), 1..25)
}

proptest! {
    /// Whatever the interleaving, the committed transactions might have run one after the other in
    /// the order of their commits.
    #[test]
    fn committed_histories_are_serializable(
        scripts in scripts(),
        events in proptest::collection::vec(event(), 1..300),
        delayed in any::<bool>(),
    ) {
        let driver = drive(scripts, &events, delayed);
        let (state, seen) = serially(&driver.committed);
        let expected: Vec<_> = driver.committed.iter().map(|(_, seen)| seen.clone()).collect();
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(state_of(&driver.core), state);
    }

    /// Wherever the database crashes, with whichever of the writes under way reaching the disk whole
    /// or torn, recovery finds all that was committed, and after that a prefix of what was being.
    #[test]
    fn recovery_is_the_committed_prefix(
        scripts in scripts(),
        events in proptest::collection::vec(event(), 1..300),
        fates in proptest::collection::vec(0usize..3, 40),
        again in proptest::collection::vec(event(), 1..60),
    ) {
        let mut driver = drive(scripts, &events, false);
        let mut history = driver.committed.clone();
        let in_commit_order = driver.core.committing.iter().map(|(_, id)| *id);
        for id in in_commit_order {
            let running = driver.running.iter().find(|running| running.id == id).expect("runs");
            history.push((running.script.clone(), running.seen.clone()));
        }
        let mut files: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for (index, (segment, bytes, durable, _)) in driver.blocks.iter().enumerate() {
            if *segment < driver.first_segment {
                continue;
            }
            let file = files.entry(*segment).or_default();
            let end = file.len() + bytes.len();
            match fates[index % fates.len()] {
                _ if *durable => file.extend_from_slice(bytes),
                0 => file.extend_from_slice(bytes),
                fate => file.extend_from_slice(&bytes[..bytes.len() * (fate - 1) / 2]),
            }
            file.resize(end, 0);
        }
        let mut segments: Vec<(u64, Bytes)> =
            files.into_iter().map(|(number, file)| (number, file.into())).collect();
        let recovered = recover(SCHEMA, &driver.images, &segments, FORMAT).expect("whole");
        let Some(recovered) = recovered else {
            // Nothing was ever logged: what was committed has read, and written nothing.
            prop_assert_eq!(serially(&driver.committed).0, serially(&[]).0);
            return Ok(());
        };
        let state = state_of(&recovered.core);
        let prefixes = driver.committed.len()..=history.len();
        let found = prefixes.rev().find(|count| serially(&history[..*count]).0 == state);
        prop_assert!(found.is_some(), "{:?} is no prefix", state);
        let mut history = history[..found.expect("checked")].to_vec();

        // What was recovered goes on, and survives a second crash.
        driver.core = recovered.core;
        driver.running.clear();
        driver.committed.clear();
        driver.blocks.clear();
        for event in again.iter().filter(|event| !matches!(event, Event::Checkpoint(_))) {
            driver.act(event);
        }
        history.extend(driver.committed);
        for (segment, bytes, durable, _) in driver.blocks {
            if !durable {
                break;
            }
            match segments.iter_mut().find(|(number, _)| *number == segment) {
                Some((_, file)) => *file = [&file[..], &bytes[..]].concat().into(),
                None => segments.push((segment, bytes)),
            }
        }
        let second = recover(SCHEMA, &driver.images, &segments, FORMAT);
        let second = second.expect("whole").expect("files");
        let committed = serially(&history).0;
        if driver.core.committing.is_empty() {
            prop_assert_eq!(state_of(&second.core), committed);
        }
    }
}
