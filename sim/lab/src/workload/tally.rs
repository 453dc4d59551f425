//! Tally: each request changes one of a few counters, and is answered when that is final.
//!
//! A request is a job of a client: it signals `Add(1)` to the counter whose turn it is, and its time
//! runs until the engine has accepted the signal. What accepting means is the engine's: a message that
//! is stored, or an operation that was executed. Where an engine executes a client's call before it
//! answers, this is the published load of updates of counters.
//!
//! Checked: each counter ends at the number of requests to it.

use super::declare::count;
use super::{
    EntityStates, Job, JobContext, JobResult, Start, Unit, Workload, WorkloadKind, completed,
};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use sim_model::application::Application;
use sim_model::entity::EntityContext;
use sim_model::id::EntityId;
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use std::rc::Rc;

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "tally",
    summary: "Tally: each request signals Add(1) to one of a few counter entities",
    parameters: &[count("counters", (1, 100_000), "16", "counters that take turns")],
    files: &[],
    load: "open:rate=100,duration=30s",
    build: |parameters| Ok(Rc::new(Tally::new(parameters))),
};

/// The counter of the request with this index.
fn counter(index: u64, counters: u64) -> EntityId {
    // The name is pinned, so that as many counters as partitions fill all partitions evenly.
    let number = index % counters;
    EntityId::new("Tally", format!("{number}!{number}"))
}

/// The code of a client.
struct Request {
    counters: u64,
}

impl Job for Request {
    fn run(
        &self,
        index: u64,
        cx: JobContext,
    ) -> LocalBoxFuture<'static, Result<JobResult, String>> {
        let counter = counter(index, self.counters);
        async move {
            let started = cx.now();
            let one = Payload::encode(&1).map_err(|error| error.to_string())?;
            let sent = cx.client().signal_entity(&counter, "Add", one).await;
            sent.map_err(|error| format!("a signal to {counter}: {error}"))?;
            let result = Payload::encode(&()).map_err(|error| error.to_string())?;
            Ok(JobResult { started, ended: cx.now(), result })
        }
        .boxed_local()
    }
}

struct Tally {
    request: Rc<Request>,
}

impl Tally {
    fn new(parameters: &Settings) -> Self {
        Tally { request: Rc::new(Request { counters: parameters.count("counters") }) }
    }
}

impl Workload for Tally {
    fn register(&self, application: &mut Application) {
        application.entity::<u64>("Tally").operation(
            "Add",
            |_: &mut EntityContext, count: &mut u64, amount: u64| {
                *count += amount;
                Ok(())
            },
        );
    }

    fn start(&self) -> Start {
        Start::Job(self.request.clone())
    }

    fn input(&self, _index: u64) -> Payload {
        Payload::encode(&()).expect("invariant: nothing has a JSON form")
    }

    fn check(&self, _index: u64, status: &RuntimeStatus) -> Result<(), String> {
        completed::<()>(status)
    }

    fn timing_independent(&self) -> bool {
        true
    }

    fn unit(&self) -> Unit {
        Unit { name: "signals", per_orchestration: 1.0 }
    }

    fn entities(&self, started: u64) -> Vec<EntityId> {
        let counters = self.request.counters;
        (0..counters.min(started)).map(|index| counter(index, counters)).collect()
    }

    fn check_entities(&self, started: u64, states: &EntityStates) -> Result<(), String> {
        let counters = self.request.counters;
        for index in 0..counters.min(started) {
            let counter = counter(index, counters);
            let expected = (started - index).div_ceil(counters);
            let state = states.get(&counter).and_then(Option::as_ref);
            let value = state.map(|state| state.decode::<u64>()).transpose();
            let value = value.map_err(|error| format!("{counter}: {error}"))?.unwrap_or_default();
            if value != expected {
                return Err(format!("{counter} stands at {value}, expected {expected}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_knows_right_from_wrong() {
        let mut parameters = Settings::defaults(KIND.parameters);
        parameters.set("counters", "2").expect("in range");
        let tally = Tally::new(&parameters);
        let state = |value: u64| Some(Payload::encode(&value).expect("a number"));
        let states = |first, second| {
            EntityStates::from([(counter(0, 2), state(first)), (counter(1, 2), state(second))])
        };
        assert_eq!(tally.check_entities(5, &states(3, 2)), Ok(()));
        assert!(tally.check_entities(5, &states(2, 2)).is_err(), "one was lost");
        assert!(tally.check_entities(5, &states(3, 3)).is_err(), "one was counted twice");
    }
}
