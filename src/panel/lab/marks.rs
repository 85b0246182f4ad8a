//! What the lab draws on the map: the frame around marked weights, and why there is no model.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Align2, FontId, Id, LayerId, Order, Stroke, StrokeKind, pos2, vec2};

use crate::panel::labels::map_text::on_screen;
use crate::panel::labels::placement::{MapWords, Word, WordRank, map_of, map_painter};
use crate::panel::style::{accent, backing, edited, faint, ink};
use crate::world::camera::MapCamera;
use crate::world::lab::{DeviceState, Edits};
use crate::world::layout::Atlas;
use crate::world::settings::Settings;
use crate::world::view::View;

/// Frames that are drawn; of a layer's many plots the rest is left out.
const MOST_FRAMES: usize = 64;

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    settings: Res<Settings>,
    edits: Res<Edits>,
    device: Res<DeviceState>,
    mut words: ResMut<MapWords>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let theme = settings.theme;
    let painter = map_painter(context, &camera.view);
    let visible = camera.view.visible();
    for &cells in edits.cells().iter().filter(|cells| cells.overlaps(&visible)).take(MOST_FRAMES) {
        let rect = on_screen(&camera.view, cells).expand(1.5);
        // A wider line of the ground below: the frame is seen on weights of any colour.
        painter.rect_stroke(rect, 1.0, Stroke::new(3.5, backing(theme)), StrokeKind::Outside);
        painter.rect_stroke(rect, 1.0, Stroke::new(2.0, edited(theme)), StrokeKind::Outside);
    }
    if let Some(cells) = edits.cells().first()
        && cells.overlaps(&visible)
    {
        let count = edits.count();
        let text = if count == 1 { "1 weight".to_owned() } else { format!("{count} weights") };
        let rect = on_screen(&camera.view, *cells);
        let key = (WordRank::State, [cells.x, cells.y]);
        words.say(Word::new(&painter, key, (text, 12.0), edited(theme), |size| {
            let above = rect.center_top() - vec2(0.0, 14.0);
            [rect.center_bottom() + vec2(0.0, 14.0), above, rect.center()]
                .map(|middle| middle - size / 2.0)
                .to_vec()
        }));
    }
    if let DeviceState::Refused(why) = &*device {
        refused((context, &camera.view), &atlas, &settings, why);
    }
    Ok(())
}

/// In words, where the map would be: why it is empty.
fn refused(
    (context, view): (&egui::Context, &View),
    atlas: &Atlas,
    settings: &Settings,
    why: &str,
) {
    let theme = settings.theme;
    let painter = context.layer_painter(LayerId::new(Order::Middle, Id::new("refused")));
    let screen = map_of(view);
    let wide = (screen.width() - 80.0).clamp(120.0, 640.0);
    let path = atlas.model().path().display();
    let text = |text: String, size: f32, colour| {
        painter.layout(text, FontId::proportional(size), colour, wide)
    };
    let parts = [
        text(format!("{} cannot be shown here", atlas.title()), 22.0, ink(theme)),
        text(why.to_owned(), 15.0, ink(theme)),
        text(
            format!(
                "It answers in the terminal: pixel-llm --no-window --device cpu {path} \
                 --prompt TEXT"
            ),
            14.0,
            faint(theme),
        ),
    ];
    let gap = 12.0;
    let tall: f32 = parts.iter().map(|part| part.size().y + gap).sum::<f32>() - gap;
    let place = Align2::CENTER_CENTER.anchor_size(screen.center(), vec2(wide, tall));
    let stroke = Stroke::new(1.0, accent(theme));
    painter.rect(place.expand(24.0), 10.0, backing(theme), stroke, StrokeKind::Outside);
    let mut top = place.top();
    for part in parts {
        let colour = ink(theme);
        let height = part.size().y;
        painter.galley(pos2(place.left(), top), part, colour);
        top += height + gap;
    }
}
