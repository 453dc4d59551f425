//! The server side of queues.

use super::{MessageId, PeekedMessage, PopReceipt, QueueMessage};
use crate::distribution::Latency;
use crate::meter::{Meter, OperationKind};
use crate::profile::QueueProfile;
use crate::service::{Admitted, Backend, Busy, Fcfs, StorageError, occupancy};
use bytes::Bytes;
use rustc_hash::FxHashMap;
use sim_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A request to the queue service.
pub(crate) struct QueueRequest {
    pub(super) queue: usize,
    pub(super) action: Action,
}

pub(super) enum Action {
    Put { body: Bytes, visible_after: Duration },
    Get { max: usize, visibility: Duration },
    Delete { id: MessageId, pop_receipt: PopReceipt },
    Update { id: MessageId, pop_receipt: PopReceipt, visibility: Duration },
    Peek { max: usize },
    Length,
}

/// An answer of the queue service.
pub(crate) enum QueueResponse {
    Done,
    Messages(Vec<QueueMessage>),
    Receipt(PopReceipt),
    Peeked(Vec<PeekedMessage>),
    Length(u64),
}

/// The state of all queues.
pub(crate) struct QueueBackend {
    names: BTreeMap<Rc<str>, usize>,
    queues: Vec<State>,
    rate: f64,
    patience: Duration,
    meter: Meter,
    get_empty: OperationKind,
}

impl QueueBackend {
    /// The kinds of operation, with their latencies.
    pub fn operations(profile: &QueueProfile) -> [(&'static str, &Latency); 6] {
        let l = &profile.latency;
        [
            ("put", &l.put),
            ("get", &l.get),
            ("delete", &l.delete),
            ("update", &l.update),
            ("peek", &l.peek),
            ("length", &l.length),
        ]
    }

    pub fn new(profile: &QueueProfile, meter: &Meter) -> Self {
        QueueBackend {
            names: BTreeMap::new(),
            queues: Vec::new(),
            rate: profile.rate,
            patience: profile.busy_threshold,
            meter: meter.clone(),
            get_empty: meter.kind("queue", "get_empty"),
        }
    }

    pub(super) fn open(&mut self, name: &str) -> usize {
        if let Some(index) = self.names.get(name) {
            return *index;
        }
        let index = self.queues.len();
        self.names.insert(Rc::from(name), index);
        self.queues.push(State::default());
        index
    }
}

/// One queue.
#[derive(Default)]
struct State {
    messages: FxHashMap<MessageId, Message>,
    /// All messages by the instant from which they are visible, and then by their order.
    by_visibility: BTreeSet<(Timestamp, MessageId)>,
    next_id: u64,
    next_receipt: u64,
    limiter: Fcfs,
}

struct Message {
    body: Bytes,
    insertion_time: Timestamp,
    visible_at: Timestamp,
    dequeue_count: u32,
    receipt: PopReceipt,
}

impl State {
    fn visible(&self, now: Timestamp, max: usize) -> impl Iterator<Item = MessageId> + '_ {
        let upto = ..=(now, MessageId(u64::MAX));
        self.by_visibility.range(upto).take(max).map(|(_, id)| *id)
    }

    fn new_receipt(&mut self) -> PopReceipt {
        self.next_receipt += 1;
        PopReceipt(self.next_receipt)
    }

    fn put(&mut self, now: Timestamp, body: &Bytes, visible_after: Duration) {
        let id = MessageId(self.next_id);
        self.next_id += 1;
        let visible_at = now + visible_after;
        let receipt = self.new_receipt();
        let message = Message {
            body: body.clone(),
            insertion_time: now,
            visible_at,
            dequeue_count: 0,
            receipt,
        };
        self.messages.insert(id, message);
        self.by_visibility.insert((visible_at, id));
    }

    fn get(&mut self, now: Timestamp, max: usize, visibility: Duration) -> Vec<QueueMessage> {
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some(&(visible_since, id)) = self.by_visibility.first() else { break };
            if visible_since > now {
                break;
            }
            self.by_visibility.pop_first();
            let pop_receipt = self.new_receipt();
            let message = self.message(id);
            message.visible_at = now + visibility;
            message.dequeue_count += 1;
            message.receipt = pop_receipt;
            taken.push(QueueMessage {
                id,
                pop_receipt,
                body: message.body.clone(),
                insertion_time: message.insertion_time,
                visible_since,
                dequeue_count: message.dequeue_count,
            });
        }
        // Only now, so that a visibility of zero does not hand a message out twice in one get.
        for message in &taken {
            self.by_visibility.insert((now + visibility, message.id));
        }
        debug_assert_eq!(self.by_visibility.len(), self.messages.len(), "one index entry each");
        taken
    }

    fn message(&mut self, id: MessageId) -> &mut Message {
        self.messages.get_mut(&id).expect("invariant: indexed messages exist")
    }

    fn check(&self, id: MessageId, receipt: PopReceipt) -> Result<Timestamp, StorageError> {
        let message =
            self.messages.get(&id).ok_or(StorageError::NotFound { what: "the message" })?;
        if message.receipt == receipt {
            Ok(message.visible_at)
        } else {
            Err(StorageError::PopReceiptMismatch)
        }
    }

    fn delete(&mut self, id: MessageId, receipt: PopReceipt) -> Result<(), StorageError> {
        let visible_at = self.check(id, receipt)?;
        self.messages.remove(&id);
        let indexed = self.by_visibility.remove(&(visible_at, id));
        assert!(indexed, "every message is indexed");
        Ok(())
    }

    fn update(
        &mut self,
        now: Timestamp,
        id: MessageId,
        receipt: PopReceipt,
        visibility: Duration,
    ) -> Result<PopReceipt, StorageError> {
        let visible_at = self.check(id, receipt)?;
        let receipt = self.new_receipt();
        let message = self.message(id);
        message.visible_at = now + visibility;
        message.receipt = receipt;
        let indexed = self.by_visibility.remove(&(visible_at, id));
        assert!(indexed, "every message is indexed");
        self.by_visibility.insert((now + visibility, id));
        Ok(receipt)
    }

    fn peek(&self, now: Timestamp, max: usize) -> Vec<PeekedMessage> {
        self.visible(now, max)
            .map(|id| {
                let message = &self.messages[&id];
                PeekedMessage {
                    id,
                    body: message.body.clone(),
                    insertion_time: message.insertion_time,
                    dequeue_count: message.dequeue_count,
                }
            })
            .collect()
    }
}

impl Backend for QueueBackend {
    type Request = QueueRequest;
    type Response = QueueResponse;

    fn operation(request: &QueueRequest) -> usize {
        match request.action {
            Action::Put { .. } => 0,
            Action::Get { .. } => 1,
            Action::Delete { .. } => 2,
            Action::Update { .. } => 3,
            Action::Peek { .. } => 4,
            Action::Length => 5,
        }
    }

    fn request_bytes(request: &QueueRequest) -> u64 {
        match &request.action {
            Action::Put { body, .. } => body.len() as u64,
            _ => 0,
        }
    }

    fn response_bytes(response: &QueueResponse) -> u64 {
        match response {
            QueueResponse::Messages(messages) => {
                messages.iter().map(|message| message.body.len() as u64).sum()
            }
            QueueResponse::Peeked(messages) => {
                messages.iter().map(|message| message.body.len() as u64).sum()
            }
            QueueResponse::Done | QueueResponse::Receipt(_) | QueueResponse::Length(_) => 0,
        }
    }

    fn digest(request: &QueueRequest) -> u64 {
        let queue = request.queue as u64;
        match &request.action {
            Action::Put { body, .. } => xxh3_64_with_seed(body, queue),
            Action::Delete { id, .. } | Action::Update { id, .. } => {
                xxh3_64_with_seed(&id.0.to_le_bytes(), queue)
            }
            Action::Get { max, .. } | Action::Peek { max } => {
                xxh3_64_with_seed(&max.to_le_bytes(), queue)
            }
            Action::Length => queue,
        }
    }

    fn admit(&mut self, at: Timestamp, request: &QueueRequest) -> Result<Admitted, Busy> {
        let queue = &mut self.queues[request.queue];
        let messages = match request.action {
            Action::Get { max, .. } | Action::Peek { max } => queue.visible(at, max).count().max(1),
            _ => 1,
        };
        let slot = occupancy(messages as f64, self.rate);
        let start = queue.limiter.admit(at, slot, self.patience)?;
        Ok(Admitted { start, transfer: Duration::ZERO })
    }

    fn apply(
        &mut self,
        now: Timestamp,
        request: &QueueRequest,
    ) -> Result<QueueResponse, StorageError> {
        let queue = &mut self.queues[request.queue];
        match &request.action {
            Action::Put { body, visible_after } => {
                queue.put(now, body, *visible_after);
                Ok(QueueResponse::Done)
            }
            Action::Get { max, visibility } => {
                let messages = queue.get(now, *max, *visibility);
                if messages.is_empty() {
                    self.meter.count(self.get_empty, now, 0, 0);
                }
                Ok(QueueResponse::Messages(messages))
            }
            Action::Delete { id, pop_receipt } => {
                queue.delete(*id, *pop_receipt).map(|()| QueueResponse::Done)
            }
            Action::Update { id, pop_receipt, visibility } => {
                queue.update(now, *id, *pop_receipt, *visibility).map(QueueResponse::Receipt)
            }
            Action::Peek { max } => Ok(QueueResponse::Peeked(queue.peek(now, *max))),
            Action::Length => Ok(QueueResponse::Length(queue.messages.len() as u64)),
        }
    }
}
