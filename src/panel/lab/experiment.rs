//! The experiment panel: mute, scale and solo; paint weights, take it back, save a copy; answer a
//! prompt both ways.

use std::path::PathBuf;
use std::sync::Arc;

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Button, DragValue, RichText, Ui};

use super::side_by_side;
use crate::forward::Interventions;
use crate::model::PixelModel;
use crate::model::edits::{Brush, Region};
use crate::model::weights::tile_weights;
use crate::panel::controls::{Explained, clicked, key_button};
use crate::panel::frame::drawer::{WIDE, show};
use crate::panel::style::faint;
use crate::panel::{PromptBox, Scrubbed, WhatChanged};
use crate::tiles::{ModelIndex, Muted, Scale};
use crate::world::camera::Navigate;
use crate::world::keys::UserAction;
use crate::world::lab::{Comparison, ComparisonStage, Edits, marks};
use crate::world::layout::{Atlas, Place};
use crate::world::palette::Theme;
use crate::world::pointer::Selection;
use crate::world::settings::Settings;
use crate::world::tabs::{Drawer, Tab};
use crate::world::think::Generation;

/// What muting comes to.
pub(crate) const MUTE: &str = "it gives nothing to the river: the model answers without it";
/// What hearing alone comes to.
const SOLO: &str = "the others of its kind give nothing to the river";
/// Marks that are listed; more are counted.
const MOST_LISTED: usize = 12;

/// What is typed into the panel.
pub(crate) struct Typed {
    value: f32,
    factor: f32,
    noise: f32,
    path: Option<String>,
}

impl Default for Typed {
    fn default() -> Self {
        Self { value: 0.5, factor: -1.0, noise: 1.0, path: None }
    }
}

/// Who begins to paint needs the brushes; what comes of a change is told in the same panel.
pub(crate) fn open_by_itself(
    edits: Res<Edits>,
    comparison: Res<Comparison>,
    mut before: Local<[bool; 2]>,
    mut drawer: ResMut<Drawer>,
) {
    let now = [edits.painting, comparison.is_running()];
    let has_begun = now.iter().zip(*before).any(|(now, before)| *now && !before);
    *before = now;
    if has_begun {
        drawer.0 = Some(Tab::Experiment);
    }
}

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    selection: Res<Selection>,
    mut navigate: MessageWriter<Navigate>,
    mut actions: MessageWriter<UserAction>,
    (settings, interventions, prompt): (Res<Settings>, Res<Interventions>, Res<PromptBox>),
    index: Option<Res<ModelIndex>>,
    (muted, scales, marked): (Query<(), With<Muted>>, Query<&Scale>, marks::MarkedEntities),
    (mind, scrubbed): (Res<Generation>, Res<Scrubbed>),
    (mut edits, mut comparison): (ResMut<Edits>, ResMut<Comparison>),
    (drawer, mut changed): (Res<Drawer>, ResMut<WhatChanged>),
    mut typed: Local<Typed>,
    mut commands: Commands,
) -> Result {
    let context = contexts.ctx_mut()?;
    let theme = settings.theme;
    show(context, theme, (&drawer, Tab::Experiment), |ui| {
        // What came of the last change comes first: the drawer was opened for it.
        if comparison.stage != ComparisonStage::Idle {
            section(ui, "Before and after", |ui| {
                let beside = (&*mind, &*atlas, scrubbed.0);
                let clicked = side_by_side::answers(ui, &comparison, beside, &mut changed, theme);
                navigate.write_batch(clicked.to.map(Navigate::To));
                if clicked.forget {
                    *comparison = Comparison::default();
                }
            });
        }
        section(ui, "Heads and layers", |ui| {
            let place = selection.0.as_ref();
            let entity = place.zip(index.as_deref()).and_then(|(place, index)| {
                let is_solo = marks::is_solo(place, index, |entity| muted.contains(entity));
                Some((place, marks::entity_of(place, index)?, is_solo))
            });
            if let Some((place, entity, is_solo)) = entity {
                ui.label(RichText::new(atlas.name(place)).strong());
                ui.horizontal(|ui| {
                    for (name, words, is_on, action) in [
                        ("Mute", MUTE, muted.contains(entity), UserAction::Mute),
                        ("Solo", SOLO, is_solo, UserAction::Solo),
                    ] {
                        if key_button(ui, (true, is_on), (name, words), action) {
                            // As the key would: the plugin that owns the marks answers.
                            actions.write(action);
                        }
                    }
                });
                factor(ui, entity, scales.get(entity).ok(), &mut commands);
            } else {
                ui.colored_label(faint(theme), "Click a head or a layer.");
            }
            listed(ui, &atlas, &interventions, &mut navigate, theme);
            let words = "no head and no layer is muted or scaled any more";
            if !marked.is_empty() && clicked(ui, true, Button::new("All speak again"), words) {
                marks::clear(&marked, &mut commands);
            }
        });
        section(ui, "Weights", |ui| {
            let selected = (&*atlas, &*selection);
            weights(ui, selected, &mut actions, &mut edits, &mut typed, theme);
        });
        section(ui, "Ask both", |ui| {
            let changed = !marked.is_empty() || !edits.overlay.tiles().is_empty();
            // Not given to be changed: whoever watches for changes would see one in every frame.
            if let Some(asked) = side_by_side::ask(ui, &comparison, &prompt, changed, theme) {
                comparison.start(asked);
            }
        });
    });
    Ok(())
}

fn section(ui: &mut Ui, title: &str, contents: impl FnOnce(&mut Ui)) {
    let heading = RichText::new(title).strong();
    let shown =
        egui::CollapsingHeader::new(heading).default_open(true).show_unindented(ui, contents);
    shown.header_response.explained("fold it, or unfold it");
    ui.add_space(4.0);
}

/// What a head or a layer gives is multiplied by this.
pub(crate) fn factor(ui: &mut Ui, entity: Entity, scale: Option<&Scale>, commands: &mut Commands) {
    let mut factor = scale.map_or(1.0, |scale| scale.0);
    ui.horizontal(|ui| {
        ui.label("times");
        let words = "what it gives to the river is multiplied by this";
        if ui.add(egui::Slider::new(&mut factor, -2.0..=4.0)).explained(words).changed() {
            commands.entity(entity).insert(Scale(factor));
        }
        if scale.is_some() && clicked(ui, true, Button::new("1"), "as the model has it") {
            commands.entity(entity).remove::<Scale>();
        }
    });
}

/// What is muted or scaled; each is gone to by a click.
fn listed(
    ui: &mut Ui,
    atlas: &Atlas,
    interventions: &Interventions,
    navigate: &mut MessageWriter<Navigate>,
    theme: Theme,
) {
    let heads = atlas.model().config().head_count.max(1) as usize;
    let of_heads = interventions.heads.iter().enumerate();
    let of_heads = of_heads
        .map(|(at, &factor)| (Place::Head((at / heads) as u32, (at % heads) as u32), factor));
    let of_layers = interventions.layers.iter().enumerate();
    let of_layers = of_layers.map(|(at, &factor)| (Place::Layer(at as u32), factor));
    let marked: Vec<(Place, f32)> =
        of_layers.chain(of_heads).filter(|(_, factor)| *factor != 1.0).collect();
    for (place, factor) in marked.iter().take(MOST_LISTED) {
        let what = if *factor == 0.0 { "muted".to_owned() } else { format!("x {factor:.2}") };
        let text = RichText::new(format!("{}  {what}", atlas.name(place))).size(12.0);
        if ui.selectable_label(false, text).explained("go there").clicked() {
            navigate.write(Navigate::To(place.clone()));
        }
    }
    if marked.len() > MOST_LISTED {
        ui.colored_label(faint(theme), format!("and {} more", marked.len() - MOST_LISTED));
    }
}

fn weights(
    ui: &mut Ui,
    (atlas, selection): (&Atlas, &Selection),
    actions: &mut MessageWriter<UserAction>,
    edits: &mut Edits,
    typed: &mut Typed,
    theme: Theme,
) {
    marked_weights(ui, (atlas, selection), edits);
    let spread = edits.marked().first().map_or(1.0, |region| atlas.spread(region.tensor));
    if let Some(brush) = brushes(ui, edits, typed, spread, theme) {
        edits.paint(atlas.model(), brush);
    }
    if let Some(problem) = &edits.problem {
        ui.colored_label(crate::panel::style::wrong(theme), problem);
    }
    outcome(ui, atlas.model(), edits);
    let [undo, redo] = edits.overlay.depth();
    ui.horizontal(|ui| {
        for (depth, name, words, action) in [
            (undo, "Undo", "take back the last change of weights", UserAction::Undo),
            (redo, "Redo", "make the change again that was taken back", UserAction::Redo),
        ] {
            if key_button(ui, (depth > 0, false), (name, words), action) {
                actions.write(action);
            }
        }
        let is_edited = !edits.overlay.tiles().is_empty();
        let words = "every weight is again what the file says";
        if clicked(ui, is_edited, Button::new("As in the file"), words) {
            edits.restore_all();
        }
    });
    if !edits.overlay.tiles().is_empty() {
        copy(ui, atlas.model(), edits, typed, theme);
    }
}

/// What is marked, and the buttons that mark.
fn marked_weights(ui: &mut Ui, (atlas, selection): (&Atlas, &Selection), edits: &mut Edits) {
    ui.horizontal(|ui| {
        let words = "a drag on the map marks weights in the place of moving it";
        let state = (true, edits.painting);
        if key_button(ui, state, ("Mark on the map", words), UserAction::Paint) {
            edits.painting = !edits.painting;
        }
        let selected = selection.0.as_ref();
        let words = "mark all weights of the place that is selected";
        if clicked(ui, selected.is_some(), Button::new("Mark what is selected"), words)
            && let Some(place) = selected
        {
            edits.mark_place(atlas, place);
        }
    });
    let words = match edits.marked() {
        [] => "Nothing is marked.".to_owned(),
        [one] => describe(atlas.model(), edits, one),
        several => format!("{} weights in {} plots", edits.count(), several.len()),
    };
    ui.label(RichText::new(words).size(12.5));
}

/// The brushes, each with its number; gives the one that was chosen.
fn brushes(
    ui: &mut Ui,
    edits: &Edits,
    typed: &mut Typed,
    spread: f32,
    theme: Theme,
) -> Option<Brush> {
    let mut brush = None;
    ui.add_enabled_ui(!edits.marked().is_empty(), |ui| {
        let mut row = |label: &str, number: Option<&mut f32>, words: [&str; 2], chosen: Brush| {
            let [what, unit] = words;
            ui.horizontal(|ui| {
                if ui.add_sized([92.0, 20.0], Button::new(label)).explained(what).clicked() {
                    brush = Some(chosen);
                }
                if let Some(number) = number {
                    let number = DragValue::new(number).speed(0.01).max_decimals(5);
                    ui.add(number).explained("the number: drag, or click and type");
                }
                ui.colored_label(faint(theme), unit);
            });
        };
        // Copied, since the rows borrow the numbers to change them.
        let (value, factor) = (typed.value, typed.factor);
        // The version grows with every edit, so that each noise is another.
        let noise = Brush::Noise { spread: typed.noise * spread, seed: edits.overlay.version() };
        let set = ["give each marked weight this value, or the nearest that can be held", ""];
        row("Set to", Some(&mut typed.value), set, Brush::Set(value));
        let multiply = ["multiply each marked weight by this", ""];
        row("Multiply by", Some(&mut typed.factor), multiply, Brush::Scale(factor));
        let words = ["add another random number to each marked weight", "spreads of the tensor"];
        row("Add noise", Some(&mut typed.noise), words, noise);
        row("Zero", None, ["set each marked weight to 0", ""], Brush::Zero);
    });
    brush
}

/// How many tiles are edited, and where a copy with them is saved.
fn copy(ui: &mut Ui, model: &Arc<PixelModel>, edits: &mut Edits, typed: &mut Typed, theme: Theme) {
    let what = match edits.overlay.tiles().len() {
        1 => "1 tile is edited: its checksum no longer holds.".to_owned(),
        edited => format!("{edited} tiles are edited: their checksums no longer hold."),
    };
    ui.colored_label(crate::panel::style::edited(theme), format!("{what} The file is untouched."));
    ui.horizontal(|ui| {
        let path = typed.path.get_or_insert_with(|| {
            let stem = model.path().file_stem().unwrap_or_default().to_string_lossy();
            format!("{}-edited.pxi", stem.replace(' ', "-"))
        });
        let edit = egui::TextEdit::singleline(path).desired_width(WIDE - 120.0);
        ui.add(edit).explained("the file that the copy is written to");
        let label = if edits.is_saving() { "Saving ..." } else { "Save a copy" };
        let words = "the model with your changes of weights, as a file of its own";
        if clicked(ui, !edits.is_saving(), Button::new(label), words) {
            edits.save(model, PathBuf::from(path.trim()));
        }
    });
}

/// What became of the last edit: what was asked and what the encoding could hold.
fn outcome(ui: &mut Ui, model: &PixelModel, edits: &Edits) {
    let Some(last) = edits.last else { return };
    let painted = last.painted;
    let encoding = model.tensors()[last.tensor].encoding();
    let words = match painted.first {
        Some(values) if painted.weights == 1 => asked_and_got(values, encoding.name()),
        _ => format!(
            "{} of {} weights changed, in {} tiles; none is farther than {:.2e} from what \
             was asked.",
            painted.changed, painted.weights, painted.tiles, painted.largest_miss
        ),
    };
    ui.label(RichText::new(words).size(12.5));
}

/// In words: what a weight was, what was asked, and what it is.
pub(crate) fn asked_and_got([was, asked, got]: [f32; 3], encoding: &str) -> String {
    let words = format!("was {was:+.5}, asked {asked:+.5}, got {got:+.5}");
    if asked.to_bits() == got.to_bits() {
        words
    } else {
        format!("{words}: the nearest that {encoding} can hold within the scale of its block")
    }
}

/// A region in words, and its value where it is one weight.
fn describe(model: &PixelModel, edits: &Edits, region: &Region) -> String {
    let tensor = &model.tensors()[region.tensor];
    let (rows, columns) = (&region.rows, &region.columns);
    if region.weights() != 1 {
        let count = region.weights();
        return format!(
            "{}\nrows {}..{}, columns {}..{}: {count} weights",
            tensor.name, rows.start, rows.end, columns.start, columns.end
        );
    }
    let tile = tensor.first_tile + tensor.tiling.tile_of(rows.start, columns.start) as u32;
    let (_, shape) = model.tile_shape(tile);
    let weights = tile_weights(&tensor.tiling, &shape, edits.tile(model, tile));
    let stride = shape.columns.end - shape.columns.start;
    let at = (rows.start - shape.rows.start) * stride + columns.start - shape.columns.start;
    let value = weights.get(at as usize).copied().unwrap_or_default();
    format!(
        "{} [{}, {}]\n{value:+.6}   {}",
        tensor.name,
        rows.start,
        columns.start,
        tensor.encoding()
    )
}
