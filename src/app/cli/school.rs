//! `pixel-llm school`: a model learns from its own answers what it can prove.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use super::output::{Exit, Output, print_note, print_warning, progress_bar};
use super::run::interruptible;
use super::table::{Align, Table};
use crate::batch::ModelText;
use crate::content::assets::Assets;
use crate::lineage::{FigureKind, GateLineOutcome, MeasuredFigure};
use crate::pxi::AtomicFile;
use crate::school::{
    CandidateReport, PlainTexts, RoundReport, SchoolError, SchoolProgress, SchoolReport,
    SchoolSettings, SchoolTask, Subject, child_file, run as hold,
};

/// The file of the report in the folder of children.
const REPORT_FILE: &str = "school.json";

/// Arguments of `school`.
#[derive(Debug, Args)]
#[command(
    after_help = "A subject is a content of mods, NAME.subject.ron: exercises in the grammar of \
corpora, whose answers a checker can prove. A round samples answers, keeps the right ones, each \
exercise once, teaches them to an adapter on the frozen model with text of the model's own kind \
beside them, and measures on exercises that are held out by what they are about. Taught and \
measured beside it are as many answers that nobody checked, and as many true ones.

A child passes where all of these hold: more held-out exercises are right, by more than the \
standard error of the paired difference; no kind of exercise is worse by more than its own; plain \
text costs no more than 0.01 nats and its error more; answers are at least half as varied. It ends \
after two rounds that fail, or where nothing new is right. Exit code 1 where no child passed.

Examples:
  pixel-llm school                                             the subjects that there are
  pixel-llm school --subject sums --rounds 3 --seed 1 --output taught
  pixel-llm school model.gguf --subject letters --k 4 --rate 2e-4 --steps 50 --output taught
  pixel-llm school --subject sums --json > report.json
  pixel-llm run --lora taught/sums-round-1.gguf --prompt \"Tell me a story\""
)]
pub struct SchoolArgs {
    /// A PXI-LLM or GGUF file; the built-in model when left out.
    model: Option<PathBuf>,
    /// What is learnt; all subjects are listed when left out.
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// The most rounds.
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// What everything that is drawn follows from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Answers that are sampled of each exercise.
    #[arg(long = "k", value_name = "N", default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    samples: u32,
    /// Exercises to learn from, at most.
    #[arg(long, value_name = "N", default_value_t = 384)]
    exercises: usize,
    /// Held-out exercises that decide, and as many that report, at most.
    #[arg(long, value_name = "N", default_value_t = 512)]
    held_out: usize,
    /// The rate behind the warm-up.
    #[arg(long, value_name = "X", default_value_t = 5e-4, help_heading = "Learning")]
    rate: f32,
    /// Steps of each child.
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Learning",
        value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// The share of each step, from 0 to below 1, that is plain text.
    #[arg(long, value_name = "SHARE", default_value_t = 0.25, help_heading = "Learning")]
    replay: f64,
    /// The rank of the adapter.
    #[arg(long, value_name = "N", default_value_t = 8, help_heading = "Learning",
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    rank: u32,
    /// Tokens of a step, at most.
    #[arg(long, value_name = "N", default_value_t = 512, help_heading = "Learning",
        value_parser = clap::value_parser!(u32).range(1..))]
    batch_tokens: u32,
    /// Documents of the model's own kind to learn again, lines of JSON with `text`; else the model
    /// writes some.
    #[arg(long, value_name = "FILE.jsonl", requires = "check", help_heading = "Plain text")]
    text: Option<PathBuf>,
    /// Other documents, which decide and report.
    #[arg(long, value_name = "FILE.jsonl", requires = "text", help_heading = "Plain text")]
    check: Option<PathBuf>,
    /// A folder for the children, NAME-round-N.gguf, and the report, school.json.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replace files that are there.
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct SubjectEntry {
    name: String,
    title: String,
    description: String,
    kinds: Vec<String>,
}

/// Bars on the terminal, and whether it was interrupted.
struct Onlooker<'a> {
    bar: Mutex<Option<ProgressBar>>,
    stop: &'a AtomicBool,
}

impl Onlooker<'_> {
    fn with(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        act(&mut self.bar.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl SchoolProgress for Onlooker<'_> {
    fn begins(&self, what: &str, steps: usize) {
        self.with(|bar| {
            let next = progress_bar("", steps as u64).with_message(what.to_owned());
            if let Some(before) = bar.replace(next) {
                before.finish_and_clear();
            }
        });
    }

    fn done(&self, steps: usize) {
        self.with(|bar| bar.iter().for_each(|bar| bar.inc(steps as u64)));
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Runs `school`. Exit code 1 where no child passed, or it was stopped.
///
/// # Errors
/// There is no such subject, what is asked for cannot be, or a file cannot be read or written.
pub fn run(args: &SchoolArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    let Some(name) = &args.subject else { return list(assets, out) };
    let subject: Subject = assets.content("subject", name)?;
    args.check_outputs(name)?;
    let model = Arc::new(super::open_model(args.model.as_deref(), assets)?);
    let text = ModelText::new(&model)?;
    text.warnings().iter().for_each(|warning| print_warning(warning));
    let context = model.config().context_length as usize;
    let plain = match args.text.as_ref().zip(args.check.as_ref()) {
        Some((learnt, check)) => Some(PlainTexts::read(learnt, check, &text, context)?),
        None => None,
    };
    let settings = args.settings();
    let taught = interruptible(|stop| {
        let onlooker = Onlooker { bar: Mutex::default(), stop };
        let taught = hold(SchoolTask {
            model: &model,
            text: &text,
            subject: &subject,
            name,
            settings: &settings,
            plain,
            folder: args.output.as_deref(),
            replaces: args.force,
            progress: &onlooker,
        });
        onlooker.with(|bar| bar.iter().for_each(ProgressBar::finish_and_clear));
        taught
    });
    let taught = match taught {
        Err(SchoolError::Stopped) => {
            print_note("stopped before the end; nothing is told of a part");
            return Ok(Exit::FoundBad);
        }
        taught => taught?,
    };
    if let Some(folder) = &args.output {
        let path = folder.join(REPORT_FILE);
        let mut bytes = serde_json::to_vec_pretty(&taught.report)?;
        bytes.push(b'\n');
        AtomicFile::replace(&path, &bytes)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    out.print(&taught.report, human)?;
    Ok(if taught.report.kept_round.is_some() { Exit::Ok } else { Exit::FoundBad })
}

fn list(assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    let all: Vec<SubjectEntry> = assets
        .all::<Subject>("subject")?
        .into_iter()
        .map(|(name, subject)| SubjectEntry {
            name,
            kinds: subject.kinds().into_keys().collect(),
            title: subject.title,
            description: subject.description,
        })
        .collect();
    out.print(&all, |all| {
        let line = |it: &SubjectEntry| format!("{:<12} {}\n", it.name, it.description);
        all.iter().map(line).collect()
    })?;
    Ok(Exit::Ok)
}

impl SchoolArgs {
    fn settings(&self) -> SchoolSettings {
        SchoolSettings {
            rounds: self.rounds,
            seed: self.seed,
            exercises: self.exercises,
            held_out: self.held_out,
            samples: self.samples,
            rate: self.rate,
            steps: self.steps,
            rank: self.rank as usize,
            batch_tokens: self.batch_tokens as usize,
            replay: self.replay,
            ..SchoolSettings::default()
        }
    }

    /// Before any work, which takes minutes.
    fn check_outputs(&self, subject: &str) -> anyhow::Result<()> {
        let Some(folder) = &self.output else { return Ok(()) };
        for file in (1..=self.rounds).map(|round| child_file(subject, round)) {
            crate::outputs::refuse_existing(&folder.join(file), self.force)?;
        }
        crate::outputs::refuse_existing(&folder.join(REPORT_FILE), self.force)?;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))
    }
}

fn human(report: &SchoolReport) -> String {
    let mut text = String::new();
    for round in &report.rounds {
        text.push_str(&round_table(round));
        text.push('\n');
    }
    if let Some(exam) = &report.final_exam {
        let mut table = Table::new([
            ("ON THE TEXTS OF THE REPORT", Align::Left),
            ("THE MODEL", Align::Right),
            ("THE CHILD", Align::Right),
        ]);
        for figure in &exam.figures {
            let verdict = limit_of(&exam.verdict, figure);
            table.row([
                figure.name.to_string(),
                value(figure, figure.parent),
                cell(figure, verdict),
            ]);
        }
        text.push_str(&table.render());
        text.push('\n');
    }
    let kept = match report.kept_round {
        Some(round) => format!("the child of round {round} passed"),
        None => "no child passed, and the model stays as it is".into(),
    };
    text.push_str(&format!("{kept}; it ended {}\n", report.ended));
    for it in &report.texts {
        let digest = &it.digest[..12];
        text.push_str(&format!("{:<13} {:>6} of {digest}\n", it.role, it.count));
    }
    text
}

fn round_table(round: &RoundReport) -> String {
    let mut text = format!(
        "round {}: {} of {} answers are right, {} exercises newly; {} are easy\n",
        round.round, round.right, round.samples, round.newly_verified, round.easy
    );
    let mut table = Table::new([
        ("HELD OUT", Align::Left),
        ("BEFORE", Align::Right),
        ("VERIFIED", Align::Right),
        ("UNCHECKED", Align::Right),
        ("TRUE ANSWERS", Align::Right),
    ]);
    let Some(first) = round.candidates.first() else { return text };
    for (at, figure) in first.figures.iter().enumerate() {
        let of = |candidate: Option<&CandidateReport>| {
            let found = candidate.and_then(|it| Some((it, it.figures.get(at)?)));
            found.map_or_else(String::new, |(it, figure)| {
                cell(figure, limit_of(&it.verdict, figure))
            })
        };
        let [verified, unchecked, truth] = [0, 1, 2].map(|place| of(round.candidates.get(place)));
        let before = value(figure, figure.parent);
        table.row([figure.name.to_string(), before, verified, unchecked, truth]);
    }
    let of = |say: fn(&CandidateReport) -> String| {
        [0, 1, 2].map(|place| round.candidates.get(place).map_or_else(String::new, say))
    };
    let [one, two, three] = of(|it| it.lines.to_string());
    table.row(["answers learnt".into(), String::new(), one, two, three]);
    let [one, two, three] = of(|it| if it.passed { "passed" } else { "rejected" }.into());
    table.row(["gate".into(), String::new(), one, two, three]);
    text.push_str(&table.render());
    text.push_str("! is what fails the gate\n");
    text
}

fn limit_of<'v>(
    verdict: &'v [GateLineOutcome],
    figure: &MeasuredFigure,
) -> Option<&'v GateLineOutcome> {
    verdict.iter().find(|line| line.line.figure == figure.name)
}

/// A figure as people read it: shares of exercises in hundredths.
fn value(figure: &MeasuredFigure, value: f64) -> String {
    match is_share(figure) {
        true => format!("{:.1} %", 100.0 * value),
        false => format!("{value:.3}"),
    }
}

fn is_share(figure: &MeasuredFigure) -> bool {
    matches!(figure.name.kind, FigureKind::ExactMatch | FigureKind::Distinct)
}

/// A child's figure, how far it is from its parent's, and whether its limit holds.
fn cell(figure: &MeasuredFigure, verdict: Option<&GateLineOutcome>) -> String {
    let (factor, digits) = if is_share(figure) { (100.0, 1) } else { (1.0, 3) };
    let mark = if verdict.is_some_and(|line| !line.holds) { " !" } else { "  " };
    format!(
        "{} ({:+.digits$} \u{b1}{:.digits$}){mark}",
        value(figure, figure.child),
        factor * figure.difference,
        factor * figure.error,
    )
}
