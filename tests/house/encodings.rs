//! An encoding of the table has all its places: what CONTRIBUTING.md tells whoever adds one.

use std::path::{Path, PathBuf};

use pixel_llm::model::Encoding;

/// The files that read an encoding's bytes, with what each of them must hold.
fn places(encoding: Encoding) -> [(PathBuf, Vec<String>); 5] {
    let (name, module) = (encoding.name(), encoding.name().to_lowercase());
    // The plain floats are one idea, and a file in Rust.
    let (file, unpacks) = if encoding.is_quantised() {
        (module.as_str(), "pub fn unpack<".to_owned())
    } else {
        ("floats", format!("pub fn {module}<"))
    };
    let shader = ["prescale", "lines_of", "weights_at", "weight_at"];
    let mut shader: Vec<String> = shader.map(|function| format!("fn {function}(")).into();
    shader.push(format!("#define_import_path pixel_llm::encodings::{module}\n"));
    [
        (format!("src/model/quant/{file}.rs"), vec![format!("name: \"{name}\",")]),
        ("src/model/quant/mod.rs".into(), vec![format!("Self::{name} => &{file}::")]),
        (format!("src/forward/cpu/unpack/{file}.rs"), vec![unpacks]),
        ("src/forward/cpu/unpack/mod.rs".into(), vec![format!("Encoding::{name} => {file}::")]),
        (format!("shaders/encodings/{module}.wgsl"), shader),
    ]
    .map(|(path, parts)| (PathBuf::from(path), parts))
}

/// What is missing in a folder, in words.
fn missing(root: &Path, encoding: Encoding) -> Vec<String> {
    let in_file =
        |(path, parts): (PathBuf, Vec<String>)| match std::fs::read_to_string(root.join(&path)) {
            Ok(text) => {
                let absent = parts.into_iter().filter(|part| !text.contains(part));
                absent
                    .map(|part| format!("{encoding}: {} has no {part:?}", path.display()))
                    .collect()
            }
            Err(_) => vec![format!("{encoding}: there is no {}", path.display())],
        };
    places(encoding).into_iter().flat_map(in_file).collect::<Vec<String>>()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_encoding_has_its_five_places_its_vectors_and_its_line_in_the_specification() {
    let specification = root().join("specs/pxi_llm.md");
    let specification = std::fs::read_to_string(specification).expect("it is there");
    for encoding in Encoding::ALL {
        let line = format!("| {encoding} | {} |", encoding.ggml());
        assert!(specification.contains(&line), "{encoding} is in the specification");
        assert_eq!(missing(root(), encoding), Vec::<String>::new());
        let vectors = format!("tests/vectors/{}.bin", encoding.name().to_lowercase());
        assert!(root().join(&vectors).is_file(), "{encoding}: no {vectors} of the reference");
    }
}

#[test]
fn a_place_that_is_not_there_is_seen() {
    let empty = tempfile::tempdir().expect("there is room for a folder");
    for encoding in Encoding::ALL {
        assert_eq!(missing(empty.path(), encoding).len(), 5, "{encoding}");
    }
}
