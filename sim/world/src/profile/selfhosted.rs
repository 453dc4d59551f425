//! What all self-hosted servers have in common: `[selfhosted]`.

use super::error::ProfileError;
use super::reader::Section;
use std::time::Duration;

/// Connections between clients and self-hosted servers.
#[derive(Debug, Clone, PartialEq)]
pub struct SelfHostedProfile {
    /// Bytes that a message has besides its body: headers of the transport.
    pub envelope_bytes: u64,
    /// How long a client tries to connect to a machine that does not answer.
    pub connect_timeout: Duration,
    /// How long a connection to a machine that went silent counts as alive.
    pub keep_alive: Duration,
}

/// Reads the section, if the profile has it.
pub(super) fn selfhosted(root: &Section) -> Result<Option<SelfHostedProfile>, ProfileError> {
    if !root.has("selfhosted") {
        return Ok(None);
    }
    let s = root.child("selfhosted", &["envelope", "connect_timeout", "keep_alive"])?;
    let profile = SelfHostedProfile {
        envelope_bytes: s.bytes("envelope")?,
        connect_timeout: s.time("connect_timeout")?,
        keep_alive: s.time("keep_alive")?,
    };
    for (key, span) in
        [("connect_timeout", profile.connect_timeout), ("keep_alive", profile.keep_alive)]
    {
        if span.is_zero() {
            return Err(s.error(key, "value is 0, expected more"));
        }
    }
    Ok(Some(profile))
}
