//! The server's one thread: takes what has arrived, executes it, persists it, answers it.

use super::command::{Answer, Block, EntryId, Operation, Request};
use super::log::{Log, Unusable};
use super::state::{Applied, State};
use crate::kernel::Kernel;
use crate::profile::StoreProfile;
use crate::selfhosted::{Incoming, Listener};
use sim_model::ledger::Category;
use sim_model::time::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A read that waits for entries.
struct Blocked {
    incoming: Incoming<Request>,
    deadline: Option<Timestamp>,
}

/// A command that was executed and not answered yet.
type Executed = (Incoming<Request>, Answer);

pub(super) struct Server {
    pub kernel: Kernel,
    pub costs: Arc<StoreProfile>,
    pub listener: Listener<Request>,
    pub state: State,
    pub log: Option<Log>,
    blocked: VecDeque<Blocked>,
    executed: Vec<Executed>,
}

impl Server {
    pub fn new(
        kernel: &Kernel,
        costs: &Arc<StoreProfile>,
        listener: Listener<Request>,
        state: State,
        log: Option<Log>,
    ) -> Server {
        Server {
            kernel: kernel.clone(),
            costs: costs.clone(),
            listener,
            state,
            log,
            blocked: VecDeque::new(),
            executed: Vec::new(),
        }
    }

    /// Serves until the machine dies, or the append-only file fails for good.
    pub async fn serve(mut self) {
        loop {
            if let Some(first) = self.next().await {
                self.execute(first).await;
            }
            // One round of the event loop: everything that has arrived meanwhile.
            for _ in 0..self.listener.waiting() {
                let Some(incoming) = self.listener.try_next() else { break };
                self.execute(incoming).await;
            }
            self.expire();
            if self.finish_round().await.is_err() {
                return;
            }
        }
    }

    /// The next command; none if a blocked read has to be answered before one arrives.
    async fn next(&self) -> Option<Incoming<Request>> {
        let deadline = self.blocked.iter().filter_map(|blocked| blocked.deadline).min();
        match deadline {
            None => Some(self.listener.next().await),
            Some(deadline) => {
                let span = deadline.since(self.kernel.now());
                self.kernel.timeout(span, self.listener.next()).await
            }
        }
    }

    async fn execute(&mut self, mut incoming: Incoming<Request>) {
        let millis = self.kernel.now().as_nanos() / 1_000_000;
        let operation = &incoming.command().operation;
        let id = match operation {
            Operation::StreamAdd { stream, .. } => self.state.next_id(stream, millis),
            _ => EntryId::ZERO,
        };
        let is_change = !matches!(
            operation,
            Operation::StreamRead { .. }
                | Operation::StreamLast { .. }
                | Operation::ListRange { .. }
                | Operation::HashGet { .. }
                | Operation::HashGetAll { .. }
                | Operation::HashExists { .. }
        );
        let applied = match self.log.as_ref().is_some_and(Log::is_failing) && is_change {
            true => Applied { answer: Answer::CannotPersist, changed: false },
            false => self.state.apply(operation, id),
        };
        if let (true, Some(log)) = (applied.changed, &mut self.log) {
            log.add(operation, id);
        }
        let added_to = match operation {
            Operation::StreamAdd { stream, .. } if applied.changed => Some(stream.clone()),
            _ => None,
        };
        incoming.cpu(self.cost(incoming.command(), &applied.answer)).await;
        match blocking(&incoming, &applied.answer) {
            Some(block) => self.block(incoming, block),
            None => self.executed.push((incoming, applied.answer)),
        }
        if let Some(stream) = added_to {
            self.wake(&stream).await;
        }
    }

    /// Core time of a command with that answer.
    fn cost(&self, request: &Request, answer: &Answer) -> Duration {
        let elements = request.operation.elements() + answer.elements();
        let bytes = request.encoded.len() as u64 + answer.bytes();
        let moved = self.costs.kibibyte_cpu.as_nanos() as u64 * bytes / 1024;
        let elements = u32::try_from(elements).unwrap_or(u32::MAX);
        self.costs.command_cpu + self.costs.element_cpu * elements + Duration::from_nanos(moved)
    }

    fn block(&mut self, mut incoming: Incoming<Request>, block: Block) {
        incoming.charge(Category::Queueing);
        let deadline = match block {
            Block::For(span) => Some(self.kernel.now() + span),
            _ => None,
        };
        self.blocked.push_back(Blocked { incoming, deadline });
    }

    /// Serves the reads that wait for entries of a stream, first come, first served.
    async fn wake(&mut self, stream: &str) {
        let mut still = VecDeque::new();
        for mut blocked in std::mem::take(&mut self.blocked) {
            if blocked.incoming.is_abandoned() {
                // Its client is gone: the operating system has closed the connection.
                continue;
            }
            let operation = &blocked.incoming.command().operation;
            if !matches!(operation, Operation::StreamRead { stream: of, .. } if of == stream) {
                still.push_back(blocked);
                continue;
            }
            let answer = self.state.apply(operation, EntryId::ZERO).answer;
            if answer == Answer::Entries(Vec::new()) {
                still.push_back(blocked);
                continue;
            }
            blocked.incoming.charge(Category::Polling);
            let cost = self.cost(blocked.incoming.command(), &answer);
            blocked.incoming.cpu(cost).await;
            self.executed.push((blocked.incoming, answer));
        }
        self.blocked = still;
    }

    /// Answers blocked reads whose time is over.
    fn expire(&mut self) {
        let now = self.kernel.now();
        for mut blocked in std::mem::take(&mut self.blocked) {
            if blocked.deadline.is_some_and(|deadline| deadline <= now) {
                blocked.incoming.charge(Category::Polling);
                self.executed.push((blocked.incoming, Answer::Entries(Vec::new())));
            } else {
                self.blocked.push_back(blocked);
            }
        }
    }

    /// The end of a round: what was changed is written to the log, then everybody is answered.
    async fn finish_round(&mut self) -> Result<(), Unusable> {
        // The time since a command was executed went to those after it in the round.
        self.executed.iter_mut().for_each(|(incoming, _)| incoming.charge(Category::Batching));
        if let Some(log) = &mut self.log {
            let written = log.write().await?;
            for (incoming, _) in &mut self.executed {
                written.iter().for_each(|reply| incoming.note(reply.clone()));
            }
        }
        for (incoming, answer) in self.executed.drain(..) {
            incoming.answer(answer);
        }
        Ok(())
    }
}

/// How a read waits that has found nothing.
fn blocking(incoming: &Incoming<Request>, answer: &Answer) -> Option<Block> {
    match incoming.command().operation {
        Operation::StreamRead { block, .. } if *answer == Answer::Entries(Vec::new()) => {
            (block != Block::No).then_some(block)
        }
        _ => None,
    }
}
