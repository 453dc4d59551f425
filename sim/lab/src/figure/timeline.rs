//! Rates over time, with what happened meanwhile.
//!
//! Panels stand side by side, each with its own span of time; all share one linear axis from zero, so
//! that a rate of nothing is seen as such. What happened is shaded, from its beginning to its end, or
//! a line if it took no time, with a word above it.

use super::legend::{self, Entry, Sample, Stroke};
use super::{FigureError, engine_color, png, svg};
use page::Page;

mod page;

/// A rate over time.
#[derive(Debug, Clone, PartialEq)]
pub struct TimelineCurve {
    /// Its name in the legend; one label names one look in the whole figure.
    pub label: String,
    /// The engine, which picks the colour.
    pub engine: String,
    /// Tells variants of one engine apart.
    pub stroke: Stroke,
    /// (seconds, units a second), ascending in the seconds.
    pub points: Vec<(f64, f64)>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct TimelineBand {
    /// When it began, in seconds.
    pub from: f64,
    /// When it was over, in seconds.
    pub to: f64,
    /// What it was, in a word or two.
    pub label: String,
}

/// One plot.
#[derive(Debug, Clone, PartialEq)]
pub struct TimelinePanel {
    /// Stands over the plot.
    pub title: String,
    /// The end of the time axis, in seconds.
    pub end: f64,
    /// Rates.
    pub curves: Vec<TimelineCurve>,
    /// What happened.
    pub bands: Vec<TimelineBand>,
}

/// A figure of rates over time.
#[derive(Debug, Clone, PartialEq)]
pub struct TimelineFigure {
    /// Stands over the figure.
    pub title: String,
    /// What the upright axis shows, with its unit: `orchestrations a second`.
    pub of: String,
    /// Plots from left to right.
    pub panels: Vec<TimelinePanel>,
    /// Stands under the figure, wrapped.
    pub caption: String,
}

impl TimelineFigure {
    /// The figure as an SVG document.
    ///
    /// # Errors
    /// See [`FigureError`]; the same as for [`TimelineFigure::to_png`].
    pub fn to_svg(&self) -> Result<String, FigureError> {
        let page = Page::of(self)?;
        svg::render(page.size(), &self.title, |canvas| page.draw(self, canvas))
    }

    /// The figure as a PNG file, two pixels for each point.
    ///
    /// # Errors
    /// See [`FigureError`]; the same as for [`TimelineFigure::to_svg`].
    pub fn to_png(&self) -> Result<Vec<u8>, FigureError> {
        let page = Page::of(self)?;
        png::render(page.size(), |canvas| page.draw(self, canvas))
    }

    fn check(&self) -> Result<(), FigureError> {
        if self.panels.is_empty() {
            return Err(FigureError::Empty { what: format!("\"{}\"", self.title) });
        }
        for panel in &self.panels {
            if panel.curves.is_empty() || panel.end <= 0.0 || !panel.end.is_finite() {
                return Err(FigureError::Empty { what: format!("panel \"{}\"", panel.title) });
            }
            for curve in &panel.curves {
                check_curve(panel, curve)?;
            }
        }
        Ok(())
    }

    fn legend_entries(&self) -> Vec<Entry> {
        legend::distinct(self.panels.iter().flat_map(|panel| &panel.curves).map(|curve| {
            let (color, stroke) = (engine_color(&curve.engine), curve.stroke);
            let sample = Sample::Line { color, stroke, dots: false };
            Entry { sample, label: curve.label.clone() }
        }))
    }
}

fn check_curve(panel: &TimelinePanel, curve: &TimelineCurve) -> Result<(), FigureError> {
    let series = format!("\"{}\" of panel \"{}\"", curve.label, panel.title);
    if curve.points.is_empty() {
        return Err(FigureError::Empty { what: series });
    }
    for (index, (second, rate)) in curve.points.iter().enumerate() {
        for (coordinate, value) in [("time", *second), ("rate", *rate)] {
            if !value.is_finite() {
                return Err(FigureError::NotFinite { series, index, coordinate, value });
            }
            if value < 0.0 {
                let expected = "zero or more";
                return Err(FigureError::OutOfRange { series, index, coordinate, value, expected });
            }
        }
    }
    if !curve.points.is_sorted_by(|one, next| one.0 < next.0) {
        return Err(FigureError::Descending { series, index: 0, coordinate: "time" });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
