//! The HTTP front end of a host: takes requests of robots, starts orchestrations or runs jobs,
//! answers.
//!
//! One mailbox for each host, and a pool of long-lived handler tasks on it that grows when all
//! are busy, as a web server's does. A request costs the profile's `cpu.http_request` on the host;
//! what starting and waiting cost is the engine's business. A job runs in the handler that took
//! its request; the jobs of a batch run side by side, as its starts do.

use super::door::ASK_AGAIN;
use crate::recorder::Recorder;
use crate::workload::{Job, JobContext, Orchestrations, Start, launcher};
use sim_model::engine::{Client, ClientError, StartRequest};
use sim_model::id::EntityId;
use sim_model::payload::Payload;
use sim_world::host::Host;
use sim_world::kernel::{Kernel, NodeId, Receiver};
use sim_world::network::MailboxSender;
use sim_world::world::World;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// What a robot asks of a host. Asked again (`again`), it is about instances that may exist.
#[derive(Clone, Copy)]
pub(super) enum Request {
    /// Start the orchestration or job with this index, wait for its end, and answer.
    Run { index: u64, again: bool },
    /// Start a batch, and do not wait: it is never answered.
    Batch {
        /// Orchestrations or jobs.
        size: u64,
        /// Orchestrations of each launcher; 0 for none.
        launcher: u64,
        /// Starts, or jobs, under way at a time.
        parallel: usize,
        again: bool,
    },
}

impl Request {
    /// What the request is known by: its index, or that it is the batch.
    pub(super) fn key(&self) -> Option<u64> {
        match self {
            Request::Run { index, .. } => Some(*index),
            Request::Batch { .. } => None,
        }
    }

    /// The same, asked once more.
    pub(super) fn again(self) -> Request {
        match self {
            Request::Run { index, .. } => Request::Run { index, again: true },
            Request::Batch { size, launcher, parallel, .. } => {
                Request::Batch { size, launcher, parallel, again: true }
            }
        }
    }
}

/// The answer to a [`Request::Run`].
pub(super) struct Answer {
    /// What was asked for.
    pub(super) request: Request,
    /// Whether it was run to its end.
    pub(super) result: Result<(), ClientError>,
}

/// The front end of one host. Cloning shares it.
#[derive(Clone)]
pub(super) struct FrontEnd(Rc<Inner>);

struct Inner {
    host: Host,
    kernel: Kernel,
    client: Rc<dyn Client>,
    orchestrations: Orchestrations,
    recorder: Recorder,
    requests: Receiver<Request>,
    answers: MailboxSender<Answer>,
    http_request: Duration,
    response_bytes: u64,
    /// Whether a start of a batch whose outcome is unknown is repeated, as a robot's request is.
    persistent: bool,
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
    persistent: bool,
) -> MailboxSender<Request> {
    let (sender, requests) = world.network().mailbox(host.node());
    let front = FrontEnd(Rc::new(Inner {
        host: host.clone(),
        kernel: world.kernel().clone(),
        client,
        orchestrations: orchestrations.clone(),
        recorder: recorder.clone(),
        requests,
        answers: answers.clone(),
        http_request: world.profile().cpu.http_request,
        response_bytes: world.profile().services.response_envelope_bytes,
        persistent,
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
            Request::Run { index, again } => self.run(request, index, again).await,
            Request::Batch { size, launcher, parallel, again } => {
                self.batch(size, launcher, parallel, again);
            }
        }
    }

    async fn run(&self, request: Request, index: u64, again: bool) {
        let Inner { client, orchestrations, recorder, .. } = &*self.0;
        let result = match orchestrations.workload().start() {
            Start::Job(job) => {
                self.job(&*job, index).await;
                Ok(())
            }
            Start::Orchestration(name) => {
                let start = orchestrations.request(name, index);
                let instance = start.instance.clone();
                let started = match again {
                    true => self.start_unless_there(start).await,
                    false => {
                        let started = self.start(start).await;
                        if !self.is_asked_again(&started) {
                            recorder.start_answered(&started);
                        }
                        started
                    }
                };
                match started {
                    Ok(()) => client.wait(instance).await.map(|_| ()),
                    Err(error) => Err(error),
                }
            }
        };
        self.0.answers.send(self.node(), self.0.response_bytes, Answer { request, result });
    }

    /// Starts an orchestration. Where messages can be lost, another handler may have been asked for the same
    /// one meanwhile.
    async fn start(&self, start: StartRequest) -> Result<(), ClientError> {
        match self.0.client.start(start).await {
            Err(ClientError::Refused(_)) if self.0.persistent => Ok(()),
            other => other,
        }
    }

    /// Whether a request with this answer is made again, by its robot or by the trigger of a batch.
    fn is_asked_again(&self, answer: &Result<(), ClientError>) -> bool {
        self.0.persistent && answer.as_ref().is_err_and(ClientError::is_transient)
    }

    /// Starts an orchestration that may have been started before.
    async fn start_unless_there(&self, start: StartRequest) -> Result<(), ClientError> {
        let client = &self.0.client;
        if client.status(start.instance.clone()).await?.is_some() {
            return Ok(());
        }
        match client.start(start).await {
            Err(ClientError::Refused(_)) => Ok(()),
            other => other,
        }
    }

    /// Runs the job with this index and records how it ended.
    async fn job(&self, job: &dyn Job, index: u64) {
        let Inner { client, orchestrations, recorder, kernel, .. } = &*self.0;
        let listener = recorder.clone();
        let context = JobContext::new(kernel, client.clone(), orchestrations.instance(index))
            .with_levels(move |what, value| listener.level(what, value));
        let began = kernel.now();
        let result = job.run(index, context).await;
        recorder.job_ended(index, began, result);
    }

    fn batch(&self, size: u64, launcher: u64, parallel: usize, again: bool) {
        match self.0.orchestrations.workload().start() {
            Start::Job(job) => self.batch_of_jobs(&job, size, parallel),
            Start::Orchestration(name) => {
                self.batch_of_starts(name, size, launcher, parallel, again)
            }
        }
    }

    /// Runs the jobs of a batch with `parallel` tasks, which end with the batch.
    fn batch_of_jobs(&self, job: &Rc<dyn Job>, size: u64, parallel: usize) {
        let next = Rc::new(Cell::new(0));
        for _ in 0..size.min(parallel as u64) {
            let (front, job, next) = (self.clone(), job.clone(), next.clone());
            self.0.host.spawn(async move {
                while next.get() < size {
                    let index = next.replace(next.get() + 1);
                    front.job(&*job, index).await;
                }
            });
        }
    }

    /// Starts everything a batch consists of with `parallel` tasks, which end with the batch.
    fn batch_of_starts(
        &self,
        name: &'static str,
        size: u64,
        launcher: u64,
        parallel: usize,
        again: bool,
    ) {
        let orchestrations = self.0.orchestrations.clone();
        let starts: Box<dyn Iterator<Item = Starting>> = match launcher {
            0 => Box::new(
                (0..size)
                    .map(move |index| Starting::Orchestration(orchestrations.request(name, index))),
            ),
            each => Box::new(launcher::portions(size, each).map(move |portion| {
                let (entity, input) = launcher::signal(&orchestrations, portion);
                Starting::Portion(entity, input)
            })),
        };
        let starts = Rc::new(RefCell::new(starts));
        for _ in 0..parallel {
            let (front, starts) = (self.clone(), starts.clone());
            self.0.host.spawn(async move {
                loop {
                    let next = starts.borrow_mut().next();
                    let Some(starting) = next else { break };
                    front.begin(starting, again).await;
                }
            });
        }
    }

    async fn begin(&self, starting: Starting, again: bool) {
        let Inner { client, recorder, .. } = &*self.0;
        match starting {
            Starting::Orchestration(request) => {
                let mut answer = match again {
                    true => self.start_unless_there(request.clone()).await,
                    false => self.start(request.clone()).await,
                };
                while self.is_asked_again(&answer) {
                    self.0.kernel.sleep(ASK_AGAIN).await;
                    answer = self.start_unless_there(request.clone()).await;
                }
                if !again || answer.is_err() {
                    recorder.start_answered(&answer);
                }
            }
            Starting::Portion(entity, input) => {
                let sent = client.signal_entity(&entity, launcher::LAUNCH, input).await;
                recorder.launcher_answered(&entity, &sent);
            }
        }
    }
}

/// One request of a batch.
enum Starting {
    Orchestration(StartRequest),
    /// A launcher, and the portion that it starts.
    Portion(EntityId, Payload),
}
