//! The seed tree: one named random stream for each component of a run.
//!
//! A stream is a ChaCha8 generator whose 256-bit key is the BLAKE3 hash of (run seed, name).
//! Streams of different names are independent, and no component draws from another's stream:
//! switching one component on or off leaves the draws of all others as they were, so runs
//! with one seed are paired and can be compared with common random numbers.
//!
//! Asking twice for one name gives twice the same stream, so names must be unique to their
//! component ("link worker-0->queue", "service table account", "workload arrivals").

use rand::{RngExt, SeedableRng, TryRng};
use rand_chacha::ChaCha8Rng;
use std::convert::Infallible;

/// Names this derivation; another derivation of streams must have another.
const DOMAIN: &[u8] = b"sim seed tree v1";

/// The root of all randomness of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedTree {
    seed: u64,
}

impl SeedTree {
    /// The tree of the run with this seed.
    pub fn new(run_seed: u64) -> Self {
        SeedTree { seed: run_seed }
    }

    /// The seed of the run.
    pub fn run_seed(&self) -> u64 {
        self.seed
    }

    /// The stream of the component with this name, from its start.
    pub fn stream(&self, name: &str) -> Stream {
        let mut hasher = blake3::Hasher::new();
        hasher.update(DOMAIN);
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(name.as_bytes());
        Stream(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
    }
}

/// A deterministic stream of random numbers; also a generator for `rand` and `rand_distr`.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// Uniform over `[0, 1)`, a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        self.0.random::<f64>()
    }

    /// Uniform over `0..bound`.
    ///
    /// # Panics
    /// If `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.random_range(0..bound)
    }

    /// True with this probability, which lies in `[0, 1]`.
    pub fn chance(&mut self, probability: f64) -> bool {
        debug_assert!((0.0..=1.0).contains(&probability), "probability {probability}");
        self.unit() < probability
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn a_stream_is_a_function_of_seed_and_name() {
        let mut first = SeedTree::new(7).stream("link a->b");
        let mut again = SeedTree::new(7).stream("link a->b");
        for _ in 0..1000 {
            assert_eq!(first.next_u64(), again.next_u64());
        }
    }

    #[test]
    fn streams_of_other_seeds_and_names_differ() {
        let first = SeedTree::new(7).stream("link a->b").next_u64();
        assert_ne!(first, SeedTree::new(8).stream("link a->b").next_u64());
        assert_ne!(first, SeedTree::new(7).stream("link b->a").next_u64());
    }

    /// The derivation is part of every published digest: this number may not change silently.
    #[test]
    fn the_derivation_is_pinned() {
        assert_eq!(SeedTree::new(1).stream("pinned").next_u64(), 13_380_976_725_879_260_473);
    }

    #[test]
    fn chance_agrees_with_its_probability() {
        let mut stream = SeedTree::new(3).stream("chance");
        let hits = (0..100_000).filter(|_| stream.chance(0.25)).count();
        assert!((24_500..25_500).contains(&hits), "{hits}");
        assert!(!stream.chance(0.0));
        assert!(stream.chance(1.0));
    }
}
