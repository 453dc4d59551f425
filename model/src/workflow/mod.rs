//! Workflows as data: graphs of tasks, state machines, and joins of events.
//!
//! **What it models.** Workflow systems take a workflow in one of three forms: a directed acyclic
//! graph of tasks, a state machine, or triggers that wait for events. Here each is a value that an
//! application registers by name beside its code, and that is started, asked and awaited like an
//! orchestration. An engine that has such a form of its own (triggers, say) reads the value and
//! carries it out in its own way; on every other engine it runs as an ordinary orchestration, which
//! registering it provides. Both must come to the same result.
//!
//! **Results do not depend on timing.** What was begun goes on to its end even if something beside it
//! has failed; then the failure counts that comes first *in the definition*, whichever came first in
//! time. In a graph, a task starts as soon as all tasks that it is after have succeeded, so a failure
//! keeps everything downstream of it from starting and nothing else (as in Apache Airflow, from which
//! the form comes); the workflow then fails with [`DagTask::failure`], which names the task. In a state
//! machine, the error of a task or of what a state computes ends its machine as it is.
//!
//! **Assumptions.** Tasks are activities. What a state computes from its input takes no core time.
//!
//! | file | holds |
//! |---|---|
//! | `dag.rs`, `machine.rs`, `joins.rs` | each form carried out as an orchestration |
//! | `problem.rs` | what is wrong with a workflow that cannot be carried out |
//!
//! Source of the forms: triggerflow/triggerflow@e1f9f6d (`dags/`, `statemachine.py`,
//! `tests/ingestion-test`).

mod dag;
mod joins;
mod machine;
mod problem;

pub use problem::WorkflowError;

use crate::application::Running;
use crate::error::{ApplicationError, ErrorKind};
use crate::orchestration::OrchestrationContext;
use crate::payload::Payload;
use std::rc::Rc;
use std::sync::Arc;

/// A workflow.
#[derive(Clone)]
pub enum Workflow {
    /// A graph of tasks. Its result is the list of the results of its tasks, in their order; its
    /// input is not looked at.
    Dag(Rc<Dag>),
    /// A state machine. Its result is the output of the last state.
    Machine(Rc<StateMachine>),
    /// Joins of external events. Its result is the number of joins; its input is `null`.
    Joins(Joins),
}

impl Workflow {
    /// Carries the workflow out as an orchestration.
    pub(crate) fn run(&self, context: OrchestrationContext, input: Payload) -> Running {
        match self {
            Workflow::Dag(dag) => Box::pin(dag::run(context, dag.clone())),
            Workflow::Machine(machine) => machine::run(context, machine.clone(), input),
            Workflow::Joins(joins) => Box::pin(joins::run(context, *joins, input)),
        }
    }
}

/// A directed acyclic graph of tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dag {
    /// The tasks; each comes after those that it waits for.
    pub tasks: Vec<DagTask>,
}

/// A task of a [`Dag`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DagTask {
    /// Its name, unique in the graph.
    pub name: Arc<str>,
    /// The registered name of the activity.
    pub activity: Arc<str>,
    /// What the activity is called with.
    pub calls: Calls,
    /// The tasks that must have succeeded before, by their place in [`Dag::tasks`].
    pub after: Vec<usize>,
}

impl DagTask {
    /// What the workflow fails with if this is the first of its tasks, in their order, that has
    /// failed. Of a task with several calls it is the error of the first of them.
    pub fn failure(&self, error: &ApplicationError) -> ApplicationError {
        let told = match error.kind {
            ErrorKind::User => error.message.to_string(),
            _ => error.to_string(),
        };
        ApplicationError::user(format!("task {:?} failed: {told}", self.name))
    }
}

/// What the activity of a task is called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Once; the task's result is that of the activity.
    One(Payload),
    /// Once for each, side by side; the task's result is the list of theirs, in this order.
    Map(Vec<Payload>),
}

/// Computes a value from a state's input. Errors fail the workflow.
pub type Transform = Rc<dyn Fn(&Payload) -> Result<Payload, ApplicationError>>;
/// Computes a state's output from its input and the result of its work.
pub type Merge = Rc<dyn Fn(&Payload, Payload) -> Result<Payload, ApplicationError>>;
/// Takes a list apart.
pub type Items = Rc<dyn Fn(&Payload) -> Result<Vec<Payload>, ApplicationError>>;
/// Names the next state.
pub type Choose = Rc<dyn Fn(&Payload) -> Result<Arc<str>, ApplicationError>>;

/// Most states that a machine may enter in one run, the number of history events at which AWS Step
/// Functions ends an execution (quotas of standard workflows): a loop without end must end somewhere.
/// Machines within a state count for themselves.
pub const STATES_ENTERED_MAX: u32 = 25_000;

/// A state machine: the subset of the Amazon States Language that trigger systems carry out.
#[derive(Clone)]
pub struct StateMachine {
    /// The name of the first state.
    pub start: Arc<str>,
    /// The states, by their unique names, in the order of the document.
    pub states: Vec<(Arc<str>, State)>,
}

impl StateMachine {
    /// The state of this name.
    pub fn state(&self, name: &str) -> Option<&State> {
        self.states.iter().find(|(own, _)| **own == *name).map(|(_, state)| state)
    }
}

/// A state of a [`StateMachine`]. `next` is the name of the state after it; without one the machine
/// ends.
#[derive(Clone)]
pub enum State {
    /// Passes a value on.
    Pass {
        /// Its output.
        output: Transform,
        /// The state after it.
        next: Option<Arc<str>>,
    },
    /// Calls an activity.
    Task {
        /// The registered name of the activity.
        activity: Arc<str>,
        /// What it is called with.
        input: Transform,
        /// The state's output.
        output: Merge,
        /// The state after it.
        next: Option<Arc<str>>,
    },
    /// Goes on with one of several states; its input is theirs.
    Choice {
        /// Which.
        choose: Choose,
    },
    /// Runs a machine for each item of a list, side by side.
    Map {
        /// The input of each.
        items: Items,
        /// The machine.
        body: Rc<StateMachine>,
        /// The state's output, from the list of theirs.
        output: Merge,
        /// The state after it.
        next: Option<Arc<str>>,
    },
    /// Runs several machines side by side.
    Parallel {
        /// Their input.
        input: Transform,
        /// The machines.
        branches: Vec<Rc<StateMachine>>,
        /// The state's output, from the list of theirs.
        output: Merge,
        /// The state after it.
        next: Option<Arc<str>>,
    },
}

/// Joins: each waits for so many external events of its own name (`0`, `1`, ...). The workflow ends
/// when every join has had its events; what they carry is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joins {
    /// How many joins.
    pub joins: u32,
    /// How many events each of them waits for.
    pub events: u32,
}
