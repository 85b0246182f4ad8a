//! Where things are on the model's map, for those who walk there. Pure.

use serde::{Deserialize, Serialize};

use crate::map::Point;
use crate::model::PixelModel;
use crate::model::plan::{MapPlan, Rect};

/// A point of the map, in cells; y grows downwards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "world", derive(bevy::prelude::Component))]
pub struct Position {
    /// The column, in cells from the left.
    pub x: f64,
    /// The row, in cells from the top.
    pub y: f64,
}

impl Position {
    /// A place from its coordinates.
    pub const fn new(x: f64, y: f64) -> Self {
        Self { x, y }
    }

    /// The middle of a rectangle.
    pub fn middle(rect: &Rect) -> Self {
        Self::new(rect.x as f64 + rect.width as f64 / 2.0, rect.y as f64 + rect.height as f64 / 2.0)
    }

    /// How far it is to another place, in cells.
    pub fn distance(self, other: Self) -> f64 {
        let (dx, dy) = (other.x - self.x, other.y - self.y);
        (dx * dx + dy * dy).sqrt()
    }

    /// One step towards another place, and whether it is reached.
    pub(crate) fn step_towards(self, to: Self, step: f64) -> (Self, bool) {
        let distance = self.distance(to);
        // Also where it is there already: the distance is no divisor below.
        if distance <= step {
            return (to, true);
        }
        let share = step / distance;
        (Self::new(self.x + (to.x - self.x) * share, self.y + (to.y - self.y) * share), false)
    }

    /// The cell that it is in.
    pub fn cell(self) -> Point {
        // The conversion stops at the plane's edges.
        Point::new(self.x.floor() as i64, self.y.floor() as i64)
    }
}

/// Where a layer, a head of it, or the whole model is.
pub fn place_of(plan: &MapPlan, layer: Option<u32>, head: Option<u32>) -> Option<Position> {
    let Some(layer) = layer else {
        let [width, height] = plan.size;
        return Some(Position::middle(&Rect::new(0, 0, width, height)));
    };
    match head {
        Some(head) => {
            let found = plan.heads.iter().find(|plan| plan.layer == layer && plan.head == head);
            found.map(|plan| Position::middle(&plan.rect))
        }
        None => plan.layers.get(layer as usize).map(|plan| Position::middle(&plan.rect)),
    }
}

/// Where a tile is: the middle of its first rectangle.
pub fn place_of_tile(model: &PixelModel, tile: u32) -> Option<Position> {
    if tile >= model.tile_count() {
        return None;
    }
    let (tensor, _) = model.tile_shape(tile);
    let in_tensor = u64::from(tile - model.tensors()[tensor].first_tile);
    model.plan().tile_rects(model.tensors(), tensor, in_tensor).first().map(Position::middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_lead_straight_there_and_end_there() {
        let to = Position::new(3.0, 4.0);
        let (half, arrived) = Position::default().step_towards(to, 2.5);
        assert_eq!((half, arrived), (Position::new(1.5, 2.0), false));
        assert_eq!(half.step_towards(to, 2.5), (to, true));
        assert_eq!(to.step_towards(to, 0.0), (to, true));
    }

    #[test]
    fn every_part_of_the_built_in_model_has_a_place() {
        let model = crate::app::kinds::assets().default_model().unwrap();
        let plan = model.plan();
        let [width, height] = plan.size;
        let inside = |place: Position| {
            (0.0..=width as f64).contains(&place.x) && (0.0..=height as f64).contains(&place.y)
        };
        assert!(place_of(plan, None, None).is_some_and(inside));
        assert!(place_of(plan, Some(0), None).is_some_and(inside));
        assert!(place_of(plan, Some(0), Some(0)).is_some_and(inside));
        assert_eq!(place_of(plan, Some(9999), None), None);
        assert_eq!(place_of(plan, Some(0), Some(9999)), None);
        assert!(
            (0..model.tile_count()).all(|tile| place_of_tile(&model, tile).is_some_and(inside))
        );
        assert_eq!(place_of_tile(&model, model.tile_count()), None);
    }
}
