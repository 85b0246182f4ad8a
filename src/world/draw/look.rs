//! The variants of the drawing: one per encoding and per way of looking at it. A software adapter's
//! lanes walk through every branch that is compiled, so that one shader for everything took ten
//! times as long.

use bevy::shader::ShaderDefVal;

use super::MapFrame;
use crate::forward::gpu::kernels::encoding_def;
use crate::model::Encoding;
use crate::model::plan::Rect;
use crate::world::palette::Colouring;
use crate::world::view::View;

/// A variant of the shader: what it decodes and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Look {
    /// `None` is what is flat.
    encoding: Option<Encoding>,
    mode: u32,
    shows_error: bool,
}

/// Cells of a pixel from which on only relief is seen, of every model. From eight cells on, the
/// four weights that stand for a pixel say less than the coarse level does.
const FAR: f64 = 10.0;
/// The same of a small model, whose land is on the screen whole at fewer: so much of that, so that
/// it is relief where it is seen whole.
const FAR_OF_HOME: f64 = 0.8;
/// Cells of a pixel at which relief may begin: below, each weight has three pixels across to be
/// seen on. Seedling on 2560 x 1440 has one at Home, where its weights would be noise.
const LEAST_FAR: f64 = 0.35;

/// Cells of a pixel from which on relief fades in, and from which on nothing else is seen.
pub(crate) fn relief_fade(view: &View, bounds: Rect, pixels_per_point: f32) -> [f64; 2] {
    let home = 1.0 / (view.fit(bounds).scale * f64::from(pixels_per_point));
    let far = FAR.min((home * FAR_OF_HOME).max(LEAST_FAR * 1.5));
    [(far / 2.0).max(LEAST_FAR), far]
}
/// Cells of a pixel up to which bytes are.
const MOST_BYTES: f64 = 64.0;

impl Look {
    /// Every variant that there can be.
    pub fn all() -> impl Iterator<Item = Self> {
        let encodings = Encoding::ALL.into_iter().map(Some).chain([None]);
        encodings.flat_map(|encoding| {
            (0..4).flat_map(move |mode| {
                [false, true].map(|shows_error| Self { encoding, mode, shows_error })
            })
        })
    }

    /// What the shader is compiled with.
    pub fn shader_defs(self) -> Vec<ShaderDefVal> {
        let mut defs = vec![
            // The shader decodes as the kernels do, and has to name an encoding where it decodes
            // nothing.
            encoding_def(self.encoding.unwrap_or(Encoding::F32)),
            ShaderDefVal::Bool("IS_FLAT".into(), self.encoding.is_none()),
            ShaderDefVal::UInt("MODE".into(), self.mode),
            ShaderDefVal::Bool("SHOWS_ERROR".into(), self.shows_error),
        ];
        // Only floats are in vectors: other variants are compiled without that way of decoding.
        if let Some(float) = self.encoding.filter(|encoding| !encoding.is_quantised()) {
            defs.push(ShaderDefVal::UInt("FLOAT_BYTES".into(), float.block_bytes() as u32));
        }
        defs
    }
}

/// What a variant does where a pixel is so many cells wide, as `MODE` in `view/bindings.wgsl`.
fn mode(wide: f64, [fades_in, alone]: [f64; 2], colouring: Colouring) -> u32 {
    let shows_error = colouring == Colouring::Error;
    // Relief may begin where a cell is larger than a pixel still: of a small model on a large
    // screen.
    let single = if shows_error { 1.0 } else { fades_in.min(1.0) };
    if colouring == Colouring::Bytes && wide < MOST_BYTES {
        3
    } else if wide <= single {
        0
    } else if wide < alone || shows_error {
        // Errors from afar too: the coarse level knows nothing of them.
        1
    } else {
        2
    }
}

impl MapFrame {
    /// The camera of the map and that of the minimap.
    pub(super) fn views(&self) -> [&View; 2] {
        [&self.view, &self.minimap_view]
    }

    /// The variant that draws quads of an encoding through a camera; `None` is what is flat.
    pub(super) fn look(&self, view: &View) -> impl Fn(Option<Encoding>) -> Look + use<> {
        let wide = 1.0 / (view.scale * f64::from(self.pixels_per_point));
        let shows_error = self.colouring == Colouring::Error;
        let mode = mode(wide, self.relief_fade, self.colouring);
        move |encoding| match encoding {
            // A flat colour is the same however it is looked at.
            None => Look { encoding, mode: 0, shows_error: false },
            Some(_) => Look { encoding, mode, shows_error },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_land_is_relief_on_every_screen_and_weights_are_themselves_from_near() {
        // Seedling and SmolLM2, in cells.
        for [width, height] in [[2364, 1180], [18_000, 8_300]] {
            let bounds = Rect::new(0, 0, width, height);
            for size in [[800.0, 600.0], [1280.0, 720.0], [2560.0, 1440.0]] {
                let view = View { size, ..View::default() };
                let fade = relief_fade(&view, bounds, 1.0);
                let home = 1.0 / view.fit(bounds).scale;
                assert_eq!(mode(home, fade, Colouring::Weights), 2, "{bounds:?} on {size:?}");
                assert_eq!(mode(LEAST_FAR, fade, Colouring::Weights), 0);
                assert_eq!(mode((fade[0] + fade[1]) / 2.0, fade, Colouring::Weights), 1);
            }
        }
    }

    #[test]
    fn errors_are_no_relief_and_bytes_are_bytes() {
        let fade = [0.4, 0.8];
        assert_eq!([0.9, 1.1, 90.0].map(|wide| mode(wide, fade, Colouring::Error)), [0, 1, 1]);
        assert_eq!([0.9, 63.0, 65.0].map(|wide| mode(wide, fade, Colouring::Bytes)), [3, 3, 2]);
    }
}
