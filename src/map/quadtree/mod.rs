//! The index of the map: a quadtree over the whole plane that is as large as what lies in it.
//!
//! Items are kept by their top left corner. An inner node divides a square whose side is a power of
//! two, the smallest one that holds the corners below it; squares in between that would have a
//! single child are left out. So the tree grows by a node above the old root when something is put
//! outside it, two heaps of items 2^41 pixels apart cost one more node, and no path is longer
//! than 64. Every node knows the tight rectangle around its items, whatever their size, and which
//! kinds there are: that is what queries go by.
//!
//! Nodes lie in one vector and name each other by 32-bit numbers.

mod entry;
mod nearest;
mod ray;
mod region;

pub use nearest::{Distance, Near};
pub use ray::{Crossing, Ray};

use super::{
    MapError,
    geometry::{Point, Rect},
    item::{Item, Kind, Kinds},
};
use entry::{Corner, QuadCell, QuadEntry};

/// A leaf with more items is divided, unless they all have the same corner.
const LEAF_CAPACITY: usize = 16;
/// An inner node with no more items becomes a leaf again; less than a leaf can hold, so that adding
/// and removing one item does not divide and join for ever.
const JOIN_AT: u32 = 8;
/// The number of no node.
const NONE: u32 = u32::MAX;

/// Items on the plane, and where to find them.
#[derive(Debug, Default)]
pub struct Quadtree {
    nodes: Vec<QuadNode>,
    free: Vec<u32>,
    root: Option<u32>,
}

#[derive(Debug)]
struct QuadNode {
    /// The tight rectangle around everything below.
    bounds: Rect,
    count: u32,
    kinds: Kinds,
    body: NodeBody,
}

#[derive(Debug)]
enum NodeBody {
    Leaf(Vec<QuadEntry>),
    Inner { cell: QuadCell, children: [u32; 4] },
}

/// What became of a node from which an item was to be removed.
enum Removal {
    NotFound,
    Stays,
    /// The node is empty and has been given back.
    Empty,
    /// The node has been given back, and this one stands for it.
    Replaced(u32),
}

/// What the index is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TreeStats {
    /// Items of all kinds.
    pub items: usize,
    /// Nodes in use, leaves included.
    pub nodes: usize,
    /// The nodes on the longest path.
    pub depth: usize,
    /// Memory of nodes and items.
    pub size_in_bytes: usize,
}

impl Quadtree {
    /// How many items there are.
    pub fn len(&self) -> usize {
        self.root.map_or(0, |root| self.node(root).count as usize)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The tight rectangle around all items.
    pub fn bounds(&self) -> Option<Rect> {
        self.root.map(|root| self.node(root).bounds)
    }

    /// Adds an item. Several items may lie at the same place.
    ///
    /// # Errors
    /// The item is larger than 2^32 pixels on a side, its number is too large, or the tree is full.
    pub fn insert(&mut self, item: Item) -> Result<(), MapError> {
        let entry = QuadEntry::new(item)?;
        // An item adds at most four nodes, and their numbers must stay below the number of no node.
        let limit = NONE as usize - 8;
        if self.len() >= limit || self.nodes.len() >= limit {
            let found = self.len() as u128 + 1;
            return Err(MapError::TooLarge {
                what: "number of items",
                found,
                limit: limit as u128,
            });
        }
        self.root = Some(match self.root {
            Some(root) => self.insert_below(root, entry),
            None => self.new_leaf(entry),
        });
        Ok(())
    }

    /// Removes an item, and tells whether it was there.
    pub fn remove(&mut self, item: &Item) -> bool {
        let (Some(root), Ok(entry)) = (self.root, QuadEntry::new(*item)) else { return false };
        match self.remove_below(root, &entry) {
            Removal::NotFound => return false,
            Removal::Stays => {}
            Removal::Empty => self.root = None,
            Removal::Replaced(root) => self.root = Some(root),
        }
        true
    }

    /// The item of a kind whose top left corner is at a point; one of them, if there are several.
    pub fn find(&self, corner: Point, kind: Kind) -> Option<Item> {
        let leaf = self.leaf_of(corner)?;
        let NodeBody::Leaf(entries) = &self.node(leaf).body else { return None };
        entries.iter().find(|entry| entry.is_at(corner, kind)).map(QuadEntry::item)
    }

    /// Gives the item that [`Self::find`] finds another number, and tells whether there is one.
    pub(super) fn renumber(&mut self, corner: Point, kind: Kind, number: u64) -> bool {
        let Some(leaf) = self.leaf_of(corner) else { return false };
        let NodeBody::Leaf(entries) = &mut self.nodes[leaf as usize].body else { return false };
        match entries.iter_mut().find(|entry| entry.is_at(corner, kind)) {
            Some(entry) => {
                entry.renumber(number);
                true
            }
            None => false,
        }
    }

    /// Counts nodes and measures the tree; this walks all of it.
    pub fn stats(&self) -> TreeStats {
        let mut stats = TreeStats {
            items: self.len(),
            nodes: self.nodes.len() - self.free.len(),
            size_in_bytes: self.nodes.capacity() * size_of::<QuadNode>() + self.free.capacity() * 4,
            ..TreeStats::default()
        };
        let mut stack: Vec<_> = self.root.map(|root| (root, 1)).into_iter().collect();
        while let Some((index, depth)) = stack.pop() {
            stats.depth = stats.depth.max(depth);
            match &self.node(index).body {
                NodeBody::Leaf(entries) => {
                    stats.size_in_bytes += entries.capacity() * size_of::<QuadEntry>()
                }
                NodeBody::Inner { children, .. } => {
                    stack.extend(present(children).map(|child| (child, depth + 1)))
                }
            }
        }
        stats
    }

    fn node(&self, index: u32) -> &QuadNode {
        &self.nodes[index as usize]
    }

    /// The leaf in which an item with this corner would be.
    fn leaf_of(&self, corner: Point) -> Option<u32> {
        let corner = Corner::from(corner);
        let mut index = self.root?;
        loop {
            match &self.node(index).body {
                NodeBody::Leaf(_) => return Some(index),
                NodeBody::Inner { cell, children } => {
                    // Outside the square the quadrant means nothing, and the leaf that is found
                    // will not have it.
                    index = children[cell.quadrant(corner)];
                    if index == NONE {
                        return None;
                    }
                }
            }
        }
    }

    /// Puts an entry below a node, and gives the node that stands in its place afterwards.
    fn insert_below(&mut self, index: u32, entry: QuadEntry) -> u32 {
        let corner = entry.corner();
        let node = &mut self.nodes[index as usize];
        match &mut node.body {
            NodeBody::Leaf(entries) => {
                let divided = (entries.len() >= LEAF_CAPACITY).then(|| {
                    let cell = QuadCell::around(corner, corner);
                    entries.iter().fold(cell, |cell, entry| cell.extended(entry.corner()))
                });
                let Some(cell) = divided.filter(|cell| !cell.is_point()) else {
                    entries.push(entry);
                    node.take_in(&entry);
                    return index;
                };
                let entries = std::mem::take(entries);
                node.body = NodeBody::Inner { cell, children: [NONE; 4] };
                for entry in entries.into_iter().chain([entry]) {
                    self.insert_in_quadrant(index, cell, entry);
                }
                self.refit(index);
                index
            }
            NodeBody::Inner { cell, .. } if cell.contains(corner) => {
                let cell = *cell;
                node.take_in(&entry);
                self.insert_in_quadrant(index, cell, entry);
                index
            }
            NodeBody::Inner { cell, .. } => {
                let (below, parent) = (cell.corner(), cell.extended(corner));
                let leaf = self.new_leaf(entry);
                let mut children = [NONE; 4];
                children[parent.quadrant(below)] = index;
                children[parent.quadrant(corner)] = leaf;
                // Only until `refit`, which finds the sums of both children.
                let bounds = self.node(index).bounds;
                let parent = QuadNode {
                    bounds,
                    count: 0,
                    kinds: Kinds::NONE,
                    body: NodeBody::Inner { cell: parent, children },
                };
                let parent = self.new_node(parent);
                self.refit(parent);
                parent
            }
        }
    }

    /// Puts an entry into the child it belongs to; the node's own sums are the caller's.
    fn insert_in_quadrant(&mut self, index: u32, cell: QuadCell, entry: QuadEntry) {
        let quadrant = cell.quadrant(entry.corner());
        let child = match &self.node(index).body {
            NodeBody::Inner { children, .. } => children[quadrant],
            NodeBody::Leaf(_) => return,
        };
        let child =
            if child == NONE { self.new_leaf(entry) } else { self.insert_below(child, entry) };
        self.set_child(index, quadrant, child);
    }

    fn remove_below(&mut self, index: u32, entry: &QuadEntry) -> Removal {
        let corner = entry.corner();
        match &mut self.nodes[index as usize].body {
            NodeBody::Leaf(entries) => {
                let Some(place) = entries.iter().position(|other| other == entry) else {
                    return Removal::NotFound;
                };
                // A leaf has no order to keep.
                entries.swap_remove(place);
                if entries.is_empty() {
                    self.give_back(index);
                    return Removal::Empty;
                }
                self.refit(index);
                Removal::Stays
            }
            NodeBody::Inner { cell, children } => {
                let quadrant = cell.quadrant(corner);
                let child = children[quadrant];
                if child == NONE {
                    return Removal::NotFound;
                }
                match self.remove_below(child, entry) {
                    Removal::NotFound => return Removal::NotFound,
                    Removal::Stays => {}
                    Removal::Empty => self.set_child(index, quadrant, NONE),
                    Removal::Replaced(other) => self.set_child(index, quadrant, other),
                }
                // Before `tidy`, which goes by the count.
                self.refit(index);
                self.tidy(index)
            }
        }
    }

    /// Makes an inner node that has become small a leaf, and one with a single child that child.
    fn tidy(&mut self, index: u32) -> Removal {
        let node = self.node(index);
        let NodeBody::Inner { children, .. } = node.body else { return Removal::Stays };
        if node.count <= JOIN_AT {
            let mut entries = Vec::with_capacity(node.count as usize);
            present(&children).for_each(|child| self.take_entries(child, &mut entries));
            self.nodes[index as usize].body = NodeBody::Leaf(entries);
            return Removal::Stays;
        }
        let mut all = present(&children);
        match (all.next(), all.next()) {
            (Some(only), None) => {
                self.give_back(index);
                Removal::Replaced(only)
            }
            _ => Removal::Stays,
        }
    }

    /// Moves every entry below a node out of the tree.
    fn take_entries(&mut self, index: u32, entries: &mut Vec<QuadEntry>) {
        match std::mem::replace(&mut self.nodes[index as usize].body, NodeBody::Leaf(Vec::new())) {
            NodeBody::Leaf(mut own) => entries.append(&mut own),
            NodeBody::Inner { children, .. } => {
                present(&children).for_each(|child| self.take_entries(child, entries));
            }
        }
        self.give_back(index);
    }

    /// Computes a node's sums from what is right below it.
    fn refit(&mut self, index: u32) {
        let node = self.node(index);
        let sums = match &node.body {
            NodeBody::Leaf(entries) => entries.iter().map(QuadEntry::sums).reduce(NodeSums::plus),
            NodeBody::Inner { children, .. } => {
                present(children).map(|child| self.node(child).sums()).reduce(NodeSums::plus)
            }
        };
        if let Some(NodeSums { bounds, count, kinds }) = sums {
            let node = &mut self.nodes[index as usize];
            (node.bounds, node.count, node.kinds) = (bounds, count, kinds);
        }
    }

    fn set_child(&mut self, index: u32, quadrant: usize, child: u32) {
        if let NodeBody::Inner { children, .. } = &mut self.nodes[index as usize].body {
            children[quadrant] = child;
        }
    }

    fn new_leaf(&mut self, entry: QuadEntry) -> u32 {
        let NodeSums { bounds, count, kinds } = entry.sums();
        self.new_node(QuadNode { bounds, count, kinds, body: NodeBody::Leaf(vec![entry]) })
    }

    fn new_node(&mut self, node: QuadNode) -> u32 {
        match self.free.pop() {
            Some(index) => {
                self.nodes[index as usize] = node;
                index
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        }
    }

    fn give_back(&mut self, index: u32) {
        self.nodes[index as usize].body = NodeBody::Leaf(Vec::new());
        self.free.push(index);
    }
}

/// What a node keeps about everything below it.
#[derive(Clone, Copy)]
struct NodeSums {
    bounds: Rect,
    count: u32,
    kinds: Kinds,
}

impl NodeSums {
    fn plus(self, other: Self) -> Self {
        Self {
            bounds: self.bounds.union(&other.bounds),
            count: self.count + other.count,
            kinds: self.kinds | other.kinds,
        }
    }
}

impl QuadNode {
    fn sums(&self) -> NodeSums {
        NodeSums { bounds: self.bounds, count: self.count, kinds: self.kinds }
    }

    fn take_in(&mut self, entry: &QuadEntry) {
        let NodeSums { bounds, count, kinds } = self.sums().plus(entry.sums());
        (self.bounds, self.count, self.kinds) = (bounds, count, kinds);
    }
}

fn present(children: &[u32; 4]) -> impl Iterator<Item = u32> + use<> {
    let children = *children;
    children.into_iter().filter(|child| *child != NONE)
}

#[cfg(test)]
mod tests;
