//! What a ray crosses, in the order in which it does, by exact fractions.

use super::{NodeBody, Quadtree, present};
use crate::map::MapError;
use crate::map::geometry::{Point, Rect};
use crate::map::item::{Item, Kinds};
use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

/// The longest part of a direction. Differences of doubled coordinates are below 2^65, and their
/// products with a part have to fit in 127 bits.
const MAX_PART: u64 = 1 << 62;

/// A ray: it starts at the centre of a pixel and goes on for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ray {
    origin: Point,
    direction: (i64, i64),
}

impl Ray {
    /// A ray from a pixel's centre; after each step it is (`dx`, `dy`) pixels further.
    ///
    /// # Errors
    /// Both parts are 0, or one is beyond 2^62.
    pub fn new(origin: Point, dx: i64, dy: i64) -> Result<Self, MapError> {
        let too_long = dx.unsigned_abs().max(dy.unsigned_abs()) > MAX_PART;
        if too_long || (dx == 0 && dy == 0) {
            return Err(MapError::Direction { dx, dy });
        }
        Ok(Self { origin, direction: (dx, dy) })
    }

    /// After how many steps the ray enters a rectangle, if it has more than a point in common with
    /// it; 0 when it starts inside.
    pub(crate) fn enters(&self, rect: &Rect) -> Option<Crossing> {
        let mut entry = Crossing { numerator: 0, denominator: 1 };
        let mut exit: Option<Crossing> = None;
        let (dx, dy) = self.direction;
        for (origin, step, first, last) in [
            (self.origin.x, dx, rect.left(), rect.right()),
            (self.origin.y, dy, rect.top(), rect.bottom()),
        ] {
            // In half pixels, so that centres and edges are whole numbers.
            let origin = 2 * i128::from(origin) + 1;
            let (near, far) = (2 * i128::from(first) - origin, 2 * (i128::from(last) + 1) - origin);
            let (near, far) = match step.cmp(&0) {
                // A centre is never on an edge.
                Ordering::Equal if near < 0 && 0 < far => continue,
                Ordering::Equal => return None,
                Ordering::Greater => (near, far),
                Ordering::Less => (-far, -near),
            };
            let at =
                |numerator| Crossing { numerator, denominator: i128::from(step.unsigned_abs()) };
            entry = entry.max(at(near));
            exit = Some(exit.map_or(at(far), |exit| exit.min(at(far))));
        }
        // Not where both are equal: there the ray touches a corner, a single point.
        exit.is_none_or(|exit| entry < exit).then_some(entry)
    }
}

/// Where on a ray something is entered: an exact number of steps.
#[derive(Clone, Copy, Debug)]
pub struct Crossing {
    /// In half pixels, so that edges and centres are whole numbers.
    numerator: i128,
    denominator: i128,
}

impl Crossing {
    /// The number of steps, as near as a float comes.
    pub(crate) fn in_steps(self) -> f64 {
        self.numerator as f64 / self.denominator as f64 / 2.0
    }
}

impl Ord for Crossing {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.numerator * other.denominator).cmp(&(other.numerator * self.denominator))
    }
}

impl PartialOrd for Crossing {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Crossing {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Crossing {}

/// As in the search for what is near: nodes before items at the same place.
type RayCandidate = (Crossing, Option<(i64, i64, u8, u64)>, RayPlace);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum RayPlace {
    Node(u32),
    Entry(u32, u32),
}

impl Quadtree {
    /// The first `count` items of some kinds that a ray crosses, in the order in which it enters
    /// them; of those entered together the upper, then the left one comes first.
    pub fn ray(&self, ray: &Ray, count: usize, kinds: Kinds) -> Vec<(Crossing, Item)> {
        let mut found = Vec::new();
        let mut heap: BinaryHeap<Reverse<RayCandidate>> = BinaryHeap::new();
        heap.extend(self.root.and_then(|root| self.crossed_node(root, ray)));
        while found.len() < count
            && let Some(Reverse((crossing, _, place))) = heap.pop()
        {
            match place {
                RayPlace::Entry(leaf, index) => {
                    if let NodeBody::Leaf(entries) = &self.node(leaf).body {
                        found.push((crossing, entries[index as usize].item()));
                    }
                }
                RayPlace::Node(index) => match &self.node(index).body {
                    NodeBody::Inner { children, .. } => heap.extend(
                        present(children)
                            .filter(|child| self.node(*child).kinds.meets(kinds))
                            .filter_map(|child| self.crossed_node(child, ray)),
                    ),
                    NodeBody::Leaf(entries) => {
                        let wanted = entries
                            .iter()
                            .zip(0..)
                            .filter(|(entry, _)| kinds.contains(entry.kind()));
                        heap.extend(wanted.filter_map(|(entry, place)| {
                            let Item { rect, kind, number } = entry.item();
                            let order = (rect.top(), rect.left(), kind.code(), number);
                            Some(Reverse((
                                ray.enters(&rect)?,
                                Some(order),
                                RayPlace::Entry(index, place),
                            )))
                        }));
                    }
                },
            }
        }
        found
    }

    fn crossed_node(&self, index: u32, ray: &Ray) -> Option<Reverse<RayCandidate>> {
        Some(Reverse((ray.enters(&self.node(index).bounds)?, None, RayPlace::Node(index))))
    }
}
