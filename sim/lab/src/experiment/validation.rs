//! Validation: everything that was measured of the real systems and simulated, on one plot.
//!
//! A validation has no runs of its own: it carries out other experiments, all whose tables compare with
//! measurements, and sets each of their comparisons down as one mark. Its table is that of all
//! comparisons, with the experiment each is of; its conclusion the median factor between simulated and
//! measured, and how many lie within a factor of two. A factor is how many times too high or too low;
//! equal numbers have a factor of 1.

use super::{CheckedExperiment, Experiment, ExperimentOutcome, ResultTable, Row, RunRow, Unit};
use crate::figure::{Figure, ScatterFigure, ScatterMarks};
use crate::measure::round;
use crate::progress::Progress;
use crate::run::RunError;
use crate::spec::SpecError;
use serde::{Deserialize, Serialize};

/// A validation, as its file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationExperiment {
    /// Its name.
    pub name: String,
    /// Stands over the figure.
    pub title: String,
    /// One line that says what it does.
    pub summary: String,
    /// What a reader has to know, at the end of the caption.
    pub remark: String,
    /// The experiments whose comparisons are taken, by name.
    pub of: Vec<String>,
    /// Seeds of all their runs, if not those that each has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
}

impl ValidationExperiment {
    /// What all runs have in common, in a few words.
    pub fn setup(&self) -> String {
        format!("the comparisons of {}", self.of.join(", "))
    }

    /// The experiments whose comparisons are taken.
    fn parts(&self) -> Result<Vec<Experiment>, SpecError> {
        let part = |name: &String| {
            let mut part = super::named(name)?;
            if !self.seeds.is_empty() {
                part.set_seeds(self.seeds.clone());
            }
            Ok(part)
        };
        self.of.iter().map(part).collect()
    }

    /// Checks every run, and that everything that is named exists.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<CheckedValidation, SpecError> {
        if self.of.is_empty() {
            let place = format!("experiment {}: of", self.name);
            return Err(SpecError::bad(place, "none", "at least one experiment"));
        }
        let mut parts = Vec::new();
        for part in self.parts()? {
            if part.series().is_none() {
                let place = format!("experiment {}: of", self.name);
                let expected = "experiments whose tables compare with measurements";
                return Err(SpecError::bad(place, part.name(), expected));
            }
            parts.push(part.check()?);
        }
        Ok(CheckedValidation { experiment: self.clone(), parts })
    }
}

/// A validation whose every run was checked.
#[derive(Clone, Debug)]
pub struct CheckedValidation {
    experiment: ValidationExperiment,
    parts: Vec<CheckedExperiment>,
}

/// A comparison, the experiment it is of, and its engine.
#[derive(Clone, Debug, PartialEq)]
struct Comparison {
    experiment: String,
    engine: String,
    row: Row,
}

impl Comparison {
    /// How many times too high or too low.
    fn factor(&self) -> Option<f64> {
        let ratio = self.row.simulated? / self.row.measured?;
        Some(ratio.max(1.0 / ratio)).filter(|factor| factor.is_finite())
    }
}

impl CheckedValidation {
    /// How many runs there are.
    pub fn runs(&self) -> usize {
        self.parts.iter().map(CheckedExperiment::runs).sum()
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
        self.run_after(threads, progress, &[])
    }

    /// [`CheckedValidation::run`], but takes what was carried out already from there.
    ///
    /// # Errors
    /// As for [`CheckedValidation::run`].
    ///
    /// # Panics
    /// As [`CheckedValidation::run`] does.
    pub fn run_after(
        &self,
        threads: Option<usize>,
        progress: &Progress,
        done: &[ExperimentOutcome],
    ) -> Result<ExperimentOutcome, RunError> {
        let (mut compared, mut runs) = (Vec::new(), Vec::new());
        let parts = self.experiment.parts().expect("invariant: it was checked");
        for (part, checked) in parts.iter().zip(&self.parts) {
            let known = done.iter().find(|outcome| outcome.experiment == *part);
            let carried_out;
            let outcome = match known {
                Some(outcome) => outcome,
                None => {
                    carried_out = checked.run(threads, progress)?;
                    &carried_out
                }
            };
            compared.extend(comparisons(outcome));
            runs.extend(outcome.runs.iter().cloned());
        }
        Ok(self.outcome(&compared, runs))
    }

    fn outcome(&self, compared: &[Comparison], runs: Vec<RunRow>) -> ExperimentOutcome {
        let conclusion = conclusion(compared);
        let figure = Figure::Scatter(self.figure(compared, conclusion.as_deref()));
        let row = |comparison: &Comparison| Row {
            panel: format!("{}: {}", comparison.experiment, comparison.row.panel),
            ..comparison.row.clone()
        };
        ExperimentOutcome {
            experiment: Experiment::Validation(self.experiment.clone()),
            figures: vec![super::drawn(&self.experiment.name, figure)],
            table: ResultTable::Comparison(compared.iter().map(row).collect()),
            conclusion,
            runs,
        }
    }

    fn figure(&self, compared: &[Comparison], conclusion: Option<&str>) -> ScatterFigure {
        let mut marks: Vec<ScatterMarks> = Vec::new();
        for comparison in compared.iter().filter(|comparison| comparison.factor().is_some()) {
            let (label, engine) = (kind(comparison), comparison.engine.as_str());
            let (Some(simulated), Some(measured)) =
                (comparison.row.simulated, comparison.row.measured)
            else {
                continue;
            };
            let point = (measured, simulated);
            match marks.iter_mut().find(|known| known.label == label && known.engine == engine) {
                Some(known) => known.points.push(point),
                None => marks.push(ScatterMarks {
                    label: label.to_owned(),
                    engine: engine.to_owned(),
                    points: vec![point],
                }),
            }
        }
        let points: usize = marks.iter().map(|marks| marks.points.len()).sum();
        let ValidationExperiment { name, title, remark, of, .. } = &self.experiment;
        ScatterFigure {
            title: title.clone(),
            panel_title: format!("{points} comparisons"),
            marks,
            caption: format!(
                "Experiment {name}: the comparisons of {}, each with its own specification and \
                 seeds. Measurements: experiments/published. {} {remark}",
                of.join(", "),
                conclusion.unwrap_or_default()
            ),
        }
    }
}

/// What a mark stands for.
fn kind(comparison: &Comparison) -> &'static str {
    match comparison.row.unit {
        Unit::Milliseconds | Unit::Seconds => "latency",
        Unit::PerSecond => "throughput",
        Unit::Fraction => "part of a whole",
        Unit::Count => "storage traffic",
    }
}

/// The comparisons of an experiment that were measured.
fn comparisons(outcome: &ExperimentOutcome) -> Vec<Comparison> {
    let series = outcome.experiment.series().unwrap_or_default();
    let engine = |label: &str| {
        let found = series.iter().find(|series| series.label == label);
        found.map_or(label, |series| &series.engine).to_owned()
    };
    let measured = outcome.rows().into_iter().filter(|row| row.measured.is_some());
    let compared = measured.map(|row| Comparison {
        experiment: outcome.experiment.name().to_owned(),
        engine: engine(&row.series),
        row: row.clone(),
    });
    compared.collect()
}

/// What the comparisons come to; `None` if nothing was compared.
fn conclusion(compared: &[Comparison]) -> Option<String> {
    let mut factors: Vec<f64> = compared.iter().filter_map(Comparison::factor).collect();
    factors.sort_by(f64::total_cmp);
    let (count, middle) = (factors.len(), factors.len().checked_sub(1)? / 2);
    let median = (factors[middle] + factors[count / 2]) / 2.0;
    let within = factors.iter().filter(|factor| **factor <= 2.0).count();
    let worst = compared.iter().filter_map(|one| Some((one.factor()?, one)));
    let (factor, worst) = worst.max_by(|one, other| one.0.total_cmp(&other.0))?;
    let Comparison { experiment, row, .. } = worst;
    let lost = compared.len() - count;
    let lost = match lost {
        0 => String::new(),
        lost => format!(" {lost} more have no factor, since one of the numbers is 0."),
    };
    Some(format!(
        "Simulated and measured differ by a median factor of {median:.2}; {within} of {count} lie \
         within a factor of 2; furthest {:.1}, at {experiment}, {}, {}, {}.{lost}",
        round(factor, 1),
        row.panel,
        row.series,
        row.metric
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(simulated: f64, measured: f64) -> Comparison {
        Comparison {
            experiment: "one".to_owned(),
            engine: "netherite".to_owned(),
            row: Row {
                panel: "Hello3".to_owned(),
                series: "netherite".to_owned(),
                metric: format!("{measured} ms"),
                unit: Unit::Milliseconds,
                simulated: Some(simulated),
                measured: Some(measured),
            },
        }
    }

    fn embedded() -> ValidationExperiment {
        match super::super::named("validation") {
            Ok(Experiment::Validation(experiment)) => experiment,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_median_is_that_of_factors_either_way() {
        let compared = [(1.0, 4.0), (6.0, 2.0), (5.0, 5.0), (3.0, 2.0), (0.0, 7.0)];
        let compared = compared.map(|(simulated, measured)| comparison(simulated, measured));
        // Factors 1, 1.5, 3 and 4; the last has none.
        let said = conclusion(&compared).expect("compared");
        assert!(said.contains("median factor of 2.25; 2 of 4 lie within"), "{said}");
        assert!(said.contains("furthest 4.0, at one, Hello3, netherite, 4 ms"), "{said}");
        assert!(said.contains("1 more have no factor"), "{said}");
        assert_eq!(conclusion(&[]), None);
    }

    #[test]
    fn only_experiments_that_compare_can_be_taken() {
        let mut other = embedded();
        other.of = vec!["ablations".to_owned()];
        let error = other.check().expect_err("refused").to_string();
        assert!(error.contains("ablations") && error.contains("compare"), "{error}");
        other.of = vec!["netherite-maximum".to_owned()];
        let error = other.check().expect_err("refused").to_string();
        assert!(error.contains("netherite-maxima"), "{error}");
        other.of.clear();
        assert!(other.check().expect_err("refused").to_string().contains("at least one"));
    }

    #[test]
    fn what_was_carried_out_is_not_carried_out_again() {
        let mut small = embedded();
        small.of = vec!["netherite-maxima".to_owned()];
        let checked = small.check().expect("valid");
        let part = super::super::named("netherite-maxima").expect("embedded");
        let mut done = part.check().expect("valid").run(Some(1), &Progress::default());
        let known = done.as_mut().expect("carried out");
        let ResultTable::Maxima(maxima) = &mut known.table else { panic!("another table") };
        maxima.truncate(1);
        maxima[0].row.simulated = Some(1234.5);
        let known = [done.expect("carried out")];
        let outcome = checked.run_after(Some(1), &Progress::default(), &known).expect("done");
        assert_eq!(outcome.rows().len(), 1);
        assert_eq!(outcome.rows()[0].simulated, Some(1234.5));
        let again = checked.run_after(Some(1), &Progress::default(), &[]).expect("done");
        assert_eq!(again.rows().len(), 12);
    }
}
