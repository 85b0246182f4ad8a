//! A template's source, cut into its parts, and what is rewritten in it before the engine reads it.
//!
//! The engine knows no `%` on texts, no `varargs` and `kwargs` in macros and no `{% generation %}`.
//! And a control token that the template writes out becomes a [sign](Signs), a character that no
//! message has, so that what a message says can be told from it whatever is done to both.

use serde::{Deserialize, Serialize};

/// What stands for the control tokens that a template writes. Each is a character that neither the
/// template nor the conversation has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signs {
    /// The texts of control tokens, and the sign of each.
    pub tokens: Vec<(String, char)>,
    /// What stands before and after a role in control tokens that are put together, such as `<|`
    /// and `|>` around `user`.
    pub joints: Vec<(String, String)>,
    /// Stands behind the first part of such a token, and before the last one.
    pub around_role: Option<[char; 2]>,
}

impl Signs {
    /// `text` with a sign in place of each control token.
    pub(super) fn signed(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for (token, sign) in &self.tokens {
            if out.contains(token.as_str()) {
                out = out.replace(token.as_str(), sign.encode_utf8(&mut [0; 4]));
            }
        }
        out
    }

    /// `text` with its control tokens written out, for a person to read.
    pub(super) fn written_out(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for letter in text.chars() {
            match self.tokens.iter().find(|(_, sign)| *sign == letter) {
                Some((token, _)) => out.push_str(token),
                None if self.around_role.is_some_and(|signs| signs.contains(&letter)) => {}
                None => out.push(letter),
            }
        }
        out
    }
}

/// The filter that `%` becomes.
pub(super) const PERCENT: &str = "__percent";

/// The function that lets a macro take what it has no names for.
pub(super) const VARIADIC: &str = "__variadic";

/// Methods and filters that look for their first argument in a text. Such a text is compared with
/// what messages say, so that it stays as it is.
const LOOKING: [&str; 18] = [
    "split",
    "rsplit",
    "partition",
    "rpartition",
    "startswith",
    "endswith",
    "strip",
    "lstrip",
    "rstrip",
    "find",
    "rfind",
    "index",
    "rindex",
    "count",
    "replace",
    "removeprefix",
    "removesuffix",
    "get",
];

/// Names that are no operands.
const KEYWORDS: [&str; 14] = [
    "and", "or", "not", "in", "is", "if", "else", "elif", "set", "for", "do", "print", "call",
    "with",
];

/// A part of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplateToken<'s> {
    Space(&'s str),
    /// A string with its quotes.
    Text(String),
    /// A name or a number.
    Word(&'s str),
    Op(&'s str),
}

impl TemplateToken<'_> {
    fn text(&self) -> &str {
        match self {
            TemplateToken::Space(text) | TemplateToken::Word(text) | TemplateToken::Op(text) => {
                text
            }
            TemplateToken::Text(text) => text,
        }
    }

    fn is_op(&self, op: &str) -> bool {
        matches!(self, TemplateToken::Op(text) if *text == op)
    }
}

/// A part of a template.
#[derive(Debug)]
enum TemplatePart<'s> {
    /// What is printed as it is, and comments.
    Data(String),
    Tag {
        open: &'s str,
        tokens: Vec<TemplateToken<'s>>,
        close: &'s str,
    },
    /// What has no end, for the engine to complain of.
    Rest(&'s str),
}

/// The template as the engine takes it.
pub(super) fn prepared(source: &str, signs: &Signs) -> String {
    let mut parts = parts(source);
    for at in 0..parts.len() {
        let follows_tag = at > 0 && says_role(&parts[at - 1]);
        let before_tag = parts.get(at + 1).is_some_and(says_role);
        match &mut parts[at] {
            TemplatePart::Data(text) => *text = sign_piece(text, signs, follows_tag, before_tag),
            TemplatePart::Tag { tokens, .. } => {
                sign_strings(tokens, signs);
                generation(tokens);
                percents(tokens);
            }
            TemplatePart::Rest(_) => {}
        }
    }
    // Last, since it adds parts and the neighbours above are looked up by place.
    variadic_macros(&mut parts);
    let mut out = String::with_capacity(source.len() + source.len() / 8);
    for part in &parts {
        match part {
            TemplatePart::Data(text) => out.push_str(text),
            TemplatePart::Tag { open, tokens, close } => {
                out.push_str(open);
                tokens.iter().for_each(|token| out.push_str(token.text()));
                out.push_str(close);
            }
            TemplatePart::Rest(rest) => out.push_str(rest),
        }
    }
    out
}

fn parts(source: &str) -> Vec<TemplatePart<'_>> {
    let mut parts = Vec::new();
    let mut rest = source;
    while let Some(at) =
        rest.find("{{").into_iter().chain(rest.find("{%")).chain(rest.find("{#")).min()
    {
        if rest[at..].starts_with("{#") {
            let end = rest[at..].find("#}").map_or(rest.len(), |end| at + end + 2);
            // A comment is told from text by its own part: nothing in it is printed or rewritten.
            parts.push(TemplatePart::Data(rest[..at].to_owned()));
            parts.push(TemplatePart::Rest(&rest[at..end]));
            rest = &rest[end..];
            continue;
        }
        let sign = usize::from(rest[at + 2..].starts_with(['-', '+']));
        let (open, inner) = rest[at..].split_at(2 + sign);
        let Some((tokens, close)) = tag(inner, if open.starts_with("{{") { "}}" } else { "%}" })
        else {
            break;
        };
        parts.push(TemplatePart::Data(rest[..at].to_owned()));
        let len: usize = tokens.iter().map(|token| token.text().len()).sum();
        rest = &inner[len + close.len()..];
        let is_raw = open.starts_with("{%") && words(&tokens) == ["raw"];
        parts.push(TemplatePart::Tag { open, tokens, close });
        if is_raw {
            let end = end_of_raw(rest);
            parts.push(TemplatePart::Data(rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
    // A tag that does not end is the last part. Where no tag is left, all is text.
    let end = [rest.find("{{"), rest.find("{%")].into_iter().flatten().min().unwrap_or(rest.len());
    parts.push(TemplatePart::Data(rest[..end].to_owned()));
    parts.push(TemplatePart::Rest(&rest[end..]));
    parts
}

fn end_of_raw(text: &str) -> usize {
    let is_end = |at: &usize| {
        let inner = text[at + 2..].trim_start_matches(['-', '+']).trim_start();
        inner.starts_with("endraw")
    };
    text.match_indices("{%").map(|(at, _)| at).find(is_end).unwrap_or(text.len())
}

/// The tokens up to `close`, and `close` with its sign.
fn tag<'s>(text: &'s str, close: &str) -> Option<(Vec<TemplateToken<'s>>, &'s str)> {
    let (mut tokens, mut at, mut depth) = (Vec::new(), 0, 0_usize);
    loop {
        let rest = &text[at..];
        let letter = rest.chars().next()?;
        // Within braces `}}` closes two maps, and no tag.
        if depth == 0 {
            let sign = usize::from(rest.starts_with(['-', '+']));
            if rest[sign..].starts_with(close) {
                return Some((tokens, &rest[..sign + close.len()]));
            }
        }
        let len_of = |is_part: fn(char) -> bool| rest.find(|l| !is_part(l)).unwrap_or(rest.len());
        let is_part = |l: char| l == '_' || l.is_alphanumeric();
        let (token, len) = if letter.is_whitespace() {
            let len = len_of(char::is_whitespace);
            (TemplateToken::Space(&rest[..len]), len)
        } else if matches!(letter, '"' | '\'') {
            let len = string_len(rest)?;
            (TemplateToken::Text(rest[..len].to_owned()), len)
        } else if letter.is_ascii_digit() {
            let len = number_len(rest);
            (TemplateToken::Word(&rest[..len]), len)
        } else if is_part(letter) {
            let len = len_of(is_part);
            (TemplateToken::Word(&rest[..len]), len)
        } else {
            // Whole, so that `==` and `!=` can be looked for. Any other may be cut into letters,
            // since all tokens are printed again.
            let twins = ["==", "!=", "<=", ">=", "**", "//"];
            let is_twin = twins.iter().any(|twin| rest.starts_with(twin));
            let len = if is_twin { 2 } else { letter.len_utf8() };
            match letter {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            (TemplateToken::Op(&rest[..len]), len)
        };
        tokens.push(token);
        at += len;
    }
}

/// The length of a number: a point belongs to it before a digit only, as in `1.5`, not in `1.x`.
fn number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        let is_point = bytes[at] == b'.' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        let is_exponent_sign = matches!(bytes[at], b'-' | b'+')
            && matches!(bytes[at - 1], b'e' | b'E')
            && !text.starts_with("0x")
            && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !(bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_' || is_point || is_exponent_sign)
        {
            break;
        }
        at += 1;
    }
    at
}

/// The length of a string with its quotes.
fn string_len(text: &str) -> Option<usize> {
    let mut letters = text.char_indices();
    let (_, quote) = letters.next()?;
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' {
            letters.next();
        } else if letter == quote {
            return Some(at + 1);
        }
    }
    None
}

/// The words of a tag without its white space.
fn words<'t>(tokens: &'t [TemplateToken<'_>]) -> Vec<&'t str> {
    tokens
        .iter()
        .filter(|token| !matches!(token, TemplateToken::Space(_)))
        .map(TemplateToken::text)
        .collect()
}

/// Whether a tag prints a role.
fn says_role(part: &TemplatePart<'_>) -> bool {
    let TemplatePart::Tag { open, tokens, .. } = part else { return false };
    open.starts_with("{{") && tokens.iter().any(names_role)
}

fn names_role(token: &TemplateToken<'_>) -> bool {
    matches!(token, TemplateToken::Word(text) if text.contains("role"))
        || matches!(token, TemplateToken::Text(text) if text.contains("role"))
}

/// A text of the template with signs; a role may stand before it and after it.
fn sign_piece(text: &str, signs: &Signs, after_role: bool, before_role: bool) -> String {
    let mut out = signs.signed(text);
    let Some([open, close]) = signs.around_role else { return out };
    if before_role && signs.joints.iter().any(|(before, _)| out.ends_with(before.as_str())) {
        out.push(open);
    }
    if after_role && signs.joints.iter().any(|(_, after)| out.starts_with(after.as_str())) {
        out.insert(0, close);
    }
    out
}

fn sign_strings(tokens: &mut [TemplateToken<'_>], signs: &Signs) {
    let places: Vec<usize> =
        (0..tokens.len()).filter(|at| !matches!(tokens[*at], TemplateToken::Space(_))).collect();
    for place in 0..places.len() {
        let token = |offset: isize| {
            let at = place.checked_add_signed(offset)?;
            places.get(at).map(|at| &tokens[*at])
        };
        let Some(TemplateToken::Text(text)) = token(0) else { continue };
        let is = |offset: isize, texts: &[&str]| {
            token(offset)
                .is_some_and(|t| !matches!(t, TemplateToken::Text(_)) && texts.contains(&t.text()))
        };
        let is_compared = is(1, &["==", "!=", "in"])
            || (is(1, &["not"]) && is(2, &["in"]))
            || is(-1, &["==", "!=", "in"])
            || (is(-1, &["("]) && is(-2, &LOOKING))
            || (is(-1, &["["]) && token(-2).is_some_and(is_operand_end))
            || (is(1, &[":"]) && is(-1, &["{", ","]));
        if is_compared {
            continue;
        }
        let joins = |offset: isize| is(offset, &["+", "~"]);
        // The operand next to a joint is some tokens long: `message['role'] + '|>'`.
        let role_in = |step: isize| {
            let next = (2..10).map(|n| n * step).take_while(|offset| !joins(*offset));
            next.filter_map(token).any(names_role)
        };
        let after_role = joins(-1) && role_in(-1);
        let before_role = joins(1) && role_in(1);
        let (quote, inner) = (text[..1].to_owned(), &text[1..text.len() - 1]);
        let signed = format!("{quote}{}{quote}", sign_piece(inner, signs, after_role, before_role));
        tokens[places[place]] = TemplateToken::Text(signed);
    }
}

/// `{% generation %}` marks what a trainer learns from and prints nothing: an empty condition.
fn generation(tokens: &mut Vec<TemplateToken<'_>>) {
    let replacement = match words(tokens)[..] {
        ["generation"] => " if true ",
        ["endgeneration"] => " endif ",
        _ => return,
    };
    *tokens = vec![TemplateToken::Word(replacement)];
}

/// Whether a value can end with this token.
fn is_operand_end(token: &TemplateToken<'_>) -> bool {
    match token {
        TemplateToken::Text(_) => true,
        TemplateToken::Word(word) => !KEYWORDS.contains(word),
        TemplateToken::Op(op) => matches!(*op, ")" | "]" | "}"),
        TemplateToken::Space(_) => false,
    }
}

/// `a % b` as a filter of `a`, which formats texts and divides numbers.
fn percents(tokens: &mut Vec<TemplateToken<'_>>) {
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].is_op("%")
            && let (Some(left), Some(right)) = (left_of(tokens, at), right_of(tokens, at))
        {
            let op = TemplateToken::Op;
            // From the right: what is put in moves no place that is still to be used.
            tokens.splice(right..right, [op(")")]);
            tokens.splice(at..=at, [op(")"), op("|"), TemplateToken::Word(PERCENT), op("(")]);
            tokens.splice(left..left, [op("(")]);
            // On from within the right side, which may hold others.
            at += 5;
        }
        at += 1;
    }
}

/// Where the product begins that stands before the `%` at `at`.
fn left_of(tokens: &[TemplateToken<'_>], at: usize) -> Option<usize> {
    let (mut depth, mut start) = (0_usize, None);
    for place in (0..at).rev() {
        let token = &tokens[place];
        let before =
            || tokens[..place].iter().rev().find(|token| !matches!(token, TemplateToken::Space(_)));
        match token.text() {
            _ if matches!(token, TemplateToken::Space(_)) => continue,
            ")" | "]" | "}" => depth += 1,
            "(" | "[" | "{" if depth == 0 => break,
            "(" | "[" | "{" => depth -= 1,
            _ if depth > 0 => {}
            "+" | "-" if before().is_some_and(is_operand_end) => break,
            "+" | "-" | "*" | "/" | "//" | "**" | "." | "|" => {}
            _ if matches!(token, TemplateToken::Op(_)) => break,
            word if KEYWORDS.contains(&word) && !before().is_some_and(|token| token.is_op(".")) => {
                break;
            }
            _ => {}
        }
        start = Some(place);
    }
    start
}

/// The end of the operand that stands behind the `%` at `at`.
fn right_of(tokens: &[TemplateToken<'_>], at: usize) -> Option<usize> {
    let skip = |mut place: usize| {
        while matches!(tokens.get(place), Some(TemplateToken::Space(_))) {
            place += 1;
        }
        place
    };
    let group = |start: usize| {
        let mut depth = 0_usize;
        for (place, token) in tokens.iter().enumerate().skip(start) {
            match token {
                TemplateToken::Op("(" | "[" | "{") => depth += 1,
                TemplateToken::Op(")" | "]" | "}") => depth = depth.checked_sub(1)?,
                _ => {}
            }
            if depth == 0 {
                return Some(place + 1);
            }
        }
        None
    };
    let mut place = skip(at + 1);
    while matches!(tokens.get(place), Some(TemplateToken::Op("-" | "+"))) {
        place = skip(place + 1);
    }
    let mut end = match tokens.get(place)? {
        TemplateToken::Op("(" | "[" | "{") => group(place)?,
        TemplateToken::Text(_) | TemplateToken::Word(_) => place + 1,
        _ => return None,
    };
    loop {
        let next = skip(end);
        end = match tokens.get(next) {
            Some(TemplateToken::Op("(" | "[")) => group(next)?,
            Some(TemplateToken::Op("." | "|" | "**")) => match tokens.get(skip(next + 1)) {
                Some(TemplateToken::Op("(")) => group(skip(next + 1))?,
                _ => skip(next + 1) + 1,
            },
            _ => return Some(end.min(tokens.len())),
        };
    }
}

/// Gives macros that speak of `varargs` or `kwargs` what is left over of their arguments.
fn variadic_macros(parts: &mut Vec<TemplatePart<'_>>) {
    // Where macros that are not ended yet begin, and whether they speak of these.
    let mut open: Vec<(usize, bool)> = Vec::new();
    let mut ended: Vec<(usize, usize)> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let TemplatePart::Tag { open: delimiter, tokens, .. } = part else { continue };
        let words = words(tokens);
        match words.first() {
            Some(&"macro") if delimiter.starts_with("{%") => open.push((at, false)),
            Some(&"endmacro") if delimiter.starts_with("{%") => {
                if let Some((start, true)) = open.pop() {
                    ended.push((start, at));
                }
            }
            _ if words.iter().any(|word| matches!(*word, "varargs" | "kwargs")) => {
                if let Some((_, speaks)) = open.last_mut() {
                    *speaks = true;
                }
            }
            _ => {}
        }
    }
    // From behind, so that what is put in moves none of the places before.
    ended.sort_by_key(|(_, end)| std::cmp::Reverse(*end));
    for (start, end) in ended {
        let TemplatePart::Tag { tokens, .. } = &mut parts[start] else { continue };
        let Some((name, parameters)) = declaration(tokens) else { continue };
        let comma = if parameters.is_empty() { "" } else { ", " };
        let last = tokens.iter().rposition(|token| token.is_op(")")).unwrap_or(tokens.len());
        tokens.insert(last, TemplateToken::Text(format!("{comma}varargs=(), kwargs={{}}")));
        let names: String = parameters.iter().map(|name| format!("'{name}', ")).collect();
        let wrap = format!(" set {name} = {VARIADIC}({name}, [{names}]) ");
        if let TemplatePart::Tag { close, .. } = &mut parts[end] {
            let close = std::mem::replace(close, "%}");
            parts.insert(
                end + 1,
                TemplatePart::Tag { open: "{%", tokens: vec![TemplateToken::Text(wrap)], close },
            );
        }
    }
}

/// The name and the parameters of a macro.
fn declaration(tokens: &[TemplateToken<'_>]) -> Option<(String, Vec<String>)> {
    let words = words(tokens);
    let [_, name, "(", inner @ .., ")"] = &words[..] else { return None };
    let (mut depth, mut parameters, mut is_next) = (0_usize, Vec::new(), true);
    for word in inner {
        match *word {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            "," if depth == 0 => is_next = true,
            word if is_next => {
                parameters.push(word.to_owned());
                is_next = false;
            }
            _ => {}
        }
    }
    Some(((*name).to_owned(), parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(source: &str) -> String {
        prepared(source, &Signs::default())
    }

    #[test]
    fn what_needs_no_change_has_none() {
        for source in [
            "",
            "a{{ b }}c{# '%s' % a #}{%- if x -%} {{- {'a': {'b': 1}} }} {%+ endif +%}",
            "{{ 'it\\'s }}' }}{{ \"%}\" }}",
            "{{ 1.5 * 2 - 1e-5 }}{{ a[1:-1].b|c(d=1) }}",
            "{% raw %}{{ a % b }}{% endraw %}x % y",
            "{{ a",
            "{% if 'x %}",
            "{# open {{ a % b }}",
            "{{ 'é' ~ \"中\" }}é",
        ] {
            assert_eq!(plain(source), source);
        }
    }

    #[test]
    fn a_percent_becomes_a_filter_of_the_product_before_it() {
        for (source, expected) in [
            ("{{ '%d|%s' % (7, 'x') }}", "{{ ('%d|%s' )|__percent( (7, 'x')) }}"),
            ("{{ a + b * c % d.e[1]|f == 0 }}", "{{ a + (b * c )|__percent( d.e[1]|f) == 0 }}"),
            ("{{ -a % -2 }}", "{{ (-a )|__percent( -2) }}"),
            ("{{ x-a % 2 % 3 }}", "{{ x-((a )|__percent( 2) )|__percent( 3) }}"),
            ("{% if not a % (b % 2) %}", "{% if not (a )|__percent( ((b )|__percent( 2))) %}"),
            ("{% set x = f(a, k=b % 2) %}", "{% set x = f(a, k=(b )|__percent( 2)) %}"),
            ("{{ % a }}{{ a % }}", "{{ % a }}{{ a % }}"),
        ] {
            assert_eq!(plain(source), expected);
        }
    }

    #[test]
    fn generation_tags_keep_their_white_space_control() {
        assert_eq!(
            plain("a{%- generation -%}b{% endgeneration %}c{% if generation %}"),
            "a{%- if true -%}b{% endif %}c{% if generation %}"
        );
        assert_eq!(plain("{% generation"), "{% generation");
    }

    #[test]
    fn a_macro_gets_what_it_has_no_names_for() {
        assert_eq!(
            plain("{% macro f(a, b=[1, 2]) -%}{{ varargs }}{%- endmacro -%}\n"),
            "{% macro f(a, b=[1, 2], varargs=(), kwargs={}) -%}{{ varargs }}{%- endmacro %}\
             {% set f = __variadic(f, ['a', 'b', ]) -%}\n"
        );
        let other = "{% macro f(a) %}{{ a }}{% endmacro %}{{ kwargs }}";
        assert_eq!(plain(other), other);
    }

    #[test]
    fn control_tokens_have_signs_where_they_are_written_not_where_they_are_looked_for() {
        let signs = Signs {
            tokens: vec![("<|x|>".into(), '\u{100002}')],
            joints: vec![("<|".into(), "|>".into())],
            around_role: Some(['\u{100000}', '\u{100001}']),
        };
        for (source, expected) in [
            ("<|x|>{# <|x|> #}{{ '<|x|>a' + \"<|x|>\" }}", "X{# <|x|> #}{{ 'Xa' + \"X\" }}"),
            (
                "{{ '<|x|>' in a }}{{ a.split('<|x|>') }}",
                "{{ '<|x|>' in a }}{{ a.split('<|x|>') }}",
            ),
            ("{{ a|replace('<|x|>', '<|x|>') }}", "{{ a|replace('<|x|>', 'X') }}"),
            ("{{ m['<|x|>'] == '<|x|>' }}", "{{ m['<|x|>'] == '<|x|>' }}"),
            ("{{ '<|' + m['role'] + '|>' }}", "{{ '<|O' + m['role'] + 'C|>' }}"),
            ("{{ '<|' ~ m.text ~ '|>' }}", "{{ '<|' ~ m.text ~ '|>' }}"),
            ("<|{{ m.role }}|>", "<|O{{ m.role }}C|>"),
        ] {
            let readable = |text: &str| {
                text.replace('\u{100000}', "O")
                    .replace('\u{100001}', "C")
                    .replace('\u{100002}', "X")
            };
            assert_eq!(readable(&prepared(source, &signs)), expected);
        }
    }
}
