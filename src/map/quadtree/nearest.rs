//! What is nearest to a point, by exact distances.

use super::{
    super::{
        geometry::{Point, Rect},
        item::{Item, Kinds},
    },
    Body, Quadtree, present,
};
use std::{cmp::Reverse, collections::BinaryHeap};

/// The square of a distance between two pixels of the plane: up to 129 bits, so one of them is kept apart.
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
    /// How far.
    pub distance: Distance,
    /// What.
    pub item: Item,
}

/// What waits to be looked at, nearest first. At the same distance nodes come before items, so that an item is
/// only given when nothing nearer can follow; items then go by place, kind and number.
type Candidate = (Distance, Option<(i64, i64, u8, u64)>, Place);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Node(u32),
    /// A leaf, and the entry's place in it.
    Entry(u32, u32),
}

impl Quadtree {
    /// The `count` items of some kinds that are nearest to a point, nearest first; of equally near ones the
    /// upper, then the left one comes first.
    pub fn nearest(&self, point: Point, count: usize, kinds: Kinds) -> Vec<Near> {
        let mut found = Vec::new();
        let mut heap: BinaryHeap<Reverse<Candidate>> = BinaryHeap::new();
        heap.extend(self.root.map(|root| self.candidate_node(root, point)));
        while found.len() < count
            && let Some(Reverse((distance, _, place))) = heap.pop()
        {
            match place {
                Place::Entry(leaf, index) => {
                    if let Body::Leaf(entries) = &self.node(leaf).body {
                        found.push(Near { distance, item: entries[index as usize].item() });
                    }
                }
                Place::Node(index) => match &self.node(index).body {
                    Body::Inner { children, .. } => heap.extend(
                        present(children)
                            .filter(|child| self.node(*child).kinds.meets(kinds))
                            .map(|child| self.candidate_node(child, point)),
                    ),
                    Body::Leaf(entries) => {
                        let wanted =
                            entries.iter().zip(0..).filter(|(entry, _)| kinds.contains(entry.kind()));
                        heap.extend(wanted.map(|(entry, place)| {
                            let Item { rect, kind, number } = entry.item();
                            let order = (rect.top(), rect.left(), kind.code(), number);
                            let distance = Distance::between(point, &rect);
                            Reverse((distance, Some(order), Place::Entry(index, place)))
                        }));
                    }
                },
            }
        }
        found
    }

    fn candidate_node(&self, index: u32, point: Point) -> Reverse<Candidate> {
        Reverse((Distance::between(point, &self.node(index).bounds), None, Place::Node(index)))
    }
}
