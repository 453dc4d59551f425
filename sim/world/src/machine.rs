//! Machines that are rented besides the hosts of the plan: for self-hosted services and replicas.
//!
//! **What it models.** A machine is a [`Host`] of a class that the profile describes (cores, memory,
//! price, distance). Whoever runs something on it says how it is started; a crash loses what was
//! in memory, and a restart starts it again. So a database or a broker that an engine relies on can
//! crash as the hosts of the application can.
//!
//! A machine can crash in two ways. [`Machine::kill`] is a crash of its processes: the operating
//! system lives, with the page cache of its disk, and tells whoever was connected.
//! [`Machine::lose_power`] is a crash of all of it: the disk loses what was not durable, and nobody is
//! told.
//!
//! **Assumptions.** A machine is rented from its first moment to the end of the run. Nothing else
//! runs on it.

use crate::disk::Disk;
use crate::host::{Host, HostSpec};
use crate::kernel::{Kernel, NodeId};
use crate::network::{LinkProfile, Network};
use crate::profile::{MachineProfile, Profile};
use sim_model::time::Timestamp;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// Most cores of one machine.
pub const MACHINE_CORES_MAX: u32 = 128;

struct Inner {
    host: Host,
    disk: Option<Disk>,
    kernel: Kernel,
    class: Rc<str>,
    price_per_hour: f64,
    rented_at: Timestamp,
    /// Whether the operating system runs.
    powered: Cell<bool>,
    power_losses: Cell<u32>,
    /// How what runs here is started; run anew after each restart.
    start: RefCell<Option<Rc<dyn Fn()>>>,
}

/// A rented machine; cheap to clone.
#[derive(Clone)]
pub struct Machine(Rc<Inner>);

impl Machine {
    pub(crate) fn new(
        kernel: &Kernel,
        profile: &Profile,
        name: &str,
        (class, entry): (&str, &MachineProfile),
        cores: Option<u32>,
        disk: Option<Disk>,
    ) -> Machine {
        let cores = cores.unwrap_or(entry.cores);
        let spec = HostSpec {
            name: name.to_owned(),
            cores,
            memory_bytes: entry.memory_bytes,
            background_cores: 0.0,
            quantum: Some(profile.host.quantum),
        };
        let host = Host::new(kernel, spec).expect("invariant: the number of cores was checked");
        let disk_price = disk.as_ref().map_or(0.0, |disk| disk.profile().price_per_hour);
        Machine(Rc::new(Inner {
            host,
            disk,
            kernel: kernel.clone(),
            class: class.into(),
            price_per_hour: entry.price_per_core_hour * f64::from(cores) + disk_price,
            rented_at: kernel.now(),
            powered: Cell::new(true),
            power_losses: Cell::new(0),
            start: RefCell::new(None),
        }))
    }

    /// The host: cores, tasks, and the node that the network knows.
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    /// The node.
    pub fn node(&self) -> NodeId {
        self.0.host.node()
    }

    /// Its disk, if its class has one.
    pub fn disk(&self) -> Option<&Disk> {
        self.0.disk.as_ref()
    }

    /// Whether its operating system runs, whatever became of the processes.
    pub fn is_powered(&self) -> bool {
        self.0.powered.get()
    }

    /// How often it has lost its power.
    pub fn power_losses(&self) -> u32 {
        self.0.power_losses.get()
    }

    /// The name of its class in the profile.
    pub fn class(&self) -> &str {
        &self.0.class
    }

    /// Says how what runs here is started, and starts it. After each restart `start` is called again;
    /// it finds nothing of what was in memory before.
    pub fn run(&self, start: impl Fn() + 'static) {
        let start: Rc<dyn Fn()> = Rc::new(start);
        *self.0.start.borrow_mut() = Some(start.clone());
        start();
    }

    /// Crashes the processes of the machine: its tasks and what runs on its cores are gone. The page
    /// cache of its disk stays.
    pub fn kill(&self) {
        self.0.host.kill();
    }

    /// Crashes the whole machine: besides its processes, its disk loses what was not durable.
    pub fn lose_power(&self) {
        self.0.powered.set(false);
        self.0.power_losses.set(self.0.power_losses.get() + 1);
        self.0.host.kill();
        if let Some(disk) = &self.0.disk {
            disk.lose_power();
        }
    }

    /// Lets a machine, killed first if it is alive, start what runs on it again.
    pub fn restart(&self) {
        self.0.host.restart();
        self.0.powered.set(true);
        let start = self.0.start.borrow().clone();
        if let Some(start) = start {
            start();
        }
    }

    /// Money that the machine has cost so far, in US dollars.
    pub fn cost_usd(&self) -> f64 {
        let rented: Duration = self.0.kernel.now().since(self.0.rented_at);
        rented.as_secs_f64() / 3600.0 * self.0.price_per_hour
    }
}

/// Sets the links of a new machine that its class describes; the rest are as between two hosts.
pub(crate) fn connect(
    network: &Network,
    entry: &MachineProfile,
    machine: &Machine,
    others: impl Iterator<Item = NodeId>,
    peers: impl Iterator<Item = NodeId>,
) {
    let both_ways = |other: NodeId, link: &LinkProfile| {
        network.set_link(machine.node(), other, link.clone());
        network.set_link(other, machine.node(), link.clone());
    };
    if let Some(link) = &entry.link {
        others.for_each(|other| both_ways(other, link));
    }
    if let Some(link) = &entry.peer_link {
        peers.for_each(|peer| both_ways(peer, link));
    }
}
