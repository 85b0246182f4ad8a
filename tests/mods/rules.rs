//! Rules of the land that mods bring: any of them make a map in which nothing overlaps.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use pixel_llm::model::plan::rules::{
    Arrangement, Bank, Districts, Rules, Side, Spacing, Start, Turn,
};
use pixel_llm::model::plan::{MapPlan, Rect};
use proptest::prelude::*;

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
