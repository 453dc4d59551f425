//! Where the parts of a tornado go, and the strokes that draw them.

use super::{TornadoBar, TornadoFigure, TornadoSide};
use crate::figure::axis::{LinearAxis, Tick};
use crate::figure::canvas::{Anchor, Canvas, Style, at};
use crate::figure::font::{self, Weight};
use crate::figure::layout::{
    CAPTION, CAPTION_LINE, HAIRLINE, MARGIN, TICK, TITLE, TITLE_LINE, draw_lines,
};
use crate::figure::{FigureError, GRID, INK, INK_SOFT};

const LABEL: Style = Style::new(10.0, Weight::Regular, INK);
const DEFAULT: Style = Style::new(9.0, Weight::Regular, INK_SOFT);
const VALUE: Style = Style::new(9.0, Weight::Regular, INK);
const LEGEND: Style = Style::new(10.0, Weight::Regular, INK_SOFT);
const AXIS_TITLE: Style = Style::new(11.0, Weight::Regular, INK).anchored(Anchor::Middle);
/// Room for names of parameters, which are wrapped in it, and for the bars.
const LABEL_WIDTH: f64 = 250.0;
const PLOT_WIDTH: f64 = 430.0;
/// Room at each end of the bars for the words of values.
const VALUE_ROOM: f64 = 96.0;
/// Height of a bar and of the room that it stands in.
const BAR: f64 = 11.0;
const LANE: f64 = 14.0;
/// Height of a line of text beside the bars.
const LINE: f64 = 12.0;
/// Room between the bars of one parameter and the next.
const ROW_GAP: f64 = 10.0;
/// Labelled ticks on the longer side of zero, about.
const TICKS: u32 = 4;
const SAMPLE: f64 = 12.0;

/// A parameter, wrapped.
struct Row {
    label: Vec<String>,
    default: Vec<String>,
    top: f64,
}

/// Where everything goes.
pub(super) struct Page {
    title: Vec<String>,
    rows: Vec<Row>,
    rows_top: f64,
    rows_bottom: f64,
    low: f64,
    high: f64,
    ticks: Vec<Tick>,
    caption: Vec<String>,
}

/// From the smallest to the greatest of everything that is drawn, zero included.
fn span(figure: &TornadoFigure) -> (f64, f64) {
    let bars = figure.rows.iter().flat_map(|row| &row.bars);
    let ends = bars.flat_map(|bar| {
        let (low, high) = bar.interval.unwrap_or((bar.change, bar.change));
        [bar.change, low, high]
    });
    let (low, high) =
        ends.fold((0.0_f64, 0.0_f64), |(low, high), end| (low.min(end), high.max(end)));
    if low == high { (-1.0, 1.0) } else { (low, high) }
}

impl Page {
    pub(super) fn of(figure: &TornadoFigure) -> Result<Page, FigureError> {
        figure.check()?;
        let wrap = |text: &str, style: &Style, room| font::wrap(text, &style.face(), room);
        let room = width() - 2.0 * MARGIN;
        let title = wrap(&figure.title, &TITLE, room);
        let rows_top = 28.0 + title.len() as f64 * TITLE_LINE + SAMPLE + 22.0;
        let mut top = rows_top;
        let mut rows = Vec::new();
        for row in &figure.rows {
            let label = wrap(&breakable(&row.label), &LABEL, LABEL_WIDTH - 12.0);
            let default = wrap(&row.default, &DEFAULT, LABEL_WIDTH - 12.0);
            let text = (label.len() + default.len()) as f64 * LINE;
            let height = text.max(row.bars.len() as f64 * LANE) + ROW_GAP;
            rows.push(Row { label, default, top });
            top += height;
        }
        let (low, high) = span(figure);
        let longer = low.abs().max(high.abs());
        Ok(Page {
            title,
            rows,
            rows_top,
            rows_bottom: top,
            low,
            high,
            ticks: LinearAxis::up_to(longer).ticks(TICKS),
            caption: wrap(&figure.caption, &CAPTION, room),
        })
    }

    /// Size of the page in whole points.
    pub(super) fn size(&self) -> (u32, u32) {
        let lines = self.caption.len() as f64;
        let height = self.caption_baseline() + (lines - 1.0).max(0.0) * CAPTION_LINE + 18.0;
        (width().ceil() as u32, height.ceil() as u32)
    }

    fn caption_baseline(&self) -> f64 {
        self.rows_bottom + 66.0
    }

    pub(super) fn draw(
        &self,
        figure: &TornadoFigure,
        canvas: &mut Canvas<'_>,
    ) -> Result<(), FigureError> {
        draw_lines(canvas, &self.title, at(MARGIN, 34.0), TITLE_LINE, &TITLE)?;
        self.draw_legend(figure, canvas)?;
        self.draw_axis(figure, canvas)?;
        for (row, place) in figure.rows.iter().zip(&self.rows) {
            let right = MARGIN + LABEL_WIDTH - 12.0;
            let first = at(right, place.top + LINE);
            draw_lines(canvas, &place.label, first, LINE, &LABEL.anchored(Anchor::End))?;
            let below = at(right, first.y + place.label.len() as f64 * LINE);
            draw_lines(canvas, &place.default, below, LINE, &DEFAULT.anchored(Anchor::End))?;
            for (index, bar) in row.bars.iter().enumerate() {
                self.draw_bar(canvas, place.top + 2.0 + index as f64 * LANE, bar)?;
            }
        }
        let zero = self.x(0.0);
        canvas.line(&[at(zero, self.rows_top), at(zero, self.rows_bottom)], 1.5 * HAIRLINE, INK)?;
        let caption = at(MARGIN, self.caption_baseline());
        draw_lines(canvas, &self.caption, caption, CAPTION_LINE, &CAPTION)
    }

    /// A sample for each side that there is.
    fn draw_legend(
        &self,
        figure: &TornadoFigure,
        canvas: &mut Canvas<'_>,
    ) -> Result<(), FigureError> {
        let top = 28.0 + self.title.len() as f64 * TITLE_LINE - 6.0;
        let mut left = MARGIN;
        let mut bars = figure.rows.iter().flat_map(|row| &row.bars);
        for (side, words) in TornadoSide::ALL {
            if !bars.clone().any(|bar| bar.side == side) {
                continue;
            }
            canvas.fill_rectangle(at(left, top), at(left + SAMPLE, top + SAMPLE), side.color())?;
            canvas.text(words, at(left + SAMPLE + 6.0, top + SAMPLE - 2.0), &LEGEND)?;
            left += SAMPLE + 26.0 + LEGEND.face().width(words);
        }
        if bars.any(|bar| bar.interval.is_some()) {
            let middle = top + SAMPLE / 2.0;
            whisker(canvas, (left, left + 22.0), middle)?;
            canvas.text("95 % interval", at(left + 28.0, top + SAMPLE - 2.0), &LEGEND)?;
        }
        Ok(())
    }

    fn draw_axis(
        &self,
        figure: &TornadoFigure,
        canvas: &mut Canvas<'_>,
    ) -> Result<(), FigureError> {
        let below =
            |tick: &Tick| Tick { value: -tick.value, label: format!("\u{2212}{}", tick.label) };
        let negative = self.ticks.iter().filter(|tick| tick.value > 0.0).map(below);
        for tick in self.ticks.iter().cloned().chain(negative) {
            if !(self.low..=self.high).contains(&tick.value) {
                continue;
            }
            let x = self.x(tick.value);
            canvas.line(&[at(x, self.rows_top), at(x, self.rows_bottom)], HAIRLINE, GRID)?;
            canvas.line(
                &[at(x, self.rows_bottom), at(x, self.rows_bottom + 4.0)],
                HAIRLINE,
                INK,
            )?;
            let place = at(x, self.rows_bottom + 16.0);
            canvas.text(&tick.label, place, &TICK.anchored(Anchor::Middle))?;
        }
        let (from, to) = (plot_left(), plot_left() + PLOT_WIDTH);
        canvas.line(&[at(from, self.rows_bottom), at(to, self.rows_bottom)], HAIRLINE, INK)?;
        let middle = at(width() / 2.0, self.rows_bottom + 36.0);
        canvas.text(&figure.axis_title, middle, &AXIS_TITLE)
    }

    fn draw_bar(
        &self,
        canvas: &mut Canvas<'_>,
        top: f64,
        bar: &TornadoBar,
    ) -> Result<(), FigureError> {
        let (zero, end) = (self.x(0.0), self.x(bar.change));
        // A change of nothing is still to be seen.
        let (left, right) = (zero.min(end), zero.max(end).max(zero.min(end) + 1.0));
        canvas.fill_rectangle(at(left, top), at(right, top + BAR), bar.side.color())?;
        let (mut outer_left, mut outer_right) = (left, right);
        if let Some((low, high)) = bar.interval {
            let (low, high) = (self.x(low), self.x(high));
            if high - low > 2.0 {
                whisker(canvas, (low, high), top + BAR / 2.0)?;
            }
            (outer_left, outer_right) = (left.min(low), right.max(high));
        }
        let baseline = top + BAR / 2.0 + 0.36 * VALUE.em;
        match bar.change < 0.0 {
            true => canvas.text(
                &bar.label,
                at(outer_left - 4.0, baseline),
                &VALUE.anchored(Anchor::End),
            ),
            false => canvas.text(&bar.label, at(outer_right + 4.0, baseline), &VALUE),
        }
    }

    fn x(&self, change: f64) -> f64 {
        let room = PLOT_WIDTH - 2.0 * VALUE_ROOM;
        plot_left() + VALUE_ROOM + (change - self.low) / (self.high - self.low) * room
    }
}

fn width() -> f64 {
    2.0 * MARGIN + LABEL_WIDTH + PLOT_WIDTH
}

fn plot_left() -> f64 {
    MARGIN + LABEL_WIDTH
}

/// A level error bar.
fn whisker(
    canvas: &mut Canvas<'_>,
    (from, to): (f64, f64),
    middle: f64,
) -> Result<(), FigureError> {
    const CAP: f64 = 2.5;
    canvas.line(&[at(from, middle), at(to, middle)], 1.0, INK)?;
    for x in [from, to] {
        canvas.line(&[at(x, middle - CAP), at(x, middle + CAP)], 1.0, INK)?;
    }
    Ok(())
}

/// The name, which may be broken after a point if it is long.
fn breakable(name: &str) -> String {
    let long = LABEL.face().width(name) > LABEL_WIDTH - 12.0;
    if long { name.replace('.', ". ") } else { name.to_owned() }
}
