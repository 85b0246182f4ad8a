//! Text from elsewhere on its way to a terminal: models, files, mods, requests and answers hold what strangers
//! wrote, and a terminal obeys control characters.
//!
//! In: any text. Out: the same text with every character that a terminal would obey, or that would reorder what a
//! person reads, written out as `\x1b` or `\u{202e}`. JSON, files and pipes get the bytes as they are.

use std::borrow::Cow;

/// The text on one row: control characters, line breaks and direction marks are written out.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escape(text, is_unsafe)
}

/// The text on as many rows as it has: as [`one_line`], but line feeds and tabs stay.
pub fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |letter| is_unsafe(letter) && !matches!(letter, '\n' | '\t'))
}

/// Whether a terminal would obey the character, or show what follows in another direction or not at all.
pub fn is_unsafe(letter: char) -> bool {
    // C0, DEL and C1; embeddings, overrides and isolates; the marks of a direction; line and paragraph separators.
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            _ if !is_escaped(letter) => out.push(letter),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if letter < '\u{100}' => out.push_str(&format!("\\x{:02x}", u32::from(letter))),
            _ => out.push_str(&format!("\\u{{{:x}}}", u32::from(letter))),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        assert_eq!(one_line("a\x1b[2J\rb\n\u{9b}\u{202e}é"), "a\\x1b[2J\\rb\\n\\x9b\\u{202e}é");
        assert_eq!(lines("a\tb\n\x07"), "a\tb\n\\x07");
        assert!(matches!(one_line("plain"), Cow::Borrowed("plain")));
    }
}
