//! Autoscaling: hosts join and leave by the votes of the engine.
//!
//! **What it models.** The scale controller of a functions platform. The application's scale monitor (the
//! engine) says every now and then how many hosts it wants ([`RECOMMENDED_WORKERS`]); the platform follows,
//! within bounds:
//!
//! - it adds one host at a time, at most one in `scaling.add_interval` of the profile, and at once if there is
//!   none; a new host is there after `scaling.startup`, and paid for from the decision on;
//! - hosts that are too many are taken out of service in an orderly way, all at once, those with the highest
//!   numbers first;
//! - with no host at all, a request that arrives at the front door adds one, as an HTTP trigger does; so does
//!   a vote (the monitor runs on the platform, not on the hosts). A request keeps the last host until it is
//!   answered, and for `scaling.keep`.
//!
//! What is decided is a plain function of what hosts are doing (`next`). The number of hosts that are paid
//! for is the level `hosts` of the run, beside the votes.
//!
//! Source: learn.microsoft.com, event-driven scaling in Azure Functions; the numbers are in the profile.

use crate::host_event::Fleet;
use crate::load::FrontDoor;
use crate::recorder::Recorder;
use crate::spec::{HOSTS_MAX, Items, SpecError};
use serde_with::{DeserializeFromStr, SerializeDisplay};
use sim_model::engine::RECOMMENDED_WORKERS;
use sim_model::time::Timestamp;
use sim_world::kernel::{Kernel, NodeId, Notify};
use sim_world::profile::ScalingProfile;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;

/// The bounds within which hosts come and go, as on the command line: `min=0,max=8`.
///
/// ```
/// use sim_lab::autoscale::Autoscale;
/// let bounds: Autoscale = "min=0,max=8".parse().unwrap();
/// assert_eq!((bounds.min, bounds.max), (0, 8));
/// assert!("max=0".parse::<Autoscale>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, SerializeDisplay, DeserializeFromStr)]
pub struct Autoscale {
    /// The fewest hosts.
    pub min: u32,
    /// The most.
    pub max: u32,
}

impl fmt::Display for Autoscale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "min={},max={}", self.min, self.max)
    }
}

impl FromStr for Autoscale {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Autoscale, SpecError> {
        let mut items = Items::read("autoscale", Some(text), None)?.only(&["min", "max"])?;
        let bounded = |text: &str| text.parse().ok().filter(|hosts| *hosts <= HOSTS_MAX);
        let expected = format!("a number of hosts up to {HOSTS_MAX}");
        let min = items.take("min", bounded, &expected)?.unwrap_or(0);
        let max = items.required("max", bounded, &expected)?;
        if max == 0 || min > max {
            let expected = "1 or more for max, and no more for min than for max";
            return Err(SpecError::bad("autoscale", text, expected));
        }
        Ok(Autoscale { min, max })
    }
}

/// The level that says how many hosts there are.
pub const HOSTS: &str = "hosts";

/// What a host is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Off,
    Starting,
    Serving,
    Leaving,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Add(usize),
    Remove(usize),
}

/// The next move towards `wanted` hosts; none if there is nothing to be done, or not yet.
fn next(phases: &[Phase], wanted: usize, may_add: bool) -> Option<Move> {
    let is_there = |phase: &&Phase| matches!(phase, Phase::Starting | Phase::Serving);
    let there = phases.iter().filter(is_there).count();
    if there < wanted && (may_add || there == 0) {
        return phases.iter().position(|phase| *phase == Phase::Off).map(Move::Add);
    }
    if there > wanted {
        return phases.iter().rposition(|phase| *phase == Phase::Serving).map(Move::Remove);
    }
    None
}

/// The votes of an engine. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Votes {
    wanted: Rc<Cell<u32>>,
    changed: Notify,
}

impl Votes {
    /// Before the first vote, everything is as it is.
    pub(crate) fn new(kernel: &Kernel, hosts: u32) -> Votes {
        Votes { wanted: Rc::new(Cell::new(hosts)), changed: kernel.notify() }
    }

    /// A level was reported; it may be a vote.
    pub(crate) fn level(&self, what: &str, value: u64) {
        if what == RECOMMENDED_WORKERS {
            self.wanted.set(value.min(u64::from(HOSTS_MAX)) as u32);
            self.changed.notify_all();
        }
    }
}

/// The platform's scale controller. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Autoscaler(Rc<Inner>);

struct Inner {
    kernel: Kernel,
    bounds: Autoscale,
    pace: ScalingProfile,
    votes: Votes,
    fleet: Fleet,
    recorder: Recorder,
    door: RefCell<Option<FrontDoor>>,
    phases: RefCell<Vec<Phase>>,
    added: Cell<Option<Timestamp>>,
    /// When the last request came.
    asked: Cell<Option<Timestamp>>,
    ended: Cell<bool>,
}

impl Autoscaler {
    /// A controller of `fleet`, of which the first `hosts` are there.
    pub(crate) fn new(
        kernel: &Kernel,
        (bounds, pace): (Autoscale, ScalingProfile),
        hosts: u32,
        votes: Votes,
        fleet: &Fleet,
        recorder: &Recorder,
    ) -> Autoscaler {
        let phase = |host| if host < hosts { Phase::Serving } else { Phase::Off };
        Autoscaler(Rc::new(Inner {
            kernel: kernel.clone(),
            bounds,
            pace,
            votes,
            fleet: fleet.clone(),
            recorder: recorder.clone(),
            door: RefCell::default(),
            phases: RefCell::new((0..bounds.max).map(phase).collect()),
            added: Cell::new(None),
            asked: Cell::new(None),
            ended: Cell::new(false),
        }))
    }

    /// Lets hosts come and go from now on.
    pub(crate) fn start(&self, door: &FrontDoor) {
        self.0.fleet.enter_by(door);
        *self.0.door.borrow_mut() = Some(door.clone());
        let scaler = self.clone();
        door.tell_of_requests(move || scaler.requested());
        self.report();
        let scaler = self.clone();
        self.0.kernel.spawn(NodeId::WORLD, async move { scaler.run().await });
    }

    async fn run(&self) {
        let Inner { kernel, pace, votes, .. } = &*self.0;
        while !self.0.ended.get() {
            let changed = votes.changed.notified();
            let may_add_at = self.0.added.get().map(|added| added + pace.add_interval);
            let wait = may_add_at.map(|at| at.since(kernel.now())).filter(|wait| !wait.is_zero());
            let decided = next(&self.0.phases.borrow(), self.wanted(), wait.is_none());
            match (decided, wait) {
                (Some(decided), _) => self.begin(decided),
                (None, Some(wait)) => {
                    let _in_time = kernel.timeout(wait, changed).await;
                }
                (None, None) => changed.await,
            }
        }
    }

    /// A request has come.
    fn requested(&self) {
        self.0.asked.set(Some(self.0.kernel.now()));
        if self.0.door.borrow().as_ref().is_some_and(FrontDoor::is_waited_at) {
            self.0.votes.changed.notify_all();
        }
    }

    fn wanted(&self) -> usize {
        let Inner { kernel, bounds, pace, votes, door, asked, .. } = &*self.0;
        let is_kept = asked.get().is_some_and(|at| kernel.now() < at + pace.keep);
        let is_asked = |door: &FrontDoor| door.is_waited_at() || door.is_busy();
        let is_asked = door.borrow().as_ref().is_some_and(is_asked);
        let wanted = votes.wanted.get().max(u32::from(is_kept || is_asked));
        wanted.clamp(bounds.min, bounds.max) as usize
    }

    fn begin(&self, decided: Move) {
        let scaler = self.clone();
        let Inner { kernel, pace, fleet, added, .. } = &*self.0;
        let (fleet, startup) = (fleet.clone(), pace.startup);
        match decided {
            Move::Add(host) => {
                added.set(Some(kernel.now()));
                self.set(host, Phase::Starting);
                kernel.spawn(NodeId::WORLD, async move {
                    fleet.join(host, startup).await;
                    scaler.set(host, Phase::Serving);
                });
            }
            Move::Remove(host) => {
                self.set(host, Phase::Leaving);
                kernel.spawn(NodeId::WORLD, async move {
                    fleet.leave(host).await;
                    scaler.set(host, Phase::Off);
                });
            }
        }
    }

    fn set(&self, host: usize, phase: Phase) {
        self.0.phases.borrow_mut()[host] = phase;
        self.report();
        self.0.votes.changed.notify_all();
    }

    fn report(&self) {
        let phases = self.0.phases.borrow();
        let paid = phases.iter().filter(|phase| **phase != Phase::Off).count();
        self.0.recorder.level(HOSTS, paid as u64);
    }

    /// Ends the scaling, and sees to it that there is a host: somebody wants to look at what is left.
    pub(crate) async fn end(&self) {
        self.0.ended.set(true);
        loop {
            let changed = self.0.votes.changed.notified();
            let phases = self.0.phases.borrow().clone();
            let is_moving = |phase: &Phase| matches!(phase, Phase::Starting | Phase::Leaving);
            if phases.contains(&Phase::Serving) && !phases.iter().any(is_moving) {
                return;
            }
            if phases.iter().all(|phase| *phase == Phase::Off) {
                self.begin(Move::Add(0));
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Phase::{Leaving, Off, Serving, Starting};

    #[test]
    fn one_host_is_added_at_a_time_and_at_once_if_there_is_none() {
        assert_eq!(next(&[Serving, Off, Off], 3, true), Some(Move::Add(1)));
        assert_eq!(next(&[Serving, Starting, Off], 3, false), None, "not yet");
        assert_eq!(next(&[Serving, Starting, Off], 2, true), None, "one is on its way");
        assert_eq!(next(&[Leaving, Off], 1, false), Some(Move::Add(1)), "there is none");
        assert_eq!(next(&[Leaving, Leaving], 1, true), None, "the machines are not free yet");
    }

    #[test]
    fn hosts_that_are_too_many_leave_the_last_first() {
        assert_eq!(next(&[Serving, Serving, Leaving], 1, true), Some(Move::Remove(1)));
        assert_eq!(next(&[Serving, Leaving, Leaving], 1, true), None);
        assert_eq!(next(&[Serving], 0, true), Some(Move::Remove(0)));
        assert_eq!(next(&[Starting], 0, true), None, "it leaves when it is there");
        assert_eq!(next(&[Off], 0, true), None);
    }

    #[test]
    fn bounds_are_checked_in_words() {
        let told = |text: &str| text.parse::<Autoscale>().expect_err("refused").to_string();
        assert!(told("min=0").contains("max is missing"));
        assert!(told("min=3,max=2").contains("no more for min"));
        assert!(told("max=101").contains("up to 100"));
        assert!(told("maxx=3").contains("did you mean \"max\""));
        assert_eq!("max=3".parse::<Autoscale>().expect("fits").to_string(), "min=0,max=3");
    }
}
