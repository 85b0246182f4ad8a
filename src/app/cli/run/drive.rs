//! From arguments to a finished run.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{BatchArgs, Source, trace};
use crate::app::cli::engine::{controls_without, open_engine_without};
use crate::app::cli::open_model;
use crate::app::cli::output::{Exit, Output, print_note, print_warning};
use crate::assets::Assets;
use crate::model::PixelModel;
use crate::tokens::output::{ResultContext, Resumed, result_line};
use crate::tokens::request::Defaults;
use crate::tokens::{
    InputError, InputFile, ModelText, Outcome, OutputError, OutputFile, Progress, Report, Request, RunError,
    TextModel, run as run_requests,
};

static RUNNING: AtomicBool = AtomicBool::new(false);
static CANCELLED: AtomicBool = AtomicBool::new(false);

/// For the interrupt handler: asks a run to end after its present step. False where there is none to ask, or it
/// was asked before, so that the program is to end at once.
pub fn interrupt() -> bool {
    RUNNING.load(Ordering::SeqCst) && !CANCELLED.swap(true, Ordering::SeqCst)
}

/// Runs work that looks at the flag it is given, which an interrupt sets.
pub fn interruptible<T>(work: impl FnOnce(&AtomicBool) -> T) -> T {
    RUNNING.store(true, Ordering::SeqCst);
    let result = work(&CANCELLED);
    RUNNING.store(false, Ordering::SeqCst);
    result
}

/// How a run went, for `--json` and for the last line on standard error.
#[derive(Debug, Serialize)]
struct Summary {
    requests: u64,
    already_finished: u64,
    succeeded: u64,
    failed: u64,
    skipped_lines: u64,
    prompt_tokens: u64,
    shared_prompt_tokens: u64,
    completion_tokens: u64,
    seconds: f64,
    cancelled: bool,
}

impl Summary {
    fn new(progress: &Progress, skipped_lines: u64, took: Duration, cancelled: bool) -> Self {
        Self {
            requests: progress.total,
            already_finished: progress.already_finished,
            succeeded: progress.succeeded,
            failed: progress.failed,
            skipped_lines,
            prompt_tokens: progress.prompt_tokens,
            shared_prompt_tokens: progress.shared_tokens,
            completion_tokens: progress.completion_tokens,
            seconds: took.as_secs_f64(),
            cancelled,
        }
    }

    fn line(&self) -> String {
        let tokens = self.prompt_tokens - self.shared_prompt_tokens + self.completion_tokens;
        let speed = if self.seconds > 0.0 { tokens as f64 / self.seconds } else { 0.0 };
        let mut line = format!(
            "{} answered, {} failed in {:.1} s: {} prompt tokens ({} shared), {} made, {speed:.1} tokens/s",
            self.succeeded,
            self.failed,
            self.seconds,
            self.prompt_tokens,
            self.shared_prompt_tokens,
            self.completion_tokens
        );
        if self.cancelled {
            line.push_str("; stopped before the end, go on by --resume");
        }
        line
    }

    fn exit(&self) -> Exit {
        if self.failed > 0 || self.skipped_lines > 0 || self.cancelled { Exit::FoundBad } else { Exit::Ok }
    }
}

/// Answers the prompts.
///
/// # Errors
/// The input, the model or the output cannot be used, or gave out during the run.
pub fn run(args: &BatchArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    let source = args.source()?;
    let defaults = args.defaults();
    // All lines are checked before the model is opened, which may take long.
    let mut input = match source {
        Source::Prompts(_) => None,
        Source::StandardInput => {
            let name = "standard input".to_owned();
            Some(InputFile::spool(name, io::stdin().lock(), &defaults, args.skip_bad).map_err(explain)?)
        }
        Source::File(path) => Some(InputFile::open(path, &defaults, args.skip_bad).map_err(explain)?),
    };
    if let Some(input) = &input {
        warn_of(input);
    }
    let mut output = open_output(args, input.as_mut())?;
    let opened = open_text(args, assets).and_then(|(model, text)| {
        if let Some(folder) = &args.save_activations {
            trace::check(folder, model.config())?;
        }
        let context = args.context.or_else(|| context_of(source, &defaults, &text, &model));
        Ok((open_engine_without(&args.mute, args.device, model, args.slots(), context, args.memory)?, text))
    });
    let (mut engine, text) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            // Where nothing could run, the results of an earlier run are as they were, and no new file is left.
            if let Some(output) = output {
                output.abandon();
            }
            return Err(error);
        }
    };
    if let Some(output) = &mut output {
        output.begin()?;
    }
    let prompts: Vec<_> = match source {
        Source::Prompts(prompts) => {
            let request =
                |(i, prompt): (usize, &String)| Ok(defaults.request(format!("prompt-{}", i + 1), prompt));
            prompts.iter().enumerate().map(request).collect()
        }
        _ => Vec::new(),
    };
    let total = input.as_ref().map_or(prompts.len(), InputFile::len) as u64;
    let remaining = input.as_ref().map_or(prompts.len(), InputFile::remaining) as u64;
    let requests: Box<dyn Iterator<Item = Result<Request, InputError>> + '_> = match &input {
        Some(input) => Box::new(input.requests(&defaults)),
        None => Box::new(prompts.into_iter()),
    };
    let stream_text = input.is_none() && output.is_none() && !out.is_json();
    if !stream_text && output.is_none() {
        output = Some(OutputFile::stream(io::stdout()));
    }
    let mut view = View {
        output,
        bar: bar(args, input.is_some(), total),
        live: BTreeMap::new(),
        shown: 0,
        tokens: None,
        model: text.name().to_owned(),
        start: Instant::now(),
    };
    let mut progress = Progress::new(total, total - remaining);
    let outcome = interruptible(|cancelled| {
        run_requests(&mut *engine, &text, requests, &mut progress, cancelled, |report| view.take(report))
    });
    view.bar.finish_and_clear();
    let synced = view.output.as_mut().map_or(Ok(()), OutputFile::sync);
    let outcome = outcome.and_then(|outcome| Ok(synced.map(|()| outcome)?));
    let cancelled = match outcome {
        Ok(outcome) => outcome == Outcome::Cancelled,
        // Whoever read the results has seen enough.
        Err(RunError::Output(error)) if error.is_closed_pipe() => return Ok(Exit::Ok),
        Err(error) => {
            let kept = progress.already_finished + progress.done();
            return Err(error).with_context(|| ended_early(args, kept));
        }
    };
    if let (Some(folder), Some(answer)) = (&args.save_activations, &view.tokens) {
        save_activations(folder, args, assets, &text, answer)?;
    }
    let skipped = input.as_ref().map_or(0, InputFile::skipped_count);
    let summary = Summary::new(&progress, skipped, view.start.elapsed(), cancelled);
    let to_file = args.output.as_ref().is_some_and(|path| path.as_os_str() != "-");
    if out.is_json() && to_file {
        out.print(&summary, |_| String::new())?;
    } else if !args.quiet && !stream_text {
        // When standard error is closed there is nobody left to tell.
        let _ = writeln!(io::stderr(), "{}", summary.line());
    }
    Ok(summary.exit())
}

/// Computes the prompt and its answer once more and draws what comes of it.
fn save_activations(
    folder: &Path,
    args: &BatchArgs,
    assets: &Assets,
    text: &ModelText,
    answer: &[u32],
) -> anyhow::Result<()> {
    let model = open_model(args.model.as_deref(), assets)?;
    let controls = controls_without(&args.mute, model.config())?;
    let prompt = args.defaults().request(String::new(), &args.prompt[0]).prompt;
    let tokens = [text.encode(&prompt)?.as_slice(), answer].concat();
    if tokens.is_empty() {
        return Ok(());
    }
    let regions = trace::save(folder, Arc::new(model), &tokens, &controls)?;
    print_note(&format!("{}: {regions} regions, {} tokens down", folder.display(), tokens.len()));
    Ok(())
}

/// What is there when a run ended early, and how to go on.
fn ended_early(args: &BatchArgs, kept: u64) -> String {
    match args.output.as_deref() {
        // What is no file cannot be resumed.
        Some(path) if path.is_file() && args.input.is_some() => {
            let path = path.display();
            format!("the run ended early; {kept} results are kept in {path}, go on by --resume")
        }
        _ => format!("the run ended early; {kept} results were given"),
    }
}

/// The error with every line that is wrong on a line of its own before it.
fn explain(error: InputError) -> anyhow::Error {
    if let InputError::BadLines(bad) = &error {
        for line in &bad.errors {
            print_warning(&format!("{}: {line}", bad.name));
        }
        return anyhow::Error::new(error)
            .context("nothing was run; correct the input or leave such lines out by --skip-bad");
    }
    error.into()
}

fn warn_of(input: &InputFile) {
    for line in input.skipped() {
        print_warning(&format!("left out: {line}"));
    }
    let more = input.skipped_count().saturating_sub(input.skipped().len() as u64);
    if more > 0 {
        print_warning(&format!("left out: {more} more lines"));
    }
    for (name, count) in input.ignored() {
        print_warning(&format!("`{name}` has no effect here ({count} lines)"));
    }
}

fn open_output(args: &BatchArgs, input: Option<&mut InputFile>) -> anyhow::Result<Option<OutputFile>> {
    let Some(path) = &args.output else { return Ok(None) };
    if path.as_os_str() == "-" {
        anyhow::ensure!(!args.resume, "standard output cannot be resumed; give --output a file");
        return Ok(Some(OutputFile::stream(io::stdout())));
    }
    anyhow::ensure!(!args.resume || input.is_some(), "--resume goes on with a run over a file; give --input");
    let (output, resumed) = match input {
        Some(input) => OutputFile::open(path, args.existing(), |id| input.mark_finished(id))?,
        None => OutputFile::open(path, args.existing(), |_| false)?,
    };
    let Resumed { kept, strangers, retried, torn_in_bytes } = resumed;
    if args.resume && !args.quiet {
        let torn = if torn_in_bytes > 0 { ", one torn line cut off" } else { "" };
        let _ = writeln!(io::stderr(), "resuming: {kept} results kept, {retried} to retry{torn}");
    }
    if strangers > 0 {
        print_warning(&format!(
            "{}: {strangers} results are of requests that the input does not have",
            path.display()
        ));
    }
    Ok(Some(output))
}

/// How many positions the prompts of the command line need with their answers; `None` where they are not known yet or do not fit.
fn context_of(source: Source<'_>, defaults: &Defaults, text: &ModelText, model: &PixelModel) -> Option<u32> {
    let Source::Prompts(prompts) = source else { return None };
    let longest = prompts
        .iter()
        .map(|prompt| text.encode(&defaults.request(String::new(), prompt).prompt).map_or(0, |ids| ids.len()))
        .max()?;
    let needed =
        u32::try_from(longest).ok()?.checked_add(defaults.max_tokens)?.checked_next_multiple_of(64)?;
    (needed < model.config().context_length).then_some(needed)
}

fn open_text(args: &BatchArgs, assets: &Assets) -> anyhow::Result<(PixelModel, ModelText)> {
    let model = open_model(args.model.as_deref(), assets)?;
    let text = ModelText::new(&model).context("the model's tokenizer cannot be used")?;
    text.warnings().iter().for_each(|warning| print_warning(warning));
    Ok((model, text))
}

fn bar(args: &BatchArgs, from_file: bool, total: u64) -> ProgressBar {
    if args.quiet || !from_file || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("[{bar:32}] {pos}/{len} {msg}");
    let style = style.expect("the template is well formed");
    ProgressBar::new(total).with_style(style.progress_chars("=> "))
}

/// Where reports go: results to the output, text to the terminal, counts to the bar.
struct View {
    /// `None` where text is shown as it comes.
    output: Option<OutputFile>,
    bar: ProgressBar,
    /// Text of prompts whose turn has not come, and whether they are finished.
    live: BTreeMap<u64, (String, bool)>,
    /// The prompt whose text is being shown.
    shown: u64,
    /// Of the answer that was shown last.
    tokens: Option<Vec<u32>>,
    model: String,
    start: Instant,
}

impl View {
    fn take(&mut self, report: Report<'_>) -> Result<(), OutputError> {
        match report {
            Report::Text { number, text } if self.output.is_none() => {
                self.live.entry(number).or_default().0.push_str(text);
                self.show()
            }
            Report::Text { .. } => Ok(()),
            Report::Finished { number, request, outcome } => {
                self.tokens = outcome.as_ref().ok().map(|answer| answer.tokens.clone());
                if let Some(output) = &mut self.output {
                    let created = jiff::Timestamp::now().as_second();
                    let context = ResultContext { model: &self.model, created };
                    return output.write_line(&result_line(request, outcome, &context));
                }
                if let Err(failure) = outcome {
                    print_warning(&format!("{}: {failure}", request.id));
                }
                self.live.entry(number).or_default().1 = true;
                self.show()
            }
            Report::Step(progress) => {
                let snapshot = progress.snapshot(self.start.elapsed());
                self.bar.set_position(progress.already_finished + snapshot.done);
                let speed = snapshot.tokens_per_second.unwrap_or(0.0);
                let left =
                    snapshot.time_left.map(|left| format!(", {} left", indicatif::HumanDuration(left)));
                self.bar.set_message(format!("{speed:.1} tokens/s{}", left.unwrap_or_default()));
                Ok(())
            }
        }
    }

    /// Shows what there is of the prompt whose turn it is, and of those after it that are finished.
    fn show(&mut self) -> Result<(), OutputError> {
        let mut stdout = io::stdout().lock();
        let mut write = |text: &str| {
            stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(OutputError::Write)
        };
        while let Some((text, finished)) = self.live.get_mut(&self.shown) {
            write(&std::mem::take(text))?;
            if !*finished {
                break;
            }
            write("\n")?;
            self.live.remove(&self.shown);
            self.shown += 1;
        }
        Ok(())
    }
}
