//! What campaigns find: every mutant is told from its engine, and the copy without a mutant is not.
//!
//! For each mutant a campaign goes through seeds from 1 until one fails, at most [`SEEDS_MAX`]. The same
//! seeds pass with the copy as no mutant, which is what the engine itself does, bit for bit. What was found,
//! by which seed and by which check, is compared with the committed table.

use rayon::prelude::*;
use sim_lab::explore::{self, Campaign, Failure, Judgement};
use sim_lab::registry::Engines;
use sim_mutants::{MUTANTS, Mutant};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The most seeds that it may take to find a mutant.
const SEEDS_MAX: u64 = 500;
/// Seeds of each campaign whose digests are compared with those of the engine itself.
const SEEDS_COMPARED: u64 = 6;
/// The command that renews the table, as `results/mutants/README.md` has it.
const RENEW: &str = "cargo test -p sim-mutants --test campaigns -- --ignored renew";

/// What a campaign came to.
#[derive(Debug)]
struct Found {
    mutant: &'static Mutant,
    first: Option<(u64, Failure)>,
}

fn table() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results/mutants/table.csv")
}

/// The campaigns of all mutants, side by side.
fn campaigns() -> Vec<Found> {
    let find = |mutant: &'static Mutant| {
        let (engines, campaign) = (mutant.engines(), mutant.campaign());
        let first = explore::first_failure_with(&engines, &campaign, 1, SEEDS_MAX);
        let first = first.unwrap_or_else(|error| panic!("{}: {error}", mutant.name));
        Found { mutant, first: first.map(|first| (first.spec.seed, first.failure)) }
    };
    MUTANTS.par_iter().with_max_len(1).map(find).collect()
}

fn csv_of(found: &[Found]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = |row: [&str; 6]| writer.write_record(row).expect("memory takes it");
    write(["engine", "mutant", "breaks", "settings", "seeds", "check"]);
    for Found { mutant, first } in found {
        let settings = mutant.settings.join(" ");
        let (seed, check) = match first {
            Some((seed, failure)) => (seed.to_string(), failure.check.as_str()),
            None => (format!("over {SEEDS_MAX}"), "none"),
        };
        write([mutant.engine, mutant.name, mutant.breaks, &settings, &seed, check]);
    }
    let bytes = writer.into_inner().expect("memory takes it");
    String::from_utf8(bytes).expect("text in, text out")
}

#[test]
fn every_mutant_is_found_as_the_table_says() {
    let found = campaigns();
    let (now, before) = (csv_of(&found), fs::read_to_string(table()).unwrap_or_default());
    let missed: Vec<&str> =
        found.iter().filter(|found| found.first.is_none()).map(|found| found.mutant.name).collect();
    assert!(missed.is_empty(), "not found within {SEEDS_MAX} seeds: {missed:?}");
    let news: Vec<&str> = now.lines().filter(|line| !before.contains(line)).collect();
    assert!(
        now == before,
        "results/mutants/table.csv says otherwise:\n{}\nIf that is right, renew it with\n{RENEW}",
        news.join("\n")
    );
}

#[test]
#[ignore = "writes results/mutants/table.csv"]
fn renew() {
    fs::write(table(), csv_of(&campaigns())).expect("the table can be written");
}

/// The campaigns that there are, and up to which seed the table has gone through them.
fn seeds_of_campaigns() -> BTreeMap<(&'static str, &'static [&'static str]), u64> {
    let text = fs::read_to_string(table()).expect("the table is there");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows = reader.records().map(|row| row.expect("a table"));
    let seeds: BTreeMap<String, u64> =
        rows.map(|row| (row[1].to_owned(), row[4].parse().expect("a number of seeds"))).collect();
    let mut campaigns = BTreeMap::new();
    for mutant in MUTANTS {
        let most = campaigns.entry((mutant.engine, mutant.settings)).or_default();
        *most = seeds.get(mutant.name).copied().unwrap_or_default().max(*most);
    }
    campaigns
}

fn run_of(engines: &Engines, campaign: &Campaign, seed: u64) -> Judgement {
    let spec = campaign.draw_with(engines, seed).expect("it can be drawn");
    explore::judge_with(engines, &spec, &campaign.strict).expect("it can be run")
}

#[test]
fn without_a_mutant_the_same_seeds_pass_and_are_runs_of_the_engine_itself() {
    let campaigns = seeds_of_campaigns();
    let seeds: Vec<(&Mutant, u64)> = campaigns
        .iter()
        .flat_map(|((engine, settings), most)| {
            let of = |mutant: &&Mutant| (mutant.engine, mutant.settings) == (*engine, *settings);
            let mutant = MUTANTS.iter().find(of).expect("it is of a mutant");
            (1..=*most).map(move |seed| (mutant, seed))
        })
        .collect();
    let wrong = |(mutant, seed): &(&Mutant, u64)| {
        let (engine, campaign) = (mutant.engine, mutant.campaign());
        let copy = run_of(&sim_mutants::engines(engine, None), &campaign, *seed);
        let differs =
            *seed <= SEEDS_COMPARED && copy != run_of(&Engines::built_in(), &campaign, *seed);
        let settings = mutant.settings;
        (copy.failure.is_some() || differs).then(|| {
            let failure = copy.failure.map(|failure| format!("{failure:?}"));
            format!(
                "{engine} {settings:?} seed {seed}: {}",
                failure.unwrap_or("another run".to_owned())
            )
        })
    };
    let wrong: Vec<String> = seeds.par_iter().with_max_len(1).filter_map(wrong).collect();
    assert!(wrong.is_empty(), "the copies without a mutant:\n{}", wrong.join("\n"));
}

#[test]
fn there_are_mutants_of_several_engines_and_no_two_of_one_name() {
    let names: BTreeSet<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
    assert_eq!(names.len(), MUTANTS.len());
    let engines: BTreeSet<&str> = MUTANTS.iter().map(|mutant| mutant.engine).collect();
    assert!(MUTANTS.len() >= 40 && engines.len() >= 5, "{engines:?}: {names:?}");
}
