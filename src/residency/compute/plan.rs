//! Which tiles go together, where they lie in a slot, and which of them stay: pure arithmetic on a
//! model's table.

use serde::{Deserialize, Serialize};

use crate::model::PixelModel;
use crate::model::planes::{LINE_BYTES, LINE_TEXELS};
use crate::model::tensors::Tensor;
use crate::model::tiling::Layout;
use crate::tiles::{PagesError, Shape};

/// Numbers that decide how fast a model is streamed, and nothing of what it says. The usual ones
/// were found on two cores; a trial finds others (`specs/residency.md`, section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamTuning {
    /// Slots that streamed units take turns in, at most: with two, one is read while the other is
    /// written. Every further slot holds a unit that stays.
    pub ring: u8,
    /// Buffers between the thread that reads and the device: so many units it is ahead. With three,
    /// one is filled, one is full and one is copied from.
    pub buffers: u8,
}

impl Default for StreamTuning {
    fn default() -> Self {
        Self { ring: 2, buffers: 3 }
    }
}

impl StreamTuning {
    /// Whether a model can be streamed so, within memory that nobody has to think of.
    pub const fn is_sound(self) -> bool {
        matches!(self.ring, 1..=8) && matches!(self.buffers, 1..=16)
    }

    /// What a person is told of it.
    pub fn words(self) -> String {
        format!("{} slots in turn, {} units ahead", self.ring, self.buffers)
    }
}

/// Why a model cannot be streamed through so little memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Not even one layer and the embedding of a pass's tokens fit.
    #[error(
        "{cap} bytes of device memory are too little for this model's weights: \
         {least} are needed to stream them"
    )]
    TooSmall {
        /// Bytes that the cap allows.
        cap: u64,
        /// Bytes of the least cap that would do.
        least: u64,
    },
    /// A layer does not fit a texture.
    #[error(transparent)]
    Pages(#[from] PagesError),
}

/// What the tiles of a unit are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All matrices of a layer.
    Layer(u32),
    /// Some row groups of the output matrix: the first, and how many.
    Output {
        /// The first row group of 64 rows.
        first_group: u32,
        /// How many row groups.
        groups: u32,
    },
}

/// Tiles that are brought together, because the dispatches between two submissions read them all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// What they are for.
    pub part: Part,
    /// The tiles, in file order.
    pub tiles: Vec<u32>,
    /// Where each begins in the unit's slot: a line, counted over the slot's layers.
    pub first_lines: Vec<u32>,
    /// Runs of lines there that the tiles fill one after another: the first line and how many.
    pub runs: Vec<[u32; 2]>,
    /// Bytes of all its tiles.
    pub bytes: u64,
    /// Index of its slot in the pool.
    pub slot: usize,
    /// Whether it is brought anew in every pass, or stays.
    pub streamed: bool,
}

/// How a model goes through a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Layers in their order, then the pieces of the output matrix.
    pub units: Vec<Unit>,
    /// The shape of each slot's texture.
    pub slot: Shape,
    /// How many slots there are.
    pub slots: usize,
    /// The shape of the texture for rows of the embedding.
    pub rows: Shape,
    /// Tiles of the embedding that it holds.
    pub row_tiles: usize,
    /// Lines of the tallest of them.
    pub row_tile_lines: u32,
    /// How it is streamed.
    pub tuning: StreamTuning,
}

/// What the plan needs to know of a device and a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that the weights may take.
    pub cap: u64,
    /// Lines of the tallest texture.
    pub max_height: u32,
    /// The most layers of one.
    pub max_layers: u32,
    /// The most columns of a pass.
    pub columns: u32,
    /// How it is streamed where it does not fit.
    pub tuning: StreamTuning,
}

/// Bytes of all tiles of a model.
pub fn weights_in_bytes(model: &PixelModel) -> u64 {
    model.tensors().iter().map(|tensor| tensor.tiling.line_count() * LINE_BYTES).sum()
}

impl Plan {
    /// The plan for a model, or `None` where all of it fits.
    ///
    /// # Errors
    /// The cap is too small.
    pub fn new(model: &PixelModel, limits: Limits) -> Result<Option<Self>, PlanError> {
        let Limits { cap, max_height, max_layers, columns, tuning } = limits;
        let shape = |lines: u64| Shape::new(lines, max_height, max_layers);
        let lines = weights_in_bytes(model) / LINE_BYTES;
        // A model whose tensors no texture can hold does not fit either, whatever the cap.
        if shape(lines).is_ok_and(|shape| shape.size_in_bytes() <= cap) {
            return Ok(None);
        }
        // That the tensors are there was found when the model was opened.
        let named =
            |name: &str| model.tensor(name).expect("a model of a known family has an embedding");
        let embedding = named("token_embd.weight");
        let output =
            if model.config().tied_embeddings { embedding } else { named("output.weight") };

        let lines_of = |tile: u32| (model.tile_range(tile).len() as u64 / LINE_BYTES) as u32;
        let mut units: Vec<Unit> = (0..model.config().layer_count)
            .map(|layer| Unit::new(Part::Layer(layer), layer_tiles(model, layer), &lines_of))
            .collect();
        let tall = |unit: &Unit| unit.bytes / LINE_BYTES;
        // A slot holds a layer, and the output matrix is cut into pieces of that size.
        let one_down = output.tiling.row_groups_per_tile * output.tiling.lines_per_row_group();
        let most = units.iter().map(tall).max().unwrap_or(0).max(one_down);
        units.extend(output_units(output, most, &lines_of));
        let slot = shape(most)?;
        for unit in &mut units {
            unit.first_lines = slot.place(unit.tiles.iter().map(|&tile| lines_of(tile)));
            for (&tile, &first) in unit.tiles.iter().zip(&unit.first_lines) {
                match unit.runs.last_mut() {
                    // A run ends with its layer of the texture, where a tile that does not fit
                    // leaves a gap.
                    Some([start, lines])
                        if *start + *lines == first && first % slot.height != 0 =>
                    {
                        *lines += lines_of(tile);
                    }
                    _ => unit.runs.push([first, lines_of(tile)]),
                }
            }
        }

        let row_tile_lines = embedding.tiles().map(lines_of).max().unwrap_or(1);
        let across = embedding.tiling.tiles_across();
        // Room for the tokens of a whole pass: in smaller passes, other kernels would round
        // differently.
        let row_tiles = (u64::from(columns) * across).min(embedding.tiling.tile_count());
        let rows = shape(row_tiles * u64::from(row_tile_lines))?;
        let slots =
            usize::try_from(cap.saturating_sub(rows.size_in_bytes()) / slot.size_in_bytes())
                .unwrap_or(usize::MAX)
                .min(units.len());
        if slots == 0 {
            return Err(PlanError::TooSmall {
                cap,
                least: rows.size_in_bytes() + slot.size_in_bytes(),
            });
        }
        assign_slots(&mut units, slots, tuning.ring.into());
        let row_tiles = usize::try_from(row_tiles).expect("their lines fit a texture");
        Ok(Some(Self { units, slot, slots, rows, row_tiles, row_tile_lines, tuning }))
    }

    /// Bytes that one pass with logits brings.
    pub(crate) fn streamed_bytes(&self) -> u64 {
        self.units.iter().filter(|unit| unit.streamed).map(|unit| unit.bytes).sum()
    }

    /// Bytes of the pool's textures.
    pub fn size_in_bytes(&self) -> u64 {
        self.slots as u64 * self.slot.size_in_bytes() + self.rows.size_in_bytes()
    }
}

/// Units that stay have a slot each, evenly among the others, so that reading has time to get
/// ahead; the others take turns.
fn assign_slots(units: &mut [Unit], slots: usize, ring: usize) {
    let ring = ring.min(slots);
    let (stay, all) = (slots - ring, units.len());
    let (mut next, mut turn) = (ring, 0);
    for (index, unit) in units.iter_mut().enumerate() {
        unit.streamed = (index + 1) * stay / all == index * stay / all;
        unit.slot = if unit.streamed { turn % ring } else { next };
        if unit.streamed {
            turn += 1;
        } else {
            next += 1;
        }
    }
    // An odd number of streamed units would give the last of a pass and the first of the next one
    // slot: harmless, since the queue keeps the order.
}

impl Unit {
    fn new(part: Part, tiles: Vec<u32>, lines_of: &impl Fn(u32) -> u32) -> Self {
        let bytes = tiles.iter().map(|&tile| u64::from(lines_of(tile)) * LINE_BYTES).sum();
        Self {
            part,
            tiles,
            first_lines: Vec::new(),
            runs: Vec::new(),
            bytes,
            slot: 0,
            streamed: true,
        }
    }
}

/// Tiles of a layer's matrices; its vectors are few and go to the device with the parameters.
fn layer_tiles(model: &PixelModel, layer: u32) -> Vec<u32> {
    let of_layer = |tensor: &&Tensor| {
        tensor.tiling.layout == Layout::Matrix && tensor.layer().is_some_and(|(of, _)| of == layer)
    };
    let mut tiles: Vec<u32> =
        model.tensors().iter().filter(of_layer).flat_map(Tensor::tiles).collect();
    // In the order of the file, so that its pages are asked for and given back in long runs.
    tiles.sort_unstable();
    tiles
}

/// The output matrix in pieces of whole tiles, of at most so many lines.
fn output_units(output: &Tensor, most_lines: u64, lines_of: &impl Fn(u32) -> u32) -> Vec<Unit> {
    let tiling = &output.tiling;
    let (across, per_tile) = (tiling.tiles_across(), tiling.row_groups_per_tile);
    let down = tiling.tile_count() / across;
    let step = (most_lines / (per_tile * tiling.lines_per_row_group())).max(1);
    (0..down)
        .step_by(usize::try_from(step).unwrap_or(usize::MAX))
        .map(|first| {
            let last = (first + step).min(down);
            let groups =
                (last * per_tile).min(tiling.rows.div_ceil(LINE_TEXELS)) - first * per_tile;
            // A table's tiles and row groups are counted in 32 bits.
            let part =
                Part::Output { first_group: (first * per_tile) as u32, groups: groups as u32 };
            let tiles = (first * across..last * across)
                .map(|tile| output.first_tile + tile as u32)
                .collect();
            Unit::new(part, tiles, lines_of)
        })
        .collect()
}
