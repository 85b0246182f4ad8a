//! The rules that a map is laid out by, as data: what a `*.world.ron` says. [`Rules::default`] is
//! the map of `specs/pxi_llm.md`.

use serde::{Deserialize, Serialize};

use super::{MapPlan, Rect};
use crate::model::colour::parse_colour;

/// The most units of space between two things.
pub(crate) const MAX_UNITS: u32 = 256;
/// Width over height of the land where nobody says: what top bar and prompt leave of a screen.
pub(crate) const ASPECT: f32 = 2.2;
/// The most decorations of a map.
pub(crate) const MAX_DECORATIONS: usize = 1000;
/// The longest text of a sign, in characters.
pub(crate) const MAX_SIGN: usize = 80;

/// How a model's parts are laid out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Where each layer lies among the others.
    pub layers: Arrangement,
    /// Which bank of a layer's river has the heads; the feed-forward fields have the other.
    pub heads: Bank,
    /// Space between things, in units.
    pub spacing: Spacing,
    /// Where the matrices that are no part of a layer lie.
    pub districts: Districts,
    /// What lies on the ground beside the model.
    pub decorations: Vec<Decoration>,
}

/// Where each layer lies among the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Arrangement {
    /// Along a river from west to east, in as few rows as cover most of a screen of this width over
    /// its height; in a second row the river flows west, in a third one east.
    Snake {
        /// Width over height, from 0.05 to 20; 2.2 where nobody says.
        aspect: f32,
    },
    /// Rows from west to east, from north to south.
    Rows {
        /// Layers in a row.
        across: u32,
    },
    /// Round and round, in a square spiral.
    Spiral {
        /// Which way it turns, seen from the middle.
        turn: Turn,
        /// Where the first layer is.
        start: Start,
    },
}

impl Default for Arrangement {
    fn default() -> Self {
        Self::Snake { aspect: ASPECT }
    }
}

/// A direction of turning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Turn {
    /// As clocks go, from the middle outwards.
    #[default]
    Clockwise,
    /// Against the clock, from the middle outwards.
    Counterclockwise,
}

/// An end of a spiral.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Start {
    /// The first layer is in the middle.
    #[default]
    Inside,
    /// The first layer is at the rim.
    Outside,
}

/// A side of a river. Older files name the sides of a river that runs north.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Bank {
    /// Above it on the map.
    #[default]
    #[serde(alias = "West")]
    North,
    /// Below it on the map.
    #[serde(alias = "East")]
    South,
}

/// A side of the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// Above them on the map.
    North,
    /// Below them on the map.
    South,
}

/// Space between things, in units but for `unit` itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spacing {
    /// Cells of a unit; where nothing is said, a 256th of the embedding's size, at least 1.
    pub unit: Option<u32>,
    /// Between layers.
    pub layers: u32,
    /// Between a layer's lanes, and between its feed-forward matrices.
    pub groups: u32,
    /// Between the plots of heads, and around vectors: in halves of a unit, a cell at least.
    pub plots: u32,
    /// Across a river; at least 4. Between tall banks it is broader, a 24th of both.
    pub river: u32,
    /// Between a river and what lies on its banks.
    pub banks: u32,
    /// Between the layers and what lies north or south of them.
    pub districts: u32,
}

impl Default for Spacing {
    fn default() -> Self {
        Self { unit: None, layers: 8, groups: 2, plots: 1, river: 64, banks: 4, districts: 8 }
    }
}

/// Where the matrices that are no part of a layer lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Districts {
    /// The token embedding; south where nobody says.
    pub embedding: Side,
    /// The output, where it is no other name of the embedding; south of that where nobody says.
    pub output: Side,
}

impl Default for Districts {
    fn default() -> Self {
        Self { embedding: Side::South, output: Side::South }
    }
}

/// What lies on the ground beside the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Decoration {
    /// A ground of a colour under something and around it.
    Plaza {
        /// Under what it lies.
        at: Anchor,
        /// How far around it, in units.
        margin: u32,
        /// The colour, as `#rrggbb`.
        colour: String,
    },
    /// The way of the residual stream, from the river of each layer to that of the next.
    Canals {
        /// Across, in units; at least 1.
        width: u32,
        /// The colour, as `#rrggbb`; where nothing is said, that of the rivers.
        #[serde(default)]
        colour: Option<String>,
    },
    /// A text at something.
    Sign {
        /// At what it stands.
        at: Anchor,
        /// The text, of at most [`MAX_SIGN`] characters.
        text: String,
    },
}

/// A part of the model that a decoration belongs to. What a model does not have is left without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Anchor {
    /// All of it: the whole map.
    Model,
    /// The token embedding, all bands of it.
    Embedding,
    /// The output, where it is no other name of the embedding.
    Output,
    /// Every layer, each by itself.
    EachLayer,
    /// A layer, from 0.
    Layer(u32),
    /// The layer with the highest number.
    LastLayer,
    /// The heads of a layer.
    Attention(u32),
    /// The feed-forward fields of a layer.
    FeedForward(u32),
    /// A head of a layer.
    Head(u32, u32),
}

/// A decoration as it lies on the map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ornament {
    /// Where it lies, in cells.
    pub rect: Rect,
    /// Red, green and blue; none is the rivers' colour.
    pub colour: Option<[u8; 3]>,
}

/// A text on the map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sign {
    /// What it belongs to.
    pub rect: Rect,
    /// The text, as the rules have it.
    pub text: String,
}

impl Rules {
    /// Everything that cannot be: the path of each field, and what is expected there.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut expect = |holds: bool, path: String, what: String| {
            if !holds {
                found.push((path, what));
            }
        };
        let Spacing { unit, layers, groups, plots, river, banks, districts } = self.spacing;
        if let Some(unit) = unit {
            let path = "spacing.unit".into();
            expect(
                (1..=4096).contains(&unit),
                path,
                format!("expected 1 to 4096 cells, found {unit}"),
            );
        }
        let spaces = [
            ("layers", layers, 0),
            ("groups", groups, 0),
            ("plots", plots, 0),
            ("banks", banks, 0),
        ];
        for (field, value, least) in
            spaces.into_iter().chain([("river", river, 4), ("districts", districts, 0)])
        {
            let what = format!("expected {least} to {MAX_UNITS} units, found {value}");
            expect((least..=MAX_UNITS).contains(&value), format!("spacing.{field}"), what);
        }
        match self.layers {
            Arrangement::Snake { aspect } => {
                let what = format!("expected a number from 0.05 to 20, found {aspect}");
                expect((0.05..=20.0).contains(&aspect), "layers.aspect".into(), what);
            }
            Arrangement::Rows { across } => {
                let what = format!("expected 1 to 10000, found {across}");
                expect((1..=10_000).contains(&across), "layers.across".into(), what);
            }
            Arrangement::Spiral { .. } => {}
        }
        let count = self.decorations.len();
        let what = format!("expected at most {MAX_DECORATIONS} of them, found {count}");
        expect(count <= MAX_DECORATIONS, "decorations".into(), what);
        for (at, decoration) in self.decorations.iter().enumerate() {
            let path = |field: &str| format!("decorations[{at}].{field}");
            let colour_is = |colour: &str| format!("{colour:?} is no colour; expected #rrggbb");
            match decoration {
                Decoration::Plaza { margin, colour, .. } => {
                    let what = format!("expected at most {MAX_UNITS} units, found {margin}");
                    expect(*margin <= MAX_UNITS, path("margin"), what);
                    expect(parse_colour(colour).is_some(), path("colour"), colour_is(colour));
                }
                Decoration::Canals { width, colour } => {
                    let what = format!("expected 1 to {MAX_UNITS} units, found {width}");
                    expect((1..=MAX_UNITS).contains(width), path("width"), what);
                    if let Some(colour) = colour {
                        expect(parse_colour(colour).is_some(), path("colour"), colour_is(colour));
                    }
                }
                Decoration::Sign { text, .. } => {
                    let length = text.chars().count();
                    let what = format!("expected 1 to {MAX_SIGN} characters, found {length}");
                    expect((1..=MAX_SIGN).contains(&length), path("text"), what);
                }
            }
        }
        found
    }
}

/// Puts the decorations on a map that is laid out.
pub(super) fn decorate(plan: &mut MapPlan, rules: &Rules) {
    let map = Rect::new(0, 0, plan.size[0], plan.size[1]);
    for decoration in &rules.decorations {
        match decoration {
            Decoration::Plaza { at, margin, colour } => {
                let margin = i64::from(*margin) * plan.unit;
                for rect in anchors(plan, *at) {
                    let wide = Rect::new(
                        rect.x - margin,
                        rect.y - margin,
                        rect.width + 2 * margin,
                        rect.height + 2 * margin,
                    );
                    let rect = wide.intersection(map);
                    plan.ornaments.push(Ornament { rect, colour: parse_colour(colour) });
                }
            }
            Decoration::Canals { width, colour } => {
                let colour = colour.as_deref().and_then(parse_colour);
                let across = i64::from(*width) * plan.unit;
                let pairs: Vec<_> =
                    plan.layers.windows(2).map(|pair| [pair[0].river, pair[1].river]).collect();
                for [from, to] in pairs {
                    let rects =
                        canal(from, to, across, i64::from(rules.spacing.layers) * plan.unit);
                    let inside = rects.into_iter().map(|rect| rect.intersection(map));
                    plan.ornaments.extend(
                        inside.filter(|rect| rect.width > 0).map(|rect| Ornament { rect, colour }),
                    );
                }
            }
            Decoration::Sign { at, text } => {
                let signs =
                    anchors(plan, *at).into_iter().map(|rect| Sign { rect, text: text.clone() });
                plan.signs.extend(signs.collect::<Vec<_>>());
            }
        }
    }
}

/// The rectangles of an anchor that the model has.
fn anchors(plan: &MapPlan, at: Anchor) -> Vec<Rect> {
    let layer = |index: u32| plan.layers.get(index as usize);
    let found: Vec<Rect> = match at {
        Anchor::Model => vec![Rect::new(0, 0, plan.size[0], plan.size[1])],
        Anchor::Embedding => vec![plan.embedding],
        Anchor::Output => vec![plan.output],
        Anchor::EachLayer => plan.layers.iter().map(|layer| layer.rect).collect(),
        Anchor::Layer(index) => layer(index).map(|layer| layer.rect).into_iter().collect(),
        Anchor::LastLayer => plan.layers.last().map(|layer| layer.rect).into_iter().collect(),
        Anchor::Attention(index) => layer(index).map(|layer| layer.attention).into_iter().collect(),
        Anchor::FeedForward(index) => {
            layer(index).map(|layer| layer.feed_forward).into_iter().collect()
        }
        Anchor::Head(layer, head) => plan
            .heads
            .iter()
            .filter(|plan| (plan.layer, plan.head) == (layer, head))
            .map(|plan| plan.rect)
            .collect(),
    };
    found.into_iter().filter(|rect| rect.width > 0 && rect.height > 0).collect()
}

/// From one river to the next: straight on where they are in one row, or else around what lies
/// between them, through the space east of both.
fn canal(from: Rect, to: Rect, across: i64, gap: i64) -> Vec<Rect> {
    let middle = |river: Rect| river.y + river.height / 2 - across / 2;
    if from.y == to.y {
        let (west, east) = if from.x < to.x { (from, to) } else { (to, from) };
        let left = west.x + west.width;
        // Not below zero: rules may leave no space between layers.
        return vec![Rect::new(left, middle(from), (east.x - left).max(0), across)];
    }
    let right = (from.x + from.width).max(to.x + to.width);
    let x = right + (gap - across).max(0) / 2;
    let (north, south) = (middle(from).min(middle(to)), middle(from).max(middle(to)) + across);
    let stub = |river: Rect| {
        let left = river.x + river.width;
        Rect::new(left, middle(river), x + across - left, across)
    };
    vec![stub(from), Rect::new(x, north, across, south - north), stub(to)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_found() {
        let rules = Rules {
            layers: Arrangement::Snake { aspect: f32::NAN },
            spacing: Spacing { river: 2, unit: Some(0), ..Spacing::default() },
            decorations: vec![
                Decoration::Plaza { at: Anchor::Model, margin: 257, colour: "blue".into() },
                Decoration::Sign { at: Anchor::Layer(0), text: String::new() },
                Decoration::Canals { width: 0, colour: Some("#12345é".into()) },
            ],
            ..Rules::default()
        };
        let paths: Vec<_> = rules.problems().into_iter().map(|(path, _)| path).collect();
        let expected = "spacing.unit spacing.river layers.aspect decorations[0].margin \
                        decorations[0].colour \
                        decorations[1].text decorations[2].width decorations[2].colour";
        assert_eq!(paths.join(" "), expected);
        assert_eq!(Rules::default().problems(), []);
    }
}
