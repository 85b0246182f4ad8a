//! What templates use of Jinja2 and Python that the engine does not have by itself.

use std::sync::Arc;

use minijinja::value::{Kwargs, Object, Rest, Tuple, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::source::{PERCENT, VARIADIC};

/// The widest field that a method pads to.
const MAX_WIDTH: usize = 1 << 20;

/// Adds the functions, filters and methods.
pub(super) fn add(environment: &mut Environment<'static>) {
    // Jinja2 takes the items themselves, the engine a list of them.
    environment
        .add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.0));
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
    environment.add_filter("wordcount", wordcount);
    environment.add_filter("striptags", minijinja_contrib::filters::striptags);
    environment.add_filter("truncate", truncate);
    environment.add_filter("urlencode", urlencode);
    environment.add_filter("filesizeformat", minijinja_contrib::filters::filesizeformat);
    environment.add_filter("center", |text: String, width: Option<usize>| {
        of_text(&text, "center", &[Value::from(width.unwrap_or(80))])
    });
    // To Python none is no list of nothing, and a text is one of its letters.
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map)
    });
    environment.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    environment.add_filter(PERCENT, percent);
    environment.add_function(VARIADIC, |inner: Value, names: Vec<String>| {
        Value::from_object(Variadic { inner, names })
    });
    environment.set_unknown_method_callback(method);
}

/// A text of at most `length` letters, but for a few more, cut between words.
fn truncate(
    text: String,
    length: Option<usize>,
    killwords: Option<bool>,
    end: Option<String>,
    named: Kwargs,
) -> Result<String, Error> {
    // What is given by its name goes before what is left out.
    let length = length.or(named.get("length")?).unwrap_or(255);
    let cuts_words = killwords.or(named.get("killwords")?).unwrap_or(false);
    let end = end.or(named.get("end")?).unwrap_or_else(|| "...".to_owned());
    let leeway = named.get::<Option<usize>>("leeway")?.unwrap_or(5);
    named.assert_all_used()?;
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text);
    }
    let kept: String = text.chars().take(length.saturating_sub(end.chars().count())).collect();
    let kept = match kept.rsplit_once(' ') {
        Some((words, _)) if !cuts_words => words,
        _ => &kept,
    };
    Ok(format!("{kept}{end}"))
}

/// The text as a part of an address.
fn urlencode(text: String) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
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
    Ok(Some(match name {
        "partition" | "rpartition" => partition(text, name, args)?,
        "removeprefix" => Value::from(text.strip_prefix(text_at(args, 0, name)?).unwrap_or(text)),
        "removesuffix" => Value::from(text.strip_suffix(text_at(args, 0, name)?).unwrap_or(text)),
        "rsplit" => rsplit(text, args)?,
        "index" | "rindex" => {
            let part = text_at(args, 0, name)?;
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
        "ljust" | "rjust" | "center" | "zfill" => padded(text, name, args)?,
        _ => return Ok(None),
    }))
}

/// An argument that has to be a text.
fn text_at<'a>(args: &'a [Value], at: usize, name: &str) -> Result<&'a str, Error> {
    let given = args.get(at).and_then(Value::as_str);
    given.ok_or_else(|| refused(format!("{name} needs a text")))
}

/// What stands before the first or last separator, the separator, and what stands after it.
fn partition(text: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    let separator = text_at(args, 0, name)?;
    if separator.is_empty() {
        return Err(refused(format!("{name} needs a separator that is not empty")));
    }
    let is_last = name == "rpartition";
    let found = if is_last { text.rfind(separator) } else { text.find(separator) };
    let parts = match found {
        Some(at) => [&text[..at], separator, &text[at + separator.len()..]],
        None if is_last => ["", "", text],
        None => [text, "", ""],
    };
    Ok(Value::from_object(Tuple::from(parts.map(Value::from))))
}

/// The parts between separators, of which the last are cut off first.
fn rsplit(text: &str, args: &[Value]) -> Result<Value, Error> {
    let most = args.get(1).and_then(|most| usize::try_from(most.clone()).ok());
    let most = most.map_or(usize::MAX, |most| most.saturating_add(1));
    let mut parts: Vec<&str> = match args.first().and_then(Value::as_str) {
        Some("") => return Err(refused("rsplit needs a separator that is not empty")),
        Some(separator) => text.rsplitn(most, separator).collect(),
        None if most == usize::MAX => text.split_whitespace().rev().collect(),
        None => return Err(refused("rsplit with a maximum needs a separator")),
    };
    parts.reverse();
    Ok(Value::from(parts.into_iter().map(Value::from).collect::<Vec<_>>()))
}

/// The text in a field of some width.
fn padded(text: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    let width = args.first().and_then(|width| usize::try_from(width.clone()).ok()).unwrap_or(0);
    if width > MAX_WIDTH {
        let problem = format!("{name}: the width is {width}; expected at most {MAX_WIDTH}");
        return Err(refused(problem));
    }
    let missing = width.saturating_sub(text.chars().count());
    if name == "zfill" {
        // Python's `zfill` puts the zeros behind the sign.
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let sign = &text[..text.len() - digits.len()];
        return Ok(Value::from(format!("{sign}{}{digits}", "0".repeat(missing))));
    }
    let fill = args.get(1).and_then(Value::as_str).unwrap_or(" ");
    let before = match name {
        "ljust" => 0,
        "rjust" => missing,
        // Python puts the odd one before where the width is odd too.
        _ => missing / 2 + (missing & width & 1),
    };
    Ok(Value::from(format!("{}{text}{}", fill.repeat(before), fill.repeat(missing - before))))
}

/// `a % b`: Python's formatting of a text, or the remainder with the sign of the divisor.
fn percent(state: &mut State, left: &Value, right: &Value) -> Result<Value, Error> {
    if left.as_str().is_some() {
        let mut args = vec![left.clone()];
        // As in Python, a tuple is the list of values and a list is one of them.
        match right.downcast_object_ref::<Tuple>() {
            Some(values) => args.extend(values.iter().cloned()),
            None => args.push(right.clone()),
        }
        return state.apply_filter("format", &args);
    }
    let unfit =
        || refused(format!("% takes numbers, or a text on its left; found {}", left.kind()));
    let is_whole = |value: &Value| value.is_integer() || value.kind() == ValueKind::Bool;
    if is_whole(left) && is_whole(right) {
        let whole = |value: &Value| i128::try_from(value.clone()).map_err(|_| unfit());
        let (left, right) = (whole(left)?, whole(right)?);
        let rest = left.checked_rem(right).ok_or_else(|| refused("% by zero"))?;
        // Rust's remainder has the sign of the dividend, Python's that of the divisor.
        let has_sign_of_other = rest != 0 && (rest < 0) != (right < 0);
        return Ok(Value::from(if has_sign_of_other { rest + right } else { rest }));
    }
    let number = |value: &Value| f64::try_from(value.clone()).map_err(|_| unfit());
    let (left, right) = (number(left)?, number(right)?);
    if right == 0.0 {
        return Err(refused("% by zero"));
    }
    let rest = left % right;
    Ok(Value::from(if rest != 0.0 && (rest < 0.0) != (right < 0.0) { rest + right } else { rest }))
}

/// A macro that is given its surplus arguments as `varargs` and `kwargs`.
#[derive(Debug)]
struct Variadic {
    inner: Value,
    names: Vec<String>,
}

impl Object for Variadic {
    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        // The engine passes named arguments as the last positional one.
        let named = args
            .last()
            .and_then(|last| Kwargs::try_from(last.clone()).ok().filter(|_| last.is_kwargs()));
        let positional = &args[..args.len() - usize::from(named.is_some())];
        let (own, surplus) = positional.split_at(positional.len().min(self.names.len()));
        let (mut known, mut others) = (Vec::new(), Vec::new());
        if let Some(named) = &named {
            for name in named.args() {
                // The engine gives the body of `{% call %}` by this name, which no macro declares.
                let is_known = name == "caller" || self.names.iter().any(|own| own == name);
                let pair = (name.to_owned(), named.get::<Value>(name)?);
                if is_known { known.push(pair) } else { others.push(pair) }
            }
        }
        known.push(("varargs".to_owned(), Value::from_object(Tuple::new(surplus.to_vec()))));
        known.push(("kwargs".to_owned(), Value::from_pairs(others)));
        let mut all = own.to_vec();
        all.push(known.into_iter().collect::<Kwargs>().into());
        self.inner.call(state, &all)
    }
}
