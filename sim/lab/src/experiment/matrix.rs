//! The result of an experiment that is a matrix: rows by columns, each cell from a campaign.

use super::{Experiment, ExperimentOutcome, ResultTable};
use crate::figure::{Figure, MatrixFigure, MatrixGroup, MatrixRow};
use crate::spec::SpecError;
use std::collections::BTreeMap;

/// Most seeds of a campaign.
const SEEDS_MAX: u64 = 1_000_000;

/// A matrix, as it is drawn, and everything behind it.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// The matrix.
    pub figure: MatrixFigure,
    /// The table behind it.
    pub csv: Vec<u8>,
    /// More files of the result, by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// How many runs were carried out for it.
    pub runs: u64,
    /// What did not come out as it should, for a person.
    pub misses: Vec<String>,
}

impl Matrix {
    /// What an experiment leaves that comes to this matrix, drawn under the experiment's name.
    pub(super) fn outcome(self, experiment: Experiment, conclusion: String) -> ExperimentOutcome {
        let figure = Figure::Matrix(self.figure.clone());
        ExperimentOutcome {
            figures: vec![super::drawn(experiment.name(), figure)],
            experiment,
            conclusion: Some(conclusion),
            table: ResultTable::Matrix(self),
            runs: Vec::new(),
        }
    }
}

/// Adds a row to the group of its engine, which is the last one or a new one.
pub(super) fn add_row(groups: &mut Vec<MatrixGroup>, engine: &str, row: MatrixRow) {
    match groups.last_mut().filter(|group| group.engine == engine) {
        Some(group) => group.rows.push(row),
        None => groups.push(MatrixGroup { engine: engine.to_owned(), rows: vec![row] }),
    }
}

/// Settings of an engine by `engine.key`, from those by key.
pub(super) fn settings_of(
    engine: &str,
    settings: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    settings.iter().map(|(key, value)| (format!("{engine}.{key}"), value.clone())).collect()
}

/// The first seed, and how many there are.
pub(super) fn span(seeds: &[u64]) -> (u64, u64) {
    (seeds.first().copied().unwrap_or(1), seeds.len() as u64)
}

/// Consecutive seeds as text: `1..500`, both included.
pub(super) mod seeds {
    use super::{SEEDS_MAX, SpecError};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        seeds: &[u64],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let (first, last) = (seeds.first().unwrap_or(&1), seeds.last().unwrap_or(&0));
        serializer.collect_str(&format_args!("{first}..{last}"))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u64>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let expected = format!("first..last, such as 1..500, at most {SEEDS_MAX}");
        let wrong = || SpecError::bad("seeds", &text, expected);
        parse(&text).ok_or_else(wrong).map_err(serde::de::Error::custom)
    }

    fn parse(text: &str) -> Option<Vec<u64>> {
        let (first, last) = text.split_once("..")?;
        let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let count = last.checked_sub(first)?.checked_add(1)?;
        (count <= SEEDS_MAX).then(|| (first..=last).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[test]
    fn seeds_are_written_by_their_ends() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct File {
            #[serde(with = "seeds")]
            seeds: Vec<u64>,
        }
        let read: File = toml::from_str("seeds = '3..6'").expect("seeds");
        assert_eq!(read.seeds, [3, 4, 5, 6]);
        assert_eq!(toml::from_str::<File>(&toml::to_string(&read).expect("text")), Ok(read));
        for bad in ["", "3", "6..3", "1..99999999999", "-1..2", "0..18446744073709551615"] {
            let told = toml::from_str::<File>(&format!("seeds = '{bad}'")).expect_err(bad);
            assert!(told.to_string().contains("such as 1..500"), "{told}");
        }
    }
}
