//! Where the parts of a matrix go, and the strokes that draw them.

use super::{MatrixFigure, MatrixRow};
use crate::figure::canvas::{Anchor, Canvas, Style, at};
use crate::figure::font::{self, Weight};
use crate::figure::layout::{
    CAPTION, CAPTION_LINE, HAIRLINE, MARGIN, PANEL_TITLE, TITLE, TITLE_LINE, draw_lines,
};
use crate::figure::{FigureError, GRID, INK, INK_SOFT, engine_color};

const LABEL: Style = Style::new(10.0, Weight::Regular, INK);
const HEADING: Style = Style::new(10.0, Weight::Bold, INK);
const CELL: Style = Style::new(9.0, Weight::Regular, INK).anchored(Anchor::Middle);
const LEGEND: Style = Style::new(10.0, Weight::Regular, INK_SOFT);
/// Width of a cell, and the room for the names of rows, which are wrapped in it.
const CELL_WIDTH: f64 = 86.0;
const LABEL_WIDTH: f64 = 250.0;
/// Height of a line of text in a cell, and room above and below all of them.
const LINE: f64 = 11.5;
const PADDING: f64 = 4.0;
/// Room above the rows of a group, for its name.
const GROUP_ROOM: f64 = 24.0;
/// The bar left of a group.
const BAR: f64 = 4.0;
/// A sample of a shade, and the room from one to the next beside the words.
const SAMPLE: f64 = 12.0;
const SAMPLE_GAP: f64 = 20.0;

/// A row, wrapped.
struct Lines {
    label: Vec<String>,
    cells: Vec<Vec<String>>,
    height: f64,
}

/// Where everything goes.
pub(super) struct Page {
    width: f64,
    title: Vec<String>,
    headings: Vec<Vec<String>>,
    headings_top: f64,
    rows_top: f64,
    groups: Vec<Vec<Lines>>,
    caption: Vec<String>,
    caption_baseline: f64,
    legend_rows: Vec<Vec<usize>>,
}

fn height(lines: usize) -> f64 {
    lines as f64 * LINE + 2.0 * PADDING
}

impl Page {
    pub(super) fn of(figure: &MatrixFigure) -> Result<Page, FigureError> {
        figure.check()?;
        let width = 2.0 * MARGIN + LABEL_WIDTH + figure.columns.len() as f64 * CELL_WIDTH;
        let room = width - 2.0 * MARGIN;
        let wrap = |text: &str, style: &Style, room| font::wrap(text, &style.face(), room);
        let in_cell = |text: &str, style: &Style| -> Vec<String> {
            text.lines().flat_map(|line| wrap(line, style, CELL_WIDTH - 2.0 * PADDING)).collect()
        };
        let title = wrap(&figure.title, &TITLE, room);
        let headings: Vec<Vec<String>> =
            figure.columns.iter().map(|name| in_cell(name, &HEADING)).collect();
        let groups: Vec<Vec<Lines>> = figure
            .groups
            .iter()
            .map(|group| {
                let lines = |row: &MatrixRow| {
                    let label = wrap(&row.label, &LABEL, LABEL_WIDTH - BAR - 3.0 * PADDING);
                    let cells: Vec<Vec<String>> =
                        row.cells.iter().map(|cell| in_cell(&cell.text, &CELL)).collect();
                    let most = cells.iter().chain([&label]).map(Vec::len).max().unwrap_or(1);
                    Lines { label, cells, height: height(most.max(1)) }
                };
                group.rows.iter().map(lines).collect()
            })
            .collect();
        let legend_rows = legend_rows(figure, room);
        let legend_top = 28.0 + title.len() as f64 * TITLE_LINE;
        let headings_top = legend_top + legend_rows.len() as f64 * (SAMPLE + PADDING) + 8.0;
        let most = headings.iter().map(Vec::len).max().unwrap_or(1);
        let rows_top = headings_top + height(most);
        let rows_height: f64 = groups
            .iter()
            .map(|rows| GROUP_ROOM + rows.iter().map(|row| row.height).sum::<f64>())
            .sum();
        Ok(Page {
            width,
            title,
            headings,
            headings_top,
            rows_top,
            groups,
            caption: wrap(&figure.caption, &CAPTION, room),
            caption_baseline: rows_top + rows_height + 24.0,
            legend_rows,
        })
    }

    /// Size of the page in whole points.
    pub(super) fn size(&self) -> (u32, u32) {
        let lines = self.caption.len() as f64;
        let height = self.caption_baseline + (lines - 1.0).max(0.0) * CAPTION_LINE + 18.0;
        (self.width.ceil() as u32, height.ceil() as u32)
    }

    pub(super) fn draw(
        &self,
        figure: &MatrixFigure,
        canvas: &mut Canvas<'_>,
    ) -> Result<(), FigureError> {
        draw_lines(canvas, &self.title, at(MARGIN, 34.0), TITLE_LINE, &TITLE)?;
        self.draw_legend(figure, canvas)?;
        let baseline = self.headings_top + PADDING + LINE - 2.0;
        canvas.text(&figure.of, at(MARGIN + BAR + 2.0 * PADDING, baseline), &HEADING)?;
        for (index, lines) in self.headings.iter().enumerate() {
            let middle = cell_left(index) + CELL_WIDTH / 2.0;
            let style = HEADING.anchored(Anchor::Middle);
            draw_lines(canvas, lines, at(middle, baseline), LINE, &style)?;
        }
        let mut top = self.rows_top;
        for (group, rows) in figure.groups.iter().zip(&self.groups) {
            canvas.text(&group.engine, at(MARGIN, top + GROUP_ROOM - 8.0), &PANEL_TITLE)?;
            top += GROUP_ROOM;
            let first = top;
            for (row, lines) in group.rows.iter().zip(rows) {
                draw_row(canvas, row, lines, top, self.width - MARGIN)?;
                top += lines.height;
            }
            let color = engine_color(&group.engine);
            canvas.fill_rectangle(at(MARGIN, first), at(MARGIN + BAR, top), color)?;
            canvas.line(&[at(MARGIN, top), at(self.width - MARGIN, top)], HAIRLINE, GRID)?;
        }
        let caption = at(MARGIN, self.caption_baseline);
        draw_lines(canvas, &self.caption, caption, CAPTION_LINE, &CAPTION)
    }

    fn draw_legend(
        &self,
        figure: &MatrixFigure,
        canvas: &mut Canvas<'_>,
    ) -> Result<(), FigureError> {
        let mut top = 28.0 + self.title.len() as f64 * TITLE_LINE;
        for row in &self.legend_rows {
            let mut left = MARGIN;
            for index in row {
                let (shade, words) = &figure.shades[*index];
                let opposite = at(left + SAMPLE, top + SAMPLE);
                canvas.fill_rectangle(at(left, top), opposite, shade.color())?;
                canvas.rectangle(at(left, top), opposite, HAIRLINE, GRID)?;
                let place = at(left + SAMPLE + PADDING, top + SAMPLE - 2.5);
                canvas.text(words, place, &LEGEND)?;
                left += sample_width(words);
            }
            top += SAMPLE + PADDING;
        }
        Ok(())
    }
}

fn cell_left(column: usize) -> f64 {
    MARGIN + LABEL_WIDTH + column as f64 * CELL_WIDTH
}

fn sample_width(words: &str) -> f64 {
    SAMPLE + PADDING + LEGEND.face().width(words) + SAMPLE_GAP
}

/// Which shades stand in which row of the legend.
fn legend_rows(figure: &MatrixFigure, room: f64) -> Vec<Vec<usize>> {
    let mut rows: Vec<Vec<usize>> = Vec::new();
    let mut left = f64::INFINITY;
    for (index, (_, words)) in figure.shades.iter().enumerate() {
        let width = sample_width(words);
        match rows.last_mut().filter(|_| left + width <= room + SAMPLE_GAP) {
            Some(row) => row.push(index),
            None => {
                rows.push(vec![index]);
                left = 0.0;
            }
        }
        left += width;
    }
    rows
}

fn draw_row(
    canvas: &mut Canvas<'_>,
    row: &MatrixRow,
    lines: &Lines,
    top: f64,
    right: f64,
) -> Result<(), FigureError> {
    let centred = |count: usize| top + (lines.height - count as f64 * LINE) / 2.0 + LINE - 2.5;
    canvas.line(&[at(MARGIN, top), at(right, top)], HAIRLINE, GRID)?;
    let label = at(MARGIN + BAR + 2.0 * PADDING, centred(lines.label.len()));
    draw_lines(canvas, &lines.label, label, LINE, &LABEL)?;
    for (index, (cell, text)) in row.cells.iter().zip(&lines.cells).enumerate() {
        let left = cell_left(index);
        let (from, to) = (at(left, top), at(left + CELL_WIDTH, top + lines.height));
        canvas.fill_rectangle(from, to, cell.shade.color())?;
        canvas.rectangle(from, to, HAIRLINE, GRID)?;
        let first = at(left + CELL_WIDTH / 2.0, centred(text.len()));
        draw_lines(canvas, text, first, LINE, &CELL)?;
    }
    Ok(())
}
