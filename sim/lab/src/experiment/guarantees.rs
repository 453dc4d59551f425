//! Guarantees: what engines declare, and what is observed of it under faults.
//!
//! Every variant (an engine with settings) goes through two campaigns of small runs ([`crate::explore`]) of the
//! same seeds: under faults of its budget, where what is promised has to hold, and under faults of any kind,
//! where nothing is promised. For each check the table counts the runs in which it was judged, and those in
//! which its rule was broken. So it says three things: whether promises are kept, whether what is not
//! promised really happens, and what the faults do that nobody promises to survive.

use super::matrix::{self, Matrix};
use super::runs;
use super::{Experiment, ExperimentOutcome, csv_of};
use crate::checks::{self, Verdict};
use crate::explore::{self, Campaign, Judgement};
use crate::figure::{MatrixCell, MatrixFigure, MatrixGroup, MatrixRow, Shade};
use crate::progress::Progress;
use crate::registry;
use crate::run::RunError;
use crate::spec::{RunSpec, SpecError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A study of guarantees, as its file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuaranteesExperiment {
    /// Its name.
    pub name: String,
    /// Stands over the figure.
    pub title: String,
    /// One line that says what it does.
    pub summary: String,
    /// The seeds of each campaign.
    #[serde(with = "matrix::seeds")]
    pub seeds: Vec<u64>,
    /// Engines and their settings.
    pub variants: Vec<Variant>,
    /// The checks.
    pub columns: Vec<CheckColumn>,
}

/// An engine with settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// The engine.
    pub engine: String,
    /// Its name in the table.
    pub label: String,
    /// Settings, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
}

/// A check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckColumn {
    /// Stands over the column.
    pub title: String,
    /// The name of the check.
    pub check: String,
}

impl Variant {
    fn campaign(&self, beyond_budget: bool) -> Campaign {
        Campaign {
            settings: matrix::settings_of(&self.engine, &self.settings),
            beyond_budget,
            // Other settings promise other things.
            vary_settings: false,
            ..Campaign::of(&self.engine)
        }
    }
}

/// How a check stood in the runs of a campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    judged: u64,
    /// Broken, and the run failed by it.
    failed: u64,
    /// Broken, and not promised in this run.
    observed: u64,
}

/// A study whose every campaign was checked.
#[derive(Clone, Debug)]
pub struct CheckedGuarantees {
    experiment: GuaranteesExperiment,
    campaigns: Vec<Campaign>,
    /// For each variant and column.
    promised: Vec<Vec<bool>>,
}

impl GuaranteesExperiment {
    /// What all runs have in common, in a few words.
    pub fn setup(&self) -> String {
        let (first, count) = matrix::span(&self.seeds);
        let last = first + count.saturating_sub(1);
        format!(
            "seeds {first} to {last} for each variant, once under faults of its budget and once under \
             any; workload and hosts drawn from the seed"
        )
    }

    /// Checks every campaign, and that everything that is named exists.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<CheckedGuarantees, SpecError> {
        let factors = [
            ("seeds", self.seeds.len()),
            ("variants", self.variants.len()),
            ("columns", self.columns.len()),
        ];
        runs::check_count(&self.name, &factors[1..])?;
        runs::check_count(&self.name, &[factors[0], ("campaigns of a variant", 2)])?;
        for column in &self.columns {
            if !checks::NAMES.contains(&column.check.as_str()) {
                return Err(SpecError::unknown("check", &column.check, checks::NAMES));
            }
        }
        let (mut campaigns, mut promised) = (Vec::new(), Vec::new());
        for variant in &self.variants {
            let engine = registry::engine(&variant.engine)?;
            let within = variant.campaign(false);
            let spec = RunSpec {
                engine: variant.engine.clone(),
                settings: within.settings.clone(),
                ..RunSpec::default()
            };
            let guarantees = engine.guarantees(spec.check()?.settings());
            let columns = self.columns.iter();
            promised.push(
                columns.map(|column| checks::is_promised(&guarantees, &column.check)).collect(),
            );
            campaigns.extend([within, variant.campaign(true)]);
        }
        Ok(CheckedGuarantees { experiment: self.clone(), campaigns, promised })
    }
}

impl CheckedGuarantees {
    /// How many runs there are.
    pub fn runs(&self) -> usize {
        self.campaigns.len() * self.experiment.seeds.len()
    }

    /// Carries out all runs on `threads` threads, or as many as there are cores. The outcome does
    /// not depend on their number.
    ///
    /// # Errors
    /// The error of the first run, in their order, that could not be carried out.
    ///
    /// # Panics
    /// If the system has no room for the threads.
    pub fn run(
        &self,
        threads: Option<usize>,
        progress: &Progress,
    ) -> Result<ExperimentOutcome, RunError> {
        let seeds = &self.experiment.seeds;
        let one = |index: usize| -> Result<Judgement, RunError> {
            let spec = self.campaigns[index / seeds.len()].draw(seeds[index % seeds.len()])?;
            let judgement = explore::judge(&spec)?;
            progress.complete_run();
            Ok(judgement)
        };
        let all: Vec<Result<Judgement, RunError>> = runs::pool(threads)
            .install(|| (0..self.runs()).into_par_iter().with_max_len(4).map(one).collect());
        let all: Vec<Judgement> = all.into_iter().collect::<Result<_, _>>()?;
        let matrix = self.matrix(&all);
        let conclusion = matrix.figure.caption.clone();
        Ok(matrix.outcome(Experiment::Guarantees(self.experiment.clone()), conclusion))
    }

    fn matrix(&self, all: &[Judgement]) -> Matrix {
        let GuaranteesExperiment { title, variants, columns, seeds, .. } = &self.experiment;
        let mut groups: Vec<MatrixGroup> = Vec::new();
        let mut lines = Vec::new();
        let mut misses = Vec::new();
        for ((variant, promised), runs) in
            variants.iter().zip(&self.promised).zip(all.chunks(2 * seeds.len()))
        {
            let (within, beyond) = runs.split_at(seeds.len());
            misses.extend(aborted(variant, runs));
            let mut cells = Vec::new();
            for (column, promised) in columns.iter().zip(promised) {
                let counts = [count(within, &column.check), count(beyond, &column.check)];
                cells.push(shown(*promised, counts));
                if counts[0].failed > 0 {
                    let Variant { engine, label, .. } = variant;
                    let broken = counts[0].failed;
                    misses.push(format!("{engine}, {label}: {} broken in {broken}", column.check));
                }
                for (faults, count) in ["in the budget", "any"].into_iter().zip(counts) {
                    lines.push(line(variant, &column.check, *promised, faults, seeds.len(), count));
                }
            }
            let row = MatrixRow { label: variant.label.clone(), cells };
            matrix::add_row(&mut groups, &variant.engine, row);
        }
        Matrix {
            csv: csv_of(HEADING, lines.into_iter()),
            files: BTreeMap::new(),
            runs: all.len() as u64,
            misses,
            figure: MatrixFigure {
                title: title.clone(),
                of: "variant".to_owned(),
                columns: columns.iter().map(|column| column.title.clone()).collect(),
                groups,
                shades: vec![
                    (Shade::Good, "promised, and kept".to_owned()),
                    (Shade::Plain, "not promised, and not seen broken".to_owned()),
                    (Shade::Notable, "not promised, and seen broken".to_owned()),
                    (Shade::Bad, "promised, and broken".to_owned()),
                ],
                caption: format!(
                    "Experiment {}: {}. In each cell: runs in which the rule was broken, of those in \
                     which it was judged; below, the same under faults that the engine does not promise to \
                     survive.",
                    self.experiment.name,
                    self.experiment.setup()
                ),
            },
        }
    }
}

const HEADING: [&str; 9] =
    ["engine", "variant", "check", "promised", "faults", "runs", "judged", "failed", "observed"];

fn line(
    variant: &Variant,
    check: &str,
    promised: bool,
    faults: &str,
    runs: usize,
    count: Count,
) -> [String; 9] {
    [
        variant.engine.clone(),
        variant.label.clone(),
        check.to_owned(),
        promised.to_string(),
        faults.to_owned(),
        runs.to_string(),
        count.judged.to_string(),
        count.failed.to_string(),
        count.observed.to_string(),
    ]
}

fn count(runs: &[Judgement], name: &str) -> Count {
    let mut count = Count::default();
    for check in runs.iter().flat_map(|run| &run.checks).filter(|check| check.name == name) {
        let broken = check.is_broken();
        count.judged += u64::from(broken || check.verdict == Verdict::Pass);
        count.failed += u64::from(check.verdict == Verdict::Fail);
        count.observed += u64::from(broken && check.verdict != Verdict::Fail);
    }
    count
}

/// Runs that broke off.
fn aborted(variant: &Variant, runs: &[Judgement]) -> Option<String> {
    let broken_off = |run: &&Judgement| run.checks.is_empty();
    let first = runs.iter().find(broken_off)?.failure.as_ref()?;
    let count = runs.iter().filter(broken_off).count();
    let Variant { engine, label, .. } = variant;
    let (check, detail) = (&first.check, &first.detail);
    Some(format!("{engine}, {label}: {count} runs broke off, first: {check}, {detail}"))
}

fn shown(promised: bool, [within, beyond]: [Count; 2]) -> MatrixCell {
    let broken = |count: Count| count.failed + count.observed;
    if within.judged + beyond.judged == 0 {
        return MatrixCell { text: String::new(), shade: Shade::Blank };
    }
    let shade = match (promised, within.failed, within.observed) {
        (_, 1.., _) => Shade::Bad,
        (_, 0, 1..) => Shade::Notable,
        (true, 0, 0) => Shade::Good,
        (false, 0, 0) => Shade::Plain,
    };
    let text = format!(
        "{} of {}\nany: {} of {}",
        broken(within),
        within.judged,
        broken(beyond),
        beyond.judged
    );
    MatrixCell { text, shade }
}

#[cfg(test)]
mod tests {
    use super::super::{ResultTable, named};
    use super::*;

    fn embedded() -> GuaranteesExperiment {
        match named("guarantees") {
            Ok(Experiment::Guarantees(experiment)) => experiment,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_engine_is_there() {
        let experiment = embedded();
        for engine in registry::engines() {
            let there = |variant: &Variant| variant.engine == engine.name();
            assert!(experiment.variants.iter().any(there), "{}", engine.name());
        }
        let mut unknown = embedded();
        unknown.columns[0].check = "exactly-once-step".to_owned();
        let told = unknown.check().expect_err("no such check").to_string();
        assert!(told.contains("exactly-once-steps"), "{told}");
    }

    #[test]
    fn shades_follow_what_was_promised_and_seen() {
        let of = |judged, failed, observed| Count { judged, failed, observed };
        let none = of(5, 0, 0);
        assert_eq!(shown(true, [none, of(5, 0, 3)]).shade, Shade::Good);
        assert_eq!(shown(false, [none, none]).shade, Shade::Plain);
        assert_eq!(shown(false, [of(5, 0, 1), none]).shade, Shade::Notable);
        assert_eq!(shown(true, [of(5, 2, 1), none]).shade, Shade::Bad);
        assert_eq!(shown(true, [of(5, 2, 1), none]).text, "3 of 5\nany: 0 of 5");
        assert_eq!(shown(true, [Count::default(); 2]).shade, Shade::Blank);
    }

    /// An engine that promises nothing of causes and effects shows it under faults of its budget; one that does
    /// keeps it.
    #[test]
    fn declared_and_observed_are_told_apart() {
        let mut study = embedded();
        study
            .variants
            .retain(|variant| variant.engine == "in-memory" || variant.label == "published order");
        study.columns.retain(|column| {
            ["causally-consistent-commit", "completion"].contains(&column.check.as_str())
        });
        study.seeds = (1..=24).collect();
        let outcome =
            study.check().expect("valid").run(Some(2), &Progress::default()).expect("a study");
        let ResultTable::Matrix(matrix) = &outcome.table else { panic!("{:?}", outcome.table) };
        assert_eq!(matrix.misses, Vec::<String>::new());
        let table = String::from_utf8(outcome.table_csv()).expect("text");
        let row = |begin: &str| {
            let line = table.lines().find(|line| line.starts_with(begin)).expect(begin);
            let numbers = line.split(',').skip(5).map(|number| number.parse().expect("a number"));
            numbers.collect::<Vec<u64>>()
        };
        assert_eq!(row("in-memory,in-memory,causally-consistent-commit,true,any"), [24, 24, 0, 0]);
        assert_eq!(row("in-memory,in-memory,completion,true,in the budget"), [24, 24, 0, 0]);
        let azure = "azure-storage,published order,causally-consistent-commit,false,in the budget";
        let [runs, judged, failed, observed] = row(azure)[..] else { panic!("{table}") };
        assert!((runs, judged, failed) == (24, 24, 0) && observed > 0, "{table}");
        let shades = matrix.figure.groups.iter().map(|group| group.rows[0].cells[0].shade);
        assert_eq!(shades.collect::<Vec<_>>(), [Shade::Notable, Shade::Good]);
    }
}
