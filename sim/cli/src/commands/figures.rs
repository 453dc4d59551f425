//! `sim figure --all`: every figure rebuilt, and the claims about them.

use super::figure::{check_folder, default_folder, write};
use super::in_words;
use crate::arguments::FigureArguments;
use crate::crash;
use crate::failure::{Exit, Failure};
use crate::terminal::{self, Look};
use crate::text;
use crate::wall;
use anyhow::Error;
use sim_lab::claims::{self, ClaimVerdict, JudgedClaim};
use sim_lab::experiment::{self, CheckedExperiment, Experiment, ExperimentOutcome};
use sim_lab::results::{self, ResultsFolder};
use std::path::Path;
use std::time::Duration;

/// The file of the judged claims.
const CLAIMS: &str = "claims.csv";

/// A figure that is asked for.
struct Asked {
    name: String,
    checked: CheckedExperiment,
    folder: ResultsFolder,
}

/// Rebuilds every figure, judges the claims and prints them.
pub(super) fn figures(asked: &FigureArguments) -> Result<(), Failure> {
    let out = asked.out.clone().unwrap_or_else(default_folder);
    // Everything is checked before the first run: nobody waits an hour for a folder that does not fit.
    let all: Result<Vec<Asked>, Failure> = experiment::all()
        .into_iter()
        .map(|experiment| checked(experiment, asked.quick, &out))
        .collect();
    let mut all = all?;
    // Those that look at others come after them.
    all.sort_by_key(|asked| matches!(asked.checked, CheckedExperiment::Validation(_)));
    let (outcomes, took) = wall::timed(|| carry_out(&all, asked));
    let outcomes = outcomes?;
    let judged: Vec<JudgedClaim> = claims::all()
        .iter()
        .filter_map(|claim| {
            let of = outcomes.iter().find(|outcome| outcome.experiment.name() == claim.figure);
            of.map(|outcome| claim.judge(outcome))
        })
        .collect();
    let path = out.join(CLAIMS);
    results::replace_file(&path, &claims::csv(&judged))
        .map_err(|error| Failure::new(Exit::NotCarriedOut, error))?;
    terminal::print(&page(&judged, outcomes.len(), Look::of_standard_output()))?;
    terminal::note(&format!("wrote {}", path.display()));
    terminal::note(&format!("took {:.0} s", took.as_secs_f64()));
    judge(&judged)
}

fn checked(mut experiment: Experiment, quick: bool, out: &Path) -> Result<Asked, Failure> {
    if quick {
        experiment.make_quick();
    }
    let name = experiment.name().to_owned();
    let folder = check_folder(&out.join(&name))?;
    Ok(Asked { checked: experiment.check()?, name, folder })
}

fn carry_out(all: &[Asked], asked: &FigureArguments) -> Result<Vec<ExperimentOutcome>, Failure> {
    let mut done: Vec<ExperimentOutcome> = Vec::new();
    for (index, Asked { name, checked, folder }) in all.iter().enumerate() {
        let quick = if asked.quick { " --quick" } else { "" };
        let command = format!("sim figure {name}{quick}");
        crash::remember(crash::Running { what: format!("figure {name}"), command });
        let (outcome, took) = wall::timed(|| {
            terminal::with_progress(checked.runs(), |progress| {
                checked.run_after(asked.threads, progress, &done)
            })
        });
        let outcome = outcome.map_err(Error::from).map_err(|error| {
            Failure::new(Exit::NotCarriedOut, error.context(format!("figure {name}")))
        })?;
        write(&outcome, folder, took)?;
        terminal::note(&progress_line(index + 1, all.len(), name, &outcome, took));
        done.push(outcome);
    }
    Ok(done)
}

fn progress_line(
    number: usize,
    of: usize,
    name: &str,
    outcome: &ExperimentOutcome,
    took: Duration,
) -> String {
    let runs = in_words(outcome.carried_out() as usize, "run");
    format!("[{number}/{of}] {name}: {runs}, {:.1} s", took.as_secs_f64())
}

fn page(judged: &[JudgedClaim], figures: usize, look: Look) -> String {
    let mut page = look.heading("Claims") + "\n";
    let rows: Vec<Vec<String>> = judged
        .iter()
        .map(|judged| {
            let what = format!("{}: {}", judged.claim.figure, judged.claim.says);
            let (expected, obtained) = (judged.expected.clone(), judged.obtained.clone());
            let verdict = judged.verdict.as_str().to_owned();
            vec![what, expected, obtained, judged.tolerance.clone(), verdict]
        })
        .collect();
    let heading = ["", "expected", "obtained", "tolerance", ""];
    page += &text::table(&heading, &rows, 1, look.columns);
    let known: Vec<&JudgedClaim> =
        judged.iter().filter(|judged| judged.verdict == ClaimVerdict::KnownMiss).collect();
    if !known.is_empty() {
        page += &format!("\n{}\n", look.heading("Known misses"));
    }
    for judged in known {
        let because = judged.claim.because.as_deref().unwrap_or_default();
        let line = format!("{}: {}: {because}", judged.claim.figure, judged.claim.says);
        page += &text::wrap(&line, look.columns, text::INDENT, text::INDENT * 2);
    }
    let count = |verdict| judged.iter().filter(|judged| judged.verdict == verdict).count();
    page + &format!(
        "\n{}, {}: {} met, {} missed and known, {} missed\n",
        in_words(figures, "figure"),
        in_words(judged.len(), "claim"),
        count(ClaimVerdict::Pass),
        count(ClaimVerdict::KnownMiss),
        count(ClaimVerdict::Miss)
    )
}

fn judge(judged: &[JudgedClaim]) -> Result<(), Failure> {
    let mut missed = judged.iter().filter(|judged| judged.verdict == ClaimVerdict::Miss);
    let Some(first) = missed.next() else { return Ok(()) };
    let rest = match missed.count() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    Err(Failure::checks(format!(
        "missed: {}: {}: {} expected, {} obtained{rest}",
        first.claim.figure, first.claim.says, first.expected, first.obtained
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_lab::claims::{Claim, Judged};

    fn judged(verdict: ClaimVerdict) -> JudgedClaim {
        let because = (verdict == ClaimVerdict::KnownMiss).then(|| "it is far".to_owned());
        let (figure, says) = ("maxima".to_owned(), "all agree".to_owned());
        JudgedClaim {
            claim: Claim { figure, says, because, judged: Judged::Sound },
            expected: "0 unsound".to_owned(),
            obtained: "2 of 12".to_owned(),
            tolerance: "exact".to_owned(),
            verdict,
        }
    }

    #[test]
    fn misses_are_told_apart_by_whether_they_are_known() {
        let all = [ClaimVerdict::Pass, ClaimVerdict::KnownMiss, ClaimVerdict::Miss].map(judged);
        let page = page(&all, 1, Look::PIPED);
        assert!(page.contains("Known misses\n  maxima: all agree: it is far\n"), "{page}");
        assert!(page.contains("1 figure, 3 claims: 1 met, 1 missed and known, 1 missed"), "{page}");
        let failure = judge(&all).expect_err("one is missed").to_string();
        assert_eq!(failure, "missed: maxima: all agree: 0 unsound expected, 2 of 12 obtained");
        assert!(judge(&all[..2]).is_ok());
    }
}
