//! What clients asked of a task hub, when, and what they were told: the view from outside.
//!
//! Every client handle of a run is wrapped (`history/client.rs`). A request is noted when it is
//! made, its answer when it arrives; a request whose host dies, or whose answer never comes, stays
//! open: it may have taken effect, may still, or may never. Recording takes no virtual time and decides
//! nothing. Queries are not recorded: they are about no instance.
//!
//! Checks of what clients see read this ([`crate::checks`]); so does [`export`], for checkers outside.
//!
//! Units: virtual nanoseconds since the start of the run.

mod client;
pub mod export;

use client::WatchedClient;
use sim_model::engine::{Client, ClientError, ClientMessage, InstanceState};
use sim_model::id::InstanceId;
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use sim_world::kernel::Kernel;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// What a client asked about an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientRequest {
    /// To start an orchestration.
    Start {
        /// Its registered name.
        name: Arc<str>,
        /// Its input.
        input: Payload,
    },
    /// To deliver a message.
    Send(ClientMessage),
    /// For its state.
    Status,
    /// For its end.
    Wait,
    /// To remove it.
    Purge,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The request was accepted.
    Accepted,
    /// The state of the instance, if there is one.
    State(Option<Box<InstanceState>>),
    /// Whether there was an instance to remove.
    Removed(bool),
    /// The request did not take effect.
    Refused(String),
    /// The request may have taken effect.
    Unknown(String),
}

impl Told {
    fn of<T>(answer: &Result<T, ClientError>, good: impl FnOnce(&T) -> Told) -> Told {
        match answer {
            Ok(value) => good(value),
            Err(ClientError::Refused(problem) | ClientError::Unavailable(problem)) => {
                Told::Refused(problem.clone())
            }
            Err(ClientError::Unknown(problem)) => Told::Unknown(problem.clone()),
        }
    }
}

/// One request of a client.
#[derive(Clone, Debug)]
pub struct ClientOperation {
    /// The host whose client it was.
    pub host: usize,
    /// The instance.
    pub instance: InstanceId,
    /// What was asked.
    pub request: ClientRequest,
    /// When it was asked.
    pub invoked: Timestamp,
    /// What was told, and when; nothing if no answer came.
    pub answer: Option<(Timestamp, Told)>,
}

/// Records what clients ask and are told. Cloning shares the record.
#[derive(Clone)]
pub(crate) struct HistoryRecorder {
    kernel: Kernel,
    operations: Rc<RefCell<Vec<ClientOperation>>>,
}

impl HistoryRecorder {
    pub(crate) fn new(kernel: &Kernel) -> HistoryRecorder {
        HistoryRecorder { kernel: kernel.clone(), operations: Rc::default() }
    }

    /// The same client, whose requests are recorded.
    pub(crate) fn watch(&self, host: usize, client: Rc<dyn Client>) -> Rc<dyn Client> {
        Rc::new(WatchedClient::new(self.clone(), host, client))
    }

    fn invoke(&self, host: usize, instance: &InstanceId, request: ClientRequest) -> usize {
        let (instance, invoked) = (instance.clone(), self.kernel.now());
        let mut operations = self.operations.borrow_mut();
        operations.push(ClientOperation { host, instance, request, invoked, answer: None });
        operations.len() - 1
    }

    fn respond(&self, index: usize, told: Told) {
        let answer = Some((self.kernel.now(), told));
        if let Some(operation) = self.operations.borrow_mut().get_mut(index) {
            operation.answer = answer;
        }
    }

    /// Everything recorded so far, in the order of the requests.
    pub(crate) fn so_far(&self) -> Vec<ClientOperation> {
        self.operations.borrow().clone()
    }
}
