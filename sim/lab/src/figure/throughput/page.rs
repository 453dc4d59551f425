//! Where the parts of a figure of throughput go, and the strokes that draw them.

use super::{ThroughputFigure, ThroughputPanel};
use crate::figure::axis::{LogAxis, Tick};
use crate::figure::canvas::{Canvas, Point, at};
use crate::figure::layout::{Layout, PLOT_HEIGHT, Plot, TICK, Words};
use crate::figure::legend::{DOT_RADIUS, MARK_RADIUS, Shapes};
use crate::figure::{FigureError, GRID_FAINT, engine_color};

const PLOT_WIDTH: f64 = 256.0;

/// Where everything goes.
pub(super) struct Page {
    layout: Layout,
    of: String,
    hosts: Vec<u32>,
    rate: LogAxis,
    ticks: Vec<Tick>,
}

impl Page {
    pub(super) fn of(figure: &ThroughputFigure) -> Result<Page, FigureError> {
        figure.check()?;
        let curves = figure.panels.iter().flat_map(|panel| &panel.curves);
        let marks = figure.panels.iter().flat_map(|panel| &panel.marks);
        let simulated = curves.flat_map(|curve| curve.points.iter().map(|(_, rate)| *rate));
        let measured = marks.flat_map(|marks| marks.points.iter().flat_map(|m| [m.min, m.max]));
        let rate = LogAxis::covering(simulated.chain(measured));
        let words = Words {
            title: &figure.title,
            panel_titles: figure.panels.iter().map(|panel| panel.title.as_str()).collect(),
            caption: &figure.caption,
        };
        Ok(Page {
            layout: Layout::new(&words, figure.legend_entries(), PLOT_WIDTH),
            of: figure.of.clone(),
            hosts: figure.hosts.clone(),
            ticks: rate.upright_ticks(PLOT_HEIGHT, TICK.em),
            rate,
        })
    }

    /// Size of the page in whole points.
    pub(super) fn size(&self) -> (u32, u32) {
        self.layout.size()
    }

    pub(super) fn draw(
        &self,
        figure: &ThroughputFigure,
        canvas: &mut Canvas<'_>,
    ) -> Result<(), FigureError> {
        self.layout.draw(canvas, &format!("{} a second (logarithmic)", figure.unit))?;
        let shapes = figure.shapes();
        for (index, panel) in figure.panels.iter().enumerate() {
            let panel_page = PanelPage { page: self, plot: self.layout.plot(index) };
            panel_page.draw_axes(canvas)?;
            panel_page.draw_series(canvas, panel, &shapes)?;
        }
        Ok(())
    }
}

/// One panel on the page.
struct PanelPage<'a> {
    page: &'a Page,
    plot: Plot,
}

impl PanelPage<'_> {
    /// The middle of the category of `hosts`.
    fn x(&self, hosts: u32) -> f64 {
        let index = self.page.hosts.iter().position(|known| *known == hosts);
        let index = index.expect("invariant: figures are checked before they are drawn");
        let share = (index as f64 + 0.5) / self.page.hosts.len() as f64;
        self.plot.left + share * self.plot.width()
    }

    fn y(&self, rate: f64) -> f64 {
        self.plot.bottom - self.page.rate.share(rate) * self.plot.height()
    }

    fn place(&self, hosts: u32, rate: f64) -> Point {
        at(self.x(hosts), self.y(rate))
    }

    fn draw_axes(&self, canvas: &mut Canvas<'_>) -> Result<(), FigureError> {
        for rate in self.page.rate.fine_values() {
            self.plot.level(canvas, self.y(rate), GRID_FAINT)?;
        }
        for tick in &self.page.ticks {
            self.plot.tick_left(canvas, self.y(tick.value), &tick.label)?;
        }
        for hosts in &self.page.hosts {
            self.plot.tick_below(canvas, self.x(*hosts), &hosts.to_string())?;
        }
        self.plot.frame(canvas, &self.page.of)
    }

    fn draw_series(
        &self,
        canvas: &mut Canvas<'_>,
        panel: &ThroughputPanel,
        shapes: &Shapes<'_>,
    ) -> Result<(), FigureError> {
        for curve in &panel.curves {
            let path: Vec<Point> =
                curve.points.iter().map(|(hosts, rate)| self.place(*hosts, *rate)).collect();
            curve.stroke.draw(canvas, &path, engine_color(&curve.engine))?;
        }
        for marks in &panel.marks {
            let (shape, color) = (shapes.shape(&marks.label), engine_color(&marks.engine));
            for measured in &marks.points {
                let (top, bottom) = (self.y(measured.max), self.y(measured.min));
                canvas.error_bar(self.x(measured.hosts), top, bottom, color)?;
                let place = self.place(measured.hosts, measured.mean);
                canvas.mark(shape, place, MARK_RADIUS, color)?;
            }
        }
        for curve in &panel.curves {
            for (hosts, rate) in &curve.points {
                let color = engine_color(&curve.engine);
                canvas.dot(self.place(*hosts, *rate), DOT_RADIUS, color)?;
            }
        }
        Ok(())
    }
}
