//! Counter: signals from a client to one entity, as fast as it takes them.
//!
//! The job signals `Add(1)` to one counter entity `signals` times, 50 at a time, and waits until the
//! counter has reached that value. The counter notes when it was first and last changed; the
//! duration of the job lies between those, as published. How often the trigger looks does not enter
//! it. The published entity has one more operation, which ends its process; faults are no business
//! of a workload here.
//!
//! Checked: the value, once it has been reached and again one look later: a signal that is counted
//! twice shows as a value beyond the number of signals. The entity's state holds the two instants,
//! so it is no result that engines could be compared by; the value is.

use super::declare::count;
use super::{Job, JobContext, JobResult, Start, Unit, Workload, WorkloadKind, completed, states};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use sim_model::application::Application;
use sim_model::entity::EntityContext;
use sim_model::id::EntityId;
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::time::Timestamp;
use std::rc::Rc;
use std::time::Duration;

/// How often the trigger looks at the counter.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "counter",
    summary: "Counter: a client signals Add(1) to one entity many times",
    parameters: &[
        count("signals", (1, 1_000_000), "2000", "signals to the counter"),
        count("parallel", (1, 1_000), "50", "signals of the client under way; published: 50"),
    ],
    files: &[],
    load: "batch:1",
    build: |parameters| Ok(Rc::new(Counter::new(parameters))),
};

/// The state of a counter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    value: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

fn add(cx: &mut EntityContext, count: &mut Count, amount: u64) {
    count.value += amount;
    count.first.get_or_insert(cx.now());
    count.last = Some(cx.now());
}

/// The code of the trigger.
struct Trigger {
    signals: u64,
    parallel: usize,
}

impl Job for Trigger {
    fn run(
        &self,
        index: u64,
        cx: JobContext,
    ) -> LocalBoxFuture<'static, Result<JobResult, String>> {
        let (signals, parallel) = (self.signals, self.parallel);
        async move {
            let counter = EntityId::new("Counter", index.to_string());
            let one = Payload::encode(&1).map_err(|error| error.to_string())?;
            cx.parallel(0..signals, parallel, |_| {
                let sent = cx.client().signal_entity(&counter, "Add", one.clone());
                sent.map(|sent| sent.map_err(|error| format!("a signal: {error}")))
            })
            .await?;
            let awaited = format!("the value {signals} of the counter");
            let reached = |count: Count| (count.value >= signals).then_some(count);
            states::poll(&cx, &counter, POLL_INTERVAL, &awaited, reached).await?;
            // What is delivered a second time comes late.
            cx.sleep(POLL_INTERVAL).await;
            let count = states::read::<Count>(&cx, &counter).await?;
            let Some(Count { value, first: Some(first), last: Some(last) }) = count else {
                return Err("the counter has lost its state".to_owned());
            };
            let result = Payload::encode(&value).map_err(|error| error.to_string())?;
            Ok(JobResult { started: first, ended: last, result })
        }
        .boxed_local()
    }
}

struct Counter {
    trigger: Rc<Trigger>,
}

impl Counter {
    fn new(parameters: &Settings) -> Self {
        let signals = parameters.count("signals");
        let parallel = parameters.count("parallel") as usize;
        Counter { trigger: Rc::new(Trigger { signals, parallel }) }
    }
}

impl Workload for Counter {
    fn register(&self, application: &mut Application) {
        application.entity::<Count>("Counter").operation(
            "Add",
            |cx: &mut EntityContext, count: &mut Count, amount: u64| {
                add(cx, count, amount);
                Ok(())
            },
        );
    }

    fn start(&self) -> Start {
        Start::Job(self.trigger.clone())
    }

    fn input(&self, _index: u64) -> Payload {
        Payload::encode(&()).expect("invariant: nothing has a JSON form")
    }

    fn check(&self, _index: u64, status: &RuntimeStatus) -> Result<(), String> {
        let value: u64 = completed(status)?;
        if value == self.trigger.signals {
            return Ok(());
        }
        Err(format!("the counter stands at {value}, expected {}", self.trigger.signals))
    }

    fn timing_independent(&self) -> bool {
        true
    }

    fn unit(&self) -> Unit {
        Unit { name: "signals", per_orchestration: self.trigger.signals as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_knows_right_from_wrong() {
        let counter = Counter::new(&Settings::defaults(KIND.parameters));
        let check = |value: u64| {
            let result = Payload::encode(&value).expect("a number");
            counter.check(0, &RuntimeStatus::Completed(result))
        };
        assert_eq!(check(2000), Ok(()));
        assert!(check(1999).is_err(), "one was lost");
        assert!(check(2001).is_err(), "one was counted twice");
    }
}
