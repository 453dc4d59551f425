//! Shards: the parts of a sweep that separate processes carry out.
//!
//! `3/200` is the third of two hundred. Which runs it has follows from the order of their keys, which are
//! hashes: shards have the same number of runs, give or take one, and mix all axes, so that they take
//! about equally long. A task of an array job finds its number in the environment, which
//! [`Shard::of_array_task`] is handed as a function.

use std::fmt;
use thiserror::Error;

/// Most shards.
pub const SHARDS_MAX: u32 = 100_000;

/// A part of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 1.
    index: u32,
    /// Of how many.
    of: u32,
}

/// What is no shard.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShardError {
    /// The text has another form.
    #[error(
        "found {given:?}, expected i/n (i from 1 to n, n from 1 to {SHARDS_MAX}), auto or auto/n"
    )]
    Form {
        /// The text.
        given: String,
    },
    /// No array job is under way.
    #[error(
        "auto: this is no task of an array: none of SLURM_ARRAY_TASK_ID, HQ_TASK_ID and \
         JOB_COMPLETION_INDEX is set; give i/n"
    )]
    NoArray,
    /// The scheduler does not tell how many there are.
    #[error("auto: {variable} tells which shard this is, not of how many: give auto/n")]
    NoCount {
        /// The variable that is set.
        variable: &'static str,
    },
    /// A variable has a value that does not fit.
    #[error("auto: {variable}: found {given:?}, expected {expected}")]
    Variable {
        /// The variable.
        variable: &'static str,
        /// Its value.
        given: String,
        /// What would fit.
        expected: String,
    },
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl Shard {
    /// The whole sweep.
    pub const ALL: Shard = Shard { index: 1, of: 1 };

    fn new(index: u32, of: u32) -> Option<Shard> {
        let fits = (1..=SHARDS_MAX).contains(&of) && (1..=of).contains(&index);
        fits.then_some(Shard { index, of })
    }

    /// Reads `i/n`, `auto` or `auto/n`; `variable` looks a variable of the environment up.
    ///
    /// # Errors
    /// What is wrong with the text, or with the environment that `auto` asks for.
    pub fn read(
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Shard, ShardError> {
        let form = || ShardError::Form { given: text.to_owned() };
        match text.split_once('/') {
            None if text == "auto" => Shard::of_array_task(None, variable),
            Some(("auto", of)) => {
                let of = of.parse().ok().filter(|of| (1..=SHARDS_MAX).contains(of));
                Shard::of_array_task(Some(of.ok_or_else(form)?), variable)
            }
            Some((index, of)) => match (index.parse(), of.parse()) {
                (Ok(index), Ok(of)) => Shard::new(index, of).ok_or_else(form),
                _ => Err(form()),
            },
            None => Err(form()),
        }
    }

    /// The shard of this task of an array: of `of`, or of as many as the scheduler says. With `of`, tasks
    /// of Slurm and HyperQueue are numbered from 1, and the completion indexes of Kubernetes from 0; so
    /// an array may be submitted again with some of its tasks only.
    ///
    /// # Errors
    /// What the environment lacks.
    pub fn of_array_task(
        of: Option<u32>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Shard, ShardError> {
        let number = |name: &'static str| match variable(name) {
            None => Ok(None),
            Some(given) => match given.parse::<u32>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => {
                    let expected = "a whole number".to_owned();
                    Err(ShardError::Variable { variable: name, given, expected })
                }
            },
        };
        let within = |name, given: u32, index: Option<u32>, of: u32, first: u32| {
            index.and_then(|index| Shard::new(index, of)).ok_or_else(|| ShardError::Variable {
                variable: name,
                given: given.to_string(),
                expected: format!("a number from {first} to {}", first + of.saturating_sub(1)),
            })
        };
        const SLURM: &str = "SLURM_ARRAY_TASK_ID";
        if let Some(id) = number(SLURM)? {
            if let Some(of) = of {
                return within(SLURM, id, Some(id), of, 1);
            }
            let (count, first) = ("SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN");
            let (Some(of), Some(first)) = (number(count)?, number(first)?) else {
                return Err(ShardError::NoCount { variable: SLURM });
            };
            let index = id.checked_sub(first).and_then(|index| index.checked_add(1));
            return within(SLURM, id, index, of, first);
        }
        for (name, first) in [("HQ_TASK_ID", 1), ("JOB_COMPLETION_INDEX", 0)] {
            if let Some(id) = number(name)? {
                let of = of.ok_or(ShardError::NoCount { variable: name })?;
                let index = id.checked_add(1).and_then(|index| index.checked_sub(first));
                return within(name, id, index, of, first);
            }
        }
        Err(ShardError::NoArray)
    }

    /// Which, from 1.
    pub fn index(self) -> u32 {
        self.index
    }

    /// Of how many.
    pub fn of(self) -> u32 {
        self.of
    }

    /// Whether this is the whole sweep.
    pub fn is_all(self) -> bool {
        self.of == 1
    }

    /// The name of its folder.
    pub fn folder(self) -> String {
        format!("{:05}-of-{:05}", self.index, self.of)
    }

    /// Whether the run whose key has this rank among all is in this shard.
    pub(super) fn has(self, rank: usize) -> bool {
        rank % self.of as usize == (self.index - 1) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, environment: &[(&str, &str)]) -> Result<Shard, String> {
        let find = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Shard::read(text, find).map_err(|error| error.to_string())
    }

    #[test]
    fn every_scheduler_names_the_shard() {
        let shard = |index, of| Ok(Shard { index, of });
        let slurm = [
            ("SLURM_ARRAY_TASK_ID", "12"),
            ("SLURM_ARRAY_TASK_MIN", "10"),
            ("SLURM_ARRAY_TASK_COUNT", "4"),
        ];
        assert_eq!(read("2/5", &[]), shard(2, 5));
        assert_eq!(read("auto", &slurm), shard(3, 4));
        assert_eq!(read("auto/200", &slurm), shard(12, 200), "an array of some of its tasks");
        assert_eq!(read("auto/200", &[("HQ_TASK_ID", "200")]), shard(200, 200));
        assert_eq!(read("auto/4", &[("JOB_COMPLETION_INDEX", "0")]), shard(1, 4));
    }

    #[test]
    fn what_is_no_shard_is_told_in_one_line() {
        for bad in ["0/0", "5/4", "0/4", "-1/4", "1/NaN", "1", "", "auto/0", "auto/x", "1/100001"] {
            let message = read(bad, &[]).expect_err(bad);
            let expected = format!(
                "found {bad:?}, expected i/n (i from 1 to n, n from 1 to 100000), auto or auto/n"
            );
            assert_eq!(message, expected);
        }
        for (text, environment, message) in [
            (
                "auto",
                &[][..],
                "auto: this is no task of an array: none of SLURM_ARRAY_TASK_ID, HQ_TASK_ID and \
                 JOB_COMPLETION_INDEX is set; give i/n",
            ),
            (
                "auto",
                &[("HQ_TASK_ID", "1")],
                "auto: HQ_TASK_ID tells which shard this is, not of how many: give auto/n",
            ),
            (
                "auto",
                &[("SLURM_ARRAY_TASK_ID", "1")],
                "auto: SLURM_ARRAY_TASK_ID tells which shard this is, not of how many: give auto/n",
            ),
            (
                "auto/4",
                &[("JOB_COMPLETION_INDEX", "4")],
                "auto: JOB_COMPLETION_INDEX: found \"4\", expected a number from 0 to 3",
            ),
            (
                "auto/4",
                &[("HQ_TASK_ID", "one")],
                "auto: HQ_TASK_ID: found \"one\", expected a whole number",
            ),
            (
                "auto/4",
                &[("SLURM_ARRAY_TASK_ID", "0")],
                "auto: SLURM_ARRAY_TASK_ID: found \"0\", expected a number from 1 to 4",
            ),
        ] {
            assert_eq!(read(text, environment), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn shards_share_out_every_run_once() {
        for of in 1..7 {
            let count = |rank: usize| {
                (1..=of).filter(|index| Shard { index: *index, of }.has(rank)).count()
            };
            assert!((0..50).all(|rank| count(rank) == 1));
        }
    }
}
