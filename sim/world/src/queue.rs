//! Cloud queues with visibility timeouts.
//!
//! **Model.** A message is visible from `visible_at` on. Taking messages picks those that have
//! been visible longest, hides them for the visibility timeout, counts the delivery and gives each
//! a new pop receipt. A message is deleted or updated only with its latest receipt; a message
//! whose timeout ran out unnoticed may still be deleted with it. Order is first visible first
//! out, as in the real service, which promises nothing better than roughly that.
//!
//! **Assumptions.** Messages do not expire (the real limit is 7 days). A get of n messages takes
//! n turns of the queue's limiter, judged when it arrives; every other request takes one.
//!
//! **Limits** (message size, messages per get, messages per second): see the profile. A request
//! beyond a size limit is refused by the client library, before it is sent.

mod state;

pub(crate) use state::QueueBackend;

use crate::host::Host;
use crate::profile::QueueProfile;
use crate::service::{Reply, RequestOptions, Server, StorageError, check_limit};
use bytes::Bytes;
use sim_model::time::Timestamp;
use state::{Action, QueueRequest, QueueResponse};
use std::rc::Rc;
use std::time::Duration;

/// A message's identity within its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u64);

/// What proves that a message was handed out: a new one for each get and update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PopReceipt(u64);

/// A message as it is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMessage {
    /// Its identity.
    pub id: MessageId,
    /// The receipt for deleting or updating it.
    pub pop_receipt: PopReceipt,
    /// Its content.
    pub body: Bytes,
    /// When it was put.
    pub insertion_time: Timestamp,
    /// From when on it was visible before this get.
    pub visible_since: Timestamp,
    /// How often it was handed out, this time included.
    pub dequeue_count: u32,
}

/// A message as [`Queue::peek`] shows it: without the right to delete it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeekedMessage {
    /// Its identity.
    pub id: MessageId,
    /// Its content.
    pub body: Bytes,
    /// When it was put.
    pub insertion_time: Timestamp,
    /// How often it was handed out.
    pub dequeue_count: u32,
}

/// A handle to one queue; cheap to clone.
#[derive(Clone)]
pub struct Queue {
    service: Rc<Server<QueueBackend>>,
    limits: Rc<QueueProfile>,
    queue: usize,
    options: RequestOptions,
}

impl Queue {
    pub(crate) fn new(
        service: &Rc<Server<QueueBackend>>,
        limits: &Rc<QueueProfile>,
        name: &str,
    ) -> Self {
        let queue = service.backend().open(name);
        let options = service.default_options();
        Queue { service: service.clone(), limits: limits.clone(), queue, options }
    }

    /// The same queue with other client options.
    pub fn with_options(&self, options: RequestOptions) -> Self {
        Queue { options, ..self.clone() }
    }

    /// Puts a message that becomes visible after `visible_after`.
    ///
    /// # Errors
    /// A message beyond the size limit; [`StorageError::ServerBusy`], [`StorageError::TimedOut`].
    pub async fn put(
        &self,
        host: &Host,
        body: Bytes,
        visible_after: Duration,
    ) -> Result<Reply<()>, StorageError> {
        check_limit("message bytes", body.len() as u64, self.limits.message_bytes_max)?;
        self.check_visibility(visible_after)?;
        let reply = self.call(host, Action::Put { body, visible_after }).await?;
        Ok(reply.map(|_| ()))
    }

    /// Takes up to `max` visible messages and hides them for `visibility`.
    ///
    /// # Errors
    /// More messages than one get allows; [`StorageError::ServerBusy`],
    /// [`StorageError::TimedOut`].
    pub async fn get(
        &self,
        host: &Host,
        max: usize,
        visibility: Duration,
    ) -> Result<Reply<Vec<QueueMessage>>, StorageError> {
        self.check_count(max)?;
        self.check_visibility(visibility)?;
        let reply = self.call(host, Action::Get { max, visibility }).await?;
        Ok(reply.map(|response| match response {
            QueueResponse::Messages(messages) => messages,
            _ => unreachable!("a get is answered with messages"),
        }))
    }

    /// Deletes a message.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] if it is deleted already, [`StorageError::PopReceiptMismatch`]
    /// if it was handed out again; [`StorageError::ServerBusy`], [`StorageError::TimedOut`].
    pub async fn delete(
        &self,
        host: &Host,
        id: MessageId,
        pop_receipt: PopReceipt,
    ) -> Result<Reply<()>, StorageError> {
        let reply = self.call(host, Action::Delete { id, pop_receipt }).await?;
        Ok(reply.map(|_| ()))
    }

    /// Hides a message for `visibility` from the moment the service applies this (zero: makes it
    /// visible), and gives it a new receipt.
    ///
    /// # Errors
    /// As [`Queue::delete`].
    pub async fn update(
        &self,
        host: &Host,
        id: MessageId,
        pop_receipt: PopReceipt,
        visibility: Duration,
    ) -> Result<Reply<PopReceipt>, StorageError> {
        self.check_visibility(visibility)?;
        let reply = self.call(host, Action::Update { id, pop_receipt, visibility }).await?;
        Ok(reply.map(|response| match response {
            QueueResponse::Receipt(receipt) => receipt,
            _ => unreachable!("an update is answered with a receipt"),
        }))
    }

    /// Looks at up to `max` visible messages without taking them.
    ///
    /// # Errors
    /// More messages than one get allows; [`StorageError::ServerBusy`],
    /// [`StorageError::TimedOut`].
    pub async fn peek(
        &self,
        host: &Host,
        max: usize,
    ) -> Result<Reply<Vec<PeekedMessage>>, StorageError> {
        self.check_count(max)?;
        let reply = self.call(host, Action::Peek { max }).await?;
        Ok(reply.map(|response| match response {
            QueueResponse::Peeked(messages) => messages,
            _ => unreachable!("a peek is answered with messages"),
        }))
    }

    /// Number of messages, visible or not.
    ///
    /// # Errors
    /// [`StorageError::ServerBusy`], [`StorageError::TimedOut`].
    pub async fn length(&self, host: &Host) -> Result<Reply<u64>, StorageError> {
        let reply = self.call(host, Action::Length).await?;
        Ok(reply.map(|response| match response {
            QueueResponse::Length(length) => length,
            _ => unreachable!("a length is answered with a length"),
        }))
    }

    async fn call(
        &self,
        host: &Host,
        action: Action,
    ) -> Result<Reply<QueueResponse>, StorageError> {
        let request = QueueRequest { queue: self.queue, action };
        self.service.call(host, &self.options, request).await
    }

    fn check_count(&self, max: usize) -> Result<(), StorageError> {
        if max == 0 {
            return Err(StorageError::InvalidRequest { what: "a get of no messages" });
        }
        check_limit("messages of a get", max as u64, u64::from(self.limits.get_max))
    }

    fn check_visibility(&self, visibility: Duration) -> Result<(), StorageError> {
        let limit = self.limits.visibility_max.as_secs();
        if visibility > self.limits.visibility_max {
            let actual = visibility.as_secs();
            return Err(StorageError::LimitExceeded {
                what: "visibility in seconds",
                limit,
                actual,
            });
        }
        Ok(())
    }
}
