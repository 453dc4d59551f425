//! How the platform adds hosts: `[scaling]`.

use super::error::ProfileError;
use super::reader::Section;
use std::time::Duration;

/// The pace at which a platform adds hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScalingProfile {
    /// From the decision until a new host runs the application.
    pub startup: Duration,
    /// Least time between two hosts that are added, where there is one already.
    pub add_interval: Duration,
    /// How long a request keeps the last host.
    pub keep: Duration,
}

/// Reads the section, if the profile has it.
pub(super) fn scaling(root: &Section) -> Result<Option<ScalingProfile>, ProfileError> {
    if !root.has("scaling") {
        return Ok(None);
    }
    let s = root.child("scaling", &["startup", "add_interval", "keep"])?;
    Ok(Some(ScalingProfile {
        startup: s.time("startup")?,
        add_interval: s.time("add_interval")?,
        keep: s.time("keep")?,
    }))
}
