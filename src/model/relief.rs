//! The land from afar: shaded relief of how large weights are. One function says what colour a
//! point has; `shaders/view/relief.wgsl` is its twin.
//!
//! In: blocks of the coarse table, or the sums of a poster's pixel. Out: a [`Point`], which is what
//! a texture holds of a block, and its colour.

use super::coarse::{BLOCKS, Block, BlockGrid};
use super::colour::{Rgb, along, light_of, linear};

/// Octaves above a tensor's median at which the ramps begin and end: a third of it, and four times.
pub(crate) const HEIGHTS: [f32; 2] = [-1.6, 2.0];
/// Colours of a ramp: as many as the shader has.
pub(crate) const RAMP: usize = 128;
/// How steep a step of one octave from a block to the next looks.
const STEEPNESS: f32 = 0.9;
/// How many octaves a largest weight lies above its block's root mean square, and above the
/// tensor's median, before it glints; one octave more is full light. Of 288 weights of a normal
/// distribution the largest is 1.6 octaves above.
const GLINT: f32 = 2.3;

/// What is seen of a block, each from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// How high it lies, from one end of the ramp to the other.
    pub height: f32,
    /// Light on it: a half on level ground, more where it faces north-west.
    pub light: f32,
    /// How much a single weight stands out.
    pub glint: f32,
    /// 1 in the sea of words, 0 on land.
    pub sea: f32,
}

impl Point {
    /// The four as bytes of a word, the first the lowest: WGSL's `unpack4x8unorm`.
    pub(crate) fn word(self) -> u32 {
        let byte = |part: f32| (part.clamp(0.0, 1.0) * 255.0).round() as u8;
        u32::from_le_bytes([self.height, self.light, self.glint, self.sea].map(byte))
    }

    /// What a shader reads of a word.
    pub fn of_word(word: u32) -> Self {
        let [height, light, glint, sea] = word.to_le_bytes().map(|byte| f32::from(byte) / 255.0);
        Self { height, light, glint, sea }
    }
}

/// Octaves of a root mean square above a tensor's median, within those of the ramps.
pub(crate) fn octaves(rms: f32, median: f32) -> f32 {
    // The logarithm of zero is below every ramp.
    (rms / median).log2().clamp(HEIGHTS[0], HEIGHTS[1])
}

/// What is seen of a place: its octaves, those west and north of it, and its largest weight over
/// its root mean square and over the tensor's median.
pub(crate) fn point(here: f32, [west, north]: [f32; 2], outlier: [f32; 2], is_sea: bool) -> Point {
    // Light comes from the north-west: what rises from there towards here faces it.
    let slope = STEEPNESS * (2.0 * here - west - north);
    let stands_out = outlier.map(|ratio| (ratio.log2() - GLINT).clamp(0.0, 1.0));
    Point {
        height: (here - HEIGHTS[0]) / (HEIGHTS[1] - HEIGHTS[0]),
        light: 0.5 + 0.5 * slope / (1.0 + slope.abs()),
        glint: stands_out[0] * stands_out[1],
        sea: if is_sea { 1.0 } else { 0.0 },
    }
}

/// The words of a tile's blocks, as the shader reads them.
pub(crate) fn words(
    blocks: &[Block; BLOCKS],
    grid: &BlockGrid,
    median: f32,
    is_sea: bool,
) -> [u32; BLOCKS] {
    let height = |block: usize| octaves(blocks[block].rms(), median);
    let across = grid.blocks[1] as usize;
    std::array::from_fn(|block| {
        let here = height(block);
        // A block at the tile's edge goes on as it comes; one without cells is as high as this. In
        // a plot that is turned over west and north change places, and light from between them does
        // not.
        let before = |is_there: bool, step: usize| {
            let other = if is_there { block.checked_sub(step) } else { block.checked_add(step) };
            let other = other.filter(|&other| other < BLOCKS && grid.has_cells(other));
            let step = other.map_or(0.0, |other| here - height(other));
            if is_there { here - step } else { here + step }
        };
        let west = if across == 1 { here } else { before(block % across > 0, 1) };
        let north = before(block >= across, across);
        let (rms, peak) = (blocks[block].rms(), blocks[block].peak());
        point(here, [west, north], [peak / rms.max(f32::MIN_POSITIVE), peak / median], is_sea)
            .word()
    })
}

/// The colours of heights, from the lowest to the highest, as light.
#[derive(Debug, Clone, PartialEq)]
pub struct Ramps {
    /// Of the layers.
    pub land: Vec<[f32; 3]>,
    /// Of the embedding and the output.
    pub sea: Vec<[f32; 3]>,
    /// Of single weights that stand out.
    pub glint: [f32; 3],
}

/// The stops where a palette has none: deep blue-green, green, sand, snow; ink to foam; a spark.
pub(crate) const LAND: [Rgb; 6] = [
    [0x07, 0x1A, 0x26],
    [0x12, 0x3A, 0x46],
    [0x2E, 0x61, 0x55],
    [0x7C, 0x8F, 0x62],
    [0xE2, 0xC4, 0x85],
    [0xFF, 0xF8, 0xE8],
];
pub(crate) const SEA: [Rgb; 6] = [
    [0x05, 0x0D, 0x20],
    [0x09, 0x22, 0x48],
    [0x13, 0x3D, 0x72],
    [0x2F, 0x6D, 0xA3],
    [0x86, 0xBD, 0xD2],
    [0xF0, 0xFB, 0xFA],
];
pub(crate) const SPARK: Rgb = [0xFF, 0xE3, 0xA6];

impl Ramps {
    /// Ramps from their stops, of which each has one at least.
    pub(crate) fn new(land: &[Rgb], sea: &[Rgb], glint: Rgb) -> Self {
        let ramp = |stops: &[Rgb]| {
            // Of one stop alone all heights have its colour.
            let rest = if stops.len() > 1 { &stops[1..] } else { stops };
            let part = |at: usize| at as f32 / (RAMP - 1) as f32;
            let entry = |at: usize| along(stops[0], rest, part(at)).map(linear);
            (0..RAMP).map(entry).collect()
        };
        Self { land: ramp(land), sea: ramp(sea), glint: light_of(glint) }
    }

    /// The colour of level land of a height from 0 to 1, as light.
    pub(crate) fn of_height(&self, height: f32) -> [f32; 3] {
        self.land[entry(height)]
    }

    /// The colour of a point, as light.
    pub fn colour(&self, point: Point) -> [f32; 3] {
        let base = if point.sea > 0.5 { &self.sea } else { &self.land }[entry(point.height)];
        // A half is level ground, which has the ramp's own colour.
        let lit = 0.3 + 1.4 * point.light;
        std::array::from_fn(|channel| {
            let lit = base[channel] * lit;
            lit + (self.glint[channel] - lit) * point.glint
        })
    }
}

/// The entry of a ramp for a height from 0 to 1.
fn entry(height: f32) -> usize {
    (height.clamp(0.0, 1.0) * (RAMP - 1) as f32 + 0.5) as usize
}

impl Default for Ramps {
    fn default() -> Self {
        Self::new(&LAND, &SEA, SPARK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::coarse::Coarse;
    use crate::model::quant::Encoding;
    use crate::model::tiling::Tiling;

    /// 64 rows of 64 columns in blocks of 4 x 4, whose weights are those of `weight`.
    fn words_of(weight: impl Fn(usize, usize) -> f32) -> Vec<Point> {
        let tiling = Tiling::new(Encoding::F32, &[64, 64]).unwrap();
        let cells = (0..64 * 64).map(|at| weight(at / 64, at % 64));
        let band: Vec<u8> = cells.flat_map(f32::to_le_bytes).collect();
        let shape = tiling.tile(0);
        let coarse = Coarse::of(&tiling, &shape, &band).unwrap();
        let grid = BlockGrid::of(&shape);
        words(&coarse.blocks, &grid, 1.0, false).map(Point::of_word).to_vec()
    }

    #[test]
    fn height_is_the_logarithm_and_slopes_that_face_the_light_are_lit() {
        // Each block is an eighth of an octave above the one west of it, from one below the median.
        let rising = words_of(|_, x| (0.125 * (x / 4) as f32 - 1.0).exp2());
        let height = |octaves: f32| (octaves - HEIGHTS[0]) / (HEIGHTS[1] - HEIGHTS[0]);
        for (at, point) in rising.iter().enumerate() {
            let octaves = 0.125 * (at % 16) as f32 - 1.0;
            assert!((point.height - height(octaves)).abs() < 0.003, "{at}: {point:?}");
            assert!(point.light > 0.53 && point.glint == 0.0, "{at}: {point:?}");
        }
        let falling = words_of(|y, _| (0.5 - 0.125 * (y / 4) as f32).exp2());
        assert!(falling.iter().all(|point| point.light < 0.47));
        let level = words_of(|_, _| 1.0);
        assert!(level.iter().all(|point| (point.light - 0.5).abs() < 0.003));
    }

    #[test]
    fn a_single_weight_glints_and_a_loud_block_does_not() {
        let points = words_of(|y, x| match (y, x) {
            (9, 9) => 300.0,
            (32..36, 32..36) => 300.0,
            _ => 1.0,
        });
        // The largest of 16 weights cannot be more than four times their root mean square.
        assert!(points.iter().all(|point| point.glint == 0.0));
        let point = point(0.0, [0.0; 2], [12.0, 12.0], true);
        assert_eq!((point.glint, point.sea), (1.0, 1.0));
        let ramps = Ramps::default();
        assert_eq!(ramps.colour(point), ramps.glint);
    }
}
