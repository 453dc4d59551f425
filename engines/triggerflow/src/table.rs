//! The triggers of a workspace in a worker's memory: the map of triggers, and which events activate
//! which.
//!
//! The map is what conditions and actions see of each other: an action may change the context of
//! another trigger, replace a trigger, or insert one (interception). Changes are remembered for those
//! disciplines that write contexts.

use crate::event::{Event, EventId, Kind};
use crate::trigger::{Activation, Context, Trigger, TriggerId};
use rustc_hash::{FxHashMap, FxHashSet};
use sim_model::ledger::Ledger;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A trigger in memory.
pub(crate) struct Entry {
    pub(crate) trigger: Trigger,
    /// Whether its context has changed since it was written.
    pub(crate) dirty: bool,
    /// Deliveries that it has taken in since it last fired.
    pub(crate) held: Vec<u64>,
    /// The ledger of the last of them.
    pub(crate) ledger: Option<Ledger>,
    /// Whether it waits for events; a coordinator's trigger does not while the coordinator runs.
    pub(crate) enabled: bool,
}

/// All triggers of a workspace.
#[derive(Default)]
pub(crate) struct Triggers {
    entries: BTreeMap<TriggerId, Entry>,
    /// Looked up, never walked.
    by_event: FxHashMap<(Arc<str>, Kind), Vec<TriggerId>>,
    any: Vec<TriggerId>,
}

impl Triggers {
    /// Inserts a trigger, in place of one with its id if there is one.
    pub(crate) fn insert(&mut self, trigger: Trigger) {
        self.remove(&trigger.id.clone());
        for activation in &trigger.activation {
            match activation {
                Activation::Of(subject, kind) => {
                    let key = (subject.clone(), *kind);
                    self.by_event.entry(key).or_default().push(trigger.id.clone());
                }
                Activation::Any => self.any.push(trigger.id.clone()),
            }
        }
        let id = trigger.id.clone();
        let entry = Entry { trigger, dirty: false, held: Vec::new(), ledger: None, enabled: true };
        self.entries.insert(id, entry);
    }

    /// Removes a trigger from memory.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        for activation in &entry.trigger.activation {
            match activation {
                Activation::Of(subject, kind) => {
                    let key = (subject.clone(), *kind);
                    if let Some(ids) = self.by_event.get_mut(&key) {
                        ids.retain(|other| **other != *id);
                    }
                }
                Activation::Any => self.any.retain(|other| **other != *id),
            }
        }
        Some(entry)
    }

    /// The triggers that wait for `event`.
    pub(crate) fn activated(&self, event: &Event) -> Vec<TriggerId> {
        let key = (event.subject.clone(), event.kind);
        let named = self.by_event.get(&key).filter(|ids| !ids.is_empty());
        let ids = named.unwrap_or(&self.any).iter();
        ids.filter(|id| self.entries[&**id].enabled).cloned().collect()
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.entries.contains_key(id)
    }

    /// # Panics
    /// If there is no such trigger.
    pub(crate) fn entry(&self, id: &str) -> &Entry {
        self.entries.get(id).unwrap_or_else(|| panic!("there is no trigger {id}"))
    }

    /// # Panics
    /// If there is no such trigger.
    pub(crate) fn entry_mut(&mut self, id: &str) -> &mut Entry {
        self.entries.get_mut(id).unwrap_or_else(|| panic!("there is no trigger {id}"))
    }

    /// A trigger's context.
    pub(crate) fn context(&self, id: &str) -> &Context {
        &self.entry(id).trigger.context
    }

    /// A trigger's context, to be changed.
    pub(crate) fn change(&mut self, id: &str) -> &mut Context {
        let entry = self.entry_mut(id);
        entry.dirty = true;
        &mut entry.trigger.context
    }

    /// All triggers, by their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Trigger> {
        self.entries.values().map(|entry| &entry.trigger)
    }

    /// All triggers as they are in memory, by their ids.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// All triggers as they are in memory, by their ids.
    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.values_mut()
    }

    /// Lets triggers forget events that will not be delivered again. Others that took them in too keep
    /// their ids, which does no harm.
    pub(crate) fn forget(&mut self, triggers: &[TriggerId], acknowledged: &[EventId]) {
        for id in triggers {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            let context = &mut entry.trigger.context;
            for id in acknowledged {
                context.applied.remove(id);
            }
            let acknowledged: FxHashSet<&EventId> = acknowledged.iter().collect();
            let done = |id: &EventId| acknowledged.contains(id);
            // A later firing may have left another one.
            if let Some(outbox) = &mut context.outbox {
                outbox.consumed.retain(|id| !done(id));
            }
            context.outbox.take_if(|outbox| outbox.consumed.is_empty());
        }
    }
}
