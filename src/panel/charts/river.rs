//! The river: the residual stream, from the embedding at its source to the last layer.
//!
//! From afar it is a ribbon of light, as broad and as bright as the logarithm of the stream's norm,
//! with a glint where a dimension is far beyond the others. Nearer it is the stream's own values:
//! a row for each of the last tokens, each value above and below its own column of weights. While a
//! step takes longer than a frame, its front travels along: west of it the river is the new
//! token's, east of it that of the token before, faded.

use bevy::prelude::*;
use bevy_egui::egui;
use egui::{Color32, Rect, pos2};

use super::activity::{Scrubbed, glow};
use crate::model::plan::{LayerPlan, MapPlan, Rect as Cells};
use crate::panel::frame::drawer::place as shown_place;
use crate::panel::labels::map_text::{minimap, on_screen};
use crate::panel::labels::placement::map_of;
use crate::panel::rect_mesh::RectMesh;
use crate::panel::style::{of_palette, strength, veil};
use crate::world::camera::MapCamera;
use crate::world::draw::Lights;
use crate::world::layout::Atlas;
use crate::world::learning::Lesson;
use crate::world::palette::{Palette, Palettes, Theme};
use crate::world::settings::Settings;
use crate::world::think::{GeneratedToken, Generation, TokenTrace};

/// Tokens whose rows are shown: the newest in the middle, those before it outwards on both sides,
/// as what was said drifts to the banks.
const ROWS: usize = 16;
/// Points that a value has to be wide for values to be shown one by one.
pub(super) const NEAR: f32 = 2.0;
/// How many times the root mean square of the stream a dimension glints at.
const GLINT: f32 = 4.0;
/// What the river has left of its light where the step under way has not come yet.
const AHEAD: f32 = 0.35;
/// What the weakest stream has of the light and breadth of the strongest: water that runs is never
/// dark.
const LEAST: f32 = 0.3;

pub(crate) fn draw(
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    palettes: Res<Palettes>,
    mind: Res<Generation>,
    scrubbed: Res<Scrubbed>,
    (settings, lesson): (Res<Settings>, Res<Lesson>),
    mut lights: ResMut<Lights>,
) -> Result {
    // Whoever looks back does not look at what is computed now.
    let front = mind.front().filter(|_| scrubbed.0.is_none());
    let thoughts = match shown_place(&mind, &scrubbed) {
        Some(at) => &mind.thoughts[..=at],
        None if front.is_some() => &[],
        None => return Ok(()),
    };
    let before = thoughts.last().map_or(&[][..], |thought| &thought.residual_norms);
    let screen = map_of(&camera.view);
    // Without its values a token has no row, and no token before it has one either: rows stand in
    // the order in which the tokens came.
    let rows: Vec<&GeneratedToken> =
        thoughts.iter().rev().take_while(|thought| thought.trace.is_some()).take(ROWS).collect();
    let mut river = River {
        ribbons: Ribbons {
            plan: atlas.model().plan(),
            theme: settings.theme,
            glow,
            light: RectMesh::beside(minimap(&camera.view, &atlas)),
        },
        size: atlas.model().config().embedding_size as usize,
        screen,
        palette: palettes.named(&settings.palette),
        strength: strength(&mind),
        front: front.map(|(layers, _)| layers),
    };
    let visible = camera.view.visible();
    let place = |cells: Cells| on_screen(&camera.view, cells);
    let norms = match front {
        Some((_, seen)) => up_to_front(&seen.residual_norms, before),
        None => before.to_vec(),
    };
    // While the gradient flows back, it alone is the ribbon.
    if !is_gradients(&lesson, &mind) {
        let parts = river.parts(&norms);
        river.ribbons.ribbon(&parts, |cells| cells.overlaps(&visible).then(|| place(cells)));
    }
    // West of the front the newest row is that of the token under way.
    let under_way = front.map(|(_, seen)| (&seen.trace, &seen.residual_norms[..]));
    let done =
        rows.iter().filter_map(|token| Some((token.trace.as_deref()?, &token.residual_norms[..])));
    let (east, west): (Vec<StreamRow>, Vec<StreamRow>) =
        (done.clone().collect(), under_way.into_iter().chain(done).take(ROWS).collect());
    for (layer, plan) in river.ribbons.plan.layers.iter().enumerate() {
        let rows = if river.is_ahead(layer) { &east } else { &west };
        for channel in plan.channels.iter().filter(|cells| cells.overlaps(&visible)) {
            river.channel(layer, place(*channel), rows);
        }
    }
    river.ribbons.light.shine(screen, &mut lights);
    Ok(())
}

/// Whether the river carries the gradient: while the model learns and does not answer.
fn is_gradients(lesson: &Lesson, mind: &Generation) -> bool {
    super::gradient::shown(lesson).is_some() && !mind.is_busy()
}

/// How long a new gradient takes from the last layer to the first.
const WAY_BACK: f32 = 0.8;

/// The gradient of the residual stream as the last step left it, in its own colour: a wave of light
/// goes from the last layer to the first, in the order in which it is computed.
pub(crate) fn draw_gradient(
    (atlas, camera, settings): (Res<Atlas>, Res<MapCamera>, Res<Settings>),
    (lesson, mind): (Res<Lesson>, Res<Generation>),
    time: Res<Time<Real>>,
    mut wave: Local<(u64, f32)>,
    mut lights: ResMut<Lights>,
) {
    let shown = super::gradient::shown(&lesson).filter(|_| is_gradients(&lesson, &mind));
    let Some(norms) = shown else { return };
    let now = time.elapsed_secs();
    // Steps may come faster than a wave: it goes to its end before the next one.
    if wave.0 != norms.step && now - wave.1 >= WAY_BACK {
        *wave = (norms.step, now);
    }
    let parts = way_back(&norms.stream, (now - wave.1) / WAY_BACK);
    let mut ribbons = Ribbons {
        plan: atlas.model().plan(),
        theme: settings.theme,
        glow: super::gradient::glow,
        light: RectMesh::beside(minimap(&camera.view, &atlas)),
    };
    let (visible, view) = (camera.view.visible(), &camera.view);
    ribbons.ribbon(&parts, |cells| cells.overlaps(&visible).then(|| on_screen(view, cells)));
    ribbons.light.shine(map_of(view), &mut lights);
}

/// How broad and bright the gradient is behind each layer when it has come a part of its way back:
/// by the logarithm of its norm; faded where it has not come yet, nothing where it never comes.
fn way_back(norms: &[f32], part: f32) -> Vec<Ribbon> {
    let first = norms.iter().position(|norm| *norm > 0.0).unwrap_or(norms.len());
    let left = ((norms.len() - first) as f32 * (1.0 - part).max(0.0)).ceil() as usize;
    let come = breadths(&norms[first..]).into_iter().enumerate().map(|(layer, broad)| {
        let bright = if layer >= left { broad } else { broad * AHEAD };
        Ribbon { broad, bright }
    });
    std::iter::repeat_n(Ribbon { broad: 0.0, bright: 0.0 }, first).chain(come).collect()
}

/// The values of the stream at a token, and their norm after each layer.
type StreamRow<'a> = (&'a TokenTrace, &'a [f32]);

/// The norms of a step as far as it has come, and from there those of the one before.
fn up_to_front(now: &[f32], before: &[f32]) -> Vec<f32> {
    now.iter().chain(before.iter().skip(now.len())).copied().collect()
}

/// The river while it is drawn.
struct River<'a> {
    ribbons: Ribbons<'a>,
    /// Values of the stream.
    size: usize,
    screen: Rect,
    palette: &'a Palette,
    /// What all light is multiplied by: less where it was computed before the model was changed.
    strength: f32,
    /// The first layer that the step under way has not come to.
    front: Option<usize>,
}

/// Ribbons of light in the bed of the river.
struct Ribbons<'a> {
    plan: &'a MapPlan,
    theme: Theme,
    /// The light of a part of the most.
    glow: fn(Theme, f32) -> Color32,
    light: RectMesh,
}

impl Ribbons<'_> {
    /// Lights every piece of the river by what the stream has there: after a layer in its own
    /// stretch and on the way from it, until the next one.
    fn ribbon(&mut self, parts: &[Ribbon], place: impl Fn(Cells) -> Option<Rect>) {
        let Some(mut part) = parts.first().copied() else { return };
        let plan = self.plan;
        for piece in &plan.river {
            let layers = plan.layers.iter().zip(parts);
            let mut within: Vec<(&LayerPlan, Ribbon)> = layers
                .filter(|(layer, _)| layer.river.overlaps(piece))
                .map(|(layer, part)| (layer, *part))
                .collect();
            let Some((last, after)) = within.last().copied() else {
                // A bend, on the way from the last layer of a row to the first of the next.
                if let Some(rect) = place(*piece) {
                    self.fall(rect, part);
                }
                continue;
            };
            part = after;
            // What lies between two layers comes from the one that the stream has left.
            let westward = last.westward;
            within.sort_by_key(|(layer, _)| layer.river.x);
            let mut left = piece.x;
            for at in 0..within.len() {
                let (layer, part) = within[at];
                let right = match within.get(at + 1) {
                    None => piece.x + piece.width,
                    Some(_) if westward => layer.river.x + layer.river.width,
                    Some((next, _)) => next.river.x,
                };
                let stretch = Cells { x: left, width: right - left, ..*piece };
                if let Some(rect) = place(stretch) {
                    self.flow(rect, part);
                }
                left = right;
            }
        }
    }

    /// A stretch of the ribbon: brightest in the middle, nothing at its edges.
    fn flow(&mut self, rect: Rect, part: Ribbon) {
        let middle = rect.center().y;
        let half = rect.height() / 2.0 * part.broad;
        let bright = (self.glow)(self.theme, part.bright);
        let dark = (self.glow)(self.theme, 0.0);
        let up = Rect::from_x_y_ranges(rect.x_range(), middle - half..=middle);
        let down = Rect::from_x_y_ranges(rect.x_range(), middle..=middle + half);
        self.light.fall(up, dark, bright);
        self.light.fall(down, bright, dark);
    }

    /// The same where the river runs south.
    fn fall(&mut self, rect: Rect, part: Ribbon) {
        let (theme, glow, most) = (self.theme, self.glow, part.bright);
        let half = rect.width() / 2.0 * part.broad;
        let middle = rect.center().x;
        let ribbon = Rect::from_x_y_ranges(middle - half..=middle + half, rect.y_range());
        self.light.ramp(ribbon, |at| glow(theme, most * (1.0 - (2.0 * at - 1.0).abs())));
    }
}

impl River<'_> {
    /// Whether the step under way has not come to a layer.
    fn is_ahead(&self, layer: usize) -> bool {
        self.front.is_some_and(|front| layer >= front)
    }

    /// What the stream has after each layer of the most light and breadth.
    fn parts(&self, norms: &[f32]) -> Vec<Ribbon> {
        let fade = |(layer, broad): (usize, f32)| {
            let bright = if self.is_ahead(layer) { AHEAD } else { 1.0 };
            Ribbon { broad, bright: broad * bright * self.strength }
        };
        breadths(norms).into_iter().enumerate().map(fade).collect()
    }

    /// What is seen of the values in one channel of a layer.
    fn channel(&mut self, layer: usize, rect: Rect, rows: &[StreamRow]) {
        let start = (layer + 1) * self.size;
        let root = (self.size as f32).sqrt();
        // The values of a token there, and their root mean square.
        let stream = |row: usize| {
            let (trace, norms) = rows.get(row)?;
            let values = trace.residual.get(start..start + self.size)?;
            Some((values, norms.get(layer)? / root))
        };
        let wide = rect.width() / self.size as f32;
        if wide < NEAR {
            if let Some((values, spread)) = stream(0) {
                self.glints(layer, rect, values, spread);
            }
            return;
        }
        let columns = self.columns(rect, wide);
        for age in 0..rows.len() {
            let Some((values, spread)) = stream(age) else { return };
            let spread = spread.max(f32::MIN_POSITIVE);
            for row in row_of(rect, age, rows.len()) {
                for column in columns.clone() {
                    let left = rect.left() + column as f32 * wide;
                    let cell = Rect::from_x_y_ranges(left..=left + wide, row.y_range());
                    // As the palette has it for weights, whose spread is 1.
                    let colour = self.palette.weight(self.ribbons.theme, values[column] / spread);
                    self.ribbons.light.fill(cell, veil(of_palette(colour), self.strength));
                }
            }
        }
    }

    /// The columns of a channel that are on the screen.
    fn columns(&self, rect: Rect, wide: f32) -> std::ops::Range<usize> {
        let at = |x: f32| ((x - rect.left()) / wide).max(0.0) as usize;
        at(self.screen.left())..(at(self.screen.right()) + 1).min(self.size)
    }

    /// Marks the dimensions that are far beyond the others.
    fn glints(&mut self, layer: usize, rect: Rect, values: &[f32], spread: f32) {
        let most = GLINT * spread;
        let bright = 0.8 * self.strength * if self.is_ahead(layer) { AHEAD } else { 1.0 };
        let wide = rect.width() / values.len() as f32;
        let outliers = values.iter().enumerate().filter(|(_, value)| value.abs() > most);
        for (column, _) in outliers {
            let middle = rect.left() + (column as f32 + 0.5) * wide;
            // Thinner than a pixel it would be seen only now and then.
            let half = (wide / 2.0).max(0.5);
            let glint = Rect::from_min_max(
                pos2(middle - half, rect.top()),
                pos2(middle + half, rect.bottom()),
            );
            self.ribbons.light.fill(glint, glow(self.ribbons.theme, bright));
        }
    }
}

/// A piece of the ribbon: what it has of the most breadth and light.
#[derive(Debug, Clone, Copy)]
struct Ribbon {
    broad: f32,
    bright: f32,
}

/// How broad and bright the stream is after each layer: the logarithm of its norm, from the least
/// to the most of them.
fn breadths(norms: &[f32]) -> Vec<f32> {
    let logs: Vec<f32> = norms.iter().map(|norm| norm.max(f32::MIN_POSITIVE).ln()).collect();
    let least = logs.iter().copied().fold(f32::INFINITY, f32::min);
    let most = logs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let span = (most - least).max(f32::MIN_POSITIVE);
    logs.iter().map(|log| LEAST + (1.0 - LEAST) * (log - least) / span).collect()
}

/// Where the row of a token of some age lies in a channel: the newest in the middle, the others
/// on both sides of it.
fn row_of(rect: Rect, age: usize, rows: usize) -> impl Iterator<Item = Rect> {
    let tall = rect.height() / (2 * rows - 1) as f32;
    let row = move |offset: f32| {
        let top = rect.center().y + (offset - 0.5) * tall;
        Rect::from_x_y_ranges(rect.x_range(), top..=top + tall)
    };
    let both = (age > 0).then(|| row(-(age as f32)));
    std::iter::once(row(age as f32)).chain(both)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_times_the_norm_is_a_step_of_the_same_breadth_everywhere() {
        let parts = breadths(&[1.0, 10.0, 100.0]);
        assert!((parts[0] - LEAST).abs() < 1e-6 && (parts[2] - 1.0).abs() < 1e-6, "{parts:?}");
        assert!((parts[2] - parts[1] - (parts[1] - parts[0])).abs() < 1e-5, "{parts:?}");
        assert!(breadths(&[3.0]).iter().all(|part| part.is_finite()));
    }

    #[test]
    fn the_gradient_comes_back_from_the_last_layer_as_far_as_there_is_any() {
        let norms = [0.0, 1.0, 10.0, 100.0];
        let light = |part: f32| -> Vec<f32> {
            way_back(&norms, part).into_iter().map(|part| part.bright).collect()
        };
        let (none, half, all) = (light(0.0), light(0.5), light(7.0));
        assert!(all[0] == 0.0 && (all[1] - LEAST).abs() < 1e-6 && (all[3] - 1.0).abs() < 1e-6);
        assert!((1..4).all(|layer| (none[layer] - AHEAD * all[layer]).abs() < 1e-6), "{none:?}");
        assert_eq!(half, [0.0, none[1], none[2], all[3]], "half of three layers is one");
        let never = way_back(&[0.0, 0.0], 1.0);
        assert!(never.iter().all(|part| part.broad == 0.0 && part.bright == 0.0));
    }

    #[test]
    fn a_step_under_way_has_its_own_norms_up_to_its_front() {
        assert_eq!(up_to_front(&[5.0, 6.0], &[1.0, 2.0, 3.0]), [5.0, 6.0, 3.0]);
        assert_eq!(up_to_front(&[], &[1.0]), [1.0]);
        assert_eq!(up_to_front(&[5.0], &[]), [5.0], "the first token has none before it");
    }

    #[test]
    fn rows_lie_side_by_side_and_the_newest_in_the_middle() {
        let rect = Rect::from_min_max(pos2(0.0, 0.0), pos2(10.0, 50.0));
        let mut tops: Vec<f32> =
            (0..3).flat_map(|age| row_of(rect, age, 3)).map(|row| row.top()).collect();
        assert_eq!(tops[0], 20.0);
        tops.sort_by(f32::total_cmp);
        assert_eq!(tops, [0.0, 10.0, 20.0, 30.0, 40.0]);
    }
}
