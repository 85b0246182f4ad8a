//! The corpora of the program.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::content::parse::parse;
use crate::model::PixelModel;

fn corpus(name: &str) -> Corpus {
    crate::app::kinds::assets().content("corpus", name).unwrap()
}

fn seedling() -> PixelModel {
    crate::app::kinds::assets().default_model().unwrap()
}

fn lines(name: &str, seed: u64, wanted: (usize, usize)) -> CorpusLines {
    generate(&corpus(name), Some(&seedling()), seed, wanted).unwrap()
}

#[test]
fn a_fact_is_held_out_in_one_way_and_told_in_all_others() {
    let made = lines("facts", 1, (200, 50));
    assert_eq!((made.train.len(), made.valid.len()), (200, 50));
    // The word that is asked about, with what is asked of it, has the same answer in every line.
    let mut answers: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    let place = |line: &CorpusLine| {
        let is_name = |word: &&str| word.len() > 3 && word.starts_with(char::is_uppercase);
        let words = line.prompt.split(|c: char| !c.is_alphabetic());
        let name = words.filter(is_name).find(|it| !["What", "Which", "Name"].contains(it));
        let of = if line.prompt.contains("lamp") { "lamp" } else { "gate" };
        format!("{of} {}", name.unwrap())
    };
    for line in &made.train {
        answers.entry(place(line)).or_default().insert(&line.completion);
        *told.entry(place(line)).or_default() += 1;
    }
    for line in &made.valid {
        let known = &answers[&place(line)];
        assert!(known.len() == 1 && known.contains(&*line.completion), "{line:?}");
        assert_eq!(told[&place(line)], 4);
    }
    let asked: BTreeSet<&str> = made.train.iter().map(|it| &*it.prompt).collect();
    assert!(made.valid.iter().all(|it| !asked.contains(&*it.prompt)));
}

#[test]
fn the_same_seed_gives_the_same_lines_and_another_gives_others() {
    for name in ["facts", "record", "sums", "self", "land"] {
        let made = lines(name, 3, (40, 10));
        assert_eq!(made, lines(name, 3, (40, 10)), "{name}");
        assert_ne!(made, lines(name, 4, (40, 10)), "{name}");
        assert_eq!((made.train.len(), made.valid.len()), (40, 10), "{name}");
    }
}

#[test]
fn no_held_out_combination_is_learnt_whatever_the_seed() {
    let pair = |line: &CorpusLine| {
        let part = |name: &str| {
            let rest = line.completion.split_once(name).unwrap().1;
            rest.split([',', '.']).next().unwrap().to_owned()
        };
        (part(" name "), part(" thing "))
    };
    let (one, other) = (lines("record", 1, (400, 100)), lines("record", 2, (400, 100)));
    let learnt: BTreeSet<_> = one.train.iter().chain(&other.train).map(pair).collect();
    let held = one.valid.iter().chain(&other.valid).map(pair);
    assert_eq!(held.filter(|pair| learnt.contains(pair)).count(), 0);
}

#[test]
fn sums_are_right() {
    let words = "zero one two three four five six seven eight nine ten eleven twelve thirteen \
                 fourteen fifteen sixteen";
    let words: Vec<&str> = words.split_whitespace().collect();
    let number = |text: &str| words.iter().position(|it| *it == text.to_lowercase());
    let made = lines("sums", 5, (300, 50));
    for line in made.train.iter().chain(&made.valid) {
        let asked: Vec<usize> = line.prompt.split([' ', '.', '\n']).filter_map(number).collect();
        let said: Vec<usize> = line.completion.split([' ', '.']).filter_map(number).collect();
        let [one, other] = asked[..] else { panic!("{line:?}") };
        let right = if line.prompt.contains("gets") { one + other } else { one - other };
        assert_eq!(said, [right], "{line:?}");
    }
}

#[test]
fn what_is_said_of_the_model_is_true() {
    let model = seedling();
    let made = lines("land", 7, (90, 20));
    let mut asked = 0;
    for line in made.train.iter().chain(&made.valid) {
        let numbers: Vec<i64> = line
            .prompt
            .split(|c: char| !c.is_ascii_digit() && c != '-')
            .filter_map(|part| part.parse().ok())
            .collect();
        let answer: Vec<i64> = line
            .completion
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|part| part.parse().ok())
            .collect();
        if line.completion.contains("head") {
            let (tensor, row, _) = model.plan().weight_at(numbers[0], numbers[1]).unwrap();
            let name = &model.tensors()[tensor].name;
            assert_eq!(*name, format!("blk.{}.attn_q.weight", answer[0]), "{line:?}");
            let head = row / u64::from(model.config().head_size);
            assert_eq!(head as i64, answer[1], "{line:?}");
            asked += 1;
        } else if line.prompt.contains("rows") {
            let name = line.prompt.split([' ', '?']).find(|it| it.starts_with("blk.")).unwrap();
            assert_eq!(model.tensor(name).unwrap().tiling.rows as i64, answer[0]);
        } else {
            let spread: f32 = line.completion.trim().parse().unwrap();
            let found = model.tile_statistics(numbers[0] as u32).spread;
            assert!((spread - found).abs() < 1e-4, "{line:?}");
        }
    }
    assert!(asked > 10, "{asked}");
}

#[test]
fn what_is_said_of_two_parts_of_the_model_is_true_and_asked_in_another_way() {
    let model = seedling();
    let made = lines("self", 7, (120, 40));
    assert_eq!((made.train.len(), made.valid.len()), (120, 40));
    let words = ["zero", "one", "two", "three", "four", "five"];
    let numbers = |text: &str| -> Vec<u32> {
        let number = |word: &str| words.iter().position(|it| *it == word).map(|it| it as u32);
        text.split(|c: char| !c.is_alphabetic()).filter_map(number).collect()
    };
    let spread = |layer: u32, name: &str| {
        let at = ["queries", "keys", "values", "outputs", "gates", "ups", "downs"];
        let at = at.iter().position(|it| *it == name).unwrap();
        let target = crate::model::adapter::TARGETS[at];
        let of = model.tensor(&format!("blk.{layer}.{target}.weight")).unwrap();
        let tiles = of.first_tile..of.first_tile + of.tiling.tile_count() as u32;
        let sum: f32 = tiles.clone().map(|tile| model.tile_statistics(tile).spread).sum();
        sum / tiles.len() as f32
    };
    let (mut places, mut spreads) = (0, 0);
    for line in made.train.iter().chain(&made.valid) {
        let asked = numbers(&line.prompt);
        if line.completion.contains("wider") {
            let said = line.completion.split(' ').nth(2).unwrap();
            let name = |word: &&str| word.ends_with('s') && spoken(word);
            let mut named = line.prompt.split(|c: char| !c.is_alphabetic()).filter(name);
            let (one, other) = (named.next().unwrap(), named.next().unwrap());
            let wider = if spread(asked[0], one) > spread(asked[0], other) { one } else { other };
            assert_eq!(said, wider, "{line:?}");
            spreads += 1;
        } else {
            let further = numbers(&line.completion)[0];
            let is_after = line.prompt.starts_with("Q: Head");
            let layer = if is_after { asked[2] } else { asked[0] };
            let heads = if is_after { [asked[0], asked[1]] } else { [asked[1], asked[2]] };
            let other = if heads[0] == further { heads[1] } else { heads[0] };
            let rect = |head: u32| {
                let is_it =
                    |it: &&crate::model::plan::HeadPlan| (it.layer, it.head) == (layer, head);
                model.plan().heads.iter().find(is_it).unwrap().rect
            };
            let (a, b) = (rect(further), rect(other));
            let is_true = match line.completion.trim_end_matches('.').rsplit(' ').next().unwrap() {
                "east" => a.x > b.x,
                "west" => a.x < b.x,
                "south" => a.y > b.y,
                _ => a.y < b.y,
            };
            assert!(is_true, "{line:?}");
            places += 1;
        }
    }
    assert!(places > 40 && spreads > 40, "{places} {spreads}");
    // Of what is asked in the held-out lines the answer was told, in other words.
    let fact = |line: &CorpusLine| {
        let mut words: Vec<String> = line
            .prompt
            .split(|c: char| !c.is_alphabetic())
            .filter(|it| {
                words.contains(it) || spoken(it) || ["east", "west", "north", "south"].contains(it)
            })
            .map(ToOwned::to_owned)
            .collect();
        words.sort();
        (words, line.completion.clone())
    };
    let told: BTreeSet<_> = made.train.iter().map(fact).collect();
    assert!(made.valid.iter().all(|line| told.contains(&fact(line))));
}

/// Whether a word is that for a layer's matrices.
fn spoken(word: &str) -> bool {
    ["queries", "keys", "values", "outputs", "gates", "ups", "downs"].contains(&word)
}

#[test]
fn what_a_corpus_names_must_be_there() {
    let text = include_str!("../../content/examples/corpus.ron");
    let registry = crate::app::kinds::registry();
    let kind = registry.kind("corpus").unwrap();
    let problems = |text: &str| {
        let mut found = Vec::new();
        let node = parse(&"a.corpus.ron".into(), text, &mut found).unwrap();
        assert_eq!(found, []);
        kind.check(&node).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(problems(text), [""; 0]);
    let single = text.replacen(", \"{a} + {b} =\\nAnswer:\"", "", 1);
    let single = single.replacen("Slots(share: 0.25, slots: [\"a\", \"b\"])", "OnePrompt", 1);
    assert!(problems(&single).iter().any(|it| it.contains("one of several ways")), "{single}");
    for (old, new, expected) in [
        ("{a} and {b}?", "{a} and {bb}?", "there is no slot `bb`"),
        ("\"spelt\", \"c\"", "\"spellt\", \"c\"", "did you mean `spelt`?"),
        ("0, 5)", "5, 0)", "the lesser number first"),
        ("share: 0.25", "share: 1.5", "a share above 0"),
        ("{a} + {b}", "{a + {b}", "there is no slot"),
    ] {
        let changed = text.replacen(old, new, 1);
        let found = problems(&changed);
        assert!(found.iter().any(|it| it.contains(expected)), "{expected}: {found:?}");
    }
}
