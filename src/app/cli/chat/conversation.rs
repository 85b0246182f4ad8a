//! The turns of a conversation, and the model that answers them.
//!
//! One slot of one scheduler serves all turns: it still holds the keys and values of the turns
//! before, so that only what is new of the conversation is computed.

use std::time::Instant;

use crate::app::cli::output::{print_note, print_warning};
use crate::app::cli::run::{forget_interrupt, interruptible, nothing_visible, write_answer};
use crate::batch::request::{Defaults, Request};
use crate::batch::{
    Answer, Failure, FinishReason, Message, ModelText, OutputError, Progress, Prompt, RequestEvent,
    RunOutcome, RunReport, Scheduler, TextModel, run_on,
};
use crate::engine::Engine;

use super::{is_seen, shade};

/// What came of a turn.
pub(crate) enum TurnResult {
    /// The answer, which has been shown.
    Answered(Answer),
    /// Nothing was answered and the question is not part of the conversation: why, in words.
    Refused(String),
}

/// A conversation with a model.
pub(crate) struct ChatSession<'t, 'e> {
    text: &'t ModelText,
    engine: &'e mut dyn Engine,
    scheduler: Scheduler<'t>,
    defaults: Defaults,
    system: Option<String>,
    /// Questions and answers in turn.
    messages: Vec<Message>,
    /// How many of the first messages the model does not see any more.
    left_out: usize,
    /// Requests so far: each has draws of its own.
    asked: u64,
}

impl<'t, 'e> ChatSession<'t, 'e> {
    /// A conversation in which nothing was said.
    pub fn new(
        text: &'t ModelText,
        (scheduler, engine): (Scheduler<'t>, &'e mut dyn Engine),
        defaults: Defaults,
        system: Option<String>,
    ) -> Self {
        let system = system.filter(|system| !system.is_empty());
        Self {
            text,
            engine,
            scheduler,
            defaults,
            system,
            messages: Vec::new(),
            left_out: 0,
            asked: 0,
        }
    }

    /// The system message, if there is one.
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// Changes the system message from the next answer on.
    pub(crate) fn set_system(&mut self, system: String) {
        self.system = Some(system);
    }

    /// Forgets all but the system message.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.left_out = 0;
    }

    /// Takes the last question and its answer back, and gives the question.
    pub fn undo(&mut self) -> Option<String> {
        self.messages.pop()?;
        let question = self.messages.pop();
        self.left_out = self.left_out.min(self.messages.len());
        question.and_then(|message| message.content)
    }

    /// All that was said, the system message first.
    pub fn messages(&self) -> Vec<Message> {
        self.with_system(&self.messages)
    }

    /// Answers a message and shows the answer as it is made.
    ///
    /// # Errors
    /// The engine stopped, or standard output is closed.
    pub fn ask(&mut self, question: &str) -> anyhow::Result<TurnResult> {
        self.messages.push(message("user", question));
        let turn = self.answer();
        if !matches!(turn, Ok(TurnResult::Answered(_))) {
            self.messages.pop();
        }
        turn
    }

    /// Answers the last question anew.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn retry(&mut self) -> anyhow::Result<TurnResult> {
        let Some(before) = self.messages.pop() else {
            return Ok(TurnResult::Refused("there is no answer to give anew".into()));
        };
        let turn = self.answer();
        if !matches!(turn, Ok(TurnResult::Answered(_))) {
            self.messages.push(before);
        }
        turn
    }

    fn with_system(&self, messages: &[Message]) -> Vec<Message> {
        let system = self.system.iter().map(|text| message("system", text));
        system.chain(messages.iter().cloned()).collect()
    }

    /// The prompt that fits, with room for an answer; oldest turns are left out for it, and that is
    /// said.
    fn fit(&mut self) -> Result<(Prompt, u32), String> {
        let context = self.engine.capacity().context;
        // At most a quarter, or a large --max-tokens would leave no room for what was said.
        let wanted = (self.defaults.max_tokens as usize).min(context / 4).max(1);
        let before = self.left_out;
        loop {
            let prompt = Prompt::Chat(self.with_system(&self.messages[self.left_out..]).into());
            let len = self.text.encode(&prompt).map_err(|error| error.to_string())?.len();
            // The question itself is never left out.
            let older = self.messages.len() - self.left_out > 2;
            if len + wanted > context && older {
                // With its answer, so that what is left begins with a question.
                self.left_out += 2;
                continue;
            }
            if len >= context {
                // Refused, so that nothing changes: the next question may be shorter.
                self.left_out = before;
                let failure = Failure::PromptTooLong { prompt: len, context };
                return Err(format!("{failure}: say it shorter, or begin with a larger --context"));
            }
            if self.left_out > before {
                print_note(&format!(
                    "the context of {context} tokens is full: the model no longer sees the oldest \
                     {} messages",
                    self.left_out
                ));
            }
            return Ok((prompt, u32::try_from(context - len).unwrap_or(u32::MAX)));
        }
    }

    fn answer(&mut self) -> anyhow::Result<TurnResult> {
        let (prompt, room) = match self.fit() {
            Ok(fitting) => fitting,
            Err(problem) => return Ok(TurnResult::Refused(problem)),
        };
        // Draws depend on the id, so that the same question anew may have another answer.
        self.asked += 1;
        let max_tokens = self.defaults.max_tokens.min(room);
        let plain = self.defaults.request(format!("turn-{}", self.asked), "");
        let request = Request { prompt, max_tokens, ..plain };
        let (finished, cancelled) = self.run(request.clone())?;
        let answer = match finished {
            Some(Ok(answer)) => answer,
            Some(Err(failure)) => return Ok(TurnResult::Refused(failure.to_string())),
            None => return Ok(TurnResult::Refused("stopped before the answer began".into())),
        };
        write_answer(None, "\n")?;
        if answer.text.trim().is_empty() {
            let why = match nothing_visible(&answer, &request, self.text) {
                Some(why) if !cancelled => why,
                _ => "stopped before the answer began".into(),
            };
            return Ok(TurnResult::Refused(format!("{why} (the question is taken back)")));
        }
        if cancelled {
            print_note("stopped; what was said so far stays in the conversation");
        } else if answer.finish == FinishReason::Length && max_tokens == room {
            print_warning(
                "the context is full, so the answer ends here; a larger --context has room for \
                 more",
            );
        } else if answer.finish == FinishReason::Length {
            print_note(&format!("the answer is cut off at {max_tokens} tokens (--max-tokens)"));
        }
        self.messages.push(message("assistant", &answer.text));
        Ok(TurnResult::Answered(answer))
    }

    /// Runs a request to its end, or until it is interrupted, which is the second part of what it
    /// gives.
    fn run(&mut self, request: Request) -> anyhow::Result<(Option<Result<Answer, Failure>>, bool)> {
        let mut finished = None;
        let mut progress = Progress::new(1, 0);
        let start = Instant::now();
        forget_interrupt();
        let (scheduler, engine) = (&mut self.scheduler, &mut *self.engine);
        let outcome = interruptible(|cancel| {
            run_on(scheduler, engine, [Ok(request)], &mut progress, cancel, |report| match report {
                RunReport::Text { text, logprob, drafted, .. } => show(text, logprob, drafted),
                RunReport::Finished { outcome, .. } => {
                    finished = Some(outcome.clone());
                    Ok(())
                }
                RunReport::Note(note) => {
                    print_warning(note);
                    Ok(())
                }
                RunReport::Step(_) | RunReport::Started { .. } | RunReport::Refused(_) => Ok(()),
            })
        })?;
        let cancelled = outcome == RunOutcome::Cancelled;
        if cancelled {
            // What there is becomes an answer, and text that was held back is given.
            self.scheduler.stop(start.elapsed());
            for event in self.scheduler.take_events() {
                match event {
                    RequestEvent::Text { text, logprob, drafted, .. } => {
                        show(&text, logprob, drafted)?;
                    }
                    RequestEvent::Finished { outcome, .. } => finished = Some(outcome),
                }
            }
        }
        Ok((finished, cancelled))
    }
}

fn show(text: &str, logprob: Option<f32>, drafted: bool) -> Result<(), OutputError> {
    let style = logprob.filter(|_| is_seen()).and_then(|logprob| shade::of(logprob, drafted));
    write_answer(style.as_deref(), text).map_err(OutputError::Write)
}

fn message(role: &str, content: &str) -> Message {
    Message::new(role, content)
}
