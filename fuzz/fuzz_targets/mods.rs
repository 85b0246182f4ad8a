//! Mods: any text as manifest, as a content of each kind and as a patch; any bytes as an archive.
//! What is accepted must decode again alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pixel_llm::content::source::{Source, SourceFile, check_path, read_archive};
use pixel_llm::content::{Settings, load_sources};

fuzz_target!(|input: &[u8]| {
    if let Ok(files) = read_archive("archive.zip", input) {
        assert!(files.iter().all(|file| check_path(&file.path).is_ok()));
        load(files);
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    let kinds =
        ["experiment", "model", "agent", "plan", "reviewer", "world", "keys", "palette", "tour"];
    let contents = kinds.iter().map(|kind| format!("e.{kind}.ron"));
    let patches = ["layers.experiment", "writer.agent", "default.plan", "default.world"];
    let patches = patches.iter().map(|name| format!("{name}.patch.ron"));
    for path in ["mod.ron".to_owned()].into_iter().chain(contents).chain(patches) {
        let manifest =
            "(id: \"m\", name: \"M\", version: \"1.0.0\", pixel_llm: \"*\", author: \"A\", \
             licence: \"MIT\")";
        let mut files = vec![SourceFile { path: path.clone(), text: text.into() }];
        if path != "mod.ron" {
            files.push(SourceFile { path: "mod.ron".into(), text: manifest.into() });
        }
        load(files);
    }
});

fn load(files: Vec<SourceFile>) {
    let source = Source { label: "m".into(), path: Some("m".into()), files };
    let registry = pixel_llm::app::kinds::registry();
    let loaded = load_sources(&registry, vec![("m".into(), Ok(source))], &Settings::default());
    assert_eq!(loaded.mods.len(), 2, "no mod is dropped");
    for report in &loaded.mods {
        assert_eq!(report.problems.is_empty(), report.state == pixel_llm::content::State::Loaded);
    }
}
