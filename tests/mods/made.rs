//! Mods made for a test, and what is told of them.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::path::PathBuf;

use pixel_llm::content::source::{Source, SourceFile};
use pixel_llm::content::{Loaded, ModReport, Settings, State, load_sources};
use pixel_llm::experiment::Experiment;

pub(crate) const EXPERIMENT: &str =
    r#"(title: "T", prompts: [Text(id: "a", text: "x")], interventions: [EachLayer(scale: 0.0)])"#;

pub(crate) fn manifest(id: &str, more: &str) -> String {
    format!(
        "(id: \"{id}\", name: \"N\", version: \"1.0.0\", pixel_llm: \"*\", author: \"A\", \
         licence: \"MIT\", {more})"
    )
}

pub(crate) fn source(
    id: &str,
    more: &str,
    files: &[(&str, &str)],
) -> (PathBuf, Result<Source, Vec<pixel_llm::content::Problem>>) {
    let file =
        |(path, text): &(&str, &str)| SourceFile { path: (*path).into(), text: (*text).into() };
    let mut files: Vec<_> = files.iter().map(file).collect();
    files.push(SourceFile { path: "mod.ron".into(), text: manifest(id, more) });
    (id.into(), Ok(Source { label: id.into(), path: Some(id.into()), files }))
}

pub(crate) fn load_all(
    sources: Vec<(PathBuf, Result<Source, Vec<pixel_llm::content::Problem>>)>,
) -> Loaded {
    load_sources(&pixel_llm::app::kinds::registry(), sources, &Settings::default())
}

pub(crate) fn in_use(loaded: &Loaded) -> Vec<&str> {
    loaded.mods.iter().filter(|report| report.state == State::Loaded).map(ModReport::id).collect()
}

pub(crate) fn problems(loaded: &Loaded) -> Vec<String> {
    loaded.mods.iter().flat_map(|report| &report.problems).map(ToString::to_string).collect()
}

pub(crate) fn title(loaded: &Loaded, name: &str) -> String {
    loaded.get::<Experiment>("experiment", name).unwrap().unwrap().title
}
