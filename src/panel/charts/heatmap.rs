//! A survey's result over the map: a colour per tile or head, with a legend that has numbers. Where
//! cells are seen the colour is a line inside of the edge. Surveys measure the model as its file
//! says: beside a change they are faded, and the legend says so.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Align2, Color32, FontId, Id, LayerId, Order, Rect, Stroke, StrokeKind, pos2, vec2};

use crate::panel::frame::drawer::BEFORE_CHANGE;
use crate::panel::labels::map_text::{minimap, on_screen};
use crate::panel::labels::placement::{MapWords, Taken, Word, WordRank, map_of};
use crate::panel::rect_mesh::RectMesh;
use crate::panel::style::{FADED, hairline, ink, solid, veil};
use crate::world::camera::MapCamera;
use crate::world::draw::Lights;
use crate::world::heatmap::{HeatmapLayer, HeatmapScale, Heatmaps};
use crate::world::layout::Atlas;
use crate::world::palette::{Palette, Palettes, RANGE, Theme};
use crate::world::settings::Settings;
use crate::world::think::Generation;

/// How much of what is below a layer is covered.
const COVER: f32 = 0.78;
/// Points of a cell from which on nothing is laid over it.
const SEEN: f64 = 1.0;
/// Points across the line of a tile or head whose cells are seen.
const LINE: f32 = 4.0;

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    palettes: Res<Palettes>,
    settings: Res<Settings>,
    (overlays, mind): (Option<Res<Heatmaps>>, Res<Generation>),
    mut words: ResMut<MapWords>,
    mut taken: ResMut<Taken>,
    mut lights: ResMut<Lights>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let Some(overlays) = overlays else { return Ok(()) };
    let Some(overlay) = overlays.current() else { return Ok(()) };
    let painter = context.layer_painter(LayerId::background());
    let (theme, palette) = (settings.theme, palettes.named(&settings.palette));
    let visible = camera.view.visible();
    let is_before = !mind.current_state().is_as_in_file();
    let cover = if is_before { COVER * FADED } else { COVER };
    let mut plain = RectMesh::beside(minimap(&camera.view, &atlas));
    for (cells, value) in overlay.cells.iter().filter(|(cells, _)| cells.overlaps(&visible)) {
        let rect = on_screen(&camera.view, *cells);
        // A gap tells neighbours apart; of what is small it would leave nothing.
        let is_large = rect.width() > 3.0 && rect.height() > 3.0;
        let inner = rect.shrink(if is_large { 0.5 } else { 0.0 });
        let colour = veil(colour(palette, theme, overlay, *value), cover);
        if camera.view.scale < SEEN {
            plain.fill(inner, colour);
        } else {
            plain.frame(inner.shrink(LINE), Stroke::new(LINE, colour));
        }
        if rect.width() > 64.0 && rect.height() > 22.0 {
            let middle = rect.intersect(painter.clip_rect()).center();
            let key = (WordRank::Number, [cells.x, cells.y]);
            let text = (number(overlay, *value), 11.5);
            words.say(Word::new(&painter, key, text, ink(theme), |size| vec![middle - size / 2.0]));
        }
    }
    plain.shine(painter.clip_rect(), &mut lights);
    let place = |size| taken.below_bar(map_of(&camera.view), size);
    let legend = legend(context, palette, (theme, is_before), overlay, place);
    taken.rects.extend(legend);
    Ok(())
}

fn colour(palette: &Palette, theme: Theme, overlay: &HeatmapLayer, value: f32) -> Color32 {
    let part = overlay.part(value);
    let rgb = match overlay.scale {
        HeatmapScale::Signed => palette.weight(theme, part * RANGE),
        // That part of the palette is for errors, of which a third of a spread is the most.
        HeatmapScale::Logarithmic => palette.error(theme, part / 3.0),
    };
    let [r, g, b] = rgb.map(|channel| (channel * 255.0).round() as u8);
    Color32::from_rgb(r, g, b)
}

fn number(overlay: &HeatmapLayer, value: f32) -> String {
    match overlay.scale {
        HeatmapScale::Signed => format!("{value:+.3}"),
        HeatmapScale::Logarithmic => format!("{value:.3}"),
    }
}

/// What the colours stand for, where there is room for it; gives what it covers.
fn legend(
    context: &egui::Context,
    palette: &Palette,
    (theme, is_before): (Theme, bool),
    overlay: &HeatmapLayer,
    place: impl FnOnce(egui::Vec2) -> Option<Rect>,
) -> Option<Rect> {
    let painter = context.layer_painter(LayerId::new(Order::Middle, Id::new("layer legend")));
    let title = if is_before {
        format!("{}, {BEFORE_CHANGE}", overlay.title)
    } else {
        overlay.title.to_owned()
    };
    let title = painter.layout_no_wrap(title, FontId::proportional(12.5), ink(theme));
    let wide = title.size().x.max(230.0);
    let frame = place(vec2(wide + 24.0, 56.0))?;
    painter.rect(frame, 6.0, solid(theme), hairline(theme), StrokeKind::Outside);
    painter.galley(
        pos2(frame.center().x - title.size().x / 2.0, frame.top() + 6.0),
        title,
        ink(theme),
    );
    let bar = Rect::from_min_size(pos2(frame.left() + 12.0, frame.top() + 27.0), vec2(wide, 8.0));
    let [low, high] = overlay.range;
    let ends = match overlay.scale {
        HeatmapScale::Signed => {
            // As far to both sides, so that zero has the middle of the palette.
            let most = low.abs().max(high.abs());
            [-most, most]
        }
        // A ratio to 0 is infinite.
        HeatmapScale::Logarithmic => [low.max(f32::MIN_POSITIVE), high],
    };
    let mut plain = RectMesh::default();
    plain.ramp(bar, |part| {
        let value = match overlay.scale {
            HeatmapScale::Signed => ends[0] + (ends[1] - ends[0]) * part,
            HeatmapScale::Logarithmic => ends[0] * (ends[1] / ends[0]).powf(part),
        };
        colour(palette, theme, overlay, value)
    });
    plain.paint(&painter);
    let font = FontId::monospace(10.5);
    let below = bar.bottom() + 3.0;
    painter.text(
        pos2(bar.left(), below),
        Align2::LEFT_TOP,
        number(overlay, ends[0]),
        font.clone(),
        ink(theme),
    );
    painter.text(
        pos2(bar.right(), below),
        Align2::RIGHT_TOP,
        number(overlay, ends[1]),
        font,
        ink(theme),
    );
    Some(frame)
}
