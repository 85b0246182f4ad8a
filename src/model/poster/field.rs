//! The land of a poster: sums of the weights under each pixel, and the relief that they make.

use super::Picture;
use crate::model::colour::{Rgb, bytes_of, light_of};
use crate::model::plan::{Plot, Rect};
use crate::model::relief::{Ramps, octaves, point};
use crate::model::tiling::TileShape;

/// Cells along the side of the least window whose weights make a height.
const LEAST_WINDOW: f64 = 8.0;

/// The weights under one pixel, as parts of their tensor's median.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    count: f32,
    squares: f32,
    /// The largest magnitude; below zero where it is the sea's.
    peak: f32,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.squares += other.squares;
        if other.peak.abs() > self.peak.abs() {
            self.peak = other.peak;
        }
    }
}

/// Sums for each pixel of the land.
pub(super) struct Field {
    pub width: u32,
    pub height: u32,
    /// Pixels for each cell; at most 1.
    scale: f64,
    sums: Vec<Sums>,
}

/// Sums of one tile in one plot.
pub(super) struct Patch {
    x: u32,
    y: u32,
    width: u32,
    sums: Vec<Sums>,
}

impl Field {
    /// An empty field for so many cells, of so many pixels for each of them but one at most.
    pub fn new([across, down]: [i64; 2], scale: f64) -> Self {
        let scale = scale.min(1.0);
        let size = |cells: i64| ((cells as f64 * scale).ceil() as u32).max(1);
        let (width, height) = (size(across), size(down));
        Self { width, height, scale, sums: vec![Sums::default(); (width * height) as usize] }
    }

    /// Sums the weights of one tile in one plot for the pixels that show them, of a field of that
    /// scale.
    pub fn patch(
        scale: f64,
        (plot, part): (&Plot, Rect),
        (shape, weights): (&TileShape, &[f32]),
        (median, is_sea): (f32, bool),
    ) -> Patch {
        let at = |cell: i64| (cell as f64 * scale.min(1.0)) as u32;
        let (x, y) = (at(part.x), at(part.y));
        let width = at(part.x + part.width - 1) - x + 1;
        let height = at(part.y + part.height - 1) - y + 1;
        let mut sums = vec![Sums::default(); (width * height) as usize];
        let pixels: Vec<u32> = (0..part.width).map(|dx| at(part.x + dx) - x).collect();
        let stride = (shape.columns.end - shape.columns.start) as usize;
        let side = if is_sea { -1.0 } else { 1.0 };
        for dy in 0..part.height {
            let line = (at(part.y + dy) - y) * width;
            for (&pixel, dx) in pixels.iter().zip(0..) {
                let Some((row, column)) = plot.weight_at(part.x + dx, part.y + dy) else {
                    continue;
                };
                if !shape.rows.contains(&row) || !shape.columns.contains(&column) {
                    continue;
                }
                let weight = weights[(row - shape.rows.start) as usize * stride
                    + (column - shape.columns.start) as usize];
                let size = weight.abs() / median;
                let one = Sums { count: 1.0, squares: size * size, peak: size * side };
                sums[(line + pixel) as usize].add(one);
            }
        }
        Patch { x, y, width, sums }
    }

    /// Adds the sums of a patch to those that are there.
    pub fn lay(&mut self, patch: &Patch) {
        for (line, sums) in (patch.y..).zip(patch.sums.chunks(patch.width as usize)) {
            let first = (line * self.width + patch.x) as usize;
            for (own, other) in self.sums[first..].iter_mut().zip(sums) {
                own.add(*other);
            }
        }
    }

    /// Takes for the size of a pixel's weights that of all within a window around it, so that a
    /// pixel of few weights is no noise: of 64 weights the root mean square is 9 % off. Returns how
    /// many cells the window has along its side.
    pub fn smooth(&mut self) -> f64 {
        let radius = ((LEAST_WINDOW * self.scale - 1.0) / 2.0).round().max(0.0) as usize;
        let (width, height) = (self.width as usize, self.height as usize);
        for (lines, step, along, next) in [(height, 1, width, width), (width, width, height, 1)] {
            if radius == 0 {
                break;
            }
            for line in 0..lines {
                let at = |place: usize| line * next + place * step;
                let own: Vec<_> = (0..along).map(|place| self.sums[at(place)]).collect();
                for (place, sums) in own.iter().enumerate().filter(|(_, sums)| sums.count > 0.0) {
                    let from = place.saturating_sub(radius);
                    let window = &own[from..(place + radius + 1).min(along)];
                    let count: f32 = window.iter().map(|sums| sums.count).sum();
                    let squares: f32 = window.iter().map(|sums| sums.squares).sum();
                    self.sums[at(place)].squares = squares / count * sums.count;
                }
            }
        }
        (2 * radius + 1) as f64 / self.scale
    }

    /// Cells that lie in a column or row of pixels: of pixels of 1.5 cells, every second has two.
    fn cells_of(&self, pixel: u32) -> f64 {
        let first = |pixel: u32| (f64::from(pixel) / self.scale).ceil();
        (first(pixel + 1) - first(pixel)).max(1.0)
    }

    /// The colour of a pixel on a ground: relief where it has weights, as much of it as they fill.
    fn colour(&self, x: u32, y: u32, ramps: &Ramps, ground: Rgb) -> Rgb {
        let at = |x: u32, y: u32| self.sums[(y * self.width + x) as usize];
        let height = |sums: Sums| octaves((sums.squares / sums.count).sqrt(), 1.0);
        let sums = at(x, y);
        if sums.count == 0.0 {
            return ground;
        }
        let here = height(sums);
        // Where the land begins, its slope is that of the pixel after.
        let neighbour = |before: Option<Sums>, after: Option<Sums>| {
            let there = |sums: Option<Sums>| sums.filter(|sums| sums.count > 0.0).map(height);
            there(before).or(there(after).map(|after| 2.0 * here - after)).unwrap_or(here)
        };
        let west = neighbour(
            x.checked_sub(1).map(|x| at(x, y)),
            (x + 1 < self.width).then(|| at(x + 1, y)),
        );
        let north = neighbour(
            y.checked_sub(1).map(|y| at(x, y)),
            (y + 1 < self.height).then(|| at(x, y + 1)),
        );
        let peak = sums.peak.abs();
        let rms = (sums.squares / sums.count).sqrt().max(f32::MIN_POSITIVE);
        let point = point(here, [west, north], [peak / rms, peak], sums.peak < 0.0);
        let light = ramps.colour(point);
        let full = f64::from(sums.count) / (self.cells_of(x) * self.cells_of(y));
        let full = full.min(1.0) as f32;
        let below = light_of(ground);
        bytes_of(std::array::from_fn(|i| below[i] + (light[i] - below[i]) * full))
    }

    /// Draws the relief into a rectangle of a picture, over what is there.
    pub fn draw(&self, picture: &mut Picture, [left, top, width, height]: [u32; 4], ramps: &Ramps) {
        // A pixel of a large picture of a small model shows a part of a cell.
        let from = |pixel: u32, pixels: u32, all: u32| {
            (u64::from(pixel) * u64::from(all) / u64::from(pixels.max(1))).min(u64::from(all) - 1)
        };
        for y in 0..height {
            for x in 0..width {
                let field = [from(x, width, self.width), from(y, height, self.height)];
                let ground = picture.at(left + x, top + y);
                let colour = self.colour(field[0] as u32, field[1] as u32, ramps, ground);
                picture.set(left + x, top + y, colour);
            }
        }
    }
}
