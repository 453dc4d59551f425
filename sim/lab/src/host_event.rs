//! Host events: hosts that crash, stand still, leave and join during a run, at given instants.
//!
//! - **crash**: the host loses its memory and what it was doing, and starts again after a span (never,
//!   without one).
//! - **power-loss**: the same, and its disk loses what was not durable.
//! - **pause**: the host freezes with all it has in memory, and goes on after a span.
//! - **leave**: the host is taken out of service in an orderly way ([`TaskHub::stop_host`]), and then
//!   switched off.
//! - **join**: the host is switched on. A host whose first event is this one is not there before, and
//!   not paid for.
//!
//! Instants count from the start of the load, after hosts have settled. The front door (`load`) knows
//! at once that a host is gone: connections break. It does not notice a pause.

use crate::load::FrontDoor;
use crate::span;
use crate::spec::{Items, SpecError};
use serde_with::{DeserializeFromStr, SerializeDisplay};
use sim_model::engine::TaskHub;
use sim_model::time::Timestamp;
use sim_world::kernel::{Kernel, NodeId};
use sim_world::world::World;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

/// The latest instant of an event, and its longest span.
const AT_MAX: Duration = Duration::from_secs(24 * 3600);

/// What happens to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostChange {
    /// It loses its memory, and starts again after a span.
    Crash(Option<Duration>),
    /// It crashes, its disk loses what was not durable, and it starts again after a span.
    PowerLoss(Duration),
    /// It freezes for a span.
    Pause(Duration),
    /// It is taken out of service.
    Leave,
    /// It is switched on.
    Join,
}

/// Something that happens to a host, as on the command line: `crash:host=1,at=40s,for=15s`,
/// `pause:host=1,at=40s,for=1m`, `leave:host=3,at=2m`, `join:host=3,at=1m`.
///
/// ```
/// use sim_lab::host_event::HostEvent;
/// let event: HostEvent = "crash:host=1,at=40s,for=15s".parse().unwrap();
/// assert_eq!(event.to_string(), "crash:host=1,at=40s,for=15s");
/// assert!("crash:host=1".parse::<HostEvent>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, SerializeDisplay, DeserializeFromStr)]
pub struct HostEvent {
    /// What happens.
    pub change: HostChange,
    /// To which host, from 0.
    pub host: u32,
    /// When, counted from the start of the load.
    pub at: Duration,
}

impl HostEvent {
    /// When the change is over, counted from the start of the load: when the host is back, or at once.
    pub fn end(&self) -> Duration {
        match self.change {
            HostChange::Crash(Some(lasting))
            | HostChange::PowerLoss(lasting)
            | HostChange::Pause(lasting) => self.at + lasting,
            HostChange::Crash(None) | HostChange::Leave | HostChange::Join => self.at,
        }
    }
}

impl fmt::Display for HostEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, lasting) = match self.change {
            HostChange::Crash(lasting) => ("crash", lasting),
            HostChange::PowerLoss(lasting) => ("power-loss", Some(lasting)),
            HostChange::Pause(lasting) => ("pause", Some(lasting)),
            HostChange::Leave => ("leave", None),
            HostChange::Join => ("join", None),
        };
        write!(f, "{name}:host={},at={}", self.host, span::format(self.at))?;
        match lasting {
            Some(lasting) => write!(f, ",for={}", span::format(lasting)),
            None => Ok(()),
        }
    }
}

impl FromStr for HostEvent {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<HostEvent, SpecError> {
        let (name, rest) = text.split_once(':').map_or((text, None), |(s, r)| (s, Some(r)));
        let keys: &[&str] = match name {
            "crash" | "pause" | "power-loss" => &["host", "at", "for"],
            "leave" | "join" => &["host", "at"],
            _ => {
                let valid = ["crash", "power-loss", "pause", "leave", "join"];
                return Err(SpecError::unknown("host event", name, valid));
            }
        };
        let place = format!("host event {name}");
        let mut items = Items::read(&*place, rest, None)?.only(keys)?;
        let bounded = |text: &str| span::parse(text).filter(|span| *span <= AT_MAX);
        let expected = "a span of at most 24h, such as 30s, 1.5s, 250ms or 2m";
        let host = items.required("host", |text| text.parse().ok(), "the number of a host")?;
        let at = items.required("at", bounded, expected)?;
        let change = match name {
            "crash" => HostChange::Crash(items.take("for", bounded, expected)?),
            "power-loss" => HostChange::PowerLoss(items.required("for", bounded, expected)?),
            "pause" => HostChange::Pause(items.required("for", bounded, expected)?),
            "leave" => HostChange::Leave,
            _ => HostChange::Join,
        };
        Ok(HostEvent { change, host, at })
    }
}

/// Whether a host is there before the first event.
pub fn is_there_at_first(events: &[HostEvent], host: u32) -> bool {
    let of_host = events.iter().filter(|event| event.host == host);
    of_host.min_by_key(|event| event.at).is_none_or(|first| first.change != HostChange::Join)
}

/// Checks that the events can happen to `hosts` hosts, one after the other on each host.
///
/// # Errors
/// The first event that cannot.
pub(crate) fn check(events: &[HostEvent], hosts: u32) -> Result<(), SpecError> {
    let place = "host event";
    let mut sorted: Vec<&HostEvent> = events.iter().collect();
    sorted.sort_by_key(|event| (event.host, event.at));
    let mut before: Option<(&HostEvent, bool)> = None;
    for event in sorted {
        if event.host >= hosts {
            let expected = format!("a host from 0 to {}", hosts.saturating_sub(1));
            return Err(SpecError::bad(place, event, expected));
        }
        let earlier = before.filter(|(other, _)| other.host == event.host);
        let running = match earlier {
            Some((other, _)) if event.at < other.end() || event.at == other.at => {
                return Err(SpecError::bad(place, event, format!("an instant after {other}")));
            }
            Some((_, running)) => running,
            None => event.change != HostChange::Join,
        };
        let after = match event.change {
            HostChange::Join if running => {
                return Err(SpecError::bad(place, event, "a host that is not running"));
            }
            HostChange::Join => true,
            _ if !running => return Err(SpecError::bad(place, event, "a host that is running")),
            HostChange::Leave | HostChange::Crash(None) => false,
            HostChange::Pause(_) | HostChange::PowerLoss(_) | HostChange::Crash(Some(_)) => true,
        };
        before = Some((event, after));
    }
    if (0..hosts).all(|host| !is_there_at_first(events, host)) {
        return Err(SpecError::bad(place, "a join as the first event of every host", "a host"));
    }
    Ok(())
}

/// The hosts of a run: which are running, and for how long they have been.
#[derive(Clone)]
pub(crate) struct Fleet(Rc<Inner>);

struct Inner {
    world: World,
    hub: Rc<dyn TaskHub>,
    door: RefCell<Option<FrontDoor>>,
    /// Since when each host is paid for; `None` while it is switched off.
    since: RefCell<Vec<Option<Timestamp>>>,
    /// Hosts that are switched on and do not run the application yet.
    starting: RefCell<BTreeSet<usize>>,
    paid: RefCell<Duration>,
}

impl Fleet {
    /// The hosts of `world`, none of them running.
    pub(crate) fn new(world: &World, hub: &Rc<dyn TaskHub>) -> Fleet {
        Fleet(Rc::new(Inner {
            world: world.clone(),
            hub: hub.clone(),
            door: RefCell::new(None),
            since: RefCell::new(vec![None; world.hosts().len()]),
            starting: RefCell::default(),
            paid: RefCell::new(Duration::ZERO),
        }))
    }

    /// Starts those of the first `hosts` hosts that are there at first.
    pub(crate) fn start(&self, events: &[HostEvent], hosts: u32) {
        for host in 0..hosts as usize {
            if is_there_at_first(events, host as u32) {
                self.switch_on(host);
                self.0.hub.start_host(host);
            }
        }
    }

    /// Which hosts are switched on, and not still starting up.
    pub(crate) fn running(&self) -> Vec<bool> {
        let (since, starting) = (self.0.since.borrow(), self.0.starting.borrow());
        let on = since.iter().enumerate();
        on.map(|(host, since)| since.is_some() && !starting.contains(&host)).collect()
    }

    /// Requests come through this door.
    pub(crate) fn enter_by(&self, door: &FrontDoor) {
        *self.0.door.borrow_mut() = Some(door.clone());
    }

    /// Time that hosts are paid for, up to now, all together.
    pub(crate) fn host_time(&self) -> Duration {
        let now = self.0.world.kernel().now();
        let current = self.0.since.borrow();
        *self.0.paid.borrow() + current.iter().flatten().map(|since| now.since(*since)).sum()
    }

    /// Lets the events happen, from now on.
    pub(crate) fn play(&self, events: &[HostEvent], door: &FrontDoor) {
        self.enter_by(door);
        let begin = self.kernel().now();
        for event in events.iter().copied() {
            let fleet = self.clone();
            self.kernel().spawn(NodeId::WORLD, async move {
                fleet.kernel().sleep_until(begin + event.at).await;
                fleet.carry_out(event).await;
            });
        }
    }

    fn kernel(&self) -> &Kernel {
        self.0.world.kernel()
    }

    fn switch_on(&self, host: usize) {
        let previous = self.0.since.borrow_mut()[host].replace(self.kernel().now());
        assert!(previous.is_none(), "host {host} is switched on twice");
    }

    fn switch_off(&self, host: usize) {
        let since = self.0.since.borrow_mut()[host].take();
        let since = since.unwrap_or_else(|| panic!("host {host} is switched off twice"));
        *self.0.paid.borrow_mut() += self.kernel().now().since(since);
    }

    fn lose(&self, host: usize) {
        self.0.world.hosts()[host].kill();
        self.lose_connections(host);
    }

    fn lose_connections(&self, host: usize) {
        if let Some(door) = &*self.0.door.borrow() {
            door.host_lost(host);
        }
    }

    /// Starts a host that was killed, or was never there.
    fn bring_back(&self, host: usize) {
        self.0.world.hosts()[host].restart();
        self.0.hub.start_host(host);
        if let Some(door) = &*self.0.door.borrow() {
            door.host_there(host);
        }
    }

    async fn carry_out(&self, event: HostEvent) {
        let host = event.host as usize;
        match event.change {
            HostChange::Crash(lasting) => {
                self.lose(host);
                match lasting {
                    None => self.switch_off(host),
                    Some(lasting) => {
                        self.kernel().sleep(lasting).await;
                        self.bring_back(host);
                    }
                }
            }
            HostChange::PowerLoss(lasting) => {
                self.0.world.lose_power_of_host(host);
                self.lose_connections(host);
                self.kernel().sleep(lasting).await;
                self.bring_back(host);
            }
            HostChange::Pause(lasting) => {
                self.0.world.hosts()[host].pause();
                self.kernel().sleep(lasting).await;
                self.0.world.hosts()[host].resume();
            }
            HostChange::Leave => self.leave(host).await,
            HostChange::Join => self.join(host, Duration::ZERO).await,
        }
    }

    /// Takes a host out of service, and switches it off.
    pub(crate) async fn leave(&self, host: usize) {
        if let Some(door) = &*self.0.door.borrow() {
            door.host_leaving(host);
        }
        self.0.hub.stop_host(host).await;
        self.lose(host);
        self.switch_off(host);
    }

    /// Switches a host on, which is there when it has started up.
    pub(crate) async fn join(&self, host: usize, startup: Duration) {
        self.switch_on(host);
        if !startup.is_zero() {
            self.0.starting.borrow_mut().insert(host);
            self.kernel().sleep(startup).await;
            self.0.starting.borrow_mut().remove(&host);
        }
        self.bring_back(host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(events: &[&str], hosts: u32) -> Result<(), String> {
        let events: Result<Vec<HostEvent>, SpecError> =
            events.iter().map(|text| text.parse()).collect();
        check(&events.map_err(|error| error.to_string())?, hosts).map_err(|error| error.to_string())
    }

    #[test]
    fn events_survive_being_printed() {
        for text in [
            "crash:host=1,at=40s,for=15s",
            "crash:host=1,at=40s",
            "power-loss:host=1,at=40s,for=15s",
            "pause:host=0,at=1500ms,for=1m",
            "leave:host=7,at=2m",
            "join:host=7,at=1m",
        ] {
            let event: HostEvent = text.parse().expect(text);
            assert_eq!(event.to_string(), text);
        }
    }

    #[test]
    fn what_cannot_happen_is_refused_in_words() {
        let told = |events: &[&str], hosts| checked(events, hosts).expect_err("refused");
        assert!(told(&["crush:host=1,at=1s"], 4).contains("did you mean \"crash\""));
        assert!(told(&["crash:at=1s"], 4).contains("host is missing"));
        assert!(told(&["crash:host=1,at=-1s"], 4).contains("at"));
        assert!(told(&["pause:host=1,at=1s"], 4).contains("for is missing"));
        assert!(told(&["crash:host=4,at=1s"], 4).contains("a host from 0 to 3"));
        let overlap = ["crash:host=1,at=10s,for=10s", "pause:host=1,at=15s,for=1s"];
        assert!(told(&overlap, 4).contains("an instant after crash:host=1,at=10s,for=10s"));
        assert!(told(&["leave:host=1,at=1s", "crash:host=1,at=2s"], 4).contains("that is running"));
        assert!(
            told(&["crash:host=1,at=1s,for=1s", "join:host=1,at=9s"], 4).contains("not running")
        );
        assert!(told(&["join:host=0,at=1s"], 1).contains("every host"));
    }

    #[test]
    fn a_host_that_joins_first_is_not_there_before() {
        let events: Vec<HostEvent> =
            ["join:host=1,at=1s", "leave:host=1,at=9s", "join:host=1,at=20s"]
                .map(|text| text.parse().expect(text))
                .to_vec();
        assert_eq!(check(&events, 2), Ok(()));
        assert!(!is_there_at_first(&events, 1));
        assert!(is_there_at_first(&events, 0));
    }
}
