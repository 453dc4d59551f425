//! Searching for the first run that fails.
//!
//! How many seeds a campaign takes until something fails says how easily a bug is found. One search goes
//! from seed to seed; several searches go side by side.

use super::draw::Campaign;
use super::verdict::{Failure, judge_with};
use crate::registry::Engines;
use crate::run::RunError;
use crate::spec::RunSpec;

/// The first run of a campaign that fails.
#[derive(Clone, Debug)]
pub struct FirstFailure {
    /// The run.
    pub spec: RunSpec,
    /// What it did wrong.
    pub failure: Failure,
}

/// Carries out the runs of the seeds from `first_seed` on, at most `seeds` of them, until one fails.
///
/// # Errors
/// If a specification cannot be run at all.
pub fn first_failure(
    campaign: &Campaign,
    first_seed: u64,
    seeds: u64,
) -> Result<Option<FirstFailure>, RunError> {
    first_failure_with(&Engines::built_in(), campaign, first_seed, seeds)
}

/// [`first_failure`], with a campaign for one of these engines.
///
/// # Errors
/// As for [`first_failure`].
pub fn first_failure_with(
    engines: &Engines,
    campaign: &Campaign,
    first_seed: u64,
    seeds: u64,
) -> Result<Option<FirstFailure>, RunError> {
    for seed in first_seed..first_seed.saturating_add(seeds) {
        let spec = campaign.draw_with(engines, seed)?;
        if let Some(failure) = judge_with(engines, &spec, &campaign.strict)?.failure {
            return Ok(Some(FirstFailure { spec, failure }));
        }
    }
    Ok(None)
}
