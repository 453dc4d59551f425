//! DAG: a graph of tasks that sleep, as a workflow.
//!
//! Three published shapes, with the published sizes as defaults:
//! - `sequence`: `length` tasks (40), one after the other, each sleeps for `sleep` (5 s);
//! - `map`: one task of `width` calls (320) side by side, each sleeps for `sleep` (5 s);
//! - `fault-tolerance`: a task of 1 s, and after it two maps side by side: 10 calls of 2 s each, and 5
//!   calls of 1, 2, 4, 8 and 16 s. Its sizes are fixed.
//!
//! And one of our own, for what the published ones never have: a join that is half full while other tasks of
//! the graph begin.
//! - `joined`: a sequence of `length` tasks, each of which sleeps for `sleep`, beside a map of `width` calls,
//!   which sleep once, twice, three times ... as long, and after both a task that sleeps for `sleep`.
//!
//! A sleep waits outside the testbed and uses no core. What is of interest is the overhead: the latency
//! less the time that the functions on the longest path sleep, which is the part `application` of the
//! breakdown. The workflow is registered as data: an engine that runs graphs itself does, on the others
//! it is an orchestration.
//!
//! Each call returns its own name. Checked: the names of all calls, in order.
//!
//! Source: triggerflow/triggerflow@e1f9f6d, `tests/dag-sequence/ibm_cf_sequence.py`,
//! `tests/dag-map/ibm_cf_parallel.py`, `tests/dag-fault-tolerance/dag.py`. The artefact's
//! `tests/dag-mixed` is left out: its sizes are not known here.

use super::declare::{choice, count, span};
use super::{Start, Unit, Workload, WorkloadKind, completed};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sim_model::application::{ActivityContext, Application};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::workflow::{Calls, Dag, DagTask, Workflow};
use std::rc::Rc;
use std::time::Duration;

/// The name of the workflow.
const WORKFLOW: &str = "Dag";
/// The name of the activity.
const SLEEP: &str = "Sleep";

/// The shapes.
const SHAPES: &[&str] = &["sequence", "map", "fault-tolerance", "joined"];

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "dag",
    summary: "DAG: a graph of tasks that sleep: a sequence, a map, two maps after a task, or a join",
    parameters: &[
        choice("shape", SHAPES, "sequence", "the graph"),
        count("length", (1, 10_000), "40", "tasks of a sequence; published: 40"),
        count("width", (1, 10_000), "320", "calls of a map; published: 320"),
        span(
            "sleep",
            Duration::from_secs(600),
            "5s",
            "of each call of a sequence or a map (joined: of its first call); published: 5s",
        ),
    ],
    files: &[],
    load: "batch:1",
    build: |parameters| Ok(Rc::new(Graph::new(parameters))),
};

/// The input of a call.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Nap {
    name: String,
    millis: u64,
}

impl Nap {
    fn new(name: String, span: Duration) -> Nap {
        let millis = u64::try_from(span.as_millis()).expect("invariant: spans are bounded");
        Nap { name, millis }
    }

    fn payload(&self) -> Payload {
        Payload::encode(self).expect("invariant: a nap has a JSON form")
    }
}

/// A task: its name, the naps of its calls (one, or those of a map), and those before it.
struct Sleeper {
    name: String,
    calls: Vec<Nap>,
    is_map: bool,
    after: Vec<usize>,
}

impl Sleeper {
    fn one(name: &str, span: Duration, after: &[usize]) -> Sleeper {
        let calls = vec![Nap::new(name.to_owned(), span)];
        Sleeper { name: name.to_owned(), calls, is_map: false, after: after.to_vec() }
    }

    fn map(name: &str, spans: impl IntoIterator<Item = Duration>, after: &[usize]) -> Sleeper {
        let call = |(number, span)| Nap::new(format!("{name}/{number}"), span);
        let calls = spans.into_iter().enumerate().map(call).collect();
        Sleeper { name: name.to_owned(), calls, is_map: true, after: after.to_vec() }
    }

    fn task(&self) -> DagTask {
        let calls = match self.is_map {
            true => Calls::Map(self.calls.iter().map(Nap::payload).collect()),
            false => Calls::One(self.calls[0].payload()),
        };
        let (name, activity) = (self.name.as_str().into(), SLEEP.into());
        DagTask { name, activity, calls, after: self.after.clone() }
    }

    /// What the task gives.
    fn result(&self) -> Value {
        match self.is_map {
            true => self.calls.iter().map(|nap| nap.name.clone()).collect(),
            false => json!(self.name),
        }
    }
}

/// The tasks of a graph.
fn tasks(parameters: &Settings) -> Vec<Sleeper> {
    let sleep = parameters.span("sleep");
    let width = u32::try_from(parameters.count("width")).expect("invariant: widths are bounded");
    let sequence = || {
        let task = |index: usize| {
            let before: Vec<usize> = index.checked_sub(1).into_iter().collect();
            Sleeper::one(&format!("task{index}"), sleep, &before)
        };
        (0..parameters.count("length") as usize).map(task).collect::<Vec<Sleeper>>()
    };
    match parameters.choice("shape") {
        "sequence" => sequence(),
        "map" => vec![Sleeper::map("map", (0..width).map(|_| sleep), &[])],
        "fault-tolerance" => {
            let seconds = Duration::from_secs;
            vec![
                Sleeper::one("first_task", seconds(1), &[]),
                Sleeper::map("branch1", [2; 10].map(seconds), &[0]),
                Sleeper::map("branch2", [1, 2, 4, 8, 16].map(seconds), &[0]),
            ]
        }
        "joined" => {
            let mut all = sequence();
            let map = all.len();
            all.push(Sleeper::map("map", (1..=width).map(|times| sleep * times), &[]));
            all.push(Sleeper::one("join", sleep, &[map - 1, map]));
            all
        }
        other => unreachable!("shape={other} was refused when it was read"),
    }
}

struct Graph {
    workflow: Workflow,
    calls: usize,
    expected: Value,
}

impl Graph {
    fn new(parameters: &Settings) -> Self {
        let tasks = tasks(parameters);
        Graph {
            calls: tasks.iter().map(|task| task.calls.len()).sum(),
            expected: tasks.iter().map(Sleeper::result).collect(),
            workflow: Workflow::Dag(Rc::new(Dag {
                tasks: tasks.iter().map(Sleeper::task).collect(),
            })),
        }
    }
}

impl Workload for Graph {
    fn register(&self, application: &mut Application) {
        application.workflow(WORKFLOW, self.workflow.clone());
        application.activity(SLEEP, |cx: ActivityContext, nap: Nap| async move {
            cx.wait(Duration::from_millis(nap.millis)).await;
            Ok(nap.name)
        });
    }

    fn start(&self) -> Start {
        Start::Orchestration(WORKFLOW)
    }

    fn input(&self, _index: u64) -> Payload {
        Payload::encode(&()).expect("invariant: nothing has a JSON form")
    }

    fn check(&self, _index: u64, status: &RuntimeStatus) -> Result<(), String> {
        let results: Value = completed(status)?;
        match results == self.expected {
            true => Ok(()),
            false => Err(difference(&results, &self.expected)),
        }
    }

    fn timing_independent(&self) -> bool {
        true
    }

    fn unit(&self) -> Unit {
        Unit { name: "calls", per_orchestration: self.calls as f64 }
    }
}

/// The first task whose result is not as it should be.
fn difference(results: &Value, expected: &Value) -> String {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (results, expected) = (list(results), list(expected));
    let differs = |task: &usize| results.get(*task) != expected.get(*task);
    let told = |results: &[Value], task: usize| {
        results.get(task).map_or_else(|| "nothing".to_owned(), Value::to_string)
    };
    match (0..results.len().max(expected.len())).find(differs) {
        Some(task) => {
            let (found, expected) = (told(&results, task), told(&expected, task));
            format!("task number {task} gave {found}, expected {expected}")
        }
        None => "returned no list of results".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(sets: &[(&str, &str)]) -> Graph {
        let mut parameters = Settings::defaults(KIND.parameters);
        for (key, value) in sets {
            parameters.set(key, value).expect("in range");
        }
        Graph::new(&parameters)
    }

    #[test]
    fn the_shapes_are_the_published_ones() {
        let all_calls = |graph: &Graph| graph.calls;
        assert_eq!(all_calls(&graph(&[])), 40);
        assert_eq!(all_calls(&graph(&[("shape", "map")])), 320);
        let shaped = graph(&[("shape", "fault-tolerance")]);
        assert_eq!(shaped.calls, 16);
        let Workflow::Dag(dag) = &shaped.workflow else { panic!("a graph") };
        let after: Vec<_> = dag.tasks.iter().map(|task| task.after.clone()).collect();
        assert_eq!(after, [vec![], vec![0], vec![0]]);
        for shape in SHAPES {
            assert_eq!(graph(&[("shape", shape)]).workflow.validate(), Ok(()));
        }
    }

    #[test]
    fn a_join_waits_for_a_sequence_and_a_map_that_ends_bit_by_bit() {
        let sets = [("shape", "joined"), ("length", "2"), ("width", "3"), ("sleep", "2s")];
        let joined = graph(&sets);
        let Workflow::Dag(dag) = &joined.workflow else { panic!("a graph") };
        let after: Vec<_> = dag.tasks.iter().map(|task| task.after.clone()).collect();
        assert_eq!(after, [vec![], vec![0], vec![], vec![1, 2]]);
        let Calls::Map(calls) = &dag.tasks[2].calls else { panic!("a map") };
        let nap = |call: &Payload| call.decode::<Nap>().expect("a nap").millis;
        assert_eq!(calls.iter().map(nap).collect::<Vec<u64>>(), [2_000, 4_000, 6_000]);
        let expected = json!(["task0", "task1", ["map/0", "map/1", "map/2"], "join"]);
        assert_eq!(joined.expected, expected);
    }

    #[test]
    fn the_check_knows_right_from_wrong() {
        let graph = graph(&[("shape", "fault-tolerance")]);
        let check = |results: &Value| {
            let result = Payload::encode(results).expect("JSON");
            graph.check(0, &RuntimeStatus::Completed(result))
        };
        let mut results = graph.expected.clone();
        assert_eq!(check(&results), Ok(()));
        results[2].as_array_mut().expect("a map").swap(0, 1);
        assert!(check(&results).expect_err("swapped").starts_with("task number 2 gave"));
        let mut results = graph.expected.clone();
        results.as_array_mut().expect("a list").pop();
        let said = check(&results).expect_err("one is missing");
        assert!(said.starts_with("task number 2 gave nothing, expected"), "{said}");
        assert!(check(&json!(3)).is_err());
    }
}
