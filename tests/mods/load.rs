//! Mods as files on the disk: what loads, and what is said of those that do not. The built-in ones,
//! those of the specification and the examples are sound.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use pixel_llm::coach::reviewer::Reviewer;
use pixel_llm::content::assets::Assets;
use pixel_llm::content::source::{Source, SourceFile};
use pixel_llm::content::{Loaded, Settings, State, built_in, load, load_sources, pack};
use pixel_llm::experiment::Experiment;

use crate::made::{in_use, load_all, manifest, problems, source};

#[test]
fn every_broken_mod_is_explained_in_the_expected_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mods/broken");
    let mut folders: Vec<_> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 60, "{} broken mods", folders.len());
    let mut wrong = Vec::new();
    for folder in folders {
        let loaded = load_all(vec![(folder.clone(), Source::read(&folder))]);
        let report = loaded.mods.iter().find(|report| report.path.is_some()).unwrap();
        assert!(
            matches!(report.state, State::Broken | State::Incompatible),
            "{}: {:?}",
            folder.display(),
            report.state
        );
        assert_eq!(
            loaded.contents,
            load_all(Vec::new()).contents,
            "{} left something behind",
            folder.display()
        );
        let found: String = report.problems.iter().map(|problem| format!("{problem}\n")).collect();
        let expected = folder.join("expected.txt");
        // With BLESS=1 the texts are written anew, to be read before they are committed.
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, &found).unwrap();
        }
        if fs::read_to_string(&expected).ok().as_deref() != Some(&found) {
            wrong.push(format!("{}:\n{found}", folder.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn words_of_earlier_versions_are_read_with_a_hint() {
    let core = built_in::core();
    let file = |name: &str| {
        let found = core.files.iter().find(|file| file.path.ends_with(name)).unwrap();
        (name.to_owned(), found.text.clone())
    };
    let names = [
        "layers.experiment.ron",
        "default.world.ron",
        "ember.palette.ron",
        "what-if.tour.ron",
        "surveyor.agent.ron",
        "default.plan.ron",
        "gemini.reviewer.ron",
    ];
    let new = names.map(file);
    let words = [
        ("experiment", "description:", "about:"),
        ("world", "description:", "about:"),
        ("palette", "description:", "about:"),
        ("palette", "_on_light", "_on_paper"),
        ("tour", "Screenshot(", "Shot("),
        ("agent", "energy_rates:", "metabolism:"),
        ("plan", "metric:", "figure:"),
        ("reviewer", "command:", "line:"),
    ];
    let mut old = new.clone();
    for (kind, now, earlier) in words {
        let is_it = |(name, _): &&mut (String, String)| name.ends_with(&format!(".{kind}.ron"));
        let (_, text) = old.iter_mut().find(is_it).unwrap();
        assert!(text.contains(now), "{kind} has {now}");
        *text = text.replace(now, earlier);
    }
    let mod_of = |files: &[(String, String)], description: &str| {
        let files: Vec<_> =
            files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        load_all(vec![source("m", &format!("{description}: \"What it does.\""), &files)])
    };
    let (before, now) = (mod_of(&old, "about"), mod_of(&new, "description"));
    assert_eq!((problems(&before), problems(&now)), (Vec::new(), Vec::new()));
    assert_eq!(in_use(&before), ["core", "m"]);
    let hints = |loaded: &Loaded| -> Vec<String> {
        loaded.mods.iter().flat_map(|report| &report.hints).map(ToString::to_string).collect()
    };
    assert_eq!(hints(&now), [""; 0]);
    // A word is told of once in a file, where it is first.
    let told = hints(&before);
    assert_eq!(told.len(), words.len() + 2, "both lists of a palette, and the manifest: {told:#?}");
    let of_plan: Vec<_> = told.iter().filter(|hint| hint.contains("plan.ron")).collect();
    let place = old[5].1.lines().position(|line| line.contains("figure:")).unwrap() + 1;
    let expected = format!("m/default.plan.ron:{place}:");
    assert!(of_plan[0].starts_with(&expected), "{of_plan:?}");
    assert!(of_plan[0].ends_with(": figure: this is called `metric` now"), "{of_plan:?}");
    let description = |loaded: &Loaded| loaded.mods[1].about.as_ref().unwrap().about.clone();
    assert_eq!(description(&before), description(&now));
    let experiment =
        |loaded: &Loaded| loaded.get::<Experiment>("experiment", "layers").unwrap().unwrap();
    assert_eq!(experiment(&before), experiment(&now));
    let reviewer = |loaded: &Loaded| loaded.get::<Reviewer>("reviewer", "gemini").unwrap().unwrap();
    assert_eq!(reviewer(&before), reviewer(&now));
}

#[test]
fn the_built_in_assets_are_a_sound_mod() {
    let loaded = load_all(Vec::new());
    assert_eq!(in_use(&loaded), ["core"]);
    assert_eq!(problems(&loaded), [""; 0]);
    assert_eq!(loaded.mods[0].about.as_ref().unwrap().version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_command_of_a_mod_runs_only_with_the_users_leave_for_just_that_command() {
    let reviewer =
        "(name: \"gemini\", line: [\"judge\", \"a b\"], seconds: 5, max_reply_bytes: 100)";
    let load_with = |settings: &Settings, files: &[(&str, &str)]| {
        let loaded = load_sources(
            &pixel_llm::app::kinds::registry(),
            vec![source("m", "", files)],
            settings,
        );
        assert_eq!(problems(&loaded), [""; 0]);
        pixel_llm::app::kinds::assets().with_loaded(loaded)
    };
    let allowed = |assets: &Assets| Reviewer::load("gemini", assets).unwrap().is_some();
    let nothing = Settings::default();
    // The program's own needs no leave: it is the user's program.
    assert!(allowed(&pixel_llm::app::kinds::assets()));
    let brought = [("gemini.reviewer.ron", reviewer)];
    let assets = load_with(&nothing, &brought);
    assert!(!allowed(&assets));
    let command = assets.loaded().find("m").unwrap().commands[0].clone();
    assert_eq!(command, r#"["judge","a b"]"#);
    assert!(
        assets.warnings()[0].contains("would run [\"judge\",\"a b\"]; allow it with"),
        "{:?}",
        assets.warnings()
    );
    let mut settings = Settings::default();
    settings.allow("m", &command);
    assert!(allowed(&load_with(&settings, &brought)));
    // Another command of the same mod, and the same of another mod, need leave of their own.
    let other = reviewer.replace("a b", "a c");
    assert!(!allowed(&load_with(&settings, &[("gemini.reviewer.ron", &other)])));
    // A patch of the program's own reviewer is a command of the mod.
    let patch = [("gemini.reviewer.patch.ron", "[(field: \"line\", value: [\"rm\"])]")];
    let patched = load_with(&settings, &patch);
    assert!(!allowed(&patched));
    assert_eq!(patched.loaded().find("m").unwrap().commands, [r#"["rm"]"#]);
}

#[test]
fn what_must_be_its_own_is() {
    let twin = built_in::core()
        .files
        .iter()
        .find(|file| file.path.ends_with("writer.agent.ron"))
        .unwrap()
        .text
        .clone();
    let loaded = load_all(vec![source("m", "", &[("scribe.agent.ron", &twin)])]);
    assert_eq!(
        problems(&loaded),
        ["m/scribe.agent.ron:2:11: name: \"writer\" is that of agent/writer already"]
    );
    assert!(loaded.contents.get("agent", "scribe").is_none());
}

#[test]
fn of_two_mods_with_one_id_the_second_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("mod.ron"), manifest("same", "")).unwrap();
    }
    let loaded = load(&pixel_llm::app::kinds::registry(), Some(folder.path()));
    assert_eq!(
        problems(&loaded),
        ["two/mod.ron: the id `same` is that of one too, which is taken"]
    );
}

/// A folder of 200 mods with 25 contents each, of all kinds in turn.
fn many_mods() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let registry = pixel_llm::app::kinds::registry();
    for at in 0..200 {
        let inside = folder.path().join(format!("mod-{at}"));
        fs::create_dir(&inside).unwrap();
        fs::write(inside.join("mod.ron"), manifest(&format!("mod-{at}"), "")).unwrap();
        for number in 0..25 {
            let kind = &registry.kinds()[number % registry.kinds().len()];
            // Names of agents and palettes are their own.
            let text = kind.example();
            let own = |name: &str| {
                text.replace(name, &format!("{} {at} {number}", name.trim_matches('"')))
            };
            let text = match kind.name() {
                "agent" => own("apprentice"),
                "palette" => own("my colours"),
                _ => text.to_owned(),
            };
            fs::write(inside.join(format!("e-{at}-{number}.{}.ron", kind.name())), text).unwrap();
        }
    }
    folder
}

#[test]
fn two_hundred_mods_with_five_thousand_contents_load_in_under_two_seconds() {
    let folder = many_mods();
    let registry = pixel_llm::app::kinds::registry();
    let loaded = load(&registry, Some(folder.path()));
    assert_eq!(problems(&loaded), [""; 0]);
    assert_eq!(in_use(&loaded).len(), 201);
    assert!(loaded.contents.len() > 5000);
    // The best of a few: other programs may have the processors meanwhile.
    let took = (0..5).map(|_| {
        let start = Instant::now();
        load(&registry, Some(folder.path()));
        start.elapsed()
    });
    let best = took.min().unwrap();
    println!("200 mods with 5,000 contents: {best:?}");
    assert!(best < Duration::from_secs(2), "{best:?}");
}

#[test]
fn the_examples_of_the_specification_are_those_of_the_program_and_sound() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/mods.md")).unwrap();
    let mut examples = BTreeMap::new();
    for block in text.split("```ron\n").skip(1) {
        let body = block.split("```").next().unwrap();
        let name = body.lines().next().unwrap().trim_start_matches("// ").to_owned();
        examples.insert(name, body.split_once('\n').unwrap().1.to_owned());
    }
    let registry = pixel_llm::app::kinds::registry();
    assert_eq!(examples["mod.ron"], pack::manifest_template("my-mod"));
    let mut files = vec![("mod.ron".to_owned(), examples["mod.ron"].clone())];
    for kind in registry.kinds() {
        let name = format!("my-mod.{}.ron", kind.name());
        assert_eq!(examples.get(&name).map(String::as_str), Some(kind.example()), "{name}");
        files.push((name, kind.example().into()));
    }
    files.push((
        "my-mod.experiment.patch.ron".into(),
        examples["my-mod.experiment.patch.ron"].clone(),
    ));
    let files = files.into_iter().map(|(path, text)| SourceFile { path, text }).collect();
    let loaded = load_all(vec![(
        "m".into(),
        Ok(Source { label: "m".into(), path: Some("m".into()), files }),
    )]);
    assert_eq!(problems(&loaded), [""; 0]);
}

#[test]
fn the_example_mods_are_sound() {
    let loaded = load(
        &pixel_llm::app::kinds::registry(),
        Some(&Path::new(env!("CARGO_MANIFEST_DIR")).join("mods")),
    );
    assert_eq!(problems(&loaded), [""; 0]);
    assert!(loaded.is_sound() && loaded.contents.get("experiment", "induction-heads").is_some());
}
