//! Palettes: from a weight to a colour. They are `*.palette.ron`, baked into a table for the
//! shader.
//!
//! Colours between two stops are mixed in OKLab, so that equal steps of a weight look equal.

use bevy::prelude::Resource;
use serde::Deserialize;

use crate::model::colour::{Rgb, along, bytes_of, light_of, linear, parse_colour};
use crate::model::relief::{self, Ramps};

/// Colours of the table for weights, from the most negative to the most positive; zero is
/// entry 127.
pub(crate) const WEIGHT_ENTRIES: usize = 255;
/// Entries of the whole table: weights, one of single weights that glint from afar, then 256 of the
/// quantisation error from none to the most, then the ramps of land and sea from the lowest to the
/// highest.
pub(crate) const ENTRIES: usize = 512 + 2 * relief::RAMP;
/// How many spreads away from zero the outermost colour stands.
pub(crate) const RANGE: f32 = 3.0;

/// The ground of map and panels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, Deserialize)]
pub enum Theme {
    /// Deep ink, written on in light.
    #[default]
    Dark,
    /// Warm paper, written on in ink.
    Light,
}

impl Theme {
    /// The other of the two.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Dark => Self::Light,
            Self::Light => Self::Dark,
        }
    }

    /// The ground on which the land lies, as sRGB bytes.
    pub fn ground(self) -> [u8; 3] {
        match self {
            Self::Dark => [0x0B, 0x0E, 0x14],
            Self::Light => [0xF6, 0xF3, 0xEC],
        }
    }

    /// The bed of the river of the residual stream.
    pub(crate) fn water(self) -> [u8; 3] {
        match self {
            Self::Dark => [0x12, 0x1E, 0x30],
            Self::Light => [0xDC, 0xE6, 0xEE],
        }
    }
}

/// What is shown of each weight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, Deserialize)]
pub enum Colouring {
    /// The weight as it is decoded.
    #[default]
    Weights,
    /// The bytes as they lie in the file: three to a pixel, red, green and blue.
    Bytes,
    /// How far the encoding may be off: half a step of its block.
    Error,
    /// What adapters add to the weight.
    Update,
    /// The weight and what adapters add to it, together.
    WithUpdate,
}

impl Colouring {
    /// The one after it; the first comes after the last. What adapters add is shown where there are
    /// any.
    #[must_use]
    pub fn next(self, has_adapters: bool) -> Self {
        match self {
            Self::Weights => Self::Bytes,
            Self::Bytes => Self::Error,
            Self::Error if has_adapters => Self::Update,
            Self::Update if has_adapters => Self::WithUpdate,
            _ => Self::Weights,
        }
    }
}

/// A palette as it is written in its file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaletteFile {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    zero: Option<String>,
    negative: Vec<String>,
    positive: Vec<String>,
    #[serde(default)]
    negative_on_light: Option<Vec<String>>,
    #[serde(default)]
    positive_on_light: Option<Vec<String>>,
    error: Vec<String>,
    #[serde(default)]
    land: Option<Vec<String>>,
    #[serde(default)]
    land_on_light: Option<Vec<String>>,
    #[serde(default)]
    sea: Option<Vec<String>>,
    #[serde(default)]
    sea_on_light: Option<Vec<String>>,
    #[serde(default)]
    glint: Option<String>,
    #[serde(default)]
    glint_on_light: Option<String>,
    #[serde(default)]
    change: Option<String>,
}

/// The heights where a palette has none on paper: as on a printed map, where what is high is dark.
/// Lowland, green, sand, rock, dark rock; foam to ink; a spark.
const LAND_ON_PAPER: [Rgb; 6] = [
    [0xEA, 0xEE, 0xE2],
    [0xCB, 0xDD, 0xC6],
    [0xA9, 0xC6, 0x9F],
    [0xD9, 0xC2, 0x7E],
    [0xA8, 0x6B, 0x36],
    [0x4A, 0x22, 0x10],
];
const SEA_ON_PAPER: [Rgb; 6] = [
    [0xE8, 0xF1, 0xF6],
    [0xC3, 0xDC, 0xEC],
    [0x93, 0xBF, 0xDD],
    [0x4F, 0x8D, 0xBE],
    [0x1B, 0x50, 0x88],
    [0x08, 0x1F, 0x45],
];
const SPARK_ON_PAPER: Rgb = [0x9E, 0x1F, 0x0C];

/// What differs between two answers, where a palette does not say: violet, which neither land, sea,
/// light nor marks have.
const CHANGE: Rgb = [0xA0, 0x64, 0xFF];

/// The most colours of a list.
const MAX_STOPS: usize = 256;

impl PaletteFile {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything that cannot be: the path of each field, and what is expected there.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if self.name.trim().is_empty() {
            found.push(("name".into(), "expected a name, found an empty text".into()));
        }
        let lists = [
            ("negative", Some(&self.negative)),
            ("positive", Some(&self.positive)),
            ("negative_on_light", self.negative_on_light.as_ref()),
            ("positive_on_light", self.positive_on_light.as_ref()),
            ("error", Some(&self.error)),
            ("land", self.land.as_ref()),
            ("land_on_light", self.land_on_light.as_ref()),
            ("sea", self.sea.as_ref()),
            ("sea_on_light", self.sea_on_light.as_ref()),
        ];
        let no_colour = |text: &String| format!("{text:?} is no colour; expected #rrggbb");
        for (field, list) in lists {
            let Some(list) = list else { continue };
            if !(1..=MAX_STOPS).contains(&list.len()) {
                found.push((
                    field.into(),
                    format!("expected 1 to {MAX_STOPS} colours, found {}", list.len()),
                ));
            }
            let bad = list.iter().enumerate().filter(|(_, text)| parse_colour(text).is_none());
            found.extend(bad.map(|(at, text)| (format!("{field}[{at}]"), no_colour(text))));
        }
        let single = [
            ("zero", &self.zero),
            ("glint", &self.glint),
            ("glint_on_light", &self.glint_on_light),
            ("change", &self.change),
        ];
        for (field, colour) in single {
            if let Some(text) = colour.as_ref().filter(|text| parse_colour(text).is_none()) {
                found.push((field.into(), no_colour(text)));
            }
        }
        found
    }
}

/// Colours for weights and errors, on ink and on paper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Palette {
    /// What it is called.
    pub name: String,
    /// What it is good for.
    pub about: String,
    zero: Option<Rgb>,
    /// Stops from zero outwards, on ink and on paper.
    negative: [Vec<Rgb>; 2],
    positive: [Vec<Rgb>; 2],
    error: Vec<Rgb>,
    /// Stops from the lowest to the highest, from afar, on ink and on paper.
    land: [Vec<Rgb>; 2],
    sea: [Vec<Rgb>; 2],
    glint: [Rgb; 2],
    /// The hue of what differs between two answers.
    change: Rgb,
}

impl Palette {
    /// The palette of a file that has no problems; what is no colour is white.
    pub fn new(file: &PaletteFile) -> Self {
        let colour = |text: &String| parse_colour(text).unwrap_or([0xff; 3]);
        let list = |list: &[String]| -> Vec<Rgb> { list.iter().map(colour).collect() };
        let on_paper =
            |own: &Option<Vec<String>>, ink: &[String]| list(own.as_deref().unwrap_or(ink));
        // Who names colours on ink alone has them on paper, too.
        let ramp = |ink: &Option<Vec<String>>, paper: &Option<Vec<String>>, usual: [&[Rgb]; 2]| {
            let both = [ink.as_deref(), paper.as_deref().or(ink.as_deref())];
            std::array::from_fn(|at| both[at].map_or_else(|| usual[at].to_vec(), list))
        };
        let spark = file.glint.as_ref().map(colour);
        let spark_on_paper = file.glint_on_light.as_ref().map(colour).or(spark);
        Self {
            name: file.name.clone(),
            about: file.description.clone(),
            zero: file.zero.as_ref().map(colour),
            negative: [list(&file.negative), on_paper(&file.negative_on_light, &file.negative)],
            positive: [list(&file.positive), on_paper(&file.positive_on_light, &file.positive)],
            error: list(&file.error),
            land: ramp(&file.land, &file.land_on_light, [&relief::LAND, &LAND_ON_PAPER]),
            sea: ramp(&file.sea, &file.sea_on_light, [&relief::SEA, &SEA_ON_PAPER]),
            glint: [spark.unwrap_or(relief::SPARK), spark_on_paper.unwrap_or(SPARK_ON_PAPER)],
            change: file.change.as_ref().map_or(CHANGE, colour),
        }
    }

    /// The colour of a weight that is so many spreads away from zero, as sRGB from 0 to 1.
    pub fn weight(&self, theme: Theme, spreads: f32) -> [f32; 3] {
        let zero = self.zero.unwrap_or(theme.ground());
        let paper = usize::from(theme == Theme::Light);
        let stops = if spreads < 0.0 { &self.negative[paper] } else { &self.positive[paper] };
        along(zero, stops, (spreads / RANGE).abs().min(1.0))
    }

    /// The colour of an error of so many spreads. A third of a spread is the most that the scale
    /// tells apart.
    pub fn error(&self, theme: Theme, spreads: f32) -> [f32; 3] {
        // The factor is that of `view/colour.wgsl`.
        along(theme.ground(), &self.error, (spreads * 3.0).clamp(0.0, 1.0))
    }

    /// The light of what differs by a part of the most, premultiplied as sRGB: twice the part is
    /// twice the light. The most leaves a fifth of what is below, so that relief stays.
    pub fn change(&self, part: f32) -> [u8; 4] {
        const MOST: f32 = 0.8;
        // Of what is no number there is no light.
        let part = if part > 0.0 { part.min(1.0) * MOST } else { 0.0 };
        let [r, g, b] = bytes_of(light_of(self.change).map(|light| light * part));
        [r, g, b, (part * 255.0).round() as u8]
    }

    /// The colours of the land from afar.
    pub fn ramps(&self, theme: Theme) -> Ramps {
        let paper = usize::from(theme == Theme::Light);
        Ramps::new(&self.land[paper], &self.sea[paper], self.glint[paper])
    }

    /// The table that the shader reads: linear colours, since it writes to an sRGB target.
    pub(crate) fn bake(&self, theme: Theme) -> Vec<[f32; 4]> {
        let half = (WEIGHT_ENTRIES / 2) as f32;
        let weight = |at: usize| self.weight(theme, (at as f32 - half) / half * RANGE);
        let error = |at: usize| self.error(theme, at as f32 / 255.0 / 3.0);
        let ramps = self.ramps(theme);
        let weights = (0..WEIGHT_ENTRIES).map(|at| weight(at).map(linear));
        let errors = (0..256).map(|at| error(at).map(linear));
        let all = weights.chain([ramps.glint]).chain(errors).chain(ramps.land).chain(ramps.sea);
        all.map(|[r, g, b]| [r, g, b, 1.0]).collect()
    }
}

/// All palettes, of which the settings name one.
#[derive(Resource, Debug, Clone, PartialEq, Eq)]
pub struct Palettes(pub Vec<Palette>);

impl Palettes {
    /// The palette of that name, or the first.
    pub fn named(&self, name: &str) -> &Palette {
        let named = self.0.iter().find(|palette| palette.name == name);
        named.or(self.0.first()).expect("the program has palettes of its own")
    }

    /// The name of the palette after that one, or after the first.
    pub fn after(&self, name: &str) -> &str {
        let at = self.0.iter().position(|palette| palette.name == name).unwrap_or(0);
        &self.0[(at + 1) % self.0.len()].name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::model::colour::oklab;

    fn all() -> Vec<Palette> {
        crate::world::content::palettes(&crate::app::kinds::assets()).unwrap()
    }

    #[test]
    fn zero_is_the_ground_and_the_ends_are_the_last_stops() {
        let palette = &all()[0];
        let bytes = |colour: [f32; 3]| colour.map(|channel| (channel * 255.0).round() as u8);
        for theme in [Theme::Dark, Theme::Light] {
            assert_eq!(bytes(palette.weight(theme, 0.0)), theme.ground());
        }
        assert_eq!(bytes(palette.weight(Theme::Dark, 9.0)), [0xff, 0xe9, 0xc4]);
        assert_eq!(bytes(palette.weight(Theme::Dark, -RANGE)), [0xc4, 0xe6, 0xff]);
        assert_eq!(palette.bake(Theme::Dark).len(), ENTRIES);
    }

    #[test]
    fn signs_are_told_apart_without_colour_vision_in_one_of_them() {
        let lightness = |colour: [f32; 3]| oklab(colour.map(linear))[0];
        let palettes = all();
        let plain = palettes.iter().find(|palette| palette.name == "lightness").unwrap();
        let mut before = -1.0;
        for step in -10i8..=10 {
            let now = lightness(plain.weight(Theme::Dark, f32::from(step) * 0.3));
            assert!(now > before, "lightness rises with the weight, at step {step}");
            before = now;
        }
    }

    #[test]
    fn from_afar_most_of_the_land_is_as_light_as_its_theme() {
        let palette = &all()[0];
        for (theme, is_light) in [(Theme::Dark, false), (Theme::Light, true)] {
            // A tensor's median lies at 1.6 of 3.6 octaves.
            let level = palette.ramps(theme).of_height(1.6 / 3.6);
            assert_eq!(oklab(level)[0] > 0.6, is_light, "{theme:?}: {level:?}");
        }
        let file: PaletteFile = ron::from_str(
            r##"(name: "x", negative: ["#000000"], positive: ["#ffffff"], error: ["#ffffff"],
                land: Some(["#123456"]), sea_on_light: Some(["#654321"]))"##,
        )
        .unwrap();
        assert_eq!(file.problems(), []);
        let own = Palette::new(&file);
        assert_eq!(own.ramps(Theme::Light).land, own.ramps(Theme::Dark).land);
        assert_ne!(own.ramps(Theme::Light).sea, own.ramps(Theme::Dark).sea);
        assert_eq!(own.ramps(Theme::Dark).sea, palette.ramps(Theme::Dark).sea);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let file: PaletteFile = ron::from_str(
            r##"(name: "x", zero: Some("black"), negative: ["blue"], positive: [],
                error: ["#ffffff"], sea: Some(["#12"]), glint: Some("#gggggg"))"##,
        )
        .unwrap();
        let paths: Vec<_> = file.problems().into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["negative[0]", "positive", "sea[0]", "zero", "glint"]);
    }
}
