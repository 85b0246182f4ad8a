//! Light where the model thinks: each head by the norm of what it gave, the river by the norm of the residual stream. Gold, and never mixed up
//! with weights; the scale stands beside it.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Align2, Color32, FontId, LayerId, Stroke, StrokeKind};

use super::map_text::on_screen;
use super::style::{backing, ink};
use crate::world::Map;
use crate::world::palette::Theme;
use crate::world::settings::Settings;
use crate::world::think::{Mind, Thought};

/// What is looked at of a sequence: a token of it, or the latest.
#[derive(Resource, Debug, Clone, Default)]
pub struct Scrubbed(pub Option<usize>);

/// The thought that is shown.
pub(super) fn shown<'a>(mind: &'a Mind, scrubbed: &Scrubbed) -> Option<&'a Thought> {
    let chosen =
        scrubbed.0.and_then(|at| mind.thoughts.get(at)).filter(|thought| !thought.head_norms.is_empty());
    chosen.or_else(|| mind.latest())
}

/// The greatest of some norms, by which the others are divided: never zero.
pub(super) fn greatest(norms: &[f32]) -> f32 {
    norms.iter().copied().fold(f32::MIN_POSITIVE, f32::max)
}

pub(super) fn draw(
    mut contexts: EguiContexts,
    map: Res<Map>,
    mind: Res<Mind>,
    scrubbed: Res<Scrubbed>,
    settings: Res<Settings>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let Some(thought) = shown(&mind, &scrubbed) else { return Ok(()) };
    let painter = context.layer_painter(LayerId::background());
    let plan = map.atlas.model().plan();
    let visible = map.view.visible();
    let most = greatest(&thought.head_norms);
    for (head, &norm) in plan.heads.iter().zip(&thought.head_norms) {
        if !head.rect.overlaps(&visible) {
            continue;
        }
        let part = norm / most;
        let rect = on_screen(&map, head.rect);
        painter.rect_filled(rect, 2.0, glow(settings.theme, part * 0.5));
        painter.rect_stroke(
            rect,
            2.0,
            Stroke::new(1.0 + part, glow(settings.theme, part)),
            StrokeKind::Outside,
        );
        if rect.width() > 76.0 {
            say(
                &painter,
                &settings,
                rect.center_bottom() - egui::vec2(0.0, 34.0),
                &format!("gives {norm:.2}"),
            );
        }
    }
    let most = greatest(&thought.residual_norms);
    for (layer, &norm) in plan.layers.iter().zip(&thought.residual_norms) {
        if !layer.river.overlaps(&visible) {
            continue;
        }
        let rect = on_screen(&map, layer.river);
        painter.rect_filled(rect, 2.0, glow(settings.theme, (norm / most) * 0.9));
        if rect.height() > 90.0 {
            say(&painter, &settings, rect.center_top() + egui::vec2(0.0, 16.0), &format!("{norm:.1}"));
        }
    }
    Ok(())
}

/// Gold, added to what is below; on paper, laid over it.
pub(super) fn glow(theme: Theme, part: f32) -> Color32 {
    let part = part.clamp(0.0, 1.0);
    match theme {
        Theme::Dark => {
            let channel = |full: f32| (full * part) as u8;
            Color32::from_rgb_additive(channel(255.0), channel(196.0), channel(84.0))
        }
        Theme::Light => Color32::from_rgba_unmultiplied(196, 130, 0, (part * 190.0) as u8),
    }
}

pub(super) fn say(painter: &egui::Painter, settings: &Settings, middle: egui::Pos2, text: &str) {
    let galley = painter.layout_no_wrap(text.to_owned(), FontId::proportional(11.0), ink(settings.theme));
    let place = Align2::CENTER_CENTER.anchor_size(middle, galley.size());
    painter.rect_filled(place.expand(3.0), 3.0, backing(settings.theme));
    painter.galley(place.min, galley, ink(settings.theme));
}
