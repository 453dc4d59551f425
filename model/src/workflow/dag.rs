//! A graph of tasks as an orchestration.
//!
//! Each task is called in the step that consumes the last of the answers it waits for; the calls of
//! a task are made at once.

use super::{Calls, Dag, DagTask};
use crate::application::ApplicationResult;
use crate::orchestration::OrchestrationContext;
use crate::payload::Payload;
use futures_util::future::{LocalBoxFuture, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::rc::Rc;

/// A task on its way: its place in the graph, and what it came to.
type Task = LocalBoxFuture<'static, (usize, ApplicationResult)>;

/// The graph on its way.
struct Progress {
    dag: Rc<Dag>,
    context: OrchestrationContext,
    /// For each task, those that wait for it.
    downstream: Vec<Vec<usize>>,
    /// For each task, how many it still waits for.
    missing: Vec<usize>,
    results: Vec<Option<ApplicationResult>>,
    running: FuturesUnordered<Task>,
}

pub(super) async fn run(context: OrchestrationContext, dag: Rc<Dag>) -> ApplicationResult {
    let mut progress = Progress::new(context, dag);
    progress.start_roots();
    while let Some((task, result)) = progress.running.next().await {
        progress.ended(task, result);
    }
    progress.result()
}

impl Progress {
    fn new(context: OrchestrationContext, dag: Rc<Dag>) -> Progress {
        let mut downstream = vec![Vec::new(); dag.tasks.len()];
        for (index, task) in dag.tasks.iter().enumerate() {
            task.after.iter().for_each(|upstream| downstream[*upstream].push(index));
        }
        let missing = dag.tasks.iter().map(|task| task.after.len()).collect();
        let results = vec![None; dag.tasks.len()];
        Progress { dag, context, downstream, missing, results, running: FuturesUnordered::new() }
    }

    fn start_roots(&mut self) {
        for task in 0..self.dag.tasks.len() {
            if self.missing[task] == 0 {
                self.start(task);
            }
        }
    }

    fn start(&self, index: usize) {
        let result = call(&self.context, &self.dag.tasks[index]);
        self.running.push(Box::pin(async move { (index, result.await) }));
    }

    fn ended(&mut self, task: usize, result: ApplicationResult) {
        let succeeded = result.is_ok();
        let previous = self.results[task].replace(result);
        assert!(previous.is_none(), "invariant: task {task} ends once");
        if succeeded {
            for next in std::mem::take(&mut self.downstream[task]) {
                self.missing[next] -= 1;
                if self.missing[next] == 0 {
                    self.start(next);
                }
            }
        }
    }

    /// What the graph came to, once nothing in it runs any more.
    fn result(&self) -> ApplicationResult {
        let mut results = Vec::with_capacity(self.results.len());
        for (task, result) in self.dag.tasks.iter().zip(&self.results) {
            match result {
                Some(Ok(result)) => results.push(result),
                Some(Err(error)) => return Err(task.failure(error)),
                // A task upstream of it, which comes earlier, has failed and was found.
                None => unreachable!("invariant: {:?} has run or is after a failure", task.name),
            }
        }
        Ok(Payload::list(results))
    }
}

/// Makes the calls of a task; what is returned waits for all of them.
fn call(
    context: &OrchestrationContext,
    task: &DagTask,
) -> LocalBoxFuture<'static, ApplicationResult> {
    let call = |input: &Payload| context.call_activity_encoded(&task.activity, input.clone());
    match &task.calls {
        Calls::One(input) => Box::pin(call(input)),
        Calls::Map(inputs) => {
            let calls = join_all(inputs.iter().map(call));
            Box::pin(async move { listed(calls.await) })
        }
    }
}

/// The list of results, or the first error in their order.
pub(super) fn listed(results: Vec<ApplicationResult>) -> ApplicationResult {
    let results = results.into_iter().collect::<Result<Vec<Payload>, _>>()?;
    Ok(Payload::list(&results))
}
