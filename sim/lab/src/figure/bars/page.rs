//! Where the parts of a figure of bars go, and the strokes that draw them.

use super::{Bar, BarsFigure, BarsPanel, PART_COLORS, is_stacked};
use crate::figure::axis::LinearAxis;
use crate::figure::canvas::{Anchor, Canvas, Mark, Style, at};
use crate::figure::font::Weight;
use crate::figure::layout::{Layout, Plot, Words};
use crate::figure::legend::MARK_RADIUS;
use crate::figure::{FigureError, INK, INK_SOFT, PAPER, engine_color};

const PLOT_WIDTH: f64 = 280.0;
/// Labelled ticks of an axis, about.
const TICKS: u32 = 5;
/// The most of a row that a bar takes, in points, and the room above it for its name.
const BAR_HEIGHT_MAX: f64 = 18.0;
const NAME_ROOM: f64 = 15.0;
/// Distance between the parts of a bar in points.
const PART_GAP: f64 = 0.75;
/// Half the length of the caps of a range.
const HALF_CAP: f64 = 3.0;
const NAME: Style = Style::new(10.5, Weight::Regular, INK);
const SUM: Style = Style::new(10.5, Weight::Regular, INK_SOFT);
/// Side of the square before a name.
const SQUARE: f64 = 7.0;

/// Where everything goes.
pub(super) struct Page {
    layout: Layout,
}

impl Page {
    pub(super) fn of(figure: &BarsFigure) -> Result<Page, FigureError> {
        figure.check()?;
        let words = Words {
            title: &figure.title,
            panel_titles: figure.panels.iter().map(|panel| panel.title.as_str()).collect(),
            caption: &figure.caption,
        };
        Ok(Page { layout: Layout::new(&words, figure.legend_entries(), PLOT_WIDTH) })
    }

    /// Size of the page in whole points.
    pub(super) fn size(&self) -> (u32, u32) {
        self.layout.size()
    }

    pub(super) fn draw(
        &self,
        figure: &BarsFigure,
        canvas: &mut Canvas<'_>,
    ) -> Result<(), FigureError> {
        self.layout.draw(canvas, "")?;
        let parts = figure.part_names();
        for (index, panel) in figure.panels.iter().enumerate() {
            let plot = self.layout.plot(index);
            let measured = panel.bars.iter().filter_map(|bar| bar.measured);
            let ends = panel.bars.iter().filter_map(|bar| bar.range.map(|(_, end)| end));
            let sums = panel.bars.iter().map(Bar::sum);
            let axis = LinearAxis::covering(sums.chain(measured).chain(ends));
            PanelPage { plot, axis, parts: &parts, row: plot.height() / panel.bars.len() as f64 }
                .draw(canvas, panel)?;
        }
        Ok(())
    }
}

/// One panel on the page.
struct PanelPage<'a> {
    plot: Plot,
    axis: LinearAxis,
    parts: &'a [&'a str],
    /// Height of the row of a bar.
    row: f64,
}

impl PanelPage<'_> {
    fn x(&self, value: f64) -> f64 {
        self.plot.left + self.axis.share(value) * self.plot.width()
    }

    fn draw(&self, canvas: &mut Canvas<'_>, panel: &BarsPanel) -> Result<(), FigureError> {
        for tick in self.axis.ticks(TICKS) {
            self.plot.tick_below(canvas, self.x(tick.value), &tick.label)?;
        }
        self.plot.frame(canvas, &panel.of)?;
        let stacked = is_stacked(panel);
        for (index, bar) in panel.bars.iter().enumerate() {
            let top = self.plot.top + index as f64 * self.row;
            let height = (self.row - NAME_ROOM - 4.0).clamp(2.0, BAR_HEIGHT_MAX);
            let bar_top = top + (self.row - NAME_ROOM - height) / 2.0 + NAME_ROOM;
            self.draw_name(canvas, bar, bar_top - 4.0, stacked)?;
            self.draw_bar(canvas, bar, (bar_top, bar_top + height), stacked)?;
        }
        Ok(())
    }

    fn draw_name(
        &self,
        canvas: &mut Canvas<'_>,
        bar: &Bar,
        baseline: f64,
        stacked: bool,
    ) -> Result<(), FigureError> {
        let mut left = self.plot.left + 6.0;
        if stacked {
            let (from, to) = (at(left, baseline - SQUARE), at(left + SQUARE, baseline));
            canvas.fill_rectangle(from, to, engine_color(&bar.engine))?;
            left += SQUARE + 5.0;
        }
        canvas.text(&bar.label, at(left, baseline), &NAME.anchored(Anchor::Start))?;
        let behind = left + NAME.face().width(&bar.label) + 8.0;
        canvas.text(&bar.said(), at(behind, baseline), &SUM.anchored(Anchor::Start))
    }

    fn draw_bar(
        &self,
        canvas: &mut Canvas<'_>,
        bar: &Bar,
        (top, bottom): (f64, f64),
        stacked: bool,
    ) -> Result<(), FigureError> {
        let mut sum = 0.0;
        for part in bar.parts.iter().filter(|part| part.value > 0.0) {
            let color = match self.parts.iter().position(|name| *name == part.name) {
                Some(index) if stacked => PART_COLORS[index % PART_COLORS.len()],
                _ => engine_color(&bar.engine),
            };
            let (from, to) = (self.x(sum), self.x(sum + part.value));
            canvas.fill_rectangle(at(from, top), at(to, bottom), color)?;
            if stacked && to - from > 3.0 * PART_GAP {
                canvas.fill_rectangle(at(to - PART_GAP, top), at(to, bottom), PAPER)?;
            }
            sum += part.value;
        }
        let middle = (top + bottom) / 2.0;
        if let Some((least, greatest)) = bar.range.filter(|(least, greatest)| least < greatest) {
            let (from, to) = (self.x(least), self.x(greatest));
            canvas.line(&[at(from, middle), at(to, middle)], 1.0, INK)?;
            for x in [from, to] {
                canvas.line(&[at(x, middle - HALF_CAP), at(x, middle + HALF_CAP)], 1.0, INK)?;
            }
        }
        match bar.measured {
            Some(value) => {
                canvas.mark(Mark::Diamond, at(self.x(value), middle), MARK_RADIUS + 0.6, INK)
            }
            None => Ok(()),
        }
    }
}
