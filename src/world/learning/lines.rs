//! Lines to learn and lines that are held out, made ready beside the frames.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use crate::batch::ModelText;
use crate::content::assets::Assets;
use crate::model::PixelModel;
use crate::training::corpus::{Corpus, CorpusLine, generate};
use crate::training::data::{DataOptions, Dataset, TargetChoice};

/// What is learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LessonData {
    /// A corpus by its name, whose lines are made at once.
    Corpus(String),
    /// A file of JSON lines.
    File(PathBuf),
}

impl LessonData {
    /// What somebody has named: a file where there is one, else a corpus.
    pub fn named(text: &str) -> Self {
        let is_file = text.ends_with(".jsonl") || Path::new(text).is_file();
        if is_file { Self::File(text.into()) } else { Self::Corpus(text.to_owned()) }
    }

    /// In a few words.
    pub fn name(&self) -> String {
        match self {
            Self::Corpus(name) => name.clone(),
            Self::File(path) => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }
}

/// What a lesson is about.
pub(super) struct LessonLines {
    pub data: Dataset,
    pub valid: Option<Dataset>,
    pub text: Arc<ModelText>,
}

/// Reads or makes the lines on a thread of its own.
pub(super) fn read(
    data: LessonData,
    lines: usize,
    seed: u64,
    model: Arc<PixelModel>,
    assets: Assets,
) -> Receiver<Result<LessonLines, String>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        // Nobody waits any more where the lesson was given up.
        let _ = sender.send(made(&data, lines, seed, &model, &assets));
    });
    receiver
}

fn made(
    data: &LessonData,
    lines: usize,
    seed: u64,
    model: &Arc<PixelModel>,
    assets: &Assets,
) -> Result<LessonLines, String> {
    let text = Arc::new(ModelText::new(model).map_err(|error| error.to_string())?);
    let options = DataOptions {
        targets: TargetChoice::Auto,
        end: true,
        context: model.config().context_length as usize,
        truncate: false,
    };
    let parse = |name: String, bytes: &[u8]| {
        Dataset::parse(name, bytes, &text, &options).map_err(|error| error.to_string())
    };
    let (data, valid) = match data {
        LessonData::Corpus(name) => {
            let corpus: Corpus =
                assets.content("corpus", name).map_err(|error| error.to_string())?;
            let wanted = (lines, lines.div_ceil(4));
            let made = generate(&corpus, Some(model), seed, wanted);
            let made = made.map_err(|error| error.to_string())?;
            let valid = json_lines(&made.valid);
            let valid = (!valid.is_empty()).then(|| parse(format!("{name}-valid"), &valid));
            (parse(format!("{name}-train"), &json_lines(&made.train))?, valid.transpose()?)
        }
        LessonData::File(path) => {
            let read = |path: &Path| {
                let name = path.display().to_string();
                let bytes = crate::files::read(path);
                parse(name.clone(), &bytes.map_err(|error| format!("cannot read {name}: {error}"))?)
            };
            (read(path)?, beside(path).as_deref().map(read).transpose()?)
        }
    };
    Ok(LessonLines { data, valid, text })
}

/// Lines as a file has them.
fn json_lines(lines: &[CorpusLine]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        // A line is text and numbers, which can always be written.
        bytes.extend(serde_json::to_vec(line).unwrap_or_default());
        bytes.push(b'\n');
    }
    bytes
}

/// The file of held-out lines beside one of lines to learn, as `pixel-llm corpus` writes both.
fn beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let beside = path.with_file_name(format!("{}-valid.jsonl", name.strip_suffix("-train.jsonl")?));
    beside.is_file().then_some(beside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corpus_and_a_file_become_lines_and_what_is_not_there_is_told() {
        let assets = crate::app::kinds::assets();
        let model = Arc::new(assets.default_model().unwrap());
        let made = |data: &LessonData| made(data, 24, 0, &model, &assets);
        let lines = made(&LessonData::named("record")).ok().unwrap();
        assert_eq!(lines.data.examples.len(), 24);
        assert!(lines.valid.is_some_and(|valid| valid.examples.len() == 6));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own-train.jsonl");
        let line = |at: usize| format!(r#"{{"prompt": "say {at}:", "completion": " {at}"}}"#);
        let text = |lines: std::ops::Range<usize>| lines.map(line).collect::<Vec<_>>().join("\n");
        std::fs::write(&path, text(0..20)).unwrap();
        let data = LessonData::named(path.to_str().unwrap());
        assert_eq!(data.name(), "own-train");
        assert!(made(&data).ok().unwrap().valid.is_none(), "all lines are learnt, as headless");
        std::fs::write(folder.path().join("own-valid.jsonl"), text(20..22)).unwrap();
        let lines = made(&data).ok().unwrap();
        assert_eq!(lines.data.examples.len(), 20);
        assert_eq!(lines.valid.unwrap().examples.len(), 2);
        let why = made(&LessonData::named("recrod")).err().unwrap();
        assert!(why.contains("recrod"), "{why}");
        assert!(made(&LessonData::named("nowhere.jsonl")).err().unwrap().contains("nowhere"));
    }
}
