//! A replica: one machine of a subnet, from its start to its crash.
//!
//! **What it models.** A replica has two threads of control. One handles everything that arrives:
//! artefacts of consensus, client calls, queries, pulls of other subnets; it verifies signatures, steps
//! the consensus machine and does what that asks for. The other executes finalized blocks one after the
//! other and takes checkpoints. At most 16 finalized blocks wait between them. What was executed is
//! certified by shares of all replicas; then clients are answered.
//!
//! **Start.** A replica loads the checkpoint on its disk, takes back what it had signed, executes the
//! finalized blocks on its disk again, and asks the others for what it has missed: blocks, or, if they
//! no longer have them, a newer checkpoint. It carries out again the outcalls that are still open.
//!
//! The execution of user code happens once for all replicas (see `state/execution.rs`); here it takes
//! the core time of each machine.

mod artefacts;
mod calls;
mod disk;
mod executor;
mod maker;
mod outcalls;

pub(crate) use disk::Disk;

use crate::block::{Block, BlockHash, Height, IngressId, ReplicaId, Sealed, SubnetId};
use crate::consensus::{Artefact, Consensus};
use crate::pool::IngressPool;
use crate::settings::Behaviour;
use crate::state::{Round, SubnetState};
use crate::stream::Slice;
use crate::subnet::{Answer, Packet, Subnet};
use futures_util::future::{Either, select};
use outcalls::Shares;
use sim_model::time::Timestamp;
use sim_world::fault::Conduct;
use sim_world::host::Host;
use sim_world::kernel::{Receiver, Sender};
use sim_world::network::MailboxSender;
use sim_world::seed::Stream;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// Packets that are handled together.
const PACKETS: usize = 512;
/// Without a finalized block for this long, a replica asks another for what it has missed. [assumption]
const PATIENCE: Duration = Duration::from_secs(3);
/// Least time between two such requests. [assumption]
const CATCH_UP_INTERVAL: Duration = Duration::from_secs(1);

/// How far a life in memory has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handled {
    GoOn,
    /// Another checkpoint is on the disk: start from it.
    StartAgain,
}

/// One life of a replica: from a start to a crash, or to the arrival of a newer checkpoint.
pub(crate) struct Life {
    subnet: Rc<Subnet>,
    me: ReplicaId,
    conduct: Conduct,
    host: Host,
    address: MailboxSender<Packet>,
    consensus: RefCell<Consensus>,
    pool: RefCell<IngressPool>,
    /// The height up to which this replica has executed, and whether the state before the next block is
    /// older than any that is kept: then only the checkpoint of another replica helps.
    executed: Cell<Height>,
    stranded: Cell<bool>,
    /// Finalized blocks for the executor, and those that do not fit into its queue yet.
    batches: (Sender<Rc<Sealed>>, Receiver<Rc<Sealed>>),
    queued: Cell<usize>,
    backlog: RefCell<VecDeque<Rc<Sealed>>>,
    /// Executed rounds whose state is not certified yet.
    uncertified: RefCell<VecDeque<Rc<Round>>>,
    /// The last round whose effects may be seen.
    visible: RefCell<Option<Rc<Round>>>,
    visible_height: Cell<Height>,
    /// The last finalized block on the disk at the start: before it has executed one more, a replica
    /// cannot know that it is not behind.
    loaded: Height,
    /// Gateways that wait for answers.
    waiting: RefCell<BTreeMap<IngressId, Vec<MailboxSender<Answer>>>>,
    /// Who has carried out which outcall.
    outcalls: RefCell<Shares>,
    /// The last slice that was pulled from each subnet.
    slices: RefCell<BTreeMap<SubnetId, Slice>>,
    /// Of each subnet: how far its stream is taken by finalized blocks, and its signals.
    taken: RefCell<BTreeMap<SubnetId, (u64, u64)>>,
    /// What is to be sent to all others.
    outbox: RefCell<Vec<Artefact>>,
    /// Blocks of its own that a Byzantine replica has not shown yet.
    held_back: RefCell<BTreeSet<(Height, BlockHash)>>,
    pulled_in: Cell<Height>,
    asked_at: Cell<Timestamp>,
    progress_at: Cell<Timestamp>,
    /// Until then the replica knows itself to be behind.
    behind_until: Cell<Timestamp>,
    random: RefCell<Stream>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.subnet.execution.borrow_mut().release();
    }
}

/// Starts a replica, now and after each restart of its machine.
pub(crate) fn boot(subnet: &Rc<Subnet>, me: ReplicaId) {
    let machine = subnet.machines[usize::from(me.0)].clone();
    // The machine belongs to the world, which outlives the subnet.
    let weak = Rc::downgrade(subnet);
    let starts = Cell::new(0u32);
    machine.run(move || {
        let Some(subnet) = weak.upgrade() else { return };
        starts.set(starts.get() + 1);
        start(&subnet, me, starts.get());
    });
}

fn start(subnet: &Rc<Subnet>, me: ReplicaId, number: u32) {
    let (address, inbox) = subnet.network.mailbox_with_copies(subnet.node(me));
    subnet.directory.enter(subnet.id, me, address.clone());
    let host = subnet.machines[usize::from(me.0)].host().clone();
    let subnet = subnet.clone();
    host.spawn(async move {
        let mut lives = 0;
        loop {
            lives += 1;
            let name = format!("replica {} of subnet {} start {number}.{lives}", me.0, subnet.id.0);
            let life = Life::load(&subnet, me, &address, &name);
            life.run(&inbox).await;
        }
    });
}

impl Life {
    /// Loads what is on the disk.
    fn load(
        subnet: &Rc<Subnet>,
        me: ReplicaId,
        address: &MailboxSender<Packet>,
        stream: &str,
    ) -> Rc<Life> {
        let now = subnet.kernel.now();
        let disk = subnet.disks[usize::from(me.0)].borrow();
        subnet.execution.borrow_mut().hold(disk.checkpoint());
        let checkpoint = disk.checkpoint().height;
        let finalized = disk.block(disk.finalized()).expect("invariant: it is on the disk");
        let mut consensus = Consensus::new(me, subnet.consensus, finalized, disk.package(), now);
        disk.artefacts(me).into_iter().for_each(|artefact| consensus.restore(artefact));
        let replayed = disk.blocks_above(checkpoint).expect("invariant: they are on the disk");
        let life = Rc::new(Life {
            me,
            conduct: subnet.conducts[usize::from(me.0)].clone(),
            host: subnet.machines[usize::from(me.0)].host().clone(),
            address: address.clone(),
            consensus: RefCell::new(consensus),
            pool: RefCell::default(),
            executed: Cell::new(checkpoint),
            stranded: Cell::new(false),
            batches: subnet.kernel.channel(),
            queued: Cell::new(0),
            backlog: RefCell::default(),
            uncertified: RefCell::default(),
            visible: RefCell::default(),
            visible_height: Cell::new(checkpoint),
            loaded: disk.finalized(),
            waiting: RefCell::default(),
            outcalls: RefCell::default(),
            slices: RefCell::default(),
            taken: RefCell::default(),
            outbox: RefCell::default(),
            held_back: RefCell::default(),
            pulled_in: Cell::new(0),
            asked_at: Cell::new(Timestamp::ZERO),
            progress_at: Cell::new(now),
            behind_until: Cell::new(Timestamp::ZERO),
            random: RefCell::new(subnet.world.seeds().stream(stream)),
            subnet: subnet.clone(),
        });
        crate::counters::add(&subnet.counters.replayed_blocks, replayed.len() as u64);
        let state: SubnetState = crate::block::decode(&disk.checkpoint().bytes);
        life.load_streams(&state);
        let finalized: Vec<&Block> = replayed.iter().map(|sealed| &sealed.block).collect();
        life.load_outcalls(&state, &finalized);
        drop(disk);
        replayed.into_iter().for_each(|block| life.hand_over(block));
        life
    }

    /// Runs until a newer checkpoint is to be started from.
    async fn run(self: &Rc<Life>, inbox: &Receiver<Packet>) {
        let serve = pin!(self.serve(inbox));
        let execute = pin!(self.execute());
        match select(serve, execute).await {
            Either::Left(((), _)) => {}
            Either::Right((never, _)) => match never {},
        }
    }

    async fn serve(self: &Rc<Life>, inbox: &Receiver<Packet>) {
        let kernel = self.subnet.kernel.clone();
        if kernel.now() > Timestamp::ZERO {
            self.catch_up(self.someone());
        }
        let mut wake = self.settle(Vec::new()).await;
        loop {
            let patience = self.progress_at.get().max(self.asked_at.get()) + PATIENCE;
            let next = wake.map_or(patience, |at| at.min(patience));
            let span = next.since(kernel.now());
            let packets = kernel.timeout(span, inbox.recv_many(PACKETS)).await.unwrap_or_default();
            let cost = self.verification(&packets);
            if !cost.is_zero() {
                self.host.run(cost).await;
            }
            let mut actions = Vec::new();
            for packet in packets {
                if self.handle(packet, &mut actions) == Handled::StartAgain {
                    return;
                }
            }
            if kernel.now() >= patience || self.stranded.get() {
                self.catch_up(self.someone());
            }
            self.share_again();
            wake = self.settle(actions).await;
        }
    }

    /// Another replica, at random.
    fn someone(&self) -> ReplicaId {
        let others = u64::from(self.subnet.config.replicas) - 1;
        let pick = self.random.borrow_mut().below(others) as u16;
        ReplicaId(if pick >= self.me.0 { pick + 1 } else { pick })
    }

    /// Asks `whom` for what this replica has missed, if it did not ask just now.
    fn catch_up(&self, whom: ReplicaId) {
        let now = self.subnet.kernel.now();
        let asked = self.asked_at.get();
        if asked > Timestamp::ZERO && now.since(asked) < CATCH_UP_INTERVAL {
            return;
        }
        self.asked_at.set(now);
        let above = match self.stranded.get() {
            true => self.executed.get(),
            false => self.consensus.borrow().finalized(),
        };
        self.send(whom, 100, Packet::CatchUp { from: self.me, above });
    }

    fn send(&self, to: ReplicaId, bytes: u64, packet: Packet) {
        if !self.withholds() {
            self.subnet.send(self.me, to, bytes, packet);
        }
    }

    /// What it does at present, by a fault or for the whole run.
    fn behaviour(&self) -> Behaviour {
        match self.conduct.at_present() {
            Some(name) => Behaviour::named(name),
            None => self.subnet.config.behaviour(self.me.0),
        }
    }

    /// Whether it keeps to itself what it is about to send.
    fn withholds(&self) -> bool {
        let withholds = self.behaviour() == Behaviour::Withhold;
        if withholds {
            self.conduct.departed();
        }
        withholds
    }

    /// Sends to this replica itself, at once.
    fn note(&self, packet: Packet) {
        self.address.send(self.host.node(), 0, packet);
    }

    fn disk(&self) -> &RefCell<Disk> {
        &self.subnet.disks[usize::from(self.me.0)]
    }

    fn now(&self) -> Timestamp {
        self.subnet.kernel.now()
    }
}
