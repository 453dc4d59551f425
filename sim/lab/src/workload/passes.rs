//! Passes: a state machine whose states pass a value on.
//!
//! Of our own design: what it costs, and what it takes to be safe, to go from state to state without calling
//! anything. Each of `states` states adds one to the value that it passes on; the last calls an activity, which
//! returns it. The machine is registered as data: an engine that runs state machines itself does, where each
//! pass is an event from one trigger to the next; on the others it is an orchestration.
//!
//! Checked: the value at the end, which counts the states.

use super::declare::count;
use super::{Start, Unit, Workload, WorkloadKind, completed};
use sim_model::application::{ActivityContext, Application};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::workflow::{Merge, State, StateMachine, Transform, Workflow};
use std::rc::Rc;
use std::sync::Arc;

/// The name of the workflow.
const WORKFLOW: &str = "Passes";
/// The name of the activity.
const ECHO: &str = "Echo";

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "passes",
    summary: "Passes: a state machine whose states pass a value on, and a call of an activity at the end",
    parameters: &[count("states", (1, 1_000), "10", "states that pass the value on")],
    files: &[],
    load: "batch:20",
    build: |parameters| Ok(Rc::new(Passes::new(parameters))),
};

struct Passes {
    states: u64,
    workflow: Workflow,
}

fn name(number: u64) -> Arc<str> {
    format!("state{number}").into()
}

impl Passes {
    fn new(parameters: &Settings) -> Passes {
        let states = parameters.count("states");
        let add: Transform = Rc::new(|value: &Payload| {
            let number: u64 = value.decode()?;
            Payload::encode(&(number + 1))
        });
        let pass = |number: u64| {
            (name(number), State::Pass { output: add.clone(), next: Some(name(number + 1)) })
        };
        let input: Transform = Rc::new(|value: &Payload| Ok(value.clone()));
        let output: Merge = Rc::new(|_: &Payload, result: Payload| Ok(result));
        let call = State::Task { activity: ECHO.into(), input, output, next: None };
        let machine = StateMachine {
            start: name(0),
            states: (0..states).map(pass).chain([(name(states), call)]).collect(),
        };
        Passes { states, workflow: Workflow::Machine(Rc::new(machine)) }
    }
}

impl Workload for Passes {
    fn register(&self, application: &mut Application) {
        application.workflow(WORKFLOW, self.workflow.clone());
        application.activity(ECHO, |_: ActivityContext, value: u64| async move { Ok(value) });
    }

    fn start(&self) -> Start {
        Start::Orchestration(WORKFLOW)
    }

    fn input(&self, index: u64) -> Payload {
        Payload::encode(&index).expect("invariant: a number has a JSON form")
    }

    fn check(&self, index: u64, status: &RuntimeStatus) -> Result<(), String> {
        let (value, expected): (u64, u64) = (completed(status)?, index + self.states);
        match value == expected {
            true => Ok(()),
            false => Err(format!("returned {value}, expected {expected}")),
        }
    }

    fn timing_independent(&self) -> bool {
        true
    }

    fn unit(&self) -> Unit {
        Unit { name: "states", per_orchestration: self.states as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_counts_the_states() {
        let mut parameters = Settings::defaults(KIND.parameters);
        parameters.set("states", "3").expect("in range");
        let passes = Passes::new(&parameters);
        let Workflow::Machine(machine) = &passes.workflow else { panic!("a state machine") };
        assert_eq!(machine.states.len(), 4);
        let ended = |value: u64| {
            RuntimeStatus::Completed(Payload::encode(&value).expect("a number has a JSON form"))
        };
        assert_eq!(passes.check(5, &ended(8)), Ok(()));
        let told = passes.check(5, &ended(7)).expect_err("a state is missing");
        assert_eq!(told, "returned 7, expected 8");
    }
}
