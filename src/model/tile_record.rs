//! What the head of a file says of one tile: its digest and statistics in the tile table, its
//! blocks in the coarse table (specs/pxi_llm.md sections 3 and 7). Only this file knows how they
//! lie.

use sha2::{Digest, Sha256};

use super::coarse::{BLOCKS, Block, Coarse, Statistics, parse_record, parse_record_1_0};
use super::header::{Sections, TILE_RECORD_BYTES};
use super::tiling::TileShape;

/// Bytes of the digest, with which a record begins; three floats and a spare word follow.
const DIGEST_BYTES: usize = 32;

/// A tile's record in the tile table.
pub(super) struct TileRecord<'a>(&'a [u8; TILE_RECORD_BYTES as usize]);

impl<'a> TileRecord<'a> {
    /// The record of a tile, in a head whose bounds were checked.
    pub fn of(head: &'a [u8], sections: &Sections, tile: u32) -> Self {
        let record = head[record_at(sections, tile)..].first_chunk();
        Self(record.expect("the head's bounds were checked"))
    }

    /// SHA-256 of the tile's bytes.
    pub fn digest(&self) -> &'a [u8; DIGEST_BYTES] {
        self.0.first_chunk().expect("a record is longer than its digest")
    }

    /// What the tile's weights are like.
    pub fn statistics(&self) -> Statistics {
        let (values, _) = self.0[DIGEST_BYTES..].as_chunks();
        let value = |at: usize| f32::from_le_bytes(values[at]);
        Statistics { mean: value(0), spread: value(1), peak: value(2) }
    }
}

/// Writes both records of a tile, in a head of the version that is written.
pub(super) fn put(
    head: &mut [u8],
    sections: &Sections,
    tile: u32,
    digest: &[u8; DIGEST_BYTES],
    coarse: &Coarse,
) {
    let Statistics { mean, spread, peak } = coarse.statistics;
    let record = &mut head[record_at(sections, tile)..];
    record[..DIGEST_BYTES].copy_from_slice(digest);
    let (places, _) = record[DIGEST_BYTES..].as_chunks_mut();
    for (place, value) in places.iter_mut().zip([mean, spread, peak]) {
        *place = value.to_le_bytes();
    }
    let blocks = coarse.record();
    head[blocks_at(sections, tile)..][..blocks.len()].copy_from_slice(&blocks);
}

/// The blocks of a tile, in a head whose bounds were checked.
pub(super) fn blocks(
    head: &[u8],
    sections: &Sections,
    tile: u32,
    shape: &TileShape,
) -> [Block; BLOCKS] {
    let record = &head[blocks_at(sections, tile)..];
    let checked = "the head's bounds were checked";
    match sections.minor {
        0 => parse_record_1_0(record.first_chunk().expect(checked), shape),
        _ => parse_record(record.first_chunk().expect(checked)),
    }
}

/// SHA-256 over the digests of all tiles.
pub(super) fn root(head: &[u8], sections: &Sections, tile_count: u32) -> [u8; 32] {
    let mut hash = Sha256::new();
    for tile in 0..tile_count {
        hash.update(TileRecord::of(head, sections, tile).digest());
    }
    hash.finalize().into()
}

fn record_at(sections: &Sections, tile: u32) -> usize {
    (sections.tile_table + u64::from(tile) * TILE_RECORD_BYTES) as usize
}

fn blocks_at(sections: &Sections, tile: u32) -> usize {
    (sections.coarse_table + u64::from(tile) * sections.coarse_record()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::header::MINOR;
    use crate::model::{Encoding, tiling::Tiling};

    #[test]
    fn a_record_is_read_as_it_was_written_and_touches_no_other() {
        let tiling = Tiling::new(Encoding::F32, &[256, 192]).unwrap();
        let sections = Sections::plan(MINOR, 40, 80, 3, 192).unwrap();
        let mut head = vec![0; sections.tiles as usize];
        let weights: Vec<u8> =
            (0..64 * 256).map(|at| (at % 37) as f32).flat_map(f32::to_le_bytes).collect();
        let coarse = Coarse::of(&tiling, &tiling.tile(1), &weights).unwrap();
        put(&mut head, &sections, 1, &[9; 32], &coarse);
        let record = TileRecord::of(&head, &sections, 1);
        assert_eq!((record.digest(), record.statistics()), (&[9; 32], coarse.statistics));
        assert_eq!(blocks(&head, &sections, 1, &tiling.tile(1)), coarse.blocks);
        for other in [0, 2] {
            let record = TileRecord::of(&head, &sections, other);
            assert_eq!((record.digest(), record.statistics()), (&[0; 32], Statistics::default()));
            let blocks = blocks(&head, &sections, other, &tiling.tile(u64::from(other)));
            assert_eq!(blocks, [Block::default(); BLOCKS]);
        }
        let expected: [u8; 32] = Sha256::digest([[0; 32], [9; 32], [0; 32]].as_flattened()).into();
        assert_eq!(root(&head, &sections, 3), expected);
    }
}
