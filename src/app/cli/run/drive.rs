//! From arguments to a finished run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::resume::KeptResults;
use super::{BatchArgs, PromptSource, trace};
use crate::app::cli::engine::{interventions_without, open_engine_without};
use crate::app::cli::open_model;
use crate::app::cli::output::{Doing, Exit, Output, doing, print_note, print_warning};
use crate::batch::output::{ResultContext, Resumed, bad_line, result_line};
use crate::batch::request::{Defaults, PromptMode};
use crate::batch::{
    Answer, FinishReason, InputError, InputFile, ModelText, OutputError, OutputFile, Progress,
    Prompt, Request, RunError, RunOutcome, RunReport, TextModel, run as run_requests,
};
use crate::content::assets::Assets;
use crate::engine::Engine;
use crate::model::PixelModel;
use crate::terminal::{self, Escapes};

// Global, since the handlers of signals are set before there is a run.
static RUNNING: AtomicBool = AtomicBool::new(false);
static CANCELLED: AtomicBool = AtomicBool::new(false);
/// Whether an interrupt only ever ends what is running, as in a conversation on a terminal.
static STAYS: AtomicBool = AtomicBool::new(false);
/// Whether the program was told to end.
static ENDS: AtomicBool = AtomicBool::new(false);
/// When a run was asked to end.
static ASKED: Mutex<Option<Instant>> = Mutex::new(None);

/// How soon a second interrupt may come that means no more than the first one.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest prompt that is read from a pipe: more than any context holds.
const MOST_PIPED_IN_BYTES: u64 = 16 << 20;

/// How much of a prompt stands above its answer.
const MOST_OF_PROMPT: usize = 60;

/// For the interrupt handler: asks a run to end after its present step. False where there is none
/// to ask, or it was asked before, so that the program is to end at once.
pub fn interrupt() -> bool {
    if !RUNNING.load(Ordering::SeqCst) {
        // In a conversation the keys were pressed to stop an answer that ended by itself meanwhile.
        // At its prompt the editor hears of interrupts, and says what ends the conversation.
        return STAYS.load(Ordering::SeqCst);
    }
    // It may wait for a lock: handlers run on threads of their own, not within the signal.
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    if !CANCELLED.swap(true, Ordering::SeqCst) {
        *asked = Some(Instant::now());
        return true;
    }
    // Who presses the keys twice wants the answer to end, not the conversation, unless it goes on.
    let just_now = asked.is_some_and(|since| since.elapsed() < PATIENCE);
    STAYS.load(Ordering::SeqCst) && just_now
}

/// For the handler of signals that end the program: as [`interrupt`], and a conversation ends with
/// its answer.
pub fn end() -> bool {
    let is_first = !ENDS.swap(true, Ordering::SeqCst);
    let ends_softly = is_first && RUNNING.load(Ordering::SeqCst);
    if ends_softly {
        CANCELLED.store(true, Ordering::SeqCst);
    }
    ends_softly
}

/// For a conversation: whether the program is to end.
pub(in crate::app::cli) fn is_to_end() -> bool {
    ENDS.load(Ordering::SeqCst)
}

/// For a conversation: from now on interrupts end what is running and never the program.
pub(in crate::app::cli) fn interrupts_end_nothing() {
    STAYS.store(true, Ordering::SeqCst);
}

/// For a conversation: what is asked next was not interrupted.
pub(in crate::app::cli) fn forget_interrupt() {
    CANCELLED.store(false, Ordering::SeqCst);
}

/// Whether there was an interrupt since the last one was forgotten.
pub(in crate::app::cli) fn was_interrupted() -> bool {
    CANCELLED.load(Ordering::SeqCst)
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
        // Shared tokens were copied and not computed.
        let tokens = self.prompt_tokens - self.shared_prompt_tokens + self.completion_tokens;
        let speed = if self.seconds > 0.0 { tokens as f64 / self.seconds } else { 0.0 };
        let mut line = format!(
            "{} answered, {} failed in {:.1} s: {} prompt tokens ({} shared), {} made, \
             {speed:.1} tokens/s",
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

    /// As JSON where results go to a file, else as a line on standard error; of the only answer of
    /// a run whose text was shown, its speed.
    fn print(
        &self,
        args: &BatchArgs,
        only_answer: Option<&Answer>,
        is_text_shown: bool,
        out: &mut Output,
    ) -> anyhow::Result<()> {
        let to_file = args.output.as_ref().is_some_and(|path| path.as_os_str() != "-");
        if out.is_json() && to_file {
            out.print(self, |_| String::new())?;
        } else if !args.quiet {
            let line = match only_answer {
                Some(answer) => speed_line(answer),
                None if is_text_shown && self.cancelled => String::new(),
                None => self.line(),
            };
            // When standard error is closed there is nobody left to tell.
            let _ = if line.is_empty() { Ok(()) } else { writeln!(terminal::stderr(), "{line}") };
        }
        Ok(())
    }

    fn exit(&self) -> Exit {
        if self.failed > 0 || self.skipped_lines > 0 || self.cancelled {
            Exit::FoundBad
        } else {
            Exit::Ok
        }
    }
}

/// Answers the prompts.
///
/// # Errors
/// The input, the model or the output cannot be used, or gave out during the run.
pub fn run(args: &BatchArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    args.check_output()?;
    let piped = piped_prompt(args)?;
    let source = match &piped {
        Some(text) => PromptSource::Prompts(std::slice::from_ref(text)),
        None => args.source()?,
    };
    let defaults = args.defaults();
    // All lines are checked before the model is opened, which may take long.
    let mut input = open_input(args, source, &defaults)?;
    let mut found = KeptResults::new(args.retry_changed);
    let mut output = open_output(args, input.as_mut(), &mut found)?;
    let Opened { mut engine, text, model_digest } = match open(args, source, assets, &found) {
        Ok(opened) => opened,
        Err(error) => {
            // Where nothing could run, the results of an earlier run are as they were, and no new
            // file is left.
            if let Some(output) = output {
                output.abandon();
            }
            return Err(error);
        }
    };
    if let Some(output) = &mut output {
        // Only now is a file that is there changed, when something can run.
        output.begin()?;
    }
    let prompts = requests_of_prompts(args, source, &text);
    let total = input.as_ref().map_or(prompts.len(), InputFile::len) as u64;
    let remaining = input.as_ref().map_or(prompts.len(), InputFile::remaining) as u64;
    let requests: Box<dyn Iterator<Item = Result<Request, InputError>> + '_> = match &input {
        Some(input) => Box::new(input.requests(&defaults)),
        None => Box::new(prompts.into_iter().map(Ok)),
    };
    let stream_text = input.is_none() && output.is_none() && !out.is_json();
    if !stream_text && output.is_none() {
        output = Some(OutputFile::stream(terminal::stdout().with_escapes(Escapes::Json)));
    }
    // A line that cannot run is answered too, under its id.
    if let (Some(input), Some(output)) = (&input, &mut output) {
        for bad in input.bad_requests(&defaults) {
            let (id, problems) = bad?;
            output.write_line(&bad_line(&id, &problems))?;
        }
    }
    let mut view = RunOutput {
        output,
        titles: titles(source),
        answer: None,
        text: &text,
        bar: bar(args, input.is_some(), total),
        live: BTreeMap::new(),
        shown: 0,
        model: text.name().to_owned(),
        model_digest,
        start: Instant::now(),
        reading: (stream_text && !args.quiet).then(|| doing("reading the prompt")),
    };
    let mut progress = Progress::new(total, total - remaining);
    let outcome = interruptible(|cancelled| {
        run_requests(&mut *engine, &text, requests, &mut progress, cancelled, |report| {
            view.take(report)
        })
    });
    let kept = progress.already_finished + progress.done();
    let Some(outcome) = view.end(outcome, || ended_early(args, kept))? else { return Ok(Exit::Ok) };
    if let (Some(folder), Some(answer)) = (&args.save_activations, &view.answer) {
        save_activations(folder, args, assets, &text, &answer.tokens)?;
    }
    let cancelled = outcome == RunOutcome::Cancelled;
    let skipped = input.as_ref().map_or(0, InputFile::skipped_count);
    let summary = Summary::new(&progress, skipped, view.start.elapsed(), cancelled);
    let answer = view.answer.filter(|_| stream_text && total == 1);
    summary.print(args, answer.as_ref(), stream_text, out)?;
    Ok(summary.exit())
}

/// The lines of the input, checked; `None` where prompts are given.
fn open_input(
    args: &BatchArgs,
    source: PromptSource<'_>,
    defaults: &Defaults,
) -> anyhow::Result<Option<InputFile>> {
    let input = match source {
        PromptSource::Prompts(_) => return Ok(None),
        PromptSource::StandardInput => {
            let name = "standard input".to_owned();
            // All lines are checked before the first one runs, and a stream cannot be read twice.
            InputFile::spool(name, io::stdin().lock(), defaults, args.skip_bad)
        }
        PromptSource::File(path) => InputFile::open(path, defaults, args.skip_bad),
    };
    let input = input.map_err(explain)?;
    warn_of(&input);
    Ok(Some(input))
}

struct Opened {
    engine: Box<dyn Engine>,
    text: ModelText,
    model_digest: String,
}

fn open(
    args: &BatchArgs,
    source: PromptSource<'_>,
    assets: &Assets,
    found: &KeptResults,
) -> anyhow::Result<Opened> {
    let (model, text) = open_text(args, assets)?;
    if let Some(folder) = &args.save_activations {
        trace::check(folder, model.config())?;
    }
    // What can be refused comes before the engine, which takes longest to open.
    let model_digest = model_digest(&model, &args.mute);
    if let Some(path) = &args.output {
        found.check(path, &model_digest, text.name())?;
    }
    let for_prompts = args.defaults_of_prompts(&text);
    check_prompts(args, source, &for_prompts, &text)?;
    let context = args.context.or_else(|| context_of(source, &for_prompts, &text, &model));
    let engine =
        open_engine_without(&args.mute, args.device, model, args.slots(), context, args.memory)?;
    Ok(Opened { engine, text, model_digest })
}

/// A request for each prompt of the command line.
fn requests_of_prompts(
    args: &BatchArgs,
    source: PromptSource<'_>,
    text: &ModelText,
) -> Vec<Request> {
    let PromptSource::Prompts(prompts) = source else { return Vec::new() };
    let defaults = args.defaults_of_prompts(text);
    let request =
        |(i, prompt): (usize, &String)| defaults.request(format!("prompt-{}", i + 1), prompt);
    prompts.iter().enumerate().map(request).collect()
}

/// Computes the prompt and its answer once more and draws what comes of it.
fn save_activations(
    folder: &Path,
    args: &BatchArgs,
    assets: &Assets,
    text: &ModelText,
    answer: &[u32],
) -> anyhow::Result<()> {
    // Once more: the engine has taken the first one.
    let model = open_model(args.model.as_deref(), assets)?;
    let interventions = interventions_without(&args.mute, model.config())?;
    // There is one: `source` has refused any other number.
    let prompt = args.defaults_of_prompts(text).request(String::new(), &args.prompt[0]).prompt;
    let tokens = [text.encode(&prompt)?.as_slice(), answer].concat();
    if tokens.is_empty() {
        return Ok(());
    }
    let regions = trace::save(folder, Arc::new(model), &tokens, &interventions)?;
    print_note(&format!("{}: {regions} regions, {} tokens down", folder.display(), tokens.len()));
    Ok(())
}

/// The text that comes through a pipe where neither a prompt nor a file is named.
fn piped_prompt(args: &BatchArgs) -> anyhow::Result<Option<String>> {
    if !args.prompt.is_empty() || args.input.is_some() || io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(MOST_PIPED_IN_BYTES + 1).read_to_end(&mut bytes);
    read.context("cannot read the prompt from standard input")?;
    anyhow::ensure!(
        bytes.len() as u64 <= MOST_PIPED_IN_BYTES,
        "the prompt on standard input has more than {MOST_PIPED_IN_BYTES} bytes; \
         --input FILE takes requests"
    );
    let text = String::from_utf8(bytes)
        .map_err(|_| anyhow::anyhow!("the prompt on standard input is not text in UTF-8"))?;
    // The last line break is the shell's, not the prompt's.
    let text = text
        .strip_suffix('\n')
        .map(|text| text.strip_suffix('\r').unwrap_or(text))
        .unwrap_or(&text);
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// Says what an option does not do to the prompts, and refuses a template that cannot be used
/// before anything runs.
fn check_prompts(
    args: &BatchArgs,
    source: PromptSource<'_>,
    defaults: &Defaults,
    text: &ModelText,
) -> anyhow::Result<()> {
    let PromptSource::Prompts(prompts) = source else { return Ok(()) };
    match defaults.mode {
        PromptMode::Raw if args.system.is_some() && args.raw => {
            print_warning("--system has no effect on prompts that are given as they are (--raw)");
        }
        PromptMode::Raw if args.system.is_some() => {
            print_warning(
                "--system has no effect: the model brings no chat template (--chat takes ChatML)",
            );
        }
        PromptMode::Chat if !args.chat => {
            // Nobody asked for the template, so what is wrong with it comes with the way round it.
            for prompt in prompts {
                let encoded = text.encode(&defaults.request(String::new(), prompt).prompt);
                encoded
                    .context("the chat template cannot be used; --raw gives the prompt as it is")?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// What stands above each answer, where there are several.
fn titles(source: PromptSource<'_>) -> Vec<String> {
    let PromptSource::Prompts(prompts @ [_, _, ..]) = source else { return Vec::new() };
    let title = |prompt: &String| {
        let line = terminal::one_line(prompt);
        let mut short: String = line.chars().take(MOST_OF_PROMPT).collect();
        if short.len() < line.len() {
            short.push_str("...");
        }
        format!("==> {short} <==\n")
    };
    prompts.iter().map(title).collect()
}

/// How long an answer took, for standard error.
pub(in crate::app::cli) fn speed_line(answer: &Answer) -> String {
    let tokens = answer.completion_tokens;
    // The first token comes with the prompt; the time of the others is that of the answer.
    let seconds = answer.predicted_time.as_secs_f64();
    let plural = if tokens == 1 { "" } else { "s" };
    let speed = if tokens > 1 && seconds > 0.0 {
        format!(", {:.1} tokens/s", f64::from(tokens - 1) / seconds)
    } else {
        String::new()
    };
    let first = answer.prompt_time.as_secs_f64();
    format!("{tokens} token{plural}{speed}, the first after {first:.2} s")
}

/// In words, why an answer shows nothing; `None` where it shows something, or none was wanted.
pub(in crate::app::cli) fn nothing_visible(
    answer: &Answer,
    request: &Request,
    text: &dyn TextModel,
) -> Option<String> {
    if request.max_tokens == 0 || !answer.text.trim().is_empty() {
        return None;
    }
    let ended_itself = answer.tokens.last().is_some_and(|&token| text.is_end(token));
    Some(match answer.finish {
        FinishReason::Stop if ended_itself && matches!(request.prompt, Prompt::Chat(_)) => {
            "the model ended its answer at once, without a word; ask in other words, \
             or with another --seed"
                .into()
        }
        FinishReason::Stop if ended_itself => {
            "the model ended at once, without a word: to it the text is complete; \
             --chat asks it as a question"
                .into()
        }
        FinishReason::Stop => {
            "a --stop text came before any other, so there is nothing to show".into()
        }
        FinishReason::Length => {
            format!("nothing can be seen of the {} tokens of the answer", answer.completion_tokens)
        }
    })
}

/// Writes text of an answer to standard output, at once, with the terminal's codes for a style
/// around it where there is one. All text of models that a person reads as it is made goes through
/// here.
pub(in crate::app::cli) fn write_answer(style: Option<&str>, text: &str) -> io::Result<()> {
    // Text of a model has whole characters only, so a new writer cuts none in two.
    let mut stdout = terminal::stdout();
    match style {
        Some(style) if !text.is_empty() => {
            stdout.write_trusted(style)?;
            stdout.write_all(text.as_bytes())?;
            stdout.write_trusted("\x1b[0m")?;
        }
        _ => stdout.write_all(text.as_bytes())?,
    }
    stdout.flush()
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

/// What stands for a model in results: the beginning of its root hash, and the heads that are
/// muted.
fn model_digest(model: &PixelModel, mute: &[(u32, u32)]) -> String {
    let mut digest: String = crate::pxi::hex(&model.header().root[..16]);
    // Sorted and each once: how --mute was written makes no other model.
    let muted: BTreeSet<&(u32, u32)> = mute.iter().collect();
    muted
        .into_iter()
        .for_each(|(layer, head)| digest.push_str(&format!(" without {layer}.{head}")));
    digest
}

fn open_output(
    args: &BatchArgs,
    input: Option<&mut InputFile>,
    found: &mut KeptResults,
) -> anyhow::Result<Option<OutputFile>> {
    let Some(path) = &args.output else { return Ok(None) };
    if path.as_os_str() == "-" {
        anyhow::ensure!(!args.resume, "standard output cannot be resumed; give --output a file");
        return Ok(Some(OutputFile::stream(terminal::stdout().with_escapes(Escapes::Json))));
    }
    anyhow::ensure!(
        !args.resume || input.is_some(),
        "--resume goes on with a run over a file; give --input"
    );
    let (output, resumed) = match input {
        Some(input) => {
            OutputFile::open_judged(path, args.existing(), |line| found.judge(line, input))?
        }
        None => OutputFile::open(path, args.existing(), |_| false)?,
    };
    let Resumed { kept, strangers, retried, torn_in_bytes } = resumed;
    if args.resume && !args.quiet {
        let torn = if torn_in_bytes > 0 { ", one torn line cut off" } else { "" };
        let _ =
            writeln!(terminal::stderr(), "resuming: {kept} results kept, {retried} to retry{torn}");
    }
    if strangers > 0 {
        print_warning(&format!(
            "{}: {strangers} results are of requests that the input does not have",
            path.display()
        ));
    }
    Ok(Some(output))
}

/// How many positions the prompts of the command line need with their answers; `None` where they
/// are not known yet or do not fit.
fn context_of(
    source: PromptSource<'_>,
    defaults: &Defaults,
    text: &ModelText,
    model: &PixelModel,
) -> Option<u32> {
    let PromptSource::Prompts(prompts) = source else { return None };
    let longest = prompts
        .iter()
        .map(|prompt| {
            // What cannot be encoded fails by itself and needs no room.
            text.encode(&defaults.request(String::new(), prompt).prompt).map_or(0, |ids| ids.len())
        })
        .max()?;
    let needed = u32::try_from(longest)
        .ok()?
        .checked_add(defaults.max_tokens)?
        .checked_next_multiple_of(64)?;
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
struct RunOutput<'t> {
    /// `None` where text is shown as it comes.
    output: Option<OutputFile>,
    bar: ProgressBar,
    /// Text of prompts whose turn has not come, and whether they are finished.
    live: BTreeMap<u64, (String, bool)>,
    /// The prompt whose text is being shown.
    shown: u64,
    /// What stands above each answer, where there are several.
    titles: Vec<String>,
    /// The one that came last.
    answer: Option<Answer>,
    text: &'t ModelText,
    model: String,
    /// What stands for the model in results: [`ResultContext::model_digest`].
    model_digest: String,
    start: Instant,
    /// Until the first word, where words are shown.
    reading: Option<Doing>,
}

impl RunOutput<'_> {
    /// Ends the view of a run; `None` where whoever read the results has seen enough.
    fn end(
        &mut self,
        outcome: Result<RunOutcome, RunError>,
        ended_early: impl FnOnce() -> String,
    ) -> anyhow::Result<Option<RunOutcome>> {
        self.bar.finish_and_clear();
        self.reading = None;
        // Also where the run failed: what was answered until then is there for --resume.
        let synced = self.output.as_mut().map_or(Ok(()), OutputFile::sync);
        match outcome.and_then(|outcome| Ok(synced.map(|()| outcome)?)) {
            Ok(outcome) => Ok(Some(outcome)),
            Err(RunError::Output(error)) if error.is_closed_pipe() => Ok(None),
            // It says itself where the results are.
            Err(RunError::Output(error @ OutputError::Displaced { .. })) => Err(error.into()),
            Err(error) => Err(error).with_context(ended_early),
        }
    }

    fn take(&mut self, report: RunReport<'_>) -> Result<(), OutputError> {
        // Steps come while the prompt is still read, and show nothing.
        if !matches!(report, RunReport::Step(_)) {
            self.reading = None;
        }
        match report {
            RunReport::Text { number, text, .. } if self.output.is_none() => {
                self.live.entry(number).or_default().0.push_str(text);
                self.show()
            }
            RunReport::Text { .. } => Ok(()),
            RunReport::Finished { number, request, outcome } => {
                self.answer = outcome.as_ref().ok().cloned();
                if let Some(output) = &mut self.output {
                    let created = jiff::Timestamp::now().as_second();
                    let context = ResultContext {
                        model: &self.model,
                        created,
                        model_digest: Some(&self.model_digest),
                    };
                    return output.write_line(&result_line(request, outcome, &context));
                }
                let problem = match outcome {
                    Err(failure) => Some(failure.to_string()),
                    Ok(answer) => nothing_visible(answer, request, self.text),
                };
                if let Some(problem) = problem {
                    print_warning(&format!("{}: {problem}", request.id));
                }
                self.live.entry(number).or_default().1 = true;
                self.show()
            }
            RunReport::Step(progress) => {
                let snapshot = progress.snapshot(self.start.elapsed());
                self.bar.set_position(progress.already_finished + snapshot.done);
                let speed = snapshot.tokens_per_second.unwrap_or(0.0);
                let left = snapshot
                    .time_left
                    .map(|left| format!(", {} left", indicatif::HumanDuration(left)));
                self.bar.set_message(format!("{speed:.1} tokens/s{}", left.unwrap_or_default()));
                Ok(())
            }
        }
    }

    /// Shows what there is of the prompt whose turn it is, and of those after it that are finished.
    fn show(&mut self) -> Result<(), OutputError> {
        let write = |text: &str| write_answer(None, text).map_err(OutputError::Write);
        while let Some((text, finished)) = self.live.get_mut(&self.shown) {
            if let Some(title) = self.titles.get_mut(self.shown as usize) {
                // Once: it is empty from then on.
                write(&std::mem::take(title))?;
            }
            write(&std::mem::take(text))?;
            if !*finished {
                break;
            }
            let more_follow = (self.shown as usize + 1) < self.titles.len();
            write(if more_follow { "\n\n" } else { "\n" })?;
            self.live.remove(&self.shown);
            self.shown += 1;
        }
        Ok(())
    }
}
