//! Names on the map, the hairlines of districts, the words on what is muted or scaled, and the mark
//! around what is selected.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Painter, Pos2, Rect, Stroke, Vec2, pos2, vec2};

use super::placement::{MapWords, Word, WordRank, map_painter};
use crate::forward::Interventions;
use crate::model::plan::Rect as Cells;
use crate::panel::rect_mesh::RectMesh;
use crate::panel::style::{accent, faint, hairline, ink};
use crate::world::camera::MapCamera;
use crate::world::lab::Edits;
use crate::world::layout::Atlas;
use crate::world::layout::labels::{Label, LabelKind, labels};
use crate::world::palette::Theme;
use crate::world::pointer::Selection;
use crate::world::settings::Settings;
use crate::world::view::View;

/// Points under the upper edge where panels may be: names of what reaches beyond the screen keep
/// below.
const BAR: f32 = 52.0;
/// Points across a layer from which its hairline is drawn.
const LEAST_DISTRICT: f32 = 48.0;

/// Where cells are on the screen.
pub(crate) fn on_screen(view: &View, cells: Cells) -> Rect {
    let point = |x: i64, y: i64| {
        let [x, y] = view.to_screen([x as f64, y as f64]);
        pos2(x as f32, y as f32)
    };
    Rect::from_min_max(
        point(cells.x, cells.y),
        point(cells.x + cells.width, cells.y + cells.height),
    )
}

/// Where the minimap is. It is drawn with the map, so that what is drawn on the map has to leave it
/// out.
pub(crate) fn minimap(view: &View, atlas: &Atlas) -> Option<Rect> {
    view.minimap(atlas.bounds())
        .map(|[left, top, across, down]| Rect::from_min_size(pos2(left, top), vec2(across, down)))
}

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    selection: Res<Selection>,
    settings: Res<Settings>,
    interventions: Res<Interventions>,
    edits: Res<Edits>,
    mut words: ResMut<MapWords>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let painter = map_painter(context, &camera.view);
    let theme = settings.theme;
    districts(&painter, (&atlas, &camera.view), theme);
    for label in labels(&atlas, camera.view.visible(), camera.view.scale) {
        words.say(name(&painter, (&atlas, &camera.view), theme, &label));
    }
    // While bypassed, the model answers as its file says, with nothing muted or scaled.
    if !edits.bypassed {
        marks(&painter, (&atlas, &camera.view), theme, &interventions, &mut words);
    }
    if let Some(place) = &selection.0
        && let Some(cells) = atlas.rect(place)
    {
        let mut mark = RectMesh::beside(minimap(&camera.view, &atlas));
        mark.frame(on_screen(&camera.view, cells).expand(3.0), Stroke::new(2.0, accent(theme)));
        mark.paint(&painter);
    }
    Ok(())
}

/// A hairline around each layer, in the middle of the space between it and the next.
fn districts(painter: &Painter, (atlas, view): (&Atlas, &View), theme: Theme) {
    let visible = view.visible();
    let space = (atlas.model().plan().unit as f32 * view.scale as f32).clamp(1.0, 6.0);
    let mut lines = RectMesh::beside(minimap(view, atlas));
    for layer in atlas.model().plan().layers.iter().filter(|layer| layer.rect.overlaps(&visible)) {
        let rect = on_screen(view, layer.rect);
        if rect.width() >= LEAST_DISTRICT {
            lines.frame(rect.expand(space), hairline(theme));
        }
    }
    lines.paint(painter);
}

/// A label at the place that suits its kind, and where else it may stand.
fn name(painter: &Painter, (atlas, view): (&Atlas, &View), theme: Theme, label: &Label) -> Word {
    let rect = on_screen(view, label.rect);
    let (rank, size, colour) = match label.kind {
        LabelKind::District => (WordRank::District, 14.0, ink(theme)),
        LabelKind::RowEnd => (WordRank::Layer, 12.0, ink(theme)),
        LabelKind::Layer => (WordRank::Layer, (rect.width() / 14.0).clamp(12.0, 17.0), ink(theme)),
        LabelKind::Head => (WordRank::Head, (rect.height() / 3.0).clamp(10.0, 14.0), ink(theme)),
        LabelKind::Plot => (WordRank::Plot, 11.0, faint(theme)),
        LabelKind::Sign => (WordRank::Sign, 13.0, accent(theme)),
    };
    let screen = painter.clip_rect();
    let north = atlas.model().plan().layers.first().map_or(0, |layer| layer.rect.y);
    let gap = atlas.model().plan().unit as f32 * view.scale as f32 * 2.0;
    let land = on_screen(view, atlas.bounds());
    let key = (rank, [label.rect.x, label.rect.y]);
    let kind = label.kind;
    let word = Word::new(painter, key, (label.text.clone(), size), colour, |size| {
        // Beside the land: the river may bend at an end of a row.
        if kind == LabelKind::RowEnd {
            let is_west = rect.center().x < land.center().x;
            let x = if is_west { land.left() - size.x - 6.0 } else { land.right() + 6.0 };
            return vec![pos2(x, rect.top())];
        }
        // A name as wide as its neighbour's place would be read as the neighbour's.
        if size.x > rect.width() + 2.0 && kind != LabelKind::Layer {
            return Vec::new();
        }
        // Never on the weights where there is ground north of them.
        if kind == LabelKind::Layer && label.rect.y == north && rect.top() > screen.top() + BAR {
            return vec![pos2(rect.left(), rect.top() - size.y - 4.0)];
        }
        let mut spots = spots(rect, size, (kind, gap), screen);
        if kind == LabelKind::District && rect.bottom() >= land.bottom() - 1.0 {
            // Off the weights: under the land.
            let below = rect.bottom() + 4.0;
            let right = rect.right().min(screen.right() - 12.0) - size.x;
            let left = rect.left().max(screen.left() + 12.0);
            spots.splice(0..0, [pos2(left, below), pos2(right, below)]);
        }
        spots
    });
    word.faded(label.strength)
}

/// Where a name may stand, left upper corners, the best first: on its own place, as far as that is
/// on the screen, or in the gap above it.
fn spots(rect: Rect, size: Vec2, (kind, gap): (LabelKind, f32), screen: Rect) -> Vec<Pos2> {
    // What of the place is on the screen: names of what is larger stay on it.
    let left = (rect.left().max(screen.left() + 12.0) + 4.0).min(rect.right() - size.x);
    let right = rect.right().min(screen.right() - 12.0) - size.x - 4.0;
    let top = (rect.top() + 4.0).max(screen.top() + BAR);
    let bottom = rect.bottom().min(screen.bottom() - 8.0) - size.y - 5.0;
    let mut spots = match kind {
        // Above its rectangle stands the place's own name.
        LabelKind::Plot | LabelKind::Sign => {
            vec![pos2(left, bottom), pos2(right, bottom), pos2(left, top)]
        }
        _ => vec![pos2(left, top), pos2(right, top), pos2(left, top + 40.0)],
    };
    if kind == LabelKind::Layer {
        spots.push(pos2(left, bottom));
    }
    // Beyond its own place a name would be read as that of the place which is there.
    let own = rect.expand(2.0);
    spots.retain(|spot| {
        kind == LabelKind::Layer || own.contains_rect(Rect::from_min_size(*spot, size))
    });
    let is_above = !matches!(kind, LabelKind::Plot | LabelKind::Sign);
    if is_above && gap >= size.y * 0.9 && rect.top() > screen.top() + 60.0 {
        spots.insert(0, pos2(left, rect.top() - size.y - 4.0));
    }
    spots
}

/// Says of heads and layers that are muted or scaled that they are, beside the hatch that the
/// shader draws.
fn marks(
    painter: &Painter,
    (atlas, view): (&Atlas, &View),
    theme: Theme,
    interventions: &Interventions,
    words: &mut MapWords,
) {
    let plan = atlas.model().plan();
    let visible = view.visible();
    let screen = painter.clip_rect().shrink2(vec2(8.0, BAR));
    let mut say = |cells: Cells, factor: f32| {
        let rect = on_screen(view, cells);
        if factor == 1.0 || !cells.overlaps(&visible) || rect.width() < 14.0 {
            return;
        }
        let text = if factor == 0.0 { "muted".to_owned() } else { format!("x {factor:.2}") };
        let seen = rect.intersect(screen);
        let key = (WordRank::State, [cells.x, cells.y]);
        words.say(Word::new(painter, key, (text, 12.5), accent(theme), |size| {
            [0.5, 0.25, 0.75, 0.1]
                .map(|part| {
                    let middle = pos2(seen.center().x, seen.top() + seen.height() * part);
                    middle - size / 2.0
                })
                .to_vec()
        }));
    };
    for (head, &factor) in plan.heads.iter().zip(&interventions.heads) {
        say(head.rect, factor);
    }
    for (layer, &factor) in plan.layers.iter().zip(&interventions.layers) {
        say(layer.rect, factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_named_on_its_own_plot_or_in_the_gap_above_it() {
        let screen = Rect::from_min_max(pos2(0.0, 0.0), pos2(1280.0, 720.0));
        let size = vec2(40.0, 14.0);
        for (top, height) in
            [(100.0, 12.0), (100.0, 30.0), (40.0, 20.0), (-30.0, 60.0), (300.0, 200.0)]
        {
            let head = Rect::from_min_size(pos2(200.0, top), vec2(60.0, height));
            for gap in [2.0, 20.0] {
                for spot in spots(head, size, (LabelKind::Head, gap), screen) {
                    let name = Rect::from_min_size(spot, size);
                    let is_in_gap = gap >= size.y && name.bottom() <= head.top();
                    assert!(
                        is_in_gap || head.expand(2.0).contains_rect(name),
                        "{head:?}: {name:?}"
                    );
                }
            }
        }
        let head = Rect::from_min_size(pos2(200.0, 300.0), vec2(60.0, 200.0));
        assert!(!spots(head, size, (LabelKind::Head, 2.0), screen).is_empty());
    }
}
