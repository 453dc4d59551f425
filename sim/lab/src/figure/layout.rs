//! What the pages of all figures have in common: a title, the legend under it, plots side by side
//! with a title each, and a caption. Plots have one height; their width is the figure's choice. Up to
//! four plots stand in one row, more of them in rows of three.

use super::canvas::{Anchor, Canvas, Color, Point, Style, at};
use super::font::{self, Weight};
use super::legend::{Entry, Legend};
use super::{FigureError, GRID, INK, INK_SOFT};

pub(super) const TITLE: Style = Style::new(16.0, Weight::Bold, INK);
pub(super) const PANEL_TITLE: Style = Style::new(12.5, Weight::Bold, INK);
const AXIS_TITLE: Style = Style::new(11.0, Weight::Regular, INK).anchored(Anchor::Middle);
/// Labels of ticks; axes measure them to keep them apart.
pub(super) const TICK: Style = Style::new(10.0, Weight::Regular, INK_SOFT);
pub(super) const CAPTION: Style = Style::new(10.0, Weight::Regular, INK_SOFT);

/// Height of every plot in points.
pub(super) const PLOT_HEIGHT: f64 = 300.0;
pub(super) const MARGIN: f64 = 24.0;
/// Room left of the first plot for the title and the labels of its upright axis.
const AXIS_ROOM: f64 = 50.0;
/// Room between plots, with tick labels.
const PLOT_GAP: f64 = 50.0;
/// Most plots in a single row.
const SINGLE_ROW_MAX: usize = 4;
/// Plots in each of several rows.
const PER_ROW: usize = 3;
/// Room below the plots of a row, for tick labels and the axis title.
const BELOW_ROW: f64 = 56.0;
pub(super) const TITLE_LINE: f64 = 20.0;
const PANEL_TITLE_LINE: f64 = 16.0;
pub(super) const CAPTION_LINE: f64 = 14.5;
/// Width of grid lines and frames in points.
pub(super) const HAIRLINE: f64 = 0.75;

/// The words on a page.
pub(super) struct Words<'a> {
    /// Stands over the figure.
    pub(super) title: &'a str,
    /// Stand over the plots; there is a plot for each.
    pub(super) panel_titles: Vec<&'a str>,
    /// Stands under the figure.
    pub(super) caption: &'a str,
}

/// Where everything but the data goes.
pub(super) struct Layout {
    legend: Legend,
    legend_top: f64,
    title: Vec<String>,
    /// Lines of the title of each panel.
    panel_titles: Vec<Vec<String>>,
    caption: Vec<String>,
    width: f64,
    plot_top: f64,
    plot_width: f64,
    per_row: usize,
    /// From the top of a row to the top of the next one.
    row_height: f64,
}

impl Layout {
    /// Lays out plots that are `plot_width` points wide.
    pub(super) fn new(words: &Words<'_>, legend: Vec<Entry>, plot_width: f64) -> Layout {
        let panels = words.panel_titles.len();
        let per_row = if panels <= SINGLE_ROW_MAX { panels } else { PER_ROW };
        let columns = per_row as f64;
        let width = MARGIN + AXIS_ROOM + columns * plot_width + (columns - 1.0) * PLOT_GAP + MARGIN;
        let room = width - 2.0 * MARGIN;
        let wrap = |text: &str, style: &Style, room| font::wrap(text, &style.face(), room);
        let legend = Legend::new(legend, room);
        let title = wrap(words.title, &TITLE, room);
        let panel_titles: Vec<Vec<String>> =
            words.panel_titles.iter().map(|title| wrap(title, &PANEL_TITLE, plot_width)).collect();
        let caption = wrap(words.caption, &CAPTION, room);
        let legend_top = 28.0 + title.len() as f64 * TITLE_LINE;
        let panel_title_lines = panel_titles.iter().map(Vec::len).max().unwrap_or(0);
        let panel_titles_height = panel_title_lines as f64 * PANEL_TITLE_LINE;
        Layout {
            plot_top: legend_top + legend.height() + 20.0 + panel_titles_height,
            row_height: PLOT_HEIGHT + BELOW_ROW + panel_titles_height,
            legend,
            legend_top,
            title,
            panel_titles,
            caption,
            width,
            plot_width,
            per_row,
        }
    }

    fn rows(&self) -> usize {
        self.panel_titles.len().div_ceil(self.per_row.max(1)).max(1)
    }

    /// The top of the plots of row number `row`.
    fn row_top(&self, row: usize) -> f64 {
        self.plot_top + row as f64 * self.row_height
    }

    fn caption_baseline(&self) -> f64 {
        self.row_top(self.rows() - 1) + PLOT_HEIGHT + 64.0
    }

    /// Size of the page in whole points.
    pub(super) fn size(&self) -> (u32, u32) {
        let lines = self.caption.len() as f64;
        let height = self.caption_baseline() + (lines - 1.0).max(0.0) * CAPTION_LINE + 18.0;
        (self.width.ceil() as u32, height.ceil() as u32)
    }

    /// The place of plot number `index`, from the left and then from the top.
    pub(super) fn plot(&self, index: usize) -> Plot {
        let (row, column) = (index / self.per_row, index % self.per_row);
        let left = MARGIN + AXIS_ROOM + column as f64 * (self.plot_width + PLOT_GAP);
        let (top, right) = (self.row_top(row), left + self.plot_width);
        Plot { left, right, top, bottom: top + PLOT_HEIGHT }
    }

    /// Draws everything around the plots; `upright_title` names the upright axis of all.
    pub(super) fn draw(
        &self,
        canvas: &mut Canvas<'_>,
        upright_title: &str,
    ) -> Result<(), FigureError> {
        draw_lines(canvas, &self.title, at(MARGIN, 34.0), TITLE_LINE, &TITLE)?;
        self.legend.draw(canvas, at(MARGIN, self.legend_top))?;
        for (index, title) in self.panel_titles.iter().enumerate() {
            let up = 10.0 + (title.len() as f64 - 1.0) * PANEL_TITLE_LINE;
            let Plot { left, top, .. } = self.plot(index);
            let first = at(left, top - up);
            draw_lines(canvas, title, first, PANEL_TITLE_LINE, &PANEL_TITLE)?;
        }
        for row in 0..self.rows() {
            let middle = at(MARGIN + AXIS_TITLE.em, self.row_top(row) + PLOT_HEIGHT / 2.0);
            canvas.text(upright_title, middle, &AXIS_TITLE.upwards())?;
        }
        let caption = at(MARGIN, self.caption_baseline());
        draw_lines(canvas, &self.caption, caption, CAPTION_LINE, &CAPTION)
    }
}

/// Lines of text below each other, the first with its baseline at `first`.
pub(super) fn draw_lines(
    canvas: &mut Canvas<'_>,
    lines: &[String],
    first: Point,
    spacing: f64,
    style: &Style,
) -> Result<(), FigureError> {
    for (index, line) in lines.iter().enumerate() {
        canvas.text(line, at(first.x, first.y + index as f64 * spacing), style)?;
    }
    Ok(())
}

/// The place of one plot on the page, and the strokes of its axes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plot {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Plot {
    pub(super) fn width(&self) -> f64 {
        self.right - self.left
    }

    pub(super) fn height(&self) -> f64 {
        self.bottom - self.top
    }

    /// An upright grid line.
    pub(super) fn upright(
        &self,
        canvas: &mut Canvas<'_>,
        x: f64,
        color: Color,
    ) -> Result<(), FigureError> {
        canvas.line(&[at(x, self.top), at(x, self.bottom)], HAIRLINE, color)
    }

    /// A level grid line.
    pub(super) fn level(
        &self,
        canvas: &mut Canvas<'_>,
        y: f64,
        color: Color,
    ) -> Result<(), FigureError> {
        canvas.line(&[at(self.left, y), at(self.right, y)], HAIRLINE, color)
    }

    /// A labelled tick of the axis below, with its grid line.
    pub(super) fn tick_below(
        &self,
        canvas: &mut Canvas<'_>,
        x: f64,
        label: &str,
    ) -> Result<(), FigureError> {
        self.upright(canvas, x, GRID)?;
        canvas.line(&[at(x, self.bottom), at(x, self.bottom + 4.0)], HAIRLINE, INK)?;
        canvas.text(label, at(x, self.bottom + 16.0), &TICK.anchored(Anchor::Middle))
    }

    /// A labelled tick of the axis at the left, with its grid line.
    pub(super) fn tick_left(
        &self,
        canvas: &mut Canvas<'_>,
        y: f64,
        label: &str,
    ) -> Result<(), FigureError> {
        self.level(canvas, y, GRID)?;
        canvas.line(&[at(self.left - 4.0, y), at(self.left, y)], HAIRLINE, INK)?;
        let place = at(self.left - 7.0, y + 0.36 * TICK.em);
        canvas.text(label, place, &TICK.anchored(Anchor::End))
    }

    /// The frame, and what the axis below shows.
    pub(super) fn frame(
        &self,
        canvas: &mut Canvas<'_>,
        title_below: &str,
    ) -> Result<(), FigureError> {
        let (from, to) = (at(self.left, self.top), at(self.right, self.bottom));
        canvas.rectangle(from, to, HAIRLINE, INK)?;
        let middle = at((self.left + self.right) / 2.0, self.bottom + 36.0);
        canvas.text(title_below, middle, &AXIS_TITLE)
    }
}
