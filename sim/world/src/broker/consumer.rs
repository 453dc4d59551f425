//! A consumer of one partition for a group: its position, and what it commits.

use super::batch::Record;
use super::client::{BrokerClient, BrokerError, FetchOptions};
use crate::service::Reply;

/// Where a group begins that has committed no offset, or one that does not exist any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// At the first record there is.
    Earliest,
    /// At the next record to come.
    Latest,
}

/// A position in a partition. It lives in memory: a consumer that starts anew goes on at what its
/// group has committed.
pub struct Consumer {
    client: BrokerClient,
    group: String,
    topic: String,
    partition: u32,
    start_at: StartAt,
    position: u64,
}

impl Consumer {
    /// A consumer that goes on where its group has committed, or else begins where `start_at` says.
    ///
    /// # Errors
    /// [`BrokerError::UnknownPartition`]; no answer.
    pub async fn start(
        client: &BrokerClient,
        group: &str,
        topic: &str,
        partition: u32,
        start_at: StartAt,
    ) -> Result<Consumer, BrokerError> {
        let mut consumer = Consumer {
            client: client.clone(),
            group: group.to_owned(),
            topic: topic.to_owned(),
            partition,
            start_at,
            position: 0,
        };
        match client.committed(group, topic, partition).await?.value {
            Some(offset) => consumer.position = offset,
            None => consumer.reset().await?,
        }
        Ok(consumer)
    }

    async fn reset(&mut self) -> Result<(), BrokerError> {
        let (first, end) = self.client.offsets(&self.topic, self.partition).await?.value;
        self.position = match self.start_at {
            StartAt::Earliest => first,
            StartAt::Latest => end,
        };
        Ok(())
    }

    /// The offset of the record that it reads next.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes to another offset.
    pub fn seek(&mut self, offset: u64) {
        self.position = offset;
    }

    /// The next records, with their offsets; the position moves behind them. If the position does not
    /// exist, it begins again where [`StartAt`] says and returns nothing.
    ///
    /// # Errors
    /// Those of [`BrokerClient::fetch`], but for [`BrokerError::OffsetOutOfRange`]; the position stays.
    pub async fn poll(
        &mut self,
        options: FetchOptions,
    ) -> Result<Reply<Vec<(u64, Record)>>, BrokerError> {
        let fetched = self.client.fetch(&self.topic, self.partition, self.position, options).await;
        let reply = match fetched {
            Err(BrokerError::OffsetOutOfRange { .. }) => {
                self.reset().await?;
                return Ok(Reply { value: Vec::new(), timing: Default::default() });
            }
            other => other?,
        };
        if let Some((last, _)) = reply.value.records.last() {
            self.position = last + 1;
        }
        Ok(reply.map(|fetched| fetched.records))
    }

    /// Commits the position: everything that was polled counts as consumed.
    ///
    /// # Errors
    /// No answer.
    pub async fn commit(&self) -> Result<Reply<()>, BrokerError> {
        self.client.commit(&self.group, &self.topic, self.partition, self.position).await
    }
}
