//! What the head of a file says of one tile: its digest and statistics in the tile table, its grid
//! in the coarse table (specs/pxi_llm.md sections 3 and 7). Only this file knows how they lie.

use half::f16;
use sha2::{Digest, Sha256};

use super::coarse::{Coarse, GRID, Statistics};
use super::header::{COARSE_RECORD_BYTES, Sections, TILE_RECORD_BYTES};

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

/// Writes both records of a tile.
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
    let grid = coarse.grid_bytes();
    head[grid_at(sections, tile)..][..grid.len()].copy_from_slice(&grid);
}

/// The grid of a tile, in a head whose bounds were checked.
pub(super) fn grid(head: &[u8], sections: &Sections, tile: u32) -> [[[f16; 2]; GRID]; GRID] {
    let record = head[grid_at(sections, tile)..].first_chunk();
    Coarse::parse_grid(record.expect("the head's bounds were checked"))
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

fn grid_at(sections: &Sections, tile: u32) -> usize {
    (sections.coarse_table + u64::from(tile) * COARSE_RECORD_BYTES) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_touches_no_other() {
        let sections = Sections::plan(40, 80, 3, 3).unwrap();
        let mut head = vec![0; sections.tiles as usize];
        let statistics = Statistics { mean: -0.5, spread: 2.0, peak: 7.0 };
        let mut grid_of_tile = [[[f16::ZERO; 2]; GRID]; GRID];
        grid_of_tile[3][5] = [f16::ONE, f16::from_f32(0.25)];
        let coarse = Coarse { statistics, grid: grid_of_tile };
        put(&mut head, &sections, 1, &[9; 32], &coarse);
        let record = TileRecord::of(&head, &sections, 1);
        assert_eq!((record.digest(), record.statistics()), (&[9; 32], statistics));
        assert_eq!(grid(&head, &sections, 1), grid_of_tile);
        for other in [0, 2] {
            let record = TileRecord::of(&head, &sections, other);
            assert_eq!((record.digest(), record.statistics()), (&[0; 32], Statistics::default()));
            assert_eq!(grid(&head, &sections, other), [[[f16::ZERO; 2]; GRID]; GRID]);
        }
        let expected: [u8; 32] = Sha256::digest([[0; 32], [9; 32], [0; 32]].as_flattened()).into();
        assert_eq!(root(&head, &sections, 3), expected);
    }
}
