//! The frame around the map: where one is, the minimap's frame, the legend, and what is told.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Align2, FontId, Id, LayerId, Order, Rect, Stroke, StrokeKind, pos2, vec2};

use crate::model::PixelModel;
use crate::model::colour::gamma;
use crate::model::relief::HEIGHTS;
use crate::panel::labels::map_text::minimap;
use crate::panel::labels::placement::Taken;
use crate::panel::rect_mesh::RectMesh;
use crate::panel::style::{accent, card, faint, hairline, ink, of_palette, solid, veil};
use crate::words::short_count;
use crate::world::camera::{MapCamera, Navigate};
use crate::world::draw::relief_fade;
use crate::world::layout::{Atlas, Place};
use crate::world::notices::Notices;
use crate::world::palette::{Colouring, Palette, Palettes, RANGE};
use crate::world::settings::Settings;
use crate::world::tour::TourRun;
use crate::world::view::View;

/// The legend's width, as wide as the widest minimap.
const LEGEND: f32 = 190.0;
/// What stands beside a caption on either side: the minimap with both legends, and the keys.
const BESIDE: f32 = 322.0;

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    notices: Res<Notices>,
    mut navigate: MessageWriter<Navigate>,
    palettes: Res<Palettes>,
    settings: Res<Settings>,
    tour: Option<Res<TourRun>>,
    mut taken: ResMut<Taken>,
) -> Result {
    let context = contexts.ctx_mut()?;
    trail(context, &atlas, &camera.view, &settings, &mut navigate);
    let painter = context.layer_painter(LayerId::new(Order::Middle, Id::new("chrome")));
    let theme = settings.theme;
    let screen = painter.clip_rect();
    let at = pos2(14.0, screen.bottom() - 28.0);
    let panel = Rect::from_min_max(at - vec2(8.0, 7.0), at + vec2(LEGEND + 8.0, 22.0));
    if let Some(frame) = minimap(&camera.view, &atlas) {
        // The minimap is drawn with the map; the panel is drawn around it.
        let panel = panel.union(frame.expand(8.0));
        let mut plain = RectMesh::default();
        plain.around(panel, frame.shrink(1.0), solid(theme));
        plain.paint(&painter);
        painter.rect_stroke(panel, 4.0, hairline(theme), StrokeKind::Inside);
        taken.rects.push(panel);
        let seen = camera.view.visible();
        let small = camera.view.minimap_view(atlas.bounds());
        let at = |x: i64, y: i64| {
            let [x, y] = small.to_screen([x as f64, y as f64]);
            frame.min + vec2(x as f32, y as f32)
        };
        let here =
            Rect::from_min_max(at(seen.x, seen.y), at(seen.x + seen.width, seen.y + seen.height));
        // Where one weight fills the screen, the mark is still to be seen.
        let here = Rect::from_center_size(here.center(), here.size().max(vec2(5.0, 5.0)));
        let here = here.intersect(frame).expand(1.0);
        painter.rect_stroke(here, 1.0, Stroke::new(1.5, accent(theme)), StrokeKind::Outside);
    } else {
        painter.rect(panel, 4.0, solid(theme), hairline(theme), StrokeKind::Inside);
        taken.rects.push(panel);
    }
    let palette = palettes.named(&settings.palette);
    legend(&painter, (&atlas, &camera.view), palette, &settings, at);
    let caption = tour.map(|tour| tour.caption.clone()).filter(|caption| !caption.is_empty());
    if let Some(text) = caption {
        let wide =
            // The last bound is the strongest: on a narrow screen the caption covers its
            // neighbours rather than leave the screen.
            600.0f32.min(screen.width() - 2.0 * BESIDE).max(260.0).min(screen.width() - 40.0);
        let galley = painter.layout(text, FontId::proportional(16.0), ink(theme), wide);
        let place = Align2::CENTER_BOTTOM
            .anchor_size(pos2(screen.center().x, screen.bottom() - 20.0), galley.size());
        let panel = place.expand2(vec2(16.0, 11.0));
        painter.rect(
            panel,
            8.0,
            solid(theme),
            Stroke::new(1.0, veil(accent(theme), 0.3)),
            StrokeKind::Inside,
        );
        painter.galley(place.min, galley, ink(theme));
        taken.rects.push(panel);
        taken.caption = Some(panel);
    }
    if let Some(text) = notices.text() {
        let wide = (screen.width() - 60.0).max(40.0);
        let galley = painter.layout(text.to_owned(), FontId::proportional(14.0), ink(theme), wide);
        let place = Align2::CENTER_TOP.anchor_size(pos2(screen.center().x, 60.0), galley.size());
        let panel = place.expand2(vec2(14.0, 8.0));
        painter.rect(panel, 6.0, solid(theme), hairline(theme), StrokeKind::Inside);
        painter.galley(place.min, galley, ink(theme));
        taken.rects.push(panel);
    }
    Ok(())
}

/// The places that one is in, from the model to the first that is seen whole.
fn places(atlas: &Atlas, view: &View) -> Vec<Place> {
    let [across, down] = view.size;
    let (x, y) = view.cell_at(view.middle());
    let seen = view.visible();
    let mut places = vec![Place::Model];
    if seen.contains(&atlas.bounds()) {
        return places;
    }
    for place in atlas.trail(x, y).into_iter().skip(1) {
        let Some(rect) = atlas.rect(&place) else { continue };
        let side = |cells: i64| cells as f64 * view.scale;
        // Only what fills a good part of the screen is where one is.
        if side(rect.width) < across * 0.45 && side(rect.height) < down * 0.6 {
            break;
        }
        places.push(place);
        if seen.contains(&rect) {
            break;
        }
    }
    places
}

/// The names of the places around the middle of the screen; each goes there.
fn trail(
    context: &egui::Context,
    atlas: &Atlas,
    view: &View,
    settings: &Settings,
    navigate: &mut MessageWriter<Navigate>,
) {
    let theme = settings.theme;
    let places = places(atlas, view);
    let mut chosen = None;
    // The tabs and the search box have the other half of the line.
    let room = (context.content_rect().width() - 540.0).max(160.0);
    egui::Area::new(Id::new("trail")).fixed_pos(pos2(12.0, 10.0)).show(context, |ui| {
        card(theme).show(ui, |ui| {
            ui.set_max_width(room);
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = 6.0;
                for (at, place) in places.iter().enumerate() {
                    if at > 0 {
                        ui.label(egui::RichText::new(">").color(faint(theme)));
                    }
                    let text = egui::RichText::new(atlas.short_name(place));
                    let text = if at == 0 { text.size(16.0).strong() } else { text.size(14.0) };
                    let label =
                        egui::Label::new(text).sense(egui::Sense::click()).selectable(false);
                    if ui.add(label.truncate()).clicked() {
                        chosen = Some(place.clone());
                    }
                }
                if places.len() == 1 {
                    let text =
                        egui::RichText::new(facts(atlas.model())).color(faint(theme)).size(13.0);
                    ui.add(egui::Label::new(text).truncate());
                }
            });
        });
    });
    if let Some(place) = chosen {
        navigate.write(Navigate::To(place));
    }
}

/// What a model is, in a line.
fn facts(model: &PixelModel) -> String {
    let config = model.config();
    let weights = short_count(model.weight_count());
    let encoding = crate::model::tensors::main_encoding(model.tensors());
    format!(
        "{weights} weights, {encoding}, {} layers of {} heads",
        config.layer_count, config.head_count
    )
}

/// The scale of the colours, with numbers.
fn legend(
    painter: &egui::Painter,
    (atlas, view): (&Atlas, &View),
    palette: &Palette,
    settings: &Settings,
    at: egui::Pos2,
) {
    let theme = settings.theme;
    let write = |x: f32, y: f32, align: Align2, text: &str| {
        painter.text(pos2(x, y), align, text, FontId::proportional(11.0), ink(theme));
    };
    let bar = Rect::from_min_size(at, vec2(LEGEND, 7.0));
    let pixels = painter.ctx().pixels_per_point();
    let [begins, ends] = relief_fade(view, atlas.bounds(), pixels);
    let is_far = 1.0 / (view.scale * f64::from(pixels)) > (begins + ends) / 2.0;
    let words = match settings.colouring {
        // Root mean squares of the weights under a pixel, over their tensor's median.
        Colouring::Weights if is_far => {
            let ends = HEIGHTS.map(|octaves| format!("{:.2} x", octaves.exp2()));
            [ends[0].clone(), "size over median".into(), ends[1].clone()]
        }
        Colouring::Weights => {
            let (x, y) = view.cell_at(view.middle());
            // The number of the tensor in the middle, where there is one.
            let ends = atlas.spot(x, y).filter(|_| view.scale > 2.0).map_or_else(
                || ["-3 spreads".to_owned(), "+3 spreads".to_owned()],
                |spot| {
                    let end = RANGE * atlas.spread(spot.tensor);
                    [format!("-{end:.3}"), format!("+{end:.3}")]
                },
            );
            [ends[0].clone(), "weight 0".into(), ends[1].clone()]
        }
        Colouring::Error => ["exact".into(), "half a step".into(), "1/3 spread".into()],
        Colouring::Bytes => {
            write(at.x, at.y + 1.0, Align2::LEFT_TOP, "3 bytes of the file: red, green, blue");
            return;
        }
    };
    let mut plain = RectMesh::default();
    let ramps = palette.ramps(theme);
    plain.ramp(bar, |part| {
        of_palette(match settings.colouring {
            Colouring::Weights if is_far => ramps.of_height(part).map(gamma),
            // A third of a spread is the end of the palette's scale of errors.
            Colouring::Error => palette.error(theme, part / 3.0),
            _ => palette.weight(theme, (part * 2.0 - 1.0) * RANGE),
        })
    });
    plain.frame(bar, hairline(theme));
    plain.paint(painter);
    let below = bar.bottom() + 1.0;
    write(bar.left(), below, Align2::LEFT_TOP, &words[0]);
    write(bar.center().x, below, Align2::CENTER_TOP, &words[1]);
    write(bar.right(), below, Align2::RIGHT_TOP, &words[2]);
}
