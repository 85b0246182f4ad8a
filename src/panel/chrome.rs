//! The frame around the map: where one is, the minimap's frame, the legend, and what is told.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Align2, Color32, FontId, Id, LayerId, Order, Rect, Stroke, StrokeKind, pos2, vec2};

use super::style::{accent, backing, faint, ink};
use crate::world::Map;
use crate::world::layout::Place;
use crate::world::palette::{Colouring, RANGE};
use crate::world::settings::Settings;
use crate::world::tour::TourRun;

pub(super) fn draw(
    mut contexts: EguiContexts,
    mut map: ResMut<Map>,
    settings: Res<Settings>,
    tour: Option<Res<TourRun>>,
) -> Result {
    let context = contexts.ctx_mut()?;
    trail(context, &mut map, &settings);
    let painter = context.layer_painter(LayerId::new(Order::Middle, Id::new("chrome")));
    let theme = settings.theme;
    let screen = painter.clip_rect();
    if let Some([left, top, across, down]) = map.minimap() {
        let frame = Rect::from_min_size(pos2(left, top), vec2(across, down));
        painter.rect_stroke(
            frame.expand(5.0),
            4.0,
            Stroke::new(1.0, faint(theme).gamma_multiply(0.6)),
            StrokeKind::Outside,
        );
        let seen = map.view.visible();
        let small = map.minimap_view();
        let at = |x: i64, y: i64| {
            let [x, y] = small.to_screen([x as f64, y as f64]);
            pos2(left + x as f32, top + y as f32)
        };
        let here = Rect::from_min_max(at(seen.x, seen.y), at(seen.x + seen.width, seen.y + seen.height));
        let here = here.intersect(frame).expand(1.0);
        painter.rect_stroke(here, 1.0, Stroke::new(1.5, accent(theme)), StrokeKind::Outside);
    }
    legend(&painter, &map, &settings, pos2(14.0, screen.bottom() - 26.0), 190.0);
    let caption = tour.map(|tour| tour.caption.clone()).filter(|caption| !caption.is_empty());
    if let Some(text) = caption {
        let wide = 620.0f32.min(screen.width() - 40.0);
        let galley = painter.layout(text, FontId::proportional(17.0), ink(theme), wide);
        let place =
            Align2::CENTER_BOTTOM.anchor_size(pos2(screen.center().x, screen.bottom() - 24.0), galley.size());
        let stroke = Stroke::new(1.0, accent(theme).gamma_multiply(0.5));
        painter.rect(place.expand2(vec2(18.0, 12.0)), 8.0, backing(theme), stroke, StrokeKind::Outside);
        painter.galley(place.min, galley, ink(theme));
    }
    if let Some((text, left)) = &map.notice {
        let strength = left.min(1.0);
        let galley = painter.layout_no_wrap(text.clone(), FontId::proportional(14.0), ink(theme));
        let place = Align2::CENTER_TOP.anchor_size(pos2(screen.center().x, 56.0), galley.size());
        painter.rect_filled(place.expand2(vec2(14.0, 8.0)), 6.0, backing(theme).gamma_multiply(strength));
        painter.galley(place.min, galley, ink(theme).gamma_multiply(strength));
    }
    Ok(())
}

/// The names of the places around the middle of the screen; each goes there.
fn trail(context: &egui::Context, map: &mut Map, settings: &Settings) {
    let theme = settings.theme;
    let (x, y) = map.view.cell_at(map.view.size.map(|side| side / 2.0));
    let scale = map.view.scale;
    let mut trail = map.atlas.trail(x, y);
    // Only what fills a good part of the screen is where one is.
    trail.retain(|place| {
        let fills = map.atlas.rect(place).is_some_and(|rect| {
            rect.width as f64 * scale > map.view.size[0] * 0.45
                || rect.height as f64 * scale > map.view.size[1] * 0.6
        });
        *place == Place::Model || fills
    });
    let mut chosen = None;
    let frame = egui::Frame::new()
        .fill(backing(theme))
        .corner_radius(6.0)
        .inner_margin(egui::Margin::symmetric(10, 5));
    egui::Area::new(Id::new("trail")).fixed_pos(pos2(12.0, 10.0)).show(context, |ui| {
        frame.show(ui, |ui| {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = 6.0;
                for (at, place) in trail.iter().enumerate() {
                    if at > 0 {
                        ui.label(egui::RichText::new(">").color(faint(theme)));
                    }
                    let text =
                        egui::RichText::new(map.atlas.name(place)).size(if at == 0 { 16.0 } else { 14.0 });
                    let text = if at == 0 { text.strong() } else { text };
                    if ui.add(egui::Label::new(text).sense(egui::Sense::click()).selectable(false)).clicked()
                    {
                        chosen = Some(place.clone());
                    }
                }
                if trail.len() == 1 {
                    ui.label(egui::RichText::new(facts(map)).color(faint(theme)).size(13.0));
                }
            });
        });
    });
    if let Some(place) = chosen {
        map.go_to(&place, None);
    }
}

/// What a model is, in a line.
fn facts(map: &Map) -> String {
    let model = map.atlas.model();
    let config = model.config();
    let weights: u64 = model.tensors().iter().map(|tensor| tensor.tiling.rows * tensor.tiling.columns).sum();
    let weights = match weights {
        0..1_000_000 => format!("{:.0} K", weights as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", weights as f64 / 1e6),
        _ => format!("{:.2} B", weights as f64 / 1e9),
    };
    let encoding = crate::model::tensors::main_encoding(model.tensors());
    format!("{weights} weights, {encoding}, {} layers of {} heads", config.layer_count, config.head_count)
}

/// The scale of the colours, with numbers.
fn legend(painter: &egui::Painter, map: &Map, settings: &Settings, at: egui::Pos2, across: f32) {
    let (theme, palette) = (settings.theme, map.palette(&settings.palette));
    let font = FontId::proportional(10.5);
    let bar = Rect::from_min_size(at, vec2(across, 7.0));
    let colour = |[r, g, b]: [f32; 3]| {
        let byte = |channel: f32| (channel * 255.0).round() as u8;
        Color32::from_rgb(byte(r), byte(g), byte(b))
    };
    let steps = 96;
    let words = match settings.colouring {
        Colouring::Weights => {
            let (x, y) = map.view.cell_at(map.view.size.map(|side| side / 2.0));
            // The number of the tensor in the middle, where there is one.
            let ends = map.atlas.spot(x, y).filter(|_| map.view.scale > 2.0).map_or_else(
                || ["-3 spreads".to_owned(), "+3 spreads".to_owned()],
                |spot| {
                    let end = RANGE * map.atlas.spread(spot.tensor);
                    [format!("-{end:.3}"), format!("+{end:.3}")]
                },
            );
            [ends[0].clone(), "0".into(), ends[1].clone()]
        }
        Colouring::Error => ["exact".into(), "half a step".into(), "1/3 spread".into()],
        Colouring::Bytes => {
            let text = "3 bytes of the file: red, green, blue";
            painter.text(at, Align2::LEFT_TOP, text, FontId::proportional(11.0), ink(theme));
            return;
        }
    };
    for step in 0..steps {
        let part = step as f32 / (steps - 1) as f32;
        let shade = match settings.colouring {
            Colouring::Error => palette.error(theme, part / 3.0),
            _ => palette.weight(theme, (part * 2.0 - 1.0) * RANGE),
        };
        let wide = bar.width() / steps as f32;
        let cell =
            Rect::from_min_size(bar.min + vec2(step as f32 * wide, 0.0), vec2(wide + 0.5, bar.height()));
        painter.rect_filled(cell, 0.0, colour(shade));
    }
    painter.rect_stroke(bar, 0.0, Stroke::new(1.0, faint(theme).gamma_multiply(0.5)), StrokeKind::Outside);
    let below = bar.bottom() + 2.0;
    let places = [
        (bar.left(), Align2::LEFT_TOP),
        (bar.center().x, Align2::CENTER_TOP),
        (bar.right(), Align2::RIGHT_TOP),
    ];
    for (word, (x, align)) in words.iter().zip(places) {
        painter.text(pos2(x, below), align, word, font.clone(), ink(theme));
    }
}
