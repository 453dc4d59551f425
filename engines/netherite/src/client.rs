//! The client: requests to partitions, answers pushed back.
//!
//! A request travels through the partition's event log like any other event; its answer comes
//! through the client's own event log when what it reports is durable. There is no polling. A
//! request that is not answered within the timeout has an unknown outcome, and is not sent again.

use crate::event::{ClientEvent, PartitionEvent, Phase, RequestId};
use crate::host::HostProcess;
use crate::placement::partition_of;
use crate::transport::{Letter, receive};
use futures_util::future::LocalBoxFuture;
use sim_model::engine::{Client, ClientError, InstanceState, StartRequest};
use sim_model::history::{EventKind, HistoryEvent};
use sim_model::id::InstanceId;
use sim_model::ledger::Ledger;
use sim_model::message::InstanceMessage;
use std::rc::Rc;

/// Answers that a client takes from the transport at once.
const RECEIVE_BATCH: usize = 300;

/// The client on one host.
#[derive(Clone)]
pub(crate) struct NetheriteClient {
    process: Rc<HostProcess>,
    partitions: u32,
}

impl NetheriteClient {
    pub(crate) fn new(process: Rc<HostProcess>, partitions: u32) -> NetheriteClient {
        NetheriteClient { process, partitions }
    }

    /// Takes answers from the transport and hands them to whoever waits, for ever.
    pub(crate) async fn take_answers(process: Rc<HostProcess>) {
        let log = &process.setup.services.client_log;
        let mut subscription = log.subscribe(process.host(), process.setup.index, 0);
        loop {
            let (kernel, blobs) = (&process.setup.kernel, &process.setup.services.blobs);
            let answers = receive::<ClientEvent>(
                kernel,
                process.host(),
                &mut subscription,
                blobs,
                RECEIVE_BATCH,
            )
            .await;
            process.host().run(process.setup.event_work * answers.len() as u32).await;
            for answer in answers {
                let waiting = process.requests.borrow_mut().remove(&answer.request().number);
                if let Some(waiting) = waiting {
                    waiting.resolve(answer);
                }
            }
        }
    }

    /// Sends the request that `event` makes of its id; the answer.
    async fn request(
        self,
        instance: InstanceId,
        event: impl FnOnce(RequestId) -> PartitionEvent,
    ) -> Result<ClientEvent, ClientError> {
        let process = &self.process;
        let number = process.next_request.get();
        process.next_request.set(number + 1);
        let (resolver, answer) = process.setup.kernel.completion();
        process.requests.borrow_mut().insert(number, resolver);
        let event = event(RequestId { client: process.setup.index, number });
        let partition = partition_of(&instance, self.partitions);
        process.send_to_partition(partition, Letter { event, confirmation: None });
        let timeout = process.setup.config.request_timeout;
        let answered = process.setup.kernel.timeout(timeout, answer).await;
        answered.ok_or_else(|| {
            process.requests.borrow_mut().remove(&number);
            ClientError::Unknown(format!("no answer about {instance} within {timeout:?}"))
        })
    }
}

impl Client for NetheriteClient {
    fn start(&self, request: StartRequest) -> LocalBoxFuture<'static, Result<(), ClientError>> {
        let now = self.process.setup.kernel.now();
        let kind = EventKind::ExecutionStarted { name: request.name, input: request.input };
        let message = InstanceMessage {
            id: self.process.setup.observer.graph().client_message(),
            target: request.instance.clone(),
            event: HistoryEvent { timestamp: now, kind },
            ledger: Ledger::new(now),
        };
        let client = self.clone();
        Box::pin(async move {
            let (instance, phase) = (request.instance, Phase::Read);
            let answer = client.request(instance.clone(), |request| {
                PartitionEvent::CreationRequestReceived { request, phase, message }
            });
            match answer.await? {
                ClientEvent::Creation { created: true, .. } => Ok(()),
                _ => Err(ClientError::Refused(format!("{instance} exists already"))),
            }
        })
    }

    fn status(
        &self,
        instance: InstanceId,
    ) -> LocalBoxFuture<'static, Result<Option<InstanceState>, ClientError>> {
        let client = self.clone();
        Box::pin(async move {
            let answer = client.request(instance.clone(), |request| {
                PartitionEvent::StateRequestReceived { request, instance }
            });
            match answer.await? {
                ClientEvent::State { state, .. } => Ok(state),
                other => panic!("a state request was answered by {other:?}"),
            }
        })
    }

    fn wait(
        &self,
        instance: InstanceId,
    ) -> LocalBoxFuture<'static, Result<InstanceState, ClientError>> {
        let client = self.clone();
        Box::pin(async move {
            let answer = client.request(instance.clone(), |request| {
                let (phase, instance) = (Phase::Read, instance.clone());
                PartitionEvent::WaitRequestReceived { request, phase, instance }
            });
            match answer.await? {
                ClientEvent::End { state, .. } => Ok(state),
                _ => Err(ClientError::Refused(format!("there is no instance {instance}"))),
            }
        })
    }
}
