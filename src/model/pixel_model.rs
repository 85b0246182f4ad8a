//! Opens a PXI-LLM file: maps it, checks the head, and hands out tiles that are verified one by
//! one, when first asked for.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::coarse::{BLOCKS, Block, BlockGrid, Statistics};
use super::config::ModelConfig;
use super::error::ModelError;
use super::file_head::FileHead;
use super::gguf::Metadata;
use super::header::Header;
use super::plan::{MapPlan, Rules};
use super::planes::LINE_BYTES;
use super::tensors::Tensor;
use super::tile_record::{self, TileRecord};
use super::tiling::TileShape;
use crate::pxi::{self, Compression, PxiFile};

/// A model made of pixels, mapped from its file.
#[derive(Debug)]
pub struct PixelModel {
    path: PathBuf,
    source: Arc<PayloadSource>,
    header: Header,
    config: ModelConfig,
    metadata: Arc<Metadata>,
    tensors: Vec<Tensor>,
    plan: MapPlan,
    checked: Arc<CheckedTiles>,
    /// Whether bytes of damaged tiles are given out to compute with.
    uses_damaged: bool,
    names: OnceLock<std::collections::HashMap<String, usize>>,
    medians: OnceLock<Vec<f32>>,
}

/// Where the payload's bytes are.
#[derive(Debug)]
enum PayloadSource {
    /// In a mapped file.
    Mapped(PxiFile),
    /// The same, with a lock that lasts as long as the model.
    Held(PxiFile, #[expect(dead_code, reason = "it is held")] std::fs::File),
    /// In the program itself.
    BuiltIn(&'static [u8]),
}

impl PayloadSource {
    fn payload(&self) -> &[u8] {
        match self {
            Self::Mapped(file) | Self::Held(file, _) => {
                file.payload().expect("compression none was checked when the model was opened")
            }
            Self::BuiltIn(payload) => payload,
        }
    }
}

/// Tiles that a core checks at a time: a few MiB.
const TILES_AT_ONCE: usize = 64;

const UNCHECKED: u8 = 0;
const GOOD: u8 = 1;
const DAMAGED: u8 = 2;

/// What is known of each tile, shared by all layouts of a model.
#[derive(Debug)]
struct CheckedTiles {
    states: Box<[AtomicU8]>,
    /// How many were found to be damaged.
    damaged: AtomicU32,
}

impl PixelModel {
    /// Opens a model. The head is checked whole; tiles are not touched.
    ///
    /// # Errors
    /// The file cannot be read, is no model, or its head is damaged or contradicts itself: the
    /// error names the field.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        Self::from_file(path, PayloadSource::Mapped)
    }

    /// The same with a lock on the file that is held as long as the model.
    pub(super) fn open_held(path: &Path, lock: std::fs::File) -> Result<Self, ModelError> {
        Self::from_file(path, |file| PayloadSource::Held(file, lock))
    }

    fn from_file(
        path: &Path,
        source: impl FnOnce(PxiFile) -> PayloadSource,
    ) -> Result<Self, ModelError> {
        let file = PxiFile::open(path)?;
        if file.header().compression() != Compression::None {
            let error =
                ModelError::field("compression", file.header().compression().name(), "none");
            return Err(error.in_file(path));
        }
        Self::new(path, source(file)).map_err(|error| error.in_file(path))
    }

    /// Opens a model that is part of the program. `name` stands for its path.
    ///
    /// # Errors
    /// As [`PixelModel::open`].
    pub(crate) fn from_static(name: &str, file: &'static [u8]) -> Result<Self, ModelError> {
        let path = Path::new(name);
        let payload = pxi::parse(file)?.payload()?;
        Self::new(path, PayloadSource::BuiltIn(payload)).map_err(|error| error.in_file(path))
    }

    fn new(path: &Path, source: PayloadSource) -> Result<Self, ModelError> {
        let FileHead { header, config, metadata, tensors, plan } =
            FileHead::parse(source.payload())?;
        let states = (0..header.tile_count).map(|_| AtomicU8::new(UNCHECKED)).collect();
        let checked = Arc::new(CheckedTiles { states, damaged: AtomicU32::new(0) });
        let path = path.to_owned();
        let (source, metadata) = (Arc::new(source), Arc::new(metadata));
        Ok(Self {
            path,
            source,
            header,
            config,
            metadata,
            tensors,
            plan,
            checked,
            uses_damaged: false,
            names: OnceLock::new(),
            medians: OnceLock::new(),
        })
    }

    /// The same model, of the same bytes, on a map that is laid out by rules, which must have no
    /// [`Rules::problems`].
    #[must_use]
    pub fn laid_out(&self, rules: &Rules) -> Self {
        Self {
            path: self.path.clone(),
            source: Arc::clone(&self.source),
            header: self.header.clone(),
            config: self.config.clone(),
            metadata: Arc::clone(&self.metadata),
            tensors: self.tensors.clone(),
            plan: MapPlan::with_rules(&self.config, &self.tensors, rules),
            // The bytes are the same, so what was checked stays so.
            checked: Arc::clone(&self.checked),
            uses_damaged: self.uses_damaged,
            names: self.names.clone(),
            medians: self.medians.clone(),
        }
    }

    /// The same model, whose damaged tiles are given out to compute with as they are: for whoever
    /// shows which they are, and asks before it computes.
    #[must_use]
    pub fn with_damaged_tiles(self) -> Self {
        Self { uses_damaged: true, ..self }
    }

    /// The file it came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The header, as it was checked when the model was opened.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The hyperparameters, from the metadata.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Every GGUF pair, in the order of the file.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensors in file order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Where everything lies on the map.
    pub fn plan(&self) -> &MapPlan {
        &self.plan
    }

    /// The index of a tensor by its GGUF name.
    pub fn tensor_index(&self, name: &str) -> Option<usize> {
        let names = self.names.get_or_init(|| {
            self.tensors
                .iter()
                .enumerate()
                .map(|(index, tensor)| (tensor.name.clone(), index))
                .collect()
        });
        names.get(name).copied()
    }

    /// A tensor by its GGUF name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensor_index(name).map(|index| &self.tensors[index])
    }

    /// Weights of the whole model.
    pub fn weight_count(&self) -> u64 {
        self.tensors().iter().map(Tensor::weight_count).sum()
    }

    /// Tiles of the whole model.
    pub fn tile_count(&self) -> u32 {
        self.header.tile_count
    }

    /// The tensor of a tile, and which part of it the tile holds.
    pub fn tile_shape(&self, tile: u32) -> (usize, TileShape) {
        // Never below zero: the first tensor begins with tile 0.
        let tensor = self.tensors.partition_point(|tensor| tensor.first_tile <= tile) - 1;
        let shape =
            self.tensors[tensor].tiling.tile(u64::from(tile - self.tensors[tensor].first_tile));
        (tensor, shape)
    }

    /// Where a tile's bytes lie in the payload.
    pub fn tile_range(&self, tile: u32) -> std::ops::Range<usize> {
        let (tensor, shape) = self.tile_shape(tile);
        let start = self.header.sections.tiles
            + (self.tensors[tensor].first_line + shape.lines.start) * LINE_BYTES;
        start as usize..(start + shape.size_in_bytes()) as usize
    }

    /// A tile's bytes, checked against its digest when first asked for.
    ///
    /// # Errors
    /// The tile is damaged; other tiles remain readable.
    pub fn tile(&self, tile: u32) -> Result<&[u8], ModelError> {
        let bytes = self.tile_unverified(tile);
        let state = &self.checked.states[tile as usize];
        // Relaxed: no other memory depends on it, and two threads that hash a tile find the same.
        if state.load(Ordering::Relaxed) == UNCHECKED {
            let good = Sha256::digest(bytes)[..] == *self.tile_digest(tile);
            let was = state.swap(if good { GOOD } else { DAMAGED }, Ordering::Relaxed);
            if !good && was != DAMAGED {
                self.checked.damaged.fetch_add(1, Ordering::Relaxed);
            }
            if !good && self.is_kept() {
                // So that the next start finds it before it computes, and makes it anew.
                super::resolve::distrust(&self.path);
            }
        }
        match state.load(Ordering::Relaxed) {
            DAMAGED => Err(self.damaged(tile).in_file(&self.path)),
            _ => Ok(bytes),
        }
    }

    /// Checks every tile that was not checked yet, on every core. Nothing is kept in memory for it.
    ///
    /// # Errors
    /// A tile is damaged.
    pub fn check_tiles(&self) -> Result<(), ModelError> {
        let tiles: Vec<u32> = (0..self.tile_count()).collect();
        tiles.par_chunks(TILES_AT_ONCE).try_for_each(|tiles| {
            let checked = tiles.iter().try_for_each(|&tile| self.tile(tile).map(drop));
            if let (Some(first), Some(last)) = (tiles.first(), tiles.last()) {
                self.release(*first..*last + 1);
            }
            checked
        })
    }

    /// Whether the file is a conversion that can be made anew from its source.
    fn is_kept(&self) -> bool {
        matches!(*self.source, PayloadSource::Held(..))
    }

    /// A tile's bytes, checked against its digest again: for whoever lets them go and reads them
    /// anew, since a medium may give other bytes the second time.
    ///
    /// # Errors
    /// The tile is damaged, now or when it was checked before.
    pub(crate) fn load_tile(&self, tile: u32) -> Result<&[u8], ModelError> {
        let state = &self.checked.states[tile as usize];
        // What was found to be damaged stays so.
        let _ = state.compare_exchange(GOOD, UNCHECKED, Ordering::Relaxed, Ordering::Relaxed);
        self.tile(tile)
    }

    /// A tile's bytes to compute with: checked, again where `again` says so, and as they are where
    /// damaged ones are used.
    ///
    /// # Errors
    /// The tile is damaged, and such tiles are not used.
    pub(crate) fn tile_to_compute(&self, tile: u32, again: bool) -> Result<&[u8], ModelError> {
        match if again { self.load_tile(tile) } else { self.tile(tile) } {
            Err(_) if self.uses_damaged => Ok(self.tile_unverified(tile)),
            found => found,
        }
    }

    /// How many tiles were found to be damaged so far: those that nobody asked for are not known.
    pub(crate) fn damaged_count(&self) -> u32 {
        self.checked.damaged.load(Ordering::Relaxed)
    }

    /// The tiles that were found to be damaged so far, in their order.
    pub fn damaged_tiles(&self) -> Vec<u32> {
        let states = (0..).zip(&self.checked.states);
        let damaged = states.filter(|(_, state)| state.load(Ordering::Relaxed) == DAMAGED);
        damaged.map(|(tile, _)| tile).collect()
    }

    /// A tile's bytes as they are.
    pub fn tile_unverified(&self, tile: u32) -> &[u8] {
        &self.source.payload()[self.tile_range(tile)]
    }

    /// Asks the system to read tiles that follow one another ahead of their use.
    pub(crate) fn will_need(&self, tiles: std::ops::Range<u32>) {
        if let (PayloadSource::Mapped(file) | PayloadSource::Held(file, _), Some(range)) =
            (&*self.source, self.tiles_range(tiles))
        {
            file.will_need(range);
        }
    }

    /// Lets the system take back the memory of tiles that follow one another. They can be read
    /// again.
    pub fn release(&self, tiles: std::ops::Range<u32>) {
        if let (PayloadSource::Mapped(file) | PayloadSource::Held(file, _), Some(range)) =
            (&*self.source, self.tiles_range(tiles))
        {
            file.release(range);
        }
    }

    /// Where tiles lie in the payload, where there are any.
    fn tiles_range(&self, tiles: std::ops::Range<u32>) -> Option<std::ops::Range<usize>> {
        let last = tiles.end.checked_sub(1).filter(|last| *last >= tiles.start)?;
        Some(self.tile_range(tiles.start).start..self.tile_range(last).end)
    }

    /// Everything of the payload that comes before the tiles.
    pub(super) fn head_bytes(&self) -> &[u8] {
        &self.source.payload()[..self.header.sections.tiles as usize]
    }

    /// A tensor's tiles as they lie in the file, one after another; nothing is checked.
    ///
    /// # Panics
    /// When there is no such tensor.
    pub(crate) fn tensor_bytes(&self, tensor: usize) -> &[u8] {
        let tensor = &self.tensors[tensor];
        let start = self.header.sections.tiles + tensor.first_line * LINE_BYTES;
        &self.source.payload()[start as usize..]
            [..(tensor.tiling.line_count() * LINE_BYTES) as usize]
    }

    /// A tile's stored SHA-256.
    pub(crate) fn tile_digest(&self, tile: u32) -> &[u8; 32] {
        self.tile_record(tile).digest()
    }

    /// Root mean square of a tensor's weights, from its tiles' statistics: the unit of its colours.
    /// A tensor of zeros has the least positive number, so that it is drawn as zeros.
    pub(crate) fn tensor_spread(&self, tensor: &Tensor) -> f32 {
        // A mean of squares is the square of the mean and that of the spread together.
        let (mut squares, mut count) = (0.0f64, 0.0f64);
        for tile in tensor.tiles() {
            let statistics = self.tile_statistics(tile);
            let (_, shape) = self.tile_shape(tile);
            let n = ((shape.rows.end - shape.rows.start)
                * (shape.columns.end - shape.columns.start)) as f64;
            squares +=
                n * (f64::from(statistics.mean).powi(2) + f64::from(statistics.spread).powi(2));
            count += n;
        }
        (squares / count.max(1.0)).sqrt().max(f64::from(f32::MIN_POSITIVE)) as f32
    }

    /// A tile's mean, spread and peak, from the tile table.
    pub fn tile_statistics(&self, tile: u32) -> Statistics {
        self.tile_record(tile).statistics()
    }

    /// A tile from afar: its blocks, in the order of [`BlockGrid`].
    pub(crate) fn tile_blocks(&self, tile: u32) -> [Block; BLOCKS] {
        let (_, shape) = self.tile_shape(tile);
        tile_record::blocks(self.source.payload(), &self.header.sections, tile, &shape)
    }

    /// The median of the root mean squares of a tensor's blocks: the sea level of its relief. A
    /// tensor of zeros has the least positive number.
    pub(crate) fn tensor_median(&self, tensor: usize) -> f32 {
        let medians = self.medians.get_or_init(|| {
            (0..self.tensors.len()).into_par_iter().map(|tensor| self.median_of(tensor)).collect()
        });
        medians[tensor]
    }

    fn median_of(&self, tensor: usize) -> f32 {
        let tiles = self.tensors[tensor].tiles();
        let mut sizes = Vec::with_capacity(tiles.len() * BLOCKS);
        for tile in tiles {
            let grid = BlockGrid::of(&self.tile_shape(tile).1);
            let blocks = self.tile_blocks(tile);
            let there = (0..BLOCKS).filter(|&block| grid.has_cells(block));
            sizes.extend(there.map(|block| blocks[block].rms()));
        }
        let middle = sizes.len() / 2;
        sizes.select_nth_unstable_by(middle, f32::total_cmp).1.max(f32::MIN_POSITIVE)
    }

    /// The error that names a tile and where it lies.
    pub fn damaged(&self, tile: u32) -> ModelError {
        let (tensor, shape) = self.tile_shape(tile);
        ModelError::Tile {
            tile,
            tensor: self.tensors[tensor].name.clone(),
            rows: format!("{}..{}", shape.rows.start, shape.rows.end),
            columns: format!("{}..{}", shape.columns.start, shape.columns.end),
            what_next: if self.is_kept() {
                "this conversion is made anew from its GGUF model at the next start"
            } else {
                "convert the model again or get a sound copy"
            },
        }
    }

    fn tile_record(&self, tile: u32) -> TileRecord<'_> {
        TileRecord::of(self.source.payload(), &self.header.sections, tile)
    }
}
