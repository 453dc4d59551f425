//! How far a comparison agrees with what was measured, in a sentence.

use super::Row;
use crate::statistics;
use std::collections::BTreeMap;
use std::fmt;

/// Ratios of simulated to measured numbers, taken together.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// The middle ratio; of an even number, the mean of the two in the middle.
    pub median_ratio: f64,
    /// The ratio that is furthest from 1, as a factor.
    pub worst_ratio: f64,
    /// Where that is: panel, series, metric.
    pub worst_at: [String; 3],
    /// Rows with a ratio.
    pub compared: usize,
    /// Rows within a factor of 2, either way.
    pub within_two: usize,
    /// Groups of at least two series that were measured by the same panel and metric.
    pub ranked: usize,
    /// Those whose series stand in the measured order.
    pub in_order: usize,
}

/// How many times too high or too low; infinite for a ratio of 0.
fn factor(ratio: f64) -> f64 {
    ratio.max(1.0 / ratio)
}

impl Agreement {
    /// The agreement of these rows; `None` if no row has a ratio.
    pub fn of(rows: &[Row]) -> Option<Agreement> {
        let mut ratios: Vec<(f64, &Row)> =
            rows.iter().filter_map(|row| Some((row.ratio()?, row))).collect();
        // Of two that are equally far from 1, the higher one is named.
        ratios.sort_by(|one, other| one.0.total_cmp(&other.0));
        let values: Vec<f64> = ratios.iter().map(|(ratio, _)| *ratio).collect();
        let by_factor =
            |one: &&(f64, &Row), other: &&(f64, &Row)| factor(one.0).total_cmp(&factor(other.0));
        let (worst_ratio, worst) = ratios.iter().max_by(by_factor)?;
        let (ranked, in_order) = order(rows);
        Some(Agreement {
            median_ratio: statistics::median(&values)?,
            worst_ratio: *worst_ratio,
            worst_at: [worst.panel.clone(), worst.series.clone(), worst.metric.clone()],
            compared: ratios.len(),
            within_two: ratios.iter().filter(|(ratio, _)| factor(*ratio) <= 2.0).count(),
            ranked,
            in_order,
        })
    }

    /// Whether all rows lie within a factor of 2.
    pub fn all_within_two(&self) -> bool {
        self.within_two == self.compared
    }
}

/// In how many groups series were ranked by measurement, and in how many the simulation agrees.
fn order(rows: &[Row]) -> (usize, usize) {
    let mut groups: BTreeMap<(&str, &str), Vec<(f64, f64)>> = BTreeMap::new();
    for row in rows {
        let (Some(simulated), Some(measured)) = (row.simulated, row.measured) else { continue };
        groups.entry((&row.panel, &row.metric)).or_default().push((measured, simulated));
    }
    let ranked = groups.values_mut().filter(|group| group.len() > 1);
    ranked.fold((0, 0), |(ranked, in_order), group| {
        group.sort_by(|one, other| one.0.total_cmp(&other.0));
        let agrees = group.is_sorted_by(|one, other| one.1 < other.1);
        (ranked + 1, in_order + usize::from(agrees))
    })
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Agreement { median_ratio, worst_ratio, worst_at: [panel, series, metric], .. } = self;
        write!(
            f,
            "Simulated / measured: median {median_ratio:.2}, worst {worst_ratio:.2} at {panel}, \
             {series}, {metric}; "
        )?;
        match self.all_within_two() {
            true => write!(f, "all {} within a factor of 2", self.compared)?,
            false => write!(f, "{} of {} within a factor of 2", self.within_two, self.compared)?,
        }
        if self.ranked > 0 {
            write!(f, "; engines in the measured order in {} of {}", self.in_order, self.ranked)?;
        }
        f.write_str(".")
    }
}

#[cfg(test)]
mod tests {
    use super::super::Unit;
    use super::*;

    fn row(series: &str, metric: &str, simulated: f64, measured: Option<f64>) -> Row {
        Row {
            panel: "EP1".to_owned(),
            series: series.to_owned(),
            metric: metric.to_owned(),
            unit: Unit::PerSecond,
            simulated: Some(simulated),
            measured,
        }
    }

    #[test]
    fn the_worst_ratio_is_the_greatest_factor_either_way() {
        let rows = [
            row("a", "1 host", 19.0, Some(10.0)),
            row("a", "4 hosts", 40.0, Some(100.0)),
            row("a", "8 hosts", 100.0, Some(100.0)),
            row("a", "12 hosts", 110.0, Some(100.0)),
            row("a", "16 hosts", 110.0, None),
        ];
        let agreement = Agreement::of(&rows).expect("some were measured");
        assert_eq!(agreement.worst_ratio, 0.4);
        assert_eq!(agreement.worst_at, ["EP1", "a", "4 hosts"]);
        assert!((agreement.median_ratio - 1.05).abs() < 1e-12, "{agreement:?}");
        assert_eq!((agreement.compared, agreement.within_two, agreement.ranked), (4, 3, 0));
        assert!(!agreement.all_within_two());
        assert_eq!(
            agreement.to_string(),
            "Simulated / measured: median 1.05, worst 0.40 at EP1, a, 4 hosts; 3 of 4 within a \
             factor of 2."
        );
        let median = Agreement::of(&rows[..3]).expect("some were measured").median_ratio;
        assert_eq!(median, 1.0, "of an odd number, the middle one");
    }

    #[test]
    fn a_factor_of_two_is_within_it() {
        let rows = [row("a", "1", 2.0, Some(1.0)), row("a", "2", 1.0, Some(2.0))];
        assert!(Agreement::of(&rows).expect("measured").all_within_two());
    }

    #[test]
    fn order_is_judged_where_several_series_were_measured() {
        let rows = [
            row("a", "1 host", 1.0, Some(10.0)),
            row("b", "1 host", 2.0, Some(20.0)),
            row("a", "4 hosts", 3.0, Some(10.0)),
            row("b", "4 hosts", 2.0, Some(20.0)),
            row("a", "8 hosts", 2.0, Some(10.0)),
            row("b", "8 hosts", 2.0, Some(20.0)),
            row("b", "12 hosts", 2.0, Some(20.0)),
        ];
        let agreement = Agreement::of(&rows).expect("measured");
        assert_eq!((agreement.ranked, agreement.in_order), (3, 1), "a tie is no order");
    }

    #[test]
    fn nothing_measured_is_no_agreement() {
        assert_eq!(Agreement::of(&[row("a", "1 host", 1.0, None)]), None);
        let zero = Agreement::of(&[row("a", "1 host", 0.0, Some(1.0))]).expect("measured");
        assert_eq!((zero.worst_ratio, zero.within_two), (0.0, 0));
    }
}
