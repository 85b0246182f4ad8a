//! Reads a RON text into a [`Node`].
//!
//! The language is RON's: structs, tuples, lists, maps, texts (plain and raw), characters, numbers,
//! names, and both kinds of comment. What breaks the grammar ends the reading of a file; a field
//! that is there twice does not.

use std::collections::HashSet;
use std::sync::Arc;

use super::decode::MAX_PROBLEMS;
use super::problem::Problem;
use super::tree::{Field, Node, Place, Value, shortened};

/// The deepest nesting: far more than any content needs, far less than the stack holds.
pub(crate) const MAX_DEPTH: usize = 64;

/// The most values of a file: a file of the greatest size in values of the usual length.
pub(crate) const MAX_VALUES: usize = 200_000;

/// Reads a text. Problems that leave the value usable go to `problems`.
///
/// # Errors
/// The text is no RON; the problem names the place.
pub fn parse(file: &Arc<str>, text: &str, problems: &mut Vec<Problem>) -> Result<Node, Problem> {
    // Some editors begin a text with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser =
        Parser { file, length: text.len(), rest: text, line: 1, column: 1, values: 0, problems };
    parser.attributes()?;
    let node = parser.value(0)?;
    parser.space()?;
    match parser.rest.chars().next() {
        None => Ok(node),
        Some(found) => Err(parser.wrong(format!("expected the end of the file, found {found:?}"))),
    }
}

struct Parser<'a> {
    file: &'a Arc<str>,
    length: usize,
    rest: &'a str,
    line: u32,
    column: u32,
    values: usize,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Parser<'a> {
    fn place(&self) -> Place {
        let offset = self.length - self.rest.len();
        Place { file: Arc::clone(self.file), line: self.line, column: self.column, offset }
    }

    fn wrong(&self, message: String) -> Problem {
        Problem::at(&self.place(), None, message)
    }

    fn advance(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        for character in taken.chars() {
            if character == '\n' {
                (self.line, self.column) = (self.line + 1, 1);
            } else {
                self.column += 1;
            }
        }
        self.rest = rest;
        taken
    }

    fn take(&mut self, prefix: &str) -> bool {
        let found = self.rest.starts_with(prefix);
        if found {
            self.advance(prefix.len());
        }
        found
    }

    fn take_while(&mut self, accepts: impl Fn(char) -> bool) -> &'a str {
        self.advance(self.rest.find(|character| !accepts(character)).unwrap_or(self.rest.len()))
    }

    /// Skips white space and comments.
    fn space(&mut self) -> Result<(), Problem> {
        loop {
            self.take_while(char::is_whitespace);
            if self.rest.starts_with("//") {
                self.take_while(|character| character != '\n');
            } else if self.rest.starts_with("/*") {
                self.block_comment()?;
            } else {
                return Ok(());
            }
        }
    }

    fn block_comment(&mut self) -> Result<(), Problem> {
        // Made before anything is read: it tells where the comment begins.
        let unended = self.wrong("this comment has no `*/`".into());
        // RON's block comments nest. The first turn takes the `/*`, so the depth never falls below
        // 0.
        let mut depth = 0_usize;
        loop {
            if self.take("/*") {
                depth += 1;
            } else if self.take("*/") {
                depth -= 1;
                if depth == 0 {
                    return Ok(());
                }
            } else {
                let Some(character) = self.rest.chars().next() else { return Err(unended) };
                self.advance(character.len_utf8());
            }
        }
    }

    /// Skips `#![enable(...)]`, which says what is the rule here: `Some` may be left out, and so
    /// may a newtype's parentheses.
    fn attributes(&mut self) -> Result<(), Problem> {
        self.space()?;
        while self.rest.starts_with("#!") {
            let Some(end) = self.rest.find(']') else {
                return Err(self.wrong("this attribute has no `]`".into()));
            };
            self.advance(end + 1);
            self.space()?;
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Node, Problem> {
        self.space()?;
        self.values += 1;
        if depth > MAX_DEPTH {
            return Err(self.wrong(format!("values are nested deeper than {MAX_DEPTH}")));
        }
        if self.values > MAX_VALUES {
            return Err(self.wrong(format!("the file has more than {MAX_VALUES} values")));
        }
        let place = self.place();
        let value = match self.rest.chars().next() {
            None => return Err(self.wrong("expected a value, found the end of the file".into())),
            Some('(') => self.parentheses(None, depth)?,
            Some('[') => {
                self.advance(1);
                Value::List(self.items(']', depth)?)
            }
            Some('{') => self.map(depth)?,
            Some('"') => Value::Text(self.text()?),
            Some('\'') => self.character()?,
            // `r` begins names too, and `r#` raw names.
            Some('r')
                if self.rest.starts_with("r\"")
                    || self.rest.starts_with("r#\"")
                    || self.rest.starts_with("r##") =>
            {
                Value::Text(self.raw_text()?)
            }
            Some('0'..='9' | '-' | '+' | '.') => self.number()?,
            Some(first) if is_name_start(first) => self.named(depth)?,
            Some(found) => return Err(self.wrong(format!("expected a value, found {found:?}"))),
        };
        Ok(Node { place, value })
    }

    fn name(&mut self) -> &'a str {
        self.take("r#");
        self.take_while(is_name)
    }

    fn named(&mut self, depth: usize) -> Result<Value, Problem> {
        let name = self.name();
        match name {
            "true" => return Ok(Value::Bool(true)),
            "false" => return Ok(Value::Bool(false)),
            _ => {}
        }
        self.space()?;
        if self.rest.starts_with('(') {
            return self.parentheses(Some(name.into()), depth);
        }
        Ok(Value::Name(name.into()))
    }

    /// A struct if its first value has a name and a colon before it, else a tuple.
    fn parentheses(&mut self, name: Option<String>, depth: usize) -> Result<Value, Problem> {
        self.advance(1);
        self.space()?;
        if !self.begins_field() {
            return Ok(Value::Tuple(name, self.items(')', depth)?));
        }
        let mut fields: Vec<Field> = Vec::new();
        // A set, not a search through `fields`: a file may have `MAX_VALUES` of them.
        let mut known = HashSet::new();
        loop {
            self.space()?;
            if self.take(")") {
                return Ok(Value::Struct(name, fields));
            }
            let place = self.place();
            if !self.rest.chars().next().is_some_and(is_name_start) {
                return Err(self.expected("the name of a field or `)`"));
            }
            let field = self.name();
            self.space()?;
            if !self.take(":") {
                return Err(self.expected(&format!("`:` after the field `{field}`")));
            }
            let node = self.value(depth + 1)?;
            if !known.insert(field) {
                // Whoever has so many mends the first ones first.
                if self.problems.len() < MAX_PROBLEMS {
                    self.problems.push(Problem::at(
                        &place,
                        Some(field),
                        "this field is there twice".into(),
                    ));
                }
            } else {
                let field = field.to_owned();
                fields.push(Field { name: field, place, node });
            }
            self.separator(')')?;
        }
    }

    fn begins_field(&self) -> bool {
        let rest = self.rest.strip_prefix("r#").unwrap_or(self.rest);
        let end = rest.find(|character| !is_name(character)).unwrap_or(rest.len());
        // A comment may stand between a field's name and its colon, but nobody writes one there.
        end > 0
            && rest.chars().next().is_some_and(is_name_start)
            && rest[end..].trim_start().starts_with(':')
    }

    fn items(&mut self, close: char, depth: usize) -> Result<Vec<Node>, Problem> {
        let mut items = Vec::new();
        loop {
            self.space()?;
            if self.rest.starts_with(close) {
                self.advance(1);
                return Ok(items);
            }
            items.push(self.value(depth + 1)?);
            self.separator(close)?;
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Problem> {
        self.advance(1);
        let mut pairs: Vec<(Node, Node)> = Vec::new();
        loop {
            self.space()?;
            if self.take("}") {
                return Ok(Value::Map(pairs));
            }
            let key = self.value(depth + 1)?;
            self.space()?;
            if !self.take(":") {
                return Err(self.expected("`:` after a key"));
            }
            pairs.push((key, self.value(depth + 1)?));
            self.separator('}')?;
        }
    }

    /// A comma, or the closing sign that is left in place.
    fn separator(&mut self, close: char) -> Result<(), Problem> {
        self.space()?;
        if self.take(",") || self.rest.starts_with(close) {
            return Ok(());
        }
        Err(self.expected(&format!("`,` or `{close}`")))
    }

    fn expected(&self, what: &str) -> Problem {
        let found = match self.rest.chars().next() {
            Some(found) => format!("{found:?}"),
            None => "the end of the file".into(),
        };
        self.wrong(format!("expected {what}, found {found}"))
    }

    fn number(&mut self) -> Result<Value, Problem> {
        let start = self.place();
        let problem =
            |text: &str| Problem::at(&start, None, format!("`{}` is no number", shortened(text)));
        // As far as anything reaches that could be a number, so that `1x` is told of whole.
        let written =
            self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-'));
        let text = written.replace('_', "");
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(&text)),
        };
        // Whole numbers first: as a float they would keep 53 of their 64 bits.
        let whole = match digits.get(..2) {
            Some("0x") => u64::from_str_radix(&digits[2..], 16).ok(),
            Some("0b") => u64::from_str_radix(&digits[2..], 2).ok(),
            Some("0o") => u64::from_str_radix(&digits[2..], 8).ok(),
            _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
            _ => None,
        };
        if let Some(whole) = whole {
            // From 0 downwards, since the digits of -2^63 alone are no i64.
            return match (negative, 0_i64.checked_sub_unsigned(whole)) {
                (false, _) => Ok(Value::Unsigned(whole)),
                (true, Some(signed)) => Ok(Value::Signed(signed)),
                (true, None) => {
                    Err(Problem::at(&start, None, format!("`{written}` is too small a number")))
                }
            };
        }
        // Rust also reads `-inf`, and 1e999 as infinite: neither is a number here.
        let is_float = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        let float = text.parse::<f64>().ok().filter(|float| is_float && float.is_finite());
        float.map(Value::Float).ok_or_else(|| problem(written))
    }

    fn character(&mut self) -> Result<Value, Problem> {
        let place = self.place();
        self.advance(1);
        let wrong = || Problem::at(&place, None, "expected one character between two `'`".into());
        let character = match self.rest.chars().next() {
            Some('\\') => self.escape()?,
            Some(character) if character != '\'' => {
                self.advance(character.len_utf8());
                Some(character)
            }
            _ => return Err(wrong()),
        };
        match (character, self.take("'")) {
            (Some(character), true) => Ok(Value::Char(character)),
            _ => Err(wrong()),
        }
    }

    fn text(&mut self) -> Result<String, Problem> {
        let unended = self.wrong("this text has no closing `\"`".into());
        self.advance(1);
        let mut text = String::new();
        loop {
            text.push_str(self.take_while(|character| character != '"' && character != '\\'));
            if self.take("\"") {
                return Ok(text);
            }
            if self.rest.is_empty() {
                return Err(unended);
            }
            text.extend(self.escape()?);
        }
    }

    /// The character of an escape; none for a line that is continued.
    fn escape(&mut self) -> Result<Option<char>, Problem> {
        let place = self.place();
        let wrong = |what: &str| {
            Problem::at(&place, None, format!("{what} is no escape; a backslash itself is `\\\\`"))
        };
        self.advance(1);
        let Some(kind) = self.rest.chars().next() else { return Err(wrong("`\\`")) };
        self.advance(kind.len_utf8());
        let simple = match kind {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '0' => '\0',
            '\\' | '"' | '\'' => kind,
            'x' | 'u' => {
                let braces = kind == 'u' && self.take("{");
                let digits = self.take_while(|c| c.is_ascii_hexdigit());
                // `\x` takes two digits, and more belong to the text: only the braced form has any
                // length.
                let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                let closed = if braces { self.take("}") } else { digits.len() == 2 || kind == 'u' };
                return match code {
                    Some(character) if closed => Ok(Some(character)),
                    _ => Err(wrong(&format!("`\\{kind}{digits}`"))),
                };
            }
            '\n' => {
                self.take_while(char::is_whitespace);
                return Ok(None);
            }
            other => return Err(wrong(&format!("`\\{other}`"))),
        };
        Ok(Some(simple))
    }

    fn raw_text(&mut self) -> Result<String, Problem> {
        let unended = self.wrong("this raw text has no end".into());
        self.advance(1);
        let hashes = self.take_while(|character| character == '#');
        if !self.take("\"") {
            return Err(unended);
        }
        let end = format!("\"{hashes}");
        let Some(length) = self.rest.find(&end) else { return Err(unended) };
        let text = self.advance(length).to_owned();
        self.advance(end.len());
        Ok(text)
    }
}

fn is_name_start(character: char) -> bool {
    character.is_alphabetic() || character == '_'
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
