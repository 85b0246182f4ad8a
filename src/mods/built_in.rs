//! The mod `core`: the assets that travel inside the program, as any other mod brings them.

use include_dir::{Dir, include_dir};

use super::source::{Source, SourceFile};

/// The folders of `assets` that hold content, and their names there. A stage that brings content adds its folder.
static FOLDERS: [(&str, Dir<'_>); 1] =
    [("experiments", include_dir!("$CARGO_MANIFEST_DIR/assets/experiments"))];

/// The built-in assets.
pub fn core() -> Source {
    let manifest = include_str!("../../assets/mod.ron").replace("{version}", env!("CARGO_PKG_VERSION"));
    let mut files = vec![SourceFile { path: super::manifest::FILE_NAME.into(), text: manifest }];
    for (folder, dir) in &FOLDERS {
        let ron = dir.files().filter(|file| file.path().extension().is_some_and(|ending| ending == "ron"));
        files.extend(ron.map(|file| SourceFile {
            path: format!("{folder}/{}", file.path().display()),
            text: file.contents_utf8().expect("built-in RON is UTF-8, as the tests find").into(),
        }));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Source { label: super::order::CORE.into(), path: None, files }
}
