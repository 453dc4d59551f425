//! The engine `internet-computer`: replicated canisters.
//!
//! **What it models.** A subnet is a replicated state machine of `3f + 1` machines that agree block by
//! block on the order of inputs, although `f` of them may be Byzantine. Each replica executes the blocks
//! deterministically: canisters, actors with persistent memory, exchange messages within a round
//! without further consensus. The resulting state is certified by signature shares, and only then do
//! clients and other subnets see it. The instances of the model live in canisters; a message to an
//! instance is a message to its canister, a task a call of a canister without state.
//!
//! From bottom to top: `consensus` (which block), `state` (what executing it does; `scheduler`,
//! `canister`, `task`, `stream`), `replica` (both on a machine), `gateway` and `client` (the way in).
//! All that decides is plain state machines; `replica` and `gateway` move data.
//!
//! The hosts of the plan are gateways: they serve the application's HTTP front end and make its calls.
//! Replicas are rented besides, of the class `replica` of the profile.
//!
//! Mapping, limits and sources: `docs/engines/internet-computer.md`.

mod block;
mod canister;
mod client;
mod consensus;
mod counters;
mod gateway;
mod placement;
mod pool;
mod replica;
mod scheduler;
mod settings;
mod sites;
mod state;
mod stream;
mod subnet;
mod task;

use block::{ReplicaId, SubnetId, encode};
use client::{CanisterClient, Gateways};
use counters::Counters;
use gateway::{Access, Gateway};
use placement::Placement;
use replica::Disk;
use settings::Config;
use sim_model::engine::{
    Client, Delivery, DeployError, Deployment, Engine, FaultBudget, FaultClass, Guarantees, TaskHub,
};
use sim_model::settings::{Setting, Settings};
use sim_world::distribution::Latency;
use sim_world::machine::Machine;
use sim_world::network::LinkProfile;
use sim_world::profile::ReplicationProfile;
use sim_world::world::World;
use state::{Checkpoint, Execution, Program, SubnetState};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use subnet::{Directory, Subnet};

const NAME: &str = "internet-computer";
/// The class of machines on which replicas run.
const CLASS: &str = "replica";

/// The engine `internet-computer`.
pub struct InternetComputer;

impl Engine<World> for InternetComputer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "replicated canisters: consensus on blocks, deterministic rounds, certified outputs"
    }

    fn guarantees(&self, _settings: &Settings) -> Guarantees {
        Guarantees {
            steps: Delivery::ExactlyOnce,
            tasks: Delivery::ExactlyOnce,
            causally_consistent_commit: true,
            fifo_between_instances: true,
            durable: true,
            durable_reads: true,
            lossless: true,
            serial_instances: true,
        }
    }

    fn fault_budget(&self, settings: &Settings) -> FaultBudget {
        // A gateway asks another replica, and a replica that was away fetches a state. Of each subnet `f`
        // replicas may be Byzantine (`Config::tolerates`), and any number away besides: a subnet stands
        // still while there is no quorum, and loses nothing.
        let again = settings.span("call_timeout") * 4;
        let survives =
            [&FaultClass::OF_CLOUD[..], &FaultClass::OF_MACHINES, &[FaultClass::Byzantine]];
        FaultBudget { survives: survives.concat(), heals_within: again + Duration::from_secs(300) }
    }

    fn settings(&self) -> &'static [Setting] {
        settings::SETTINGS
    }

    fn small_scales(&self) -> &'static [(&'static str, &'static [&'static str])] {
        settings::SMALL_SCALES
    }

    fn deploy(
        &self,
        world: &World,
        deployment: Deployment,
    ) -> Result<Rc<dyn TaskHub>, DeployError> {
        let config = Rc::new(Config::new(&deployment.settings));
        let Some(costs) = world.profile().replication.clone() else {
            let profile = &world.profile().name;
            return Err(unsupported(format!("profile {profile} has no section [replication]")));
        };
        let placement = Placement {
            subnets: config.subnets,
            instance_canisters: world.deployment().partitions,
            task_canisters: config.task_canisters,
        };
        let counters = Rc::new(Counters::default());
        let directory = Rc::new(Directory::new(config.subnets, config.replicas));
        let access = Rc::new(Access {
            kernel: world.kernel().clone(),
            config: config.clone(),
            placement,
            directory: directory.clone(),
            counters: counters.clone(),
            calls: Cell::new(0),
        });
        let hub = Hub { world: world.clone(), access, deployment, subnets: RefCell::default() };
        for number in 0..config.subnets {
            let subnet = hub.subnet(SubnetId(number), &config, &costs)?;
            hub.subnets.borrow_mut().push(subnet);
        }
        let hosts = world.hosts().len();
        let subnets = hub.subnets.borrow().clone();
        let gateways = Rc::new(RefCell::new(vec![None; hosts]));
        for subnet in &subnets {
            (0..config.replicas).for_each(|id| replica::boot(subnet, ReplicaId(id)));
        }
        Ok(Rc::new(Deployed { hub, gateways }))
    }
}

fn unsupported(problem: String) -> DeployError {
    DeployError::Unsupported { engine: NAME, problem }
}

/// What is deployed, besides the gateways.
struct Hub {
    world: World,
    access: Rc<Access>,
    deployment: Deployment,
    subnets: RefCell<Vec<Rc<Subnet>>>,
}

impl Hub {
    /// Rents the machines of a subnet and gives them its first state.
    fn subnet(
        &self,
        id: SubnetId,
        config: &Rc<Config>,
        costs: &ReplicationProfile,
    ) -> Result<Rc<Subnet>, DeployError> {
        let world = &self.world;
        let rent = |replica| {
            let name = format!("replica-{}-{replica}", id.0);
            world.rent(&name, CLASS, None).map_err(|error| unsupported(error.to_string()))
        };
        let machines: Vec<Machine> = (0..config.replicas).map(rent).collect::<Result<_, _>>()?;
        connect(world, config, &machines);
        let names: Vec<&str> = machines.iter().map(|machine| machine.host().name()).collect();
        let conducts = world.replicas(&names, config.tolerates(), settings::BEHAVIOURS);
        let genesis = consensus::genesis();
        let state = SubnetState::new(&self.access.placement, id);
        let bytes: Rc<[u8]> = encode(&state).into();
        let checkpoint = Checkpoint { height: 0, hash: genesis.hash, bytes, dirty_pages: 0 };
        let disk = || RefCell::new(Disk::new(checkpoint.clone(), &genesis));
        let mut beacon = world.seeds().stream(&format!("random beacon of subnet {}", id.0));
        let consensus = config.consensus(beacon.below(u64::MAX), costs.round_overhead);
        let program = Program {
            application: self.deployment.application.clone(),
            graph: self.deployment.observer.graph().clone(),
            costs: config.costs,
            limits: config.limits,
            placement: self.access.placement,
            ingress_dedup: config.ingress_dedup,
            queue_reservation: config.queue_reservation,
            checkpoint_interval: consensus.package_interval,
            forks: config.forks,
        };
        Ok(Rc::new(Subnet {
            id,
            config: config.clone(),
            consensus,
            world: world.clone(),
            kernel: world.kernel().clone(),
            network: world.network().clone(),
            costs: costs.clone(),
            disks: machines.iter().map(|_| disk()).collect(),
            machines,
            conducts,
            directory: self.access.directory.clone(),
            execution: RefCell::new(Execution::new(program)),
            counters: self.access.counters.clone(),
            observer: self.deployment.observer.clone(),
        }))
    }
}

/// Sets the links between the replicas of a subnet. A replica's uplink carries what it sends to all
/// others at the same time, so each of them has its share of it.
fn connect(world: &World, config: &Config, machines: &[Machine]) {
    let class = world.profile().machines.get(CLASS);
    let Some(peer) = class.and_then(|class| class.peer_link.as_ref()) else { return };
    let others = machines.len() as u64 - 1;
    let bandwidth = peer.bandwidth_bytes_per_s.map(|bytes| (bytes / others).max(1));
    for (near, from) in machines.iter().enumerate() {
        for (far, to) in machines.iter().enumerate().filter(|(far, _)| *far != near) {
            let ids = [near, far].map(|place| ReplicaId(place as u16));
            let between = sites::round_trip(config.sites, ids[0], ids[1]).or(config.round_trip);
            let latency = match between {
                None => peer.latency.clone(),
                Some(round_trip) => stretched(&peer.latency, round_trip.as_secs_f64() * 500.0),
            };
            let link = LinkProfile { latency, bandwidth_bytes_per_s: bandwidth, ordered: true };
            world.network().set_link(from.node(), to.node(), link);
        }
    }
}

/// A latency of the same shape with another median.
fn stretched(latency: &Latency, median_ms: f64) -> Latency {
    match latency {
        Latency::LogNormal { sigma, .. } => Latency::LogNormal { median_ms, sigma: *sigma },
        _ => Latency::Constant { value_ms: median_ms },
    }
}

struct Deployed {
    hub: Hub,
    gateways: Gateways,
}

impl TaskHub for Deployed {
    fn start_host(&self, host: usize) {
        let Hub { world, access, .. } = &self.hub;
        let machine = &world.hosts()[host];
        let number = access.kernel.now().as_nanos();
        let random = world.seeds().stream(&format!("gateway {host} from {number}"));
        let mailbox = world.network().mailbox_with_copies(machine.node());
        let gateway = Gateway::start(access, machine, mailbox, random);
        self.gateways.borrow_mut()[host] = Some(gateway);
    }

    fn client(&self, host: usize) -> Rc<dyn Client> {
        let observer = self.hub.deployment.observer.clone();
        Rc::new(CanisterClient { gateways: self.gateways.clone(), host, observer })
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.hub.access.counters.all()
    }
}
