//! The load generator: robots on their own machine that send requests to hosts.
//!
//! Robots cost no core time: the machine is large enough never to be the bottleneck, and a robot
//! that is late would be a fault of the measurement.

use super::front::{self, Answer, Request};
use super::{LoadSpec, ORCHESTRATIONS_MAX, PARALLEL_STARTS};
use crate::recorder::Recorder;
use crate::workload::Orchestrations;
use sim_model::engine::TaskHub;
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
    /// The front end of each host.
    hosts: Vec<MailboxSender<Request>>,
    next_host: Cell<usize>,
    request_envelope: u64,
    /// For a closed load: who waits for which orchestration, by index.
    waiting: RefCell<Vec<u32>>,
    /// For a closed load: one for each client.
    clients: Vec<Notify>,
}

/// Opens the front ends of all hosts, and starts the load. It goes on by itself; the recorder
/// tells when it is over.
pub(crate) fn generate(
    world: &World,
    hub: &Rc<dyn TaskHub>,
    load: &LoadSpec,
    orchestrations: &Orchestrations,
    recorder: &Recorder,
) {
    let (answers, inbox) = world.network().mailbox(world.client_node());
    let open = |(index, host)| {
        front::open(world, host, hub.client(index), orchestrations, recorder, &answers)
    };
    let clients = match load {
        LoadSpec::Closed { clients, .. } => *clients,
        _ => 0,
    };
    let generator = Generator(Rc::new(Inner {
        world: world.clone(),
        orchestrations: orchestrations.clone(),
        recorder: recorder.clone(),
        hosts: world.hosts().iter().enumerate().map(open).collect(),
        next_host: Cell::new(0),
        request_envelope: world.profile().services.request_envelope_bytes,
        waiting: RefCell::default(),
        clients: (0..clients).map(|_| world.kernel().notify()).collect(),
    }));
    generator.spawn(generator.clone().receive(inbox));
    match *load {
        LoadSpec::Batch { size, launcher, .. } => generator.batch(size, launcher.unwrap_or(0)),
        LoadSpec::Open { rate, duration, .. } => {
            generator.spawn(generator.clone().arrivals(rate, duration));
        }
        LoadSpec::Closed { duration, think, .. } => generator.closed(duration, think),
    }
}

impl Generator {
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.world.client().spawn(task);
    }

    /// Takes the answers of hosts, at the instant they arrive.
    async fn receive(self, inbox: Receiver<Answer>) {
        loop {
            let Answer { index, result } = inbox.recv().await;
            self.0.recorder.answered(index, &result);
            let client = self.0.waiting.borrow().get(index as usize).copied();
            if let Some(client) = client {
                self.0.clients[client as usize].notify_one();
            }
        }
    }

    /// Sends a request to a host.
    fn send(&self, host: usize, body_bytes: u64, request: Request) {
        let from = self.0.world.client_node();
        self.0.hosts[host].send(from, self.0.request_envelope + body_bytes, request);
    }

    /// Asks for one more orchestration, from the hosts in turn.
    fn ask(&self) -> u64 {
        let index = self.0.recorder.issue();
        let host = self.0.next_host.get();
        self.0.next_host.set((host + 1) % self.0.hosts.len());
        let input = self.0.orchestrations.workload().input(index);
        self.send(host, input.len() as u64, Request::Run(index));
        index
    }

    fn batch(&self, size: u64, launcher: u64) {
        self.0.recorder.issue_many(size);
        self.send(0, 0, Request::Batch { size, launcher, parallel: PARALLEL_STARTS });
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
