//! A tornado: how far each parameter moves a result, the one that moves it most on top.
//!
//! Each parameter has a bar for each of its values, from zero (its default) to the change, with the
//! interval of the change on it and the value beside it. Values below the default are blue and those
//! above it orange, which stay distinct under the common forms of colour blindness; other choices
//! are grey.

use super::canvas::Color;
use super::{FigureError, png, svg};
use page::Page;

mod page;

/// Which way a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TornadoSide {
    /// Below the default.
    Low,
    /// Above it.
    High,
    /// Another choice.
    Other,
}

impl TornadoSide {
    const ALL: [(TornadoSide, &'static str); 3] = [
        (TornadoSide::Low, "below the default"),
        (TornadoSide::High, "above the default"),
        (TornadoSide::Other, "another choice"),
    ];

    /// From the palette of Okabe and Ito, and a grey.
    fn color(self) -> Color {
        match self {
            TornadoSide::Low => Color(0x00, 0x72, 0xB2),
            TornadoSide::High => Color(0xE6, 0x9F, 0x00),
            TornadoSide::Other => Color(0x99, 0x99, 0x99),
        }
    }
}

/// What one value does.
#[derive(Debug, Clone, PartialEq)]
pub struct TornadoBar {
    /// The value.
    pub label: String,
    /// Which way it goes.
    pub side: TornadoSide,
    /// The change.
    pub change: f64,
    /// The interval of the change.
    pub interval: Option<(f64, f64)>,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct TornadoRow {
    /// Its name.
    pub label: String,
    /// Its default.
    pub default: String,
    /// Its values.
    pub bars: Vec<TornadoBar>,
}

/// A figure of sensitivity.
#[derive(Debug, Clone, PartialEq)]
pub struct TornadoFigure {
    /// Stands over the figure.
    pub title: String,
    /// What the axis shows.
    pub axis_title: String,
    /// From top to bottom.
    pub rows: Vec<TornadoRow>,
    /// Stands under the figure, wrapped.
    pub caption: String,
}

impl TornadoFigure {
    /// The figure as an SVG document.
    ///
    /// # Errors
    /// See [`FigureError`]; the same as for [`TornadoFigure::to_png`].
    pub fn to_svg(&self) -> Result<String, FigureError> {
        let page = Page::of(self)?;
        svg::render(page.size(), &self.title, |canvas| page.draw(self, canvas))
    }

    /// The figure as a PNG file, two pixels for each point.
    ///
    /// # Errors
    /// See [`FigureError`]; the same as for [`TornadoFigure::to_svg`].
    pub fn to_png(&self) -> Result<Vec<u8>, FigureError> {
        let page = Page::of(self)?;
        png::render(page.size(), |canvas| page.draw(self, canvas))
    }

    fn check(&self) -> Result<(), FigureError> {
        if self.rows.is_empty() {
            return Err(FigureError::Empty { what: format!("\"{}\"", self.title) });
        }
        for row in &self.rows {
            if row.bars.is_empty() {
                return Err(FigureError::Empty { what: format!("parameter \"{}\"", row.label) });
            }
            for (index, bar) in row.bars.iter().enumerate() {
                let (low, high) = bar.interval.unwrap_or((bar.change, bar.change));
                for (coordinate, value) in
                    [("change", bar.change), ("lower end", low), ("upper end", high)]
                {
                    if !value.is_finite() {
                        let series = row.label.clone();
                        return Err(FigureError::NotFinite { series, index, coordinate, value });
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> TornadoFigure {
        let bar = |label: &str, side, change: f64| TornadoBar {
            label: label.to_owned(),
            side,
            change,
            interval: Some((change - 1.0, change + 1.0)),
        };
        let row = |label: &str, bars| TornadoRow {
            label: label.to_owned(),
            default: "1.4 ms".to_owned(),
            bars,
        };
        TornadoFigure {
            title: "What moves p95".to_owned(),
            axis_title: "change, in ms".to_owned(),
            rows: vec![
                row(
                    "cpu.step",
                    vec![
                        bar("0.7 ms", TornadoSide::Low, -5.0),
                        bar("2.8 ms", TornadoSide::High, 9.0),
                    ],
                ),
                row("speculation", vec![bar("none", TornadoSide::Other, 3.0)]),
            ],
            caption: "What was run.".to_owned(),
        }
    }

    #[test]
    fn it_is_the_same_bytes_each_time_and_shows_its_words() {
        let svg = figure().to_svg().expect("drawn");
        assert_eq!(svg, figure().to_svg().expect("drawn"));
        assert_eq!(figure().to_png(), figure().to_png());
        for words in ["What moves p95", "cpu.step", "0.7 ms", "none", "above the default"] {
            assert!(svg.contains(words), "{words}");
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        let mut nothing = figure();
        nothing.rows.clear();
        assert!(matches!(nothing.to_svg(), Err(FigureError::Empty { .. })));
        let mut bare = figure();
        bare.rows[0].bars.clear();
        assert!(matches!(bare.to_svg(), Err(FigureError::Empty { .. })));
        let mut infinite = figure();
        infinite.rows[0].bars[1].change = f64::NAN;
        assert!(matches!(infinite.to_svg(), Err(FigureError::NotFinite { index: 1, .. })));
    }
}
