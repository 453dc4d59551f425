//! Costs of the stream store: `[stream_store]`.

use super::error::ProfileError;
use super::reader::Section;
use std::sync::Arc;
use std::time::Duration;

/// Core time of a stream store and its clients.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreProfile {
    /// A command, on the server.
    pub command_cpu: Duration,
    /// Each thing that a command names or is answered with, besides.
    pub element_cpu: Duration,
    /// Each KiB of command and answer, besides.
    pub kibibyte_cpu: Duration,
    /// Replaying one command of the append-only file at the start.
    pub replay_cpu: Duration,
    /// A command, in the client library of the calling host.
    pub client_cpu: Duration,
}

/// Reads the section, if the profile has it.
pub(super) fn store(root: &Section) -> Result<Option<Arc<StoreProfile>>, ProfileError> {
    if !root.has("stream_store") {
        return Ok(None);
    }
    let keys = ["command_cpu", "element_cpu", "kibibyte_cpu", "replay_cpu", "client_cpu"];
    let s = root.child("stream_store", &keys)?;
    Ok(Some(Arc::new(StoreProfile {
        command_cpu: s.time("command_cpu")?,
        element_cpu: s.time("element_cpu")?,
        kibibyte_cpu: s.time("kibibyte_cpu")?,
        replay_cpu: s.time("replay_cpu")?,
        client_cpu: s.time("client_cpu")?,
    })))
}
