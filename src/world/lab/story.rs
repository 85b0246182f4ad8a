//! What a change came to, in one sentence with its numbers: "without layer 18 head 6 it no longer
//! says " cats": 41 % to 3 %".

use std::collections::BTreeSet;

use super::{Comparison, ComparisonRow};
use crate::model::PixelModel;
use crate::words::counted;
use crate::world::adapters::ActingAdapter;
use crate::world::layout::{Atlas, Place};
use crate::world::think::ModelState;

/// Places of one kind that are named; more are counted.
const MOST_NAMED: usize = 3;

impl Comparison {
    /// What was changed between both answers, and what came of it.
    pub fn story(&self, model: &PixelModel) -> String {
        let change = change(&self.states[0], &self.states[1], model);
        let rows = self.rows();
        let comma = if change.is_empty() { "" } else { ", " };
        let said = |row: &ComparisonRow| row.without.as_ref().map(|side| quoted(&side.text));
        let moved = |at: usize| {
            let row = &rows[at];
            let before = row.without.as_ref()?.probability;
            Some(format!("{} to {}", percent(before), percent(before + row.difference?)))
        };
        let told = Self::told(&rows);
        if let Some(at) = told.filter(|&at| !rows[at].same) {
            let Some(token) = said(&rows[at]) else { return self.goes_on(&change) };
            let moved = moved(at).map_or(String::new(), |moved| format!(": {moved}"));
            let now = rows[at]
                .with
                .as_ref()
                .map_or("it ends there".into(), |now| format!("it says {}", quoted(&now.text)));
            return format!("{change} it no longer says {token}{moved}; {now}").trim().into();
        }
        match told.and_then(|at| said(&rows[at]).zip(moved(at))) {
            Some((token, moved)) => {
                format!("{change}{comma}it says the same; {token} moved most: {moved}")
            }
            None => format!("{change}{comma}it says the same, with the same probabilities"),
        }
    }

    /// The places that differ most at a token, each with the words for it: "layer 2 head 3 by
    /// 4.21". None where the values were not kept.
    pub fn most_changed(&self, at: usize, atlas: &Atlas) -> Option<Vec<(Place, String)>> {
        let places = self.differences.get(at)?.most(atlas.model().config()).into_iter();
        let words = |place: &Place, norm| format!("{} by {}", atlas.name(place), figure(norm));
        Some(places.map(|(place, norm)| (place.clone(), words(&place, norm))).collect())
    }

    /// Whether weights were painted that come after what heads and fields give: what that changes
    /// is seen from the next layer on.
    pub fn is_painted_after(&self, model: &PixelModel) -> bool {
        let others = tensors_of_others(&self.states[0], &self.states[1], model);
        let is_last = |name: &str| matches!(name, "attn_output.weight" | "ffn_down.weight");
        let mut names = others.iter().filter_map(|&tensor| model.tensors()[tensor].layer());
        names.any(|(_, name)| is_last(name))
    }

    /// The answer before had ended where this one goes on.
    fn goes_on(&self, change: &str) -> String {
        let before = self.without.end.map(|(_, probability)| probability);
        let now = self.expected_at(self.without.tokens.len());
        let moved = before.zip(now).map_or(String::new(), |(before, now)| {
            format!(": {} to {}", percent(before), percent(now))
        });
        let tokens = counted(self.without.tokens.len() as u64, "token");
        format!("{change} it no longer ends after {tokens}{moved}").trim().into()
    }
}

/// What was changed, in words; nothing where both are the same.
fn change(before: &ModelState, after: &ModelState, model: &PixelModel) -> String {
    let heads = model.config().head_count as usize;
    let factor = |list: &[f32], at: usize| list.get(at).copied().unwrap_or(1.0);
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    let mut add =
        |words: String, name: String| match groups.iter_mut().find(|(group, _)| *group == words) {
            Some((_, names)) => names.push(name),
            None => groups.push((words, vec![name])),
        };
    let name_of_head = |at: usize| format!("layer {} head {}", at / heads, at % heads);
    let name_of_layer = |at: usize| format!("layer {at}");
    let lists: [(_, _, &dyn Fn(usize) -> String); 2] = [
        (&before.interventions.layers, &after.interventions.layers, &name_of_layer),
        (&before.interventions.heads, &after.interventions.heads, &name_of_head),
    ];
    for (before, after, name) in lists {
        for at in 0..before.len().max(after.len()) {
            match (factor(before, at), factor(after, at)) {
                (was, is) if was == is => {}
                (_, 0.0) => add("without".into(), name(at)),
                (_, 1.0) => add("again with".into(), name(at)),
                (_, is) => add(format!("with {is:.2} times"), name(at)),
            }
        }
    }
    let strength = |state: &ModelState, name: &str| {
        let found = state.adapters.iter().find(|adapter| *adapter.name == *name);
        found.map_or(0.0, |adapter| adapter.strength)
    };
    let mut names: Vec<_> =
        before.adapters.iter().chain(&after.adapters).map(|adapter| &adapter.name).collect();
    names.dedup();
    for name in names {
        let is_same = |adapter: &&ActingAdapter| after.adapters.contains(adapter);
        let known = before.adapters.iter().find(|adapter| adapter.name == *name);
        match (strength(before, name), strength(after, name)) {
            (was, is) if was == is && known.as_ref().is_some_and(is_same) => {}
            (_, 0.0) => add("without what it learnt of".into(), name.to_string()),
            (0.0, 1.0) => add("with what it learnt of".into(), name.to_string()),
            (was, is) if was == is => add("with more that it learnt of".into(), name.to_string()),
            (_, is) => add(format!("with {is:.2} times"), name.to_string()),
        }
    }
    for tensor in tensors_of_others(before, after, model) {
        let is_edited = model.tensors()[tensor].tiles().any(|tile| after.tiles.contains_key(&tile));
        let words = if is_edited { "with painted weights of" } else { "as in the file" };
        add(words.into(), model.tensors()[tensor].name.clone());
    }
    let group = |(words, names): &(String, Vec<String>)| match names.as_slice() {
        few if few.len() <= MOST_NAMED => format!("{words} {}", few.join(" and ")),
        many => format!("{words} {} places", many.len()),
    };
    groups.iter().map(group).collect::<Vec<_>>().join(", ")
}

/// The tensors whose tiles are others.
fn tensors_of_others(
    before: &ModelState,
    after: &ModelState,
    model: &PixelModel,
) -> BTreeSet<usize> {
    let tiles = before.tiles.keys().chain(after.tiles.keys());
    tiles
        .filter(|tile| before.tiles.get(tile) != after.tiles.get(tile))
        .map(|&tile| model.tile_shape(tile).0)
        .collect()
}

/// A norm in the digits that say something.
pub(crate) fn figure(norm: f32) -> String {
    match norm {
        0.0 => "0".into(),
        norm if norm < 0.0005 => "under 0.001".into(),
        norm if norm < 0.9995 => format!("{norm:.3}"),
        norm if norm < 99.95 => format!("{norm:.2}"),
        norm => format!("{norm:.0}"),
    }
}

/// A token as it is quoted.
fn quoted(text: &str) -> String {
    format!("\u{201c}{}\u{201d}", text.replace('\n', "\\n").replace('\t', "\\t"))
}

/// A probability in the digits that say something.
fn percent(probability: f32) -> String {
    match probability * 100.0 {
        0.0 => "0 %".into(),
        percent if percent < 0.1 => "under 0.1 %".into(),
        percent if percent < 9.95 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::compare::tests::answer;
    use super::*;
    use crate::forward::Interventions;
    use crate::model::edits::Tiles;

    fn story(without: &[(u32, f32)], with: &[(u32, f32)], expected: &[f32]) -> String {
        let model = crate::app::kinds::assets().default_model().unwrap();
        let sizes = [model.config().layer_count, model.config().head_count];
        let muted = Interventions::new(sizes, [([1, 2], 0.0)], []);
        let states =
            [Arc::default(), Arc::new(ModelState { interventions: muted, ..Default::default() })];
        let (without, with, expected) = (answer(without), answer(with), expected.to_vec());
        Comparison { without, with, expected, states, ..Comparison::default() }.story(&model)
    }

    #[test]
    fn the_first_fork_is_told_with_the_probability_before_and_after() {
        let told = story(&[(1, 0.9), (2, 0.41)], &[(1, 0.8), (3, 0.5)], &[0.8, 0.03]);
        assert_eq!(
            told,
            "without layer 1 head 2 it no longer says \u{201c} t2\u{201d}: 41 % to 3.0 %; \
             it says \u{201c} t3\u{201d}"
        );
        let told = story(&[(1, 0.9), (2, 0.41)], &[(1, 0.8), (2, 0.3)], &[0.8, 0.3]);
        assert!(told.contains("it says the same") && told.contains("41 % to 30 %"), "{told}");
        let told = story(&[(1, 0.9)], &[(1, 0.9), (2, 0.3)], &[0.9]);
        assert!(told.contains("no longer ends after 1 token"), "{told}");
        let told = story(&[(1, 0.9)], &[(1, 0.9)], &[0.9]);
        assert!(told.ends_with("the same probabilities"), "{told}");
    }

    #[test]
    fn a_change_is_named_as_a_person_made_it() {
        let model = crate::app::kinds::assets().default_model().unwrap();
        let sizes = [model.config().layer_count, model.config().head_count];
        let state = |heads: &[([u32; 2], f32)], layers: &[(u32, f32)], tiles: &[u32]| {
            let interventions =
                Interventions::new(sizes, heads.iter().copied(), layers.iter().copied());
            let tiles: Tiles = tiles.iter().map(|&tile| (tile, Arc::from([1_u8]))).collect();
            ModelState { interventions, tiles: Arc::new(tiles), ..Default::default() }
        };
        let plain = state(&[], &[], &[]);
        let one = state(&[([0, 1], 0.0)], &[(2, 0.0)], &[]);
        assert_eq!(change(&plain, &one, &model), "without layer 2 and layer 0 head 1");
        assert_eq!(change(&one, &plain, &model), "again with layer 2 and layer 0 head 1");
        let scaled = state(&[([0, 1], 0.5)], &[], &[]);
        assert_eq!(change(&plain, &scaled, &model), "with 0.50 times layer 0 head 1");
        let tensor = &model.tensors()[3];
        let painted = state(&[], &[], &[tensor.first_tile]);
        let words = format!("with painted weights of {}", tensor.name);
        assert_eq!(change(&plain, &painted, &model), words);
        assert_eq!(change(&painted, &plain, &model), format!("as in the file {}", tensor.name));
        let many: Vec<_> = (0..4).map(|head| ([1, head], 0.0)).collect();
        assert_eq!(change(&plain, &state(&many, &[], &[]), &model), "without 4 places");
        assert_eq!(change(&plain, &plain, &model), "");
    }
}
