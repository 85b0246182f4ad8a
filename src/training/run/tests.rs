//! Runs of a small trainer that really learns.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::batch::ModelText;
use crate::training::bigram::Bigram;
use crate::training::checkpoint::CheckpointFolder;
use crate::training::data::{DataOptions, TargetChoice};
use crate::training::optimizer::{AdamW, Decay, Schedule};
use crate::training::{LoraSettings, Trained, TrainerState, TrainingSettings};

fn text() -> ModelText {
    ModelText::new(&crate::app::kinds::assets().default_model().unwrap()).unwrap()
}

fn data(text: &ModelText, lines: std::ops::Range<usize>) -> Dataset {
    let shades = ["red", "blue", "green", "white", "black"];
    let line = |at: usize| {
        let shade = shades[at % 5];
        format!("{{\"prompt\": \"{at} {shade} is\", \"completion\": \" {shade} ball.\"}}\n")
    };
    let lines: String = lines.map(line).collect();
    let options =
        DataOptions { targets: TargetChoice::Auto, end: true, context: 64, truncate: false };
    Dataset::parse("data.jsonl".into(), lines.as_bytes(), text, &options).unwrap()
}

fn settings(steps: u64) -> RunSettings {
    let schedule = Schedule { decay: Decay::Cosine, rate: 0.1, least: 0.01, warmup: 2, steps };
    let (what, optimizer) = (Trained::Lora(LoraSettings::default()), AdamW::default());
    RunSettings {
        training: TrainingSettings { what, optimizer, schedule, seed: 5 },
        batch_tokens: 60,
        epochs: None,
        data: String::new(),
        evaluate_every: 4,
    }
}

fn identity(settings: &RunSettings) -> RunIdentity {
    let digest = "0".repeat(64);
    RunIdentity {
        base: digest.clone(),
        data: digest.clone(),
        valid: Some(digest),
        start: None,
        settings: settings.clone(),
    }
}

/// Everything that one run is made of.
struct Bench {
    text: ModelText,
    data: Dataset,
    valid: Dataset,
    settings: RunSettings,
}

impl Bench {
    fn new(steps: u64) -> Self {
        let text = text();
        let (data, valid) = (data(&text, 0..20), data(&text, 20..25));
        Self { text, data, valid, settings: settings(steps) }
    }

    fn trainer(&self) -> Bigram {
        Bigram::new(self.text.tokenizer().vocab_size())
    }

    /// Runs from where the folder has it until `polls` looks at the stop are used up.
    fn run(&self, trainer: &mut Bigram, folder: &Path, polls: usize) -> (RunEnd, RunProgress) {
        let folder = CheckpointFolder::open(folder).unwrap();
        let identity = identity(&self.settings);
        let mut progress = RunProgress::default();
        if !folder.list().unwrap().is_empty() {
            let (_, checkpoint) = folder.resume(&identity, &mut |_| ()).unwrap();
            trainer.restore(checkpoint.state).unwrap();
            progress = checkpoint.progress;
        }
        let left = AtomicUsize::new(polls);
        let stop = || left.fetch_sub(1, Ordering::Relaxed) <= 1;
        let mut run = Run {
            trainer,
            data: &self.data,
            valid: Some(&self.valid),
            ask: None,
            settings: &self.settings,
            keeping: Some(Keeping { folder: &folder, identity, adapter: &|_| None, every: 3 }),
            progress,
        };
        let end = run.go(&stop, &mut |_| ()).unwrap();
        (end, run.progress)
    }
}

fn bits(state: &TrainerState) -> Vec<u32> {
    let numbers = |it: &crate::training::Parameter| {
        [&it.values, &it.first, &it.second].map(|part| part.iter().map(|n| n.to_bits()).collect())
    };
    state.parameters.iter().flat_map(numbers).flat_map(|part: Vec<u32>| part).collect()
}

fn losses(progress: &RunProgress) -> Vec<(u64, u64)> {
    let loss = |line: &LogLine| match line {
        LogLine::Step(line) => (line.step, line.loss),
        LogLine::Evaluation(line) => (line.step, line.valid_loss),
    };
    progress.log.iter().map(loss).map(|(step, loss)| (step, (loss * 1e9) as u64)).collect()
}

#[test]
fn a_run_learns_and_looks_at_what_it_learnt() {
    let bench = Bench::new(20);
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = bench.trainer();
    let (end, progress) = bench.run(&mut trainer, folder.path(), usize::MAX);
    assert_eq!((end, progress.step), (RunEnd::Done, 20));
    let looks: Vec<&EvaluationLine> = progress
        .log
        .iter()
        .filter_map(|line| match line {
            LogLine::Evaluation(line) => Some(line),
            LogLine::Step(_) => None,
        })
        .collect();
    assert_eq!(looks.iter().map(|it| it.step).collect::<Vec<_>>(), [0, 4, 8, 12, 16, 20]);
    assert!(looks[5].valid_loss + 2.0 < looks[0].valid_loss, "{looks:?}");
    assert_eq!(progress.best.unwrap().loss(), looks[5].valid_loss);
    // The rates are the schedule's.
    let LogLine::Step(first) = &progress.log[1] else { panic!() };
    assert_eq!((first.rate, first.columns > 0), (0.05, true));
}

#[test]
fn a_run_that_is_stopped_anywhere_goes_on_bit_for_bit() {
    let bench = Bench::new(15);
    let whole = tempfile::tempdir().unwrap();
    let mut trainer = bench.trainer();
    let (_, expected) = bench.run(&mut trainer, whole.path(), usize::MAX);
    let state = trainer.state().unwrap();
    for polls in [1, 2, 3, 5, 7, 11, 17] {
        let folder = tempfile::tempdir().unwrap();
        let (mut ends, mut polls) = (0, polls);
        let (last, progress) = loop {
            // A new process has nothing but the folder.
            let mut trainer = bench.trainer();
            let (end, progress) = bench.run(&mut trainer, folder.path(), polls);
            if end == RunEnd::Done {
                break (trainer, progress);
            }
            assert_eq!(end, RunEnd::Stopped);
            ends += 1;
            polls += 1;
        };
        let mut last = last;
        assert!(ends > 0, "{polls} looks never stopped it");
        assert_eq!(bits(&last.state().unwrap()), bits(&state));
        assert_eq!(losses(&progress), losses(&expected));
        assert_eq!((progress.place, progress.best), (expected.place, expected.best));
    }
}

#[test]
fn the_last_two_and_the_best_stay() {
    let bench = Bench::new(15);
    let folder = tempfile::tempdir().unwrap();
    bench.run(&mut bench.trainer(), folder.path(), usize::MAX);
    let folder = CheckpointFolder::open(folder.path()).unwrap();
    let steps: Vec<u64> = folder.list().unwrap().into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [15, 12]);
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_names_step_and_line() {
    let bench = Bench::new(15);
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = bench.trainer();
    let bad = bench.data.examples[6].sequence.tokens.clone();
    trainer.fault = Box::new(move |it| if it.tokens == bad { f64::NAN } else { 1.0 });
    let (end, progress) = bench.run(&mut trainer, folder.path(), usize::MAX);
    let RunEnd::NoNumber { step, lines, problem, .. } = end else { panic!("{end:?}") };
    assert_eq!((step, lines, problem.as_str()), (progress.step + 1, vec![7], "the loss is NaN"));
}

#[test]
fn a_checkpoint_of_another_run_is_refused_by_what_differs() {
    let bench = Bench::new(6);
    let folder = tempfile::tempdir().unwrap();
    bench.run(&mut bench.trainer(), folder.path(), usize::MAX);
    let folder = CheckpointFolder::open(folder.path()).unwrap();
    let mut other = identity(&bench.settings);
    other.data = "f".repeat(64);
    other.settings.training.schedule.rate = 0.2;
    if let Trained::Lora(lora) = &mut other.settings.training.what {
        lora.rank = 16;
    }
    let said = folder.resume(&other, &mut |_| ()).unwrap_err().to_string();
    for part in ["the training data was 000000000000..", "--lr was 0.1 and is 0.2", "--rank was 8"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_told() {
    let bench = Bench::new(9);
    let place = tempfile::tempdir().unwrap();
    bench.run(&mut bench.trainer(), place.path(), usize::MAX);
    let folder = CheckpointFolder::open(place.path()).unwrap();
    let file = folder.place(9).join("state.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let mut told = Vec::new();
    let kept = identity(&bench.settings);
    let (path, checkpoint) =
        folder.resume(&kept, &mut |error| told.push(error.to_string())).unwrap();
    assert!(path < folder.place(9) && checkpoint.progress.step < 9);
    assert!(told[0].contains("state.safetensors is not what was written"), "{told:?}");
}

#[test]
fn two_runs_never_share_a_folder() {
    let place = tempfile::tempdir().unwrap();
    let _first = CheckpointFolder::open(place.path()).unwrap();
    let said = CheckpointFolder::open(place.path()).unwrap_err().to_string();
    assert!(said.contains("another run"), "{said}");
}

#[test]
fn what_was_being_written_is_removed_and_what_made_room_comes_back() {
    let bench = Bench::new(6);
    let place = tempfile::tempdir().unwrap();
    bench.run(&mut bench.trainer(), place.path(), usize::MAX);
    fs::create_dir(place.path().join(".partial-step-0000009")).unwrap();
    fs::rename(place.path().join("step-0000006"), place.path().join(".old-step-0000006")).unwrap();
    let folder = CheckpointFolder::open(place.path()).unwrap();
    assert_eq!(folder.list().unwrap()[0].0, 6);
    assert!(!place.path().join(".partial-step-0000009").exists());
}
