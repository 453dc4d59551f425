//! `sim compare`: what is compared, on which engines; and with `--results`, whether all of them come
//! to the same final states. Without it, what the workloads cost is compared (`side_by_side.rs`).

use crate::arguments::CompareArguments;
use crate::crash;
use crate::failure::Failure;
use crate::repeat;
use crate::terminal::{self, Look};
use crate::text;
use crate::wall;
use sim_lab::compare::{Case, Comparison, ComparisonOutcome, Difference, EngineResult};
use sim_lab::registry::{self, REFERENCE};
use sim_lab::spec::{RunSpec, SpecError, WorkloadSpec};
use sim_lab::workload;

/// Narrower than this, columns that can be missed are left out.
const WIDE: usize = 60;
/// Stands for every engine or workload.
const ALL: &str = "all";

/// Carries out the comparison and prints it.
pub(crate) fn compare(asked: &CompareArguments) -> Result<(), Failure> {
    if !asked.folders.is_empty() {
        return super::contrast::contrast(asked);
    }
    if !asked.fail_if.is_empty() {
        let problem =
            "--fail-if: is a change between two results, expected their folders: sim compare A B";
        return Err(Failure::input(anyhow::Error::msg(problem)));
    }
    let comparison = comparison(asked)?;
    if !asked.results {
        return super::side_by_side::compare(asked, &comparison);
    }
    let checked = comparison.check()?;
    crash::remember(crash::Running {
        what: "a comparison of results".to_owned(),
        command: command(asked),
    });
    let (outcome, took) = wall::timed(|| {
        terminal::with_progress(checked.runs(), |progress| checked.run(asked.threads, progress))
    });
    let outcome = outcome?;
    if asked.json {
        terminal::print(&(outcome.to_json() + "\n"))?;
    } else {
        terminal::print(&page(&comparison, &outcome, Look::of_standard_output()))?;
        terminal::note(&format!("took {:.2} s", took.as_secs_f64()));
    }
    judge(&outcome)
}

fn comparison(asked: &CompareArguments) -> Result<Comparison, Failure> {
    let engines = engines(&asked.engine)?;
    let load = asked.load.as_deref().map(str::parse).transpose()?;
    let usual = RunSpec::default();
    let place = RunSpec {
        plan: asked.plan.clone().unwrap_or(usual.plan),
        hosts: asked.hosts.unwrap_or(usual.hosts),
        partitions: asked.partitions.unwrap_or(usual.partitions),
        profile: asked.profile.clone().unwrap_or(usual.profile),
        ..RunSpec::default()
    };
    let workloads = match asked.results || !asked.workload.is_empty() {
        true => workloads(&asked.workload)?,
        false => vec![RunSpec::default().workload],
    };
    Ok(Comparison { engines, workloads, seeds: asked.seeds(), load, place })
}

/// The engines by name, each once; none or `all` stands for every one.
fn engines(asked: &[String]) -> Result<Vec<String>, Failure> {
    let all = || registry::engines().into_iter().map(|engine| engine.name().to_owned());
    let mut names: Vec<String> = Vec::new();
    for name in asked.iter().flat_map(|names| names.split(',')) {
        let named: Vec<String> = match name {
            ALL => all().collect(),
            name => {
                registry::engine(name).map_err(SpecError::from)?;
                vec![name.to_owned()]
            }
        };
        for name in named {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(if names.is_empty() { all().collect() } else { names })
}

/// The workloads by name; none or `all` stands for every one that needs no file.
fn workloads(asked: &[String]) -> Result<Vec<WorkloadSpec>, Failure> {
    let mut workloads: Vec<WorkloadSpec> = Vec::new();
    for text in asked {
        if text == ALL {
            workloads.extend(every_workload()?);
        } else {
            workloads.push(text.parse()?);
        }
    }
    if asked.is_empty() {
        workloads = every_workload()?;
    }
    Ok(workloads)
}

fn every_workload() -> Result<Vec<WorkloadSpec>, Failure> {
    let needs_no_file =
        |kind: &&workload::WorkloadKind| kind.files.iter().all(|file| !file.required);
    let kinds = workload::kinds().iter().filter(needs_no_file);
    Ok(kinds.map(|kind| kind.name.parse()).collect::<Result<_, _>>()?)
}

/// The command that repeats the comparison.
pub(super) fn command(asked: &CompareArguments) -> String {
    let seeds: Vec<String> = asked.seeds().iter().map(u64::to_string).collect();
    let results = if asked.results { " --results" } else { "" };
    let mut words = vec![format!("sim compare{results} --seeds {}", seeds.join(","))];
    let flags = [
        ("load", asked.load.clone()),
        ("plan", asked.plan.clone()),
        ("hosts", asked.hosts.map(|hosts| hosts.to_string())),
        ("partitions", asked.partitions.map(|partitions| partitions.to_string())),
        ("profile", asked.profile.clone()),
    ];
    let engines = asked.engine.iter().map(|name| ("engine", Some(name.clone())));
    let workloads = asked.workload.iter().map(|name| ("workload", Some(name.clone())));
    for (flag, value) in engines.chain(workloads).chain(flags) {
        if let Some(value) = value {
            words.push(format!("--{flag} {}", repeat::quoted(&value)));
        }
    }
    words.join(" ")
}

fn page(comparison: &Comparison, outcome: &ComparisonOutcome, look: Look) -> String {
    let wrapped = |line: &str| text::wrap(line, look.columns, text::INDENT, text::INDENT);
    let place = &comparison.place;
    let mut page = look.heading(&format!("Final states compared with {REFERENCE}")) + "\n";
    page += &wrapped(&format!(
        "{}, {} each, {} {} {}, {}, profile {}",
        super::in_words(comparison.workloads.len(), "workload"),
        super::in_words(comparison.seeds.len(), "seed"),
        place.hosts,
        place.plan,
        if place.hosts == 1 { "host" } else { "hosts" },
        super::in_words(place.partitions as usize, "partition"),
        place.profile
    ));
    page += &format!("\n{}", table(outcome, look));
    if outcome.cases.iter().any(|case| !case.compared) {
        page += &wrapped(
            "not compared: these results may depend on timing, and the run's own checks are all \
             there is.",
        );
    }
    page += &section("Differences", &differences(outcome, look), look);
    page += &section("Not carried", &refusals(outcome, look), look);
    page += &section("Failed checks", &failed_checks(outcome, look), look);
    page + &format!("\n{}", wrapped(&sum(outcome)))
}

/// A heading over `body`, if there is one.
fn section(heading: &str, body: &str, look: Look) -> String {
    match body {
        "" => String::new(),
        body => format!("\n{}\n{body}", look.heading(heading)),
    }
}

fn differences(outcome: &ComparisonOutcome, look: Look) -> String {
    let mut text = String::new();
    for (case, result) in all_results(outcome) {
        let Some(Difference { of, expected, found }) = &result.difference else { continue };
        let place = format!("{}, seed {}, {}: {of}", case.workload, case.seed, result.engine);
        text += &text::wrap(&place, look.columns, text::INDENT, text::INDENT);
        for (whose, value) in [(REFERENCE, expected), (&result.engine, found)] {
            text += &text::wrap(&format!("{whose}: {value}"), look.columns, 4, 6);
        }
    }
    text
}

fn refusals(outcome: &ComparisonOutcome, look: Look) -> String {
    let mut text = String::new();
    for (case, result) in all_results(outcome) {
        if let Some(problem) = &result.refused {
            let line = format!("{}, {}: {problem}", case.workload, result.engine);
            let line = text::wrap(&line, look.columns, text::INDENT, text::INDENT);
            // Every seed is refused for the same reason.
            if !text.contains(&line) {
                text += &line;
            }
        }
    }
    text
}

fn failed_checks(outcome: &ComparisonOutcome, look: Look) -> String {
    let mut text = String::new();
    for (case, result) in all_results(outcome) {
        if !result.failed_checks.is_empty() {
            let (Case { workload, seed, .. }, engine) = (case, &result.engine);
            let checks = result.failed_checks.join(", ");
            let line = format!("{workload}, seed {seed}, {engine}: {checks}");
            text += &text::wrap(&line, look.columns, text::INDENT, text::INDENT);
        }
    }
    text
}

fn all_results(outcome: &ComparisonOutcome) -> impl Iterator<Item = (&Case, &EngineResult)> {
    outcome.cases.iter().flat_map(|case| case.engines.iter().map(move |result| (case, result)))
}

/// One row for each workload and seed, one column for each engine.
fn table(outcome: &ComparisonOutcome, look: Look) -> String {
    let engines = outcome.cases.first().map_or(&[][..], |case| &case.engines);
    let others = engines.iter().skip(1).map(|result| result.engine.as_str());
    let wide = look.columns >= WIDE;
    let fixed: &[&str] = if wide { &["workload", "seed", "states"] } else { &["workload", "seed"] };
    let heading: Vec<&str> = fixed.iter().copied().chain(others).collect();
    let rows: Vec<Vec<String>> = outcome
        .cases
        .iter()
        .map(|case| {
            let mut row = vec![shown(outcome, &case.workload), case.seed.to_string()];
            if wide {
                row.push((case.ended + case.entities).to_string());
            }
            let reference_failed = !case.engines[0].failed_checks.is_empty();
            let cells = case.engines.iter().skip(1).map(|result| {
                match (case.compared, result) {
                    (_, result) if result.refused.is_some() => "refused",
                    (_, result) if result.difference.is_some() => "DIFFERS",
                    (_, result) if !result.passed() || reference_failed => "FAILED",
                    (true, _) => "equal",
                    (false, _) => "not compared",
                }
                .to_owned()
            });
            row.extend(cells);
            row
        })
        .collect();
    text::table(&heading, &rows, 1, look.columns)
}

/// The name alone where that tells workloads apart.
fn shown(outcome: &ComparisonOutcome, workload: &str) -> String {
    let name = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
    let alike = |case: &&Case| name(&case.workload) == name(workload) && case.workload != workload;
    match outcome.cases.iter().find(alike) {
        Some(_) => workload.to_owned(),
        None => name(workload),
    }
}

fn sum(outcome: &ComparisonOutcome) -> String {
    let carried = |result: &&EngineResult| result.refused.is_none();
    let others = |case: &Case| case.engines.iter().skip(1).filter(carried).count();
    let compared: usize = outcome.cases.iter().filter(|case| case.compared).map(others).sum();
    let total: usize = outcome.cases.iter().map(others).sum();
    let differ = all_results(outcome).filter(|(_, result)| result.difference.is_some()).count();
    let mut text = format!("{} of {compared} compared runs are equal", compared - differ);
    if total > compared {
        text += &format!("; {} not compared", total - compared);
    }
    text + "."
}

fn judge(outcome: &ComparisonOutcome) -> Result<(), Failure> {
    let differ = all_results(outcome).find(|(_, result)| result.difference.is_some());
    if let Some((case, result)) = differ {
        let difference = result.difference.as_ref().expect("invariant: it was found by it");
        return Err(Failure::checks(format!(
            "results differ, first in {}, seed {}, {}: {}: {REFERENCE} has {}, {} has {}",
            case.workload,
            case.seed,
            result.engine,
            difference.of,
            difference.expected,
            result.engine,
            difference.found
        )));
    }
    let failed = all_results(outcome).find(|(_, result)| !result.failed_checks.is_empty());
    match failed {
        None => Ok(()),
        Some((case, result)) => Err(Failure::checks(format!(
            "checks failed, first in {}, seed {}, {}: {}",
            case.workload,
            case.seed,
            result.engine,
            result.failed_checks.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(engine: &str, difference: Option<Difference>, failed: &[&str]) -> EngineResult {
        EngineResult {
            engine: engine.to_owned(),
            results_digest: String::new(),
            refused: None,
            difference,
            failed_checks: failed.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn case(workload: &str, compared: bool, other: EngineResult) -> Case {
        Case {
            workload: workload.to_owned(),
            load: "batch:1".to_owned(),
            seed: 1,
            compared,
            ended: 10,
            entities: 2,
            engines: vec![result(REFERENCE, None, &[]), other],
        }
    }

    fn outcome() -> ComparisonOutcome {
        let difference = Difference {
            of: "entity @Account@1".to_owned(),
            expected: "no state".to_owned(),
            found: "a long state ".repeat(20),
        };
        ComparisonOutcome {
            reference: REFERENCE,
            passed: false,
            cases: vec![
                case("bank:accounts=4", true, result("netherite", None, &[])),
                case("store", true, result("netherite", Some(difference), &[])),
                case("periodic", true, result("netherite", None, &["completion"])),
                case("semaphore", false, result("netherite", None, &[])),
            ],
        }
    }

    fn comparison() -> Comparison {
        Comparison {
            engines: Vec::new(),
            workloads: every_workload().expect("valid names"),
            seeds: vec![1],
            load: None,
            place: RunSpec::default(),
        }
    }

    #[test]
    fn the_table_says_what_is_equal_and_what_is_not() {
        let text = page(&comparison(), &outcome(), Look::PIPED);
        for line in [
            "  workload   seed  states     netherite\n",
            "  bank          1      12         equal\n",
            "  store         1      12       DIFFERS\n",
            "  periodic      1      12        FAILED\n",
            "  semaphore     1      12  not compared\n",
            "Differences\n  store, seed 1, netherite: entity @Account@1\n    in-memory: no state\n",
            "Failed checks\n  periodic, seed 1, netherite: completion\n",
            "  2 of 3 compared runs are equal; 1 not compared.\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn it_keeps_to_the_columns_there_are() {
        for columns in [40, 60, 80] {
            let text = page(&comparison(), &outcome(), Look { columns, ..Look::PIPED });
            for line in text.lines() {
                assert!(line.chars().count() <= columns, "{columns}: {line:?}");
            }
        }
    }

    #[test]
    fn what_an_engine_refuses_is_no_failure() {
        let mut outcome = outcome();
        outcome.cases.truncate(1);
        let refused = Some("it has no entities".to_owned());
        outcome.cases[0].engines.push(EngineResult { refused, ..result("other", None, &[]) });
        let text = page(&comparison(), &outcome, Look::PIPED);
        for line in [
            "  bank         1      12      equal  refused\n",
            "\nNot carried\n  bank:accounts=4, other: it has no entities\n",
            "  1 of 1 compared runs are equal.\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert!(judge(&outcome).is_ok());
    }

    #[test]
    fn the_first_difference_is_the_error() {
        let error = judge(&outcome()).expect_err("one differs").to_string();
        let start = "results differ, first in store, seed 1, netherite: entity @Account@1: \
                     in-memory has no state, netherite has a long state";
        assert!(error.starts_with(start), "{error}");
        let mut failed = outcome();
        failed.cases.remove(1);
        let error = judge(&failed).expect_err("a check failed").to_string();
        assert_eq!(error, "checks failed, first in periodic, seed 1, netherite: completion");
        failed.cases.remove(1);
        assert!(judge(&failed).is_ok());
    }
}
