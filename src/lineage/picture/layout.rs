//! Where the islands lie: rows of generations, each child below the middle of its parents.

use std::collections::HashMap;

use crate::lineage::document::{Lineage, known_parents};
use crate::lineage::entry::LineageEntry;

/// A place for an island, in pixels: its middle and its size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct IslandSpot {
    pub x: f32,
    pub y: f32,
    pub width: f32,
    pub height: f32,
}

impl IslandSpot {
    pub fn bottom(self) -> f32 {
        self.y + self.height / 2.0
    }

    pub fn top(self) -> f32 {
        self.y - self.height / 2.0
    }
}

/// All islands.
pub(super) struct Islands {
    /// Of each child in order.
    pub spots: Vec<IslandSpot>,
    pub size: [u32; 2],
    at: HashMap<String, usize>,
}

/// The widest picture.
const MOST_PIXELS: f32 = 8192.0;
const ISLAND: f32 = 280.0;
/// Height by width: a model's land is about twice as wide as high.
const SHAPE: f32 = 0.56;
const HEAD: f32 = 110.0;
const FOOT: f32 = 60.0;
/// The narrowest picture, which the legend needs.
const LEAST_PIXELS: f32 = 960.0;

impl Islands {
    pub fn new(lineage: &Lineage, children: &[LineageEntry]) -> Self {
        let generations = lineage.generations();
        let rows = 1 + generations.values().copied().max().unwrap_or(0);
        let mut of_rows: Vec<Vec<usize>> = vec![Vec::new(); rows];
        for (at, child) in children.iter().enumerate() {
            of_rows[generations.get(&child.child).copied().unwrap_or(0)].push(at);
        }
        let most = of_rows.iter().map(Vec::len).max().unwrap_or(1).max(1) as f32;
        let cell = (MOST_PIXELS / most).min(MOST_PIXELS / rows as f32 / 1.1).min(ISLAND * 1.3);
        let width = cell / 1.3;
        let has_words = width >= super::LEAST_WIDTH_OF_WORDS;
        let row = width * SHAPE + if has_words { width * 0.62 } else { width * 0.5 };
        let across = (most * cell + 40.0).max(LEAST_PIXELS);
        let at: HashMap<String, usize> =
            children.iter().enumerate().map(|(at, child)| (child.child.clone(), at)).collect();
        let mut spots =
            vec![IslandSpot { x: 0.0, y: 0.0, width, height: width * SHAPE }; children.len()];
        for (number, row_of) in of_rows.iter().enumerate() {
            let wish = |&child: &usize| {
                let xs = known_parents(&children[child]).filter_map(|parent| at.get(parent));
                let xs: Vec<f32> = xs.map(|&parent| spots[parent].x).collect();
                xs.iter().sum::<f32>() / xs.len().max(1) as f32
            };
            let mut order: Vec<(usize, f32)> =
                row_of.iter().map(|child| (*child, wish(child))).collect();
            order.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
            let xs = spread(&order, cell, across);
            for ((child, _), x) in order.iter().zip(xs) {
                spots[*child].x = x;
                spots[*child].y = HEAD + row * number as f32 + width * SHAPE / 2.0;
            }
        }
        let down = HEAD + row * rows as f32 + FOOT;
        Self { spots, size: [across as u32, down as u32], at }
    }

    /// The parents' islands, and whether the canal is part of the way to the current one.
    pub fn parents_of(&self, child: &LineageEntry, lineage: &Lineage) -> Vec<(IslandSpot, bool)> {
        let in_use = lineage.promoted();
        let parents = known_parents(child).filter_map(|parent| {
            let is_main = in_use.iter().any(|it| it == parent) && in_use.contains(&child.child);
            Some((self.spots[*self.at.get(parent)?], is_main))
        });
        parents.collect()
    }

    /// A canal's ends and what it bends towards: from below a parent, around its words, to the top
    /// of a child.
    pub fn canal(&self, parent: IslandSpot, child: IslandSpot) -> [[f32; 2]; 4] {
        let (start, end) = ([parent.x, parent.y], [child.x, child.top() + 4.0]);
        let bend = (end[1] - start[1]) * 0.55;
        [start, [start[0], start[1] + bend], [end[0], end[1] - bend], end]
    }
}

/// Places as near to what each wishes for as can be, a cell apart, within the picture. The first
/// row has no wishes, and is in the middle.
fn spread(order: &[(usize, f32)], cell: f32, across: f32) -> Vec<f32> {
    let count = order.len() as f32;
    let wishes: Vec<f32> =
        order.iter().map(|(_, wish)| if *wish == 0.0 { across / 2.0 } else { *wish }).collect();
    let middle = wishes.iter().sum::<f32>() / count.max(1.0);
    let half = count * cell / 2.0;
    let left = (middle - half).clamp(20.0, (across - 20.0 - 2.0 * half).max(20.0));
    (0..order.len()).map(|at| left + cell * (at as f32 + 0.5)).collect()
}
