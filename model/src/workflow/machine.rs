//! A state machine as an orchestration.
//!
//! Machines within a state go on side by side inside the orchestration; only tasks are messages.

use super::dag::listed;
use super::{STATES_ENTERED_MAX, State, StateMachine};
use crate::application::{ApplicationResult, Running};
use crate::error::ApplicationError;
use crate::orchestration::OrchestrationContext;
use crate::payload::Payload;
use futures_util::future::join_all;
use std::rc::Rc;
use std::sync::Arc;

/// Runs `machine` from its start to its end.
pub(super) fn run(
    context: OrchestrationContext,
    machine: Rc<StateMachine>,
    input: Payload,
) -> Running {
    Box::pin(async move {
        let (mut at, mut payload) = (machine.start.clone(), input);
        for _ in 0..STATES_ENTERED_MAX {
            let (next, output) = enter(&context, &machine, &at, payload).await?;
            match next {
                Some(next) => (at, payload) = (next, output),
                None => return Ok(output),
            }
        }
        Err(ApplicationError::user(format!(
            "state {at:?} is reached after more than {STATES_ENTERED_MAX} others: a loop without end"
        )))
    })
}

/// Carries the state `name` out; what comes next, and with what payload.
async fn enter(
    context: &OrchestrationContext,
    machine: &StateMachine,
    name: &Arc<str>,
    input: Payload,
) -> Result<(Option<Arc<str>>, Payload), ApplicationError> {
    // Everything but what a choice says was checked when the workflow was registered.
    let unknown =
        || ApplicationError::misuse(format!("a choice leads to {name:?}, which is no state"));
    let (output, next) = match machine.state(name).ok_or_else(unknown)? {
        State::Pass { output, next } => (output(&input)?, next),
        State::Choice { choose } => return Ok((Some(choose(&input)?), input)),
        State::Task { activity, input: given, output, next } => {
            let result = context.call_activity_encoded(activity, given(&input)?).await?;
            (output(&input, result)?, next)
        }
        State::Map { items, body, output, next } => {
            let inputs = items(&input)?;
            let work = inputs.into_iter().map(|item| (body, item));
            (output(&input, side_by_side(context, work).await?)?, next)
        }
        State::Parallel { input: given, branches, output, next } => {
            let given = given(&input)?;
            let work = branches.iter().map(|branch| (branch, given.clone()));
            (output(&input, side_by_side(context, work).await?)?, next)
        }
    };
    Ok((next.clone(), output))
}

/// Runs machines, all at once and each to its end, and lists their outputs.
async fn side_by_side<'a>(
    context: &OrchestrationContext,
    work: impl Iterator<Item = (&'a Rc<StateMachine>, Payload)>,
) -> ApplicationResult {
    let run = |(machine, input): (&Rc<_>, _)| run(context.clone(), Rc::clone(machine), input);
    listed(join_all(work.map(run)).await)
}
