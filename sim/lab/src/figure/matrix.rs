//! A matrix: what came of each combination of two things, in words.
//!
//! Rows stand in groups, an engine each, with a bar in the engine's colour. Every cell says in a word or two
//! what came of it; its shade says the same at a glance, and is told apart by lightness as well as by
//! hue. A legend names the shades.

use super::{Color, FigureError, PAPER, png, svg};
use page::Page;

mod page;

/// What the background of a cell says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shade {
    /// As it should be.
    Good,
    /// Worth a look.
    Notable,
    /// As it should not be.
    Bad,
    /// Nothing came of it.
    Plain,
    /// There is nothing to say.
    Blank,
}

impl Shade {
    /// Tints of the palette of Okabe and Ito.
    pub(crate) const fn color(self) -> Color {
        match self {
            Shade::Good => Color(0xCC, 0xE3, 0xF0),
            Shade::Notable => Color(0xF7, 0xE3, 0xB2),
            Shade::Bad => Color(0xE8, 0x9E, 0x66),
            Shade::Plain => Color(0xF4, 0xF4, 0xF4),
            Shade::Blank => PAPER,
        }
    }
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatrixCell {
    /// What came of it, in a word or two; each line is wrapped.
    pub text: String,
    /// Its background.
    pub shade: Shade,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatrixRow {
    /// Its name.
    pub label: String,
    /// A cell for each column.
    pub cells: Vec<MatrixCell>,
}

/// Rows that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatrixGroup {
    /// The engine, which picks the colour of the bar and stands above the rows.
    pub engine: String,
    /// The rows.
    pub rows: Vec<MatrixRow>,
}

/// A figure of a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatrixFigure {
    /// Stands over the figure.
    pub title: String,
    /// What rows are, in a word or two.
    pub of: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows, in groups.
    pub groups: Vec<MatrixGroup>,
    /// What the shades mean.
    pub shades: Vec<(Shade, String)>,
    /// Stands under the figure, wrapped.
    pub caption: String,
}

impl MatrixFigure {
    /// The figure as an SVG document.
    ///
    /// # Errors
    /// See [`FigureError`]; the same as for [`MatrixFigure::to_png`].
    pub fn to_svg(&self) -> Result<String, FigureError> {
        let page = Page::of(self)?;
        svg::render(page.size(), &self.title, |canvas| page.draw(self, canvas))
    }

    /// The figure as a PNG file, two pixels for each point.
    ///
    /// # Errors
    /// See [`FigureError`]; the same as for [`MatrixFigure::to_svg`].
    pub fn to_png(&self) -> Result<Vec<u8>, FigureError> {
        let page = Page::of(self)?;
        png::render(page.size(), |canvas| page.draw(self, canvas))
    }

    fn check(&self) -> Result<(), FigureError> {
        let empty = |what: String| Err(FigureError::Empty { what });
        if self.columns.is_empty() || self.groups.is_empty() {
            return empty(format!("\"{}\"", self.title));
        }
        for group in &self.groups {
            if group.rows.is_empty() {
                return empty(format!("group \"{}\"", group.engine));
            }
            let odd = group.rows.iter().find(|row| row.cells.len() != self.columns.len());
            if let Some(row) = odd {
                return empty(format!("a cell of row \"{}\"", row.label));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
