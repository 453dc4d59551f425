//! Bars: what something comes to for each engine, and what it is made of.
//!
//! Plots stand side by side, each with its own linear axis from zero and its own unit; a bar for each
//! engine lies in its own row, with its name and its sum written above it. A bar of one part has the
//! engine's colour. A bar of several parts is stacked, in colours that stand for the parts and are the
//! same in all plots; a square in the engine's colour stands before its name. A line through the end of a
//! bar goes from the least to the greatest sum that was seen; a hollow mark is what was measured.

use super::axis::number;
use super::legend::{self, Entry, Sample};
use super::{Color, FigureError, engine_color, png, svg};
use page::Page;

mod page;

/// A part of a bar.
#[derive(Debug, Clone, PartialEq)]
pub struct BarPart {
    /// What it is; one name is one colour in the whole figure.
    pub name: String,
    /// How much.
    pub value: f64,
}

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Its name.
    pub label: String,
    /// The engine, which picks the colour.
    pub engine: String,
    /// What it is made of, from the left.
    pub parts: Vec<BarPart>,
    /// The least and the greatest sum, if there were several.
    pub range: Option<(f64, f64)>,
    /// What was measured.
    pub measured: Option<f64>,
    /// Stands behind its name instead of its sum.
    pub note: Option<String>,
}

impl Bar {
    /// The sum of its parts.
    pub fn sum(&self) -> f64 {
        self.parts.iter().map(|part| part.value).sum()
    }

    /// What stands behind its name.
    fn said(&self) -> String {
        self.note.clone().unwrap_or_else(|| rounded(self.sum()))
    }
}

/// A sum with three digits that count.
fn rounded(value: f64) -> String {
    let decimals = match value.abs() {
        magnitude if magnitude >= 100.0 => 0,
        magnitude if magnitude >= 10.0 => 1,
        magnitude if magnitude >= 1.0 => 2,
        _ => 3,
    };
    number(format!("{value:.decimals$}").parse().expect("invariant: a number was written"))
}

/// One plot.
#[derive(Debug, Clone, PartialEq)]
pub struct BarsPanel {
    /// Stands over the plot.
    pub title: String,
    /// Stands below its axis: what is counted, with its unit.
    pub of: String,
    /// The bars from top to bottom.
    pub bars: Vec<Bar>,
}

/// A figure of bars.
#[derive(Debug, Clone, PartialEq)]
pub struct BarsFigure {
    /// Stands over the figure.
    pub title: String,
    /// Plots from left to right.
    pub panels: Vec<BarsPanel>,
    /// Stands under the figure, wrapped.
    pub caption: String,
}

/// Colours of parts, in order of appearance: Okabe and Ito's, then Tol's muted scheme, so that neighbours
/// differ in lightness as well as in hue.
const PART_COLORS: [Color; 12] = [
    Color(0x56, 0xB4, 0xE9),
    Color(0x33, 0x22, 0x88),
    Color(0xDD, 0xCC, 0x77),
    Color(0x88, 0x22, 0x55),
    Color(0x44, 0xAA, 0x99),
    Color(0xD5, 0x5E, 0x00),
    Color(0x99, 0x99, 0x33),
    Color(0x00, 0x72, 0xB2),
    Color(0xCC, 0x66, 0x77),
    Color(0x11, 0x77, 0x33),
    Color(0xAA, 0x44, 0x99),
    Color(0xBB, 0xBB, 0xBB),
];

impl BarsFigure {
    /// The figure as an SVG document.
    ///
    /// # Errors
    /// See [`FigureError`]; the same as for [`BarsFigure::to_png`].
    pub fn to_svg(&self) -> Result<String, FigureError> {
        let page = Page::of(self)?;
        svg::render(page.size(), &self.title, |canvas| page.draw(self, canvas))
    }

    /// The figure as a PNG file, two pixels for each point.
    ///
    /// # Errors
    /// See [`FigureError`]; the same as for [`BarsFigure::to_svg`].
    pub fn to_png(&self) -> Result<Vec<u8>, FigureError> {
        let page = Page::of(self)?;
        png::render(page.size(), |canvas| page.draw(self, canvas))
    }

    fn check(&self) -> Result<(), FigureError> {
        if self.panels.is_empty() {
            return Err(FigureError::Empty { what: format!("\"{}\"", self.title) });
        }
        for panel in &self.panels {
            if panel.bars.is_empty() {
                return Err(FigureError::Empty { what: format!("panel \"{}\"", panel.title) });
            }
            panel.bars.iter().try_for_each(|bar| check_bar(panel, bar))?;
        }
        Ok(())
    }

    /// Names of the parts of stacked bars, in order of appearance.
    fn part_names(&self) -> Vec<&str> {
        let stacked = self.panels.iter().filter(|panel| is_stacked(panel));
        let mut names: Vec<&str> = Vec::new();
        for part in stacked.flat_map(|panel| &panel.bars).flat_map(|bar| &bar.parts) {
            if part.value > 0.0 && !names.contains(&part.name.as_str()) {
                names.push(&part.name);
            }
        }
        names
    }

    fn legend_entries(&self) -> Vec<Entry> {
        let names = self.part_names();
        let part = |(index, name): (usize, &&str)| Entry {
            sample: Sample::Area { color: PART_COLORS[index % PART_COLORS.len()] },
            label: (*name).to_owned(),
        };
        let mut entries: Vec<Entry> = names.iter().enumerate().map(part).collect();
        let bars = || self.panels.iter().flat_map(|panel| &panel.bars);
        if names.is_empty() {
            entries.extend(legend::distinct(bars().map(|bar| Entry {
                sample: Sample::Area { color: engine_color(&bar.engine) },
                label: bar.label.clone(),
            })));
        }
        if bars().any(|bar| bar.measured.is_some()) {
            let (color, mark) = (super::INK, super::canvas::Mark::Diamond);
            let sample = Sample::Mark { color, mark, bar: false };
            entries.push(Entry { sample, label: "measured".to_owned() });
        }
        entries
    }
}

/// Whether bars of this plot have several parts.
fn is_stacked(panel: &BarsPanel) -> bool {
    panel.bars.iter().any(|bar| bar.parts.len() > 1)
}

fn check_bar(panel: &BarsPanel, bar: &Bar) -> Result<(), FigureError> {
    let series = format!("\"{}\" of panel \"{}\"", bar.label, panel.title);
    let ends = bar.range.iter().flat_map(|(least, greatest)| [*least, *greatest]);
    let parts = bar.parts.iter().map(|part| ("part", part.value));
    let rest = ends.map(|end| ("range", end));
    let rest = rest.chain(bar.measured.map(|measured| ("measurement", measured)));
    for (index, (coordinate, value)) in parts.chain(rest).enumerate() {
        if !value.is_finite() {
            return Err(FigureError::NotFinite { series, index, coordinate, value });
        }
        if value < 0.0 {
            let expected = "zero or more";
            return Err(FigureError::OutOfRange { series, index, coordinate, value, expected });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
