//! The order in which tiles are wanted: those on screen before those beside it, coarse before fine,
//! near the middle before far from it.

use std::cmp::Reverse;
use std::collections::HashSet;

use crate::model::plan::Rect;

/// What a camera sees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// The cells on screen.
    pub rect: Rect,
    /// The finest level worth having: 0 is every weight, and each level has half as many cells
    /// along either axis.
    pub level: u8,
    /// Cells around the screen that are fetched ahead, once everything on it is there.
    pub margin: i64,
}

impl View {
    /// The view of some cells at `zoom` screen pixels per cell, with half a screen around it.
    /// Levels go up to `coarsest`.
    pub fn new(rect: Rect, zoom: f32, coarsest: u8) -> Self {
        let cells_per_pixel = if zoom > 0.0 { 1.0 / zoom } else { f32::INFINITY };
        // A level is left for a coarser one when two of its cells would share a pixel.
        let level = cells_per_pixel.max(1.0).log2().floor().min(f32::from(coarsest)) as u8;
        Self { rect, level, margin: rect.width.max(rect.height) / 2 }
    }

    /// The cells that are fetched, with those around the screen.
    pub fn reach(&self) -> Rect {
        let Rect { x, y, width, height } = self.rect;
        let m = self.margin;
        Rect::new(
            x.saturating_sub(m),
            y.saturating_sub(m),
            width.saturating_add(m.saturating_mul(2)),
            height.saturating_add(m.saturating_mul(2)),
        )
    }
}

/// A tile that a view may want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The caller's number for it.
    pub id: u32,
    /// Its level: 0 is the finest.
    pub level: u8,
    /// The cells that it covers.
    pub rect: Rect,
    /// Bytes that it takes in memory.
    pub bytes: u32,
}

/// A tile that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The caller's number for it.
    pub id: u32,
    /// Its level: 0 is the finest.
    pub level: u8,
    /// Bytes that it takes.
    pub bytes: u32,
    /// Whether it is on screen.
    pub visible: bool,
}

/// Ranks the candidates that a view wants, the most wanted first. The order is the same whatever
/// order they come in.
pub fn rank(view: &View, candidates: impl IntoIterator<Item = Candidate>) -> Vec<Wanted> {
    let reach = view.reach();
    let mut wanted: Vec<_> = candidates
        .into_iter()
        .filter(|tile| tile.level >= view.level && tile.rect.overlaps(&reach))
        .map(|Candidate { id, level, rect, bytes }| {
            let visible = rect.overlaps(&view.rect);
            let key = (!visible, Reverse(level), distance_squared(&rect, &view.rect), id);
            (key, Wanted { id, level, bytes, visible })
        })
        .collect();
    wanted.sort_unstable_by_key(|(key, _)| *key);
    // A tile that is drawn in several places comes once, as the most wanted of them.
    let mut seen = HashSet::with_capacity(wanted.len());
    wanted.retain(|(_, wanted)| seen.insert(wanted.id));
    wanted.into_iter().map(|(_, wanted)| wanted).collect()
}

/// Between the middles, in half cells; exact over the whole plane.
fn distance_squared(a: &Rect, b: &Rect) -> u128 {
    let middle = |rect: &Rect| {
        [
            2 * i128::from(rect.x) + i128::from(rect.width),
            2 * i128::from(rect.y) + i128::from(rect.height),
        ]
    };
    let ([ax, ay], [bx, by]) = (middle(a), middle(b));
    // Each is under 2^66, and a square of that is rounded off by four bits to stay within 128.
    let (dx, dy) = (ax.abs_diff(bx) >> 4, ay.abs_diff(by) >> 4);
    dx * dx + dy * dy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(id: u32, level: u8, x: i64) -> Candidate {
        Candidate { id, level, rect: Rect::new(x, 0, 64 << level, 64 << level), bytes: 1 }
    }

    #[test]
    fn screen_first_then_coarse_then_near() {
        let view = View { rect: Rect::new(0, 0, 256, 64), level: 0, margin: 128 };
        let candidates =
            [tile(1, 0, 300), tile(2, 0, 0), tile(3, 1, 0), tile(4, 0, 128), tile(5, 0, 5000)];
        let ids = |candidates: &[Candidate]| -> Vec<u32> {
            rank(&view, candidates.iter().copied()).iter().map(|wanted| wanted.id).collect()
        };
        assert_eq!(ids(&candidates), [3, 4, 2, 1], "5 is out of reach");
        let mut reversed = candidates;
        reversed.reverse();
        assert_eq!(ids(&reversed), ids(&candidates));
    }

    #[test]
    fn a_tile_in_several_places_is_wanted_once_as_its_nearest() {
        let view = View { rect: Rect::new(0, 0, 256, 64), level: 0, margin: 128 };
        let found = rank(&view, [tile(1, 0, 300), tile(2, 0, 0), tile(1, 0, 128)]);
        let found: Vec<_> = found.iter().map(|wanted| (wanted.id, wanted.visible)).collect();
        assert_eq!(found, [(1, true), (2, true)]);
    }

    #[test]
    fn from_afar_fine_levels_are_not_wanted() {
        let rect = Rect::new(0, 0, 1000, 1000);
        let level = |zoom| View::new(rect, zoom, 5).level;
        assert_eq!([8.0, 1.0, 0.6, 0.5, 0.25, 0.01, 0.0].map(level), [0, 0, 0, 1, 2, 5, 5]);
        let view = View::new(rect, 0.5, 5);
        assert!(rank(&view, [tile(1, 0, 0)]).is_empty());
        assert_eq!(rank(&view, [tile(1, 1, 0)]).len(), 1);
    }

    #[test]
    fn the_ends_of_the_plane_can_be_ranked() {
        let far = Rect::new(i64::MIN, i64::MIN, 64, 64);
        let view =
            View { rect: Rect::new(i64::MAX - 64, i64::MAX - 64, 64, 64), level: 0, margin: 0 };
        assert!(distance_squared(&far, &view.rect) > 1 << 120);
    }
}
