//! The order in which mods are loaded, and which of them cannot be.
//!
//! What a mod needs and wants comes before it; where that leaves a choice, the user's order
//! decides, then the id. Nothing else matters: not the order in which folders list their entries,
//! nor the clock.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use super::manifest::Manifest;
use super::problem::did_you_mean;
use super::settings::Settings;

/// The id of the built-in assets, which come before everything.
pub(crate) const CORE: &str = "core";

/// What stands for an id where the user's own folder of assets is meant, which comes after
/// everything. No mod can have it.
pub(crate) const USER_OVERRIDES: &str = "--assets";

/// The order: indices of the manifests that load, and for each of the others why it does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    /// What loads, first to last.
    pub loads: Vec<usize>,
    /// What does not, and why.
    pub skipped: BTreeMap<usize, Vec<Reason>>,
}

/// Why a mod does not load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The field of its manifest that says so.
    pub field: String,
    /// What is not as it says.
    pub message: String,
}

impl Reason {
    fn new(field: impl Into<String>, message: String) -> Self {
        Self { field: field.into(), message }
    }
}

/// Orders manifests with different ids.
pub fn order(manifests: &[&Manifest], settings: &Settings, program: &Version) -> Order {
    let by_id: BTreeMap<&str, usize> =
        manifests.iter().enumerate().map(|(at, m)| (m.id.as_str(), at)).collect();
    let mut result = Order::default();
    // Before a version is released, a requirement of it is met by what leads to it.
    let released = Version::new(program.major, program.minor, program.patch);
    for (at, manifest) in manifests.iter().enumerate() {
        if !manifest.pixel_llm.matches(&released) {
            let why = format!("works with pixel-llm {}; this is {program}", manifest.pixel_llm);
            result.skipped.insert(at, vec![Reason::new("pixel_llm", why)]);
        }
    }
    let rank = |at: usize| {
        let id = manifests[at].id.as_str();
        // `false` sorts before `true`: of those that are ready `core` is the first.
        (id != CORE, settings.rank(id), id)
    };
    // In the order of loading: of two that conflict, the one that comes first stays.
    for at in sequence(manifests, &by_id, rank, &mut result) {
        let reasons = reasons_against(at, manifests, &by_id, &result);
        if reasons.is_empty() {
            result.loads.push(at);
        } else {
            result.skipped.insert(at, reasons);
        }
    }
    result
}

/// Everything that works with this version, in an order that dependencies allow. Rings of needs are
/// left out and explained.
fn sequence<'m>(
    manifests: &[&'m Manifest],
    by_id: &BTreeMap<&str, usize>,
    rank: impl Fn(usize) -> (bool, usize, &'m str),
    result: &mut Order,
) -> Vec<usize> {
    let indices = |relations: &[super::manifest::Relation]| -> BTreeSet<usize> {
        relations.iter().filter_map(|relation| by_id.get(relation.id.as_str()).copied()).collect()
    };
    let mut waiting: BTreeMap<usize, (BTreeSet<usize>, BTreeSet<usize>)> = manifests
        .iter()
        .enumerate()
        .map(|(at, manifest)| (at, (indices(&manifest.needs), indices(&manifest.wants))))
        .collect();
    let mut sequence = Vec::new();
    while !waiting.is_empty() {
        let first = |strict: bool| {
            let ready = waiting
                .iter()
                .filter(|(_, (needs, wants))| needs.is_empty() && (!strict || wants.is_empty()));
            ready.map(|(&at, _)| at).min_by_key(|&at| rank(at))
        };
        // A ring that only wants keep closed opens at its first mod.
        let Some(next) = first(true).or_else(|| first(false)) else {
            let mut ring: Vec<_> = waiting.keys().copied().collect();
            ring.sort_by_key(|&at| rank(at));
            // All are found before the first is removed, which would open the ring for the others.
            let rings: Vec<_> = ring.iter().filter_map(|&at| ring_through(at, &waiting)).collect();
            for path in rings {
                let names: Vec<_> =
                    path.iter().map(|&at| format!("`{}`", manifests[at].id)).collect();
                let why = format!("needs itself: {}", names.join(" needs "));
                result.skipped.entry(path[0]).or_default().push(Reason::new("needs", why));
                waiting.remove(&path[0]);
            }
            // Whatever hangs on the ring is free now, and is told that what it needs was not
            // loaded.
            let left: BTreeSet<_> = waiting.keys().copied().collect();
            for (needs, wants) in waiting.values_mut() {
                needs.retain(|at| left.contains(at));
                wants.retain(|at| left.contains(at));
            }
            continue;
        };
        waiting.remove(&next);
        for (needs, wants) in waiting.values_mut() {
            needs.remove(&next);
            wants.remove(&next);
        }
        // What does not work with this version has had its turn all the same: those that need it
        // come to theirs, and are told.
        if !result.skipped.contains_key(&next) {
            sequence.push(next);
        }
    }
    sequence
}

/// The way by needs from a mod back to itself.
fn ring_through(
    start: usize,
    waiting: &BTreeMap<usize, (BTreeSet<usize>, BTreeSet<usize>)>,
) -> Option<Vec<usize>> {
    let mut came_from = BTreeMap::new();
    // Breadth first: the ring that is told is the shortest.
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for &next in waiting.get(&at).map(|(needs, _)| needs).into_iter().flatten() {
            if next == start {
                let mut path = vec![start, at];
                let mut back = at;
                while back != start {
                    back = came_from[&back];
                    path.push(back);
                }
                if at == start {
                    path.pop();
                    path.push(start);
                }
                path.reverse();
                return Some(path);
            }
            if next != start && !came_from.contains_key(&next) {
                came_from.insert(next, at);
                queue.push_back(next);
            }
        }
    }
    None
}

fn reasons_against(
    at: usize,
    manifests: &[&Manifest],
    by_id: &BTreeMap<&str, usize>,
    so_far: &Order,
) -> Vec<Reason> {
    let manifest = manifests[at];
    let mut reasons = Vec::new();
    for (place, need) in manifest.needs.iter().enumerate() {
        let field = format!("needs[{place}]");
        match by_id.get(need.id.as_str()) {
            None => {
                let meant = did_you_mean(&need.id, by_id.keys().copied());
                reasons
                    .push(Reason::new(field, format!("needs {need}, which is not there{meant}")));
            }
            Some(&other) if !need.is_met_by(manifests[other]) => {
                let version = &manifests[other].version;
                reasons
                    .push(Reason::new(field, format!("needs {need}; there is version {version}")));
            }
            Some(other) if !so_far.loads.contains(other) => {
                reasons.push(Reason::new(field, format!("needs {need}, which was not loaded")));
            }
            Some(_) => {}
        }
    }
    for &other in &so_far.loads {
        let (mine, theirs) = (&manifest.conflicts, &manifests[other].conflicts);
        let conflicts = mine.iter().any(|c| c.is_met_by(manifests[other]))
            || theirs.iter().any(|c| c.is_met_by(manifest));
        if conflicts {
            let message =
                format!("cannot be beside `{}`, which comes before it", manifests[other].id);
            reasons.push(Reason::new("conflicts", message));
        }
    }
    reasons
}
