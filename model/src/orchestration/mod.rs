//! Orchestrations as `async fn`s, replayed from their history.
//!
//! **Record and replay.** User code runs against an [`OrchestrationContext`]. Every decision it
//! takes gets the next number; a step turns new decisions into history events and messages. To
//! continue after the code was dropped from memory, a [`Cursor`](crate::cursor::Cursor) runs it again
//! from the start and feeds it the history: past decisions must come out again, in the same order,
//! and their answers are taken from the history. Source: Azure/durabletask,
//! `TaskOrchestrationExecutor.cs`.
//!
//! **Continue-as-new** drops the history and runs the code with a new input, inside the same step.
//! External events that were not taken are raised again in the new history. Decisions go on being
//! counted, so that answers to calls of a former execution find nobody. The custom status, and the order
//! of messages to entities, are carried over in `ExecutionStarted`.
//!
//! **Suspend and terminate.** A suspended orchestration keeps what arrives and runs nothing until it
//! is resumed. A terminated one ends at once; the locks it holds are released.
//!
//! **Misuse** never harms the testbed: it fails its own orchestration. Code that decides something
//! else on replay gets an error of kind [`NonDeterminism`](crate::error::ErrorKind::NonDeterminism)
//! that names the event. Code that breaks a rule of critical sections, awaits a result again that it
//! has taken, or awaits something that its context did not give it and nothing can ever wake, gets one
//! of kind [`Misuse`](crate::error::ErrorKind::Misuse). In each case the locks it holds are released:
//! those that the history says it holds, if the code went astray.

mod calls;
mod context;
mod decision;
mod execution;
mod retry;
mod section;
mod shared;

pub use calls::{Call, ContinueAsNew, EventWait};
pub use context::OrchestrationContext;
pub use retry::RetryPolicy;
pub use section::{CriticalSection, Lock};

pub(crate) use execution::OrchestrationCursor;

/// Where an instance is in its life.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum RuntimeStatus {
    /// It has not ended.
    Running,
    /// It ended with a result.
    Completed(crate::payload::Payload),
    /// It ended with an error.
    Failed(crate::error::ApplicationError),
    /// It stands still until it is resumed.
    Suspended,
    /// It was ended from outside, for this reason.
    Terminated(std::sync::Arc<str>),
}

impl RuntimeStatus {
    /// Whether the instance has ended.
    pub const fn is_final(&self) -> bool {
        !matches!(self, RuntimeStatus::Running | RuntimeStatus::Suspended)
    }

    /// The status as a word.
    pub const fn name(&self) -> &'static str {
        match self {
            RuntimeStatus::Running => "running",
            RuntimeStatus::Completed(_) => "completed",
            RuntimeStatus::Failed(_) => "failed",
            RuntimeStatus::Suspended => "suspended",
            RuntimeStatus::Terminated(_) => "terminated",
        }
    }
}
