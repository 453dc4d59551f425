//! Names: of workspaces, and of the keys under which the stores hold what they have.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `<stream>` | stream | events |
//! | `<workspace>-commited` | list | positions of acknowledged events (so spelt) |
//! | `<workspace>-triggers` | hash | triggers with their contexts |
//! | `<workspace>-event_sources`, `<workspace>-global_context` | hash | what a worker reads when it starts |
//! | `<stream>-termination` | stream | how its runs ended, for whoever waits [extension] |
//! | `triggerflow-workspaces` | hash | the workspaces, by their streams |
//!
//! Source of the keys: triggerflow/triggerflow@e1f9f6d, `triggerflow/service/storage/redis.py`,
//! `eventsources/redis.py`.
//!
//! **Two runs of one orchestration share those two streams and no other key**, as in the published system each
//! run is deployed as a workspace of its own, named after the run (`dags/dagrun.py`, `statemachine.py` there).
//! Here the name of the first is that of its stream, and a later one adds its start's identity \[assumption\]:
//! so whatever a former run, or an attempt at a start that came to nothing, still writes is under keys that
//! nobody reads any more. What is in the streams says of which run it is where that matters: a start has its
//! identity, an end that of the start.

use serde::{Deserialize, Serialize};
use sim_model::id::{MessageId, Producer};
use std::fmt;
use std::sync::Arc;

/// The hash of workspaces.
pub(crate) const WORKSPACES: &str = "triggerflow-workspaces";

/// Where the ends of runs are told whose events are in `stream`.
pub(crate) fn termination(stream: &str) -> String {
    format!("{stream}-termination")
}

/// A workspace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct WorkspaceName {
    /// The stream of its events: the key of its instance.
    stream: Arc<str>,
    /// What tells it from others with the same stream.
    run: Option<MessageId>,
}

impl WorkspaceName {
    /// The workspace whose keys are named like its stream.
    pub(crate) fn plain(stream: Arc<str>) -> WorkspaceName {
        WorkspaceName { stream, run: None }
    }

    /// The workspace of the run that `start` starts, which shares its keys with no other.
    pub(crate) fn of_run(stream: Arc<str>, start: MessageId) -> WorkspaceName {
        WorkspaceName { stream, run: Some(start) }
    }

    /// Where its events are.
    pub(crate) fn stream(&self) -> &Arc<str> {
        &self.stream
    }

    pub(crate) fn acknowledged(&self) -> String {
        format!("{self}-commited")
    }

    pub(crate) fn triggers(&self) -> String {
        format!("{self}-triggers")
    }

    pub(crate) fn sources(&self) -> String {
        format!("{self}-event_sources")
    }

    pub(crate) fn globals(&self) -> String {
        format!("{self}-global_context")
    }

    /// Where its end is told.
    pub(crate) fn termination(&self) -> String {
        termination(&self.stream)
    }

    /// All keys that are its own.
    pub(crate) fn own_keys(&self) -> Vec<String> {
        vec![self.acknowledged(), self.triggers(), self.sources(), self.globals()]
    }
}

impl fmt::Display for WorkspaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stream)?;
        match self.run {
            None => Ok(()),
            Some(MessageId { producer: Producer::Client, index }) => write!(f, "~{index}"),
            Some(MessageId { producer: Producer::WorkItem(item), index }) => {
                write!(f, "~{}.{index}", item.0)
            }
        }
    }
}
