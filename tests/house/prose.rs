//! Code, comments and Markdown have at most 100 columns.

use std::fs;
use std::path::Path;

use crate::files;

/// The most characters of a line.
const COLUMNS: usize = 100;

/// Numbers of the lines of a source text whose code is too wide.
fn wide_code(source: &str) -> Vec<usize> {
    let lines = source.lines().enumerate();
    let is_wide =
        |line: &str| !line.trim_start().starts_with("//") && line.chars().count() > COLUMNS;
    lines.filter(|(_, line)| is_wide(line)).map(|(at, _)| at + 1).collect()
}

/// Numbers of the lines of a source text whose comments are too wide. Tables, code in fences and
/// words without a space cannot be broken.
fn wide_comments(source: &str) -> Vec<usize> {
    let comments = source.lines().enumerate().filter_map(|(at, line)| {
        let text = line.trim_start().strip_prefix("//")?;
        Some((at, line, text.trim_start_matches(['/', '!'])))
    });
    wide(comments)
}

/// The same of a Markdown text.
fn wide_prose(text: &str) -> Vec<usize> {
    wide(text.lines().enumerate().map(|(at, line)| (at, line, line)))
}

fn wide<'a>(lines: impl Iterator<Item = (usize, &'a str, &'a str)>) -> Vec<usize> {
    let mut found = Vec::new();
    let mut in_fence = false;
    for (at, line, text) in lines {
        let text = text.trim();
        if text.starts_with("```") {
            in_fence = !in_fence;
        }
        let is_one_link = text.starts_with('[') || text.starts_with("![");
        if in_fence || text.starts_with('|') || is_one_link {
            continue;
        }
        let spaces = text.chars().filter(|letter| *letter == ' ').count();
        if line.chars().count() > COLUMNS && spaces > 0 {
            found.push(at + 1);
        }
    }
    found
}

#[test]
fn code_comments_and_markdown_have_at_most_100_columns() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = files(root, &[".rs", ".wgsl", ".md"]);
    assert!(all.len() > 400, "{} files were read", all.len());
    let mut wrong = Vec::new();
    for path in all {
        let text = fs::read_to_string(&path).expect("a text");
        let is_prose = path.extension().is_some_and(|ending| ending == "md");
        let name = path.strip_prefix(root).expect("it is in the project").display().to_string();
        let mut lines = if is_prose { wide_prose(&text) } else { wide_comments(&text) };
        if !is_prose {
            lines.extend(wide_code(&text));
        }
        wrong.extend(lines.into_iter().map(|line| format!("{name}:{line}")));
    }
    assert!(wrong.is_empty(), "wider than {COLUMNS} columns:\n{}", wrong.join("\n"));
}

#[test]
fn a_wide_line_is_seen() {
    let wide = "word ".repeat(21);
    assert_eq!(wide_comments(&format!("fn f() {{}}\n    /// {wide}\n")), [2]);
    assert_eq!(wide_prose(&format!("short\n\n{wide}\n```\n{wide}\n```\n| {wide} |\n")), [3]);
    let code = format!("let x = \"{wide}\";");
    assert!(wide_comments(&code).is_empty());
    assert_eq!(wide_code(&format!("// {wide}\n{code}\nlet y = 1;\n")), [2]);
}
