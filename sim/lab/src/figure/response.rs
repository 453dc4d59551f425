//! A response over the offered load: latency by rate, with a bound that it is to keep.
//!
//! Both axes are logarithmic. Each rate has a dot, or a hollow mark where the bound (or something else
//! that was asked) is not kept, with a bar from the lowest to the highest replication. The bound is a
//! dashed line; where the highest rate lies is shaded.

use super::canvas::Mark;
use super::legend::{Entry, Sample, Stroke};
use super::{FigureError, INK, engine_color, png, svg};
use page::Page;

mod page;

/// One rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResponsePoint {
    /// What was offered, a second.
    pub rate: f64,
    /// The mean over replications.
    pub value: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
    /// Whether it keeps what was asked.
    pub met: bool,
}

/// A figure of a response.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseFigure {
    /// Stands over the figure.
    pub title: String,
    /// The engine, which picks the colour.
    pub engine: String,
    /// What the axis below shows.
    pub x_title: String,
    /// What the upright axis shows.
    pub y_title: String,
    /// By rate, ascending.
    pub points: Vec<ResponsePoint>,
    /// The bound.
    pub bound: f64,
    /// From which rate to which the highest one lies that keeps it.
    pub band: Option<(f64, f64)>,
    /// Stands under the figure, wrapped.
    pub caption: String,
}

impl ResponseFigure {
    /// The figure as an SVG document.
    ///
    /// # Errors
    /// See [`FigureError`]; the same as for [`ResponseFigure::to_png`].
    pub fn to_svg(&self) -> Result<String, FigureError> {
        let page = Page::of(self)?;
        svg::render(page.size(), &self.title, |canvas| page.draw(self, canvas))
    }

    /// The figure as a PNG file, two pixels for each point.
    ///
    /// # Errors
    /// See [`FigureError`]; the same as for [`ResponseFigure::to_svg`].
    pub fn to_png(&self) -> Result<Vec<u8>, FigureError> {
        let page = Page::of(self)?;
        png::render(page.size(), |canvas| page.draw(self, canvas))
    }

    fn check(&self) -> Result<(), FigureError> {
        if self.points.is_empty() {
            return Err(FigureError::Empty { what: format!("\"{}\"", self.title) });
        }
        for (index, point) in self.points.iter().enumerate() {
            let ResponsePoint { rate, value, low, high, .. } = *point;
            for (coordinate, value) in
                [("rate", rate), ("lowest", low), ("value", value), ("highest", high)]
            {
                let series = self.title.clone();
                if !value.is_finite() {
                    return Err(FigureError::NotFinite { series, index, coordinate, value });
                }
                if value < 0.0 {
                    let expected = "zero or more";
                    return Err(FigureError::OutOfRange {
                        series,
                        index,
                        coordinate,
                        value,
                        expected,
                    });
                }
            }
        }
        if !self.points.is_sorted_by(|one, next| one.rate < next.rate) {
            let (series, coordinate) = (self.title.clone(), "rate");
            return Err(FigureError::Descending { series, index: 0, coordinate });
        }
        Ok(())
    }

    fn legend_entries(&self) -> Vec<Entry> {
        let color = engine_color(&self.engine);
        let line = |color, stroke, dots, label: &str| Entry {
            sample: Sample::Line { color, stroke, dots },
            label: label.to_owned(),
        };
        vec![
            line(color, Stroke::Solid, true, "meets the target under every seed that tried it"),
            Entry {
                sample: Sample::Mark { color, mark: Mark::of(0), bar: true },
                label: "does not".to_owned(),
            },
            line(INK, Stroke::Dashed, false, "target"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> ResponseFigure {
        let point = |rate, value: f64, met| ResponsePoint {
            rate,
            value,
            low: value * 0.9,
            high: value * 1.1,
            met,
        };
        ResponseFigure {
            title: "Highest rate".to_owned(),
            engine: "netherite".to_owned(),
            x_title: "a second".to_owned(),
            y_title: "ms".to_owned(),
            points: vec![
                point(10.0, 20.0, true),
                point(20.0, 25.0, true),
                point(40.0, 900.0, false),
            ],
            bound: 500.0,
            band: Some((18.0, 33.0)),
            caption: "What was run.".to_owned(),
        }
    }

    #[test]
    fn it_is_the_same_bytes_each_time_and_shows_its_words() {
        let svg = figure().to_svg().expect("drawn");
        assert_eq!(svg, figure().to_svg().expect("drawn"));
        assert_eq!(figure().to_png(), figure().to_png());
        for words in ["Highest rate", "does not", "target", "What was run."] {
            assert!(svg.contains(words), "{words}");
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        let mut nothing = figure();
        nothing.points.clear();
        assert!(matches!(nothing.to_svg(), Err(FigureError::Empty { .. })));
        let mut infinite = figure();
        infinite.points[1].value = f64::INFINITY;
        assert!(matches!(infinite.to_svg(), Err(FigureError::NotFinite { index: 1, .. })));
        let mut back = figure();
        back.points.reverse();
        assert!(matches!(back.to_svg(), Err(FigureError::Descending { .. })));
    }
}
