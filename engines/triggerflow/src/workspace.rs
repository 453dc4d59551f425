//! The worker of one workspace, as a state machine: events in, firings and what must be stored out.
//!
//! An event activates the triggers that name its subject and kind. Each takes it in: its condition
//! changes its context and says whether it fires. Nothing is stored before something fires. What a
//! firing stores, and in which order, is the discipline's ([`crate::plan`]).
//!
//! **Under v4** an event whose id was consumed is dropped, a context that has taken an event in does so
//! once, and an event that no trigger waits for is set aside. **Under v1 to v3** such an event is looked
//! at again a few times and then lies in a queue that nobody reads. Source: triggerflow.md of the
//! published papers' reading notes and triggerflow/triggerflow@e1f9f6d, `triggerflow/service/worker.py`.
//!
//! A *step* of the model is one firing, over all triggers that one event lets fire. A message counts as
//! consumed by the first step that acknowledges it.

mod waking;

use self::waking::Waking;
use crate::dag::DagLogic;
use crate::event::{Event, EventId, Position};
use crate::joins::JoinsLogic;
use crate::machine::{MachineLogic, Next};
use crate::plan::Rules;
use crate::record::Record;
use crate::table::Triggers;
use crate::trigger::{Activation, Effects, Outbox, Role, Trigger, TriggerId};
use bytes::Bytes;
use rustc_hash::FxHashSet;
use sim_model::application::ApplicationResult;
use sim_model::id::{InstanceId, MessageId, WorkItemId};
use sim_model::ledger::Ledger;
use sim_model::orchestration::RuntimeStatus;
use sim_model::workflow::Workflow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The code that is deployed with a worker, for one workspace.
pub(crate) enum Logic {
    /// A graph of tasks.
    Dag(DagLogic),
    /// A state machine.
    Machine(MachineLogic),
    /// Joins.
    Joins(JoinsLogic),
    /// Workflow as code.
    Code,
    /// Entities.
    Entities,
}

impl Logic {
    /// The code of a workflow that is data, or of one that is code.
    pub(crate) fn of(workflow: Option<&Workflow>) -> Logic {
        match workflow {
            Some(Workflow::Dag(dag)) => Logic::Dag(DagLogic::new(dag.clone())),
            Some(Workflow::Machine(machine)) => Logic::Machine(MachineLogic::new(machine)),
            Some(Workflow::Joins(joins)) => Logic::Joins(JoinsLogic::new(*joins)),
            None => Logic::Code,
        }
    }

    /// Whether the triggers that the code of a workflow that is data refers to are among these.
    pub(crate) fn has_its_own_among(&self, triggers: &[Trigger]) -> bool {
        if matches!(self, Logic::Code | Logic::Entities) {
            return true;
        }
        let there: BTreeMap<&str, &Role> =
            triggers.iter().map(|trigger| (&*trigger.id, &trigger.role)).collect();
        let own = self.triggers(Position::default());
        let mut lasting = own.iter().filter(|trigger| !trigger.transient);
        lasting.all(|own| there.get(&*own.id) == Some(&&own.role))
    }

    /// The triggers of a new workspace, whose events begin after `first`.
    pub(crate) fn triggers(&self, first: Position) -> Vec<Trigger> {
        match self {
            Logic::Dag(dag) => dag.triggers(),
            Logic::Machine(machine) => machine.triggers(),
            Logic::Joins(joins) => joins.triggers(),
            Logic::Code => vec![Record::from(first).trigger(format!("{WAKE}-0").into())],
            Logic::Entities => {
                vec![Trigger::persistent(ENTITIES.into(), vec![Activation::Any], Role::Entities)]
            }
        }
    }
}

/// How the triggers that wake coordinators are named.
pub(crate) const WAKE: &str = "wake";
/// The trigger that inserts triggers for entities.
const ENTITIES: &str = "entities";

/// An event that was taken in and is not acknowledged.
struct Delivery {
    id: EventId,
    position: Option<Position>,
    message: MessageId,
    /// Whether a step has consumed it.
    consumed: bool,
}

/// What became of an event.
pub(crate) enum Taken {
    /// It was consumed before, or by a former run.
    Duplicate,
    /// No trigger fired.
    Held,
    /// Triggers fire.
    Fires(Firing),
    /// Its trigger is known and does not wait at the moment.
    Busy(Event),
    /// No trigger knows it.
    Unknown(Event),
    /// It ends the workflow from outside.
    Terminates(Firing, Arc<str>),
}

/// Triggers that fire for one event.
pub(crate) struct Firing {
    pub(crate) triggers: Vec<TriggerId>,
    pub(crate) event: Event,
    /// The messages that the step consumes.
    pub(crate) messages: Vec<MessageId>,
    /// The time along the message that came last.
    pub(crate) ledger: Ledger,
    /// The events that the triggers took in, and where they are.
    pub(crate) acknowledged: Vec<(EventId, Option<Position>)>,
    next: Option<Next>,
}

/// Something that a former worker has begun and not acknowledged.
pub(crate) struct Recovery {
    pub(crate) trigger: TriggerId,
    pub(crate) item: WorkItemId,
    pub(crate) effects: Effects,
    pub(crate) acknowledged: Vec<(EventId, Option<Position>)>,
}

/// The verdict of a condition.
enum Verdict {
    /// The event means nothing to the trigger.
    Ignored,
    /// It was taken in.
    Counted,
    /// It makes the trigger fire.
    Fires,
}

/// The worker of a workspace.
pub(crate) struct Workspace {
    instance: InstanceId,
    pub(crate) rules: Rules,
    pub(crate) logic: Logic,
    pub(crate) triggers: Triggers,
    /// Ids of events that were taken in, v4.
    seen: FxHashSet<EventId>,
    deliveries: BTreeMap<u64, Delivery>,
    next_delivery: u64,
    /// Events that need no trigger any more and go with the next acknowledgement, v4.
    spent: Vec<(EventId, Option<Position>)>,
    /// Up to where the coordinator has consumed the stream.
    consumed_upto: Position,
    /// What woke coordinators, and no record that came back says that it was consumed, v4.
    waking: Vec<Waking>,
    /// What was taken in again because the record that came back had not consumed it.
    retaken: FxHashSet<EventId>,
    /// Triggers of former runs of the coordinator that are still stored.
    stale: Vec<TriggerId>,
    /// Transient triggers that have fired here. The store may still have them.
    pub(crate) gone: BTreeSet<TriggerId>,
    last_step: Option<WorkItemId>,
}

impl Workspace {
    /// A worker that has read `stored` triggers.
    pub(crate) fn new(
        instance: InstanceId,
        rules: Rules,
        logic: Logic,
        stored: impl IntoIterator<Item = Trigger>,
    ) -> Workspace {
        let mut workspace = Workspace {
            instance,
            rules,
            logic,
            triggers: Triggers::default(),
            seen: FxHashSet::default(),
            deliveries: BTreeMap::new(),
            next_delivery: 0,
            spent: Vec::new(),
            consumed_upto: Position::default(),
            waking: Vec::new(),
            retaken: FxHashSet::default(),
            stale: Vec::new(),
            gone: BTreeSet::new(),
            last_step: None,
        };
        for trigger in stored {
            workspace.install(trigger);
        }
        workspace
    }

    /// Takes a trigger from the store that is not in memory. Whether it is of use: under v4 only the
    /// last trigger of a coordinator is; the others are done with.
    fn install(&mut self, trigger: Trigger) -> bool {
        if trigger.role == Role::Done {
            return false;
        }
        self.last_step = self.last_step.max(trigger.context.last_step);
        if trigger.role == Role::Wake {
            let record = Record::of(&trigger);
            self.consumed_upto = self.consumed_upto.max(record.upto());
            if self.rules.is_v4() {
                let others: Vec<(TriggerId, u32)> =
                    self.wakes().map(|(id, record)| (id.clone(), record.number)).collect();
                if others.iter().any(|(_, number)| *number >= record.number) {
                    self.stale.push(trigger.id);
                    return false;
                }
                for (id, _) in others {
                    self.triggers.remove(&id);
                    self.stale.push(id);
                }
            }
        }
        self.triggers.insert(trigger);
        true
    }

    /// The triggers of coordinators, with their records.
    fn wakes(&self) -> impl Iterator<Item = (&TriggerId, Record)> {
        let wakes = self.triggers.iter().filter(|trigger| trigger.role == Role::Wake);
        wakes.map(|trigger| (&trigger.id, Record::of(trigger)))
    }

    /// Triggers of coordinators that are done with.
    pub(crate) fn take_stale(&mut self) -> Vec<TriggerId> {
        std::mem::take(&mut self.stale)
    }

    /// Looks at the stored triggers again, for an event that no trigger knows. Whether one was found.
    pub(crate) fn discover(&mut self, stored: impl IntoIterator<Item = Trigger>) -> bool {
        let mut found = false;
        for trigger in stored {
            let is_new = !self.triggers.contains(&trigger.id) && !self.stale.contains(&trigger.id);
            if is_new && !self.gone.contains(&trigger.id) {
                found |= self.install(trigger);
            }
        }
        found
    }

    /// The record in the context of a coordinator's trigger.
    pub(crate) fn record(&self, id: &str) -> Record {
        Record::of(&self.triggers.entry(id).trigger)
    }

    /// How the workflow ended, if a former worker or the coordinator has seen to that.
    pub(crate) fn ended(&self) -> Option<RuntimeStatus> {
        self.wakes().find_map(|(_, record)| record.ended)
    }

    /// The last step, as far as the loaded contexts know.
    pub(crate) fn last_step(&self) -> Option<WorkItemId> {
        self.last_step
    }

    /// Notes an event that was acknowledged before this worker started.
    pub(crate) fn note_acknowledged(&mut self, event: &Event) {
        if self.rules.dedup {
            self.seen.insert(event.id);
        }
        if let Logic::Joins(joins) = &self.logic {
            joins.acknowledged(event);
        }
    }

    /// What former workers began: to be done again before anything else. `entries` are all events that
    /// are not acknowledged; those that belong to what is recovered are not to be taken in.
    pub(crate) fn recover(&mut self, entries: &[(Event, Position)]) -> Vec<Recovery> {
        let mut recovered = Vec::new();
        for entry in self.triggers.entries_mut() {
            let Some(outbox) = &mut entry.trigger.context.outbox else { continue };
            let belongs = |(event, position): &(Event, Position)| {
                outbox.consumed.contains(&event.id).then_some((event.id, Some(*position)))
            };
            let acknowledged: Vec<_> = entries.iter().filter_map(belongs).collect();
            if acknowledged.is_empty() {
                entry.trigger.context.outbox = None;
                continue;
            }
            let is_open = |id: &EventId| acknowledged.iter().any(|(open, _)| open == id);
            outbox.consumed.retain(is_open);
            let (item, effects) = (outbox.item, outbox.effects.clone());
            let trigger = entry.trigger.id.clone();
            recovered.push(Recovery { trigger, item, effects, acknowledged });
        }
        let ids = recovered.iter().flat_map(|recovery| &recovery.acknowledged);
        self.seen.extend(ids.map(|(id, _)| *id));
        recovered
    }

    /// Leaves out an event that was for a former run.
    pub(crate) fn drop_event(&mut self, event: &Event, position: Option<Position>) -> Taken {
        self.spent.push((event.id, position));
        Taken::Duplicate
    }

    /// Takes an event in.
    pub(crate) fn take(&mut self, event: Event, position: Option<Position>) -> Taken {
        if self.rules.dedup && self.seen.contains(&event.id) {
            self.spent.push((event.id, position));
            return Taken::Duplicate;
        }
        let is_data = !matches!(self.logic, Logic::Code | Logic::Entities);
        if let Some(reason) = event.terminates().filter(|_| is_data).cloned() {
            let delivery = self.deliver(&event, position);
            let firing = self.firing(Vec::new(), &[delivery], event, None);
            return Taken::Terminates(firing, reason);
        }
        if self.was_consumed(position) {
            self.accept(&event);
            self.spent.push((event.id, position));
            return Taken::Held;
        }
        let ids = self.activated(&event);
        if ids.is_empty() {
            return if self.is_busy() { Taken::Busy(event) } else { Taken::Unknown(event) };
        }
        self.accept(&event);
        let next = match &self.logic {
            Logic::Machine(machine) => machine.next(&self.triggers, &event),
            _ => None,
        };
        let delivery = self.deliver(&event, position);
        let mut fired = Vec::new();
        let mut is_held = false;
        for id in ids {
            match self.offer(&id, &event, next.as_ref()) {
                Verdict::Ignored => continue,
                Verdict::Counted => {}
                Verdict::Fires => fired.push(id.clone()),
            }
            is_held = true;
            let entry = self.triggers.entry_mut(&id);
            entry.held.push(delivery);
            let ledger = &event.message.ledger;
            entry.ledger = Some(*entry.ledger.as_ref().map_or(ledger, |own| own.later(ledger)));
        }
        if !is_held {
            self.deliveries.remove(&delivery);
            self.spent.push((event.id, position));
        }
        if fired.is_empty() {
            return Taken::Held;
        }
        let held: Vec<u64> = fired
            .iter()
            .flat_map(|id| std::mem::take(&mut self.triggers.entry_mut(id).held))
            .collect();
        Taken::Fires(self.firing(fired, &held, event, next))
    }

    fn accept(&mut self, event: &Event) {
        if self.rules.dedup {
            self.seen.insert(event.id);
        }
    }

    /// Whether the coordinator has read and consumed what lies there.
    fn was_consumed(&self, position: Option<Position>) -> bool {
        let is_code = matches!(self.logic, Logic::Code);
        is_code && self.rules.applied_ids && position.is_some_and(|at| at <= self.consumed_upto)
    }

    fn deliver(&mut self, event: &Event, position: Option<Position>) -> u64 {
        let number = self.next_delivery;
        self.next_delivery += 1;
        let (id, message) = (event.id, event.message.id);
        self.deliveries.insert(number, Delivery { id, position, message, consumed: false });
        number
    }

    /// The triggers that an event activates. A message for an entity without a trigger inserts one.
    fn activated(&mut self, event: &Event) -> Vec<TriggerId> {
        let ids = self.triggers.activated(event);
        let inserts = |id: &TriggerId| self.triggers.entry(id).trigger.role == Role::Entities;
        if !ids.iter().any(inserts) {
            return ids;
        }
        let activation = vec![Activation::Of(event.subject.clone(), event.kind)];
        let mut trigger = Trigger::persistent(event.subject.clone(), activation, Role::Entity);
        trigger.context.last_step = None;
        self.triggers.insert(trigger);
        vec![event.subject.clone()]
    }

    /// Evaluates a condition.
    fn offer(&mut self, id: &TriggerId, event: &Event, next: Option<&Next>) -> Verdict {
        if self.rules.applied_ids && self.triggers.context(id).applied.contains(&event.id) {
            return Verdict::Counted;
        }
        let was_dirty = std::mem::take(&mut self.triggers.entry_mut(id).dirty);
        let role = self.triggers.entry(id).trigger.role;
        let triggers = &mut self.triggers;
        let fires = match (&self.logic, role) {
            (Logic::Dag(dag), Role::DagTask(_)) => dag.task_ready(triggers, id, event),
            (Logic::Dag(dag), Role::DagEnd) => dag.ended(triggers, event),
            (Logic::Joins(joins), Role::Join(_)) => joins.ready(triggers, id),
            (Logic::Machine(machine), _) => {
                next.is_some_and(|next| machine.ready(triggers, id, next))
            }
            _ => true,
        };
        let entry = self.triggers.entry_mut(id);
        let is_changed = entry.dirty;
        entry.dirty |= was_dirty;
        if !fires && !is_changed {
            return Verdict::Ignored;
        }
        if self.rules.applied_ids && role != Role::Wake {
            self.triggers.change(id).applied.insert(event.id);
        }
        if fires { Verdict::Fires } else { Verdict::Counted }
    }

    fn firing(
        &mut self,
        triggers: Vec<TriggerId>,
        held: &[u64],
        event: Event,
        next: Option<Next>,
    ) -> Firing {
        let mut ledger = event.message.ledger;
        for id in &triggers {
            let entry = self.triggers.entry_mut(id);
            ledger = entry.ledger.take().map_or(ledger, |own| *ledger.later(&own));
        }
        let mut firing = Firing {
            triggers,
            messages: Vec::new(),
            ledger,
            acknowledged: Vec::new(),
            event,
            next,
        };
        for number in held {
            // Two triggers that fire for one event have both taken it in.
            let Some(mut delivery) = self.deliveries.remove(number) else { continue };
            firing.acknowledged.push((delivery.id, delivery.position));
            if !std::mem::replace(&mut delivery.consumed, true) {
                firing.messages.push(delivery.message);
            }
        }
        firing
    }

    /// Runs the actions of a firing, up to what they do outside: contexts change, and the effects are
    /// returned. `item` is the step.
    pub(crate) fn act(&mut self, firing: &mut Firing, item: WorkItemId, ledger: Ledger) -> Effects {
        let mut all = Effects::default();
        let next = firing.next.take();
        let mut next = next.into_iter();
        for id in firing.triggers.clone() {
            let role = self.triggers.entry(&id).trigger.role;
            let from = (item, all.produced());
            let context = self.triggers.change(&id);
            context.firings += 1;
            context.last_step = Some(item);
            let effects = match (&self.logic, role) {
                (Logic::Dag(dag), Role::DagTask(task)) => {
                    dag.call(&mut self.triggers, task, &self.instance, from, ledger)
                }
                (Logic::Dag(dag), _) => {
                    let ended = dag.outcome(&self.triggers, &BTreeMap::new());
                    Effects { ended, ..Effects::default() }
                }
                (Logic::Joins(joins), _) => joins.fired(&self.triggers),
                (Logic::Machine(machine), _) => {
                    let next = next.next().expect("invariant: one trigger follows an event");
                    machine.fire(&mut self.triggers, &id, next, &self.instance, from, ledger)
                }
                (Logic::Code | Logic::Entities, _) => Effects::default(),
            };
            all.calls.extend(effects.calls);
            all.locals.extend(effects.locals);
            all.ended = all.ended.or(effects.ended);
        }
        self.last_step = Some(item);
        all
    }

    /// Whether the end of a graph has fired and no context says what it came to.
    pub(crate) fn lacks_results(&self, firing: &Firing, effects: &Effects) -> bool {
        let is_end = |id: &TriggerId| self.triggers.entry(id).trigger.role == Role::DagEnd;
        effects.ended.is_none() && firing.triggers.iter().any(is_end)
    }

    /// What a graph came to, with results that were read from its stream.
    pub(crate) fn outcome(&self, stream: &[Event]) -> Option<RuntimeStatus> {
        let Logic::Dag(dag) = &self.logic else { return None };
        let results: BTreeMap<u32, ApplicationResult> =
            stream.iter().filter_map(Event::result).collect();
        dag.outcome(&self.triggers, &results)
    }

    /// The effects of a workflow's end from outside.
    pub(crate) fn terminated(&mut self, reason: Arc<str>, item: WorkItemId) -> Effects {
        self.last_step = Some(item);
        Effects { ended: Some(RuntimeStatus::Terminated(reason)), ..Effects::default() }
    }

    /// Takes over what a step of an entity has left.
    pub(crate) fn entity_stepped(&mut self, id: &str, state: Option<Bytes>, item: WorkItemId) {
        let context = self.triggers.change(id);
        context.value = state;
        context.firings += 1;
        context.last_step = Some(item);
    }

    /// Leaves what a firing has to do in the context of its first trigger, v4.
    pub(crate) fn leave_outbox(&mut self, firing: &Firing, item: WorkItemId, effects: &Effects) {
        let Some(primary) = firing.triggers.first().filter(|_| self.rules.ordered_commit) else {
            return;
        };
        let mut consumed: Vec<EventId> = firing.acknowledged.iter().map(|(id, _)| *id).collect();
        let effects = effects.clone();
        let outbox = &mut self.triggers.change(primary).outbox;
        // All of a former firing is done, but its events may not be acknowledged: nobody is to take them again.
        let former = outbox.take().map(|former| former.consumed).unwrap_or_default();
        consumed.extend(former);
        *outbox = Some(Outbox { item, consumed, effects });
    }

    /// How many events were taken in that no firing has consumed.
    pub(crate) fn held(&self) -> usize {
        self.deliveries.len()
    }

    /// Events that can be acknowledged without a firing.
    pub(crate) fn spent(&mut self) -> Vec<(EventId, Option<Position>)> {
        std::mem::take(&mut self.spent)
    }

    /// Whether anybody may still need this worker's memory: a coordinator that runs.
    pub(crate) fn is_busy(&self) -> bool {
        self.triggers.entries().any(|entry| !entry.enabled)
    }
}
