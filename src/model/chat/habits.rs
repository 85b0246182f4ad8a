//! What templates use of Jinja2 and Python that the engine does not have by itself.

use minijinja::value::{Rest, Value};
use minijinja::{Environment, Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;

/// The widest field that a method pads to.
const MAX_WIDTH: usize = 1 << 20;

/// Adds the functions, filters and methods.
pub(super) fn add(environment: &mut Environment<'static>) {
    // Jinja2 takes the items themselves, the engine a list of them.
    environment.add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.0));
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
    environment.add_filter("wordcount", wordcount);
    environment.set_unknown_method_callback(method);
}

fn wordcount(text: String) -> usize {
    let is_part = |letter: char| letter == '_' || letter.is_alphanumeric();
    text.split(|letter| !is_part(letter)).filter(|word| !word.is_empty()).count()
}

fn refused(problem: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem.into())
}

fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) => match of_text(text, name, args)? {
            Some(result) => Ok(result),
            None => unknown_method_callback(state, value, name, args),
        },
        None => unknown_method_callback(state, value, name, args),
    }
}

/// The methods of Python's texts that `pycompat` lacks.
fn of_text(text: &str, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let known = [
        "partition",
        "rpartition",
        "removeprefix",
        "removesuffix",
        "rsplit",
        "index",
        "rindex",
        "ljust",
        "rjust",
        "center",
        "zfill",
        "casefold",
        "swapcase",
        "isdecimal",
    ];
    if !known.contains(&name) {
        return Ok(None);
    }
    let given = |at: usize| args.get(at).and_then(Value::as_str);
    let needed = |at: usize| given(at).ok_or_else(|| refused(format!("{name} needs a text")));
    let split_at = |found: Option<usize>, len: usize| {
        found.map(|at| [&text[..at], &text[at..at + len], &text[at + len..]])
    };
    Ok(Some(match name {
        "partition" | "rpartition" => {
            let separator = needed(0)?;
            if separator.is_empty() {
                return Err(refused(format!("{name} needs a separator that is not empty")));
            }
            let is_last = name == "rpartition";
            let found = if is_last { text.rfind(separator) } else { text.find(separator) };
            let whole = if is_last { ["", "", text] } else { [text, "", ""] };
            Value::from(split_at(found, separator.len()).unwrap_or(whole).map(Value::from).to_vec())
        }
        "removeprefix" => Value::from(text.strip_prefix(needed(0)?).unwrap_or(text)),
        "removesuffix" => Value::from(text.strip_suffix(needed(0)?).unwrap_or(text)),
        "rsplit" => {
            let most = args.get(1).and_then(|most| usize::try_from(most.clone()).ok());
            let most = most.map_or(usize::MAX, |most| most.saturating_add(1));
            let mut parts: Vec<&str> = match given(0) {
                Some("") => return Err(refused("rsplit needs a separator that is not empty")),
                Some(separator) => text.rsplitn(most, separator).collect(),
                None if most == usize::MAX => text.split_whitespace().rev().collect(),
                None => return Err(refused("rsplit with a maximum needs a separator")),
            };
            parts.reverse();
            Value::from(parts.into_iter().map(Value::from).collect::<Vec<_>>())
        }
        "index" | "rindex" => {
            let part = needed(0)?;
            let found = if name == "index" { text.find(part) } else { text.rfind(part) };
            let at = found.ok_or_else(|| refused(format!("{name}: the text is not found")))?;
            Value::from(text[..at].chars().count())
        }
        "casefold" => Value::from(text.to_lowercase()),
        "swapcase" => {
            let swapped = |letter: char| -> String {
                if letter.is_uppercase() {
                    letter.to_lowercase().collect()
                } else {
                    letter.to_uppercase().collect()
                }
            };
            Value::from(text.chars().map(swapped).collect::<String>())
        }
        "isdecimal" => Value::from(!text.is_empty() && text.chars().all(char::is_numeric)),
        _ => {
            let width = args.first().and_then(|width| usize::try_from(width.clone()).ok()).unwrap_or(0);
            if width > MAX_WIDTH {
                return Err(refused(format!("{name}: the width is {width}; expected at most {MAX_WIDTH}")));
            }
            let len = text.chars().count();
            let missing = width.saturating_sub(len);
            if name == "zfill" {
                let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
                let sign = &text[..text.len() - digits.len()];
                return Ok(Some(Value::from(format!("{sign}{}{digits}", "0".repeat(missing)))));
            }
            let fill = given(1).unwrap_or(" ");
            let before = match name {
                "ljust" => 0,
                "rjust" => missing,
                // Python puts the odd one before where the width is odd too.
                _ => missing / 2 + (missing & width & 1),
            };
            Value::from(format!("{}{text}{}", fill.repeat(before), fill.repeat(missing - before)))
        }
    }))
}

/// `'...' % values` as `'...'|format(values)`, which the engine has. Only a string that is written
/// out is known to be one while reading; `%` behind anything else stays the rest of a division.
pub(super) fn with_percent_formats(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{{").into_iter().chain(rest.find("{%")).chain(rest.find("{#")).min() {
        let close = match &rest[at..at + 2] {
            "{{" => "}}",
            "{%" => "%}",
            _ => "#}",
        };
        let (before, tag) = rest.split_at(at + 2);
        out.push_str(before);
        let len =
            if close == "#}" { tag.find(close).unwrap_or(tag.len()) } else { copy_tag(tag, close, &mut out) };
        if close == "#}" {
            out.push_str(&tag[..len]);
        }
        rest = &tag[len..];
    }
    out.push_str(rest);
    out
}

/// Copies a tag up to `close` and tells its length.
fn copy_tag(tag: &str, close: &str, out: &mut String) -> usize {
    let mut at = 0;
    while at < tag.len() && !tag[at..].starts_with(close) {
        let letter = tag[at..].chars().next().unwrap_or(' ');
        if !matches!(letter, '"' | '\'') {
            out.push(letter);
            at += letter.len_utf8();
            continue;
        }
        let string = string_len(&tag[at..]);
        out.push_str(&tag[at..at + string]);
        at += string;
        let behind = tag[at..].trim_start();
        let operand = behind.strip_prefix('%').filter(|after| !after.starts_with('}'));
        if let Some(operand) = operand.map(str::trim_start) {
            let start = tag.len() - operand.len();
            let len = operand_len(operand);
            let is_tuple = operand.starts_with('(') && len == group_len(operand);
            let inner = if is_tuple { &operand[1..len.saturating_sub(1)] } else { &operand[..len] };
            out.push_str("|format(");
            out.push_str(inner.trim_end().trim_end_matches(','));
            out.push(')');
            at = start + len;
        }
    }
    at
}

/// The length of a string with its quotes.
fn string_len(text: &str) -> usize {
    let mut letters = text.char_indices();
    let Some((_, quote)) = letters.next() else { return 0 };
    let mut is_escaped = false;
    for (at, letter) in letters {
        if is_escaped {
            is_escaped = false;
        } else if letter == '\\' {
            is_escaped = true;
        } else if letter == quote {
            return at + 1;
        }
    }
    text.len()
}

/// The length of what is in brackets, with them.
fn group_len(text: &str) -> usize {
    let (mut at, mut open) = (0, 0_usize);
    while let Some(letter) = text[at..].chars().next() {
        match letter {
            '"' | '\'' => {
                at += string_len(&text[at..]);
                continue;
            }
            '(' | '[' | '{' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        at += letter.len_utf8();
        if open == 0 {
            return at;
        }
    }
    text.len()
}

/// The length of a name, number, string or group, with the attributes, indices and calls behind it.
fn operand_len(text: &str) -> usize {
    let mut at = match text.chars().next() {
        Some('"' | '\'') => string_len(text),
        Some('(' | '[' | '{') => group_len(text),
        _ => 0,
    };
    loop {
        let rest = &text[at..];
        let word =
            rest.len() - rest.trim_start_matches(|l: char| l == '_' || l == '.' || l.is_alphanumeric()).len();
        let group = if rest.starts_with(['(', '[']) { group_len(rest) } else { 0 };
        if word + group == 0 {
            return at;
        }
        at += if word > 0 { word } else { group };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strings_are_formatted() {
        for (source, expected) in [
            ("{{ '%d|%s' % (7, 'x') }}", "{{ '%d|%s'|format(7, 'x') }}"),
            ("{{ '%s' % a.b[1] ~ 'c' }}", "{{ '%s'|format(a.b[1]) ~ 'c' }}"),
            ("{{ '%s' % ('a',) }}", "{{ '%s'|format('a') }}"),
            ("{{ '%s' % f('}') }}%", "{{ '%s'|format(f('}')) }}%"),
            ("{% if a == 'x' %}'y' % z{% endif %}", "{% if a == 'x' %}'y' % z{% endif %}"),
            ("{{ a % 2 }}{# '%s' % a #}", "{{ a % 2 }}{# '%s' % a #}"),
        ] {
            assert_eq!(with_percent_formats(source), expected);
        }
    }
}
