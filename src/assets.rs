//! What travels inside the program, and the folder that may stand in for it file by file.

use std::path::{Path, PathBuf};

use crate::model::{ModelError, PixelModel};

/// The name of the model that answers when none is named.
pub const DEFAULT_MODEL: &str = "models/seedling.pxi";

macro_rules! embed {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../assets/", $folder, "/", $name)))),*]
    };
}

/// Text assets: the name of each file, and its text as it was when the program was built.
type Texts = &'static [(&'static str, &'static str)];

const PALETTES: Texts =
    embed!["palettes": "ember.palette.ron", "lightness.palette.ron", "meadow.palette.ron"];
const TOURS: Texts = embed!["tours": "first-steps.tour.ron", "what-if.tour.ron"];

/// A text asset is written by hand; a file beyond this was named by mistake.
pub const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Bytes that begin where a memory page does, as a mapped file's would: tiles inside keep their alignment.
#[repr(C, align(4096))]
struct PageAligned<const N: usize>([u8; N]);

static SEEDLING: PageAligned<{ include_bytes!("../assets/models/seedling.pxi").len() }> =
    PageAligned(*include_bytes!("../assets/models/seedling.pxi"));

/// The assets: built in, and overridden by a folder where it has a file of the same name.
#[derive(Debug, Clone, Default)]
pub struct Assets {
    folder: Option<PathBuf>,
}

impl Assets {
    /// Assets that a folder may override.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// The path of an asset in the overriding folder, if it is there.
    pub fn overridden(&self, name: &str) -> Option<PathBuf> {
        let path = self.folder.as_deref()?.join(Path::new(name));
        path.is_file().then_some(path)
    }

    /// Files of the overriding folder below `folder` that end in `suffix` and stand in for none of the built-in `names`, in the order of
    /// their names.
    ///
    /// # Errors
    /// The folder is there and cannot be read.
    pub fn others(
        &self,
        folder: &str,
        suffix: &str,
        names: &[&str],
    ) -> Result<Vec<PathBuf>, (PathBuf, std::io::Error)> {
        let Some(root) = &self.folder else { return Ok(Vec::new()) };
        let path = root.join(folder);
        if !path.is_dir() {
            return Ok(Vec::new());
        }
        let failed = |source| (path.clone(), source);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            let stands_in = names.iter().any(|name| root.join(name) == file);
            if !stands_in && file.to_string_lossy().ends_with(suffix) && file.is_file() {
                found.push(file);
            }
        }
        found.sort();
        Ok(found)
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

    /// The text assets of a folder, `palettes` or `tours`, by file name: the built-in ones, those that replace them, and those that come
    /// besides.
    ///
    /// # Errors
    /// A file of the overriding folder cannot be read as text, or is over [`MAX_TEXT_BYTES`].
    pub fn texts(&self, folder: &str) -> std::io::Result<Vec<(String, String)>> {
        let built_in = if folder == "tours" { TOURS } else { PALETTES };
        let mut texts: std::collections::BTreeMap<String, String> =
            built_in.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect();
        let own = self.folder.as_deref().map(|own| own.join(folder)).filter(|own| own.is_dir());
        for entry in own.map(std::fs::read_dir).transpose()?.into_iter().flatten() {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.ends_with(".ron") {
                let size = path.metadata()?.len();
                if size > MAX_TEXT_BYTES {
                    let problem = format!("{}: {size} bytes; at most {MAX_TEXT_BYTES}", path.display());
                    return Err(std::io::Error::other(problem));
                }
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| std::io::Error::other(format!("{}: {error}", path.display())))?;
                texts.insert(name, text);
            }
        }
        Ok(texts.into_iter().collect())
    }

    /// Every palette, "ember and ice" first.
    ///
    /// # Errors
    /// A palette's file cannot be read or is not what the schema says.
    #[cfg(feature = "world")]
    pub fn palettes(
        &self,
    ) -> Result<Vec<crate::world::palette::Palette>, Box<dyn std::error::Error + Send + Sync>> {
        let texts = self.texts("palettes")?;
        texts.iter().map(|(name, text)| Ok(crate::world::palette::Palette::parse(name, text)?)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folders_travels_with_the_program() {
        for folder in ["palettes", "tours"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(folder);
            let mut on_disk: Vec<String> = std::fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            on_disk.sort();
            let inside = Assets::default().texts(folder).unwrap().into_iter().map(|(name, _)| name);
            assert_eq!(inside.collect::<Vec<_>>(), on_disk);
        }
    }

    #[test]
    fn a_folder_replaces_and_adds_text_assets() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tours")).unwrap();
        std::fs::write(folder.path().join("tours/mine.tour.ron"), "(title: \"mine\", steps: [])").unwrap();
        let texts = Assets::new(Some(folder.path().to_owned())).texts("tours").unwrap();
        let names: Vec<&str> = texts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["first-steps.tour.ron", "mine.tour.ron", "what-if.tour.ron"]);
    }
}
