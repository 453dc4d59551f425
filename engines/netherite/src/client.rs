//! The client: requests to partitions, answers pushed back.
//!
//! A request travels through the partition's event log like any other event; its answer comes
//! through the client's own event log when what it reports is durable. There is no polling. A
//! request that is not answered within the timeout has an unknown outcome, and is not sent again.
//! A client that starts anew reads its event log from its end on, and numbers its requests beyond
//! those of its former lives: late answers to them mean nothing to it.
//! A message to an instance is not answered: it is accepted when the partition's event log has it.
//! A query is one request to each partition.

use crate::event::{ClientEvent, Deletion, InputPosition, PartitionEvent, Phase, RequestId};
use crate::host::HostProcess;
use crate::placement::partition_of;
use crate::transport::{Letter, Receipt, Unsent, receive};
use futures_util::future::try_join_all;
use sim_model::engine::{
    Client, ClientAnswer, ClientError, ClientMessage, InstanceQuery, InstanceState, StartRequest,
};
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
        let end = log.end(process.setup.index);
        let mut subscription = log.subscribe(process.host(), process.setup.index, end);
        loop {
            let (kernel, blobs) = (&process.setup.kernel, &process.setup.services.blobs);
            let answers = receive::<ClientEvent>(
                kernel,
                process.host(),
                &mut subscription,
                blobs,
                RECEIVE_BATCH,
                InputPosition::default(),
            )
            .await;
            process.host().run(process.setup.event_work * answers.len() as u32).await;
            for (_, answer) in answers {
                let waiting = process.requests.borrow_mut().remove(&answer.request().number);
                if let Some(waiting) = waiting {
                    waiting.resolve(answer);
                }
            }
        }
    }

    fn home(&self, instance: &InstanceId) -> u32 {
        partition_of(instance, self.partitions)
    }

    /// A message that leaves this client now.
    fn message(&self, target: InstanceId, kind: EventKind) -> InstanceMessage {
        let now = self.process.setup.kernel.now();
        let id = self.process.setup.observer.graph().client_message();
        let event = HistoryEvent { timestamp: now, kind };
        InstanceMessage { id, target, event, ledger: Ledger::new(now) }
    }

    /// Sends `partition` the request that `event` makes of its id; the answer.
    async fn request(
        self,
        partition: u32,
        message: Option<Unsent>,
        event: impl FnOnce(RequestId) -> PartitionEvent,
    ) -> Result<ClientEvent, ClientError> {
        let process = &self.process;
        let number = process.next_request.get();
        process.next_request.set(number + 1);
        let (resolver, answer) = process.setup.kernel.completion();
        process.requests.borrow_mut().insert(number, resolver);
        let event = event(RequestId { client: process.setup.index, number });
        let receipt = Receipt::Client { taken: None, message };
        process.send_to_partition(partition, Letter { event, receipt });
        let timeout = process.setup.config.request_timeout;
        let answered = process.setup.kernel.timeout(timeout, answer).await;
        answered.ok_or_else(|| {
            process.requests.borrow_mut().remove(&number);
            let silent = format!("no answer from partition {partition} within {timeout:?}");
            ClientError::Unknown(silent)
        })
    }

    /// Asks the partition of `instance` with the event that `event` makes.
    fn ask<T: 'static>(
        &self,
        instance: InstanceId,
        message: Option<Unsent>,
        event: impl FnOnce(RequestId, InstanceId) -> PartitionEvent + 'static,
        answer: impl FnOnce(ClientEvent, InstanceId) -> Result<T, ClientError> + 'static,
    ) -> ClientAnswer<T> {
        let (client, partition) = (self.clone(), self.home(&instance));
        Box::pin(async move {
            let asked = instance.clone();
            let answered =
                client.request(partition, message, |request| event(request, asked)).await?;
            answer(answered, instance)
        })
    }
}

fn refused<T>(problem: String) -> Result<T, ClientError> {
    Err(ClientError::Refused(problem))
}

/// The answer to another request than the one that was sent.
fn unexpected<T>(answer: &ClientEvent) -> T {
    unreachable!("an answer goes to its request, which cannot be answered by {answer:?}")
}

impl Client for NetheriteClient {
    fn start(&self, request: StartRequest) -> ClientAnswer<()> {
        let StartRequest { instance, name, input } = request;
        if instance.is_entity() {
            let problem = format!("{instance} is the key of an entity");
            return Box::pin(std::future::ready(refused(problem)));
        }
        let message = self.message(instance.clone(), EventKind::execution_started(name, input));
        let unsent = Unsent::new(self.process.setup.observer.graph(), message.id);
        let event = |request, _| {
            let phase = Phase::Read;
            PartitionEvent::CreationRequestReceived { request, phase, message }
        };
        self.ask(instance, Some(unsent), event, |answer, instance| match answer {
            ClientEvent::Creation { created: true, .. } => Ok(()),
            ClientEvent::Creation { created: false, .. } => {
                refused(format!("instance {instance} exists and has not ended"))
            }
            other => unexpected(&other),
        })
    }

    fn send(&self, instance: InstanceId, message: ClientMessage) -> ClientAnswer<()> {
        let partition = self.home(&instance);
        let message = self.message(instance, message.into_event());
        let (resolver, taken) = self.process.setup.kernel.completion();
        let message_id = Unsent::new(self.process.setup.observer.graph(), message.id);
        let event = PartitionEvent::ClientTaskMessagesReceived { message };
        let receipt = Receipt::Client { taken: Some(resolver), message: Some(message_id) };
        self.process.send_to_partition(partition, Letter { event, receipt });
        let timeout = self.process.setup.config.request_timeout;
        let taken = self.process.setup.kernel.timeout(timeout, taken);
        Box::pin(async move {
            match taken.await {
                Some(true) => Ok(()),
                Some(false) => Err(ClientError::Unknown("the event log did not answer".to_owned())),
                None => {
                    let late = format!("the event log took no message within {timeout:?}");
                    Err(ClientError::Unknown(late))
                }
            }
        })
    }

    fn status(&self, instance: InstanceId) -> ClientAnswer<Option<InstanceState>> {
        let event = |request, instance| PartitionEvent::StateRequestReceived { request, instance };
        self.ask(instance, None, event, |answer, _| match answer {
            ClientEvent::State { state, .. } => Ok(state),
            other => unexpected(&other),
        })
    }

    fn wait(&self, instance: InstanceId) -> ClientAnswer<InstanceState> {
        let event = |request, instance| {
            let phase = Phase::Read;
            PartitionEvent::WaitRequestReceived { request, phase, instance }
        };
        self.ask(instance, None, event, |answer, instance| match answer {
            ClientEvent::End { state, .. } => Ok(state),
            ClientEvent::State { state: None, .. } => {
                refused(format!("there is no instance {instance}"))
            }
            other => unexpected(&other),
        })
    }

    fn query(&self, query: InstanceQuery) -> ClientAnswer<Vec<(InstanceId, InstanceState)>> {
        let ask = |partition| {
            let query = query.clone();
            let event = |request| PartitionEvent::InstanceQueryReceived { request, query };
            self.clone().request(partition, None, event)
        };
        let answers = try_join_all((0..self.partitions).map(ask));
        Box::pin(async move {
            let mut selected = Vec::new();
            for answer in answers.await? {
                match answer {
                    ClientEvent::Selected { instances, .. } => selected.extend(instances),
                    other => unexpected(&other),
                }
            }
            selected.sort_by(|(left, _), (right, _)| left.cmp(right));
            Ok(selected)
        })
    }

    fn purge(&self, instance: InstanceId) -> ClientAnswer<bool> {
        let event = |request, instance| {
            let phase = Phase::Read;
            PartitionEvent::DeletionRequestReceived { request, phase, instance }
        };
        self.ask(instance, None, event, |answer, instance| match answer {
            ClientEvent::Deletion { deletion: Deletion::Removed, .. } => Ok(true),
            ClientEvent::Deletion { deletion: Deletion::Absent, .. } => Ok(false),
            ClientEvent::Deletion { deletion: Deletion::Refused, .. } => {
                refused(format!("instance {instance} has not ended"))
            }
            other => unexpected(&other),
        })
    }
}
