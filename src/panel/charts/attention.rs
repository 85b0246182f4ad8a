//! A head's attention over the sequence: a square with a row per token and a column per token that
//! it could look at, and the strongest in words.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Color32, Mesh, Rect, RichText, pos2, vec2};

use super::activity::Scrubbed;
use crate::panel::controls::Explained;
use crate::panel::frame::drawer::{
    WIDE, bar_cell, fade_before_change, nothing_yet, place, show, written,
};
use crate::panel::style::{accent, backing, faint, veil};
use crate::world::layout::{Atlas, Place};
use crate::world::palette::Theme;
use crate::world::pointer::Selection;
use crate::world::settings::Settings;
use crate::world::tabs::{Drawer, Tab};
use crate::world::think::Generation;

/// Tokens of the square: the last so many up to the chosen one.
const MOST_SHOWN: usize = 64;
/// Tokens that are told in words.
const TOLD: usize = 6;

/// The head whose attention is shown.
#[derive(Resource, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeadShown {
    /// The number of its layer, from 0.
    pub layer: u32,
    /// Its number in the layer, from 0.
    pub head: u32,
}

/// A head that is selected on the map is the one that is shown.
pub(crate) fn follow(
    selection: Res<Selection>,
    mut shown: ResMut<HeadShown>,
    mut last: Local<Option<Place>>,
) {
    // Only when it changes, or what is typed into the panel would be overwritten in every frame.
    if *last != selection.0 {
        last.clone_from(&selection.0);
        if let Some(Place::Head(layer, head)) = selection.0 {
            *shown = HeadShown { layer, head };
        }
    }
}

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    mind: Res<Generation>,
    settings: Res<Settings>,
    mut scrubbed: ResMut<Scrubbed>,
    mut shown: ResMut<HeadShown>,
    drawer: Res<Drawer>,
) -> Result {
    if drawer.0 != Some(Tab::Attention) {
        return Ok(());
    }
    let context = contexts.ctx_mut()?;
    let theme = settings.theme;
    let config = atlas.model().config();
    show(context, theme, (&drawer, Tab::Attention), |ui| {
        let HeadShown { mut layer, mut head } = *shown;
        ui.horizontal(|ui| {
            ui.label("layer");
            let number = egui::DragValue::new(&mut layer).range(0..=config.layer_count - 1);
            ui.add(number).explained("the layer of the head: drag, or click and type");
            ui.label("head");
            let number = egui::DragValue::new(&mut head).range(0..=config.head_count - 1);
            ui.add(number).explained("the head of the layer: drag, or click and type");
            ui.colored_label(faint(theme), "or click a head");
        });
        if (HeadShown { layer, head }) != *shown {
            *shown = HeadShown { layer, head };
        }
        let Some(at) = place(&mind, &scrubbed) else { return nothing_yet(ui, theme) };
        fade_before_change(ui, theme, &mind);
        let Some(shares) = mind.attention(config, at, layer, head) else {
            ui.label("This token's values were not kept: the sequence is too long for them.");
            return;
        };
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing.x = 4.0;
            ui.colored_label(faint(theme), format!("from token {at}"));
            ui.label(RichText::new(written(&mind.thoughts[at].text)).color(accent(theme)));
            ui.colored_label(faint(theme), "it looks at");
        });
        let mut order: Vec<usize> = (0..shares.len()).collect();
        order.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]));
        for &to in order.iter().take(TOLD) {
            let text = format!(
                "{:5.1} %  {:>4}  {}",
                shares[to] * 100.0,
                to,
                written(&mind.thoughts[to].text)
            );
            let about = format!("look at token {to}");
            if bar_cell(ui, theme, WIDE, shares[to], (&text, &about)).clicked() {
                scrubbed.0 = Some(to);
            }
        }
        ui.add_space(6.0);
        let latest = mind.latest_place().unwrap_or(at);
        if let Some(token) = square(ui, theme, &mind, config, (layer, head), (at, latest)) {
            scrubbed.0 = Some(token);
        }
    });
    Ok(())
}

/// The square; gives the token whose row was clicked.
fn square(
    ui: &mut egui::Ui,
    theme: Theme,
    mind: &Generation,
    config: &crate::model::ModelConfig,
    (layer, head): (u32, u32),
    (at, latest): (usize, usize),
) -> Option<usize> {
    // The chosen token is in it, and as much of what is around it as there is room for.
    let end = latest.min(at + MOST_SHOWN / 2).max((MOST_SHOWN - 1).min(latest));
    let first = (end + 1).saturating_sub(MOST_SHOWN);
    let count = end + 1 - first;
    let cell = (WIDE / count as f32).min(16.0);
    let (place, response) =
        ui.allocate_exact_size(vec2(WIDE, cell * count as f32), egui::Sense::click());
    let painter = ui.painter();
    painter.rect_filled(
        Rect::from_min_size(place.min, vec2(cell * count as f32, place.height())),
        2.0,
        backing(theme),
    );
    let spot = |row: usize, column: usize| {
        let min = place.min + vec2(column as f32 * cell, row as f32 * cell);
        Rect::from_min_size(min, vec2(cell - 0.5, cell - 0.5))
    };
    let hovered = response.hover_pos().map(|pointer| {
        let [column, row] = [pointer.x - place.left(), pointer.y - place.top()];
        [(row / cell) as usize, (column / cell) as usize]
    });
    let mut mesh = Mesh::default();
    let mut told = None;
    for row in 0..count {
        let Some(shares) = mind.attention(config, first + row, layer, head) else { continue };
        for (column, &share) in shares.iter().enumerate().skip(first) {
            let column = column - first;
            mesh.add_colored_rect(spot(row, column), shade(theme, share));
            if hovered == Some([row, column]) {
                told = Some((first + row, first + column, share));
            }
        }
    }
    painter.add(mesh);
    if (first..=end).contains(&at) {
        let row = Rect::from_min_max(spot(at - first, 0).min, spot(at - first, at - first).max);
        painter.rect_stroke(
            row.expand(1.0),
            1.0,
            egui::Stroke::new(1.0, accent(theme)),
            egui::StrokeKind::Outside,
        );
    }
    let clicked = response.clicked();
    let name = |at: usize| format!("{at} {}", written(&mind.thoughts[at].text));
    response.explained(told.map_or_else(
        || "a token looks at those before it alone".to_owned(),
        |(from, to, share)| {
            format!("{}  looks at  {}:  {:.2} %", name(from), name(to), share * 100.0)
        },
    ));
    let words = if first > 0 { format!("tokens {first} to {end}; ") } else { String::new() };
    ui.colored_label(
        faint(theme),
        format!("{words}a row per token, a column per token it can see; click a row"),
    );
    let row = hovered.map(|[row, _]| first + row).filter(|&row| row <= end);
    row.filter(|_| clicked)
}

/// A share as a shade of gold; small ones are lifted, or a row over many tokens would be black.
fn shade(theme: Theme, share: f32) -> Color32 {
    let strength = share.clamp(0.0, 1.0).sqrt();
    let ground = match theme {
        Theme::Dark => [0x1A, 0x1F, 0x29],
        Theme::Light => [0xE6, 0xE1, 0xD5],
    };
    let full = match theme {
        Theme::Dark => [0xFF, 0xD9, 0x66],
        Theme::Light => [0x8A, 0x4A, 0x00],
    };
    let mix = |a: u8, b: u8| (f32::from(a) + (f32::from(b) - f32::from(a)) * strength) as u8;
    Color32::from_rgb(mix(ground[0], full[0]), mix(ground[1], full[1]), mix(ground[2], full[2]))
}

/// An arc from one token to another, as wide and strong as its share.
pub(crate) fn arc(
    painter: &egui::Painter,
    theme: Theme,
    from: egui::Pos2,
    to: egui::Pos2,
    rise: f32,
    share: f32,
) {
    let strength = share.clamp(0.0, 1.0).powf(0.35);
    let colour = match theme {
        Theme::Dark => Color32::from_rgb_additive(
            (255.0 * strength) as u8,
            (200.0 * strength) as u8,
            (96.0 * strength) as u8,
        ),
        Theme::Light => veil(Color32::from_rgb(0x9A, 0x5A, 0x00), strength * 0.9),
    };
    let top = from.y.min(to.y) - rise;
    let points = [from, pos2(from.x, top), pos2(to.x, top), to];
    let stroke = egui::Stroke::new(0.6 + 3.0 * strength, colour);
    painter.add(egui::epaint::CubicBezierShape::from_points_stroke(
        points,
        false,
        Color32::TRANSPARENT,
        stroke,
    ));
}
