//! Joins of external events as an orchestration.
//!
//! One wait is open for each join that lacks events. A history may not grow without bound, and a
//! replay reads all of it: after [`EVENTS_PER_EXECUTION`] events the orchestration continues as new,
//! with the numbers of events that are missing as its input; events that arrived and were not taken
//! are carried over by the model.

use super::Joins;
use crate::application::ApplicationResult;
use crate::error::ApplicationError;
use crate::orchestration::OrchestrationContext;
use crate::payload::Payload;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// How many events one execution takes: a history of one to two thousand rows, as eternal
/// orchestrations keep it.
pub(super) const EVENTS_PER_EXECUTION: u32 = 1_000;

/// The input of every execution but the first.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Progress {
    /// How many events each join lacks.
    missing: Vec<u32>,
}

/// The arrival of an event for the join with this number.
type Arrival = LocalBoxFuture<'static, (usize, Result<IgnoredAny, ApplicationError>)>;

pub(super) async fn run(
    context: OrchestrationContext,
    joins: Joins,
    input: Payload,
) -> ApplicationResult {
    let progress = input.decode::<Option<Progress>>()?;
    let mut missing = match progress {
        None => vec![joins.events; joins.joins as usize],
        Some(progress) => progress.missing,
    };
    let mut left: u64 = missing.iter().map(|missing| u64::from(*missing)).sum();
    let arrival = |join: usize| -> Arrival {
        let wait = context.wait_for_event(&join.to_string());
        Box::pin(async move { (join, wait.await) })
    };
    let lacking = (0..missing.len()).filter(|join| missing[*join] > 0);
    let mut open: FuturesUnordered<Arrival> = lacking.map(&arrival).collect();
    for _ in 0..EVENTS_PER_EXECUTION {
        let Some((join, event)) = open.next().await else { break };
        event?;
        missing[join] -= 1;
        left -= 1;
        if missing[join] > 0 {
            open.push(arrival(join));
        }
    }
    if left > 0 {
        drop(open);
        return context.continue_as_new(&Progress { missing }).await;
    }
    Payload::encode(&joins.joins)
}
