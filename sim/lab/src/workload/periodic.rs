//! Periodic: orchestrations that do something at regular times.
//!
//! The published suite has a test of this name and no numbers for it; the design is our own. Each
//! orchestration has `ticks` ticks, one every `interval`, and waits for each with a durable timer.
//! Ticks are due at fixed times from the start on, so a late one does not push the next ones back. At
//! each tick it signals a clock entity of its own, and after every `ticks_per_execution` ticks it
//! continues as new, as eternal orchestrations do to keep their history short.
//!
//! Checked: that it ended after the right number of ticks with no timer fired early, and that the
//! clock has counted every tick once, in order. How late timers fired depends on timing, and is no
//! result: the greatest lateness, in microseconds, is the orchestration's custom status.

use super::declare::{count, span};
use super::{EntityStates, Start, Unit, Workload, WorkloadKind, completed, states};
use serde::{Deserialize, Serialize};
use sim_model::application::{Application, ApplicationError};
use sim_model::entity::EntityContext;
use sim_model::id::EntityId;
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::time::Timestamp;
use std::rc::Rc;
use std::time::Duration;

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "periodic",
    summary: "Periodic: orchestrations that wait for regular times with durable timers",
    parameters: &[
        count("ticks", (1, 1_000_000), "30", "ticks of each orchestration"),
        span("interval", Duration::from_secs(24 * 3600), "1s", "time between two ticks"),
        count("ticks_per_execution", (1, 10_000), "10", "ticks until it continues as new"),
    ],
    files: &[],
    load: "batch:20",
    build: |parameters| Ok(Rc::new(Periodic::new(parameters))),
};

/// The input of one execution of the orchestration.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Progress {
    index: u64,
    /// Ticks so far.
    ticked: u64,
    /// Timers among them that fired before they were due.
    early: u64,
    /// When the first execution began.
    since: Option<Timestamp>,
    /// The greatest lateness so far.
    late_max: Duration,
}

/// What the orchestration returns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ticks {
    ticked: u64,
    early: u64,
}

/// What all executions share.
#[derive(Clone, Copy)]
struct Schedule {
    ticks: u64,
    interval: Duration,
    ticks_per_execution: u64,
}

impl Schedule {
    /// When the tick with this number is due, from the start on.
    fn offset(self, tick: u64) -> Duration {
        self.interval * u32::try_from(tick).unwrap_or(u32::MAX)
    }
}

/// The state of a clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Clock {
    /// Ticks counted.
    ticked: u64,
    /// Ticks that were not the one after the last.
    disordered: u64,
}

impl Clock {
    fn tick(&mut self, number: u64) {
        self.ticked += 1;
        self.disordered += u64::from(self.ticked != number);
    }
}

fn clock(index: u64) -> EntityId {
    EntityId::new("Clock", index.to_string())
}

async fn periodic(
    context: OrchestrationContext,
    mut progress: Progress,
    schedule: Schedule,
) -> Result<Ticks, ApplicationError> {
    let since = *progress.since.get_or_insert(context.now());
    for _ in 0..schedule.ticks_per_execution {
        if progress.ticked == schedule.ticks {
            let Progress { ticked, early, .. } = progress;
            return Ok(Ticks { ticked, early });
        }
        progress.ticked += 1;
        let due = since + schedule.offset(progress.ticked);
        context.create_timer(due).await?;
        let now = context.now();
        if now < due {
            progress.early += 1;
        } else {
            progress.late_max = progress.late_max.max(now.since(due));
        }
        context.set_custom_status(&progress.late_max.as_micros())?;
        context.signal_entity(&clock(progress.index), "Tick", &progress.ticked)?;
    }
    context.continue_as_new(&progress).await
}

struct Periodic {
    schedule: Schedule,
}

impl Periodic {
    fn new(parameters: &Settings) -> Self {
        let schedule = Schedule {
            ticks: parameters.count("ticks"),
            interval: parameters.span("interval"),
            ticks_per_execution: parameters.count("ticks_per_execution"),
        };
        Periodic { schedule }
    }

    fn clocks(&self, started: u64) -> impl Iterator<Item = (EntityId, Clock)> {
        let counted = Clock { ticked: self.schedule.ticks, disordered: 0 };
        (0..started).map(move |index| (clock(index), counted.clone()))
    }
}

impl Workload for Periodic {
    fn register(&self, application: &mut Application) {
        let schedule = self.schedule;
        application.orchestration("Periodic", move |context, progress: Progress| {
            periodic(context, progress, schedule)
        });
        application.entity::<Clock>("Clock").operation(
            "Tick",
            |_: &mut EntityContext, clock: &mut Clock, number: u64| {
                clock.tick(number);
                Ok(())
            },
        );
    }

    fn start(&self) -> Start {
        Start::Orchestration("Periodic")
    }

    fn input(&self, index: u64) -> Payload {
        let late_max = Duration::ZERO;
        let progress = Progress { index, ticked: 0, early: 0, since: None, late_max };
        Payload::encode(&progress).expect("invariant: numbers have a JSON form")
    }

    fn check(&self, _index: u64, status: &RuntimeStatus) -> Result<(), String> {
        let ticks: Ticks = completed(status)?;
        let expected = Ticks { ticked: self.schedule.ticks, early: 0 };
        if ticks == expected {
            return Ok(());
        }
        Err(format!("returned {ticks:?}, expected {expected:?}"))
    }

    fn timing_independent(&self) -> bool {
        true
    }

    fn unit(&self) -> Unit {
        Unit { name: "ticks", per_orchestration: self.schedule.ticks as f64 }
    }

    fn entities(&self, started: u64) -> Vec<EntityId> {
        self.clocks(started).map(|(clock, _)| clock).collect()
    }

    fn check_entities(&self, started: u64, finals: &EntityStates) -> Result<(), String> {
        states::compare(finals, self.clocks(started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_knows_right_from_wrong() {
        let periodic = Periodic::new(&Settings::defaults(KIND.parameters));
        let check = |ticked, early| {
            let result = Payload::encode(&Ticks { ticked, early }).expect("two numbers");
            periodic.check(0, &RuntimeStatus::Completed(result))
        };
        assert_eq!(check(30, 0), Ok(()));
        assert!(check(29, 0).is_err());
        assert!(check(30, 1).is_err());

        let finals = |ticks: &mut dyn Iterator<Item = u64>| {
            let mut state = Clock::default();
            ticks.for_each(|number| state.tick(number));
            let state = Payload::encode(&state).expect("a state");
            periodic.check_entities(1, &[(clock(0), Some(state))].into())
        };
        assert_eq!(finals(&mut (1..=30)), Ok(()));
        assert!(finals(&mut (1..=29)).is_err(), "one was lost");
        assert!(finals(&mut (1..=30).chain([30])).is_err(), "one came twice");
        assert!(finals(&mut [2, 1].into_iter().chain(3..=30)).is_err(), "one overtook another");
    }
}
