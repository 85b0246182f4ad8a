//! Numbers of things in sentences.

use std::fmt::Display;

/// A number and what it counts, in English: `1 conversion`, `2 conversions`, `0 leftovers`. `one`
/// is a noun whose plural takes an `s`.
pub fn counted(number: impl Into<u64>, one: &str) -> impl Display {
    let number = number.into();
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// A large number in three or four digits: `134.5 M`.
pub(crate) fn short_count(number: u64) -> String {
    let number = (number, number as f64);
    match number.0 {
        0..1_000_000 => format!("{:.0} K", number.1 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", number.1 / 1e6),
        _ => format!("{:.2} B", number.1 / 1e9),
    }
}

/// What is said of one thing or of several: `is` or `are`, `goes` or `go`.
pub(crate) fn one_or_more<'a>(number: impl Into<u64>, one: &'a str, more: &'a str) -> &'a str {
    if number.into() == 1 { one } else { more }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_no_plural() {
        let texts = [0_u32, 1, 2]
            .map(|n| format!("{} {}", counted(n, "tile"), one_or_more(n, "is", "are")));
        assert_eq!(texts, ["0 tiles are", "1 tile is", "2 tiles are"]);
    }
}
