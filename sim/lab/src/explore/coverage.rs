//! Coverage: which mechanisms a campaign has reached.
//!
//! An engine counts how often each of its own mechanisms came into play; the world counts what faults
//! did. A mechanism that no run of a campaign has reached was not tested by it.

use super::verdict::Judgement;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How often a mechanism came into play.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// In how many runs.
    pub runs: u64,
    /// How often in all of them together.
    pub times: u64,
}

/// What a campaign has reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// Runs.
    pub runs: u64,
    /// By mechanism.
    pub reached: BTreeMap<String, Reached>,
}

impl Coverage {
    /// Takes in a run.
    pub fn add(&mut self, judgement: &Judgement) {
        self.runs += 1;
        for (name, count) in &judgement.counts {
            let reached = self.reached.entry(name.clone()).or_default();
            reached.runs += u64::from(*count > 0);
            reached.times += count;
        }
    }

    /// What no run has reached.
    pub fn unreached(&self) -> impl Iterator<Item = &str> {
        let never = self.reached.iter().filter(|(_, reached)| reached.runs == 0);
        never.map(|(name, _)| name.as_str())
    }
}
