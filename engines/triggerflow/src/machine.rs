//! A state machine as triggers: one for each state that does something, one for the end of the machines
//! within a state, and one for the end of all.
//!
//! A state ends with an event of its own name; the trigger of the state after it is activated. A choice
//! is part of the conditions of the states it leads to, and has no trigger. A state that holds machines
//! starts each with an event of its own, and a trigger counts their ends. Pass, Map, Parallel and the end
//! of a machine send events to the workspace itself: *local* events. Source:
//! triggerflow/triggerflow@e1f9f6d, `statemachine.py`, `asf_actions.py`.
//!
//! **Beyond the published form.** Machines within a state may run side by side any number of times, so
//! contexts are kept by frame (which iteration, which branch). Errors end a machine as the model says.

use crate::event::{Event, Frame, INIT, Kind, TaskCall};
use crate::table::Triggers;
use crate::trigger::{Activation, Effects, FrameState, Role, Trigger, TriggerId};
use sim_model::application::{ApplicationError, ApplicationResult};
use sim_model::id::{InstanceId, MessageId, Producer, WorkItemId};
use sim_model::ledger::Ledger;
use sim_model::message::TaskMessage;
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::workflow::{STATES_ENTERED_MAX, State, StateMachine};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The trigger that ends a machine.
const END: &str = "__end__";

/// A state, with its place.
struct Node {
    /// Its name and those of the states around it: the subject of its events.
    path: Arc<str>,
    /// The machine that it belongs to.
    machine: usize,
    state: State,
    /// The machines within it.
    inner: Vec<usize>,
}

/// A machine, with its place.
struct Machine {
    /// The subject of the event that starts it.
    subject: Arc<str>,
    /// The state that it is within.
    parent: Option<usize>,
    start: Arc<str>,
    by_name: BTreeMap<Arc<str>, usize>,
}

/// A state machine, prepared.
pub(crate) struct MachineLogic {
    nodes: Vec<Node>,
    machines: Vec<Machine>,
    /// States by the subject of their events.
    ended: BTreeMap<Arc<str>, usize>,
    /// Machines by the subject of the event that starts them.
    begun: BTreeMap<Arc<str>, usize>,
}

/// What follows from an event.
pub(crate) enum Next {
    /// A state is entered.
    Enter { node: usize, frame: Frame, input: Payload, entered: u32 },
    /// A machine has ended.
    End { machine: usize, frame: Frame, result: ApplicationResult },
}

impl MachineLogic {
    pub(crate) fn new(machine: &StateMachine) -> MachineLogic {
        let mut logic = MachineLogic {
            nodes: Vec::new(),
            machines: Vec::new(),
            ended: BTreeMap::new(),
            begun: BTreeMap::new(),
        };
        logic.add(machine, INIT.into(), "", None);
        logic
    }

    fn add(
        &mut self,
        machine: &StateMachine,
        subject: Arc<str>,
        prefix: &str,
        parent: Option<usize>,
    ) -> usize {
        let index = self.machines.len();
        self.begun.insert(subject.clone(), index);
        let start = machine.start.clone();
        self.machines.push(Machine { subject, parent, start, by_name: BTreeMap::new() });
        for (name, state) in &machine.states {
            let path: Arc<str> = format!("{prefix}{name}").into();
            let node = self.nodes.len();
            self.nodes.push(Node {
                path: path.clone(),
                machine: index,
                state: state.clone(),
                inner: Vec::new(),
            });
            self.machines[index].by_name.insert(name.clone(), node);
            self.ended.insert(path.clone(), node);
            let bodies: Vec<&StateMachine> = match state {
                State::Map { body, .. } => vec![&**body],
                State::Parallel { branches, .. } => branches.iter().map(|b| &**b).collect(),
                _ => Vec::new(),
            };
            for (number, body) in bodies.into_iter().enumerate() {
                let subject = format!("{path}>{number}").into();
                let inner = self.add(body, subject, &format!("{path}>{number}/"), Some(node));
                self.nodes[node].inner.push(inner);
            }
        }
        index
    }

    /// The triggers of a run.
    pub(crate) fn triggers(&self) -> Vec<Trigger> {
        let mut activations: BTreeMap<TriggerId, (Role, Vec<Activation>)> = BTreeMap::new();
        let mut on = |(id, role): (TriggerId, Role), subject: &Arc<str>, kind| {
            let entry = activations.entry(id).or_insert_with(|| (role, Vec::new()));
            entry.1.push(Activation::Of(subject.clone(), kind));
        };
        for (index, machine) in self.machines.iter().enumerate() {
            self.targets(index, Some(&machine.start)).into_iter().for_each(|target| {
                on(target, &machine.subject, Kind::Init);
            });
        }
        for node in self.nodes.iter().filter(|node| !matches!(node.state, State::Choice { .. })) {
            for target in self.targets(node.machine, next(&node.state)) {
                on(target, &node.path, Kind::Success);
            }
            on(self.end_of(node.machine), &node.path, Kind::Failure);
        }
        let trigger = |(id, (role, activation))| Trigger::persistent(id, activation, role);
        activations.into_iter().map(trigger).collect()
    }

    /// The triggers that may follow: the next state, or all of the machine behind a choice, and the end
    /// of the machine, since what a state computes may fail.
    fn targets(&self, machine: usize, next: Option<&Arc<str>>) -> Vec<(TriggerId, Role)> {
        let within = &self.machines[machine].by_name;
        let next = next.and_then(|name| within.get(name)).copied();
        let choice = |node: usize| matches!(self.nodes[node].state, State::Choice { .. });
        let nodes: Vec<usize> = match next {
            None => Vec::new(),
            Some(node) if choice(node) => {
                within.values().copied().filter(|n| !choice(*n)).collect()
            }
            Some(node) => vec![node],
        };
        let state = |node: usize| (self.nodes[node].path.clone(), Role::State(node as u32));
        nodes.into_iter().map(state).chain([self.end_of(machine)]).collect()
    }

    fn end_of(&self, machine: usize) -> (TriggerId, Role) {
        match self.machines[machine].parent {
            None => (END.into(), Role::MachineEnd),
            Some(node) => (join_id(&self.nodes[node].path), Role::StateJoin(node as u32)),
        }
    }

    /// What follows from `event`; `None` if it is no event of this machine, or if the context of the
    /// state it belongs to is lost.
    pub(crate) fn next(&self, triggers: &Triggers, event: &Event) -> Option<Next> {
        if event.kind == Kind::Init {
            let machine = *self.begun.get(&event.subject)?;
            let start = Some(&self.machines[machine].start);
            return Some(self.go_on(machine, event.frame.clone(), start, event.input(), 0));
        }
        let node = *self.ended.get(&event.subject)?;
        let Node { path, machine, state, .. } = &self.nodes[node];
        let entry = triggers.context(path).frames.get(&event.frame)?;
        let input = entry.input.as_ref()?;
        let (_, result) = event.result()?;
        let output = result.and_then(|result| output(state, input, result));
        Some(self.go_on(*machine, event.frame.clone(), next(state), output, entry.entered))
    }

    /// Goes on behind a state that ended with `payload`, through choices.
    fn go_on(
        &self,
        machine: usize,
        frame: Frame,
        next: Option<&Arc<str>>,
        payload: ApplicationResult,
        mut entered: u32,
    ) -> Next {
        let payload = match payload {
            Ok(payload) => payload,
            Err(error) => return Next::End { machine, frame, result: Err(error) },
        };
        let mut next = next.cloned();
        loop {
            let Some(name) = next else {
                return Next::End { machine, frame, result: Ok(payload) };
            };
            if entered >= STATES_ENTERED_MAX {
                let result = Err(endless(&name));
                return Next::End { machine, frame, result };
            }
            entered += 1;
            let Some(node) = self.machines[machine].by_name.get(&name).copied() else {
                let error = format!("a choice leads to {name:?}, which is no state");
                let result = Err(ApplicationError::misuse(error));
                return Next::End { machine, frame, result };
            };
            let State::Choice { choose } = &self.nodes[node].state else {
                return Next::Enter { node, frame, input: payload, entered };
            };
            match choose(&payload) {
                Ok(chosen) => next = Some(chosen),
                Err(error) => return Next::End { machine, frame, result: Err(error) },
            }
        }
    }

    /// The condition of a trigger: whether what follows is its own; takes the end of a machine in.
    pub(crate) fn ready(&self, triggers: &mut Triggers, id: &str, next: &Next) -> bool {
        match (triggers.entry(id).trigger.role, next) {
            (Role::State(own), Next::Enter { node, .. }) => own as usize == *node,
            (Role::MachineEnd, Next::End { machine, .. }) => {
                self.machines[*machine].parent.is_none()
            }
            (Role::StateJoin(own), Next::End { machine, frame, result }) => {
                if self.machines[*machine].parent != Some(own as usize) {
                    return false;
                }
                let Some((number, outer)) = frame.split_last() else { return false };
                let state = triggers.change(id).frames.entry(outer.to_vec()).or_default();
                state.ended.insert(*number, result.clone());
                state.count += 1;
                state.expected.is_some_and(|expected| state.count >= expected)
            }
            _ => false,
        }
    }

    /// The action of a trigger that is ready.
    pub(crate) fn fire(
        &self,
        triggers: &mut Triggers,
        id: &str,
        next: Next,
        instance: &InstanceId,
        (item, first): (WorkItemId, u32),
        ledger: Ledger,
    ) -> Effects {
        let mut out = Out { instance, item, index: first, ledger, effects: Effects::default() };
        match (triggers.entry(id).trigger.role, next) {
            (Role::State(_), Next::Enter { node, frame, input, entered }) => {
                self.enter(triggers, node, frame, input, entered, &mut out);
            }
            (Role::StateJoin(node), Next::End { frame, .. }) => {
                let outer = frame.split_last().map(|(_, outer)| outer.to_vec()).unwrap_or_default();
                let state = triggers.change(id).frames.remove(&outer).unwrap_or_default();
                let path = &self.nodes[node as usize].path;
                out.ended(path, outer, listed(state.ended));
            }
            (Role::MachineEnd, Next::End { result, .. }) => {
                out.effects.ended = Some(match result {
                    Ok(result) => RuntimeStatus::Completed(result),
                    Err(error) => RuntimeStatus::Failed(error),
                });
            }
            _ => unreachable!("invariant: a trigger fires for what made its condition true"),
        }
        out.effects
    }

    fn enter(
        &self,
        triggers: &mut Triggers,
        node: usize,
        frame: Frame,
        input: Payload,
        entered: u32,
        out: &mut Out<'_>,
    ) {
        let Node { path, state, inner, .. } = &self.nodes[node];
        let entry = FrameState { input: Some(input.clone()), entered, ..FrameState::default() };
        triggers.change(path).frames.insert(frame.clone(), entry);
        let begun = match state {
            State::Pass { output, .. } => return out.ended(path, frame, output(&input)),
            State::Task { activity, input: given, .. } => match given(&input) {
                Ok(given) => return out.call(path, frame, activity, given),
                Err(error) => Err(error),
            },
            State::Map { items, .. } => items(&input)
                .map(|items| items.into_iter().map(|item| (inner[0], item)).collect::<Vec<_>>()),
            State::Parallel { input: given, .. } => given(&input).map(|given| {
                inner.iter().map(|machine| (*machine, given.clone())).collect::<Vec<_>>()
            }),
            State::Choice { .. } => unreachable!("invariant: choices are part of conditions"),
        };
        match begun {
            Err(error) => out.ended(path, frame, Err(error)),
            Ok(machines) if machines.is_empty() => out.ended(path, frame, Ok(Payload::list([]))),
            Ok(machines) => {
                let join = triggers.change(&join_id(path));
                join.frames.entry(frame.clone()).or_default().expected =
                    Some(machines.len() as u32);
                for (number, (machine, input)) in machines.into_iter().enumerate() {
                    let mut inner = frame.clone();
                    inner.push(number as u32);
                    let subject = self.machines[machine].subject.clone();
                    out.local((subject, Kind::Init, inner), Ok(input));
                }
            }
        }
    }
}

/// Collects what an action sends.
struct Out<'a> {
    instance: &'a InstanceId,
    item: WorkItemId,
    index: u32,
    ledger: Ledger,
    effects: Effects,
}

impl Out<'_> {
    fn next_id(&mut self) -> MessageId {
        let id = MessageId { producer: Producer::WorkItem(self.item), index: self.index };
        self.index += 1;
        id
    }

    fn local(&mut self, address: (Arc<str>, Kind, Frame), result: ApplicationResult) {
        let id = self.next_id();
        self.effects.locals.push(Event::local(id, self.instance, address, result, self.ledger));
    }

    fn ended(&mut self, path: &Arc<str>, frame: Frame, result: ApplicationResult) {
        let kind = if result.is_ok() { Kind::Success } else { Kind::Failure };
        self.local((path.clone(), kind, frame), result);
    }

    fn call(&mut self, path: &Arc<str>, frame: Frame, activity: &Arc<str>, input: Payload) {
        let task = TaskMessage {
            id: self.next_id(),
            caller: self.instance.clone(),
            event_id: 0,
            name: activity.clone(),
            input,
            ledger: self.ledger,
        };
        self.effects.calls.push(TaskCall { subject: path.clone(), frame, task });
    }
}

fn join_id(path: &str) -> TriggerId {
    format!("{path}:join").into()
}

fn next(state: &State) -> Option<&Arc<str>> {
    match state {
        State::Pass { next, .. }
        | State::Task { next, .. }
        | State::Map { next, .. }
        | State::Parallel { next, .. } => next.as_ref(),
        State::Choice { .. } => None,
    }
}

fn output(state: &State, input: &Payload, result: Payload) -> ApplicationResult {
    match state {
        State::Task { output, .. } | State::Map { output, .. } | State::Parallel { output, .. } => {
            output(input, result)
        }
        State::Pass { .. } | State::Choice { .. } => Ok(result),
    }
}

/// The list of results, or the first error in their order.
fn listed(ended: BTreeMap<u32, ApplicationResult>) -> ApplicationResult {
    let results = ended.into_values().collect::<Result<Vec<Payload>, _>>()?;
    Ok(Payload::list(&results))
}

fn endless(at: &str) -> ApplicationError {
    ApplicationError::user(format!(
        "state {at:?} is reached after more than {STATES_ENTERED_MAX} others: a loop without end"
    ))
}
