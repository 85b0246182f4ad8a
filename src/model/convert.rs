//! GGUF to PXI-LLM, in memory that does not grow with the model.
//!
//! Bands of rows are read, rearranged, hashed and written on every core; when all tiles are in
//! place the head is written and the container's own checksum taken. The file appears under its
//! name only when it is whole.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::coarse::Coarse;
use super::config::ModelConfig;
use super::error::ModelError;
use super::file_head::seal;
use super::gguf::{Gguf, Metadata, check_vocabulary, metadata_bytes};
use super::header::{HEADER_BYTES, Header, MINOR, Sections};
use super::plan::MapPlan;
use super::planes::LINE_BYTES;
use super::rearrange::scatter;
use super::tensors::{self, Tensor};
use super::tile_record;
use super::tiling::Layout;
use crate::pxi::{DEFAULT_WIDTH, HEADER_LEN, PayloadFile, Target};

/// What a conversion has done.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Conversion {
    /// Tensors that were written.
    pub tensors: usize,
    /// Tiles of all tensors that were written.
    pub tiles: usize,
    /// Bytes of the GGUF tensors.
    pub model_size_in_bytes: u64,
    /// Bytes of the payload.
    pub payload_size_in_bytes: u64,
}

/// What is told while work goes on: bytes done so far, out of [`work_in_bytes`].
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// The bytes that a conversion will report: every tile once when written and once when the
/// container is sealed.
pub(crate) fn work_in_bytes(gguf: &Gguf) -> u64 {
    2 * gguf.tensors().iter().map(|tensor| tensor.len).sum::<u64>()
}

/// Converts an opened GGUF file into `target`.
///
/// # Errors
/// The model is of no supported family or does not hold together, a weight is NaN or infinite, or a
/// file cannot be read or written. Nothing is left behind then, and a file that stood there still
/// stands.
pub fn convert(
    gguf: &Gguf,
    target: impl Into<Target>,
    progress: Progress<'_>,
) -> Result<Conversion, ModelError> {
    let draft = draft(gguf)?;
    let contents = Contents {
        metadata: &draft.metadata,
        metadata_block: &draft.metadata_block,
        table: &draft.table,
        config: &draft.config,
        tensors: &draft.tensors,
        sections: draft.sections,
        map_size: map_size(&draft.plan)?,
        is_adapter: false,
    };
    write(gguf, &contents, target, progress)
}

/// What a file is to hold, but for its tiles.
pub(super) struct Contents<'a> {
    pub metadata: &'a Metadata,
    pub metadata_block: &'a [u8],
    pub table: &'a [u8],
    pub config: &'a ModelConfig,
    pub tensors: &'a [Tensor],
    pub sections: Sections,
    pub map_size: [u32; 2],
    pub is_adapter: bool,
}

/// Writes a file from what it is to hold and the tensors of an opened GGUF file.
pub(super) fn write(
    gguf: &Gguf,
    contents: &Contents<'_>,
    target: impl Into<Target>,
    progress: Progress<'_>,
) -> Result<Conversion, ModelError> {
    let &Contents { metadata, metadata_block, table, config, tensors, .. } = contents;
    let (sections, tile_count) = (contents.sections, tile_count(tensors));

    // Only now: what was refused before has read no weight and made no file.
    let output = PayloadFile::create(target, DEFAULT_WIDTH, sections.payload_size())?;
    let records = write_tiles(gguf, tensors, sections.tiles, Some(&output), progress)?;
    let header = Header {
        model_size_in_bytes: tensors.iter().map(|tensor| tensor.tiling.size_in_bytes()).sum(),
        weight_encoding: tensors::main_encoding(tensors),
        map_size: contents.map_size,
        root: [0; 32],
        gguf_alignment: gguf.alignment() as u32,
        tensor_count: tensors.len() as u32,
        tile_count: tile_count as u32,
        metadata_count: metadata.len() as u64,
        sections,
        head_checksum: [0; 32],
        is_adapter: contents.is_adapter,
    };
    let mut head = vec![0; sections.tiles as usize];
    head[HEADER_BYTES..][..metadata_block.len()].copy_from_slice(metadata_block);
    head[sections.tensor_table as usize..][..table.len()].copy_from_slice(table);
    for (tile, (digest, coarse)) in (0..).zip(&records) {
        tile_record::put(&mut head, &sections, tile, digest, coarse);
    }
    let model_size_in_bytes = header.model_size_in_bytes;
    // Last, since the root hashes the digests in the tile table and the head's checksum the root.
    seal(&mut head, header, config);
    output.write_at(0, &head)?;

    let written = work_in_bytes(gguf) / 2;
    // The container's bytes include padding that the tensors' do not: scale, so that the end is the
    // end.
    let scale = |done: u64| {
        // In 128 bits: the product of two sizes of some gigabytes is more than 2^64.
        written + (done as u128 * written as u128 / sections.payload_size().max(1) as u128) as u64
    };
    output.finish(&|done| progress(scale(done)))?;
    Ok(Conversion {
        tensors: tensors.len(),
        tiles: records.len(),
        model_size_in_bytes,
        payload_size_in_bytes: sections.payload_size(),
    })
}

/// What a GGUF file becomes, but for its tiles.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Every pair, without those of a split.
    pub metadata: Metadata,
    /// The hyperparameters, from the metadata.
    pub config: ModelConfig,
    /// The tensors in file order.
    pub tensors: Vec<Tensor>,
    /// Where everything lies on the map.
    pub plan: MapPlan,
    metadata_block: Vec<u8>,
    table: Vec<u8>,
    sections: Sections,
}

/// Lays out an opened GGUF file. No weight is read.
///
/// # Errors
/// The model is of no supported family or does not hold together.
pub(crate) fn draft(gguf: &Gguf) -> Result<Draft, ModelError> {
    let metadata = without_splits(gguf.metadata());
    check_vocabulary(&metadata, gguf.tensors())?;
    let shapes =
        gguf.tensors().iter().map(|t| (t.name.clone(), t.dims.clone(), t.encoding)).collect();
    let tensors = tensors::lay_out(shapes)?;
    let config = ModelConfig::from_metadata(&metadata, tensors::has(&tensors))?;
    tensors::check_family(&config, &tensors)?;
    let plan = MapPlan::new(&config, &tensors);
    map_size(&plan)?;

    let metadata_block = metadata_bytes(&metadata);
    let rects: Vec<_> = (0..tensors.len()).map(|tensor| plan.tensor_rect(tensor)).collect();
    let table = tensors::encode_table(&tensors, &rects);
    let tile_count = tile_count(&tensors);
    let line_count: u64 = tensors.iter().map(|tensor| tensor.tiling.line_count()).sum();
    let sections = Sections::plan(
        MINOR,
        metadata_block.len() as u64,
        table.len() as u64,
        tile_count,
        line_count,
    )
    .ok_or_else(|| ModelError::field("model", "sizes that overflow", "under 2^63 bytes"))?;
    Ok(Draft { metadata, config, tensors, plan, metadata_block, table, sections })
}

fn map_size(plan: &MapPlan) -> Result<[u32; 2], ModelError> {
    match plan.size.map(u32::try_from) {
        [Ok(width), Ok(height)] => Ok([width, height]),
        _ => Err(ModelError::field("map", format!("{:?} cells", plan.size), "sides under 2^32")),
    }
}

fn tile_count(tensors: &[Tensor]) -> u64 {
    tensors.iter().map(|tensor| tensor.tiling.tile_count()).sum()
}

/// How large the file is that an opened GGUF file becomes.
///
/// # Errors
/// As [`draft`].
pub(crate) fn file_size_in_bytes(gguf: &Gguf) -> Result<u64, ModelError> {
    let row = 3 * u64::from(DEFAULT_WIDTH);
    let payload = draft(gguf)?.sections.payload_size();
    Ok(HEADER_LEN as u64 + payload.div_ceil(row).saturating_mul(row))
}

/// Reads every weight as a conversion does, and writes nothing. `progress` hears of bytes done,
/// half of [`work_in_bytes`].
///
/// # Errors
/// As [`convert`], but for what is written.
pub fn check(gguf: &Gguf, progress: Progress<'_>) -> Result<Conversion, ModelError> {
    let Draft { tensors, sections, .. } = draft(gguf)?;
    let records = write_tiles(gguf, &tensors, sections.tiles, None, progress)?;
    Ok(Conversion {
        tensors: tensors.len(),
        tiles: records.len(),
        model_size_in_bytes: tensors.iter().map(|tensor| tensor.tiling.size_in_bytes()).sum(),
        payload_size_in_bytes: sections.payload_size(),
    })
}

fn without_splits(metadata: &Metadata) -> Metadata {
    // A PXI-LLM file is one file, however many it was made from.
    metadata.clone().without(&["split.no", "split.count", "split.tensors.count"])
}

/// A row of tiles: one or more whole row groups with all their columns.
struct Band<'a> {
    tensor: &'a Tensor,
    source: usize,
    first: u64,
    count: u64,
}

fn bands(tensors: &[Tensor]) -> Vec<Band<'_>> {
    let mut bands = Vec::new();
    for (source, tensor) in tensors.iter().enumerate() {
        let count = match tensor.tiling.layout {
            Layout::Matrix => tensor.tiling.tiles_across(),
            Layout::Vector => 1,
        };
        let starts = (0..tensor.tiling.tile_count()).step_by(count as usize);
        bands.extend(starts.map(|first| Band { tensor, source, first, count }));
    }
    bands
}

type WrittenTile = ([u8; 32], Coarse);

/// Writes every tile and returns the tiles' records in order.
fn write_tiles(
    gguf: &Gguf,
    tensors: &[Tensor],
    tiles_offset: u64,
    output: Option<&PayloadFile>,
    progress: Progress<'_>,
) -> Result<Vec<WrittenTile>, ModelError> {
    let done = std::sync::atomic::AtomicU64::new(0);
    let bands = bands(tensors);
    let records: Result<Vec<Vec<WrittenTile>>, ModelError> = bands
        // A band is a task: its rows lie together in the GGUF file, so that each byte is read once.
        .par_iter()
        // Buffers belong to a thread, so that memory does not grow with the model.
        .map_init(BandScratch::default, |scratch, band| {
            let records = write_band(gguf, band, tiles_offset, output, scratch)?;
            let read = scratch.band.len() as u64;
            progress(done.fetch_add(read, std::sync::atomic::Ordering::Relaxed) + read);
            Ok(records)
        })
        // An indexed parallel iterator collects in the order of the bands, which is that of the
        // tiles.
        .collect();
    Ok(records?.into_iter().flatten().collect())
}

#[derive(Default)]
struct BandScratch {
    band: Vec<u8>,
    tiles: Vec<u8>,
}

fn write_band(
    gguf: &Gguf,
    band: &Band<'_>,
    tiles_offset: u64,
    output: Option<&PayloadFile>,
    scratch: &mut BandScratch,
) -> Result<Vec<WrittenTile>, ModelError> {
    let tiling = &band.tensor.tiling;
    let (start, size) = band_bytes(band.tensor, band.first);
    scratch.band.resize(size as usize, 0);
    gguf.read_at(&gguf.tensors()[band.source], start, &mut scratch.band)?;
    let first_line = tiling.tile(band.first).lines.start;
    let end_line = tiling.tile(band.first + band.count - 1).lines.end;
    // What a larger band has left is no harm: `scatter` writes every byte, padding too.
    scratch.tiles.resize(((end_line - first_line) * LINE_BYTES) as usize, 0);
    let mut records = Vec::with_capacity(band.count as usize);
    for index in band.first..band.first + band.count {
        let shape = tiling.tile(index);
        let at = ((shape.lines.start - first_line) * LINE_BYTES) as usize;
        let tile = &mut scratch.tiles[at..at + shape.size_in_bytes() as usize];
        scatter(tiling, &shape, &scratch.band, tile);
        let coarse = Coarse::of(tiling, &shape, &scratch.band).map_err(|bad| {
            let row = shape.rows.start + bad.row;
            let problem = format!("row {row} has a weight or scale that is NaN or infinite");
            ModelError::tensor(&band.tensor.name, problem)
        })?;
        records.push((Sha256::digest(&*tile).into(), coarse));
    }
    let offset = tiles_offset + (band.tensor.first_line + first_line) * LINE_BYTES;
    if let Some(output) = output {
        output.write_at(offset, &scratch.tiles)?;
    }
    Ok(records)
}

/// Where the GGUF bytes of a row of tiles begin in their tensor, and how many they are.
pub(super) fn band_bytes(tensor: &Tensor, first_tile: u64) -> (u64, u64) {
    let tiling = &tensor.tiling;
    let shape = tiling.tile(first_tile);
    match tiling.layout {
        Layout::Matrix => {
            let row = tiling.size_in_bytes() / tiling.rows;
            (shape.rows.start * row, (shape.rows.end - shape.rows.start) * row)
        }
        Layout::Vector => {
            let start = shape.lines.start * LINE_BYTES;
            // The last line of a vector is padded in the tile, not in the GGUF file.
            (start, (shape.lines.end * LINE_BYTES).min(tiling.size_in_bytes()) - start)
        }
    }
}
