//! Where the parts of a figure of rates over time go, and the strokes that draw them.

use super::{TimelineBand, TimelineFigure, TimelinePanel};
use crate::figure::axis::{LinearAxis, Tick};
use crate::figure::canvas::{Anchor, Canvas, Color, Point, Style, at};
use crate::figure::font::Weight;
use crate::figure::layout::{Layout, Plot, Words};
use crate::figure::{FigureError, INK_SOFT, engine_color};

const PLOT_WIDTH: f64 = 400.0;
/// Labelled ticks of an axis, about.
const TICKS: u32 = 5;
/// What happened.
const BAND: Color = Color(0xEC, 0xE4, 0xD6);
const BAND_LABEL: Style = Style::new(9.0, Weight::Regular, INK_SOFT);
/// Distance between the lines in which labels of bands stand, and how many there are.
const BAND_LINE: f64 = 11.0;
const BAND_LINES: usize = 4;

/// Where everything goes.
pub(super) struct Page {
    layout: Layout,
    rate: LinearAxis,
    ticks: Vec<Tick>,
}

impl Page {
    pub(super) fn of(figure: &TimelineFigure) -> Result<Page, FigureError> {
        figure.check()?;
        let curves = figure.panels.iter().flat_map(|panel| &panel.curves);
        let rates = curves.flat_map(|curve| curve.points.iter().map(|(_, rate)| *rate));
        let rate = LinearAxis::covering(rates);
        let words = Words {
            title: &figure.title,
            panel_titles: figure.panels.iter().map(|panel| panel.title.as_str()).collect(),
            caption: &figure.caption,
        };
        Ok(Page {
            layout: Layout::new(&words, figure.legend_entries(), PLOT_WIDTH),
            ticks: rate.ticks(TICKS),
            rate,
        })
    }

    /// Size of the page in whole points.
    pub(super) fn size(&self) -> (u32, u32) {
        self.layout.size()
    }

    pub(super) fn draw(
        &self,
        figure: &TimelineFigure,
        canvas: &mut Canvas<'_>,
    ) -> Result<(), FigureError> {
        self.layout.draw(canvas, &figure.of)?;
        for (index, panel) in figure.panels.iter().enumerate() {
            let plot = self.layout.plot(index);
            PanelPage { page: self, plot, time: LinearAxis::up_to(panel.end) }
                .draw(canvas, panel)?;
        }
        Ok(())
    }
}

/// One panel on the page.
struct PanelPage<'a> {
    page: &'a Page,
    plot: Plot,
    time: LinearAxis,
}

impl PanelPage<'_> {
    fn x(&self, second: f64) -> f64 {
        self.plot.left + self.time.share(second) * self.plot.width()
    }

    fn y(&self, rate: f64) -> f64 {
        self.plot.bottom - self.page.rate.share(rate) * self.plot.height()
    }

    fn draw(&self, canvas: &mut Canvas<'_>, panel: &TimelinePanel) -> Result<(), FigureError> {
        for band in &panel.bands {
            let (from, to) = (self.x(band.from), self.x(band.to));
            let wide = to.max(from + 1.5);
            canvas.fill_rectangle(at(from, self.plot.top), at(wide, self.plot.bottom), BAND)?;
        }
        for tick in &self.page.ticks {
            self.plot.tick_left(canvas, self.y(tick.value), &tick.label)?;
        }
        for tick in self.time.ticks(TICKS) {
            self.plot.tick_below(canvas, self.x(tick.value), &tick.label)?;
        }
        self.plot.frame(canvas, "seconds since the start of the load")?;
        for curve in &panel.curves {
            let path: Vec<Point> = curve
                .points
                .iter()
                .map(|(second, rate)| at(self.x(*second), self.y(*rate)))
                .collect();
            curve.stroke.draw(canvas, &path, engine_color(&curve.engine))?;
        }
        panel.bands.iter().enumerate().try_for_each(|(index, band)| self.label(canvas, index, band))
    }

    /// The word of a band, beside its beginning; neighbours stand in different lines.
    fn label(
        &self,
        canvas: &mut Canvas<'_>,
        index: usize,
        band: &TimelineBand,
    ) -> Result<(), FigureError> {
        let down = (index % BAND_LINES + 1) as f64 * BAND_LINE;
        let from = self.x(band.from);
        let width = BAND_LABEL.face().width(&band.label);
        let fits = from + width + 6.0 < self.plot.right;
        let (x, anchor) =
            if fits { (from + 3.0, Anchor::Start) } else { (from - 3.0, Anchor::End) };
        canvas.text(&band.label, at(x, self.plot.top + down), &BAND_LABEL.anchored(anchor))
    }
}
