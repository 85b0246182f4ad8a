//! A matrix as it lies in the file, maybe with tiles that were edited since: a walk over the chunks
//! of a row group in the order of their bytes.

use super::lanes::Lines;
use super::unpack::{CHUNK, CHUNKS, Planes};
use crate::forward::params::MatrixParams;
use crate::model::Encoding;
use crate::model::planes::{LINE_BYTES, plane_lines, row_group_lines};

/// Tiles of a matrix whose bytes are others than those of the file, in their order: where each
/// begins in the bytes of all, and its own bytes.
pub(crate) type Edited<'a> = [(usize, &'a [u8])];

/// A matrix: its shape and its tiles' bytes.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    params: MatrixParams,
    encoding: Encoding,
    bytes: &'a [u8],
    edited: &'a Edited<'a>,
}

/// The part of a row group that lies in one tile.
pub(crate) struct Segment<'a> {
    /// The matrix's column that its first weight belongs to.
    pub first_column: usize,
    /// Chunks of 32 columns; the last may be partial in the plain floats.
    pub chunks: usize,
    /// Bytes of each plane in this tile, in whole lines.
    pub planes: Planes<'a>,
}

impl<'a> Matrix<'a> {
    /// A matrix over the bytes of its tiles.
    ///
    /// # Panics
    /// When the encoding is unknown or the bytes are not those of its lines: parameters come from
    /// the tensor table, which was checked when the model was opened.
    pub fn new(params: &MatrixParams, bytes: &'a [u8]) -> Self {
        let encoding = Encoding::from_ggml(params.encoding)
            .expect("parameters are made from a checked tensor");
        let matrix = Self { params: *params, encoding, bytes, edited: &[] };
        let expected =
            matrix.row_groups() as u64 * u64::from(params.lines_per_row_group) * LINE_BYTES;
        assert_eq!(bytes.len() as u64, expected, "bytes of the tiles of {params:?}");
        matrix
    }

    /// The same with edited tiles.
    pub fn edited(self, edited: &'a Edited<'a>) -> Self {
        Self { edited, ..self }
    }

    /// Where it lies and how it is cut.
    pub(crate) fn params(&self) -> MatrixParams {
        self.params
    }

    /// Its tiles' bytes, without those that were edited.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Outputs, which are its rows.
    pub fn rows(&self) -> usize {
        self.params.rows as usize
    }

    /// Inputs, which are its columns.
    pub fn columns(&self) -> usize {
        self.params.columns as usize
    }

    /// How its weights are stored.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Groups of 64 rows.
    pub(crate) fn row_groups(&self) -> usize {
        self.rows().div_ceil(super::lanes::LANES)
    }

    /// The parts of a row group, one per tile, in the order of their bytes.
    pub(crate) fn segments(&self, group: usize) -> impl Iterator<Item = Segment<'a>> + use<'a> {
        let Self { params, encoding, bytes, edited } = *self;
        let (columns, per_tile) = (params.columns as usize, params.columns_per_tile as usize);
        let size = params.lines_per_row_group as usize * LINE_BYTES as usize;
        let mut start = group * size;
        (0..columns).step_by(per_tile).map(move |first_column| {
            let width = per_tile.min(columns - first_column);
            let size = (row_group_lines(encoding, width as u64) * LINE_BYTES) as usize;
            // The last edited tile that begins no later has the bytes, if it reaches so far.
            let before = edited.partition_point(|(first, _)| *first <= start);
            let of_edited = before.checked_sub(1).and_then(|at| {
                let (first, bytes) = edited[at];
                bytes.get(start - first..)?.get(..size)
            });
            let mut rest = of_edited.unwrap_or_else(|| &bytes[start..start + size]);
            start += size;
            let mut of_tile: Planes<'a> = Default::default();
            for (slot, plane) in of_tile.iter_mut().zip(encoding.planes()) {
                let lines = plane_lines(encoding, plane, width as u64) as usize;
                // A tile's planes follow one another, each in whole lines (specs/pxi_llm.md,
                // section 6).
                let (bytes, after) = rest.split_at(lines * LINE_BYTES as usize);
                *slot = Lines::new(bytes, size);
                rest = after;
            }
            Segment { first_column, chunks: width.div_ceil(CHUNK), planes: of_tile }
        })
    }

    /// The part of a row group that has block `block` of 256 columns, and which block of the part
    /// that is: tiles are cut between such blocks.
    pub(crate) fn segment_of(&self, group: usize, block: usize) -> (Segment<'a>, usize) {
        let first = block * CHUNK * CHUNKS;
        let segment = self
            .segments(group)
            .find(|segment| first < segment.first_column + segment.chunks * CHUNK)
            .expect("a block of the matrix");
        let within = (first - segment.first_column) / (CHUNK * CHUNKS);
        (segment, within)
    }
}
