//! Light of the feed-forward fields, and the scale of all light in numbers.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Align2, FontId, Id, LayerId, Order, Rect, Stroke, StrokeKind, pos2, vec2};

use super::activity::{Scrubbed, glow, greatest, say, shown};
use super::map_text::on_screen;
use super::style::{faint, ink};
use crate::world::Map;
use crate::world::settings::Settings;
use crate::world::think::Mind;

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
    let (theme, visible) = (settings.theme, map.view.visible());
    let most_hidden = greatest(&thought.hidden_norms);
    for (layer, &norm) in map.atlas.model().plan().layers.iter().zip(&thought.hidden_norms) {
        if !layer.feed_forward.overlaps(&visible) {
            continue;
        }
        let rect = on_screen(&map, layer.feed_forward);
        let part = norm / most_hidden;
        painter.rect_filled(rect, 2.0, glow(theme, part * 0.3));
        painter.rect_stroke(rect, 2.0, Stroke::new(1.0, glow(theme, part)), StrokeKind::Outside);
        if rect.width() > 120.0 && rect.height() > 60.0 {
            let middle = rect.center_bottom() - vec2(0.0, 34.0);
            say(&painter, &settings, middle, &format!("fields {norm:.2}"));
        }
    }
    if map.view.size[0] < 1000.0 || map.view.size[1] < 300.0 {
        return Ok(());
    }
    // What the brightest of each stands for, beside the legend of the weights.
    let above = context.layer_painter(LayerId::new(Order::Middle, Id::new("chrome")));
    let corner = pos2(222.0, above.clip_rect().bottom() - 26.0);
    let bar = Rect::from_min_size(corner, vec2(104.0, 7.0));
    let under = Rect::from_min_size(corner - vec2(6.0, 18.0), vec2(150.0, 42.0));
    above.rect_filled(under, 4.0, super::style::backing(theme));
    let steps = 52;
    for step in 0..steps {
        let wide = bar.width() / steps as f32;
        let place =
            Rect::from_min_size(bar.min + vec2(step as f32 * wide, 0.0), vec2(wide + 0.5, bar.height()));
        above.rect_filled(place, 0.0, glow(theme, step as f32 / (steps - 1) as f32));
    }
    above.rect_stroke(bar, 0.0, Stroke::new(1.0, faint(theme).gamma_multiply(0.5)), StrokeKind::Outside);
    let font = FontId::proportional(10.5);
    above.text(bar.left_bottom() + vec2(0.0, 2.0), Align2::LEFT_TOP, "0", font.clone(), ink(theme));
    let ends = format!(
        "heads {:.1}, river {:.0}, fields {:.1}",
        greatest(&thought.head_norms),
        greatest(&thought.residual_norms),
        most_hidden
    );
    above.text(
        bar.left_top() - vec2(0.0, 3.0),
        Align2::LEFT_BOTTOM,
        "light: norms up to",
        font.clone(),
        ink(theme),
    );
    above.text(bar.left_bottom() + vec2(14.0, 2.0), Align2::LEFT_TOP, ends, font, ink(theme));
    Ok(())
}
