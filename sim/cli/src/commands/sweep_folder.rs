//! `sim status`, `sim merge` and `sim rerun`: what is done with the folder of a sweep.

use super::in_words;
use super::sweep::{carry_on, counts, finish, judge, pool};
use crate::arguments::{MergeArguments, RerunArguments, StatusArguments};
use crate::failure::{Exit, Failure};
use crate::repeat;
use crate::terminal::{self, Look};
use crate::text;
use crate::wall;
use anyhow::Error;
use sim_lab::sweep::{self, MARKER, Outcome, Plan, Record, SHARDS, Shard, SweepError, SweepFolder};
use std::fs;
use std::path::{Path, PathBuf};

/// Most runs that are named.
const NAMED_MAX: usize = 20;

fn plan_of(folder: &Path) -> Result<Plan, Failure> {
    let file = folder.join(MARKER);
    if !file.is_file() {
        return Err(Failure::input(SweepError::NoSweep { path: folder.to_owned() }));
    }
    pool(None)?.install(|| Plan::load(&file)).map_err(Failure::input)
}

/// The folders of shards within this one, sorted.
fn shards_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join(SHARDS)).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.join(MARKER).is_file()).collect();
    found.sort();
    found
}

/// Says how far a sweep is.
pub(crate) fn status(asked: &StatusArguments) -> Result<(), Failure> {
    let folder = &asked.folder;
    let shards = shards_in(folder);
    let any = match folder.join(MARKER).is_file() {
        true => folder,
        false => shards.first().unwrap_or(folder),
    };
    let plan = plan_of(any)?;
    let look = Look::of_standard_output();
    let mut page = look.heading(&plan.sweep().title) + "\n";
    if folder.join(MARKER).is_file() {
        page += &status_of(&plan, folder, look)?;
    }
    for shard in &shards {
        page += &status_of(&plan, shard, look)?;
    }
    terminal::print(&page)
}

fn status_of(plan: &Plan, folder: &Path, look: Look) -> Result<String, Failure> {
    let shard = sweep::shard_of(folder).map_err(Failure::input)?;
    let of_shard = plan.of_shard(shard);
    let loaded = sweep::load(folder, plan);
    let records: Vec<Record> =
        of_shard.iter().filter_map(|run| loaded.records[*run].clone()).collect();
    let mut page = counts(plan, shard, of_shard.len(), &records, look);
    let line = |text: &str| text::wrap(text, look.columns, text::INDENT * 2, text::INDENT * 3);
    if loaded.damaged > 0 {
        page += &line(&format!("{} damaged", in_words(loaded.damaged, "record")));
    }
    let failures: Vec<usize> = of_shard
        .iter()
        .copied()
        .filter(|run| {
            loaded.records[*run].as_ref().is_some_and(|record| record.outcome.is_failure())
        })
        .collect();
    for run in failures.iter().take(NAMED_MAX) {
        let Some(Record { outcome, detail, .. }) = &loaded.records[*run] else { continue };
        page += &line(&look.bad(&format!("{} {}: {detail}", outcome.name(), plan.name(*run))));
        page += &format!(
            "{}{}\n",
            " ".repeat(text::INDENT * 3),
            repeat::command(plan.runs()[*run].spec())
        );
    }
    if failures.len() > NAMED_MAX {
        page += &line(&format!("and {} more", failures.len() - NAMED_MAX));
    }
    Ok(page)
}

/// Merges the folders of shards into one.
pub(crate) fn merge(asked: &MergeArguments) -> Result<(), Failure> {
    let mut shards = Vec::new();
    for folder in &asked.folders {
        let within = shards_in(folder);
        if within.is_empty() {
            shards.push(folder.clone());
        }
        shards.extend(within);
    }
    let out = match (&asked.out, &asked.folders[..]) {
        (Some(out), _) => out,
        (None, [one]) if shards != [one.clone()] => one,
        _ => {
            let message = "--out is missing: the folder of the whole";
            return Err(Failure::input(Error::msg(message)));
        }
    };
    let plan = plan_of(&shards[0])?;
    for shard in &shards {
        sweep::check_same(shard, &plan).map_err(Failure::input)?;
    }
    let folder = SweepFolder::open(out, &plan, Shard::ALL)
        .map_err(|error| Failure::input(Error::new(error).context("--out")))?;
    let (taken, took) = wall::timed(|| {
        shards.iter().map(|shard| folder.take_in(&plan, shard)).sum::<Result<usize, _>>()
    });
    let taken = taken.map_err(Failure::input)?;
    let loaded = finish(&plan, &folder, took)?;
    terminal::note(&format!("{} taken in", in_words(taken, "run")));
    let all = plan.of_shard(Shard::ALL);
    let missing = loaded.missing(&all);
    if let Some(first) = missing.first() {
        let message = format!(
            "{} of {} missing, first {}; sim sweep {} goes on with them",
            missing.len(),
            in_words(all.len(), "run"),
            plan.name(*first),
            repeat::quoted(&out.join(MARKER).to_string_lossy())
        );
        return Err(Failure::new(Exit::NotCarriedOut, Error::msg(message)));
    }
    judge(&plan, &loaded, &all)
}

/// Repeats the runs of a sweep that failed.
pub(crate) fn rerun(asked: &RerunArguments) -> Result<(), Failure> {
    let plan = plan_of(&asked.folder)?;
    let shard = sweep::shard_of(&asked.folder).map_err(Failure::input)?;
    let folder = SweepFolder::open(&asked.folder, &plan, shard).map_err(Failure::input)?;
    let loaded = sweep::load(folder.path(), &plan);
    let failures = Outcome::ALL.into_iter().filter(|outcome| outcome.is_failure());
    let failed: Vec<usize> = failures.flat_map(|outcome| loaded.ended(outcome)).collect();
    if failed.is_empty() {
        terminal::note("no run has failed");
    } else {
        folder.forget(&plan, &failed).map_err(|error| Failure::new(Exit::NotCarriedOut, error))?;
    }
    carry_on(&plan, &folder, usize::MAX, &pool(asked.threads)?)
}
