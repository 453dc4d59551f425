//! The server side of tables.

use super::{ETag, Entity, TableAction, TableOperation};
use crate::distribution::Latency;
use crate::profile::TableProfile;
use crate::service::{Admitted, Backend, Busy, Fcfs, StorageError, occupancy};
use rustc_hash::FxHashMap;
use sim_model::time::Timestamp;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A request to the table service.
pub(crate) struct TableRequest {
    pub(super) table: usize,
    pub(super) partition: usize,
    pub(super) action: Action,
}

pub(super) enum Action {
    Get(Rc<str>),
    Query { after: Option<Rc<str>> },
    Execute(TableOperation),
    Transaction(Vec<TableOperation>),
}

/// An answer of the table service.
pub(crate) enum TableResponse {
    Entity(Option<Entity>),
    Page { entities: Vec<Entity>, more: bool },
    Written(SmallVec<[ETag; 4]>),
}

impl TableResponse {
    pub(super) fn into_page(self) -> (Vec<Entity>, bool) {
        match self {
            TableResponse::Page { entities, more } => (entities, more),
            _ => unreachable!("a query is answered with a page"),
        }
    }
}

/// The state of all tables.
pub(crate) struct TableBackend {
    names: BTreeMap<Rc<str>, usize>,
    tables: Vec<State>,
    rate: f64,
    patience: Duration,
    page_entities: usize,
    query_entity_time: Duration,
}

impl TableBackend {
    /// The kinds of operation, with their latencies.
    pub fn operations(profile: &TableProfile) -> [(&'static str, &Latency); 7] {
        let l = &profile.latency;
        [
            ("get", &l.get),
            ("query", &l.query),
            ("insert", &l.insert),
            ("replace", &l.replace),
            ("merge", &l.merge),
            ("delete", &l.delete),
            ("transaction", &l.transaction),
        ]
    }

    pub fn new(profile: &TableProfile) -> Self {
        TableBackend {
            names: BTreeMap::new(),
            tables: Vec::new(),
            rate: profile.rate,
            patience: profile.busy_threshold,
            page_entities: profile.page_entities as usize,
            query_entity_time: profile.query_entity_time,
        }
    }

    /// The place of a partition, which it keeps for ever.
    pub(super) fn open_partition(&mut self, table: usize, partition_key: &str) -> usize {
        self.tables[table].open(partition_key)
    }

    pub(super) fn open(&mut self, name: &str) -> usize {
        if let Some(index) = self.names.get(name) {
            return *index;
        }
        let index = self.tables.len();
        self.names.insert(Rc::from(name), index);
        self.tables.push(State::default());
        index
    }
}

/// One table.
#[derive(Default)]
struct State {
    keys: FxHashMap<Rc<str>, usize>,
    partitions: Vec<Partition>,
    last_etag: ETag,
}

/// One partition: its entities, sorted by row key (histories grow at the end), and its limiter.
#[derive(Default)]
struct Partition {
    entities: Vec<Entity>,
    limiter: Fcfs,
}

impl State {
    fn open(&mut self, partition_key: &str) -> usize {
        if let Some(index) = self.keys.get(partition_key) {
            return *index;
        }
        let index = self.partitions.len();
        self.keys.insert(Rc::from(partition_key), index);
        self.partitions.push(Partition::default());
        index
    }

    /// Applies writes to different entities of a partition, all or none.
    fn write(
        &mut self,
        partition: usize,
        operations: &[TableOperation],
    ) -> Result<SmallVec<[ETag; 4]>, StorageError> {
        let partition = &mut self.partitions[partition];
        for operation in operations {
            partition.check(operation)?;
        }
        let mut etags = SmallVec::new();
        for operation in operations {
            let etag = match operation.body() {
                Some(_) => {
                    self.last_etag += 1;
                    self.last_etag
                }
                None => 0,
            };
            partition.write(operation, etag);
            etags.push(etag);
        }
        Ok(etags)
    }
}

impl Partition {
    fn find(&self, row_key: &str) -> Result<usize, usize> {
        // Most writes append: look at the end first.
        match self.entities.last() {
            Some(last) if &*last.row_key < row_key => Err(self.entities.len()),
            _ => self.entities.binary_search_by(|entity| (*entity.row_key).cmp(row_key)),
        }
    }

    fn get(&self, row_key: &str) -> Option<&Entity> {
        self.find(row_key).ok().map(|index| &self.entities[index])
    }

    /// Whether the write can be done.
    fn check(&self, operation: &TableOperation) -> Result<(), StorageError> {
        let existing = self.get(&operation.row_key);
        match &operation.action {
            TableAction::InsertOrReplace(_) | TableAction::InsertOrMerge(_) => Ok(()),
            TableAction::Insert(_) if existing.is_some() => {
                Err(StorageError::Conflict { what: "the entity exists already" })
            }
            TableAction::Insert(_) => Ok(()),
            TableAction::Replace(_, etag)
            | TableAction::Merge(_, etag)
            | TableAction::Delete(etag) => {
                let entity = existing.ok_or(StorageError::NotFound { what: "the entity" })?;
                match etag {
                    Some(etag) if *etag != entity.etag => Err(StorageError::PreconditionFailed),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Does a write that [`Partition::check`] allows.
    fn write(&mut self, operation: &TableOperation, etag: ETag) {
        match (self.find(&operation.row_key), operation.body()) {
            (Ok(index), Some(body)) => {
                let entity = &mut self.entities[index];
                entity.body = body.clone();
                entity.etag = etag;
            }
            (Err(index), Some(body)) => {
                let row_key = operation.row_key.clone();
                self.entities.insert(index, Entity { row_key, etag, body: body.clone() });
            }
            (Ok(index), None) => drop(self.entities.remove(index)),
            (Err(_), None) => unreachable!("a delete was checked"),
        }
    }

    fn page_start(&self, after: Option<&str>) -> usize {
        after.map_or(0, |after| self.entities.partition_point(|entity| &*entity.row_key <= after))
    }
}

impl Backend for TableBackend {
    type Request = TableRequest;
    type Response = TableResponse;

    fn operation(request: &TableRequest) -> usize {
        match &request.action {
            Action::Get(_) => 0,
            Action::Query { .. } => 1,
            Action::Execute(operation) => match operation.action {
                TableAction::Insert(_) => 2,
                TableAction::InsertOrReplace(_) | TableAction::Replace(..) => 3,
                TableAction::InsertOrMerge(_) | TableAction::Merge(..) => 4,
                TableAction::Delete(_) => 5,
            },
            Action::Transaction(_) => 6,
        }
    }

    fn request_bytes(request: &TableRequest) -> u64 {
        match &request.action {
            Action::Get(_) | Action::Query { .. } => 0,
            Action::Execute(operation) => operation.bytes(),
            Action::Transaction(operations) => operations.iter().map(TableOperation::bytes).sum(),
        }
    }

    fn response_bytes(response: &TableResponse) -> u64 {
        let bytes = |entity: &Entity| (entity.row_key.len() + entity.body.len()) as u64;
        match response {
            TableResponse::Entity(entity) => entity.as_ref().map_or(0, bytes),
            TableResponse::Page { entities, .. } => entities.iter().map(bytes).sum(),
            TableResponse::Written(_) => 0,
        }
    }

    fn digest(request: &TableRequest) -> u64 {
        let place = ((request.table as u64) << 40) ^ request.partition as u64;
        let write = |digest: u64, operation: &TableOperation| {
            let digest = xxh3_64_with_seed(operation.row_key.as_bytes(), digest);
            operation.body().map_or(digest, |body| xxh3_64_with_seed(body, digest))
        };
        match &request.action {
            Action::Get(row_key) => xxh3_64_with_seed(row_key.as_bytes(), place),
            Action::Query { after: None } => place,
            Action::Query { after: Some(after) } => xxh3_64_with_seed(after.as_bytes(), place),
            Action::Execute(operation) => write(place, operation),
            Action::Transaction(operations) => operations.iter().fold(place, write),
        }
    }

    fn admit(&mut self, at: Timestamp, request: &TableRequest) -> Result<Admitted, Busy> {
        let partition = &mut self.tables[request.table].partitions[request.partition];
        let (turns, transfer) = match &request.action {
            Action::Get(_) | Action::Execute(_) => (1, Duration::ZERO),
            Action::Query { after } => {
                let left = partition.entities.len() - partition.page_start(after.as_deref());
                let entities = left.min(self.page_entities);
                let entities = u32::try_from(entities).expect("invariant: pages are bounded");
                (1, self.query_entity_time * entities)
            }
            Action::Transaction(operations) => (operations.len(), Duration::ZERO),
        };
        let slots = occupancy(turns as f64, self.rate).max(transfer);
        let start = partition.limiter.admit(at, slots, self.patience)?;
        Ok(Admitted { start, transfer })
    }

    fn apply(
        &mut self,
        _now: Timestamp,
        request: &TableRequest,
    ) -> Result<TableResponse, StorageError> {
        let table = &mut self.tables[request.table];
        let partition = request.partition;
        match &request.action {
            Action::Get(row_key) => {
                let entity = table.partitions[partition].get(row_key).cloned();
                Ok(TableResponse::Entity(entity))
            }
            Action::Query { after } => {
                let partition = &table.partitions[partition];
                let start = partition.page_start(after.as_deref());
                let end = partition.entities.len().min(start + self.page_entities);
                let more = end < partition.entities.len();
                Ok(TableResponse::Page { entities: partition.entities[start..end].to_vec(), more })
            }
            Action::Execute(operation) => {
                table.write(partition, std::slice::from_ref(operation)).map(TableResponse::Written)
            }
            Action::Transaction(operations) => {
                table.write(partition, operations).map(TableResponse::Written)
            }
        }
    }
}
