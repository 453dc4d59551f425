//! The seeded generator of .NET, `System.Random`.
//!
//! FileHash draws how often each file is hashed from `new Random(0)`, so its published amount of
//! work depends on this very generator: Knuth's subtractive one (The Art of Computer Programming,
//! volume 2, section 3.2.2), whose second pointer starts at 21 in .NET where others have 31. With a
//! seed, every version of .NET keeps to it.

/// The numbers of the generator lie below this.
const LIMIT: i32 = i32::MAX;
/// The constant from which seeds are mixed: digits of the golden ratio.
const GOLDEN: i32 = 161_803_398;
/// Length of the state; place 0 is not used.
const LENGTH: usize = 56;
/// Distance between the two numbers whose difference is the next one.
const LAG: usize = 21;

/// A generator and where it stands.
#[derive(Clone, Debug)]
pub(super) struct DotnetRandom {
    state: [i32; LENGTH],
    next: usize,
}

impl DotnetRandom {
    /// `new Random(seed)`.
    pub(super) fn new(seed: i32) -> Self {
        let mut state = [0; LENGTH];
        let mut last = GOLDEN - seed.saturating_abs();
        state[LENGTH - 1] = last;
        let mut value = 1;
        for step in 1..LENGTH - 1 {
            state[LAG * step % (LENGTH - 1)] = value;
            (last, value) = (value, wrapped(last.wrapping_sub(value)));
        }
        for _ in 0..4 {
            for place in 1..LENGTH {
                let other = 1 + (place + 30) % (LENGTH - 1);
                state[place] = wrapped(state[place].wrapping_sub(state[other]));
            }
        }
        DotnetRandom { state, next: 1 }
    }

    /// `Next()`: a number from 0 up to, but not including, `i32::MAX`.
    fn number(&mut self) -> i32 {
        let other = (self.next - 1 + LAG) % (LENGTH - 1) + 1;
        let mut value = self.state[self.next].wrapping_sub(self.state[other]);
        if value == LIMIT {
            value -= 1;
        }
        value = wrapped(value);
        self.state[self.next] = value;
        self.next = self.next % (LENGTH - 1) + 1;
        value
    }

    /// `Next(low, high)`: a number of the range.
    pub(super) fn within(&mut self, range: std::ops::Range<i32>) -> i32 {
        let unit = f64::from(self.number()) * (1.0 / f64::from(LIMIT));
        range.start + (unit * f64::from(range.end - range.start)) as i32
    }
}

/// Negative numbers wrap around to the upper end.
fn wrapped(value: i32) -> i32 {
    if value < 0 { value + LIMIT } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_zero_gives_the_numbers_of_dotnet() {
        let mut random = DotnetRandom::new(0);
        let first: Vec<i32> = (0..5).map(|_| random.number()).collect();
        assert_eq!(
            first,
            [1_559_595_546, 1_755_192_844, 1_649_316_166, 1_198_642_031, 442_452_829]
        );
    }

    #[test]
    fn ranges_are_covered_to_their_ends_and_not_beyond() {
        let mut random = DotnetRandom::new(0);
        let mut counts = [0u32; 30];
        for _ in 0..30_000 {
            counts[usize::try_from(random.within(20..50) - 20).expect("not below 20")] += 1;
        }
        // A binomial with mean 1000 has a standard deviation of 31.
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
