//! What a camera above the plane sees: cells to screen points and back, zooms that hold the cell
//! under the cursor, and flights.
//!
//! Flights follow the path of van Wijk and Nuij, "Smooth and efficient zooming and panning" (2003).
//! Nothing here knows entities.

use crate::model::plan::Rect;

/// The closest zoom: screen points per cell.
pub const MOST_SCALE: f64 = 160.0;
/// The farthest: the whole map on a hundredth of the screen.
const LEAST_PART: f64 = 0.1;
/// Space around what is shown whole, in parts of the screen.
const MARGIN: f64 = 0.03;
/// Points above what is shown whole, where the breadcrumb, the panels' names, the search box and
/// the numbers of layers are.
const ABOVE: f64 = 74.0;
/// Points below it, where the prompt, the tokens or a caption are.
const BELOW: f64 = 122.0;
/// A screen that is smaller has no room to spare for them.
const LEAST_SCREEN: [f64; 2] = [420.0, 560.0];
/// Curvature of flights, from the paper's user study.
const RHO: f64 = 1.42;

/// Where a camera above the plane is.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct View {
    /// The cell in the middle of the screen.
    pub centre: [f64; 2],
    /// Screen points per cell.
    pub scale: f64,
    /// The screen in points.
    pub size: [f64; 2],
}

impl Default for View {
    fn default() -> Self {
        Self { centre: [0.0; 2], scale: 1.0, size: [1280.0, 720.0] }
    }
}

impl View {
    /// The view that shows a rectangle whole, with some space around it: between what stands above
    /// and below on the screen, where there is room.
    pub fn fit(self, rect: Rect) -> Self {
        let around = self.around();
        let sides = [(rect.x, rect.width), (rect.y, rect.height)];
        let scales: [f64; 2] = std::array::from_fn(|i| {
            let [before, after] = around[i];
            (self.size[i] - before - after) / sides[i].1.max(1) as f64
        });
        // Above 0: it is divided by.
        let scale = scales[0].min(scales[1]).clamp(1e-9, MOST_SCALE);
        let centre = std::array::from_fn(|i| {
            let ([before, after], (start, cells)) = (around[i], sides[i]);
            start as f64 + cells as f64 / 2.0 + (after - before) / 2.0 / scale
        });
        Self { centre, scale, ..self }
    }

    /// Points of the screen that are left free west and east, north and south of what is shown
    /// whole.
    fn around(&self) -> [[f64; 2]; 2] {
        let mut around = self.size.map(|side| [side * MARGIN; 2]);
        if self.size[0] >= LEAST_SCREEN[0] && self.size[1] >= LEAST_SCREEN[1] {
            around[1] = [ABOVE, BELOW];
        }
        around
    }

    /// The same with as little as can be of what lies beside the land, where there is more land
    /// than the screen holds: a layer at its end is shown beside others, not beside nothing.
    #[must_use]
    pub(crate) fn over_land(mut self, bounds: Rect) -> Self {
        let land = [(bounds.x, bounds.width), (bounds.y, bounds.height)];
        let around = self.around();
        for (i, (start, cells)) in land.into_iter().enumerate() {
            let half = self.size[i] / 2.0 / self.scale;
            let [before, after] = around[i].map(|points| points / self.scale);
            let low = start as f64 - before + half;
            let high = (start + cells) as f64 + after - half;
            if low <= high {
                self.centre[i] = self.centre[i].clamp(low, high);
            }
        }
        self
    }

    /// Where a place on the plane is on the screen.
    pub fn to_screen(&self, cell: [f64; 2]) -> [f64; 2] {
        std::array::from_fn(|i| (cell[i] - self.centre[i]) * self.scale + self.size[i] / 2.0)
    }

    /// The place on the plane under a point of the screen.
    pub(crate) fn to_plane(self, point: [f64; 2]) -> [f64; 2] {
        std::array::from_fn(|i| (point[i] - self.size[i] / 2.0) / self.scale + self.centre[i])
    }

    /// The cell under a point of the screen.
    pub(crate) fn cell_at(&self, point: [f64; 2]) -> (i64, i64) {
        let [x, y] = self.to_plane(point);
        (x.floor() as i64, y.floor() as i64)
    }

    /// The point in the middle of the screen.
    pub fn middle(&self) -> [f64; 2] {
        self.size.map(|side| side / 2.0)
    }

    /// The cells on the screen.
    pub fn visible(&self) -> Rect {
        let (left, top) = self.cell_at([0.0, 0.0]);
        let (right, bottom) = self.cell_at(self.size);
        Rect::new(left, top, right - left + 1, bottom - top + 1)
    }

    /// Zooms by a factor and holds what is under `point`.
    #[must_use]
    pub fn zoomed(self, factor: f64, point: [f64; 2], bounds: Rect) -> Self {
        let held = self.to_plane(point);
        // Beyond that both ends are reached from anywhere, and a product could leave the numbers
        // that there are.
        let factor = if factor.is_nan() { 1.0 } else { factor.clamp(1e-12, 1e12) };
        // The scale is bounded first: what is held has to be held at the scale that is left.
        let mut view = Self { scale: self.scale * factor, ..self }.bounded(bounds);
        for i in 0..2 {
            view.centre[i] = held[i] - (point[i] - self.size[i] / 2.0) / view.scale;
        }
        view.bounded(bounds)
    }

    /// Moves by a distance on the screen.
    #[must_use]
    pub(crate) fn panned(self, by: [f64; 2], bounds: Rect) -> Self {
        let centre = std::array::from_fn(|i| self.centre[i] - by[i] / self.scale);
        Self { centre, ..self }.bounded(bounds)
    }

    /// The nearest view that is not lost: near the map, neither absurdly far nor absurdly close,
    /// and of numbers.
    #[must_use]
    pub fn bounded(self, bounds: Rect) -> Self {
        let size = self.size.map(|side| if side.is_finite() { side.max(1.0) } else { 1.0 });
        let whole = Self { size, ..self }.fit(bounds);
        let least = whole.scale * LEAST_PART;
        let scale = if self.scale.is_finite() {
            self.scale.clamp(least, MOST_SCALE.max(least))
        } else {
            whole.scale
        };
        let (low, high) =
            ([bounds.x, bounds.y], [bounds.x + bounds.width, bounds.y + bounds.height]);
        let centre = std::array::from_fn(|i| {
            let centre = if self.centre[i].is_finite() { self.centre[i] } else { whole.centre[i] };
            centre.clamp(low[i] as f64, high[i] as f64)
        });
        Self { centre, scale, size }
    }
}

/// The minimap: a second, small view of the whole map.
impl View {
    /// Where it lies on the screen, in points: left, top, width, height. None where the screen is
    /// too small for it, or shows the whole map itself: where the prompt has no room beside it, it
    /// would stand above it in the middle of the screen.
    pub fn minimap(&self, bounds: Rect) -> Option<[f32; 4]> {
        let [width, height] = self.size.map(|side| side as f32);
        let aspect = bounds.height as f32 / bounds.width.max(1) as f32;
        let across = 190.0f32.min(150.0 / aspect.max(1e-3));
        let down = (across * aspect).max(20.0);
        let whole = self.visible().contains(&bounds);
        (width > 680.0 && height > 400.0 && !whole).then_some([
            14.0,
            height - down - 44.0,
            across,
            down,
        ])
    }

    /// The camera of the minimap.
    pub(crate) fn minimap_view(&self, bounds: Rect) -> Self {
        let [_, _, across, down] = self.minimap(bounds).unwrap_or([0.0, 0.0, 1.0, 1.0]);
        let view = Self { size: [f64::from(across), f64::from(down)], ..*self }.fit(bounds);
        // `fit` leaves a margin; the minimap fills its place.
        Self { scale: view.size[0] / bounds.width.max(1) as f64, ..view }
    }
}

/// A flight from one view to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flight {
    from: View,
    to: View,
    seconds: f64,
    elapsed: f64,
}

impl Flight {
    /// A flight that takes so many seconds.
    pub fn new(from: View, to: View, seconds: f64) -> Self {
        // It is divided by.
        Self { from, to, seconds: seconds.max(1e-3), elapsed: 0.0 }
    }

    /// A flight that takes 300 to 900 ms, by the length of its path.
    pub fn usual(from: View, to: View) -> Self {
        Self::new(from, to, (0.3 + 0.12 * path(&from, &to).2).min(0.9))
    }

    /// The view in which it ends.
    pub fn target(&self) -> View {
        self.to
    }

    /// The view after some more time, and whether it has arrived.
    pub(crate) fn advance(&mut self, seconds: f64, size: [f64; 2]) -> (View, bool) {
        self.elapsed += seconds;
        let part = (self.elapsed / self.seconds).min(1.0);
        // Slow at both ends.
        let eased = part * part * (3.0 - 2.0 * part);
        // The path ends near `to`, by rounding; what was asked for is reached exactly.
        let view = if part >= 1.0 { self.to } else { between(&self.from, &self.to, eased) };
        (View { size, ..view }, part >= 1.0)
    }
}

/// Width of the view on the plane, distance of the centres, and length of the path.
fn path(from: &View, to: &View) -> ([f64; 2], f64, f64) {
    let side = from.size[0].max(1.0);
    let widths = [side / from.scale, side / to.scale];
    let distance = (to.centre[0] - from.centre[0]).hypot(to.centre[1] - from.centre[1]);
    // The path divides by the distance; without one it is a plain zoom.
    if distance < 1e-6 * widths[0] {
        return (widths, 0.0, (widths[1] / widths[0]).ln().abs() / RHO);
    }
    let r = |i: usize| {
        let sign = if i == 0 { 1.0 } else { -1.0 };
        let [w0, w1] = widths;
        let rho4 = RHO.powi(4) * distance * distance;
        let b = (w1 * w1 - w0 * w0 + sign * rho4) / (2.0 * widths[i] * RHO * RHO * distance);
        ((b * b + 1.0).sqrt() - b).ln()
    };
    (widths, distance, (r(1) - r(0)) / RHO)
}

fn between(from: &View, to: &View, part: f64) -> View {
    let (widths, distance, length) = path(from, to);
    let [w0, w1] = widths;
    let side = from.size[0].max(1.0);
    let at = part * length;
    if distance == 0.0 {
        let width = w0 * ((w1 / w0).ln() * part).exp();
        return View { scale: side / width, ..*from };
    }
    let rho4 = RHO.powi(4) * distance * distance;
    let b0 = (w1 * w1 - w0 * w0 + rho4) / (2.0 * w0 * RHO * RHO * distance);
    let r0 = ((b0 * b0 + 1.0).sqrt() - b0).ln();
    let moved = w0 / (RHO * RHO) * (r0.cosh() * (RHO * at + r0).tanh() - r0.sinh());
    let width = w0 * r0.cosh() / (RHO * at + r0).cosh();
    let along = (moved / distance).clamp(0.0, 1.0);
    let centre = std::array::from_fn(|i| from.centre[i] + (to.centre[i] - from.centre[i]) * along);
    View { centre, scale: side / width, size: from.size }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAP: Rect = Rect { x: 0, y: 0, width: 30_000, height: 20_000 };

    #[test]
    fn what_is_fitted_is_whole_and_neither_under_the_bar_nor_under_the_prompt() {
        for (size, above, below) in [([1280.0, 720.0], ABOVE, BELOW), ([640.0, 480.0], 0.0, 0.0)] {
            let view = View { size, ..View::default() }.fit(MAP);
            let [left, top] = view.to_screen([0.0, 0.0]);
            let [right, bottom] = view.to_screen([30_000.0, 20_000.0]);
            assert!(left > 0.0 && right < size[0], "{left} {right}");
            assert!(top > above - 1e-6 && bottom < size[1] - below + 1e-6, "{top} {bottom}");
            let [beside, beyond] =
                [left - (size[0] - right), (top - above) - (size[1] - below - bottom)];
            assert!(beside.abs() < 1e-6 && beyond.abs() < 1e-6, "in the middle of what is free");
            assert!(view.visible().contains(&MAP));
        }
    }

    #[test]
    fn at_home_a_land_covers_three_quarters_of_what_is_free() {
        // The narrowest and the broadest land that a plan makes for the shape it is asked for, as
        // its tests say; a screen of 2560 x 1440 has text half as large again.
        for aspect in [0.84 * 2.2, 2.2, 2.2 / 0.84] {
            let land = Rect { x: 0, y: 0, width: (10_000.0 * aspect) as i64, height: 10_000 };
            for size in [[1280.0, 720.0], [2560.0 / 1.5, 1440.0 / 1.5]] {
                let view = View { size, ..View::default() }.fit(land);
                let covered = (land.width as f64 * view.scale) * (land.height as f64 * view.scale);
                let free = size[0] * (size[1] - ABOVE - BELOW);
                assert!(covered >= 0.75 * free, "{aspect} at {size:?}: {:.3}", covered / free);
            }
        }
    }

    #[test]
    fn a_place_at_an_end_of_the_land_is_shown_beside_land() {
        let layer = Rect { x: 0, y: 0, width: 1000, height: 5000 };
        let fit = View::default().fit(layer);
        let view = fit.over_land(MAP);
        assert_eq!(view.scale, fit.scale);
        let left = view.to_screen([0.0, 0.0])[0];
        assert!((left - 1280.0 * MARGIN).abs() < 1e-6, "nothing but a margin west of it: {left}");
        let middle = View { centre: [15_000.0, 10_000.0], ..fit };
        assert_eq!(middle.over_land(MAP), middle, "inland it stands in the middle");
        let whole = View::default().fit(MAP);
        let [across, _] = whole.over_land(MAP).centre;
        assert_eq!(across, whole.centre[0], "all of it is in the middle of the screen");
    }

    #[test]
    fn a_screen_of_one_point_and_numbers_that_are_none_are_survived() {
        for size in [[1.0, 1.0], [0.0, 0.0], [f64::NAN, 5.0]] {
            for scale in [0.0, f64::NAN, f64::INFINITY, 1e300, -4.0] {
                let lost = View { centre: [f64::NAN, 1e300], scale, size };
                let view = lost.bounded(MAP);
                assert!(view.scale > 0.0 && view.scale.is_finite(), "{view:?}");
                assert!(
                    view.centre.iter().all(|value| (0.0..=30_000.0).contains(value)),
                    "{view:?}"
                );
            }
        }
    }

    #[test]
    fn a_zoom_beyond_both_ends_stops_there() {
        let view = View::default().fit(MAP);
        let scale = |factor: f64| view.zoomed(factor, [600.0, 300.0], MAP).scale;
        assert_eq!([1e9, 1e300, f64::INFINITY].map(scale), [MOST_SCALE; 3]);
        assert_eq!([1e-9, 1e-300, 0.0, -5.0].map(scale), [view.scale * LEAST_PART; 4]);
        assert_eq!(scale(f64::NAN), view.scale);
    }

    proptest! {
        #[test]
        fn a_zoom_holds_what_is_under_the_cursor(
            x in 300.0..900.0f64, y in 200.0..500.0f64, factor in 0.9..3.0f64,
        ) {
            let view = View::default().fit(MAP).zoomed(20.0, [640.0, 360.0], MAP);
            let held = view.to_plane([x, y]);
            let after = view.zoomed(factor, [x, y], MAP).to_plane([x, y]);
            prop_assert!((held[0] - after[0]).abs() < 1e-6 && (held[1] - after[1]).abs() < 1e-6);
        }

        #[test]
        fn screen_and_plane_are_inverse(
            x in 0.0..1280.0f64, y in 0.0..720.0f64, scale in 0.01..100.0f64,
        ) {
            let view = View { centre: [123.5, 77.25], scale, size: [1280.0, 720.0] };
            let [px, py] = view.to_screen(view.to_plane([x, y]));
            prop_assert!((px - x).abs() < 1e-6 && (py - y).abs() < 1e-6);
        }

        #[test]
        fn a_flight_begins_and_ends_where_it_should_without_a_jump(
            x in 0.0..30_000.0f64, y in 0.0..20_000.0f64, scale in 0.02..100.0f64,
        ) {
            let from = View::default().fit(MAP);
            let to = View { centre: [x, y], scale, ..from };
            let mut flight = Flight::usual(from, to);
            let mut before = from;
            let mut arrived = false;
            for _ in 0..1000 {
                let (view, done) = flight.advance(0.001, from.size);
                prop_assert!(view.scale.is_finite() && view.scale > 0.0, "{:?}", view);
                let moved = before.to_screen(view.centre);
                let jump = (moved[0] - 640.0).hypot(moved[1] - 360.0);
                prop_assert!(jump < 200.0, "{} points in a millisecond", jump);
                before = view;
                arrived = done;
                if done { break }
            }
            prop_assert!(arrived);
            prop_assert_eq!(before, to);
        }
    }
}
