//! Exams out of corpora: lines that a corpus holds out, made as those that were learnt.

use std::sync::Arc;

use super::gate::GateExam;
use super::measure::{ExamLines, ExamSource};
use crate::batch::ModelText;
use crate::content::assets::Assets;
use crate::model::PixelModel;
use crate::training::corpus::{Corpus, generate, to_json_lines};
use crate::training::data::{DataOptions, Dataset, TargetChoice};

/// Exams of the program's corpora, of those of mods and of the user's.
pub struct CorpusExams<'a> {
    /// Where corpora are found.
    pub assets: &'a Assets,
}

impl ExamSource for CorpusExams<'_> {
    fn lines(&self, exam: &GateExam, model: &Arc<PixelModel>) -> Result<ExamLines, String> {
        let GateExam::Corpus { name, lines, valid_lines, seed } = exam else {
            return Err("they are of a subject of the school, and here are only corpora".into());
        };
        let corpus: Corpus =
            self.assets.content("corpus", name).map_err(|error| error.to_string())?;
        let wanted = (*lines, *valid_lines);
        let made =
            generate(&corpus, Some(model), *seed, wanted).map_err(|error| error.to_string())?;
        let text = ModelText::new(model).map_err(|error| error.to_string())?;
        let context = model.config().context_length as usize;
        let options =
            DataOptions { targets: TargetChoice::Auto, end: true, context, truncate: false };
        let lines = to_json_lines(&made.valid).map_err(|error| error.to_string())?;
        let data = Dataset::parse(format!("{name}, held out"), &lines, &text, &options)
            .map_err(|error| error.to_string())?;
        let groups = made.valid.iter().map(|line| line.group).collect();
        Ok(ExamLines { data, kinds: Vec::new(), groups })
    }
}

/// The parts by which a text of lines is known: each question with its answer, or a line's tokens.
pub fn parts_of(data: &Dataset) -> Vec<String> {
    let part = |line: &crate::training::data::Example| match &line.question {
        Some(question) => format!("{:?}\t{}", question.prompt, question.answer),
        None => format!("{:?}", line.sequence.tokens),
    };
    data.examples.iter().map(part).collect()
}

/// Tokens of all lines.
pub fn tokens_of(data: &Dataset) -> u64 {
    data.examples.iter().map(|line| line.sequence.tokens.len() as u64).sum()
}
