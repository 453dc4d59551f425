//! What replicating a service costs its machines: signatures, state, checkpoints.
//!
//! Core time of one core. These are costs of cryptography and memory, whatever protocol uses them.

use super::error::ProfileError;
use super::reader::{BANDWIDTH, Section};
use std::time::Duration;

/// Core time and rates of replicas.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicationProfile {
    /// Verifying a signature share or an aggregate of shares.
    pub share_verify: Duration,
    /// Signatures that a replica verifies side by side.
    pub verify_threads: u32,
    /// Verifying the signature of a client's request.
    pub request_verify: Duration,
    /// Making the state after a batch the present one: merging what was written, hashing what is
    /// certified, besides the execution itself.
    pub state_commit: Duration,
    /// From the end of one round of agreement to the beginning of the next, besides what is charged to a
    /// core: assembling inputs, handing artefacts from one part of the software to the next.
    pub round_overhead: Duration,
    /// Writing one page of memory to a checkpoint.
    pub page_write: Duration,
    /// Bytes a second that are hashed for a checkpoint's manifest.
    pub hash_bytes_per_s: f64,
    /// Answering a query from the state.
    pub query: Duration,
}

/// The section `replication`; a profile without it has the costs of nothing.
pub(super) fn load(root: &Section) -> Result<Option<ReplicationProfile>, ProfileError> {
    if !root.has("replication") {
        return Ok(None);
    }
    let keys = [
        "share_verify",
        "verify_threads",
        "request_verify",
        "state_commit",
        "round_overhead",
        "page_write",
        "hash_bandwidth",
        "query",
    ];
    let s = root.child("replication", &keys)?;
    Ok(Some(ReplicationProfile {
        share_verify: s.time("share_verify")?,
        verify_threads: s.count("verify_threads")?,
        request_verify: s.time("request_verify")?,
        state_commit: s.time("state_commit")?,
        round_overhead: s.time("round_overhead")?,
        page_write: s.time("page_write")?,
        hash_bytes_per_s: s.positive("hash_bandwidth", BANDWIDTH)?,
        query: s.time("query")?,
    }))
}
