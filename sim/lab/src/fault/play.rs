//! Carrying faults out on a world, each at its instant.
//!
//! A machine that has a crash, pause or power loss already is not given a second one: the later fault
//! does nothing to it. (Of a plan's faults that cannot happen; of a list that was put together by hand it can.)

use super::Fault;
use super::expand::Targets;
use super::kinds::{Effect, MachineChange};
use super::replicas::there_are_none;
use super::value::{Target, Value, ValueKind};
use crate::host_event::HostEvent;
use crate::spec::SpecError;
use sim_model::time::Timestamp;
use sim_world::fault::{Pattern, Trouble};
use sim_world::kernel::NodeId;
use sim_world::machine::Machine;
use sim_world::world::World;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

impl Targets {
    /// What there is in a world in which everything is deployed.
    pub(crate) fn of(world: &World) -> Targets {
        let there = world.fault_targets();
        Targets {
            hosts: world.deployment().hosts,
            nodes: there.nodes,
            computers: there.machines,
            machines: world
                .machines()
                .iter()
                .map(|machine| machine.host().name().to_owned())
                .collect(),
            services: there.services,
            disks: there.disks,
            replicas: Targets::replica_names(&there.replicas),
            groups: there.replicas,
        }
    }
}

/// Checks that each fault concerns something that there is.
///
/// # Errors
/// The first that does not.
pub(crate) fn check_targets(faults: &[Fault], targets: &Targets) -> Result<(), SpecError> {
    for fault in faults {
        for (key, value) in fault.values() {
            let (ValueKind::Pattern(target), Value::Pattern(pattern)) = (key.kind, value) else {
                continue;
            };
            let Some(names) = targets.names(target) else { continue };
            if target == Target::Replica && names.is_empty() {
                return Err(there_are_none("fault byzantine", fault));
            }
            if !names.iter().any(|name| pattern.matches(name)) {
                let place = format!("{} of fault {}", key.name, fault.kind().name);
                return Err(SpecError::unknown(place, pattern.as_str(), names.iter().cloned()));
            }
        }
        if let Effect::World(trouble) = fault.effect() {
            check_behaviour(&trouble, targets)?;
            trouble.validate().map_err(|error| {
                SpecError::bad(format!("fault {fault}"), error, "numbers within their limits")
            })?;
        }
    }
    Ok(())
}

/// Checks that replicas can be made to do what a trouble lets them do.
fn check_behaviour(trouble: &Trouble, targets: &Targets) -> Result<(), SpecError> {
    let Trouble::Misconduct { replica, behaviour } = trouble else { return Ok(()) };
    let known = targets.behaviours(replica);
    match known.contains(behaviour) {
        true => Ok(()),
        false => Err(SpecError::unknown("behaviour of fault byzantine", behaviour, known)),
    }
}

/// What of a list of faults happens to hosts as host events.
pub(crate) fn host_events(faults: &[Fault]) -> Vec<HostEvent> {
    let of = |fault: &Fault| match fault.effect() {
        Effect::Host(event) => Some(event),
        _ => None,
    };
    faults.iter().filter_map(of).collect()
}

/// Carries out all faults but host events, from now on.
pub(crate) fn play(world: &World, faults: &[Fault]) {
    let player = Player { world: world.clone(), busy: Rc::default() };
    let begin = world.kernel().now();
    for fault in faults {
        if matches!(fault.effect(), Effect::Host(_)) {
            continue;
        }
        let (player, fault) = (player.clone(), fault.clone());
        world.kernel().spawn(NodeId::WORLD, async move { player.carry_out(begin, &fault).await });
    }
}

#[derive(Clone)]
struct Player {
    world: World,
    /// Machines that have a crash, pause or power loss.
    busy: Rc<RefCell<BTreeSet<String>>>,
}

impl Player {
    async fn carry_out(&self, begin: Timestamp, fault: &Fault) {
        let kernel = self.world.kernel();
        kernel.sleep_until(begin + fault.at()).await;
        let end = begin + fault.end();
        match fault.effect() {
            Effect::Host(_) => unreachable!("host events are the fleet's"),
            Effect::Machine { machine, change } => self.machines(&machine, change, end).await,
            Effect::World(trouble) => {
                let id = self.world.begin(&trouble);
                let id = id.unwrap_or_else(|error| panic!("{fault} was checked: {error}"));
                if !trouble.happens_once() {
                    kernel.sleep_until(end).await;
                    self.world.end(id);
                }
            }
        }
    }

    async fn machines(&self, pattern: &Pattern, change: MachineChange, end: Timestamp) {
        let matching = |machine: &Machine| pattern.matches(machine.host().name());
        let mut machines: Vec<Machine> =
            self.world.machines().into_iter().filter(matching).collect();
        machines.retain(|machine| self.busy.borrow_mut().insert(machine.host().name().to_owned()));
        for machine in &machines {
            match change {
                MachineChange::Crash => machine.kill(),
                MachineChange::PowerLoss => machine.lose_power(),
                MachineChange::Pause => machine.host().pause(),
            }
        }
        self.world.kernel().sleep_until(end).await;
        for machine in &machines {
            match change {
                MachineChange::Crash | MachineChange::PowerLoss => machine.restart(),
                MachineChange::Pause => machine.host().resume(),
            }
            self.busy.borrow_mut().remove(machine.host().name());
        }
    }
}

/// When the last fault has ended, counted from the start of the load.
pub(crate) fn last_end(faults: &[Fault]) -> Duration {
    faults.iter().map(Fault::end).max().unwrap_or_default()
}

/// How often each way in which faults disturb came about.
pub(crate) fn effects(world: &World) -> BTreeMap<String, u64> {
    let counts = world.fault_counts();
    let counts = counts.iter();
    counts.map(|(effect, count)| (effect.name().to_owned(), count)).collect()
}
