//! What is selected, in numbers: place, shape, encoding, statistics, a histogram, checksums; and
//! the marks of heads and layers.

use std::collections::HashMap;

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Rect, pos2, vec2};

use crate::lineage::Island;
use crate::model::PixelModel;
use crate::model::tensors::Tensor;
use crate::model::weights::tile_weights;
use crate::panel::controls::{Explained, with_key};
use crate::panel::frame::drawer::show;
use crate::panel::lab::experiment::{MUTE, asked_and_got, factor};
use crate::panel::style::{accent, edited, faint, wrong};
use crate::terminal::one_line;
use crate::tiles::{ModelIndex, Muted, Scale, Tensors};
use crate::world::camera::Navigate;
use crate::world::damage::{self, Damage};
use crate::world::family::FamilyPicture;
use crate::world::keys::UserAction;
use crate::world::lab::{Edits, marks};
use crate::world::layout::{Atlas, Place};
use crate::world::palette::Theme;
use crate::world::pointer::Selection;
use crate::world::settings::Settings;
use crate::world::tabs::{Drawer, Tab};

/// Bars of the histogram, from -4 to 4 spreads.
const BARS: usize = 48;

/// What was counted of a tensor.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    mean: f64,
    spread: f64,
    peak: f32,
    bars: Vec<u32>,
    good: u32,
    damaged: u32,
    edited: u32,
}

fn count(model: &PixelModel, edits: &Edits, tensor: usize) -> Counted {
    let tensor = &model.tensors()[tensor];
    // In f64: f32 would drop small squares beside the sum of millions.
    let (mut sum, mut squares, mut n, mut peak) = (0.0f64, 0.0f64, 0u64, 0.0f32);
    let (mut good, mut damaged, mut edited) = (0, 0, 0);
    // Kept, since the bars are in spreads, which are known only after all weights.
    let mut all = Vec::new();
    for tile in tensor.tiles() {
        let is_edited = edits.overlay.is_edited(tile);
        // An edited tile no longer has the checksum that `tile` compares.
        let bytes = if is_edited { Ok(edits.overlay.tile(model, tile)) } else { model.tile(tile) };
        match bytes {
            Ok(bytes) => {
                *(if is_edited { &mut edited } else { &mut good }) += 1;
                let (_, shape) = model.tile_shape(tile);
                let weights = tile_weights(&tensor.tiling, &shape, bytes);
                for &weight in &weights {
                    sum += f64::from(weight);
                    squares += f64::from(weight) * f64::from(weight);
                    peak = peak.max(weight.abs());
                }
                n += weights.len() as u64;
                all.extend(weights);
            }
            Err(_) => damaged += 1,
        }
    }
    let mean = sum / n.max(1) as f64;
    // Where all weights are alike, rounding may leave a little below zero.
    let spread = (squares / n.max(1) as f64 - mean * mean).max(0.0).sqrt();
    let mut bars = vec![0; BARS];
    for weight in all {
        // Weights that are all alike have a spread of 0.
        let part = (f64::from(weight) / spread.max(f64::MIN_POSITIVE) / 8.0 + 0.5).clamp(0.0, 1.0);
        bars[((part * BARS as f64) as usize).min(BARS - 1)] += 1;
    }
    Counted { mean, spread, peak, bars, good, damaged, edited }
}

/// A model of the family: how it was made, what was measured, what its gate said.
fn child(ui: &mut egui::Ui, island: &Island, theme: Theme) {
    ui.heading(&island.title);
    for figure in &island.figures {
        ui.label(figure);
    }
    if !island.gate.is_empty() {
        ui.separator();
        ui.label("The gate");
    }
    for (holds, why) in &island.gate {
        let (word, colour) =
            if *holds { ("holds", accent(theme)) } else { ("fails", wrong(theme)) };
        ui.colored_label(colour, format!("{word}: {why}"));
    }
}

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    selection: Res<Selection>,
    mut navigate: MessageWriter<Navigate>,
    settings: Res<Settings>,
    index: Option<Res<ModelIndex>>,
    marked: Query<(Option<&Muted>, Option<&Scale>)>,
    (of_layer, names): (Query<&Tensors>, Query<&Name>),
    drawer: Res<Drawer>,
    (edits, damage, family): (Res<Edits>, Res<Damage>, Res<FamilyPicture>),
    mut counted: Local<HashMap<usize, Counted>>,
    mut of_edits: Local<u64>,
    mut commands: Commands,
) -> Result {
    let context = contexts.ctx_mut()?;
    let theme = settings.theme;
    show(context, theme, (&drawer, Tab::Inspector), |ui| {
        if let Some(island) = family.island() {
            return child(ui, island, theme);
        }
        let Some(place) = selection.0.clone() else {
            ui.label("Click a layer, a head or a tensor.");
            return;
        };
        ui.heading(atlas.name(&place));
        if let Some(rect) = atlas.rect(&place) {
            ui.colored_label(
                faint(theme),
                format!("cells {}, {}   {} x {}", rect.x, rect.y, rect.width, rect.height),
            );
        }
        if let Some(entity) = index.as_deref().and_then(|index| marks::entity_of(&place, index))
            && let Ok((muted, scale)) = marked.get(entity)
        {
            interventions(ui, entity, muted.is_some(), scale, &mut commands);
        }
        let name = match &place {
            Place::Tensor(name) | Place::Weight(name, ..) => Some(name.clone()),
            Place::Embedding | Place::Token(_) => Some("token_embd.weight".to_owned()),
            _ => None,
        };
        let Some(tensor) = name.and_then(|name| atlas.model().tensor_index(&name)) else {
            let entity = index.as_deref().and_then(|index| marks::entity_of(&place, index));
            if let Some(tensors) = entity.and_then(|entity| of_layer.get(entity).ok()) {
                ui.separator();
                tensors_of(ui, &mut navigate, names.iter_many(tensors.iter()));
            }
            return;
        };
        ui.separator();
        let model = atlas.model();
        let about = &model.tensors()[tensor];
        if std::mem::replace(&mut *of_edits, edits.overlay.version()) != edits.overlay.version() {
            counted.clear();
        }
        let counted = counted.entry(tensor).or_insert_with(|| count(model, &edits, tensor));
        facts(ui, about, counted, theme);
        for &tile in damage.tiles.iter().filter(|tile| about.tiles().contains(tile)) {
            ui.colored_label(wrong(theme), format!("damaged: {}", damage::name(model, tile)));
        }
        if counted.edited > 0 {
            ui.colored_label(edited(theme), "checksums of edited tiles no longer hold");
        }
        if let Some(last) = edits.last.filter(|last| last.tensor == tensor)
            && let Some(values) = last.painted.first
        {
            ui.label(asked_and_got(values, about.encoding().name()));
        }
        histogram(ui, counted, accent(theme));
        ui.colored_label(faint(theme), "-4 to 4 spreads");
    });
    Ok(())
}

/// Whether a head or layer is muted, and its factor: both can be changed.
fn interventions(
    ui: &mut egui::Ui,
    entity: Entity,
    mut is_muted: bool,
    scale: Option<&Scale>,
    commands: &mut Commands,
) {
    let muted = with_key(ui.ctx(), "muted", UserAction::Mute);
    if ui.checkbox(&mut is_muted, muted).explained(MUTE).changed() {
        if is_muted {
            commands.entity(entity).insert(Muted);
        } else {
            commands.entity(entity).remove::<Muted>();
        }
    }
    factor(ui, entity, scale, commands);
}

/// A tensor in numbers.
fn facts(ui: &mut egui::Ui, about: &Tensor, counted: &Counted, theme: Theme) {
    egui::Grid::new("facts").spacing([16.0, 3.0]).show(ui, |ui| {
        let mut row = |what: &str, value: String| {
            ui.colored_label(faint(theme), what);
            ui.monospace(value);
            ui.end_row();
        };
        // GGUF has the columns first; people write rows by columns.
        let shape: Vec<String> = about.dimensions.iter().rev().map(u64::to_string).collect();
        row("shape", shape.join(" x "));
        row("encoding", about.encoding().to_string());
        row("mean", format!("{:+.6}", counted.mean));
        row("spread", format!("{:.6}", counted.spread));
        row("largest", format!("{:.6}", counted.peak));
        row("tiles", format!("{}", about.tiles().len()));
        let damaged = if counted.damaged == 0 {
            String::new()
        } else {
            format!(", {} DAMAGED", counted.damaged)
        };
        let changed = if counted.edited == 0 {
            String::new()
        } else {
            format!(", {} EDITED", counted.edited)
        };
        row("SHA-256", format!("{} hold{changed}{damaged}", counted.good));
    });
}

/// The tensors of a layer; each is gone to by a click.
fn tensors_of<'a>(
    ui: &mut egui::Ui,
    navigate: &mut MessageWriter<Navigate>,
    names: impl Iterator<Item = &'a Name>,
) {
    for name in names {
        let name_line = ui.selectable_label(false, one_line(name).into_owned());
        if name_line.explained("go to this tensor").clicked() {
            navigate.write(Navigate::To(Place::Tensor(name.to_string())));
        }
    }
}

fn histogram(ui: &mut egui::Ui, counted: &Counted, colour: egui::Color32) {
    let (place, _) =
        ui.allocate_exact_size(vec2(ui.available_width().min(240.0), 60.0), egui::Sense::hover());
    let most = counted.bars.iter().copied().max().unwrap_or(1).max(1) as f32;
    let wide = place.width() / BARS as f32;
    for (at, &bar) in counted.bars.iter().enumerate() {
        let left = place.left() + at as f32 * wide;
        let top = place.bottom() - place.height() * bar as f32 / most;
        let rect = Rect::from_min_max(pos2(left, top), pos2(left + wide - 1.0, place.bottom()));
        ui.painter().rect_filled(rect, 0.0, colour);
    }
}
