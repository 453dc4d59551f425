//! Making a failing run smaller: fewer faults, fewer changed settings, less load, fewer hosts, shorter
//! faults, as long as the same check fails.
//!
//! Faults are removed by delta debugging (Zeller and Hildebrandt, "Simplifying and isolating
//! failure-inducing input", IEEE TSE 28(2), 2002: ddmin), which ends with a list of which no single fault can
//! be removed (1-minimal). The other steps may make faults unnecessary, and other seeds' luck necessary, so
//! everything is repeated until nothing gets smaller; the removal of faults comes last, so that what is
//! returned is 1-minimal.
//!
//! What goes wrong at random depends on everything that happened before: without a fault that has nothing to
//! do with the failure, another message is lost. Where more than two faults are left, parts of them are
//! therefore tried under other seeds as well; the seed of what is returned may be another one.
//!
//! A run is a function of its specification, so each attempt is one run. Attempts are bounded.

use super::verdict::{Failure, judge_with};
use crate::fault::Fault;
use crate::load::LoadSpec;
use crate::registry::Engines;
use crate::run::RunError;
use crate::spec::RunSpec;
use std::time::Duration;

/// The most runs that making one run smaller takes.
const ATTEMPTS_MAX: u32 = 4_000;
/// So many faults are few enough not to look for luck.
const FEW: usize = 2;
/// Other seeds that a part of the faults is tried under, and how far they lie from each other: no campaign has
/// so many runs.
const OTHER_SEEDS: u64 = 8;
const SEED_STEP: u64 = 1_000_000_007;

/// A run made smaller.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest that still fails.
    pub spec: RunSpec,
    /// The rules that count as if they were promised.
    pub strict: Vec<String>,
    /// Its failure, of the same check.
    pub failure: Failure,
    /// Its digest.
    pub digest: String,
    /// Faults before.
    pub faults_before: usize,
    /// Runs that it took.
    pub attempts: u32,
    /// Whether it was tried, for every fault that is left, that without it nothing fails.
    pub minimal: bool,
}

/// Makes a failing run smaller; the rules that `strict` names count as if they were promised.
///
/// # Errors
/// If the run cannot be carried out.
///
/// # Panics
/// If it does not fail with `failure` to begin with.
pub fn shrink(spec: &RunSpec, failure: &Failure, strict: &[String]) -> Result<Shrunk, RunError> {
    shrink_with(&Engines::built_in(), spec, failure, strict)
}

/// [`shrink`], for a run of one of these engines.
///
/// # Errors
/// As for [`shrink`].
///
/// # Panics
/// As for [`shrink`].
pub fn shrink_with(
    engines: &Engines,
    spec: &RunSpec,
    failure: &Failure,
    strict: &[String],
) -> Result<Shrunk, RunError> {
    let begun = judge_with(engines, spec, strict)?;
    assert_eq!(
        begun.failure.as_ref().map(|found| &found.check),
        Some(&failure.check),
        "the run of seed {} fails as it is said to",
        spec.seed
    );
    let mut shrinking = Shrinking {
        engines,
        best: Shrunk {
            spec: spec.clone(),
            strict: strict.to_vec(),
            failure: failure.clone(),
            digest: begun.digest,
            faults_before: spec.faults.len(),
            attempts: 0,
            minimal: false,
        },
    };
    loop {
        let before = shrinking.best.spec.clone();
        shrinking.remove_faults();
        shrinking.try_other_seeds();
        shrinking.reset_settings();
        shrinking.reduce_load();
        shrinking.reduce_hosts();
        shrinking.shorten_faults();
        if shrinking.best.spec == before || shrinking.exhausted() {
            break;
        }
    }
    shrinking.best.minimal = shrinking.remove_faults();
    Ok(shrinking.best)
}

struct Shrinking<'a> {
    engines: &'a Engines,
    best: Shrunk,
}

impl Shrinking<'_> {
    fn exhausted(&self) -> bool {
        self.best.attempts >= ATTEMPTS_MAX
    }

    /// Takes `spec` if it fails in the same way.
    fn attempt(&mut self, spec: RunSpec) -> bool {
        if self.exhausted() {
            return false;
        }
        self.best.attempts += 1;
        // A specification that cannot be run is no smaller version.
        let judged = judge_with(self.engines, &spec, &self.best.strict);
        let Ok(judgement) = judged else { return false };
        match judgement.failure {
            Some(failure) if failure.check == self.best.failure.check => {
                self.best = Shrunk { spec, failure, digest: judgement.digest, ..self.best.clone() };
                true
            }
            _ => false,
        }
    }

    fn with_faults(&self, faults: Vec<Fault>) -> RunSpec {
        RunSpec { faults, ..self.best.spec.clone() }
    }

    /// Removes faults by ddmin. Says whether the result is 1-minimal.
    fn remove_faults(&mut self) -> bool {
        if !self.best.spec.faults.is_empty() && self.attempt(self.with_faults(Vec::new())) {
            return true;
        }
        let mut parts = 2;
        while self.best.spec.faults.len() >= 2 {
            if self.exhausted() {
                return false;
            }
            let faults = self.best.spec.faults.clone();
            let size = faults.len().div_ceil(parts);
            let chunks: Vec<&[Fault]> = faults.chunks(size).collect();
            let smaller = (0..chunks.len())
                .find(|index| self.attempt(self.with_faults(chunks[*index].to_vec())));
            if smaller.is_some() {
                parts = 2;
                continue;
            }
            let without = |left_out: usize| -> Vec<Fault> {
                let kept = chunks.iter().enumerate().filter(|(index, _)| *index != left_out);
                kept.flat_map(|(_, chunk)| chunk.iter().cloned()).collect()
            };
            // Of two parts the rest of one is the other.
            let mut candidates = if parts > 2 { 0..chunks.len() } else { 0..0 };
            let smaller = candidates.find(|index| self.attempt(self.with_faults(without(*index))));
            if smaller.is_some() {
                parts = (parts - 1).max(2);
            } else if size == 1 {
                break;
            } else {
                parts = (parts * 2).min(faults.len());
            }
        }
        !self.exhausted()
    }

    /// Looks for a part of the faults that fails under another seed, small parts last: they need more luck.
    fn try_other_seeds(&mut self) {
        let mut parts = 2;
        while self.best.spec.faults.len() > FEW && parts <= self.best.spec.faults.len() {
            let faults = self.best.spec.faults.clone();
            let chunks: Vec<&[Fault]> = faults.chunks(faults.len().div_ceil(parts)).collect();
            let found = (1..=OTHER_SEEDS).any(|turn| {
                let seed = self.best.spec.seed.wrapping_add(turn * SEED_STEP);
                chunks
                    .iter()
                    .any(|chunk| self.attempt(RunSpec { seed, ..self.with_faults(chunk.to_vec()) }))
            });
            parts = if found { 2 } else { parts * 2 };
        }
    }

    /// Sets settings back to their defaults, one after the other.
    fn reset_settings(&mut self) {
        let keys: Vec<String> = self.best.spec.settings.keys().cloned().collect();
        for key in keys {
            let mut spec = self.best.spec.clone();
            spec.settings.remove(&key);
            self.attempt(spec);
        }
    }

    /// Halves the load, and then takes away what is left piece by piece.
    fn reduce_load(&mut self) {
        while let Some(load) = halved(&self.best.spec.load) {
            if !self.attempt(RunSpec { load, ..self.best.spec.clone() }) {
                break;
            }
        }
        while let LoadSpec::Batch { size: 2.., .. } = self.best.spec.load {
            let mut spec = self.best.spec.clone();
            if let LoadSpec::Batch { size, .. } = &mut spec.load {
                *size -= 1;
            }
            if !self.attempt(spec) {
                break;
            }
        }
    }

    /// Fewer hosts and partitions. Faults of hosts that are no more go with them.
    fn reduce_hosts(&mut self) {
        while self.best.spec.hosts > 1 {
            let mut spec = self.best.spec.clone();
            spec.hosts -= 1;
            let hosts = spec.hosts;
            spec.faults.retain(|fault| fault.host().is_none_or(|host| host < hosts));
            if !self.attempt(spec) {
                break;
            }
        }
        while self.best.spec.partitions > 1 {
            let partitions = self.best.spec.partitions / 2;
            if !self.attempt(RunSpec { partitions, ..self.best.spec.clone() }) {
                break;
            }
        }
    }

    /// Halves the spans of faults, as far as a second makes a difference.
    fn shorten_faults(&mut self) {
        for index in 0..self.best.spec.faults.len() {
            loop {
                let fault = &self.best.spec.faults[index];
                let lasting = fault.end() - fault.at();
                if lasting < Duration::from_secs(1) {
                    break;
                }
                let half = Duration::from_millis((lasting.as_millis() / 2) as u64);
                let mut faults = self.best.spec.faults.clone();
                faults[index] = fault.lasting_only(half);
                if !self.attempt(self.with_faults(faults)) {
                    break;
                }
            }
        }
    }
}

/// The load with half the orchestrations; `None` if it cannot be halved.
fn halved(load: &LoadSpec) -> Option<LoadSpec> {
    let mut load = load.clone();
    match &mut load {
        LoadSpec::Batch { size, .. } if *size > 1 => *size /= 2,
        LoadSpec::Open { duration, .. } | LoadSpec::Closed { duration, .. }
            if *duration >= Duration::from_secs(2) =>
        {
            *duration = Duration::from_millis((duration.as_millis() / 2) as u64);
        }
        _ => return None,
    }
    Some(load)
}
