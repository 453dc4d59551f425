//! Regressions: runs that found something, kept as files.
//!
//! A file says what is expected of the run today, and holds its whole specification:
//!
//! ```toml
//! expect = "pass"                # or "fail: NAME OF CHECK"
//! found = "what was found, and when it was mended"
//! digest = "32 hexadecimal digits"
//!
//! [run]
//! engine = "netherite"
//! ...
//! ```
//!
//! The digest is that of the run as the file expects it; a run with another digest is another run, and
//! the file has to be looked at again.

use super::shrink::Shrunk;
use super::verdict::{Judgement, judge_with};
use crate::registry::Engines;
use crate::run::RunError;
use crate::spec::{RunSpec, SpecError};
use crate::text_file;
use serde::{Deserialize, Serialize};
use serde_with::{DeserializeFromStr, SerializeDisplay};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use thiserror::Error;

/// What is expected of a run.
#[derive(Clone, Debug, PartialEq, Eq, SerializeDisplay, DeserializeFromStr)]
pub enum Expectation {
    /// No check fails.
    Pass,
    /// This check fails first.
    Fail(String),
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expectation::Pass => f.write_str("pass"),
            Expectation::Fail(check) => write!(f, "fail: {check}"),
        }
    }
}

impl FromStr for Expectation {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Expectation, SpecError> {
        match text.split_once(": ") {
            None if text == "pass" => Ok(Expectation::Pass),
            Some(("fail", check)) if !check.is_empty() => Ok(Expectation::Fail(check.to_owned())),
            _ => Err(SpecError::bad("expect", text, "pass, or fail: and the name of a check")),
        }
    }
}

/// A run that found something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regression {
    /// What is expected of it.
    pub expect: Expectation,
    /// What it found, for people.
    #[serde(default)]
    pub found: String,
    /// Names of checks that count as if the engine promised their rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strict: Vec<String>,
    /// Its digest.
    pub digest: String,
    /// The run.
    pub run: RunSpec,
}

/// A regression that cannot be repeated.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The file is none.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The run cannot be carried out.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl Regression {
    /// The file of a run that was made smaller.
    pub fn of(shrunk: &Shrunk) -> Regression {
        Regression {
            expect: Expectation::Fail(shrunk.failure.check.clone()),
            found: shrunk.failure.detail.clone(),
            strict: shrunk.strict.clone(),
            digest: shrunk.digest.clone(),
            run: shrunk.spec.clone(),
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// If it cannot be read or is no regression.
    pub fn load(path: &Path) -> Result<Regression, SpecError> {
        let failed = |problem: String| SpecError::File { path: path.to_owned(), problem };
        let text = text_file::read(path).map_err(failed)?;
        toml::from_str(&text).map_err(|error| failed(crate::spec::one_line(&text, &error)))
    }

    /// The file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("invariant: a regression has a TOML form")
    }
}

/// A regression, repeated.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// What came of it.
    pub judgement: Judgement,
    /// What is not as the file says; nothing if all is.
    pub differences: Vec<String>,
}

/// Repeats a regression.
///
/// # Errors
/// If the run cannot be carried out.
pub fn replay(regression: &Regression) -> Result<Replayed, ReplayError> {
    replay_with(&Engines::built_in(), regression)
}

/// [`replay`], for a run of one of these engines.
///
/// # Errors
/// As for [`replay`].
pub fn replay_with(engines: &Engines, regression: &Regression) -> Result<Replayed, ReplayError> {
    let judgement = judge_with(engines, &regression.run, &regression.strict)?;
    let mut differences = Vec::new();
    let came = match &judgement.failure {
        None => Expectation::Pass,
        Some(failure) => Expectation::Fail(failure.check.clone()),
    };
    if came != regression.expect {
        let detail = judgement.failure.as_ref().map(|failure| format!(" ({})", failure.detail));
        let detail = detail.unwrap_or_default();
        differences.push(format!("expected {}, came {came}{detail}", regression.expect));
    }
    if judgement.digest != regression.digest {
        differences.push(format!(
            "digest {} expected, {} came: it is another run",
            regression.digest, judgement.digest
        ));
    }
    Ok(Replayed { judgement, differences })
}
