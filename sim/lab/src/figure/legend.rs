//! The legend: a box of its own between the title and the plots, never over data.
//!
//! Lines stand in the first rows, hollow marks in the rows below, in the same order, so that a
//! measured series stands under its simulated one.

use super::canvas::{Anchor, Canvas, Color, Mark, Point, Style, at};
use super::font::Weight;
use super::{FigureError, GRID, INK, LEGEND_BACKGROUND};

/// What stands before a label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sample {
    /// A curve, with or without dots at its points.
    Line { color: Color, stroke: Stroke, dots: bool },
    /// A filled area.
    Area { color: Color },
    /// A hollow mark, with or without an error bar.
    Mark { color: Color, mark: Mark, bar: bool },
}

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) sample: Sample,
    pub(crate) label: String,
}

/// A legend laid out for a width.
pub(crate) struct Legend {
    /// Rows of entries; all rows share the columns.
    rows: Vec<Vec<Entry>>,
    column: f64,
    width: f64,
}

const TEXT: Style = Style::new(11.0, Weight::Regular, INK).anchored(Anchor::Start);
const ROW: f64 = 18.0;
const PADDING: f64 = 9.0;
const SAMPLE: f64 = 30.0;
const SAMPLE_GAP: f64 = 7.0;
const COLUMN_GAP: f64 = 26.0;

/// Dashes of a dashed and of a dotted curve, in points: drawn, left out.
const DASH: (f64, f64) = (6.0, 3.5);
const DOTS: (f64, f64) = (1.6, 2.6);
/// Width of a curve in points.
const CURVE_WIDTH: f64 = 2.0;
/// Radius of a hollow mark in points.
pub(crate) const MARK_RADIUS: f64 = 3.6;
/// Radius of a dot on a curve in points: small enough to be seen inside of a hollow mark.
pub(crate) const DOT_RADIUS: f64 = 2.0;
/// Height of the sample of an area in points; it is twice as wide.
const AREA: f64 = 10.0;
/// Half the length of the error bar of a sample in points.
const SAMPLE_BAR: f64 = 7.0;

/// How a curve is drawn: tells variants of one engine apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// Through.
    Solid,
    /// In dashes.
    Dashed,
    /// In dots.
    Dotted,
}

impl Stroke {
    /// Draws a curve.
    pub(crate) fn draw(
        self,
        canvas: &mut Canvas<'_>,
        path: &[Point],
        color: Color,
    ) -> Result<(), FigureError> {
        match self {
            Stroke::Solid => canvas.line(path, CURVE_WIDTH, color),
            Stroke::Dashed => canvas.dashed_line(path, DASH, CURVE_WIDTH, color),
            Stroke::Dotted => canvas.dashed_line(path, DOTS, CURVE_WIDTH, color),
        }
    }
}

/// The entries without repetitions, in order of appearance.
pub(crate) fn distinct(entries: impl Iterator<Item = Entry>) -> Vec<Entry> {
    let mut kept: Vec<Entry> = Vec::new();
    for entry in entries {
        if !kept.contains(&entry) {
            kept.push(entry);
        }
    }
    kept
}

/// Which measured series has which shape: labels get one each, in order of appearance.
pub(crate) struct Shapes<'a>(Vec<&'a str>);

impl<'a> Shapes<'a> {
    /// Shapes for these labels, which may repeat.
    pub(crate) fn of(labels: impl Iterator<Item = &'a str>) -> Shapes<'a> {
        let mut kept: Vec<&str> = Vec::new();
        for label in labels {
            if !kept.contains(&label) {
                kept.push(label);
            }
        }
        Shapes(kept)
    }

    /// The shape of a label.
    pub(crate) fn shape(&self, label: &str) -> Mark {
        let index = self.0.iter().position(|known| *known == label);
        Mark::of(index.expect("invariant: shapes are given out to all labels"))
    }
}

impl Legend {
    /// Lays the entries out in as many columns as fit into `width` points.
    pub(crate) fn new(entries: Vec<Entry>, width: f64) -> Legend {
        let face = TEXT.face();
        let widest = entries.iter().map(|entry| face.width(&entry.label)).fold(0.0, f64::max);
        let column = SAMPLE + SAMPLE_GAP + widest + COLUMN_GAP;
        let room = width - 2.0 * PADDING + COLUMN_GAP;
        let columns = ((room / column) as usize).max(1);
        let (lines, marks): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| !matches!(entry.sample, Sample::Mark { .. }));
        let rows = [lines, marks]
            .iter()
            .flat_map(|group| group.chunks(columns).map(<[Entry]>::to_vec))
            .collect();
        Legend { rows, column, width }
    }

    /// Height of the box in points.
    pub(crate) fn height(&self) -> f64 {
        self.rows.len() as f64 * ROW + 2.0 * PADDING - 4.0
    }

    /// Draws the box with its upper left corner at `corner`.
    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>, corner: Point) -> Result<(), FigureError> {
        let opposite = at(corner.x + self.width, corner.y + self.height());
        canvas.fill_rectangle(corner, opposite, LEGEND_BACKGROUND)?;
        canvas.rectangle(corner, opposite, 0.75, GRID)?;
        for (row, entries) in self.rows.iter().enumerate() {
            let middle = corner.y + PADDING - 2.0 + (row as f64 + 0.5) * ROW;
            for (column, entry) in entries.iter().enumerate() {
                let left = corner.x + PADDING + column as f64 * self.column;
                draw_sample(canvas, entry.sample, at(left, middle))?;
                let text = at(left + SAMPLE + SAMPLE_GAP, middle + 0.36 * TEXT.em);
                canvas.text(&entry.label, text, &TEXT)?;
            }
        }
        Ok(())
    }
}

fn draw_sample(canvas: &mut Canvas<'_>, sample: Sample, left: Point) -> Result<(), FigureError> {
    let middle = at(left.x + SAMPLE / 2.0, left.y);
    match sample {
        Sample::Line { color, stroke, dots } => {
            stroke.draw(canvas, &[left, at(left.x + SAMPLE, left.y)], color)?;
            if dots { canvas.dot(middle, DOT_RADIUS, color) } else { Ok(()) }
        }
        Sample::Area { color } => {
            let (top, bottom) = (left.y - AREA / 2.0, left.y + AREA / 2.0);
            let (from, to) = (at(middle.x - AREA, top), at(middle.x + AREA, bottom));
            canvas.fill_rectangle(from, to, color)
        }
        Sample::Mark { color, mark, bar } => {
            if bar {
                let (top, bottom) = (middle.y - SAMPLE_BAR, middle.y + SAMPLE_BAR);
                canvas.error_bar(middle.x, top, bottom, color)?;
            }
            canvas.mark(mark, middle, MARK_RADIUS, color)
        }
    }
}
