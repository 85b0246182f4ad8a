//! Coordinates, rectangles and colours as people type them.

use crate::map::{MapError, Pixel, Point, Rect, TileSize};
use std::str::FromStr;

/// Some whole numbers with commas between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers<const N: usize>(pub(super) [i128; N]);

impl<const N: usize> FromStr for Numbers<N> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Vec<_> = text.split(',').map(parse_number).collect::<Result<_, _>>()?;
        let found = numbers.len();
        numbers.try_into().map(Self).map_err(|_| {
            let shape = if N == 2 { "x,y" } else { "four, as in x,y,width,height" };
            format!("{found} numbers, expected {shape}")
        })
    }
}

impl Numbers<2> {
    pub(super) fn point(self) -> anyhow::Result<Point> {
        let [x, y] = self.0;
        Ok(Point::new(coordinate(x)?, coordinate(y)?))
    }
}

impl Numbers<4> {
    pub(super) fn rect(self) -> anyhow::Result<Rect> {
        let [x, y, width, height] = self.0;
        let side = |side: i128| {
            u64::try_from(side)
                .map_err(|_| anyhow::anyhow!("a side of {side} pixels; expected 1 to 2^64 - 1"))
        };
        Ok(Rect::new(coordinate(x)?, coordinate(y)?, side(width)?, side(height)?)?)
    }

    pub(super) fn coordinates(self) -> anyhow::Result<[i64; 4]> {
        let [a, b, c, d] = self.0.map(coordinate);
        Ok([a?, b?, c?, d?])
    }
}

fn coordinate(number: i128) -> Result<i64, MapError> {
    i64::try_from(number)
        .map_err(|_| MapError::OutsidePlane { what: format!("coordinate {number}") })
}

/// A whole number: `1000`, `1_000`, `-0xff`, `2^40`.
fn parse_number(text: &str) -> Result<i128, String> {
    let digits = text.trim().replace('_', "");
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, digits.as_str()),
    };
    // In 128 bits: sides go up to 2^64 - 1 and coordinates down to -2^63.
    let parsed = if let Some(digits) = digits.strip_prefix("0x") {
        i128::from_str_radix(digits, 16).ok()
    } else if let Some(power) = digits.strip_prefix("2^") {
        power.parse::<u32>().ok().filter(|power| *power <= 64).map(|power| 1 << power)
    } else if digits.starts_with(|digit: char| digit.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    };
    parsed
        .map(|number| sign * number)
        .ok_or_else(|| format!("{text:?} is no whole number such as 1000, -2^40 or 0xff"))
}

/// A colour in hexadecimal: `ff8800`, `#ff8800` or `f80`.
pub(super) fn parse_colour(text: &str) -> Result<Pixel, String> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    // `from_str_radix` takes a sign too, and `+12345` is no colour.
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex);
    match (number, digits.len()) {
        (Some(number), 6) => Ok([(number >> 16) as u8, (number >> 8) as u8, number as u8]),
        (Some(number), 3) => {
            // A digit stands for itself twice, as in CSS: f is ff, and 17 * 15 is 255.
            Ok([number >> 8, number >> 4, number].map(|digit| (digit & 15) as u8 * 17))
        }
        _ => Err(format!("{text:?} is no colour such as ff8800")),
    }
}

pub(super) fn parse_tile_size(text: &str) -> Result<TileSize, String> {
    let side = text.parse().map_err(|_| format!("{text:?} is no whole number"))?;
    TileSize::new(side).map_err(|error| error.to_string())
}

/// A colour as it is shown.
pub(super) fn colour(pixel: Pixel) -> String {
    format!("#{}", crate::pxi::hex(&pixel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (text, number) in [
            ("0", 0),
            ("-12", -12),
            ("1_000", 1000),
            ("-2^40", -(1 << 40)),
            ("0xFf", 255),
            ("-0x10", -16),
        ] {
            assert_eq!(parse_number(text), Ok(number));
        }
        for text in ["", "-", "x", "2^65", "1.5", "--1", "+1", "0x"] {
            assert!(parse_number(text).is_err(), "{text}");
        }
        let edge: Numbers<2> = "-2^63,9223372036854775807".parse().unwrap();
        assert_eq!(edge.point().unwrap(), Point::new(i64::MIN, i64::MAX));
        assert!("2^63,0".parse::<Numbers<2>>().unwrap().point().is_err());
        assert!("1,2,3".parse::<Numbers<4>>().is_err());
        assert!("0,0,-1,1".parse::<Numbers<4>>().unwrap().rect().is_err());
    }

    #[test]
    fn colours_are_hexadecimal() {
        assert_eq!(parse_colour("#Ff8800"), Ok([255, 136, 0]));
        assert_eq!(parse_colour("f80"), Ok([255, 136, 0]));
        for text in ["", "#", "ff880", "gg0000", "+f8800", "ff88000"] {
            assert!(parse_colour(text).is_err(), "{text}");
        }
        assert_eq!(colour([255, 136, 0]), "#ff8800");
    }
}
