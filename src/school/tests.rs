//! Subjects, what is refused, and a small school on the built-in model.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::batch::ModelText;
use crate::content::Assets;
use crate::model::PixelModel;
use crate::training::corpus::Rule;

/// Looks on, and stops it after so many steps.
struct Quiet {
    left: AtomicUsize,
    is_over: AtomicBool,
}

impl Quiet {
    fn new(steps: usize) -> Self {
        Self { left: steps.into(), is_over: false.into() }
    }
}

impl SchoolProgress for Quiet {
    fn begins(&self, _: &str, _: usize) {}
    fn done(&self, _: usize) {}
    fn goes_on(&self) -> bool {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.is_over.store(true, Ordering::Relaxed);
        }
        !self.is_over.load(Ordering::Relaxed)
    }
}

fn assets() -> Assets {
    crate::app::kinds::assets()
}

fn seedling() -> (Arc<PixelModel>, ModelText) {
    let model = assets().default_model().unwrap();
    let text = ModelText::new(&model).unwrap();
    (Arc::new(model), text)
}

fn subject(name: &str) -> Subject {
    assets().content("subject", name).unwrap()
}

fn small() -> SchoolSettings {
    SchoolSettings {
        rounds: 1,
        exercises: 24,
        held_out: 32,
        samples: 2,
        steps: 2,
        batch_tokens: 128,
        ..SchoolSettings::default()
    }
}

#[test]
fn two_and_three_are_held_out_with_three_and_two_and_are_one_group() {
    let (model, text) = seedling();
    let settings = SchoolSettings::default();
    let made = SubjectExercises::new(&subject("sums"), &model, &text, &settings).unwrap();
    const NUMBERS: &str = "one two three four five six seven eight nine";
    let pair = |exercise: &Exercise| {
        let words = exercise.prompt.split(|c: char| !c.is_alphabetic());
        let of: Vec<&str> = words.filter(|it| NUMBERS.split(' ').any(|n| n == *it)).collect();
        BTreeSet::from([of[0].to_owned(), of[1].to_owned()])
    };
    let sums = |part: &[Exercise]| -> Vec<(BTreeSet<String>, u64)> {
        let sums = part.iter().filter(|it| it.kind == "sums");
        sums.map(|it| (pair(it), it.group)).collect()
    };
    let learnt: BTreeSet<_> = sums(&made.pool).into_iter().map(|(pair, _)| pair).collect();
    let mut groups = std::collections::BTreeMap::new();
    let mut orders = BTreeSet::new();
    for (pair, group) in sums(&made.gate).into_iter().chain(sums(&made.report)) {
        assert!(!learnt.contains(&pair), "{pair:?} is learnt");
        assert_eq!(*groups.entry(pair.clone()).or_insert(group), group, "{pair:?}");
        orders.insert(pair);
    }
    assert!(orders.len() >= 4, "{orders:?}");
}

fn held(subject: &Subject, settings: &SchoolSettings, steps: usize) -> Result<Taught, SchoolError> {
    let (model, text) = seedling();
    run(SchoolTask {
        model: &model,
        text: &text,
        subject,
        name: "small",
        settings,
        plain: None,
        folder: None,
        replaces: false,
        progress: &Quiet::new(steps),
    })
}

#[test]
fn subjects_of_the_program_hold_out_what_is_never_in_the_pool() {
    let (model, text) = seedling();
    for (name, subject) in assets().all::<Subject>("subject").unwrap() {
        let settings = SchoolSettings::default();
        let made = SubjectExercises::new(&subject, &model, &text, &settings).unwrap();
        let other = SchoolSettings { seed: 7, ..settings };
        let other = SubjectExercises::new(&subject, &model, &text, &other).unwrap();
        let prompts = |of: &[Exercise]| -> BTreeSet<String> {
            of.iter().map(|exercise| exercise.prompt.clone()).collect()
        };
        // No seed has in its pool what another holds out.
        for (pool, held) in [(&made, &made), (&made, &other), (&other, &made)] {
            let pool = prompts(&pool.pool);
            assert!(pool.is_disjoint(&prompts(&held.gate)), "{name}");
            assert!(pool.is_disjoint(&prompts(&held.report)), "{name}");
        }
        assert!(prompts(&made.gate).is_disjoint(&prompts(&other.report)), "{name}");
        // A true answer is right by its own checker.
        let all = made.pool.iter().chain(&made.gate).chain(&made.report);
        for exercise in all {
            assert!(exercise.check.is_right(&exercise.answer, &exercise.answer), "{exercise:?}");
        }
        assert_eq!(made.kinds(), subject.kinds().into_keys().collect(), "{name}");
    }
}

#[test]
fn letters_are_sorted_and_counted() {
    let (model, text) = seedling();
    let made =
        SubjectExercises::new(&subject("letters"), &model, &text, &SchoolSettings::default());
    for exercise in made.unwrap().pool {
        let last = exercise.prompt.lines().rev().nth(1).unwrap_or_default();
        match exercise.kind.as_str() {
            "sort" => {
                let mut words: Vec<&str> = last.split(' ').skip(1).collect();
                words.sort_unstable();
                assert_eq!(exercise.answer.trim(), words.join(" "));
            }
            "count" => {
                let asked = exercise.prompt.lines().last().unwrap();
                let words: Vec<&str> = asked.trim_end_matches('?').split(' ').collect();
                let count = words[4].matches(words[2]).count();
                assert_eq!(exercise.answer.trim(), count.to_string(), "{asked}");
            }
            _ => (),
        }
    }
}

#[test]
fn what_cannot_be_taught_is_refused_in_words() {
    let said = |error: SchoolError| error.to_string();
    let mut few = subject("sums");
    few.templates[0].rules.push(Rule::Less("n".into(), "n".into()));
    assert!(said(held(&few, &small(), usize::MAX).unwrap_err()).contains("rules never held"));
    // A prompt that does not show what is held out.
    let mut shown = subject("sums");
    for template in &mut shown.templates {
        template.prompts = vec!["How many? A:".into()];
    }
    let error = said(held(&shown, &small(), usize::MAX).unwrap_err());
    assert!(error.contains("exercises") && error.contains("are needed"), "{error}");
    let mut impossible = subject("names");
    for template in &mut impossible.templates {
        template.answer = " zyx zyx zyx qqq.".into();
    }
    let error = said(held(&impossible, &small(), usize::MAX).unwrap_err());
    assert!(error.contains("none of 48 answers is right"), "{error}");
    for (settings, word) in [
        (SchoolSettings { replay: 1.0, ..small() }, "replay"),
        (SchoolSettings { rate: f32::NAN, ..small() }, "rate"),
        (SchoolSettings { temperature: 0.0, ..small() }, "temperature"),
        (SchoolSettings { steps: 0, ..small() }, "at least 1"),
    ] {
        let error = said(held(&subject("sums"), &settings, usize::MAX).unwrap_err());
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn it_stops_where_it_is_asked_to() {
    for steps in [0, 3, 20] {
        let error = held(&subject("who"), &small(), steps).unwrap_err();
        assert!(matches!(error, SchoolError::Stopped), "{steps}: {error}");
    }
}

#[test]
fn a_round_has_a_child_and_both_controls_and_is_the_same_twice() {
    let taught = held(&subject("who"), &small(), usize::MAX).unwrap();
    let again = held(&subject("who"), &small(), usize::MAX).unwrap();
    let json = |taught: &Taught| serde_json::to_string(&taught.report).unwrap();
    assert_eq!(json(&taught), json(&again));
    assert_eq!(taught.child.is_some(), taught.report.kept_round.is_some());
    let round = &taught.report.rounds[0];
    assert_eq!(round.samples, 48);
    assert!(round.right > 0 && round.newly_verified <= 24);
    let learnt: Vec<LearntFrom> = round.candidates.iter().map(|it| it.learnt).collect();
    assert_eq!(learnt, [LearntFrom::Verified, LearntFrom::Unchecked, LearntFrom::TrueAnswers]);
    for candidate in &round.candidates {
        assert_eq!(candidate.lines, round.newly_verified, "as many of each");
        let names: Vec<String> =
            candidate.figures.iter().map(|figure| figure.name.to_string()).collect();
        let expected = [
            "exact_match",
            "exact_match.what",
            "exact_match.who",
            "loss",
            "distinct",
            "first_token_entropy",
        ];
        assert_eq!(names, expected);
        assert!(candidate.figures.iter().all(|figure| figure.difference.is_finite()));
        let holds = candidate.verdict.iter().all(|line| line.holds);
        assert_eq!(candidate.passed, holds);
    }
    let digests: BTreeSet<&str> =
        taught.report.texts.iter().map(|text| text.digest.as_str()).collect();
    assert_eq!(digests.len(), 6, "no text is another");
}

#[test]
fn plain_texts_begin_at_documents_and_do_not_share_one() {
    let (_, text) = seedling();
    let folder = tempfile::tempdir().unwrap();
    let lines = |from: usize, to: usize| -> String {
        (from..to)
            .map(|n| format!("{{\"text\": \"Once upon a time there were {n} birds.\"}}\n"))
            .collect()
    };
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let learnt = write("learnt.jsonl", lines(0, 40));
    let check = write("check.jsonl", lines(40, 100));
    let texts = PlainTexts::read(&learnt, &check, &text, 512).unwrap();
    assert_eq!((texts.replay.len(), texts.gate.len() + texts.report.len()), (40, 60));
    let first = texts.gate[0][0];
    assert!(texts.replay.iter().chain(&texts.report).all(|piece| piece[0] == first));
    let shared = write("shared.jsonl", lines(39, 100));
    let error = PlainTexts::read(&learnt, &shared, &text, 512).unwrap_err().to_string();
    assert!(error.contains("39 birds"), "{error}");
    let few = write("few.jsonl", lines(40, 44));
    let error = PlainTexts::read(&learnt, &few, &text, 512).unwrap_err().to_string();
    assert!(error.contains("8 are needed"), "{error}");
}
