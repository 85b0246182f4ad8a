//! The scale of all light in numbers, beside the legend of the weights.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{FontId, Id, LayerId, Order, Painter, Rect, StrokeKind, pos2, vec2};

use super::activity::{Scrubbed, glow, greatest, shown};
use super::changed::WhatChanged;
use crate::panel::frame::drawer::BEFORE_CHANGE;
use crate::panel::labels::placement::{Taken, map_of};
use crate::panel::rect_mesh::RectMesh;
use crate::panel::style::{faint, hairline, ink, solid};
use crate::world::camera::MapCamera;
use crate::world::palette::Theme;
use crate::world::settings::Settings;
use crate::world::think::Generation;

const SIZE: egui::Vec2 = vec2(92.0, 70.0);
/// Points across a map that has room for it, the legend of the weights and a prompt.
const LEAST: f32 = 740.0;

pub(crate) fn draw(
    mut contexts: EguiContexts,
    camera: Res<MapCamera>,
    mind: Res<Generation>,
    (scrubbed, changed): (Res<Scrubbed>, Res<WhatChanged>),
    settings: Res<Settings>,
    mut taken: ResMut<Taken>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let Some(thought) = shown(&mind, &scrubbed) else { return Ok(()) };
    let map = map_of(&camera.view);
    if map.width() < LEAST || map.height() < 300.0 {
        return Ok(());
    }
    let theme = settings.theme;
    let legend = LegendCard::beside(context, map, theme, SIZE, &mut taken);
    let bar = legend.bar;
    let mut plain = RectMesh::default();
    // In steps, since `glow` bends: it goes to white only from 0.6 on.
    const STEPS: u32 = 12;
    for step in 0..STEPS {
        let part = |step: u32| step as f32 / STEPS as f32;
        let y = |part: f32| bar.bottom() - bar.height() * part;
        let cell = Rect::from_x_y_ranges(bar.x_range(), y(part(step + 1))..=y(part(step)));
        plain.fall(cell, glow(theme, part(step + 1)), glow(theme, part(step)));
    }
    plain.paint(&legend.painter);
    let title = if mind.is_before_change() { BEFORE_CHANGE } else { "light: 0 up to" };
    legend.title(title.into());
    let most = [
        ("head", &thought.head_norms),
        ("river", &thought.residual_norms),
        ("fields", &thought.hidden_norms),
    ];
    // While heads and fields show what a change came to, this light is the river's alone.
    let most = most.into_iter().filter(|(name, _)| !changed.is_shown() || *name == "river");
    for (row, (name, norms)) in most.enumerate() {
        let norm = greatest(norms);
        let digits = if norm < 100.0 { 1 } else { 0 };
        legend.row(row, format!("{name} {norm:.digits$}"));
    }
    Ok(())
}

/// A card with a bar of colours, a title and rows beside the bar, right of the legends before it.
pub(super) struct LegendCard {
    pub painter: Painter,
    pub bar: Rect,
    panel: Rect,
    theme: Theme,
}

impl LegendCard {
    /// Paints an empty one at the bottom of a map, and takes its place.
    pub fn beside(
        context: &egui::Context,
        map: Rect,
        theme: Theme,
        size: egui::Vec2,
        taken: &mut Taken,
    ) -> Self {
        let painter = context.layer_painter(LayerId::new(Order::Middle, Id::new("chrome")));
        let left = taken.corner.right() + 6.0;
        let panel = Rect::from_min_size(pos2(left, map.bottom() - size.y - 6.0), size);
        painter.rect(panel, 4.0, solid(theme), hairline(theme), StrokeKind::Inside);
        taken.rects.push(panel);
        taken.corner = taken.corner.union(panel);
        let bar = Rect::from_min_max(
            panel.min + vec2(8.0, 22.0),
            pos2(panel.left() + 15.0, panel.bottom() - 7.0),
        );
        Self { painter, bar, panel, theme }
    }

    /// Writes above the bar.
    pub fn title(&self, text: String) {
        self.write(self.panel.min + vec2(8.0, 5.0), text, faint(self.theme));
    }

    /// Writes a row beside the bar.
    pub fn row(&self, row: usize, text: String) {
        let at = pos2(self.bar.right() + 7.0, self.bar.top() - 2.0 + 14.0 * row as f32);
        self.write(at, text, ink(self.theme));
    }

    fn write(&self, at: egui::Pos2, text: String, colour: egui::Color32) {
        let galley = self.painter.layout_no_wrap(text, FontId::proportional(10.5), colour);
        self.painter.galley(at, galley, colour);
    }
}
