//! The numbers of weights, where a cell is wide enough to write one into it, and of the cell under
//! the cursor.
//!
//! They are decoded by the formats' own reference, not by the shader that draws the cell: the two
//! can be compared.

use std::collections::HashMap;
use std::sync::Arc;

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::text::{LayoutJob, TextFormat};
use egui::{Color32, FontId, Galley, LayerId, Painter, vec2};

use super::map_text::on_screen;
use super::placement::Taken;
use crate::model::plan::Rect as Cells;
use crate::model::quant::Code;
use crate::model::weights::{tile_codes, tile_weights};
use crate::panel::style::{hairline, ink, solid};
use crate::world::camera::MapCamera;
use crate::world::lab::Edits;
use crate::world::layout::{Atlas, Spot};
use crate::world::palette::{Colouring, Palettes, RANGE, Theme};
use crate::world::pointer::Pointer;
use crate::world::settings::Settings;
use crate::world::view::View;

/// Points that a cell must be wide for its number to be written into it.
const READABLE: f64 = 40.0;
/// Points that it must be wide for what its number is made of to be written beneath.
const ROOMY: f64 = 80.0;
/// Tiles that are kept decoded; a screen of readable numbers reaches into few.
const MOST_TILES: usize = 16;

/// Tiles that were decoded lately.
#[derive(Resource, Default)]
pub(crate) struct DecodedTiles {
    tiles: HashMap<u32, (Vec<f32>, Vec<Code>)>,
    /// What edits they are of.
    edits: (u64, bool),
}

impl DecodedTiles {
    /// The weight at a spot, as edited, and what it is made of where it is quantised.
    pub fn value(
        &mut self,
        atlas: &Atlas,
        edits: &Edits,
        spot: &Spot,
    ) -> Option<(f32, Option<Code>)> {
        let model = atlas.model();
        let (tensor, shape) = model.tile_shape(spot.tile);
        let now = (edits.overlay.version(), edits.bypassed);
        let is_full = self.tiles.len() >= MOST_TILES && !self.tiles.contains_key(&spot.tile);
        if is_full || std::mem::replace(&mut self.edits, now) != now {
            self.tiles.clear();
        }
        let (weights, codes) = self.tiles.entry(spot.tile).or_insert_with(|| {
            let (tiling, bytes) = (&model.tensors()[tensor].tiling, edits.tile(model, spot.tile));
            (tile_weights(tiling, &shape, bytes), tile_codes(tiling, &shape, bytes))
        });
        let stride = shape.columns.end - shape.columns.start;
        let at = spot.row.checked_sub(shape.rows.start)? * stride
            + spot.column.checked_sub(shape.columns.start)?;
        Some((*weights.get(at as usize)?, codes.get(at as usize).copied()))
    }
}

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    pointer: Res<Pointer>,
    palettes: Res<Palettes>,
    settings: Res<Settings>,
    edits: Res<Edits>,
    mut cache: ResMut<DecodedTiles>,
    taken: Res<Taken>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let painter = context.layer_painter(LayerId::background());
    // In flight nobody reads them, and at every scale they would be laid out anew.
    if camera.view.scale >= READABLE && camera.flight.is_none() {
        let visible = camera.view.visible();
        let palette = palettes.named(&settings.palette);
        for y in visible.y..visible.y + visible.height {
            for x in visible.x..visible.x + visible.width {
                let Some(spot) = atlas.spot(x, y) else { continue };
                let Some((value, code)) = cache.value(&atlas, &edits, &spot) else { continue };
                let colour = if settings.colouring == Colouring::Weights {
                    let spreads = value / atlas.spread(spot.tensor);
                    legible_on(palette.weight(settings.theme, spreads.clamp(-RANGE, RANGE)))
                } else {
                    Color32::WHITE
                };
                let middle = on_screen(&camera.view, Cells::new(x, y, 1, 1)).center();
                let size = (camera.view.scale as f32 / 5.4).clamp(8.0, 15.0);
                let galley = written(
                    &painter,
                    value,
                    code.filter(|_| camera.view.scale >= ROOMY),
                    size,
                    colour,
                );
                let place = egui::Align2::CENTER_CENTER.anchor_size(middle, galley.size());
                // A number of which a part is covered would be read as another.
                if taken.meets(place) || !painter.clip_rect().contains_rect(place) {
                    continue;
                }
                if settings.colouring != Colouring::Weights {
                    painter.rect_filled(place.expand(1.0), 2.0, Color32::from_black_alpha(170));
                }
                // Its lines are centred on where it is put.
                painter.galley(place.center_top(), galley, colour);
            }
        }
    }
    if let Some(pointer) = pointer.0 {
        under_pointer(
            &painter,
            (&atlas, &camera.view),
            pointer,
            &edits,
            &mut cache,
            settings.theme,
        );
    }
    Ok(())
}

/// Writes beside the pointer what weight is under it.
fn under_pointer(
    painter: &Painter,
    (atlas, view): (&Atlas, &View),
    pointer: [f64; 2],
    edits: &Edits,
    cache: &mut DecodedTiles,
    theme: Theme,
) {
    let (x, y) = view.cell_at(pointer);
    let Some(spot) = atlas.spot(x, y) else { return };
    let tensor = &atlas.model().tensors()[spot.tensor];
    let mut text = format!("{}  [{}, {}]", tensor.name, spot.row, spot.column);
    if view.scale >= 1.0
        && let Some((value, code)) = cache.value(atlas, edits, &spot)
    {
        text = format!("{text}\n{value:+.6}   {}   tile {}", tensor.encoding(), spot.tile);
        if let Some(Code { code, most, scale, base }) = code {
            let block = spot.column / tensor.encoding().block_len() as u64;
            text = format!(
                "{text}\ncode {code} of 0 to {most}, x {scale:.3e} {base:+.3e}   \
                 block {block} of the row"
            );
        }
    }
    let galley = painter.layout_no_wrap(text, FontId::monospace(11.0), ink(theme));
    let screen = painter.clip_rect();
    let at = egui::pos2(pointer[0] as f32, pointer[1] as f32) + vec2(16.0, 18.0);
    let least = screen.max - galley.size() - vec2(14.0, 10.0);
    let place = egui::Rect::from_min_size(at.min(least), galley.size());
    painter.rect(
        place.expand2(vec2(8.0, 5.0)),
        4.0,
        solid(theme),
        hairline(theme),
        egui::StrokeKind::Outside,
    );
    painter.galley(place.min, galley, ink(theme));
}

/// A number, and beneath it what it is made of: code, scale and base.
fn written(
    painter: &Painter,
    value: f32,
    code: Option<Code>,
    size: f32,
    colour: Color32,
) -> Arc<Galley> {
    let mut job = LayoutJob { halign: egui::Align::Center, ..LayoutJob::default() };
    let mut line = |text: String, size: f32, colour| {
        job.append(&text, 0.0, TextFormat::simple(FontId::monospace(size), colour));
    };
    line(short(value), size, colour);
    if let Some(Code { code, scale, base, .. }) = code {
        let sign = if base < 0.0 { '-' } else { '+' };
        let parts = format!("\n{code} x {}\n{sign} {}", short(scale), short(base.abs()));
        line(parts, size * 0.68, colour);
    }
    painter.layout_job(job)
}

/// A number in five characters or so.
fn short(value: f32) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size < 0.000_95 => format!("{value:.0e}"),
        size if size < 9.995 => format!("{value:.3}").replacen("0.", ".", 1),
        _ => format!("{value:.1}"),
    }
}

/// Black or white, whichever is read better on a colour.
fn legible_on([r, g, b]: [f32; 3]) -> Color32 {
    let linear = |channel: f32| crate::model::colour::linear(channel);
    // Relative luminance, as WCAG has it.
    let light = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    // Where both have the same contrast.
    if light > 0.179 { Color32::BLACK } else { Color32::WHITE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_a_cell() {
        for value in [0.0, -0.1234567, 0.0004, -1e-9, 1.5, -123.456, 9.9999] {
            assert!(short(value).len() <= 7, "{value}: {}", short(value));
        }
        assert_eq!((short(-0.1234).as_str(), short(1.5).as_str()), ("-.123", "1.500"));
    }
}
