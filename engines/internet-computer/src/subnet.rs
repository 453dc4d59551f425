//! A subnet: its machines, their disks and addresses, and the execution they share in the simulation.

use crate::block::{BlockHash, Ingress};
use crate::block::{CanisterId, Height, IngressId, OutcallId, ReplicaId, Sealed, SubnetId};
use crate::canister::Reply;
use crate::consensus::{Artefact, Parameters};
use crate::counters::Counters;
use crate::replica::Disk;
use crate::settings::Config;
use crate::state::{Checkpoint, Execution, Round};
use crate::stream::Slice;
use sim_model::engine::{Completion, InstanceQuery, InstanceState, Observer};
use sim_model::id::InstanceId;
use sim_model::ledger::Category;
use sim_world::fault::Conduct;
use sim_world::kernel::{Kernel, NodeId};
use sim_world::machine::Machine;
use sim_world::network::{MailboxSender, Network};
use sim_world::profile::ReplicationProfile;
use sim_world::world::World;
use std::cell::RefCell;
use std::rc::Rc;

/// What a client asks of one replica, without consensus.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    /// The state of an instance.
    Status(InstanceId),
    /// The instances of a canister that are asked for.
    Instances(CanisterId, InstanceQuery),
}

/// What a replica answers a gateway.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The answer to an update call; certified if it bears the subnet's signature.
    Update { id: IngressId, reply: Reply, certified: bool },
    /// The answer to a query; nothing if the replica is behind.
    Query { token: u64, instances: Option<Vec<(InstanceId, InstanceState)>> },
}

/// What a replica receives.
#[derive(Clone)]
pub(crate) enum Packet {
    /// Artefacts of consensus.
    Artefacts(ReplicaId, Rc<[Artefact]>),
    /// A large block can be fetched.
    Advert(ReplicaId, Height, BlockHash),
    /// Asks for a block.
    Fetch(ReplicaId, Height, BlockHash),
    /// Asks for what was missed.
    CatchUp { from: ReplicaId, above: Height },
    /// A checkpoint with its block, for a replica that is far behind.
    Checkpoint(Checkpoint, Rc<Sealed>),
    /// A client call that another replica has received.
    Gossip(Rc<Ingress>),
    /// A client call.
    Submit(Rc<Ingress>, MailboxSender<Answer>),
    /// A query call.
    Query { token: u64, question: Question, gateway: MailboxSender<Answer> },
    /// A replica has carried out an outcall.
    OutcallShare(ReplicaId, OutcallId),
    /// This replica has.
    OutcallDone(OutcallId),
    /// A block maker of another subnet pulls the stream to it, of which it has taken so much.
    Pull { by: SubnetId, taken: u64, reader: MailboxSender<Packet> },
    /// What it pulled.
    Pulled(Slice),
    /// This replica has executed a block.
    Executed(Rc<Round>),
    /// This replica has the manifest of a checkpoint.
    Manifest(Height, u64),
}

/// The addresses of all replicas that are up, by subnet.
#[derive(Default)]
pub(crate) struct Directory(RefCell<Vec<Vec<Option<MailboxSender<Packet>>>>>);

impl Directory {
    pub(crate) fn new(subnets: u16, replicas: u16) -> Directory {
        let none = vec![None; usize::from(replicas)];
        Directory(RefCell::new(vec![none; usize::from(subnets)]))
    }

    /// Enters the address of a replica that has started.
    pub(crate) fn enter(&self, subnet: SubnetId, id: ReplicaId, address: MailboxSender<Packet>) {
        self.0.borrow_mut()[usize::from(subnet.0)][usize::from(id.0)] = Some(address);
    }

    /// Where to send to a replica.
    pub(crate) fn of(&self, subnet: SubnetId, id: ReplicaId) -> Option<MailboxSender<Packet>> {
        self.0.borrow()[usize::from(subnet.0)][usize::from(id.0)].clone()
    }
}

/// A subnet.
pub(crate) struct Subnet {
    pub(crate) id: SubnetId,
    pub(crate) config: Rc<Config>,
    pub(crate) consensus: Parameters,
    pub(crate) world: World,
    pub(crate) kernel: Kernel,
    pub(crate) network: Network,
    pub(crate) costs: ReplicationProfile,
    pub(crate) machines: Vec<Machine>,
    /// How each replica conducts itself.
    pub(crate) conducts: Vec<Conduct>,
    pub(crate) disks: Vec<RefCell<Disk>>,
    pub(crate) directory: Rc<Directory>,
    pub(crate) execution: RefCell<Execution>,
    pub(crate) counters: Rc<Counters>,
    pub(crate) observer: Observer,
}

impl Subnet {
    pub(crate) fn node(&self, id: ReplicaId) -> NodeId {
        self.machines[usize::from(id.0)].node()
    }

    /// The other replicas of a replica.
    pub(crate) fn others(&self, me: ReplicaId) -> impl Iterator<Item = ReplicaId> + use<> {
        (0..self.config.replicas).map(ReplicaId).filter(move |id| *id != me)
    }

    /// Sends a packet from a replica to another of this subnet.
    pub(crate) fn send(&self, from: ReplicaId, to: ReplicaId, bytes: u64, packet: Packet) {
        if let Some(address) = self.directory.of(self.id, to) {
            address.send(self.node(from), bytes, packet);
        }
    }

    /// Reports the effects of a round as final: the first time that they can be seen from outside.
    pub(crate) fn report(&self, round: &Round) {
        if !self.execution.borrow_mut().report(round.height, round.hash) {
            return;
        }
        let now = self.kernel.now();
        self.counters.round(round);
        for item in &round.items {
            self.observer.graph().committed(*item);
        }
        for ended in &round.ended {
            let mut ledger = ended.ledger;
            let why = Category::Commit.because("waited until the round was certified");
            ledger.charge(why, now);
            self.observer.completed(Completion {
                instance: ended.instance.clone(),
                created: ended.state.created,
                last_updated: now,
                status: ended.state.status.clone(),
                ledger,
            });
        }
    }
}
