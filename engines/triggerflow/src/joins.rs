//! Joins of events as triggers: one for each, which counts and fires when it has had enough.
//!
//! The condition is the published JOIN: the counter has *reached* the number (`>=`), and a trigger that
//! has fired stays. So an event that is delivered again after a join has fired lets it fire again.
//! Source: triggerflow/triggerflow@e1f9f6d, `conditions/default.py`, `tests/ingestion-test`.
//!
//! The published test has no end. Here the workflow ends when every join has fired. What the list of
//! acknowledged events says about joins that fired before a restart is used for that
//! ([`JoinsLogic::acknowledged`]); it changes no counter.

use crate::event::{Event, Kind};
use crate::table::Triggers;
use crate::trigger::{Activation, Effects, Role, Trigger};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::workflow::Joins;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Joins, prepared.
pub(crate) struct JoinsLogic {
    joins: Joins,
    /// Acknowledged events of former workers, by subject.
    acknowledged: RefCell<BTreeMap<Arc<str>, u32>>,
}

impl JoinsLogic {
    pub(crate) fn new(joins: Joins) -> JoinsLogic {
        JoinsLogic { joins, acknowledged: RefCell::default() }
    }

    /// The triggers of a run.
    pub(crate) fn triggers(&self) -> Vec<Trigger> {
        let trigger = |number: u32| {
            let subject: Arc<str> = number.to_string().into();
            let activation = vec![Activation::Of(subject, Kind::Signal)];
            let mut trigger = Trigger::persistent(
                format!("join-{number}").into(),
                activation,
                Role::Join(number),
            );
            trigger.context.expected.insert(0, i64::from(self.joins.events));
            trigger
        };
        (0..self.joins.joins).map(trigger).collect()
    }

    /// The condition.
    pub(crate) fn ready(&self, triggers: &mut Triggers, id: &str) -> bool {
        let context = triggers.change(id);
        let arrived = context.arrived.entry(0).or_default();
        *arrived += 1;
        *arrived >= u64::from(self.joins.events)
    }

    /// Notes an event that was acknowledged before the worker started.
    pub(crate) fn acknowledged(&self, event: &Event) {
        *self.acknowledged.borrow_mut().entry(event.subject.clone()).or_default() += 1;
    }

    /// The action: the last join ends the workflow.
    pub(crate) fn fired(&self, triggers: &Triggers) -> Effects {
        let acknowledged = self.acknowledged.borrow();
        let fired = |trigger: &Trigger| {
            let Role::Join(number) = trigger.role else { return true };
            let before = acknowledged.get(&*number.to_string()).copied().unwrap_or_default();
            trigger.context.firings > 0 || before >= self.joins.events
        };
        let ended = triggers.iter().all(fired).then(|| {
            let result = Payload::encode(&self.joins.joins);
            RuntimeStatus::Completed(result.expect("invariant: a number has a JSON form"))
        });
        Effects { ended, ..Effects::default() }
    }
}
