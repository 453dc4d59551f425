//! The HTTP front end of a host: takes requests of robots, starts orchestrations, answers.
//!
//! One mailbox for each host, and a pool of long-lived handler tasks on it that grows when all
//! are busy, as a web server's does. A request costs the profile's `cpu.http_request` on the host;
//! what starting and waiting cost is the engine's business.

use crate::recorder::Recorder;
use crate::workload::{Orchestrations, launcher};
use sim_model::engine::{Client, ClientError, StartRequest};
use sim_world::host::Host;
use sim_world::kernel::{NodeId, Receiver};
use sim_world::network::MailboxSender;
use sim_world::world::World;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// What a robot asks of a host.
pub(super) enum Request {
    /// Start the orchestration with this index, wait for its end, and answer.
    Run(u64),
    /// Start a batch, and do not wait.
    Batch {
        /// Orchestrations.
        size: u64,
        /// Orchestrations of each launcher; 0 for none.
        launcher: u64,
        /// Starts under way at a time.
        parallel: usize,
    },
}

/// The answer to [`Request::Run`].
pub(super) struct Answer {
    /// The orchestration.
    pub(super) index: u64,
    /// Whether it was run to its end.
    pub(super) result: Result<(), ClientError>,
}

/// The front end of one host. Cloning shares it.
#[derive(Clone)]
pub(super) struct FrontEnd(Rc<Inner>);

struct Inner {
    host: Host,
    client: Rc<dyn Client>,
    orchestrations: Orchestrations,
    recorder: Recorder,
    requests: Receiver<Request>,
    answers: MailboxSender<Answer>,
    http_request: Duration,
    response_bytes: u64,
    /// Handlers that wait for a request.
    idle: Cell<usize>,
}

/// Opens the front end of `host` and returns where to send requests.
pub(super) fn open(
    world: &World,
    host: &Host,
    client: Rc<dyn Client>,
    orchestrations: &Orchestrations,
    recorder: &Recorder,
    answers: &MailboxSender<Answer>,
) -> MailboxSender<Request> {
    let (sender, requests) = world.network().mailbox(host.node());
    let front = FrontEnd(Rc::new(Inner {
        host: host.clone(),
        client,
        orchestrations: orchestrations.clone(),
        recorder: recorder.clone(),
        requests,
        answers: answers.clone(),
        http_request: world.profile().cpu.http_request,
        response_bytes: world.profile().services.response_envelope_bytes,
        idle: Cell::new(0),
    }));
    front.add_handler();
    sender
}

impl FrontEnd {
    fn node(&self) -> NodeId {
        self.0.host.node()
    }

    /// Adds one more handler, idle at first.
    fn add_handler(&self) {
        self.0.idle.set(self.0.idle.get() + 1);
        let front = self.clone();
        self.0.host.spawn(async move {
            loop {
                let request = front.0.requests.recv().await;
                let idle = front.0.idle.get() - 1;
                front.0.idle.set(idle);
                if idle == 0 {
                    front.add_handler();
                }
                front.serve(request).await;
                front.0.idle.set(front.0.idle.get() + 1);
            }
        });
    }

    async fn serve(&self, request: Request) {
        self.0.host.run(self.0.http_request).await;
        match request {
            Request::Run(index) => self.run(index).await,
            Request::Batch { size, launcher, parallel } => {
                self.batch(size, launcher, parallel);
            }
        }
    }

    async fn run(&self, index: u64) {
        let Inner { client, orchestrations, recorder, .. } = &*self.0;
        let request = orchestrations.request(index);
        let instance = request.instance.clone();
        let started = client.start(request).await;
        recorder.start_answered(&started);
        let result = match started {
            Ok(()) => client.wait(instance).await.map(|_| ()),
            Err(error) => Err(error),
        };
        self.0.answers.send(self.node(), self.0.response_bytes, Answer { index, result });
    }

    /// Starts everything a batch consists of with `parallel` tasks, which end with the batch.
    fn batch(&self, size: u64, launcher: u64, parallel: usize) {
        let orchestrations = &self.0.orchestrations;
        let requests: Box<dyn Iterator<Item = StartRequest>> = match launcher {
            0 => {
                let orchestrations = orchestrations.clone();
                Box::new((0..size).map(move |index| orchestrations.request(index)))
            }
            each => {
                let orchestrations = orchestrations.clone();
                let portions = launcher::portions(size, each);
                self.0.recorder.expect_launchers(portions.len() as u64);
                Box::new(portions.map(move |portion| launcher::request(&orchestrations, portion)))
            }
        };
        let requests = Rc::new(std::cell::RefCell::new(requests));
        for _ in 0..parallel {
            let (front, requests) = (self.clone(), requests.clone());
            self.0.host.spawn(async move {
                loop {
                    let next = requests.borrow_mut().next();
                    let Some(request) = next else { break };
                    let started = front.0.client.start(request).await;
                    front.0.recorder.start_answered(&started);
                }
            });
        }
    }
}
