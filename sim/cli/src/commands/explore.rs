//! `sim explore`: a search for what engines do wrong under faults.

use super::{in_words, provenance};
use crate::arguments::ExploreArguments;
use crate::crash;
use crate::failure::{Exit, Failure};
use crate::repeat;
use crate::terminal::{self, Look};
use crate::text;
use crate::wall::{self, Deadline};
use anyhow::Error;
use sim_lab::explore::{self, Campaign, Finding, State};
use sim_lab::registry;
use sim_lab::results::{self, ResultsFolder};
use sim_lab::spec::{RunSpec, SpecError};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The file by which a folder of campaigns is known.
const MARKER: &str = "campaigns.csv";

/// Explores each engine in turn.
pub(crate) fn explore(asked: &ExploreArguments) -> Result<(), Failure> {
    let campaigns = campaigns(asked)?;
    let first_seed = asked.seed.unwrap_or(1);
    let folder = asked.out.as_deref().map(|out| ResultsFolder::check_for(out, MARKER)).transpose();
    let folder = folder.map_err(|error| Failure::input(Error::new(error).context("--out")))?;
    let mut states = Vec::new();
    for campaign in &campaigns {
        let path = asked.out.as_deref().map(|out| out.join(state_file(&campaign.engine)));
        states.push(match path.filter(|path| path.exists()) {
            Some(path) => State::load(&path, campaign, first_seed).map_err(Failure::input)?,
            None => State::new(campaign, first_seed),
        });
    }
    crash::are_findings();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(asked.threads.unwrap_or(0)).build();
    let pool = pool.map_err(|error| Failure::new(Exit::NotCarriedOut, error))?;
    let look = Look::of_standard_output();
    for index in 0..states.len() {
        let deadline = Deadline::after(asked.time);
        let begun = states[index].done;
        let mut state = states[index].clone();
        let write = |state: &State, took: Duration| match &folder {
            None => Ok(()),
            Some(folder) => {
                let mut all = states.clone();
                all[index] = state.clone();
                write(folder, &all, took)
            }
        };
        let (outcome, took) = wall::timed(|| {
            terminal::with_count(asked.runs.saturating_sub(begun), "runs", |count| {
                pool.install(|| {
                    explore::carry_on(&mut state, asked.runs, |state| -> Result<bool, Failure> {
                        count(state.done - begun);
                        write(state, Duration::ZERO)?;
                        Ok(!deadline.is_over())
                    })
                })
            })
        });
        outcome?;
        write(&state, took)?;
        terminal::print(&page(&state, asked.out.as_deref(), look))?;
        let per_second = (state.done - begun) as f64 / took.as_secs_f64().max(1e-9);
        terminal::note(&format!("took {:.1} s, {per_second:.0} runs a second", took.as_secs_f64()));
        states[index] = state;
    }
    let failed: u64 = states.iter().map(State::failed).sum();
    let runs: u64 = states.iter().map(|state| state.done).sum();
    match failed {
        0 => Ok(()),
        _ => Err(Failure::checks(format!("{failed} of {runs} runs failed"))),
    }
}

fn campaigns(asked: &ExploreArguments) -> Result<Vec<Campaign>, Failure> {
    let all: Vec<String> =
        registry::engines().iter().map(|engine| engine.name().to_owned()).collect();
    let mut names: Vec<String> = Vec::new();
    for given in asked.engine.iter().flat_map(|text| text.split(',')) {
        match given {
            "all" => names.extend(all.clone()),
            name => names.push(registry::engine(name).map_err(SpecError::from)?.name().to_owned()),
        }
    }
    if names.is_empty() {
        names.push(RunSpec::default().engine);
    }
    let mut seen = Vec::new();
    names.retain(|name| {
        !seen.contains(name) && {
            seen.push(name.clone());
            true
        }
    });
    let mut settings = RunSpec::default();
    for setting in &asked.settings {
        settings.set(setting)?;
    }
    let owner = |key: &str| key.split('.').next().unwrap_or_default().to_owned();
    if let Some(key) = settings.settings.keys().find(|key| !names.contains(&owner(key))) {
        let message =
            format!("setting {key:?} is of no engine that is explored ({})", names.join(", "));
        return Err(Failure::input(anyhow::anyhow!(message)));
    }
    let chaos = asked.chaos.as_deref().map(str::parse).transpose()?;
    let kinds = asked.kinds.as_deref().map(kinds);
    let mut campaigns = Vec::new();
    for engine in names {
        let own = settings.settings.iter().filter(|(key, _)| owner(key) == engine);
        let campaign = Campaign {
            settings: own.map(|(key, value)| (key.clone(), value.clone())).collect(),
            chaos,
            beyond_budget: asked.beyond_budget,
            kinds: kinds.clone(),
            strict: asked.strict.clone(),
            workload: asked.workload.clone(),
            vary_settings: !asked.fixed_settings,
            ..Campaign::of(&engine)
        };
        // What cannot be run at all is bad input, and says so before anything is run.
        campaign.check()?;
        let drawn = campaign.draw(asked.seed.unwrap_or(1))?;
        if kinds.as_ref().is_some_and(|kinds| !kinds.is_empty()) && drawn.faults.is_empty() {
            let message = format!(
                "--kinds: {} has none of them in its fault budget (sim faults --engine {})",
                campaign.engine, campaign.engine
            );
            return Err(Failure::input(anyhow::anyhow!(message)));
        }
        campaigns.push(campaign);
    }
    Ok(campaigns)
}

/// The kinds that a text names; none for `none`.
fn kinds(text: &str) -> Vec<String> {
    match text {
        "none" => Vec::new(),
        names => names.split(',').map(|name| name.trim().to_owned()).collect(),
    }
}

fn state_file(engine: &str) -> String {
    format!("{engine}.json")
}

fn found_file(engine: &str, finding: &Finding) -> String {
    format!("found-{engine}-{}-{}.toml", finding.check(), finding.seed)
}

fn write(folder: &ResultsFolder, states: &[State], took: Duration) -> Result<(), Failure> {
    let mut files = BTreeMap::new();
    let mut table = String::from("engine,runs,faults,failed,digest\n");
    for state in states {
        let engine = &state.campaign.engine;
        let State { done, faults, digest, .. } = state;
        table += &format!("{engine},{done},{faults},{},{digest}\n", state.failed());
        files.insert(state_file(engine), state.to_json().into_bytes());
        let mut coverage = String::from("mechanism,runs,times\n");
        for (name, reached) in &state.coverage.reached {
            coverage += &format!("{name},{},{}\n", reached.runs, reached.times);
        }
        files.insert(format!("{engine}-coverage.csv"), coverage.into_bytes());
        for finding in &state.findings {
            let file = finding.regression.to_toml().into_bytes();
            files.insert(found_file(engine, finding), file);
        }
    }
    files.insert(MARKER.to_owned(), table.into_bytes());
    results::write_files(folder, files, &provenance(took))
        .map_err(|error| Failure::new(Exit::NotCarriedOut, error))
}

fn page(state: &State, out: Option<&Path>, look: Look) -> String {
    let Campaign { engine, settings, .. } = &state.campaign;
    let line = |text: &str| text::wrap(text, look.columns, text::INDENT, text::INDENT + 2);
    let mut page = look.heading(&format!("Campaign on {engine}")) + "\n";
    let last = state.first_seed + state.done.saturating_sub(1);
    page += &line(&format!(
        "{} from seed {} to {last}, {}",
        in_words(state.done as usize, "run"),
        state.first_seed,
        in_words(state.faults as usize, "fault")
    ));
    if !settings.is_empty() {
        let settings: Vec<String> =
            settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        page += &line(&format!("set {}", settings.join(" ")));
    }
    let reached = state.coverage.reached.len();
    let unreached: Vec<&str> = state.coverage.unreached().collect();
    page += &line(&format!("{} of {reached} mechanisms reached", reached - unreached.len()));
    if !unreached.is_empty() {
        page += &line(&format!("never reached: {}", unreached.join(", ")));
    }
    page += &line(&format!("digest {}", state.digest));
    if state.failures.is_empty() {
        page += &format!("  {}\n", look.good("no run failed"));
    }
    for (check, count) in &state.failures {
        let count = in_words(*count as usize, "run");
        page += &format!("  {}\n", look.bad(&format!("{check} failed in {count}")));
    }
    for finding in &state.findings {
        page += &found(engine, finding, out, look);
    }
    page
}

fn found(engine: &str, finding: &Finding, out: Option<&Path>, look: Look) -> String {
    let explore::Finding { regression, seed, faults_before, attempts, .. } = finding;
    let left = regression.run.faults.len();
    let heading = format!(
        "Seed {seed}: {}, {faults_before} faults made {left} in {attempts} runs",
        regression.expect
    );
    let mut page = format!("\n{}\n", look.heading(&heading));
    page += &text::wrap(&regression.found, look.columns, text::INDENT, text::INDENT);
    for fault in &regression.run.faults {
        page += &format!("{}{fault}\n", " ".repeat(text::INDENT * 2));
    }
    match out {
        Some(out) => {
            let file = out.join(found_file(engine, finding));
            page + &format!("  sim replay {}\n", repeat::quoted(&file.to_string_lossy()))
        }
        None => page + &repeat::command_lines(&regression.run, look.columns, text::INDENT),
    }
}
