//! A definition as a state machine of the model, for engines that run such machines themselves.
//!
//! The model's machine has Pass, Task, Choice, Map and Parallel states and neither retries, catchers,
//! waits nor bounds on how many go on side by side: a definition that needs more is refused, with the
//! name of the state. What a definition computes needs more than the payload (where in the execution it
//! is, how many states were entered, the element of the innermost map), so what goes from state to
//! state is a [`Carried`], and a machine ends with the bare payload.
//!
//! A choice of the model hands on what it is given, and one of a definition may change it. So choices
//! are decided, and their effect on the payload worked out, where the state before them ends or the
//! machine begins; the choice of the model only reads where that led.
//!
//! **Limit.** Between states a payload is JSON text: the last digit of a number with a point that a
//! definition computes may differ from what the orchestration holds in memory.

use super::behaviour::Order;
use super::context::{Execution, Item};
use super::failure::Failure;
use super::machine::{Amount, Machine, Otherwise, State, Step};
use super::reference::{Entered, context};
use super::scope::{Scope, Visit};
use super::{Definition, ORCHESTRATION, interpreter};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sim_model::application::{ActivityContext, Application, ApplicationError};
use sim_model::payload::Payload;
use sim_model::workflow::{self, StateMachine, Workflow};
use std::rc::Rc;
use std::sync::Arc;

/// What goes from state to state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Carried {
    /// The number of the execution.
    index: u64,
    scope: Scope,
    /// How many states the machine has entered.
    entered: u64,
    /// At the start of a branch: what the state around it had entered, by which the branch finds its
    /// own scope. All branches are given the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    branched: Option<u64>,
    /// Whether the machine has not begun.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    fresh: bool,
    /// Where the choice that comes next leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chosen: Option<Arc<str>>,
    /// What the machine fails with, before it does anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
    payload: Value,
}

impl Carried {
    /// What a machine begins with.
    fn fresh(index: u64, scope: Scope, payload: Value) -> Carried {
        let (entered, branched, chosen, failed) = (0, None, None, None);
        Carried { index, scope, entered, branched, fresh: true, chosen, failed, payload }
    }
}

/// Why a definition cannot be carried out as data: the first state that does not fit.
pub(super) fn misfit(machine: &Machine) -> Option<String> {
    let mut found = None;
    machine.visit(&mut |state| {
        let reason = match &state.step {
            _ if !state.retry.is_empty() => Some("tries again what has failed (Retry)"),
            _ if !state.catch.is_empty() => Some("catches failures (Catch, failure)"),
            Step::Wait(_) => Some("waits (Wait)"),
            Step::Succeed => Some("is of type Succeed"),
            Step::Fail(..) => Some("is of type Fail"),
            Step::Repeat(..) => Some("calls a function several times in a row (repeat)"),
            Step::Choice(_, Otherwise::End) => Some("may end the machine as a choice (no default)"),
            Step::Map(each) if each.width != Amount::Fixed(0) => {
                Some("bounds how many iterations go on at a time (MaxConcurrency, loop)")
            }
            Step::Choice(..) | Step::Map(_) | Step::Task(_) | Step::Pass(_) | Step::Parallel(_) => {
                None
            }
        };
        if let (None, Some(reason)) = (&found, reason) {
            found = Some(format!(
                "state {:?} {reason}, which a machine as data does not: it has Pass, Task, Choice, \
                 Map and Parallel states; form=code carries out all",
                state.name
            ));
        }
    });
    found
}

/// What the execution with this index begins with.
pub(super) fn input(definition: &Definition, draws: u64, index: u64) -> Carried {
    Carried::fresh(index, Scope::of_execution(draws, index), definition.input.clone())
}

/// Registers the machine and its activities.
///
/// # Panics
/// If the definition has a [`misfit`].
pub(super) fn register(definition: &Rc<Definition>, application: &mut Application) {
    for name in definition.functions.keys() {
        let (definition, function) = (definition.clone(), name.clone());
        application.activity(name, move |context: ActivityContext, order: Order| {
            let (definition, function) = (definition.clone(), function.clone());
            async move {
                let result = interpreter::activity(&definition, &function, context, order).await;
                // Nothing looks at the name of the error: it ends the machine as it is told.
                result.map_err(|error| told(&Failure::from_message(&error.message)))
            }
        });
    }
    let machine = machine(definition, &definition.machine, 0);
    application.workflow(ORCHESTRATION, Workflow::Machine(machine));
}

/// A machine of the definition; number `number` of the branches of the state around it.
fn machine(definition: &Rc<Definition>, machine: &Machine, number: usize) -> Rc<StateMachine> {
    let machine =
        Rc::new(Lowered { definition: definition.clone(), machine: machine.clone(), number });
    let states = 0..machine.machine.states.len();
    Rc::new(StateMachine {
        start: machine.name(machine.machine.start),
        states: states.map(|at| (machine.name(at), state(&machine, at))).collect(),
    })
}

/// A machine that is being lowered, which its states look things up in.
struct Lowered {
    definition: Rc<Definition>,
    machine: Machine,
    number: usize,
}

type Told<T> = Result<T, ApplicationError>;

fn told(failure: &Failure) -> ApplicationError {
    ApplicationError::user(failure.to_string())
}

fn or_told<T>(result: Result<T, Failure>) -> Told<T> {
    result.map_err(|failure| told(&failure))
}

/// The state number `at` of a machine.
fn state(lowered: &Rc<Lowered>, at: usize) -> workflow::State {
    let own = lowered.clone();
    let next = lowered.machine.states[at].next.map(|next| lowered.name(next));
    match &lowered.machine.states[at].step {
        Step::Pass(_) => {
            workflow::State::Pass { output: Rc::new(move |input| own.pass(at, input)), next }
        }
        Step::Choice(..) => {
            workflow::State::Choice { choose: Rc::new(move |input| own.choose(input)) }
        }
        Step::Task(call) => {
            let after = lowered.clone();
            workflow::State::Task {
                activity: call.function.clone(),
                input: Rc::new(move |input| own.order(at, input)),
                output: Rc::new(move |input, result| after.called(at, input, result)),
                next,
            }
        }
        Step::Map(each) => {
            let after = lowered.clone();
            workflow::State::Map {
                items: Rc::new(move |input| own.items(at, input)),
                body: machine(&lowered.definition, &each.machine, 0),
                output: Rc::new(move |input, results| after.joined(at, input, results)),
                next,
            }
        }
        Step::Parallel(branches) => {
            let after = lowered.clone();
            let branch = |(number, branch)| machine(&lowered.definition, branch, number);
            workflow::State::Parallel {
                input: Rc::new(move |input| own.branches(at, input)),
                branches: branches.iter().enumerate().map(branch).collect(),
                output: Rc::new(move |input, results| after.joined(at, input, results)),
                next,
            }
        }
        other => unreachable!("{other:?} is a misfit, and the definition was found to have none"),
    }
}

/// A state that has been entered.
struct Inside<'a> {
    state: &'a State,
    carried: Carried,
    execution: Execution,
    visit: Visit,
    /// What it sees of the payload.
    seen: Value,
}

impl Inside<'_> {
    fn cx(&self) -> super::context::Context<'_> {
        context(&self.execution, &self.carried.scope, self.state, self.visit)
    }
}

impl Lowered {
    fn name(&self, at: usize) -> Arc<str> {
        self.machine.states[at].name.clone()
    }

    fn execution(&self, index: u64) -> Execution {
        Execution { index, input: self.definition.input.clone() }
    }

    /// Reads what a state is given; at the start of the machine, finds its own scope and decides the
    /// choices that it starts with.
    fn open(&self, input: &Payload) -> Told<Carried> {
        let mut carried: Carried = input.decode()?;
        if let Some(entered) = carried.branched.take() {
            let visit = Visit { entered, retries: 0 };
            carried.scope = carried.scope.branch(visit, self.number, None);
        }
        if std::mem::take(&mut carried.fresh) && carried.failed.is_none() {
            carried = self.onward(self.machine.start, carried);
        }
        match carried.failed.take() {
            None => Ok(carried),
            Some(message) => Err(ApplicationError::user(message)),
        }
    }

    fn enter(&self, at: usize, input: &Payload) -> Told<Inside<'_>> {
        let mut carried = self.open(input)?;
        let state = &self.machine.states[at];
        let visit = or_told(count(&mut carried, state))?;
        let execution = self.execution(carried.index);
        let cx = context(&execution, &carried.scope, state, visit);
        let seen = or_told(state.enter(&carried.payload, cx))?;
        Ok(Inside { state, carried, execution, visit, seen })
    }

    /// The way from one state to `next`, through all choices between here and a state that does
    /// something.
    fn onward(&self, next: usize, mut carried: Carried) -> Carried {
        let mut at = next;
        while let Step::Choice(..) = self.machine.states[at].step {
            match self.decide(at, &mut carried) {
                Ok(next) => at = next,
                Err(failure) => {
                    carried.failed = Some(failure.to_string());
                    return carried;
                }
            }
        }
        carried.chosen = (at != next).then(|| self.name(at));
        carried
    }

    /// Where a choice leads; the payload is then what it hands on.
    fn decide(&self, at: usize, carried: &mut Carried) -> Result<usize, Failure> {
        let state = &self.machine.states[at];
        let Step::Choice(cases, otherwise) = &state.step else {
            unreachable!("the caller has looked");
        };
        let visit = count(carried, state)?;
        let execution = self.execution(carried.index);
        let cx = context(&execution, &carried.scope, state, visit);
        let seen = state.enter(&carried.payload, cx)?;
        let next = state.chosen(cases, *otherwise, &seen, cx)?;
        carried.payload = state.hand_on(seen, cx)?;
        Ok(next.expect("invariant: a choice that may end its machine is a misfit"))
    }

    /// What the state hands on with this result of its work.
    fn settle(&self, inside: Inside<'_>, result: Value) -> Told<Payload> {
        let settled = inside.state.settle(&inside.carried.payload, result, inside.cx());
        let payload = or_told(settled)?;
        match inside.state.next {
            None => Payload::encode(&payload),
            Some(next) => {
                let carried = Carried { payload, chosen: None, ..inside.carried };
                Payload::encode(&self.onward(next, carried))
            }
        }
    }

    fn pass(&self, at: usize, input: &Payload) -> Told<Payload> {
        let inside = self.enter(at, input)?;
        let given = or_told(inside.state.prepare(inside.seen.clone(), inside.cx()))?;
        let result = match &inside.state.step {
            Step::Pass(Some(result)) => result.clone(),
            _ => given,
        };
        self.settle(inside, result)
    }

    fn choose(&self, input: &Payload) -> Told<Arc<str>> {
        let carried = self.open(input)?;
        Ok(carried.chosen.expect("invariant: whoever leads to a choice has decided it"))
    }

    /// The order of a call.
    fn order(&self, at: usize, input: &Payload) -> Told<Payload> {
        let inside = self.enter(at, input)?;
        let state = inside.state;
        let Step::Task(call) = &state.step else { unreachable!("it was lowered as a task") };
        let timeout_s = or_told(state.told(call.timeout_s(&inside.seen, inside.cx())))?;
        let given = or_told(state.prepare(inside.seen.clone(), inside.cx()))?;
        let input = or_told(state.told(call.input(given)))?;
        let key = inside.carried.scope.key_of_call(inside.visit, 0);
        Payload::encode(&Order { key, timeout_s, input })
    }

    fn called(&self, at: usize, input: &Payload, result: Payload) -> Told<Payload> {
        let inside = self.enter(at, input)?;
        let Step::Task(call) = &inside.state.step else { unreachable!("it was lowered as a task") };
        let result = call.output(result.decode()?);
        self.settle(inside, result)
    }

    /// What each iteration of a map begins with. One whose input cannot be made fails by itself, so
    /// that the first failure in the order of elements counts.
    fn items(&self, at: usize, input: &Payload) -> Told<Vec<Payload>> {
        let inside = self.enter(at, input)?;
        let state = inside.state;
        let Step::Map(each) = &state.step else { unreachable!("it was lowered as a map") };
        let elements = or_told(state.told(each.elements(&inside.seen, inside.cx())))?;
        let wide = or_told(state.told(inside.carried.scope.widened(elements.len())))?;
        let iteration = |(number, value): (usize, Value)| {
            let item = Item { index: number as u64, value };
            let given = state.told(each.given(&item, &inside.seen, inside.cx()));
            let scope = wide.branch(inside.visit, number, Some(item));
            let (given, failed) = match given {
                Ok(given) => (given, None),
                Err(failure) => (Value::Null, Some(failure.to_string())),
            };
            let carried = Carried::fresh(inside.carried.index, scope, given);
            Payload::encode(&Carried { failed, ..carried })
        };
        elements.into_iter().enumerate().map(iteration).collect()
    }

    /// What every branch of a parallel state begins with.
    fn branches(&self, at: usize, input: &Payload) -> Told<Payload> {
        let inside = self.enter(at, input)?;
        let state = inside.state;
        let Step::Parallel(branches) = &state.step else { unreachable!("it was lowered as such") };
        let given = or_told(state.prepare(inside.seen.clone(), inside.cx()))?;
        let wide = or_told(state.told(inside.carried.scope.widened(branches.len())))?;
        let carried = Carried::fresh(inside.carried.index, wide, given);
        Payload::encode(&Carried { branched: Some(inside.visit.entered), ..carried })
    }

    fn joined(&self, at: usize, input: &Payload, results: Payload) -> Told<Payload> {
        let inside = self.enter(at, input)?;
        let results = results.decode()?;
        self.settle(inside, results)
    }
}

/// Counts the state as entered.
fn count(carried: &mut Carried, state: &State) -> Result<Visit, Failure> {
    let mut entered = Entered::after(carried.entered);
    carried.entered = entered.count(state.weight(), state)?;
    Ok(Visit { entered: carried.entered, retries: 0 })
}
