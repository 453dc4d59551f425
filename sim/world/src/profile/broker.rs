//! Costs of the log broker: `[broker]`.

use super::error::ProfileError;
use super::reader::Section;
use std::sync::Arc;
use std::time::Duration;

/// Core time of a log broker and its clients.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerProfile {
    /// Threads that serve requests.
    pub threads: u32,
    /// A request, on the broker.
    pub request_cpu: Duration,
    /// Each record that is produced, besides.
    pub record_cpu: Duration,
    /// Each KiB that is produced or fetched, besides.
    pub kibibyte_cpu: Duration,
    /// Each KiB that is checked at the start.
    pub recovery_kibibyte_cpu: Duration,
    /// A request, in the client library of the calling host.
    pub client_cpu: Duration,
    /// How long clients wait for an answer, besides waiting that they asked for.
    pub request_timeout: Duration,
}

/// Reads the section, if the profile has it.
pub(super) fn broker(root: &Section) -> Result<Option<Arc<BrokerProfile>>, ProfileError> {
    if !root.has("broker") {
        return Ok(None);
    }
    let keys = [
        "threads",
        "request_cpu",
        "record_cpu",
        "kibibyte_cpu",
        "recovery_kibibyte_cpu",
        "client_cpu",
        "request_timeout",
    ];
    let s = root.child("broker", &keys)?;
    let request_timeout = s.time("request_timeout")?;
    if request_timeout.is_zero() {
        return Err(s.error("request_timeout", "value is 0, expected more"));
    }
    Ok(Some(Arc::new(BrokerProfile {
        threads: s.count("threads")?,
        request_cpu: s.time("request_cpu")?,
        record_cpu: s.time("record_cpu")?,
        kibibyte_cpu: s.time("kibibyte_cpu")?,
        recovery_kibibyte_cpu: s.time("recovery_kibibyte_cpu")?,
        client_cpu: s.time("client_cpu")?,
        request_timeout,
    })))
}
