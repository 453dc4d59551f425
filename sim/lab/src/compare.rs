//! Result equality: the same workload under the same seed on every engine, and whether the final
//! states agree.
//!
//! The reference is [`REFERENCE`], which runs the model with nothing in between. A workload that
//! declares its results independent of timing must end in the same states on every engine:
//! every orchestration or job with the same status and result, every entity with the same state.
//! Where results may depend on timing they are not compared, and the checks of the run (the
//! workload's own among them) are all there is. A failed check counts as much as a difference.
//!
//! Runs are independent and go on side by side; what comes out does not depend on how many
//! threads carry them.

use crate::checks::Verdict as CheckVerdict;
use crate::load::LoadSpec;
use crate::progress::Progress;
use crate::registry::{self, REFERENCE};
use crate::run::{Finals, RunError, RunOptions, RunOutcome, run_with};
use crate::spec::{CheckedSpec, RunSpec, SpecError, WorkloadSpec};
use crate::workload::{Naming, Orchestrations};
use rayon::prelude::*;
use serde::Serialize;
use sim_model::engine::DeployError;
use sim_model::id::EntityId;
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;

/// Most characters of a value that are shown.
const SHOWN_MAX: usize = 200;
/// Most runs of one comparison.
const RUNS_MAX: usize = 10_000;

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The engines that are compared with the reference.
    pub engines: Vec<String>,
    /// The workloads.
    pub workloads: Vec<WorkloadSpec>,
    /// A run of every workload on every engine for each.
    pub seeds: Vec<u64>,
    /// The load, instead of each workload's own.
    pub load: Option<LoadSpec>,
    /// Where it runs: plan, hosts, partitions and profile. The rest is not looked at.
    pub place: RunSpec,
}

/// A comparison whose every run was checked.
#[derive(Clone, Debug)]
pub struct CheckedComparison {
    cases: Vec<CheckedCase>,
}

/// A workload and a seed: the run of the reference, then those of the engines.
#[derive(Clone, Debug)]
struct CheckedCase {
    runs: Vec<CheckedSpec>,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparisonOutcome {
    /// The engine that the others are compared with.
    pub reference: &'static str,
    /// Whether nothing differs and no check failed.
    pub passed: bool,
    /// A workload and a seed each.
    pub cases: Vec<Case>,
}

/// A workload under a seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Case {
    /// The workload with its parameters.
    pub workload: String,
    /// The load.
    pub load: String,
    /// The seed.
    pub seed: u64,
    /// Whether results are compared: not where they depend on timing.
    pub compared: bool,
    /// Orchestrations or jobs that ended on the reference.
    pub ended: u64,
    /// Entities whose states were read.
    pub entities: u64,
    /// The reference first.
    pub engines: Vec<EngineResult>,
}

/// How an engine did in a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EngineResult {
    /// The engine.
    pub engine: String,
    /// 32 hexadecimal digits over all final states.
    pub results_digest: String,
    /// Why the engine does not carry the workload, if so; then nothing else is known.
    pub refused: Option<String>,
    /// The first state that differs from the reference.
    pub difference: Option<Difference>,
    /// The checks that failed, by name.
    pub failed_checks: Vec<String>,
}

/// A final state that is not what it is on the reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Whose state: `orchestration 000012-9f86d081`, `entity @Account@3`.
    pub of: String,
    /// What it is on the reference.
    pub expected: String,
    /// What it is here.
    pub found: String,
}

impl Comparison {
    /// Checks every run.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<CheckedComparison, SpecError> {
        let engines = self.engines.iter().filter(|engine| *engine != REFERENCE);
        let engines: Vec<&String> = engines.collect();
        if engines.is_empty() {
            let valid = registry::engines().iter().map(|engine| engine.name()).collect::<Vec<_>>();
            let expected = format!("an engine besides the reference, of {}", valid.join(", "));
            return Err(SpecError::bad("comparison: engine", REFERENCE, expected));
        }
        let mut cases = Vec::new();
        for workload in &self.workloads {
            for seed in &self.seeds {
                let run = |engine: &str| self.run_spec(workload, engine, *seed).check();
                let mut runs = vec![run(REFERENCE)?];
                for engine in &engines {
                    runs.push(run(engine)?);
                }
                if let LoadSpec::Closed { .. } = runs[0].spec().load {
                    let expected = "a batch or an open load: what a closed load starts depends on \
                                    how fast the engine is";
                    return Err(SpecError::bad("comparison: load", &runs[0].spec().load, expected));
                }
                cases.push(CheckedCase { runs });
            }
        }
        let checked = CheckedComparison { cases };
        match checked.runs() {
            0 => Err(SpecError::bad("comparison", "no workload or no seed", "at least one each")),
            runs if runs > RUNS_MAX => {
                Err(SpecError::bad("comparison: runs", runs, format!("at most {RUNS_MAX}")))
            }
            _ => Ok(checked),
        }
    }

    /// The specification of one run.
    pub(crate) fn run_spec(&self, workload: &WorkloadSpec, engine: &str, seed: u64) -> RunSpec {
        let own = RunSpec::of(workload.clone());
        RunSpec {
            engine: engine.to_owned(),
            load: self.load.clone().unwrap_or(own.load),
            workload: own.workload,
            seed,
            ..self.place.clone()
        }
    }
}

/// What a comparison keeps of a run.
struct Kept {
    /// Why the engine refused the run, if so.
    refused: Option<String>,
    finals: Finals,
    results_digest: String,
    timing_independent: bool,
    failed_checks: Vec<String>,
    ended: u64,
    naming: Naming,
}

impl Kept {
    fn of(outcome: RunOutcome) -> Kept {
        let counts = &outcome.summary.orchestrations;
        let checks = outcome.summary.checks.iter();
        let failed = checks.filter(|check| check.verdict == CheckVerdict::Fail);
        Kept {
            results_digest: outcome.results_digest,
            timing_independent: outcome.timing_independent,
            failed_checks: failed.map(|check| check.name.clone()).collect(),
            ended: counts.completed + counts.failed + counts.terminated,
            naming: outcome.naming,
            finals: outcome.finals.unwrap_or_default(),
            refused: None,
        }
    }

    /// What is kept of a run that its engine refused.
    fn refused(problem: String) -> Kept {
        Kept {
            refused: Some(problem),
            finals: Finals::default(),
            results_digest: String::new(),
            timing_independent: true,
            failed_checks: Vec::new(),
            ended: 0,
            naming: Naming::new(0),
        }
    }

    /// What is kept of a run that came to this. Where the reference refuses, there is nothing to
    /// compare with.
    fn tried(spec: &CheckedSpec, run: Result<RunOutcome, RunError>) -> Result<Kept, RunError> {
        match run {
            Ok(outcome) => Ok(Kept::of(outcome)),
            Err(RunError::Deploy(DeployError::Unsupported { problem, .. }))
                if spec.spec().engine != REFERENCE =>
            {
                Ok(Kept::refused(problem))
            }
            Err(error) => Err(error),
        }
    }
}

impl CheckedComparison {
    /// How many runs there are.
    pub fn runs(&self) -> usize {
        self.cases.iter().map(|case| case.runs.len()).sum()
    }

    /// Carries out all runs on `threads` threads, or as many as there are cores.
    ///
    /// # Errors
    /// The error of the first run, in their order, that could not be carried out.
    ///
    /// # Panics
    /// If the system has no room for the threads.
    pub fn run(
        &self,
        threads: Option<usize>,
        progress: &Progress,
    ) -> Result<ComparisonOutcome, RunError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.unwrap_or(0))
            .build()
            .expect("the system has no room for more threads");
        let runs: Vec<&CheckedSpec> = self.cases.iter().flat_map(|case| &case.runs).collect();
        let options = RunOptions { keep_results: true, ..RunOptions::default() };
        let one = |spec: &&CheckedSpec| Kept::tried(spec, run_with(spec, progress, &options));
        let kept: Vec<Result<Kept, RunError>> = pool.install(|| runs.par_iter().map(one).collect());
        // Not collected as a result in parallel, which would keep any of several errors.
        let mut kept = kept.into_iter().collect::<Result<Vec<Kept>, RunError>>()?.into_iter();
        let judged = |case: &CheckedCase| {
            let of_case: Vec<Kept> = kept.by_ref().take(case.runs.len()).collect();
            case.judge(&of_case)
        };
        let cases: Vec<Case> = self.cases.iter().map(judged).collect();
        let passed = cases.iter().flat_map(|case| &case.engines).all(EngineResult::passed);
        Ok(ComparisonOutcome { reference: REFERENCE, passed, cases })
    }
}

impl CheckedCase {
    /// Compares all runs with the first.
    fn judge(&self, kept: &[Kept]) -> Case {
        let asked = self.runs[0].spec();
        let reference = &kept[0];
        let compared = reference.timing_independent;
        let result = |(spec, kept): (&CheckedSpec, &Kept)| EngineResult {
            engine: spec.spec().engine.clone(),
            results_digest: kept.results_digest.clone(),
            refused: kept.refused.clone(),
            difference: match compared && kept.refused.is_none() && kept.finals != reference.finals
            {
                true => Some(self.first_difference(reference, kept)),
                false => None,
            },
            failed_checks: kept.failed_checks.clone(),
        };
        Case {
            workload: asked.workload.shown().to_string(),
            load: asked.load.to_string(),
            seed: asked.seed,
            compared,
            ended: reference.ended,
            entities: reference.finals.entities.len() as u64,
            engines: self.runs.iter().zip(kept).map(result).collect(),
        }
    }

    /// The first state, of orchestrations by index and then of entities by name, that differs.
    fn first_difference(&self, reference: &Kept, other: &Kept) -> Difference {
        let (expected, found) = (&reference.finals.statuses, &other.finals.statuses);
        let differs = |index: &usize| expected.get(*index) != found.get(*index);
        if let Some(index) = (0..expected.len().max(found.len())).find(differs) {
            let workload = self.runs[0].build_workload();
            let orchestrations = Orchestrations::new(workload, reference.naming);
            return Difference {
                of: format!("orchestration {}", orchestrations.instance(index as u64)),
                expected: in_words(expected.get(index)),
                found: in_words(found.get(index)),
            };
        }
        let (expected, found) = (&reference.finals.entities, &other.finals.entities);
        let differs = |entity: &&EntityId| expected.get(*entity) != found.get(*entity);
        let entity = expected.keys().chain(found.keys()).find(differs);
        let entity = entity.expect("invariant: called for final states that differ");
        Difference {
            of: format!("entity {entity}"),
            expected: state_in_words(expected.get(entity)),
            found: state_in_words(found.get(entity)),
        }
    }
}

impl ComparisonOutcome {
    /// The outcome on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("invariant: a comparison has a JSON form")
    }
}

impl EngineResult {
    /// Whether nothing differs and no check failed. What was refused cannot fail.
    pub fn passed(&self) -> bool {
        self.difference.is_none() && self.failed_checks.is_empty()
    }
}

fn in_words(status: Option<&RuntimeStatus>) -> String {
    let text = match status {
        None => "not started".to_owned(),
        Some(RuntimeStatus::Completed(result)) => format!("completed {}", result.as_str()),
        Some(RuntimeStatus::Failed(error)) => format!("failed {error}"),
        Some(RuntimeStatus::Terminated(reason)) => format!("terminated: {reason}"),
        Some(other) => other.name().to_owned(),
    };
    shortened(&text)
}

fn state_in_words(state: Option<&Option<Payload>>) -> String {
    match state {
        None => "not read".to_owned(),
        Some(None) => "no state".to_owned(),
        Some(Some(state)) => shortened(state.as_str()),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> CheckedCase {
        let run = |engine: &str| {
            let workload = "hello".parse().expect("a workload");
            let spec = RunSpec { engine: engine.to_owned(), ..RunSpec::of(workload) };
            spec.check().expect("valid")
        };
        CheckedCase { runs: vec![run(REFERENCE), run("netherite")] }
    }

    fn completed(text: &str) -> RuntimeStatus {
        RuntimeStatus::Completed(Payload::encode(&text).expect("text"))
    }

    fn kept(statuses: Vec<RuntimeStatus>, entities: &[(&str, Option<&str>)]) -> Kept {
        let state = |(key, state): &(&str, Option<&str>)| {
            let state = state.map(|state| Payload::encode(&state).expect("text"));
            (EntityId::new("Account", *key), state)
        };
        Kept {
            refused: None,
            finals: Finals { statuses, entities: entities.iter().map(state).collect() },
            results_digest: String::new(),
            timing_independent: true,
            failed_checks: Vec::new(),
            ended: 2,
            naming: Naming::new(7),
        }
    }

    #[test]
    fn the_first_difference_is_named_with_both_values() {
        let same = || vec![completed("a"), completed("b")];
        let states = [("1", Some("x")), ("2", None)];
        let reference = || kept(same(), &states);
        let difference = |other: Kept| {
            let judged = case().judge(&[reference(), other]);
            let [own, other] = &judged.engines[..] else { panic!("two engines") };
            assert!(own.passed());
            assert_eq!(other.passed(), other.difference.is_none());
            other.difference.clone()
        };
        assert_eq!(difference(reference()), None);

        let late = difference(kept(vec![completed("a"), RuntimeStatus::Running], &states));
        let late = late.expect("one has not ended");
        assert!(late.of.starts_with("orchestration 000001-"), "{late:?}");
        assert_eq!((&*late.expected, &*late.found), ("completed \"b\"", "running"));

        let missing = difference(kept(vec![completed("a")], &states)).expect("one is missing");
        assert_eq!(missing.found, "not started");

        let entity = difference(kept(same(), &[("1", Some("x")), ("2", Some("y"))]));
        let entity = entity.expect("one has a state");
        assert_eq!(entity.of, "entity @Account@2");
        assert_eq!((&*entity.expected, &*entity.found), ("no state", "\"y\""));

        let unread = difference(kept(same(), &[("2", None)])).expect("one was not read");
        assert_eq!((&*unread.of, &*unread.found), ("entity @Account@1", "not read"));
    }

    #[test]
    fn what_depends_on_timing_is_not_compared_but_its_checks_count() {
        let loose = |statuses, failed: &[&str]| Kept {
            timing_independent: false,
            failed_checks: failed.iter().map(|&name| name.to_owned()).collect(),
            ..kept(statuses, &[])
        };
        let judged = case()
            .judge(&[loose(vec![completed("a")], &[]), loose(vec![completed("b")], &["results"])]);
        assert!(!judged.compared);
        assert_eq!(judged.engines[1].difference, None);
        assert!(!judged.engines[1].passed());
    }

    #[test]
    fn what_an_engine_refuses_is_told_and_fails_nothing() {
        let reference = kept(vec![completed("a")], &[]);
        let judged = case().judge(&[reference, Kept::refused("no joins".to_owned())]);
        let [_, other] = &judged.engines[..] else { panic!("two engines") };
        assert_eq!((other.refused.as_deref(), &other.difference), (Some("no joins"), &None));
        assert!(other.passed());

        let refused = || {
            let problem = "too many partitions".to_owned();
            Err(RunError::Deploy(DeployError::Unsupported { engine: "some", problem }))
        };
        let runs = case().runs;
        assert!(Kept::tried(&runs[0], refused()).is_err(), "there is nothing to compare with");
        let kept = Kept::tried(&runs[1], refused()).expect("told");
        assert_eq!(kept.refused.as_deref(), Some("too many partitions"));
    }

    #[test]
    fn long_values_are_cut_at_a_letter() {
        let text = "ä".repeat(SHOWN_MAX + 1);
        assert_eq!(shortened(&text), format!("{}... (402 bytes)", "ä".repeat(SHOWN_MAX)));
        assert_eq!(shortened("short"), "short");
    }
}
