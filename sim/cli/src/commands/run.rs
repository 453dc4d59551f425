//! `sim run`: one workload on one engine.

use super::provenance;
use crate::arguments::RunArguments;
use crate::crash;
use crate::failure::{Exit, Failure};
use crate::repeat;
use crate::report;
use crate::terminal::{self, Look};
use crate::wall;
use sim_lab::checks::Verdict;
use sim_lab::fault::{self, FaultPlan};
use sim_lab::history::export::{self, Destination, Form, Seen, UnknownForm};
use sim_lab::metric::Requirement;
use sim_lab::results::{self, ResultsFolder};
use sim_lab::run::{self, RunOptions};
use sim_lab::spec::RunSpec;
use sim_lab::summary::Summary;
use std::path::{Path, PathBuf};

/// Runs what is asked for. Everything is checked before anything happens; results are written even
/// if a check fails.
pub(crate) fn run(asked: &RunArguments) -> Result<(), Failure> {
    let requirements = requirements(&asked.require)?;
    let spec = with_faults(specification(asked)?, asked)?;
    let checked = spec.check()?;
    let folder = asked.out.as_deref().map(ResultsFolder::check).transpose();
    let folder =
        folder.map_err(|error| Failure::input(anyhow::Error::new(error).context("--out")))?;
    let history =
        asked.history.as_deref().map(|text| HistoryFile::check(text, asked.out.as_deref()));
    let history = history.transpose()?;
    let options = RunOptions { keep_history: history.is_some(), ..RunOptions::default() };
    checked.build_workload().notes().iter().for_each(|note| terminal::note(note));
    crash::remember(crash::Running {
        what: format!("engine {}, seed {}", spec.engine, spec.seed),
        command: repeat::command(&spec),
    });
    let (outcome, took) = wall::timed(|| {
        terminal::with_progress(1, |progress| run::run_with(&checked, progress, &options))
    });
    let outcome = outcome?;
    if let Some(folder) = &folder {
        results::write(folder, &checked, &outcome, &provenance(took))
            .map_err(|error| Failure::new(Exit::NotCarriedOut, error))?;
    }
    if let Some(history) = &history {
        history.write(outcome.history.as_deref().unwrap_or_default())?;
    }
    if asked.json {
        terminal::print(&(outcome.summary.to_json() + "\n"))?;
    } else {
        terminal::print(&report::of_run(&spec, &outcome, Look::of_standard_output()))?;
        if let Some(folder) = &asked.out {
            terminal::note(&format!("results in {}", folder.display()));
        }
        if let Some(history) = &history {
            terminal::note(&format!("history in {}", history.path.display()));
        }
        terminal::note(&format!("took {:.2} s", took.as_secs_f64()));
    }
    let unmet: Vec<String> =
        requirements.iter().filter_map(|bound| bound.unmet(&outcome.summary)).collect();
    unmet.iter().for_each(|line| terminal::complain(line));
    judge(&outcome.summary)?;
    match unmet.len() {
        0 => Ok(()),
        count => Err(Failure::checks(format!(
            "{count} of {} not met",
            super::in_words(requirements.len(), "requirement")
        ))),
    }
}

/// The bounds of `--require`.
fn requirements(texts: &[String]) -> Result<Vec<Requirement>, Failure> {
    let read = |text: &String| {
        let bound = text.parse::<Requirement>();
        bound.map_err(|error| Failure::input(anyhow::Error::new(error).context("--require")))
    };
    texts.iter().map(read).collect()
}

/// Where the history of the run goes.
struct HistoryFile {
    form: Form,
    path: PathBuf,
}

impl HistoryFile {
    /// The file that `--history` asks for. That it can be written is checked as far as it can be before
    /// the run.
    fn check(text: &str, out: Option<&Path>) -> Result<HistoryFile, Failure> {
        let refused = |problem: String| Failure::input(anyhow::anyhow!("--history: {problem}"));
        let Destination { form, path } =
            text.parse().map_err(|error: UnknownForm| refused(error.to_string()))?;
        let named = path.is_some();
        let path = path.unwrap_or_else(|| {
            out.unwrap_or(Path::new("")).join(format!("history.{}", form.name()))
        });
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if named && folder.is_some_and(|folder| !folder.is_dir()) {
            return Err(refused(format!("{}: its folder does not exist", path.display())));
        }
        if path.is_dir() {
            return Err(refused(format!("{}: is a folder", path.display())));
        }
        Ok(HistoryFile { form, path })
    }

    fn write(&self, history: &[Seen]) -> Result<(), Failure> {
        let text = export::write(history, self.form);
        std::fs::write(&self.path, text).map_err(|error| {
            let problem = format!("--history: {}: cannot write", self.path.display());
            Failure::new(Exit::NotCarriedOut, anyhow::Error::new(error).context(problem))
        })
    }
}

/// The specification: the file of `--spec` or the defaults, with the flags over it.
fn specification(asked: &RunArguments) -> Result<RunSpec, Failure> {
    let mut spec = match &asked.spec {
        Some(path) => RunSpec::load(path)?,
        None => RunSpec::default(),
    };
    if let Some(workload) = &asked.workload {
        spec.workload = workload.parse()?;
        if asked.spec.is_none() {
            spec.load = spec.workload.default_load();
        }
    }
    if let Some(load) = &asked.load {
        spec.load = load.parse()?;
    }
    let texts = [
        (&mut spec.engine, &asked.engine),
        (&mut spec.plan, &asked.plan),
        (&mut spec.profile, &asked.profile),
    ];
    for (place, given) in texts {
        if let Some(given) = given {
            place.clone_from(given);
        }
    }
    spec.hosts = asked.hosts.unwrap_or(spec.hosts);
    spec.partitions = asked.partitions.unwrap_or(spec.partitions);
    spec.seed = asked.seed.unwrap_or(spec.seed);
    if !asked.host_events.is_empty() {
        let events = asked.host_events.iter().map(|event| event.parse());
        spec.host_events = events.collect::<Result<_, _>>()?;
    }
    if let Some(bounds) = &asked.autoscale {
        spec.autoscale = Some(bounds.parse()?);
    }
    set(&mut spec, &asked.settings)?;
    Ok(spec)
}

/// The specification with the faults that are asked for, instead of those it has.
fn with_faults(mut spec: RunSpec, asked: &RunArguments) -> Result<RunSpec, Failure> {
    let faults = asked.faults.iter().map(|fault| fault.parse());
    let wanted = fault::Asked {
        faults: faults.collect::<Result<_, _>>()?,
        plan: asked.fault_plan.as_deref().map(FaultPlan::load).transpose()?,
        chaos: asked.chaos.as_deref().map(str::parse).transpose()?,
        beyond_budget: false,
        kinds: None,
    };
    if !wanted.is_empty() {
        spec.faults = fault::make(&spec, &wanted)?.faults;
    }
    Ok(spec)
}

/// Sets what `--set` says; a flag replaces what the file says, two flags contradict each other.
fn set(spec: &mut RunSpec, settings: &[String]) -> Result<(), Failure> {
    let of_file = std::mem::take(&mut spec.settings);
    for setting in settings {
        spec.set(setting)?;
    }
    for (key, value) in of_file {
        spec.settings.entry(key).or_insert(value);
    }
    Ok(())
}

fn judge(summary: &Summary) -> Result<(), Failure> {
    let failed = summary.checks.iter().filter(|check| check.verdict == Verdict::Fail);
    let names: Vec<&str> = failed.map(|check| check.name.as_str()).collect();
    match names.len() {
        0 => Ok(()),
        1 => Err(Failure::checks(format!("check {} failed", names[0]))),
        count => Err(Failure::checks(format!("{count} checks failed: {}", names.join(", ")))),
    }
}
