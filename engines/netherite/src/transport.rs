//! The transport: event logs that carry events to partitions and answers to clients.
//!
//! **What it models.** One event log has a partition for each partition of the hub, another one for
//! each client, a third one a single partition for the load monitor. A host has one sender for each
//! destination with one batch in flight: what is sent meanwhile joins the next batch. A batch of at most
//! 300 events and 30 KB goes directly, one event for each; a larger one is written to a blob and a
//! pointer is sent. A busy service is tried again after 5 s. Receivers get events pushed in order, and so
//! messages from one origin arrive in the order they were sent. A batch without an answer is sent again,
//! but for requests of clients: they may have been taken, and nobody would tell the second from the
//! first. Blobs of batches are not deleted: a partition that recovers may read them again.
//! Source: microsoft/durabletask-netherite, `TransportLayer/EventHubs/`.

use crate::event::{ClientEvent, Input, InputPosition, MonitorEvent, PartitionEvent};
use crate::settings::Config;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sim_model::codec;
use sim_model::graph::GraphRecorder;
use sim_model::id::MessageId;
use sim_model::ledger::{Category, Cause};
use sim_world::blob::BlobContainer;
use sim_world::event_log::{EventLog, Subscription};
use sim_world::host::Host;
use sim_world::kernel::{Kernel, Receiver, Resolver, Sender};
use sim_world::service::StorageError;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Bytes that the real encoding (data contracts with type names) adds to an event, for the choice
/// between a direct batch and a blob. [infer] VLDB 2022 Fig. 10: 1.9 MB in 1,220 sends.
const EVENT_ENVELOPE_BYTES: usize = 1_300;
/// Back-off after a send was refused (`EventHubsSender.cs`).
const BACKOFF: Duration = Duration::from_secs(5);
/// A batch that goes through a blob holds at most so many events and bytes.
const BLOB_BATCH_EVENTS: usize = 5_000;
const BLOB_BATCH_BYTES: usize = 500_000;

/// What can travel.
pub(crate) trait Transported: Serialize + DeserializeOwned + 'static {
    /// Charges the messages inside.
    fn charge(&mut self, cause: Cause, until: sim_model::time::Timestamp);
}

impl Transported for PartitionEvent {
    fn charge(&mut self, cause: Cause, until: sim_model::time::Timestamp) {
        PartitionEvent::charge(self, |ledger| ledger.charge(cause, until));
    }
}

impl Transported for ClientEvent {
    fn charge(&mut self, _: Cause, _: sim_model::time::Timestamp) {}
}

impl Transported for MonitorEvent {
    fn charge(&mut self, _: Cause, _: sim_model::time::Timestamp) {}
}

/// What one event of the event log holds.
#[derive(Serialize, Deserialize)]
enum Packet<E> {
    Event(E),
    Blob(String),
}

/// Tells the origin when the transport has taken everything that one log event sent.
pub(crate) struct Confirmation {
    position: u64,
    /// Events for partitions and for clients that were not taken.
    remaining: Cell<usize>,
    partitions: bool,
    clients: bool,
    origin: Sender<Input>,
}

impl Confirmation {
    /// For so many events for partitions and for clients, sent by the event at `position`.
    pub(crate) fn new(
        position: u64,
        (partitions, clients): (usize, usize),
        origin: Sender<Input>,
    ) -> Rc<Self> {
        Rc::new(Confirmation {
            position,
            remaining: Cell::new(partitions + clients),
            partitions: partitions > 0,
            clients: clients > 0,
            origin,
        })
    }

    fn part_was_taken(&self) {
        let remaining = self.remaining.get().checked_sub(1);
        self.remaining.set(remaining.expect("invariant: each part is taken once"));
        if self.remaining.get() == 0 {
            let (position, partitions, clients) = (self.position, self.partitions, self.clients);
            let event = PartitionEvent::SendConfirmed { position, partitions, clients };
            self.origin.send(event.into());
        }
    }
}

/// A message of a client, until an event log has it. If its host dies before, it is reported as
/// dropped: nobody will ever consume it.
pub(crate) struct Unsent(Option<(GraphRecorder, MessageId)>);

impl Unsent {
    pub(crate) fn new(graph: &GraphRecorder, message: MessageId) -> Unsent {
        Unsent(Some((graph.clone(), message)))
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        if let Some((graph, message)) = self.0.take() {
            graph.discarded(message);
        }
    }
}

/// Whom to tell when the transport has taken an event.
pub(crate) enum Receipt {
    /// Nobody.
    None,
    /// The partition one of whose log events has sent it, among others.
    Part(Rc<Confirmation>),
    /// A client that waits for an answer, or for this.
    Client {
        /// Who waits for it to be taken: true if it was, false if that is not known.
        taken: Option<Resolver<bool>>,
        /// The message inside, if there is one.
        message: Option<Unsent>,
    },
}

impl Receipt {
    /// Whether a second copy would do harm.
    fn is_of_client(&self) -> bool {
        matches!(self, Receipt::Client { .. })
    }

    fn was_taken(self) {
        match self {
            Receipt::None => {}
            Receipt::Part(confirmation) => confirmation.part_was_taken(),
            Receipt::Client { taken, message } => {
                if let Some(taken) = taken {
                    taken.resolve(true);
                }
                if let Some(mut unsent) = message {
                    unsent.0 = None;
                }
            }
        }
    }

    /// It may or may not have been taken, and is not sent again.
    fn give_up(self) {
        if let Receipt::Client { taken: Some(taken), .. } = self {
            taken.resolve(false);
        }
    }
}

/// An event to send and whom to tell when it is taken.
pub(crate) struct Letter<E> {
    pub event: E,
    pub receipt: Receipt,
}

/// Counts of what senders did.
#[derive(Default)]
pub(crate) struct TransportCounts {
    pub batches: Cell<u64>,
    pub events: Cell<u64>,
    pub through_blobs: Cell<u64>,
    pub refused: Cell<u64>,
}

fn bump(cell: &Cell<u64>, by: u64) {
    cell.set(cell.get() + by);
}

/// One sender: from one host to one destination.
pub(crate) struct EventSender {
    pub kernel: Kernel,
    pub host: Host,
    pub log: EventLog,
    pub destination: u32,
    pub blobs: BlobContainer,
    pub name: String,
    pub config: Config,
    pub counts: Rc<TransportCounts>,
    /// How many senders of the host are at work on a batch.
    pub busy: Rc<Cell<usize>>,
}

impl EventSender {
    /// Sends what comes out of `letters`, for ever.
    pub(crate) async fn run<E: Transported>(self, letters: Receiver<Letter<E>>) {
        let mut held: Option<(Bytes, Letter<E>)> = None;
        for number in 0_u64.. {
            let first = match held.take() {
                Some(held) => held,
                None => self.encode(letters.recv().await),
            };
            let mut bytes = first.0.len() + EVENT_ENVELOPE_BYTES;
            let mut batch = vec![first];
            while batch.len() < BLOB_BATCH_EVENTS {
                let Some(letter) = letters.try_recv() else { break };
                let next = self.encode(letter);
                bytes += next.0.len() + EVENT_ENVELOPE_BYTES;
                if bytes > BLOB_BATCH_BYTES {
                    held = Some(next);
                    break;
                }
                batch.push(next);
            }
            self.busy.set(self.busy.get() + 1);
            self.send(batch, number).await;
            self.busy.set(self.busy.get() - 1);
        }
    }

    fn encode<E: Transported>(&self, mut letter: Letter<E>) -> (Bytes, Letter<E>) {
        let why = Category::Batching.because("waited for the batch before it to be sent");
        letter.event.charge(why, self.kernel.now());
        (codec::encode(&Packet::Event(&letter.event)), letter)
    }

    /// Sends a batch until the event log has it. What clients have sent is given up if the log has
    /// not answered.
    async fn send<E: Transported>(&self, mut batch: Vec<(Bytes, Letter<E>)>, number: u64) {
        bump(&self.counts.batches, 1);
        bump(&self.counts.events, batch.len() as u64);
        let mut bodies = self.bodies(&batch, number).await;
        loop {
            match self.log.send(&self.host, self.destination, bodies.clone()).await {
                Ok(_) => break,
                Err(StorageError::TimedOut { .. }) => {
                    let (given_up, kept) = batch
                        .into_iter()
                        .partition::<Vec<_>, _>(|(_, letter)| letter.receipt.is_of_client());
                    given_up.into_iter().for_each(|(_, letter)| letter.receipt.give_up());
                    batch = kept;
                    if batch.is_empty() {
                        return;
                    }
                    bodies = self.bodies(&batch, number).await;
                }
                Err(_) => {}
            }
            bump(&self.counts.refused, 1);
            self.kernel.sleep(BACKOFF).await;
        }
        batch.into_iter().for_each(|(_, letter)| letter.receipt.was_taken());
    }

    /// What to send: the events, or a pointer to a blob with all of them.
    async fn bodies<E>(&self, batch: &[(Bytes, Letter<E>)], number: u64) -> Vec<Bytes> {
        let bytes: usize = batch.iter().map(|(body, _)| body.len() + EVENT_ENVELOPE_BYTES).sum();
        let bodies: Vec<Bytes> = batch.iter().map(|(body, _)| body.clone()).collect();
        let direct =
            bodies.len() <= self.config.send_batch_events && bytes <= self.config.send_batch_bytes;
        if direct { bodies } else { self.write_blob(bodies, number).await }
    }

    /// Writes the batch to a blob; the pointer to send in its place.
    async fn write_blob(&self, bodies: Vec<Bytes>, number: u64) -> Vec<Bytes> {
        bump(&self.counts.through_blobs, 1);
        let name = format!("batches/{}-{number}", self.name);
        let content = codec::encode(&bodies);
        while self.blobs.put(&self.host, &name, content.clone(), None).await.is_err() {
            self.kernel.sleep(BACKOFF).await;
        }
        vec![codec::encode(&Packet::<()>::Blob(name))]
    }
}

/// Receives a batch of events, in order, and charges their way here. With each comes the place in the
/// event log from which to go on after it. Events of the first batch in front of `skip` were received
/// before.
pub(crate) async fn receive<E: Transported>(
    kernel: &Kernel,
    host: &Host,
    subscription: &mut Subscription,
    blobs: &BlobContainer,
    most: usize,
    skip: InputPosition,
) -> Vec<(InputPosition, E)> {
    let mut received = Vec::new();
    for event in subscription.recv(most).await {
        let packet = codec::decode::<Packet<E>>(&event.body);
        let next = InputPosition { position: event.position + 1, sub_position: 0 };
        match packet.expect("invariant: the transport carries what was sent") {
            Packet::Event(event_in) => received.push((event.enqueued_at, next, event_in)),
            Packet::Blob(name) => {
                let bodies = fetch(kernel, host, blobs, &name).await;
                let count = bodies.len();
                for (index, body) in bodies.into_iter().enumerate() {
                    let sub_position = index as u32 + 1;
                    let place = InputPosition { position: event.position, sub_position };
                    let next = if index + 1 == count { next } else { place };
                    received.push((event.enqueued_at, next, body));
                }
            }
        }
    }
    let now = kernel.now();
    let charge = |(enqueued_at, next, mut event): (_, _, E)| {
        event.charge(Category::Storage.because("sent to the event log"), enqueued_at);
        event.charge(Category::Network.because("pushed to the host of the partition"), now);
        (next, event)
    };
    received.into_iter().filter(|(_, next, _)| *next > skip).map(charge).collect()
}

async fn fetch<E: Transported>(
    kernel: &Kernel,
    host: &Host,
    blobs: &BlobContainer,
    name: &str,
) -> Vec<E> {
    let content = loop {
        match blobs.get(host, name).await {
            Ok(reply) => break reply.value,
            Err(_) => kernel.sleep(BACKOFF).await,
        }
    };
    let bodies: Vec<Bytes> =
        codec::decode(&content).expect("invariant: a batch is read as written");
    let event = |body: &Bytes| match codec::decode::<Packet<E>>(body) {
        Ok(Packet::Event(event)) => event,
        _ => panic!("a batch in a blob holds events"),
    };
    bodies.iter().map(event).collect()
}
