//! The 256-byte PXI-LLM header (specs/pxi_llm.md section 2).

use super::coarse;
use super::config::ModelConfig;
use super::error::ModelError;
use super::planes::{LINE_BYTES, TILE_SIZE};
use super::quant::Encoding;

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 256;
/// The minor version that is written. Version 1.0 has another coarse table.
pub(crate) const MINOR: u8 = 1;
/// The first four bytes of the payload.
pub const MAGIC: [u8; 4] = *b"PXIM";
/// Where the head checksum lies; these bytes count as zero when it is computed.
pub const HEAD_CHECKSUM: std::ops::Range<usize> = 0xC8..0xE8;

/// Where the flags lie.
const FLAGS: usize = 0x67;
/// The flag of an adapter.
const ADAPTER: u8 = 1 << 3;

/// Where the sections of a file lie, and what the whole is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Sum of the tensors' GGUF bytes.
    pub model_size_in_bytes: u64,
    /// The encoding that holds the most weights.
    pub weight_encoding: Encoding,
    /// Width and height in cells of the map of whoever wrote the file; readers plan their own.
    pub map_size: [u32; 2],
    /// SHA-256 over the tiles' digests.
    pub root: [u8; 32],
    /// Alignment of the GGUF file the model came from.
    pub gguf_alignment: u32,
    /// Tensors in the table.
    pub tensor_count: u32,
    /// Tiles in the table.
    pub tile_count: u32,
    /// Metadata pairs, without those of a split.
    pub metadata_count: u64,
    /// Where the sections lie.
    pub sections: Sections,
    /// SHA-256 over the head.
    pub head_checksum: [u8; 32],
    /// Whether it holds an adapter: then it has no hyperparameters.
    pub is_adapter: bool,
}

/// Offsets and sizes of the sections, in bytes from the payload's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sections {
    /// The minor version, which says how large a record of the coarse table is.
    pub minor: u8,
    /// Bytes of metadata, which starts behind the header.
    pub metadata_size: u64,
    /// Start of the tensor table.
    pub tensor_table: u64,
    /// Bytes of the tensor table.
    pub tensor_table_size: u64,
    /// Start of the tile table.
    pub tile_table: u64,
    /// Start of the coarse table.
    pub coarse_table: u64,
    /// Start of the tiles.
    pub tiles: u64,
    /// Bytes of the tiles.
    pub tiles_size: u64,
}

/// Bytes of a tile's record in the tile table.
pub const TILE_RECORD_BYTES: u64 = 48;
/// What tiles are aligned to in the file: a memory page, so that a mapped tile can be handed on as
/// it is.
const TILES_ALIGNMENT: u64 = 4096;
/// Bytes of the `.pxi` header in front of the payload.
const CONTAINER_HEADER: u64 = crate::pxi::HEADER_LEN as u64;

impl Sections {
    /// Lays the sections out one after another. `None` when a size overflows.
    pub fn plan(
        minor: u8,
        metadata_size: u64,
        tensor_table_size: u64,
        tile_count: u64,
        line_count: u64,
    ) -> Option<Self> {
        let align = |offset: u64| offset.checked_next_multiple_of(16);
        let tensor_table = align((HEADER_BYTES as u64).checked_add(metadata_size)?)?;
        let tile_table = align(tensor_table.checked_add(tensor_table_size)?)?;
        let coarse_table =
            align(tile_table.checked_add(tile_count.checked_mul(TILE_RECORD_BYTES)?)?)?;
        let end = coarse_table.checked_add(tile_count.checked_mul(coarse_record(minor))?)?;
        // Aligned in the file, where the container's header comes first.
        let tiles = end.checked_add(CONTAINER_HEADER)?.checked_next_multiple_of(TILES_ALIGNMENT)?
            - CONTAINER_HEADER;
        let tiles_size = line_count.checked_mul(LINE_BYTES)?;
        // `payload_size` adds them without a check.
        tiles.checked_add(tiles_size)?;
        Some(Self {
            minor,
            metadata_size,
            tensor_table,
            tensor_table_size,
            tile_table,
            coarse_table,
            tiles,
            tiles_size,
        })
    }

    /// Bytes of a tile's record in the coarse table.
    pub(crate) fn coarse_record(&self) -> u64 {
        coarse_record(self.minor)
    }

    /// Bytes of the whole payload.
    pub(crate) fn payload_size(&self) -> u64 {
        self.tiles + self.tiles_size
    }
}

fn coarse_record(minor: u8) -> u64 {
    (if minor == 0 { coarse::RECORD_BYTES_1_0 } else { coarse::RECORD_BYTES }) as u64
}

impl Header {
    /// The header's bytes. `config` is the summary of the metadata that the header repeats.
    pub fn encode(&self, config: &ModelConfig) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |offset: usize, value: &[u8]| {
            bytes[offset..offset + value.len()].copy_from_slice(value)
        };
        put(0x00, &MAGIC);
        put(0x04, &[1, self.sections.minor]);
        put(0x06, &(config.architecture as u16).to_le_bytes());
        put(0x08, &self.model_size_in_bytes.to_le_bytes());
        let sizes = [
            config.vocab_size,
            config.layer_count,
            config.embedding_size,
            config.head_count,
            config.hidden_size,
            config.context_length,
        ];
        for (index, size) in sizes.into_iter().enumerate() {
            put(0x10 + 4 * index, &size.to_le_bytes());
        }
        put(0x28, &[self.weight_encoding.ggml() as u8, precision(self.weight_encoding)]);
        put(0x2A, &(TILE_SIZE as u16).to_le_bytes());
        put(0x2C, &self.map_size[0].to_le_bytes());
        put(0x30, &self.map_size[1].to_le_bytes());
        put(0x34, &self.root);
        put(0x54, &config.kv_head_count.to_le_bytes());
        put(0x58, &config.head_size.to_le_bytes());
        put(0x5C, &config.rope_size.to_le_bytes());
        put(0x60, &config.rope_base.to_le_bytes());
        put(0x64, &[config.rope_kind as u8, config.rope_scaling as u8, 0, self.flags(config)]);
        put(0x68, &config.rope_scale_factor.to_le_bytes());
        put(0x6C, &config.norm_epsilon.to_le_bytes());
        put(0x70, &config.rope_original_context.to_le_bytes());
        put(0x74, &self.gguf_alignment.to_le_bytes());
        put(0x78, &self.tensor_count.to_le_bytes());
        put(0x7C, &self.tile_count.to_le_bytes());
        let sections = &self.sections;
        let offsets = [
            self.metadata_count,
            HEADER_BYTES as u64,
            sections.metadata_size,
            sections.tensor_table,
            sections.tensor_table_size,
            sections.tile_table,
            sections.coarse_table,
            sections.tiles,
            sections.tiles_size,
        ];
        for (index, offset) in offsets.into_iter().enumerate() {
            put(0x80 + 8 * index, &offset.to_le_bytes());
        }
        put(HEAD_CHECKSUM.start, &self.head_checksum);
        bytes
    }

    fn flags(&self, config: &ModelConfig) -> u8 {
        u8::from(config.tied_embeddings)
            | u8::from(config.qkv_biases) << 1
            | u8::from(config.qk_norms) << 2
            | if self.is_adapter { ADAPTER } else { 0 }
    }

    /// Reads and checks what can be checked without the other sections. `payload_size` is what the
    /// container holds.
    ///
    /// # Errors
    /// Names the field that is out of bounds.
    pub fn parse(bytes: &[u8], payload_size: u64) -> Result<Self, ModelError> {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(ModelError::field(
                "payload",
                format!("{} bytes", bytes.len()),
                "at least 256",
            ));
        };
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let array_at = |at: usize| -> [u8; 32] { std::array::from_fn(|index| bytes[at + index]) };
        if bytes[..4] != MAGIC {
            return Err(ModelError::field(
                "magic",
                bytes[..4].escape_ascii(),
                "PXIM: this .pxi file holds no model; make one with `pixel-llm convert MODEL.gguf \
                 MODEL.pxi`",
            ));
        }
        if bytes[4] != 1 || bytes[5] > MINOR {
            let found = format!("{}.{}", bytes[4], bytes[5]);
            return Err(ModelError::field("version", found, "1.0 or 1.1"));
        }
        if u64::from(u16_at(0x2A)) != TILE_SIZE {
            return Err(ModelError::field("tile_size", u16_at(0x2A), TILE_SIZE));
        }
        let weight_encoding = Encoding::from_ggml(u32::from(bytes[0x28])).ok_or_else(|| {
            ModelError::field("weight_encoding", bytes[0x28], "a GGML type of section 5")
        })?;
        let (tensor_count, tile_count) = (u32_at(0x78), u32_at(0x7C));
        let sections = Sections {
            minor: bytes[5],
            metadata_size: u64_at(0x90),
            tensor_table: u64_at(0x98),
            tensor_table_size: u64_at(0xA0),
            tile_table: u64_at(0xA8),
            coarse_table: u64_at(0xB0),
            tiles: u64_at(0xB8),
            tiles_size: u64_at(0xC0),
        };
        // Held against the rule and not just against bounds: sections can then neither overlap nor
        // leave room for bytes that belong to none. A size of no whole lines comes out smaller.
        let planned = Sections::plan(
            sections.minor,
            sections.metadata_size,
            sections.tensor_table_size,
            u64::from(tile_count),
            sections.tiles_size / LINE_BYTES,
        );
        if planned != Some(sections) || u64_at(0x88) != HEADER_BYTES as u64 {
            let expected =
                planned.map_or("sizes that fit 64 bits".to_owned(), |plan| format!("{plan:?}"));
            return Err(ModelError::field("sections", format!("{sections:?}"), expected));
        }
        if sections.payload_size() != payload_size {
            return Err(ModelError::field("payload size", payload_size, sections.payload_size()));
        }
        Ok(Self {
            model_size_in_bytes: u64_at(0x08),
            weight_encoding,
            map_size: [u32_at(0x2C), u32_at(0x30)],
            root: array_at(0x34),
            gguf_alignment: u32_at(0x74),
            tensor_count,
            tile_count,
            metadata_count: u64_at(0x80),
            sections,
            head_checksum: array_at(HEAD_CHECKSUM.start),
            is_adapter: bytes[FLAGS] & ADAPTER != 0,
        })
    }
}

/// By the whole bits of a weight: 32, 16, 8 or fewer.
fn precision(encoding: Encoding) -> u8 {
    match 8 * encoding.block_bytes() / encoding.block_len() {
        32 => 0,
        16 => 1,
        8 => 2,
        _ => 3,
    }
}
