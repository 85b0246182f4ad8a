//! The shaders: their names, their text, and the handles that keep them loaded.
//!
//! Every file of the top-level `shaders/` folder is embedded in the binary. A folder given at run
//! time may replace any of them, file by file, so that a kernel can be changed without building the
//! program. A file with a first line `#define_import_path pixel_llm::NAME` is a library; any other
//! is the one entry file of the kernel of its name, or draws the map.

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use bevy::{
    prelude::*,
    render::RenderApp,
    shader::{Shader, ShaderImport, ValidateShader},
};
use include_dir::{Dir, include_dir};

use crate::model::Encoding;

/// The top-level folder as it was when the program was built.
static FOLDER: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/shaders");

/// Every shader: its name in `shaders/`, such as `kernels/embed.wgsl`, and its text as it was when
/// the program was built, in the order of names.
pub fn embedded() -> Vec<(&'static str, &'static str)> {
    /// The text of [`ENCODING`], which is the same for ever.
    static COMPLETE: OnceLock<String> = OnceLock::new();
    fn collect(folder: &'static Dir<'static>, found: &mut Vec<(&'static str, &'static str)>) {
        for file in folder.files() {
            let name = file.path().to_str().expect("names are plain");
            let text = file.contents_utf8().expect("shaders are text");
            let is_encoding = name == ENCODING;
            let text = if is_encoding { COMPLETE.get_or_init(|| complete(text)) } else { text };
            found.push((name, text));
        }
        folder.dirs().for_each(|folder| collect(folder, found));
    }
    let mut found = Vec::new();
    collect(&FOLDER, &mut found);
    found.sort_unstable();
    found
}

/// The shader that imports the encoding which a pipeline is compiled for.
const ENCODING: &str = "encodings/encoding.wgsl";

/// Puts an import of every encoding of the table in the place of the line that stands for them:
/// naga_oil cannot import by a name that is defined when a pipeline is compiled.
fn complete(text: &str) -> String {
    let import = |encoding: Encoding| {
        let name = encoding.name();
        let module = name.to_lowercase();
        format!("#ifdef ENCODING_{name}\n#import pixel_llm::encodings::{module} as chosen\n#endif")
    };
    let imports = Encoding::ALL.map(import).join("\n");
    text.replace("#import pixel_llm::encodings::CHOSEN as chosen", &imports)
}

/// A shader is a few hundred lines of text; a file beyond this was named by mistake.
pub(crate) const MAX_SHADER_BYTES: u64 = 1 << 20;

/// What can go wrong with a shader that replaces an embedded one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShaderError {
    /// The file is there but cannot be read as text.
    #[error("cannot read the shader {}: {source}", path.display())]
    Read {
        /// The file that was to replace a shader.
        path: PathBuf,
        /// Why, as the system says it.
        source: std::io::Error,
    },
    /// The file is larger than any shader.
    #[error("the shader {} is over the limit of {MAX_SHADER_BYTES} bytes", path.display())]
    TooLarge {
        /// The file that was to replace a shader.
        path: PathBuf,
    },
}

/// One shader's text and whether it is our own.
#[derive(Clone, Debug)]
pub struct ShaderSource {
    /// Its name in `shaders/`, such as `kernels/embed.wgsl`.
    pub name: &'static str,
    /// WGSL with naga_oil's directives.
    pub text: String,
    /// The file that replaced the embedded text, if one did.
    pub replaced_by: Option<PathBuf>,
}

/// Every shader's text, with the files of `folder` in the place of the embedded ones of the same
/// name.
pub fn load_sources(folder: Option<&Path>) -> Result<Vec<ShaderSource>, ShaderError> {
    let load = |(name, embedded): (&'static str, &str)| {
        let path = folder.map(|folder| folder.join(name)).filter(|path| path.is_file());
        let text = match &path {
            Some(path) if name == ENCODING => complete(&read_shader(path)?),
            Some(path) => read_shader(path)?,
            None => embedded.to_owned(),
        };
        Ok(ShaderSource { name, text, replaced_by: path })
    };
    embedded().into_iter().map(load).collect()
}

fn read_shader(path: &Path) -> Result<String, ShaderError> {
    let failed = |source| ShaderError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = crate::files::open_regular(path).map_err(failed)?;
    // One byte over the limit is enough to know that the file is over it.
    file.take(MAX_SHADER_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_SHADER_BYTES {
        return Err(ShaderError::TooLarge { path: path.to_owned() });
    }
    Ok(text)
}

/// Puts the shaders into `Assets<Shader>` and keeps their handles, as [`Shaders`], in both worlds.
///
/// Needs `Assets<Shader>`, so Bevy's `RenderPlugin` comes first.
pub struct ShadersPlugin {
    /// Every shader, as [`load_sources`] gives them.
    pub sources: Vec<ShaderSource>,
}

impl Plugin for ShadersPlugin {
    fn build(&self, app: &mut App) {
        let validation = validation(&self.sources);
        let mut assets = app.world_mut().resource_mut::<Assets<Shader>>();
        let mut add = |source: &ShaderSource| {
            let mut shader =
                Shader::from_wgsl(source.text.clone(), format!("shaders/{}", source.name));
            shader.validate_shader = validation.clone();
            (source.name, assets.add(shader))
        };
        let handles = self.sources.iter().map(&mut add).collect();
        let shaders = Shaders { handles };
        if let Some(render_app) = app.get_sub_app_mut(RenderApp) {
            render_app.insert_resource(shaders.clone());
        }
        app.insert_resource(shaders);
    }
}

// Our own kernels guard every index and are tested for it. Once a stranger's text replaces one of
// them, all are compiled with the driver's bounds checks: Bevy asks the entry file alone, which may
// be ours and import theirs.
fn validation(sources: &[ShaderSource]) -> ValidateShader {
    if sources.iter().any(|source| source.replaced_by.is_some()) {
        ValidateShader::Enabled
    } else {
        ValidateShader::Disabled
    }
}

/// The handles of all shaders. A library that nothing holds would be unloaded, and the pipelines
/// that import it would wait for it for ever.
#[derive(Resource, Clone, Debug)]
pub struct Shaders {
    handles: BTreeMap<&'static str, Handle<Shader>>,
}

impl Shaders {
    /// The handle of the shader `name`, which must be in [`embedded`].
    ///
    /// # Panics
    /// If it is not: a kernel names its shader in the source, and `tests/gpu/shaders.rs` looks each
    /// one up.
    pub(crate) fn handle(&self, name: &str) -> Handle<Shader> {
        self.handles.get(name).unwrap_or_else(|| panic!("no shader is named {name}")).clone()
    }
}

/// Whether a shader's text is a library, which other shaders import, and not a kernel's entry file.
pub fn is_library(name: &str, text: &str) -> bool {
    matches!(Shader::from_wgsl(text.to_owned(), name).import_path, ShaderImport::Custom(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_holds_every_file_of_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
        let mut on_disk = Vec::new();
        let mut folders = vec![folder.clone()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&folder).unwrap().to_str().unwrap();
                    on_disk.push(name.replace(std::path::MAIN_SEPARATOR, "/"));
                }
            }
        }
        on_disk.sort();
        let in_program: Vec<_> = embedded().into_iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(in_program, on_disk, "all of them, in the order of names");
    }

    #[test]
    fn a_folder_replaces_file_by_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("kernels")).unwrap();
        std::fs::write(folder.path().join("kernels/embed.wgsl"), "// mine").unwrap();
        let sources = load_sources(Some(folder.path())).unwrap();
        for source in &sources {
            let mine = source.name == "kernels/embed.wgsl";
            assert_eq!(source.replaced_by.is_some(), mine, "{}", source.name);
            assert_eq!(source.text == "// mine", mine, "{}", source.name);
        }
        assert!(matches!(validation(&sources), ValidateShader::Enabled));
        assert!(matches!(validation(&load_sources(None).unwrap()), ValidateShader::Disabled));
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("lib")).unwrap();
        let path = folder.path().join("lib/types.wgsl");
        std::fs::write(&path, vec![b' '; MAX_SHADER_BYTES as usize]).unwrap();
        assert!(load_sources(Some(folder.path())).is_ok());
        std::fs::write(&path, vec![b' '; MAX_SHADER_BYTES as usize + 1]).unwrap();
        let error = load_sources(Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("types.wgsl"), "{error}");
    }
}
