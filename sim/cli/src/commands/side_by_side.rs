//! `sim compare`: what the same workloads cost on several engines.

use super::{in_words, provenance};
use crate::arguments::CompareArguments;
use crate::crash;
use crate::failure::{Exit, Failure};
use crate::terminal::{self, Look};
use crate::text;
use crate::wall;
use anyhow::Error;
use sim_lab::compare::Comparison;
use sim_lab::results::{self, ResultsFolder};
use sim_lab::side_by_side::{EngineRow, Group, MARKER, Measured, SideBySideOutcome};

/// Carries out the comparison, writes its files if asked, and prints it.
pub(crate) fn compare(asked: &CompareArguments, comparison: &Comparison) -> Result<(), Failure> {
    let checked = comparison.check_side_by_side()?;
    let check = |out: &std::path::PathBuf| ResultsFolder::check_for(out, MARKER);
    let folder = asked.out.as_ref().map(check).transpose();
    let folder = folder.map_err(|error| Failure::input(Error::new(error).context("--out")))?;
    crash::remember(crash::Running {
        what: "a comparison of engines".to_owned(),
        command: super::compare::command(asked),
    });
    let (outcome, took) = wall::timed(|| {
        terminal::with_progress(checked.runs(), |progress| checked.run(asked.threads, progress))
    });
    let outcome = outcome?;
    let mut written = Vec::new();
    if let (Some(folder), Some(out)) = (folder, &asked.out) {
        let not_carried_out = |error: Error| Failure::new(Exit::NotCarriedOut, error);
        let files = outcome.files().map_err(|error| not_carried_out(error.into()))?;
        written = files.keys().map(|file| out.join(file)).collect();
        results::write_files(&folder, files, &provenance(took))
            .map_err(|error| not_carried_out(error.into()))?;
    }
    match asked.json {
        true => terminal::print(&(outcome.to_json() + "\n"))?,
        false => terminal::print(&page(comparison, &outcome, Look::of_standard_output()))?,
    }
    if !asked.json {
        for file in written {
            terminal::note(&format!("wrote {}", file.display()));
        }
        terminal::note(&format!("took {:.2} s", took.as_secs_f64()));
    }
    judge(&outcome)
}

/// Columns of the table besides the name of the engine.
const COLUMNS: [&str; 8] = ["per s", "p50", "p95", "p99", "ops", "kB", "$/M", "checks"];

fn page(comparison: &Comparison, outcome: &SideBySideOutcome, look: Look) -> String {
    let wrapped = |line: &str| text::wrap(line, look.columns, text::INDENT, text::INDENT);
    let place = &comparison.place;
    let mut page = look.heading("Engines side by side") + "\n";
    page += &wrapped(&format!(
        "{}, {}, {} {} {}, {}, profile {}",
        in_words(comparison.engines.len(), "engine"),
        seeds(&comparison.seeds),
        place.hosts,
        place.plan,
        if place.hosts == 1 { "host" } else { "hosts" },
        in_words(place.partitions as usize, "partition"),
        place.profile
    ));
    for group in &outcome.groups {
        let heading = format!("{}, load {}", group.workload, group.load);
        let heading = text::wrap(&breakable(&heading, look.columns), look.columns, 0, 0);
        page += &format!("\n{}\n{}", look.heading(heading.trim_end()), table(group, look));
    }
    page += &format!("\n{}", wrapped(&meaning(outcome)));
    page += &section("Not carried", &refusals(outcome, look), look);
    page + &section("Failed checks", &failed_checks(outcome, look), look)
}

/// The text, which may be broken after each comma if it has a word that is longer than a line.
fn breakable(text: &str, columns: usize) -> String {
    let room = columns - 2 * text::INDENT;
    match text.split_whitespace().any(|word| word.chars().count() > room) {
        true => text.replace(',', ", "),
        false => text.to_owned(),
    }
}

fn seeds(seeds: &[u64]) -> String {
    match seeds {
        [only] => format!("seed {only}"),
        [first, .., last] if seeds.windows(2).all(|pair| pair[1] == pair[0] + 1) => {
            format!("seeds {first} to {last}")
        }
        _ => {
            let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
            format!("seeds {}", seeds.join(", "))
        }
    }
}

/// What the columns mean.
fn meaning(outcome: &SideBySideOutcome) -> String {
    let jobs = |jobs: bool| outcome.groups.iter().any(|group| group.jobs == jobs);
    let units = units(outcome);
    let each = match (jobs(false), jobs(true)) {
        (false, true) => "job",
        (true, true) => "orchestration or job",
        _ => "orchestration",
    };
    let of_jobs = match jobs(true) {
        true => ", of a job the duration that its benchmark defines",
        false => "",
    };
    let observed = |row: &EngineRow| row.measured.as_ref().map(verdict) == Some("observed");
    let observed = match all_rows(outcome).any(|(_, row)| observed(row)) {
        true => " observed: a breach of something that the engine does not promise.",
        false => "",
    };
    format!(
        "per s: {units} a second. p50, p95, p99: latency in ms as the engine reports it{of_jobs}. ops, \
         kB: storage and event operations, and what they carry, for each completed {each}. $/M: \
         US dollars for a million of them.{observed}"
    )
}

/// What throughput counts: `orchestrations`, or `orchestrations (bank, hello), events (ingestion)`.
fn units(outcome: &SideBySideOutcome) -> String {
    let mut units: Vec<(&str, Vec<&str>)> = Vec::new();
    // A workload that no engine carries counts nothing.
    for group in outcome.groups.iter().filter(|group| !group.unit.is_empty()) {
        let name = group.workload.split(':').next().unwrap_or_default();
        match units.iter_mut().find(|(unit, _)| *unit == group.unit) {
            Some((_, names)) if names.contains(&name) => {}
            Some((_, names)) => names.push(name),
            None => units.push((&group.unit, vec![name])),
        }
    }
    if let [(only, _)] = &units[..] {
        return (*only).to_owned();
    }
    let shown = units.iter().map(|(unit, names)| format!("{unit} ({})", names.join(", ")));
    shown.collect::<Vec<_>>().join(", ")
}

/// One row for each engine; below each other where that is too wide.
fn table(group: &Group, look: Look) -> String {
    let heading: Vec<&str> = std::iter::once("").chain(COLUMNS).collect();
    let row = |row: &EngineRow| {
        let mut cells = vec![row.engine.clone()];
        cells.extend(cells_of(row));
        cells
    };
    let rows: Vec<Vec<String>> = group.engines.iter().map(row).collect();
    let wide = text::table(&heading, &rows, 1, usize::from(u16::MAX));
    if wide.lines().all(|line| line.chars().count() <= look.columns) {
        return wide;
    }
    let mut page = String::new();
    for row in &group.engines {
        page += &text::wrap(&row.engine, look.columns, text::INDENT, text::INDENT);
        let named = COLUMNS.iter().zip(cells_of(row));
        let rows: Vec<Vec<String>> =
            named.map(|(name, cell)| vec![format!("  {name}"), cell]).collect();
        page += &text::table(&["", ""], &rows, 1, look.columns);
    }
    page
}

fn cells_of(row: &EngineRow) -> [String; 8] {
    let Some(measured) = &row.measured else {
        return std::array::from_fn(|column| if column == 7 { "refused" } else { "-" }.to_owned());
    };
    let Measured { latency_ms, operations_each, kilobytes_each, usd_per_million, .. } = measured;
    let numbers = [
        measured.throughput_per_s,
        latency_ms.p50,
        latency_ms.p95,
        latency_ms.p99,
        *operations_each,
        *kilobytes_each,
        *usd_per_million,
    ];
    let [per_s, p50, p95, p99, operations, kilobytes, usd] = numbers.map(significant);
    [per_s, p50, p95, p99, operations, kilobytes, usd, verdict(measured).to_owned()]
}

fn verdict(measured: &Measured) -> &'static str {
    match (measured.failed_checks.is_empty(), measured.observed_checks.is_empty()) {
        (false, _) => "FAIL",
        (true, false) => "observed",
        (true, true) => "pass",
    }
}

/// A number with three digits that count, or all before the point.
pub(super) fn significant(value: Option<f64>) -> String {
    let digits = match value.map(f64::abs) {
        Some(value) if value >= 99.95 => 0,
        Some(value) if value >= 9.995 => 1,
        Some(value) if value >= 0.9995 => 2,
        Some(0.0) => 0,
        _ => 3,
    };
    text::number(value, digits)
}

/// A heading over `body`, if there is one.
fn section(heading: &str, body: &str, look: Look) -> String {
    match body {
        "" => String::new(),
        body => format!("\n{}\n{body}", look.heading(heading)),
    }
}

fn all_rows(outcome: &SideBySideOutcome) -> impl Iterator<Item = (&Group, &EngineRow)> {
    outcome.groups.iter().flat_map(|group| group.engines.iter().map(move |row| (group, row)))
}

fn refusals(outcome: &SideBySideOutcome, look: Look) -> String {
    let mut text = String::new();
    for (group, row) in all_rows(outcome) {
        if let Some(problem) = &row.refused {
            let line = format!("{} on {}: {problem}", group.workload, row.engine);
            let line = breakable(&line, look.columns);
            text += &text::wrap(&line, look.columns, text::INDENT, text::INDENT);
        }
    }
    text
}

fn failed_checks(outcome: &SideBySideOutcome, look: Look) -> String {
    let mut text = String::new();
    for run in outcome.runs.iter().filter(|run| !run.failed_checks.is_empty()) {
        let checks = run.failed_checks.join(", ");
        let line = format!("{} on {}, seed {}: {checks}", run.workload, run.engine, run.seed);
        let line = breakable(&line, look.columns);
        text += &text::wrap(&line, look.columns, text::INDENT, text::INDENT);
    }
    text
}

fn judge(outcome: &SideBySideOutcome) -> Result<(), Failure> {
    let failed = |run: &&sim_lab::side_by_side::SideRun| !run.failed_checks.is_empty();
    match outcome.runs.iter().find(failed) {
        None => Ok(()),
        Some(first) => Err(Failure::checks(format!(
            "checks failed in {} of {}, first in {} on {}, seed {}: {}",
            outcome.runs.iter().filter(failed).count(),
            in_words(outcome.runs.len(), "run"),
            first.workload,
            first.engine,
            first.seed,
            first.failed_checks.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_lab::progress::Progress;
    use sim_lab::spec::RunSpec;

    fn comparison(workloads: &[&str], partitions: u32) -> Comparison {
        let workload = |text: &&str| text.parse().expect("a workload");
        Comparison {
            engines: ["azure-storage", "in-memory", "netherite"].map(str::to_owned).to_vec(),
            workloads: workloads.iter().map(workload).collect(),
            seeds: vec![1, 2],
            load: Some("batch:3".parse().expect("a load")),
            place: RunSpec { partitions, ..RunSpec::default() },
        }
    }

    fn outcome(comparison: &Comparison) -> SideBySideOutcome {
        let checked = comparison.check_side_by_side().expect("valid");
        checked.run(Some(1), &Progress::default()).expect("carried out")
    }

    #[test]
    fn it_keeps_to_the_columns_there_are() {
        let comparison = comparison(&["hello:length=1", "ingestion:triggers=2,events=3"], 20);
        let outcome = outcome(&comparison);
        for columns in [40, 60, 80, 100] {
            let text = page(&comparison, &outcome, Look { columns, ..Look::PIPED });
            for line in text.lines() {
                assert!(line.chars().count() <= columns, "{columns}: {line:?}");
                assert_eq!(line.trim_end(), line, "{columns}");
            }
            let units = ["orchestrations", "(hello),", "events", "(ingestion)"];
            for words in ["azure-storage", "netherite", "refused", "20"].iter().chain(&units) {
                assert!(text.contains(words), "{columns}: {words}: {text}");
            }
        }
    }

    #[test]
    fn failed_checks_are_told_and_are_the_error() {
        let comparison = comparison(&["hello:length=1"], 4);
        let mut outcome = outcome(&comparison);
        assert!(judge(&outcome).is_ok());
        outcome.runs[3].failed_checks.push("results".to_owned());
        let measured = outcome.groups[0].engines[1].measured.as_mut().expect("carried");
        measured.failed_checks.insert("results".to_owned());
        let text = page(&comparison, &outcome, Look::PIPED);
        assert!(text.contains("\nFailed checks\n  hello:length=1 on in-memory, seed 2: results\n"));
        assert!(text.contains("FAIL"), "{text}");
        let error = judge(&outcome).expect_err("one failed").to_string();
        let expected = "checks failed in 1 of 6 runs, first in hello:length=1 on in-memory, seed 2: \
                        results";
        assert_eq!(error, expected);
    }

    #[test]
    fn three_digits_count() {
        let shown =
            [Some(0.0), Some(0.01234), Some(1.234), Some(99.94), Some(99.96), Some(12345.6)];
        let expected = ["0", "0.012", "1.23", "99.9", "100", "12346"];
        assert_eq!(shown.map(significant), expected);
        assert_eq!(significant(None), "-");
    }

    #[test]
    fn seeds_are_told_shortly() {
        assert_eq!(seeds(&[7]), "seed 7");
        assert_eq!(seeds(&[1, 2, 3]), "seeds 1 to 3");
        assert_eq!(seeds(&[1, 5, 9]), "seeds 1, 5, 9");
    }
}
