//! The coach: the queue under random histories, its file under `kill -9`, bad plans and reviewers,
//! and the program.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use jiff::Zoned;
use pixel_llm::coach::work::process::{self, ProcessError};
use pixel_llm::coach::work::{ModelContext, PauseToken, WorkError};
use pixel_llm::coach::{
    AgentKind, BenchSubject, Check, FineTune, Phase, Queue, QueueStore, ReviewVerdict, Status,
    Task, TaskAction, TaskId, TaskReport, Worker, plan,
};
use proptest::prelude::*;
use serde_json::Value;

fn id(number: usize) -> TaskId {
    format!("t{number}").parse().unwrap()
}

/// Tasks that depend on earlier ones by chance, in two phases.
fn queue(shape: &[(u8, u8, u8)], now: &Zoned) -> Queue {
    let task = |(number, &(priority, before, kind)): (usize, &(u8, u8, u8))| {
        let mut task = Task::new(id(number), "x", TaskAction::VerifyTiles, now);
        task.priority = priority;
        task.phase = 1 + u32::from(number * 2 >= shape.len());
        if number > 0 && before % 3 > 0 {
            task.dependencies = vec![id(usize::from(before) % number)];
        }
        match kind % 3 {
            1 => task.reviewer = Some(AgentKind::LocalLlm),
            2 => task.acceptance = Some(Check::Equals { metric: "bad".into(), value: 0.0 }),
            _ => {}
        }
        task
    };
    let phase = |number| Phase { number, name: "p".into(), description: String::new() };
    Queue::new(
        "test",
        vec![phase(1), phase(2)],
        Vec::new(),
        shape.iter().enumerate().map(task).collect(),
    )
    .unwrap()
}

proptest! {
    #[test]
    fn whatever_is_tried_the_rules_hold(
        shape in prop::collection::vec((1_u8..=10, any::<u8>(), any::<u8>()), 1..12),
        steps in prop::collection::vec((0_u8..10, any::<u8>(), 0_u8..=10), 0..80),
    ) {
        let now = Zoned::now();
        let mut queue = queue(&shape, &now);
        for (what, which, score) in steps {
            let before = queue.clone();
            let chosen = id(usize::from(which) % shape.len());
            let worker = Worker::new("w", AgentKind::Auto);
            let report = TaskReport::new("r").with("bad", f64::from(score % 2));
            // Refusals are part of the history; what they leave behind is looked at below.
            let refused = match what {
                0..=2 => match queue.next_for(AgentKind::Auto).map(|task| task.id.clone()) {
                    Some(next) => queue.start(&next, worker, &now).is_err(),
                    None => false,
                },
                3 => queue.start(&chosen, worker, &now).is_err(),
                4 => queue.finish(&chosen, report, &now).is_err(),
                5 => queue.fail(&chosen, "why", &now).is_err(),
                6 => queue.retry(&chosen, &now).is_err(),
                7 => queue.accept(&chosen, "p", "w", &now).is_err(),
                8 => queue.release(&chosen, "why", &now).is_err(),
                _ => {
                    let (score, reviewer) = (score.into(), "r".into());
                    let verdict = ReviewVerdict { score, feedback: String::new(), reviewer };
                    queue.judge(&chosen, verdict, &now).is_err()
                }
            };
            for (old, new) in before.tasks().iter().zip(queue.tasks()) {
                // One step may be two changes: a person's word begins and completes, and what is
                // tried again may still be in the way of something.
                let change = (what, old.status, new.status);
                let by_person = change == (7, Status::Pending, Status::Completed);
                let retried = change == (6, Status::Failed, Status::Blocked);
                prop_assert!(
                    old.status == new.status
                        || old.status.may_become(new.status)
                        || by_person
                        || retried,
                    "{} became {}", old.status, new.status
                );
                let dependencies = || new.dependencies.iter().map(|id| queue.task(id).unwrap());
                if matches!(new.status, Status::InProgress | Status::Review | Status::Completed) {
                    prop_assert!(dependencies().all(|before| before.status == Status::Completed));
                }
                if new.status == Status::Completed && new.acceptance.is_some() {
                    let bad = new.report.as_ref().unwrap().metrics["bad"];
                    prop_assert_eq!(bad, 0.0, "no word outranks a check");
                }
                if dependencies().any(|d| matches!(d.status, Status::Failed | Status::Blocked)) {
                    // What failed by itself before stays failed.
                    let blocked = new.status == Status::Blocked && new.block.is_some();
                    prop_assert!(blocked || new.status == Status::Failed);
                } else {
                    prop_assert!(new.status != Status::Blocked);
                }
            }
            let mut statuses = before.tasks().iter().zip(queue.tasks());
            let is_same = statuses.all(|(a, b)| a.status == b.status || what == 7);
            prop_assert!(!refused || is_same);
            let ready: Vec<u8> = queue.ready().iter().map(|task| task.priority).collect();
            prop_assert!(ready.is_sorted_by(|a, b| a >= b));
            let text = serde_json::to_string(&queue).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Queue>(&text).unwrap(), &queue);
        }
    }
}

fn pixel_llm(queue: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    command.arg("coach").args(arguments).arg("--queue").arg(queue);
    command
}

#[test]
fn killed_at_any_moment_nothing_acknowledged_is_lost_and_nothing_is_stuck() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("coach.json");
    pixel_llm(&path, &["init"]).assert().success();
    let program = assert_cmd::cargo::cargo_bin("pixel-llm");
    let store = QueueStore::new(&path);
    let mut acknowledged = std::collections::BTreeSet::new();
    for round in 0..50_u64 {
        // Tasks enough that every child is killed at work.
        let work: TaskId = format!("work-{round}").parse().unwrap();
        let ablate = TaskAction::Ablate { layer: 0, head: (round % 4) as u32 };
        let task = Task::new(work, format!("work {round}"), ablate, &Zoned::now());
        store.change(|queue| queue.add(task, &Zoned::now())).unwrap();
        let said = folder.path().join("said");
        let mut child = Process::new(&program)
            .args(["coach", "run", "--queue"])
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis((round * 7919) % 400));
        // What another process was told is done stays done.
        let name: TaskId = format!("round-{round}").parse().unwrap();
        let title = format!("question {round}");
        let task = Task::new(
            name.clone(),
            &title,
            TaskAction::AskPerson { question: "?".into() },
            &Zoned::now(),
        );
        store.change(|queue| queue.add(task, &Zoned::now())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let queue = store.read().unwrap();
        assert!(
            queue.tasks().iter().all(|task| task.status != Status::InProgress),
            "round {round}"
        );
        // What the killed process said is completed, is.
        let said = std::fs::read_to_string(&said).unwrap();
        for task in queue.tasks() {
            if said
                .lines()
                .any(|line| line.contains('\u{2713}') && line.contains(&format!("{} ", task.title)))
            {
                acknowledged.insert(task.id.clone());
            }
        }
        for id in &acknowledged {
            assert_eq!(queue.task(id).unwrap().status, Status::Completed, "round {round}: {id}");
        }
        (0..=round)
            .for_each(|n| assert!(queue.task(&format!("round-{n}").parse().unwrap()).is_ok()));
    }
    assert!(
        acknowledged.len() > 3,
        "the processes were killed before they did anything: {acknowledged:?}"
    );
}

/// A plan of one task in one phase, with what else a plan has.
fn plan_of(task: &str, commands: &str) -> String {
    format!(
        "Plan(name: \"p\", phases: [Phase(name: \"a\", tasks: [{task}])], commands: [{commands}])"
    )
}

#[cfg(unix)]
#[test]
fn a_command_runs_only_once_the_user_has_allowed_exactly_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let [queue, plan, marker, other] =
        ["coach.json", "c.plan.ron", "marker", "other"].map(|name| folder.path().join(name));
    let write = |file: &std::path::Path| {
        let task = "Task(id: \"t\", title: \"x\", action: command(name: \"mark\"), priority: 5)";
        let command =
            format!("Command(name: \"mark\", line: [\"touch\", {:?}])", file.display().to_string());
        std::fs::write(&plan, plan_of(task, &command)).unwrap();
    };
    let settings = folder.path().join("settings");
    let coach = |arguments: &[&str]| {
        let mut command = pixel_llm(&queue, arguments);
        let found = command.env("PIXEL_LLM_CONFIG", &settings).assert().success();
        String::from_utf8_lossy(&found.get_output().stdout).into_owned()
    };
    let path = plan.to_str().unwrap();
    write(&marker);
    coach(&["init", "--plan", path]);
    let said = coach(&["run"]);
    assert!(said.contains("waits for leave to run") && !marker.exists(), "{said}");
    // A queue that brings its own leave is none.
    let text = std::fs::read_to_string(&queue).unwrap();
    assert!(!text.contains("allowed"), "{text}");
    std::fs::write(
        &queue,
        text.replace("\"name\": \"mark\"", "\"name\": \"mark\", \"allowed\": true"),
    )
    .unwrap();
    pixel_llm(&queue, &["run"]).env("PIXEL_LLM_CONFIG", &settings).assert().code(2);
    assert!(!marker.exists());
    std::fs::write(&queue, text).unwrap();

    assert!(coach(&["allow"]).contains("not allowed"));
    assert!(coach(&["allow", "mark"]).contains("mark  allowed"));
    coach(&["run"]);
    assert!(marker.exists());
    // Leave is remembered for another queue, and is not for another line.
    std::fs::remove_file(&marker).unwrap();
    coach(&["init", "--plan", path, "--force"]);
    coach(&["run"]);
    assert!(marker.exists());
    write(&other);
    coach(&["init", "--plan", path, "--force"]);
    assert!(coach(&["run"]).contains("waits for leave to run"));
    assert!(!other.exists());
    // And it can be taken back.
    write(&marker);
    std::fs::remove_file(&marker).unwrap();
    coach(&["init", "--plan", path, "--force"]);
    assert!(coach(&["allow", "mark", "--no"]).contains("not allowed"));
    coach(&["run"]);
    assert!(!marker.exists());
}

/// Runs a task that is written by the model and judged by a reviewer of this line; the task as it
/// is then.
#[cfg(unix)]
fn reviewed_by(line: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let assets = folder.path().join("assets");
    for name in ["agents", "coach"] {
        std::fs::create_dir_all(assets.join(name)).unwrap();
    }
    let reviewer =
        format!("Reviewer(name: \"judge\", line: {line}, seconds: 1, max_reply_bytes: 1000)");
    std::fs::write(assets.join("agents/gemini.reviewer.ron"), reviewer).unwrap();
    let task = "Task(id: \"t\", title: \"x\", action: generate(prompt: \"Once\", max_tokens: 4), \
                priority: 5, reviewer: gemini)";
    std::fs::write(assets.join("coach/default.plan.ron"), plan_of(task, "")).unwrap();
    let queue = folder.path().join("coach.json");
    let mut command = pixel_llm(&queue, &["run", "--json"]);
    let start = Instant::now();
    let found =
        command.arg("--assets").arg(&assets).timeout(Duration::from_secs(60)).assert().success();
    assert!(start.elapsed() < Duration::from_secs(50), "{line} is not cut off");
    let queue: Value = serde_json::from_slice(&found.get_output().stdout).unwrap();
    queue["tasks"][0].clone()
}

#[cfg(unix)]
#[test]
fn a_reviewer_that_hangs_floods_or_talks_nonsense_is_recorded_and_the_task_goes_back() {
    for (line, word) in [
        ("[\"sleep\", \"60\"]", "cut off after 1 s"),
        ("[\"yes\"]", "cut off after 1000 bytes"),
        ("[\"echo\", \"quite nice\"]", "no line \"score: N\""),
        ("[\"false\"]", "ended with"),
    ] {
        let task = reviewed_by(line);
        let history = task["history"].as_array().unwrap();
        let noted: Vec<&Value> =
            history.iter().filter(|event| event["what"].as_str().unwrap().contains(word)).collect();
        assert_eq!(noted.len(), 3, "{line}: {history:#?}");
        let back = noted.iter().filter(|event| event["status"] == "pending").count();
        assert_eq!(back, 2, "{line}: it is done again until the last round");
        assert_eq!(
            (&task["status"], &task["needs_person"]),
            (&"review".into(), &true.into()),
            "{line}"
        );
        assert!(task["waiting"].as_str().unwrap().contains("a person"), "{line}: {task:#}");
    }
}

#[cfg(unix)]
#[test]
fn a_review_of_eight_completes_and_one_below_is_never_completed() {
    let good = reviewed_by("[\"echo\", \"score: 8\"]");
    assert_eq!((&good["status"], &good["verdict"]["score"]), (&"completed".into(), &8.0.into()));
    let bad = reviewed_by("[\"echo\", \"score: 7.9\"]");
    assert_eq!(
        (&bad["status"], &bad["needs_person"], &bad["rounds"]),
        (&"review".into(), &true.into(), &3.into())
    );
    // A reviewer that is not there makes nothing worse: it is waited for, and that is said.
    let missing = reviewed_by("[\"no-such-reviewer\"]");
    assert_eq!((&missing["status"], &missing["rounds"]), (&"review".into(), &0.into()));
    assert!(missing["waiting"].as_str().unwrap().contains("not installed"), "{missing:#}");
}

#[test]
fn what_this_program_lacks_is_blocked_from_the_start() {
    let now = Zoned::now();
    let queue = plan::load("default", &pixel_llm::app::kinds::assets(), &now).unwrap();
    assert!(queue.tasks().iter().all(|task| task.status == Status::Pending), "nothing is lacking");
    let lacking = "Plan(name: \"p\", phases: [Phase(name: \"a\", tasks: [
  Task(id: \"one\", title: \"x\", action: needs(feature: \"moon\"), priority: 5),
])])";
    let queue = plan::parse("p.ron", lacking, &now).unwrap();
    let task = &queue.tasks()[0];
    assert_eq!(task.status, Status::Blocked);
    assert!(task.block.as_ref().unwrap().why.contains("no moon yet"), "{task:?}");
}

/// Of the queue's file, a task.
fn task_of(queue: &Value, id: &str) -> Value {
    let tasks = queue["tasks"].as_array().unwrap();
    tasks.iter().find(|task| task["id"] == id).unwrap().clone()
}

#[test]
fn agents_teach_the_model_and_what_it_learnt_is_used_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("coach.json");
    pixel_llm(&path, &["init"]).assert().success();
    let found = pixel_llm(&path, &["run", "--phase", "4", "--json"]).assert().success();
    let queue: Value = serde_json::from_slice(&found.get_output().stdout).unwrap();
    let of_phase: Vec<&Value> =
        queue["tasks"].as_array().unwrap().iter().filter(|task| task["phase"] == 4).collect();
    assert_eq!(of_phase.len(), 5);
    for task in of_phase {
        assert_eq!(task["status"], "completed", "{task:#}");
    }
    let metrics = |id: &str| task_of(&queue, id)["report"]["metrics"].clone();
    for (id, lines) in [("fine-tuning", 400.0), ("own-land", 600.0)] {
        let found = metrics(id);
        let number = |name: &str| found[name].as_f64().unwrap();
        assert!(number("exact_match") >= 0.8 && number("exact_match_before") < 0.2, "{found:#}");
        assert!(number("valid_loss") < 0.5 * number("valid_loss_before"), "{found:#}");
        assert_eq!((number("lines"), number("steps") <= 800.0), (lines, true), "{found:#}");
        let ratio = number("plain_loss") / number("plain_loss_before");
        assert!((number("retention_ratio") - ratio).abs() < 1e-9, "{found:#}");
    }
    // Read from its file, the adapter answers as it was reported to.
    let [told, found] = ["fine-tuning", "examination"].map(|id| metrics(id)["exact_match"].clone());
    assert_eq!(told, found);
    let summary = task_of(&queue, "fine-tuning")["report"]["summary"].as_str().unwrap().to_owned();
    let adapter = folder.path().join("record.adapter.gguf");
    assert!(summary.contains(&format!("--lora {}", adapter.display())), "{summary}");
    assert!(!folder.path().join("record.adapter.checkpoints").exists());
    // It belongs to this model, and others refuse it.
    let model = pixel_llm::app::kinds::assets().default_model().unwrap();
    let opened = pixel_llm::model::Adapter::open(&adapter, &model).unwrap();
    assert_eq!(opened.base, Some(model.header().root));
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    let lines = folder.path().join("record-valid.jsonl");
    command.arg("evaluate").arg(lines).arg("--json").arg("--lora").arg(&adapter);
    let found = command.assert().success();
    let found: Value = serde_json::from_slice(&found.get_output().stdout).unwrap();
    let share = found["right"].as_f64().unwrap() / found["asked"].as_f64().unwrap();
    assert_eq!(told, share);
}

#[test]
fn teaching_waits_while_it_is_held_and_goes_on_from_where_it_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let context = |token: &Arc<PauseToken>| {
        ModelContext::new(Arc::clone(&model), folder.path(), Arc::clone(token))
            .unwrap()
            .with_assets(pixel_llm::app::kinds::assets())
    };
    let how = FineTune {
        corpus: "record".into(),
        epochs: 100,
        steps: 40,
        batch_tokens: 120,
        rate: 1e-3,
        rank: 2,
        minutes: None,
        seed: 3,
        of_current: false,
    };
    let action = TaskAction::FineTune(how);
    let token = Arc::new(PauseToken::default());
    let first = context(&token);
    let error = first.perform(&action, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("generate_corpus(corpus: \"record\")"), "{error}");
    let corpus = TaskAction::GenerateCorpus {
        corpus: "record".into(),
        lines: 20,
        valid_lines: Some(2),
        seed: 1,
    };
    let made = first.perform(&corpus, &mut |_| ()).unwrap();
    assert_eq!((made.metrics["lines"], made.metrics["valid_lines"]), (20.0, 2.0));
    let step = std::sync::atomic::AtomicU64::new(0);
    let at = || step.load(std::sync::atomic::Ordering::Relaxed);
    let hear = |what: String| {
        if let Some(rest) = what.strip_prefix("step ") {
            let number = rest.split(' ').next().unwrap().parse().unwrap();
            step.store(number, std::sync::atomic::Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let work = scope.spawn(|| first.perform(&action, &mut { hear }));
        while at() < 6 {
            std::thread::sleep(Duration::from_millis(1));
        }
        token.hold(true);
        // The layer that was under way ends.
        std::thread::sleep(Duration::from_millis(500));
        let held = at();
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(at(), held, "it went on while it was held");
        token.cancel();
        assert!(matches!(work.join().unwrap(), Err(WorkError::Cancelled)));
    });
    let stopped = at();
    assert!(stopped < 40 && !folder.path().join("record.adapter.gguf").exists());
    let first_heard = std::sync::Mutex::new(None);
    let hear = |what: String| {
        if let Some(rest) = what.strip_prefix("step ") {
            let number: u64 = rest.split(' ').next().unwrap().parse().unwrap();
            first_heard.lock().unwrap().get_or_insert(number);
        }
    };
    let resumed =
        context(&Arc::new(PauseToken::default())).perform(&action, &mut { hear }).unwrap();
    assert_eq!(first_heard.lock().unwrap().unwrap(), stopped + 1, "no step is made twice");
    // One that was never stopped is the same, to the last bit.
    let whole = context(&Arc::new(PauseToken::default())).perform(&action, &mut |_| ()).unwrap();
    assert_eq!(resumed.metrics, whole.metrics);
    assert_eq!(whole.metrics["steps"], 40.0);
}

#[test]
fn a_damaged_file_is_told_of_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("coach.json");
    pixel_llm(&path, &["init"]).assert().success();
    let text = std::fs::read_to_string(&path).unwrap();
    let damaged = &text[..text.len() / 2];
    std::fs::write(&path, damaged).unwrap();
    for arguments in [&["status"][..], &["run"], &["init", "--force"]] {
        let found = pixel_llm(&path, arguments).assert().code(2);
        let error = String::from_utf8_lossy(&found.get_output().stderr).into_owned();
        assert!(error.contains("coach.json:") && error.contains("damaged"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
    }
}

#[test]
fn bad_plans_are_refused_with_place_and_hint() {
    let good = "Plan(name: \"p\", phases: [Phase(name: \"a\", tasks: [
  Task(id: \"one\", title: \"x\", action: verify_tiles, priority: 5),
  Task(id: \"two\", title: \"x\", action: verify_tiles, priority: 5, dependencies: [\"one\"]),
])])";
    let now = Zoned::now();
    assert_eq!(plan::parse("p.ron", good, &now).unwrap().tasks().len(), 2);
    for (from, to, line, hint) in [
        ("action: verify_tiles", "action: verify_tile", "p.ron:2:", "verify_tiles"),
        ("title", "titel", "p.ron:2:", "title"),
        ("[\"one\"]", "[\"ones\"]", "p.ron:3:", "\"one\""),
        ("priority: 5)", "priority: 5, dependencies: [\"two\"])", "p.ron:", "wait for each other"),
        ("priority: 5)", "priority: 11)", "p.ron:2:", "from 1 to 10"),
    ] {
        let error =
            plan::parse("p.ron", &good.replacen(from, to, 1), &now).unwrap_err().to_string();
        assert!(error.starts_with(line) && error.contains(hint), "{to}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn programs_that_hang_or_flood_are_cut_off() {
    let cancel = AtomicBool::new(false);
    let run = |line: &[&str]| {
        let line: Vec<String> = line.iter().map(|&word| word.into()).collect();
        process::run(&line, "in", 1, 100, &cancel)
    };
    let start = Instant::now();
    assert!(matches!(run(&["sleep", "60"]), Err(ProcessError::TimedOut(1))));
    assert!(matches!(run(&["yes"]), Err(ProcessError::Flooded(100))));
    assert!(matches!(run(&["no-such-program"]), Err(ProcessError::Missing(_))));
    assert!(matches!(run(&["false"]), Err(ProcessError::Failed(_))));
    assert_eq!(run(&["cat"]).unwrap(), "in");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn the_demonstration_finishes_three_phases() {
    let start = Instant::now();
    let mut command = Command::cargo_bin("pixel-llm").unwrap();
    let found = command.args(["coach", "demo", "--json"]).assert().success();
    let queue: Value = serde_json::from_slice(&found.get_output().stdout).unwrap();
    for task in
        queue["tasks"].as_array().unwrap().iter().filter(|task| task["phase"].as_u64() <= Some(3))
    {
        assert_eq!(task["status"], "completed", "{task:#}");
    }
    assert!(start.elapsed() < Duration::from_secs(120));
}

#[test]
fn every_action_on_the_model_measures_something_and_leaves_the_files_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let pause_token = Arc::new(PauseToken::default());
    let model = pixel_llm::app::kinds::assets().default_model().unwrap();
    let context = ModelContext::new(model, folder.path(), Arc::clone(&pause_token))
        .unwrap()
        .with_threads(1)
        .unwrap();
    let prompts = || vec!["Once upon a time".to_owned(), "The map".to_owned()];
    let table = [
        (TaskAction::VerifyTiles, "tiles"),
        (TaskAction::SurveyStatistics, "mean_spread"),
        (TaskAction::WarmUp { layer: Some(1) }, "bytes"),
        (TaskAction::Probe { prompts: prompts(), layer: Some(2) }, "columns"),
        (TaskAction::Ablate { layer: 0, head: 1 }, "loss_without"),
        (TaskAction::Generate { prompt: "Once upon".into(), max_tokens: 5 }, "tokens"),
        (TaskAction::WriteTrainingData { prompts: prompts() }, "lines"),
        (TaskAction::TuneResidency, "speed_ratio"),
        (TaskAction::Bench { subject: BenchSubject::Answers }, "tokens_per_second"),
        (TaskAction::Bench { subject: BenchSubject::Kernels }, "tokens_per_second"),
        (TaskAction::Bench { subject: BenchSubject::Index }, "places"),
    ];
    for (action, metric) in table {
        let report = context.perform(&action, &mut |_| ()).unwrap();
        assert!(report.metrics[metric] > 0.0 && !report.summary.is_empty(), "{action}: {report:?}");
        for file in &report.files {
            let size = std::fs::metadata(folder.path().join(file)).unwrap().len();
            assert!(size > 0, "{action}: {file} is empty");
        }
        if let TaskAction::Ablate { .. } = action {
            assert_eq!(
                report.metrics["loss"], report.metrics["loss_unmuted"],
                "the head speaks again"
            );
        }
    }
    for wrong in [TaskAction::Ablate { layer: 99, head: 0 }, TaskAction::WarmUp { layer: Some(99) }]
    {
        let error = context.perform(&wrong, &mut |_| ()).unwrap_err().to_string();
        assert!(error.contains("99") && error.contains("the model has"), "{error}");
    }
}

#[test]
fn work_waits_at_its_next_step_while_it_is_held_and_ends_there_when_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let pause_token = Arc::new(PauseToken::default());
    let context = ModelContext::new(
        pixel_llm::app::kinds::assets().default_model().unwrap(),
        folder.path(),
        Arc::clone(&pause_token),
    )
    .unwrap();
    let steps = std::sync::atomic::AtomicU32::new(0);
    let at = || steps.load(std::sync::atomic::Ordering::Relaxed);
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            context.perform(&TaskAction::SurveyHeads, &mut |_| {
                steps.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            })
        });
        while at() == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        pause_token.hold(true);
        // The step that was under way ends.
        std::thread::sleep(Duration::from_millis(500));
        let held = at();
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(at(), held, "it went on while it was held");
        assert!(!work.is_finished(), "it was over before it could be held");
        pause_token.hold(false);
        while at() == held {
            std::thread::sleep(Duration::from_millis(1));
        }
        pause_token.cancel();
        assert!(matches!(work.join().unwrap(), Err(WorkError::Cancelled)));
    });
}

#[test]
fn the_survey_is_what_muting_by_hand_gives() {
    let folder = tempfile::tempdir().unwrap();
    let pause_token = Arc::new(PauseToken::default());
    let context = ModelContext::new(
        pixel_llm::app::kinds::assets().default_model().unwrap(),
        folder.path(),
        pause_token,
    )
    .unwrap();
    context.perform(&TaskAction::SurveyHeads, &mut |_| ()).unwrap();
    let text = std::fs::read_to_string(folder.path().join("head-importance.json")).unwrap();
    let survey: Value = serde_json::from_str(&text).unwrap();
    let requests = folder.path().join("requests.jsonl");
    let request = serde_json::json!({
        "id": "survey", "prompt": survey["tokens"], "max_tokens": 1, "prompt_logprobs": 0
    });
    std::fs::write(&requests, request.to_string()).unwrap();
    let config = context.model().config();
    let heads = survey["heads"].as_array().unwrap();
    assert_eq!(heads.len() as u32, config.layer_count * config.head_count);
    for head in heads {
        let mute = format!("{}.{}", head["layer"], head["head"]);
        let output = folder.path().join(format!("{mute}.jsonl"));
        let mut command = Command::cargo_bin("pixel-llm").unwrap();
        command.args(["--no-window", "--device", "cpu", "--quiet"]);
        command
            .args(["--mute", &mute, "--input"])
            .arg(&requests)
            .arg("--output")
            .arg(&output)
            .assert()
            .success();
        let line: Value = serde_json::from_str(&std::fs::read_to_string(&output).unwrap()).unwrap();
        let losses = logprobs(&line);
        let by_hand = -losses.iter().sum::<f64>() / losses.len() as f64;
        let surveyed = head["loss"].as_f64().unwrap();
        assert!(
            (by_hand - surveyed).abs() < 1e-3,
            "head {mute}: {by_hand} by hand, {surveyed} in the survey"
        );
    }
}

/// The log-probabilities of the prompt's tokens, wherever the result keeps them.
fn logprobs(value: &Value) -> Vec<f64> {
    fn find(value: &Value) -> Option<&Value> {
        match value {
            Value::Object(fields) => {
                fields.get("prompt_logprobs").or_else(|| fields.values().find_map(find))
            }
            Value::Array(values) => values.iter().find_map(find),
            _ => None,
        }
    }
    let tokens = find(value).and_then(Value::as_array).unwrap();
    tokens.iter().filter_map(|token| token["logprob"].as_f64()).collect()
}
