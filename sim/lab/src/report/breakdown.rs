//! Where the latency of each group of runs goes, and how far its latencies lie apart: means over the
//! runs of the group, as numbers for tables, bars and scripts.

use super::label::Group;
use super::run::Run;
use crate::figure::Color;
use sim_model::ledger::Category;

/// The colours of the categories, in the order of [`Category::ALL`]: the muted scheme of Paul Tol
/// (2021), which stays distinct under the common forms of colour blindness and shares no colour
/// with those of the engines. The order keeps neighbours apart in lightness.
const COLORS: [Color; 10] = [
    Color(0x88, 0xCC, 0xEE),
    Color(0x33, 0x22, 0x88),
    Color(0xDD, 0xCC, 0x77),
    Color(0x11, 0x77, 0x33),
    Color(0xCC, 0x66, 0x77),
    Color(0x44, 0xAA, 0x99),
    Color(0x88, 0x22, 0x55),
    Color(0x99, 0x99, 0x33),
    Color(0xAA, 0x44, 0x99),
    Color(0xBB, 0xBB, 0xBB),
];

/// The name and the colour of each category.
pub(super) fn categories() -> impl Iterator<Item = (&'static str, String)> {
    let colors = COLORS.iter().map(|color| hex(*color));
    Category::ALL.iter().map(|category| category.name()).zip(colors)
}

/// A colour as pages write it.
pub(super) fn hex(Color(red, green, blue): Color) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// The parts of a run's mean latency in milliseconds, by category; `None` if it has none.
pub(super) fn of_run(run: &Run) -> Option<Vec<f64>> {
    let parts = run.summary.breakdown_ms.as_ref()?;
    let part = |(name, _)| parts.get(name).copied().unwrap_or(0.0);
    let parts: Vec<f64> = categories().map(part).collect();
    (parts.iter().sum::<f64>() > 0.0).then_some(parts)
}

/// Means over the runs of a group that have parts.
pub(super) fn of_group(group: &Group, runs: &[Run]) -> Option<Vec<f64>> {
    let parts: Vec<Vec<f64>> =
        group.runs.iter().filter_map(|index| of_run(&runs[*index])).collect();
    if parts.is_empty() {
        return None;
    }
    let mean = |category: usize| {
        parts.iter().map(|parts| parts[category]).sum::<f64>() / parts.len() as f64
    };
    Some((0..Category::ALL.len()).map(mean).collect())
}

/// The mean of what the runs of a group have, if one has any.
pub(super) fn mean(
    group: &Group,
    runs: &[Run],
    value: impl Fn(&Run) -> Option<f64>,
) -> Option<f64> {
    let values: Vec<f64> = group.runs.iter().filter_map(|index| value(&runs[*index])).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::engine_color;
    use crate::registry;

    #[test]
    fn every_category_has_a_color_that_no_engine_has() {
        let colors: Vec<String> = categories().map(|(_, color)| color).collect();
        assert_eq!(colors.len(), Category::ALL.len());
        for (position, color) in colors.iter().enumerate() {
            assert!(!colors[position + 1..].contains(color), "{color}");
        }
        for engine in registry::engines() {
            assert!(!colors.contains(&hex(engine_color(engine.name()))), "{}", engine.name());
        }
    }
}
