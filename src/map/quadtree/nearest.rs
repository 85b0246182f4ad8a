//! What is nearest to a point, by exact distances.

use super::{NodeBody, Quadtree, present};
use crate::map::geometry::{Point, Rect};
use crate::map::item::{Item, Kinds};
use std::{cmp::Reverse, collections::BinaryHeap};

/// The square of a distance between two pixels of the plane: up to 129 bits, so one of them is kept
/// apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Distance {
    carry: bool,
    low: u128,
}

impl Distance {
    /// From a point to the nearest pixel of a rectangle; 0 inside it.
    pub fn between(point: Point, rect: &Rect) -> Self {
        let square = |position: i64, first: i64, last: i64| {
            let steps = if position < first {
                first.abs_diff(position)
            } else if position > last {
                position.abs_diff(last)
            } else {
                0
            };
            u128::from(steps) * u128::from(steps)
        };
        let across = square(point.x, rect.left(), rect.right());
        let (low, carry) = across.overflowing_add(square(point.y, rect.top(), rect.bottom()));
        Self { carry, low }
    }

    /// The distance in pixels, as near as a float comes.
    pub fn in_pixels(self) -> f64 {
        let high = if self.carry { 2_f64.powi(128) } else { 0.0 };
        (high + self.low as f64).sqrt()
    }
}

/// An item and how far away it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near {
    /// From the point to its nearest pixel; 0 inside it.
    pub distance: Distance,
    /// The item with its rectangle, kind and number.
    pub item: Item,
}

/// How items are put in order: by distance, then place, kind and number; and where the entry is.
type NearestRank = (Distance, (i64, i64, u8, u64), (u32, u32));

impl Quadtree {
    /// The `count` items of some kinds that are nearest to a point, nearest first; of equally near
    /// ones the upper, then the left one comes first.
    pub fn nearest(&self, point: Point, count: usize, kinds: Kinds) -> Vec<Near> {
        // The nodes that are left, nearest first, and the best items so far, the worst of them
        // first.
        let mut nodes = BinaryHeap::new();
        let mut best: BinaryHeap<NearestRank> = BinaryHeap::new();
        let distance_of = |node: u32| Distance::between(point, &self.node(node).bounds);
        nodes.extend(self.root.map(|root| Reverse((distance_of(root), root))));
        while count > 0
            && let Some(Reverse((distance, index))) = nodes.pop()
        {
            // A node as far as the worst may still hold an item that comes before it.
            if best.len() >= count && best.peek().is_some_and(|worst| distance > worst.0) {
                break;
            }
            match &self.node(index).body {
                NodeBody::Inner { children, .. } => nodes.extend(
                    present(children)
                        .filter(|child| self.node(*child).kinds.meets(kinds))
                        .map(|child| Reverse((distance_of(child), child))),
                ),
                NodeBody::Leaf(entries) => {
                    for (place, entry) in (0..).zip(entries) {
                        if !kinds.contains(entry.kind()) {
                            continue;
                        }
                        let Item { rect, kind, number } = entry.item();
                        let order = (rect.top(), rect.left(), kind.code(), number);
                        let rank = (Distance::between(point, &rect), order, (index, place));
                        if best.len() < count {
                            best.push(rank);
                        } else if let Some(mut worst) = best.peek_mut()
                            && rank < *worst
                        {
                            *worst = rank;
                        }
                    }
                }
            }
        }
        let near = |(distance, _, (leaf, place)): NearestRank| match &self.node(leaf).body {
            NodeBody::Leaf(entries) => {
                Some(Near { distance, item: entries[place as usize].item() })
            }
            NodeBody::Inner { .. } => None,
        };
        best.into_sorted_vec().into_iter().filter_map(near).collect()
    }
}
