//! Jobs: what an HTTP trigger does that is more than starting one orchestration.
//!
//! Some published benchmarks are one piece of work that the code of an HTTP trigger drives: it
//! starts orchestrations, signals entities, polls, and reports the duration that the benchmark
//! defines (microsoft/durabletask-netherite, `test/PerformanceTests/Benchmarks`, the tests of
//! `runsingle`). Such code is a [`Job`]. It runs on the host that took the request, reaches the
//! task hub through the client of that host alone, and ends when that host fails.
//!
//! A job is one unit of load, as an orchestration is: it has an index, a record with the times it
//! reports, and a result that the workload checks. It has no breakdown of its latency, since it is
//! no message chain of its own.

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{self, StreamExt};
use sim_model::engine::{Client, ClientError, InstanceState, StartRequest};
use sim_model::id::InstanceId;
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use sim_world::kernel::Kernel;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What the load starts: by its index, one of these.
#[derive(Clone)]
pub enum Start {
    /// The orchestration registered under this name.
    Orchestration(&'static str),
    /// A job.
    Job(Rc<dyn Job>),
}

/// What throughput counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// Its plural: `orchestrations`, `signals`, `words`.
    pub name: &'static str,
    /// How many of them an orchestration or a job of the load stands for.
    pub per_orchestration: f64,
}

impl Unit {
    /// Orchestrations (or jobs) themselves.
    pub const fn orchestrations() -> Unit {
        Unit { name: "orchestrations", per_orchestration: 1.0 }
    }
}

/// The code of an HTTP trigger.
pub trait Job {
    /// Does the work with this index.
    ///
    /// The future's error says what went wrong, for a person; the job has then failed.
    fn run(&self, index: u64, cx: JobContext)
    -> LocalBoxFuture<'static, Result<JobResult, String>>;
}

/// What a job comes to, with the duration as its benchmark defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobResult {
    /// When the measured work began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What came out of it.
    pub result: Payload,
}

/// What a job works with. Cloning is cheap.
#[derive(Clone)]
pub struct JobContext {
    kernel: Kernel,
    client: Rc<dyn Client>,
    instance: InstanceId,
    level: Rc<dyn Fn(&'static str, u64)>,
}

impl JobContext {
    pub(crate) fn new(kernel: &Kernel, client: Rc<dyn Client>, instance: InstanceId) -> Self {
        JobContext { kernel: kernel.clone(), client, instance, level: Rc::new(|_, _| ()) }
    }

    /// The same, and hands levels to `level`.
    pub(crate) fn with_levels(self, level: impl Fn(&'static str, u64) + 'static) -> Self {
        JobContext { level: Rc::new(level), ..self }
    }

    /// Reports that from now on there are `value` of `what` (a plural): a level over time, which is
    /// measured with the run. All jobs of a run report to one record.
    pub fn level(&self, what: &'static str, value: u64) {
        (self.level)(what, value);
    }

    /// The task hub, through the client of the host on which the job runs.
    pub fn client(&self) -> &Rc<dyn Client> {
        &self.client
    }

    /// An instance name that no other job of the run has. A job that needs several appends to it.
    pub fn instance(&self) -> InstanceId {
        self.instance.clone()
    }

    /// [`JobContext::instance`] with `suffix` after a dot.
    pub fn instance_named(&self, suffix: &str) -> InstanceId {
        InstanceId::new(format!("{}.{suffix}", self.instance))
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.kernel.now()
    }

    /// Waits for a span of virtual time.
    pub async fn sleep(&self, span: Duration) {
        self.kernel.sleep(span).await;
    }

    /// Starts the orchestration `name` as `instance` and waits for its end.
    ///
    /// # Errors
    /// If the engine gave no answer, or the orchestration ended without a result.
    pub async fn run(
        &self,
        name: impl Into<Arc<str>>,
        instance: InstanceId,
        input: Payload,
    ) -> Result<JobResult, String> {
        let request = StartRequest { instance: instance.clone(), name: name.into(), input };
        let told = |error: ClientError| format!("{instance}: {error}");
        self.client.start(request).await.map_err(told)?;
        let InstanceState { created, last_updated, status, .. } =
            self.client.wait(instance.clone()).await.map_err(told)?;
        match status {
            RuntimeStatus::Completed(result) => {
                Ok(JobResult { started: created, ended: last_updated, result })
            }
            other => Err(format!("{instance}: {}", super::ended_badly(&other))),
        }
    }

    /// Does `work` for every item, at most `width` of them at a time, and returns what they come
    /// to in the order of the items.
    ///
    /// # Errors
    /// The first error in time; what is under way then is given up.
    ///
    /// # Panics
    /// If `width` is zero.
    pub async fn parallel<I, T, E, F>(
        &self,
        items: impl IntoIterator<Item = I>,
        width: usize,
        work: impl Fn(I) -> F,
    ) -> Result<Vec<T>, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        in_parallel(items, width, work).await
    }
}

/// [`JobContext::parallel`] for anyone.
pub(crate) async fn in_parallel<I, T, E, F>(
    items: impl IntoIterator<Item = I>,
    width: usize,
    work: impl Fn(I) -> F,
) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>>,
{
    assert!(width > 0, "at least one item is worked on at a time");
    let numbered = items.into_iter().enumerate().map(|(number, item)| {
        let work = work(item);
        async move { (number, work.await) }
    });
    let mut under_way = pin!(stream::iter(numbered).buffer_unordered(width));
    let mut done: Vec<(usize, T)> = Vec::new();
    while let Some((number, result)) = under_way.next().await {
        done.push((number, result?));
    }
    done.sort_unstable_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, value)| value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_world::kernel::{self, KernelOptions};
    use std::cell::Cell;

    fn simulated<T: Send + 'static>(main: impl AsyncFnOnce(Kernel) -> T + Send + 'static) -> T {
        kernel::on_fresh_thread(|| {
            let options = KernelOptions::with_seed(1);
            kernel::simulate(options, |kernel| async move { main(kernel).await })
                .expect("it ends")
                .0
        })
    }

    #[test]
    fn work_goes_on_side_by_side_and_comes_back_in_order() {
        let (results, took, most) = simulated(async |kernel: Kernel| {
            let (under_way, most) = (Cell::new(0), Cell::new(0));
            let work = async |item: u64| {
                under_way.set(under_way.get() + 1);
                most.set(most.get().max(under_way.get()));
                kernel.sleep(Duration::from_millis(10 - item)).await;
                under_way.set(under_way.get() - 1);
                Ok::<_, String>(item)
            };
            let results = in_parallel(0..4, 2, work).await;
            (results, kernel.now(), most.get())
        });
        assert_eq!(results, Ok(vec![0, 1, 2, 3]));
        // 0 takes 10 ms and then 3 takes 7 ms; beside them 1 takes 9 ms and then 2 takes 8 ms.
        assert_eq!((took, most), (Timestamp::from_millis(17), 2));
    }

    #[test]
    fn the_first_error_in_time_ends_it() {
        let (result, took) = simulated(async |kernel: Kernel| {
            let work = async |item: u64| {
                kernel.sleep(Duration::from_millis(item)).await;
                if item < 3 { Ok(()) } else { Err(item) }
            };
            let result = in_parallel([9, 1, 3, 5], 4, work).await;
            (result, kernel.now())
        });
        assert_eq!((result, took), (Err(3), Timestamp::from_millis(3)));
    }
}
