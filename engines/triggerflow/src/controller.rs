//! The controller as a state machine: which workspaces have a worker, and where.
//!
//! **Pods** (`scaling=keda`). Each workspace has a deployment with no or one replica. Every polling
//! interval the controller looks at the workspace's stream: if events came in since it looked last it
//! wants a worker, and if none came for the cool-down time it wants none. A pod runs on the host that has
//! the most free places; if none has, it waits its turn, first come, first served. Sources:
//! triggerflow/triggerflow@e1f9f6d, `deploy/keda/controller.py`; Kubernetes, scheduler's spreading of pods
//! \[general\]. While a pod waits for a place the controller's looks could change nothing: they are not
//! made here, but counted ([`Controller::looks_left_out`]).
//!
//! **Processes** (`scaling=standalone`). A workspace's worker is started with it, wherever fewest run.
//!
//! A host that dies takes its workers along; they start again when it does, or elsewhere once it has
//! been away for [`EVICTION`].
//!
//! **How many are wanted is a level, not an edge.** A pod that ends says up to where it had received its
//! stream; if a look had found more by then, another one is wanted at once, although the look came while
//! the pod was still ending and no event comes after it. So does a Kubernetes deployment: a replica that is
//! wanted while one terminates is made when that has ended. Each pod has a number of its own, as pods have
//! a uid: what a former one still has to say ends no other. Source: Kubernetes, objects and controllers
//! \[general\]; that the position comes with the news is an assumption, in place of the lag of a consumer
//! group, which KEDA's scalers ask for.

use crate::event::Position;
use crate::settings::Scaling;
use sim_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How long a host is away before its pods are moved.
/// Source: Kubernetes, toleration of unreachable nodes, 300 s \[general\].
pub(crate) const EVICTION: Duration = Duration::from_secs(300);

/// A workspace, by its number.
pub(crate) type WorkspaceNumber = usize;

/// A pod, by its number: no two of a task hub have the same.
pub(crate) type PodNumber = u64;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Start a worker on a host. It was wanted since `wanted`.
    Start { workspace: WorkspaceNumber, place: usize, pod: PodNumber, wanted: Timestamp },
    /// Let a worker end; it reports when it has.
    Stop { workspace: WorkspaceNumber },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No worker, none wanted.
    Zero,
    /// A worker is wanted since then, and there is no place.
    Waiting(Timestamp),
    /// A worker runs, or starts.
    Running { place: usize, pod: PodNumber },
    /// It was told to end.
    Stopping { place: usize, pod: PodNumber },
}

struct Entry {
    state: State,
    /// The last event of the stream when it was last looked at.
    last_event: Position,
    /// The same, when the present worker was ordered: it has read so far.
    last_at_start: Position,
    /// When events were last seen to have come in.
    last_active: Timestamp,
    /// When to look next.
    due: Option<Timestamp>,
}

struct Place {
    capacity: usize,
    used: usize,
    /// Since when it is away.
    away: Option<Timestamp>,
}

/// The controller.
pub(crate) struct Controller {
    scaling: Scaling,
    polling_interval: Duration,
    cooldown: Duration,
    places: Vec<Place>,
    workspaces: BTreeMap<WorkspaceNumber, Entry>,
    waiting: VecDeque<WorkspaceNumber>,
    due: BTreeSet<(Timestamp, WorkspaceNumber)>,
    left_out: u64,
    /// Pods so far.
    pods: PodNumber,
}

impl Controller {
    /// A controller over hosts with so many places each; none of them is up yet.
    pub(crate) fn new(
        scaling: Scaling,
        polling_interval: Duration,
        cooldown: Duration,
        capacities: &[usize],
    ) -> Controller {
        let place =
            |capacity: &usize| Place { capacity: *capacity, used: 0, away: Some(Timestamp::ZERO) };
        Controller {
            scaling,
            polling_interval,
            cooldown,
            places: capacities.iter().map(place).collect(),
            workspaces: BTreeMap::new(),
            waiting: VecDeque::new(),
            due: BTreeSet::new(),
            left_out: 0,
            pods: 0,
        }
    }

    /// How many looks at streams were left out because they could change nothing.
    pub(crate) fn looks_left_out(&self) -> u64 {
        self.left_out
    }

    /// How many workers run or start.
    #[cfg(test)]
    pub(crate) fn workers(&self) -> u64 {
        self.places.iter().map(|place| place.used as u64).sum()
    }

    /// The pod of a workspace.
    #[cfg(test)]
    fn pod_of(&self, workspace: WorkspaceNumber) -> Option<PodNumber> {
        match self.workspaces.get(&workspace)?.state {
            State::Running { pod, .. } | State::Stopping { pod, .. } => Some(pod),
            State::Zero | State::Waiting(_) => None,
        }
    }

    /// How many pods wait for a place.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// A workspace was created. One that exists is left as it is.
    pub(crate) fn created(&mut self, workspace: WorkspaceNumber, now: Timestamp) -> Vec<Order> {
        if self.workspaces.contains_key(&workspace) {
            return Vec::new();
        }
        let entry = Entry {
            state: State::Zero,
            last_event: Position::default(),
            last_at_start: Position::default(),
            last_active: now,
            due: None,
        };
        self.workspaces.insert(workspace, entry);
        match self.scaling {
            Scaling::Keda => {
                self.look_at(workspace, Some(now + self.polling_interval));
                Vec::new()
            }
            Scaling::Standalone => {
                self.want(workspace, now);
                self.place(now)
            }
        }
    }

    /// When to look at a stream next.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The workspaces to look at now.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Vec<WorkspaceNumber> {
        let mut taken = Vec::new();
        while let Some((due, workspace)) = self.due.first().copied().filter(|(due, _)| *due <= now)
        {
            self.due.remove(&(due, workspace));
            self.entry(workspace).due = None;
            taken.push(workspace);
        }
        taken
    }

    /// The last event of a workspace's stream is `last`; `None` if the look failed.
    pub(crate) fn looked(
        &mut self,
        workspace: WorkspaceNumber,
        last: Option<Position>,
        now: Timestamp,
    ) -> Vec<Order> {
        let (interval, cooldown) = (self.polling_interval, self.cooldown);
        let Some(entry) = self.workspaces.get_mut(&workspace) else { return Vec::new() };
        let last = last.unwrap_or(entry.last_event);
        let is_active = last > entry.last_event;
        entry.last_event = entry.last_event.max(last);
        if is_active {
            entry.last_active = now;
        }
        let is_idle = now.since(entry.last_active) >= cooldown;
        let state = entry.state;
        self.look_at(workspace, Some(now + interval));
        match state {
            State::Zero if is_active => {
                self.want(workspace, now);
                self.place(now)
            }
            State::Running { place, .. } if self.is_lost(place, now) => {
                self.free(place);
                self.want(workspace, now);
                self.place(now)
            }
            State::Running { place, pod } if is_idle && self.places[place].away.is_none() => {
                self.entry(workspace).state = State::Stopping { place, pod };
                vec![Order::Stop { workspace }]
            }
            _ => Vec::new(),
        }
    }

    fn is_lost(&self, place: usize, now: Timestamp) -> bool {
        self.places[place].away.is_some_and(|since| now.since(since) >= EVICTION)
    }

    /// A worker has ended, by itself or as it was told, and had received its stream up to `received`.
    /// Another one is wanted if a look has found more.
    pub(crate) fn stopped(
        &mut self,
        workspace: WorkspaceNumber,
        ended: PodNumber,
        received: Position,
        now: Timestamp,
    ) -> Vec<Order> {
        let Some(entry) = self.workspaces.get_mut(&workspace) else { return Vec::new() };
        let (State::Running { place, pod } | State::Stopping { place, pod }) = entry.state else {
            return Vec::new();
        };
        if pod != ended {
            return Vec::new();
        }
        entry.state = State::Zero;
        // What the stream holds no more counts as received: a worker cannot read it.
        let is_wanted = entry.last_event > received.max(entry.last_at_start);
        self.free(place);
        if is_wanted {
            self.want(workspace, now);
        }
        self.place(now)
    }

    /// A workspace is gone: its workflow has ended.
    pub(crate) fn removed(&mut self, workspace: WorkspaceNumber, now: Timestamp) -> Vec<Order> {
        let Some(entry) = self.workspaces.remove(&workspace) else { return Vec::new() };
        if let Some(due) = entry.due {
            self.due.remove(&(due, workspace));
        }
        match entry.state {
            State::Running { place, .. } | State::Stopping { place, .. } => self.free(place),
            State::Waiting(_) => self.waiting.retain(|other| *other != workspace),
            State::Zero => {}
        }
        self.place(now)
    }

    /// A host is up: its workers start again, and it takes others.
    pub(crate) fn host_up(&mut self, place: usize, now: Timestamp) -> Vec<Order> {
        self.places[place].away = None;
        let here = |entry: &Entry| {
            matches!(entry.state,
                State::Running { place: own, .. } | State::Stopping { place: own, .. }
                    if own == place)
        };
        let mut orders = Vec::new();
        for (workspace, entry) in self.workspaces.iter_mut().filter(|(_, entry)| here(entry)) {
            self.pods += 1;
            let pod = self.pods;
            entry.state = State::Running { place, pod };
            entry.last_active = now;
            entry.last_at_start = entry.last_event;
            orders.push(Order::Start { workspace: *workspace, place, pod, wanted: now });
        }
        orders.extend(self.place(now));
        orders
    }

    /// A host does not answer, or is to take no more pods.
    pub(crate) fn host_away(&mut self, place: usize, now: Timestamp) {
        self.places[place].away.get_or_insert(now);
    }

    /// The workers on a host.
    pub(crate) fn workers_on(&self, place: usize) -> Vec<WorkspaceNumber> {
        let here = |state: State| {
            matches!(state, State::Running { place: own, .. } | State::Stopping { place: own, .. }
                if own == place)
        };
        let all = self.workspaces.iter();
        all.filter(|(_, entry)| here(entry.state)).map(|(workspace, _)| *workspace).collect()
    }

    fn entry(&mut self, workspace: WorkspaceNumber) -> &mut Entry {
        self.workspaces.get_mut(&workspace).expect("invariant: the workspace exists")
    }

    fn look_at(&mut self, workspace: WorkspaceNumber, at: Option<Timestamp>) {
        let entry = self.entry(workspace);
        let before = std::mem::replace(&mut entry.due, at);
        if let Some(due) = before {
            self.due.remove(&(due, workspace));
        }
        if let Some(due) = at {
            self.due.insert((due, workspace));
        }
    }

    fn want(&mut self, workspace: WorkspaceNumber, now: Timestamp) {
        self.entry(workspace).state = State::Waiting(now);
        self.waiting.push_back(workspace);
        self.look_at(workspace, None);
    }

    fn free(&mut self, place: usize) {
        let used = &mut self.places[place].used;
        assert!(*used > 0, "a worker that ends was placed");
        *used -= 1;
    }

    /// Gives places to pods that wait.
    fn place(&mut self, now: Timestamp) -> Vec<Order> {
        let mut orders = Vec::new();
        while let Some(workspace) = self.waiting.front().copied() {
            let unlimited = self.scaling == Scaling::Standalone;
            let free =
                |place: &Place| place.away.is_none() && (unlimited || place.used < place.capacity);
            let places = self.places.iter().enumerate().filter(|(_, place)| free(place));
            let Some((place, _)) = places.min_by_key(|(_, place)| place.used) else { break };
            self.waiting.pop_front();
            self.places[place].used += 1;
            let State::Waiting(wanted) = self.entry(workspace).state else {
                unreachable!("invariant: who waits for a place is waiting");
            };
            self.pods += 1;
            let pod = self.pods;
            let entry = self.entry(workspace);
            entry.state = State::Running { place, pod };
            entry.last_active = now;
            entry.last_at_start = entry.last_event;
            if self.scaling == Scaling::Keda {
                let waited = now.since(wanted).as_nanos() / self.polling_interval.as_nanos();
                self.left_out += u64::try_from(waited).unwrap_or(u64::MAX);
                self.look_at(workspace, Some(now + self.polling_interval));
            }
            orders.push(Order::Start { workspace, place, pod, wanted });
        }
        orders
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    fn keda(capacities: &[usize]) -> Controller {
        let mut controller = Controller::new(Scaling::Keda, 5 * SECOND, 10 * SECOND, capacities);
        (0..capacities.len()).for_each(|place| drop(controller.host_up(place, at(0))));
        controller
    }

    #[test]
    fn a_worker_starts_at_the_look_after_the_first_event_and_stops_after_the_cooldown() {
        let mut controller = keda(&[1]);
        assert!(controller.created(0, at(0)).is_empty());
        assert_eq!(controller.next_due(), Some(at(5)));
        assert_eq!(controller.take_due(at(5)), [0]);
        let start = Order::Start { workspace: 0, place: 0, pod: 1, wanted: at(5) };
        assert_eq!(controller.looked(0, Some(Position(1, 0)), at(5)), [start]);
        assert_eq!(controller.take_due(at(10)), [0]);
        assert!(controller.looked(0, Some(Position(2, 0)), at(10)).is_empty());
        assert_eq!(controller.take_due(at(15)), [0]);
        assert!(controller.looked(0, Some(Position(2, 0)), at(15)).is_empty());
        assert_eq!(controller.take_due(at(20)), [0]);
        let stop = Order::Stop { workspace: 0 };
        assert_eq!(controller.looked(0, Some(Position(2, 0)), at(20)), [stop]);
        assert_eq!(controller.workers(), 1, "it finishes what it has begun");
        assert!(controller.stopped(0, 1, Position(2, 0), at(21)).is_empty());
        assert_eq!(controller.workers(), 0);
        assert_eq!(controller.next_due(), Some(at(25)), "the stream is still looked at");
    }

    #[test]
    fn what_comes_while_a_worker_ends_wakes_another() {
        let mut controller = keda(&[1]);
        controller.created(0, at(0));
        controller.take_due(at(5));
        controller.looked(0, Some(Position(1, 0)), at(5));
        controller.take_due(at(15));
        let stop = Order::Stop { workspace: 0 };
        assert_eq!(controller.looked(0, Some(Position(1, 0)), at(15)), [stop]);
        // Its host stands still. An event comes, the last one for a long time.
        controller.take_due(at(20));
        assert!(controller.looked(0, Some(Position(2, 0)), at(20)).is_empty());
        let start = Order::Start { workspace: 0, place: 0, pod: 2, wanted: at(22) };
        assert_eq!(controller.stopped(0, 1, Position(1, 0), at(22)), [start]);
        // What the first one says twice does not end the second.
        assert!(controller.stopped(0, 1, Position(1, 0), at(23)).is_empty());
        assert_eq!(controller.workers(), 1);
        assert!(controller.stopped(0, 2, Position(2, 0), at(40)).is_empty());
        assert_eq!(controller.workers(), 0);
    }

    #[test]
    fn a_pod_without_a_place_waits_and_is_not_looked_at() {
        let mut controller = keda(&[1]);
        controller.created(0, at(0));
        controller.created(1, at(0));
        assert_eq!(controller.take_due(at(5)), [0, 1]);
        assert_eq!(controller.looked(0, Some(Position(1, 0)), at(5)).len(), 1);
        assert!(controller.looked(1, Some(Position(1, 0)), at(5)).is_empty());
        assert_eq!(controller.take_due(at(20)), [0]);
        let start = Order::Start { workspace: 1, place: 0, pod: 2, wanted: at(5) };
        assert_eq!(controller.removed(0, at(21)), [start]);
        assert_eq!(controller.looks_left_out(), 3, "at 10, 15 and 20 s");
    }

    #[test]
    fn workers_of_a_host_start_again_with_it_or_elsewhere_after_the_eviction_time() {
        let mut controller = keda(&[1, 1]);
        controller.created(0, at(0));
        controller.take_due(at(5));
        controller.looked(0, Some(Position(1, 0)), at(5));
        controller.host_away(0, at(6));
        let again = Order::Start { workspace: 0, place: 0, pod: 2, wanted: at(8) };
        assert_eq!(controller.host_up(0, at(8)), [again]);
        controller.host_away(0, at(9));
        assert!(controller.looked(0, Some(Position(1, 0)), at(10)).is_empty());
        let moved = Order::Start { workspace: 0, place: 1, pod: 3, wanted: at(310) };
        assert_eq!(controller.looked(0, Some(Position(1, 0)), at(310)), [moved]);
    }

    #[test]
    fn processes_start_with_their_workspace() {
        let mut controller = Controller::new(Scaling::Standalone, SECOND, SECOND, &[0, 0]);
        controller.host_up(0, at(0));
        controller.host_up(1, at(0));
        for workspace in 0..4 {
            let pod = workspace as u64 + 1;
            let start = Order::Start { workspace, place: workspace % 2, pod, wanted: at(1) };
            assert_eq!(controller.created(workspace, at(1)), [start]);
        }
        assert_eq!(controller.next_due(), None, "nobody looks at streams");
    }

    proptest! {
        #[test]
        fn places_are_never_overbooked_and_none_is_wasted(
            steps in proptest::collection::vec((0usize..5, 0usize..6, 0u64..3), 1..200),
        ) {
            let capacities = [2, 1];
            let mut controller = keda(&capacities);
            let mut events = [0u64; 6];
            for (step, (what, workspace, news)) in steps.into_iter().enumerate() {
                let now = at(step as u64 * 3);
                events[workspace] += news;
                match what {
                    0 => drop(controller.created(workspace, now)),
                    1 => if let Some(pod) = controller.pod_of(workspace) {
                        let received = Position(events[workspace] - news.min(1), 0);
                        drop(controller.stopped(workspace, pod - (step as u64 % 2), received, now));
                    },
                    2 => drop(controller.removed(workspace, now)),
                    _ => for due in controller.take_due(now) {
                        drop(controller.looked(due, Some(Position(events[due], 0)), now));
                    }
                }
                for (place, capacity) in controller.places.iter().zip(capacities) {
                    prop_assert!(place.used <= capacity);
                }
                let free = controller.places.iter().any(|place| place.used < place.capacity);
                prop_assert!(!free || controller.waiting.is_empty());
                let running = controller.workspaces.values().filter(|entry| {
                    matches!(entry.state, State::Running { .. } | State::Stopping { .. })
                });
                prop_assert_eq!(running.count() as u64, controller.workers());
            }
        }
    }
}
