//! Switching troubles on and off in a world.

use super::board::TroubleId;
use super::conduct::ReplicaGroup;
use super::effect::{Effect, FaultCounts};
use super::error::TroubleError;
use super::pattern::Pattern;
use super::trouble::{LinkTrouble, Trouble};
use crate::disk::Disk;
use crate::host::Host;
use crate::world::World;
use serde::Serialize;

/// The names of what can go wrong in a world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultTargets {
    /// Nodes that links join: hosts, the client, cloud services, rented machines.
    pub nodes: Vec<String>,
    /// Hosts and machines: what has cores and a clock.
    pub machines: Vec<String>,
    /// Services that take requests.
    pub services: Vec<String>,
    /// Hosts and machines with a disk.
    pub disks: Vec<String>,
    /// Blobs, as `container/blob`.
    pub blobs: Vec<String>,
    /// Replicas that can be made to depart from their protocol.
    pub replicas: Vec<ReplicaGroup>,
}

impl World {
    /// Lets something go wrong, from now until [`World::end`].
    ///
    /// # Errors
    /// A number out of its range; a pattern that matches nothing there is. Blobs come and go: a
    /// [`Trouble::Lease`] that finds none does nothing.
    pub fn begin(&self, trouble: &Trouble) -> Result<TroubleId, TroubleError> {
        trouble.validate()?;
        self.check_targets(trouble)?;
        let board = self.network().faults();
        let id = board.record_begin(&format!("{trouble:?}"));
        match trouble {
            Trouble::Link { from, to, both_ways, what } => {
                board.add_link_trouble(id, (from, to, *both_ways), what);
            }
            Trouble::Service { service, what } => board.add_service_trouble(id, service, what),
            Trouble::Lease { blob } => {
                let broken = self.storage().break_leases(self.kernel().now(), blob);
                board.count(Effect::LeaseBroken, broken);
            }
            Trouble::Disk { of, what } => {
                for (_, disk) in self.disks_that_match(of) {
                    disk.inject(*what);
                    board.count(Effect::DiskFault, 1);
                }
            }
            Trouble::Cpu { node, slowdown } => self.for_each_machine(node, |host| {
                host.slow_down(id, *slowdown);
                board.count(Effect::CpuChanged, 1);
            }),
            Trouble::Clock { node, offset, drift_ppm } => self.for_each_machine(node, |host| {
                host.put_clock_wrong(id, *offset, *drift_ppm);
                board.count(Effect::ClockChanged, 1);
            }),
            Trouble::Misconduct { replica, behaviour } => {
                board.replicas().borrow().begin(id, replica, behaviour);
            }
        }
        if !trouble.happens_once() {
            self.troubles().borrow_mut().insert(id, trouble.clone());
        }
        Ok(id)
    }

    /// Ends what went wrong. Does nothing about what happened once, or has ended.
    pub fn end(&self, id: TroubleId) {
        let Some(trouble) = self.troubles().borrow_mut().remove(&id) else { return };
        let board = self.network().faults();
        board.record_end(id);
        board.remove(id);
        match &trouble {
            Trouble::Link { what: LinkTrouble::Clog, .. } => self.network().release(),
            Trouble::Link { .. } | Trouble::Service { .. } | Trouble::Lease { .. } => {}
            Trouble::Disk { of, what } => {
                self.disks_that_match(of).iter().for_each(|(_, disk)| disk.heal(*what));
            }
            Trouble::Cpu { node, .. } => self.for_each_machine(node, |host| host.speed_up(id)),
            Trouble::Clock { node, .. } => {
                self.for_each_machine(node, |host| host.put_clock_right(id));
            }
            Trouble::Misconduct { .. } => board.replicas().borrow().end(id),
        }
    }

    /// The names of what can go wrong.
    pub fn fault_targets(&self) -> FaultTargets {
        let machines: Vec<String> =
            self.all_machines().iter().map(|host| host.name().to_owned()).collect();
        let services = ["queue", "table", "blob", "eventlog", "application-blob"];
        let nodes = machines.iter().cloned().chain(services.map(str::to_owned)).collect();
        FaultTargets {
            nodes,
            services: self.network().faults().service_names(),
            disks: self.disk_owners(),
            blobs: self.storage().blob_names(),
            replicas: self.network().faults().replicas().borrow().groups().to_vec(),
            machines,
        }
    }

    /// How often troubles did what so far.
    pub fn fault_counts(&self) -> FaultCounts {
        self.network().faults().counts()
    }

    fn all_machines(&self) -> Vec<Host> {
        let rented = self.machines();
        let rented = rented.iter().map(|machine| machine.host().clone());
        self.hosts().iter().chain([self.client()]).cloned().chain(rented).collect()
    }

    fn for_each_machine(&self, pattern: &Pattern, act: impl Fn(&Host)) {
        let machines = self.all_machines();
        machines.iter().filter(|host| pattern.matches(host.name())).for_each(act);
    }

    fn disk_owners(&self) -> Vec<String> {
        let has_disk = self.profile().host.disk.is_some();
        let hosts = self.hosts().iter().filter(|_| has_disk).map(|host| host.name().to_owned());
        let machines = self.machines();
        let with_disk = machines.iter().filter(|machine| machine.disk().is_some());
        hosts.chain(with_disk.map(|machine| machine.host().name().to_owned())).collect()
    }

    fn disks_that_match(&self, pattern: &Pattern) -> Vec<(String, Disk)> {
        let hosts = self.hosts().iter().enumerate();
        let hosts = hosts.filter(|(_, host)| pattern.matches(host.name()));
        let of_hosts = hosts
            .filter_map(|(index, host)| Some((host.name().to_owned(), self.host_disk(index)?)));
        let machines = self.machines();
        let machines = machines.iter().filter(|machine| pattern.matches(machine.host().name()));
        let of_machines = machines.filter_map(|machine| {
            Some((machine.host().name().to_owned(), machine.disk()?.clone()))
        });
        of_hosts.chain(of_machines).collect()
    }

    fn check_targets(&self, trouble: &Trouble) -> Result<(), TroubleError> {
        let (kind, targets) = (trouble.kind(), self.fault_targets());
        let check = |what: &'static str, pattern: &Pattern, known: &[String]| match known
            .iter()
            .any(|name| pattern.matches(name))
        {
            true => Ok(()),
            false => Err(TroubleError::nothing_matches(kind, what, pattern, known)),
        };
        match trouble {
            Trouble::Link { from, to, .. } => {
                check("node", from, &targets.nodes)?;
                check("node", to, &targets.nodes)?;
                let is_end = |pattern: &Pattern| {
                    let names = targets.nodes.iter();
                    names.filter(|name| pattern.matches(name)).collect::<Vec<_>>()
                };
                let (senders, receivers) = (is_end(from), is_end(to));
                if senders.len() == 1 && senders == receivers {
                    let (from, to) = (from.to_string(), to.to_string());
                    return Err(TroubleError::NoLink { kind, from, to });
                }
                Ok(())
            }
            Trouble::Service { service, .. } => check("service", service, &targets.services),
            Trouble::Lease { .. } => Ok(()),
            Trouble::Disk { of, .. } => check("disk", of, &targets.disks),
            Trouble::Cpu { node, .. } | Trouble::Clock { node, .. } => {
                check("host or machine", node, &targets.machines)
            }
            Trouble::Misconduct { replica, behaviour } => {
                let board = self.network().faults();
                let replicas = board.replicas().borrow();
                check("replica", replica, &replicas.names())?;
                let known = replicas.behaviours(replica);
                if known.contains(behaviour) {
                    return Ok(());
                }
                Err(TroubleError::Behaviour { kind, behaviour: behaviour.clone(), known })
            }
        }
    }
}
