//! Attention as beams: within each head that is large on the screen, and over the text of the
//! sequence for the head that is chosen.
//!
//! A head's beams run along the sequence, the first token on the left: from the chosen token to
//! those it looked at, as strong as their shares.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Align2, FontId, Id, LayerId, Order, Pos2, Rect, Stroke, pos2, vec2};

use super::activity::Scrubbed;
use super::attention::{HeadShown, arc};
use crate::panel::OpenPanels;
use crate::panel::frame::drawer::{place, written};
use crate::panel::labels::map_text::on_screen;
use crate::panel::labels::placement::Taken;
use crate::panel::style::{accent, backing, hairline, ink};
use crate::world::camera::MapCamera;
use crate::world::layout::{Atlas, Place};
use crate::world::pointer::Selection;
use crate::world::settings::Settings;
use crate::world::tabs::{Instrument, ShownInstrument};
use crate::world::think::Generation;
use crate::world::view::View;

/// Shares below this are not drawn.
const LEAST: f32 = 0.02;
/// The most beams of a head: the strongest. More would be a cloud.
const MOST: usize = 12;
/// Points across a head from which its beams are drawn.
const LEAST_WIDTH: f32 = 110.0;

/// Where the tokens of the sequence are on the screen.
#[derive(Resource, Debug, Clone, Default)]
pub struct Chips(pub Vec<(usize, Rect)>);

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    selection: Res<Selection>,
    mind: Res<Generation>,
    scrubbed: Res<Scrubbed>,
    settings: Res<Settings>,
    shown: Res<HeadShown>,
    chips: Res<Chips>,
    (drawer, panels): (Res<ShownInstrument>, Res<OpenPanels>),
    mut taken: ResMut<Taken>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let Some(at) = place(&mind, &scrubbed) else { return Ok(()) };
    let (theme, model) = (settings.theme, atlas.model());
    let visible = camera.view.visible();
    let painter = context.layer_painter(LayerId::background());
    for head in model.plan().heads.iter().filter(|head| head.rect.overlaps(&visible)) {
        let rect = on_screen(&camera.view, head.rect);
        if rect.width() < LEAST_WIDTH {
            continue;
        }
        if let Some(shares) = mind.attention(model.config(), at, head.layer, head.head) {
            within(&painter, &camera.view, &settings, &mind, rect, &shares, &mut taken);
        }
    }
    // Above the text of the sequence, and below nothing: not while the keys are read.
    let is_chosen =
        matches!(selection.0, Some(Place::Head(..))) || drawer.0 == Some(Instrument::Attention);
    if !is_chosen || panels.help {
        return Ok(());
    }
    let Some(shares) = mind.attention(model.config(), at, shown.layer, shown.head) else {
        return Ok(());
    };
    let above = context.layer_painter(LayerId::new(Order::Foreground, Id::new("beams")));
    let top = |at: usize| {
        chips.0.iter().find(|(token, _)| *token == at).map(|(_, rect)| rect.center_top())
    };
    let Some(from) = top(at) else { return Ok(()) };
    for (to, share) in strongest(&shares) {
        if let Some(end) = top(to) {
            // The arc of a token to itself has no width: its height alone shows it.
            let rise = 10.0 + 0.16 * (from.x - end.x).abs();
            arc(&above, theme, from, end, if to == at { 16.0 } else { rise }, share);
        }
    }
    if let Some(leftmost) = chips.0.first() {
        let text = format!("layer {} head {} looks back", shown.layer, shown.head);
        let galley = above.layout_no_wrap(text, FontId::proportional(12.0), ink(theme));
        let corner = leftmost.1.left_top() - vec2(0.0, 30.0);
        let place = Align2::LEFT_BOTTOM.anchor_size(corner, galley.size());
        above.rect_filled(place.expand2(vec2(6.0, 3.0)), 4.0, backing(theme));
        taken.rects.push(place.expand2(vec2(6.0, 3.0)));
        above.galley(place.min, galley, ink(theme));
    }
    Ok(())
}

/// The strongest shares and whose they are, the weakest of them first: the strongest beam lies
/// above.
fn strongest(shares: &[f32]) -> Vec<(usize, f32)> {
    let mut order: Vec<(usize, f32)> =
        shares.iter().copied().enumerate().filter(|(_, share)| *share > LEAST).collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    order.drain(..order.len().saturating_sub(MOST));
    order
}

/// The beams of a head, within its rectangle.
fn within(
    painter: &egui::Painter,
    view: &View,
    settings: &Settings,
    mind: &Generation,
    rect: Rect,
    shares: &[f32],
    taken: &mut Taken,
) {
    let theme = settings.theme;
    let screen = Rect::from_min_size(Pos2::ZERO, vec2(view.size[0] as f32, view.size[1] as f32));
    let seen = rect.intersect(screen.shrink2(vec2(8.0, 60.0)));
    let tall = (rect.width() * 0.32).clamp(34.0, 150.0);
    if seen.height() < tall + 60.0 || seen.width() < LEAST_WIDTH * 0.8 {
        return;
    }
    let strip = Rect::from_center_size(seen.center(), vec2((seen.width() - 12.0).min(620.0), tall));
    if taken.meets(strip) {
        return;
    }
    taken.rects.push(strip);
    painter.rect(strip, 5.0, backing(theme), hairline(theme), egui::StrokeKind::Outside);
    let names = if tall > 60.0 { 18.0 } else { 12.0 };
    let base = strip.bottom() - names;
    let (left, right) = (strip.left() + 10.0, strip.right() - 10.0);
    // There is one at least: a token sees itself.
    let last = shares.len() - 1;
    let spot =
        |at: usize| pos2(left + (right - left) * (at as f32 + 0.5) / (last as f32 + 1.0), base);
    let painter = painter.with_clip_rect(strip);
    painter.hline(left..=right, base, hairline(theme));
    let from = spot(last);
    for (to, share) in strongest(shares) {
        let end = spot(to);
        // A cubic curve rises to 3/4 of its control points: at 1.15 the widest arc fills 0.86 of
        // the strip.
        let rise = ((from.x - end.x) / (right - left)).max(0.12) * (tall - names) * 1.15;
        arc(&painter, theme, from, end, rise, share);
        painter.circle_filled(end, 1.5 + 2.0 * share, accent(theme));
    }
    painter.circle_stroke(from, 3.5, Stroke::new(1.2, ink(theme)));
    let strongest = (0..=last).max_by(|&a, &b| shares[a].total_cmp(&shares[b])).unwrap_or(last);
    let text =
        format!("{} {:.0} %", written(&mind.thoughts[strongest].text), shares[strongest] * 100.0);
    let galley = painter.layout_no_wrap(
        text,
        FontId::proportional(if tall > 60.0 { 12.0 } else { 9.5 }),
        ink(theme),
    );
    let half = galley.size().x / 2.0 + 4.0;
    // `clamp` panics where its ends are the wrong way round, as in a strip narrower than the word.
    let middle = spot(strongest)
        .x
        .clamp(strip.left() + half, (strip.right() - half).max(strip.left() + half));
    painter.galley(
        pos2(middle - galley.size().x / 2.0, strip.bottom() - names / 2.0 - galley.size().y / 2.0),
        galley,
        ink(theme),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_beams_are_drawn_and_the_strongest_last() {
        assert_eq!(strongest(&[0.5, 0.001, 0.3]), [(2, 0.3), (0, 0.5)]);
        let many = strongest(&[0.04; 25]);
        assert_eq!(many.len(), MOST);
    }
}
