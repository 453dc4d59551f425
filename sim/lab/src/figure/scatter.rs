//! Scatter: simulated against measured, on one pair of equal logarithmic axes.
//!
//! Every comparison is a hollow mark: its colour is the engine's, its shape stands for what is
//! compared. On the diagonal both agree; the two dashed lines beside it are a factor of two off. Units
//! differ from mark to mark: only ratios can be read.

use super::legend::{self, Entry, Sample, Shapes, Stroke};
use super::{FigureError, INK_SOFT, engine_color, png, svg};
use page::Page;

mod page;

/// Marks of one look.
#[derive(Debug, Clone, PartialEq)]
pub struct ScatterMarks {
    /// What is compared; the order in which labels first appear picks the shape.
    pub label: String,
    /// The engine, which picks the colour.
    pub engine: String,
    /// (measured, simulated), both above zero.
    pub points: Vec<(f64, f64)>,
}

/// A figure of comparisons.
#[derive(Debug, Clone, PartialEq)]
pub struct ScatterFigure {
    /// Stands over the figure.
    pub title: String,
    /// Stands over the plot.
    pub panel_title: String,
    /// The marks.
    pub marks: Vec<ScatterMarks>,
    /// Stands under the figure, wrapped.
    pub caption: String,
}

impl ScatterFigure {
    /// The figure as an SVG document.
    ///
    /// # Errors
    /// See [`FigureError`]; the same as for [`ScatterFigure::to_png`].
    pub fn to_svg(&self) -> Result<String, FigureError> {
        let page = Page::of(self)?;
        svg::render(page.size(), &self.title, |canvas| page.draw(self, canvas))
    }

    /// The figure as a PNG file, two pixels for each point.
    ///
    /// # Errors
    /// See [`FigureError`]; the same as for [`ScatterFigure::to_svg`].
    pub fn to_png(&self) -> Result<Vec<u8>, FigureError> {
        let page = Page::of(self)?;
        png::render(page.size(), |canvas| page.draw(self, canvas))
    }

    fn check(&self) -> Result<(), FigureError> {
        if self.marks.is_empty() {
            return Err(FigureError::Empty { what: format!("\"{}\"", self.title) });
        }
        for marks in &self.marks {
            let series = format!("\"{}\" of {}", marks.label, marks.engine);
            if marks.points.is_empty() {
                return Err(FigureError::Empty { what: series });
            }
            for (index, (measured, simulated)) in marks.points.iter().enumerate() {
                for (coordinate, value) in [("measured", *measured), ("simulated", *simulated)] {
                    let series = series.clone();
                    if !value.is_finite() {
                        return Err(FigureError::NotFinite { series, index, coordinate, value });
                    }
                    if value <= 0.0 {
                        let expected = "a number above 0";
                        let error =
                            FigureError::OutOfRange { series, index, coordinate, value, expected };
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    fn shapes(&self) -> Shapes<'_> {
        Shapes::of(self.marks.iter().map(|marks| &*marks.label))
    }

    /// The engines by colour, then what is compared by shape.
    fn legend_entries(&self) -> Vec<Entry> {
        let engines = self.marks.iter().map(|marks| Entry {
            sample: Sample::Area { color: engine_color(&marks.engine) },
            label: marks.engine.clone(),
        });
        let shapes = self.shapes();
        let compared = self.marks.iter().map(|marks| {
            let (color, mark) = (INK_SOFT, shapes.shape(&marks.label));
            Entry { sample: Sample::Mark { color, mark, bar: false }, label: marks.label.clone() }
        });
        let agreement = [(Stroke::Solid, "equal"), (Stroke::Dashed, "a factor of 2 off")];
        let agreement = agreement.map(|(stroke, label)| Entry {
            sample: Sample::Line { color: INK_SOFT, stroke, dots: false },
            label: label.to_owned(),
        });
        let entries = legend::distinct(engines).into_iter().chain(agreement);
        entries.chain(legend::distinct(compared)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(points: &[(f64, f64)]) -> ScatterFigure {
        let marks = |label: &str, engine: &str| ScatterMarks {
            label: label.to_owned(),
            engine: engine.to_owned(),
            points: points.to_vec(),
        };
        ScatterFigure {
            title: "Validation".to_owned(),
            panel_title: "2 comparisons".to_owned(),
            marks: vec![marks("latency", "netherite"), marks("latency", "sql-server")],
            caption: "Seeds.".to_owned(),
        }
    }

    #[test]
    fn a_figure_names_engines_and_what_is_compared_once() {
        let drawn = figure(&[(10.0, 11.0), (5000.0, 3900.0)]);
        let labels: Vec<String> =
            drawn.legend_entries().into_iter().map(|entry| entry.label).collect();
        let expected = ["netherite", "sql-server", "equal", "a factor of 2 off", "latency"];
        assert_eq!(labels, expected);
        assert_eq!(drawn.to_svg().expect("drawn"), drawn.to_svg().expect("drawn"));
        assert!(drawn.to_png().expect("drawn").starts_with(b"\x89PNG"));
    }

    #[test]
    fn what_has_no_place_on_logarithmic_axes_is_refused() {
        let refused = |points: &[(f64, f64)]| figure(points).to_svg().expect_err("no").to_string();
        assert!(refused(&[]).contains("\"latency\" of netherite has nothing"));
        assert!(refused(&[(1.0, 0.0)]).contains("simulated is 0, expected a number above 0"));
        assert!(refused(&[(f64::INFINITY, 1.0)]).contains("measured is inf"));
        let none = ScatterFigure { marks: Vec::new(), ..figure(&[]) };
        assert!(none.to_svg().is_err());
    }
}
