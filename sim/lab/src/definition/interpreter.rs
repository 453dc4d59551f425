//! The interpreter: carries a machine out as one orchestration.
//!
//! Tasks are activities, waits and the pauses between attempts are durable timers, and machines
//! within a state go on side by side inside the orchestration. Everything it decides by comes from
//! its input, from answers, and from the definition, so that a replay decides the same.

use super::Definition;
use super::behaviour::Order;
use super::context::{Execution, Item};
use super::failure::Failure;
use super::flow::Pause;
use super::machine::*;
use super::reference::{Entered, context, each_width, failed};
use super::scope::{Scope, Visit};
use futures_util::future::{LocalBoxFuture, join_all};
use futures_util::stream::{self, StreamExt};
use serde_json::Value;
use sim_model::application::{ActivityContext, ApplicationError, ErrorKind};
use sim_model::orchestration::OrchestrationContext;
use std::time::Duration;

/// What a state leads to: the next one, if any, and the payload.
type Way = (Option<usize>, Value);

/// One execution on its way.
pub(super) struct Run<'a> {
    /// The definition.
    pub definition: &'a Definition,
    /// The execution.
    pub execution: &'a Execution,
    /// Tells series of executions apart.
    pub draws: u64,
    /// The orchestration.
    pub orchestration: &'a OrchestrationContext,
}

/// What the activity `function` does with a call.
pub(super) async fn activity(
    definition: &Definition,
    function: &str,
    activity: ActivityContext,
    order: Order,
) -> Result<Value, ApplicationError> {
    let work = definition.behaviour(function).work(function, &order);
    if work.read_bytes > 0 {
        activity.read_blob(work.read_bytes).await;
    }
    if !work.cpu.is_zero() {
        activity.compute(work.cpu).await;
    }
    if !work.wait.is_zero() {
        activity.wait(work.wait).await;
    }
    if work.write_bytes > 0 {
        activity.write_blob(work.write_bytes).await;
    }
    work.outcome.map_err(|failure| ApplicationError::user(failure.to_message()))
}

impl<'a> Run<'a> {
    /// Carries the execution out to its end.
    pub async fn outcome(&self) -> Result<Value, Failure> {
        let scope = Scope::of_execution(self.draws, self.execution.index);
        let input = self.execution.input.clone();
        self.machine(&self.definition.machine, input, scope).await
    }

    fn machine<'b>(
        &'b self,
        machine: &'b Machine,
        input: Value,
        scope: Scope,
    ) -> LocalBoxFuture<'b, Result<Value, Failure>> {
        Box::pin(async move {
            let (mut at, mut payload, mut entered) = (machine.start, input, Entered::default());
            loop {
                let state = &machine.states[at];
                let (next, handed_on) = self.state(state, payload, &scope, &mut entered).await?;
                match next {
                    Some(next) => (at, payload) = (next, handed_on),
                    None => return Ok(handed_on),
                }
            }
        })
    }

    /// Carries a state out, with the attempts that it is given.
    async fn state(
        &self,
        state: &State,
        payload: Value,
        scope: &Scope,
        entered: &mut Entered,
    ) -> Result<Way, Failure> {
        let mut taken = vec![0; state.retry.len()];
        let mut visit = Visit { entered: entered.count(state.weight(), state)?, retries: 0 };
        loop {
            let failure = match self.attempt(state, &payload, scope, visit).await {
                Ok(way) => return Ok(way),
                Err(failure) => failure,
            };
            let Some(pause) = state.retried(&failure, &mut taken) else {
                return state.caught(failure, &payload).map(|(next, value)| (Some(next), value));
            };
            visit.retries += 1;
            entered.count(state.weight(), state)?;
            self.wait(Pause::For(pause)).await?;
        }
    }

    async fn attempt(
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
                let pause = state.told(delay.pause(&seen, cx))?;
                self.wait(pause).await?;
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
                call.output(self.call(call, Order { key, timeout_s, input }).await?)
            }
            Step::Repeat(call, count) => {
                let mut input = state.told(call.input(state.prepare(seen, cx)?))?;
                for number in 0..*count {
                    let key = scope.key_of_call(visit, number);
                    input = self.call(call, Order { key, timeout_s: None, input }).await?;
                }
                input
            }
            Step::Parallel(branches) => {
                let given = state.prepare(seen, cx)?;
                let wide = state.told(scope.widened(branches.len()))?;
                let branches = branches.iter().enumerate();
                let work = branches.map(|(number, branch)| {
                    Ok((branch, given.clone(), wide.branch(visit, number, None)))
                });
                self.side_by_side(work.collect(), 0).await?
            }
            Step::Map(each) => {
                let width = each_width(state, each, &seen, cx)?;
                let elements = state.told(each.elements(&seen, cx))?;
                let wide = state.told(scope.widened(elements.len()))?;
                let iteration = |(number, value): (usize, Value)| {
                    let item = Item { index: number as u64, value };
                    let given = state.told(each.given(&item, &seen, cx))?;
                    Ok((&each.machine, given, wide.branch(visit, number, Some(item))))
                };
                let work = elements.into_iter().enumerate().map(iteration).collect();
                self.side_by_side(work, width).await?
            }
        };
        Ok((state.next, state.settle(payload, result, cx)?))
    }

    /// Carries machines out, `width` at a time (all at once if it is 0), each to its end. The
    /// failure of the first of them counts.
    async fn side_by_side(
        &self,
        work: Vec<Result<(&Machine, Value, Scope), Failure>>,
        width: usize,
    ) -> Result<Value, Failure> {
        let run = |work| async move {
            let (machine, given, scope) = work?;
            self.machine(machine, given, scope).await
        };
        let results: Vec<Result<Value, Failure>> = match width {
            0 => join_all(work.into_iter().map(run)).await,
            1 => {
                let mut results = Vec::new();
                for work in work {
                    results.push(run(work).await);
                }
                results
            }
            width => stream::iter(work.into_iter().map(run)).buffered(width).collect().await,
        };
        results.into_iter().collect()
    }

    async fn call(&self, call: &Call, order: Order) -> Result<Value, Failure> {
        let called = self.orchestration.call_activity::<Value>(&call.function, &order).await;
        called.map_err(|error| match error.kind {
            ErrorKind::User => Failure::from_message(&error.message),
            _ => Failure::new(super::failure::names::TASK_FAILED, error.to_string()),
        })
    }

    async fn wait(&self, pause: Pause) -> Result<(), Failure> {
        let span = match pause {
            Pause::For(span) => span,
            Pause::Until(instant) => {
                let now = i128::from(self.orchestration.now().as_nanos());
                let most = i128::from(WAIT_S_MAX) * 1_000_000_000;
                let nanos = (instant - self.definition.start - now).clamp(0, most);
                Duration::from_nanos(u64::try_from(nanos).expect("invariant: clamped"))
            }
        };
        if span.is_zero() {
            return Ok(());
        }
        let fired = self.orchestration.sleep(span).await;
        fired.map_err(|error| Failure::runtime(error.to_string()))
    }
}
