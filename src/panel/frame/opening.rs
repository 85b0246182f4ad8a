//! A line of what is going on while a window opens.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Align2, FontId, LayerId, StrokeKind, pos2, vec2};

use crate::forward::gpu::ForwardStatus;
use crate::panel::labels::placement::Taken;
use crate::panel::style::{hairline, ink, solid};
use crate::world::layout::Atlas;
use crate::world::notices::Notices;
use crate::world::opening::{Opening, line};
use crate::world::settings::Settings;

pub(crate) fn draw(
    mut contexts: EguiContexts,
    (atlas, settings): (Res<Atlas>, Res<Settings>),
    opening: Option<Res<Opening>>,
    status: Res<ForwardStatus>,
    notices: Res<Notices>,
    mut taken: ResMut<Taken>,
) -> Result {
    // Only a window is opened while somebody waits. What a person is told has the same place.
    let Some(opening) = opening.filter(|_| notices.text().is_none()) else { return Ok(()) };
    let Some(text) = line(Some(&opening), &status, &atlas) else { return Ok(()) };
    let context = contexts.ctx_mut()?;
    let theme = settings.theme;
    let painter = context.layer_painter(LayerId::background());
    let screen = context.content_rect();
    // In the middle as long as there is nothing else.
    let y = if opening.is_going_on() { screen.center().y } else { 60.0 };
    let wide = (screen.width() - 60.0).max(40.0);
    let galley = painter.layout(text, FontId::proportional(14.0), ink(theme), wide);
    let place = Align2::CENTER_TOP.anchor_size(pos2(screen.center().x, y), galley.size());
    let panel = place.expand2(vec2(14.0, 8.0));
    painter.rect(panel, 6.0, solid(theme), hairline(theme), StrokeKind::Inside);
    painter.galley(place.min, galley, ink(theme));
    taken.rects.push(panel);
    Ok(())
}
