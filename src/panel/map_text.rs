//! Names on the map, the mark around what is selected, and what the cursor is over.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Align2, Color32, FontId, LayerId, Painter, Pos2, Rect, Stroke, StrokeKind, pos2, vec2};

use super::style::{accent, backing, faint, ink};
use crate::model::plan::Rect as Cells;
use crate::tiles::Factors;
use crate::world::Map;
use crate::world::lab::Edits;
use crate::world::layout::labels::{Label, LabelKind, labels};
use crate::world::palette::Theme;
use crate::world::settings::Settings;

/// Where cells are on the screen.
pub(super) fn on_screen(map: &Map, cells: Cells) -> Rect {
    let point = |x: i64, y: i64| {
        let [x, y] = map.view.to_screen([x as f64, y as f64]);
        pos2(x as f32, y as f32)
    };
    Rect::from_min_max(point(cells.x, cells.y), point(cells.x + cells.width, cells.y + cells.height))
}

pub(super) fn draw(
    mut contexts: EguiContexts,
    map: Res<Map>,
    settings: Res<Settings>,
    factors: Res<Factors>,
    edits: Res<Edits>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let painter = context.layer_painter(LayerId::background());
    let theme = settings.theme;
    for label in labels(&map.atlas, map.view.visible(), map.view.scale) {
        write(&painter, &map, theme, &label);
    }
    if !edits.bypassed {
        marks(&painter, &map, theme, &factors);
    }
    if let Some(place) = &map.selection
        && let Some(cells) = map.atlas.rect(place)
    {
        let rect = on_screen(&map, cells).expand(3.0);
        painter.rect_stroke(rect, 3.0, Stroke::new(2.0, accent(theme)), StrokeKind::Outside);
    }
    Ok(())
}

/// Writes a label above its rectangle where there is room, or else inside, on a backing.
fn write(painter: &Painter, map: &Map, theme: Theme, label: &Label) {
    let rect = on_screen(map, label.rect);
    let (size, colour) = match label.kind {
        LabelKind::District => (15.0, ink(theme)),
        LabelKind::Layer => ((rect.width() / 14.0).clamp(11.0, 17.0), ink(theme)),
        LabelKind::Head => ((rect.width() / 9.0).clamp(9.5, 14.0), ink(theme)),
        LabelKind::Plot => (11.0, faint(theme)),
    };
    let colour = colour.gamma_multiply(label.strength);
    let galley = painter.layout_no_wrap(label.text.clone(), FontId::proportional(size), colour);
    // A name as wide as its neighbour's place would be read as the neighbour's.
    if galley.size().x > rect.width() + 2.0 && label.kind != LabelKind::Layer {
        return;
    }
    let screen = painter.clip_rect();
    let gap = map.atlas.model().plan().unit as f32 * map.view.scale as f32;
    let above = label.kind != LabelKind::Plot && gap * 2.0 >= galley.size().y * 0.9;
    // Names of what is larger than the screen stay on it.
    let left = rect.left().max(screen.left() + 12.0).min(rect.right() - galley.size().x);
    let top = match label.kind {
        LabelKind::Plot => {
            let bottom = rect.bottom().min(screen.bottom() - 8.0) - galley.size().y - 5.0;
            bottom.max(rect.top() + 4.0)
        }
        _ if above && rect.top() > screen.top() + 60.0 => rect.top() - galley.size().y - 3.0,
        _ => (rect.top() + 4.0).max(screen.top() + 56.0).min(rect.bottom() - galley.size().y - 4.0),
    };
    let place = Rect::from_min_size(pos2(left + 2.0, top), galley.size());
    painter.rect_filled(place.expand2(vec2(4.0, 1.5)), 3.0, backing(theme).gamma_multiply(label.strength));
    painter.galley(place.min, galley, colour);
}

/// Says of heads and layers that are muted or scaled that they are, beside the hatch that the shader draws.
fn marks(painter: &Painter, map: &Map, theme: Theme, factors: &Factors) {
    let plan = map.atlas.model().plan();
    let visible = map.view.visible();
    let say = |cells: Cells, factor: f32| {
        let rect = on_screen(map, cells);
        if factor == 1.0 || !cells.overlaps(&visible) || rect.width() < 14.0 {
            return;
        }
        let text = if factor == 0.0 { "muted".to_owned() } else { format!("x {factor:.2}") };
        tag(painter, rect.center(), &text, accent(theme), backing(theme));
    };
    for (head, &factor) in plan.heads.iter().zip(&factors.heads) {
        say(head.rect, factor);
    }
    for (layer, &factor) in plan.layers.iter().zip(&factors.layers) {
        say(layer.rect, factor);
    }
}

/// A word on a backing, in the middle of a place.
pub(super) fn tag(painter: &Painter, middle: Pos2, text: &str, colour: Color32, backing: Color32) {
    let galley = painter.layout_no_wrap(text.to_owned(), FontId::proportional(12.0), colour);
    let place = Align2::CENTER_CENTER.anchor_size(middle, galley.size());
    painter.rect_filled(place.expand2(vec2(6.0, 3.0)), 4.0, backing);
    painter.galley(place.min, galley, colour);
}
