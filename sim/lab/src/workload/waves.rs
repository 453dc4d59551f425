//! Waves: the auto-scaling experiment. Workspaces that come, get events for a while, and go.
//!
//! Each index is one workspace: a workflow that joins all the events it is to get. There are 99, in
//! three waves:
//! 1. workspaces 0 to 49, started 0.5 s apart; each gets 30 events 5 s apart; those below 30 then pause
//!    for 60 s and get 30 more, 3 s apart. After the last of the 50 starts, 100 s pass.
//! 2. workspaces 35 to 84, started 0.3 s apart; each gets 10 events 5 s apart; those up to 55 then pause
//!    for 30 s and get 10 more. After the last of the starts, 70 s pass. 35 to 49 have events of
//!    both waves.
//! 3. workspaces 85 to 98, all at once: 20 events 5 s apart, a pause of 44 s, and 20 more.
//!
//! A span lies after each start and each event, the last of a burst included. All spans are `percent`
//! of the published ones. Index 99 is workspace 0 again, at the same time, and so on.
//!
//! The published metric is active workers over active workflows, over time. An engine that has workers
//! for workspaces reports theirs as a level; this workload reports `active workspaces`, those within a
//! burst of events. The duration of the job is from the last event to the last update of the workflow:
//! how long it took the engine to notice.
//!
//! Assumed: a workspace counts its events in one join (the artefact's triggers are not known here), and
//! the third wave starts at once (no spacing is stated).
//!
//! Checked: that every workflow ends, which takes all its events, and not before the last was sent.
//!
//! Source: triggerflow/triggerflow@e1f9f6d, `tests/autoscaling_test.py`.

use super::declare::count;
use super::ingestion::not_before;
use super::{Job, JobContext, JobResult, Start, Workload, WorkloadKind, completed};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use sim_model::application::Application;
use sim_model::engine::StartRequest;
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::time::Timestamp;
use sim_model::workflow::{Joins, Workflow};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// How many workspaces there are.
const WORKSPACES: u64 = 99;
/// The level that is reported.
const ACTIVE: &str = "active workspaces";

/// The registered kind.
pub(super) const KIND: WorkloadKind = WorkloadKind {
    name: "waves",
    summary: "Waves: workspaces that get events in three waves, for scaling over time",
    parameters: &[count("percent", (1, 500), "100", "of all published spans of time")],
    files: &[],
    load: "batch:99",
    build: |parameters| Ok(Rc::new(Waves::new(parameters))),
};

/// Events to a workspace, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Burst {
    /// When the first is sent, from the start of the experiment.
    at: Duration,
    events: u32,
    /// After each of them.
    spacing: Duration,
}

impl Burst {
    fn end(self) -> Duration {
        self.at + self.spacing * self.events
    }

    /// This burst and, a pause after its end, a second one.
    fn then(self, pause: Duration, spacing: Duration) -> [Burst; 2] {
        [self, Burst { at: self.end() + pause, spacing, ..self }]
    }
}

/// The bursts of a workspace at the published spans.
fn bursts(workspace: u64) -> Vec<Burst> {
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    let mut bursts = Vec::new();
    if workspace < 50 {
        let first = Burst { at: ms(500 * workspace), events: 30, spacing: s(5) };
        match workspace < 30 {
            true => bursts.extend(first.then(s(60), s(3))),
            false => bursts.push(first),
        }
    }
    let second_wave = ms(500 * 50) + s(100);
    if (35..=84).contains(&workspace) {
        let at = second_wave + ms(300 * (workspace - 35));
        let first = Burst { at, events: 10, spacing: s(5) };
        match workspace <= 55 {
            true => bursts.extend(first.then(s(30), s(5))),
            false => bursts.push(first),
        }
    }
    let third_wave = second_wave + ms(300 * 50) + s(70);
    if (85..=98).contains(&workspace) {
        bursts.extend(Burst { at: third_wave, events: 20, spacing: s(5) }.then(s(44), s(5)));
    }
    bursts
}

/// How many events a workspace gets.
fn events(workspace: u64) -> u32 {
    bursts(workspace).iter().map(|burst| burst.events).sum()
}

/// The name of the workflow that joins so many events.
fn workflow(events: u32) -> String {
    format!("Workspace{events}")
}

/// The code of the trigger.
struct Wave {
    percent: u32,
    /// Workspaces within a burst.
    active: Rc<Cell<u64>>,
}

impl Wave {
    fn scaled(&self, burst: Burst) -> Burst {
        let scale = |span: Duration| span * self.percent / 100;
        Burst { at: scale(burst.at), spacing: scale(burst.spacing), ..burst }
    }
}

/// One workspace on its way.
struct Workspace {
    cx: JobContext,
    began: Timestamp,
    /// Bursts that it is within: two waves may overlap.
    bursts: Cell<u32>,
    active: Rc<Cell<u64>>,
}

impl Workspace {
    async fn run(self, bursts: Vec<Burst>) -> Result<JobResult, String> {
        let events: u32 = bursts.iter().map(|burst| burst.events).sum();
        let nothing = Payload::encode(&()).map_err(|error| error.to_string())?;
        self.until(bursts[0].at).await;
        let (instance, name) = (self.cx.instance(), workflow(events).into());
        let request = StartRequest { instance: instance.clone(), name, input: nothing.clone() };
        let started = self.cx.client().start(request).await;
        started.map_err(|error| format!("the start: {error}"))?;
        let sends = bursts.iter().map(|burst| self.burst(*burst, &nothing));
        let last = futures_util::future::try_join_all(sends).await?;
        let last = last.into_iter().max().expect("invariant: there is a burst");
        let ended = self.cx.client().wait(instance).await.map_err(|error| error.to_string())?;
        match ended.status {
            RuntimeStatus::Completed(result) => {
                not_before(ended.last_updated, last)?;
                Ok(JobResult { started: last, ended: ended.last_updated, result })
            }
            other => Err(super::ended_badly(&other)),
        }
    }

    /// Sends the events of a burst; when the last of them was sent.
    async fn burst(&self, burst: Burst, nothing: &Payload) -> Result<Timestamp, String> {
        self.until(burst.at).await;
        self.bursts.set(self.bursts.get() + 1);
        if self.bursts.get() == 1 {
            self.change(1);
        }
        let mut last = self.cx.now();
        for event in 0..burst.events {
            self.until(burst.at + burst.spacing * event).await;
            last = self.cx.now();
            let sent = self.cx.client().raise_event(self.cx.instance(), "0", nothing.clone());
            sent.await.map_err(|error| format!("event {event}: {error}"))?;
        }
        self.until(burst.end()).await;
        self.bursts.set(self.bursts.get() - 1);
        if self.bursts.get() == 0 {
            self.change(-1);
        }
        Ok(last)
    }

    async fn until(&self, offset: Duration) {
        let at = self.began + offset;
        let now = self.cx.now();
        if at > now {
            self.cx.sleep(at.since(now)).await;
        }
    }

    fn change(&self, by: i64) {
        let active = self.active.get().checked_add_signed(by).expect("invariant: it was active");
        self.active.set(active);
        self.cx.level(ACTIVE, active);
    }
}

impl Job for Wave {
    fn run(
        &self,
        index: u64,
        cx: JobContext,
    ) -> LocalBoxFuture<'static, Result<JobResult, String>> {
        let bursts = bursts(index % WORKSPACES).into_iter().map(|burst| self.scaled(burst));
        let bursts = bursts.collect();
        let (began, active) = (cx.now(), self.active.clone());
        let workspace = Workspace { cx, began, bursts: Cell::new(0), active };
        workspace.run(bursts).boxed_local()
    }
}

struct Waves {
    wave: Rc<Wave>,
}

impl Waves {
    fn new(parameters: &Settings) -> Self {
        let percent = parameters.count("percent") as u32;
        Waves { wave: Rc::new(Wave { percent, active: Rc::default() }) }
    }
}

impl Workload for Waves {
    fn register(&self, application: &mut Application) {
        let sizes: BTreeSet<u32> = (0..WORKSPACES).map(events).collect();
        for events in sizes {
            application.workflow(&workflow(events), Workflow::Joins(Joins { joins: 1, events }));
        }
    }

    fn start(&self) -> Start {
        Start::Job(self.wave.clone())
    }

    fn input(&self, _index: u64) -> Payload {
        Payload::encode(&()).expect("invariant: nothing has a JSON form")
    }

    fn check(&self, _index: u64, status: &RuntimeStatus) -> Result<(), String> {
        match completed::<u32>(status)? {
            1 => Ok(()),
            other => Err(format!("{other} joins have ended, expected 1")),
        }
    }

    fn timing_independent(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waves_are_the_published_ones() {
        let all: u32 = (0..WORKSPACES).map(events).sum();
        assert_eq!(all, 50 * 30 + 30 * 30 + 50 * 10 + 21 * 10 + 14 * 40);
        let wave = |range: std::ops::Range<u64>| range.map(events).collect::<BTreeSet<u32>>();
        assert_eq!(wave(0..30), [60].into());
        assert_eq!(wave(30..35), [30].into());
        assert_eq!(wave(35..50), [50].into());
        assert_eq!(wave(50..56), [20].into());
        assert_eq!(wave(56..85), [10].into());
        assert_eq!(wave(85..99), [40].into());
        let s = Duration::from_secs;
        let starts = |workspace| bursts(workspace).iter().map(|burst| burst.at).collect::<Vec<_>>();
        // 30 events 5 s apart end after 150 s.
        assert_eq!(starts(0), [s(0), s(210)]);
        assert_eq!(starts(35), [Duration::from_millis(17_500), s(125), s(205)]);
        assert_eq!(starts(98), [s(210), s(354)]);
        let half = Wave { percent: 50, active: Rc::default() };
        let burst = half.scaled(bursts(0)[1]);
        assert_eq!((burst.at, burst.spacing), (s(105), Duration::from_millis(1_500)));
    }

    #[test]
    fn the_check_knows_right_from_wrong() {
        let waves = Waves::new(&Settings::defaults(KIND.parameters));
        let check = |joined: u32| {
            let result = Payload::encode(&joined).expect("a number");
            waves.check(0, &RuntimeStatus::Completed(result))
        };
        assert_eq!(check(1), Ok(()));
        assert!(check(0).is_err());
        assert!(waves.check(0, &RuntimeStatus::Running).is_err());
    }
}
