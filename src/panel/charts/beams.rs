//! Attention as beams over the text of the sequence, for the head that is chosen: from the chosen
//! token to those that the head looked at, as strong as their shares. None lie on weights.

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{Align2, FontId, Id, LayerId, Order, Rect, vec2};

use super::activity::Scrubbed;
use super::attention::{HeadShown, arc};
use crate::panel::frame::drawer::{BEFORE_CHANGE, place};
use crate::panel::labels::placement::Taken;
use crate::panel::style::{backing, ink, strength};
use crate::world::layout::{Atlas, Place};
use crate::world::pointer::Selection;
use crate::world::settings::Settings;
use crate::world::tabs::{Drawer, Tab};
use crate::world::think::Generation;

/// Shares below this are not drawn.
const LEAST: f32 = 0.02;
/// The most beams of a head: the strongest. More would be a cloud.
const MOST: usize = 12;

/// Where the tokens of the sequence are on the screen.
#[derive(Resource, Debug, Clone, Default)]
pub struct Chips(pub Vec<(usize, Rect)>);

pub(crate) fn draw(
    mut contexts: EguiContexts,
    atlas: Res<Atlas>,
    selection: Res<Selection>,
    mind: Res<Generation>,
    scrubbed: Res<Scrubbed>,
    settings: Res<Settings>,
    shown: Res<HeadShown>,
    chips: Res<Chips>,
    drawer: Res<Drawer>,
    mut taken: ResMut<Taken>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let Some(at) = place(&mind, &scrubbed) else { return Ok(()) };
    let (theme, model) = (settings.theme, atlas.model());
    // Above the text of the sequence.
    let is_chosen =
        matches!(selection.0, Some(Place::Head(..))) || drawer.0 == Some(Tab::Attention);
    if !is_chosen {
        return Ok(());
    }
    let Some(shares) = mind.attention(model.config(), at, shown.layer, shown.head) else {
        return Ok(());
    };
    let above = context.layer_painter(LayerId::new(Order::Foreground, Id::new("beams")));
    let strength = strength(&mind);
    let top = |at: usize| {
        chips.0.iter().find(|(token, _)| *token == at).map(|(_, rect)| rect.center_top())
    };
    let Some(from) = top(at) else { return Ok(()) };
    for (to, share) in strongest(&shares) {
        if let Some(end) = top(to) {
            // The arc of a token to itself has no width: its height alone shows it.
            let rise = 10.0 + 0.16 * (from.x - end.x).abs();
            arc(&above, theme, from, end, if to == at { 16.0 } else { rise }, share * strength);
        }
    }
    if let Some(leftmost) = chips.0.first() {
        let HeadShown { layer, head } = *shown;
        let text = if mind.is_before_change() {
            format!("layer {layer} head {head} looked back {BEFORE_CHANGE}")
        } else {
            format!("layer {layer} head {head} looks back")
        };
        let galley = above.layout_no_wrap(text, FontId::proportional(12.0), ink(theme));
        let corner = leftmost.1.left_top() - vec2(0.0, 30.0);
        let place = Align2::LEFT_BOTTOM.anchor_size(corner, galley.size());
        above.rect_filled(place.expand2(vec2(6.0, 3.0)), 4.0, backing(theme));
        taken.words.push(place.expand2(vec2(6.0, 3.0)));
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
