//! The head of a file: all that comes before the tiles, parsed, checked against itself, and sealed
//! when it is written.

use sha2::{Digest, Sha256};

use super::config::ModelConfig;
use super::error::ModelError;
use super::gguf::{Metadata, parse_metadata};
use super::header::{HEAD_CHECKSUM, HEADER_BYTES, Header};
use super::hex;
use super::plan::{MapPlan, Rect};
use super::planes::LINE_BYTES;
use super::tensors::{self, Tensor};
use super::tile_record;

/// What the head of a payload says, checked against itself.
#[derive(Debug)]
pub struct FileHead {
    /// The header, which agrees with the metadata.
    pub header: Header,
    /// The hyperparameters, from the metadata.
    pub config: ModelConfig,
    /// Every GGUF pair, in its order.
    pub metadata: Metadata,
    /// The tensors in file order.
    pub tensors: Vec<Tensor>,
    /// Where everything lies on the map.
    pub plan: MapPlan,
}

impl FileHead {
    /// Parses the head of `payload`, which must be whole, and checks every rule of the
    /// specification that needs no tile.
    ///
    /// # Errors
    /// Names the field that is wrong, with what was found and expected.
    pub fn parse(payload: &[u8]) -> Result<Self, ModelError> {
        let tables = Tables::parse(payload)?;
        if tables.header.is_adapter {
            let expected = "a model: this file holds an adapter; name it by --lora";
            return Err(ModelError::field("flags", "an adapter", expected));
        }
        let config = ModelConfig::from_metadata(&tables.metadata, tensors::has(&tables.tensors))?;
        tensors::check_family(&config, &tables.tensors)?;
        tables.check_header(payload, &config)?;
        let plan = MapPlan::new(&config, &tables.tensors);
        let Tables { header, metadata, tensors } = tables;
        Ok(Self { header, config, metadata, tensors, plan })
    }
}

/// The head of a payload without what only a model has.
#[derive(Debug)]
pub(super) struct Tables {
    pub header: Header,
    pub metadata: Metadata,
    pub tensors: Vec<Tensor>,
}

impl Tables {
    /// Parses the head of `payload` and checks every rule that needs neither a tile nor what the
    /// metadata means.
    pub fn parse(payload: &[u8]) -> Result<Self, ModelError> {
        let header = Header::parse(payload, payload.len() as u64)?;
        let sections = header.sections;
        // Before anything is parsed, so that damage is told as damage and not as a field's
        // nonsense.
        let found = head_checksum(&payload[..sections.tiles as usize]);
        if found != header.head_checksum {
            let (found, expected) = (hex(&found), hex(&header.head_checksum));
            return Err(ModelError::Head { section: "head_checksum", found, expected });
        }
        let slice = |start: u64, size: u64| &payload[start as usize..(start + size) as usize];
        let metadata = parse_metadata(
            slice(HEADER_BYTES as u64, sections.metadata_size),
            header.metadata_count,
        )?;
        let shapes = tensors::parse_table(
            slice(sections.tensor_table, sections.tensor_table_size),
            header.tensor_count,
        )?;
        let tensors = tensors::lay_out(shapes)?;
        let lines: u64 = tensors.iter().map(|tensor| tensor.tiling.line_count()).sum();
        let tiles: u64 = tensors.iter().map(|tensor| tensor.tiling.tile_count()).sum();
        if tiles != u64::from(header.tile_count) || lines * LINE_BYTES != sections.tiles_size {
            let found = format!("{} in {} bytes", header.tile_count, sections.tiles_size);
            return Err(ModelError::field(
                "tile_count",
                found,
                format!("{tiles} in {} bytes", lines * LINE_BYTES),
            ));
        }
        // Encoded anew, so that every field that follows from the shapes is compared at once. Not
        // the rectangles: they are those of the plan of whoever wrote the file.
        let mut found = slice(sections.tensor_table, sections.tensor_table_size).to_vec();
        tensors::forget_rects(&mut found);
        if tensors::encode_table(&tensors, &vec![Rect::default(); tensors.len()]) != found {
            let expected = "tiles and lines that follow from the shapes";
            return Err(ModelError::field("tensor table", "others", expected));
        }
        // The head's checksum holds for a wrong root too, if its writer sealed one.
        let root = tile_record::root(payload, &sections, header.tile_count);
        if root != header.root {
            return Err(ModelError::Head {
                section: "root",
                found: hex(&root),
                expected: hex(&header.root),
            });
        }
        Ok(Self { header, metadata, tensors })
    }

    /// Compares every field of the header that follows from the others.
    pub fn check_header(&self, payload: &[u8], config: &ModelConfig) -> Result<(), ModelError> {
        let Self { header, tensors, .. } = self;
        let rebuilt = Header {
            model_size_in_bytes: tensors.iter().map(|tensor| tensor.tiling.size_in_bytes()).sum(),
            weight_encoding: tensors::main_encoding(tensors),
            ..header.clone()
        };
        let rebuilt = rebuilt.encode(config);
        if let Some(at) = (0..HEADER_BYTES).find(|&at| rebuilt[at] != payload[at]) {
            let (found, expected) = (payload[at], rebuilt[at]);
            return Err(ModelError::field(
                format!("header byte {at:#04x}"),
                found,
                format!("{expected} from metadata"),
            ));
        }
        Ok(())
    }
}

/// SHA-256 of the head with the checksum's own bytes zero.
fn head_checksum(head: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(&head[..HEAD_CHECKSUM.start]);
    hash.update([0; 32]);
    hash.update(&head[HEAD_CHECKSUM.end..]);
    hash.finalize().into()
}

/// Writes the header of a head whose tables are there, with the root and the checksum that follow
/// from them.
pub(super) fn seal(head: &mut [u8], mut header: Header, config: &ModelConfig) {
    header.root = tile_record::root(head, &header.sections, header.tile_count);
    header.head_checksum = [0; 32];
    head[..HEADER_BYTES].copy_from_slice(&header.encode(config));
    let checksum = head_checksum(head);
    head[HEAD_CHECKSUM].copy_from_slice(&checksum);
}
