//! Sizes as people write and read them, in one way for everything that takes one: `32M`, `4GiB`.

use std::fmt;
use std::str::FromStr;

/// A number of bytes, written as a number and a unit: `1000`, `32M`, `1.5 GiB`. K, M, G and T are
/// powers of 1024, as are KiB and the like; KB, MB, GB and TB are powers of 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemorySize(pub u64);

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no size: a number and a unit such as 32M, 4GiB or 4GB is needed")]
pub struct NoMemorySize(String);

impl FromStr for MemorySize {
    type Err = NoMemorySize;

    fn from_str(text: &str) -> Result<Self, NoMemorySize> {
        let wrong = || NoMemorySize(text.to_owned());
        let trimmed = text.trim();
        // Digits and dots alone, so that `NaN`, `inf` and `1e9`, which f64 reads, are no sizes.
        let digits =
            trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(wrong()),
        };
        // A float holds whole numbers only up to 2^53 exactly.
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(Self).ok_or_else(wrong);
        }
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let bytes = number * factor as f64;
        // What a 64-bit number does not hold is no size either.
        if bytes.is_finite() && bytes < 9e18 { Ok(Self(bytes as u64)) } else { Err(wrong()) }
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut value, mut unit) = (self.0 as f64, "B");
        for larger in ["KiB", "MiB", "GiB", "TiB"] {
            if value < 1024.0 {
                break;
            }
            (value, unit) = (value / 1024.0, larger);
        }
        if value.fract() == 0.0 {
            write!(f, "{value} {unit}")
        } else {
            write!(f, "{value:.1} {unit}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("32M", 32 << 20),
            ("32 MiB", 32 << 20),
            ("4GiB", 4 << 30),
            ("4GB", 4_000_000_000),
            ("1.5k", 1536),
            ("2t", 2 << 40),
        ] {
            assert_eq!(text.parse(), Ok(MemorySize(bytes)), "{text}");
        }
        for text in
            ["", "M", "-1", "1X", "1e9", "1.2.3M", "99999999999999999999", "20000000T", "NaN"]
        {
            assert!(text.parse::<MemorySize>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_unit_that_suits_them() {
        for (bytes, text) in [(12, "12 B"), (1 << 25, "32 MiB"), (3 << 29, "1.5 GiB")] {
            assert_eq!(MemorySize(bytes).to_string(), text);
        }
    }
}
