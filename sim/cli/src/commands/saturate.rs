//! `sim saturate`: the highest rate at which an engine still meets a latency target.

use super::{in_words, provenance};
use crate::arguments::{PlaceArguments, SaturateArguments};
use crate::crash;
use crate::failure::{Exit, Failure};
use crate::repeat;
use crate::terminal::{self, Look};
use crate::text;
use crate::wall;
use anyhow::Error;
use sim_lab::load::SETTLE_DEFAULT;
use sim_lab::results::{self, ResultsFolder};
use sim_lab::saturate::search::Rates;
use sim_lab::saturate::{Judgement, MARKER, Saturation, SaturationOutcome, Trial};
use sim_lab::spec::RunSpec;
use sim_lab::statistics::mean;
use std::collections::BTreeMap;
use std::time::Duration;

/// Searches, writes the files if asked, and prints what was found.
pub(crate) fn saturate(asked: &SaturateArguments) -> Result<(), Failure> {
    let target = asked.target.parse();
    let search = Saturation {
        place: place(&asked.place)?,
        target: target.map_err(|error| Failure::input(Error::new(error).context("--target")))?,
        completes: asked.completes,
        rates: Rates {
            start: asked.start_rate,
            min: asked.min_rate,
            max: asked.max_rate,
            tolerance: asked.tolerance,
        },
        duration: asked.duration,
        settle: SETTLE_DEFAULT,
        seeds: asked.place.seeds.0.clone(),
    };
    let checked = search.check()?;
    let folder = folder(&asked.place, MARKER)?;
    crash::remember(crash::Running {
        what: "a search for the highest rate".to_owned(),
        command: repeat::command(checked.first().spec()),
    });
    let runs = checked.runs_about();
    let (outcome, took) = wall::timed(|| {
        let work = |progress: &_| checked.run(asked.place.threads, progress);
        terminal::with_progress(runs, work)
    });
    let outcome = outcome?;
    let files = || outcome.files();
    print(&asked.place, folder, took, files, outcome.to_json(), |look| {
        page(&search, &outcome, look)
    })?;
    match outcome.rate_per_s {
        Some(_) => Ok(()),
        None => {
            let without = outcome.searches.iter().find(|search| search.bracket.met.is_none());
            let seed = without.map(|search| search.seed).unwrap_or_default();
            let lowest = search.rates.min;
            Err(Failure::checks(format!(
                "no rate from {lowest} a second meets {} under seed {seed}",
                outcome.target
            )))
        }
    }
}

/// Engine, workload, hosts and settings of a search.
pub(super) fn place(asked: &PlaceArguments) -> Result<RunSpec, Failure> {
    let usual = RunSpec::default();
    let workload = asked.workload.as_deref().map(str::parse).transpose()?;
    let mut spec = RunSpec {
        engine: asked.engine.clone().unwrap_or(usual.engine),
        plan: asked.plan.clone().unwrap_or(usual.plan),
        hosts: asked.hosts.unwrap_or(usual.hosts),
        partitions: asked.partitions.unwrap_or(usual.partitions),
        profile: asked.profile.clone().unwrap_or(usual.profile),
        ..RunSpec::of(workload.unwrap_or(usual.workload))
    };
    for setting in &asked.settings {
        spec.set(setting)?;
    }
    Ok(spec)
}

/// The folder of `--out`, if it can take what is written.
pub(super) fn folder(
    asked: &PlaceArguments,
    marker: &'static str,
) -> Result<Option<ResultsFolder>, Failure> {
    let check = |out: &std::path::PathBuf| ResultsFolder::check_for(out, marker);
    let folder = asked.out.as_ref().map(check).transpose();
    folder.map_err(|error| Failure::input(Error::new(error).context("--out")))
}

/// Writes the files if they are asked for, and prints the outcome.
pub(super) fn print<E: Into<Error>>(
    asked: &PlaceArguments,
    folder: Option<ResultsFolder>,
    took: Duration,
    files: impl FnOnce() -> Result<BTreeMap<String, Vec<u8>>, E>,
    json: String,
    page: impl FnOnce(Look) -> String,
) -> Result<(), Failure> {
    let mut written = Vec::new();
    if let (Some(folder), Some(out)) = (folder, &asked.out) {
        let not_carried_out = |error: Error| Failure::new(Exit::NotCarriedOut, error);
        let files = files().map_err(|error| not_carried_out(error.into()))?;
        written = files.keys().map(|file| out.join(file)).collect();
        results::write_files(&folder, files, &provenance(took))
            .map_err(|error| not_carried_out(error.into()))?;
    }
    if asked.json {
        return terminal::print(&(json + "\n"));
    }
    terminal::print(&page(Look::of_standard_output()))?;
    for file in written {
        terminal::note(&format!("wrote {}", file.display()));
    }
    terminal::note(&format!("took {:.2} s", took.as_secs_f64()));
    Ok(())
}

fn page(search: &Saturation, outcome: &SaturationOutcome, look: Look) -> String {
    let wrapped = |line: &str| text::wrap(line, look.columns, text::INDENT, text::INDENT);
    let place = &search.place;
    let mut page = look.heading("Highest rate that meets a target") + "\n";
    page += &wrapped(&format!(
        "{} on {}, {} {} {}, {}, profile {}",
        outcome.workload,
        outcome.engine,
        place.hosts,
        place.plan,
        if place.hosts == 1 { "host" } else { "hosts" },
        in_words(place.partitions as usize, "partition"),
        place.profile
    ));
    page += &wrapped(&format!(
        "target {}, and {} % of what is offered completed",
        outcome.target,
        search.completes * 100.0
    ));
    page += &format!("\n{}", wrapped(&found(outcome)));
    for search in &outcome.searches {
        let shown =
            |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| rate.to_string());
        page += &wrapped(&format!(
            "seed {}: met at {} a second, not at {}",
            search.seed,
            shown(search.bracket.met),
            shown(search.bracket.unmet)
        ));
    }
    page += &format!("\n{}\n{}", look.heading("Rates that were tried"), table(outcome, look));
    page += &format!("\n{}", wrapped(&format!("{}.", outcome.method)));
    page
}

fn found(outcome: &SaturationOutcome) -> String {
    let Some(rate) = outcome.rate_per_s else {
        return "No rate meets the target under every seed.".to_owned();
    };
    let at_least = if outcome.at_least { "at least " } else { "" };
    let interval = outcome
        .interval
        .map(|interval| format!(" (95 % interval {:.1} to {:.1})", interval.low, interval.high));
    format!("{at_least}{rate:.1} a second{}", interval.unwrap_or_default())
}

/// One row for each rate, over the seeds that tried it.
fn table(outcome: &SaturationOutcome, look: Look) -> String {
    let latency = format!("{} ms", outcome.target.metric.name);
    let heading = ["per s", "met", latency.as_str(), "completed", "why not"];
    let row = |(rate, trials): (f64, Vec<&Trial>)| {
        let met = trials.iter().filter(|trial| trial.judgement == Judgement::Met).count();
        let why = trials.iter().find(|trial| trial.judgement != Judgement::Met);
        let of = |value: fn(&Trial) -> Option<f64>| {
            let values: Vec<f64> = trials.iter().filter_map(|trial| value(trial)).collect();
            mean(&values)
        };
        vec![
            rate.to_string(),
            format!("{met} of {}", trials.len()),
            super::side_by_side::significant(of(|trial| trial.latency_ms)),
            of(|trial| trial.completed_part)
                .map_or_else(|| "-".to_owned(), |part| format!("{:.1} %", part * 100.0)),
            why.map(|trial| trial.judgement.words()).unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = outcome.by_rate().into_iter().map(row).collect();
    text::table(&heading, &rows, 0, look.columns)
}
