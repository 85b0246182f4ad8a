//! What travels inside the program, and what the user's mods and own folder make of it.
//!
//! Everything in RON is a content of the [content](super): the built-in files are the mod `core`,
//! then come the user's mods, then the folder that `--assets` names, whose files stand in for those
//! of the same name. They are read when first asked for.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;

use crate::content::order::USER_OVERRIDES;
use crate::content::{DEFAULT_NAME, WorldRules};
use crate::content::{Loaded, Problem, Registry, State, load_with};
use crate::model::plan::Rules;
use crate::model::{ModelError, PixelModel};
use crate::names::nearest;

/// The name of the model that answers when none is named.
pub(crate) const DEFAULT_MODEL: &str = "models/seedling.pxi";

/// Bytes that begin where a memory page does, as a mapped file's would: tiles inside keep their
/// alignment.
#[repr(C, align(4096))]
struct PageAligned<const N: usize>([u8; N]);

static SEEDLING: PageAligned<{ include_bytes!("../../assets/models/seedling.pxi").len() }> =
    PageAligned(*include_bytes!("../../assets/models/seedling.pxi"));

/// Why there is no such asset.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssetError {
    /// None has the name.
    #[error("there is no {kind} {name:?}{}; there are: {}", hint(name, known), known.join(", "))]
    NotThere {
        /// The kind that was asked for, such as `experiment`.
        kind: String,
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// It is not what the schema says, or the user's own folder is not.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Broken(Vec<Problem>),
}

fn hint(name: &str, known: &[String]) -> String {
    let near = nearest(name, known.iter().map(String::as_str));
    near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"))
}

/// Built-in assets, mods and the user's own folder; all are read when first asked for.
#[derive(Clone)]
#[cfg_attr(feature = "world", derive(bevy::prelude::Resource))]
pub struct Assets {
    registry: Arc<Registry>,
    folder: Option<PathBuf>,
    mods: Option<PathBuf>,
    loaded: Arc<OnceLock<Loaded>>,
}

impl Assets {
    /// The built-in assets of some kinds.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, folder: None, mods: None, loaded: Arc::default() }
    }

    /// The same with the user's own folder, whose files stand in for those of the same name.
    #[must_use]
    pub fn with_folder(self, folder: Option<PathBuf>) -> Self {
        Self { folder, loaded: Arc::default(), ..self }
    }

    /// The same with the mods of a folder.
    #[must_use]
    pub fn with_mods(self, mods: Option<PathBuf>) -> Self {
        Self { mods, loaded: Arc::default(), ..self }
    }

    /// The same folders, with what they have come to since.
    #[must_use]
    pub fn with_loaded(&self, loaded: Loaded) -> Self {
        Self { loaded: Arc::new(loaded.into()), ..self.clone() }
    }

    /// The kinds there can be.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The folder of the mods.
    pub fn mods(&self) -> Option<&Path> {
        self.mods.as_deref()
    }

    /// The user's own folder.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// All contents, and what became of every mod.
    pub fn loaded(&self) -> &Loaded {
        self.loaded
            .get_or_init(|| load_with(&self.registry, self.mods.as_deref(), self.folder.as_deref()))
    }

    /// What the user should know: what was left out and why, and what waits for leave to run.
    pub fn warnings(&self) -> Vec<String> {
        let loaded = self.loaded();
        let folder = loaded.problems.iter().map(ToString::to_string);
        let mods = loaded.mods.iter().flat_map(|report| {
            let left_out = |problem: &Problem| format!("{} is left out: {problem}", report.id());
            report.problems.iter().map(left_out)
        });
        let waiting =
            loaded.contents.iter().flat_map(|(kind, name, _)| loaded.unallowed(kind, name));
        // What changes what runs comes before what a word is called now.
        let hints = loaded.mods.iter().flat_map(|report| &report.hints).map(ToString::to_string);
        folder.chain(mods).chain(waiting.map(|waiting| waiting.to_string())).chain(hints).collect()
    }

    /// A content by its kind and name.
    ///
    /// # Errors
    /// There is none, or the user's own folder is broken.
    pub fn content<T: DeserializeOwned>(&self, kind: &str, name: &str) -> Result<T, AssetError> {
        let loaded = self.sound()?;
        let not_there = || AssetError::NotThere {
            kind: kind.into(),
            name: name.into(),
            known: loaded.names(kind).map(str::to_owned).collect(),
        };
        loaded.get(kind, name).ok_or_else(not_there)?.map_err(AssetError::Broken)
    }

    /// All contents of a kind, by name.
    ///
    /// # Errors
    /// The user's own folder is broken.
    pub fn all<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<(String, T)>, AssetError> {
        let loaded = self.sound()?;
        let read = |name: &str| {
            loaded.get(kind, name).map(|value| value.map(|value| (name.to_owned(), value)))
        };
        loaded.names(kind).filter_map(read).collect::<Result<_, _>>().map_err(AssetError::Broken)
    }

    /// What is loaded, unless the user's own folder is broken: who names a folder wants it, and a
    /// mod is only left out.
    fn sound(&self) -> Result<&Loaded, AssetError> {
        let loaded = self.loaded();
        match loaded
            .mods
            .iter()
            .find(|report| report.label == USER_OVERRIDES && report.state == State::Broken)
        {
            Some(report) => Err(AssetError::Broken(report.problems.clone())),
            None => Ok(loaded),
        }
    }

    /// The rules that maps are laid out by.
    ///
    /// # Errors
    /// The user's own folder is broken.
    pub fn rules(&self) -> Result<Rules, AssetError> {
        self.content::<WorldRules>("world", DEFAULT_NAME).map(WorldRules::rules)
    }

    /// The path of a model in the user's own folder, if it is there.
    fn overridden(&self, name: &str) -> Option<PathBuf> {
        // `models` is none of the folders that hold content: the loader does not see the file.
        let path = self.folder.as_deref()?.join(Path::new(name));
        path.is_file().then_some(path)
    }

    /// The model that answers when none is named.
    ///
    /// # Errors
    /// The overriding file is no sound model.
    pub fn default_model(&self) -> Result<PixelModel, ModelError> {
        match self.overridden(DEFAULT_MODEL) {
            Some(path) => PixelModel::open(&path),
            None => PixelModel::from_static("built-in seedling", &SEEDLING.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::experiment::Experiment;

    #[test]
    fn a_folder_replaces_and_adds_and_what_is_wrong_with_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("experiments");
        std::fs::create_dir(&inside).unwrap();
        let text = "(title: \"mine\", prompts: [Text(id: \"a\", text: \"x\")], \
                    interventions: [EachLayer(scale: 0.0)])";
        std::fs::write(inside.join("mine.experiment.ron"), text).unwrap();
        std::fs::write(inside.join("layers.experiment.ron"), text.replace("mine", "other"))
            .unwrap();
        let title = |name: &str| {
            crate::app::kinds::assets()
                .with_folder(Some(folder.path().to_owned()))
                .content::<Experiment>("experiment", name)
                .map(|experiment| experiment.title)
        };
        assert_eq!(
            (title("mine").unwrap(), title("layers").unwrap()),
            ("mine".into(), "other".into())
        );
        let error = title("mime").unwrap_err().to_string();
        assert_eq!(
            error,
            r#"there is no experiment "mime"; did you mean "mine"?; there are: layers, mine"#
        );
        std::fs::write(inside.join("mine.experiment.ron"), text.replace("title", "titel")).unwrap();
        let error = title("layers").unwrap_err().to_string();
        assert!(error.contains("mine.experiment.ron:1:2: titel: unknown field"), "{error}");
    }
}
