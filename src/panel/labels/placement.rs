//! Words on the map: each has places where it would stand, and stands at the first that neither a
//! panel nor a word that matters more has.
//!
//! In: what the labels, the light and the marks wish to say in this frame, and the rectangles that
//! panels cover. Out: the words that there is room for. Of words that matter as much, those that
//! stood in the frame before come first, so that a flight does not make them flicker.

use std::collections::HashMap;
use std::sync::Arc;

use bevy::prelude::*;
use bevy_egui::{EguiContexts, egui};
use egui::{
    Align2, Color32, FontId, Galley, LayerId, Order, Painter, Pos2, Rect, Vec2, pos2, vec2,
};

use crate::panel::rect_mesh::RectMesh;
use crate::panel::style::{backing, veil};
use crate::world::camera::MapCamera;
use crate::world::draw::Lights;
use crate::world::settings::Settings;
use crate::world::tour::TourRun;
use crate::world::view::View;

/// What is covered in this frame.
#[derive(Resource, Debug, Clone)]
pub struct Taken {
    /// Panels, captions, the minimap, the legends.
    pub rects: Vec<Rect>,
    /// The words on the map that found a place.
    pub words: Vec<Rect>,
    /// The minimap and the legends, in the left corner below.
    pub corner: Rect,
    /// What a tour says.
    pub caption: Option<Rect>,
}

impl Default for Taken {
    fn default() -> Self {
        Self { rects: Vec::new(), words: Vec::new(), corner: Rect::ZERO, caption: None }
    }
}

/// Points under the upper edge that the bar takes: where one is, the panels' names, the search box.
const BAR: f32 = 50.0;
/// Points that a sentence needs: the prompt with its buttons, or a caption.
const SENTENCE: f32 = 420.0;
/// Points between things of the frame.
const GAP: f32 = 6.0;

impl Taken {
    /// Whether something is there already.
    pub fn meets(&self, rect: Rect) -> bool {
        self.rects.iter().chain(&self.words).any(|taken| overlap(*taken, rect))
    }

    /// A place for what is told: under the bar in the middle, and below what is there already.
    pub(crate) fn below_bar(&self, map: Rect, size: Vec2) -> Option<Rect> {
        let top = pos2(map.center().x, map.top() + BAR);
        self.lowered(map, Align2::CENTER_TOP.anchor_size(top, size))
    }

    /// A place, or the first below it on the map where nothing is; none where there is no room.
    pub(crate) fn lowered(&self, map: Rect, mut place: Rect) -> Option<Rect> {
        // It ends: each of them is passed once.
        while let Some(other) = self.rects.iter().find(|other| overlap(**other, place)) {
            place = place.translate(vec2(0.0, other.bottom() + GAP - place.top()));
        }
        map.contains_rect(place).then_some(place)
    }

    /// Where the prompt and captions stand: below, beside the corner; above it where a sentence has
    /// no room there.
    pub(crate) fn bottom(&self, map: Rect) -> Rect {
        let beside = Rect::from_min_max(
            pos2(self.corner.right() + GAP, map.top()),
            map.max - vec2(2.0 * GAP, 9.0),
        );
        if beside.width() >= SENTENCE {
            return beside;
        }
        let low = pos2(map.right() - 2.0 * GAP, self.corner.top() - GAP);
        Rect::from_min_max(pos2(map.left() + 2.0 * GAP, map.top()), low)
    }

    /// The lowest place of a size in a region, as near to the middle of the map as can be.
    pub(crate) fn lowest(region: Rect, map: Rect, size: Vec2) -> Rect {
        let [low, high] = [region.left() + size.x / 2.0, region.right() - size.x / 2.0];
        let middle = map.center().x.min(high).max(low);
        Align2::CENTER_BOTTOM.anchor_size(pos2(middle, region.bottom()), size)
    }
}

/// Whether two rectangles have an area in common: neighbours that touch do not.
fn overlap(a: Rect, b: Rect) -> bool {
    // egui's `Rect::intersects` is also true of those that touch.
    a.min.x < b.max.x && b.min.x < a.max.x && a.min.y < b.max.y && b.min.y < a.max.y
}

/// How much a word matters: what is said of a state before names, names of what is large before
/// those of what is small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum WordRank {
    /// That something is muted, scaled or marked.
    State,
    /// The embedding, the output.
    District,
    Layer,
    /// What the map's rules write.
    Sign,
    Head,
    /// What was computed at a place.
    Number,
    Plot,
}

/// A word that something wishes to say.
pub(crate) struct Word {
    /// How much it matters.
    pub rank: WordRank,
    /// The cell that it belongs to: with the rank, it is known by that from frame to frame.
    pub cell: [i64; 2],
    galley: Arc<Galley>,
    colour: Color32,
    strength: f32,
    /// Left upper corners of the text, the best first.
    spots: Vec<Pos2>,
}

impl Word {
    /// A word at the first of some places that is free; the places are told of the size that it
    /// takes.
    pub fn new(
        painter: &Painter,
        (rank, cell): (WordRank, [i64; 2]),
        (text, size): (String, f32),
        colour: Color32,
        spots: impl FnOnce(Vec2) -> Vec<Pos2>,
    ) -> Self {
        let galley = painter.layout_no_wrap(text, FontId::proportional(size), colour);
        let spots = spots(galley.size());
        Self { rank, cell, galley, colour, strength: 1.0, spots }
    }

    /// A word that is not wholly there yet.
    #[must_use]
    pub(crate) fn faded(self, strength: f32) -> Self {
        Self { strength, ..self }
    }
}

/// Seconds in which a word that finds a place comes to be wholly there: none pops up in a flight.
const FADE: f32 = 0.15;

/// The words of this frame, and which stood in the one before: for how much of [`FADE`].
#[derive(Resource, Default)]
pub(crate) struct MapWords {
    wanted: Vec<Word>,
    stood: HashMap<(WordRank, [i64; 2]), f32>,
}

impl MapWords {
    /// Wishes to say something.
    pub fn say(&mut self, word: Word) {
        self.wanted.push(word);
    }
}

/// Space around a word.
const AROUND: Vec2 = vec2(4.0, 1.5);

/// What is placed: its rank, whether it stood before, its size and where it may stand.
pub(crate) struct Wish<'a> {
    pub rank: WordRank,
    pub stood: bool,
    pub size: Vec2,
    pub spots: &'a [Pos2],
}

/// A place for each wish that there is room for: within the screen, and meeting neither what is
/// taken nor each other.
pub(crate) fn place(wishes: &[Wish<'_>], taken: &[Rect], screen: Rect) -> Vec<Option<Rect>> {
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    // A stable sort: words that matter as much keep the order in which they were said.
    order.sort_by_key(|&at| (wishes[at].rank, !wishes[at].stood));
    let mut places = vec![None; wishes.len()];
    let mut placed: Vec<Rect> = Vec::new();
    for at in order {
        let wish = &wishes[at];
        let mut rects =
            wish.spots.iter().map(|spot| Rect::from_min_size(*spot, wish.size).expand2(AROUND));
        let is_free = |rect: &Rect| {
            screen.contains_rect(*rect)
                && !taken.iter().chain(&placed).any(|other| overlap(*other, *rect))
        };
        if let Some(rect) = rects.find(is_free) {
            placed.push(rect);
            places[at] = Some(rect);
        }
    }
    places
}

/// The map's part of the screen.
pub(crate) fn map_of(view: &View) -> Rect {
    Rect::from_min_size(Pos2::ZERO, Vec2::from(view.size.map(|side| side as f32)))
}

/// What draws on the map: below all panels, and not beyond its part of the screen.
pub(crate) fn map_painter(context: &egui::Context, view: &View) -> Painter {
    context.layer_painter(LayerId::background()).with_clip_rect(map_of(view))
}

/// At the beginning of a frame nothing is covered, and nothing is lit.
pub(crate) fn clear(mut taken: ResMut<Taken>, mut lights: ResMut<Lights>) {
    *taken = Taken::default();
    lights.corners.clear();
    lights.triangles.clear();
}

/// Adds the panels of egui to what is covered.
pub(crate) fn gather(mut contexts: EguiContexts, mut taken: ResMut<Taken>) -> Result {
    let context = contexts.ctx_mut()?;
    context.memory(|memory| {
        let layers = memory.areas().visible_layer_ids();
        let panels =
            // The background is the map itself, where the words stand.
            layers.iter().filter(|layer| matches!(layer.order, Order::Middle | Order::Foreground));
        taken.rects.extend(panels.filter_map(|layer| memory.area_rect(layer.id)));
    });
    Ok(())
}

/// Writes the words that there is room for.
pub(crate) fn draw(
    mut contexts: EguiContexts,
    camera: Res<MapCamera>,
    (settings, time, tour): (Res<Settings>, Res<Time>, Option<Res<TourRun>>),
    mut words: ResMut<MapWords>,
    mut taken: ResMut<Taken>,
) -> Result {
    let context = contexts.ctx_mut()?;
    let painter = map_painter(context, &camera.view);
    let wanted = std::mem::take(&mut words.wanted);
    let wishes: Vec<Wish<'_>> = wanted
        .iter()
        .map(|word| Wish {
            rank: word.rank,
            stood: words.stood.contains_key(&(word.rank, word.cell)),
            size: word.galley.size(),
            spots: &word.spots,
        })
        .collect();
    // What an attention beam says stands among the words already.
    let covered: Vec<Rect> = taken.rects.iter().chain(&taken.words).copied().collect();
    let places = place(&wishes, &covered, painter.clip_rect().shrink(2.0));
    // Where nobody watches, pictures are taken of what is wholly there.
    let is_at_once = settings.reduced_motion || tour.is_some_and(|tour| tour.hurry);
    let step = if is_at_once { 1.0 } else { time.delta_secs() / FADE };
    let before = std::mem::take(&mut words.stood);
    // One mesh for all of them, below every word: hence two turns.
    let mut backings = RectMesh::default();
    let mut strengths = Vec::with_capacity(wanted.len());
    for (word, place) in wanted.iter().zip(&places) {
        let key = (word.rank, word.cell);
        let part = (before.get(&key).copied().unwrap_or(0.0) + step).min(1.0);
        strengths.push(word.strength * part);
        let Some(place) = *place else { continue };
        words.stood.insert(key, part);
        taken.words.push(place);
        backings.fill(place, veil(backing(settings.theme), word.strength * part));
    }
    backings.paint(&painter);
    for ((word, place), strength) in wanted.into_iter().zip(places).zip(strengths) {
        let Some(place) = place else { continue };
        let at = place.min + AROUND;
        // The colour was laid out with the text: another takes an override.
        if strength < 1.0 {
            painter.galley_with_override_text_color(at, word.galley, veil(word.colour, strength));
        } else {
            painter.galley(at, word.galley, word.colour);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use egui::pos2;
    use proptest::prelude::*;

    use super::*;

    const SCREEN: Rect = Rect { min: Pos2::ZERO, max: Pos2 { x: 1280.0, y: 720.0 } };

    fn wish(rank: WordRank, stood: bool, spots: &[Pos2]) -> Wish<'_> {
        Wish { rank, stood, size: vec2(60.0, 14.0), spots }
    }

    #[test]
    fn what_matters_more_stands_and_the_other_goes_to_its_next_place() {
        let (first, both) = ([pos2(100.0, 100.0)], [pos2(110.0, 100.0), pos2(110.0, 140.0)]);
        let wishes = [wish(WordRank::Head, true, &both), wish(WordRank::Layer, false, &first)];
        let places = place(&wishes, &[], SCREEN);
        assert_eq!(places[1].unwrap().min + AROUND, first[0], "a layer before a head");
        assert_eq!(places[0].unwrap().min + AROUND, both[1]);
        let panel = Rect::from_min_size(pos2(100.0, 130.0), vec2(90.0, 40.0));
        assert_eq!(place(&wishes, &[panel], SCREEN)[0], None, "its second place is under a panel");
    }

    #[test]
    fn of_two_that_matter_as_much_the_one_that_stood_stays() {
        let spots = [pos2(100.0, 100.0)];
        for stood in [0, 1] {
            let wishes = [0, 1].map(|at| wish(WordRank::Head, at == stood, &spots));
            let places = place(&wishes, &[], SCREEN);
            assert!(places[stood].is_some() && places[1 - stood].is_none());
        }
    }

    proptest! {
        #[test]
        fn no_word_meets_another_or_a_panel_or_the_edge(
            words in prop::collection::vec(
                (
                    0u8..7,
                    any::<bool>(),
                    4.0..200.0f32,
                    prop::collection::vec((-50.0..1300.0f32, -50.0..750.0f32), 1..5),
                ),
                0..60,
            ),
            panels in prop::collection::vec(
                (0.0..1200.0f32, 0.0..700.0f32, 10.0..400.0f32, 10.0..300.0f32),
                0..6,
            ),
        ) {
            let ranks = [
                WordRank::State,
                WordRank::District,
                WordRank::Layer,
                WordRank::Sign,
                WordRank::Head,
                WordRank::Number,
                WordRank::Plot,
            ];
            let spot = |&(x, y)| pos2(x, y);
            let spots: Vec<Vec<Pos2>> =
                words.iter().map(|word| word.3.iter().map(spot).collect()).collect();
            let wishes: Vec<Wish<'_>> = words
                .iter()
                .zip(&spots)
                .map(|(&(rank, stood, wide, _), spots)| {
                    Wish { rank: ranks[rank as usize], stood, size: vec2(wide, 14.0), spots }
                })
                .collect();
            let panel = |&(x, y, w, h)| Rect::from_min_size(pos2(x, y), vec2(w, h));
            let taken: Vec<Rect> = panels.iter().map(panel).collect();
            let places = place(&wishes, &taken, SCREEN);
            let placed: Vec<Rect> = places.iter().flatten().copied().collect();
            for (at, rect) in placed.iter().enumerate() {
                prop_assert!(SCREEN.contains_rect(*rect));
                prop_assert!(!taken.iter().any(|panel| overlap(*panel, *rect)));
                prop_assert!(!placed[..at].iter().any(|other| overlap(*other, *rect)));
            }
            // What has no place had none: each of its spots is off the screen or meets something.
            for (wish, _) in wishes.iter().zip(&places).filter(|(_, place)| place.is_none()) {
                for spot in wish.spots {
                    let rect = Rect::from_min_size(*spot, wish.size).expand2(AROUND);
                    let free = SCREEN.contains_rect(rect)
                        && !taken.iter().chain(&placed).any(|other| overlap(*other, rect));
                    prop_assert!(!free);
                }
            }
        }
    }
}
