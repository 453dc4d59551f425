//! The launcher: an entity that starts many orchestrations and waits for none.
//!
//! Large batches are started through launchers, so that the starts spread over partitions instead
//! of going through one HTTP trigger. As in the published benchmark a launcher is an entity that
//! is signalled once, and starts its orchestrations (200 unless the load says otherwise) in the one
//! step that this takes (microsoft/durabletask-netherite, `test/PerformanceTests`, `LauncherEntity`).
//! Launchers are not counted in the size of a batch, nor in its latencies.

use super::Orchestrations;
use serde::{Deserialize, Serialize};
use sim_model::application::Application;
use sim_model::engine::StartRequest;
use sim_model::entity::EntityContext;
use sim_model::id::EntityId;
use sim_model::payload::Payload;

const NAME: &str = "LauncherEntity";
/// The operation that starts a portion.
pub const LAUNCH: &str = "Launch";

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

/// The launcher of `portion`, and the input of its operation [`LAUNCH`].
pub fn signal(orchestrations: &Orchestrations, portion: Portion) -> (EntityId, Payload) {
    let input = Payload::encode(&portion).expect("invariant: two numbers have a JSON form");
    // The hash in the name spreads launchers over partitions.
    let key = orchestrations.naming().instance(portion.offset);
    (EntityId::new(NAME, key.as_str()), input)
}

/// Registers the launcher of `orchestrations`, which runs the orchestration of this name.
pub(super) fn register(
    application: &mut Application,
    orchestrations: Orchestrations,
    orchestration: &'static str,
) {
    let launch = move |context: &mut EntityContext, (): &mut (), portion: Portion| {
        for index in portion.offset..portion.offset + portion.count {
            let StartRequest { instance, name, input } =
                orchestrations.request(orchestration, index);
            context.start_encoded(&name, instance, input)?;
        }
        Ok(())
    };
    application.entity::<()>(NAME).operation(LAUNCH, launch);
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
