//! Cloud blobs: block, page and append blobs, with leases.
//!
//! **Model.** A block blob is replaced whole. A page blob is written in aligned pieces that may
//! overwrite each other, and reads as zeros where nothing was written. An append blob grows by
//! blocks. A lease lets only requests that name it change the blob; it is checked when the request
//! takes effect, so the late write of a holder that lost its lease is refused (fencing). A lease
//! that ran out may still be renewed by its holder until another takes it.
//!
//! Each change gives a blob another ETag; a change can be made on condition that the blob has a certain one,
//! or does not exist. So the late copy of a write, which a lease does not keep out while its holder has
//! it, is refused.
//!
//! A blob has metadata besides its content, which listing shows together with whether it is leased.
//! Setting it is metered as a `put`: it is the same class of operation.
//!
//! **Time.** A transfer takes its bytes over the blob's bandwidth, on top of the server latency,
//! and holds up the requests behind it; a request takes at least `1/rate` of the limiter.
//!
//! **Assumptions.** A write names the whole effect: there are no uncommitted blocks. Containers
//! exist when they are named. A request beyond a size limit is refused by the client library.

mod extents;
mod state;

pub(crate) use state::BlobBackend;

use crate::host::Host;
use crate::profile::BlobProfile;
use crate::service::{Reply, RequestOptions, Server, StorageError, check_limit};
use bytes::Bytes;
use state::{Action, BlobRequest, BlobResponse};

pub use state::Condition;

use std::rc::Rc;
use std::time::Duration;

/// A lease on a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(u64);

impl LeaseId {
    /// The identifier as a number, to be written down: who reads it can change the lease.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The identifier that was written down as `bits`.
    pub fn from_bits(bits: u64) -> LeaseId {
        LeaseId(bits)
    }
}

/// What a listing says of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedBlob {
    /// Its name.
    pub name: Rc<str>,
    /// Its metadata.
    pub metadata: Bytes,
    /// Whether somebody holds its lease.
    pub leased: bool,
}

/// A handle to the blobs of one container; cheap to clone.
#[derive(Clone)]
pub struct BlobContainer {
    service: Rc<Server<BlobBackend>>,
    limits: Rc<BlobProfile>,
    container: usize,
    options: RequestOptions,
}

impl BlobContainer {
    pub(crate) fn new(
        service: &Rc<Server<BlobBackend>>,
        limits: &Rc<BlobProfile>,
        name: &str,
    ) -> Self {
        let container = service.backend().open(name);
        let options = service.default_options();
        BlobContainer { service: service.clone(), limits: limits.clone(), container, options }
    }

    /// The same container with other client options.
    pub fn with_options(&self, options: RequestOptions) -> Self {
        BlobContainer { options, ..self.clone() }
    }

    /// Creates or replaces a block blob.
    ///
    /// # Errors
    /// [`StorageError::LeaseLost`] if the blob is leased and `lease` does not hold it;
    /// [`StorageError::ServerBusy`], [`StorageError::TimedOut`].
    pub async fn put(
        &self,
        host: &Host,
        name: &str,
        body: Bytes,
        lease: Option<LeaseId>,
    ) -> Result<Reply<()>, StorageError> {
        Ok(self.call(host, name, lease, Action::Put(body)).await?.map(|_| ()))
    }

    /// Reads a whole blob.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::ServerBusy`], [`StorageError::TimedOut`].
    pub async fn get(&self, host: &Host, name: &str) -> Result<Reply<Bytes>, StorageError> {
        self.bytes(host, name, Action::Get { offset: 0, length: u64::MAX }).await
    }

    /// Reads `length` bytes from `offset`, or as many as there are.
    ///
    /// # Errors
    /// As [`BlobContainer::get`].
    pub async fn get_range(
        &self,
        host: &Host,
        name: &str,
        offset: u64,
        length: u64,
    ) -> Result<Reply<Bytes>, StorageError> {
        self.bytes(host, name, Action::Get { offset, length }).await
    }

    /// [`BlobContainer::get_range`] with the blob's ETag.
    ///
    /// # Errors
    /// As [`BlobContainer::get`].
    pub async fn get_tagged(
        &self,
        host: &Host,
        name: &str,
        offset: u64,
        length: u64,
    ) -> Result<Reply<(Bytes, u64)>, StorageError> {
        let reply = self.call(host, name, None, Action::Get { offset, length }).await?;
        Ok(reply.map(BlobResponse::into_content))
    }

    /// [`BlobContainer::put`] on a condition; the blob's ETag afterwards.
    ///
    /// # Errors
    /// [`StorageError::PreconditionFailed`] if the condition does not hold; or as
    /// [`BlobContainer::put`].
    pub async fn put_if(
        &self,
        host: &Host,
        name: &str,
        body: Bytes,
        lease: Option<LeaseId>,
        condition: Condition,
    ) -> Result<Reply<u64>, StorageError> {
        self.change(host, name, lease, condition, Action::Put(body)).await
    }

    /// [`BlobContainer::page_create`] on a condition; the blob's ETag afterwards.
    ///
    /// # Errors
    /// [`StorageError::PreconditionFailed`] if the condition does not hold; or as
    /// [`BlobContainer::page_create`].
    pub async fn page_create_if(
        &self,
        host: &Host,
        name: &str,
        size: u64,
        condition: Condition,
    ) -> Result<Reply<u64>, StorageError> {
        self.check_aligned(size)?;
        self.change(host, name, None, condition, Action::PageCreate { size }).await
    }

    /// [`BlobContainer::page_write`] on a condition; the blob's ETag afterwards.
    ///
    /// # Errors
    /// [`StorageError::PreconditionFailed`] if the condition does not hold; or as
    /// [`BlobContainer::page_write`].
    pub async fn page_write_if(
        &self,
        host: &Host,
        name: &str,
        (offset, body): (u64, Bytes),
        condition: Condition,
    ) -> Result<Reply<u64>, StorageError> {
        self.check_pages(offset, &body)?;
        self.change(host, name, None, condition, Action::PageWrite { offset, body }).await
    }

    /// Deletes a blob.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], or as [`BlobContainer::put`].
    pub async fn delete(
        &self,
        host: &Host,
        name: &str,
        lease: Option<LeaseId>,
    ) -> Result<Reply<()>, StorageError> {
        Ok(self.call(host, name, lease, Action::Delete).await?.map(|_| ()))
    }

    /// Names of the blobs that begin with `prefix`, in order.
    ///
    /// # Errors
    /// [`StorageError::ServerBusy`], [`StorageError::TimedOut`].
    pub async fn list(
        &self,
        host: &Host,
        prefix: &str,
    ) -> Result<Reply<Vec<Rc<str>>>, StorageError> {
        let listed = self.list_details(host, prefix).await?;
        Ok(listed.map(|blobs| blobs.into_iter().map(|blob| blob.name).collect()))
    }

    /// The blobs whose names begin with `prefix`, in order, with metadata and state of the lease.
    ///
    /// # Errors
    /// [`StorageError::ServerBusy`], [`StorageError::TimedOut`].
    pub async fn list_details(
        &self,
        host: &Host,
        prefix: &str,
    ) -> Result<Reply<Vec<ListedBlob>>, StorageError> {
        let request = BlobRequest::list(self.container, prefix);
        let reply = self.service.call(host, &self.options, request).await?;
        Ok(reply.map(|response| match response {
            BlobResponse::Listed(blobs) => blobs,
            _ => unreachable!("a list is answered with blobs"),
        }))
    }

    /// Replaces the metadata of a blob that exists.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], or as [`BlobContainer::put`].
    pub async fn set_metadata(
        &self,
        host: &Host,
        name: &str,
        metadata: Bytes,
        lease: Option<LeaseId>,
    ) -> Result<Reply<()>, StorageError> {
        Ok(self.call(host, name, lease, Action::SetMetadata(metadata)).await?.map(|_| ()))
    }

    /// Creates a page blob of `size` zeros, or empties the one that exists.
    ///
    /// # Errors
    /// A size that is no multiple of the page size; or as [`BlobContainer::put`].
    pub async fn page_create(
        &self,
        host: &Host,
        name: &str,
        size: u64,
        lease: Option<LeaseId>,
    ) -> Result<Reply<()>, StorageError> {
        self.check_aligned(size)?;
        Ok(self.call(host, name, lease, Action::PageCreate { size }).await?.map(|_| ()))
    }

    /// Writes pages.
    ///
    /// # Errors
    /// An offset or length that is no multiple of the page size, or a write beyond the blob's size
    /// ([`StorageError::InvalidRequest`]); a write beyond the limit; [`StorageError::NotFound`];
    /// or as [`BlobContainer::put`].
    pub async fn page_write(
        &self,
        host: &Host,
        name: &str,
        offset: u64,
        body: Bytes,
        lease: Option<LeaseId>,
    ) -> Result<Reply<()>, StorageError> {
        self.check_pages(offset, &body)?;
        Ok(self.call(host, name, lease, Action::PageWrite { offset, body }).await?.map(|_| ()))
    }

    /// Appends a block to an append blob, which is created by its first block; the reply is the
    /// block's offset.
    ///
    /// # Errors
    /// A block beyond the limit, more blocks than allowed; or as [`BlobContainer::put`].
    pub async fn append(
        &self,
        host: &Host,
        name: &str,
        body: Bytes,
        lease: Option<LeaseId>,
    ) -> Result<Reply<u64>, StorageError> {
        check_limit("append bytes", body.len() as u64, self.limits.append_bytes_max)?;
        let reply = self.call(host, name, lease, Action::Append(body)).await?;
        Ok(reply.map(|response| match response {
            BlobResponse::Offset(offset) => offset,
            _ => unreachable!("an append is answered with an offset"),
        }))
    }

    /// Acquires the lease of an existing blob for `duration`, or for ever.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] if another holds it, [`StorageError::NotFound`];
    /// [`StorageError::InvalidRequest`] for a duration outside the limits;
    /// [`StorageError::ServerBusy`], [`StorageError::TimedOut`].
    pub async fn acquire_lease(
        &self,
        host: &Host,
        name: &str,
        duration: Option<Duration>,
    ) -> Result<Reply<LeaseId>, StorageError> {
        let allowed = self.limits.lease_min..=self.limits.lease_max;
        if duration.is_some_and(|duration| !allowed.contains(&duration)) {
            return Err(StorageError::InvalidRequest {
                what: "a lease duration outside the limits",
            });
        }
        let reply = self.call(host, name, None, Action::Acquire { duration }).await?;
        Ok(reply.map(|response| match response {
            BlobResponse::Lease(lease) => lease,
            _ => unreachable!("an acquisition is answered with a lease"),
        }))
    }

    /// Takes over the lease `held` of whoever has it: the reply is the lease that replaces it, of the
    /// same duration, which starts anew. The former holder is refused from then on.
    ///
    /// # Errors
    /// As [`BlobContainer::renew_lease`], about `held`; a lease that ran out is not changed.
    pub async fn change_lease(
        &self,
        host: &Host,
        name: &str,
        held: LeaseId,
    ) -> Result<Reply<LeaseId>, StorageError> {
        let reply = self.call(host, name, Some(held), Action::Change).await?;
        Ok(reply.map(|response| match response {
            BlobResponse::Lease(lease) => lease,
            _ => unreachable!("a change is answered with a lease"),
        }))
    }

    /// Starts the lease's duration anew.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] if another holds the lease now, or it was released or broken;
    /// [`StorageError::NotFound`], [`StorageError::ServerBusy`], [`StorageError::TimedOut`].
    pub async fn renew_lease(
        &self,
        host: &Host,
        name: &str,
        lease: LeaseId,
    ) -> Result<Reply<()>, StorageError> {
        Ok(self.call(host, name, Some(lease), Action::Renew).await?.map(|_| ()))
    }

    /// Gives the lease up: another can acquire it at once.
    ///
    /// # Errors
    /// As [`BlobContainer::renew_lease`].
    pub async fn release_lease(
        &self,
        host: &Host,
        name: &str,
        lease: LeaseId,
    ) -> Result<Reply<()>, StorageError> {
        Ok(self.call(host, name, Some(lease), Action::Release).await?.map(|_| ()))
    }

    /// Ends whatever lease the blob has, at once.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] if there is none; [`StorageError::NotFound`],
    /// [`StorageError::ServerBusy`], [`StorageError::TimedOut`].
    pub async fn break_lease(&self, host: &Host, name: &str) -> Result<Reply<()>, StorageError> {
        Ok(self.call(host, name, None, Action::Break).await?.map(|_| ()))
    }

    async fn bytes(
        &self,
        host: &Host,
        name: &str,
        action: Action,
    ) -> Result<Reply<Bytes>, StorageError> {
        let reply = self.call(host, name, None, action).await?;
        Ok(reply.map(|response| response.into_content().0))
    }

    async fn change(
        &self,
        host: &Host,
        name: &str,
        lease: Option<LeaseId>,
        condition: Condition,
        action: Action,
    ) -> Result<Reply<u64>, StorageError> {
        let blob = self.service.backend().open_blob(self.container, name);
        let request = BlobRequest::new(self.container, blob, lease, action).on(condition);
        let reply = self.service.call(host, &self.options, request).await?;
        Ok(reply.map(|response| match response {
            BlobResponse::Changed(etag) => etag,
            _ => unreachable!("a change is answered with an ETag"),
        }))
    }

    fn check_pages(&self, offset: u64, body: &Bytes) -> Result<(), StorageError> {
        self.check_aligned(offset)?;
        self.check_aligned(body.len() as u64)?;
        check_limit("page write bytes", body.len() as u64, self.limits.page_write_bytes_max)?;
        if body.is_empty() {
            return Err(StorageError::InvalidRequest { what: "a page write without content" });
        }
        Ok(())
    }

    async fn call(
        &self,
        host: &Host,
        name: &str,
        lease: Option<LeaseId>,
        action: Action,
    ) -> Result<Reply<BlobResponse>, StorageError> {
        let blob = self.service.backend().open_blob(self.container, name);
        let request = BlobRequest::new(self.container, blob, lease, action);
        self.service.call(host, &self.options, request).await
    }

    fn check_aligned(&self, bytes: u64) -> Result<(), StorageError> {
        if bytes.is_multiple_of(self.limits.page_bytes) {
            return Ok(());
        }
        Err(StorageError::InvalidRequest { what: "an offset or length that is not page-aligned" })
    }
}
