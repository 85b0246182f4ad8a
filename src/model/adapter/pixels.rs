//! An adapter as pixels: a PXI-LLM file with the flag of an adapter, whose tiles have a checksum
//! each (specs/pxi_llm.md). The way back gives the same GGUF file, byte for byte.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Adapter, AdapterError};
use crate::model::config::{Architecture, ModelConfig, RopeKind, RopeScaling};
use crate::model::convert::{Contents, Conversion, Progress, band_bytes, write};
use crate::model::error::ModelError;
use crate::model::file_head::Tables;
use crate::model::gguf::{Gguf, GgufWriter, Metadata, TensorInfo, metadata_bytes};
use crate::model::header::{MINOR, Sections};
use crate::model::plan::Rect;
use crate::model::planes::LINE_BYTES;
use crate::model::rearrange::gather;
use crate::model::tensors::{self, Tensor};
use crate::model::tile_record::TileRecord;
use crate::model::tiling::Layout;
use crate::pxi::{Compression, PxiFile, Target};

/// What a header has where a model has its hyperparameters, of which an adapter has none.
fn no_config(architecture: Architecture) -> ModelConfig {
    ModelConfig {
        architecture,
        vocab_size: 0,
        layer_count: 0,
        embedding_size: 0,
        head_count: 0,
        kv_head_count: 0,
        head_size: 0,
        hidden_size: 0,
        context_length: 0,
        rope_size: 0,
        rope_base: 0.0,
        rope_kind: RopeKind::Pairs,
        rope_scaling: RopeScaling::None,
        rope_scale_factor: 0.0,
        rope_original_context: 0,
        rope_attention_factor: 0.0,
        norm_epsilon: 0.0,
        tied_embeddings: false,
        qkv_biases: false,
        output_biases: false,
        feed_forward_biases: false,
        qk_norms: false,
    }
}

/// Turns the GGUF file of an adapter into pixels.
///
/// # Errors
/// It is no sound adapter, or a file cannot be read or written. Nothing is left behind then.
pub fn convert_adapter(
    gguf: &Gguf,
    target: impl Into<Target>,
    progress: Progress<'_>,
) -> Result<Conversion, AdapterError> {
    let path = gguf.paths().next().unwrap_or(Path::new("")).to_owned();
    let architecture = Adapter::of_gguf(&path, gguf)?.architecture;
    let shapes =
        gguf.tensors().iter().map(|t| (t.name.clone(), t.dims.clone(), t.encoding)).collect();
    let tensors = tensors::lay_out(shapes)?;
    let metadata_block = metadata_bytes(gguf.metadata());
    let table = tensors::encode_table(&tensors, &vec![Rect::default(); tensors.len()]);
    let lines = tensors.iter().map(|tensor| tensor.tiling.line_count()).sum();
    let tiles = tensors.iter().map(|tensor| tensor.tiling.tile_count()).sum();
    let (metadata_size, table_size) = (metadata_block.len() as u64, table.len() as u64);
    let sections = Sections::plan(MINOR, metadata_size, table_size, tiles, lines)
        .ok_or_else(|| ModelError::field("adapter", "sizes that overflow", "under 2^63 bytes"))?;
    let contents = Contents {
        metadata: gguf.metadata(),
        metadata_block: &metadata_block,
        table: &table,
        config: &no_config(architecture),
        tensors: &tensors,
        sections,
        map_size: [0; 2],
        is_adapter: true,
    };
    Ok(write(gguf, &contents, target, progress)?)
}

/// An adapter made of pixels, mapped from its file.
#[derive(Debug)]
pub struct AdapterPixels {
    file: PxiFile,
    tables: Tables,
}

impl AdapterPixels {
    /// Opens a file. The head is checked whole; tiles are not touched.
    ///
    /// # Errors
    /// The file cannot be read, holds no adapter, or its head is damaged.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let open = || {
            let file = PxiFile::open(path)?;
            if file.header().compression() != Compression::None {
                let found = file.header().compression().name();
                return Err(ModelError::field("compression", found, "none"));
            }
            let payload = file.payload()?;
            let tables = Tables::parse(payload)?;
            if !tables.header.is_adapter {
                let expected = "an adapter: this file holds a model";
                return Err(ModelError::field("flags", "no adapter", expected));
            }
            let name = tables.metadata.str(super::keys::ARCHITECTURE)?.unwrap_or_default();
            let architecture = Architecture::named(name)
                .ok_or_else(|| ModelError::metadata(super::keys::ARCHITECTURE, "not supported"))?;
            tables.check_header(payload, &no_config(architecture))?;
            Ok(Self { file, tables })
        };
        open().map_err(|error| error.in_file(path))
    }

    /// Its pairs, in their order.
    pub fn metadata(&self) -> &Metadata {
        &self.tables.metadata
    }

    /// Its tensors, in file order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tables.tensors
    }

    /// The bytes of a tensor as GGUF has them; every tile is checked.
    ///
    /// # Errors
    /// A tile is damaged: the error names it.
    pub fn tensor_bytes(&self, index: usize) -> Result<Vec<u8>, ModelError> {
        let payload = self.file.payload()?;
        let (tensor, sections) = (&self.tables.tensors[index], &self.tables.header.sections);
        let mut bytes = Vec::new();
        let mut band = Vec::new();
        for at in 0..tensor.tiling.tile_count() {
            let shape = tensor.tiling.tile(at);
            let tile = tensor.first_tile + at as u32;
            let start = sections.tiles + (tensor.first_line + shape.lines.start) * LINE_BYTES;
            let texels = &payload[start as usize..][..shape.size_in_bytes() as usize];
            if Sha256::digest(texels)[..] != *TileRecord::of(payload, sections, tile).digest() {
                return Err(ModelError::Tile {
                    tile,
                    tensor: tensor.name.clone(),
                    rows: format!("{}..{}", shape.rows.start, shape.rows.end),
                    columns: format!("{}..{}", shape.columns.start, shape.columns.end),
                    what_next: "convert the adapter again or get a sound copy",
                });
            }
            // The first tile of a row of them: a band has all columns.
            if shape.columns.start == 0 || tensor.tiling.layout == Layout::Vector {
                bytes.append(&mut band);
                band.resize(band_bytes(tensor, at).1 as usize, 0);
            }
            gather(&tensor.tiling, &shape, texels, &mut band);
        }
        bytes.append(&mut band);
        Ok(bytes)
    }

    /// Writes the GGUF file that it came from.
    ///
    /// # Errors
    /// A tile is damaged, or the file cannot be written. Nothing is left behind then.
    pub fn export(&self, target: impl Into<Target>) -> Result<(), ModelError> {
        let info = |tensor: &Tensor| TensorInfo {
            name: tensor.name.clone(),
            dims: tensor.dimensions.clone(),
            encoding: tensor.encoding(),
        };
        let infos: Vec<TensorInfo> = self.tensors().iter().map(info).collect();
        let mut writer = GgufWriter::create(target, self.metadata(), &infos)?;
        for index in 0..infos.len() {
            writer.write(&self.tensor_bytes(index)?)?;
        }
        writer.finish()?;
        Ok(())
    }
}
