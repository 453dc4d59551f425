//! The launcher: an orchestration that starts many others and waits for none.
//!
//! Large batches are started through launchers, so that the starts spread over partitions instead
//! of going through one HTTP trigger. The published benchmark uses launcher *entities* with 200
//! starts each; entities come with a later version of the model, and a launcher orchestration
//! sends the same messages (one start for each instance, all in one step). Launchers are not
//! counted in the size of a batch, nor in its latencies.

use super::Orchestrations;
use serde::{Deserialize, Serialize};
use sim_model::application::{Application, ApplicationError};
use sim_model::engine::StartRequest;
use sim_model::id::InstanceId;
use sim_model::orchestration::OrchestrationContext;
use sim_model::payload::Payload;

const NAME: &str = "Launcher";
/// Instances of launchers are named with this prefix, then their number and a hash.
const PREFIX: &str = "launcher-";

/// Which orchestrations a launcher starts: `count` of them, from index `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portion {
    /// The first index.
    pub offset: u64,
    /// How many.
    pub count: u64,
}

/// Cuts a batch into portions of `each`; the last may be smaller.
///
/// # Panics
/// If `each` is zero.
pub fn portions(size: u64, each: u64) -> impl ExactSizeIterator<Item = Portion> {
    assert!(each > 0, "a launcher starts at least one orchestration");
    let launchers = usize::try_from(size.div_ceil(each)).expect("invariant: 64-bit machine");
    (0..launchers).map(move |launcher| {
        let offset = launcher as u64 * each;
        Portion { offset, count: each.min(size - offset) }
    })
}

/// The request that starts the launcher of `portion`.
pub fn request(orchestrations: &Orchestrations, portion: Portion) -> StartRequest {
    let input = Payload::encode(&portion).expect("invariant: two numbers have a JSON form");
    let first = orchestrations.naming().instance(portion.offset);
    StartRequest { instance: InstanceId::new(format!("{PREFIX}{first}")), name: NAME.into(), input }
}

/// Whether an instance is a launcher.
pub fn is_launcher(instance: &InstanceId) -> bool {
    instance.as_str().starts_with(PREFIX)
}

/// Registers the launcher of `orchestrations`.
pub(super) fn register(application: &mut Application, orchestrations: Orchestrations) {
    application.orchestration(NAME, move |context: OrchestrationContext, portion: Portion| {
        let orchestrations = orchestrations.clone();
        async move {
            for index in portion.offset..portion.offset + portion.count {
                let StartRequest { instance, name, input } = orchestrations.request(index);
                start(&context, &name, instance, &input)?;
            }
            Ok(portion.count)
        }
    });
}

fn start(
    context: &OrchestrationContext,
    name: &str,
    instance: InstanceId,
    input: &Payload,
) -> Result<(), ApplicationError> {
    let input: serde_json::Value = input.decode()?;
    context.start_orchestration(name, instance, &input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_cover_a_batch_exactly() {
        for (size, each) in [(1, 200), (200, 200), (201, 200), (10_000, 200), (7, 3)] {
            let mut next = 0;
            for portion in portions(size, each) {
                assert_eq!(portion.offset, next);
                assert!((1..=each).contains(&portion.count));
                next += portion.count;
            }
            assert_eq!(next, size);
        }
    }
}
