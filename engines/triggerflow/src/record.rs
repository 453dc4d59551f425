//! What a coordinator needs besides the stream: the record in its trigger's context.
//!
//! A coordinator runs workflow code again from its start at each wake-up, over the whole stream of its
//! workspace. The stream says what happened, not in which wake-up each event was seen, nor at what time;
//! the code may look at both. So each run leaves a line: its work item, its time, and up to where it
//! consumed the stream. Running the code again, line by line, decides the same. The published coordinator
//! keeps no such lines; they take no operation of their own, since the trigger that wakes the next run is
//! registered anyway. Source: lithops-patch of triggerflow/triggerflow@e1f9f6d, `executors.py`.
//!
//! A run that found nothing for the code to take leaves the line before it again, with the end that it read
//! up to. So lines are as many as runs, and a late attempt at a run finds in a later record what became of
//! that run, however many found nothing since.
//!
//! Code that continues as new leaves its history in place of the lines before its own, and the stream before
//! it is deleted.

use crate::event::{Event, EventId, Position};
use crate::trigger::{Activation, Role, Trigger, TriggerId};
use bytes::Bytes;
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use sim_model::application::Application;
use sim_model::codec::{decode, encode};
use sim_model::cursor::Cursor;
use sim_model::history::HistoryEvent;
use sim_model::id::{InstanceId, MessageId, WorkItemId};
use sim_model::ledger::Timing;
use sim_model::message::{InstanceMessage, critical_ledger};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::step::{EntityBackend, StepInput, StepOutcome};
use sim_model::time::Timestamp;
use std::rc::Rc;

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    item: WorkItemId,
    now: Timestamp,
    upto: Position,
}

/// What runs so far have left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// How many runs there were.
    pub(crate) number: u32,
    /// Events up to here are of a former workspace.
    first: Position,
    /// The history that the present execution began with, and the last event that it covers.
    base: Option<(Bytes, Position)>,
    /// Ids of events that are covered by it and may come again.
    covered: Vec<EventId>,
    /// Runs since then, and the one that left that history.
    runs: Vec<Run>,
    /// The last run.
    last: Option<Run>,
    /// How the workflow ended, if it did.
    pub(crate) ended: Option<RuntimeStatus>,
    /// When the last run ended.
    pub(crate) updated: Timestamp,
    /// Whether the workflow stands still.
    pub(crate) status: Option<RuntimeStatus>,
    /// What the code has last set for whoever looks.
    pub(crate) custom_status: Option<Payload>,
}

/// What a coordinator makes of the stream.
pub(crate) struct Reading {
    /// What each former run consumed.
    past: Vec<Vec<InstanceMessage>>,
    /// What this run is to consume.
    pub(crate) fresh: Vec<InstanceMessage>,
    /// Messages that came twice.
    pub(crate) duplicates: Vec<MessageId>,
    /// The last event.
    pub(crate) upto: Position,
    /// Events that former runs consumed: what the code is fed again.
    pub(crate) replayed: usize,
    /// Their ids and those of the fresh ones.
    ids: Vec<EventId>,
}

impl Reading {
    /// The ids of what this run is to consume.
    pub(crate) fn fresh_ids(&self) -> impl Iterator<Item = &EventId> {
        self.ids[self.ids.len() - self.fresh.len()..].iter()
    }
}

impl Record {
    /// The record of a new workspace, whose events begin after `first`.
    pub(crate) fn from(first: Position) -> Record {
        Record { first, ..Record::default() }
    }

    /// The record in the context of a coordinator's trigger.
    ///
    /// # Panics
    /// If it is the trigger of something else: what does not decode is not read from the store.
    pub(crate) fn of(trigger: &Trigger) -> Record {
        let value = trigger.context.value.as_ref().expect("invariant: a coordinator's trigger");
        decode(value).unwrap_or_else(|error| panic!("trigger {}: {error}", trigger.id))
    }

    /// Whether bytes are a record, with the history that is in it.
    pub(crate) fn is_whole(bytes: &Bytes) -> bool {
        let has_history =
            |record: Record| record.base.is_none_or(|(history, _)| history_of(&history).is_some());
        decode(bytes).is_ok_and(has_history)
    }

    /// The trigger that wakes the next run.
    pub(crate) fn trigger(&self, id: TriggerId) -> Trigger {
        let mut trigger = Trigger::persistent(id, vec![Activation::Any], Role::Wake);
        trigger.transient = true;
        trigger.context.value = Some(encode(self));
        trigger
    }

    /// Up to where the stream was consumed.
    pub(crate) fn upto(&self) -> Position {
        let base = self.base.as_ref().map(|(_, upto)| *upto);
        self.runs.last().map(|run| run.upto).or(base).unwrap_or(self.first)
    }

    /// Whether an event that lies there, and has woken the run after the `woken`-th, needs nobody to take it in
    /// any more: it was consumed; or that run found that the workflow has not started, and what comes before its
    /// start lies in the stream for the run that starts it.
    pub(crate) fn covers(&self, position: Position, woken: u32) -> bool {
        match self.last {
            Some(_) => position <= self.upto(),
            None => self.number > woken,
        }
    }

    /// The last run: its work item, its time, and up to where it consumed the stream.
    pub(crate) fn last_run(&self) -> Option<(WorkItemId, Timestamp, Position)> {
        self.last.map(|run| (run.item, run.now, run.upto))
    }

    /// The run that followed `before`, if this later record still has its line and the code took something.
    pub(crate) fn run_after(&self, before: &Record) -> Option<(WorkItemId, Timestamp, Position)> {
        let since = self.number.checked_sub(before.number + 1)? as usize;
        let index = self.runs.len().checked_sub(since + 1)?;
        let run = self.runs[index];
        let took_something = before.last.is_none_or(|last| last.item != run.item);
        took_something.then_some((run.item, run.now, run.upto))
    }

    /// Sorts what the stream holds, in its order. With `dedup`, events whose id came before are left out.
    ///
    /// `end` is where it ends: behind all its events, also those that do not decode or are for another run.
    pub(crate) fn read_until(
        &self,
        stream: &[(Event, Position)],
        end: Position,
        dedup: bool,
    ) -> Reading {
        let mut reading = self.read(stream, dedup);
        reading.upto = reading.upto.max(end);
        reading
    }

    /// The same of a stream that ends with the last of these events.
    pub(crate) fn read(&self, stream: &[(Event, Position)], dedup: bool) -> Reading {
        let mut known: FxHashSet<EventId> = self.covered.iter().copied().collect();
        let mut reading = Reading {
            past: vec![Vec::new(); self.runs.len()],
            fresh: Vec::new(),
            duplicates: Vec::new(),
            upto: self.upto(),
            replayed: 0,
            ids: Vec::new(),
        };
        let start = self.base.as_ref().map_or(self.first, |(_, upto)| *upto);
        for (event, position) in stream {
            if *position <= start {
                continue;
            }
            reading.upto = reading.upto.max(*position);
            let run = self.runs.partition_point(|run| run.upto < *position);
            if dedup && !known.insert(event.id) {
                if run == self.runs.len() {
                    reading.duplicates.push(event.message.id);
                }
                continue;
            }
            reading.ids.push(event.id);
            match reading.past.get_mut(run) {
                Some(past) => {
                    past.push(event.message.clone());
                    reading.replayed += 1;
                }
                None => reading.fresh.push(event.message.clone()),
            }
        }
        reading
    }

    /// The code as the runs so far have left it.
    pub(crate) fn replay(
        &self,
        application: &Rc<Application>,
        instance: &InstanceId,
        reading: &mut Reading,
        backend: EntityBackend,
    ) -> Cursor {
        let (application, instance) = (application.clone(), instance.clone());
        let mut cursor = match &self.base {
            None => Cursor::new(application, instance),
            Some((history, _)) => {
                let history = history_of(history).expect("invariant: only whole records are read");
                reading.replayed += history.len();
                Cursor::replay(application, instance, &history)
            }
        };
        let mut before = None;
        for (run, messages) in self.runs.iter().zip(std::mem::take(&mut reading.past)) {
            let took_nothing = before.replace(run.item) == Some(run.item);
            // A run whose events were deleted under it cannot be repeated.
            if took_nothing || messages.is_empty() || (!cursor.has_started() && !starts(&messages))
            {
                continue;
            }
            cursor.step(StepInput {
                work_item: run.item,
                now: run.now,
                ledger: critical_ledger(&messages),
                execution: Timing::default(),
                messages,
                backend,
            });
        }
        cursor
    }

    /// The record after a run.
    pub(crate) fn after(
        &self,
        (item, now): (WorkItemId, Timestamp),
        reading: &Reading,
        outcome: &StepOutcome,
    ) -> Record {
        let mut next = self.clone();
        next.number += 1;
        next.updated = now;
        next.status = Some(outcome.status.clone());
        next.custom_status = outcome.custom_status.clone();
        next.ended = outcome.status.is_final().then(|| outcome.status.clone());
        let run = Run { item, now, upto: reading.upto };
        next.last = Some(run);
        if outcome.replaces_history && next.ended.is_none() {
            next.base = Some((encode(&outcome.new_events), reading.upto));
            next.covered = reading.ids.clone();
            next.runs.clear();
        }
        // The line of a run that continued as new covers no event that is left; a late attempt at the run
        // looks for it.
        next.runs.push(run);
        next
    }

    /// The record after a run that found nothing for the code to take, up to `upto`. What comes before the
    /// start of a workflow is left for the run that starts it.
    pub(crate) fn skipped(&self, upto: Position) -> Record {
        let mut next = self.clone();
        next.number += 1;
        if let Some(run) = self.runs.last() {
            next.runs.push(Run { upto, ..*run });
        }
        next
    }
}

fn history_of(bytes: &Bytes) -> Option<Vec<HistoryEvent>> {
    decode(bytes).ok()
}

/// Whether one of the messages starts the workflow.
pub(crate) fn starts(messages: &[InstanceMessage]) -> bool {
    messages.iter().any(InstanceMessage::starts_orchestration)
}
