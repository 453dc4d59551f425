//! Reading the states of entities: while a job waits for them, and when a run has come to rest.

use super::{EntityStates, JobContext};
use serde::de::DeserializeOwned;
use sim_model::id::EntityId;
use std::time::Duration;

/// How long a job waits for its application, in virtual time: less than the bound of a run, so
/// that it is the job that says what is missing.
const PATIENCE: Duration = Duration::from_secs(55 * 60);

/// Reads the state of `entity` every `interval` until `done` makes something of it.
///
/// # Errors
/// If the engine does not answer, or it takes too long; `awaited` says what did not come.
pub(super) async fn poll<S: DeserializeOwned, T>(
    cx: &JobContext,
    entity: &EntityId,
    interval: Duration,
    awaited: &str,
    done: impl Fn(S) -> Option<T>,
) -> Result<T, String> {
    let end = cx.now() + PATIENCE;
    loop {
        if let Some(found) = read(cx, entity).await?.and_then(&done) {
            return Ok(found);
        }
        if cx.now() >= end {
            return Err(format!("{awaited} did not come within {} min", PATIENCE.as_secs() / 60));
        }
        cx.sleep(interval).await;
    }
}

/// The present state of `entity`; `None` if it does not exist.
///
/// # Errors
/// If the engine does not answer, or the state is not an `S`.
pub(super) async fn read<S: DeserializeOwned>(
    cx: &JobContext,
    entity: &EntityId,
) -> Result<Option<S>, String> {
    let instance = entity.instance_id();
    let told = cx.client().status(instance).await.map_err(|error| format!("{entity}: {error}"))?;
    let Some(state) = told.and_then(|instance| instance.entity_state) else { return Ok(None) };
    state.decode().map(Some).map_err(|error| format!("{entity}: {error}"))
}

/// Compares the final states of entities with the expected ones.
///
/// # Errors
/// The first entity whose state is another one, in the order of `expected`.
pub(super) fn compare<S: DeserializeOwned + PartialEq + std::fmt::Debug>(
    states: &EntityStates,
    expected: impl IntoIterator<Item = (EntityId, S)>,
) -> Result<(), String> {
    for (entity, expected) in expected {
        let found: S = decode(states, &entity)?;
        if found != expected {
            return Err(format!("{entity} ended as {found:?}, expected {expected:?}"));
        }
    }
    Ok(())
}

/// The final state of `entity`.
///
/// # Errors
/// If there is none, or it is not an `S`.
pub(super) fn decode<S: DeserializeOwned>(
    states: &EntityStates,
    entity: &EntityId,
) -> Result<S, String> {
    match states.get(entity) {
        Some(Some(state)) => state.decode().map_err(|error| format!("{entity}: {error}")),
        _ => Err(format!("{entity} does not exist")),
    }
}
