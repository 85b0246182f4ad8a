//! A whole file, checked before the first step.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufReader};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::encode::{DataOptions, Example, encode};
use super::line::parse_data_line;
use crate::batch::ModelText;
use crate::batch::input::{InputLines, LineError};
use crate::batch::request::LineProblems;
use crate::training::Sequence;

/// How many wrong lines are kept for the report; the others are counted.
const MAX_REPORTED: usize = 100;

/// How many names of fields that nothing reads are kept.
const MAX_IGNORED_NAMES: usize = 64;

/// Why a file cannot be trained on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// It cannot be read.
    #[error("cannot read {name}: {source}")]
    Read {
        /// The file, as the user named it.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Some lines teach nothing or are no lines of data.
    #[error(transparent)]
    BadLines(Box<BadDataLines>),
    /// There is no line in it.
    #[error("{name}: there is no line in it")]
    Empty {
        /// The file, as the user named it.
        name: String,
    },
}

/// The lines of a file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {count} of {lines} lines cannot be used, the first at {first}")]
pub struct BadDataLines {
    /// The file, as the user named it.
    pub name: String,
    /// How many lines cannot be used; `errors` may have fewer.
    pub count: usize,
    /// Of how many that are not blank.
    pub lines: usize,
    /// The first of them.
    pub first: LineError,
    /// The first hundred of them.
    pub errors: Vec<LineError>,
}

/// A line of one file that another has too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplicate {
    /// The line of this file, from 1.
    pub line: u64,
    /// The line of the other, from 1.
    pub other: u64,
}

/// All examples of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The file, as the user named it.
    pub name: String,
    /// SHA-256 of the file's bytes.
    pub digest: [u8; 32],
    /// In the order of the lines; at least one.
    pub examples: Vec<Example>,
    /// How many were cut at their end.
    pub truncated: usize,
    /// Fields that nothing here reads, and in how many lines each is.
    pub ignored: BTreeMap<String, usize>,
}

impl Dataset {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, has no line, or a line cannot be used.
    pub fn read(path: &Path, text: &ModelText, options: &DataOptions) -> Result<Self, DataError> {
        let name = path.display().to_string();
        let bytes = crate::files::read(path)
            .map_err(|source| DataError::Read { name: name.clone(), source })?;
        Self::parse(name, &bytes, text, options)
    }

    /// The same of bytes.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub fn parse(
        name: String,
        bytes: &[u8],
        text: &ModelText,
        options: &DataOptions,
    ) -> Result<Self, DataError> {
        let digest = Sha256::digest(bytes).into();
        let ignored = BTreeMap::new();
        let mut data = Self { name, digest, examples: Vec::new(), truncated: 0, ignored };
        let mut lines = InputLines::new(BufReader::new(bytes));
        let (mut errors, mut bad, mut count) = (Vec::new(), 0, 0);
        loop {
            let next = lines.next();
            let next =
                next.map_err(|source| DataError::Read { name: data.name.clone(), source })?;
            let Some((_, line, content)) = next else { break };
            if matches!(content, Ok(content) if content.trim_ascii().is_empty()) {
                continue;
            }
            count += 1;
            if let Err(problems) =
                content.and_then(|content| data.take(line, content, text, options))
            {
                bad += 1;
                if errors.len() < MAX_REPORTED {
                    errors.push(LineError { line, problems });
                }
            }
        }
        if let Some(first) = errors.first().cloned() {
            let (name, lines) = (data.name, count);
            let bad = BadDataLines { name, count: bad, lines, first, errors };
            return Err(DataError::BadLines(Box::new(bad)));
        }
        if data.examples.is_empty() {
            return Err(DataError::Empty { name: data.name });
        }
        Ok(data)
    }

    fn take(
        &mut self,
        line: u64,
        content: &str,
        text: &ModelText,
        options: &DataOptions,
    ) -> Result<(), LineProblems> {
        let data = parse_data_line(content)?;
        let (example, is_cut) = encode(line, &data, text, options)
            .map_err(|error| LineProblems::one(data.column, error.to_string()))?;
        for name in data.ignored {
            // A file may have any number of names; memory is bounded.
            if self.ignored.len() < MAX_IGNORED_NAMES || self.ignored.contains_key(&name) {
                *self.ignored.entry(name).or_default() += 1;
            }
        }
        self.truncated += usize::from(is_cut);
        self.examples.push(example);
        Ok(())
    }

    /// Columns of each example: its tokens but the last.
    pub fn columns(&self) -> Vec<usize> {
        self.examples.iter().map(|example| example.sequence.columns()).collect()
    }

    /// Targets of all examples.
    pub fn targets(&self) -> usize {
        self.examples.iter().map(|example| example.sequence.targets()).sum()
    }

    /// Columns of the longest example.
    pub fn longest(&self) -> usize {
        self.columns().into_iter().max().unwrap_or(0)
    }

    /// The sequences of some examples, in their order.
    pub fn sequences(&self, examples: &[usize]) -> Vec<Sequence> {
        examples.iter().map(|&at| self.examples[at].sequence.clone()).collect()
    }

    /// Its lines whose tokens another has too.
    pub fn duplicates_of(&self, other: &Self) -> Vec<Duplicate> {
        let known: HashMap<&[u32], u64> = other
            .examples
            .iter()
            .rev()
            .map(|example| (&*example.sequence.tokens, example.line))
            .collect();
        let found = |example: &Example| {
            let other = *known.get(&*example.sequence.tokens)?;
            Some(Duplicate { line: example.line, other })
        };
        self.examples.iter().filter_map(found).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LineShape, TargetChoice};
    use super::*;
    use crate::batch::TextModel;

    fn seedling() -> ModelText {
        ModelText::new(&crate::app::kinds::assets().default_model().unwrap()).unwrap()
    }

    const OPTIONS: DataOptions =
        DataOptions { targets: TargetChoice::Auto, end: true, context: 64, truncate: false };

    fn read(lines: &str, options: DataOptions) -> Result<Dataset, DataError> {
        Dataset::parse("data.jsonl".into(), lines.as_bytes(), &seedling(), &options)
    }

    fn targets(example: &Example, text: &ModelText) -> String {
        let Sequence { tokens, is_target, .. } = &example.sequence;
        let ids: Vec<u32> =
            tokens.iter().zip(is_target).filter(|(_, t)| **t).map(|(id, _)| *id).collect();
        text.tokenizer().decode(&ids, false)
    }

    #[test]
    fn targets_are_the_completion_and_its_end() {
        let text = seedling();
        let data = read(r#"{"prompt": "Tom has a", "completion": " red ball."}"#, OPTIONS).unwrap();
        let example = &data.examples[0];
        let end = text.tokenizer().eos().unwrap();
        assert_eq!(example.sequence.tokens.last(), Some(&end));
        assert!(targets(example, &text).starts_with(" red ball."));
        let question = example.question.as_ref().unwrap();
        assert_eq!(text.tokenizer().decode(&question.prompt, true).trim(), "Tom has a");
        let without = DataOptions { end: false, ..OPTIONS };
        let data = read(r#"{"prompt": "Tom has a", "completion": " red ball."}"#, without).unwrap();
        assert_eq!(targets(&data.examples[0], &text), " red ball.");
        let all = DataOptions { targets: TargetChoice::All, ..OPTIONS };
        let data = read(r#"{"prompt": "Tom has a", "completion": " red ball."}"#, all).unwrap();
        let sequence = &data.examples[0].sequence;
        assert_eq!(sequence.targets(), sequence.tokens.len() - 1);
        assert!(!sequence.is_target[0]);
    }

    #[test]
    fn lines_that_teach_nothing_are_named() {
        let lines = "{\"prompt\": \"a\", \"completion\": \" b\"}\n\n{\"prompt\": \"a\", \
                     \"completion\": \"\"}\n{\"text\": \"\"}\n";
        let Err(DataError::BadLines(bad)) = read(lines, OPTIONS) else { panic!() };
        assert_eq!((bad.count, bad.lines), (2, 3));
        let said = bad.to_string();
        assert!(
            said.contains("the first at line 3, column 31: there is no token to learn"),
            "{said}"
        );
        assert_eq!(bad.errors[1].line, 4);
        let texts = DataOptions { targets: TargetChoice::Completion, ..OPTIONS };
        assert!(read("{\"text\": \"a b c\"}", texts).is_err());
        assert!(read("{\"text\": \"a b c\"}", OPTIONS).is_ok());
        assert!(matches!(read("\n", OPTIONS), Err(DataError::Empty { .. })));
    }

    #[test]
    fn longer_lines_are_refused_or_cut_and_counted() {
        let long = format!("{{\"text\": \"{}\"}}", "red ball ".repeat(60));
        let said = read(&long, OPTIONS).unwrap_err().to_string();
        assert!(said.contains("--context is 64") && said.contains("--truncate"), "{said}");
        let data = read(&long, DataOptions { truncate: true, ..OPTIONS }).unwrap();
        assert_eq!((data.truncated, data.examples[0].sequence.tokens.len()), (1, 64));
        let late = format!("{{\"prompt\": \"{}\", \"completion\": \"x\"}}", "red ball ".repeat(60));
        let said = read(&late, DataOptions { truncate: true, ..OPTIONS }).unwrap_err().to_string();
        assert!(said.contains("cut all of them off"), "{said}");
    }

    #[test]
    fn duplicates_are_found() {
        let one = read("{\"text\": \"a b\"}\n{\"text\": \"c d\"}\n{\"text\": \"a b\"}", OPTIONS);
        let two = read("{\"text\": \"x y\"}\n{\"text\": \"a b\"}", OPTIONS).unwrap();
        assert_eq!(two.duplicates_of(&one.unwrap()), [Duplicate { line: 2, other: 1 }]);
    }

    #[test]
    fn a_shape_is_told_from_another() {
        let line = parse_data_line("{\"text\": \"a\"}").unwrap();
        assert!(matches!(line.shape, LineShape::Text(_)));
        assert!(seedling().name().len() > 2);
    }
}
