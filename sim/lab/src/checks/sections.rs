//! Isolated critical sections: what they and everyone else read and wrote on the entities that they
//! lock can be explained by running them one after the other ([`crate::isolation`]).
//!
//! A critical section is a transaction; an operation outside of one, on an entity that some section
//! touches, is a transaction by itself. Which state an operation found follows from the record: steps
//! name the step whose state they continued from, and say which operations they ran, in which order. An
//! operation writes if it changed the stored state. In a step of one operation that shows in the states
//! before and after it; in others the entity's code is run again.
//!
//! The first operation on an entity without a state writes one.
//!
//! A new life of an entity continues from the end of the one before it, if that has ended.

use super::{Check, Verdict};
use crate::isolation::{Dependencies, Dependency, Edge, Version};
use rustc_hash::{FxHashMap, FxHashSet};
use sim_model::application::Application;
use sim_model::engine::Delivery;
use sim_model::entity::{Operation, SectionId, SequentialEntity};
use sim_model::graph::entities::EntityStep;
use sim_model::graph::words::Story;
use sim_model::graph::{Graph, Progress, WorkItemKind};
use sim_model::id::{EntityId, WorkItemId};
use sim_model::payload::Payload;

/// The rule; nothing if there is no critical section.
pub(super) fn check(graph: &Graph, application: &Application, steps: Delivery) -> Option<Check> {
    let mut history = Sections::of(graph, application);
    if history.sections.is_empty() {
        return None;
    }
    history.play();
    let name = "isolated-sections";
    let Some(cycle) = history.dependencies.cycle() else {
        let detail = format!(
            "{} critical sections, {} accesses to entities",
            history.sections.len(),
            history.accesses.len()
        );
        return Some(Check::new(name, Verdict::Pass, detail));
    };
    let verdict = match steps {
        Delivery::ExactlyOnce => Verdict::Fail,
        Delivery::AtLeastOnce => Verdict::Observed,
    };
    let (detail, lines) = history.tell(&cycle);
    Some(Check::new(name, verdict, detail).with_history(lines))
}

/// One access: the step that ran it, and what it was.
struct Access<'a> {
    item: WorkItemId,
    operation: &'a Operation,
    writes: bool,
}

struct Sections<'a> {
    graph: &'a Graph,
    application: &'a Application,
    /// The committed steps of the entities that sections touch, in the order of their commits.
    steps: Vec<(&'a EntityStep, u32, Option<WorkItemId>)>,
    sections: FxHashMap<&'a SectionId, u32>,
    /// What each transaction is: a section, or the operation of an access.
    transactions: Vec<Option<&'a SectionId>>,
    dependencies: Dependencies,
    accesses: Vec<Access<'a>>,
}

/// Where the states of an entity have come to.
struct Place {
    version: Version,
    state: Option<Payload>,
}

impl<'a> Sections<'a> {
    fn of(graph: &'a Graph, application: &'a Application) -> Sections<'a> {
        let mut committed: Vec<(u32, &EntityStep, u32, Option<WorkItemId>)> = Vec::new();
        let mut touched: FxHashSet<u32> = FxHashSet::default();
        for step in graph.entities().steps() {
            let item = graph.item(step.item);
            let (Progress::Committed(order), WorkItemKind::Step { instance, predecessor }) =
                (item.progress, item.kind)
            else {
                continue;
            };
            committed.push((order, step, instance, predecessor));
            if step.served.operations.iter().any(|operation| operation.section.is_some()) {
                touched.insert(instance);
            }
        }
        committed.retain(|(_, _, instance, _)| touched.contains(instance));
        committed.sort_by_key(|(order, ..)| *order);
        let steps: Vec<(&EntityStep, u32, Option<WorkItemId>)> = committed
            .into_iter()
            .map(|(_, step, instance, before)| (step, instance, before))
            .collect();
        let mut sections = Sections {
            graph,
            application,
            steps,
            sections: FxHashMap::default(),
            transactions: Vec::new(),
            dependencies: Dependencies::default(),
            accesses: Vec::new(),
        };
        for (step, ..) in &sections.steps {
            for section in step.served.operations.iter().filter_map(|ran| ran.section.as_ref()) {
                let next = sections.transactions.len() as u32;
                if let std::collections::hash_map::Entry::Vacant(entry) =
                    sections.sections.entry(section)
                {
                    entry.insert(next);
                    sections.transactions.push(Some(section));
                }
            }
        }
        sections
    }

    fn play(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        let mut after: FxHashMap<WorkItemId, Place> = FxHashMap::default();
        let mut first: FxHashMap<u32, Version> = FxHashMap::default();
        let mut ended: FxHashMap<u32, WorkItemId> = FxHashMap::default();
        for (step, instance, predecessor) in &steps {
            let before = predecessor.or_else(|| ended.remove(instance));
            let place = before.and_then(|before| after.get(&before));
            let (version, state) = match place {
                Some(place) => (place.version, place.state.clone()),
                None => {
                    let dependencies = &mut self.dependencies;
                    (*first.entry(*instance).or_insert_with(|| dependencies.initial()), None)
                }
            };
            let version = self.step(step, *instance, version, state.as_ref());
            after.insert(step.item, Place { version, state: step.state.clone() });
            if self.graph.item(step.item).ends_life {
                ended.insert(*instance, step.item);
            }
        }
        self.steps = steps;
    }

    /// What the operations of a step did; the version after it.
    fn step(
        &mut self,
        step: &'a EntityStep,
        instance: u32,
        mut version: Version,
        state: Option<&Payload>,
    ) -> Version {
        let served = &step.served;
        let writes = match served.operations.len() {
            0 => return version,
            1 => vec![state != step.state.as_ref()],
            _ => self.writes(step, instance, state),
        };
        for (operation, writes) in served.operations.iter().zip(writes) {
            let transaction = match &operation.section {
                Some(section) => self.sections[section],
                None => {
                    self.transactions.push(None);
                    self.transactions.len() as u32 - 1
                }
            };
            version = self.dependencies.access(version, transaction, writes);
            self.accesses.push(Access { item: step.item, operation, writes });
        }
        version
    }

    /// Which of the operations of a step change the state.
    fn writes(&self, step: &EntityStep, instance: u32, state: Option<&Payload>) -> Vec<bool> {
        let entity =
            EntityId::of(self.graph.instance(instance)).expect("invariant: an entity's step");
        let mut entity = SequentialEntity::new(self.application, entity, state);
        let mut before = state.cloned();
        let operations = step.served.operations.iter();
        operations
            .map(|operation| {
                // What it returns is another rule's business.
                let _ = entity.run(operation, step.served.now);
                let after = entity.peek().unwrap_or_else(|_| before.clone());
                let writes = after != before;
                before = after;
                writes
            })
            .collect()
    }

    fn transaction(&self, edge: &Edge, first: bool) -> String {
        let (transaction, access) = match first {
            true => (edge.from, edge.first),
            false => (edge.to, edge.second),
        };
        match self.transactions[transaction as usize] {
            Some(section) => section.to_string(),
            None => {
                let Access { item, operation, .. } = &self.accesses[access as usize];
                format!("{} in {item}", operation.name)
            }
        }
    }

    /// The cycle in words, and the accesses that make it up.
    fn tell(&self, cycle: &[Edge]) -> (String, Vec<String>) {
        let mut story = Story::of(self.graph);
        let mut because = Vec::new();
        for edge in cycle {
            for (access, first) in [(edge.first, true), (edge.second, false)] {
                let Access { item, operation, writes } = &self.accesses[access as usize];
                let work = self.graph.item(*item);
                let WorkItemKind::Step { instance, .. } = work.kind else { continue };
                let does = if *writes { "changes" } else { "reads" };
                let (who, entity) = (self.transaction(edge, first), self.graph.instance(instance));
                let text = format!("{who} {does} {entity} by {}, in {item}", operation.name);
                let at = work.executed.map_or(work.fetched_at, |moment| moment.at);
                story = story.line(Some(at), text);
            }
            let (from, to) = (self.transaction(edge, true), self.transaction(edge, false));
            let entity = match self.graph.item(self.accesses[edge.first as usize].item).kind {
                WorkItemKind::Step { instance, .. } => self.graph.instance(instance).to_string(),
                WorkItemKind::Task => String::new(),
            };
            because.push(match edge.dependency {
                Dependency::WriteRead => format!("-  {to} found {entity} as {from} had left it"),
                Dependency::WriteWrite => format!("-  {to} changed {entity} as {from} had left it"),
                Dependency::ReadWrite => {
                    format!("-  {from} found {entity} as it was before {to} changed it")
                }
            });
        }
        let names: Vec<String> = cycle.iter().map(|edge| self.transaction(edge, true)).collect();
        let back = names.first().cloned().unwrap_or_default();
        let detail = format!(
            "no order of {} explains what they found: {}, before {back}",
            match names.len() {
                1 => "one transaction".to_owned(),
                count => format!("{count} transactions"),
            },
            names.join(", before ")
        );
        let mut lines = story.lines();
        lines.extend(because);
        (detail, lines)
    }
}

#[cfg(test)]
mod tests;
