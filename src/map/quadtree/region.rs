//! What lies in a rectangle.

use super::{NodeBody, Quadtree, present};
use crate::map::geometry::Rect;
use crate::map::item::{Item, Kinds};
use std::ops::ControlFlow;

impl Quadtree {
    /// The items of some kinds that share a pixel with a rectangle, in no particular order.
    pub fn region(&self, rect: &Rect, kinds: Kinds) -> Vec<Item> {
        let mut items = Vec::new();
        let _ = self.visit_region(rect, kinds, &mut |item| {
            items.push(item);
            ControlFlow::Continue(())
        });
        items
    }

    /// Calls `visit` with every such item until it breaks off.
    pub(crate) fn visit_region(
        &self,
        rect: &Rect,
        kinds: Kinds,
        visit: &mut impl FnMut(Item) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self.root {
            Some(root) => self.visit_below(root, rect, kinds, visit),
            None => ControlFlow::Continue(()),
        }
    }

    /// No path is longer than 64 nodes, so this may call itself.
    fn visit_below(
        &self,
        index: u32,
        rect: &Rect,
        kinds: Kinds,
        visit: &mut impl FnMut(Item) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let node = self.node(index);
        if !node.kinds.meets(kinds) || !node.bounds.overlaps(rect) {
            return ControlFlow::Continue(());
        }
        match &node.body {
            NodeBody::Inner { children, .. } => {
                present(children).try_for_each(|child| self.visit_below(child, rect, kinds, visit))
            }
            NodeBody::Leaf(entries) => entries
                .iter()
                .filter(|entry| kinds.contains(entry.kind()) && entry.rect().overlaps(rect))
                .try_for_each(|entry| visit(entry.item())),
        }
    }
}
