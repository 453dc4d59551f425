//! Faults, on the tracks of what they concern.

use super::build::Builder;
use super::slice::{Group, Slice};
use super::{Scene, services};
use crate::fault::{Effect, Fault};
use crate::host_event::{HostChange, HostEvent};
use crate::spec::RunSpec;
use sim_model::time::Timestamp;
use sim_world::fault::{Pattern, Trouble};
use sim_world::requests::Request;
use std::collections::BTreeSet;
use std::time::Duration;

/// Rank of the thread of faults: the first of its process.
const FAULTS: (u64, &str) = (0, "faults");

/// What goes wrong, and when, counted from the start of the load.
struct Wrong {
    kind: String,
    shown: String,
    from: Duration,
    /// Absent if it happens at an instant; the end of the run if it lasts for ever.
    until: Option<Option<Duration>>,
}

pub(super) fn add(scene: &Scene<'_>, spec: &RunSpec, requests: &[Request], builder: &mut Builder) {
    let begin = Timestamp::ZERO + spec.load.settle();
    for event in &spec.host_events {
        let targets = nodes_named(scene, |name| name == format!("worker-{}", event.host));
        put(scene, begin, &of_host_event(event), &targets, builder);
    }
    for fault in &spec.faults {
        let targets = targets(scene, requests, fault);
        put(scene, begin, &of_fault(fault), &targets, builder);
    }
}

fn of_host_event(event: &HostEvent) -> Wrong {
    let shown = event.to_string();
    let kind = shown.split(':').next().unwrap_or_default().to_owned();
    let until = match event.change {
        HostChange::Crash(None) => Some(None),
        HostChange::Crash(Some(_)) | HostChange::PowerLoss(_) | HostChange::Pause(_) => {
            Some(Some(event.end()))
        }
        HostChange::Leave | HostChange::Join => None,
    };
    Wrong { kind, shown, from: event.at, until }
}

fn of_fault(fault: &Fault) -> Wrong {
    let until = (fault.end() > fault.at()).then(|| Some(fault.end()));
    let (kind, shown) = (fault.kind().name.to_owned(), fault.to_string());
    Wrong { kind, shown, from: fault.at(), until }
}

fn put(
    scene: &Scene<'_>,
    begin: Timestamp,
    wrong: &Wrong,
    targets: &BTreeSet<u32>,
    builder: &mut Builder,
) {
    let from = begin + wrong.from;
    let until = match wrong.until {
        None => from,
        Some(None) => scene.now,
        Some(Some(end)) => begin + end,
    };
    let groups: Vec<Group> = match targets.is_empty() {
        true => vec![Group::Elsewhere],
        false => targets.iter().copied().map(Group::Node).collect(),
    };
    for group in groups {
        let mut slice = Slice::new(group, FAULTS, "fault", wrong.kind.clone(), (from, until))
            .with("kind", wrong.kind.clone())
            .with("fault", wrong.shown.clone());
        slice.is_instant = wrong.until.is_none();
        builder.add(slice);
    }
}

fn nodes_named(scene: &Scene<'_>, matches: impl Fn(&str) -> bool) -> BTreeSet<u32> {
    scene.nodes.all().filter(|(_, name)| matches(name)).map(|(node, _)| node).collect()
}

/// The nodes that a fault concerns.
fn targets(scene: &Scene<'_>, requests: &[Request], fault: &Fault) -> BTreeSet<u32> {
    let like = |pattern: &Pattern| nodes_named(scene, |name| pattern.matches(name));
    match fault.effect() {
        Effect::Host(event) => nodes_named(scene, |name| name == format!("worker-{}", event.host)),
        Effect::Machine { machine, .. } => like(&machine),
        Effect::World(trouble) => match &trouble {
            // A pattern for everything would shade every track: the narrower end says where it is.
            Trouble::Link { from, to, .. } => {
                let ends = [like(from), like(to)];
                let [from, to] = &ends;
                match (from.len(), to.len()) {
                    (all, few) if all > few && few > 0 => to.clone(),
                    _ => from.clone(),
                }
            }
            Trouble::Service { service, .. } => {
                let mut nodes = like(service);
                let serving = services(requests).into_keys();
                nodes.extend(
                    serving.filter(|(name, _)| service.matches(name)).map(|(_, node)| node),
                );
                nodes
            }
            Trouble::Lease { .. } => nodes_named(scene, |name| name == "blob"),
            Trouble::Disk { of: node, .. }
            | Trouble::Cpu { node, .. }
            | Trouble::Clock { node, .. }
            | Trouble::Misconduct { replica: node, .. } => like(node),
        },
    }
}
