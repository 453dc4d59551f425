//! Workflows as data: graphs of tasks, state machines, and joins of events.
//!
//! **What it models.** Workflow systems take a workflow in one of three forms: a directed acyclic
//! graph of tasks, a state machine, or triggers that wait for events. Here each is a value that an
//! application registers by name beside its code, and that is started, asked and awaited like an
//! orchestration. An engine that has such a form of its own (triggers, say) reads the value and
//! carries it out in its own way; on every other engine it runs as an ordinary orchestration, which
//! registering it provides. Both must come to the same result.
//!
//! **Assumptions.** Tasks are activities. What a state computes from its input takes no core time.
//!
//! Source of the forms: triggerflow/triggerflow@e1f9f6d (`dags/`, `statemachine.py`,
//! `tests/ingestion-test`).

use crate::error::ApplicationError;
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
    /// Joins of external events. Its result is the number of joins.
    Joins(Joins),
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

/// A state machine: the subset of the Amazon States Language that trigger systems carry out.
#[derive(Clone)]
pub struct StateMachine {
    /// The name of the first state.
    pub start: Arc<str>,
    /// The states, by their unique names, in the order of the document.
    pub states: Vec<(Arc<str>, State)>,
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
