//! Water, coasts, canals, hatching and posters, drawn pixel by pixel with soft edges.

use super::layout::IslandSpot;
use crate::model::colour::Rgb;
use crate::model::poster::Picture;

/// The sea: slow waves.
pub(super) fn sea(picture: &mut Picture, colour: Rgb) {
    for y in 0..picture.height {
        for x in 0..picture.width {
            let [across, down] = [x, y].map(|at| at as f32);
            let wave = (across * 0.021 + (down * 0.013).sin() * 2.4).sin()
                + (down * 0.043 + (across * 0.009).cos() * 3.1).sin();
            picture.mix(x, y, colour, 0.42 + 0.14 * wave);
        }
    }
}

/// An island's outline: a rounded shape whose bays follow from the child's digest.
pub(super) struct Coast {
    pub spot: IslandSpot,
    waves: [f32; 6],
}

impl Coast {
    pub fn new(spot: IslandSpot, name: &str) -> Self {
        let number = crate::names::number_of(name);
        let waves = std::array::from_fn(|at| ((number >> (at * 8)) & 0xff) as f32 / 255.0);
        Self { spot, waves }
    }

    /// How far a pixel is from the coast, in pixels: less than nothing on land.
    fn distance(&self, x: f32, y: f32) -> f32 {
        let IslandSpot { x: left, y: top, width, height } = self.spot;
        let [dx, dy] = [(x - left) / (width / 2.0), (y - top) / (height / 2.0)];
        // Between an ellipse and a rectangle, so that a poster has room.
        let radius = (dx.abs().powf(3.2) + dy.abs().powf(3.2)).powf(1.0 / 3.2);
        let angle = dy.atan2(dx);
        let bay =
            |at: usize, count: f32| (angle * count + self.waves[at] * std::f32::consts::TAU).sin();
        let bays =
            0.020 * bay(0, 3.0) + 0.016 * bay(1, 5.0) + 0.012 * bay(2, 9.0) + 0.008 * bay(3, 17.0);
        (radius - 1.0 - bays) * height / 2.0
    }

    /// The pixels on and near it.
    fn near(&self, picture: &Picture, margin: f32) -> impl Iterator<Item = (u32, u32)> + use<> {
        let IslandSpot { x, y, width, height } = self.spot;
        let range = |middle: f32, size: f32, most: u32| {
            let half = size * 0.56 + margin;
            (middle - half).max(0.0) as u32..((middle + half) as u32 + 1).min(most)
        };
        let (xs, ys) = (range(x, width, picture.width), range(y, height, picture.height));
        ys.flat_map(move |y| xs.clone().map(move |x| (x, y)))
    }
}

/// The land, its beach in a colour, and the light of it on the water.
pub(super) fn ground(
    picture: &mut Picture,
    coast: &Coast,
    (beach, land, strength): (Rgb, Rgb, f32),
) {
    let size = coast.spot.width / 280.0;
    let wide = (3.2 * size).max(1.4) * strength.sqrt();
    let glow = 22.0 * size * strength;
    for (x, y) in coast.near(picture, glow) {
        let far = coast.distance(x as f32 + 0.5, y as f32 + 0.5);
        if far > 0.0 {
            let light = (1.0 - far / glow.max(1.0)).max(0.0);
            picture.mix(x, y, beach, 0.26 * strength.min(1.6) * light * light);
        }
        picture.mix(x, y, land, 0.5 - far);
        let of_beach = 1.0 - ((far + wide / 2.0).abs() - wide / 2.0).max(0.0);
        picture.mix(x, y, beach, of_beach);
    }
}

/// A poster on the land, clipped by the coast.
pub(super) fn poster(picture: &mut Picture, coast: &Coast, poster: &Picture) {
    let IslandSpot { x, y, width, height } = coast.spot;
    // The whole poster within the coast; its own night is the land's.
    let scale = (width * 0.86 / poster.width as f32).min(height * 0.80 / poster.height as f32);
    let [left, top] =
        [x - poster.width as f32 * scale / 2.0, y - poster.height as f32 * scale / 2.0];
    for (px, py) in coast.near(picture, 0.0) {
        let [of_x, of_y] = [(px as f32 - left) / scale, (py as f32 - top) / scale];
        let is_on = of_x >= 0.0 && of_y >= 0.0;
        if !is_on || of_x >= poster.width as f32 || of_y >= poster.height as f32 {
            continue;
        }
        let far = coast.distance(px as f32 + 0.5, py as f32 + 0.5);
        let cover = (-far / 4.0 - 1.0).clamp(0.0, 1.0);
        picture.mix(px, py, poster.at(of_x as u32, of_y as u32), cover);
    }
}

/// Slanted lines over the land, which is darker for it.
pub(super) fn hatch(picture: &mut Picture, coast: &Coast, colour: Rgb) {
    let step = (coast.spot.width / 26.0).max(4.0);
    for (x, y) in coast.near(picture, 0.0) {
        let far = coast.distance(x as f32 + 0.5, y as f32 + 0.5);
        if far > -2.0 {
            continue;
        }
        picture.mix(x, y, [8, 10, 15], 0.35);
        let along = (x as f32 + y as f32).rem_euclid(step);
        let line = 1.0 - ((along - step / 2.0).abs() - 0.7).max(0.0);
        picture.mix(x, y, colour, 0.75 * line);
    }
}

/// Night over a place for words, fading out around it.
pub(super) fn shade(picture: &mut Picture, [x, y, width, height]: [f32; 4], colour: Rgb) {
    const SOFT: f32 = 12.0;
    let range = |from: f32, size: f32, most: u32| {
        (from - SOFT).max(0.0) as u32..((from + size + SOFT) as u32).min(most)
    };
    for py in range(y, height, picture.height) {
        for px in range(x, width, picture.width) {
            let beyond = |at: f32, from: f32, size: f32| (from - at).max(at - from - size).max(0.0);
            let far = beyond(px as f32, x, width).hypot(beyond(py as f32, y, height));
            picture.mix(px, py, colour, 0.88 * (1.0 - far / SOFT).max(0.0));
        }
    }
}

/// A canal along a curve of four points.
pub(super) fn canal(picture: &mut Picture, way: [[f32; 2]; 4], (colour, width): (Rgb, f32)) {
    let length: f32 =
        way.windows(2).map(|pair| (pair[1][0] - pair[0][0]).hypot(pair[1][1] - pair[0][1])).sum();
    // The cover is kept, so that a pixel near two steps is not coloured twice.
    let mut covers: std::collections::HashMap<(u32, u32), f32> = std::collections::HashMap::new();
    let steps = (length * 1.5) as u32 + 1;
    for step in 0..=steps {
        let [x, y] = on_curve(way, step as f32 / steps as f32);
        let reach = width / 2.0 + 1.5;
        let range = |at: f32| (at - reach).max(0.0) as u32..(at + reach) as u32 + 1;
        for py in range(y) {
            for px in range(x) {
                let far = (px as f32 + 0.5 - x).hypot(py as f32 + 0.5 - y);
                let cover = (width / 2.0 + 0.5 - far).clamp(0.0, 1.0);
                let known = covers.entry((px, py)).or_default();
                *known = known.max(cover);
            }
        }
    }
    for ((x, y), cover) in covers {
        if x < picture.width && y < picture.height {
            picture.mix(x, y, colour, 0.8 * cover);
        }
    }
}

fn on_curve([a, b, c, d]: [[f32; 2]; 4], part: f32) -> [f32; 2] {
    let rest = 1.0 - part;
    std::array::from_fn(|axis| {
        rest.powi(3) * a[axis]
            + 3.0 * rest * rest * part * b[axis]
            + 3.0 * rest * part * part * c[axis]
            + part.powi(3) * d[axis]
    })
}
