//! Places of the layers among each other, in columns and rows.

use super::rules::{Arrangement, Start, Turn};

/// Column and row of each layer, and whether the stream runs towards smaller x there; then columns
/// and rows of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grid {
    pub places: Vec<(i64, i64, bool)>,
    pub columns: i64,
    pub rows: i64,
}

impl Grid {
    /// The grid of `count` layers; a snake has them in `rows` rows.
    pub fn new(arrangement: Arrangement, count: u32, rows: i64) -> Self {
        let layers = 0..i64::from(count);
        let places: Vec<_> = match arrangement {
            Arrangement::Snake { .. } => {
                let columns = (i64::from(count) + rows - 1) / rows;
                let place = |layer: i64| {
                    let (row, step) = (layer / columns, layer % columns);
                    let westward = row % 2 == 1;
                    (if westward { columns - 1 - step } else { step }, row, westward)
                };
                layers.map(place).collect()
            }
            Arrangement::Rows { across } => {
                let across = i64::from(across.clamp(1, count.max(1)));
                layers.map(|layer| (layer % across, layer / across, false)).collect()
            }
            Arrangement::Spiral { turn, start } => spiral(count as usize, turn, start),
        };
        let most = |of: fn(&(i64, i64, bool)) -> i64| places.iter().map(of).max().unwrap_or(0) + 1;
        let (columns, rows) = (most(|place| place.0), most(|place| place.1));
        Self { places, columns, rows }
    }
}

/// The cells of a square spiral: 1, 1, 2, 2, 3, 3, ... steps between its corners.
fn spiral(count: usize, turn: Turn, start: Start) -> Vec<(i64, i64, bool)> {
    let (mut x, mut y, mut direction) = (0_i64, 0_i64, (1_i64, 0_i64));
    let (mut left, mut arm) = (1_usize, 1_usize);
    let mut cells = Vec::with_capacity(count);
    for _ in 0..count {
        cells.push((x, y));
        (x, y) = (x + direction.0, y + direction.1);
        left -= 1;
        if left == 0 {
            // With y growing downwards, this turns as clocks do.
            direction = (-direction.1, direction.0);
            left = arm / 2 + 1;
            arm += 1;
        }
    }
    if turn == Turn::Counterclockwise {
        cells.iter_mut().for_each(|cell| cell.1 = -cell.1);
    }
    if start == Start::Outside {
        cells.reverse();
    }
    let least = |of: fn(&(i64, i64)) -> i64| cells.iter().map(of).min().unwrap_or(0);
    let (west, north) = (least(|cell| cell.0), least(|cell| cell.1));
    let next_is_west = |at: usize| cells.get(at + 1).is_some_and(|next| next.0 < cells[at].0);
    (0..cells.len()).map(|at| (cells[at].0 - west, cells[at].1 - north, next_is_west(at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spiral_winds_around_its_middle_and_never_crosses_itself() {
        let around = |turn, start, count| Grid::new(Arrangement::Spiral { turn, start }, count, 1);
        let places = around(Turn::Clockwise, Start::Inside, 9).places;
        let cells: Vec<_> = places.iter().map(|place| (place.0, place.1)).collect();
        assert_eq!(cells, [(1, 1), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1), (0, 0), (1, 0), (2, 0)]);
        assert_eq!(places.iter().filter(|place| place.2).count(), 2, "two steps lead west");
        for turn in [Turn::Clockwise, Turn::Counterclockwise] {
            for start in [Start::Inside, Start::Outside] {
                let grid = around(turn, start, 30);
                let mut cells: Vec<_> =
                    grid.places.iter().map(|place| (place.0, place.1)).collect();
                for pair in cells.windows(2) {
                    assert_eq!((pair[0].0 - pair[1].0).abs() + (pair[0].1 - pair[1].1).abs(), 1);
                }
                assert_eq!((grid.columns, grid.rows), (6, 5));
                cells.sort_unstable();
                cells.dedup();
                assert_eq!(cells.len(), 30);
            }
        }
    }
}
