//! Execution on a replica: rounds, checkpoints, and what becomes visible when.
//!
//! A round occupies one core for the time of its longest threads, and further cores beside it; then
//! the state is committed. Every 500 heights execution stands still while a checkpoint is written, in
//! proportion to the pages that changed; its manifest is hashed in the background, and signed as a
//! catch-up package when that is done. Source: dfinity/ic rs/state_manager/src/tip.rs@0151ed24.

use super::Life;
use crate::block::{Sealed, SubnetId};
use crate::counters::add;
use crate::state::{Checkpoint, Round, SubnetState};
use crate::subnet::{Answer, Packet};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

impl Life {
    /// Takes a finalized block for execution.
    pub(super) fn hand_over(&self, block: Rc<Sealed>) {
        self.backlog.borrow_mut().push_back(block);
        self.fill_queue();
    }

    /// Lets as many blocks into the execution queue as it holds.
    pub(super) fn fill_queue(&self) {
        let mut backlog = self.backlog.borrow_mut();
        while self.queued.get() < self.subnet.config.execution_queue {
            let Some(block) = backlog.pop_front() else { break };
            self.queued.set(self.queued.get() + 1);
            self.batches.0.send(block);
        }
    }

    /// Executes finalized blocks, one after the other.
    pub(super) async fn execute(self: &Rc<Life>) -> Infallible {
        let subnet = &self.subnet;
        loop {
            let sealed = self.batches.1.recv().await;
            let now = self.now();
            let done = {
                let mut execution = subnet.execution.borrow_mut();
                execution.execute(&sealed, now).map(|round| {
                    let times = round.times(execution.program());
                    let checkpoint = execution.checkpoint(round.height, round.hash);
                    (round, times, checkpoint)
                })
            };
            let Some((round, (longest, others), checkpoint)) = done else {
                // Everything waits for the checkpoint of another replica, which is asked for.
                self.stranded.set(true);
                return std::future::pending().await;
            };
            for other in others {
                drop(self.host.run(other));
            }
            self.host.run(longest + subnet.costs.state_commit).await;
            if let Some(checkpoint) = checkpoint {
                self.write_checkpoint(checkpoint).await;
            }
            self.executed.set(round.height);
            self.queued.set(self.queued.get() - 1);
            for (id, request) in &round.outcalls {
                self.carry_out(*id, *request);
            }
            self.note(Packet::Executed(round));
        }
    }

    async fn write_checkpoint(self: &Rc<Life>, checkpoint: Checkpoint) {
        let costs = &self.subnet.costs;
        let pages = u32::try_from(checkpoint.dirty_pages).unwrap_or(u32::MAX);
        self.host.run(costs.page_write * pages).await;
        if self.me.0 == 0 {
            add(&self.subnet.counters.checkpoints, 1);
            add(&self.subnet.counters.checkpoint_pages, checkpoint.dirty_pages);
        }
        let height = checkpoint.height;
        let changed = checkpoint.dirty_pages as f64 * crate::state::PAGE_BYTES as f64;
        let hashing = Duration::from_secs_f64(changed / costs.hash_bytes_per_s);
        let digest = xxh3_64(&checkpoint.bytes);
        let is_news = height > self.disk().borrow().checkpoint().height;
        if is_news {
            self.disk().borrow_mut().write_checkpoint(checkpoint);
        }
        let life = Rc::downgrade(self);
        let host = self.host.clone();
        host.clone().spawn(async move {
            host.run(hashing).await;
            if let Some(life) = life.upgrade() {
                life.note(Packet::Manifest(height, digest));
            }
        });
    }

    /// Makes visible what has been executed and is certified.
    pub(super) fn release(&self) {
        let certified = self.consensus.borrow().certified();
        loop {
            let next = {
                let mut uncertified = self.uncertified.borrow_mut();
                let may = |round: &Rc<Round>| {
                    round.height <= certified || !self.subnet.config.certification
                };
                if !uncertified.front().is_some_and(may) {
                    break;
                }
                uncertified.pop_front().expect("just looked at")
            };
            self.subnet.report(&next);
            self.visible_height.set(next.height);
            for (id, reply) in &next.replies {
                let waiting = self.waiting.borrow_mut().remove(id);
                for gateway in waiting.into_iter().flatten() {
                    let certified = self.subnet.config.certification;
                    let answer = Answer::Update { id: *id, reply: reply.clone(), certified };
                    gateway.send(self.host.node(), 600, answer);
                }
            }
            *self.visible.borrow_mut() = Some(next);
        }
    }

    /// How far streams were taken by the state that was loaded.
    pub(super) fn load_streams(&self, state: &SubnetState) {
        let entry = |(id, stream): (&SubnetId, &crate::stream::Stream)| {
            (*id, (stream.taken, stream.begin()))
        };
        *self.taken.borrow_mut() = state.streams.iter().map(entry).collect();
    }
}
