//! Throughput over the number of hosts: simulated as lines with dots, measured as hollow marks
//! with a bar from the lowest to the highest repetition.
//!
//! Panels stand side by side and share one logarithmic axis (orchestrations a second, say), on which
//! equal distances are equal ratios. Numbers of hosts are categories at even distances. A dot lies
//! over a mark: where the two agree, the dot is in the middle of the mark.

use super::legend::{self, Entry, Sample, Shapes, Stroke};
use super::{FigureError, engine_color, png, svg};
use page::Page;

mod page;

/// Simulated throughput of one engine.
#[derive(Debug, Clone, PartialEq)]
pub struct ThroughputCurve {
    /// Its name in the legend; one label names one look in the whole figure.
    pub label: String,
    /// The engine, which picks the colour.
    pub engine: String,
    /// Tells variants of one engine apart.
    pub stroke: Stroke,
    /// (hosts, units a second), ascending in the hosts.
    pub points: Vec<(u32, f64)>,
}

/// Measured throughput of one configuration, in units a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredThroughput {
    /// Hosts.
    pub hosts: u32,
    /// Mean of the repetitions.
    pub mean: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

/// Measured throughput of one engine.
#[derive(Debug, Clone, PartialEq)]
pub struct ThroughputMarks {
    /// Its name in the legend; the order in which labels first appear picks the shape.
    pub label: String,
    /// The engine, which picks the colour.
    pub engine: String,
    /// By number of hosts.
    pub points: Vec<MeasuredThroughput>,
}

/// One plot: usually one plan.
#[derive(Debug, Clone, PartialEq)]
pub struct ThroughputPanel {
    /// Stands over the plot.
    pub title: String,
    /// Simulated throughput.
    pub curves: Vec<ThroughputCurve>,
    /// Measured throughput.
    pub marks: Vec<ThroughputMarks>,
}

/// A figure of throughput.
#[derive(Debug, Clone, PartialEq)]
pub struct ThroughputFigure {
    /// Stands over the figure.
    pub title: String,
    /// What is counted: the plural, `orchestrations`.
    pub unit: String,
    /// What stands under the plots: the plural, `hosts`.
    pub of: String,
    /// Their numbers, from left to right.
    pub hosts: Vec<u32>,
    /// Plots from left to right.
    pub panels: Vec<ThroughputPanel>,
    /// Stands under the figure, wrapped: what was run (spec, seeds) and where measurements are from.
    pub caption: String,
}

impl ThroughputFigure {
    /// The figure as an SVG document.
    ///
    /// # Errors
    /// See [`FigureError`]; the same as for [`ThroughputFigure::to_png`].
    pub fn to_svg(&self) -> Result<String, FigureError> {
        let page = Page::of(self)?;
        svg::render(page.size(), &self.title, |canvas| page.draw(self, canvas))
    }

    /// The figure as a PNG file, two pixels for each point.
    ///
    /// # Errors
    /// See [`FigureError`]; the same as for [`ThroughputFigure::to_svg`].
    pub fn to_png(&self) -> Result<Vec<u8>, FigureError> {
        let page = Page::of(self)?;
        png::render(page.size(), |canvas| page.draw(self, canvas))
    }

    fn check(&self) -> Result<(), FigureError> {
        if self.panels.is_empty() || self.hosts.is_empty() {
            return Err(FigureError::Empty { what: format!("\"{}\"", self.title) });
        }
        for panel in &self.panels {
            if panel.curves.is_empty() && panel.marks.is_empty() {
                return Err(FigureError::Empty { what: format!("panel \"{}\"", panel.title) });
            }
            for curve in &panel.curves {
                let values = curve.points.iter().map(|(hosts, rate)| (*hosts, [*rate; 3]));
                self.check_series(&panel.title, &curve.label, values)?;
            }
            for marks in &panel.marks {
                let values = marks.points.iter().map(|m| (m.hosts, [m.min, m.mean, m.max]));
                self.check_series(&panel.title, &marks.label, values)?;
            }
        }
        Ok(())
    }

    /// Checks values of (hosts, minimum, mean, maximum).
    fn check_series(
        &self,
        panel: &str,
        label: &str,
        values: impl ExactSizeIterator<Item = (u32, [f64; 3])>,
    ) -> Result<(), FigureError> {
        let series = format!("\"{label}\" of panel \"{panel}\"");
        if values.len() == 0 {
            return Err(FigureError::Empty { what: series });
        }
        for (index, (hosts, rates)) in values.enumerate() {
            let out_of_range = |coordinate, value, expected| FigureError::OutOfRange {
                series: series.clone(),
                index,
                coordinate,
                value,
                expected,
            };
            if !self.hosts.contains(&hosts) {
                let expected = "one of the numbers of hosts of the figure";
                return Err(out_of_range("number of hosts", f64::from(hosts), expected));
            }
            for (coordinate, value) in ["minimum", "throughput", "maximum"].into_iter().zip(rates) {
                if !value.is_finite() {
                    return Err(FigureError::NotFinite { series, index, coordinate, value });
                }
                if value <= 0.0 {
                    return Err(out_of_range(coordinate, value, "a rate above 0"));
                }
            }
            if !rates.is_sorted() {
                let expected = "a mean from the minimum to the maximum";
                return Err(out_of_range("throughput", rates[1], expected));
            }
        }
        Ok(())
    }

    /// Shapes of all measured series.
    fn shapes(&self) -> Shapes<'_> {
        Shapes::of(self.panels.iter().flat_map(|panel| &panel.marks).map(|marks| &*marks.label))
    }

    fn legend_entries(&self) -> Vec<Entry> {
        let lines = self.panels.iter().flat_map(|panel| &panel.curves).map(|curve| {
            let (color, stroke) = (engine_color(&curve.engine), curve.stroke);
            let sample = Sample::Line { color, stroke, dots: true };
            Entry { sample, label: format!("{}, simulated", curve.label) }
        });
        let shapes = self.shapes();
        let marks = self.panels.iter().flat_map(|panel| &panel.marks).map(|marks| {
            let (color, mark) = (engine_color(&marks.engine), shapes.shape(&marks.label));
            Entry { sample: Sample::Mark { color, mark, bar: true }, label: marks.label.clone() }
        });
        legend::distinct(lines.chain(marks))
    }
}

#[cfg(test)]
mod tests;
