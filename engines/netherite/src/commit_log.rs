//! The commit log of a partition: group commit with one commit in flight.
//!
//! **What it models.** Events are appended to an in-memory tail. One commit at a time makes
//! everything appended so far durable: the 512-byte-aligned tail is written to page blobs (chunks of
//! at most 1 MiB, segments of 64 MiB), and then the commit's extent is written to a block blob under
//! the partition's lease: two dependent storage writes. What is appended meanwhile joins the next
//! commit. Source: microsoft/durabletask-netherite, `LogWorker.cs` and FASTER's log (page 2 MB,
//! segment 64 MB, positions from 64).
//!
//! Units: positions are bytes from the start of the log.

use bytes::Bytes;
use serde::Serialize;
use sim_world::blob::{BlobContainer, LeaseId};
use sim_world::host::Host;
use sim_world::kernel::Notify;
use std::cell::{Cell, RefCell};

/// Log positions below this one are the log's own header.
const FIRST_POSITION: u64 = 64;
const PAGE_BYTES: u64 = 512;
const CHUNK_BYTES: u64 = 1 << 20;
const SEGMENT_BYTES: u64 = 1 << 26;
/// The length in front of each record.
const RECORD_HEADER_BYTES: usize = 4;

/// The log lost its blobs or its lease; the partition has to stop.
#[derive(Debug)]
pub(crate) struct LogLost;

struct Tail {
    /// Position of the first byte of `bytes`, a multiple of the page size.
    base: u64,
    bytes: Vec<u8>,
}

/// The log of one partition.
pub(crate) struct CommitLog {
    container: BlobContainer,
    prefix: String,
    tail: RefCell<Tail>,
    appended: Notify,
    durable: Cell<u64>,
    commits: Cell<u64>,
}

impl CommitLog {
    pub(crate) fn new(container: BlobContainer, prefix: String, appended: Notify) -> CommitLog {
        let tail = Tail { base: 0, bytes: vec![0; FIRST_POSITION as usize] };
        let durable = Cell::new(FIRST_POSITION);
        let commits = Cell::new(0);
        CommitLog { container, prefix, tail: RefCell::new(tail), appended, durable, commits }
    }

    /// Appends the encoding of `record` to the tail in memory; its position. What many events of a
    /// run have to go through is written in place.
    pub(crate) fn append<T: Serialize>(&self, record: &T) -> u64 {
        let tail = &mut *self.tail.borrow_mut();
        let begin = tail.bytes.len();
        let content = begin + RECORD_HEADER_BYTES;
        tail.bytes.resize(content, 0);
        postcard::to_io(record, &mut tail.bytes)
            .expect("invariant: events have an encoding, and memory takes it");
        let length = (tail.bytes.len() - content) as u32;
        tail.bytes[begin..content].copy_from_slice(&length.to_le_bytes());
        tail.base + begin as u64
    }

    /// Lets the next commit begin, if none is in flight.
    pub(crate) fn wake(&self) {
        self.appended.notify_one();
    }

    /// How many commits were made.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.get()
    }

    /// Commits for ever; `on_durable` is told the position up to which the log is durable.
    pub(crate) async fn run(
        &self,
        host: &Host,
        lease: LeaseId,
        on_durable: impl Fn(u64),
    ) -> Result<(), LogLost> {
        self.create_segment(host, 0).await?;
        loop {
            while self.end() == self.durable.get() {
                self.appended.notified().await;
            }
            let end = self.end();
            self.write_tail(host, end).await?;
            let extent = Bytes::from(end.to_le_bytes().to_vec());
            let name = format!("{}/commit", self.prefix);
            self.container.put(host, &name, extent, Some(lease)).await.map_err(|_| LogLost)?;
            self.trim(end);
            self.durable.set(end);
            self.commits.set(self.commits.get() + 1);
            on_durable(end);
        }
    }

    fn end(&self) -> u64 {
        let tail = self.tail.borrow();
        tail.base + tail.bytes.len() as u64
    }

    fn segment(&self, number: u64) -> String {
        format!("{}/log.{number}", self.prefix)
    }

    /// Pages are not under the lease: they count only once the commit blob, which is, names them.
    async fn create_segment(&self, host: &Host, number: u64) -> Result<(), LogLost> {
        let segment = self.segment(number);
        let created = self.container.page_create(host, &segment, SEGMENT_BYTES, None).await;
        created.map(|_| ()).map_err(|_| LogLost)
    }

    /// Writes the pages from the last durable one up to `end`, in order.
    async fn write_tail(&self, host: &Host, end: u64) -> Result<(), LogLost> {
        let mut from = self.durable.get() / PAGE_BYTES * PAGE_BYTES;
        let to = end.next_multiple_of(PAGE_BYTES);
        while from < to {
            let segment_end = (from / SEGMENT_BYTES + 1) * SEGMENT_BYTES;
            let until = to.min(from + CHUNK_BYTES).min(segment_end);
            let segment = self.segment(from / SEGMENT_BYTES);
            let offset = from % SEGMENT_BYTES;
            if offset == 0 && from > 0 {
                self.create_segment(host, from / SEGMENT_BYTES).await?;
            }
            let pages = self.pages(from, until);
            let written = self.container.page_write(host, &segment, offset, pages, None).await;
            written.map_err(|_| LogLost)?;
            from = until;
        }
        Ok(())
    }

    /// The bytes from `from` to `until`, zero-padded behind the end of the log.
    fn pages(&self, from: u64, until: u64) -> Bytes {
        let tail = self.tail.borrow();
        let begin = (from - tail.base) as usize;
        let end = ((until - tail.base) as usize).min(tail.bytes.len());
        let mut pages = tail.bytes[begin..end].to_vec();
        pages.resize((until - from) as usize, 0);
        Bytes::from(pages)
    }

    /// Forgets the pages that are durable and full.
    fn trim(&self, durable: u64) {
        let mut tail = self.tail.borrow_mut();
        let base = durable / PAGE_BYTES * PAGE_BYTES;
        let full = (base - tail.base) as usize;
        tail.bytes.drain(..full);
        tail.base = base;
    }
}
