//! A value per tile or per head as a colour over the map, with a legend that has numbers: what a
//! survey found, or what a change came to ([`super::changed`]), which goes before.
//!
//! Where cells are seen the colour of a survey is a line inside of the edge; surveys measure the
//! model as its file says: beside a change they are faded, and the legend says so. What a change
//! came to is light: over relief as much of its hue as the value says, and a line around a place,
//! in the gap to the next, where cells are seen.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{
    Color32, FontId, Id, LayerId, Order, Painter, Pos2, Rect, Stroke, StrokeKind, pos2, vec2,
};

use super::changed::WhatChanged;
use crate::panel::frame::drawer::BEFORE_CHANGE;
use crate::panel::labels::map_text::{minimap, on_screen};
use crate::panel::labels::placement::{MapWords, Taken, Word, WordRank, map_of, map_painter};
use crate::panel::rect_mesh::RectMesh;
use crate::panel::style::{hairline, ink, solid, strength_of, veil};
use crate::world::camera::MapCamera;
use crate::world::draw::{Lights, relief_fade};
use crate::world::heatmap::{HeatmapLayer, HeatmapScale, Heatmaps};
use crate::world::lab::story::figure;
use crate::world::layout::Atlas;
use crate::world::palette::{Palette, Palettes, RANGE, Theme};
use crate::world::settings::Settings;
use crate::world::think::Generation;
use crate::world::view::View;

/// How much of what is below a layer is covered.
const COVER: f32 = 0.78;
/// Points of a cell from which on nothing is laid over it.
const SEEN: f64 = 1.0;
/// Points across the line of a tile or head whose cells are seen.
const LINE: f32 = 4.0;
/// Points across the legend at least: of a survey, and of a change, whose figures have names.
const LEGEND: [f32; 2] = [230.0, 340.0];

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    palettes: Res<Palettes>,
    settings: Res<Settings>,
    (overlays, changed): (Option<Res<Heatmaps>>, Res<WhatChanged>),
    mind: Res<Generation>,
    mut words: ResMut<MapWords>,
    mut taken: ResMut<Taken>,
    mut lights: ResMut<Lights>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let survey = overlays.as_ref().and_then(|overlays| overlays.current());
    let layers = match survey {
        _ if changed.is_shown() => &changed.layers[..],
        Some(survey) => std::slice::from_ref(survey),
        None => return Ok(()),
    };
    let is_before = match changed.is_shown() {
        true => mind.is_before_change(),
        false => !mind.current_state().is_as_in_file(),
    };
    let painter = map_painter(context, &camera.view);
    let mut tint = Tint {
        painter: &painter,
        view: &camera.view,
        palette: palettes.named(&settings.palette),
        theme: settings.theme,
        strength: strength_of(is_before),
        relief: relief(&camera.view, &atlas, context.pixels_per_point()),
        gap: (atlas.model().plan().unit as f64 / 2.0).max(1.0) * camera.view.scale,
        light: RectMesh::beside(minimap(&camera.view, &atlas)),
        words: &mut words,
    };
    for layer in layers {
        tint.lay(layer);
    }
    let legend = tint.legend(context, layers, (&changed.title, is_before), &taken);
    tint.light.shine(map_of(&camera.view), &mut lights);
    taken.rects.extend(legend);
    Ok(())
}

/// How far the land is from being seen cell by cell: 0 where each has a pixel or more, 1 where
/// there is relief.
fn relief(view: &View, atlas: &Atlas, pixels_per_point: f32) -> f32 {
    let [begins, _] = relief_fade(view, atlas.bounds(), pixels_per_point);
    match 1.0 / (view.scale * f64::from(pixels_per_point)) {
        cells if cells <= 1.0 => 0.0,
        cells if cells >= begins => 1.0,
        cells => (cells.ln() / begins.ln()) as f32,
    }
}

/// Layers while they are laid over the map.
struct Tint<'a> {
    painter: &'a Painter,
    view: &'a View,
    palette: &'a Palette,
    theme: Theme,
    /// What all light is multiplied by: less where it was computed before the model was changed.
    strength: f32,
    /// How far the land is from being seen cell by cell.
    relief: f32,
    /// Points between two heads.
    gap: f64,
    light: RectMesh,
    words: &'a mut MapWords,
}

impl Tint<'_> {
    fn lay(&mut self, layer: &HeatmapLayer) {
        let visible = self.view.visible();
        for (cells, value) in layer.cells.iter().filter(|(cells, _)| cells.overlaps(&visible)) {
            let rect = on_screen(self.view, *cells);
            let colour = veil(colour(self.palette, self.theme, layer, *value), self.strength);
            match layer.scale {
                HeatmapScale::Changed => self.light_up(rect, colour),
                _ => self.cover(rect, veil(colour, COVER)),
            }
            // What differs nowhere is dark, and needs no number.
            let is_told = layer.scale != HeatmapScale::Changed || *value > 0.0;
            if is_told && rect.width() > 64.0 && rect.height() > 22.0 {
                let seen = rect.intersect(self.painter.clip_rect());
                let middle = seen.center();
                let key = (WordRank::Number, [cells.x, cells.y]);
                let text = match layer.scale {
                    HeatmapScale::Changed => format!("differs {}", number(layer, *value)),
                    _ => number(layer, *value),
                };
                let ink = ink(self.theme);
                self.words.say(Word::new(self.painter, key, (text, 11.5), ink, |size| {
                    // The middle of a muted head has that word; beyond its own place a number
                    // would be read as another's.
                    let spots = [0.0, 22.0, -22.0];
                    let spots = spots.map(|down| middle - size / 2.0 + vec2(0.0, down));
                    let is_own = |spot: &Pos2| seen.contains_rect(Rect::from_min_size(*spot, size));
                    spots.into_iter().filter(is_own).collect()
                }));
            }
        }
    }

    /// A colour over a place, or inside of its edge where cells are seen.
    fn cover(&mut self, rect: Rect, colour: Color32) {
        // A gap tells neighbours apart; of what is small it would leave nothing.
        let is_large = rect.width() > 3.0 && rect.height() > 3.0;
        let inner = rect.shrink(if is_large { 0.5 } else { 0.0 });
        if self.view.scale < SEEN {
            self.light.fill(inner, colour);
        } else {
            self.light.frame(inner.shrink(LINE), Stroke::new(LINE, colour));
        }
    }

    /// Light over relief, and around a place where cells are seen.
    fn light_up(&mut self, rect: Rect, colour: Color32) {
        self.light.fill(rect, veil(colour, self.relief));
        // As wide as the gap to the next head allows: no light lies on weights.
        let wide = (self.gap as f32).clamp(1.0, LINE);
        self.light.frame(rect, Stroke::new(wide, colour));
    }

    /// What the colours stand for, where there is room for it; gives what it covers.
    fn legend(
        &self,
        context: &egui::Context,
        layers: &[HeatmapLayer],
        (of_change, is_before): (&str, bool),
        taken: &Taken,
    ) -> Option<Rect> {
        let first = layers.first()?;
        let is_change = first.scale == HeatmapScale::Changed;
        let (theme, palette) = (self.theme, self.palette);
        let painter = context.layer_painter(LayerId::new(Order::Middle, Id::new("layer legend")));
        let title = if is_change { of_change } else { first.title };
        let title = match is_before {
            true => format!("{title}, {BEFORE_CHANGE}"),
            false => title.to_owned(),
        };
        let least = LEGEND[usize::from(is_change)];
        let map = map_of(self.view);
        let most = (map.width() - 60.0).max(least);
        let title = painter.layout(title, FontId::proportional(12.5), ink(theme), most);
        let wide = title.size().x.max(least);
        let frame = taken.below_bar(map, vec2(wide + 24.0, 40.0 + title.size().y))?;
        let middle = frame.center().x;
        painter.rect(frame, 6.0, solid(theme), hairline(theme), StrokeKind::Outside);
        let left = frame.left() + 12.0;
        let [title_tall, title_wide] = [title.size().y, title.size().x];
        painter.galley(pos2(middle - title_wide / 2.0, frame.top() + 6.0), title, ink(theme));
        let bar = Rect::from_min_size(pos2(left, frame.top() + 11.0 + title_tall), vec2(wide, 8.0));
        let [low, high] = ends(first);
        let mut plain = RectMesh::default();
        plain.ramp(bar, |part| match first.scale {
            HeatmapScale::Signed => colour(palette, theme, first, low + (high - low) * part),
            HeatmapScale::Changed => colour(palette, theme, first, high * part),
            HeatmapScale::Logarithmic => {
                colour(palette, theme, first, low * (high / low).powf(part))
            }
        });
        plain.paint(&painter);
        let write = |text: String, right: bool| {
            let galley = painter.layout_no_wrap(text, FontId::monospace(10.5), ink(theme));
            let x = if right { bar.right() - galley.size().x } else { bar.left() };
            painter.galley(pos2(x, bar.bottom() + 3.0), galley, ink(theme));
        };
        if is_change {
            // The last matrix of each is where what it gives goes on to the stream.
            let most = layers
                .iter()
                .zip(["before O", "before down"])
                .map(|(layer, at)| format!("{} {at}: {}", layer.name, figure(layer.range[1])));
            write("0".into(), false);
            write(most.collect::<Vec<_>>().join("   "), true);
        } else {
            write(number(first, low), false);
            write(number(first, high), true);
        }
        Some(frame)
    }
}

/// The values at both ends of a legend.
fn ends(layer: &HeatmapLayer) -> [f32; 2] {
    let [low, high] = layer.range;
    match layer.scale {
        HeatmapScale::Signed => {
            // As far to both sides, so that zero has the middle of the palette.
            let most = low.abs().max(high.abs());
            [-most, most]
        }
        HeatmapScale::Changed => [0.0, high],
        // A ratio to 0 is infinite.
        HeatmapScale::Logarithmic => [low.max(f32::MIN_POSITIVE), high],
    }
}

/// The colour of a value; what a change came to is seen through.
fn colour(palette: &Palette, theme: Theme, layer: &HeatmapLayer, value: f32) -> Color32 {
    let part = layer.part(value);
    let rgb = match layer.scale {
        HeatmapScale::Signed => palette.weight(theme, part * RANGE),
        // That part of the palette is for errors, of which a third of a spread is the most.
        HeatmapScale::Logarithmic => palette.error(theme, part / 3.0),
        HeatmapScale::Changed => {
            let [r, g, b, a] = palette.change(part);
            return Color32::from_rgba_premultiplied(r, g, b, a);
        }
    };
    let [r, g, b] = rgb.map(|channel| (channel * 255.0).round() as u8);
    Color32::from_rgb(r, g, b)
}

fn number(layer: &HeatmapLayer, value: f32) -> String {
    match layer.scale {
        HeatmapScale::Signed => format!("{value:+.3}"),
        HeatmapScale::Logarithmic => format!("{value:.3}"),
        HeatmapScale::Changed => figure(value),
    }
}
