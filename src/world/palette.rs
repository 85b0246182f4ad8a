//! Palettes: from a weight to a colour. They are `*.palette.ron`, baked into a table for the
//! shader.
//!
//! Colours between two stops are mixed in OKLab, so that equal steps of a weight look equal.

use bevy::prelude::Resource;
use serde::Deserialize;

use crate::model::plan::rules::parse_colour;

/// Colours of the table for weights, from the most negative to the most positive; zero is
/// entry 127.
pub(crate) const WEIGHT_ENTRIES: usize = 255;
/// Entries of the whole table: weights, one that is spare, then 256 of the quantisation error from
/// none to the most.
pub(crate) const ENTRIES: usize = 512;
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
}

impl Colouring {
    /// The one after it; the first comes after the last.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Weights => Self::Bytes,
            Self::Bytes => Self::Error,
            Self::Error => Self::Weights,
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
}

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
        if let Some(zero) = self.zero.as_ref().filter(|text| parse_colour(text).is_none()) {
            found.push(("zero".into(), no_colour(zero)));
        }
        found
    }
}

type Rgb = [u8; 3];

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
}

impl Palette {
    /// The palette of a file that has no problems; what is no colour is white.
    pub fn new(file: &PaletteFile) -> Self {
        let colour = |text: &String| parse_colour(text).unwrap_or([0xff; 3]);
        let list = |list: &[String]| -> Vec<Rgb> { list.iter().map(colour).collect() };
        let on_paper =
            |own: &Option<Vec<String>>, ink: &[String]| list(own.as_deref().unwrap_or(ink));
        Self {
            name: file.name.clone(),
            about: file.description.clone(),
            zero: file.zero.as_ref().map(colour),
            negative: [list(&file.negative), on_paper(&file.negative_on_light, &file.negative)],
            positive: [list(&file.positive), on_paper(&file.positive_on_light, &file.positive)],
            error: list(&file.error),
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

    /// The table that the shader reads: linear colours, since it writes to an sRGB target.
    pub(crate) fn bake(&self, theme: Theme) -> Vec<[f32; 4]> {
        let entry = |colour: [f32; 3]| {
            let [r, g, b] = colour.map(linear);
            [r, g, b, 1.0]
        };
        let half = (WEIGHT_ENTRIES / 2) as f32;
        (0..ENTRIES)
            .map(|at| {
                // Entry 255 is the spare one, and repeats the last.
                if at < 256 {
                    entry(
                        self.weight(
                            theme,
                            (at.min(WEIGHT_ENTRIES - 1) as f32 - half) / half * RANGE,
                        ),
                    )
                } else {
                    entry(self.error(theme, (at - 256) as f32 / 255.0 / 3.0))
                }
            })
            .collect()
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

/// The colour at `part` of the way from `first` along the stops.
fn along(first: Rgb, stops: &[Rgb], part: f32) -> [f32; 3] {
    let at = part * stops.len() as f32;
    // There is a stop: `PaletteFile::problems` refuses an empty list.
    let index = (at as usize).min(stops.len() - 1);
    let from = if index == 0 { first } else { stops[index - 1] };
    mix(from, stops[index], at - index as f32)
}

fn mix(from: Rgb, to: Rgb, part: f32) -> [f32; 3] {
    let [a, b] =
        [from, to].map(|colour| oklab(colour.map(|channel| linear(f32::from(channel) / 255.0))));
    let mixed: [f32; 3] = std::array::from_fn(|i| a[i] + (b[i] - a[i]) * part);
    // Between two colours of sRGB, OKLab may leave what sRGB can show.
    linear_of(mixed).map(|channel| gamma(channel).clamp(0.0, 1.0))
}

/// From sRGB to linear light.
pub fn linear(channel: f32) -> f32 {
    // The constants here and in `gamma` are those of sRGB, IEC 61966-2-1.
    if channel <= 0.04045 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
}

/// From linear light to sRGB.
pub(crate) fn gamma(channel: f32) -> f32 {
    if channel <= 0.003_130_8 {
        channel * 12.92
    } else {
        1.055 * channel.max(0.0).powf(1.0 / 2.4) - 0.055
    }
}

// The matrices are those of Björn Ottosson's OKLab (2020).
fn oklab([r, g, b]: [f32; 3]) -> [f32; 3] {
    let l = (0.412_221_46 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
    let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
    let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
    [
        0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
        1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
        0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
    ]
}

fn linear_of([lightness, a, b]: [f32; 3]) -> [f32; 3] {
    let l = (lightness + 0.396_337_78 * a + 0.215_803_76 * b).powi(3);
    let m = (lightness - 0.105_561_346 * a - 0.063_854_17 * b).powi(3);
    let s = (lightness - 0.089_484_18 * a - 1.291_485_5 * b).powi(3);
    [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_38 * s,
        -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_is_wrong_is_told() {
        let file: PaletteFile = ron::from_str(
            r##"(name: "x", zero: Some("black"), negative: ["blue"], positive: [],
                error: ["#ffffff"])"##,
        )
        .unwrap();
        let paths: Vec<_> = file.problems().into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["negative[0]", "positive", "zero"]);
    }
}
