//! `sim sweep FILE`: every combination of some axes, for several seeds.

use super::{in_words, provenance};
use crate::arguments::SweepArguments;
use crate::crash;
use crate::failure::{Exit, Failure};
use crate::repeat;
use crate::terminal::{self, Look};
use crate::text;
use crate::wall;
use anyhow::Error;
use sim_lab::results::Provenance;
use sim_lab::sweep::{
    self, CellRow, Loaded, Outcome, Plan, Record, SHARDS, Shard, SweepError, SweepFolder, Watch,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most cells that are printed.
const CELLS_SHOWN: usize = 60;

/// Runs what is missing, or says what it is.
pub(crate) fn sweep(asked: &SweepArguments) -> Result<(), Failure> {
    let shard = match &asked.shard {
        None => Shard::ALL,
        Some(text) => Shard::read(text, variable)
            .map_err(|error| Failure::input(Error::new(error).context("--shard")))?,
    };
    let pool = pool(asked.threads)?;
    let plan = pool.install(|| Plan::load(&asked.file)).map_err(Failure::input)?;
    let whole = asked.out.clone();
    let whole = whole
        .unwrap_or_else(|| ["results", "runs", &plan.sweep().name].iter().collect::<PathBuf>());
    let out = match asked.shard {
        None => whole.clone(),
        Some(_) => whole.join(SHARDS).join(shard.folder()),
    };
    if asked.plan {
        return show_plan(&plan, &out, shard, pool.current_num_threads());
    }
    let folder = SweepFolder::open(&out, &plan, shard)
        .map_err(|error| Failure::input(Error::new(error).context("--out")))?;
    let most = asked.runs.map_or(usize::MAX, |runs| usize::try_from(runs).unwrap_or(usize::MAX));
    carry_on(&plan, &folder, most, &pool)
}

/// The environment, for the number of a task of an array.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

pub(super) fn pool(threads: Option<usize>) -> Result<rayon::ThreadPool, Failure> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).build();
    pool.map_err(|error| Failure::new(Exit::NotCarriedOut, error))
}

fn not_carried_out(error: SweepError) -> Failure {
    Failure::new(Exit::NotCarriedOut, error)
}

struct Shown<'a>(&'a (dyn Fn(u64) + Sync));

impl Watch for Shown<'_> {
    fn made(&self, work: &mut (dyn FnMut() + Send)) -> Provenance {
        let ((), took) = wall::timed(work);
        provenance(took)
    }

    fn ended(&self, runs: usize) {
        (self.0)(runs as u64);
    }
}

/// Carries out what is missing in the folder, at most so many runs, and tells what all came to.
pub(super) fn carry_on(
    plan: &Plan,
    folder: &SweepFolder,
    most: usize,
    pool: &rayon::ThreadPool,
) -> Result<(), Failure> {
    let of_shard = plan.of_shard(folder.shard());
    let loaded = sweep::load(folder.path(), plan);
    if loaded.damaged > 0 {
        terminal::note(&format!("{} damaged, run again", in_words(loaded.damaged, "record")));
    }
    let mut missing = loaded.missing(&of_shard);
    tell_of_other_builds(plan, folder.path(), &of_shard);
    missing.truncate(most);
    crash::are_findings();
    let (done, took) = wall::timed(|| {
        terminal::with_count(missing.len() as u64, "runs", |count| {
            pool.install(|| sweep::carry_out(plan, folder, &missing, &Shown(count)))
        })
    });
    done.map_err(not_carried_out)?;
    let loaded = finish(plan, folder, took)?;
    terminal::note(&format!("took {:.2} s", took.as_secs_f64()));
    judge(plan, &loaded, &of_shard)
}

/// Writes the tables if nothing is missing, and tells what there is.
pub(super) fn finish(plan: &Plan, folder: &SweepFolder, took: Duration) -> Result<Loaded, Failure> {
    let of_shard = plan.of_shard(folder.shard());
    let loaded = sweep::load(folder.path(), plan);
    let records: Vec<Record> =
        of_shard.iter().filter_map(|run| loaded.records[*run].clone()).collect();
    let look = Look::of_standard_output();
    let mut page = look.heading(&plan.sweep().title) + "\n";
    page += &counts(plan, folder.shard(), of_shard.len(), &records, look);
    if folder.shard().is_all() && records.len() == of_shard.len() {
        folder.write_tables(plan, &records, &provenance(took)).map_err(not_carried_out)?;
        page += &table(plan, &sweep::cells(plan, &records), look);
    }
    terminal::print(&page)?;
    terminal::note(&format!("results in {}", folder.path().display()));
    Ok(loaded)
}

/// How many runs there are, and how they ended.
pub(super) fn counts(
    plan: &Plan,
    shard: Shard,
    runs: usize,
    records: &[Record],
    look: Look,
) -> String {
    let ended = Outcome::ALL.map(|outcome| {
        let count = records.iter().filter(|record| record.outcome == outcome).count();
        (count > 0).then(|| format!("{count} {}", outcome.name()))
    });
    let missing = runs - records.len();
    let missing = (missing > 0).then(|| format!("{missing} missing"));
    let ended: Vec<String> = ended.into_iter().chain([missing]).flatten().collect();
    let seeds = in_words(plan.sweep().seeds.len(), "seed");
    let part = match shard.is_all() {
        true => String::new(),
        false => format!("shard {shard} of "),
    };
    let cells = in_words(plan.cells(), "cell");
    let line =
        format!("{part}{cells}, {seeds} each; {}: {}", in_words(runs, "run"), ended.join(", "));
    text::wrap(&line, look.columns, text::INDENT, text::INDENT)
}

/// A row for each cell: means over its seeds, of throughput with half the width of its interval.
fn table(plan: &Plan, cells: &[CellRow], look: Look) -> String {
    if cells.len() > CELLS_SHOWN {
        return text::wrap(
            &format!("table.csv has a row for each of {} cells", cells.len()),
            look.columns,
            text::INDENT,
            text::INDENT,
        );
    }
    let axes = plan.sweep().axes.iter().map(|axis| axis.name.as_str());
    let others = [
        ("p50, ms", "p50_ms"),
        ("p99, ms", "p99_ms"),
        ("operations each", "operations_per_orchestration"),
    ];
    let titles = ["per s", "±"].into_iter().chain(others.map(|(title, _)| title)).chain([""]);
    let heading: Vec<&str> = axes.chain(titles).collect();
    let row = |row: &CellRow| {
        let labels = plan.sweep().labels(row.cell).into_iter().map(str::to_owned);
        let rate = row.value("throughput_per_s");
        let half = rate.and_then(|rate| rate.half_width);
        let rate = [rate.map(|rate| rate.mean), half].map(|number| text::number(number, 2));
        let mean = |(_, name)| text::number(row.value(name).map(|value| value.mean), 1);
        let bad = Outcome::ALL.iter().zip(row.outcomes).skip(1).filter(|(_, count)| *count > 0);
        let bad: Vec<String> =
            bad.map(|(outcome, count)| format!("{count} {}", outcome.name())).collect();
        labels.chain(rate).chain(others.map(mean)).chain([bad.join(", ")]).collect()
    };
    let rows: Vec<Vec<String>> = cells.iter().map(row).collect();
    let left = plan.sweep().axes.len();
    format!("\n{}", text::table(&heading, &rows, left, look.columns))
}

/// Says what of a sweep would be run, and what that costs.
fn show_plan(plan: &Plan, out: &Path, shard: Shard, threads: usize) -> Result<(), Failure> {
    let sweep = plan.sweep();
    let look = Look::of_standard_output();
    let line = |text: &str| text::wrap(text, look.columns, text::INDENT, text::INDENT + 2);
    let mut page = look.heading(&sweep.title) + "\n";
    for axis in &sweep.axes {
        let labels: Vec<&str> = axis.cases.iter().map(|case| case.label.as_str()).collect();
        page += &line(&format!("{} ({}): {}", axis.name, labels.len(), labels.join(", ")));
    }
    let of_shard = plan.of_shard(shard);
    let loaded = sweep::load(out, plan);
    let records: Vec<Record> =
        of_shard.iter().filter_map(|run| loaded.records[*run].clone()).collect();
    page += &counts(plan, shard, of_shard.len(), &records, look);
    let missing = loaded.missing(&of_shard);
    let orchestrations: Option<u64> =
        missing.iter().map(|run| plan.runs()[*run].spec().load.expected()).sum();
    page += &line(&match orchestrations {
        Some(count) => format!("to run: {}, about {count} orchestrations", missing.len()),
        None => format!("to run: {}, with closed loads among them", missing.len()),
    });
    terminal::print(&page)?;
    if !missing.is_empty() {
        terminal::note(&estimate(plan, out, &missing, threads));
    }
    Ok(())
}

/// How long the missing runs take, from those that are done: of the same cell, or else of all.
fn estimate(plan: &Plan, out: &Path, missing: &[usize], threads: usize) -> String {
    let seconds = |run: &sweep::Planned| {
        sweep::provenance_of(out, &run.key).map(|provenance| provenance.wall_seconds)
    };
    let mut cells: Vec<Vec<f64>> = vec![Vec::new(); plan.cells()];
    for run in plan.runs() {
        cells[run.cell].extend(seconds(run));
    }
    let mean = |values: &[f64]| {
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let all: Vec<f64> = cells.iter().flatten().copied().collect();
    let Some(overall) = mean(&all) else {
        return format!("no estimate of the time: no run is done in {}", out.display());
    };
    let total: f64 =
        missing.iter().map(|run| mean(&cells[plan.runs()[*run].cell]).unwrap_or(overall)).sum();
    format!(
        "about {total:.1} s of one core, {:.1} s on {} (from {})",
        total / threads as f64,
        in_words(threads, "thread"),
        in_words(all.len(), "run")
    )
}

/// Runs of two builds may not be compared: says so, and goes on.
fn tell_of_other_builds(plan: &Plan, folder: &Path, of_shard: &[usize]) {
    let ours = provenance(Duration::ZERO).versions;
    let other = of_shard.iter().filter(|run| {
        let found = sweep::provenance_of(folder, &plan.runs()[**run].key);
        found.is_some_and(|found| found.versions != ours)
    });
    let other = other.count();
    if other > 0 {
        terminal::note(&format!(
            "{} made by another build; for results of one build, choose a new folder",
            in_words(other, "run")
        ));
    }
}

/// The verdict over all runs that there are.
pub(super) fn judge(plan: &Plan, loaded: &Loaded, of_shard: &[usize]) -> Result<(), Failure> {
    let ended: Vec<(usize, &Record)> =
        of_shard.iter().filter_map(|run| Some((*run, loaded.records[*run].as_ref()?))).collect();
    let first = |is: fn(Outcome) -> bool| {
        let found: Vec<_> = ended.iter().filter(|(_, record)| is(record.outcome)).collect();
        found.first().map(|(run, record)| {
            let (count, runs) = (found.len(), in_words(ended.len(), "run"));
            let command = repeat::command(plan.runs()[*run].spec());
            (format!("{count} of {runs}, first in {}: {}", plan.name(*run), record.detail), command)
        })
    };
    if !ended.is_empty() && ended.iter().all(|(_, record)| record.outcome == Outcome::Refused) {
        let first = &ended[0].1.detail;
        return Err(Failure::input(Error::msg(format!("every run was refused: {first}"))));
    }
    if let Some((what, command)) = first(Outcome::broke_off) {
        terminal::note(&format!("repeat the first with: {command}"));
        return Err(Failure::new(Exit::NotCarriedOut, Error::msg(format!("broke off: {what}"))));
    }
    if let Some((what, command)) = first(|outcome| outcome == Outcome::Failed) {
        terminal::note(&format!("repeat the first with: {command}"));
        return Err(Failure::checks(format!("checks failed in {what}")));
    }
    Ok(())
}
