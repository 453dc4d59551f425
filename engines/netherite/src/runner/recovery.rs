//! How an incarnation begins: from the checkpoint and the log, to the first event.
//!
//! The state is that of the last checkpoint; the events that follow it in the log are read in pieces
//! of 2 MiB, a few ahead of where the replay is, and applied. The instances that the events of a piece
//! are about are read side by side before. Then everything in the log is durable: what waited for
//! that leaves, and `RecoveryCompleted`, the first event of the incarnation, starts anew what was
//! under way.

use super::checkpoint::{Progress, checkpoint_names};
use super::upkeep::Latencies;
use super::{Ending, PartitionRunner, Resumption};
use crate::commit_log::{CommitLog, FIRST_POSITION, LogLost, Opening, Piece, RecordReader};
use crate::event::{Input, PartitionEvent};
use crate::host::HostProcess;
use crate::lease::PartitionLease;
use crate::partition::{Handling, Incarnation, Partition};
use crate::reports::{Reports, bump};
use crate::settings::{Placement, Speculation};
use crate::stop::Stop;
use crate::transport::{Letter, Receipt};
use futures_util::stream::{self, StreamExt};
use sim_model::codec;
use sim_model::engine::HostLife;
use sim_model::time::Timestamp;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Pieces of the log that are read ahead.
const PIECES_AHEAD: usize = 4;
/// What a replayed event is charged: nothing, its time has passed.
const PAST: Handling = Handling { begun: Timestamp::ZERO, ended: Timestamp::ZERO };

impl PartitionRunner {
    /// Begins a new incarnation from what is in the blobs and what the one before has left.
    pub(crate) async fn start(
        process: &Rc<HostProcess>,
        index: u32,
        lease: Rc<PartitionLease>,
        resumption: Resumption,
    ) -> Result<Rc<PartitionRunner>, LogLost> {
        let setup = &process.setup;
        let begun = setup.kernel.now();
        let owner = HostLife { host: setup.index as usize, life: process.life };
        let reports = Reports::begin(&setup.reports[index as usize], owner);
        let prefix = format!("p{index:02}");
        let Resumption { origins, cut } = resumption;
        let log = CommitLog::open(Opening {
            place: &setup.services.log_place,
            container: setup.services.blobs.clone(),
            partition: index,
            prefix: prefix.clone(),
            host: process.host().clone(),
            host_index: setup.index as usize,
            lease: lease.clone(),
            fenced: setup.config.fencing,
            speculative: setup.config.speculation == Speculation::Global,
            cut,
        })
        .await?;
        reports.take_over();
        let epochs = log.epochs();
        let cautious_until = match epochs.len() {
            1 => Timestamp::ZERO,
            _ => setup.kernel.now() + setup.config.rollback_caution,
        };
        let incarnation = Incarnation { epochs, origins, cautious_until };
        let kernel = &setup.kernel;
        let checkpoint = log.last_checkpoint();
        let state = match &checkpoint {
            None => Partition::new(index, setup.partitions, setup.config.clone(), incarnation),
            Some(checkpoint) => {
                let [index_name, state_name] = checkpoint_names(&prefix, checkpoint);
                let read = async |name: &str| {
                    let read = setup.services.blobs.get(process.host(), name).await;
                    read.map(|reply| reply.value).map_err(|_| LogLost)
                };
                let index_bytes = read(&index_name).await?;
                let state_bytes = read(&state_name).await?;
                let place = (index, setup.partitions);
                let config = setup.config.clone();
                Partition::restore(place, config, incarnation, (&index_bytes, &state_bytes))
            }
        };
        let from = checkpoint.map_or(FIRST_POSITION, |checkpoint| checkpoint.position);
        let runner = Rc::new(PartitionRunner {
            index,
            prefix,
            process: process.clone(),
            lease,
            reports,
            state: RefCell::new(state),
            submitted: kernel.channel(),
            cursors: RefCell::default(),
            alarm: kernel.notify(),
            closed: Stop::new(kernel),
            ended: Stop::new(kernel),
            ending: RefCell::default(),
            committed: (Cell::new(0), kernel.notify()),
            latency: Latencies::default(),
            checkpoints: Progress::new(kernel, from),
            log,
        });
        runner.replay(from).await?;
        runner.begin();
        let took = setup.kernel.now().since(begun);
        if runner.is_restart() {
            let counts = runner.reports.counts();
            bump(&counts.recoveries, 1);
            counts.recovery_time.set(counts.recovery_time.get() + took);
        }
        Ok(runner)
    }

    /// Whether there was an incarnation before.
    pub(super) fn is_restart(&self) -> bool {
        self.log.epoch() > 1
    }

    /// Applies the events of the log from position `from` on.
    async fn replay(self: &Rc<Self>, from: u64) -> Result<(), LogLost> {
        let mut reader = RecordReader::new(from);
        let read = |piece| async move {
            match piece {
                Piece::Blob { blob, offset, length } => self.read(&blob, offset, length).await,
                Piece::Held(bytes) => Some(bytes),
            }
        };
        let mut pieces = stream::iter(self.log.pieces(from)).map(read).buffered(PIECES_AHEAD);
        while let Some(piece) = pieces.next().await {
            reader.push(&piece.ok_or(LogLost)?);
            let mut inputs: Vec<(u64, Input)> = Vec::new();
            while let Some((position, record)) = reader.next() {
                match codec::decode(&record) {
                    Ok(input) => inputs.push((position, input)),
                    Err(error) => return self.is_broken(&error.to_string()),
                }
            }
            self.replay_events(inputs).await?;
        }
        if !reader.is_empty() {
            return self.is_broken("it ends within a record");
        }
        Ok(())
    }

    /// The log is not what was written. Without fencing that happens; the partition stands still then.
    fn is_broken(&self, problem: &str) -> Result<(), LogLost> {
        assert!(!self.process.setup.config.fencing, "the log of {}: {problem}", self.prefix);
        Err(LogLost)
    }

    async fn replay_events(self: &Rc<Self>, inputs: Vec<(u64, Input)>) -> Result<(), LogLost> {
        let work = self.process.setup.event_work * inputs.len() as u32;
        self.process.host().run(work).await;
        bump(&self.reports.counts().replayed, inputs.len() as u64);
        let mut needed = Vec::new();
        inputs.iter().for_each(|(_, input)| self.state.borrow().needs(&input.event, &mut needed));
        self.load(needed).await.ok_or(LogLost)?;
        let mut effects = Vec::new();
        for (position, input) in inputs {
            // What a timer is about is known only when the events before have been applied.
            let mut needed = Vec::new();
            self.state.borrow().needs(&input.event, &mut needed);
            if !needed.is_empty() {
                self.load(needed).await.ok_or(LogLost)?;
            }
            self.checkpoints.note_event();
            self.state.borrow_mut().process(position, input, PAST, &mut effects);
            effects.clear();
        }
        Ok(())
    }

    /// The state is rebuilt: starts what was under way, and everything that works on the partition.
    fn begin(self: &Rc<Self>) {
        let setup = &self.process.setup;
        let durable = self.log.durable();
        if durable > FIRST_POSITION {
            self.submit(PartitionEvent::RecoveryCompleted { recovered: setup.kernel.now() });
        }
        self.state.borrow_mut().recover(self.log.committed_before(), durable);
        self.became_durable(durable);
        self.reports.recovered(self.state.borrow().uncommitted());
        if self.is_restart() {
            for (partition, event) in self.state.borrow().announce() {
                let letter = Letter { event, receipt: Receipt::None };
                self.process.send_to_partition(partition, letter);
            }
        }
        self.spawn(self.clone().take_in());
        if setup.config.placement == Placement::Locavore {
            self.spawn(self.clone().poke());
        }
        if setup.config.speculation == Speculation::Global {
            self.spawn(self.clone().ask_for_commit());
        }
        self.spawn(self.clone().fire_timers());
        self.spawn(self.clone().receive_events());
        self.spawn(self.clone().report_positions());
        self.spawn(self.clone().checkpoint_when_idle());
        if setup.config.load_publishing {
            self.spawn(self.clone().publish_load());
        }
        self.spawn(self.clone().commit());
        self.spawn(self.clone().watch_lease());
    }

    /// Runs a task until the incarnation ends.
    fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        let runner = self.clone();
        self.process.host().spawn(async move {
            runner.ended.unless(task).await;
        });
    }

    async fn commit(self: Rc<Self>) {
        let committed = || self.state.borrow().committed();
        let durable = |position, took| {
            let counts = self.reports.counts();
            bump(&counts.commits, 1);
            counts.commit_time.set(counts.commit_time.get() + took);
            self.latency.durable(self.process.setup.kernel.now(), self.log.end() > position);
            self.became_durable(position);
        };
        match self.log.run(committed, durable).await {
            Ok(cut) => {
                let origins = self.state.borrow().origins().clone();
                self.end(Ending::RollBack(Resumption { origins, cut: Some(cut) }));
            }
            // Without its log a partition cannot promise anything.
            Err(LogLost) => self.end(Ending::Lost),
        }
    }

    async fn watch_lease(self: Rc<Self>) {
        self.lease.lost().await;
        self.end(Ending::Lost);
    }
}
