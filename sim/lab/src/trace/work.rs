//! Work items: where they ran, what they belong to, and the messages between them.

use super::build::Builder;
use super::slice::{Arrow, Group, Slice};
use super::{End, Progress, Scene};
use crate::critical_path::Stretch;
use rustc_hash::{FxHashMap, FxHashSet};
use sim_model::engine::HostLife;
use sim_model::graph::{self, Target, WorkItem, WorkItemKind};
use sim_model::id::{InstanceId, MessageId, Producer, WorkItemId};
use sim_model::ledger::Category;
use sim_model::time::{Timestamp, nanos};
use std::collections::BTreeMap;
use std::time::Duration;

/// Rank of the thread of work items among those of its host.
const WORK_ITEMS: (u64, &str) = (0, "work items");

/// A work item with what is said of it.
struct Seen<'a> {
    id: WorkItemId,
    item: &'a WorkItem,
    instance: Option<u32>,
    /// When it was executed, or given up before that.
    executed: Timestamp,
    /// When it became final or was given up.
    settled: Timestamp,
}

pub(super) fn add(scene: &Scene<'_>, builder: &mut Builder) {
    let partitions = partitions(scene);
    let (sent, first_steps) = (sent(scene), first_steps(scene));
    for (id, item) in scene.graph.items() {
        let seen = see(scene, id, item);
        let arrows = sent.get(&id).map_or(&[][..], Vec::as_slice);
        builder.add(on_host(scene, &seen, arrows, first_steps.contains(&id)));
        if let (WorkItemKind::Step { .. }, Some(instance)) = (item.kind, seen.instance) {
            builder.add(of_instance(scene, &seen, instance));
            if let Some(partition) = partitions.get(&id) {
                builder.add(of_partition(scene, &seen, *partition));
            }
        }
    }
    for (instance, end) in scene.ends {
        let index = scene.graph.index_of(instance);
        builder.add(life(scene, instance, end, index));
    }
    owners(scene, builder);
}

/// The first step of each instance that was fetched.
fn first_steps(scene: &Scene<'_>) -> FxHashSet<WorkItemId> {
    let mut known = FxHashSet::default();
    let mut first = FxHashSet::default();
    for (id, item) in scene.graph.items() {
        if let WorkItemKind::Step { instance, .. } = item.kind
            && known.insert(instance)
        {
            first.insert(id);
        }
    }
    first
}

fn see<'a>(scene: &Scene<'_>, id: WorkItemId, item: &'a WorkItem) -> Seen<'a> {
    let instance = match item.kind {
        WorkItemKind::Step { instance, .. } => Some(instance),
        WorkItemKind::Task => {
            let answer = MessageId { producer: Producer::WorkItem(id), index: 0 };
            let caller = scene.graph.consumed(item).first().and_then(|call| caller(scene, call));
            match scene.graph.target(&answer) {
                Some(Target::Instance(instance)) => Some(instance),
                _ => caller,
            }
        }
    };
    let settled = item.settled_at.unwrap_or(scene.now);
    let executed = item.executed.map_or(settled, |executed| executed.at);
    Seen { id, item, instance, executed, settled: settled.max(executed) }
}

/// The instance whose step sent a message.
fn caller(scene: &Scene<'_>, message: &MessageId) -> Option<u32> {
    let Producer::WorkItem(producer) = message.producer else { return None };
    if producer.0 as usize >= scene.graph.items().len() {
        return None;
    }
    match scene.graph.item(producer).kind {
        WorkItemKind::Step { instance, .. } => Some(instance),
        WorkItemKind::Task => None,
    }
}

fn outcome(item: &WorkItem) -> &'static str {
    match item.progress {
        graph::Progress::Committed(_) => "committed",
        graph::Progress::Aborted => "aborted",
        graph::Progress::Executed => "executed",
        graph::Progress::Fetched => "fetched",
    }
}

/// The arrow of a message to one of its consumers, and who sent it.
fn arrow(message: &MessageId, consumer: WorkItemId) -> Option<(WorkItemId, Arrow)> {
    let Producer::WorkItem(producer) = message.producer else { return None };
    let parts = [producer.0, message.index, consumer.0].map(u128::from);
    let key = parts.into_iter().fold(0, |key, part| key << 32 | part);
    Some((producer, Arrow { category: "message", key }))
}

/// The arrows that each work item sends.
fn sent(scene: &Scene<'_>) -> FxHashMap<WorkItemId, Vec<Arrow>> {
    let mut sent: FxHashMap<WorkItemId, Vec<Arrow>> = FxHashMap::default();
    for (id, item) in scene.graph.items() {
        let arrows = scene.graph.consumed(item).iter().filter_map(|message| arrow(message, id));
        arrows.for_each(|(producer, arrow)| sent.entry(producer).or_default().push(arrow));
    }
    sent
}

fn on_host(scene: &Scene<'_>, seen: &Seen<'_>, sent: &[Arrow], is_first: bool) -> Slice {
    let Seen { id, item, .. } = seen;
    let name = seen.instance.map_or("?", |instance| scene.graph.instance(instance).as_str());
    let (category, what) = match item.kind {
        WorkItemKind::Step { .. } => ("step", format!("step of {name}")),
        WorkItemKind::Task => ("task", format!("activity for {name}")),
    };
    let place = item.fetched_on.map_or(Group::Elsewhere, Group::Node);
    let consumed = scene.graph.consumed(item);
    let span = (item.fetched_at, seen.executed);
    let mut slice = Slice::new(place, WORK_ITEMS, category, what, span)
        .with("work_item", id.0)
        .with("instance", name)
        .with("outcome", outcome(item))
        .with("messages", consumed.len());
    for consumed in consumed {
        if let Some((_, arrow)) = arrow(consumed, *id) {
            slice.receives(arrow, item.fetched_at);
        }
    }
    sent.iter().for_each(|arrow| slice.sends(*arrow, seen.executed));
    if let (true, Some(instance)) = (is_first, seen.instance) {
        slice.receives(start(instance), item.fetched_at);
    }
    slice
}

fn start(instance: u32) -> Arrow {
    Arrow { category: "start", key: u128::from(instance) }
}

fn track(instance: &str) -> Group {
    match InstanceId::new(instance).is_entity() {
        true => Group::Entities,
        false => Group::Orchestrations,
    }
}

fn of_instance(scene: &Scene<'_>, seen: &Seen<'_>, instance: u32) -> Slice {
    let name = scene.graph.instance(instance).as_str();
    let Seen { id, item, .. } = seen;
    let host = item.fetched_on.map_or("?", |place| scene.nodes.name(place));
    let thread = (2 * u64::from(instance) + 1, format!("{name} steps"));
    let span = (item.fetched_at, seen.settled);
    let mut slice = Slice::new(track(name), thread, "item", id.to_string(), span)
        .with("work_item", id.0)
        .with("outcome", outcome(item))
        .with("host", host);
    slice.holds("execute", "execute", (item.fetched_at, seen.executed));
    slice
}

fn life(scene: &Scene<'_>, instance: &InstanceId, end: &End, index: Option<u32>) -> Slice {
    let name = instance.as_str();
    let rank = index.map_or(u64::MAX, |index| 2 * u64::from(index));
    let span = (end.created, end.last_updated);
    let mut slice = Slice::new(track(name), (rank, name), "life", name, span)
        .with("instance", name)
        .with("status", end.status);
    if let Some(index) = index {
        slice.sends(start(index), end.created);
    }
    let path = scene.finder.path(instance, end);
    debug_assert_eq!(path.check(), Ok(()), "{instance}");
    for stretch in path.stretches() {
        // What is not counted lies outside of the life.
        if stretch.until > end.created && stretch.from < end.last_updated {
            put_stretch(&mut slice, stretch);
        }
    }
    slice
}

/// A stretch of the critical path in the life of its orchestration.
fn put_stretch(life: &mut Slice, stretch: &Stretch) {
    let parts = Category::ALL.into_iter().map(|part| (part, stretch.parts.get(part)));
    let parts: Vec<(Category, Duration)> = parts.filter(|(_, time)| !time.is_zero()).collect();
    let category = match parts.as_slice() {
        [(only, _)] => only.name(),
        _ => "several",
    };
    let words = stretch.words.clone();
    let inner = life.holds(category, words, (stretch.from, stretch.until));
    for (part, time) in parts {
        inner.args.push((part.name(), (nanos(time) as f64 / 1e3).into()));
    }
}

/// The partition of each work item that became final in one.
fn partitions(scene: &Scene<'_>) -> FxHashMap<WorkItemId, u32> {
    let items = scene.progress.iter();
    items.filter_map(|progress| Some((progress.item?, progress.partition))).collect()
}

fn of_partition(scene: &Scene<'_>, seen: &Seen<'_>, partition: u32) -> Slice {
    let name = seen.instance.map_or("?", |instance| scene.graph.instance(instance).as_str());
    let thread = (2 * u64::from(partition) + 1, format!("partition {partition} work items"));
    let span = (seen.item.fetched_at, seen.settled);
    Slice::new(Group::Partitions, thread, "commit", format!("step of {name}"), span)
        .with("work_item", seen.id.0)
        .with("instance", name)
}

/// Who made progress in each partition, from when to when.
fn owners(scene: &Scene<'_>, builder: &mut Builder) {
    let mut open: BTreeMap<u32, (HostLife, Timestamp, Timestamp)> = BTreeMap::new();
    let mut put = |partition: u32, (owner, from, until): (HostLife, Timestamp, Timestamp)| {
        let thread = (2 * u64::from(partition), format!("partition {partition}"));
        let name = format!("on worker-{}", owner.host);
        let slice = Slice::new(Group::Partitions, thread, "owner", name, (from, until));
        let slice =
            slice.with("partition", partition).with("host", format!("worker-{}", owner.host));
        builder.add(slice.with("life", owner.life));
    };
    for Progress { at, partition, owner, .. } in scene.progress {
        match open.get_mut(partition) {
            Some((before, _, until)) if before == owner => *until = *at,
            _ => {
                let before = open.insert(*partition, (*owner, *at, *at));
                before.into_iter().for_each(|before| put(*partition, before));
            }
        }
    }
    open.into_iter().for_each(|(partition, last)| put(partition, last));
}
