//! Where in an execution a machine is carried out.
//!
//! A scope has a key, made from the number of the execution and from the way to the machine: which
//! state was entered as which, in which attempt, for which branch. Keys of calls are made from it,
//! so that a call's random draws depend on its place and not on the order in which branches get
//! on, which differs between engines.

use super::context::Item;
use super::failure::Failure;
use super::machine::BREADTH_MAX;
use serde::{Deserialize, Serialize};

/// One machine on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Scope {
    key: u64,
    /// How many machines are carried out side by side with this one.
    breadth: u64,
    /// The element of the innermost map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Item>,
}

/// A visit of a state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    /// How many states the machine has entered, this one included.
    pub entered: u64,
    /// How often the state was tried again since it was entered.
    pub retries: u64,
}

impl Scope {
    /// The scope of the execution with this index; `draws` tells series of executions apart.
    pub fn of_execution(draws: u64, index: u64) -> Scope {
        Scope { key: derive(draws, [0, 0, index]), breadth: 1, item: None }
    }

    /// The key of call `number` of a visit.
    pub fn key_of_call(&self, visit: Visit, number: u64) -> u64 {
        derive(self.key, [visit.entered, visit.retries, number])
    }

    /// The scope for machines within a state, of which there are `count`.
    ///
    /// # Errors
    /// If too many machines would be carried out side by side.
    pub fn widened(&self, count: usize) -> Result<Scope, Failure> {
        let breadth = self.breadth.saturating_mul((count as u64).max(1));
        match breadth <= BREADTH_MAX {
            true => Ok(Scope { breadth, ..self.clone() }),
            false => Err(Failure::runtime(format!(
                "{breadth} machines would be carried out side by side, at most {BREADTH_MAX} can"
            ))),
        }
    }

    /// The scope of branch `number` of a visit, with the element it is about.
    pub fn branch(&self, visit: Visit, number: usize, item: Option<Item>) -> Scope {
        let key = derive(self.key ^ u64::MAX, [visit.entered, visit.retries, number as u64]);
        Scope { key, breadth: self.breadth, item: item.or_else(|| self.item.clone()) }
    }
}

fn derive(key: u64, step: [u64; 3]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"sim definition scope v1");
    hasher.update(&key.to_le_bytes());
    step.iter().for_each(|part| {
        hasher.update(&part.to_le_bytes());
    });
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_call_of_an_execution_has_a_key_of_its_own() {
        let mut keys = BTreeSet::new();
        for index in 0..3 {
            let root = Scope::of_execution(0, index);
            for entered in 1..4 {
                for retries in 0..3 {
                    let visit = Visit { entered, retries };
                    for number in 0..3 {
                        assert!(keys.insert(root.key_of_call(visit, number)));
                        let branch = root.branch(visit, number as usize, None);
                        assert!(keys.insert(branch.key_of_call(visit, number)));
                    }
                }
            }
        }
    }

    #[test]
    fn breadth_multiplies_and_is_bounded() {
        let root = Scope::of_execution(0, 0);
        let wide = root.widened(1_000).expect("few").widened(100).expect("just as many");
        assert!(wide.widened(2).is_err());
        assert!(wide.widened(0).is_ok());
    }
}
