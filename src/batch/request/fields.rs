//! JSON whose values know where they stand in their line.
//!
//! serde_json checks the whole line once; its [`RawValue`]s are slices of it, so the place of a
//! value is the distance between two pointers. Columns are counted only where a problem names one:
//! counting takes time in proportion to the line.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::error::{LineProblem, Problem};

/// A value, its place and the path to it.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    /// The path to the value: `body.stop[1]`.
    pub path: String,
    /// The last name of the path.
    pub name: Cow<'a, str>,
    /// The name as it stands in the line, or the value where the name holds escapes.
    name_place: &'a str,
    raw: &'a str,
    line: &'a str,
}

impl<'a> Field<'a> {
    /// The whole line as a value, if it is JSON.
    pub fn whole(line: &'a str) -> Result<Self, LineProblem> {
        let raw: &RawValue = serde_json::from_str(line).map_err(|error| syntax(line, &error))?;
        let raw = raw.get();
        Ok(Self { path: String::new(), name: Cow::Borrowed(""), name_place: raw, raw, line })
    }

    /// The column of the value.
    pub fn column(&self) -> usize {
        column(self.line, self.raw)
    }

    /// The column of the name, or of the value where the name holds escapes.
    fn name_column(&self) -> usize {
        let column = column(self.line, self.name_place);
        // A name stands one character after its quote, and a value has no quote of another before
        // it.
        if std::ptr::eq(self.name_place, self.raw) { column } else { column - 1 }
    }

    /// The value as it stands in the line.
    pub fn json(&self) -> &'a str {
        self.raw
    }

    pub fn is_null(&self) -> bool {
        self.raw == "null"
    }

    pub fn problem(&self, problem: Problem) -> LineProblem {
        LineProblem { column: self.column(), field: self.path.clone(), problem }
    }

    pub fn expected(&self, expected: impl Into<String>) -> LineProblem {
        self.problem(Problem::Expected { expected: expected.into(), found: describe(self.raw) })
    }

    /// The value as a type, or a problem that names what was expected.
    pub fn read<T: Deserialize<'a>>(&self, expected: &str) -> Result<T, LineProblem> {
        serde_json::from_str(self.raw).map_err(|_| self.expected(expected))
    }

    pub fn string(&self, expected: &str) -> Result<Cow<'a, str>, LineProblem> {
        self.read::<Text<'a>>(expected).map(|text| text.0)
    }

    /// The fields of an object in their order; a name that comes twice is a problem.
    pub fn object(&self, expected: &str) -> Result<Vec<Field<'a>>, LineProblem> {
        let pairs: Pairs<'a> = self.read(expected)?;
        let mut fields: Vec<Field<'a>> = Vec::with_capacity(pairs.0.len());
        let mut seen = HashSet::with_capacity(pairs.0.len());
        for (Text(name), raw) in pairs.0 {
            let raw = raw.get();
            let name_place = match &name {
                Cow::Borrowed(name) => name,
                Cow::Owned(_) => raw,
            };
            let path = if self.path.is_empty() {
                name.to_string()
            } else {
                format!("{}.{name}", self.path)
            };
            let field = Field { path, name, name_place, raw, line: self.line };
            if !seen.insert(field.name.clone()) {
                return Err(field.at_name(Problem::Twice));
            }
            fields.push(field);
        }
        Ok(fields)
    }

    /// The elements of an array, or `None` for anything else.
    pub fn elements(&self) -> Option<Vec<Field<'a>>> {
        let elements: Elements<'a> = serde_json::from_str(self.raw).ok()?;
        let element = |(index, raw): (usize, &'a RawValue)| Field {
            path: format!("{}[{index}]", self.path),
            name: self.name.clone(),
            name_place: self.name_place,
            raw: raw.get(),
            line: self.line,
        };
        Some(elements.0.into_iter().enumerate().map(element).collect())
    }

    pub fn at_name(&self, problem: Problem) -> LineProblem {
        LineProblem { column: self.name_column(), field: self.path.clone(), problem }
    }
}

/// The line with U+FFFD in place of every escape that is half of a surrogate pair, as texts have
/// that were cut in the middle of an emoji. Both are six characters long, so every column stays
/// what it is.
pub(super) fn without_lone_surrogates(line: &str) -> Cow<'_, str> {
    let bytes = line.as_bytes();
    let unit = |at: usize| {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
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
                mended.push_str(&line[copied..at]);
                mended.push_str("\\ufffd");
                at += 6;
                copied = at;
            }
            // The character after a backslash is no beginning of an escape itself.
            _ => at += 2,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(line);
    }
    mended.push_str(&line[copied..]);
    Cow::Owned(mended)
}

/// The column of a slice of the line, in characters from 1.
fn column(line: &str, part: &str) -> usize {
    let offset = (part.as_ptr() as usize).saturating_sub(line.as_ptr() as usize);
    line.get(..offset).map_or(1, |before| before.chars().count() + 1)
}

/// serde_json's message without its own account of the place, which is in bytes.
fn syntax(line: &str, error: &serde_json::Error) -> LineProblem {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let bytes = error.column().saturating_sub(1).min(line.len());
    let before = String::from_utf8_lossy(&line.as_bytes()[..bytes]).chars().count();
    LineProblem {
        column: before + 1,
        field: String::new(),
        problem: Problem::Syntax(message.to_owned()),
    }
}

/// How much of a value a message repeats.
const SHOWN_CHARACTERS: usize = 40;

fn describe(raw: &str) -> String {
    match raw.as_bytes().first() {
        Some(b'{') => "an object".into(),
        Some(b'[') if raw[1..].trim_start().starts_with(']') => "an empty list".into(),
        Some(b'[') => "a list".into(),
        _ if raw.chars().count() > SHOWN_CHARACTERS => {
            format!("{}...", raw.chars().take(SHOWN_CHARACTERS).collect::<String>())
        }
        _ => raw.to_owned(),
    }
}

/// A string that borrows from the line where it holds no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// The pairs of an object in their order.
struct Pairs<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

/// The elements of an array.
struct Elements<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementsVisitor;
        impl<'de> Visitor<'de> for ElementsVisitor {
            type Value = Elements<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element()? {
                    elements.push(element);
                }
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(ElementsVisitor)
    }
}
