//! One simulated deployment: hosts of a plan, the load generator's machine, links, and services.
//!
//! ```
//! use sim_world::kernel::{KernelOptions, on_fresh_thread, simulate};
//! use sim_world::profile::Profile;
//! use sim_world::world::{Deployment, World};
//! use std::{rc::Rc, time::Duration};
//!
//! let program = |kernel| async move {
//!     let profile = Rc::new(Profile::named("azure-2021-10").expect("embedded"));
//!     let deployment = Deployment { plan: "EP2".into(), hosts: 4, partitions: 12 };
//!     let world = World::new(&kernel, 7, profile, &deployment).expect("a known plan");
//!     let (host, queue) = (&world.hosts()[0], world.storage().queue("work"));
//!     queue.put(host, "hello".into(), Duration::ZERO).await.expect("within the limits");
//!     let reply = queue.get(host, 32, Duration::from_secs(300)).await.expect("not throttled");
//!     assert_eq!(&reply.value[0].body[..], b"hello");
//!     assert_eq!(world.meter().total("queue", "put"), 1);
//! };
//! on_fresh_thread(|| simulate(KernelOptions::with_seed(7), program)).expect("comes to its end");
//! ```

use crate::application_storage::ApplicationStorage;
use crate::disk::Disk;
use crate::event_log::{EventHub, EventLog};
use crate::fault::{Trouble, TroubleId};
use crate::host::{Host, HostSpec, HostSpecError};
use crate::kernel::{Kernel, NodeId};
use crate::machine::{self, MACHINE_CORES_MAX, Machine};
use crate::meter::Meter;
use crate::network::{LinkProfile, Network};
use crate::profile::{LinkEntry, Plan, Profile, ProfileError};
use crate::seed::SeedTree;
use crate::selfhosted::{Command, Endpoint, EndpointOptions};
use crate::service::{RequestOptions, Site};
use crate::storage::{Storage, StorageNodes};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use thiserror::Error;

/// Most hosts of a deployment: what the plans allow.
pub const HOSTS_MAX: u32 = 100;
/// Most partitions of a deployment: what the event logs of real engines allow.
pub const PARTITIONS_MAX: u32 = 1024;

/// What is rented and started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Name of the plan.
    pub plan: String,
    /// Number of hosts, 1 to [`HOSTS_MAX`].
    pub hosts: u32,
    /// Number of partitions of the application's storage, 1 to [`PARTITIONS_MAX`].
    pub partitions: u32,
}

/// A world that cannot be built.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum WorldError {
    /// The plan is not in the profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The plan and the profile make no host.
    #[error(transparent)]
    Host(#[from] HostSpecError),
    /// The deployment has none or too many of something.
    #[error("deployment: {field} is {value}, expected 1 to {most}")]
    Deployment {
        /// What is wrong.
        field: &'static str,
        /// Its value.
        value: u32,
        /// The most that is allowed.
        most: u32,
    },
    /// Machines of the class have no disk.
    #[error("profile {profile}: machines of class {class} have no disk, which {what} needs")]
    Disk {
        /// The profile.
        profile: String,
        /// The class.
        class: &'static str,
        /// Who needs it.
        what: &'static str,
    },
    /// The profile does not describe what is needed.
    #[error("profile {profile} has no section [{section}], which {what} needs")]
    Section {
        /// The profile.
        profile: String,
        /// The section.
        section: &'static str,
        /// Who needs it.
        what: String,
    },
    /// The profile has no machines of this class.
    #[error("profile {profile}: no machines of class {class:?} (classes: {known})")]
    MachineClass {
        /// The profile.
        profile: String,
        /// What was asked for.
        class: String,
        /// What there is.
        known: String,
    },
}

struct Inner {
    kernel: Kernel,
    seeds: SeedTree,
    network: Network,
    meter: Meter,
    profile: Rc<Profile>,
    plan: Plan,
    deployment: Deployment,
    hosts: Vec<Host>,
    /// The disks of hosts that were asked for.
    host_disks: RefCell<BTreeMap<usize, Disk>>,
    client: Host,
    storage: Storage,
    application_storage: ApplicationStorage,
    events: EventHub,
    machines: RefCell<Vec<Machine>>,
    /// What is wrong at present.
    troubles: RefCell<BTreeMap<TroubleId, Trouble>>,
}

/// A simulated deployment; cheap to clone.
#[derive(Clone)]
pub struct World(Rc<Inner>);

impl World {
    /// Builds a deployment: hosts `worker-0`, `worker-1`, ..., the load generator `client`, a
    /// storage account and an event-log namespace, with nothing stored.
    ///
    /// # Errors
    /// An unknown plan, or a number of hosts or partitions out of range.
    pub fn new(
        kernel: &Kernel,
        seed: u64,
        profile: Rc<Profile>,
        deployment: &Deployment,
    ) -> Result<World, WorldError> {
        check("hosts", deployment.hosts, HOSTS_MAX)?;
        check("partitions", deployment.partitions, PARTITIONS_MAX)?;
        let plan = profile.plan(&deployment.plan)?.clone();
        let seeds = SeedTree::new(seed);
        let meter = Meter::new();
        let between_hosts = link(&profile.links.host_to_host, true);
        let network = Network::new(kernel, &seeds, &meter, between_hosts);
        network.faults().set_transport(&profile.transport);
        let mut hosts = Vec::new();
        for index in 0..deployment.hosts {
            hosts.push(Host::new(kernel, worker(&profile, &plan, index))?);
        }
        let client = Host::new(kernel, load_generator(&profile))?;
        let nodes = StorageNodes {
            queue: kernel.create_node("queue"),
            table: kernel.create_node("table"),
            blob: kernel.create_node("blob"),
        };
        let event_node = kernel.create_node("eventlog");
        let application_node = kernel.create_node("application-blob");
        connect(&network, &profile, &hosts, &client, &nodes, event_node);
        connect_storage(&network, &profile, &hosts, application_node);
        let site = Site {
            kernel: kernel.clone(),
            network: network.clone(),
            meter: meter.clone(),
            seeds: seeds.clone(),
            request_envelope: profile.services.request_envelope_bytes,
            response_envelope: profile.services.response_envelope_bytes,
            options: RequestOptions::from_profile(&profile.retry),
        };
        let storage = Storage::new(&site, &nodes, &profile);
        let application_storage = ApplicationStorage::new(&site, application_node, &profile);
        let limits = Rc::new(profile.services.eventlog.clone());
        let events = EventHub::new(&site, event_node, &limits, profile.cpu.event_send);
        let kernel = kernel.clone();
        let deployment = deployment.clone();
        Ok(World(Rc::new(Inner {
            kernel,
            seeds,
            network,
            meter,
            profile,
            plan,
            deployment,
            hosts,
            host_disks: RefCell::default(),
            client,
            storage,
            application_storage,
            events,
            machines: RefCell::default(),
            troubles: RefCell::default(),
        })))
    }

    /// The worker hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.0.hosts
    }

    /// The disk of a worker host; none if the profile gives hosts no disks.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn host_disk(&self, host: usize) -> Option<Disk> {
        let inner = &*self.0;
        let (name, profile) = (inner.hosts[host].name(), inner.profile.host.disk.as_ref()?);
        let mut disks = inner.host_disks.borrow_mut();
        let disk = disks
            .entry(host)
            .or_insert_with(|| Disk::new(&inner.kernel, &inner.seeds, &inner.meter, name, profile));
        Some(disk.clone())
    }

    /// Crashes a worker host with its operating system: its tasks are gone, and its disk loses what
    /// was not durable. ([`Host::kill`] crashes its processes only.)
    pub fn lose_power_of_host(&self, host: usize) {
        self.0.hosts[host].kill();
        // A disk that nobody asked for has nothing to lose.
        let disk = self.0.host_disks.borrow().get(&host).cloned();
        if let Some(disk) = disk {
            disk.lose_power();
        }
    }

    /// Rents a machine of a class of the profile, with another number of cores if `cores` says so.
    ///
    /// # Errors
    /// An unknown class; no or too many cores.
    ///
    /// # Panics
    /// If the name is taken.
    pub fn rent(&self, name: &str, class: &str, cores: Option<u32>) -> Result<Machine, WorldError> {
        let inner = &*self.0;
        if let Some(cores) = cores {
            check("cores of a machine", cores, MACHINE_CORES_MAX)?;
        }
        let Some(entry) = inner.profile.machines.get(class) else {
            let known: Vec<&str> = inner.profile.machines.keys().map(String::as_str).collect();
            return Err(WorldError::MachineClass {
                profile: inner.profile.name.clone(),
                class: class.to_owned(),
                known: known.join(", "),
            });
        };
        let disk = (entry.disk.as_ref())
            .map(|disk| Disk::new(&inner.kernel, &inner.seeds, &inner.meter, name, disk));
        let new = Machine::new(&inner.kernel, &inner.profile, name, (class, entry), cores, disk);
        let mut machines = inner.machines.borrow_mut();
        let is_peer = |other: &&Machine| other.class() == class;
        let hosts = inner.hosts.iter().chain([&inner.client]).map(Host::node);
        let others = machines.iter().filter(|other| !is_peer(other)).map(Machine::node);
        let peers = machines.iter().filter(is_peer).map(Machine::node);
        machine::connect(&inner.network, entry, &new, hosts.chain(others), peers);
        machines.push(new.clone());
        Ok(new)
    }

    /// A place at which a server on a machine can be reached, by the hosts and by other machines.
    ///
    /// # Errors
    /// A profile without the section `[selfhosted]`.
    pub fn endpoint<C: Command>(
        &self,
        machine: &Machine,
        options: EndpointOptions,
    ) -> Result<Endpoint<C>, WorldError> {
        let Inner { kernel, network, meter, profile, .. } = &*self.0;
        let shared = profile.selfhosted.as_ref();
        let shared = shared.ok_or_else(|| self.lacks("selfhosted", options.service))?;
        network.faults().add_service(options.service);
        Ok(Endpoint::new(kernel, network, meter, shared, machine, options))
    }

    /// The error that machines of a class have no disk.
    pub(crate) fn lacks_disk(&self, class: &'static str, what: &'static str) -> WorldError {
        WorldError::Disk { profile: self.0.profile.name.clone(), class, what }
    }

    /// The error that the profile lacks a section.
    pub(crate) fn lacks(&self, section: &'static str, what: &str) -> WorldError {
        let profile = self.0.profile.name.clone();
        WorldError::Section { profile, section, what: what.to_owned() }
    }

    /// The machines that were rented so far.
    pub fn machines(&self) -> Vec<Machine> {
        self.0.machines.borrow().clone()
    }

    /// The load generator's machine.
    pub fn client(&self) -> &Host {
        &self.0.client
    }

    /// The node of the load generator's machine.
    pub fn client_node(&self) -> NodeId {
        self.0.client.node()
    }

    /// The kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.0.kernel
    }

    /// The root of the run's random streams.
    pub fn seeds(&self) -> &SeedTree {
        &self.0.seeds
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.0.network
    }

    /// What is wrong at present, by number.
    pub(crate) fn troubles(&self) -> &RefCell<BTreeMap<TroubleId, Trouble>> {
        &self.0.troubles
    }

    /// The meter.
    pub fn meter(&self) -> &Meter {
        &self.0.meter
    }

    /// The profile.
    pub fn profile(&self) -> &Rc<Profile> {
        &self.0.profile
    }

    /// The plan of the worker hosts.
    pub fn plan(&self) -> &Plan {
        &self.0.plan
    }

    /// What was rented and started.
    pub fn deployment(&self) -> &Deployment {
        &self.0.deployment
    }

    /// The storage account.
    pub fn storage(&self) -> &Storage {
        &self.0.storage
    }

    /// The application's own blob storage.
    pub fn application_storage(&self) -> &ApplicationStorage {
        &self.0.application_storage
    }

    /// The event log `name`, which is created with that many partitions when first named.
    ///
    /// # Panics
    /// If it exists with another number of partitions, or none are asked for.
    pub fn event_log(&self, name: &str, partitions: u32) -> EventLog {
        self.0.events.open(name, partitions)
    }

    /// Throughput units rented for all event logs together.
    pub fn throughput_units(&self) -> u32 {
        self.0.events.throughput_units()
    }

    /// Rents another number of throughput units.
    ///
    /// # Errors
    /// None, or more than the profile allows.
    pub fn set_throughput_units(&self, units: u32) -> Result<(), WorldError> {
        Ok(self.0.events.set_throughput_units(&self.0.profile.name, units)?)
    }
}

fn check(field: &'static str, value: u32, most: u32) -> Result<(), WorldError> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(WorldError::Deployment { field, value, most })
}

fn worker(profile: &Profile, plan: &Plan, index: u32) -> HostSpec {
    HostSpec {
        name: format!("worker-{index}"),
        cores: plan.cores,
        memory_bytes: plan.memory_bytes,
        background_cores: profile.host.background_cores,
        quantum: Some(profile.host.quantum),
    }
}

fn load_generator(profile: &Profile) -> HostSpec {
    HostSpec {
        name: "client".to_owned(),
        cores: profile.host.client_cores,
        memory_bytes: profile.host.client_memory_bytes,
        background_cores: 0.0,
        quantum: Some(profile.host.quantum),
    }
}

fn link(entry: &LinkEntry, ordered: bool) -> LinkProfile {
    LinkProfile {
        latency: entry.latency.clone(),
        bandwidth_bytes_per_s: entry.bandwidth_bytes_per_s,
        ordered,
    }
}

/// Links hosts to a storage service.
fn connect_storage(network: &Network, profile: &Profile, hosts: &[Host], service: NodeId) {
    let storage = link(&profile.links.host_to_service, false);
    for host in hosts {
        network.set_link(host.node(), service, storage.clone());
        network.set_link(service, host.node(), storage.clone());
    }
}

/// Sets the links that differ from those between hosts. Storage requests use many connections and
/// may overtake each other; the event logs use one connection for each host.
fn connect(
    network: &Network,
    profile: &Profile,
    hosts: &[Host],
    client: &Host,
    storage: &StorageNodes,
    events: NodeId,
) {
    let both_ways = |a: NodeId, b: NodeId, link: &LinkProfile| {
        network.set_link(a, b, link.clone());
        network.set_link(b, a, link.clone());
    };
    let to_storage = link(&profile.links.host_to_service, false);
    let to_events = link(&profile.links.host_to_service, true);
    for host in hosts.iter().chain([client]) {
        for service in [storage.queue, storage.table, storage.blob] {
            both_ways(host.node(), service, &to_storage);
        }
        both_ways(host.node(), events, &to_events);
    }
    let to_client = link(&profile.links.client_to_host, true);
    for host in hosts {
        both_ways(host.node(), client.node(), &to_client);
    }
}
