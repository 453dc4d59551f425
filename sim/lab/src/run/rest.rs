//! Coming to rest: what a run is given after everything that its load started has ended.
//!
//! Engines delete messages and confirm deliveries after the last orchestration has ended, and some
//! of the application may still be under way: orchestrations that nobody waits for, signals to
//! entities. A run first goes on for [`DRAIN`]. If messages are still in flight then, according to
//! the record of work items, it goes on with pauses that double, at most for [`REST_BOUND`] in all ([`REST_BOUND_AFTER_FAULTS`] if hosts have changed):
//! storage puts messages back after seconds, and idle queues are polled up to 30 s apart. What is
//! in flight after that is lost. Timers that are not due are not in flight. What is sent after this instant, by
//! a handler whose answer comes late, is not asked for.
//!
//! Then the final states of the workload's entities are read, through a client on the first host that runs.
//! After faults an engine may take the time of its budget to be well again; until then what is not as
//! expected is read again.

use crate::recorder::Recorder;
use crate::workload::{EntityStates, in_parallel};
use sim_model::engine::Client;
use sim_model::graph::{GraphRecorder, checks};
use sim_model::id::EntityId;
use sim_model::time::Timestamp;
use sim_world::kernel::Kernel;
use std::rc::Rc;
use std::time::Duration;

/// Virtual time that every run has after the last orchestration has ended.
pub const DRAIN: Duration = Duration::from_secs(1);
/// Most virtual time that a run has to come to rest.
pub const REST_BOUND: Duration = Duration::from_secs(120);

/// The same where hosts have crashed or stood still: what such a host had taken from a queue comes back
/// after a visibility timeout of minutes, and may be hidden by a second reader after that.
pub const REST_BOUND_AFTER_FAULTS: Duration = Duration::from_secs(1_200);

/// Most virtual time that reading the entities may take.
const READ_BOUND: Duration = Duration::from_secs(300);
/// Entities that are read at a time.
const READ_WIDTH: usize = 32;

/// Lets time pass until no message is in flight.
pub(super) async fn come_to_rest(kernel: &Kernel, graph: &GraphRecorder, after_faults: bool) {
    let longest = if after_faults { REST_BOUND_AFTER_FAULTS } else { REST_BOUND };
    let bound = kernel.now() + longest;
    let mut pause = DRAIN;
    loop {
        let next = bound.min(kernel.now() + pause);
        kernel.sleep_until(next).await;
        if next == bound || checks::no_message_lost(&graph.graph(), next).is_none() {
            return;
        }
        pause *= 2;
    }
}

/// Waits until everything that was started has ended, as long as something ends: `None` if nothing has
/// for `heals_within`, or after `bound`.
pub(super) async fn complete(
    kernel: &Kernel,
    recorder: &Recorder,
    heals_within: Duration,
    bound: Duration,
) -> Option<()> {
    let last = kernel.now() + bound;
    loop {
        let before = recorder.events();
        let left = last.since(kernel.now()).min(heals_within);
        if kernel.timeout(left, recorder.over()).await.is_some() {
            return Some(());
        }
        if recorder.events() == before || kernel.now() >= last {
            return None;
        }
    }
}

/// Pauses between two readings of what is not as expected: they double, and end `heals_within` after now.
pub(crate) struct Healing {
    kernel: Kernel,
    until: Timestamp,
    pause: Duration,
}

impl Healing {
    /// An engine that may take so long from now on.
    pub(crate) fn within(kernel: &Kernel, heals_within: Duration) -> Healing {
        let until = kernel.now() + heals_within;
        Healing { kernel: kernel.clone(), until, pause: DRAIN }
    }

    /// Lets some time pass; false if there is none left.
    pub(crate) async fn goes_on(&mut self) -> bool {
        let now = self.kernel.now();
        if now >= self.until {
            return false;
        }
        self.kernel.sleep_until(self.until.min(now + self.pause)).await;
        self.pause *= 2;
        true
    }
}

/// Reads the states of `entities`.
///
/// # Errors
/// Which entity the engine did not tell the state of, for a person.
pub(super) async fn read_entities(
    kernel: &Kernel,
    client: Rc<dyn Client>,
    entities: Vec<EntityId>,
) -> Result<EntityStates, String> {
    let read = |entity: EntityId| {
        let client = client.clone();
        async move {
            // The first question may go over a connection that broke long ago, unnoticed.
            let state = loop {
                match client.status(entity.instance_id()).await {
                    Err(error) if error.is_transient() => kernel.sleep(DRAIN).await,
                    answer => break answer,
                }
            };
            let state = state.map_err(|error| format!("{entity} cannot be read: {error}"))?;
            Ok((entity, state.and_then(|state| state.entity_state)))
        }
    };
    let bound = kernel.timeout(READ_BOUND, in_parallel(entities, READ_WIDTH, read)).await;
    let states = bound.unwrap_or_else(|| Err(format!("not read within {READ_BOUND:?}")))?;
    Ok(states.into_iter().collect())
}
