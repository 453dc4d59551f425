//! The figure of a timeline.

use super::{CheckedTimeline, Line, TimelineExperiment, TimelineMeasure, TimelineScenario};
use crate::experiment::seeds_in_words;
use crate::fault::Fault;
use crate::figure::{Stroke, TimelineBand, TimelineCurve, TimelineFigure, TimelinePanel};
use crate::host_event::{HostChange, HostEvent};

/// How the levels of one engine are told apart.
const LEVEL_STROKES: [Stroke; 3] = [Stroke::Solid, Stroke::Dashed, Stroke::Dotted];

impl TimelineMeasure {
    /// Names the upright axis.
    const fn axis(self) -> &'static str {
        match self {
            TimelineMeasure::Completed => "orchestrations a second",
            TimelineMeasure::Operations => "operations a second",
            TimelineMeasure::Levels => "how many at a time",
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            TimelineMeasure::Completed => "Completed orchestrations",
            TimelineMeasure::Operations => "Operations on storage and event services",
            TimelineMeasure::Levels => "Levels in the middle of each window",
        }
    }
}

impl CheckedTimeline {
    pub(super) fn figure(&self, lines: &[Line]) -> TimelineFigure {
        let TimelineExperiment { panels, series, .. } = &self.experiment;
        let window = self.window.as_secs_f64();
        let curves = |line: &Line| {
            let variant = &series[line.series];
            let asked = &panels[line.panel];
            let rate = |value: &f64| match self.experiment.measure {
                TimelineMeasure::Levels => *value,
                TimelineMeasure::Completed | TimelineMeasure::Operations => value / window,
            };
            let curve = |(number, values): (usize, &Vec<f64>)| {
                let points = values.iter().enumerate();
                let (label, stroke) = match asked.levels.get(number) {
                    None => (variant.label.clone(), variant.stroke()),
                    Some(level) => {
                        (format!("{}: {level}", variant.label), LEVEL_STROKES[number % 3])
                    }
                };
                TimelineCurve {
                    label,
                    engine: variant.engine.clone(),
                    stroke,
                    points: points
                        .map(|(index, value)| ((index as f64 + 0.5) * window, rate(value)))
                        .collect(),
                }
            };
            line.measured.curves.iter().enumerate().map(curve).collect::<Vec<_>>()
        };
        let panel = |(index, asked): (usize, &TimelineScenario)| TimelinePanel {
            title: asked.title.clone(),
            end: asked.end().expect("invariant: it was checked").as_secs_f64(),
            curves: lines.iter().filter(|line| line.panel == index).flat_map(curves).collect(),
            bands: [bands(&asked.host_events), fault_bands(&asked.faults)].concat(),
        };
        TimelineFigure {
            title: self.experiment.title.clone(),
            of: self.experiment.measure.axis().to_owned(),
            panels: panels.iter().enumerate().map(panel).collect(),
            caption: self.caption(lines),
        }
    }

    fn caption(&self, lines: &[Line]) -> String {
        let TimelineExperiment { name, seeds, panels, .. } = &self.experiment;
        let handed_over: Vec<String> = lines.iter().filter_map(|line| self.stood(line)).collect();
        let handed_over = match &handed_over[..] {
            [] => String::new(),
            all => {
                format!(" A partition that went to another host stood still: {}.", all.join("; "))
            }
        };
        let loads: Vec<String> = panels
            .iter()
            .map(|panel| format!("{}: {}, {}", panel.title, panel.workload, panel.load))
            .collect();
        let shaded = match (
            panels.iter().any(|panel| panel.first_event().is_some()),
            panels.iter().any(|panel| !panel.faults.is_empty()),
        ) {
            (false, _) => "",
            (true, false) => "; shaded: what happens to hosts",
            (true, true) => "; shaded: what goes wrong",
        };
        format!(
            "Experiment {name}: {}, {}. {}. {}, mean of the seeds{shaded}.{handed_over}",
            self.experiment.setup(),
            seeds_in_words(seeds),
            loads.join("; "),
            self.experiment.measure.in_words(),
        )
    }

    /// How long partitions stood still that were handed over, in words.
    fn stood(&self, line: &Line) -> Option<String> {
        let spans = &line.measured.handovers;
        let seconds =
            |quantile| spans.quantile_ms(quantile).map(|span| format!("{:.1}", span / 1e3));
        if !self.experiment.panels[line.panel].handovers {
            return None;
        }
        Some(format!(
            "{} median {} s, 95 of 100 at most {} s, longest {} s ({} times)",
            self.experiment.series[line.series].label,
            seconds(0.5)?,
            seconds(0.95)?,
            seconds(1.0)?,
            spans.count()
        ))
    }
}

/// What is shaded. Events at one instant are one band.
fn bands(events: &[HostEvent]) -> Vec<TimelineBand> {
    let mut sorted: Vec<&HostEvent> = events.iter().collect();
    sorted.sort_by_key(|event| (event.at, event.host));
    let same = |one: &&HostEvent, other: &&HostEvent| {
        (one.at, one.end(), name(one)) == (other.at, other.end(), name(other))
    };
    let band = |group: &[&HostEvent]| TimelineBand {
        from: group[0].at.as_secs_f64(),
        to: group[0].end().as_secs_f64(),
        label: match group {
            [one] => format!("host {} {}", one.host, name(one)),
            several => {
                format!("{} hosts {}", several.len(), name(several[0]).trim_end_matches('s'))
            }
        },
    };
    sorted.chunk_by(same).map(band).collect()
}

fn name(event: &HostEvent) -> &'static str {
    match event.change {
        HostChange::Crash(_) | HostChange::PowerLoss(_) => "down",
        HostChange::Pause(_) => "paused",
        HostChange::Leave => "leaves",
        HostChange::Join => "joins",
    }
}

/// What is shaded of other faults.
fn fault_bands(faults: &[Fault]) -> Vec<TimelineBand> {
    let band = |fault: &Fault| TimelineBand {
        from: fault.at().as_secs_f64(),
        to: fault.end().as_secs_f64(),
        label: fault.kind().name.to_owned(),
    };
    faults.iter().map(band).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_at_one_instant_are_one_band() {
        let events: Vec<HostEvent> =
            ["join:host=2,at=1m", "join:host=3,at=1m", "crash:host=0,at=10s,for=5s"]
                .map(|text| text.parse().expect(text))
                .to_vec();
        let shaded = bands(&events);
        let labels: Vec<&str> = shaded.iter().map(|band| band.label.as_str()).collect();
        assert_eq!(labels, ["host 0 down", "2 hosts join"]);
        assert_eq!((shaded[0].from, shaded[0].to), (10.0, 15.0));
    }
}
