//! `--lora`: the adapters that a command computes with.

use std::path::{Path, PathBuf};

use crate::batch::request::MAX_SCALE;
use crate::engine::open::EngineAdapters;
use crate::forward::AdapterSet;
use crate::model::{Adapter, PixelModel};

/// Which adapters a command computes with.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub struct LoraArgs {
    /// An adapter to compute with, a GGUF file or a PEFT folder, and its strength [default: 1];
    /// several add up. The model's file stays as it is. With NAME= before the file it acts only on
    /// requests of --input whose line has "lora": [{"name": NAME}]. Computes on the processor.
    #[arg(
        long,
        value_name = "[NAME=]FILE[:SCALE]",
        value_parser = lora_file,
        allow_hyphen_values = true,
        help_heading = "Running",
    )]
    pub lora: Vec<LoraFile>,
    /// Take adapters that were trained on another model of the same shape.
    #[arg(long, requires = "lora", hide_short_help = true, help_heading = "Running")]
    pub lora_any_base: bool,
}

/// An adapter as it is named on the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraFile {
    /// What requests call it; with a name it acts on those alone.
    pub name: Option<String>,
    /// Where it is.
    pub path: PathBuf,
    /// Its strength.
    pub scale: f32,
}

/// Takes `[NAME=]FILE[:SCALE]` apart. A file that is there under the whole text is that file.
pub fn lora_file(text: &str) -> Result<LoraFile, String> {
    let is_name = |name: &str| {
        let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        !name.is_empty() && name.chars().all(is_of_name)
    };
    let is_there = |text: &str| Path::new(text).exists();
    let (name, rest) = match text.split_once('=') {
        Some((name, rest)) if is_name(name) && !is_there(text) => (Some(name.to_owned()), rest),
        _ => (None, text),
    };
    let scaled = rest.rsplit_once(':').filter(|_| !is_there(rest));
    let (path, scale) = match scaled.and_then(|(path, scale)| Some((path, scale.parse().ok()?))) {
        Some((path, scale)) => (path, scale),
        None => (rest, 1.0f64),
    };
    if path.is_empty() {
        return Err("expected [NAME=]FILE[:SCALE], such as facts.gguf:0.5".into());
    }
    // What is not a number is in no range.
    if !(-MAX_SCALE..=MAX_SCALE).contains(&scale) {
        return Err(format!("the scale is {scale}; expected a number up to {MAX_SCALE}"));
    }
    Ok(LoraFile { name, path: path.into(), scale: scale as f32 })
}

impl LoraFile {
    /// What a request's line may call it: by the name that was given, or that of the file.
    fn called(&self) -> String {
        let of_file = || self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        self.name.clone().unwrap_or_else(of_file)
    }
}

impl LoraArgs {
    /// What request lines may call the adapters.
    ///
    /// # Errors
    /// Two have the same name.
    pub fn names(&self) -> anyhow::Result<Vec<String>> {
        let names: Vec<String> = self.lora.iter().map(LoraFile::called).collect();
        for (at, name) in names.iter().enumerate() {
            anyhow::ensure!(
                !names[..at].contains(name),
                "--lora: two adapters are called {name:?}; name one of them: --lora OTHER=FILE"
            );
        }
        Ok(names)
    }

    /// Reads the adapters and checks them against the model. Without request lines, which could
    /// name one, a name is refused.
    ///
    /// # Errors
    /// One cannot be read, does not fit the model or was trained on another one.
    pub(crate) fn load(
        &self,
        model: &PixelModel,
        has_lines: bool,
    ) -> anyhow::Result<EngineAdapters> {
        let mut usual = Vec::new();
        let mut adapters = Vec::new();
        for (index, file) in (0..).zip(&self.lora) {
            match &file.name {
                Some(name) => anyhow::ensure!(
                    has_lines,
                    "--lora {name}=...: a name is for the lines of --input, and there are none; \
                     leave it out"
                ),
                None => usual.push((index, file.scale)),
            }
            let mut adapter = Adapter::open(&file.path, model)?;
            adapter.check(model, self.lora_any_base)?;
            // A line's scale is that of the file's own strength.
            if file.name.is_some() {
                adapter.strengthen(file.scale);
            }
            adapters.push(adapter);
        }
        Ok(EngineAdapters { adapters, usual: AdapterSet::new(usual) })
    }

    /// What stands for the adapters in results: none where there are none.
    pub(crate) fn digest(&self, loaded: &EngineAdapters) -> String {
        let mut digest = String::new();
        for (file, adapter) in self.lora.iter().zip(&loaded.adapters) {
            let hash = crate::pxi::hex(&adapter.digest()[..8]);
            let scale =
                if file.name.is_some() { "on request".into() } else { file.scale.to_string() };
            digest.push_str(&format!(" with {hash} {scale}"));
        }
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_name_and_a_scale_where_they_are_given() {
        for (text, name, path, scale) in [
            ("a.gguf", None, "a.gguf", 1.0),
            ("a.gguf:0.5", None, "a.gguf", 0.5),
            ("a.gguf:-2", None, "a.gguf", -2.0),
            ("facts=a.gguf:0.5", Some("facts"), "a.gguf", 0.5),
            ("C:/a.gguf", None, "C:/a.gguf", 1.0),
            ("b/c=d.gguf", None, "b/c=d.gguf", 1.0),
        ] {
            let found = lora_file(text).unwrap();
            assert_eq!((found.name.as_deref(), found.scale), (name, scale), "{text}");
            assert_eq!(found.path, Path::new(path), "{text}");
        }
        for text in ["", "a=", "a.gguf:nan", "a.gguf:1e9", ":2"] {
            assert!(lora_file(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_those_of_the_files_and_each_is_one() {
        let args = |texts: &[&str]| {
            let lora = texts.iter().map(|text| lora_file(text).unwrap()).collect();
            LoraArgs { lora, lora_any_base: false }
        };
        assert_eq!(args(&["x/a.gguf", "b=a.gguf"]).names().unwrap(), ["a", "b"]);
        let error = args(&["x/a.gguf", "y/a.gguf"]).names().unwrap_err().to_string();
        assert!(error.contains("\"a\""), "{error}");
    }
}
