//! Where the parts of a figure of distributions go, and the strokes that draw them.

use super::{CURVE_POINTS_MAX, CdfFigure, CdfPanel};
use crate::figure::axis::{LogAxis, Tick};
use crate::figure::canvas::{Canvas, Point, at};
use crate::figure::layout::{Layout, Plot, TICK, Words};
use crate::figure::legend::{MARK_RADIUS, Shapes};
use crate::figure::{FigureError, GRID_FAINT, engine_color};

/// Labelled fractions.
const FRACTIONS: [(f64, &str); 6] =
    [(0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (0.9, "0.9"), (1.0, "1")];

const PLOT_WIDTH: f64 = 410.0;
/// Room inside the frame above 1 and below 0, so that curves do not run along the frame.
const PLOT_INSET: f64 = 8.0;

/// Where everything goes.
pub(super) struct Page {
    layout: Layout,
    /// The latency axis of each panel, and its labelled ticks.
    axes: Vec<(LogAxis, Vec<Tick>)>,
}

impl Page {
    pub(super) fn of(figure: &CdfFigure) -> Result<Page, FigureError> {
        figure.check()?;
        let axis = |panels: &[CdfPanel]| {
            let series = panels.iter().flat_map(CdfPanel::series);
            let values = series.flat_map(|(_, points)| points.iter().map(|point| point.0));
            let axis = LogAxis::covering(values);
            (axis, axis.ticks(PLOT_WIDTH, &TICK.face()))
        };
        let axes = match figure.own_axes {
            true => figure.panels.chunks(1).map(axis).collect(),
            false => vec![axis(&figure.panels); figure.panels.len()],
        };
        let words = Words {
            title: &figure.title,
            panel_titles: figure.panels.iter().map(|panel| panel.title.as_str()).collect(),
            caption: &figure.caption,
        };
        Ok(Page { layout: Layout::new(&words, figure.legend_entries(), PLOT_WIDTH), axes })
    }

    /// Size of the page in whole points.
    pub(super) fn size(&self) -> (u32, u32) {
        self.layout.size()
    }

    pub(super) fn draw(
        &self,
        figure: &CdfFigure,
        canvas: &mut Canvas<'_>,
    ) -> Result<(), FigureError> {
        self.layout.draw(canvas, "fraction of orchestrations")?;
        let shapes = figure.shapes();
        for (index, panel) in figure.panels.iter().enumerate() {
            let (latency, ticks) = &self.axes[index];
            let panel_page = PanelPage { latency, ticks, plot: self.layout.plot(index) };
            panel_page.draw_axes(canvas)?;
            panel_page.draw_series(canvas, panel, &shapes)?;
        }
        Ok(())
    }
}

/// One panel on the page.
struct PanelPage<'a> {
    latency: &'a LogAxis,
    ticks: &'a [Tick],
    plot: Plot,
}

impl PanelPage<'_> {
    fn x(&self, latency: f64) -> f64 {
        self.plot.left + self.latency.share(latency) * self.plot.width()
    }

    fn y(&self, fraction: f64) -> f64 {
        let height = self.plot.height() - 2.0 * PLOT_INSET;
        self.plot.bottom - PLOT_INSET - fraction * height
    }

    fn place(&self, (latency, fraction): (f64, f64)) -> Point {
        at(self.x(latency), self.y(fraction))
    }

    fn draw_axes(&self, canvas: &mut Canvas<'_>) -> Result<(), FigureError> {
        for latency in self.latency.fine_values() {
            self.plot.upright(canvas, self.x(latency), GRID_FAINT)?;
        }
        for tick in self.ticks {
            self.plot.tick_below(canvas, self.x(tick.value), &tick.label)?;
        }
        for (fraction, label) in FRACTIONS {
            self.plot.tick_left(canvas, self.y(fraction), label)?;
        }
        self.plot.frame(canvas, "latency (ms, logarithmic)")
    }

    fn draw_series(
        &self,
        canvas: &mut Canvas<'_>,
        panel: &CdfPanel,
        shapes: &Shapes<'_>,
    ) -> Result<(), FigureError> {
        for curve in &panel.curves {
            let path: Vec<Point> = curve.points.iter().map(|point| self.place(*point)).collect();
            let path = down_sample(&path, CURVE_POINTS_MAX);
            curve.stroke.draw(canvas, &path, engine_color(&curve.engine))?;
        }
        for marks in &panel.marks {
            let (shape, color) = (shapes.shape(&marks.label), engine_color(&marks.engine));
            for point in &marks.points {
                canvas.mark(shape, self.place(*point), MARK_RADIUS, color)?;
            }
        }
        Ok(())
    }
}

/// At most `points_max` of the points of `path`, with both ends.
///
/// Points are kept at even distances along the path as drawn, so that a long thin tail keeps its
/// shape although few orchestrations make it up.
pub(super) fn down_sample(path: &[Point], points_max: usize) -> Vec<Point> {
    assert!(points_max >= 2, "invariant: a curve keeps its two ends");
    if path.len() <= points_max {
        return path.to_vec();
    }
    let length: f64 = path.windows(2).map(|pair| pair[0].distance(pair[1])).sum();
    let step = length / (points_max - 1) as f64;
    let (mut kept, mut travelled) = (vec![path[0]], 0.0);
    for pair in path[..path.len() - 1].windows(2) {
        travelled += pair[0].distance(pair[1]);
        // A rounding error of the sums can cost a point, never add one.
        if travelled >= kept.len() as f64 * step && kept.len() < points_max - 1 {
            kept.push(pair[1]);
        }
    }
    kept.push(path[path.len() - 1]);
    debug_assert!(kept.len() <= points_max);
    kept
}
