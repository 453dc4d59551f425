//! `sim run`: one workload on one engine.

use super::output_file::OutputFile;
use super::provenance;
use crate::arguments::{RunArguments, TraceArguments};
use crate::crash;
use crate::failure::{Exit, Failure};
use crate::repeat;
use crate::summary;
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
use sim_lab::trace::{Trace, TraceOptions, Window};
use std::path::Path;

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
    let trace = TraceFile::check(&asked.traces, asked.out.as_deref())?;
    let options = RunOptions {
        keep_history: history.is_some(),
        trace: trace.as_ref().map(|trace| trace.options),
        ..RunOptions::default()
    };
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
    if let (Some(file), Some(trace)) = (&trace, &outcome.trace) {
        file.write(trace, &outcome.summary)?;
    }
    if asked.json {
        terminal::print(&(outcome.summary.to_json() + "\n"))?;
    } else {
        terminal::print(&summary::of_run(&spec, &outcome, Look::of_standard_output()))?;
        if let Some(folder) = &asked.out {
            terminal::note(&format!("results in {}", folder.display()));
        }
        if let Some(history) = &history {
            terminal::note(&format!("history in {}", history.file.path().display()));
        }
        if let (Some(file), Some(trace)) = (&trace, &outcome.trace) {
            let (path, events) = (file.file.path().display(), trace.events.len());
            terminal::note(&format!(
                "trace in {path} ({events} events; open it at ui.perfetto.dev)"
            ));
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
    file: OutputFile,
}

impl HistoryFile {
    /// The file that `--history` asks for.
    fn check(text: &str, out: Option<&Path>) -> Result<HistoryFile, Failure> {
        let Destination { form, path } = text
            .parse()
            .map_err(|error: UnknownForm| Failure::input(anyhow::anyhow!("--history: {error}")))?;
        let usual = format!("history.{}", form.name());
        let file = OutputFile::check("--history", path.as_deref(), &usual, out)?;
        Ok(HistoryFile { form, file })
    }

    fn write(&self, history: &[Seen]) -> Result<(), Failure> {
        self.file.write(&export::write(history, self.form))
    }
}

/// Where the trace of the run goes, and what it holds.
struct TraceFile {
    options: TraceOptions,
    file: OutputFile,
}

impl TraceFile {
    /// The file that `--trace` asks for, if it is given.
    fn check(asked: &TraceArguments, out: Option<&Path>) -> Result<Option<TraceFile>, Failure> {
        let Some(named) = &asked.trace else { return Ok(None) };
        let window = asked.trace_window.as_deref().map(str::parse::<Window>).transpose();
        let window = window
            .map_err(|error| Failure::input(anyhow::Error::new(error).context("--trace-window")))?;
        let window = window.unwrap_or_default();
        let options = TraceOptions { window, events_max: asked.trace_events };
        let file = OutputFile::check("--trace", named.as_deref(), "trace.json", out)?;
        Ok(Some(TraceFile { options, file }))
    }

    /// Writes it, and says so if it does not hold all that was asked for.
    fn write(&self, trace: &Trace, summary: &Summary) -> Result<(), Failure> {
        self.file.write(&trace.write(summary))?;
        if let Some(cut) = trace.cut {
            terminal::note(&format!(
                "the trace ends at {}: it has reached its limit of {} events, and at least {} are \
                 left out; choose a part with --trace-window, or a higher --trace-events",
                cut.at, trace.events_max, cut.left_out
            ));
        }
        Ok(())
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
