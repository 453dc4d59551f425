//! A page as a PNG file: rendered on the grid, then averaged down, which gives smooth edges.

use super::FigureError;
use super::canvas::{Anchor, Canvas, Color, GRID_PER_POINT, Style, Surface, render_error};
use super::font::Face;
use plotters::backend::{BitMapBackend, DrawingBackend};
use plotters::style::{Color as _, RGBColor};

/// Pixels for each point.
const PIXELS_PER_POINT: u32 = 2;
/// Width of a block of grid units that becomes one pixel.
const BLOCK: u32 = GRID_PER_POINT / PIXELS_PER_POINT;

/// Draws a page of `width` x `height` points as a PNG file.
pub(crate) fn render(
    (width, height): (u32, u32),
    draw: impl FnOnce(&mut Canvas<'_>) -> Result<(), FigureError>,
) -> Result<Vec<u8>, FigureError> {
    let size = (width * GRID_PER_POINT, height * GRID_PER_POINT);
    let mut pixels = vec![0xFF; size.0 as usize * size.1 as usize * 3];
    {
        let mut surface = BitmapSurface(BitMapBackend::with_buffer(&mut pixels, size));
        draw(&mut Canvas::new(&mut surface, (width, height))?)?;
        surface.0.present().map_err(render_error)?;
    }
    let small = average_blocks(&pixels, size);
    encode_png(&small, (width * PIXELS_PER_POINT, height * PIXELS_PER_POINT))
}

/// Averages blocks of [`BLOCK`] x [`BLOCK`] RGB pixels.
fn average_blocks(pixels: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    let (block, stride) = (BLOCK as usize, width as usize * 3);
    assert_eq!(pixels.len(), stride * height as usize, "invariant: the buffer fits the page");
    let mut small = Vec::with_capacity(pixels.len() / (block * block));
    for rows in pixels.chunks_exact(stride * block) {
        for x in (0..width as usize).step_by(block) {
            for channel in 0..3 {
                let sum: u32 = (0..block * block)
                    .map(|i| rows[(i / block) * stride + (x + i % block) * 3 + channel])
                    .map(u32::from)
                    .sum();
                small.push(((sum + BLOCK * BLOCK / 2) / (BLOCK * BLOCK)) as u8);
            }
        }
    }
    small
}

fn encode_png(pixels: &[u8], (width, height): (u32, u32)) -> Result<Vec<u8>, FigureError> {
    /// Pixels for each metre of paper at 72 points an inch.
    const PIXELS_PER_METRE: u32 = (PIXELS_PER_POINT as f64 * 72.0 / 0.0254) as u32;
    let mut bytes = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(::png::ColorType::Rgb);
    encoder.set_depth(::png::BitDepth::Eight);
    encoder.set_compression(::png::Compression::Default);
    encoder.set_filter(::png::FilterType::NoFilter); // flat colour deflates best unfiltered
    encoder.set_pixel_dims(Some(::png::PixelDimensions {
        xppu: PIXELS_PER_METRE,
        yppu: PIXELS_PER_METRE,
        unit: ::png::Unit::Meter,
    }));
    let mut writer = encoder.write_header().map_err(render_error)?;
    writer.write_image_data(pixels).map_err(render_error)?;
    writer.finish().map_err(render_error)?;
    Ok(bytes)
}

struct BitmapSurface<'a>(BitMapBackend<'a>);

impl Surface for BitmapSurface<'_> {
    /// Each segment is a box of its own with a disc at the joints: the backend's own thick paths
    /// leave holes where points lie closer together than the line is wide. The backend paints the
    /// edges of a polygon too, half a pixel beyond it on either side.
    fn polyline(
        &mut self,
        path: &[(i32, i32)],
        width: u32,
        color: Color,
    ) -> Result<(), FigureError> {
        let half = f64::from(width - 1) / 2.0;
        for pair in path.windows(2) {
            self.polygon(&segment_box(pair[0], pair[1], half), color)?;
        }
        if width > 2 {
            for joint in path.get(1..path.len() - 1).unwrap_or_default() {
                self.disc(*joint, (width - 1) / 2, color)?;
            }
        }
        Ok(())
    }

    fn polygon(&mut self, corners: &[(i32, i32)], color: Color) -> Result<(), FigureError> {
        self.0.fill_polygon(corners.iter().copied(), &color.fill()).map_err(render_error)
    }

    fn disc(&mut self, center: (i32, i32), radius: u32, color: Color) -> Result<(), FigureError> {
        self.0.draw_circle(center, radius, &color.fill(), true).map_err(render_error)
    }

    fn text(&mut self, text: &str, baseline: (i32, i32), style: &Style) -> Result<(), FigureError> {
        let face = Face::new(style.weight, style.em * f64::from(GRID_PER_POINT));
        let shift = match style.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => face.width(text) / 2.0,
            Anchor::End => face.width(text),
        };
        let shift = shift.round() as i32;
        let (width, height) = self.0.get_size();
        let page = (0..width as i32, 0..height as i32);
        let Color(red, green, blue) = style.color;
        let mut outcome = Ok(());
        face.rasterize(text, |x, y, coverage| {
            let (x, y) = if style.upwards { (y, shift - x) } else { (x - shift, y) };
            let place = (baseline.0 + x, baseline.1 + y);
            if outcome.is_ok() && page.0.contains(&place.0) && page.1.contains(&place.1) {
                let ink = RGBColor(red, green, blue).mix(f64::from(coverage)).to_backend_color();
                outcome = self.0.draw_pixel(place, ink).map_err(render_error);
            }
        });
        outcome
    }
}

/// The four corners of a line of `half` width on each side.
fn segment_box(from: (i32, i32), to: (i32, i32), half: f64) -> [(i32, i32); 4] {
    let (ax, ay) = (f64::from(from.0), f64::from(from.1));
    let (bx, by) = (f64::from(to.0), f64::from(to.1));
    let (dx, dy) = (bx - ax, by - ay);
    let length = (dx * dx + dy * dy).sqrt();
    assert!(length > 0.0, "invariant: neighbours on a path differ");
    let (nx, ny) = (-dy / length * half, dx / length * half);
    let corner = |x: f64, y: f64| (x.round() as i32, y.round() as i32);
    [
        corner(ax + nx, ay + ny),
        corner(bx + nx, by + ny),
        corner(bx - nx, by - ny),
        corner(ax - nx, ay - ny),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_averaged() {
        let mut pixels = vec![0_u8; 4 * 2 * 3];
        pixels[0..3].copy_from_slice(&[255, 100, 4]);
        assert_eq!(average_blocks(&pixels, (4, 2)), [64, 25, 1, 0, 0, 0]);
    }
}
