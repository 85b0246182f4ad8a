//! The frame around the map: where one is, the minimap's frame and the legend.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Align2, FontId, Id, LayerId, Order, Rect, Stroke, StrokeKind, pos2, vec2};

use crate::model::PixelModel;
use crate::model::colour::gamma;
use crate::model::relief::HEIGHTS;
use crate::panel::charts::update::CELLS_FROM;
use crate::panel::controls::Explained;
use crate::panel::frame::{drawer, search_box};
use crate::panel::labels::map_text::minimap;
use crate::panel::labels::placement::Taken;
use crate::panel::rect_mesh::RectMesh;
use crate::panel::style::{accent, card, faint, hairline, ink, of_palette, solid};
use crate::words::short_count;
use crate::world::camera::{MapCamera, Navigate};
use crate::world::draw::relief_fade;
use crate::world::layout::{Atlas, Place};
use crate::world::palette::{Colouring, Palette, Palettes, RANGE, Theme};
use crate::world::settings::Settings;
use crate::world::tabs::Drawer;
use crate::world::view::View;

/// The legend's width, as wide as the widest minimap.
const LEGEND: f32 = 190.0;
/// Points across the names of the panels where all of them stand.
const NAMES: f32 = 640.0;
/// And where one button stands for them.
const BUTTON: f32 = 76.0;

/// Where one is, above the map.
pub(crate) fn trail(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    drawer: Res<Drawer>,
    settings: Res<Settings>,
    mut navigate: MessageWriter<Navigate>,
    mut taken: ResMut<Taken>,
) -> Result {
    let context = contexts.ctx_mut()?;
    // As wide as they were in the frame before; in the first one, as wide as they usually are.
    let shown = context.memory(|memory| memory.area_rect(drawer::names_id()));
    let names = match (drawer.0, shown) {
        (Some(_), _) => 0.0,
        (None, Some(shown)) => shown.width(),
        (None, None) if camera.view.size[0] as f32 >= drawer::ALL_NAMES => NAMES,
        (None, None) => BUTTON,
    };
    // The names of the panels and the search box have the other half of the line.
    let room = camera.view.size[0] as f32 - names - search_box::ACROSS - 60.0;
    let (view, theme) = (&camera.view, settings.theme);
    taken.rects.push(places_line(context, (&atlas, view), theme, room.max(60.0), &mut navigate));
    Ok(())
}

/// The minimap's frame and the legend, in the left corner below.
pub(crate) fn corner(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    palettes: Res<Palettes>,
    settings: Res<Settings>,
    mut taken: ResMut<Taken>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let painter = context.layer_painter(LayerId::new(Order::Middle, Id::new("chrome")));
    let theme = settings.theme;
    let at = pos2(14.0, camera.view.size[1] as f32 - 28.0);
    let mut panel = Rect::from_min_max(at - vec2(8.0, 7.0), at + vec2(LEGEND + 8.0, 22.0));
    if let Some(frame) = minimap(&camera.view, &atlas) {
        // The minimap is drawn with the map; the panel is drawn around it.
        panel = panel.union(frame.expand(8.0));
        let mut plain = RectMesh::default();
        plain.around(panel, frame.shrink(1.0), solid(theme));
        plain.paint(&painter);
        painter.rect_stroke(panel, 4.0, hairline(theme), StrokeKind::Inside);
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
    }
    taken.rects.push(panel);
    taken.corner = panel;
    let palette = palettes.named(&settings.palette);
    legend(&painter, (&atlas, &camera.view), palette, &settings, at);
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
        // Only what fills a good part of the screen is where one is: not one of many strips that
        // are as tall as it.
        let is_strip = side(rect.width) < across * 0.2;
        if is_strip || (side(rect.width) < across * 0.45 && side(rect.height) < down * 0.6) {
            break;
        }
        places.push(place);
        if seen.contains(&rect) {
            break;
        }
    }
    places
}

/// The names of the places around the middle of the screen; each goes there. Gives what they take.
fn places_line(
    context: &egui::Context,
    (atlas, view): (&Atlas, &View),
    theme: Theme,
    room: f32,
    navigate: &mut MessageWriter<Navigate>,
) -> Rect {
    let places = places(atlas, view);
    let mut chosen = None;
    let area = egui::Area::new(Id::new("trail")).fixed_pos(pos2(12.0, 10.0));
    let shown = area.show(context, |ui| {
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
                    let about = format!("go to {}", atlas.name(place));
                    if ui.add(label.truncate()).explained(about).clicked() {
                        chosen = Some(place.clone());
                    }
                }
                if places.len() == 1 {
                    let [full, ..] = &facts(atlas.model());
                    // Of the short forms the longest that there is room for.
                    let galley = facts(atlas.model()).into_iter().find_map(|form| {
                        let font = FontId::proportional(13.0);
                        let galley = ui.painter().layout_no_wrap(form, font, faint(theme));
                        (galley.size().x <= ui.available_width()).then_some(galley)
                    });
                    if let Some(galley) = galley {
                        ui.label(galley).on_hover_text(full);
                    }
                }
            });
        });
    });
    if let Some(place) = chosen {
        navigate.write(Navigate::To(place));
    }
    shown.response.rect
}

/// What a model is, in a line, and in shorter ones.
fn facts(model: &PixelModel) -> [String; 3] {
    let config = model.config();
    let weights = short_count(model.weight_count());
    let encoding = crate::model::tensors::main_encoding(model.tensors());
    let short = format!("{weights} weights");
    let [layers, heads] = [config.layer_count, config.head_count];
    [
        format!("{short}, {encoding}, {layers} layers of {heads} heads"),
        format!("{short}, {encoding}"),
        short,
    ]
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
        Colouring::Weights | Colouring::WithUpdate if is_far => {
            let ends = HEIGHTS.map(|octaves| format!("{:.2} x", octaves.exp2()));
            [ends[0].clone(), "size over median".into(), ends[1].clone()]
        }
        Colouring::Update if view.scale < CELLS_FROM => {
            ["0".into(), "added, by block".into(), "most".into()]
        }
        Colouring::Update => ["-3".into(), "added, in spreads".into(), "+3".into()],
        Colouring::Weights | Colouring::WithUpdate => {
            let (x, y) = view.cell_at(view.middle());
            // The number of the tensor in the middle, where there is one.
            let ends = atlas.spot(x, y).filter(|_| view.scale > 2.0).map_or_else(
                || ["-3 spreads".to_owned(), "+3 spreads".to_owned()],
                |spot| {
                    let end = RANGE * atlas.spread(spot.tensor);
                    [format!("-{end:.3}"), format!("+{end:.3}")]
                },
            );
            let zero = if settings.colouring == Colouring::Weights {
                "weight 0"
            } else {
                "weight and update"
            };
            [ends[0].clone(), zero.into(), ends[1].clone()]
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
            Colouring::Weights | Colouring::WithUpdate if is_far => {
                ramps.of_height(part).map(gamma)
            }
            // A third of a spread is the end of the palette's scale of errors.
            Colouring::Error => palette.error(theme, part / 3.0),
            Colouring::Update if view.scale < CELLS_FROM => palette.weight(theme, part * RANGE),
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
