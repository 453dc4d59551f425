//! Orchestrations as `async fn`s, replayed from their history.
//!
//! **Record and replay.** User code runs against an [`OrchestrationContext`]. Every decision it
//! takes gets the next number; a step turns new decisions into history events and messages. To
//! continue after the code was dropped from memory, a [`Cursor`] runs it again from the start and
//! feeds it the history: past decisions must come out again, in the same order, and their answers
//! are taken from the history. Source: Azure/durabletask, `TaskOrchestrationExecutor.cs`.
//!
//! **Cursor.** A suspended piece of user code plus the bookkeeping to continue it. An engine may
//! keep it between steps (extended sessions, cursor cache) or drop it and replay; the outcome of
//! the next step is the same either way.
//!
//! **Misuse** never harms the testbed: code that decides something else on replay fails its own
//! orchestration with an error of kind
//! [`NonDeterminism`](crate::application::ErrorKind::NonDeterminism) that names the event.

mod context;
mod cursor;
mod decision;

pub use context::{ActivityCall, OrchestrationContext};
pub use cursor::{Cursor, StepInput, StepOutcome};
pub use decision::Decision;

/// Where an orchestration is in its life.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum RuntimeStatus {
    /// It has not ended.
    Running,
    /// It ended with a result.
    Completed(crate::payload::Payload),
    /// It ended with an error.
    Failed(crate::application::ApplicationError),
}

impl RuntimeStatus {
    /// Whether the orchestration has ended.
    pub const fn is_final(&self) -> bool {
        !matches!(self, RuntimeStatus::Running)
    }

    /// The status as a word.
    pub const fn name(&self) -> &'static str {
        match self {
            RuntimeStatus::Running => "running",
            RuntimeStatus::Completed(_) => "completed",
            RuntimeStatus::Failed(_) => "failed",
        }
    }
}
