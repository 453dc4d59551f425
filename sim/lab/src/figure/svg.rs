//! A page as an SVG document. The view box is the grid; text stays text.

use super::FigureError;
use super::canvas::{Anchor, Canvas, Color, GRID_PER_POINT, Style, Surface, render_error};
use super::font::{self, Weight};
use plotters::backend::{DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, TextStyle};

/// The backend puts the baseline this many ems below the top of a text.
const TOP_TO_BASELINE_EM: f64 = 0.76;
/// The backend divides the size of a text by this number to get the em.
const SIZE_PER_EM: f64 = 1.24;

/// Draws a page of `width` x `height` points as an SVG document.
pub(crate) fn render(
    (width, height): (u32, u32),
    title: &str,
    draw: impl FnOnce(&mut Canvas<'_>) -> Result<(), FigureError>,
) -> Result<String, FigureError> {
    let size = (width * GRID_PER_POINT, height * GRID_PER_POINT);
    let mut document = String::new();
    {
        let mut surface = SvgSurface(SVGBackend::with_string(&mut document, size));
        draw(&mut Canvas::new(&mut surface, (width, height))?)?;
        surface.0.present().map_err(render_error)?;
    }
    // The backend's root element knows neither a scale nor a title.
    let (_, body) = document.split_once(">\n").ok_or_else(|| render_error("no root element"))?;
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {} {}\" role=\"img\" stroke-linejoin=\"round\" stroke-linecap=\"butt\">\n\
         <title>{}</title>\n{body}",
        size.0,
        size.1,
        escape(title)
    ))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

struct SvgSurface<'a>(SVGBackend<'a>);

impl Surface for SvgSurface<'_> {
    fn polyline(
        &mut self,
        path: &[(i32, i32)],
        width: u32,
        color: Color,
    ) -> Result<(), FigureError> {
        self.0.draw_path(path.iter().copied(), &color.stroke(width)).map_err(render_error)
    }

    fn polygon(&mut self, corners: &[(i32, i32)], color: Color) -> Result<(), FigureError> {
        self.0.fill_polygon(corners.iter().copied(), &color.fill()).map_err(render_error)
    }

    fn disc(&mut self, center: (i32, i32), radius: u32, color: Color) -> Result<(), FigureError> {
        self.0.draw_circle(center, radius, &color.fill(), true).map_err(render_error)
    }

    fn text(&mut self, text: &str, baseline: (i32, i32), style: &Style) -> Result<(), FigureError> {
        let em = style.em * f64::from(GRID_PER_POINT);
        let weight = match style.weight {
            Weight::Regular => FontStyle::Normal,
            Weight::Bold => FontStyle::Bold,
        };
        let mut description =
            FontDesc::new(FontFamily::Name(font::FAMILY), em * SIZE_PER_EM, weight);
        let top = (em * TOP_TO_BASELINE_EM).round() as i32;
        let place = if style.upwards {
            description = description.transform(FontTransform::Rotate270);
            (baseline.0 - top, baseline.1)
        } else {
            (baseline.0, baseline.1 - top)
        };
        let horizontal = match style.anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let Color(red, green, blue) = style.color;
        let ink = RGBColor(red, green, blue);
        let text_style =
            TextStyle::from(description).color(&ink).pos(Pos::new(horizontal, VPos::Top));
        self.0.draw_text(text, &text_style, place).map_err(render_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_escaped() {
        let document = render((10, 10), "a < b & c", |_| Ok(())).unwrap();
        assert!(document.contains("<title>a &lt; b &amp; c</title>"));
        assert!(document.ends_with("</svg>\n"));
    }
}
