//! Palettes: from a weight to a colour. RON files in `assets/palettes`, baked into a table for the shader.
//!
//! Colours between two stops are mixed in OKLab, so that equal steps of a weight look equal.

use serde::Deserialize;

/// Colours of the table for weights, from the most negative to the most positive; zero is entry 127.
pub const WEIGHT_ENTRIES: usize = 255;
/// Entries of the whole table: weights, one that is spare, then 256 of the quantisation error from none to the most.
pub const ENTRIES: usize = 512;
/// How many spreads away from zero the outermost colour stands.
pub const RANGE: f32 = 3.0;

/// Why a palette cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PaletteError {
    /// The file is not what a palette's schema says.
    #[error("palette {name}: {source}")]
    Ron {
        /// The file.
        name: String,
        /// Where and why; boxed because it is large.
        source: Box<ron::error::SpannedError>,
    },
    /// A colour is not written as `#rrggbb`.
    #[error("palette {name}: {colour:?} is no colour; expected #rrggbb")]
    Colour {
        /// The file.
        name: String,
        /// What stands there.
        colour: String,
    },
    /// A list of stops is empty.
    #[error("palette {name}: {list} has no colours; expected at least one")]
    Empty {
        /// The file.
        name: String,
        /// The list.
        list: &'static str,
    },
}

/// Light or dark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, Deserialize)]
pub enum Theme {
    /// Deep ink.
    #[default]
    Dark,
    /// Warm paper.
    Light,
}

impl Theme {
    /// The ground on which the land lies, as sRGB bytes.
    pub fn ground(self) -> [u8; 3] {
        match self {
            Self::Dark => [0x0B, 0x0E, 0x14],
            Self::Light => [0xF6, 0xF3, 0xEC],
        }
    }

    /// The river's bed.
    pub fn water(self) -> [u8; 3] {
        match self {
            Self::Dark => [0x12, 0x1E, 0x30],
            Self::Light => [0xDC, 0xE6, 0xEE],
        }
    }
}

/// What is shown of each weight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, Deserialize)]
pub enum Colouring {
    /// The decoded weight.
    #[default]
    Weights,
    /// The bytes as they lie in the file: three to a pixel, red, green and blue.
    Bytes,
    /// How far the encoding may be off: half a step of its block.
    Error,
}

impl Colouring {
    /// All of them, in the order of the key that changes them.
    pub const ALL: [Self; 3] = [Self::Weights, Self::Bytes, Self::Error];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Bytes => "raw bytes",
            Self::Error => "rounding error",
        }
    }
}

/// A palette as it is written in its file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    about: String,
    #[serde(default)]
    zero: Option<String>,
    negative: Vec<String>,
    positive: Vec<String>,
    #[serde(default)]
    negative_on_paper: Option<Vec<String>>,
    #[serde(default)]
    positive_on_paper: Option<Vec<String>>,
    error: Vec<String>,
}

type Rgb = [u8; 3];

/// A palette.
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
    /// Reads a palette's file.
    ///
    /// # Errors
    /// It is not what the schema says; the line and column are told.
    pub fn parse(file: &str, text: &str) -> Result<Self, PaletteError> {
        let read: File = ron::from_str(text)
            .map_err(|source| PaletteError::Ron { name: file.into(), source: Box::new(source) })?;
        let colour = |text: &String| {
            parse_colour(text).ok_or_else(|| PaletteError::Colour { name: file.into(), colour: text.clone() })
        };
        let list = |name: &'static str, list: &[String]| {
            if list.is_empty() {
                return Err(PaletteError::Empty { name: file.into(), list: name });
            }
            list.iter().map(colour).collect::<Result<Vec<_>, _>>()
        };
        let on_paper =
            |own: &Option<Vec<String>>, ink: &[String]| own.clone().unwrap_or_else(|| ink.to_vec());
        Ok(Self {
            zero: read.zero.as_ref().map(colour).transpose()?,
            negative: [
                list("negative", &read.negative)?,
                list("negative_on_paper", &on_paper(&read.negative_on_paper, &read.negative))?,
            ],
            positive: [
                list("positive", &read.positive)?,
                list("positive_on_paper", &on_paper(&read.positive_on_paper, &read.positive))?,
            ],
            error: list("error", &read.error)?,
            name: read.name,
            about: read.about,
        })
    }

    /// The colour of a weight that is so many spreads away from zero, as sRGB from 0 to 1.
    pub fn weight(&self, theme: Theme, spreads: f32) -> [f32; 3] {
        let zero = self.zero.unwrap_or(theme.ground());
        let paper = usize::from(theme == Theme::Light);
        let stops = if spreads < 0.0 { &self.negative[paper] } else { &self.positive[paper] };
        along(zero, stops, (spreads / RANGE).abs().min(1.0))
    }

    /// The colour of an error of so many spreads. A third of a spread is the most that the scale tells apart.
    pub fn error(&self, theme: Theme, spreads: f32) -> [f32; 3] {
        along(theme.ground(), &self.error, (spreads * 3.0).clamp(0.0, 1.0))
    }

    /// The table that the shader reads: linear colours, since it writes to an sRGB target.
    pub fn bake(&self, theme: Theme) -> Vec<[f32; 4]> {
        let entry = |colour: [f32; 3]| {
            let [r, g, b] = colour.map(linear);
            [r, g, b, 1.0]
        };
        let half = (WEIGHT_ENTRIES / 2) as f32;
        (0..ENTRIES)
            .map(|at| {
                if at < 256 {
                    entry(self.weight(theme, (at.min(WEIGHT_ENTRIES - 1) as f32 - half) / half * RANGE))
                } else {
                    entry(self.error(theme, (at - 256) as f32 / 255.0 / 3.0))
                }
            })
            .collect()
    }
}

fn parse_colour(text: &str) -> Option<Rgb> {
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii())?;
    let channel = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
    Some([channel(0)?, channel(2)?, channel(4)?])
}

/// The colour at `part` of the way from `first` along the stops.
fn along(first: Rgb, stops: &[Rgb], part: f32) -> [f32; 3] {
    let at = part * stops.len() as f32;
    let index = (at as usize).min(stops.len() - 1);
    let from = if index == 0 { first } else { stops[index - 1] };
    mix(from, stops[index], at - index as f32)
}

fn mix(from: Rgb, to: Rgb, part: f32) -> [f32; 3] {
    let [a, b] = [from, to].map(|colour| oklab(colour.map(|channel| linear(f32::from(channel) / 255.0))));
    let mixed: [f32; 3] = std::array::from_fn(|i| a[i] + (b[i] - a[i]) * part);
    linear_of(mixed).map(|channel| gamma(channel).clamp(0.0, 1.0))
}

/// From sRGB to linear light.
pub fn linear(channel: f32) -> f32 {
    if channel <= 0.04045 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
}

/// From linear light to sRGB.
pub fn gamma(channel: f32) -> f32 {
    if channel <= 0.003_130_8 { channel * 12.92 } else { 1.055 * channel.max(0.0).powf(1.0 / 2.4) - 0.055 }
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
    use crate::assets::Assets;

    fn all() -> Vec<Palette> {
        Assets::default().palettes().unwrap()
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
    fn what_is_wrong_is_told_with_its_place() {
        let error = Palette::parse("x.ron", "(name: \"x\", negative: 3)").unwrap_err().to_string();
        assert!(error.contains("x.ron") && error.contains("1:"), "{error}");
        let bad = "(name: \"x\", negative: [\"blue\"], positive: [\"#ffffff\"], error: [\"#ffffff\"])";
        assert!(Palette::parse("x.ron", bad).unwrap_err().to_string().contains("blue"));
        let none = "(name: \"x\", negative: [], positive: [\"#ffffff\"], error: [\"#ffffff\"])";
        assert!(Palette::parse("x.ron", none).unwrap_err().to_string().contains("negative"));
    }
}
