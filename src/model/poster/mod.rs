//! The whole model as one picture, in its map layout: relief from afar, titled, with the numbers of
//! its layers along the north edge and a legend in words.
//!
//! Each pixel stands for a square of cells and has the relief's colour of their root mean square;
//! the window shows the same of the blocks of the coarse level.

use rayon::prelude::*;

use super::colour::{Rgb, bytes_of};
use super::error::ModelError;
use super::pixel_model::PixelModel;
use super::quant::Encoding;
use super::relief::{HEIGHTS, RAMP, Ramps};
use super::tensors::Tensor;
use super::weights::tile_weights;
use crate::pxi::{AtomicFile, Target};
use crate::terminal::one_line;
use crate::words::counted;
use field::Field;
use text::Pen;

mod field;
pub(crate) mod text;

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
const GROUND: Rgb = [11, 14, 20];
/// The river where nothing is thought: dark water.
const WATER: Rgb = [22, 38, 60];
const TITLE: Rgb = [242, 214, 142];
const WORDS: Rgb = [138, 164, 148];
/// Space around the land, in parts of the picture's longer side.
const MARGIN: f32 = 0.012;
/// Sizes of letters, in parts of the longer side: of the title, of what follows it, and of numbers
/// and legend.
const LETTERS: [f32; 3] = [0.0225, 0.0135, 0.0105];
/// Letters of fewer pixels cannot be read: a picture whose numbers would have them has no words.
const LEAST_LETTERS: f32 = 6.0;

/// Paints the model so that the longer side has `side` pixels. `progress` hears of tiles done.
///
/// # Errors
/// A tile is damaged.
pub fn paint(
    model: &PixelModel,
    side: u32,
    progress: super::convert::Progress<'_>,
) -> Result<Picture, ModelError> {
    let sheet = Sheet::new(model, side);
    let mut field = sums(model, sheet.scale, progress)?;
    let window = field.smooth();
    let ramps = Ramps::default();
    let mut picture = Picture::new(sheet.size, GROUND);
    let [left, top, width, height] = sheet.land;
    let pixel = |cell: i64| (cell as f64 * sheet.scale) as u32;
    for piece in &model.plan().river {
        let [right, bottom] = [pixel(piece.x + piece.width), pixel(piece.y + piece.height)];
        for y in pixel(piece.y)..bottom.max(pixel(piece.y) + 1) {
            for x in pixel(piece.x)..right {
                picture.set(left + x, top + y, WATER);
            }
        }
    }
    field.draw(&mut picture, [left, top, width, height], &ramps);
    if let Some(pens) = &sheet.pens {
        sheet.head(&mut picture, model, pens);
        sheet.legend(&mut picture, model, pens, &ramps, window);
    }
    Ok(picture)
}

/// The sums of every weight of the model.
fn sums(
    model: &PixelModel,
    scale: f64,
    progress: super::convert::Progress<'_>,
) -> Result<Field, ModelError> {
    let plan = model.plan();
    let done = std::sync::atomic::AtomicU64::new(0);
    let all = std::sync::Mutex::new(Field::new(plan.size, scale));
    (0..model.tile_count()).into_par_iter().try_for_each(|tile| {
        let (index, shape) = model.tile_shape(tile);
        let tensor = &model.tensors()[index];
        let weights = tile_weights(&tensor.tiling, &shape, model.tile(tile)?);
        let median = model.tensor_median(index);
        for plot in plan.plots_of(index) {
            if let Some(part) = plot.part(&shape.rows, &shape.columns) {
                let seen = (median, tensor.layer().is_none());
                let patch = Field::patch(scale, (plot, part), (&shape, &weights), seen);
                // Held to add the sums only: decoding and summing go on side by side.
                all.lock().expect("painting does not panic").lay(&patch);
            }
        }
        progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1);
        Ok::<(), ModelError>(())
    })?;
    Ok(all.into_inner().expect("painting does not panic"))
}

/// Where everything is on the picture, in pixels.
struct Sheet {
    size: [u32; 2],
    margin: f32,
    /// Left, top, width and height of the land.
    land: [u32; 4],
    /// Pixels for each cell.
    scale: f64,
    pens: Option<[Pen; 3]>,
}

impl Sheet {
    fn new(model: &PixelModel, side: u32) -> Self {
        let [across, down] = model.plan().size.map(|cells| cells.max(1) as f64);
        let longer = side as f32;
        let margin = (longer * MARGIN).round();
        let sizes = LETTERS.map(|part| (part * longer).round());
        let colours = [TITLE, WORDS, WORDS];
        let pens = (sizes[2] >= LEAST_LETTERS)
            .then(|| std::array::from_fn(|at| Pen::new(sizes[at], colours[at])));
        let lines = |pens: &[Pen; 3], width: f32| {
            legend_words(model, 1.0)
                .iter()
                .map(|text| pens[2].lines(text, width).len())
                .sum::<usize>()
        };
        // Title and numbers above the land; below it the ramps and the legend.
        let [above, below] = match &pens {
            None => [margin; 2],
            Some(pens) => {
                let legend = lines(pens, longer - 2.0 * margin) as f32 + 1.4;
                [
                    margin * 0.6 + pens[0].line() + pens[2].line(),
                    margin * 1.6 + pens[2].line() * legend,
                ]
            }
        };
        let room = [f64::from(longer - 2.0 * margin), f64::from(longer - above - below)];
        let scale = (room[0].max(1.0) / across).min(room[1].max(1.0) / down);
        let pixels = |cells: f64| (cells * scale).ceil().max(1.0) as u32;
        let (width, height) = (pixels(across), pixels(down));
        let sheet = match &pens {
            // A land that is taller than wide leaves room beside it for the words.
            Some(_) => [side, (above + below) as u32 + height],
            None => [width + 2 * margin as u32, (above + below) as u32 + height],
        };
        let left = (sheet[0].saturating_sub(width)) / 2;
        let land = [left, above as u32, width, height];
        Self { size: sheet.map(|size| size.min(side)), margin, land, scale, pens }
    }

    /// The title, and the numbers of layers along the north edge.
    fn head(&self, picture: &mut Picture, model: &PixelModel, [title, about, numbers]: &[Pen; 3]) {
        let named = model.metadata().str("general.name").ok().flatten();
        let named = named.filter(|name| !name.is_empty()).map(str::to_owned);
        let stem = || model.path().file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = named.or_else(stem).unwrap_or_else(|| "model".into());
        let name = one_line(&name);
        let top = self.margin * 0.6;
        title.write(picture, [self.margin, top], &name);
        let beside = self.margin + title.width(&name) + title.size * 0.5;
        let base = top + (title.size - about.size) * 0.8;
        about.write(picture, [beside, base], &summary(model));
        let [left, north, ..] = self.land;
        let y = north as f32 - numbers.line();
        for layer in model.plan().layers.iter().filter(|layer| {
            layer.layer.is_multiple_of(5) && layer.rect.y == model.plan().layers[0].rect.y
        }) {
            let x = left as f32 + (layer.rect.x as f64 * self.scale) as f32;
            let text = layer.layer.to_string();
            let text = if layer.layer == 0 { format!("layer {text}") } else { text };
            numbers.write(picture, [x, y], &text);
        }
    }

    /// The ramps with their ends, and what they mean.
    fn legend(
        &self,
        picture: &mut Picture,
        model: &PixelModel,
        [.., pen]: &[Pen; 3],
        ramps: &Ramps,
        window: f64,
    ) {
        let [_, top, _, height] = self.land;
        let mut y = (top + height) as f32 + self.margin * 0.6;
        let mut x = self.margin;
        let bar = [(pen.size * 9.0) as u32, (pen.size * 0.62) as u32];
        for (ramp, what) in [(&ramps.land, "layers"), (&ramps.sea, "sea of words")] {
            let [low, high] = HEIGHTS.map(|octaves| format!("{:.2} x", octaves.exp2()));
            for part in [format!("{what}  {low}"), String::new(), high] {
                if part.is_empty() {
                    for at in 0..bar[0] {
                        let colour = bytes_of(ramp[at as usize * RAMP / bar[0] as usize]);
                        for down in 0..bar[1] {
                            let line = (y + pen.size * 0.22) as u32 + down;
                            picture.set(x as u32 + at, line, colour);
                        }
                    }
                    x += bar[0] as f32 + pen.size * 0.6;
                } else {
                    pen.write(picture, [x, y], &part);
                    x += pen.width(&part) + pen.size * 0.6;
                }
            }
            x += pen.size * 1.5;
        }
        y += pen.line() * 1.4;
        for text in legend_words(model, window) {
            for line in pen.lines(&text, self.size[0] as f32 - 2.0 * self.margin) {
                pen.write(picture, [self.margin, y], &line);
                y += pen.line();
            }
        }
    }
}

/// What a stranger should know of the model: layers and heads, and what its weights are stored as.
fn summary(model: &PixelModel) -> String {
    let config = model.config();
    let weights = |encoding: Option<Encoding>| {
        let of_it = model.tensors().iter();
        let of_it = of_it.filter(|tensor| encoding.is_none_or(|one| tensor.encoding() == one));
        of_it.map(Tensor::weight_count).sum::<u64>()
    };
    let all = weights(None).max(1) as f64;
    let mut shares: Vec<_> = Encoding::ALL
        .into_iter()
        .map(|encoding| (encoding, weights(Some(encoding)) as f64 / all))
        // What is less than that is norms and biases.
        .filter(|(_, share)| *share >= 0.005)
        .collect();
    shares.sort_by(|one, other| other.1.total_cmp(&one.1));
    let mix = match &shares[..] {
        [(encoding, _)] => encoding.name().to_owned(),
        shares => {
            let share = |(encoding, share): &(Encoding, f64)| {
                format!("{} {:.0} %", encoding.name(), share * 100.0)
            };
            shares.iter().map(share).collect::<Vec<_>>().join(", ")
        }
    };
    let size = match all {
        all if all >= 1e9 => format!("{:.2} billion", all / 1e9),
        all if all >= 1e6 => format!("{:.1} million", all / 1e6),
        all => format!("{:.0} thousand", all / 1e3),
    };
    let heads = counted(config.head_count, "head");
    let layers = counted(config.layer_count, "layer");
    format!("{layers} of {heads} \u{b7} {size} weights in {mix}")
}

/// What the picture shows, in words.
fn legend_words(model: &PixelModel, window: f64) -> Vec<String> {
    let plan = model.plan();
    let mut lines = vec![format!(
        "Height and colour: root mean square of {window:.0} x {window:.0} weights over the \
         tensor's median, light from the north-west; sparks: a weight of more than five times \
         that of the weights around it."
    )];
    let bank = |is_north: bool| if is_north { "north" } else { "south" };
    let layer = plan.layers.first();
    let is_north = layer.is_none_or(|layer| layer.attention.y < layer.river.y);
    let ends: Vec<String> = (plan.layers.windows(2))
        .filter(|pair| pair[0].westward != pair[1].westward)
        .map(|pair| pair[0].layer.to_string())
        .collect();
    let bends = match &ends[..] {
        [] => String::new(),
        ends => format!(", and turns after layer {}", ends.join(" and ")),
    };
    lines.push(format!(
        "Each layer is a strip across the river, the residual stream, which runs from west to \
         east{bends}: heads {} of it, feed-forward {}; a vertical line is one of its {} \
         dimensions, in the sea of {} tokens too.",
        bank(is_north),
        bank(!is_north),
        model.config().embedding_size,
        model.config().vocab_size,
    ));
    lines
}

impl Picture {
    pub(crate) fn new([width, height]: [u32; 2], colour: Rgb) -> Self {
        Self { width, height, rgb: colour.repeat((width * height) as usize) }
    }

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

    pub(crate) fn at(&self, x: u32, y: u32) -> Rgb {
        let at = ((y.min(self.height - 1) * self.width + x.min(self.width - 1)) * 3) as usize;
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }

    pub(crate) fn set(&mut self, x: u32, y: u32, colour: Rgb) {
        if x < self.width && y < self.height {
            let at = ((y * self.width + x) * 3) as usize;
            self.rgb[at..at + 3].copy_from_slice(&colour);
        }
    }

    /// Lays a colour over a pixel: `cover` of it, from 0 to 1.
    pub(crate) fn mix(&mut self, x: u32, y: u32, colour: Rgb, cover: f32) {
        let below = self.at(x, y);
        let mixed = |at: usize| {
            let [from, to] = [below[at], colour[at]].map(f32::from);
            (from + (to - from) * cover.clamp(0.0, 1.0)).round() as u8
        };
        self.set(x, y, std::array::from_fn(mixed));
    }
}
