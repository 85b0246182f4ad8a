//! Patches and overrides: each field of each kind can be changed, and a wrong one changes nothing.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use pixel_llm::agents::load_profiles;
use pixel_llm::content::{Loaded, What, built_in};
use pixel_llm::model::plan::rules::{Arrangement, Start, Turn};

use crate::made::{EXPERIMENT, in_use, load_all, problems, source, title};

#[test]
fn a_patch_may_have_words_of_earlier_versions() {
    let patch = "[(field: \"metabolism.work\", value: 0.5)]";
    let loaded = load_all(vec![source("m", "", &[("surveyor.agent.patch.ron", patch)])]);
    assert_eq!(problems(&loaded), [""; 0]);
    let hints: Vec<_> = loaded.mods[1].hints.iter().map(ToString::to_string).collect();
    let hint = "m/surveyor.agent.patch.ron:1:10: metabolism: this is called `energy_rates` now";
    assert_eq!(hints, [hint]);
    let history = &loaded.contents.get("agent", "surveyor").unwrap().history;
    assert_eq!(history[1].what, What::Patched { fields: vec!["energy_rates.work".into()] });
}

/// A field of each kind that a patch can set, and what to.
fn change_of(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "corpus" | "experiment" | "subject" | "tour" => ("title", "\"Other\""),
        "gate" => ("description", "\"Other\""),
        "keys" => ("Help", "[\"F5\"]"),
        _ => ("name", "\"Other\""),
    }
}

#[test]
fn every_built_in_file_can_be_overridden_and_patched() {
    let core = built_in::core();
    let before = load_all(Vec::new());
    let contents: Vec<_> = core.files.iter().filter(|file| file.path != "mod.ron").collect();
    assert_eq!(contents.len(), before.contents.len());
    let kinds: std::collections::BTreeSet<_> =
        before.contents.iter().map(|(kind, ..)| kind).collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        [
            "agent",
            "corpus",
            "experiment",
            "gate",
            "keys",
            "palette",
            "plan",
            "reviewer",
            "subject",
            "tour",
            "world"
        ]
    );
    for file in contents {
        let name = file.path.rsplit('/').next().unwrap();
        let (id, kind) = name.strip_suffix(".ron").unwrap().rsplit_once('.').unwrap();
        let over = load_all(vec![source("over", "", &[(name, &file.text)])]);
        assert_eq!(problems(&over), [""; 0]);
        let history = &over.contents.get(kind, id).unwrap().history;
        assert_eq!((history.len(), &history[1].what), (2, &What::Overrode), "{name}");

        let (field, value) = change_of(kind);
        let patch = format!("[(field: \"{field}\", value: {value})]");
        let patched =
            load_all(vec![source("patch", "", &[(&format!("{id}.{kind}.patch.ron"), &patch)])]);
        assert_eq!(problems(&patched), [""; 0], "{name}");
        let content = patched.contents.get(kind, id).unwrap();
        assert_eq!(content.history[1].what, What::Patched { fields: vec![field.into()] }, "{name}");
        assert_ne!(content.node, before.contents.get(kind, id).unwrap().node, "{name}");
        // Everything else is as it was, and with the mod gone everything is.
        let others = |loaded: &Loaded| {
            let others = loaded.contents.iter().filter(|(of, name, _)| (*of, *name) != (kind, id));
            others
                .map(|(kind, name, content)| (kind.to_owned(), name.to_owned(), content.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(others(&patched), others(&before), "{name}");
        assert_eq!(load_all(Vec::new()).contents, before.contents);
    }
}

#[test]
fn a_single_field_of_the_land_an_agent_and_the_keys_is_patched() {
    let loaded = load_all(vec![source(
        "m",
        "",
        &[
            (
                "default.world.patch.ron",
                "[(field: \"layers\", value: Spiral(turn: Clockwise, start: Inside)), (field: \
                 \"spacing.river\", value: 12)]",
            ),
            (
                "writer.agent.patch.ron",
                "[(field: \"count\", value: 7), (field: \"utility.distance.weight\", value: 3.5)]",
            ),
            (
                "first-steps.tour.patch.ron",
                "[(field: \"steps[1]\", value: Caption(\"Hello\")), (field: \"steps\", append: \
                 Wait(1.0))]",
            ),
            ("ember.palette.patch.ron", "[(field: \"negative[0]\", value: \"#000001\")]"),
        ],
    )]);
    assert_eq!(problems(&loaded), [""; 0]);
    let assets = pixel_llm::app::kinds::assets().with_loaded(loaded);
    let rules = assets.rules().unwrap();
    assert_eq!(
        (rules.layers, rules.spacing.river),
        (Arrangement::Spiral { turn: Turn::Clockwise, start: Start::Inside }, 12)
    );
    let writer = load_profiles(&assets)
        .unwrap()
        .into_iter()
        .find(|profile| profile.name == "writer")
        .unwrap();
    assert_eq!(writer.count, 7);
}

#[test]
fn a_wrong_patch_leaves_everything_as_it_was_and_names_its_own_place() {
    let good = source("a-good", "", &[("e.experiment.ron", EXPERIMENT)]);
    let patch =
        "[\n  (field: \"title\", value: \"New\"),\n  (field: \"prompts[0].text\", value: 7),\n]";
    let bad = source(
        "b-bad",
        r#"needs: [(id: "a-good")]"#,
        &[("e.experiment.patch.ron", patch), ("f.experiment.ron", EXPERIMENT)],
    );
    let late = source("c-late", r#"needs: [(id: "b-bad")]"#, &[]);
    let loaded = load_all(vec![good, bad, late]);
    assert_eq!(in_use(&loaded), ["core", "a-good"]);
    assert_eq!(title(&loaded, "e"), "T");
    assert!(loaded.contents.get("experiment", "f").is_none());
    assert_eq!(
        problems(&loaded),
        [
            "b-bad/e.experiment.patch.ron:3:37: prompts[0].text: expected a text in quotes, found \
             the number 7",
            "c-late/mod.ron:1:98: needs[0]: needs `b-bad`, which was not loaded",
        ]
    );
}
