//! How long frames and tokens take, and what is where.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Rect, pos2, vec2};

use super::streaming::{Recent, table};
use crate::engine::gpu::headless::AdapterFacts;
use crate::panel::frame::drawer::{WIDE, show};
use crate::panel::style::{accent, faint};
use crate::residency::{ResidencyFigures, ViewAtlas};
use crate::size::MemorySize;
use crate::world::frames::Frames;
use crate::world::layout::Atlas;
use crate::world::palette::Theme;
use crate::world::settings::Settings;
use crate::world::tabs::{Drawer, Tab};
use crate::world::think::Generation;

/// Points for the names of what is told, and the gap after them.
const NAMES: f32 = 112.0;
/// Milliseconds at the top of the graph.
const TALLEST: f32 = 120.0;

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    mind: Res<Generation>,
    frames: Res<Frames>,
    settings: Res<Settings>,
    adapter: Option<Res<AdapterFacts>>,
    (figures, view_atlas): (Res<ResidencyFigures>, Option<Res<ViewAtlas>>),
    mut lately: Local<Recent>,
    drawer: Res<Drawer>,
) -> Result {
    if drawer.0 != Some(Tab::Timings) {
        return Ok(());
    }
    let context = contexts.ctx_mut()?;
    let theme = settings.theme;
    show(context, theme, (&drawer, Tab::Timings), |ui| {
        graph(ui, &frames, theme);
        let recent = frames.recent();
        egui::Grid::new("timings").spacing([14.0, 3.0]).show(ui, |ui| {
            let mut row = |what: &str, value: String| {
                ui.colored_label(faint(theme), what);
                ui.vertical(|ui| {
                    // Of its own accord a column of text that may wrap becomes as narrow as a word.
                    ui.set_width(WIDE - NAMES);
                    ui.add(egui::Label::new(egui::RichText::new(value).monospace()).wrap());
                });
                ui.end_row();
            };
            row("frame", format!("{:.1} ms, 95 % {:.1} ms", recent.median_ms, recent.p95_ms));
            let speed = frames.tokens_per_second();
            row("speed", speed.map_or("-".into(), |speed| format!("{speed:.1} tokens/s")));
            let step = mind.last_step.map(|(took, tokens)| {
                format!(
                    "{:.1} ms for {tokens} token{}",
                    took.as_secs_f64() * 1e3,
                    if tokens == 1 { "" } else { "s" }
                )
            });
            row("last step", step.unwrap_or_else(|| "-".into()));
            row("a frame thinks", format!("up to {} ms", settings.thinking_budget().as_millis()));
            let context_length =
                atlas.model().config().context_length.min(crate::world::think::CONTEXT);
            row("context", format!("{} of {context_length} tokens", mind.thoughts.len()));
            row("values kept", MemorySize(mind.kept_bytes() as u64).to_string());
            let weights: u64 =
                atlas.model().tensors().iter().map(|tensor| tensor.tiling.size_in_bytes()).sum();
            let whereabouts =
                if figures.compute.is_some() { "streamed" } else { "all on the device" };
            row("weights", format!("{}, {whereabouts}", MemorySize(weights)));
            row("tiles", atlas.model().tile_count().to_string());
            if let Some(adapter) = adapter {
                row("adapter", adapter.info.name.clone());
            }
        });
        table(ui, theme, &figures, view_atlas.as_deref(), &mut lately);
    });
    Ok(())
}

/// How long the last frames took, as bars.
fn graph(ui: &mut egui::Ui, frames: &Frames, theme: Theme) {
    let (place, _) = ui.allocate_exact_size(vec2(WIDE, 70.0), egui::Sense::hover());
    let painter = ui.painter();
    for line in [33.0, 100.0] {
        let y = place.bottom() - place.height() * line / TALLEST;
        painter.hline(place.x_range(), y, egui::Stroke::new(1.0, faint(theme).gamma_multiply(0.3)));
        let text = format!("{line:.0} ms");
        let font = egui::FontId::proportional(9.5);
        painter.text(pos2(place.left(), y), egui::Align2::LEFT_BOTTOM, text, font, faint(theme));
    }
    // `Frames` remembers so many (`RECENT`).
    let wide = place.width() / 240.0;
    for (at, time) in frames.times().enumerate() {
        let top = place.bottom() - place.height() * (time / TALLEST).min(1.0);
        let left = place.left() + at as f32 * wide;
        let bar = Rect::from_min_max(pos2(left, top), pos2(left + wide, place.bottom()));
        painter.rect_filled(bar, 0.0, accent(theme).gamma_multiply(0.7));
    }
}
