//! The page a figure is drawn on: lines, boxes, hollow marks and text at places in points.
//!
//! Positions and lengths are points (f64), y grows downwards. They are rounded to a grid of
//! [`GRID_PER_POINT`] units for each point and handed to a [`Surface`]; both outputs
//! ([`super::svg`], [`super::png`]) are drawn on that grid, so they hold the same picture.

use super::font::{Face, Weight};
use super::{FigureError, PAPER};
use plotters::style::{Color as _, RGBColor, ShapeStyle};

/// Grid units for each point.
pub(super) const GRID_PER_POINT: u32 = 4;

/// A colour: red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color(pub u8, pub u8, pub u8);

impl Color {
    pub(super) fn fill(self) -> ShapeStyle {
        RGBColor(self.0, self.1, self.2).filled()
    }

    pub(super) fn stroke(self, width: u32) -> ShapeStyle {
        RGBColor(self.0, self.1, self.2).stroke_width(width)
    }
}

/// A place on the page, in points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
}

/// Shorthand for a [`Point`].
pub(crate) const fn at(x: f64, y: f64) -> Point {
    Point { x, y }
}

impl Point {
    pub(crate) fn distance(self, other: Point) -> f64 {
        // Square roots are exact in IEEE 754; `hypot` is not.
        let (dx, dy) = (self.x - other.x, self.y - other.y);
        (dx * dx + dy * dy).sqrt()
    }

    fn toward(self, other: Point, share: f64) -> Point {
        at(self.x + (other.x - self.x) * share, self.y + (other.y - self.y) * share)
    }

    fn on_grid(self) -> (i32, i32) {
        (on_grid(self.x), on_grid(self.y))
    }
}

fn on_grid(points: f64) -> i32 {
    debug_assert!(points.is_finite(), "invariant: figures are checked before they are drawn");
    (points * f64::from(GRID_PER_POINT)).round() as i32
}

/// Where a text lies relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) em: f64,
    pub(crate) weight: Weight,
    pub(crate) color: Color,
    pub(crate) anchor: Anchor,
    /// Runs upwards instead of to the right.
    pub(crate) upwards: bool,
}

impl Style {
    pub(crate) const fn new(em: f64, weight: Weight, color: Color) -> Style {
        Style { em, weight, color, anchor: Anchor::Start, upwards: false }
    }

    pub(crate) const fn anchored(mut self, anchor: Anchor) -> Style {
        self.anchor = anchor;
        self
    }

    pub(crate) const fn upwards(mut self) -> Style {
        self.upwards = true;
        self
    }

    /// The font at this size, for measuring in points.
    pub(crate) fn face(&self) -> Face {
        Face::new(self.weight, self.em)
    }
}

/// The shapes of hollow marks, in the order in which they are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Circle,
    Square,
    Diamond,
    Triangle,
    TriangleDown,
}

impl Mark {
    /// The shape of series number `index`; they repeat after five.
    pub(crate) fn of(index: usize) -> Mark {
        const ALL: [Mark; 5] =
            [Mark::Circle, Mark::Square, Mark::Diamond, Mark::Triangle, Mark::TriangleDown];
        ALL[index % ALL.len()]
    }

    /// Corners around the origin, at `radius`; areas are made about equal.
    fn corners(self, radius: f64) -> Vec<Point> {
        let r = radius;
        match self {
            Mark::Circle => Vec::new(),
            Mark::Square => {
                let h = r * 0.9;
                vec![at(-h, -h), at(h, -h), at(h, h), at(-h, h)]
            }
            Mark::Diamond => {
                let h = r * 1.25;
                vec![at(0.0, -h), at(h, 0.0), at(0.0, h), at(-h, 0.0)]
            }
            // An upright triangle about its centroid: 0.866 = cos 30°.
            Mark::Triangle => {
                let h = r * 1.35;
                vec![at(0.0, -h), at(0.866 * h, 0.5 * h), at(-0.866 * h, 0.5 * h)]
            }
            Mark::TriangleDown => Mark::Triangle.corners(r).iter().map(|p| at(p.x, -p.y)).collect(),
        }
    }
}

/// What the outputs do each in their own way; everything is on the grid here.
pub(super) trait Surface {
    /// At least two places, each unlike the one before it.
    fn polyline(
        &mut self,
        path: &[(i32, i32)],
        width: u32,
        color: Color,
    ) -> Result<(), FigureError>;
    fn polygon(&mut self, corners: &[(i32, i32)], color: Color) -> Result<(), FigureError>;
    fn disc(&mut self, center: (i32, i32), radius: u32, color: Color) -> Result<(), FigureError>;
    /// `baseline` is where the text starts, is centred or ends.
    fn text(&mut self, text: &str, baseline: (i32, i32), style: &Style) -> Result<(), FigureError>;
}

/// A page being drawn.
pub(crate) struct Canvas<'a> {
    surface: &'a mut dyn Surface,
}

impl<'a> Canvas<'a> {
    /// A page of `size` points, with the paper laid down.
    pub(super) fn new(surface: &'a mut dyn Surface, size: (u32, u32)) -> Result<Self, FigureError> {
        let mut canvas = Canvas { surface };
        let corner = at(f64::from(size.0), f64::from(size.1));
        canvas.fill_rectangle(at(0.0, 0.0), corner, PAPER)?;
        Ok(canvas)
    }

    /// A line through `path`.
    pub(crate) fn line(
        &mut self,
        path: &[Point],
        width: f64,
        color: Color,
    ) -> Result<(), FigureError> {
        let width = on_grid(width).max(1);
        let mut grid: Vec<(i32, i32)> = path.iter().map(|p| p.on_grid()).collect();
        grid.dedup();
        if let [(x, y)] = grid[..] {
            // All in one place: a dot as wide as the line.
            grid = vec![(x - width / 2, y), (x + (width + 1) / 2, y)];
        }
        self.surface.polyline(&grid, width as u32, color)
    }

    /// A dashed line through `path`: `on` points drawn, `off` points left out.
    pub(crate) fn dashed_line(
        &mut self,
        path: &[Point],
        (on, off): (f64, f64),
        width: f64,
        color: Color,
    ) -> Result<(), FigureError> {
        for dash in dashes(path, on, off) {
            self.line(&dash, width, color)?;
        }
        Ok(())
    }

    /// A filled rectangle.
    pub(crate) fn fill_rectangle(
        &mut self,
        from: Point,
        to: Point,
        color: Color,
    ) -> Result<(), FigureError> {
        let corners = [from, at(to.x, from.y), to, at(from.x, to.y)].map(Point::on_grid);
        self.surface.polygon(&corners, color)
    }

    /// The outline of a rectangle.
    pub(crate) fn rectangle(
        &mut self,
        from: Point,
        to: Point,
        width: f64,
        color: Color,
    ) -> Result<(), FigureError> {
        let corners = [from, at(to.x, from.y), to, at(from.x, to.y), from];
        self.line(&corners, width, color)
    }

    /// A hollow mark: an outline of `color` filled with the colour of the paper.
    pub(crate) fn mark(
        &mut self,
        mark: Mark,
        center: Point,
        radius: f64,
        color: Color,
    ) -> Result<(), FigureError> {
        const STROKE: f64 = 1.5;
        let origin = center.on_grid();
        if mark == Mark::Circle {
            self.surface.disc(origin, on_grid(radius + STROKE / 2.0) as u32, color)?;
            return self.surface.disc(origin, on_grid(radius - STROKE / 2.0) as u32, PAPER);
        }
        let corners: Vec<Point> =
            mark.corners(radius).iter().map(|p| at(center.x + p.x, center.y + p.y)).collect();
        let grid: Vec<(i32, i32)> = corners.iter().map(|p| p.on_grid()).collect();
        self.surface.polygon(&grid, PAPER)?;
        let mut outline = corners.clone();
        outline.extend([corners[0], corners[1]]); // past the start, so that the join is closed
        self.line(&outline, STROKE, color)
    }

    /// A solid dot.
    pub(crate) fn dot(
        &mut self,
        center: Point,
        radius: f64,
        color: Color,
    ) -> Result<(), FigureError> {
        self.surface.disc(center.on_grid(), on_grid(radius).max(1) as u32, color)
    }

    /// An upright bar with a cap at each end.
    pub(crate) fn error_bar(
        &mut self,
        x: f64,
        top: f64,
        bottom: f64,
        color: Color,
    ) -> Result<(), FigureError> {
        const STROKE: f64 = 1.0;
        const HALF_CAP: f64 = 3.5;
        self.line(&[at(x, top), at(x, bottom)], STROKE, color)?;
        for y in [top, bottom] {
            self.line(&[at(x - HALF_CAP, y), at(x + HALF_CAP, y)], STROKE, color)?;
        }
        Ok(())
    }

    /// One line of text with its baseline at `place`.
    pub(crate) fn text(
        &mut self,
        text: &str,
        place: Point,
        style: &Style,
    ) -> Result<(), FigureError> {
        self.surface.text(text, place.on_grid(), style)
    }
}

/// Cuts a path into dashes.
fn dashes(path: &[Point], on: f64, off: f64) -> Vec<Vec<Point>> {
    assert!(on > 0.0 && off > 0.0, "invariant: a dash pattern has positive lengths");
    let Some(&first) = path.first() else {
        return Vec::new();
    };
    let (mut done, mut dash) = (Vec::new(), vec![first]);
    let (mut drawing, mut left) = (true, on);
    for pair in path.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        let mut length = from.distance(to);
        while length > left {
            let turn = from.toward(to, left / length);
            if drawing {
                dash.push(turn);
                done.push(std::mem::take(&mut dash));
            } else {
                dash = vec![turn];
            }
            drawing = !drawing;
            (length, from) = (length - left, turn);
            left = if drawing { on } else { off };
        }
        left -= length;
        if drawing {
            dash.push(to);
        }
    }
    if drawing && dash.len() > 1 {
        done.push(dash);
    }
    done
}

/// What a drawing backend reports, as an error of ours.
pub(super) fn render_error(error: impl std::fmt::Display) -> FigureError {
    FigureError::Render(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_cover_the_path_and_leave_gaps() {
        let path = [at(0.0, 0.0), at(10.0, 0.0), at(10.0, 10.0)];
        let drawn = dashes(&path, 6.0, 3.0);
        assert_eq!(drawn[0], [at(0.0, 0.0), at(6.0, 0.0)]);
        assert_eq!(drawn[1], [at(9.0, 0.0), at(10.0, 0.0), at(10.0, 5.0)]);
        assert_eq!(drawn[2], [at(10.0, 8.0), at(10.0, 10.0)]);
        assert_eq!(drawn.len(), 3);
        assert!(dashes(&[], 1.0, 1.0).is_empty());
    }
}
