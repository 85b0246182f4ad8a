//! Light where the model thinks: a line around each head by the norm of what it gave, around the
//! fields by that of what they held, and the river by the norm of the residual stream. Gold, to
//! white where it is strongest; never over weights, whose colours it would change. The scale stands
//! beside the legend. What was computed before the model was changed is faded, and says so. While
//! the land shows what a change came to, heads and fields have that light instead.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::ecolor::gamma_u8_from_linear_f32;
use egui::{Color32, Painter, Pos2, Rect, Rgba, Stroke, Vec2, pos2, vec2};

use super::changed::WhatChanged;
use super::river::NEAR;
use crate::model::plan::{LayerPlan, Rect as Cells};
use crate::panel::frame::drawer::BEFORE_CHANGE;
use crate::panel::labels::map_text::{minimap, on_screen};
use crate::panel::labels::placement::{MapWords, Word, WordRank, map_of, map_painter};
use crate::panel::rect_mesh::RectMesh;
use crate::panel::style::{faint, ink, strength, veil, within_one};
use crate::world::camera::MapCamera;
use crate::world::draw::Lights;
use crate::world::layout::Atlas;
use crate::world::palette::Theme;
use crate::world::settings::Settings;
use crate::world::think::{GeneratedToken, Generation};
use crate::world::view::View;

/// Points of a cell from which on cells are looked at one by one.
const CELLS_SEEN: f64 = 12.0;

/// What is looked at of a sequence: a token of it, or the latest.
#[derive(Resource, Debug, Clone, Default)]
pub struct Scrubbed(pub Option<usize>);

/// The thought that is shown.
pub(crate) fn shown<'a>(mind: &'a Generation, scrubbed: &Scrubbed) -> Option<&'a GeneratedToken> {
    let chosen = scrubbed
        .0
        .and_then(|at| mind.thoughts.get(at))
        .filter(|thought| !thought.head_norms.is_empty());
    chosen.or_else(|| mind.latest())
}

/// The greatest of some norms, by which the others are divided: never zero.
pub(crate) fn greatest(norms: &[f32]) -> f32 {
    norms.iter().copied().fold(f32::MIN_POSITIVE, f32::max)
}

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    mind: Res<Generation>,
    (scrubbed, changed): (Res<Scrubbed>, Res<WhatChanged>),
    settings: Res<Settings>,
    mut words: ResMut<MapWords>,
    mut lights: ResMut<Lights>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let Some(thought) = shown(&mind, &scrubbed) else { return Ok(()) };
    let painter = map_painter(context, &camera.view);
    let plan = atlas.model().plan();
    let mut activity = ActivityPainter {
        painter: &painter,
        theme: settings.theme,
        view: &camera.view,
        is_before: mind.is_before_change(),
        strength: strength(&mind),
        light: RectMesh::beside(minimap(&camera.view, &atlas)),
        words: &mut words,
    };
    if !changed.is_shown() {
        let heads = plan.heads.iter().map(|head| head.rect);
        activity.places(heads, &thought.head_norms, ["gives", "gave"], vec2(76.0, 0.0));
        let fields = plan.layers.iter().map(|layer| layer.feed_forward);
        activity.places(
            fields,
            &thought.hidden_norms,
            ["fields hold", "fields held"],
            vec2(120.0, 60.0),
        );
    }
    activity.stream(&plan.layers, &thought.residual_norms);
    activity.light.shine(map_of(&camera.view), &mut lights);
    Ok(())
}

/// What is lit so far.
struct ActivityPainter<'a> {
    painter: &'a Painter,
    theme: Theme,
    view: &'a View,
    /// Whether all of it was computed before the model was changed.
    is_before: bool,
    /// What all light is multiplied by.
    strength: f32,
    light: RectMesh,
    words: &'a mut MapWords,
}

impl ActivityPainter<'_> {
    /// Lights places by their norms, and writes the norm where a place is larger than `least`.
    fn places(
        &mut self,
        places: impl Iterator<Item = Cells>,
        norms: &[f32],
        [now, before]: [&str; 2],
        least: Vec2,
    ) {
        let (visible, most) = (self.view.visible(), greatest(norms));
        for (cells, norm) in places.zip(norms).filter(|(cells, _)| cells.overlaps(&visible)) {
            let rect = on_screen(self.view, cells);
            let colour = self.glow(norm / most);
            lit(&mut self.light, rect, norm / most, colour);
            // The words of before take 96 points.
            let across = if self.is_before { least.x.max(100.0) } else { least.x };
            // Nothing is written over cells that are looked at one by one.
            let are_cells_seen = self.view.scale >= CELLS_SEEN;
            if rect.width() > across && rect.height() > least.y && !are_cells_seen {
                let verb = if self.is_before { before } else { now };
                let seen = rect.intersect(self.painter.clip_rect());
                self.say(cells, format!("{verb} {}", short(*norm)), |size| corners(seen, size));
            }
        }
    }

    /// Writes the norm of the residual stream at each layer's stretch of the river.
    fn stream(&mut self, layers: &[LayerPlan], norms: &[f32]) {
        let visible = self.view.visible();
        for (layer, &norm) in layers.iter().zip(norms) {
            let rect = on_screen(self.view, layer.river).intersect(self.painter.clip_rect());
            // Nearer, the values themselves are seen, and nothing is written on them.
            let values_are_seen = self.view.scale as f32 >= NEAR;
            if !layer.river.overlaps(&visible)
                || values_are_seen
                || rect.width() < 110.0
                || rect.height() < 18.0
            {
                continue;
            }
            // At its western end: what comes from there is what the layer before has made of it.
            let spot = pos2(rect.left() + 52.0, rect.center().y);
            let text = format!("stream {}", short(norm));
            self.say(layer.river, text, |size| vec![spot - size / 2.0]);
        }
    }

    /// The light of a part of the most, as strong as it counts now.
    fn glow(&self, part: f32) -> Color32 {
        glow(self.theme, part * self.strength)
    }

    /// Writes a number at the first of some spots, left upper corners, that is free.
    fn say(&mut self, cells: Cells, text: String, spots: impl FnOnce(Vec2) -> Vec<Pos2>) {
        let key = (WordRank::Number, [cells.x, cells.y]);
        let (text, colour) = if self.is_before {
            (format!("{text}\n{BEFORE_CHANGE}"), faint(self.theme))
        } else {
            (text, ink(self.theme))
        };
        self.words.say(Word::new(self.painter, key, (text, 11.0), colour, spots));
    }
}

/// A place that is lit: a line around it, wider the more light there is.
fn lit(light: &mut RectMesh, rect: Rect, part: f32, colour: Color32) {
    light.frame(rect, Stroke::new(1.0 + 2.0 * within_one(part), colour));
}

/// Spots for a number of a size: along the right edge of what is seen of a place, the lowest first.
/// The names of plots stand at the left one.
fn corners(seen: Rect, size: Vec2) -> Vec<Pos2> {
    let spots = [5.0, 34.0, 60.0, 110.0, 160.0]
        .map(|up| pos2(seen.right() - size.x - 5.0, seen.bottom() - size.y - up));
    let inner = seen.shrink(2.0);
    spots.into_iter().filter(|spot| inner.contains_rect(Rect::from_min_size(*spot, size))).collect()
}

/// A norm in three digits.
fn short(norm: f32) -> String {
    let decimals = match norm {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{norm:.decimals$}")
}

/// The light of a part of the most: as much light as the part says, gold, and white towards the
/// most. It is added to what is below; on paper it is laid over it.
pub(crate) fn glow(theme: Theme, part: f32) -> Color32 {
    // Of what is no number there is no light.
    let part = within_one(part);
    match theme {
        Theme::Dark => {
            let gold = Rgba::from(Color32::from_rgb(255, 190, 70));
            let white = ((part - 0.6) / 0.4).max(0.0) * 0.55;
            // In linear light: twice the norm is twice the light.
            let mix =
                |channel: f32| gamma_u8_from_linear_f32((channel + (1.0 - channel) * white) * part);
            Color32::from_rgb_additive(mix(gold.r()), mix(gold.g()), mix(gold.b()))
        }
        Theme::Light => veil(Color32::from_rgb(0xE0, 0x92, 0x00), part * 0.9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn light_is_around_a_place_and_never_within() {
        let place = Rect::from_min_max(pos2(10.0, 10.0), pos2(50.0, 90.0));
        let screen = Rect::from_min_max(pos2(0.0, 0.0), pos2(100.0, 100.0));
        let (mut light, mut lights) = (RectMesh::beside(None), Lights::default());
        lit(&mut light, place, 1.0, glow(Theme::Dark, 1.0));
        light.shine(screen, &mut lights);
        assert!(!lights.triangles.is_empty());
        for corners in lights.triangles.chunks(3) {
            let middle = corners.iter().fold(vec2(0.0, 0.0), |sum, &corner| {
                let [x, y] = lights.corners[corner as usize].place;
                sum + vec2(x, y) * 100.0 / 3.0
            });
            assert!(!place.shrink(0.01).contains(middle.to_pos2()), "{middle:?}");
        }
    }

    #[test]
    fn a_number_stands_low_and_right_on_its_own_place_or_nowhere() {
        let size = vec2(60.0, 14.0);
        let seen = Rect::from_min_size(pos2(100.0, 50.0), vec2(200.0, 80.0));
        let spots = corners(seen, size);
        assert_eq!(spots.first(), Some(&pos2(235.0, 111.0)));
        assert!(spots.iter().all(|spot| seen.contains_rect(Rect::from_min_size(*spot, size))));
        assert_eq!(corners(Rect::from_min_size(pos2(0.0, 0.0), vec2(61.0, 14.0)), size), []);
        assert_eq!([0.0777, 28.85, 144.7, 737.2].map(short), ["0.08", "28.9", "145", "737"]);
    }

    #[test]
    fn more_is_brighter_by_as_much() {
        let light = |part: f32| Rgba::from(glow(Theme::Dark, part)).r();
        assert_eq!(glow(Theme::Dark, 0.0), Color32::from_rgb_additive(0, 0, 0));
        assert!((light(0.5) / light(0.25) - 2.0).abs() < 0.05, "{} {}", light(0.5), light(0.25));
        assert!(light(f32::NAN).is_finite() && light(7.0) == light(1.0));
    }
}
