//! A worker: the process of one workspace, on a host.
//!
//! It starts by reading event sources, global context and triggers, then what was acknowledged, then all
//! events. One task waits for further events; the main loop takes them one after the other and does what
//! the plan of a firing says must come first; a committer does the rest behind it. Source:
//! triggerflow/triggerflow@e1f9f6d, `triggerflow/service/worker.py`, `eventsources/redis.py`.
//!
//! **Core time**: each event costs `event_time` on one core of the host; events that wait together are
//! paid for together, [`BATCH`] at most. The main loop is one thread, so a worker uses one core at most.
//!
//! **Ending.** A worker that is told to stop takes what it has received, and leaves. Under v4 it stays
//! while events are set aside or its coordinator runs.

mod act;
mod start;

pub(crate) use act::EntityValue;

use crate::api::Globals;
use crate::controller::{PodNumber, WorkspaceNumber};
use crate::coordinator::CoordinatorCall;
use crate::event::EventId;
use crate::event::{Event, Position};
use crate::faas::{self, Function};
use crate::hub::{Hub, Notice};
use crate::keys::WorkspaceName;
use crate::open_positions::OpenPositions;
use crate::plan::{Phase, Plan};
use crate::store::Connection;
use crate::trigger::{Role, Trigger, TriggerId};
use crate::whereabouts::Whereabouts;
use crate::workspace::{Firing, Taken, Workspace};
use bytes::Bytes;
use sim_model::codec::{decode, encode};
use sim_model::cursor::Cursor;
use sim_model::id::{InstanceId, WorkItemId};
use sim_model::ledger::Category;
use sim_model::time::Timestamp;
use sim_world::functions::FunctionsHost;
use sim_world::host::Host;
use sim_world::kernel::{Notify, Receiver, Sender};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Most events whose core time is taken together.
const BATCH: usize = 64;

/// What a worker's main loop is told.
pub(crate) enum Input {
    /// Events of the stream.
    Entries(Vec<(Event, Position)>),
    /// An event of an action, which no store has.
    Local(Event),
    /// An event to be looked at again, for the so-manieth time.
    Again(Event, Option<Position>, u32),
    /// The coordinator that a trigger has woken has ended, and registered another one.
    Coordinated(TriggerId, Option<Bytes>),
    /// End when nothing is left to do.
    Stop,
    /// The workflow has ended.
    End,
}

/// What a committer does for one firing.
struct Job {
    phases: Vec<Phase>,
    item: Option<WorkItemId>,
}

/// Acknowledged events, with the triggers that fired for them.
type Acknowledged = Rc<RefCell<Vec<(Vec<TriggerId>, Vec<EventId>)>>>;

/// A worker.
struct Worker {
    hub: Rc<Hub>,
    number: WorkspaceNumber,
    name: WorkspaceName,
    place: usize,
    instance: InstanceId,
    globals: Globals,
    connection: Rc<Connection>,
    workspace: Workspace,
    /// The states of entities in memory.
    cursors: BTreeMap<TriggerId, Cursor>,
    input: (Sender<Input>, Receiver<Input>),
    /// Up to where the stream was taken in.
    taken_upto: Position,
    /// Events that wait for a trigger.
    aside: VecDeque<(Event, Option<Position>)>,
    aside_until: Timestamp,
    /// Positions received and not deleted, v3.
    received: Rc<RefCell<Vec<Position>>>,
    acknowledged: Acknowledged,
    /// Positions of events that were taken up and are not committed, v4 with positions.
    open: Rc<RefCell<OpenPositions>>,
    committer: Sender<Job>,
    whereabouts: Whereabouts,
    /// Tells the tasks beside the main loop to end.
    over: Notify,
    stopping: bool,
    ended: bool,
}

/// Runs a worker from its start to its end.
pub(crate) async fn run(
    hub: Rc<Hub>,
    (number, pod): (WorkspaceNumber, PodNumber),
    place: usize,
    wanted: Timestamp,
    input: (Sender<Input>, Receiver<Input>),
    whereabouts: Whereabouts,
) {
    let host = hub.host(place).clone();
    match start::start(hub.clone(), number, place, wanted, input, whereabouts).await {
        Some(mut worker) => {
            worker.serve().await;
            worker.over.notify_all();
            if !worker.ended {
                hub.notify(&host, Notice::Stopped(number, pod, worker.taken_upto));
            }
        }
        None => hub.notify(&host, Notice::Removed(number)),
    }
}

impl Worker {
    fn host(&self) -> &Host {
        self.hub.host(self.place)
    }

    fn functions(&self) -> &FunctionsHost {
        &self.hub.functions[self.place]
    }

    /// The main loop.
    async fn serve(&mut self) {
        while !self.ended {
            self.whereabouts.takes(self.workspace.held());
            if self.stopping && self.is_idle() {
                return;
            }
            match self.next().await {
                Some(input) => self.take_input(input).await,
                None if !self.aside.is_empty() => self.look_again().await,
                None => self.stopping = true,
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.input.1.is_empty() && self.aside.is_empty() && !self.workspace.is_busy()
    }

    /// The next input; nothing if it is time to look at what was set aside, or to stop.
    async fn next(&self) -> Option<Input> {
        let (kernel, receiver) = (&self.hub.kernel, &self.input.1);
        if !self.aside.is_empty() {
            let wait = self.aside_until.since(self.hub.now());
            return kernel.timeout(wait, receiver.recv()).await;
        }
        match self.hub.parameters.idle_stop {
            Some(idle) if !self.stopping => kernel.timeout(idle, receiver.recv()).await,
            _ => Some(receiver.recv().await),
        }
    }

    async fn take_input(&mut self, input: Input) {
        match input {
            Input::Entries(entries) => self.take_entries(entries).await,
            Input::Local(event) => {
                self.host().run(self.hub.parameters.event_time).await;
                self.take(event, None, 0).await;
            }
            Input::Again(event, position, times) => self.take(event, position, times).await,
            Input::Coordinated(woken, trigger) => self.coordinated(woken, trigger).await,
            Input::Stop => self.stopping = true,
            Input::End => self.ended = true,
        }
    }

    async fn take_entries(&mut self, entries: Vec<(Event, Position)>) {
        let mut entries = VecDeque::from(entries);
        while !entries.is_empty() && !self.ended {
            let batch: Vec<(Event, Position)> = entries.drain(..entries.len().min(BATCH)).collect();
            self.host().run(self.hub.parameters.event_time * batch.len() as u32).await;
            self.hub.counters.events_taken.add(batch.len() as u64);
            for (event, position) in batch {
                self.taken_upto = self.taken_upto.max(position);
                // A workflow may end in the middle.
                if !self.ended {
                    self.take(event, Some(position), 0).await;
                }
            }
        }
    }

    /// Takes one event in, for the so-manieth time.
    async fn take(&mut self, event: Event, position: Option<Position>, times: u32) {
        self.forget_acknowledged();
        self.hub.measure.found(&event.message);
        let message = event.message.id;
        let taken = match event.starts_another(self.globals.start) {
            true => {
                self.hub.counters.starts_left_out.count();
                self.workspace.drop_event(&event, position)
            }
            false => self.workspace.take(event, position),
        };
        self.whereabouts.takes(self.workspace.held());
        match taken {
            Taken::Duplicate => {
                self.hub.counters.duplicates_dropped.count();
                self.hub.observer.graph().discarded(message);
            }
            Taken::Held => {}
            Taken::Fires(firing) => self.fire(firing).await,
            Taken::Terminates(firing, reason) => self.terminate(firing, reason).await,
            Taken::Busy(event) if self.workspace.rules.set_aside => {
                self.set_aside(event, position);
            }
            Taken::Busy(event) | Taken::Unknown(event) => {
                self.unknown(event, position, times).await;
            }
        }
    }

    /// No trigger knows the event: perhaps the store has one that does.
    async fn unknown(&mut self, event: Event, position: Option<Position>, times: u32) {
        let found = self.discover().await;
        let is_known = self.knows(&event);
        let rules = self.workspace.rules;
        if rules.set_aside && found {
            self.look_again_soon();
        }
        if is_known && (rules.set_aside || times < rules.redeliveries) {
            self.hub.counters.redelivered.count();
            self.input.0.send(Input::Again(event, position, times + 1));
        } else if rules.set_aside {
            self.set_aside(event, position);
        } else {
            self.hub.counters.dead_letters.count();
        }
    }

    fn knows(&self, event: &Event) -> bool {
        !self.workspace.triggers.activated(event).is_empty()
    }

    async fn discover(&mut self) -> bool {
        let triggers = self.name.triggers();
        let stored = self.connection.all::<Trigger>(&triggers).await;
        let stored = self.connection.sure(stored).into_iter();
        let found = self.workspace.discover(stored.map(|(_, trigger)| trigger));
        if found {
            self.hub.counters.discoveries.count();
        }
        found
    }

    fn set_aside(&mut self, event: Event, position: Option<Position>) {
        if self.aside.is_empty() {
            self.aside_until = self.hub.now() + self.hub.parameters.set_aside_delay;
        }
        self.hub.counters.set_aside.count();
        self.aside.push_back((event, position));
    }

    fn look_again_soon(&mut self) {
        let aside = std::mem::take(&mut self.aside);
        self.take_again(aside);
    }

    fn take_again(&self, events: impl IntoIterator<Item = (Event, Option<Position>)>) {
        for (event, position) in events {
            self.input.0.send(Input::Again(event, position, 0));
        }
    }

    /// Looks at what was set aside: a trigger may have been registered.
    async fn look_again(&mut self) {
        self.aside_until = self.hub.now() + self.hub.parameters.set_aside_delay;
        if self.discover().await {
            self.look_again_soon();
        }
    }

    /// Forgets the ids of events that are acknowledged by now.
    fn forget_acknowledged(&mut self) {
        for (triggers, events) in std::mem::take(&mut *self.acknowledged.borrow_mut()) {
            self.workspace.triggers.forget(&triggers, &events);
        }
    }

    /// Triggers fire.
    async fn fire(&mut self, firing: Firing) {
        self.hub.counters.firings.count();
        let role = self.workspace.triggers.entry(&firing.triggers[0]).trigger.role;
        match role {
            Role::Wake => self.wake(firing).await,
            Role::Entity => self.step_entity(firing).await,
            _ => self.fire_workflow(firing).await,
        }
    }

    /// Invokes a coordinator. Under v4 the worker goes on meanwhile, and the coordinator's answer says
    /// what to acknowledge; under v1 to v3 nothing is heard of it.
    async fn wake(&mut self, firing: Firing) {
        let mut ledger = firing.ledger;
        let why = Category::Queueing.because("waited for the worker to fire its trigger");
        ledger.charge(why, self.hub.now());
        let calls = firing.triggers.iter().map(|id| CoordinatorCall {
            workspace: self.name.clone(),
            start: self.globals.start,
            record: self.workspace.record(id),
            woken_by: (firing.event.id, ledger),
        });
        let calls: Vec<Function> = calls.map(Function::Coordinator).collect();
        if !self.workspace.rules.is_v4() {
            let plan = Plan::of(&mut self.workspace, &firing);
            self.whereabouts.acts();
            for call in &calls {
                drop(faas::invoke(&self.hub, self.host(), call).await);
            }
            self.whereabouts.acted();
            self.committer.send(Job { phases: plan.committer, item: None });
            return;
        }
        for (id, call) in firing.triggers.iter().zip(calls) {
            self.workspace.coordinator_invoked(id);
            let (hub, host) = (self.hub.clone(), self.host().clone());
            let (input, over) = (self.input.0.clone(), self.over.notified());
            let id = id.clone();
            self.host().spawn(async move {
                let answer = async {
                    match faas::invoke(&hub, &host, &call).await {
                        Some(answer) => Some(answer.await),
                        None => None,
                    }
                };
                let answer = std::pin::pin!(answer);
                let either = futures_util::future::select(answer, over).await;
                if let futures_util::future::Either::Left((trigger, _)) = either {
                    input.send(Input::Coordinated(id, trigger));
                }
            });
        }
        // What woke it is acknowledged when the record says that it was consumed.
        self.workspace.put_back(firing);
    }

    /// A coordinator has answered. An invocation that was repeated is answered several times, and some
    /// answers come when the workflow has gone on.
    async fn coordinated(&mut self, woken: TriggerId, trigger: Option<Bytes>) {
        let Some(trigger) = trigger.filter(|trigger| !trigger.is_empty()) else {
            if self.workspace.awaits_coordinator(&woken) {
                // Never accepted, or a run that was done with: then the store has the trigger of a later one.
                self.discover().await;
                let woken = self.workspace.coordinator_lost();
                self.take_again(woken);
                self.look_again_soon();
            }
            return;
        };
        let trigger = decode(&trigger).unwrap_or_else(|error| panic!("a trigger: {error}"));
        let acknowledged = self.workspace.coordinator_ended(trigger);
        let unconsumed = self.workspace.unconsumed();
        self.take_again(unconsumed);
        let stale = self.workspace.take_stale();
        let mut phases = vec![Phase::Acknowledge(acknowledged)];
        if !stale.is_empty() {
            phases.push(Phase::Retire(stale));
        }
        self.whereabouts.acted();
        self.committer.send(Job { phases, item: None });
        self.look_again_soon();
    }
}

/// Does, behind the main loop, what firings leave.
async fn commit(worker: Committer, jobs: Receiver<Job>, over: Notify) {
    let mut over = std::pin::pin!(over.notified());
    loop {
        let next = std::pin::pin!(jobs.recv());
        match futures_util::future::select(next, over.as_mut()).await {
            futures_util::future::Either::Left((job, _)) => {
                worker.settle(job).await;
            }
            futures_util::future::Either::Right(_) => break,
        }
    }
    // What was handed over is done.
    while let Some(job) = jobs.try_recv() {
        worker.settle(job).await;
    }
}

/// What both the main loop and the committer need to store something.
#[derive(Clone)]
struct Committer {
    hub: Rc<Hub>,
    name: WorkspaceName,
    connection: Rc<Connection>,
    received: Rc<RefCell<Vec<Position>>>,
    acknowledged: Acknowledged,
    open: Rc<RefCell<OpenPositions>>,
    whereabouts: Whereabouts,
}

impl Committer {
    async fn settle(&self, job: Job) {
        for phase in job.phases {
            self.carry_out(phase, job.item).await;
        }
        self.whereabouts.settled();
    }

    async fn carry_out(&self, phase: Phase, item: Option<WorkItemId>) {
        let connection = &self.connection;
        let triggers = self.name.triggers();
        match phase {
            Phase::Act => unreachable!("invariant: actions are the main loop's"),
            Phase::WriteEach(contexts) => {
                for context in contexts {
                    connection.sure(connection.set(&triggers, vec![context]).await);
                }
            }
            Phase::WriteTogether(contexts) => {
                connection.sure(connection.set(&triggers, contexts).await);
            }
            Phase::Acknowledge(events) => self.acknowledge(&events).await,
            Phase::Acknowledged(triggers, events) => {
                self.acknowledged.borrow_mut().push((triggers, events));
            }
            Phase::Retire(ids) => {
                let done = ids.into_iter().map(|id| (id.clone(), encode(&Trigger::done(id))));
                connection.sure(connection.set(&triggers, done.collect()).await);
            }
            Phase::RemoveTriggers(ids) => {
                connection.sure(connection.remove(&triggers, ids).await);
            }
            Phase::DeleteReceived => {
                let received = std::mem::take(&mut *self.received.borrow_mut());
                if self.hub.rules.positional {
                    self.connection.acknowledge(&self.name, &received).await;
                } else {
                    self.connection.delete_entries(self.name.stream(), received).await;
                }
            }
            Phase::Committed => {
                if let Some(item) = item {
                    self.hub.measure.committed(item);
                }
            }
        }
    }

    /// Acknowledges events. By position, v1 commits whatever comes before them along; v4 commits up to
    /// the first gap.
    async fn acknowledge(&self, events: &[(EventId, Option<Position>)]) {
        let positions: Vec<Position> =
            events.iter().filter_map(|(_, position)| *position).collect();
        if !(self.hub.rules.positional && self.hub.rules.is_v4()) {
            return self.connection.acknowledge(&self.name, &positions).await;
        }
        let upto = self.open.borrow_mut().consume(&positions);
        if let Some(upto) = upto {
            self.connection.acknowledge(&self.name, &[upto]).await;
        }
    }
}
