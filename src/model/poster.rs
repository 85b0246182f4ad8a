//! The whole model as one picture, in its map layout.
//!
//! Each pixel stands for a square of cells. Its hue is the sign of their mean, its strength how far
//! the mean lies from zero for that many weights of the tensor's spread, its light how large the
//! weights are beside the tensor's: structure shows where weights agree in sign or stand out in
//! size, and pure noise stays an even grain.

use rayon::prelude::*;

use super::error::ModelError;
use super::pixel_model::PixelModel;
use super::plan::{Plot, Rect};
use super::tiling::TileShape;
use super::weights::tile_weights;
use crate::pxi::{AtomicFile, Target};

/// A picture of 8-bit RGB, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels across, margins included.
    pub width: u32,
    /// Pixels down, margins included.
    pub height: u32,
    /// Red, green and blue of each pixel.
    pub rgb: Vec<u8>,
}

/// Deep ink, the night in which the land lies.
const GROUND: [f32; 3] = [11.0, 14.0, 20.0];
const WATER: [f32; 3] = [18.0, 30.0, 48.0];
/// The hue of weights below zero.
const COOL: [f32; 3] = [58.0, 158.0, 255.0];
/// The hue of weights above zero.
const WARM: [f32; 3] = [255.0, 158.0, 52.0];
/// Weights that balance out.
const EVEN: [f32; 3] = [58.0, 64.0, 82.0];
/// Space around the land, in parts of the picture's longer side.
const MARGIN: f64 = 0.02;

#[derive(Debug, Clone, Copy, Default)]
struct PosterPixel {
    count: f32,
    sum: f32,
    squares: f32,
}

/// Paints the model so that the longer side has `side` pixels. `progress` hears of tiles done.
///
/// # Errors
/// A tile is damaged.
pub fn paint(
    model: &PixelModel,
    side: u32,
    progress: super::convert::Progress<'_>,
) -> Result<Picture, ModelError> {
    let [across, down] = model.plan().size;
    let canvas = PosterCanvas::new(across, down, side);
    let spreads: Vec<f32> =
        model.tensors().iter().map(|tensor| model.tensor_spread(tensor)).collect();
    let done = std::sync::atomic::AtomicU64::new(0);
    let picture = std::sync::Mutex::new(canvas.blank(model));
    (0..model.tile_count()).into_par_iter().try_for_each(|tile| {
        let (tensor, shape) = model.tile_shape(tile);
        let weights = tile_weights(&model.tensors()[tensor].tiling, &shape, model.tile(tile)?);
        for plot in model.plan().plots_of(tensor) {
            if let Some(part) = plot.part(&shape.rows, &shape.columns) {
                let patch = canvas.patch(plot, part, &shape, &weights);
                // Held to lay the pixels only: decoding and summing go on side by side.
                let mut picture = picture.lock().expect("painting does not panic");
                patch.lay(&mut picture, spreads[tensor]);
            }
        }
        progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1);
        Ok::<(), ModelError>(())
    })?;
    Ok(picture.into_inner().expect("painting does not panic"))
}

struct PosterCanvas {
    width: u32,
    height: u32,
    margin: f64,
    pixels_per_cell: f64,
}

impl PosterCanvas {
    fn new(across: i64, down: i64, side: u32) -> Self {
        let margin = (f64::from(side) * MARGIN).round();
        let inner = (f64::from(side) - 2.0 * margin).max(1.0);
        let pixels_per_cell = inner / across.max(down) as f64;
        let size = |cells: i64| (cells as f64 * pixels_per_cell + 2.0 * margin).ceil() as u32;
        Self { width: size(across), height: size(down), margin, pixels_per_cell }
    }

    fn blank(&self, model: &PixelModel) -> Picture {
        let mut rgb = vec![0; (self.width * self.height * 3) as usize];
        fill(&mut rgb, GROUND);
        let mut picture = Picture { width: self.width, height: self.height, rgb };
        for layer in &model.plan().layers {
            let Rect { x, y, width, height } = layer.river;
            for py in self.at(y)..self.at(y + height) {
                for px in self.at(x)..self.at(x + width) {
                    picture.set(px, py, WATER);
                }
            }
        }
        picture
    }

    fn at(&self, cell: i64) -> u32 {
        (cell as f64 * self.pixels_per_cell + self.margin) as u32
    }

    /// Sums the weights of one tile in one plot into the pixels that show them.
    fn patch(&self, plot: &Plot, part: Rect, shape: &TileShape, weights: &[f32]) -> PosterPatch {
        let (x, y) = (self.at(part.x), self.at(part.y));
        let width = self.at(part.x + part.width - 1) - x + 1;
        let height = self.at(part.y + part.height - 1) - y + 1;
        let mut pixels = vec![PosterPixel::default(); (width * height) as usize];
        let columns_at: Vec<u32> = (0..part.width).map(|dx| self.at(part.x + dx) - x).collect();
        let stride = (shape.columns.end - shape.columns.start) as usize;
        for dy in 0..part.height {
            let line = (self.at(part.y + dy) - y) * width;
            for dx in 0..part.width {
                let Some((row, column)) = plot.weight_at(part.x + dx, part.y + dy) else {
                    continue;
                };
                if !shape.rows.contains(&row) || !shape.columns.contains(&column) {
                    continue;
                }
                let weight = weights[(row - shape.rows.start) as usize * stride
                    + (column - shape.columns.start) as usize];
                let pixel = &mut pixels[(line + columns_at[dx as usize]) as usize];
                pixel.count += 1.0;
                pixel.sum += weight;
                pixel.squares += weight * weight;
            }
        }
        PosterPatch { x, y, width, pixels }
    }
}

struct PosterPatch {
    x: u32,
    y: u32,
    width: u32,
    pixels: Vec<PosterPixel>,
}

impl PosterPatch {
    fn lay(&self, picture: &mut Picture, spread: f32) {
        for (index, pixel) in self.pixels.iter().enumerate().filter(|(_, pixel)| pixel.count > 0.0)
        {
            let (x, y) = (self.x + index as u32 % self.width, self.y + index as u32 / self.width);
            picture.set(x, y, colour(pixel, spread));
        }
    }
}

fn colour(pixel: &PosterPixel, spread: f32) -> [f32; 3] {
    // In standard errors of a mean of that many weights; three of them are full colour.
    let lean = pixel.sum / pixel.count.sqrt() / spread / 3.0;
    let size = (pixel.squares / pixel.count).sqrt() / spread;
    let light = (0.8 * size.max(1e-3).powf(1.2)).clamp(0.1, 2.2);
    let pole = if lean < 0.0 { COOL } else { WARM };
    let strength = lean.abs().min(1.0);
    // What is brighter than full colour turns towards white, so that its hue stays what it was.
    let glow = ((light - 1.0) / 2.0).clamp(0.0, 0.6);
    std::array::from_fn(|channel| {
        let hue = EVEN[channel] + (pole[channel] - EVEN[channel]) * strength;
        let lit = GROUND[channel] + (hue - GROUND[channel]) * light.min(1.0);
        lit + (255.0 - lit) * glow
    })
}

fn fill(rgb: &mut [u8], colour: [f32; 3]) {
    for pixel in rgb.as_chunks_mut::<3>().0 {
        *pixel = colour.map(|channel| channel as u8);
    }
}

impl Picture {
    /// Writes the picture as a PNG file, atomically.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_png(&self, target: impl Into<Target>) -> Result<(), ModelError> {
        let target = target.into();
        let path = target.path().to_owned();
        let file = AtomicFile::create(target)?;
        let mut buffered = std::io::BufWriter::new(file);
        let mut encoder = png::Encoder::new(&mut buffered, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let action = || format!("write {}", path.display());
        let failed = |error: png::EncodingError| ModelError::Io {
            action: action(),
            source: std::io::Error::other(error),
        };
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&self.rgb).map_err(failed)?;
        writer.finish().map_err(failed)?;
        let file = buffered
            .into_inner()
            .map_err(|error| ModelError::Io { action: action(), source: error.into_error() })?;
        Ok(file.commit()?)
    }

    fn set(&mut self, x: u32, y: u32, colour: [f32; 3]) {
        if x < self.width && y < self.height {
            let at = ((y * self.width + x) * 3) as usize;
            self.rgb[at..at + 3]
                .copy_from_slice(&colour.map(|channel| channel.clamp(0.0, 255.0) as u8));
        }
    }
}
