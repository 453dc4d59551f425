//! A graph of tasks as triggers: one for each task, and one for the end.
//!
//! A task's trigger is activated by the success of each upstream task, and fires when it has counted as
//! many events from each as that task has calls. The number of calls of a map is not known before its
//! action has made them: it is then written into the contexts downstream (-1 before). Source:
//! triggerflow/triggerflow@e1f9f6d, `dags/dagrun.py`, `conditions/default.py` (DAG_TASK_JOIN),
//! `actions/default.py`.
//!
//! **Failures.** The published triggers know success only: a workflow with a failed task never ends.
//! Here the end is also activated by failures; after one it fires when everything that was begun has
//! ended, and the workflow fails as the model says.

use crate::event::{Event, Frame, INIT, Kind, TaskCall};
use crate::table::Triggers;
use crate::trigger::{Activation, Effects, Role, Trigger};
use sim_model::application::ApplicationResult;
use sim_model::id::{InstanceId, MessageId, Producer, WorkItemId};
use sim_model::ledger::Ledger;
use sim_model::message::TaskMessage;
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::workflow::{Calls, Dag};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// The trigger that ends a graph. Source: `dags/dagrun.py`.
pub(crate) const END: &str = "__end__";

/// A graph, prepared.
pub(crate) struct DagLogic {
    dag: Rc<Dag>,
    /// For each task, those that wait for it.
    downstream: Vec<Vec<usize>>,
    /// For each task, the number of its first call.
    first_call: Vec<u32>,
    /// The tasks by name.
    by_name: BTreeMap<Arc<str>, usize>,
}

impl DagLogic {
    pub(crate) fn new(dag: Rc<Dag>) -> DagLogic {
        let mut downstream = vec![Vec::new(); dag.tasks.len()];
        let mut first_call = Vec::with_capacity(dag.tasks.len());
        let mut calls = 0;
        for (index, task) in dag.tasks.iter().enumerate() {
            task.after.iter().for_each(|upstream| downstream[*upstream].push(index));
            first_call.push(calls);
            calls += inputs(&task.calls).len() as u32;
        }
        let names = dag.tasks.iter().enumerate();
        let by_name = names.map(|(index, task)| (task.name.clone(), index)).collect();
        DagLogic { dag, downstream, first_call, by_name }
    }

    /// The triggers of a run.
    pub(crate) fn triggers(&self) -> Vec<Trigger> {
        let tasks = self.dag.tasks.iter().enumerate();
        let mut all: Vec<Trigger> = tasks
            .map(|(index, task)| {
                let upstream = |index: &usize| {
                    Activation::Of(self.dag.tasks[*index].name.clone(), Kind::Success)
                };
                let activation = match task.after.is_empty() {
                    true => vec![Activation::Of(INIT.into(), Kind::Init)],
                    false => task.after.iter().map(upstream).collect(),
                };
                let role = Role::DagTask(index as u32);
                let mut trigger = Trigger::persistent(task.name.clone(), activation, role);
                self.expect(&mut trigger, &task.after);
                trigger
            })
            .collect();
        let of = |name: &Arc<str>, kind| Activation::Of(name.clone(), kind);
        let mut activation: Vec<Activation> = self
            .dag
            .tasks
            .iter()
            .flat_map(|task| [of(&task.name, Kind::Success), of(&task.name, Kind::Failure)])
            .collect();
        if self.dag.tasks.is_empty() {
            activation.push(Activation::Of(INIT.into(), Kind::Init));
        }
        let mut end = Trigger::persistent(END.into(), activation, Role::DagEnd);
        let leaves: Vec<usize> = self.leaves().collect();
        self.expect(&mut end, &leaves);
        all.push(end);
        all
    }

    fn leaves(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.dag.tasks.len()).filter(|task| self.downstream[*task].is_empty())
    }

    fn expect(&self, trigger: &mut Trigger, upstream: &[usize]) {
        for task in upstream {
            let expected = match &self.dag.tasks[*task].calls {
                Calls::One(_) => 1,
                Calls::Map(_) => -1,
            };
            trigger.context.expected.insert(*task as u32, expected);
        }
    }

    /// The condition of a task.
    pub(crate) fn task_ready(&self, triggers: &mut Triggers, id: &str, event: &Event) -> bool {
        if event.kind == Kind::Init {
            return true;
        }
        self.count(triggers, id, event);
        complete(triggers, id)
    }

    /// Takes an event of an upstream task in.
    fn count(&self, triggers: &mut Triggers, id: &str, event: &Event) {
        let Some(upstream) = self.by_name.get(&event.subject) else { return };
        let context = triggers.change(id);
        *context.arrived.entry(*upstream as u32).or_default() += 1;
        if let (false, Some((call, result))) = (self.is_empty(*upstream), event.result()) {
            context.results.insert(call, result);
        }
    }

    fn is_empty(&self, task: usize) -> bool {
        inputs(&self.dag.tasks[task].calls).is_empty()
    }

    /// The condition of the end.
    pub(crate) fn ended(&self, triggers: &mut Triggers, event: &Event) -> bool {
        if event.kind == Kind::Init {
            return true;
        }
        let Some(task) = self.by_name.get(&event.subject).copied() else { return false };
        match event.kind {
            Kind::Failure => {
                let Some((call, result)) = event.result() else { return false };
                triggers.change(END).results.insert(call, result);
            }
            _ if self.downstream[task].is_empty() => self.count(triggers, END, event),
            _ => {}
        }
        if triggers.context(END).firings > 0 {
            return false;
        }
        if triggers.context(END).results.values().any(Result::is_err) {
            return self.at_rest(triggers);
        }
        let is_leaf = self.downstream[task].is_empty();
        is_leaf && complete(triggers, END)
    }

    /// Whether every task that was begun has ended.
    fn at_rest(&self, triggers: &Triggers) -> bool {
        let results = self.results(triggers);
        let mut begun = (0..self.dag.tasks.len())
            .filter(|task| triggers.context(&self.dag.tasks[*task].name).firings > 0);
        begun.all(|task| self.calls(task).all(|call| results.contains_key(&call)))
    }

    fn calls(&self, task: usize) -> std::ops::Range<u32> {
        let first = self.first_call[task];
        first..first + inputs(&self.dag.tasks[task].calls).len() as u32
    }

    /// All results that any context holds.
    fn results<'a>(&self, triggers: &'a Triggers) -> BTreeMap<u32, &'a ApplicationResult> {
        let contexts = triggers.iter().map(|trigger| &trigger.context);
        contexts.flat_map(|context| &context.results).map(|(call, r)| (*call, r)).collect()
    }

    /// The action of a task: its calls, and how many they are for whoever waits downstream.
    pub(crate) fn call(
        &self,
        triggers: &mut Triggers,
        task: u32,
        instance: &InstanceId,
        (item, first): (WorkItemId, u32),
        ledger: Ledger,
    ) -> Effects {
        let index = task as usize;
        let entry = &self.dag.tasks[index];
        let inputs = inputs(&entry.calls);
        let ids = |number: usize| MessageId {
            producer: Producer::WorkItem(item),
            index: first + number as u32,
        };
        let calls = inputs.iter().enumerate().map(|(number, input)| TaskCall {
            subject: entry.name.clone(),
            frame: Frame::new(),
            task: TaskMessage {
                id: ids(number),
                caller: instance.clone(),
                event_id: self.first_call[index] + number as u32,
                name: entry.activity.clone(),
                input: input.clone(),
                ledger,
            },
        });
        let mut effects = Effects { calls: calls.collect(), ..Effects::default() };
        if inputs.is_empty() {
            // Nothing to wait for: the task has ended.
            let address = (entry.name.clone(), Kind::Success, Frame::new());
            let nothing = Ok(Payload::list([]));
            effects.locals.push(Event::local(ids(0), instance, address, nothing, ledger));
        }
        if let Calls::Map(inputs) = &entry.calls {
            let waiting = self.downstream[index].iter().map(|next| &*self.dag.tasks[*next].name);
            let end = self.downstream[index].is_empty().then_some(END);
            for id in waiting.chain(end) {
                let expected = (inputs.len() as i64).max(1);
                triggers.change(id).expected.insert(task, expected);
            }
        }
        effects
    }

    /// What the workflow came to; `None` if contexts lack results that `more` does not have either.
    pub(crate) fn outcome(
        &self,
        triggers: &Triggers,
        more: &BTreeMap<u32, ApplicationResult>,
    ) -> Option<RuntimeStatus> {
        let held = self.results(triggers);
        let result = |call: u32| held.get(&call).copied().or_else(|| more.get(&call));
        let failed = held.values().any(|result| result.is_err());
        let mut results = Vec::with_capacity(self.dag.tasks.len());
        for (index, task) in self.dag.tasks.iter().enumerate() {
            let mut own = Vec::new();
            for call in self.calls(index) {
                match result(call) {
                    Some(Ok(payload)) => own.push(payload),
                    Some(Err(error)) => return Some(RuntimeStatus::Failed(task.failure(error))),
                    None if failed => {}
                    None => return None,
                }
            }
            results.push(match &task.calls {
                Calls::One(_) => own.first().map(|payload| (*payload).clone())?,
                Calls::Map(_) => Payload::list(own),
            });
        }
        Some(RuntimeStatus::Completed(Payload::list(&results)))
    }
}

fn inputs(calls: &Calls) -> &[Payload] {
    match calls {
        Calls::One(input) => std::slice::from_ref(input),
        Calls::Map(inputs) => inputs,
    }
}

/// Whether as many events came from each upstream task as are awaited.
fn complete(triggers: &Triggers, id: &str) -> bool {
    let context = triggers.context(id);
    let arrived = |upstream| context.arrived.get(upstream).copied().unwrap_or_default();
    context.expected.iter().all(|(upstream, expected)| {
        u64::try_from(*expected).is_ok_and(|expected| expected == arrived(upstream))
    })
}
