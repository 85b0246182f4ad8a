//! What is learnt of a line, in colour.

use std::io::Write;

use crate::app::cli::output::Output;
use crate::batch::ModelText;
use crate::terminal::{self, Terminal};
use crate::training::data::{Dataset, Example};

/// The terminal's code for what is learnt.
const LEARNT: &str = "\x1b[1;38;5;108m";

/// The terminal's code for what is not.
const GIVEN: &str = "\x1b[38;5;245m";

const PLAIN: &str = "\x1b[0m";

/// What is shown of a line where there are no colours.
#[derive(serde::Serialize)]
struct ShownLine {
    line: u64,
    tokens: usize,
    targets: usize,
    weight: f32,
    parts: Vec<ShownPart>,
}

#[derive(serde::Serialize)]
struct ShownPart {
    learnt: bool,
    text: String,
}

/// Prints the first lines of the data with what is learnt of them.
///
/// # Errors
/// Standard output is closed.
pub(super) fn show(
    data: &Dataset,
    count: usize,
    text: &ModelText,
    out: &mut Output,
) -> std::io::Result<()> {
    let lines: Vec<ShownLine> =
        data.examples.iter().take(count).map(|example| shown(example, text)).collect();
    if out.is_json() {
        return out.print(&lines, |_| String::new());
    }
    let mut stdout = terminal::stdout();
    let in_colour =
        stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
    for line in &lines {
        writeln!(stdout, "line {}: {} tokens, {} learnt", line.line, line.tokens, line.targets)?;
        for part in &line.parts {
            write_part(&mut stdout, part, in_colour)?;
        }
        writeln!(stdout, "\n")?;
    }
    stdout.flush()
}

fn write_part<W: Write>(
    stdout: &mut Terminal<W>,
    part: &ShownPart,
    in_colour: bool,
) -> std::io::Result<()> {
    if !in_colour {
        // Brackets that no text of a tokenizer writes so often as to be confused with them.
        let (open, close) = if part.learnt { ("\u{27e6}", "\u{27e7}") } else { ("", "") };
        return write!(stdout, "{open}{}{close}", part.text);
    }
    stdout.write_trusted(if part.learnt { LEARNT } else { GIVEN })?;
    write!(stdout, "{}", part.text)?;
    stdout.write_trusted(PLAIN)
}

fn shown(example: &Example, text: &ModelText) -> ShownLine {
    let sequence = &example.sequence;
    let mut parts: Vec<ShownPart> = Vec::new();
    let mut begin = 0;
    while begin < sequence.tokens.len() {
        let learnt = sequence.is_target[begin];
        let rest = &sequence.is_target[begin..];
        let end = begin + rest.iter().take_while(|&&it| it == learnt).count();
        let tokenizer = text.tokenizer();
        // A part goes on from the one before: nothing is left off at its beginning.
        let mut stream = crate::model::tokenizer::DecodeStream::continuing(false);
        let mut shown: String =
            sequence.tokens[begin..end].iter().map(|&it| stream.push(tokenizer, it)).collect();
        shown.push_str(&stream.finish());
        parts.push(ShownPart { learnt, text: shown });
        begin = end;
    }
    ShownLine {
        line: example.line,
        tokens: sequence.tokens.len(),
        targets: sequence.targets(),
        weight: sequence.weight,
        parts,
    }
}
