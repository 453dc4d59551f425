//! The disk as a device of the kernel: carries operations through their requests.

use super::drive::{Access, Drive};
use super::error::DiskError;
use super::fault::Injected;
use super::files::{Files, InodeId};
use super::operation::{Answer, Committing, Done, Operation, Purpose, Request, Work};
use crate::kernel::{Completion, Device, DeviceId, EventId, Kernel, Kind, Resolver};
use crate::meter::{Meter, OperationKind};
use crate::profile::DiskProfile;
use crate::seed::{SeedTree, Stream};
use crate::service::Reply;
use bytes::Bytes;
use sim_model::ledger::Timing;
use sim_model::time::Timestamp;
use slab::Slab;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// Tokens of events that are no ends of requests.
mod token {
    /// A round of background write-back.
    pub const ROUND: u64 = u64::MAX;
    /// The end of a stall.
    pub const UNSTALL: u64 = u64::MAX - 1;
}

/// The kinds of the meter.
pub(super) struct Kinds {
    pub read: OperationKind,
    pub write: OperationKind,
    pub flush: OperationKind,
    pub fsync: OperationKind,
}

/// Kinds of recorded events.
pub(super) struct Trails {
    pub read: Kind,
    pub write: Kind,
    pub sync: Kind,
    pub names: Kind,
    pub fault: Kind,
    pub power_loss: Kind,
}

/// Answers that are handed over once nothing is borrowed any more.
type Answers = Vec<(Resolver<Answer>, Answer)>;

pub(super) struct State {
    pub drive: Drive,
    pub files: Files,
    pub injected: Injected,
    pub faults: Stream,
    pub operations: Slab<Operation>,
    pub requests: Slab<Request>,
    /// Operations that wait for a page that is being read.
    pub loading: BTreeMap<(InodeId, u64), Vec<usize>>,
    /// Writes to a file, in their order; the first is under way.
    pub writers: BTreeMap<InodeId, VecDeque<usize>>,
    /// Syncs that wait for pages of a file.
    pub syncing: BTreeMap<InodeId, Vec<usize>>,
    /// Writes that have to wait for write-back.
    pub throttled: VecDeque<usize>,
    pub committing: Option<Committing>,
    /// Syncs that wait for the commit after the one under way.
    pub next_commit: Vec<usize>,
    pub round: Option<EventId>,
    pub answers: Answers,
}

pub(super) struct Inner {
    pub kernel: Kernel,
    pub name: Rc<str>,
    pub profile: Arc<DiskProfile>,
    pub device: DeviceId,
    pub trails: Trails,
    pub meter: Meter,
    pub kinds: Kinds,
    state: RefCell<State>,
}

impl Inner {
    pub fn new(
        kernel: &Kernel,
        seeds: &SeedTree,
        meter: &Meter,
        name: &str,
        profile: &Arc<DiskProfile>,
    ) -> Rc<Inner> {
        let kind = |kind: &str| meter.kind("disk", kind);
        let state = State {
            drive: Drive::new(profile, seeds, name),
            files: Files::new(profile),
            injected: Injected::default(),
            faults: seeds.stream(&format!("disk {name} faults")),
            operations: Slab::new(),
            requests: Slab::new(),
            loading: BTreeMap::new(),
            writers: BTreeMap::new(),
            syncing: BTreeMap::new(),
            throttled: VecDeque::new(),
            committing: None,
            next_commit: Vec::new(),
            round: None,
            answers: Vec::new(),
        };
        Rc::new_cyclic(|weak: &Weak<Inner>| Inner {
            kernel: kernel.clone(),
            name: name.into(),
            profile: profile.clone(),
            device: kernel.register(&format!("disk of {name}"), weak.clone()),
            trails: Trails {
                read: kernel.kind("disk read"),
                write: kernel.kind("disk write"),
                sync: kernel.kind("disk sync"),
                names: kernel.kind("disk names"),
                fault: kernel.kind("disk fault"),
                power_loss: kernel.kind("disk power loss"),
            },
            meter: meter.clone(),
            kinds: Kinds {
                read: kind("read"),
                write: kind("write"),
                flush: kind("flush"),
                fsync: kind("fsync"),
            },
            state: RefCell::new(state),
        })
    }

    /// Lets `act` change the state, then lets the device and the waiting tasks go on.
    pub fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let (result, answers) = {
            let state = &mut *self.state.borrow_mut();
            let result = act(state);
            self.start_requests(state);
            self.plan_round(state);
            (result, std::mem::take(&mut state.answers))
        };
        for (resolver, answer) in answers {
            resolver.resolve(answer);
        }
        result
    }

    /// Begins an operation that `plan` makes.
    pub fn begin(
        &self,
        plan: impl FnOnce(&mut State) -> Result<Work, DiskError>,
    ) -> Completion<Answer> {
        let (resolver, completion) = self.kernel.completion();
        self.with(|state| match plan(state) {
            Err(error) => state.answers.push((resolver, Err(error))),
            Ok(work) => {
                let operation = Operation {
                    work,
                    resolver,
                    at: self.kernel.now(),
                    timing: Timing::default(),
                    loads: 0,
                    stores: BTreeMap::new(),
                    written_at: None,
                    error: None,
                };
                let key = state.operations.insert(operation);
                self.start(state, key);
            }
        });
        completion
    }

    fn start(&self, state: &mut State, key: usize) {
        match &state.operations[key].work {
            Work::Read { inode, from, to } => {
                let (inode, page) = (*inode, self.profile.page_bytes);
                let range = super::inode::pages(*from, *to, page);
                let pages: Vec<u64> = match state.files.get(inode) {
                    Some(file) => range.filter(|page| file.must_load(*page)).collect(),
                    None => Vec::new(),
                };
                self.load(state, key, inode, &pages);
                if state.operations[key].loads == 0 {
                    self.read(state, key);
                }
            }
            Work::Write { inode, .. } => {
                let line = state.writers.entry(*inode).or_default();
                line.push_back(key);
                if line.len() == 1 {
                    self.start_write(state, key);
                }
            }
            Work::Sync { inode } => {
                let inode = *inode;
                self.start_sync(state, key, inode);
            }
        }
    }

    /// Lets an operation wait for pages, and reads those that nobody reads yet.
    fn load(&self, state: &mut State, key: usize, inode: InodeId, pages: &[u64]) {
        let mut fresh = Vec::new();
        for page in pages {
            let waiting = state.loading.entry((inode, *page)).or_default();
            if waiting.is_empty() {
                fresh.push(*page);
            }
            waiting.push(key);
        }
        state.operations[key].loads = pages.len();
        for pages in self.runs(&fresh) {
            let bytes = (pages.end - pages.start) * self.profile.page_bytes;
            self.request(state, Purpose::Load { inode, pages }, Access::Read, bytes);
        }
    }

    /// Pages in a row, as requests to the device.
    fn runs(&self, pages: &[u64]) -> Vec<std::ops::Range<u64>> {
        let most = self.profile.request_bytes_max / self.profile.page_bytes;
        let mut runs: Vec<std::ops::Range<u64>> = Vec::new();
        for page in pages {
            match runs.last_mut() {
                Some(run) if run.end == *page && run.end - run.start < most => run.end += 1,
                _ => runs.push(*page..*page + 1),
            }
        }
        runs
    }

    pub(super) fn request(&self, state: &mut State, purpose: Purpose, access: Access, bytes: u64) {
        let request = Request { purpose, bytes, turn: None, end: None };
        let key = state.requests.insert(request);
        state.drive.submit(key, access, bytes);
    }

    fn start_requests(&self, state: &mut State) {
        let now = self.kernel.now();
        while let Some(started) = state.drive.start(now) {
            let request = &mut state.requests[started.key];
            request.turn = Some(started.turn);
            let end = self.kernel.schedule(started.ends, self.device, started.key as u64);
            request.end = Some(end);
        }
    }

    /// The pages of a read are there, or it failed.
    fn read(&self, state: &mut State, key: usize) {
        let operation = &state.operations[key];
        let Work::Read { inode, from, to } = operation.work else {
            unreachable!("the operation reads")
        };
        let result = match (&operation.error, state.files.get(inode)) {
            (Some(error), _) => Err(error.clone()),
            (None, None) => Err(DiskError::NotFound { file: "(deleted)".to_owned() }),
            (None, Some(file)) => {
                Ok(Done::Bytes(Bytes::from(file.read(from, to, self.profile.page_bytes))))
            }
        };
        self.end(state, key, result);
    }

    /// A write's turn among those of its file.
    fn start_write(&self, state: &mut State, key: usize) {
        let Work::Write { inode, offset, bytes } = &state.operations[key].work else {
            unreachable!("the operation writes")
        };
        let (inode, length) = (*inode, bytes.len() as u64);
        let end = state.files.get(inode).map_or(0, |file| file.size);
        let offset = offset.unwrap_or(end);
        let pages = state.files.must_load_to_write(inode, offset, length);
        self.load(state, key, inode, &pages);
        if pages.is_empty() {
            self.write(state, key);
        }
    }

    /// The pages that a write covers in part are there.
    fn write(&self, state: &mut State, key: usize) {
        let now = self.kernel.now();
        let operation = &mut state.operations[key];
        let Work::Write { inode, offset, bytes } = &operation.work else {
            unreachable!("the operation writes")
        };
        let inode = *inode;
        let end = state.files.get(inode).map_or(0, |file| file.size);
        let offset = offset.unwrap_or(end);
        let result = match operation.error.take() {
            Some(error) => Err(error),
            None => state.files.write(now, inode, offset, bytes),
        };
        let line = state.writers.get_mut(&inode).expect("invariant: the write stood in it");
        line.pop_front();
        let next = line.front().copied();
        if next.is_none() {
            state.writers.remove(&inode);
        }
        match result {
            Err(error) => self.end(state, key, Err(error)),
            Ok(()) => {
                if state.files.dirty_bytes() > self.profile.dirty_background_bytes {
                    self.write_back(state, None, now);
                }
                if state.files.unclean_bytes() > self.profile.dirty_limit_bytes {
                    state.operations[key].written_at = Some(offset);
                    state.throttled.push_back(key);
                } else {
                    self.end(state, key, Ok(Done::Offset(offset)));
                }
            }
        }
        if let Some(next) = next {
            self.start_write(state, next);
        }
    }

    /// Gives dirty pages to the device: of one file or all, dirty since `before` or earlier.
    pub(super) fn write_back(&self, state: &mut State, of: Option<InodeId>, before: Timestamp) {
        for (inode, pages) in state.files.writable(of, before) {
            for pages in self.runs(&pages) {
                pages.clone().for_each(|page| state.files.begin_write(inode, page));
                let bytes = (pages.end - pages.start) * self.profile.page_bytes;
                self.request(state, Purpose::Store { inode, pages }, Access::Write, bytes);
            }
        }
    }

    /// A request to the device is done.
    fn done(&self, state: &mut State, key: usize) {
        let now = self.kernel.now();
        state.drive.finish();
        let Request { purpose, bytes, turn, .. } = state.requests.remove(key);
        let turn = turn.expect("invariant: only what was taken up ends");
        match purpose {
            Purpose::Load { inode, pages } => {
                self.meter.count(self.kinds.read, now, 0, bytes);
                self.loaded(state, inode, pages, turn);
            }
            Purpose::Store { inode, pages } => {
                self.meter.count(self.kinds.write, now, bytes, 0);
                self.stored(state, inode, pages, turn);
            }
            Purpose::Journal => {
                self.meter.count(self.kinds.write, now, bytes, 0);
                let waiting = &state.committing.as_ref().expect("invariant: under way").operations;
                for operation in waiting {
                    state.operations[*operation].charge(now, turn);
                }
                let mark = state.files.write_cache.mark();
                self.request(state, Purpose::CommitFlush { mark }, Access::Flush, 0);
            }
            Purpose::CommitFlush { mark } => {
                self.meter.count(self.kinds.flush, now, 0, 0);
                if state.injected.fails_sync() {
                    self.commit_failed(state, turn);
                } else {
                    state.files.write_cache.flushed(mark);
                    self.committed(state, turn);
                }
            }
            Purpose::SyncFlush { mark, operation } => {
                self.meter.count(self.kinds.flush, now, 0, 0);
                state.operations[operation].charge(now, turn);
                if state.injected.fails_sync() {
                    self.flush_failed(state, operation);
                } else {
                    state.files.write_cache.flushed(mark);
                    self.synced(state, operation);
                }
            }
        }
    }

    fn loaded(
        &self,
        state: &mut State,
        inode: InodeId,
        pages: std::ops::Range<u64>,
        turn: Timestamp,
    ) {
        let now = self.kernel.now();
        let failed = state.injected.fails_read();
        for page in pages {
            if !failed {
                state.files.loaded(inode, page);
            }
            for key in state.loading.remove(&(inode, page)).unwrap_or_default() {
                let operation = &mut state.operations[key];
                if failed {
                    let file = state.files.get(inode).map_or("", |file| &file.name).to_owned();
                    operation.error = Some(DiskError::ReadFailed { file });
                }
                operation.charge(now, turn);
                operation.loads -= 1;
                if operation.loads > 0 {
                    continue;
                }
                match operation.work {
                    Work::Read { .. } => self.read(state, key),
                    Work::Write { .. } => self.write(state, key),
                    Work::Sync { .. } => unreachable!("a sync reads nothing"),
                }
            }
        }
    }

    fn stored(
        &self,
        state: &mut State,
        inode: InodeId,
        pages: std::ops::Range<u64>,
        turn: Timestamp,
    ) {
        let now = self.kernel.now();
        let failed = state.injected.fails_write();
        let misdirected = !failed && state.injected.misdirects_write();
        let kept = !failed && !misdirected && !state.injected.loses_write();
        let mut versions = BTreeMap::new();
        for page in pages {
            if misdirected {
                state.files.misdirect((inode, page), &mut state.faults);
            }
            let version = match failed {
                true => state.files.failed(inode, page),
                false => state.files.landed(inode, page, kept),
            };
            versions.extend(version.map(|version| (page, version)));
        }
        self.advance_syncs(state, inode, &versions, turn);
        if state.syncing.contains_key(&inode) {
            self.write_back(state, Some(inode), now);
        }
        while !state.throttled.is_empty()
            && state.files.unclean_bytes() <= self.profile.dirty_limit_bytes
        {
            let Some(key) = state.throttled.pop_front() else { break };
            let operation = &state.operations[key];
            let offset = operation.written_at.expect("invariant: it has written");
            self.end(state, key, Ok(Done::Offset(offset)));
        }
    }

    pub(super) fn end(&self, state: &mut State, key: usize, result: Result<Done, DiskError>) {
        let mut operation = state.operations.remove(key);
        // What is not explained was spent behind other writes of the file.
        let now = self.kernel.now();
        operation.charge(now, now);
        let answer = result.map(|value| Reply { value, timing: operation.timing });
        state.answers.push((operation.resolver, answer));
    }

    /// Keeps a round of write-back planned as long as something is not durable.
    fn plan_round(&self, state: &mut State) {
        if state.round.is_some() {
            return;
        }
        let is_needed = state.files.dirty_bytes() > 0
            || state.requests.iter().any(|(_, it)| matches!(it.purpose, Purpose::Store { .. }))
            || state.files.needs_commit();
        if is_needed {
            let at = self.kernel.now() + self.profile.writeback_interval;
            state.round = Some(self.kernel.schedule(at, self.device, token::ROUND));
        }
    }

    fn round(&self, state: &mut State) {
        state.round = None;
        let now = self.kernel.now();
        let expire = sim_model::time::nanos(self.profile.dirty_expire);
        if let Some(before) = now.as_nanos().checked_sub(expire) {
            self.write_back(state, None, Timestamp::from_nanos(before));
        }
        if state.files.needs_commit() && state.committing.is_none() {
            self.commit(state);
        }
    }

    /// Lets the device do nothing until then.
    pub fn stall_until(&self, state: &mut State, until: Timestamp) {
        state.drive.stall_until(until);
        self.kernel.schedule(until, self.device, token::UNSTALL);
    }

    /// Lets a device that does nothing go on now.
    pub fn end_stall(&self, state: &mut State) {
        let (now, until) = (self.kernel.now(), state.drive.stalled_until());
        if until <= now {
            return;
        }
        state.drive.end_stall(now);
        for (key, request) in state.requests.iter_mut() {
            // What ended during the stall waits for its end.
            if let Some(end) = request.end.filter(|end| end.at() == until) {
                self.kernel.cancel(end);
                request.end = Some(self.kernel.schedule(now, self.device, key as u64));
            }
        }
    }

    /// The power fails.
    pub fn lose_power(&self) {
        self.with(|state| {
            for (_, request) in state.requests.iter_mut() {
                if let Some(end) = request.end.take() {
                    self.kernel.cancel(end);
                }
            }
            if let Some(round) = state.round.take() {
                self.kernel.cancel(round);
            }
            state.requests.clear();
            state.drive.clear();
            state.loading.clear();
            state.writers.clear();
            state.syncing.clear();
            state.throttled.clear();
            state.next_commit.clear();
            let commit = state.committing.take().map(|committing| committing.commit);
            let sectors_tear = state.injected.torn_sectors;
            state.files.lose_power(&mut state.faults, commit, sectors_tear);
            let operations = std::mem::take(&mut state.operations);
            let lost = operations.into_iter().map(|(_, operation)| operation.resolver);
            state.answers.extend(lost.map(|resolver| (resolver, Err(DiskError::PowerLost))));
        });
    }
}

impl Device for Inner {
    fn fire(&self, token: u64) {
        self.with(|state| match token {
            token::ROUND => self.round(state),
            // Whoever changes the state lets the device go on.
            token::UNSTALL => {}
            key => {
                let key = key as usize;
                let until = state.drive.stalled_until();
                if until > self.kernel.now() {
                    let end = self.kernel.schedule(until, self.device, token);
                    state.requests[key].end = Some(end);
                } else {
                    self.done(state, key);
                }
            }
        });
    }
}
