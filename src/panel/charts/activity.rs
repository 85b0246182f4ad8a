//! Light where the model thinks: each head by the norm of what it gave, the fields by that of what
//! they held, the river by the norm of the residual stream. Gold, to white where it is strongest,
//! and never mixed up with weights; the scale stands beside the legend.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::ecolor::gamma_u8_from_linear_f32;
use egui::{Color32, LayerId, Painter, Rect, Rgba, Stroke, pos2, vec2};

use crate::model::plan::{LayerPlan, Rect as Cells};
use crate::panel::labels::map_text::{minimap, on_screen};
use crate::panel::labels::placement::{MapWords, Word, WordRank};
use crate::panel::rect_mesh::RectMesh;
use crate::panel::style::{ink, veil, within_one};
use crate::world::camera::MapCamera;
use crate::world::draw::Lights;
use crate::world::layout::Atlas;
use crate::world::palette::Theme;
use crate::world::settings::Settings;
use crate::world::think::{GeneratedToken, Generation};
use crate::world::view::View;

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
    scrubbed: Res<Scrubbed>,
    settings: Res<Settings>,
    mut words: ResMut<MapWords>,
    mut lights: ResMut<Lights>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let Some(thought) = shown(&mind, &scrubbed) else { return Ok(()) };
    let painter = context.layer_painter(LayerId::background());
    let plan = atlas.model().plan();
    let mut activity = ActivityPainter {
        painter: &painter,
        theme: settings.theme,
        view: &camera.view,
        light: RectMesh::beside(minimap(&camera.view, &atlas)),
        words: &mut words,
    };
    let heads = plan.heads.iter().map(|head| head.rect);
    activity.places(heads, &thought.head_norms, "gives", vec2(76.0, 0.0));
    let fields = plan.layers.iter().map(|layer| layer.feed_forward);
    activity.places(fields, &thought.hidden_norms, "fields", vec2(120.0, 60.0));
    activity.stream(&plan.layers, &thought.residual_norms);
    activity.light.shine(painter.clip_rect(), &mut lights);
    Ok(())
}

/// What is lit so far.
struct ActivityPainter<'a> {
    painter: &'a Painter,
    theme: Theme,
    view: &'a View,
    light: RectMesh,
    words: &'a mut MapWords,
}

impl ActivityPainter<'_> {
    /// Lights places by their norms, and writes the norm where a place is larger than `least`.
    fn places(
        &mut self,
        places: impl Iterator<Item = Cells>,
        norms: &[f32],
        what: &str,
        least: egui::Vec2,
    ) {
        let (visible, most) = (self.view.visible(), greatest(norms));
        for (cells, norm) in places.zip(norms).filter(|(cells, _)| cells.overlaps(&visible)) {
            let rect = on_screen(self.view, cells);
            lit(&mut self.light, self.theme, rect, norm / most);
            if rect.width() > least.x && rect.height() > least.y {
                self.say(cells, format!("{what} {norm:.2}"), low_in(self.painter, rect));
            }
        }
    }

    /// Writes the norm of the residual stream at each layer's stretch of the river.
    fn stream(&mut self, layers: &[LayerPlan], norms: &[f32]) {
        let visible = self.view.visible();
        for (layer, &norm) in layers.iter().zip(norms) {
            let rect = on_screen(self.view, layer.river).intersect(self.painter.clip_rect());
            if !layer.river.overlaps(&visible) || rect.width() < 110.0 || rect.height() < 18.0 {
                continue;
            }
            // At its western end: what comes from there is what the layer before has made of it.
            let spot = pos2(rect.left() + 52.0, rect.center().y);
            self.say(layer.river, format!("stream {norm:.1}"), vec![spot]);
        }
    }

    /// Writes a number at the first of some middles that is free.
    fn say(&mut self, cells: Cells, text: String, middles: Vec<egui::Pos2>) {
        let key = (WordRank::Number, [cells.x, cells.y]);
        let text = (text, 11.0);
        self.words.say(Word::new(self.painter, key, text, ink(self.theme), |size| {
            middles.into_iter().map(|middle| middle - size / 2.0).collect()
        }));
    }
}

/// A place that is lit: its edge by all of the light, what is within by a part, which is less the
/// nearer one is: there, weights are looked at.
fn lit(light: &mut RectMesh, theme: Theme, rect: Rect, part: f32) {
    let within = 0.2 - 0.14 * ((rect.width() - 20.0) / 140.0).clamp(0.0, 1.0);
    light.fill(rect, veil(glow(theme, part), within));
    light.frame(rect, Stroke::new((1.0 + part).min(2.0), glow(theme, part)));
}

/// Middles of places for a number, low in what is seen of a rectangle.
fn low_in(painter: &Painter, rect: Rect) -> Vec<egui::Pos2> {
    let seen = rect.intersect(painter.clip_rect());
    let spots = [34.0, 60.0, 110.0, 160.0].map(|up| pos2(seen.center().x, seen.bottom() - up));
    spots.into_iter().filter(|spot| seen.shrink2(vec2(20.0, 12.0)).contains(*spot)).collect()
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
    fn more_is_brighter_by_as_much() {
        let light = |part: f32| Rgba::from(glow(Theme::Dark, part)).r();
        assert_eq!(glow(Theme::Dark, 0.0), Color32::from_rgb_additive(0, 0, 0));
        assert!((light(0.5) / light(0.25) - 2.0).abs() < 0.05, "{} {}", light(0.5), light(0.25));
        assert!(light(f32::NAN).is_finite() && light(7.0) == light(1.0));
    }
}
