//! The server side of blobs.

use super::extents::Extents;
use super::{LeaseId, ListedBlob};
use crate::distribution::Latency;
use crate::fault::Pattern;
use crate::profile::BlobProfile;
use crate::service::{Admitted, Backend, Busy, Fcfs, StorageError, occupancy};
use bytes::{Bytes, BytesMut};
use sim_model::time::Timestamp;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A request to the blob service.
pub(crate) struct BlobRequest {
    container: usize,
    blob: usize,
    lease: Option<LeaseId>,
    condition: Condition,
    action: Action,
}

/// What must hold of a blob for a change to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Any,
    /// It does not exist (`If-None-Match: *`).
    Absent,
    /// It has this ETag (`If-Match`).
    Tag(u64),
}

pub(super) enum Action {
    Put(Bytes),
    Get { offset: u64, length: u64 },
    Delete,
    List { prefix: Rc<str> },
    PageCreate { size: u64 },
    PageWrite { offset: u64, body: Bytes },
    Append(Bytes),
    Acquire { duration: Option<Duration> },
    Renew,
    Change,
    Release,
    Break,
    SetMetadata(Bytes),
}

/// An answer of the blob service.
pub(crate) enum BlobResponse {
    Done,
    /// The ETag after a change.
    Changed(u64),
    /// Content and ETag.
    Content(Bytes, u64),
    Offset(u64),
    Lease(LeaseId),
    Listed(Vec<ListedBlob>),
}

impl BlobResponse {
    /// The answer to a read.
    pub(super) fn into_content(self) -> (Bytes, u64) {
        match self {
            BlobResponse::Content(bytes, etag) => (bytes, etag),
            _ => unreachable!("a read is answered with content"),
        }
    }
}

/// Stands for the container itself in a request that addresses no blob.
const NO_BLOB: usize = usize::MAX;

impl BlobRequest {
    pub(super) fn new(
        container: usize,
        blob: usize,
        lease: Option<LeaseId>,
        action: Action,
    ) -> Self {
        BlobRequest { container, blob, lease, condition: Condition::Any, action }
    }

    /// The request on a condition.
    pub(super) fn on(self, condition: Condition) -> Self {
        BlobRequest { condition, ..self }
    }

    pub(super) fn list(container: usize, prefix: &str) -> Self {
        let action = Action::List { prefix: Rc::from(prefix) };
        BlobRequest { container, blob: NO_BLOB, lease: None, condition: Condition::Any, action }
    }
}

/// The state of all containers.
pub(crate) struct BlobBackend {
    names: BTreeMap<Rc<str>, usize>,
    containers: Vec<Container>,
    next_lease: u64,
    next_etag: u64,
    limits: Rc<BlobProfile>,
}

/// Blobs keep their place for ever, so that a request in flight can name it.
#[derive(Default)]
struct Container {
    names: BTreeMap<Rc<str>, usize>,
    blobs: Vec<Blob>,
    limiter: Fcfs,
}

#[derive(Default)]
struct Blob {
    content: Content,
    metadata: Bytes,
    /// Another one after each change.
    etag: u64,
    lease: Option<Lease>,
    limiter: Fcfs,
}

#[derive(Default)]
enum Content {
    #[default]
    Absent,
    Block(Bytes),
    Page {
        size: u64,
        extents: Extents,
    },
    Append {
        size: u64,
        blocks: Vec<Bytes>,
    },
}

struct Lease {
    id: LeaseId,
    duration: Option<Duration>,
    expires: Timestamp,
}

impl BlobBackend {
    /// The kinds of operation, with their latencies.
    pub fn operations(profile: &BlobProfile) -> [(&'static str, &Latency); 8] {
        let l = &profile.latency;
        [
            ("put", &l.put),
            ("get", &l.get),
            ("delete", &l.delete),
            ("page_create", &l.page_create),
            ("page_write", &l.page_write),
            ("append", &l.append),
            ("lease", &l.lease),
            ("list", &l.list),
        ]
    }

    pub fn new(limits: &Rc<BlobProfile>) -> Self {
        BlobBackend {
            names: BTreeMap::new(),
            containers: Vec::new(),
            next_lease: 0,
            next_etag: 0,
            limits: limits.clone(),
        }
    }

    pub(super) fn open(&mut self, name: &str) -> usize {
        if let Some(index) = self.names.get(name) {
            return *index;
        }
        let index = self.containers.len();
        self.names.insert(Rc::from(name), index);
        self.containers.push(Container::default());
        index
    }

    pub(super) fn open_blob(&mut self, container: usize, name: &str) -> usize {
        let container = &mut self.containers[container];
        if let Some(index) = container.names.get(name) {
            return *index;
        }
        let index = container.blobs.len();
        container.names.insert(Rc::from(name), index);
        container.blobs.push(Blob::default());
        index
    }

    /// Every blob that exists, with its name as `container/blob`, sorted.
    fn existing(&self) -> impl Iterator<Item = (String, (usize, usize))> + '_ {
        self.names.iter().flat_map(|(container, index)| {
            let blobs = &self.containers[*index];
            let existing = blobs.names.iter().filter(|(_, blob)| blobs.blobs[**blob].exists());
            existing.map(move |(name, blob)| (format!("{container}/{name}"), (*index, *blob)))
        })
    }

    /// The names of all blobs that exist.
    pub fn blob_names(&self) -> Vec<String> {
        self.existing().map(|(name, _)| name).collect()
    }

    /// Ends the leases on all blobs whose names match; how many there were.
    pub fn break_leases(&mut self, now: Timestamp, names: &Pattern) -> u64 {
        let matching = self.existing().filter(|(name, _)| names.matches(name));
        let places: Vec<(usize, usize)> = matching.map(|(_, place)| place).collect();
        let mut broken = 0;
        for (container, blob) in places {
            broken += u64::from(self.containers[container].blobs[blob].break_lease(now).is_ok());
        }
        broken
    }

    fn list(&self, container: usize, prefix: &str, now: Timestamp) -> Vec<ListedBlob> {
        let container = &self.containers[container];
        let listed = |name: &Rc<str>, blob: &Blob| ListedBlob {
            name: name.clone(),
            metadata: blob.metadata.clone(),
            leased: blob.lease.as_ref().is_some_and(|held| held.expires > now),
        };
        container
            .names
            .range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix))
            .map(|(name, index)| (name, &container.blobs[*index]))
            .filter(|(_, blob)| blob.exists())
            .map(|(name, blob)| listed(name, blob))
            .collect()
    }
}

impl Blob {
    fn exists(&self) -> bool {
        !matches!(self.content, Content::Absent)
    }

    fn check_exists(&self) -> Result<(), StorageError> {
        if self.exists() { Ok(()) } else { Err(StorageError::NotFound { what: "the blob" }) }
    }

    /// Whether a change under `lease` is allowed: nobody else may hold the blob, and whoever names
    /// a lease must still have it.
    fn check_lease(&self, now: Timestamp, lease: Option<LeaseId>) -> Result<(), StorageError> {
        if self.holder(now) == lease { Ok(()) } else { Err(StorageError::LeaseLost) }
    }

    /// Whether a change is allowed on this condition.
    fn check_condition(&self, condition: Condition) -> Result<(), StorageError> {
        let holds = match condition {
            Condition::Any => true,
            Condition::Absent => !self.exists(),
            Condition::Tag(etag) => self.exists() && self.etag == etag,
        };
        if holds { Ok(()) } else { Err(StorageError::PreconditionFailed) }
    }

    /// The lease that is in force.
    fn holder(&self, now: Timestamp) -> Option<LeaseId> {
        self.lease.as_ref().filter(|held| held.expires > now).map(|held| held.id)
    }

    fn length(&self) -> u64 {
        match &self.content {
            Content::Absent => 0,
            Content::Block(body) => body.len() as u64,
            Content::Page { size, .. } | Content::Append { size, .. } => *size,
        }
    }

    fn read(&self, offset: u64, length: u64) -> Result<Bytes, StorageError> {
        self.check_exists()?;
        let size = self.length();
        let (start, end) = (offset.min(size), offset.saturating_add(length).min(size));
        Ok(match &self.content {
            Content::Absent => unreachable!("the blob exists"),
            Content::Block(body) => body.slice(start as usize..end as usize),
            Content::Page { extents, .. } => extents.read(start, end),
            Content::Append { blocks, .. } => {
                let mut whole = BytesMut::with_capacity(size as usize);
                blocks.iter().for_each(|block| whole.extend_from_slice(block));
                whole.freeze().slice(start as usize..end as usize)
            }
        })
    }

    fn page_write(&mut self, offset: u64, body: &Bytes) -> Result<(), StorageError> {
        self.check_exists()?;
        let Content::Page { size, extents } = &mut self.content else {
            return Err(StorageError::InvalidRequest { what: "the blob is no page blob" });
        };
        if offset.saturating_add(body.len() as u64) > *size {
            let what = "a page write beyond the end of the blob";
            return Err(StorageError::InvalidRequest { what });
        }
        extents.write(offset, body.clone());
        Ok(())
    }

    fn append(&mut self, body: &Bytes, blocks_max: u32) -> Result<u64, StorageError> {
        if !self.exists() {
            self.content = Content::Append { size: 0, blocks: Vec::new() };
        }
        let Content::Append { size, blocks } = &mut self.content else {
            return Err(StorageError::InvalidRequest { what: "the blob is no append blob" });
        };
        let (limit, actual) = (u64::from(blocks_max), blocks.len() as u64 + 1);
        crate::service::check_limit("blocks of an append blob", actual, limit)?;
        let offset = *size;
        *size += body.len() as u64;
        blocks.push(body.clone());
        Ok(offset)
    }

    fn acquire(
        &mut self,
        now: Timestamp,
        id: LeaseId,
        duration: Option<Duration>,
    ) -> Result<LeaseId, StorageError> {
        self.check_exists()?;
        if self.lease.as_ref().is_some_and(|held| held.expires > now) {
            return Err(StorageError::Conflict { what: "the blob is leased already" });
        }
        self.lease = Some(Lease { id, duration, expires: expiry(now, duration) });
        Ok(id)
    }

    /// The lease, if it is `id`, be it run out or not.
    fn own_lease(&mut self, id: Option<LeaseId>) -> Result<&mut Lease, StorageError> {
        self.check_exists()?;
        self.lease
            .as_mut()
            .filter(|held| Some(held.id) == id)
            .ok_or(StorageError::Conflict { what: "the lease is not held" })
    }

    fn break_lease(&mut self, now: Timestamp) -> Result<(), StorageError> {
        self.check_exists()?;
        match self.lease.take() {
            Some(held) if held.expires > now => Ok(()),
            _ => Err(StorageError::Conflict { what: "the blob is not leased" }),
        }
    }
}

fn expiry(now: Timestamp, duration: Option<Duration>) -> Timestamp {
    duration.map_or(Timestamp::MAX, |duration| now + duration)
}

impl Action {
    /// Whether it changes the blob, and so is subject to the lease.
    fn is_change(&self) -> bool {
        match self {
            Action::Put(_)
            | Action::Delete
            | Action::PageCreate { .. }
            | Action::PageWrite { .. }
            | Action::SetMetadata(_)
            | Action::Append(_) => true,
            Action::Get { .. }
            | Action::List { .. }
            | Action::Acquire { .. }
            | Action::Renew
            | Action::Change
            | Action::Release
            | Action::Break => false,
        }
    }

    fn body(&self) -> Option<&Bytes> {
        match self {
            Action::Put(body)
            | Action::PageWrite { body, .. }
            | Action::Append(body)
            | Action::SetMetadata(body) => Some(body),
            _ => None,
        }
    }
}

impl Backend for BlobBackend {
    type Request = BlobRequest;
    type Response = BlobResponse;

    fn operation(request: &BlobRequest) -> usize {
        match request.action {
            Action::Put(_) | Action::SetMetadata(_) => 0,
            Action::Get { .. } => 1,
            Action::Delete => 2,
            Action::PageCreate { .. } => 3,
            Action::PageWrite { .. } => 4,
            Action::Append(_) => 5,
            Action::Acquire { .. }
            | Action::Renew
            | Action::Change
            | Action::Release
            | Action::Break => 6,
            Action::List { .. } => 7,
        }
    }

    fn request_bytes(request: &BlobRequest) -> u64 {
        request.action.body().map_or(0, |body| body.len() as u64)
    }

    fn response_bytes(response: &BlobResponse) -> u64 {
        match response {
            BlobResponse::Content(body, _) => body.len() as u64,
            BlobResponse::Listed(blobs) => {
                blobs.iter().map(|blob| (blob.name.len() + blob.metadata.len()) as u64).sum()
            }
            BlobResponse::Done
            | BlobResponse::Changed(_)
            | BlobResponse::Offset(_)
            | BlobResponse::Lease(_) => 0,
        }
    }

    fn digest(request: &BlobRequest) -> u64 {
        let place = ((request.container as u64) << 48) ^ ((request.blob as u64) << 8);
        let place = place ^ Self::operation(request) as u64;
        match &request.action {
            Action::PageWrite { offset, body } => {
                xxh3_64_with_seed(body, place ^ offset.rotate_left(24))
            }
            action => action.body().map_or(place, |body| xxh3_64_with_seed(body, place)),
        }
    }

    fn admit(&mut self, at: Timestamp, request: &BlobRequest) -> Result<Admitted, Busy> {
        let container = &mut self.containers[request.container];
        if request.blob == NO_BLOB {
            let slot = occupancy(1.0, self.limits.rate);
            let start = container.limiter.admit(at, slot, self.limits.busy_threshold)?;
            return Ok(Admitted { start, transfer: Duration::ZERO });
        }
        let blob = &mut container.blobs[request.blob];
        let bytes = match &request.action {
            Action::Get { offset, length } => blob.length().saturating_sub(*offset).min(*length),
            _ => Self::request_bytes(request),
        };
        let transfer = occupancy(bytes as f64, self.limits.bandwidth_bytes_per_s);
        let slot = occupancy(1.0, self.limits.rate).max(transfer);
        let start = blob.limiter.admit(at, slot, self.limits.busy_threshold)?;
        Ok(Admitted { start, transfer })
    }

    fn apply(
        &mut self,
        now: Timestamp,
        request: &BlobRequest,
    ) -> Result<BlobResponse, StorageError> {
        if let Action::List { prefix } = &request.action {
            return Ok(BlobResponse::Listed(self.list(request.container, prefix, now)));
        }
        let blob = &mut self.containers[request.container].blobs[request.blob];
        if request.action.is_change() {
            blob.check_lease(now, request.lease)?;
            blob.check_condition(request.condition)?;
        }
        match &request.action {
            Action::Put(body) => blob.content = Content::Block(body.clone()),
            Action::Get { offset, length } => {
                let content = blob.read(*offset, *length)?;
                return Ok(BlobResponse::Content(content, blob.etag));
            }
            Action::Delete => {
                blob.check_exists()?;
                blob.content = Content::Absent;
                blob.metadata = Bytes::new();
                blob.lease = None;
            }
            Action::SetMetadata(metadata) => {
                blob.check_exists()?;
                blob.metadata = metadata.clone();
            }
            Action::PageCreate { size } => {
                blob.content = Content::Page { size: *size, extents: Extents::default() };
            }
            Action::PageWrite { offset, body } => blob.page_write(*offset, body)?,
            Action::Append(body) => {
                let offset = blob.append(body, self.limits.append_blocks_max)?;
                self.next_etag += 1;
                blob.etag = self.next_etag;
                return Ok(BlobResponse::Offset(offset));
            }
            Action::Acquire { duration } => {
                self.next_lease += 1;
                let id = LeaseId(self.next_lease);
                return blob.acquire(now, id, *duration).map(BlobResponse::Lease);
            }
            Action::Renew => {
                let lease = blob.own_lease(request.lease)?;
                lease.expires = expiry(now, lease.duration);
            }
            Action::Change => {
                if blob.holder(now) != request.lease {
                    return Err(StorageError::Conflict { what: "the lease is not held" });
                }
                self.next_lease += 1;
                let lease = blob.own_lease(request.lease)?;
                (lease.id, lease.expires) = (LeaseId(self.next_lease), expiry(now, lease.duration));
                return Ok(BlobResponse::Lease(lease.id));
            }
            Action::Release => {
                blob.own_lease(request.lease)?;
                blob.lease = None;
            }
            Action::Break => blob.break_lease(now)?,
            Action::List { .. } => unreachable!("handled above"),
        }
        if !request.action.is_change() {
            return Ok(BlobResponse::Done);
        }
        self.next_etag += 1;
        blob.etag = self.next_etag;
        Ok(BlobResponse::Changed(blob.etag))
    }
}
