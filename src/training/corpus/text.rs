//! Texts with `{slot}` in them.

use std::collections::BTreeMap;

/// The slots that a text names, or why it cannot be read.
pub(super) fn slots_of(text: &str) -> Result<Vec<&str>, String> {
    let mut found = Vec::new();
    walk(text, &mut |_| (), &mut |slot| found.push(slot))?;
    Ok(found)
}

/// A text with the values of its slots; a slot without one is left as it is written.
pub(super) fn fill(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let cell = std::cell::RefCell::new(&mut filled);
    let plain = &mut |part: &str| cell.borrow_mut().push_str(part);
    let slot = &mut |name: &str| match values.get(name) {
        Some(value) => cell.borrow_mut().push_str(value),
        None => cell.borrow_mut().push_str(&format!("{{{name}}}")),
    };
    // What cannot be read was refused by the review.
    let _ = walk(text, plain, slot);
    filled
}

fn walk<'t>(
    text: &'t str,
    plain: &mut dyn FnMut(&'t str),
    slot: &mut dyn FnMut(&'t str),
) -> Result<(), String> {
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        plain(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if rest.starts_with(brace) {
            // A brace that is written twice is one.
            plain(brace);
            rest = &rest[1..];
            continue;
        }
        let end = rest.find('}').filter(|_| brace == "{");
        let Some(end) = end else {
            return Err("a brace stands alone; write it twice where it is meant".into());
        };
        slot(&rest[..end]);
        rest = &rest[end + 1..];
    }
    plain(rest);
    Ok(())
}

/// A text with its first letter as a capital.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `a` or `an`, by the first letter.
pub(super) fn article(text: &str) -> &'static str {
    match text.chars().next().map(|letter| letter.to_ascii_lowercase()) {
        Some('a' | 'e' | 'i' | 'o' | 'u') => "an",
        _ => "a",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_filled_and_braces_are_written_twice() {
        let values = [("n".to_owned(), "3".to_owned())].into();
        assert_eq!(fill("{n} of {{{n}}}", &values), "3 of {3}");
        assert_eq!(slots_of("{a} and {b}").unwrap(), ["a", "b"]);
        assert!(slots_of("{a").is_err() && slots_of("a}").is_err());
        assert_eq!((capital("\u{e9}t\u{e9}"), article("Owl")), ("\u{c9}t\u{e9}".into(), "an"));
    }
}
