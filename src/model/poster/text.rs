//! Words on a picture.

use ab_glyph::{Font, FontRef, PxScale, ScaleFont};

use super::Picture;
use crate::model::colour::Rgb;

/// A typeface at a size.
pub(crate) struct Pen {
    font: FontRef<'static>,
    /// Pixels from the lowest to the highest of its letters.
    pub size: f32,
    pub colour: Rgb,
}

impl Pen {
    pub fn new(size: f32, colour: Rgb) -> Self {
        // The typeface of the window.
        let font = FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT)
            .expect("the program's own typeface is one");
        Self { font, size, colour }
    }

    /// From the top of one line to that of the next, in pixels.
    pub fn line(&self) -> f32 {
        self.size * 1.35
    }

    /// Pixels across a text.
    pub fn width(&self, text: &str) -> f32 {
        let font = self.font.as_scaled(PxScale::from(self.size));
        let glyphs = text.chars().map(|letter| font.glyph_id(letter));
        let mut before = None;
        let advance = |glyph| {
            let kern = before.replace(glyph).map_or(0.0, |before| font.kern(before, glyph));
            kern + font.h_advance(glyph)
        };
        glyphs.map(advance).sum()
    }

    /// A text in lines of at most so many pixels, broken between words.
    pub fn lines(&self, text: &str, width: f32) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split(' ') {
            match lines.last_mut() {
                Some(line) if self.width(&format!("{line} {word}")) <= width => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines
    }

    /// Writes a line, whose top is at `y`.
    pub fn write(&self, picture: &mut Picture, [x, y]: [f32; 2], text: &str) {
        let font = self.font.as_scaled(PxScale::from(self.size));
        let baseline = y + font.ascent();
        let (mut x, mut before) = (x, None);
        for letter in text.chars() {
            let id = font.glyph_id(letter);
            x += before.replace(id).map_or(0.0, |before| font.kern(before, id));
            let glyph = id.with_scale_and_position(self.size, ab_glyph::point(x, baseline));
            x += font.h_advance(id);
            let Some(outline) = self.font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            outline.draw(|dx, dy, cover| {
                let at = [corner.x + dx as f32, corner.y + dy as f32];
                if at.iter().all(|&side| side >= 0.0) {
                    picture.mix(at[0] as u32, at[1] as u32, self.colour, cover);
                }
            });
        }
    }
}
