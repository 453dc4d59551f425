//! Distributions of latency: simulated ones as curves, measured percentiles as hollow marks.
//!
//! Panels stand side by side and share one logarithmic latency axis (milliseconds), so that they
//! can be compared by eye, or have one each where they are about different things; the fraction axis is linear from 0 to 1. A latency of exactly zero (an
//! engine that costs nothing) is drawn at the left edge.

use super::legend::{self, Entry, Sample, Shapes, Stroke};
use super::{FigureError, engine_color, png, svg};
use page::Page;

mod page;

/// Curves with more points than this are thinned out before they are drawn.
pub const CURVE_POINTS_MAX: usize = 2_000;

/// A simulated distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct CdfCurve {
    /// Its name in the legend; one label names one look in the whole figure.
    pub label: String,
    /// The engine, which picks the colour.
    pub engine: String,
    /// Tells variants of one engine apart.
    pub stroke: Stroke,
    /// (latency in milliseconds, fraction of orchestrations at or below it), ascending in both.
    pub points: Vec<(f64, f64)>,
}

/// Measured percentiles.
#[derive(Debug, Clone, PartialEq)]
pub struct CdfMarks {
    /// Its name in the legend; the order in which labels first appear picks the shape.
    pub label: String,
    /// The engine, which picks the colour.
    pub engine: String,
    /// (latency in milliseconds, fraction of orchestrations at or below it), ascending in both.
    pub points: Vec<(f64, f64)>,
}

/// One plot: usually one workload.
#[derive(Debug, Clone, PartialEq)]
pub struct CdfPanel {
    /// Stands over the plot.
    pub title: String,
    /// Simulated distributions.
    pub curves: Vec<CdfCurve>,
    /// Measured percentiles, drawn over the curves.
    pub marks: Vec<CdfMarks>,
}

/// A figure of latency distributions.
#[derive(Debug, Clone, PartialEq)]
pub struct CdfFigure {
    /// Stands over the figure.
    pub title: String,
    /// Plots from left to right.
    pub panels: Vec<CdfPanel>,
    /// Whether each plot has a latency axis of its own; otherwise all share one.
    pub own_axes: bool,
    /// Stands under the figure, wrapped: what was run (spec, seeds) and where measurements are from.
    pub caption: String,
}

impl CdfFigure {
    /// The figure as an SVG document.
    ///
    /// # Errors
    /// See [`FigureError`]; the same as for [`CdfFigure::to_png`].
    pub fn to_svg(&self) -> Result<String, FigureError> {
        let page = Page::of(self)?;
        svg::render(page.size(), &self.title, |canvas| page.draw(self, canvas))
    }

    /// The figure as a PNG file, two pixels for each point.
    ///
    /// # Errors
    /// See [`FigureError`]; the same as for [`CdfFigure::to_svg`].
    pub fn to_png(&self) -> Result<Vec<u8>, FigureError> {
        let page = Page::of(self)?;
        png::render(page.size(), |canvas| page.draw(self, canvas))
    }

    fn check(&self) -> Result<(), FigureError> {
        if self.panels.is_empty() {
            return Err(FigureError::Empty { what: format!("\"{}\"", self.title) });
        }
        for panel in &self.panels {
            if panel.curves.is_empty() && panel.marks.is_empty() {
                return Err(FigureError::Empty { what: format!("panel \"{}\"", panel.title) });
            }
            for (label, points) in panel.series() {
                check_distribution(&format!("\"{label}\" of panel \"{}\"", panel.title), points)?;
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
            Entry {
                sample: Sample::Line { color, stroke, dots: false },
                label: curve.label.clone(),
            }
        });
        let shapes = self.shapes();
        let marks = self.panels.iter().flat_map(|panel| &panel.marks).map(|marks| {
            let (color, mark) = (engine_color(&marks.engine), shapes.shape(&marks.label));
            Entry { sample: Sample::Mark { color, mark, bar: false }, label: marks.label.clone() }
        });
        legend::distinct(lines.chain(marks))
    }
}

impl CdfPanel {
    fn series(&self) -> impl Iterator<Item = (&str, &[(f64, f64)])> {
        let curves = self.curves.iter().map(|curve| (curve.label.as_str(), &curve.points[..]));
        let marks = self.marks.iter().map(|marks| (marks.label.as_str(), &marks.points[..]));
        curves.chain(marks)
    }
}

/// Rejects what is not a distribution over non-negative latencies.
fn check_distribution(series: &str, points: &[(f64, f64)]) -> Result<(), FigureError> {
    if points.is_empty() {
        return Err(FigureError::Empty { what: series.to_owned() });
    }
    for (index, &(latency, fraction)) in points.iter().enumerate() {
        let both = [
            ("latency", latency, latency >= 0.0, "a latency of at least 0 ms"),
            ("fraction", fraction, (0.0..=1.0).contains(&fraction), "a fraction from 0 to 1"),
        ];
        for (coordinate, value, inside, expected) in both {
            let series = series.to_owned();
            if !value.is_finite() {
                return Err(FigureError::NotFinite { series, index, coordinate, value });
            }
            if !inside {
                return Err(FigureError::OutOfRange { series, index, coordinate, value, expected });
            }
        }
    }
    for (index, pair) in points.windows(2).enumerate() {
        for (coordinate, falls) in
            [("latency", pair[1].0 < pair[0].0), ("fraction", pair[1].1 < pair[0].1)]
        {
            if falls {
                let (series, index) = (series.to_owned(), index + 1);
                return Err(FigureError::Descending { series, index, coordinate });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
