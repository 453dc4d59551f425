//! Cloud tables: entities with ETags in partitions, and entity group transactions.
//!
//! **Model.** A table holds partitions by partition key, a partition its entities in the order of
//! their row keys. An entity's content is opaque bytes, so merging is replacing by what the caller
//! merged. Every write gives the entity a new ETag, greater than all before it in the table. A
//! transaction addresses different entities of one partition and is applied whole or not at all.
//! A query reads a partition page by page; each page is a request of its own, counted as one.
//!
//! **Limits** (entities and bytes of a transaction, bytes of an entity, entities per second of a
//! partition): see the profile. A transaction takes one turn of the partition's limiter for each
//! entity. A page of a query takes one turn in all, or the time it takes to read its entities if
//! that is longer; this time is added to the server latency, too. A request beyond a size limit is
//! refused by the client library, before it is sent.

mod state;

pub(crate) use state::TableBackend;

use crate::host::Host;
use crate::profile::TableProfile;
use crate::service::{Reply, RequestOptions, Server, StorageError, check_limit};
use bytes::Bytes;
use smallvec::SmallVec;
use state::{Action, TableRequest, TableResponse};
use std::rc::Rc;

/// The version of an entity: it changes with every write. No entity has ETag 0.
pub type ETag = u64;

/// An entity as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// Its key within the partition.
    pub row_key: Rc<str>,
    /// Its version.
    pub etag: ETag,
    /// Its content.
    pub body: Bytes,
}

/// A write to one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOperation {
    /// The entity's key within the partition.
    pub row_key: Rc<str>,
    /// What to do with it.
    pub action: TableAction,
}

/// What a write does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableAction {
    /// Create the entity, which must not exist (409).
    Insert(Bytes),
    /// Create or replace the entity.
    InsertOrReplace(Bytes),
    /// Create or merge into the entity; the content is what the caller merged.
    InsertOrMerge(Bytes),
    /// Replace the entity, which must exist (404), and have this ETag if one is given (412).
    Replace(Bytes, Option<ETag>),
    /// Merge into the entity, under the conditions of `Replace`.
    Merge(Bytes, Option<ETag>),
    /// Delete the entity, under the conditions of `Replace`.
    Delete(Option<ETag>),
}

impl TableOperation {
    /// Does `action` to the entity `row_key`.
    pub fn new(row_key: impl Into<Rc<str>>, action: TableAction) -> Self {
        TableOperation { row_key: row_key.into(), action }
    }

    fn body(&self) -> Option<&Bytes> {
        match &self.action {
            TableAction::Insert(body)
            | TableAction::InsertOrReplace(body)
            | TableAction::InsertOrMerge(body)
            | TableAction::Replace(body, _)
            | TableAction::Merge(body, _) => Some(body),
            TableAction::Delete(_) => None,
        }
    }

    fn bytes(&self) -> u64 {
        (self.row_key.len() + self.body().map_or(0, Bytes::len)) as u64
    }
}

/// A handle to one table; cheap to clone.
#[derive(Clone)]
pub struct Table {
    service: Rc<Server<TableBackend>>,
    limits: Rc<TableProfile>,
    table: usize,
    options: RequestOptions,
}

impl Table {
    pub(crate) fn new(
        service: &Rc<Server<TableBackend>>,
        limits: &Rc<TableProfile>,
        name: &str,
    ) -> Self {
        let table = service.backend().open(name);
        let options = service.default_options();
        Table { service: service.clone(), limits: limits.clone(), table, options }
    }

    /// The same table with other client options.
    pub fn with_options(&self, options: RequestOptions) -> Self {
        Table { options, ..self.clone() }
    }

    /// Reads one entity.
    ///
    /// # Errors
    /// [`StorageError::ServerBusy`], [`StorageError::TimedOut`].
    pub async fn get(
        &self,
        host: &Host,
        partition_key: &str,
        row_key: &str,
    ) -> Result<Reply<Option<Entity>>, StorageError> {
        let action = Action::Get(Rc::from(row_key));
        let reply = self.call(host, partition_key, action).await?;
        Ok(reply.map(|response| match response {
            TableResponse::Entity(entity) => entity,
            _ => unreachable!("a get is answered with an entity"),
        }))
    }

    /// Reads all entities of a partition in the order of their row keys, page by page. Entities
    /// written between two pages may or may not be seen.
    ///
    /// # Errors
    /// [`StorageError::ServerBusy`], [`StorageError::TimedOut`] of any page.
    pub async fn query_partition(
        &self,
        host: &Host,
        partition_key: &str,
    ) -> Result<Reply<Vec<Entity>>, StorageError> {
        let first = self.call(host, partition_key, Action::Query { after: None }).await?;
        let mut timing = first.timing;
        let (mut entities, mut more) = first.value.into_page();
        while more {
            let after = entities.last().map(|entity| entity.row_key.clone());
            let page = self.call(host, partition_key, Action::Query { after }).await?;
            timing.merge(&page.timing);
            let (next, still_more) = page.value.into_page();
            entities.extend(next);
            more = still_more;
        }
        Ok(Reply { value: entities, timing })
    }

    /// Creates an entity.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] if it exists, a limit, or those of [`Table::get`].
    pub async fn insert(
        &self,
        host: &Host,
        partition_key: &str,
        row_key: impl Into<Rc<str>>,
        body: Bytes,
    ) -> Result<Reply<ETag>, StorageError> {
        let operation = TableOperation::new(row_key, TableAction::Insert(body));
        self.execute(host, partition_key, operation).await
    }

    /// Creates or replaces an entity.
    ///
    /// # Errors
    /// A limit, or those of [`Table::get`].
    pub async fn insert_or_replace(
        &self,
        host: &Host,
        partition_key: &str,
        row_key: impl Into<Rc<str>>,
        body: Bytes,
    ) -> Result<Reply<ETag>, StorageError> {
        let operation = TableOperation::new(row_key, TableAction::InsertOrReplace(body));
        self.execute(host, partition_key, operation).await
    }

    /// Creates an entity or merges into it.
    ///
    /// # Errors
    /// A limit, or those of [`Table::get`].
    pub async fn insert_or_merge(
        &self,
        host: &Host,
        partition_key: &str,
        row_key: impl Into<Rc<str>>,
        body: Bytes,
    ) -> Result<Reply<ETag>, StorageError> {
        let operation = TableOperation::new(row_key, TableAction::InsertOrMerge(body));
        self.execute(host, partition_key, operation).await
    }

    /// Replaces an entity, if it still has this ETag.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::PreconditionFailed`], a limit, or those of
    /// [`Table::get`].
    pub async fn replace(
        &self,
        host: &Host,
        partition_key: &str,
        row_key: impl Into<Rc<str>>,
        body: Bytes,
        etag: Option<ETag>,
    ) -> Result<Reply<ETag>, StorageError> {
        let operation = TableOperation::new(row_key, TableAction::Replace(body, etag));
        self.execute(host, partition_key, operation).await
    }

    /// Deletes an entity, if it still has this ETag.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::PreconditionFailed`], or those of
    /// [`Table::get`].
    pub async fn delete(
        &self,
        host: &Host,
        partition_key: &str,
        row_key: impl Into<Rc<str>>,
        etag: Option<ETag>,
    ) -> Result<Reply<()>, StorageError> {
        let operation = TableOperation::new(row_key, TableAction::Delete(etag));
        Ok(self.execute(host, partition_key, operation).await?.map(|_| ()))
    }

    /// Does one write; the reply is the entity's new ETag, or 0 if it was deleted.
    ///
    /// # Errors
    /// Those of the write, a limit, or those of [`Table::get`].
    pub async fn execute(
        &self,
        host: &Host,
        partition_key: &str,
        operation: TableOperation,
    ) -> Result<Reply<ETag>, StorageError> {
        check_limit("entity bytes", operation.bytes(), self.limits.entity_bytes_max)?;
        let reply = self.call(host, partition_key, Action::Execute(operation)).await?;
        Ok(reply.map(|response| match response {
            TableResponse::Written(etags) => etags[0],
            _ => unreachable!("a write is answered with an ETag"),
        }))
    }

    /// Does several writes to different entities of one partition, all or none; the reply is the
    /// new ETag of each, in the order of the operations, or 0 for those deleted.
    ///
    /// # Errors
    /// [`StorageError::InvalidRequest`] if it is empty or names an entity twice; the error of the
    /// first write that cannot be done; a limit, or those of [`Table::get`].
    pub async fn transaction(
        &self,
        host: &Host,
        partition_key: &str,
        operations: Vec<TableOperation>,
    ) -> Result<Reply<Vec<ETag>>, StorageError> {
        self.check_transaction(&operations)?;
        let reply = self.call(host, partition_key, Action::Transaction(operations)).await?;
        Ok(reply.map(|response| match response {
            TableResponse::Written(etags) => etags.into_vec(),
            _ => unreachable!("a transaction is answered with ETags"),
        }))
    }

    fn check_transaction(&self, operations: &[TableOperation]) -> Result<(), StorageError> {
        let limits = &self.limits;
        let entities = operations.len() as u64;
        let most = u64::from(limits.transaction_entities_max);
        check_limit("entities of a transaction", entities, most)?;
        let mut bytes = 0;
        for operation in operations {
            check_limit("entity bytes", operation.bytes(), limits.entity_bytes_max)?;
            bytes += operation.bytes();
        }
        check_limit("transaction bytes", bytes, limits.transaction_bytes_max)?;
        if operations.is_empty() {
            return Err(StorageError::InvalidRequest { what: "an empty transaction" });
        }
        let mut keys: SmallVec<[&str; 32]> =
            operations.iter().map(|operation| &*operation.row_key).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            let what = "a transaction that names an entity twice";
            return Err(StorageError::InvalidRequest { what });
        }
        Ok(())
    }

    async fn call(
        &self,
        host: &Host,
        partition_key: &str,
        action: Action,
    ) -> Result<Reply<TableResponse>, StorageError> {
        let partition = self.service.backend().open_partition(self.table, partition_key);
        let request = TableRequest { table: self.table, partition, action };
        self.service.call(host, &self.options, request).await
    }
}
