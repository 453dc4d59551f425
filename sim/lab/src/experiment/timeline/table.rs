//! The table of a timeline: what its lines say in numbers.

use super::cost::{Cost, SMOOTHED};
use super::{CheckedTimeline, Line, TimelineMeasure};
use crate::experiment::{Row, Unit};
use crate::measure;

impl CheckedTimeline {
    /// What a line of the figure says in numbers.
    pub(super) fn rows(&self, line: &Line, counters: &[String]) -> Vec<Row> {
        let asked = &self.experiment.panels[line.panel];
        let row = |metric: &str, unit, simulated: Option<f64>| Row {
            panel: asked.title.clone(),
            series: self.experiment.series[line.series].label.clone(),
            metric: metric.to_owned(),
            unit,
            simulated: simulated.map(|value| measure::round(value, 3)),
            measured: None,
        };
        let mut rows: Vec<Row> = match self.experiment.measure {
            TimelineMeasure::Completed => {
                let slowest = Some(line.measured.slowest_ms);
                let cost = self.cost(line).into_iter();
                let cost = cost.map(|(metric, unit, value)| row(metric, unit, value));
                cost.chain([row("slowest, ms", Unit::Milliseconds, slowest)]).collect()
            }
            TimelineMeasure::Operations => {
                let traffic = self.traffic(line).into_iter();
                traffic.map(|(metric, value)| row(metric, Unit::PerSecond, Some(value))).collect()
            }
            TimelineMeasure::Levels => {
                let levels = asked.levels.iter().zip(&line.measured.curves);
                let both = |(name, curve): (&String, &Vec<f64>)| {
                    let most = curve.iter().copied().fold(0.0, f64::max);
                    let mean = curve.iter().sum::<f64>() / curve.len() as f64;
                    [(format!("mean {name}"), mean), (format!("most {name}"), most)]
                };
                levels
                    .flat_map(both)
                    .map(|(metric, value)| row(&metric, Unit::Count, Some(value)))
                    .collect()
            }
        };
        for (name, value) in counters.iter().zip(&line.measured.counters) {
            if asked.counters.contains(name) && value.is_some() {
                rows.push(row(&name.replace('_', " "), Unit::Count, *value));
            }
        }
        if asked.handovers {
            let spans = &line.measured.handovers;
            let for_each_seed = spans.count() as f64 / self.experiment.seeds.len() as f64;
            rows.push(row("handovers", Unit::Count, Some(for_each_seed)));
            for (metric, quantile) in [
                ("partition still p50, ms", 0.5),
                ("partition still p95, ms", 0.95),
                ("partition still longest, ms", 1.0),
            ] {
                rows.push(row(metric, Unit::Milliseconds, spans.quantile_ms(quantile)));
            }
        }
        rows
    }

    /// The window in which the first event begins.
    fn event(&self, line: &Line) -> usize {
        let first = self.experiment.panels[line.panel].first_event().unwrap_or_default();
        (first.as_nanos() / self.window.as_nanos()) as usize
    }

    /// What the first event cost in completed orchestrations.
    fn cost(&self, line: &Line) -> [(&'static str, Unit, Option<f64>); 4] {
        let window = self.window.as_secs_f64();
        let cost = Cost::of(&line.measured.curves[0], self.event(line));
        [
            ("before, per s", Unit::PerSecond, Some(cost.before / window)),
            ("lowest, per s", Unit::PerSecond, Some(cost.lowest / window)),
            ("without any, s", Unit::Seconds, Some(cost.gap as f64 * window)),
            ("until back, s", Unit::Seconds, cost.recovered.map(|after| after as f64 * window)),
        ]
    }

    /// Operations a second before the first event, and the least and most of [`SMOOTHED`] windows after it.
    fn traffic(&self, line: &Line) -> [(&'static str, f64); 3] {
        let window = self.window.as_secs_f64();
        let (curve, event) = (&line.measured.curves[0], self.event(line));
        let later = &curve[event.min(curve.len())..];
        let smooth = later.windows(SMOOTHED).map(|several| several.iter().sum::<f64>());
        let most = smooth.fold(0.0, f64::max) / SMOOTHED as f64;
        let cost = Cost::of(curve, event);
        [
            ("before, per s", cost.before / window),
            ("lowest, per s", cost.lowest / window),
            ("highest, per s", most / window),
        ]
    }
}
