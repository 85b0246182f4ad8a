//! Rectangles without rounding in one mesh: what there are many of is neither rounded nor smoothed,
//! and costs four corners each.

use bevy_egui::egui;
use egui::{Color32, Mesh, Painter, Rect, Stroke, pos2};

use crate::world::draw::{LightCorner, Lights};

/// Rectangles that are drawn together.
#[derive(Default)]
pub(super) struct RectMesh {
    mesh: Mesh,
    /// What is left out.
    hole: Option<Rect>,
}

impl RectMesh {
    /// Rectangles that leave something out.
    pub fn beside(hole: Option<Rect>) -> Self {
        Self { mesh: Mesh::default(), hole }
    }

    /// A rectangle of one colour.
    pub fn fill(&mut self, rect: Rect, colour: Color32) {
        self.fall(rect, colour, colour);
    }

    /// A rectangle whose colour goes from one at its top to another at its bottom.
    pub fn fall(&mut self, rect: Rect, top: Color32, bottom: Color32) {
        if !rect.is_positive() || (top == Color32::TRANSPARENT && bottom == Color32::TRANSPARENT) {
            return;
        }
        let Some(hole) = self.hole.map(|hole| hole.intersect(rect)).filter(Rect::is_positive)
        else {
            return self.corners(rect, top, bottom);
        };
        // What is left around the hole keeps the colours of its own heights.
        let at = |y: f32| top.lerp_to_gamma(bottom, (y - rect.top()) / rect.height());
        for part in parts_around(rect, hole).into_iter().filter(Rect::is_positive) {
            self.corners(part, at(part.top()), at(part.bottom()));
        }
    }

    fn corners(&mut self, rect: Rect, top: Color32, bottom: Color32) {
        let first = self.mesh.vertices.len() as u32;
        for (corner, colour) in [
            (rect.left_top(), top),
            (rect.right_top(), top),
            (rect.left_bottom(), bottom),
            (rect.right_bottom(), bottom),
        ] {
            self.mesh.colored_vertex(corner, colour);
        }
        self.mesh.add_triangle(first, first + 1, first + 2);
        self.mesh.add_triangle(first + 2, first + 1, first + 3);
    }

    /// What of a rectangle is around another.
    pub fn around(&mut self, outer: Rect, hole: Rect, colour: Color32) {
        for part in parts_around(outer, hole.intersect(outer)) {
            self.fill(part, colour);
        }
    }

    /// A line around a rectangle, outside of it.
    pub fn frame(&mut self, rect: Rect, stroke: Stroke) {
        self.around(rect.expand(stroke.width), rect, stroke.color);
    }

    /// A scale from left to right.
    pub(crate) fn ramp(&mut self, rect: Rect, colour: impl Fn(f32) -> Color32) {
        // In steps, since a palette bends at its stops.
        const STEPS: u32 = 48;
        let first = self.mesh.vertices.len() as u32;
        for step in 0..=STEPS {
            let part = step as f32 / STEPS as f32;
            let x = rect.left() + rect.width() * part;
            let colour = colour(part);
            self.mesh.colored_vertex(pos2(x, rect.top()), colour);
            self.mesh.colored_vertex(pos2(x, rect.bottom()), colour);
        }
        for step in 0..STEPS {
            let at = first + 2 * step;
            self.mesh.add_triangle(at, at + 1, at + 2);
            self.mesh.add_triangle(at + 2, at + 1, at + 3);
        }
    }

    /// Has them drawn as light over the map, on a screen of some size in points: what is large is
    /// cheaper there than among the panels.
    pub(crate) fn shine(self, map: Rect, lights: &mut Lights) {
        // With a prompt, a frame takes 84 ms so, and 97 ms by egui's shader (benches/README.md).
        let first = lights.corners.len() as u32;
        let part = |at: f32, from: f32, length: f32| (at - from) / length.max(1.0);
        lights.corners.extend(self.mesh.vertices.iter().map(|corner| LightCorner {
            place: [
                part(corner.pos.x, map.left(), map.width()),
                part(corner.pos.y, map.top(), map.height()),
            ],
            colour: corner.color.to_array(),
        }));
        lights.triangles.extend(self.mesh.indices.iter().map(|index| first + index));
    }

    /// Draws them on a layer of egui.
    pub fn paint(self, painter: &Painter) {
        if !self.mesh.is_empty() {
            painter.add(self.mesh);
        }
    }
}

/// What of a rectangle is above, below, left and right of a hole in it.
fn parts_around(outer: Rect, hole: Rect) -> [Rect; 4] {
    [
        Rect::from_min_max(outer.min, pos2(outer.right(), hole.top())),
        Rect::from_min_max(pos2(outer.left(), hole.bottom()), outer.max),
        Rect::from_x_y_ranges(outer.left()..=hole.left(), hole.y_range()),
        Rect::from_x_y_ranges(hole.right()..=outer.right(), hole.y_range()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_around_a_hole_leaves_it_out_and_covers_the_rest() {
        let (outer, hole) = (
            Rect::from_min_max(pos2(0.0, 0.0), pos2(10.0, 8.0)),
            Rect::from_min_max(pos2(2.0, 1.0), pos2(7.0, 6.0)),
        );
        let mut around = RectMesh::default();
        around.around(outer, hole, Color32::WHITE);
        let mut beside = RectMesh::beside(Some(hole));
        beside.fill(outer, Color32::WHITE);
        for plain in [around, beside] {
            let mut covered = 0.0;
            for corners in plain.mesh.vertices.chunks(4) {
                let part =
                    Rect::from_points(&corners.iter().map(|corner| corner.pos).collect::<Vec<_>>());
                assert!(!part.shrink(0.01).intersects(hole), "{part:?}");
                covered += part.area();
            }
            assert!((covered - (outer.area() - hole.area())).abs() < 1e-3, "{covered}");
        }
    }
}
