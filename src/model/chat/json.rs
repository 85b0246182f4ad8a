//! The `tojson` filter as Python's `json.dumps` writes: spaces after `,` and `:`, nothing escaped
//! for HTML, letters outside ASCII as they are.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// Deeper values than this are refused, since the writer calls itself.
const MAX_DEPTH: usize = 64;

/// The most spaces that a level may be indented by.
const MAX_INDENT: usize = 16;

/// What is written between items, between a key and its value, and whether keys are sorted.
#[derive(Debug)]
struct Style {
    indent: Option<usize>,
    between: String,
    after_key: String,
    sorts: bool,
    /// Whether letters outside ASCII are escaped.
    is_ascii: bool,
}

/// `value|tojson`, with the options of Python's `json.dumps`.
pub(crate) fn to_json(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let is_ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let sorts = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    let separators = options.get::<Option<Value>>("separators")?;
    let (between, after_key) = match separators.filter(|pair| !pair.is_none()) {
        Some(pair) => match &pair.try_iter()?.collect::<Vec<_>>()[..] {
            [between, after_key] => (between.to_string(), after_key.to_string()),
            _ => return Err(failure("separators needs two texts".to_owned())),
        },
        // Python leaves the space out where a line break follows.
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    options.assert_all_used()?;
    if let Some(found) = indent.filter(|&indent| indent > MAX_INDENT) {
        return Err(failure(format!("indent is {found}; expected at most {MAX_INDENT}")));
    }
    let mut out = String::new();
    write(value, &Style { indent, between, after_key, sorts, is_ascii }, 0, &mut out)?;
    Ok(Value::from(out))
}

fn failure(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("tojson: {message}"))
}

fn write(value: &Value, style: &Style, depth: usize, out: &mut String) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(failure(format!("the value is nested deeper than {MAX_DEPTH}")));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number if value.is_integer() => out.push_str(&value.to_string()),
        ValueKind::Number => out.push_str(&float(value)),
        ValueKind::String => write_text(value.as_str().unwrap_or_default(), style.is_ascii, out),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?;
            write_list(['[', ']'], items, style, depth, out, |item, out| {
                write(&item, style, depth + 1, out)
            })?;
        }
        ValueKind::Map => {
            let mut keys: Vec<Value> = value.try_iter()?.collect();
            if style.sorts {
                keys.sort();
            }
            write_list(['{', '}'], keys.into_iter(), style, depth, out, |key, out| {
                match key.as_str() {
                    Some(text) => write_text(text, style.is_ascii, out),
                    None => write_text(&key.to_string(), style.is_ascii, out),
                }
                out.push_str(&style.after_key);
                write(&value.get_item(&key)?, style, depth + 1, out)
            })?;
        }
        other => return Err(failure(format!("a value of the kind {other} has no JSON form"))),
    }
    Ok(())
}

fn write_list(
    [open, close]: [char; 2],
    items: impl Iterator<Item = Value>,
    style: &Style,
    depth: usize,
    out: &mut String,
    mut write_item: impl FnMut(Value, &mut String) -> Result<(), Error>,
) -> Result<(), Error> {
    let new_line = |depth: usize, out: &mut String| {
        if let Some(indent) = style.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    };
    out.push(open);
    let mut is_empty = true;
    for item in items {
        if !is_empty {
            out.push_str(&style.between);
        }
        new_line(depth + 1, out);
        write_item(item, out)?;
        is_empty = false;
    }
    if !is_empty {
        new_line(depth, out);
    }
    out.push(close);
    Ok(())
}

/// A number as Python writes it: the shortest digits that read back as the same, with an exponent
/// where it is large or small.
pub(super) fn float(value: &Value) -> String {
    let Ok(number) = f64::try_from(value.clone()) else { return value.to_string() };
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    // From 1e-4 to below 1e16 Python writes no exponent.
    if number == 0.0 || (1e-4..1e16).contains(&number.abs()) {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            // Python writes a sign and two digits at least: `1e-05`, `1e+16`.
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

fn write_text(text: &str, is_ascii: bool, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other if is_ascii && !other.is_ascii() => {
                // JSON escapes UTF-16: a letter beyond U+FFFF is two escapes.
                for unit in other.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
