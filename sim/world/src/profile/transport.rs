//! How connections repeat what was lost: `[transport]`.

use super::error::ProfileError;
use super::reader::Section;
use std::time::Duration;

/// Connections between machines, when something goes wrong with them.
#[derive(Debug, Clone, PartialEq)]
pub struct TransportProfile {
    /// How long a sender waits before it repeats a transmission for the first time.
    pub retransmission_timeout: Duration,
    /// Up to which that timeout doubles.
    pub retransmission_timeout_max: Duration,
    /// Repetitions before the sender gives up.
    pub retransmissions_max: u32,
    /// How long a reader of an event log hears nothing from a connection before it opens another one.
    pub reader_idle_timeout: Duration,
}

impl TransportProfile {
    /// How long it takes until the transmission gets through after so many were lost.
    pub fn time_to_repeat(&self, lost: u32) -> Duration {
        let doubled = |step: u32| {
            let factor = 1u32.checked_shl(step).unwrap_or(u32::MAX);
            self.retransmission_timeout.saturating_mul(factor)
        };
        (0..lost).map(|step| doubled(step).min(self.retransmission_timeout_max)).sum()
    }
}

/// Reads the section.
pub(super) fn transport(root: &Section) -> Result<TransportProfile, ProfileError> {
    let keys = [
        "retransmission_timeout",
        "retransmission_timeout_max",
        "retransmissions_max",
        "reader_idle_timeout",
    ];
    let s = root.child("transport", &keys)?;
    let profile = TransportProfile {
        retransmission_timeout: s.time("retransmission_timeout")?,
        retransmission_timeout_max: s.time("retransmission_timeout_max")?,
        retransmissions_max: s.count("retransmissions_max")?,
        reader_idle_timeout: s.time("reader_idle_timeout")?,
    };
    if profile.retransmission_timeout > profile.retransmission_timeout_max {
        return Err(s.error("retransmission_timeout", "is above retransmission_timeout_max"));
    }
    for (key, span) in [
        ("retransmission_timeout", profile.retransmission_timeout),
        ("reader_idle_timeout", profile.reader_idle_timeout),
    ] {
        if span.is_zero() {
            return Err(s.error(key, "value is 0, expected more"));
        }
    }
    Ok(profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_double_up_to_the_maximum() {
        let profile = TransportProfile {
            retransmission_timeout: Duration::from_millis(200),
            retransmission_timeout_max: Duration::from_secs(120),
            retransmissions_max: 15,
            reader_idle_timeout: Duration::from_secs(60),
        };
        assert_eq!(profile.time_to_repeat(0), Duration::ZERO);
        assert_eq!(profile.time_to_repeat(3), Duration::from_millis(200 + 400 + 800));
        // The 924.6 s of the kernel's documentation (tcp_retries2) end with the wait after the last
        // repetition.
        assert_eq!(profile.time_to_repeat(16), Duration::from_millis(924_600));
    }
}
