//! Mods as files on the disk: what loads, in which order, what is said of those that do not, and
//! that nothing gets out.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pixel_llm::agents::load_profiles;
use pixel_llm::coach::reviewer::Reviewer;
use pixel_llm::content::assets::Assets;
use pixel_llm::content::source::{MAX_FILE_IN_BYTES, Source, SourceFile, read_archive};
use pixel_llm::content::watch::{Reload, Reloader, Watcher};
use pixel_llm::content::{
    Loaded, ModReport, Settings, State, What, built_in, load, load_sources, pack,
};
use pixel_llm::experiment::Experiment;
use pixel_llm::model::plan::rules::{
    Arrangement, Bank, Districts, Rules, Side, Spacing, Start, Turn,
};
use pixel_llm::model::plan::{MapPlan, Rect};
use proptest::prelude::*;

const EXPERIMENT: &str =
    r#"(title: "T", prompts: [Text(id: "a", text: "x")], interventions: [EachLayer(scale: 0.0)])"#;

fn manifest(id: &str, more: &str) -> String {
    format!(
        "(id: \"{id}\", name: \"N\", version: \"1.0.0\", pixel_llm: \"*\", author: \"A\", \
         licence: \"MIT\", {more})"
    )
}

fn source(
    id: &str,
    more: &str,
    files: &[(&str, &str)],
) -> (PathBuf, Result<Source, Vec<pixel_llm::content::Problem>>) {
    let file =
        |(path, text): &(&str, &str)| SourceFile { path: (*path).into(), text: (*text).into() };
    let mut files: Vec<_> = files.iter().map(file).collect();
    files.push(SourceFile { path: "mod.ron".into(), text: manifest(id, more) });
    (id.into(), Ok(Source { label: id.into(), path: Some(id.into()), files }))
}

fn load_all(sources: Vec<(PathBuf, Result<Source, Vec<pixel_llm::content::Problem>>)>) -> Loaded {
    load_sources(&pixel_llm::app::kinds::registry(), sources, &Settings::default())
}

fn in_use(loaded: &Loaded) -> Vec<&str> {
    loaded.mods.iter().filter(|report| report.state == State::Loaded).map(ModReport::id).collect()
}

fn problems(loaded: &Loaded) -> Vec<String> {
    loaded.mods.iter().flat_map(|report| &report.problems).map(ToString::to_string).collect()
}

fn title(loaded: &Loaded, name: &str) -> String {
    loaded.get::<Experiment>("experiment", name).unwrap().unwrap().title
}

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

#[test]
fn the_built_in_assets_are_a_sound_mod() {
    let loaded = load_all(Vec::new());
    assert_eq!(in_use(&loaded), ["core"]);
    assert_eq!(problems(&loaded), [""; 0]);
    assert_eq!(loaded.mods[0].about.as_ref().unwrap().version, env!("CARGO_PKG_VERSION"));
}

/// A field of each kind that a patch can set, and what to.
fn change_of(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "experiment" | "tour" => ("title", "\"Other\""),
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
        ["agent", "experiment", "keys", "palette", "plan", "reviewer", "tour", "world"]
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

#[test]
fn the_order_is_that_of_dependencies_then_of_the_user_then_of_ids() {
    let make = || {
        vec![
            source("d", r#"wants: [(id: "c")]"#, &[]),
            source("c", "", &[]),
            source("b", r#"needs: [(id: "d", version: "^1")]"#, &[]),
            source("a", "", &[]),
            source("x", r#"conflicts: [(id: "a")]"#, &[]),
            source("r1", r#"needs: [(id: "r2")]"#, &[]),
            source("r2", r#"needs: [(id: "r1")]"#, &[]),
        ]
    };
    let loaded = load_all(make());
    assert_eq!(in_use(&loaded), ["core", "a", "c", "d", "b"]);
    let said = problems(&loaded).join("\n");
    assert!(said.contains("conflicts: cannot be beside `a`, which comes before it"), "{said}");
    assert!(said.contains("needs: needs itself: `r1` needs `r2` needs `r1`"), "{said}");
    assert!(said.contains("needs: needs itself: `r2` needs `r1` needs `r2`"), "{said}");
    let settings = Settings { order: vec!["x".into(), "d".into()], ..Settings::default() };
    let loaded = load_sources(&pixel_llm::app::kinds::registry(), make(), &settings);
    assert_eq!(in_use(&loaded), ["core", "x", "c", "d", "b"]);
}

/// What a random mod does: to which kind, to which content of it, what it needs, and whether by a
/// patch.
type RandomMod = (usize, usize, Vec<usize>, bool);

/// Mods that override and patch one another at random.
fn random_mods() -> impl Strategy<Value = Vec<RandomMod>> {
    let one = (0..5_usize, 0..4_usize, prop::collection::vec(0..8_usize, 0..3), any::<bool>());
    prop::collection::vec(one, 1..8)
}

/// Of each kind, the name of its title and a whole text with it.
fn text_of(kind: usize, title: &str) -> (&'static str, &'static str, String) {
    let (kind, field) = [
        ("experiment", "title"),
        ("tour", "title"),
        ("world", "name"),
        ("plan", "name"),
        ("keys", "Help"),
    ][kind];
    let text = match kind {
        "experiment" => EXPERIMENT.replace("\"T\"", &format!("\"{title}\"")),
        "tour" => format!("(title: \"{title}\", steps: [Wait(1.0)])"),
        "world" => format!("(name: \"{title}\", layers: Rows(across: 3))"),
        "plan" => format!("(name: \"{title}\", phases: [])"),
        _ => "{Help: [\"F1\"]}".into(),
    };
    (kind, field, text)
}

fn make_mods(
    mods: &[RandomMod],
) -> Vec<(PathBuf, Result<Source, Vec<pixel_llm::content::Problem>>)> {
    let one = |(at, (kind, content, needs, is_patch)): (usize, &RandomMod)| {
        let needs: Vec<_> = needs
            .iter()
            .filter(|need| **need != at)
            .map(|need| format!(r#"(id: "m{need}")"#))
            .collect();
        let (kind, field, whole) = text_of(*kind, &format!("of {at}"));
        let (name, text) = match is_patch {
            true => {
                let value = if kind == "keys" {
                    format!("[\"F{}\"]", at + 1)
                } else {
                    format!("\"by {at}\"")
                };
                let patch = format!("[(field: \"{field}\", value: {value})]");
                (format!("e{content}.{kind}.patch.ron"), patch)
            }
            false => (format!("e{content}.{kind}.ron"), whole),
        };
        source(&format!("m{at}"), &format!("needs: [{}]", needs.join(", ")), &[(&name, &text)])
    };
    mods.iter().enumerate().map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_result_does_not_depend_on_the_order_of_discovery(
        mods in random_mods(), seed in any::<u64>(),
    ) {
        let first = load_all(make_mods(&mods));
        let mut shuffled = make_mods(&mods);
        shuffled.sort_by_key(|(path, _)| {
            let mix = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            path.to_string_lossy().bytes().fold(seed, mix)
        });
        let second = load_all(shuffled);
        prop_assert_eq!(&first.contents, &second.contents);
        prop_assert_eq!(in_use(&first), in_use(&second));
    }

    #[test]
    fn a_mod_that_is_removed_leaves_no_trace(mods in random_mods()) {
        let without = load_all(make_mods(&mods));
        let mut more = make_mods(&mods);
        let name = "e0.experiment.ron";
        more.push(source("zzz", "", &[(name, EXPERIMENT), ("layers.experiment.ron", EXPERIMENT)]));
        let with = load_all(more.clone());
        prop_assert_ne!(&with.contents, &without.contents);
        more.pop();
        prop_assert_eq!(&load_all(more).contents, &without.contents);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[\\PC\\n]{0,200}") {
        let files = [("e.experiment.ron", text.as_str()), ("e.experiment.patch.ron", &text)];
        let loaded = load_all(vec![source("m", "", &files)]);
        prop_assert!(loaded.find("m").is_some());
    }
}

/// Any rules that a world may have.
fn random_rules() -> impl Strategy<Value = Rules> {
    let turn = prop_oneof![Just(Turn::Clockwise), Just(Turn::Counterclockwise)];
    let start = prop_oneof![Just(Start::Inside), Just(Start::Outside)];
    let layers = prop_oneof![
        (0.05_f32..20.0).prop_map(|aspect| Arrangement::Snake { aspect }),
        (1_u32..9).prop_map(|across| Arrangement::Rows { across }),
        (turn, start).prop_map(|(turn, start)| Arrangement::Spiral { turn, start }),
    ];
    let side = || prop_oneof![Just(Side::North), Just(Side::South)];
    let spaces = (prop::option::of(1_u32..20), prop::array::uniform5(0_u32..=256), 4_u32..=256);
    (layers, prop_oneof![Just(Bank::North), Just(Bank::South)], spaces, (side(), side())).prop_map(
        |(layers, heads, (unit, [a, b, c, d, e], river), (embedding, output))| Rules {
            layers,
            heads,
            spacing: Spacing {
                unit,
                layers: a,
                groups: b,
                plots: c,
                river,
                banks: d,
                districts: e,
            },
            districts: Districts { embedding, output },
            decorations: Vec::new(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn whatever_the_rules_every_weight_has_one_place_of_its_own(rules in random_rules()) {
        prop_assert_eq!(rules.problems(), []);
        let model = pixel_llm::app::kinds::assets().default_model().unwrap();
        let plan = MapPlan::with_rules(model.config(), model.tensors(), &rules);
        let map = Rect::new(0, 0, plan.size[0], plan.size[1]);
        for (index, plot) in plan.plots.iter().enumerate() {
            prop_assert!(map.contains(&plot.rect), "{:?} leaves {:?}", plot, map);
            for other in &plan.plots[index + 1..] {
                prop_assert!(!plot.rect.overlaps(&other.rect), "{:?} {:?}", plot, other);
            }
        }
        let length = |range: &std::ops::Range<u64>| range.end - range.start;
        let shown = plan.plots.iter().map(|plot| length(&plot.rows) * length(&plot.columns));
        let tilings = model.tensors().iter().map(|tensor| &tensor.tiling);
        let weights = tilings.map(|tiling| tiling.rows * tiling.columns);
        prop_assert_eq!(shown.sum::<u64>(), weights.sum::<u64>());
    }
}

#[test]
fn the_usual_rules_are_the_map_that_the_file_has() {
    let model = pixel_llm::app::kinds::assets().default_model().unwrap();
    assert_eq!(model.laid_out(&Rules::default()).plan(), model.plan());
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

#[cfg(unix)]
#[test]
fn a_link_inside_a_mod_is_refused_wherever_it_leads() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("m");
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("mod.ron"), manifest("m", "")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", inside.join("e.experiment.ron")).unwrap();
    std::os::unix::fs::symlink("/", inside.join("all")).unwrap();
    let loaded = load(&pixel_llm::app::kinds::registry(), Some(folder.path()));
    let said = problems(&loaded);
    assert_eq!(said[0], "m/all: is a link; a mod holds its files itself");
    assert_eq!(said[1], "m/e.experiment.ron: is a link; a mod holds its files itself");
}

fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn an_archive_cannot_reach_out_link_or_swell() {
    let good = manifest("m", "");
    let refused = |name: &str, bytes: &[u8]| {
        let archive = zip_of(&[("mod.ron", good.as_bytes()), (name, bytes)]);
        read_archive("z.zip", &archive).unwrap_err()[0].message.clone()
    };
    assert!(refused("../e.experiment.ron", b"").contains("leads out of its folder"));
    assert!(refused("a/../../e.experiment.ron", b"").contains("leads out of its folder"));
    assert!(refused("/etc/e.experiment.ron", b"").contains("is an absolute path"));
    assert!(
        refused("C:\\e.experiment.ron", b"").contains("has a character that paths cannot have")
    );
    assert!(
        refused("a\\..\\e.experiment.ron", b"").contains("has a character that paths cannot have")
    );
    assert!(refused("con.experiment.ron", b"").contains("names a device"));
    assert!(refused("MOD.ron", b"").contains("two files have this name"));
    assert!(refused("a.wgsl", b"").contains("cannot bring shaders"));
    // A bomb: four gigabytes would come out of a few kilobytes if they were believed; reading ends
    // at the limit.
    let bomb = vec![b' '; MAX_FILE_IN_BYTES as usize + 1];
    assert!(refused("e.experiment.ron", &bomb).contains("has more than"));
    let one = vec![b' '; MAX_FILE_IN_BYTES as usize];
    let names: Vec<_> = (0..9).map(|at| format!("e{at}.experiment.ron")).collect();
    let many: Vec<(&str, &[u8])> =
        names.iter().map(|name| (name.as_str(), one.as_slice())).collect();
    assert!(
        read_archive("z.zip", &zip_of(&many)).unwrap_err()[0]
            .message
            .contains("the mod's files have more than")
    );
    let names: Vec<_> = (0..5000).map(|at| format!("e{at}.txt")).collect();
    let many: Vec<(&str, &[u8])> =
        names.iter().map(|name| (name.as_str(), b"".as_slice())).collect();
    assert!(
        read_archive("z.zip", &zip_of(&many)).unwrap_err()[0]
            .message
            .contains("more than 4096 files")
    );

    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.add_symlink("e.experiment.ron", "/etc/passwd", zip::write::SimpleFileOptions::default())
        .unwrap();
    let link = zip.finish().unwrap().into_inner();
    assert!(read_archive("z.zip", &link).unwrap_err()[0].message.contains("is a link"));
    assert!(
        read_archive("z.zip", b"PK\x03\x04").unwrap_err()[0].message.contains("no zip archive")
    );
    let whole = zip_of(&[("mod.ron", good.as_bytes())]);
    for cut in 0..whole.len() {
        assert!(read_archive("z.zip", &whole[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_packed_mod_is_the_mod() {
    let folder = tempfile::tempdir().unwrap();
    let registry = pixel_llm::app::kinds::registry();
    let all: Vec<_> = registry.kinds().iter().map(|kind| kind.name()).collect();
    pack::write_template(&registry, &folder.path().join("fresh"), "fresh", &all).unwrap();
    let source = Source::read(&folder.path().join("fresh")).unwrap();
    let mut archive = std::io::Cursor::new(Vec::new());
    pack::write_archive(&source, Path::new("."), &[], &mut archive).unwrap();
    assert_eq!(read_archive("fresh", archive.get_ref()).unwrap(), source.files);
    let loaded = load(&registry, Some(folder.path()));
    assert_eq!(problems(&loaded), [""; 0], "a template is sound");
    assert_eq!(in_use(&loaded), ["core", "fresh"]);
}

#[test]
fn a_bad_save_keeps_the_last_good_state_and_a_good_one_is_seen_soon() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("m");
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("mod.ron"), manifest("m", "")).unwrap();
    let file = inside.join("e.experiment.ron");
    fs::write(&file, EXPERIMENT).unwrap();
    let loaded = load(&pixel_llm::app::kinds::registry(), Some(folder.path()));
    let reloader = || {
        Reloader::new(
            pixel_llm::app::kinds::registry().into(),
            Some(folder.path().into()),
            None,
            loaded.clone(),
        )
    };
    let mut by_hand = reloader();
    assert_eq!((by_hand.reload(), title(by_hand.good(), "e").as_str()), (Reload::Unchanged, "T"));
    let watcher = Watcher::new(reloader()).unwrap();
    let news = |what: &str| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if let Some(news) = watcher.take() {
                println!("{what}: {:?}", start.elapsed());
                return (news, start.elapsed());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{what}: nothing was heard");
    };
    fs::write(&file, "(titel: ").unwrap();
    let (bad, _) = news("a bad save");
    assert!(bad.loaded.is_none(), "the last good state stays");
    assert_eq!(
        bad.problems[0].to_string(),
        "m/e.experiment.ron:1:9: expected a value, found the end of the file"
    );
    assert_eq!(by_hand.reload(), Reload::Kept);
    assert_eq!(title(by_hand.good(), "e"), "T");
    // The best of a few: other programs may have the processors meanwhile.
    let mut best = Duration::MAX;
    for number in 0..4 {
        fs::write(&file, EXPERIMENT.replace("\"T\"", &format!("\"Number {number}\""))).unwrap();
        best = best.min(news("a save").1);
    }
    assert!(best < Duration::from_millis(500), "{best:?}");
    fs::write(&file, EXPERIMENT.replace("\"T\"", "\"Better\"")).unwrap();
    // A save may be heard in two steps, of which the first is half a file.
    let good = loop {
        let (heard, _) = news("a good save");
        if heard.loaded.as_ref().is_some_and(|loaded| title(loaded, "e") == "Better") {
            break heard;
        }
    };
    assert_eq!(good.problems, Vec::new());
    assert_eq!(by_hand.reload(), Reload::Taken);
    // What is read is no change: nothing more is heard of it.
    std::thread::sleep(Duration::from_millis(300));
    assert!(watcher.take().is_none());
    fs::remove_dir_all(&inside).unwrap();
    // A folder goes file by file, and half of a mod is a broken one.
    let gone = |heard: &Loaded| heard.contents.get("experiment", "e").is_none();
    while !news("a mod that goes").0.loaded.as_ref().is_some_and(gone) {}
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
