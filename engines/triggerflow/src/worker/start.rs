//! How a worker starts: what it reads, and what it takes over from a former one.

use super::{Committer, Input, Worker, commit};
use crate::api::Globals;
use crate::controller::WorkspaceNumber;
use crate::event::{Event, Position};
use crate::hub::Hub;
use crate::record::Record;
use crate::store::Connection;
use crate::trigger::{Role, Trigger};
use crate::whereabouts::Whereabouts;
use crate::workspace::Workspace;
use bytes::Bytes;
use futures_util::future::{Either, select};
use sim_model::id::InstanceId;
use sim_model::ledger::Category;
use sim_model::time::Timestamp;
use sim_world::kernel::{Notify, Receiver, Sender};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

/// Starts a worker; none if its workspace is gone, or so damaged that its code cannot run.
pub(super) async fn start(
    hub: Rc<Hub>,
    number: WorkspaceNumber,
    place: usize,
    wanted: Timestamp,
    input: (Sender<Input>, Receiver<Input>),
    whereabouts: Whereabouts,
) -> Option<Worker> {
    let name = hub.name(number);
    let began = hub.now();
    hub.worker_runs(number);
    let host = hub.host(place).clone();
    let connection = Rc::new(hub.store.connect(&host));
    connection.sure(connection.all::<String>(&name.sources()).await);
    let globals = connection.sure(connection.all::<Globals>(&name.globals()).await);
    let stored = connection.sure(connection.all::<Trigger>(&name.triggers()).await);
    let globals = globals.into_iter().next()?.1;
    let triggers: Vec<Trigger> = stored.into_iter().map(|(_, trigger)| trigger).collect();
    triggers.iter().for_each(|trigger| note_committed(&hub, trigger));
    let instance = InstanceId::new(name.stream().clone());
    let logic = hub.logic(globals.workflow.as_deref());
    // The row by which a workspace exists is written after all of its triggers.
    if !triggers.is_empty() && !logic.has_its_own_among(&triggers) {
        return None;
    }
    let workspace = Workspace::new(instance.clone(), hub.rules, logic, triggers);
    if workspace.ended().is_some() {
        return None;
    }
    let over = hub.kernel.notify();
    let (committer, jobs) = hub.kernel.channel();
    let mut worker = Worker {
        number,
        name: name.clone(),
        place,
        instance,
        globals,
        connection: connection.clone(),
        workspace,
        cursors: BTreeMap::new(),
        input,
        taken_upto: Position::default(),
        aside: VecDeque::new(),
        aside_until: Timestamp::ZERO,
        received: Rc::default(),
        acknowledged: Rc::default(),
        open: Rc::default(),
        committer,
        whereabouts,
        over: over.clone(),
        stopping: false,
        ended: false,
        hub,
    };
    host.spawn(commit(worker.committer_side(), jobs, over.clone()));
    let (acknowledged, upto) = connection.acknowledged(&name).await;
    // Under v4 ids of what was acknowledged are remembered, too.
    let first = worker.globals.first;
    let after = if worker.hub.rules.is_v4() { first } else { first.max(upto) };
    let entries = connection.read(name.stream(), after).await;
    let last = entries.last().map_or(after, |(position, _)| *position);
    worker.taken_upto = last;
    worker.replay((acknowledged, upto), entries, (wanted, began)).await;
    worker.read_on(last, over);
    Some(worker)
}

/// A stored trigger shows which steps are final.
fn note_committed(hub: &Hub, trigger: &Trigger) {
    let record = (trigger.role == Role::Wake).then(|| Record::of(trigger));
    let run = record.and_then(|record| record.last_run()).map(|(item, _, _)| item);
    for item in trigger.context.last_step.into_iter().chain(run) {
        hub.measure.committed(item);
    }
}

impl Worker {
    pub(super) fn committer_side(&self) -> Committer {
        Committer {
            hub: self.hub.clone(),
            name: self.name.clone(),
            connection: self.connection.clone(),
            received: self.received.clone(),
            acknowledged: self.acknowledged.clone(),
            open: self.open.clone(),
            whereabouts: self.whereabouts.clone(),
        }
    }

    /// Takes over what is in the stream: what was begun is done again, what was not acknowledged is
    /// taken in again.
    async fn replay(
        &mut self,
        (acknowledged, upto): (Vec<Position>, Position),
        entries: Vec<(Position, Bytes)>,
        (wanted, began): (Timestamp, Timestamp),
    ) {
        let acknowledged: BTreeSet<Position> = acknowledged.into_iter().collect();
        let mut unacknowledged = Vec::with_capacity(entries.len());
        for (position, body) in entries {
            let Some(mut event) = self.connection.decoded::<Event>(&body) else {
                continue;
            };
            if acknowledged.contains(&position) || position <= upto {
                self.workspace.note_acknowledged(&event);
                continue;
            }
            // It lay there until a worker was wanted, and then until this one was there.
            let ledger = &mut event.message.ledger;
            ledger.charge(Category::Polling.because("lay in the stream without a worker"), wanted);
            ledger.charge(Category::Queueing.because("waited for the worker to start"), began);
            let why = Category::Storage.because("the worker read the stream");
            ledger.charge(why, self.hub.now());
            self.receive(position);
            unacknowledged.push((event, position));
        }
        for recovery in self.workspace.recover(&unacknowledged) {
            self.hub.counters.recovered.count();
            unacknowledged
                .retain(|(event, _)| !recovery.acknowledged.iter().any(|(id, _)| *id == event.id));
            self.recover(recovery).await;
        }
        if !unacknowledged.is_empty() {
            self.input.0.send(Input::Entries(unacknowledged));
        }
    }

    fn receive(&self, position: Position) {
        let rules = self.workspace.rules;
        if rules.discipline == crate::settings::Discipline::V3 {
            self.received.borrow_mut().push(position);
        }
        if rules.positional && rules.is_v4() {
            self.open.borrow_mut().receive(position);
        }
    }

    /// Reads on behind the main loop.
    fn read_on(&self, after: Position, over: Notify) {
        // A read that waits has a connection of its own.
        let connection = self.hub.store.connect(self.host());
        let reader = Reader {
            hub: self.hub.clone(),
            stream: self.name.stream().clone(),
            input: self.input.0.clone(),
            received: self.received.clone(),
            open: self.open.clone(),
        };
        self.host().spawn(async move {
            let mut over = std::pin::pin!(over.notified());
            let mut after = after;
            loop {
                let read = std::pin::pin!(connection.wait(&reader.stream, after));
                match select(read, over.as_mut()).await {
                    Either::Left((entries, _)) => {
                        after = entries.last().map_or(after, |(position, _)| *position);
                        reader.receive(&connection, entries);
                    }
                    Either::Right(_) => return,
                }
            }
        });
    }
}

/// The task that waits for events.
struct Reader {
    hub: Rc<Hub>,
    stream: Arc<str>,
    input: Sender<Input>,
    received: Rc<RefCell<Vec<Position>>>,
    open: Rc<RefCell<crate::open_positions::OpenPositions>>,
}

impl Reader {
    fn receive(&self, connection: &Connection, entries: Vec<(Position, Bytes)>) {
        let now = self.hub.now();
        let rules = self.hub.rules;
        let mut events = Vec::with_capacity(entries.len());
        for (position, body) in entries {
            let Some(mut event) = connection.decoded::<Event>(&body) else { continue };
            let why = Category::Storage.because("published, and read by the worker");
            event.message.ledger.charge(why, now);
            if rules.discipline == crate::settings::Discipline::V3 {
                self.received.borrow_mut().push(position);
            }
            if rules.positional && rules.is_v4() {
                self.open.borrow_mut().receive(position);
            }
            events.push((event, position));
        }
        if !events.is_empty() {
            self.input.send(Input::Entries(events));
        }
    }
}
