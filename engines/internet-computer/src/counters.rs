//! How often each mechanism came into play.

use crate::state::Round;
use std::cell::Cell;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Totals over all subnets. Of what every replica does, one counts.
        #[derive(Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: Cell<u64>,)*
        }

        impl Counters {
            /// All of them, by name.
            pub(crate) fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

counters! {
    /// Rounds whose effects became visible.
    rounds,
    /// Blocks that were made by a replica of a rank above 0, and finalized.
    blocks_of_other_ranks,
    /// Message executions.
    messages,
    /// Inner iterations of rounds.
    iterations,
    /// Slices of executions that went on in a later round.
    slices,
    /// Executions that were given up, to start again.
    aborted_executions,
    /// Client calls in finalized blocks.
    ingress_messages,
    /// Client calls that a block carried although they were known.
    duplicate_calls,
    /// Messages that a full queue dropped.
    dropped_messages,
    /// The most calls that waited for a free slot.
    most_calls_kept,
    /// Outcalls that were begun.
    outcalls,
    /// Shares of outcalls that a replica sent again, since no block had included them.
    repeated_shares,
    /// Messages that came from other subnets.
    stream_messages,
    /// Checkpoints.
    checkpoints,
    /// Pages written to checkpoints.
    checkpoint_pages,
    /// Replicas that started from a checkpoint of another.
    state_syncs,
    /// Blocks that were executed again after a restart.
    replayed_blocks,
    /// Calls that gateways sent again.
    repeated_calls,
    /// Answers without a certificate that gateways refused.
    refused_answers,
    /// Queries.
    queries,
}

/// Adds to a counter.
pub(crate) fn add(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get() + more);
}

impl Counters {
    /// Counts a round.
    pub(crate) fn round(&self, round: &Round) {
        add(&self.rounds, 1);
        add(&self.messages, round.messages);
        add(&self.iterations, round.iterations);
        add(&self.slices, round.slices);
        add(&self.aborted_executions, round.aborted);
        add(&self.duplicate_calls, round.duplicates);
        add(&self.dropped_messages, round.dropped);
        add(&self.outcalls, round.outcalls.len() as u64);
        add(&self.ingress_messages, round.ingress);
        add(&self.stream_messages, round.streamed);
        add(&self.blocks_of_other_ranks, u64::from(round.rank > 0));
        self.most_calls_kept.set(self.most_calls_kept.get().max(round.kept));
    }
}
