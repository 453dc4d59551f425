//! What is wrong with a workflow that cannot be carried out, found before anything runs.

use super::{Dag, Joins, State, StateMachine, Workflow};
use std::collections::BTreeSet;
use std::sync::Arc;
use thiserror::Error;

/// A workflow that cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WorkflowError {
    /// Two tasks have one name.
    #[error("two tasks are named {0:?}")]
    TaskTwice(Arc<str>),
    /// A task waits for one that does not come before it, so there might be a cycle.
    #[error("task {task:?} waits for task number {upstream}, which does not come before it")]
    NotBefore {
        /// The task.
        task: Arc<str>,
        /// The place of the one that it waits for.
        upstream: usize,
    },
    /// A task waits twice for another one.
    #[error("task {task:?} waits for {upstream:?} twice")]
    WaitsTwice {
        /// The task.
        task: Arc<str>,
        /// The one that it waits for.
        upstream: Arc<str>,
    },
    /// Two states of one machine have one name.
    #[error("two states{} are named {name:?}", inside(.within))]
    StateTwice {
        /// The states that the machine is within, outermost first.
        within: Vec<Arc<str>>,
        /// The name.
        name: Arc<str>,
    },
    /// A machine starts with a state that it does not have.
    #[error("the machine{} starts with {start:?}, which is none of its states", inside(.within))]
    UnknownStart {
        /// The states that the machine is within, outermost first.
        within: Vec<Arc<str>>,
        /// The name of the state.
        start: Arc<str>,
    },
    /// A state is followed by one that its machine does not have.
    #[error("state {state:?}{} is followed by {next:?}, which is no state of its machine", inside(.within))]
    UnknownNext {
        /// The states that the machine is within, outermost first.
        within: Vec<Arc<str>>,
        /// The state.
        state: Arc<str>,
        /// The name of the one after it.
        next: Arc<str>,
    },
    /// More events than the longest list of names and counts has room for.
    #[error("{joins} joins of {events} events are more than {most} events")]
    TooManyEvents {
        /// How many joins.
        joins: u32,
        /// How many events each waits for.
        events: u32,
        /// Most events of a workflow.
        most: u64,
    },
}

/// Most events of all joins together: what continue-as-new can take in one step if an engine hands
/// over all events at once.
const JOINED_EVENTS_MAX: u64 = 500 * super::joins::EVENTS_PER_EXECUTION as u64;

fn inside(within: &[Arc<str>]) -> String {
    match within.is_empty() {
        true => String::new(),
        false => format!(" within {:?}", within.join(" / ")),
    }
}

impl Workflow {
    /// Checks that the workflow can be carried out.
    ///
    /// # Errors
    /// What is wrong with it. The states that a choice names are not known before it runs, and the
    /// activities need not be registered yet: a workflow that comes to one that does not exist fails.
    pub fn validate(&self) -> Result<(), WorkflowError> {
        match self {
            Workflow::Dag(dag) => dag.validate(),
            Workflow::Machine(machine) => machine.validate(&mut Vec::new()),
            Workflow::Joins(joins) => joins.validate(),
        }
    }
}

impl Dag {
    fn validate(&self) -> Result<(), WorkflowError> {
        let mut names = BTreeSet::new();
        for (index, task) in self.tasks.iter().enumerate() {
            if !names.insert(&task.name) {
                return Err(WorkflowError::TaskTwice(task.name.clone()));
            }
            let mut seen = BTreeSet::new();
            for &upstream in &task.after {
                let task = task.name.clone();
                if upstream >= index {
                    return Err(WorkflowError::NotBefore { task, upstream });
                }
                if !seen.insert(upstream) {
                    let upstream = self.tasks[upstream].name.clone();
                    return Err(WorkflowError::WaitsTwice { task, upstream });
                }
            }
        }
        Ok(())
    }
}

impl StateMachine {
    fn validate(&self, within: &mut Vec<Arc<str>>) -> Result<(), WorkflowError> {
        let mut names = BTreeSet::new();
        if let Some((name, _)) = self.states.iter().find(|(name, _)| !names.insert(name)) {
            return Err(WorkflowError::StateTwice { within: within.clone(), name: name.clone() });
        }
        if !names.contains(&self.start) {
            let start = self.start.clone();
            return Err(WorkflowError::UnknownStart { within: within.clone(), start });
        }
        for (name, state) in &self.states {
            if let Some(next) = state.next().filter(|next| !names.contains(next)) {
                let (state, next) = (name.clone(), next.clone());
                return Err(WorkflowError::UnknownNext { within: within.clone(), state, next });
            }
            within.push(name.clone());
            match state {
                State::Map { body, .. } => body.validate(within)?,
                State::Parallel { branches, .. } => {
                    branches.iter().try_for_each(|branch| branch.validate(within))?;
                }
                State::Pass { .. } | State::Task { .. } | State::Choice { .. } => {}
            }
            within.pop();
        }
        Ok(())
    }
}

impl State {
    /// The name of the state after it, if that is fixed.
    fn next(&self) -> Option<&Arc<str>> {
        match self {
            State::Choice { .. } => None,
            State::Pass { next, .. }
            | State::Task { next, .. }
            | State::Map { next, .. }
            | State::Parallel { next, .. } => next.as_ref(),
        }
    }
}

impl Joins {
    fn validate(&self) -> Result<(), WorkflowError> {
        let Joins { joins, events } = *self;
        let most = JOINED_EVENTS_MAX;
        match u64::from(joins) * u64::from(events) <= most && u64::from(joins) <= most {
            true => Ok(()),
            false => Err(WorkflowError::TooManyEvents { joins, events, most }),
        }
    }
}
