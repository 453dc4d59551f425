//! The one font of all figures: DejaVu Sans, a Latin subset, embedded in the program.
//!
//! SVG text stays text (searchable, selectable): it names [`FAMILY`], a list that ends in the
//! generic family, and Verdana second because it has the same widths. PNG text is rasterised from
//! the embedded outlines. Widths are always measured from the embedded font, so the layout does
//! not depend on the machine.
//!
//! Sizes are ems: the font size of CSS, not the height of a line.

use ab_glyph::{Font as _, FontRef, Glyph, PxScale, ScaleFont as _, point};

/// The `font-family` named in SVG files.
pub(crate) const FAMILY: &str = "DejaVu Sans, Verdana, Geneva, sans-serif";

const REGULAR: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans-subset.ttf");
const BOLD: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans-Bold-subset.ttf");

/// Weight of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Running text, ticks, captions.
    Regular,
    /// Titles.
    Bold,
}

/// A face at one size.
pub(crate) struct Face {
    font: FontRef<'static>,
    scale: PxScale,
}

impl Face {
    /// The face of `weight` with an em of `em` (in whatever unit the caller measures in).
    pub(crate) fn new(weight: Weight, em: f64) -> Face {
        assert!(em > 0.0 && em.is_finite(), "invariant: a font size is positive");
        let bytes = match weight {
            Weight::Regular => REGULAR,
            Weight::Bold => BOLD,
        };
        let font = FontRef::try_from_slice(bytes).expect("invariant: the embedded font is valid");
        let units_per_em = font.units_per_em().expect("invariant: the embedded font has an em");
        // ab_glyph scales by the height from descent to ascent, CSS by the em.
        let scale = PxScale::from(em as f32 * font.height_unscaled() / units_per_em);
        Face { font, scale }
    }

    /// Width of `text` on one line, in the unit of the em.
    pub(crate) fn width(&self, text: &str) -> f64 {
        let mut end = 0.0;
        self.each_glyph(text, |_, advanced| end = advanced);
        f64::from(end)
    }

    /// Calls `paint(x, y, coverage)` for each pixel of `text` that is covered at all.
    ///
    /// The baseline starts at (0, 0), y grows downwards; coverage is in 0..=1.
    pub(crate) fn rasterize(&self, text: &str, mut paint: impl FnMut(i32, i32, f32)) {
        self.each_glyph(text, |glyph, _| {
            let Some(outline) = self.font.outline_glyph(glyph) else {
                return; // a space
            };
            let corner = outline.px_bounds().min;
            let (left, top) = (corner.x as i32, corner.y as i32);
            outline.draw(|x, y, coverage| {
                if coverage > 0.0 {
                    paint(left + x as i32, top + y as i32, coverage.min(1.0));
                }
            });
        });
    }

    /// Lays `text` out and hands over each glyph with the position after it.
    fn each_glyph(&self, text: &str, mut visit: impl FnMut(Glyph, f32)) {
        let scaled = self.font.as_scaled(self.scale);
        let mut x = 0.0_f32;
        let mut previous = None;
        for character in text.chars() {
            let id = scaled.glyph_id(character);
            if let Some(before) = previous {
                x += scaled.kern(before, id);
            }
            let glyph = id.with_scale_and_position(self.scale, point(x, 0.0));
            x += scaled.h_advance(id);
            previous = Some(id);
            visit(glyph, x);
        }
    }
}

/// Breaks `text` into lines no wider than `width`, at spaces; a line break in the text stays one.
///
/// A single word wider than `width` gets a line of its own and is not cut.
pub(crate) fn wrap(text: &str, face: &Face, width: f64) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if line.is_empty() || face.width(&longer) <= width {
                line = longer;
            } else {
                lines.push(std::mem::replace(&mut line, word.to_owned()));
            }
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_follow_the_em() {
        // In DejaVu Sans every digit advances 1303 of 2048 units.
        let face = Face::new(Weight::Regular, 2048.0);
        assert!((face.width("0") - 1303.0).abs() < 0.5);
        assert!((face.width("0000") - 4.0 * 1303.0).abs() < 2.0);
        assert_eq!(face.width(""), 0.0);
        let bold = Face::new(Weight::Bold, 2048.0);
        assert!(bold.width("netherite") > face.width("netherite"));
    }

    #[test]
    fn the_subset_has_the_characters_in_use() {
        let face = Face::new(Weight::Regular, 10.0);
        let missing = face.font.glyph_id('\u{4E00}');
        for character in (' '..='~').chain("\u{2009}×µ±·–—’“”…→≤≥≈−²é".chars())
        {
            assert_ne!(face.font.glyph_id(character), missing, "{character:?}");
        }
    }

    #[test]
    fn an_upright_stroke_is_painted_above_the_baseline() {
        let face = Face::new(Weight::Regular, 40.0);
        let (mut top, mut bottom, mut covered) = (0, -100, 0.0);
        face.rasterize("l", |_, y, coverage| {
            top = top.min(y);
            bottom = bottom.max(y);
            covered += coverage;
        });
        assert!((-32..-27).contains(&top), "ascender at {top}");
        assert_eq!(bottom, -1);
        assert!(covered > 50.0);
    }

    #[test]
    fn wrapping_keeps_words_and_breaks() {
        let face = Face::new(Weight::Regular, 10.0);
        let lines = wrap("one two three\nfour", &face, face.width("one two "));
        assert_eq!(lines, ["one two", "three", "four"]);
        assert_eq!(wrap("unbreakable", &face, 1.0), ["unbreakable"]);
        assert!(wrap("", &face, 1.0).is_empty());
    }
}
