//! Where the parts of a figure of comparisons go, and the strokes that draw them.

use super::ScatterFigure;
use crate::figure::axis::{LogAxis, Tick};
use crate::figure::canvas::{Canvas, Point, at};
use crate::figure::layout::{Layout, PLOT_HEIGHT, Plot, TICK, Words};
use crate::figure::legend::{MARK_RADIUS, Stroke};
use crate::figure::{FigureError, GRID_FAINT, INK_SOFT, engine_color};

const PLOT_WIDTH: f64 = 560.0;
/// The factor that is marked on both sides of the diagonal.
const FACTOR: f64 = 2.0;

/// Where everything goes.
pub(super) struct Page {
    layout: Layout,
    /// Both axes.
    axis: LogAxis,
    ends: (f64, f64),
    below: Vec<Tick>,
    left: Vec<Tick>,
}

impl Page {
    pub(super) fn of(figure: &ScatterFigure) -> Result<Page, FigureError> {
        figure.check()?;
        let values = || {
            let points = figure.marks.iter().flat_map(|marks| &marks.points);
            points.flat_map(|(measured, simulated)| [*measured, *simulated])
        };
        let axis = LogAxis::covering(values());
        let words = Words {
            title: &figure.title,
            panel_titles: vec![&figure.panel_title],
            caption: &figure.caption,
        };
        Ok(Page {
            layout: Layout::new(&words, figure.legend_entries(), PLOT_WIDTH),
            ends: (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max)),
            below: axis.ticks(PLOT_WIDTH, &TICK.face()),
            left: axis.upright_ticks(PLOT_HEIGHT, TICK.em),
            axis,
        })
    }

    /// Size of the page in whole points.
    pub(super) fn size(&self) -> (u32, u32) {
        self.layout.size()
    }

    pub(super) fn draw(
        &self,
        figure: &ScatterFigure,
        canvas: &mut Canvas<'_>,
    ) -> Result<(), FigureError> {
        self.layout.draw(canvas, "simulated (logarithmic)")?;
        let plot = self.layout.plot(0);
        let place = |measured: f64, simulated: f64| self.place(&plot, measured, simulated);
        for value in self.axis.fine_values() {
            plot.level(canvas, place(value, value).y, GRID_FAINT)?;
            plot.upright(canvas, place(value, value).x, GRID_FAINT)?;
        }
        for tick in &self.left {
            plot.tick_left(canvas, place(tick.value, tick.value).y, &tick.label)?;
        }
        for tick in &self.below {
            plot.tick_below(canvas, place(tick.value, tick.value).x, &tick.label)?;
        }
        plot.frame(canvas, "measured (logarithmic), each in its own unit")?;
        let (low, high) = self.ends;
        let lines = [
            (Stroke::Solid, [(low, low), (high, high)]),
            (Stroke::Dashed, [(low, low * FACTOR), (high / FACTOR, high)]),
            (Stroke::Dashed, [(low * FACTOR, low), (high, high / FACTOR)]),
        ];
        // Of values that lie closer together than that there is nothing to draw a line between.
        for (stroke, ends) in lines.into_iter().filter(|(_, [from, to])| from.0 < to.0) {
            let path = ends.map(|(measured, simulated)| place(measured, simulated));
            stroke.draw(canvas, &path, INK_SOFT)?;
        }
        let shapes = figure.shapes();
        for marks in &figure.marks {
            let (shape, color) = (shapes.shape(&marks.label), engine_color(&marks.engine));
            for (measured, simulated) in &marks.points {
                canvas.mark(shape, place(*measured, *simulated), MARK_RADIUS, color)?;
            }
        }
        Ok(())
    }

    fn place(&self, plot: &Plot, measured: f64, simulated: f64) -> Point {
        at(
            plot.left + self.axis.share(measured) * plot.width(),
            plot.bottom - self.axis.share(simulated) * plot.height(),
        )
    }
}
