//! The order in which mods apply: that of dependencies, of the user, of ids, never of discovery.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::path::PathBuf;

use pixel_llm::content::source::Source;
use pixel_llm::content::{Settings, load_sources};
use proptest::prelude::*;

use crate::made::{EXPERIMENT, in_use, load_all, problems, source};

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
