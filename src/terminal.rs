//! Text from elsewhere on its way to a terminal: models, files, mods, requests and answers hold
//! what strangers wrote, and a terminal obeys control characters.
//!
//! In: any text. Out: the same text with every character that a terminal would obey, or that would
//! reorder what a person reads, written out as `\x1b` or `\u{202e}`. [`Terminal`] is the one writer
//! through which it goes: JSON, files and pipes get the bytes as they are.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

/// The text on one row: control characters, line breaks and direction marks are written out.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escape(text, is_unsafe)
}

/// The text on as many rows as it has: as [`one_line`], but line feeds and tabs stay.
pub fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |letter| is_unsafe(letter) && !matches!(letter, '\n' | '\t'))
}

/// Whether a terminal would obey the character, or show what follows in another direction or not at
/// all.
pub fn is_unsafe(letter: char) -> bool {
    // C0, DEL and C1; embeddings, overrides and isolates; the marks of a direction; line and
    // paragraph separators.
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{61c}')
        || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How what is unsafe is written out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Escapes {
    /// As Rust does: `\x1b`, `\u{202e}`.
    #[default]
    Text,
    /// As JSON does: `\u001b`, `\u202e`.
    Json,
}

/// The writer that everything for people goes through: a terminal gets [`lines`] of it, and a pipe
/// or a file the bytes.
///
/// Characters may be cut in two between writes. Bytes that are no UTF-8 are written out too.
#[derive(Debug)]
pub struct Terminal<W: Write> {
    inner: W,
    is_terminal: bool,
    escapes: Escapes,
    /// The beginning of a character whose end has not come.
    begun: Vec<u8>,
}

/// Standard output; with escapes where it is a terminal.
pub fn stdout() -> Terminal<io::Stdout> {
    let stream = io::stdout();
    let is_terminal = stream.is_terminal();
    Terminal::new(stream, is_terminal)
}

/// Standard error; with escapes where it is a terminal.
pub fn stderr() -> Terminal<io::Stderr> {
    let stream = io::stderr();
    let is_terminal = stream.is_terminal();
    Terminal::new(stream, is_terminal)
}

impl<W: Write> Terminal<W> {
    /// A writer over a stream, which is a terminal or not.
    pub fn new(inner: W, is_terminal: bool) -> Self {
        Self { inner, is_terminal, escapes: Escapes::Text, begun: Vec::new() }
    }

    /// The same for JSON, which stays JSON.
    #[must_use]
    pub(crate) fn with_escapes(mut self, escapes: Escapes) -> Self {
        self.escapes = escapes;
        self
    }

    /// Whether the stream is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Writes what is the program's own, such as colours, as it is.
    ///
    /// # Errors
    /// The stream takes no more.
    pub(crate) fn write_trusted(&mut self, text: &str) -> io::Result<()> {
        // Otherwise the text would stand within a character that was begun.
        self.end_character()?;
        self.inner.write_all(text.as_bytes())
    }

    /// A character that was begun and not ended is none.
    fn end_character(&mut self) -> io::Result<()> {
        let begun = std::mem::take(&mut self.begun);
        begun.iter().try_for_each(|byte| self.write_byte(*byte))
    }

    /// A byte that is no part of a character.
    fn write_byte(&mut self, byte: u8) -> io::Result<()> {
        write!(self.inner, "\\x{byte:02x}")
    }

    fn write_text(&mut self, text: &str) -> io::Result<()> {
        let text = match self.escapes {
            Escapes::Text => lines(text),
            Escapes::Json => json(text),
        };
        self.inner.write_all(text.as_bytes())
    }
}

impl<W: Write> Write for Terminal<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_terminal {
            return self.inner.write(bytes);
        }
        let whole = [std::mem::take(&mut self.begun).as_slice(), bytes].concat();
        let mut rest = whole.as_slice();
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.write_text(text)?;
                    break;
                }
                Err(error) => {
                    let (text, after) = rest.split_at(error.valid_up_to());
                    // Valid up to here, so nothing of it is lost.
                    self.write_text(&String::from_utf8_lossy(text))?;
                    // No length: the bytes end within a character, and the next write may end it.
                    let Some(bad) = error.error_len() else {
                        self.begun = after.to_vec();
                        break;
                    };
                    after[..bad].iter().try_for_each(|byte| self.write_byte(*byte))?;
                    rest = &after[bad..];
                }
            }
        }
        // All are taken: those of a character that was begun wait in `begun`.
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // A character that was begun is not ended: its rest may come after a flush.
        self.inner.flush()
    }
}

impl<W: Write> Drop for Terminal<W> {
    fn drop(&mut self) {
        // Nobody is left to tell when even this cannot be written.
        let _ = self.end_character();
    }
}

/// A program and its arguments as a JSON list of words, in ASCII alone: it can be read in one way
/// only, and no letter looks like another one.
pub fn command(words: &[String]) -> String {
    let text = serde_json::to_string(words).unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            ' '..='~' => out.push(letter),
            _ => push_json(&mut out, letter),
        }
    }
    out
}

/// Whether a text is one word for every shell, as it stands, and no option.
pub fn is_plain_word(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(is_plain)
}

fn json(text: &str) -> Cow<'_, str> {
    // JSON has line breaks only between values, where an escape would make it no JSON.
    let is_escaped = |letter: char| is_unsafe(letter) && letter != '\n';
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_escaped(letter) { push_json(&mut out, letter) } else { out.push(letter) }
    }
    Cow::Owned(out)
}

fn push_json(out: &mut String, letter: char) {
    // JSON escapes 16 bits at a time: what is above U+FFFF is a pair of surrogates.
    for unit in letter.encode_utf16(&mut [0; 2]) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
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

    fn shown(pieces: &[&[u8]], is_terminal: bool, escapes: Escapes) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut terminal = Terminal::new(&mut bytes, is_terminal).with_escapes(escapes);
        pieces.iter().for_each(|piece| terminal.write_all(piece).unwrap());
        drop(terminal);
        bytes
    }

    #[test]
    fn a_terminal_gets_nothing_that_it_obeys_and_a_pipe_the_bytes() {
        let text = "é\x1b[2J\tb\n\u{9b}\u{202e}😀".as_bytes();
        let whole = shown(&[text], true, Escapes::Text);
        assert_eq!(String::from_utf8(whole.clone()).unwrap(), "é\\x1b[2J\tb\n\\x9b\\u{202e}😀");
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(shown(&bytes, true, Escapes::Text), whole);
        assert_eq!(shown(&bytes, false, Escapes::Text), text);
        // What is no UTF-8 could be a control character of another encoding.
        assert_eq!(shown(&[b"a\x9b1m", b"\xe2\x82"], true, Escapes::Text), b"a\\x9b1m\\xe2\\x82");
    }

    #[test]
    fn json_on_a_terminal_stays_json() {
        let value = serde_json::json!({"a": "\u{202e}\u{9b}\u{7f}é\n"});
        let shown =
            shown(&[serde_json::to_string(&value).unwrap().as_bytes()], true, Escapes::Json);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&shown).unwrap(), value);
        assert!(!String::from_utf8(shown).unwrap().contains(is_unsafe));
    }

    #[test]
    fn the_programs_own_colours_stay() {
        let mut bytes = Vec::new();
        let mut terminal = Terminal::new(&mut bytes, true);
        terminal.write_trusted("\x1b[1m").unwrap();
        terminal.write_all(b"\x1b").unwrap();
        drop(terminal);
        assert_eq!(bytes, b"\x1b[1m\\x1b");
    }

    #[test]
    fn a_command_is_read_in_one_way_only() {
        let line = |words: &[&str]| {
            command(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(line(&["sh", "-c", "a \"b\""]), r#"["sh","-c","a \"b\""]"#);
        let odd =
            ["\u{1b}[2K\rdf", "\u{202e}", "a\u{200b}", "\u{430}", "\u{1f600}", "\u{7f}", "\\u0061"];
        let shown = line(&odd);
        assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{shown}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), odd);
        assert!(
            is_plain_word("a-b.c_1")
                && !is_plain_word("-a")
                && !is_plain_word("a b")
                && !is_plain_word("")
        );
    }
}
