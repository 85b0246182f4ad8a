//! Finds the tiles near a view among all of a model's: a grid of squares, each with the tiles that
//! reach into it.

use std::collections::HashMap;

use super::Candidate;
use crate::model::PixelModel;
use crate::model::plan::Rect;

/// Cells along a side of a square: some tiles wide, so that a screen full of tiles is a few
/// squares.
const SIDE: i64 = 2048;

/// Candidates by where they are.
#[derive(Debug, Default)]
pub struct TileIndex {
    candidates: Vec<Candidate>,
    squares: HashMap<(i64, i64), Vec<u32>>,
}

impl TileIndex {
    /// An index of these candidates. One that is drawn in several places is several of them, with
    /// one number.
    pub fn new(candidates: Vec<Candidate>) -> Self {
        let mut squares: HashMap<_, Vec<u32>> = HashMap::new();
        for (index, candidate) in (0..).zip(&candidates) {
            for square in squares_of(&candidate.rect) {
                squares.entry(square).or_default().push(index);
            }
        }
        Self { candidates, squares }
    }

    /// All tiles of a model, in their places on its map; those of level 0, since coarser ones are
    /// in its head.
    pub(crate) fn of_model(model: &PixelModel) -> Self {
        let mut candidates = Vec::new();
        for (index, tensor) in model.tensors().iter().enumerate() {
            for (at, id) in tensor.tiles().enumerate() {
                // A tile has at most 64 lines of 1 KiB.
                let bytes = model.tile_range(id).len() as u32;
                let rects = model.plan().tile_rects(model.tensors(), index, at as u64);
                candidates.extend(rects.into_iter().map(|rect| Candidate {
                    id,
                    level: 0,
                    rect,
                    bytes,
                }));
            }
        }
        Self::new(candidates)
    }

    /// Those of `finest` level or coarser that share a cell with a rectangle, each once.
    pub fn in_rect(&self, rect: &Rect, finest: u8) -> Vec<Candidate> {
        let fits =
            |candidate: &Candidate| candidate.level >= finest && candidate.rect.overlaps(rect);
        let squares = (rect.width / SIDE + 2).saturating_mul(rect.height / SIDE + 2);
        // From afar there are fewer squares with tiles than on screen.
        if usize::try_from(squares).is_ok_and(|squares| squares > self.squares.len()) {
            return self.candidates.iter().copied().filter(fits).collect();
        }
        let mut found: Vec<u32> = squares_of(rect)
            .filter_map(|square| self.squares.get(&square))
            .flatten()
            .copied()
            .filter(|&index| fits(&self.candidates[index as usize]))
            .collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(|index| self.candidates[index as usize]).collect()
    }
}

fn squares_of(rect: &Rect) -> impl Iterator<Item = (i64, i64)> + use<> {
    let range = |start: i64, size: i64| {
        start.div_euclid(SIDE)..=start.saturating_add(size.max(1) - 1).div_euclid(SIDE)
    };
    let (across, down) = (range(rect.x, rect.width), range(rect.y, rect.height));
    across.flat_map(move |x| down.clone().map(move |y| (x, y)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_into_a_rectangle_is_found_once() {
        let tile = |id, x, y| Candidate { id, level: 0, rect: Rect::new(x, y, 3000, 64), bytes: 1 };
        let index =
            TileIndex::new(vec![tile(1, -2000, -10), tile(2, 4000, 0), tile(3, 100_000, 0)]);
        let ids = |rect| index.in_rect(&rect, 0).iter().map(|c| c.id).collect::<Vec<_>>();
        assert_eq!(ids(Rect::new(0, 0, 5000, 100)), [1, 2]);
        assert_eq!(ids(Rect::new(-2000, -10, 1, 1)), [1]);
        assert_eq!(ids(Rect::new(1000, 0, 3000, 64)), [0u32; 0]);
        assert_eq!(ids(Rect::new(-(1 << 40), -(1 << 40), 1 << 41, 1 << 41)), [1, 2, 3]);
        assert!(index.in_rect(&Rect::new(0, 0, 5000, 100), 1).is_empty());
    }
}
