//! A checked run with one thing changed: a number of its profile, or its seed.

use super::{CheckedSpec, ProfileSource, SpecError};
use sim_world::profile::Profile;

impl CheckedSpec {
    /// The same run with the profile's entry `field` multiplied by `factor`.
    ///
    /// # Errors
    /// If the profile has no such entry, or cannot have this value.
    pub(crate) fn scaled(&self, field: &str, factor: f64) -> Result<CheckedSpec, SpecError> {
        let (name, text) = match &self.source {
            ProfileSource::Embedded(name) => (name.clone(), Profile::text(name)?),
            ProfileSource::File { name, text } => (name.clone(), text.as_str()),
        };
        let text = Profile::scaled_text(&name, text, field, factor)?;
        let source = ProfileSource::File { name, text };
        source.profile()?;
        Ok(CheckedSpec { source, ..self.clone() })
    }

    /// The same run under another seed, which is a valid one.
    pub(crate) fn with_seed(&self, seed: u64) -> CheckedSpec {
        let mut other = self.clone();
        other.spec.seed = seed;
        other
    }
}
