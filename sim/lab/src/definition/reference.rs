//! The reference: a plain walk of the machine, without an engine, without time, one state after
//! the other. What it gives is what every engine must give.

use super::Definition;
use super::behaviour::Order;
use super::context::{Context, Execution, Item};
use super::failure::Failure;
use super::machine::*;
use super::scope::{Scope, Visit};
use serde_json::Value;

/// What a state leads to: the next one, if any, and the payload.
type Way = (Option<usize>, Value);

/// How many states a machine has entered in a row, where trying again and each call of a
/// repetition count too.
#[derive(Debug, Default)]
pub(super) struct Entered(u64);

impl Entered {
    /// So many so far.
    pub fn after(entered: u64) -> Entered {
        Entered(entered)
    }

    /// Counts `more`.
    ///
    /// # Errors
    /// If there are too many: a loop without end.
    pub fn count(&mut self, more: u64, state: &State) -> Result<u64, Failure> {
        self.0 += more;
        if self.0 > ENTERED_MAX {
            let said =
                format!("more than {ENTERED_MAX} states are entered in a row: a loop without end");
            return Err(Failure::runtime(said).in_state(&state.name));
        }
        Ok(self.0)
    }
}

/// The outcome of an execution.
pub(super) fn outcome(
    definition: &Definition,
    execution: &Execution,
    draws: u64,
) -> Result<Value, Failure> {
    let walk = Walk { definition, execution };
    let scope = Scope::of_execution(draws, execution.index);
    let result = walk.machine(&definition.machine, as_sent(&execution.input), &scope);
    result.map(|result| as_sent(&result))
}

/// A value after a way through a message: as JSON text and back, which may change the last digit
/// of a number with a point.
fn as_sent(value: &Value) -> Value {
    let text = value.to_string();
    serde_json::from_str(&text).expect("invariant: sizes were checked, so the text is read back")
}

struct Walk<'a> {
    definition: &'a Definition,
    execution: &'a Execution,
}

impl Walk<'_> {
    fn machine(&self, machine: &Machine, input: Value, scope: &Scope) -> Result<Value, Failure> {
        let (mut at, mut payload, mut entered) = (machine.start, input, Entered::default());
        loop {
            let (next, handed_on) =
                self.state(&machine.states[at], payload, scope, &mut entered)?;
            match next {
                Some(next) => (at, payload) = (next, handed_on),
                None => return Ok(handed_on),
            }
        }
    }

    fn state(
        &self,
        state: &State,
        payload: Value,
        scope: &Scope,
        entered: &mut Entered,
    ) -> Result<Way, Failure> {
        let mut taken = vec![0; state.retry.len()];
        let mut visit = Visit { entered: entered.count(state.weight(), state)?, retries: 0 };
        loop {
            let failure = match self.attempt(state, &payload, scope, visit) {
                Ok(way) => return Ok(way),
                Err(failure) => failure,
            };
            if state.retried(&failure, &mut taken).is_none() {
                return state.caught(failure, &payload).map(|(next, value)| (Some(next), value));
            }
            visit.retries += 1;
            entered.count(state.weight(), state)?;
        }
    }

    fn attempt(
        &self,
        state: &State,
        payload: &Value,
        scope: &Scope,
        visit: Visit,
    ) -> Result<Way, Failure> {
        let cx = context(self.execution, scope, state, visit);
        let seen = state.enter(payload, cx)?;
        let result = match &state.step {
            Step::Choice(cases, otherwise) => {
                let next = state.chosen(cases, *otherwise, &seen, cx)?;
                return Ok((next, state.hand_on(seen, cx)?));
            }
            Step::Fail(error, cause) => return Err(failed(state, error, cause, &seen, cx)),
            Step::Wait(delay) => {
                state.told(delay.pause(&seen, cx))?;
                return Ok((state.next, state.hand_on(seen, cx)?));
            }
            Step::Succeed => return Ok((state.next, state.hand_on(seen, cx)?)),
            Step::Pass(result) => {
                let given = state.prepare(seen, cx)?;
                result.clone().unwrap_or(given)
            }
            Step::Task(call) => {
                let timeout_s = state.told(call.timeout_s(&seen, cx))?;
                let input = state.told(call.input(state.prepare(seen, cx)?))?;
                let key = scope.key_of_call(visit, 0);
                call.output(self.call(call, Order { key, timeout_s, input })?)
            }
            Step::Repeat(call, count) => {
                let mut input = state.told(call.input(state.prepare(seen, cx)?))?;
                for number in 0..*count {
                    let key = scope.key_of_call(visit, number);
                    input = self.call(call, Order { key, timeout_s: None, input })?;
                }
                input
            }
            Step::Parallel(branches) => {
                let given = state.prepare(seen, cx)?;
                let wide = state.told(scope.widened(branches.len()))?;
                let branch = |(number, branch): (usize, &Machine)| {
                    self.machine(branch, given.clone(), &wide.branch(visit, number, None))
                };
                branches.iter().enumerate().map(branch).collect::<Result<Value, _>>()?
            }
            Step::Map(each) => {
                each_width(state, each, &seen, cx)?;
                let elements = state.told(each.elements(&seen, cx))?;
                let wide = state.told(scope.widened(elements.len()))?;
                let iteration = |(number, value): (usize, Value)| {
                    let item = Item { index: number as u64, value };
                    let given = state.told(each.given(&item, &seen, cx))?;
                    self.machine(&each.machine, given, &wide.branch(visit, number, Some(item)))
                };
                elements.into_iter().enumerate().map(iteration).collect::<Result<Value, _>>()?
            }
        };
        Ok((state.next, state.settle(payload, result, cx)?))
    }

    fn call(&self, call: &Call, order: Order) -> Result<Value, Failure> {
        let order = Order { input: as_sent(&order.input), ..order };
        let work = self.definition.behaviour(&call.function).work(&call.function, &order);
        work.outcome.map(|result| as_sent(&result))
    }
}

/// Where a visit stands.
pub(super) fn context<'a>(
    execution: &'a Execution,
    scope: &'a Scope,
    state: &'a State,
    visit: Visit,
) -> Context<'a> {
    let item = scope.item.as_ref();
    Context { execution, item, state: &state.name, retries: visit.retries }
}

/// The failure of a state that fails.
pub(super) fn failed(
    state: &State,
    error: &Text,
    cause: &Text,
    seen: &Value,
    cx: Context<'_>,
) -> Failure {
    let texts = error.value(seen, cx).and_then(|error| Ok((error, cause.value(seen, cx)?)));
    match state.told(texts) {
        Ok((error, cause)) => Failure::new(error, cause),
        Err(failure) => failure,
    }
}

/// How many iterations are carried out at a time; as many as there are if it is 0.
pub(super) fn each_width(
    state: &State,
    each: &Each,
    seen: &Value,
    cx: Context<'_>,
) -> Result<usize, Failure> {
    let width = each.width.value("MaxConcurrencyPath", BREADTH_MAX, seen, cx);
    state.told(width).map(|width| width as usize)
}
