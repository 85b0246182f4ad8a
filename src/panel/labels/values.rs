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
use egui::{Color32, FontId, Galley, Painter, vec2};

use super::map_text::on_screen;
use super::placement::{Taken, map_painter};
use crate::model::plan::Rect as Cells;
use crate::model::quant::Code;
use crate::model::weights::{tile_codes, tile_weights};
use crate::panel::style::{hairline, ink, solid};
use crate::world::adapters::{ActingAdapter, LoadedAdapters};
use crate::world::camera::MapCamera;
use crate::world::damage::Damage;
use crate::world::lab::Edits;
use crate::world::layout::{Atlas, Spot};
use crate::world::palette::{Colouring, Palettes, RANGE, Theme};
use crate::world::pointer::Pointer;
use crate::world::settings::Settings;
use crate::world::update::MatrixUpdate;
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
    /// What adapters add to a tensor and its spread, and to which tensor of which adapters.
    update: Option<(usize, Vec<ActingAdapter>, Option<(MatrixUpdate, f32)>)>,
}

impl DecodedTiles {
    /// What adapters add to the weight at a spot, and the root mean square of what they add to all
    /// of its tensor: 0 where they add nothing.
    pub fn update(&mut self, atlas: &Atlas, loaded: &LoadedAdapters, spot: &Spot) -> (f32, f32) {
        let acting = loaded.acting();
        let known = self.update.take().filter(|it| it.0 == spot.tensor && it.1 == acting);
        let known = known.unwrap_or_else(|| {
            let name = &atlas.model().tensors()[spot.tensor].name;
            let update = MatrixUpdate::new(loaded, name).map(|update| {
                let spread = update.spread();
                (update, spread)
            });
            (spot.tensor, acting, update)
        });
        let of = |(update, spread): &(MatrixUpdate, f32)| {
            (update.at(spot.row as usize, spot.column as usize), *spread)
        };
        let found = known.2.as_ref().map_or((0.0, 0.0), of);
        self.update = Some(known);
        found
    }

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
    (edits, damage, loaded): (Res<Edits>, Res<Damage>, Res<LoadedAdapters>),
    mut cache: ResMut<DecodedTiles>,
    taken: Res<Taken>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let painter = map_painter(context, &camera.view);
    // In flight nobody reads them, and at every scale they would be laid out anew.
    if camera.view.scale >= READABLE && camera.flight.is_none() {
        let visible = camera.view.visible();
        let palette = palettes.named(&settings.palette);
        for y in visible.y..visible.y + visible.height {
            for x in visible.x..visible.x + visible.width {
                let Some(spot) = atlas.spot(x, y) else { continue };
                // The number would be none that anybody trained.
                if damage.is_damaged(spot.tile) {
                    continue;
                }
                let Some((weight, code)) = cache.value(&atlas, &edits, &spot) else { continue };
                let (value, spread) = match settings.colouring {
                    Colouring::Update => cache.update(&atlas, &loaded, &spot),
                    Colouring::WithUpdate => {
                        let (added, _) = cache.update(&atlas, &loaded, &spot);
                        (weight + added, atlas.spread(spot.tensor))
                    }
                    _ => (weight, atlas.spread(spot.tensor)),
                };
                // What a weight is made of is not what both together are made of.
                let is_update =
                    matches!(settings.colouring, Colouring::Update | Colouring::WithUpdate);
                let code = code.filter(|_| !is_update);
                let is_weight = settings.colouring == Colouring::Weights || is_update;
                let colour = if is_weight {
                    let spreads = if spread > 0.0 { value / spread } else { 0.0 };
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
                if !is_weight {
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
            (&edits, &damage, &loaded),
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
    (edits, damage, loaded): (&Edits, &Damage, &LoadedAdapters),
    cache: &mut DecodedTiles,
    theme: Theme,
) {
    let (x, y) = view.cell_at(pointer);
    let Some(spot) = atlas.spot(x, y) else { return };
    let tensor = &atlas.model().tensors()[spot.tensor];
    let mut text = format!("{}  [{}, {}]", tensor.name, spot.row, spot.column);
    if damage.is_damaged(spot.tile) {
        text = format!(
            "{text}\ntile {} is damaged: its bytes are not those of its checksum",
            spot.tile
        );
    } else if view.scale >= 1.0
        && let Some((value, code)) = cache.value(atlas, edits, &spot)
    {
        text = format!("{text}\n{value:+.6}   {}   tile {}", tensor.encoding(), spot.tile);
        if let Some(code) = code {
            let block = spot.column / tensor.encoding().block_len() as u64;
            let sum = sum(code, f64::from(value), 0.5e-6).join(" ");
            let most = code.most;
            text = format!("{text}\n{sum}   code of 0 to {most}, block {block} of the row");
        }
    }
    if view.scale >= 1.0
        && let (added, spread) = cache.update(atlas, loaded, &spot)
        && spread > 0.0
    {
        text = format!("{text}\n{added:+.6}   added by adapters");
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
    if let Some(code) = code {
        let (written, half) = as_written(value);
        let [product, base] = sum(code, written, half);
        line(format!("\n{product}\n{base}"), size * 0.68, colour);
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

/// A number as [`short`] writes it, and half a unit of its last digit.
fn as_written(value: f32) -> (f64, f64) {
    let text = short(value);
    let written =
        text.replacen('.', "0.", usize::from(text.trim_start_matches('-').starts_with('.')));
    let half = match value.abs() {
        0.0 => 0.5e-3,
        size if size < 0.000_95 => {
            let power = text.split_once('e').and_then(|(_, power)| power.parse::<i32>().ok());
            0.5 * 10.0_f64.powi(power.unwrap_or(0))
        }
        size if size < 9.995 => 0.5e-3,
        _ => 0.05,
    };
    (written.parse().unwrap_or(value.into()), half)
}

/// The most decimals of a scale: 2 to the power of -24 is the least of an f16.
const MOST_DECIMALS: usize = 12;

/// What a value is made of, code times scale and what is added, in as few digits as add up to the
/// value within `half` a unit of the last digit that is written of it.
///
/// What is added is a multiple of the scale in encodings without a base of their own, and is
/// written so: 8 x .0312 says more than .25, and its digits are right for every code.
fn sum(code: Code, value: f64, half: f64) -> [String; 2] {
    let Code { code, scale, base, .. } = code;
    let (scale, base, code_of) = (f64::from(scale), f64::from(base), f64::from(code));
    let times = (base / scale).round();
    let is_multiple = scale != 0.0 && (times * scale - base).abs() <= base.abs() * 1e-6;
    let at = |decimals: usize| {
        // As it is written: a tie goes to the even digit there.
        let read = |number: f64| format!("{number:.decimals$}").parse().unwrap_or(number);
        let [scale, alone] = [scale, base].map(read);
        let base = if is_multiple { times * scale } else { alone };
        // A sum of decimals is no decimal: it may be off by a little.
        (code_of * scale + base - value).abs() <= half * (1.0 + 1e-6)
    };
    let decimals = (3..MOST_DECIMALS).find(|&decimals| at(decimals)).unwrap_or(MOST_DECIMALS);
    let digits = |number: f64| {
        let text = format!("{number:.decimals$}");
        text.strip_prefix('0').map(str::to_owned).unwrap_or(text)
    };
    let sign = if base < 0.0 { '-' } else { '+' };
    let base = if is_multiple {
        format!("{sign} {} x {}", times.abs(), digits(scale.abs()))
    } else {
        format!("{sign} {}", digits(base.abs()))
    };
    [format!("{code} x {}", digits(scale)), base]
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

    /// A decimal as a whole number of units of 10 to the power of -20.
    fn units(text: &str) -> i128 {
        let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let (digits, power) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let number: i128 = format!("0{whole}{part}").parse().unwrap();
        let power = 20 + power.parse::<i32>().unwrap() - part.len() as i32;
        sign * number * 10_i128.pow(power as u32)
    }

    /// What stands beneath a number, added up digit by digit.
    fn added_up([product, base]: &[String; 2]) -> i128 {
        let product_of = |text: &str| match text.split_once(" x ") {
            Some((code, scale)) => code.parse::<i128>().unwrap() * units(scale),
            None => units(text),
        };
        let (sign, base) = base.split_once(' ').unwrap();
        let base = product_of(base);
        product_of(product) + if sign == "-" { -base } else { base }
    }

    #[test]
    fn what_is_written_beneath_a_number_adds_up_to_it() {
        let model = crate::app::kinds::assets().default_model().unwrap();
        let mut compared = 0;
        for tile in 0..model.tile_count() {
            let (tensor, shape) = model.tile_shape(tile);
            let tiling = &model.tensors()[tensor].tiling;
            let bytes = model.tile(tile).unwrap();
            let values = tile_weights(tiling, &shape, bytes);
            for (value, code) in values.iter().zip(tile_codes(tiling, &shape, bytes)).step_by(7) {
                let (written, half) = as_written(*value);
                let (text, beneath) = (short(*value), sum(code, written, half));
                let half = (half * 1e18).round() as i128 * 100;
                let off = (added_up(&beneath) - units(&text)).abs();
                assert!(off <= half, "{text} is not {beneath:?}");
                compared += 1;
            }
        }
        assert!(compared > 10_000, "{compared}");
    }

    #[test]
    fn sums_of_every_kind_of_encoding_add_up() {
        // A base of its own, a multiple of the scale, a code of 8 bits, and what is exactly zero.
        for (code, scale, base) in [
            (5, 0.0312347f32, -0.0981),
            (8, 0.0312347, -8.0 * 0.0312347),
            (200, 0.00123, -128.0 * 0.00123),
            (63, 1.2345, -17.5),
            (0, 0.000_013, 0.000_02),
            (7, 0.0, 0.0),
        ] {
            let value = code as f32 * scale + base;
            let (written, half) = as_written(value);
            let beneath = sum(Code { code, most: 255, scale, base }, written, half);
            let off = (added_up(&beneath) - units(&short(value))).abs();
            assert!(off <= (half * 1e18).round() as i128 * 100, "{value}: {beneath:?}");
        }
    }
}
