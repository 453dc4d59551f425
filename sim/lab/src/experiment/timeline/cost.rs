//! What an event has cost: how far a rate fell, and when it had come back.
//!
//! Read off counts of completions in windows of equal length. Single windows say little, since arrivals
//! are random: a rate is a mean over several of them.

/// Windows over which a rate is averaged before it is said to have fallen or come back.
pub(super) const SMOOTHED: usize = 5;
/// A rate has come back when it is this part of what it was before.
const RECOVERED: f64 = 0.9;

/// What an event has cost, read off windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cost {
    /// Mean rate before it, a window.
    pub(super) before: f64,
    /// The least mean of [`SMOOTHED`] windows after it.
    pub(super) lowest: f64,
    /// The most windows after it without a completion, one after the other.
    pub(super) gap: usize,
    /// Windows from the event until the rate, after its lowest, had come back; `None` if it has not.
    /// Later dips are not looked at: arrivals alone make some.
    pub(super) recovered: Option<usize>,
}

impl Cost {
    /// The cost of an event at the beginning of window `event`.
    pub(super) fn of(completed: &[f64], event: usize) -> Cost {
        let (earlier, later) = completed.split_at(event.min(completed.len()));
        let before = earlier.iter().sum::<f64>() / earlier.len().max(1) as f64;
        let smooth: Vec<f64> = later
            .windows(SMOOTHED)
            .map(|several| several.iter().sum::<f64>() / SMOOTHED as f64)
            .collect();
        let fallen = |rate: &f64| *rate < RECOVERED * before;
        let gap = later.split(|completed| *completed > 0.0).map(<[f64]>::len).max().unwrap_or(0);
        let numbered = smooth.iter().copied().enumerate();
        let least = numbered.min_by(|one, other| one.1.total_cmp(&other.1));
        let (at, lowest) = least.unwrap_or((0, before));
        let back = |rate: &f64| !fallen(rate);
        Cost {
            before,
            lowest,
            gap,
            recovered: match fallen(&lowest) {
                false => Some(0),
                true => smooth[at..].iter().position(back).map(|after| at + after),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_an_event_is_read_off_the_windows() {
        let mut completed = vec![10.0; 20];
        completed.extend([0.0, 0.0, 0.0, 2.0, 4.0, 8.0, 30.0]);
        completed.extend(vec![10.0; 20]);
        let cost = Cost::of(&completed, 20);
        assert_eq!((cost.before, cost.gap), (10.0, 3));
        assert_eq!(cost.lowest, 6.0 / 5.0);
        // The five windows from the third on still have a mean of 8.8, those from the fourth 10.8.
        assert_eq!(cost.recovered, Some(3));
        assert_eq!(Cost::of(&[10.0; 40], 20).recovered, Some(0));
        let mut lost = vec![10.0; 20];
        lost.extend(vec![0.0; 20]);
        assert_eq!(Cost::of(&lost, 20).recovered, None);
        assert_eq!(Cost::of(&lost, 20).gap, 20);
    }
}
