//! What agents choose: situations, and the choices that are expected; and that a curve in RON
//! decides them.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking as tests do")]

use std::collections::VecDeque;

use pixel_llm::agents::{
    AgentProfile, Board, CompletedJob, DecisionContext, Job, JobId, Position, levels, load_profiles,
};
use pixel_llm::coach;

const SURVEYOR: &str = include_str!("../../assets/agents/surveyor.agent.ron");

fn surveyor() -> AgentProfile {
    AgentProfile::parse("surveyor", SURVEYOR).unwrap()
}

fn job(action: &str, priority: u8, x: f64) -> Job {
    let task = format!("{action}-at-{x}").parse().unwrap();
    Job { priority, ..Job::new(task, action, Position::new(x, 0.0), 10.0) }
}

/// What an agent at the origin takes of the jobs, in tick 100.
fn choice(
    profile: &AgentProfile,
    energy: f32,
    memory: &[&str],
    jobs: Vec<(u64, Job)>,
) -> Option<JobId> {
    let mut board = Board::default();
    for (since, job) in jobs {
        board.push(job, since).unwrap();
    }
    let done = |action: &&str| {
        let (task, action) = (action.parse().unwrap(), (*action).into());
        CompletedJob { task, action, tick: 0 }
    };
    let memory: VecDeque<CompletedJob> = memory.iter().map(done).collect();
    let levels = levels(profile, &board);
    let context = DecisionContext {
        profile,
        levels: &levels,
        memory: &memory,
        place: Position::default(),
        energy,
    };
    context.consider(&board, 100, &mut Vec::new()).first().map(|best| best.job)
}

#[test]
fn situations_and_expected_choices() {
    let later = |job| Job { phase: 2, ..job };
    let table: [(&str, Vec<(u64, Job)>, Option<u32>); 9] = [
        ("nothing to do", vec![], None),
        (
            "the more urgent",
            vec![(100, job("verify_tiles", 3, 10.0)), (100, job("verify_tiles", 9, 10.0))],
            Some(1),
        ),
        (
            "the nearer",
            vec![(100, job("verify_tiles", 5, 2000.0)), (100, job("verify_tiles", 5, 10.0))],
            Some(1),
        ),
        (
            "a bit more urgent is not worth a long way",
            vec![(100, job("verify_tiles", 6, 3900.0)), (100, job("verify_tiles", 5, 10.0))],
            Some(1),
        ),
        (
            "what it is good at",
            vec![(100, job("round_trip", 5, 10.0)), (100, job("verify_tiles", 5, 10.0))],
            Some(1),
        ),
        (
            "what has waited",
            vec![(100, job("verify_tiles", 5, 10.0)), (0, job("verify_tiles", 5, 10.0))],
            Some(1),
        ),
        (
            "the phase at hand",
            vec![(100, later(job("verify_tiles", 9, 10.0))), (100, job("verify_tiles", 4, 10.0))],
            Some(1),
        ),
        (
            "of equal ones the first",
            vec![(100, job("verify_tiles", 5, 10.0)), (100, job("verify_tiles", 5, 10.0))],
            Some(0),
        ),
        (
            "a person's task is not for it",
            vec![(100, Job { wanted: coach::AgentKind::Human, ..job("verify_tiles", 9, 0.0) })],
            None,
        ),
    ];
    for (what, mut jobs, expected) in table {
        // The age curve is flat at its ends; an old job is made older than the agent's patience.
        let mut profile = surveyor();
        profile.patience = 100;
        assert_eq!(choice(&profile, 1.0, &[], jobs.clone()), expected.map(JobId), "{what}");
        if jobs.len() == 2 && what != "of equal ones the first" {
            jobs.reverse();
            let mirrored = expected.map(|at| JobId(1 - at));
            assert_eq!(choice(&profile, 1.0, &[], jobs), mirrored, "{what}, in the other order");
        }
    }
}

#[test]
fn recent_work_draws_to_more_of_its_kind() {
    let jobs = || vec![(100, job("warm_up", 5, 10.0)), (100, job("survey_statistics", 5, 10.0))];
    assert_eq!(choice(&surveyor(), 1.0, &["warm_up"; 3], jobs()), Some(JobId(0)));
    assert_eq!(choice(&surveyor(), 1.0, &["survey_statistics"; 3], jobs()), Some(JobId(1)));
}

#[test]
fn a_changed_curve_in_ron_changes_the_choice() {
    // Far and urgent, or near and not.
    let jobs = || vec![(100, job("verify_tiles", 10, 2500.0)), (100, job("verify_tiles", 2, 10.0))];
    let urgent_first = surveyor();
    assert_eq!(choice(&urgent_first, 1.0, &[], jobs()), Some(JobId(0)));
    let curve = "distance: (weight: 2.0, curve: Power(exponent: 0.5, from: 1.0, to: 0.2))";
    let steeper =
        "distance: (weight: 2.0, curve: Piecewise([(0.0, 1.0), (0.1, 0.9), (0.2, 0.001)]))";
    assert!(SURVEYOR.contains(curve));
    let homebody = AgentProfile::parse("surveyor", &SURVEYOR.replace(curve, steeper)).unwrap();
    assert_eq!(choice(&homebody, 1.0, &[], jobs()), Some(JobId(1)));
    // And a weight does as well.
    let heavier = SURVEYOR.replace("priority: (weight: 2.0", "priority: (weight: 0.1");
    assert_eq!(
        choice(&AgentProfile::parse("surveyor", &heavier).unwrap(), 1.0, &[], jobs()),
        Some(JobId(1))
    );
}

#[test]
fn the_best_comes_with_its_reasons() {
    let profile = surveyor();
    let mut board = Board::default();
    board.push(job("verify_tiles", 10, 0.0), 0).unwrap();
    let (memory, levels) = (VecDeque::new(), levels(&profile, &board));
    let context = DecisionContext {
        profile: &profile,
        levels: &levels,
        memory: &memory,
        place: Position::default(),
        energy: 1.0,
    };
    let best = &context.consider(&board, 0, &mut Vec::new())[0];
    let [priority, distance, skill, age, phase, energy, focus] = best.worth.appeals;
    assert_eq!([priority, distance, skill, phase, energy], [1.0; 5]);
    assert!(age < 0.25 && (focus - 0.6).abs() < 1e-6, "{age} {focus}");
    assert_eq!(context.judge(&board, best.job, 0), *best);
}

#[test]
fn the_example_of_the_specification_is_a_kind_of_agents() {
    let text = include_str!("../../specs/agents.md");
    let (_, rest) = text.split_once("```ron\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let profile = AgentProfile::parse("specs/agents.md", example).unwrap();
    assert_eq!((profile.name.as_str(), profile.rgb()), ("librarian", Some([0x7f, 0xb2, 0xff])));
    // Every field of the schema is in it: what is written back has no other.
    let written = ron::ser::to_string_pretty(&profile, ron::ser::PrettyConfig::default()).unwrap();
    let fields = |text: &str| -> std::collections::BTreeSet<String> {
        let name = |line: &str| Some(line.trim().split_once(':')?.0.to_owned());
        text.lines().filter_map(name).filter(|name| name.chars().all(char::is_alphabetic)).collect()
    };
    let missing: Vec<_> = fields(&written)
        .into_iter()
        .filter(|name| !example.contains(&format!("{name}:")))
        .collect();
    assert!(missing.is_empty(), "the example lacks {missing:?}");
    for bad in ["colour: \"blue\"", "colour: \"#12345\""] {
        let error = AgentProfile::parse("x", &example.replace("colour: \"#7fb2ff\"", bad))
            .unwrap_err()
            .to_string();
        assert!(error.contains("expected #rrggbb"), "{error}");
    }
}

#[test]
fn a_folder_of_assets_replaces_kinds_and_adds_some() {
    let folder = tempfile::tempdir().unwrap();
    let agents = folder.path().join("agents");
    std::fs::create_dir(&agents).unwrap();
    let renamed = |name: &str| SURVEYOR.replace("name: \"surveyor\"", &format!("name: \"{name}\""));
    std::fs::write(agents.join("surveyor.agent.ron"), renamed("scout")).unwrap();
    std::fs::write(agents.join("mine.agent.ron"), renamed("miner")).unwrap();
    // A reviewer in the same folder is none of them.
    let reviewer = include_str!("../../assets/agents/gemini.reviewer.ron");
    std::fs::write(agents.join("gemini.reviewer.ron"), reviewer).unwrap();
    let assets = pixel_llm::app::kinds::assets().with_folder(Some(folder.path().into()));
    let names: Vec<_> =
        load_profiles(&assets).unwrap().into_iter().map(|profile| profile.name).collect();
    assert_eq!(names, ["archivist", "experimenter", "miner", "scout", "writer"]);

    // What was read stays; another start reads anew.
    let assets = || pixel_llm::app::kinds::assets().with_folder(Some(folder.path().into()));
    std::fs::write(agents.join("mine.agent.ron"), renamed("scout")).unwrap();
    let message = load_profiles(&assets()).unwrap_err().to_string();
    assert!(message.contains("\"scout\" is that of agent/"), "{message}");
    std::fs::write(agents.join("mine.agent.ron"), SURVEYOR.replace("weight", "wait")).unwrap();
    let message = load_profiles(&assets()).unwrap_err().to_string();
    assert!(message.contains("mine.agent.ron:") && message.contains("wait"), "{message}");
}
