//! Figures: one visual language for everything the lab draws.
//!
//! A figure is plain data (titles, curves, marks, a caption) that renders itself as SVG and as
//! PNG. Both come from one drawing on one integer grid (`canvas`), so they show the same
//! picture, and both depend on their input alone: the font is embedded (`font`), nothing is
//! read from the machine, and the bytes carry no date and no address. The same figure is the
//! same bytes in every process.
//!
//! The language, in short:
//! - an engine has **one colour**, in every figure ([`engine_color`]), from the palette of Okabe
//!   and Ito, which stays distinct under the common forms of colour blindness;
//! - **simulated** results are lines, **measured** ones are hollow marks: what was measured is
//!   only drawn beside, never joined up into a curve;
//! - variants of one engine differ by dashes or dots and by the shape of the mark, not by colour;
//! - sizes are fixed in points, so that two figures can be laid side by side; a legend has its
//!   own box outside the plot and never covers data; the caption says what was run.
//!
//! Units: lengths on the page are points, latencies milliseconds, throughput units of the workload
//! (orchestrations, mostly) a second.

mod axis;
mod bars;
mod canvas;
mod cdf;
mod font;
mod layout;
mod legend;
mod matrix;
mod png;
mod response;
mod scatter;
mod svg;
mod throughput;
mod timeline;
mod tornado;

pub use bars::{Bar, BarPart, BarsFigure, BarsPanel};
pub use canvas::Color;
pub use cdf::{CURVE_POINTS_MAX, CdfCurve, CdfFigure, CdfMarks, CdfPanel};
pub use legend::Stroke;
pub use matrix::{MatrixCell, MatrixFigure, MatrixGroup, MatrixRow, Shade};
pub use response::{ResponseFigure, ResponsePoint};
pub use scatter::{ScatterFigure, ScatterMarks};
pub use throughput::{
    MeasuredThroughput, ThroughputCurve, ThroughputFigure, ThroughputMarks, ThroughputPanel,
};

pub use timeline::{TimelineBand, TimelineCurve, TimelineFigure, TimelinePanel};
pub use tornado::{TornadoBar, TornadoFigure, TornadoRow, TornadoSide};

/// A figure of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Figure {
    /// Distributions of latency.
    Cdf(CdfFigure),
    /// Throughput over hosts.
    Throughput(ThroughputFigure),
    /// Rates over time.
    Timeline(TimelineFigure),
    /// Combinations of two things, in words.
    Matrix(MatrixFigure),
    /// Sums and what they are made of.
    Bars(BarsFigure),
    /// Simulated against measured.
    Scatter(ScatterFigure),
}

impl Figure {
    /// The figure as an SVG document.
    ///
    /// # Errors
    /// See [`FigureError`].
    pub fn to_svg(&self) -> Result<String, FigureError> {
        match self {
            Figure::Cdf(figure) => figure.to_svg(),
            Figure::Throughput(figure) => figure.to_svg(),
            Figure::Timeline(figure) => figure.to_svg(),
            Figure::Matrix(figure) => figure.to_svg(),
            Figure::Bars(figure) => figure.to_svg(),
            Figure::Scatter(figure) => figure.to_svg(),
        }
    }

    /// The figure as a PNG file.
    ///
    /// # Errors
    /// See [`FigureError`].
    pub fn to_png(&self) -> Result<Vec<u8>, FigureError> {
        match self {
            Figure::Cdf(figure) => figure.to_png(),
            Figure::Throughput(figure) => figure.to_png(),
            Figure::Timeline(figure) => figure.to_png(),
            Figure::Matrix(figure) => figure.to_png(),
            Figure::Bars(figure) => figure.to_png(),
            Figure::Scatter(figure) => figure.to_png(),
        }
    }
}

/// Why a figure could not be drawn. Every variant but the last is a fault of the figure's data.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FigureError {
    /// A figure without panels, a panel without series, or a series without points.
    #[error("figure: {what} has nothing to draw")]
    Empty {
        /// The part that is empty.
        what: String,
    },
    /// A coordinate is NaN or infinite.
    #[error("figure: {series}, point {index}: {coordinate} is {value}, expected a finite number")]
    NotFinite {
        /// The series, as its label names it.
        series: String,
        /// Index of the point, from 0.
        index: usize,
        /// Which coordinate of the point.
        coordinate: &'static str,
        /// What was found.
        value: f64,
    },
    /// A coordinate lies outside of what the axis can show.
    #[error("figure: {series}, point {index}: {coordinate} is {value}, expected {expected}")]
    OutOfRange {
        /// The series, as its label names it.
        series: String,
        /// Index of the point, from 0.
        index: usize,
        /// Which coordinate of the point.
        coordinate: &'static str,
        /// What was found.
        value: f64,
        /// What the axis can show.
        expected: &'static str,
    },
    /// A distribution that steps back.
    #[error("figure: {series}, point {index}: a distribution never falls, but {coordinate} does")]
    Descending {
        /// The series, as its label names it.
        series: String,
        /// Index of the first point that lies before the one ahead of it, from 0.
        index: usize,
        /// Which coordinate of the point.
        coordinate: &'static str,
    },
    /// The drawing library refused; not a matter of the data.
    #[error("figure: cannot render: {0}")]
    Render(String),
}

/// The ink of text and frames.
pub(crate) const INK: Color = Color(0x22, 0x22, 0x22);
/// Text that stands back: captions and tick labels.
pub(crate) const INK_SOFT: Color = Color(0x55, 0x55, 0x55);
/// Grid lines at labelled ticks.
pub(crate) const GRID: Color = Color(0xDD, 0xDD, 0xDD);
/// Grid lines between labelled ticks.
pub(crate) const GRID_FAINT: Color = Color(0xF0, 0xF0, 0xF0);
/// Background of a legend.
pub(crate) const LEGEND_BACKGROUND: Color = Color(0xF7, 0xF7, 0xF7);
/// The page.
pub(crate) const PAPER: Color = Color(0xFF, 0xFF, 0xFF);

/// The palette of Okabe and Ito (2008), without its yellow, which is too pale for lines on white.
const ENGINE_COLORS: [(&str, Color); 6] = [
    ("in-memory", Color(0x00, 0x00, 0x00)),
    ("netherite", Color(0x00, 0x72, 0xB2)),
    ("azure-storage", Color(0xD5, 0x5E, 0x00)),
    ("triggerflow", Color(0x00, 0x9E, 0x73)),
    ("internet-computer", Color(0xCC, 0x79, 0xA7)),
    ("sql-server", Color(0xE6, 0x9F, 0x00)),
];

/// Colours for names that are not in `ENGINE_COLORS` (Okabe and Ito's sky blue, then Tol's
/// muted scheme).
const SPARE_COLORS: [Color; 5] = [
    Color(0x56, 0xB4, 0xE9),
    Color(0x88, 0x22, 0x55),
    Color(0x99, 0x99, 0x33),
    Color(0x33, 0x22, 0x88),
    Color(0x44, 0xAA, 0x99),
];

/// The colour of an engine: the same in every figure, a function of the name alone.
///
/// A name that is not known here (a new engine, a foreign system drawn for comparison) gets a
/// spare colour picked by its hash, so a new engine needs no change in this file.
pub fn engine_color(engine: &str) -> Color {
    if let Some((_, color)) = ENGINE_COLORS.iter().find(|(name, _)| *name == engine) {
        return *color;
    }
    let hash = xor_multiply_hash(engine.as_bytes());
    let spare_count = SPARE_COLORS.len() as u64;
    SPARE_COLORS[(hash % spare_count) as usize]
}

/// FNV-1a, 64 bits: stable between builds and machines.
fn xor_multiply_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_have_distinct_colors() {
        for (position, (name, color)) in ENGINE_COLORS.iter().enumerate() {
            assert_eq!(engine_color(name), *color);
            for (other, other_color) in &ENGINE_COLORS[position + 1..] {
                assert_ne!(color, other_color, "{name} and {other}");
            }
            assert!(!SPARE_COLORS.contains(color), "{name}");
        }
    }

    #[test]
    fn an_unknown_engine_keeps_its_color() {
        let color = engine_color("step-functions");
        assert_eq!(color, engine_color("step-functions"));
        assert!(SPARE_COLORS.contains(&color));
    }
}
