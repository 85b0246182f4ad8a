//! What a person is told: a tour's caption, a notice, and what is going on with the model.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{FontId, Id, LayerId, Order, Painter, Rect, Stroke, StrokeKind, vec2};

use crate::forward::gpu::ForwardStatus;
use crate::panel::labels::placement::{Taken, map_of};
use crate::panel::style::{accent, hairline, ink, solid, veil};
use crate::world::camera::MapCamera;
use crate::world::lab::{Comparison, ComparisonStage, Edits};
use crate::world::layout::Atlas;
use crate::world::notices::Notices;
use crate::world::opening::Opening;
use crate::world::palette::Theme;
use crate::world::settings::Settings;
use crate::world::think::Generation;
use crate::world::tour::TourRun;

/// The most points across a caption: a longer line is hard to read.
const CAPTION: f32 = 600.0;

/// What a tour says, below: it comes before the prompt, whose tokens stand above it.
pub(crate) fn caption(
    mut contexts: EguiContexts,
    camera: Res<MapCamera>,
    settings: Res<Settings>,
    tour: Option<Res<TourRun>>,
    mut taken: ResMut<Taken>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let Some(tour) = tour.filter(|tour| !tour.caption.is_empty()) else { return Ok(()) };
    let painter = context.layer_painter(LayerId::new(Order::Middle, Id::new("told")));
    let (theme, map) = (settings.theme, map_of(&camera.view));
    let region = taken.bottom(map);
    let wide = CAPTION.min(region.width() - 32.0).max(60.0);
    let text = painter.layout(tour.caption.clone(), FontId::proportional(16.0), ink(theme), wide);
    let around = vec2(16.0, 11.0);
    let place = Taken::lowest(region, map, text.size() + 2.0 * around);
    let line = Stroke::new(1.0, veil(accent(theme), 0.3));
    panel(&painter, theme, place, (text, around, line));
    taken.rects.push(place);
    taken.caption = Some(place);
    Ok(())
}

/// What is told for a while, and what is going on, above.
pub(crate) fn notices(
    mut contexts: EguiContexts,
    camera: Res<MapCamera>,
    settings: Res<Settings>,
    (opening, status, atlas): (Option<Res<Opening>>, Res<ForwardStatus>, Res<Atlas>),
    notices: Res<Notices>,
    (edits, comparison, mind): (Res<Edits>, Res<Comparison>, Res<Generation>),
    mut taken: ResMut<Taken>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let painter = context.layer_painter(LayerId::new(Order::Middle, Id::new("told")));
    let (theme, map) = (settings.theme, map_of(&camera.view));
    // Only in a window somebody waits for it to open.
    let opening = opening.and_then(|opening| opening.line(&status, &atlas));
    let doing = match comparison.stage {
        _ if opening.is_some() => opening.as_deref().unwrap_or_default(),
        ComparisonStage::Without => "answering as the file says: without your changes",
        ComparisonStage::With => "answering with your changes",
        // What is lit, and each number of it.
        _ if mind.is_before_change() => "what is shown was computed before the change",
        _ if mind.answers_client() && mind.paused => "a client waits: the model is paused",
        _ if mind.answers_client() => "answering a client",
        _ if edits.painting => "marking weights: click or drag on the map",
        _ => "",
    };
    let wide = (map.width() - 60.0).max(40.0);
    let told =
        [(notices.text().unwrap_or_default(), 14.0, ink(theme)), (doing, 12.0, accent(theme))];
    for (words, size, colour) in told.into_iter().filter(|(words, ..)| !words.is_empty()) {
        let text = painter.layout(words.to_owned(), FontId::proportional(size), colour, wide);
        let around = vec2(14.0, size / 2.0);
        if let Some(place) = taken.below_bar(map, text.size() + 2.0 * around) {
            panel(&painter, theme, place, (text, around, hairline(theme)));
            taken.rects.push(place);
        }
    }
    Ok(())
}

/// Words on a panel, with so much space around them and a line.
fn panel(
    painter: &Painter,
    theme: Theme,
    place: Rect,
    (text, around, line): (std::sync::Arc<egui::Galley>, egui::Vec2, Stroke),
) {
    painter.rect(place, 6.0, solid(theme), line, StrokeKind::Inside);
    painter.galley(place.min + around, text, ink(theme));
}
