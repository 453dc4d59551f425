//! The load generator: robots on their own machine that send requests to hosts.
//!
//! Robots cost no core time: the machine is large enough never to be the bottleneck, and a robot
//! that is late would be a fault of the measurement.

use super::door::{ASK_AGAIN, CLIENT_TIMEOUT, FrontDoor};
use super::front::{self, Answer, Request};
use super::{LoadSpec, ORCHESTRATIONS_MAX, PARALLEL_STARTS};
use crate::history::HistoryRecorder;
use crate::recorder::Recorder;
use crate::workload::Orchestrations;
use sim_model::engine::{ClientError, TaskHub};
use sim_world::distribution::Latency;
use sim_world::kernel::{Notify, Receiver};
use sim_world::network::MailboxSender;
use sim_world::seed::Stream;
use sim_world::world::World;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// The robots' side of the load.
#[derive(Clone)]
struct Generator(Rc<Inner>);

struct Inner {
    world: World,
    orchestrations: Orchestrations,
    recorder: Recorder,
    door: FrontDoor,
    request_envelope: u64,
    /// For a closed load: who waits for which orchestration, by index.
    waiting: RefCell<Vec<u32>>,
    /// For a closed load: one for each client.
    clients: Vec<Notify>,
}

/// What a load plays on.
pub(crate) struct Field<'a> {
    pub(crate) world: &'a World,
    pub(crate) hub: &'a Rc<dyn TaskHub>,
    pub(crate) orchestrations: &'a Orchestrations,
    pub(crate) recorder: &'a Recorder,
    pub(crate) history: &'a HistoryRecorder,
    /// Which hosts are there.
    pub(crate) running: Vec<bool>,
    /// Whether that changes.
    pub(crate) hosts_change: bool,
    /// Whether something can go wrong with messages and services.
    pub(crate) messages_can_be_lost: bool,
}

impl Field<'_> {
    /// Where requests go, and answers to `answers`.
    fn door(&self, answers: MailboxSender<Answer>) -> FrontDoor {
        let (world, hub) = (self.world.clone(), self.hub.clone());
        let (orchestrations, recorder) = (self.orchestrations.clone(), self.recorder.clone());
        let (history, losses) = (self.history.clone(), self.messages_can_be_lost);
        let open = move |index: usize| {
            let (host, client) = (&world.hosts()[index], history.watch(index, hub.client(index)));
            front::open(&world, host, client, &orchestrations, &recorder, &answers, losses)
        };
        FrontDoor::new(Box::new(open), &self.running, self.hosts_change, losses)
    }
}

/// Opens the front ends of all hosts, and starts the load. It goes on by itself; the recorder
/// tells when it is over.
pub(crate) fn generate(field: &Field<'_>, load: &LoadSpec) -> FrontDoor {
    let world = field.world;
    let (answers, inbox) = world.network().mailbox(world.client_node());
    let door = field.door(answers);
    let clients = match load {
        LoadSpec::Closed { clients, .. } => *clients,
        _ => 0,
    };
    let generator = Generator(Rc::new(Inner {
        world: world.clone(),
        orchestrations: field.orchestrations.clone(),
        recorder: field.recorder.clone(),
        door: door.clone(),
        request_envelope: world.profile().services.request_envelope_bytes,
        waiting: RefCell::default(),
        clients: (0..clients).map(|_| world.kernel().notify()).collect(),
    }));
    generator.spawn(generator.clone().receive(inbox));
    // Weak: the generator holds the door, which would hold the generator, and with it the world.
    let asking = Rc::downgrade(&generator.0);
    door.ask_again_by(move |request| {
        let generator =
            asking.upgrade().expect("invariant: the task that receives answers holds it");
        Generator(generator).ask_again(request);
    });
    match *load {
        LoadSpec::Batch { size, launcher, .. } => generator.batch(size, launcher.unwrap_or(0)),
        LoadSpec::Open { rate, duration, .. } => {
            generator.spawn(generator.clone().arrivals(rate, duration));
        }
        LoadSpec::Closed { duration, think, .. } => generator.closed(duration, think),
    }
    door
}

impl Generator {
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.world.client().spawn(task);
    }

    /// Takes the answers of hosts, at the instant they arrive.
    async fn receive(self, inbox: Receiver<Answer>) {
        loop {
            let Answer { request, result } = inbox.recv().await;
            if !self.0.door.answered(request.key()) {
                continue;
            }
            if self.0.door.asks_again() && result.as_ref().is_err_and(ClientError::is_transient) {
                self.0.door.ask_again(request);
                continue;
            }
            let index = request.key().expect("invariant: a batch is not answered");
            self.0.recorder.answered(index, &result);
            let client = self.0.waiting.borrow().get(index as usize).copied();
            if let Some(client) = client {
                self.0.clients[client as usize].notify_one();
            }
        }
    }

    /// Sends a request to a host, if there is one.
    fn send(&self, request: Request) {
        let Inner { door, orchestrations, world, request_envelope, .. } = &*self.0;
        let (front, body_bytes) = match request {
            Request::Run { index, .. } => {
                (door.admit(&request), orchestrations.workload().input(index).len() as u64)
            }
            Request::Batch { .. } => (door.admit_batch(&request), 0),
        };
        let Some(front) = front else { return };
        let arrives = front.send(world.client_node(), request_envelope + body_bytes, request);
        let waits_for_answer = matches!(request, Request::Run { .. });
        if (waits_for_answer || !arrives)
            && let Some(number) = door.patience()
        {
            let (door, kernel) = (door.clone(), world.kernel().clone());
            self.spawn(async move {
                kernel.sleep(CLIENT_TIMEOUT).await;
                door.give_up(request, number);
            });
        }
    }

    /// Sends a request once more, after a while.
    fn ask_again(&self, request: Request) {
        let generator = self.clone();
        self.spawn(async move {
            generator.0.world.kernel().sleep(ASK_AGAIN).await;
            generator.send(request);
        });
    }

    /// Asks for one more orchestration, from the hosts in turn.
    fn ask(&self) -> u64 {
        let index = self.0.recorder.issue();
        self.send(Request::Run { index, again: false });
        index
    }

    fn batch(&self, size: u64, launcher: u64) {
        self.0.recorder.issue_many(size);
        self.send(Request::Batch { size, launcher, parallel: PARALLEL_STARTS, again: false });
        self.0.recorder.load_ended();
    }

    /// Poisson arrivals: independent exponential gaps.
    async fn arrivals(self, rate: f64, duration: Duration) {
        let kernel = self.0.world.kernel().clone();
        let mut stream = self.0.world.seeds().stream("workload arrivals");
        let gap = Latency::Exponential { mean_ms: 1_000.0 / rate };
        let mut next = kernel.now();
        let end = next + duration;
        loop {
            next += gap.sample(&mut stream);
            if next >= end {
                break;
            }
            kernel.sleep_until(next).await;
            self.ask();
        }
        kernel.sleep_until(end).await;
        self.0.recorder.load_ended();
    }

    fn closed(&self, duration: Duration, think: Duration) {
        let kernel = self.0.world.kernel();
        let end = kernel.now() + duration;
        let remaining = Rc::new(Cell::new(self.0.clients.len()));
        for client in 0..self.0.clients.len() {
            let stream = self.0.world.seeds().stream(&format!("workload think {client}"));
            let (generator, remaining) = (self.clone(), remaining.clone());
            self.spawn(async move {
                generator.client(client, end, think, stream).await;
                remaining.set(remaining.get() - 1);
                if remaining.get() == 0 {
                    generator.0.recorder.load_ended();
                }
            });
        }
    }

    /// One client of a closed load: think, ask, wait, until the end.
    async fn client(
        &self,
        client: usize,
        end: sim_model::time::Timestamp,
        think: Duration,
        mut stream: Stream,
    ) {
        let kernel = self.0.world.kernel();
        let think = Latency::exponential(think);
        loop {
            let start = kernel.now() + think.sample(&mut stream);
            if start >= end || self.0.recorder.issued() >= ORCHESTRATIONS_MAX {
                return;
            }
            kernel.sleep_until(start).await;
            let index = self.ask();
            self.waits(client, index);
            self.0.clients[client].notified().await;
        }
    }

    /// Notes that a client waits for the orchestration it has just asked for.
    fn waits(&self, client: usize, index: u64) {
        let client = u32::try_from(client).expect("invariant: clients are numbered in 32 bits");
        let mut waiting = self.0.waiting.borrow_mut();
        assert_eq!(waiting.len() as u64, index, "indices are issued in turn");
        waiting.push(client);
    }
}
