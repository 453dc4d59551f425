//! The result of an experiment that is a matrix: rows by columns, each cell from a campaign.

use crate::figure::MatrixFigure;
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
