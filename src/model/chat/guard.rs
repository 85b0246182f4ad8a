//! Python's methods of texts, refused where their result would be larger than any conversation.
//! The engine's own budget counts results when they are there, which is too late for these.

use minijinja::value::Value;
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;

/// The most bytes of a text that a method makes.
const MAX_BYTES: usize = 16 << 20;

/// The widest field and the most digits that a format may ask for.
const MAX_WIDTH: usize = 1000;

/// Calls a method of Python that the engine itself does not have.
pub fn method(state: &State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        let bytes = match name {
            "replace" => replaced(text, args),
            "join" => joined(text, args),
            "format" => {
                if let Some(found) = largest_number(text).filter(|&found| found > MAX_WIDTH) {
                    return Err(refused(format!("format asks for {found}; expected at most {MAX_WIDTH}")));
                }
                0
            }
            _ => 0,
        };
        if bytes > MAX_BYTES {
            return Err(refused(format!("{name} makes {bytes} bytes; expected at most {MAX_BYTES}")));
        }
    }
    unknown_method_callback(state, value, name, args)
}

fn refused(problem: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}

fn replaced(text: &str, args: &[Value]) -> usize {
    let [Some(old), Some(new)] = [0, 1].map(|at| args.get(at).and_then(Value::as_str)) else { return 0 };
    let count = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() };
    count.saturating_mul(new.len()).saturating_add(text.len())
}

fn joined(text: &str, args: &[Value]) -> usize {
    let Some(Ok(items)) = args.first().map(Value::try_iter) else { return 0 };
    let mut bytes = 0_usize;
    for item in items {
        bytes = bytes.saturating_add(text.len()).saturating_add(item.as_str().map_or(0, str::len));
    }
    bytes
}

/// The largest number that a format names, whatever it is for.
fn largest_number(format: &str) -> Option<usize> {
    let numbers = format.split(|letter: char| !letter.is_ascii_digit());
    numbers.filter(|digits| !digits.is_empty()).map(|digits| digits.parse().unwrap_or(usize::MAX)).max()
}
