//! A coordinator: the function that runs workflow code.
//!
//! Each run reads the whole stream of its workspace, runs the code again from its start
//! ([`crate::record`]), lets it take what is new, and registers the trigger that wakes the next run. Under
//! v4, in this order: register, then invoke and send; the trigger has a name of its own for each run and
//! is registered only if it does not exist, so that of several attempts at one run one counts, and the
//! others do again what that one has decided, with the same identities. Under v1 to v3: invoke and send,
//! then register, under any name. Source: lithops-patch of triggerflow/triggerflow@e1f9f6d, `executors.py`
//! lines 145-286.

use crate::api::{self, End};
use crate::event::{Event, EventId, Position, TaskCall};
use crate::faas::invoke_all;
use crate::hub::{BACKEND, Hub, Notice};
use crate::keys::WorkspaceName;
use crate::record::{Reading, Record, starts};
use crate::store::Connection;
use crate::trigger::{Role, Trigger};
use crate::workspace::WAKE;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sim_model::codec::encode;
use sim_model::cursor::Cursor;
use sim_model::engine::{Completion, InstanceState};
use sim_model::id::{InstanceId, MessageId, WorkItemId};
use sim_model::ledger::{Category, Ledger};
use sim_model::message::critical_ledger;
use sim_model::step::{StepInput, StepOutcome};
use sim_model::time::Timestamp;
use std::rc::Rc;
use std::sync::Arc;

/// The invocation of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CoordinatorCall {
    pub(crate) workspace: WorkspaceName,
    /// The message that starts its workflow.
    pub(crate) start: MessageId,
    /// What the runs before have left.
    pub(crate) record: Record,
    /// The event that woke it, and how the time up to the invocation was spent.
    pub(crate) woken_by: (EventId, Ledger),
}

/// A run on its way.
struct Attempt {
    hub: Rc<Hub>,
    place: usize,
    call: CoordinatorCall,
    instance: InstanceId,
    connection: Connection,
    began: Timestamp,
}

/// One run on a host. Returns the trigger that was registered.
pub(crate) async fn run(hub: &Rc<Hub>, place: usize, call: CoordinatorCall) -> Option<Bytes> {
    hub.counters.coordinator_runs.count();
    let instance = InstanceId::new(call.workspace.stream().clone());
    let connection = hub.store.connect(hub.host(place));
    let began = hub.now();
    let attempt = Attempt { hub: hub.clone(), place, call, instance, connection, began };
    attempt.run().await
}

impl Attempt {
    async fn run(&self) -> Option<Bytes> {
        let hub = &self.hub;
        let (stream, end) = self.read().await;
        let record = &self.call.record;
        // The record was stored: the run before is final, if its own host has not learnt so yet.
        if let Some((before, _, _)) = record.last_run() {
            hub.measure.committed(before);
        }
        let mut reading = record.read_until(&stream, end, hub.rules.dedup);
        let mut cursor = record.replay(&hub.application, &self.instance, &mut reading, BACKEND);
        let can_step = cursor.has_started() || starts(&reading.fresh);
        if reading.fresh.is_empty() || !can_step || cursor.status().is_final() {
            return self.nothing_new(&reading).await;
        }
        let (item, outcome, ledger) = self.step(&mut cursor, &reading).await;
        let now = outcome_time(&outcome, hub.now());
        let next = record.after((item, now), &reading, &outcome);
        let trigger = next.trigger(self.name(&next, item));
        if !hub.rules.is_v4() || !hub.parameters.register_first {
            self.act(&outcome).await;
            self.register_anyway(&trigger, &next).await;
            hub.measure.committed(item);
        } else if !self.register(&trigger).await {
            return self.repeat(item, &trigger, &stream).await;
        } else {
            hub.measure.committed(item);
            self.act(&outcome).await;
        }
        self.finish(&cursor, &next, ledger).await;
        if outcome.replaces_history && next.ended.is_none() {
            self.truncate(&stream, reading.upto).await;
        }
        Some(encode(&trigger))
    }

    /// Reads the whole stream, and where it ends.
    async fn read(&self) -> (Vec<(Event, Position)>, Position) {
        let entries = self.connection.read(self.call.workspace.stream(), Position::default()).await;
        self.hub.counters.coordinator_events.add(entries.len() as u64);
        let end = entries.last().map_or(Position::default(), |(position, _)| *position);
        let event = |(position, body): (Position, Bytes)| {
            let mut event: Event = self.connection.decoded(&body)?;
            if event.starts_another(self.call.start) {
                return None;
            }
            let (woken_by, ledger) = &self.call.woken_by;
            if event.id == *woken_by {
                event.message.ledger = *ledger;
                let why = Category::Network.because("the coordinator was called");
                event.message.ledger.charge(why, self.began);
            }
            let why = Category::Storage.because("the coordinator read the events");
            event.message.ledger.charge(why, self.hub.now());
            Some((event, position))
        };
        (entries.into_iter().filter_map(event).collect(), end)
    }

    /// The name of the trigger for the run after this one.
    fn name(&self, next: &Record, item: WorkItemId) -> Arc<str> {
        match self.hub.rules.is_v4() {
            true => format!("{WAKE}-{}", next.number).into(),
            false => format!("{WAKE}-{}-{}", next.number, item.0).into(),
        }
    }

    /// Runs the code with what is new.
    async fn step(
        &self,
        cursor: &mut Cursor,
        reading: &Reading,
    ) -> (WorkItemId, StepOutcome, Ledger) {
        let graph = self.hub.observer.graph();
        for duplicate in &reading.duplicates {
            self.hub.counters.duplicates_dropped.count();
            graph.discarded(*duplicate);
        }
        for message in &reading.fresh {
            self.hub.measure.found(message);
        }
        let messages = reading.fresh.clone();
        let ids = messages.iter().map(|message| message.id);
        let item = graph.fetch_step(&self.instance, cursor.last_step(), ids, self.hub.now());
        let mut ledger = self.critical(reading);
        let functions = &self.hub.functions[self.place];
        let outcome = functions.step(cursor, reading.replayed, item, &mut ledger, messages).await;
        graph.executed_step(item, &outcome);
        (item, outcome, ledger)
    }

    /// The time along the message that this run is due to: the one that woke it, if it is among the new
    /// ones.
    fn critical(&self, reading: &Reading) -> Ledger {
        let woken_by = &self.call.woken_by.0;
        let woken = reading.fresh_ids().position(|id| id == woken_by);
        match woken {
            Some(index) => reading.fresh[index].ledger,
            None => critical_ledger(&reading.fresh),
        }
    }

    /// Registers a trigger unless it exists.
    async fn register(&self, trigger: &Trigger) -> bool {
        let key = self.call.workspace.triggers();
        let registered = self.connection.set_new(&key, &trigger.id, encode(trigger)).await;
        if self.connection.sure(registered) {
            return true;
        }
        // An attempt that got no answer may have been this one's own.
        match self.connection.get::<Trigger>(&key, &trigger.id).await {
            Ok(Some(found)) if found.role == Role::Done => self.was_this(trigger).await,
            Ok(found) => found.is_some_and(|found| found == *trigger),
            // Nobody can go on from what does not decode: it is written over.
            Err(_) => {
                self.write(trigger).await;
                true
            }
        }
    }

    /// Whether a trigger that is done with was this attempt's: a worker has found it in the store, and
    /// later runs know whose it was. What this attempt has decided is to be done nevertheless.
    async fn was_this(&self, trigger: &Trigger) -> bool {
        let Some((item, _, _)) = Record::of(trigger).last_run() else { return false };
        let later = self.latest().await.and_then(|later| later.run_after(&self.call.record));
        later.is_some_and(|(winner, _, _)| winner == item)
    }

    async fn registered(&self, trigger: &Trigger) -> Option<Trigger> {
        let key = self.call.workspace.triggers();
        self.connection.sure(self.connection.get(&key, &trigger.id).await)
    }

    /// Registers a trigger as published: a test and a write. One for a workflow that has ended would
    /// wake nobody.
    async fn register_anyway(&self, trigger: &Trigger, record: &Record) {
        if record.ended.is_some() {
            return;
        }
        let key = self.call.workspace.triggers();
        self.connection.sure(self.connection.has(&key, &trigger.id).await);
        self.write(trigger).await;
    }

    async fn write(&self, trigger: &Trigger) {
        let key = self.call.workspace.triggers();
        let fields = vec![(trigger.id.clone(), encode(trigger))];
        self.connection.sure(self.connection.set(&key, fields).await);
    }

    /// Invokes and sends what was decided.
    async fn act(&self, outcome: &StepOutcome) {
        let (hub, connection) = (&self.hub, &self.connection);
        let host = hub.host(self.place);
        let calls = outcome.tasks.iter().cloned().map(TaskCall::of_task).collect();
        invoke_all(hub, host, self.call.workspace.stream(), calls).await;
        let messages = outcome.messages.clone();
        connection.sure(api::send_all(hub, host, connection, messages).await);
        for timer in &outcome.timers {
            connection.sure(api::send_later(hub, connection, timer).await);
        }
    }

    /// Tells whoever waits that the workflow has ended, and gives its worker up.
    async fn finish(&self, cursor: &Cursor, record: &Record, ledger: Ledger) {
        let Some(status) = record.ended.clone() else { return };
        let created = cursor.created().expect("invariant: it was started");
        let state = InstanceState {
            name: cursor.name().cloned().unwrap_or_else(|| "".into()),
            created,
            last_updated: record.updated,
            status: status.clone(),
            custom_status: record.custom_status.clone(),
            entity_state: None,
        };
        let end = End { start: self.call.start, state, next_event_id: cursor.next_event_id() };
        self.hub.publish_end(&self.connection, &self.call.workspace, &end).await;
        let completion = Completion {
            instance: self.instance.clone(),
            created,
            last_updated: record.updated,
            status,
            ledger,
        };
        self.hub.measure.ended(self.call.start, completion);
        let workspace = self.hub.workspace(&self.call.workspace);
        self.hub.notify(self.hub.host(self.place), Notice::Removed(workspace));
    }

    /// Another attempt at this run has registered its trigger: does again what that one has decided.
    async fn repeat(
        &self,
        own: WorkItemId,
        trigger: &Trigger,
        stream: &[(Event, Position)],
    ) -> Option<Bytes> {
        let hub = &self.hub;
        hub.counters.coordinator_repetitions.count();
        let found = self.registered(trigger).await?;
        let is_last = found.role == Role::Wake;
        let (next, answer) = if is_last {
            (Record::of(&found), Some(encode(&found)))
        } else {
            // A worker has found the trigger, and other runs have followed: that does not say whether all was
            // done that this one decided.
            (self.latest().await?, None)
        };
        let run = if is_last { next.last_run() } else { next.run_after(&self.call.record) };
        // The registration may have been this attempt's own, asked for twice.
        if run.as_ref().is_none_or(|(item, _, _)| *item != own) {
            hub.measure.given_up(own);
        }
        let Some((item, now, upto)) = run else { return answer };
        hub.measure.committed(item);
        let until: Vec<(Event, Position)> =
            stream.iter().filter(|(_, position)| *position <= upto).cloned().collect();
        let mut reading = self.call.record.read(&until, hub.rules.dedup);
        let mut cursor =
            self.call.record.replay(&hub.application, &self.instance, &mut reading, BACKEND);
        let messages = reading.fresh;
        // Nothing is left of what it consumed: it was done with.
        if !messages.is_empty() && (cursor.has_started() || starts(&messages)) {
            let ledger = critical_ledger(&messages);
            let execution = Default::default();
            let backend = BACKEND;
            let input = StepInput { work_item: item, now, ledger, execution, messages, backend };
            let outcome = cursor.step(input);
            self.act(&outcome).await;
            // Runs that found nothing may have followed the one that ended the workflow.
            if next.last_run().is_some_and(|(last, _, _)| last == item) {
                self.finish(&cursor, &next, ledger).await;
            }
        }
        answer
    }

    /// The record of the last run so far.
    async fn latest(&self) -> Option<Record> {
        let key = self.call.workspace.triggers();
        let stored = self.connection.all::<Trigger>(&key).await;
        let stored = self.connection.sure(stored).into_iter();
        let wakes = stored.filter(|(_, stored)| stored.role == Role::Wake);
        wakes.map(|(_, stored)| Record::of(&stored)).max_by_key(|record| record.number)
    }

    /// There is nothing for the code to take: registers the trigger again.
    async fn nothing_new(&self, reading: &Reading) -> Option<Bytes> {
        self.hub.counters.coordinator_idle_runs.count();
        let next = self.call.record.skipped(reading.upto);
        let item = next.last_run().map_or(WorkItemId(0), |(item, _, _)| item);
        let trigger = next.trigger(self.name(&next, item));
        if self.hub.rules.is_v4() {
            if !self.register(&trigger).await {
                let winner = self.registered(&trigger).await;
                return winner.filter(|found| found.role == Role::Wake).map(|found| encode(&found));
            }
        } else {
            self.register_anyway(&trigger, &next).await;
        }
        Some(encode(&trigger))
    }

    /// Deletes the events of former executions.
    async fn truncate(&self, stream: &[(Event, Position)], upto: Position) {
        let positions: Vec<Position> =
            stream.iter().map(|(_, position)| *position).filter(|at| *at <= upto).collect();
        self.connection.delete_events(self.call.workspace.stream(), positions).await;
    }
}

/// The instant that the code saw.
fn outcome_time(outcome: &StepOutcome, now: Timestamp) -> Timestamp {
    outcome.new_events.first().map_or(now, |event| event.timestamp)
}
