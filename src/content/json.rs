//! JSON as the tree that RON is read into: an object is a struct, `null` the name `None`.
//!
//! serde_json checks the text first, so that what it says of a text that is no JSON is what people
//! know, and the tree is made of JSON only. Problems name values as they stand in the text.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::decode::{At, Findings};
use super::parse::MAX_DEPTH;
use super::problem::Problem;
use super::tree::{Field, Node, Place, Value};

/// Reads a text by a function that notes what is wrong (see [`At`]).
///
/// # Errors
/// The text is no JSON, or something was noted: all of it, in the order of the places.
pub fn read<T>(text: &str, read: impl FnOnce(&At<'_>) -> Option<T>) -> Result<T, Vec<Problem>> {
    let node = parse(text).map_err(|problem| vec![problem])?;
    let findings = Findings::of_json(text);
    match (read(&At::root(&node, &findings)), findings.into_sorted()) {
        (Some(value), problems) if problems.is_empty() => Ok(value),
        (_, problems) => Err(problems),
    }
}

/// Reads a text into a tree.
///
/// # Errors
/// The text is no JSON, or is nested deeper than [`MAX_DEPTH`].
pub fn parse(text: &str) -> Result<Node, Problem> {
    let file: Arc<str> = "".into();
    serde_json::from_str::<&RawValue>(text).map_err(|error| syntax(&file, text, &error))?;
    Parser { file, text, offset: 0, counted: 0, column: 1 }.value(0)
}

/// serde_json's message without its own account of the place, which is in bytes.
fn syntax(file: &Arc<str>, text: &str, error: &serde_json::Error) -> Problem {
    let said = error.to_string();
    let message = said.rsplit_once(" at line ").map_or(said.as_str(), |(message, _)| message);
    // serde_json counts bytes from 1, and tells of column 0 where the text is empty.
    let offset = error.column().saturating_sub(1).min(text.len());
    // Lossy, since the byte may lie within a character.
    let column = String::from_utf8_lossy(&text.as_bytes()[..offset]).chars().count() as u32 + 1;
    let place = Place { file: Arc::clone(file), line: 1, column, offset };
    Problem::at(&place, None, format!("not valid JSON: {message}"))
}

/// Goes over a text that serde_json has taken.
struct Parser<'a> {
    file: Arc<str>,
    text: &'a str,
    offset: usize,
    /// Up to where `column` has been counted: each character once, however many values there are.
    counted: usize,
    column: u32,
}

impl<'a> Parser<'a> {
    fn place(&mut self) -> Place {
        self.column += self.text[self.counted..self.offset].chars().count() as u32;
        self.counted = self.offset;
        let file = Arc::clone(&self.file);
        Place { file, line: 1, column: self.column, offset: self.offset }
    }

    /// The next character that is no white space.
    fn next(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.offset..];
        self.offset += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.text.as_bytes().get(self.offset).copied()
    }

    fn value(&mut self, depth: usize) -> Result<Node, Problem> {
        let next = self.next();
        let place = self.place();
        if depth > MAX_DEPTH {
            let message = format!("values are nested deeper than {MAX_DEPTH}");
            return Err(Problem::at(&place, None, message));
        }
        let value = match next {
            Some(b'{') => Value::Struct(None, self.items(b'}', |it| it.field(depth))?),
            Some(b'[') => Value::List(self.items(b']', |it| it.value(depth + 1))?),
            Some(b'"') => Value::Text(self.string()),
            _ => self.word(),
        };
        Ok(Node { place, value })
    }

    fn items<T>(
        &mut self,
        close: u8,
        item: impl Fn(&mut Self) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        let mut items = Vec::new();
        self.offset += 1;
        loop {
            match self.next() {
                // serde_json has checked that commas stand where they belong.
                Some(b',') => self.offset += 1,
                Some(byte) if byte != close => items.push(item(self)?),
                _ => break,
            }
        }
        self.offset += 1;
        Ok(items)
    }

    fn field(&mut self, depth: usize) -> Result<Field, Problem> {
        let place = self.place();
        let name = self.string();
        // The colon, which serde_json has seen.
        self.next();
        self.offset += 1;
        Ok(Field { name, place, node: self.value(depth + 1)? })
    }

    fn string(&mut self) -> String {
        // By bytes: no part of a longer character is `"` or `\`.
        let bytes = self.text.as_bytes();
        let mut end = self.offset + 1;
        while bytes.get(end).is_some_and(|&byte| byte != b'"') {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let written = self.take(end + 1);
        // serde_json's check passes half a surrogate pair, which no text can hold.
        serde_json::from_str(written).unwrap_or_else(|_| written.to_owned())
    }

    fn word(&mut self) -> Value {
        let rest = &self.text[self.offset..];
        let ends = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'}');
        let length = rest.bytes().position(ends).unwrap_or(rest.len());
        match self.take(self.offset + length) {
            "null" => Value::Name("None".into()),
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            number => number_of(number),
        }
    }

    fn take(&mut self, end: usize) -> &'a str {
        let taken = self.text.get(self.offset..end).unwrap_or_default();
        self.offset = end.min(self.text.len());
        taken
    }
}

/// As serde_json has it: -0 is no whole number. What no number can hold is infinite.
fn number_of(text: &str) -> Value {
    let signed = || text.parse().ok().filter(|&value| value != 0).map(Value::Signed);
    let float = || Value::Float(serde_json::from_str(text).unwrap_or(f64::INFINITY));
    text.parse().map(Value::Unsigned).ok().or_else(signed).unwrap_or_else(float)
}

/// The value that begins at an offset, as it is written.
pub(super) fn written(text: &str, offset: usize) -> &str {
    let rest = text.get(offset..).unwrap_or_default();
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
    values.next().and_then(Result::ok).map_or("", RawValue::get)
}

/// A value in a few words, for messages.
pub(super) fn describe(value: &Value, written: &str) -> String {
    /// How much of a value a message repeats.
    const SHOWN_CHARACTERS: usize = 40;
    match value {
        Value::Struct(..) => "an object".into(),
        Value::List(items) if items.is_empty() => "an empty list".into(),
        Value::List(_) => "a list".into(),
        _ if written.chars().count() > SHOWN_CHARACTERS => {
            format!("{}...", written.chars().take(SHOWN_CHARACTERS).collect::<String>())
        }
        _ => written.to_owned(),
    }
}

/// The text with U+FFFD in place of every escape that is half of a surrogate pair, as texts have
/// that were cut in the middle of an emoji. Both are six characters long, so every column stays
/// what it is.
pub(crate) fn without_lone_surrogates(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let unit = |at: usize| {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        // Digits alone: `from_str_radix` would take a sign as well.
        let digits = std::str::from_utf8(digits)
            .ok()
            .filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u16::from_str_radix(digits, 16).ok()
    };
    let (mut mended, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(offset) =
        bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == b'\\'))
    {
        at += offset;
        match (unit(at), unit(at + 6)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => at += 12,
            (Some(0xd800..0xe000), _) => {
                mended.push_str(&text[copied..at]);
                mended.push_str("\\ufffd");
                at += 6;
                copied = at;
            }
            // The character after a backslash is no beginning of an escape itself.
            _ => at += 2,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    mended.push_str(&text[copied..]);
    Cow::Owned(mended)
}
