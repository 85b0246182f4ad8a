//! The adapters that lie over the model: each with a switch, a strength, and what it is in numbers.

use bevy::prelude::*;
use bevy_egui::egui;
use egui::{DragValue, RichText, Ui};

use crate::panel::controls::Explained;
use crate::panel::style::faint;
use crate::world::adapters::{AdapterSwitch, LoadedAdapter, LoadedAdapters};
use crate::world::palette::Theme;

/// The strongest that an adapter may be made.
const MOST: f32 = 4.0;

pub(super) fn draw(ui: &mut Ui, theme: Theme, loaded: &mut ResMut<LoadedAdapters>) {
    if loaded.all.is_empty() {
        let words = "None. What the model learns becomes one, and --lora FILE brings others.";
        ui.colored_label(faint(theme), words);
        return;
    }
    // What is chosen is a change; being looked at is none.
    let mut chosen = None;
    for (at, one) in loaded.all.iter().enumerate() {
        ui.add_space(3.0);
        ui.label(RichText::new(&*one.name).strong());
        ui.horizontal(|ui| {
            for switch in AdapterSwitch::ALL {
                let words = match switch {
                    AdapterSwitch::Off => "it does not act: the model answers without it",
                    AdapterSwitch::On => "it acts: the prompt is answered again with it",
                    AdapterSwitch::Alone => "it acts, and no other does",
                };
                let button = ui.selectable_label(one.switch == switch, switch.name());
                if button.explained(words).clicked() {
                    chosen = Some((at, switch, one.strength));
                }
            }
            let mut strength = one.strength;
            let drag = DragValue::new(&mut strength).speed(0.01).range(-MOST..=MOST).prefix("x ");
            let words = "its strength, times its own; below 0 it takes away what it learnt";
            if ui.add(drag).explained(words).changed() {
                chosen = Some((at, one.switch, strength));
            }
        });
        ui.colored_label(faint(theme), RichText::new(numbers(one)).size(11.0));
    }
    if let Some((at, switch, strength)) = chosen {
        let name = std::sync::Arc::clone(&loaded.all[at].name);
        loaded.switch(&name, switch);
        loaded.all[at].strength = strength;
    }
}

/// Ranks, matrices and numbers of an adapter.
fn numbers(one: &LoadedAdapter) -> String {
    let updates = &one.adapter.updates;
    let ranks = updates.iter().map(|update| update.rank);
    let (least, most) = (ranks.clone().min().unwrap_or(0), ranks.max().unwrap_or(0));
    let rank = if least == most { most.to_string() } else { format!("{least} to {most}") };
    let numbers: usize = updates.iter().map(|update| update.a.len() + update.b.len()).sum();
    format!("rank {rank} on {} matrices, {numbers} numbers", updates.len())
}
