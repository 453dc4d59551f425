//! The disciplines: what a firing stores, and in which order.
//!
//! | | in the main loop | by the committer, behind it |
//! |---|---|---|
//! | v1 | act | acknowledge what was consumed (one operation); delete fired transient triggers |
//! | v2 | act | write every context (one operation each) |
//! | v3 | act | delete all events received so far |
//! | v4 | write the changed contexts (one operation), act | acknowledge what was consumed |
//! | v4, `ordered_commit` off | act | acknowledge, then write |
//!
//! A step is *committed* when what shows to a later worker that it happened is stored: under v1 the
//! acknowledgement, under v2 the contexts, under v3 the deletion, under v4 the contexts. Sources:
//! triggerflow/triggerflow@38186b6 and @e1f9f6d, `service/worker.py`; triggerflow/go-worker@7f7501e; for
//! v4 reading notes of the paper (FGCS), made precise here: contexts before actions, so that whatever an
//! action starts has a durable cause.

use crate::event::{EventId, Position};
use crate::settings::{Acknowledgement, Discipline, Parameters};
use crate::trigger::TriggerId;
use crate::workspace::{Firing, Workspace};
use bytes::Bytes;
use sim_model::codec::encode;

/// What of the settings decides in a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) discipline: Discipline,
    pub(crate) positional: bool,
    pub(crate) dedup: bool,
    pub(crate) applied_ids: bool,
    pub(crate) ordered_commit: bool,
    pub(crate) broker_local_events: bool,
    pub(crate) set_aside: bool,
    pub(crate) dirty_checkpoints: bool,
    pub(crate) redeliveries: u32,
}

impl Rules {
    pub(crate) fn new(parameters: &Parameters) -> Rules {
        Rules {
            discipline: parameters.discipline,
            positional: parameters.acknowledgement == Acknowledgement::Positional,
            dedup: parameters.dedup,
            applied_ids: parameters.applied_ids,
            ordered_commit: parameters.ordered_commit,
            broker_local_events: parameters.broker_local_events,
            set_aside: parameters.set_aside,
            dirty_checkpoints: parameters.dirty_checkpoints,
            redeliveries: parameters.redeliveries,
        }
    }

    pub(crate) fn is_v4(&self) -> bool {
        self.discipline == Discipline::V4
    }
}

/// One thing to do for a firing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Do what the actions do outside.
    Act,
    /// Write contexts, one operation for each.
    WriteEach(Vec<(TriggerId, Bytes)>),
    /// Write contexts, all in one operation.
    WriteTogether(Vec<(TriggerId, Bytes)>),
    /// Acknowledge events.
    Acknowledge(Vec<(EventId, Option<Position>)>),
    /// The events are acknowledged: these triggers need not remember them.
    Acknowledged(Vec<TriggerId>, Vec<EventId>),
    /// Remove triggers from the store.
    RemoveTriggers(Vec<TriggerId>),
    /// Write that these triggers of coordinators are done with.
    Retire(Vec<TriggerId>),
    /// Delete all events received so far from the stream.
    DeleteReceived,
    /// The step counts as committed.
    Committed,
}

/// What to do for a firing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Before the next event is taken up.
    pub(crate) main_loop: Vec<Phase>,
    /// Behind the main loop, in order.
    pub(crate) committer: Vec<Phase>,
}

impl Plan {
    /// What to do for `firing`, whose actions have run. Takes the fired triggers that are transient out
    /// of the worker's memory.
    pub(crate) fn of(workspace: &mut Workspace, firing: &Firing) -> Plan {
        let transient: Vec<TriggerId> = firing
            .triggers
            .iter()
            .filter(|id| workspace.triggers.contains(id))
            .filter(|id| workspace.triggers.entry(id).trigger.transient)
            .cloned()
            .collect();
        let mut acknowledged = firing.acknowledged.clone();
        let (main_loop, committer) = match workspace.rules.discipline {
            Discipline::V1 => {
                let mut behind = vec![Phase::Acknowledge(acknowledged), Phase::Committed];
                if !transient.is_empty() {
                    behind.push(Phase::RemoveTriggers(transient.clone()));
                }
                (vec![Phase::Act], behind)
            }
            Discipline::V2 => {
                transient.iter().for_each(|id| drop(workspace.triggers.remove(id)));
                let writes = contexts(workspace, false);
                (vec![Phase::Act], vec![Phase::WriteEach(writes), Phase::Committed])
            }
            Discipline::V3 => (vec![Phase::Act], vec![Phase::DeleteReceived, Phase::Committed]),
            Discipline::V4 => {
                acknowledged.extend(workspace.spent());
                let ids = acknowledged.iter().map(|(id, _)| *id).collect();
                let forget = Phase::Acknowledged(firing.triggers.clone(), ids);
                let acknowledge = Phase::Acknowledge(acknowledged);
                let write =
                    Phase::WriteTogether(contexts(workspace, workspace.rules.dirty_checkpoints));
                match workspace.rules.ordered_commit {
                    true => (vec![write, Phase::Committed, Phase::Act], vec![acknowledge, forget]),
                    false => (vec![Phase::Act], vec![acknowledge, write, Phase::Committed, forget]),
                }
            }
        };
        for id in transient {
            workspace.triggers.remove(&id);
            workspace.gone.insert(id);
        }
        Plan { main_loop, committer }
    }
}

/// The contexts to write, encoded.
fn contexts(workspace: &mut Workspace, dirty_only: bool) -> Vec<(TriggerId, Bytes)> {
    let entries = workspace.triggers.entries_mut();
    let written =
        entries.filter(|entry| entry.trigger.has_context() && (entry.dirty || !dirty_only));
    written
        .map(|entry| {
            entry.dirty = false;
            (entry.trigger.id.clone(), encode(&entry.trigger))
        })
        .collect()
}
