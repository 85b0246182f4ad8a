//! How a lineage looks on a terminal.

use std::fmt::Write;

use serde::Serialize;

use super::super::table::{Align, Table};
use crate::lineage::{
    FilePlace, Lineage, LineageEntry, LineageStore, LineageVerdict, MeasuredFigure, short,
};
use crate::size::MemorySize;
use crate::terminal::one_line;

/// A whole lineage, as it is printed.
#[derive(Serialize)]
pub struct ListedFamily {
    name: String,
    file: String,
    current: Option<String>,
    /// The digest of the last entry, on which all others depend.
    last: String,
    entries: usize,
    models: Vec<FamilyModel>,
    /// What is not as it should be, in words.
    pub problems: Vec<String>,
}

#[derive(Serialize)]
struct FamilyModel {
    generation: usize,
    is_current: bool,
    #[serde(flatten)]
    entry: LineageEntry,
}

impl ListedFamily {
    /// Every model, and whether the files are there that should be.
    pub fn new(lineage: &Lineage, store: &LineageStore) -> Self {
        let generations = lineage.generations();
        let mut problems = Vec::new();
        let model = |entry: LineageEntry| {
            if entry.verdict != LineageVerdict::Gone
                && let Err(error) = store.file_of(lineage, &entry.child)
            {
                problems.push(error.to_string());
            }
            FamilyModel {
                generation: generations.get(&entry.child).copied().unwrap_or(0),
                is_current: lineage.current() == Some(&*entry.child),
                entry,
            }
        };
        let models = lineage.children().into_iter().map(model).collect();
        Self {
            name: lineage.name.clone(),
            file: store.path().display().to_string(),
            current: lineage.current().map(str::to_owned),
            last: lineage.last_digest(),
            entries: lineage.entries().len(),
            models,
            problems,
        }
    }
}

/// A line for each model.
pub fn list(listed: &ListedFamily) -> String {
    let mut table = Table::new([
        ("MODEL", Align::Left),
        ("FROM", Align::Left),
        ("MADE BY", Align::Left),
        ("VERDICT", Align::Left),
        ("BYTES", Align::Right),
        ("WHAT THE GATE MEASURED", Align::Left),
    ]);
    for model in &listed.models {
        let entry = &model.entry;
        let bytes = match &entry.place {
            FilePlace::File { bytes, .. } => MemorySize(*bytes).to_string(),
            FilePlace::Word(_) => String::new(),
        };
        let sign = if model.is_current { " (current)" } else { "" };
        table.row([
            format!("{}{}", "  ".repeat(model.generation.min(12)), short(&entry.child)),
            entry.base().map_or_else(String::new, |base| short(base).to_owned()),
            format!("{}, {}", one_line(&entry.how.action), one_line(&entry.by.to_string())),
            format!("{}{sign}", entry.verdict.words()),
            bytes,
            measured(entry),
        ]);
    }
    let mut text = table.render();
    let _ = write!(
        text,
        "\n{}: {} models in {} entries, {}\n",
        one_line(&listed.name),
        listed.models.len(),
        listed.entries,
        listed.file
    );
    text
}

/// What the lines of its gate are about, in short.
fn measured(entry: &LineageEntry) -> String {
    let Some(gate) = &entry.gate else { return String::new() };
    let mut words = Vec::new();
    for line in &gate.data.lines {
        let of_line = |figure: &&MeasuredFigure| {
            figure.name == line.figure && figure.against == line.against()
        };
        if let Some(figure) = entry.figures.iter().find(of_line) {
            words.push(format!("{} {}", figure.name, number(figure.child)));
        }
    }
    words.dedup();
    words.join(", ")
}

fn number(number: f64) -> String {
    if number.fract() == 0.0 { format!("{number}") } else { format!("{number:.4}") }
}

/// Everything about one model.
pub fn one(lineage: &Lineage, entry: &LineageEntry) -> String {
    let mut text = format!("{}  {}\n", entry.child, entry.verdict.words());
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    for parent in &entry.parents {
        line("from", format!("{} ({:?})", parent.digest, parent.role).to_lowercase());
    }
    let told: Vec<String> =
        entry.how.parameters.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let seed = entry.how.seed.map_or_else(String::new, |seed| format!(", seed {seed}"));
    let how = &entry.how;
    line("made by", format!("{}({}){seed}", how.action, one_line(&told.join(", "))));
    line("with", format!("{} on the {} in {:.1} s", how.program, how.device, how.seconds));
    line("decided by", one_line(&entry.by.to_string()).into_owned());
    line("time", entry.time.strftime("%Y-%m-%d %H:%M:%S").to_string());
    match &entry.place {
        FilePlace::File { file, bytes } => line("file", format!("{file}, {}", MemorySize(*bytes))),
        FilePlace::Word(word) => line("file", format!("{word:?}").to_lowercase()),
    }
    for used in &entry.texts {
        let name = used.role.name();
        line("text", format!("{name}, {} tokens, {}", used.tokens, short(&used.digest)));
    }
    if lineage.current() == Some(&*entry.child) {
        line("in use", "it is the current one".into());
    }
    if !entry.figures.is_empty() {
        text.push('\n');
        text.push_str(&figures(entry));
    }
    if let Some(gate) = &entry.gate {
        let _ = writeln!(text, "\nthe gate {}", one_line(&gate.name));
        for line in &gate.outcome {
            let sign = if line.holds { "✓" } else { "✗" };
            let _ = writeln!(text, "  {sign} {}", one_line(&line.because));
        }
        if gate.outcome.is_empty() {
            for line in &gate.data.lines {
                let _ = writeln!(text, "  · {}", line.words());
            }
        }
    }
    text
}

fn figures(entry: &LineageEntry) -> String {
    let mut table = Table::new([
        ("FIGURE", Align::Left),
        ("AGAINST", Align::Left),
        ("THERE", Align::Right),
        ("HERE", Align::Right),
        ("DIFFERENCE", Align::Right),
        ("TEXT", Align::Left),
    ]);
    for figure in &entry.figures {
        let of_text = |used: &&crate::lineage::TextUse| used.digest == figure.text;
        let text = entry.texts.iter().find(of_text).map_or("the file", |used| used.role.name());
        table.row([
            figure.name.to_string(),
            figure.against.name().to_owned(),
            number(figure.parent),
            number(figure.child),
            format!("{:+.5} +- {:.5}", figure.difference, figure.error),
            text.to_owned(),
        ]);
    }
    table.render()
}
