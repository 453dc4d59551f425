//! Costs of logs on disks, and of servers that keep replicas of logs: `[log_store]`.

use super::error::ProfileError;
use super::reader::Section;
use std::sync::Arc;
use std::time::Duration;

/// Core time of a log on a disk, and of a server for logs and its clients.
#[derive(Debug, Clone, PartialEq)]
pub struct LogStoreProfile {
    /// A write with its sync, on the machine that has the disk.
    pub write_cpu: Duration,
    /// Each KiB that is written, read or sent, besides.
    pub kibibyte_cpu: Duration,
    /// A request, on the server.
    pub request_cpu: Duration,
    /// A request, in the client library of the calling host.
    pub client_cpu: Duration,
    /// How long clients wait for an answer.
    pub request_timeout: Duration,
    /// How long a client waits before it tries again what failed.
    pub retry: Duration,
}

impl LogStoreProfile {
    /// Core time of so many bytes.
    pub fn bytes_cpu(&self, bytes: u64) -> Duration {
        self.kibibyte_cpu.mul_f64(bytes as f64 / 1024.0)
    }
}

/// Reads the section, if the profile has it.
pub(super) fn log_store(root: &Section) -> Result<Option<Arc<LogStoreProfile>>, ProfileError> {
    if !root.has("log_store") {
        return Ok(None);
    }
    let keys =
        ["write_cpu", "kibibyte_cpu", "request_cpu", "client_cpu", "request_timeout", "retry"];
    let s = root.child("log_store", &keys)?;
    let profile = LogStoreProfile {
        write_cpu: s.time("write_cpu")?,
        kibibyte_cpu: s.time("kibibyte_cpu")?,
        request_cpu: s.time("request_cpu")?,
        client_cpu: s.time("client_cpu")?,
        request_timeout: s.time("request_timeout")?,
        retry: s.time("retry")?,
    };
    for (key, span) in [("request_timeout", profile.request_timeout), ("retry", profile.retry)] {
        if span.is_zero() {
            return Err(s.error(key, "value is 0, expected more"));
        }
    }
    Ok(Some(Arc::new(profile)))
}
