//! Where the parts of a figure of a response go, and the strokes that draw them.

use super::ResponseFigure;
use crate::figure::axis::{LogAxis, Tick};
use crate::figure::canvas::{Canvas, Color, Mark, Point, at};
use crate::figure::layout::{Layout, PLOT_HEIGHT, Plot, TICK, Words};
use crate::figure::legend::{DOT_RADIUS, MARK_RADIUS, Stroke};
use crate::figure::{FigureError, GRID_FAINT, INK, engine_color};

const PLOT_WIDTH: f64 = 520.0;
/// Where the highest rate lies.
const BAND: Color = Color(0xEC, 0xE4, 0xD6);

/// Where everything goes.
pub(super) struct Page {
    layout: Layout,
    rate: LogAxis,
    value: LogAxis,
    ticks: Vec<Tick>,
    upright_ticks: Vec<Tick>,
}

impl Page {
    pub(super) fn of(figure: &ResponseFigure) -> Result<Page, FigureError> {
        figure.check()?;
        let points = figure.points.iter();
        let rate = LogAxis::covering(points.clone().map(|point| point.rate));
        let values = points.flat_map(|point| [point.low, point.high]);
        let value = LogAxis::covering(values.chain([figure.bound]));
        let words =
            Words { title: &figure.title, panel_titles: vec![""], caption: &figure.caption };
        Ok(Page {
            layout: Layout::new(&words, figure.legend_entries(), PLOT_WIDTH),
            ticks: rate.ticks(PLOT_WIDTH, &TICK.face()),
            upright_ticks: value.upright_ticks(PLOT_HEIGHT, TICK.em),
            rate,
            value,
        })
    }

    /// Size of the page in whole points.
    pub(super) fn size(&self) -> (u32, u32) {
        self.layout.size()
    }

    pub(super) fn draw(
        &self,
        figure: &ResponseFigure,
        canvas: &mut Canvas<'_>,
    ) -> Result<(), FigureError> {
        self.layout.draw(canvas, &figure.y_title)?;
        let plot = self.layout.plot(0);
        if let Some((from, to)) = figure.band {
            let (from, to) = (self.x(&plot, from), self.x(&plot, to));
            canvas.fill_rectangle(at(from, plot.top), at(to.max(from + 1.5), plot.bottom), BAND)?;
        }
        for value in self.value.fine_values() {
            plot.level(canvas, self.y(&plot, value), GRID_FAINT)?;
        }
        for tick in &self.upright_ticks {
            plot.tick_left(canvas, self.y(&plot, tick.value), &tick.label)?;
        }
        for tick in &self.ticks {
            plot.tick_below(canvas, self.x(&plot, tick.value), &tick.label)?;
        }
        plot.frame(canvas, &figure.x_title)?;
        let bound = self.y(&plot, figure.bound);
        Stroke::Dashed.draw(canvas, &[at(plot.left, bound), at(plot.right, bound)], INK)?;
        self.draw_points(figure, &plot, canvas)
    }

    fn draw_points(
        &self,
        figure: &ResponseFigure,
        plot: &Plot,
        canvas: &mut Canvas<'_>,
    ) -> Result<(), FigureError> {
        let color = engine_color(&figure.engine);
        let place = |rate, value| at(self.x(plot, rate), self.y(plot, value));
        let path: Vec<Point> =
            figure.points.iter().map(|point| place(point.rate, point.value)).collect();
        if path.len() > 1 {
            Stroke::Solid.draw(canvas, &path, color)?;
        }
        for (point, place) in figure.points.iter().zip(path) {
            let (top, bottom) = (self.y(plot, point.high), self.y(plot, point.low));
            if bottom - top > 2.0 * MARK_RADIUS {
                canvas.error_bar(place.x, top, bottom, color)?;
            }
            match point.met {
                true => canvas.dot(place, 1.5 * DOT_RADIUS, color)?,
                false => canvas.mark(Mark::of(0), place, MARK_RADIUS, color)?,
            }
        }
        Ok(())
    }

    fn x(&self, plot: &Plot, rate: f64) -> f64 {
        plot.left + self.rate.share(rate) * plot.width()
    }

    fn y(&self, plot: &Plot, value: f64) -> f64 {
        plot.bottom - self.value.share(value) * plot.height()
    }
}
