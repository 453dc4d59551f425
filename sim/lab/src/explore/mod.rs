//! Exploration: many small runs under faults, drawn from seeds, to find what an engine does wrong.
//!
//! A *campaign* is a range of seeds for one engine. Each seed makes a whole specification (`draw`): a
//! small workload with its load, hosts and partitions, a random subset of the engine's performance
//! settings, and chaos within the engine's fault budget. Every run is judged by all checks. A campaign also
//! collects *coverage*: which of the engine's own mechanisms and which effects of faults came about in how
//! many runs (`coverage`), so that a campaign that never reached a mechanism says so. What fails is
//! made smaller (`shrink`) and written down (`regression`).
//!
//! Runs are independent, and a campaign's results do not depend on how many threads carry it out, or on
//! interruptions. What ends in `_with` takes the engines that there are; the others know those that are
//! built in ([`crate::registry`]).

mod coverage;
mod draw;
mod regression;
mod search;
mod shrink;
mod state;
mod verdict;

pub use coverage::Coverage;
pub use draw::Campaign;
pub use regression::{Expectation, Regression, ReplayError, Replayed, replay, replay_with};
pub use search::{FirstFailure, first_failure, first_failure_with};
pub use shrink::{Shrunk, shrink, shrink_with};
pub use state::{Finding, State, StateError, carry_on, carry_on_with};
pub use verdict::{Failure, Judgement, judge, judge_strictly, judge_with};
