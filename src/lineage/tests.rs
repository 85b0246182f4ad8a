//! The chain and what it holds, under any order of entries and any change by hand.

use jiff::Zoned;
use proptest::prelude::*;

use super::document::{Unreadable, digest};
use super::*;

/// A root hash that stands for a model.
fn root(number: usize) -> String {
    digest(format!("model {number}"))
}

fn entry(child: usize, base_of: Option<usize>, verdict: LineageVerdict) -> LineageEntry {
    let promoted = verdict == LineageVerdict::Promoted;
    LineageEntry {
        child: root(child),
        parents: base_of.map(|parent| base(root(parent))).into_iter().collect(),
        how: MakingOf::new("test").with("number", child as u64),
        texts: Vec::new(),
        by: MadeBy::agent("tester"),
        figures: vec![MeasuredFigure::paired(
            FigureName::plain(FigureKind::Loss),
            Against::Parent,
            "t",
            [&[0.1, 0.2], &[0.3, 1.0 / 3.0]],
        )],
        gate: None,
        verdict,
        place: FilePlace::File { file: format!("children/{child}.pxi"), bytes: 10 },
        time: Zoned::now(),
        replaces: base_of.filter(|_| promoted).map(root),
        chain: String::new(),
    }
}

fn founded() -> Lineage {
    let mut lineage = Lineage::new("a \"name\"\n");
    lineage.push(entry(0, None, LineageVerdict::Promoted)).unwrap();
    lineage
}

/// A file of entries that are chained whatever they say.
fn file_of(entries: Vec<LineageEntry>) -> String {
    let mut before = digest("");
    let texts: Vec<String> = entries
        .into_iter()
        .map(|mut entry| {
            entry.chain = before.clone();
            let text = serde_json::to_string(&entry).unwrap();
            before = digest(&text);
            text
        })
        .collect();
    format!(
        "{{\"format\": \"pixel-llm lineage 1\", \"name\": \"n\", \"entries\": [{}], \
         \"last\": \"{before}\"}}",
        texts.join(", ")
    )
}

fn problem(text: &str) -> LineageProblem {
    match Lineage::parse(text) {
        Err(Unreadable::Problem(problem)) => problem,
        Err(Unreadable::Document(error)) => panic!("{error:?}"),
        Ok(_) => panic!("it was taken"),
    }
}

const VERDICTS: [LineageVerdict; 6] = [
    LineageVerdict::Candidate,
    LineageVerdict::Passed,
    LineageVerdict::Promoted,
    LineageVerdict::Rejected,
    LineageVerdict::RolledBack,
    LineageVerdict::Gone,
];

/// Applies steps and keeps what was taken; the children in use are told beside it.
fn grown(steps: &[(usize, usize, usize)]) -> (Lineage, Vec<String>) {
    let mut lineage = founded();
    let mut in_use = vec![root(0)];
    for &(child, parent, verdict) in steps {
        let verdict = VERDICTS[verdict];
        let current = lineage.current().unwrap().to_owned();
        let known = lineage.verdict(&root(child));
        let mut next = entry(child, Some(parent.min(child.saturating_sub(1))), verdict);
        if verdict == LineageVerdict::Promoted {
            next.replaces = Some(current.clone());
        }
        if lineage.push(next).is_ok() {
            match verdict {
                LineageVerdict::Promoted => {
                    assert_eq!(known, Some(LineageVerdict::Passed), "only what passed");
                    in_use.push(root(child));
                }
                LineageVerdict::RolledBack => assert_eq!(in_use.pop(), Some(root(child))),
                _ => (),
            }
        }
    }
    (lineage, in_use)
}

proptest! {
    #[test]
    fn whatever_is_appended_the_file_comes_back_and_one_is_current(
        steps in prop::collection::vec((1_usize..6, 0_usize..5, 0_usize..6), 0..40),
    ) {
        let (lineage, in_use) = grown(&steps);
        prop_assert_eq!(lineage.promoted(), &in_use[..]);
        let Ok(read) = Lineage::parse(&lineage.text()) else { panic!("it was written") };
        prop_assert_eq!(read, lineage);
    }

    #[test]
    fn a_letter_changed_by_hand_is_told_wherever_it_is(
        steps in prop::collection::vec((1_usize..4, 0_usize..1, 0_usize..6), 0..12),
        at in any::<prop::sample::Index>(),
        letter in 32_u8..127,
    ) {
        let (lineage, _) = grown(&steps);
        let text = lineage.text();
        let entries = text.find("\"entries\"").unwrap();
        let at = entries + at.index(text.len() - entries);
        let mut changed = text.clone().into_bytes();
        prop_assume!(changed[at] != letter && !changed[at].is_ascii_whitespace());
        // White space between entries is no part of any.
        prop_assume!(!letter.is_ascii_whitespace());
        changed[at] = letter;
        let changed = String::from_utf8(changed).unwrap();
        prop_assert!(Lineage::parse(&changed).is_err(), "{changed}");
    }

    #[test]
    fn a_file_that_ends_too_early_is_damaged(cut in any::<prop::sample::Index>()) {
        let (lineage, _) = grown(&[(1, 0, 0), (1, 0, 1), (1, 0, 2)]);
        let text = lineage.text();
        let cut = cut.index(text.trim_end().len());
        let document =
            matches!(Lineage::parse(&text[..cut]), Err(Unreadable::Document(_)));
        prop_assert!(document);
    }
}

#[test]
fn what_contradicts_itself_is_told_in_words() {
    use LineageVerdict as V;
    let founder = || entry(0, None, V::Promoted);
    let words = |entries: Vec<LineageEntry>| problem(&file_of(entries)).to_string();
    assert!(Lineage::parse(&file_of(vec![founder()])).is_ok());
    let unknown = words(vec![founder(), entry(2, Some(1), V::Candidate)]);
    assert!(unknown.contains("entry 2:") && unknown.contains("which is not there"), "{unknown}");
    let cycle = words(vec![
        founder(),
        entry(1, Some(2), V::Candidate),
        entry(2, Some(3), V::Candidate),
        entry(3, Some(1), V::Candidate),
    ]);
    let short = |number| root(number)[..12].to_owned();
    let way = [1, 2, 3, 1].map(short).join(" comes from ");
    assert_eq!(cycle, format!("a cycle: {way}"));
    let of_itself = words(vec![founder(), entry(1, Some(1), V::Candidate)]);
    assert!(of_itself.starts_with("a cycle"), "{of_itself}");
    let passed = |child| [entry(child, Some(0), V::Candidate), entry(child, Some(0), V::Passed)];
    let mut two = vec![founder()];
    two.extend(passed(1));
    two.extend(passed(2));
    two.push(entry(1, Some(0), V::Promoted));
    two.push(entry(2, Some(0), V::Promoted));
    let two = words(two);
    assert!(two.starts_with("two are current: entry 7"), "{two}");
    let unjudged =
        words(vec![founder(), entry(1, Some(0), V::Candidate), entry(1, Some(0), V::Promoted)]);
    assert!(unjudged.contains("is not judged and cannot be promoted"), "{unjudged}");
    let not_current = words(vec![founder(), entry(0, None, V::RolledBack)]);
    assert!(not_current.contains("not the current one"), "{not_current}");
    let none = words(vec![entry(1, None, V::Candidate)]);
    assert_eq!(none, "its first entry is no founder");
    let other = file_of(vec![founder()]).replace("lineage 1", "lineage 2");
    assert!(problem(&other).to_string().contains("\"pixel-llm lineage 2\""));
}

#[test]
fn a_changed_entry_and_a_cut_end_break_the_chain() {
    let (lineage, _) = grown(&[(1, 0, 0), (1, 0, 1), (1, 0, 2)]);
    let text = lineage.text();
    let changed = text.replacen("\"bytes\":10", "\"bytes\":11", 1);
    assert_eq!(problem(&changed), LineageProblem::BrokenChain { entry: 1 });
    let lines: Vec<&str> = text.lines().collect();
    // Without its last entry.
    let cut = [&lines[..6], &[lines[6].trim_end_matches(',')], &lines[8..]].concat();
    let mut cut = cut.join("\n");
    assert!(Lineage::parse(&cut).is_err());
    cut = text.replacen("\"bytes\":10", "\"bytes\":11", 4);
    assert!(matches!(problem(&cut), LineageProblem::BrokenChain { .. }));
    let end = text.rfind("\"bytes\":10").unwrap();
    let mut last = text.clone();
    last.replace_range(end..end + 10, "\"bytes\":12");
    assert_eq!(problem(&last), LineageProblem::BrokenEnd { entry: 4 });
}

#[test]
fn candidates_beyond_what_is_allowed_are_refused_by_name() {
    let mut lineage = founded();
    let settings = LineageSettings::default();
    for child in 1..=3 {
        assert_eq!(settings.check(&lineage, 10, 1.0), Ok(()));
        lineage.push(entry(child, Some(0), LineageVerdict::Candidate)).unwrap();
    }
    let error = settings.check(&lineage, 10, 1.0).unwrap_err().to_string();
    assert!(error.starts_with("3 candidates are not judged, and at most 3 may wait"), "{error}");
    let many = LineageSettings { most_unjudged: 9, ..settings };
    let small = LineageSettings { most_bytes: 49, ..many };
    assert_eq!(small.check(&lineage, 9, 1.0), Ok(()), "of the founder and three children 10 each");
    let error = small.check(&lineage, 10, 1.0).unwrap_err().to_string();
    assert!(error.contains("lineage delete DIGEST") && error.contains("most_bytes"), "{error}");
    let error = many.check(&lineage, 9, 241.0 * 60.0).unwrap_err().to_string();
    assert!(error.contains("took 241.0 minutes") && error.contains("most_minutes"), "{error}");
}

#[test]
fn settings_are_read_and_what_they_are_not_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(SETTINGS_FILE);
    assert_eq!(LineageSettings::read(&path).unwrap(), LineageSettings::default());
    std::fs::write(&path, "(promote: on_gate)").unwrap();
    assert_eq!(LineageSettings::read(&path).unwrap().promote, PromoteWhen::OnGate);
    std::fs::write(&path, "(promot: on_gate)").unwrap();
    let error = LineageSettings::read(&path).unwrap_err().to_string();
    assert!(error.contains("lineage.ron") && error.contains("promot"), "{error}");
}

#[test]
fn texts_of_different_roles_share_nothing() {
    let windows = |from: u32| -> Vec<Vec<u32>> { vec![vec![from; 4], vec![from + 1; 4]] };
    let gate = text_use(TextRole::Gate, &windows(0));
    assert!(disjoint(&[gate.clone(), text_use(TextRole::Calibration, &windows(2))]).is_ok());
    assert!(disjoint(&[gate.clone(), text_use(TextRole::Gate, &windows(1))]).is_ok());
    let error = disjoint(&[gate, text_use(TextRole::Calibration, &windows(1))]).unwrap_err();
    let words = "the gate text and the calibration text share a part";
    assert!(error.to_string().starts_with(words), "{error}");
}

#[test]
fn a_thousand_entries_are_read_and_checked() {
    let mut lineage = founded();
    for child in 1..=1000 {
        lineage.push(entry(child, Some(child / 2), LineageVerdict::Candidate)).unwrap();
    }
    let text = lineage.text();
    let start = std::time::Instant::now();
    let Ok(read) = Lineage::parse(&text) else { panic!("it is sound") };
    let children = read.children();
    println!("1,000 entries, {} bytes: {:?}", text.len(), start.elapsed());
    assert_eq!(children.len(), 1001);
    assert_eq!(read.generations()[&root(1000)], 10);
}
