//! From arguments to a finished run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;

use super::interrupt::interruptible;
use super::resume::KeptResults;
use super::show::{RunOutput, Summary, bar, titles};
use super::{BatchArgs, PromptSource, trace};
use crate::app::cli::engine::{interventions_without, open_engine_without};
use crate::app::cli::open_model;
use crate::app::cli::output::{Exit, Output, doing, print_note, print_warning};
use crate::batch::output::{Resumed, bad_line};
use crate::batch::prefixes::{KeepRule, PrefixStore};
use crate::batch::request::{Defaults, PromptMode};
use crate::batch::source::ListedRequests;
use crate::batch::{
    DraftSource, FollowedLines, InputError, InputFile, ModelText, OutputFile, Progress, Request,
    RequestSource, RunOutcome, Scheduler, TextModel, run_from,
};
use crate::content::assets::Assets;
use crate::engine::Engine;
use crate::model::PixelModel;
use crate::terminal::{self, Escapes};

/// The longest prompt that is read from a pipe: more than any context holds.
const MOST_PIPED_IN_BYTES: u64 = 16 << 20;

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
    let defaults = Defaults { adapters: args.lora.names()?, ..args.defaults() };
    // All lines are checked before the model is opened, which may take long.
    let mut input = open_input(args, source, &defaults)?;
    let mut found = KeptResults::new(args.retry_changed);
    let mut output = open_output(args, input.as_mut(), &mut found)?;
    let Opened { mut engine, text, model_digest, drafts, prefixes } =
        match open(args, source, assets, &found) {
            Ok(opened) => opened,
            Err(error) => {
                // Where nothing could run, the results of an earlier run are as they were, and no
                // new file is left.
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
    let stream_text = !args.follow && input.is_none() && output.is_none() && !out.is_json();
    if !stream_text && output.is_none() {
        output = Some(OutputFile::stream(terminal::stdout().with_escapes(Escapes::Json)));
    }
    if let (Some(input), Some(output)) = (&input, &mut output) {
        write_bad_lines(input, &defaults, output)?;
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
    let scheduler = Scheduler::new(&text, engine.capacity()).drafting(drafts);
    let mut scheduler = scheduler.keeping(prefixes);
    let mut requests: Box<dyn RequestSource + '_> = match (&input, args.follow) {
        (_, true) => Box::new(follow(source, &defaults)?),
        (Some(input), _) => Box::new(ListedRequests::new(input.requests(&defaults))),
        (None, _) => Box::new(ListedRequests::new(prompts.into_iter().map(Ok))),
    };
    let outcome = interruptible(|cancelled| {
        let (engine, requests) = (&mut *engine, &mut *requests);
        run_from(&mut scheduler, engine, requests, &mut progress, cancelled, |report| {
            view.take(report)
        })
    });
    // Of followed lines it is known only now how many there were.
    progress.total = progress.total.max(progress.done());
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

/// A line that cannot run is answered too, under its id.
fn write_bad_lines(
    input: &InputFile,
    defaults: &Defaults,
    output: &mut OutputFile,
) -> anyhow::Result<()> {
    for bad in input.bad_requests(defaults) {
        let (id, problems) = bad?;
        output.write_line(&bad_line(&id, &problems))?;
    }
    Ok(())
}

/// The lines that are answered as they come.
fn follow(source: PromptSource<'_>, defaults: &Defaults) -> anyhow::Result<FollowedLines> {
    let (name, stream): (String, Box<dyn BufRead + Send>) = match source {
        PromptSource::Prompts(_) => anyhow::bail!("--follow: give --input"),
        PromptSource::StandardInput => {
            ("standard input".to_owned(), Box::new(BufReader::new(io::stdin())))
        }
        PromptSource::File(path) => {
            let file = File::open(path);
            let file = file.with_context(|| format!("cannot read {}", path.display()))?;
            (path.display().to_string(), Box::new(BufReader::new(file)))
        }
    };
    let lines = FollowedLines::new(name, stream, defaults.clone());
    lines.context("cannot begin to read the input")
}

/// The lines of the input, checked; `None` where prompts are given, or lines as they come.
fn open_input(
    args: &BatchArgs,
    source: PromptSource<'_>,
    defaults: &Defaults,
) -> anyhow::Result<Option<InputFile>> {
    let input = match source {
        _ if args.follow => return Ok(None),
        PromptSource::Prompts(_) => return Ok(None),
        PromptSource::StandardInput => {
            let name = "standard input".to_owned();
            // All lines are checked before the first one runs, and a stream cannot be read twice.
            InputFile::spool(name, io::stdin().lock(), defaults, args.skip_bad)
        }
        PromptSource::File(path) => InputFile::open(path, defaults, args.skip_bad),
    };
    let mut input = input.map_err(explain)?;
    warn_of(&input);
    if let Some(shard) = args.shard {
        input.keep_shard(shard);
    }
    Ok(Some(input))
}

struct Opened {
    engine: Box<dyn Engine>,
    text: ModelText,
    model_digest: String,
    drafts: DraftSource,
    prefixes: Option<PrefixStore>,
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
    let adapters = args.lora.load(&model, args.input.is_some())?;
    let model_digest = model_digest(&model, &args.mute) + &args.lora.digest(&adapters);
    if let Some(path) = &args.output {
        found.check(path, &model_digest, text.name())?;
    }
    let for_prompts = args.defaults_of_prompts(&text);
    check_prompts(args, source, &for_prompts, &text)?;
    let drafts = args.draft.check(&model, &text, assets)?;
    let context = args.context.or_else(|| context_of(source, &for_prompts, &text, &model));
    let engine = open_engine_without(
        &args.mute,
        args.prompt_cache.device(args.device)?,
        model,
        args.slots(),
        context,
        (args.memory, args.precision, adapters),
    )?;
    let drafts = drafts.open(engine.capacity())?;
    let one = matches!(source, PromptSource::Prompts([_]));
    let rule = if one { KeepRule::Whole } else { KeepRule::Shared };
    let prefixes = args.prompt_cache.open(rule, &*engine)?;
    Ok(Opened { engine, text, model_digest, drafts, prefixes })
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
    let adapters = args.lora.load(&model, false)?;
    // There is one: `source` has refused any other number.
    let prompt = args.defaults_of_prompts(text).request(String::new(), &args.prompt[0]).prompt;
    let tokens = [text.encode(&prompt)?.as_slice(), answer].concat();
    if tokens.is_empty() {
        return Ok(());
    }
    let regions = trace::save(folder, Arc::new(model), &tokens, &interventions, &adapters)?;
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

/// What is there when a run ended early, and how to go on.
fn ended_early(args: &BatchArgs, kept: u64) -> String {
    match args.output.as_deref() {
        // What is no file cannot be resumed.
        Some(path) if path.is_file() && args.input.is_some() && !args.follow => {
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
