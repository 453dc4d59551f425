//! What a worker does when triggers fire: steps, their plans, and their effects.

use super::{Input, Job, Worker};
use crate::api::{self, End};
use crate::event::Event;
use crate::faas;
use crate::hub::Notice;
use crate::plan::{Phase, Plan};
use crate::trigger::{Effects, TriggerId};
use crate::workspace::{Firing, Recovery};
use serde::{Deserialize, Serialize};
use sim_model::codec::{decode, encode};
use sim_model::cursor::Cursor;
use sim_model::engine::{Completion, InstanceState};
use sim_model::error::ApplicationError;
use sim_model::history::{EventKind, HistoryEvent};
use sim_model::id::{InstanceId, MessageId, Producer, WorkItemId};
use sim_model::ledger::{Category, Ledger};
use sim_model::message::InstanceMessage;
use sim_model::orchestration::RuntimeStatus;
use sim_model::step::StepOutcome;
use std::sync::Arc;

/// The state of an entity in the context of its trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntityValue {
    pub(crate) history: Vec<HistoryEvent>,
    pub(crate) state: InstanceState,
}

impl Worker {
    /// Triggers of a workflow that is data fire: a step of its instance.
    pub(super) async fn fire_workflow(&mut self, mut firing: Firing) {
        let (item, ledger) = self.fetch(&mut firing);
        let mut effects = self.workspace.act(&mut firing, item, ledger);
        if self.workspace.lacks_results(&firing, &effects) {
            // A former worker had them in memory.
            let entries = self.connection.read(self.name.stream(), self.globals.first).await;
            let events: Vec<Event> =
                entries.iter().filter_map(|(_, body)| self.connection.decoded(body)).collect();
            effects.ended = self.workspace.outcome(&events);
        }
        self.finish_step(firing, item, effects, ledger).await;
    }

    /// The workflow is ended from outside.
    pub(super) async fn terminate(&mut self, mut firing: Firing, reason: Arc<str>) {
        let (item, ledger) = self.fetch(&mut firing);
        let effects = self.workspace.terminated(reason, item);
        self.finish_step(firing, item, effects, ledger).await;
    }

    fn fetch(&mut self, firing: &mut Firing) -> (WorkItemId, Ledger) {
        let now = self.hub.now();
        let mut ledger = firing.ledger;
        ledger.charge(Category::Queueing.because("waited for the worker to fire its trigger"), now);
        let graph = self.hub.observer.graph();
        let predecessor = self.workspace.last_step();
        let messages = firing.messages.iter().copied();
        (graph.fetch_step(&self.instance, predecessor, messages, now), ledger)
    }

    async fn finish_step(
        &mut self,
        firing: Firing,
        item: WorkItemId,
        mut effects: Effects,
        ledger: Ledger,
    ) {
        self.answer_parent(item, &mut effects, ledger);
        self.hub.observer.graph().executed_step(item, &outcome(&effects));
        for local in &effects.locals {
            self.hub.measure.sent(&self.instance, local.message.id);
        }
        self.workspace.leave_outbox(&firing, item, &effects);
        let plan = Plan::of(&mut self.workspace, &firing);
        self.carry_out(plan, item, effects, ledger).await;
    }

    /// A workflow that another one started answers it.
    fn answer_parent(&self, item: WorkItemId, effects: &mut Effects, ledger: Ledger) {
        let (Some(status), Some(parent)) = (&effects.ended, self.globals.parent.as_deref()) else {
            return;
        };
        let task_scheduled_id = parent.event_id;
        let failed = |error| EventKind::SubOrchestrationInstanceFailed { task_scheduled_id, error };
        let kind = match status.clone() {
            RuntimeStatus::Completed(result) => {
                EventKind::SubOrchestrationInstanceCompleted { task_scheduled_id, result }
            }
            RuntimeStatus::Failed(error) => failed(error),
            RuntimeStatus::Terminated(reason) => {
                failed(ApplicationError::user(format!("terminated: {reason}")))
            }
            RuntimeStatus::Running | RuntimeStatus::Suspended => {
                unreachable!("invariant: an end is final")
            }
        };
        let mut time = parent.ledger;
        let why = Category::Application.because("waited for the workflow it had called");
        time.charge_other(&ledger, why);
        let id = MessageId { producer: Producer::WorkItem(item), index: effects.produced() };
        let event = HistoryEvent { timestamp: ledger.at(), kind };
        let target = parent.instance.clone();
        effects.messages.push(InstanceMessage { id, target, event, ledger: time });
    }

    /// Carries a plan out: what comes first here, the rest behind.
    async fn carry_out(&mut self, plan: Plan, item: WorkItemId, effects: Effects, ledger: Ledger) {
        let mut effects = Some(effects);
        let side = self.committer_side();
        for phase in plan.main_loop {
            match phase {
                Phase::Act => {
                    let effects = effects.take().expect("invariant: a plan acts once");
                    self.whereabouts.acts();
                    self.perform(effects, ledger).await;
                }
                other => {
                    self.whereabouts.writes();
                    side.carry_out(other, Some(item)).await;
                }
            }
        }
        self.whereabouts.acted();
        self.committer.send(Job { phases: plan.committer, item: Some(item) });
    }

    /// Does what actions do outside.
    async fn perform(&mut self, effects: Effects, ledger: Ledger) {
        let (hub, connection) = (self.hub.clone(), self.connection.clone());
        let host = self.host().clone();
        let Effects { calls, locals, messages, timers, ended } = effects;
        faas::invoke_all(&hub, &host, self.name.stream(), calls).await;
        for local in locals {
            if self.workspace.rules.broker_local_events {
                connection.sure(connection.append(self.name.stream(), encode(&local)).await);
            } else {
                self.input.0.send(Input::Local(local));
            }
        }
        connection.sure(api::send_all(&hub, &host, &connection, messages).await);
        for timer in &timers {
            connection.sure(api::send_later(&hub, &connection, timer).await);
        }
        if let Some(status) = ended {
            self.end(status, ledger).await;
        }
    }

    /// The workflow has ended: tells whoever waits, and gives the workspace's worker up.
    async fn end(&mut self, status: RuntimeStatus, ledger: Ledger) {
        let created = self.globals.created;
        let last_updated = ledger.at();
        let state = InstanceState {
            name: self.globals.workflow.clone().unwrap_or_else(|| "".into()),
            created,
            last_updated,
            status: status.clone(),
            custom_status: None,
            entity_state: None,
        };
        let end = End { start: self.globals.start, state, next_event_id: 0 };
        self.hub.publish_end(&self.connection, &self.name, &end).await;
        let instance = self.instance.clone();
        let completion = Completion { instance, created, last_updated, status, ledger };
        self.hub.measure.ended(self.globals.start, completion);
        self.hub.notify(self.host(), Notice::Removed(self.number));
        self.ended = true;
    }

    /// Does again what a former worker has begun.
    pub(super) async fn recover(&mut self, recovery: Recovery) {
        let Recovery { trigger, item, effects, acknowledged } = recovery;
        self.hub.measure.committed(item);
        let mut ledger = Ledger::new(self.globals.created);
        let why = Category::Retries.because("done again by the next worker");
        ledger.charge(why, self.hub.now());
        self.perform(effects, ledger).await;
        self.whereabouts.acted();
        let ids = acknowledged.iter().map(|(id, _)| *id).collect();
        let forget = Phase::Acknowledged(vec![trigger], ids);
        let phases = vec![Phase::Acknowledge(acknowledged), forget];
        self.committer.send(Job { phases, item: Some(item) });
    }

    /// The trigger of an entity fires: a step of the entity, here in the worker.
    pub(super) async fn step_entity(&mut self, firing: Firing) {
        let id = firing.triggers[0].clone();
        let instance = InstanceId::new(id.clone());
        let message = firing.event.message.clone();
        if matches!(message.event.kind, EventKind::ExecutionTerminated { .. }) {
            return self.remove_entity(&firing, &id, &instance).await;
        }
        let (mut cursor, replayed) = self.entity(&id, &instance);
        let graph = self.hub.observer.graph();
        let now = self.hub.now();
        let messages = firing.messages.iter().copied();
        let item = graph.fetch_step(&instance, cursor.last_step(), messages, now);
        let mut ledger = message.ledger;
        let mut state = self.entity_state(&id, &message);
        let outcome =
            self.functions().step(&mut cursor, replayed, item, &mut ledger, vec![message]).await;
        graph.executed_step(item, &outcome);
        state.update(&outcome, now);
        let effects =
            Effects { messages: outcome.messages, timers: outcome.timers, ..Effects::default() };
        let value = EntityValue { history: outcome.new_events, state };
        let value = (!outcome.deleted).then(|| encode(&value));
        self.workspace.entity_stepped(&id, value, item);
        self.workspace.leave_outbox(&firing, item, &effects);
        let mut plan = Plan::of(&mut self.workspace, &firing);
        if outcome.deleted {
            // The trigger goes once nothing is left to do for it.
            let after = std::mem::take(&mut plan.committer);
            self.carry_out(plan, item, effects, ledger).await;
            self.remove_trigger(after, item, &id).await;
        } else {
            self.cursors.insert(id, cursor);
            self.carry_out(plan, item, effects, ledger).await;
        }
    }

    /// An entity in memory, and how many events its code was fed again.
    fn entity(&mut self, id: &TriggerId, instance: &InstanceId) -> (Cursor, usize) {
        if let Some(cursor) = self.cursors.remove(id) {
            return (cursor, 0);
        }
        let application = self.hub.application.clone();
        match self.entity_value(id) {
            None => (Cursor::new(application, instance.clone()), 0),
            Some(value) => {
                let cursor = Cursor::replay(application, instance.clone(), &value.history);
                (cursor, value.history.len())
            }
        }
    }

    fn entity_value(&self, id: &TriggerId) -> Option<EntityValue> {
        let value = self.workspace.triggers.context(id).value.as_ref()?;
        Some(decode(value).expect("invariant: only whole triggers are read"))
    }

    fn entity_state(&self, id: &TriggerId, message: &InstanceMessage) -> InstanceState {
        let known = self.entity_value(id).map(|value| value.state);
        known.unwrap_or_else(|| InstanceState::of_message(message))
    }

    async fn remove_trigger(&mut self, phases: Vec<Phase>, item: WorkItemId, id: &TriggerId) {
        let side = self.committer_side();
        for phase in phases {
            side.carry_out(phase, Some(item)).await;
        }
        side.carry_out(Phase::RemoveTriggers(vec![id.clone()]), None).await;
        self.cursors.remove(id);
        self.workspace.triggers.remove(id);
    }

    /// A client removes an entity.
    async fn remove_entity(&mut self, firing: &Firing, id: &TriggerId, instance: &InstanceId) {
        let existed = self.entity_value(id).is_some() || self.cursors.contains_key(id);
        let side = self.committer_side();
        let triggers = vec![id.clone()];
        side.carry_out(Phase::RemoveTriggers(triggers), None).await;
        side.carry_out(Phase::Acknowledge(firing.acknowledged.clone()), None).await;
        self.cursors.remove(id);
        self.workspace.triggers.remove(id);
        if existed {
            self.hub.observer.graph().removed(instance);
        }
    }
}

/// Effects as the outcome of a step, for the record of work items.
fn outcome(effects: &Effects) -> StepOutcome {
    let locals = effects.locals.iter().map(|event| event.message.clone());
    StepOutcome {
        tasks: effects.calls.iter().map(|call| call.task.clone()).collect(),
        messages: locals.chain(effects.messages.iter().cloned()).collect(),
        timers: effects.timers.clone(),
        ..StepOutcome::without_effects(effects.ended.clone().unwrap_or(RuntimeStatus::Running))
    }
}
