//! How a run is shown: text as it comes, results to their file, counts to a bar, and its last line.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{BatchArgs, PromptSource};
use crate::app::cli::draft::{draft_line, drafts_in_words};
use crate::app::cli::output::{Doing, Exit, Output, print_warning};
use crate::batch::output::{ResultContext, refused_line, result_line_of};
use crate::batch::{
    Answer, FinishReason, ModelText, OutputError, OutputFile, Progress, Prompt, Request, RunError,
    RunOutcome, RunReport, TextModel,
};
use crate::terminal;

/// How much of a prompt stands above its answer.
const MOST_OF_PROMPT: usize = 60;

/// How a run went, for `--json` and for the last line on standard error.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    requests: u64,
    already_finished: u64,
    succeeded: u64,
    failed: u64,
    skipped_lines: u64,
    prompt_tokens: u64,
    shared_prompt_tokens: u64,
    loaded_prompt_tokens: u64,
    completion_tokens: u64,
    drafted_tokens: u64,
    accepted_tokens: u64,
    seconds: f64,
    cancelled: bool,
}

impl Summary {
    pub(super) fn new(
        progress: &Progress,
        skipped_lines: u64,
        took: Duration,
        cancelled: bool,
    ) -> Self {
        Self {
            requests: progress.total,
            already_finished: progress.already_finished,
            succeeded: progress.succeeded,
            failed: progress.failed,
            skipped_lines,
            prompt_tokens: progress.prompt_tokens,
            shared_prompt_tokens: progress.shared_tokens,
            loaded_prompt_tokens: progress.loaded_tokens,
            completion_tokens: progress.completion_tokens,
            drafted_tokens: progress.drafted_tokens,
            accepted_tokens: progress.accepted_tokens,
            seconds: took.as_secs_f64(),
            cancelled,
        }
    }

    fn line(&self) -> String {
        // Shared tokens were copied and not computed.
        let tokens = self.prompt_tokens - self.shared_prompt_tokens + self.completion_tokens;
        let speed = if self.seconds > 0.0 { tokens as f64 / self.seconds } else { 0.0 };
        let mut line = format!(
            "{} answered, {} failed in {:.1} s: {} prompt tokens ({} shared{}), {} made, \
             {speed:.1} tokens/s",
            self.succeeded,
            self.failed,
            self.seconds,
            self.prompt_tokens,
            self.shared_prompt_tokens,
            from_disk(self.loaded_prompt_tokens),
            self.completion_tokens
        );
        line.push_str(&drafts_in_words(self.accepted_tokens, self.drafted_tokens));
        if self.cancelled {
            line.push_str("; stopped before the end, go on by --resume");
        }
        line
    }

    /// As JSON where results go to a file, else as a line on standard error; of the only answer of
    /// a run whose text was shown, its speed.
    pub(super) fn print(
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

    pub(super) fn exit(&self) -> Exit {
        if self.failed > 0 || self.skipped_lines > 0 || self.cancelled {
            Exit::FoundBad
        } else {
            Exit::Ok
        }
    }
}

/// What stands above each answer, where there are several.
pub(super) fn titles(source: PromptSource<'_>) -> Vec<String> {
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
    let drafts = draft_line(answer);
    let loaded = match answer.loaded_tokens {
        0 => String::new(),
        loaded => format!(", {loaded} of {} prompt tokens from disk", answer.prompt_tokens),
    };
    format!("{tokens} token{plural}{speed}, the first after {first:.2} s{loaded}{drafts}")
}

fn from_disk(tokens: u64) -> String {
    if tokens > 0 { format!(", {tokens} of them from disk") } else { String::new() }
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

/// How far a run over a file is, on a terminal.
pub(super) fn bar(args: &BatchArgs, from_file: bool, total: u64) -> ProgressBar {
    if args.quiet || !from_file || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("[{bar:32}] {pos}/{len} {msg}");
    let style = style.expect("the template is well formed");
    ProgressBar::new(total).with_style(style.progress_chars("=> "))
}

/// Where reports go: results to the output, text to the terminal, counts to the bar.
pub(super) struct RunOutput<'t> {
    /// `None` where text is shown as it comes.
    pub(super) output: Option<OutputFile>,
    pub(super) bar: ProgressBar,
    /// Text of prompts whose turn has not come, and whether they are finished.
    pub(super) live: BTreeMap<u64, (String, bool)>,
    /// The prompt whose text is being shown.
    pub(super) shown: u64,
    /// What stands above each answer, where there are several.
    pub(super) titles: Vec<String>,
    /// The one that came last.
    pub(super) answer: Option<Answer>,
    pub(super) text: &'t ModelText,
    pub(super) model: String,
    /// What stands for the model in results: [`ResultContext::model_digest`].
    pub(super) model_digest: String,
    pub(super) start: Instant,
    /// Until the first word, where words are shown.
    pub(super) reading: Option<Doing>,
}

impl RunOutput<'_> {
    /// Ends the view of a run; `None` where whoever read the results has seen enough.
    pub(super) fn end(
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

    pub(super) fn take(&mut self, report: RunReport<'_>) -> Result<(), OutputError> {
        // Steps come while the prompt is still read, and show nothing.
        if !matches!(report, RunReport::Step(_) | RunReport::Note(_) | RunReport::Started { .. }) {
            self.reading = None;
        }
        match report {
            RunReport::Text { number, text, .. } if self.output.is_none() => {
                self.live.entry(number).or_default().0.push_str(text);
                self.show()
            }
            RunReport::Text { .. } | RunReport::Started { .. } => Ok(()),
            RunReport::Refused(line) => match &mut self.output {
                Some(output) => output.write_line(&refused_line(line)),
                None => Ok(()),
            },
            RunReport::Note(note) => {
                print_warning(note);
                Ok(())
            }
            RunReport::Finished { number, request, outcome, more } => {
                self.answer = outcome.as_ref().ok().cloned();
                if let Some(output) = &mut self.output {
                    let created = jiff::Timestamp::now().as_second();
                    let context = ResultContext {
                        model: &self.model,
                        created,
                        model_digest: Some(&self.model_digest),
                    };
                    return output.write_line(&result_line_of(request, outcome, more, &context));
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
