//! Colours as bytes of sRGB, as light, and between two stops of a palette. Mixed in OKLab, so that
//! equal steps look equal.

/// Red, green and blue of sRGB.
pub(crate) type Rgb = [u8; 3];

/// Red, green and blue of `#rrggbb`; none for any other text.
pub(crate) fn parse_colour(text: &str) -> Option<Rgb> {
    // ASCII, or else cutting by bytes could cut a character and panic.
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii())?;
    let channel = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
    Some([channel(0)?, channel(2)?, channel(4)?])
}

/// A colour of sRGB as light.
pub(crate) fn light_of(colour: Rgb) -> [f32; 3] {
    colour.map(|channel| linear(f32::from(channel) / 255.0))
}

/// Light as bytes of sRGB.
pub(crate) fn bytes_of(light: [f32; 3]) -> Rgb {
    light.map(|channel| (gamma(channel).clamp(0.0, 1.0) * 255.0).round() as u8)
}

/// The colour at `part` of the way from `first` along the stops.
pub(crate) fn along(first: Rgb, stops: &[Rgb], part: f32) -> [f32; 3] {
    let at = part * stops.len() as f32;
    // There is a stop: reviews of palettes refuse an empty list.
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
pub(crate) fn linear(channel: f32) -> f32 {
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
pub(crate) fn oklab([r, g, b]: [f32; 3]) -> [f32; 3] {
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
