//! Ingestion: events for many joins, from one producer, as fast as they are taken.
//!
//! The job starts a workflow of `triggers` joins of `events` events each (published: 200 of 1,000) and
//! raises all events in turns: the first event of every join, then the second of every join, and so
//! on; `parallel` of them are under way at a time. Events carry no data. All joins complete within the
//! last `triggers` events. With `order=staggered` joins complete one after the other instead, while those
//! after them are half full (the artefact's earlier test of fault tolerance had joins of unequal sizes): the
//! e-th event of join j comes in turn e·j, both counted from 1. The duration of the job is from the first event sent to the last update of
//! the workflow, so that the rate counts what was *consumed*.
//!
//! The published test fills the stream first and then starts the worker; here the producer is a client
//! of the engine and sends while events are consumed, so a rate can be that of the client as well as
//! that of the engine.
//!
//! Checked: that the workflow ends (a lost event leaves it waiting) with the number of its joins, and
//! not before the last event was sent (an event that is counted twice may end a join early).
//!
//! Source: triggerflow/triggerflow@e1f9f6d, `tests/ingestion-test/setup_redis.py`,
//! `docs/EXPERIMENTS.md`; the history of `tests/load_test_fault_tolerance.py` there.

use super::declare::{choice, count};
use super::{Job, JobContext, JobResult, Start, Unit, Workload, WorkloadKind, completed};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use sim_model::application::Application;
use sim_model::engine::StartRequest;
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use sim_model::workflow::{Joins, Workflow};
use std::cell::Cell;
use std::rc::Rc;

/// The name of the workflow.
const WORKFLOW: &str = "Ingestion";
/// Most events of a job.
const EVENTS_MAX: u64 = 500_000;

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "ingestion",
    summary: "Ingestion: a client raises events for many joins of one workflow in turns",
    parameters: &[
        count("triggers", (1, 10_000), "20", "joins of the workflow; published: 200"),
        count("events", (1, 100_000), "100", "events of each join; published: 1000"),
        count("parallel", (1, 1_000), "50", "events of the client under way"),
        choice(
            "order",
            &["turns", "staggered"],
            "turns",
            "of events: turns, so that joins end together, or staggered, one after the other",
        ),
    ],
    files: &[],
    load: "batch:1",
    build: |parameters| {
        let (triggers, events) = (parameters.count("triggers"), parameters.count("events"));
        if triggers * events > EVENTS_MAX {
            return Err(format!(
                "triggers={triggers} of events={events} are {} events, at most {EVENTS_MAX} are \
                 possible",
                triggers * events
            ));
        }
        let joins = Joins { joins: triggers as u32, events: events as u32 };
        let parallel = parameters.count("parallel") as usize;
        let order = order(joins, parameters.choice("order") == "staggered");
        Ok(Rc::new(Ingestion { producer: Rc::new(Producer { joins, parallel, order }) }))
    },
};

/// The join of each event, in the order in which events are raised.
fn order(joins: Joins, is_staggered: bool) -> Vec<u32> {
    let turns = (1..=u64::from(joins.events)).flat_map(|event| {
        (0..joins.joins).map(move |join| {
            let turn = if is_staggered { event * (u64::from(join) + 1) } else { event };
            (turn, join)
        })
    });
    let mut turns: Vec<(u64, u32)> = turns.collect();
    turns.sort_unstable();
    turns.into_iter().map(|(_, join)| join).collect()
}

/// The code of the trigger.
#[derive(Clone)]
struct Producer {
    joins: Joins,
    parallel: usize,
    order: Vec<u32>,
}

impl Producer {
    async fn produce(self, cx: JobContext) -> Result<JobResult, String> {
        let instance = cx.instance();
        let nothing = Payload::encode(&()).map_err(|error| error.to_string())?;
        let (name, input) = (WORKFLOW.into(), nothing.clone());
        let request = StartRequest { instance: instance.clone(), name, input };
        cx.client().start(request).await.map_err(|error| format!("the start: {error}"))?;
        let started = cx.now();
        let last = Cell::new(started);
        cx.parallel(0..self.order.len() as u64, self.parallel, |number| {
            last.set(cx.now());
            let join = self.order[number as usize].to_string();
            let sent = cx.client().raise_event(instance.clone(), &join, nothing.clone());
            sent.map(move |sent| sent.map_err(|error| format!("event {number}: {error}")))
        })
        .await?;
        let ended = cx.client().wait(instance).await.map_err(|error| error.to_string())?;
        match ended.status {
            RuntimeStatus::Completed(result) => {
                not_before(ended.last_updated, last.get())?;
                Ok(JobResult { started, ended: ended.last_updated, result })
            }
            other => Err(super::ended_badly(&other)),
        }
    }
}

/// Checks that a workflow of joins has not ended before its last event was sent.
///
/// # Errors
/// If it has, for a person.
pub(super) fn not_before(ended: Timestamp, last_event: Timestamp) -> Result<(), String> {
    match ended >= last_event {
        true => Ok(()),
        false => Err(format!(
            "the workflow ended at {ended}, before its last event was sent at {last_event}: an \
             event was counted twice"
        )),
    }
}

impl Job for Producer {
    fn run(
        &self,
        _index: u64,
        cx: JobContext,
    ) -> LocalBoxFuture<'static, Result<JobResult, String>> {
        self.clone().produce(cx).boxed_local()
    }
}

struct Ingestion {
    producer: Rc<Producer>,
}

impl Workload for Ingestion {
    fn register(&self, application: &mut Application) {
        application.workflow(WORKFLOW, Workflow::Joins(self.producer.joins));
    }

    fn start(&self) -> Start {
        Start::Job(self.producer.clone())
    }

    fn input(&self, _index: u64) -> Payload {
        Payload::encode(&()).expect("invariant: nothing has a JSON form")
    }

    fn check(&self, _index: u64, status: &RuntimeStatus) -> Result<(), String> {
        let (joined, expected): (u32, u32) = (completed(status)?, self.producer.joins.joins);
        match joined == expected {
            true => Ok(()),
            false => Err(format!("{joined} joins have ended, expected {expected}")),
        }
    }

    fn timing_independent(&self) -> bool {
        true
    }

    fn unit(&self) -> Unit {
        Unit { name: "events", per_orchestration: self.producer.order.len() as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Parameters;
    use super::*;
    use sim_model::settings::Settings;

    fn parameters(triggers: &str) -> Parameters {
        let mut settings = Settings::defaults(KIND.parameters);
        settings.set("triggers", triggers).expect("in range");
        settings.set("events", "1000").expect("in range");
        Parameters::new(settings)
    }

    #[test]
    fn the_check_knows_right_from_wrong() {
        let published = (KIND.build)(&parameters("200")).expect("the published size");
        assert_eq!(published.unit().per_orchestration, 200_000.0);
        let check = |joined: u32| {
            let result = Payload::encode(&joined).expect("a number");
            published.check(0, &RuntimeStatus::Completed(result))
        };
        assert_eq!(check(200), Ok(()));
        assert!(check(199).is_err());
        assert!(published.check(0, &RuntimeStatus::Running).is_err());
    }

    #[test]
    fn staggered_joins_end_one_after_the_other() {
        let joins = Joins { joins: 3, events: 2 };
        assert_eq!(order(joins, false), [0, 1, 2, 0, 1, 2]);
        // Turns 1 and 2, 2 and 4, 3 and 6.
        assert_eq!(order(joins, true), [0, 0, 1, 2, 1, 2]);
    }

    #[test]
    fn an_end_before_the_last_event_is_told() {
        let at = Timestamp::from_millis;
        assert_eq!(not_before(at(5), at(5)), Ok(()));
        assert!(not_before(at(5), at(6)).expect_err("too early").contains("counted twice"));
    }

    #[test]
    fn more_events_than_a_workflow_takes_are_refused() {
        let refused = (KIND.build)(&parameters("501")).err().expect("too many");
        assert!(refused.contains("501000 events, at most 500000"), "{refused}");
        let all = (KIND.build)(&parameters("500")).expect("just as many");
        all.register(&mut Application::new());
    }
}
