//! The mod `core`: the assets that travel inside the program, as any other mod brings them.

use include_dir::{Dir, include_dir};

use super::source::{Source, SourceFile};

/// The folders of `assets` that hold content, by name. A folder that the user gives by `--assets`
/// has the same.
pub(super) static FOLDERS: [(&str, Dir<'_>); 10] = [
    ("agents", include_dir!("$CARGO_MANIFEST_DIR/assets/agents")),
    ("coach", include_dir!("$CARGO_MANIFEST_DIR/assets/coach")),
    ("corpora", include_dir!("$CARGO_MANIFEST_DIR/assets/corpora")),
    ("experiments", include_dir!("$CARGO_MANIFEST_DIR/assets/experiments")),
    ("gates", include_dir!("$CARGO_MANIFEST_DIR/assets/gates")),
    ("keys", include_dir!("$CARGO_MANIFEST_DIR/assets/keys")),
    ("palettes", include_dir!("$CARGO_MANIFEST_DIR/assets/palettes")),
    ("subjects", include_dir!("$CARGO_MANIFEST_DIR/assets/subjects")),
    ("tours", include_dir!("$CARGO_MANIFEST_DIR/assets/tours")),
    ("worlds", include_dir!("$CARGO_MANIFEST_DIR/assets/worlds")),
];

/// The built-in assets as a mod, whose version is that of the program.
pub fn core() -> Source {
    let manifest =
        include_str!("../../assets/mod.ron").replace("{version}", env!("CARGO_PKG_VERSION"));
    let mut files = vec![SourceFile { path: super::manifest::FILE_NAME.into(), text: manifest }];
    for (folder, dir) in &FOLDERS {
        let ron = dir
            .files()
            .filter(|file| file.path().extension().is_some_and(|ending| ending == "ron"));
        files.extend(ron.map(|file| SourceFile {
            path: format!("{folder}/{}", file.path().display()),
            text: file.contents_utf8().expect("built-in RON is UTF-8, as the tests find").into(),
        }));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Source { label: super::order::CORE.into(), path: None, files }
}
