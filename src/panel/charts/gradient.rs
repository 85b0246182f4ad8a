//! The gradient as light: while the model learns, heads, fields and layers are framed by the root
//! mean square of their gradient of the last step, blue, apart from the gold of what is thought;
//! the river carries that of the residual stream (`river.rs`).
//! The frames stand outside of what they are about, and no weight's colour is changed.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Color32, Stroke, pos2, vec2};

use super::activity::greatest;
use super::light::LegendCard;
use crate::model::plan::Rect as Cells;
use crate::panel::labels::map_text::{minimap, on_screen};
use crate::panel::labels::placement::{MapWords, Taken, Word, WordRank, map_of, map_painter};
use crate::panel::rect_mesh::RectMesh;
use crate::panel::style::{ink, veil, within_one};
use crate::world::camera::MapCamera;
use crate::world::draw::Lights;
use crate::world::layout::Atlas;
use crate::world::learning::{GradientNorms, Lesson};
use crate::world::palette::Theme;
use crate::world::settings::Settings;

/// Points between a place and its frame: the gold of activity has those next to it.
const APART: f32 = 4.0;
/// Points across and down from which on a place has its number.
const LEAST: egui::Vec2 = vec2(96.0, 34.0);
/// The legend.
const SIZE: egui::Vec2 = vec2(104.0, 84.0);
/// Points across a map that has room for it beside the other legends and a prompt.
const LEAST_MAP: f32 = 880.0;

/// The gradient that is shown: that of a lesson under way.
pub(super) fn shown(lesson: &Lesson) -> Option<&GradientNorms> {
    lesson.gradient.as_ref().filter(|_| lesson.is_under_way())
}

/// The light of a part of the most.
pub(super) fn glow(theme: Theme, part: f32) -> Color32 {
    let part = within_one(part);
    match theme {
        Theme::Dark => veil(Color32::from_rgb(0x3D, 0xCB, 0xFF), part),
        Theme::Light => veil(Color32::from_rgb(0x00, 0x6C, 0xB0), part),
    }
}

pub(crate) fn draw(
    mut contexts: EguiContexts,
    (atlas, camera, settings): (Res<Atlas>, Res<MapCamera>, Res<Settings>),
    lesson: Res<Lesson>,
    mut words: ResMut<MapWords>,
    mut lights: ResMut<Lights>,
) -> Result {
    let Some(norms) = shown(&lesson) else { return Ok(()) };
    let context = contexts.ctx_mut()?;
    let painter = map_painter(context, &camera.view);
    let (plan, visible) = (atlas.model().plan(), camera.view.visible());
    let mut light = RectMesh::beside(minimap(&camera.view, &atlas));
    let heads: Vec<Cells> = plan.heads.iter().map(|head| head.rect).collect();
    let fields: Vec<Cells> = plan.layers.iter().map(|layer| layer.feed_forward).collect();
    for (places, norms) in [(heads, &norms.heads), (fields, &norms.fields)] {
        let most = greatest(norms);
        for (cells, norm) in places.iter().zip(norms).filter(|(it, _)| it.overlaps(&visible)) {
            let rect = on_screen(&camera.view, *cells);
            let part = norm / most;
            let line = Stroke::new(1.0 + 2.0 * within_one(part), glow(settings.theme, part));
            light.frame(rect.expand(APART), line);
            if rect.width() > LEAST.x && rect.height() > LEAST.y {
                let seen = rect.intersect(painter.clip_rect());
                let key = (WordRank::Number, [cells.x + 1, cells.y]);
                let text = (format!("gradient {norm:.1e}"), 11.0);
                let spots = |size: egui::Vec2| {
                    let spot = pos2(seen.right() - size.x - 5.0, seen.top() + 5.0);
                    vec![spot, spot + vec2(0.0, 26.0)]
                };
                words.say(Word::new(&painter, key, text, ink(settings.theme), spots));
            }
        }
    }
    light.shine(map_of(&camera.view), &mut lights);
    Ok(())
}

/// The scale of the light in numbers, beside the other legends.
pub(crate) fn legend(
    mut contexts: EguiContexts,
    (camera, settings): (Res<MapCamera>, Res<Settings>),
    lesson: Res<Lesson>,
    mut taken: ResMut<Taken>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let (Some(norms), map) = (shown(&lesson), map_of(&camera.view)) else { return Ok(()) };
    if map.width() < LEAST_MAP || map.height() < 300.0 {
        return Ok(());
    }
    let theme = settings.theme;
    let legend = LegendCard::beside(context, map, theme, SIZE, &mut taken);
    let mut plain = RectMesh::default();
    plain.fall(legend.bar, glow(theme, 1.0), glow(theme, 0.0));
    plain.paint(&legend.painter);
    legend.title(format!("gradient, step {}", norms.step));
    let rows = [
        ("head", &norms.heads),
        ("fields", &norms.fields),
        ("layer", &norms.layers),
        ("river", &norms.stream),
    ];
    for (row, (name, norms)) in rows.into_iter().enumerate() {
        legend.row(row, format!("{name} {:.1e}", greatest(norms)));
    }
    Ok(())
}
