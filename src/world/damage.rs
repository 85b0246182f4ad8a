//! Damaged tiles: which are known, in words, and that a prompt is refused until somebody wants an
//! answer all the same.
//!
//! In: the model, which finds a tile to be damaged when it is first read. Out: [`Damage`], which the
//! map and the panels show, and what [`Generation`] refuses with. The rest of the model is drawn and
//! computes as ever.

use bevy::prelude::*;

use super::layout::{Atlas, Place};
use super::think::Generation;
use crate::model::PixelModel;
use crate::words::{counted, one_or_more};

/// Tiles that are named; more are counted.
const MOST_NAMED: usize = 3;

/// The tiles whose bytes do not match their checksums, as far as they were read.
#[derive(Resource, Debug, Clone, Default, PartialEq, Eq)]
pub struct Damage {
    /// Their numbers, in order.
    pub tiles: Vec<u32>,
}

impl Damage {
    /// Whether a tile is one of them.
    pub fn is_damaged(&self, tile: u32) -> bool {
        self.tiles.binary_search(&tile).is_ok()
    }

    /// Which they are, in words; `None` where there are none.
    pub fn words(&self, model: &PixelModel) -> Option<String> {
        let count = self.tiles.len();
        if count == 0 {
            return None;
        }
        let mut names: Vec<String> =
            self.tiles.iter().take(MOST_NAMED).map(|&tile| name(model, tile)).collect();
        if count > MOST_NAMED {
            names.push(format!("{} more", count - MOST_NAMED));
        }
        let (tiles, are) = (counted(count as u64, "tile"), one_or_more(count as u64, "is", "are"));
        Some(format!("{tiles} {are} damaged: {}", names.join("; ")))
    }

    /// The first weight of the first of them.
    pub fn place(&self, model: &PixelModel) -> Option<Place> {
        let (tensor, shape) = model.tile_shape(*self.tiles.first()?);
        let name = model.tensors()[tensor].name.clone();
        Some(Place::Weight(name, shape.rows.start, shape.columns.start))
    }
}

/// A tile by its number, its tensor and its weights.
pub(crate) fn name(model: &PixelModel, tile: u32) -> String {
    let (tensor, shape) = model.tile_shape(tile);
    let (rows, columns) = (shape.rows, shape.columns);
    format!(
        "tile {tile} of {}, rows {}..{}, columns {}..{}",
        crate::terminal::one_line(&model.tensors()[tensor].name),
        rows.start,
        rows.end,
        columns.start,
        columns.end
    )
}

/// Takes in what was found. Runs before what was thought is taken in: an answer in whose middle a
/// tile is found to be damaged does not count.
pub(super) fn find(atlas: Res<Atlas>, mut damage: ResMut<Damage>, mut mind: ResMut<Generation>) {
    let model = atlas.model();
    // A number is asked for in each frame; the tiles are looked through only where there are more.
    if model.damaged_count() as usize == damage.tiles.len() {
        return;
    }
    damage.tiles = model.damaged_tiles();
    mind.find_damage(damage.words(model));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_tiles_are_named_and_many_are_counted() {
        let model = crate::app::kinds::assets().default_model().unwrap();
        let words = |tiles: &[u32]| Damage { tiles: tiles.to_vec() }.words(&model);
        assert_eq!(words(&[]), None);
        let one = words(&[2]).unwrap();
        assert!(one.starts_with("1 tile is damaged: tile 2 of ") && one.contains("rows "), "{one}");
        let many = words(&[0, 1, 2, 3, 4]).unwrap();
        assert!(many.starts_with("5 tiles are") && many.ends_with("; 2 more"), "{many}");
    }
}
