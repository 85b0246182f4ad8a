//! The order of the floors: a module of `src` uses only those of its own floor and of lower ones.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::files;

/// The floors, the lowest first. What stands on one line may not use each other. `src/lib.rs` and
/// ARCHITECTURE.md quote this list, which is the only one.
const FLOORS: &[&[&str]] = &[
    &["names", "size", "words", "terminal", "memory", "folders", "files"],
    &["pxi"],
    &["outputs"],
    &["model", "map"],
    &["content", "tiles"],
    &["residency"],
    &["forward"],
    &["engine"],
    &["batch"],
    &["serve", "training", "refit"],
    &["experiment"],
    &["lineage"],
    &["school", "prune"],
    &["coach"],
    &["agents"],
    &["world"],
    &["panel"],
    &["app"],
];

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// Modules at the root that a source text names as `crate::MODULE`, outside comments and unit
/// tests.
fn named_in(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code: String = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            // `use crate::{a::B, c};`: what stands at the depth of the first brace.
            Some(group) => {
                let mut depth = 0;
                let mut names = vec![String::new()];
                for letter in group.chars() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => names.push(String::new()),
                        _ => names.last_mut().expect("it begins with one").push(letter),
                    }
                }
                names
            }
            None => vec![rest.to_owned()],
        })
        .map(|name| name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

/// The arrows of a file that go up, or to another module of the same floor.
fn wrong_arrows(module: &str, source: &str) -> Vec<String> {
    let Some(own) = floor_of(module) else { return vec![format!("{module} stands on no floor")] };
    named_in(source)
        .into_iter()
        .filter(|used| used != module && floor_of(used).is_some_and(|floor| floor >= own))
        .map(|used| format!("{module} uses {used}"))
        .collect()
}

#[test]
fn a_module_uses_only_lower_floors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut wrong, mut count) = (Vec::new(), 0);
    for path in files(&root, &[".rs"]) {
        let inside = path.strip_prefix(&root).expect("it is in src");
        let first = inside.iter().next().expect("a name").to_string_lossy();
        let module = first.trim_end_matches(".rs");
        // Tests of a floor may be set up with what stands above it.
        if matches!(module, "lib" | "main") || path.ends_with("tests.rs") {
            continue;
        }
        count += 1;
        let source = fs::read_to_string(&path).expect("a source file");
        let arrows = wrong_arrows(module, &source);
        wrong.extend(arrows.into_iter().map(|arrow| format!("{}: {arrow}", inside.display())));
    }
    assert!(count > 300, "{count} files were read");
    assert!(wrong.is_empty(), "arrows against the order of the floors:\n{}", wrong.join("\n"));
}

#[test]
fn an_arrow_upward_is_seen() {
    let planted = "use crate::model::Model;\nuse crate::world::Map;\n";
    assert_eq!(wrong_arrows("forward", planted), ["forward uses world"]);
    let grouped = "use crate::{model::{a, b}, app::cli, pxi};\nfn f() { crate::engine::run(); }\n";
    assert_eq!(wrong_arrows("forward", grouped), ["forward uses app", "forward uses engine"]);
    assert_eq!(wrong_arrows("map", "use crate::model::Model;"), ["map uses model"]);
    let allowed = "// crate::app\nuse crate::model::Model;\n\
                   #[cfg(test)]\nmod tests {\n use crate::app::x;\n}\n";
    assert!(wrong_arrows("forward", allowed).is_empty());
    assert_eq!(wrong_arrows("attic", ""), ["attic stands on no floor"]);
}

#[test]
fn every_floor_is_there_and_the_guides_tell_the_same_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for guide in ["src/lib.rs", "ARCHITECTURE.md"] {
        let text = fs::read_to_string(root.join(guide)).expect("a guide");
        let mut last = 0;
        for module in FLOORS.iter().copied().flatten() {
            let source = root.join("src").join(module);
            assert!(
                source.is_dir() || source.with_extension("rs").is_file(),
                "{module} is not in src"
            );
            let quoted = text[last..].find(&format!("`{module}`"));
            last += quoted.unwrap_or_else(|| panic!("{guide} lacks {module} in its place"));
        }
    }
}
