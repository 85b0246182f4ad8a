//! `pixel-llm chat`: a conversation in the terminal.
//!
//! Comes in: lines of a person, or of a pipe. Goes out: answers on standard output as they are
//! made; everything else, such as replies to `/commands` and tokens per second, on standard error.

mod commands;
mod conversation;
mod lines;
mod shade;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use self::commands::{Command, HELP};
use self::conversation::{ChatSession, TurnResult};
pub use self::lines::give_terminal_back;
use self::lines::{ChatInput, ChatReader};
use super::draft::DraftArgs;
use super::engine::{Device, GpuMemory, PrecisionArgs, open_engine};
use super::lora::LoraArgs;
use super::open_model;
use super::output::{Exit, Output, print_note, print_warning};
use super::prompt_cache::PromptCacheArgs;
use super::run::{self, CHATML_ENDS, SamplingArgs};
use crate::batch::prefixes::KeepRule;
use crate::batch::request::{Defaults, MAX_STOPS, PromptMode};
use crate::batch::{ModelText, Scheduler, TextModel};
use crate::content::assets::Assets;
use crate::engine::Engine;
use crate::model::PixelModel;
use crate::terminal;

/// Positions of a conversation where nobody says: the cache of keys and values takes memory for
/// each.
const CONTEXT: u32 = 4096;

/// The most tokens of an answer where nobody says.
const MAX_TOKENS: u32 = 1024;

/// Arguments of a conversation.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pixel-llm chat
  pixel-llm chat model.gguf --system \"Answer in one sentence.\" --temperature 0
  pixel-llm chat model.gguf --show-probabilities
  pixel-llm chat model.gguf --lora adapter.gguf:0.5
  pixel-llm chat model.gguf --system \"$(cat rules.txt)\" --prompt-cache kept
  printf 'Hello\\nWho are you?\\n' | pixel-llm chat --quiet

In the conversation, /help lists the commands. Ctrl-C stops an answer, and once more
the program where the answer goes on; at the prompt, Ctrl-D or Ctrl-C twice ends.")]
pub struct ChatArgs {
    /// A PXI-LLM or GGUF file; the built-in model when left out.
    pub model: Option<PathBuf>,
    /// What the model is told before the conversation.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub system: Option<String>,
    /// Colour each token by its probability: the redder, the less sure; tokens that had been
    /// drafted are underlined. On a terminal only.
    #[arg(long)]
    pub show_probabilities: bool,
    /// Only the answers: no greeting and no tokens per second; warnings and errors stay.
    #[arg(long, short)]
    pub quiet: bool,
    /// How tokens are chosen.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// How many tokens of the conversation the model sees
    /// [default: what the model was made for, at most 4096, on a GPU 2048].
    #[arg(long, value_name = "N", help_heading = "Running")]
    #[arg(value_parser = clap::value_parser!(u32).range(2..))]
    pub context: Option<u32>,
    /// What computes. Auto takes what is faster here.
    #[arg(long, value_enum, default_value_t = Device::Auto, help_heading = "Running")]
    pub device: Device,
    /// How much of a GPU the model may take.
    #[command(flatten)]
    pub memory: GpuMemory,
    /// How exact the numbers are that a pass keeps and computes with.
    #[command(flatten)]
    pub precision: PrecisionArgs,
    /// Which adapters it computes with.
    #[command(flatten)]
    pub lora: LoraArgs,
    /// How answers are drafted.
    #[command(flatten)]
    pub draft: DraftArgs,
    /// Prompts that are kept on disk.
    #[command(flatten)]
    pub prompt_cache: PromptCacheArgs,
}

impl ChatArgs {
    fn defaults(&self, text: &ModelText) -> Defaults {
        let mut stop = self.sampling.stops();
        if !text.brings_chat_template() {
            stop.extend(CHATML_ENDS.map(String::from));
        }
        Defaults {
            sampling: self.sampling.params(),
            max_tokens: self.sampling.max_tokens.unwrap_or(MAX_TOKENS),
            stop,
            // No alternatives: the token that was drawn has its own probability in any case.
            logprobs: (self.show_probabilities && shade::is_possible()).then_some(0),
            prompt_logprobs: None,
            mode: PromptMode::Chat,
            system: None,
            template_variables: Vec::new(),
            adapters: Vec::new(),
        }
    }
}

/// Holds a conversation until the person ends it.
///
/// # Errors
/// The model cannot be used, or standard input or output gave out.
pub fn run(args: &ChatArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    anyhow::ensure!(
        !out.is_json(),
        "a chat has no JSON; `pixel-llm run --json` answers prompts as JSON"
    );
    let stops = args.sampling.stop.len();
    anyhow::ensure!(stops <= MAX_STOPS, "{stops} stop texts; expected at most {MAX_STOPS}");
    anyhow::ensure!(
        args.sampling.max_tokens != Some(0),
        "--max-tokens 0: an answer has at least one token; `pixel-llm run` looks at prompts only"
    );
    let model = open_model(args.model.as_deref(), assets)?;
    let text = ModelText::new(&model).context("the model's tokenizer cannot be used")?;
    let drafts = args.draft.check(&model, &text, assets)?;
    let mut engine = open(args, model, &text)?;
    let drafts = drafts.open(engine.capacity())?;
    let mut lines = ChatReader::open()?;
    if lines.is_terminal() && !args.quiet {
        let name = terminal::one_line(text.name());
        say(&format!(
            "A chat with {name}. /help lists the commands, Ctrl-C stops an answer, Ctrl-D ends."
        ));
    }
    // At a pipe nobody is there for whom the conversation would go on.
    if lines.is_terminal() {
        run::interrupts_end_nothing();
    }
    let defaults = args.defaults(&text);
    let prefixes = args.prompt_cache.open(KeepRule::System, &*engine)?;
    let scheduler = Scheduler::new(&text, engine.capacity()).drafting(drafts).keeping(prefixes);
    let answering: (Scheduler<'_>, &mut dyn Engine) = (scheduler, &mut *engine);
    let conversation = ChatSession::new(&text, answering, defaults, args.system.clone());
    converse(conversation, &mut lines, args.quiet)
}

/// The engine for a conversation, after all that is to be said of the model.
fn open(args: &ChatArgs, model: PixelModel, text: &ModelText) -> anyhow::Result<Box<dyn Engine>> {
    text.warnings().iter().for_each(|warning| print_warning(warning));
    // On a GPU the engine has its own, lower, usual number.
    let usual =
        (model.config().context_length > CONTEXT && args.device != Device::Gpu).then_some(CONTEXT);
    let device = args.prompt_cache.device(args.device)?;
    let room = (args.memory, args.precision, args.lora.load(&model, false)?);
    let engine = open_engine(device, model, 1, args.context.or(usual), room)?;
    if !text.brings_chat_template() {
        print_note("the model brings no chat template: the conversation is written as ChatML");
    }
    if args.show_probabilities && !shade::is_possible() {
        print_note(
            "there are no colours here (no terminal, or NO_COLOR): probabilities are not shown",
        );
    }
    Ok(engine)
}

/// Answers lines until there are none, or the person or a signal ends the conversation.
fn converse(
    mut conversation: ChatSession<'_, '_>,
    lines: &mut ChatReader,
    quiet: bool,
) -> anyhow::Result<Exit> {
    let mut exit = Exit::Ok;
    // A person sees what was refused; whoever reads the exit code of a pipe does not.
    let refused = if lines.is_terminal() { Exit::Ok } else { Exit::FoundBad };
    let mut interrupted = false;
    loop {
        let line = match lines.next()? {
            ChatInput::End => return Ok(exit),
            ChatInput::Interrupted if interrupted => return Ok(exit),
            ChatInput::Interrupted => {
                interrupted = true;
                say("Ctrl-C again, or Ctrl-D, ends the chat");
                continue;
            }
            ChatInput::Text(line) => line,
        };
        interrupted = false;
        let turn = match Command::parse(&line) {
            Ok(None) => continue,
            Ok(Some(Command::Say(text))) => conversation.ask(&text),
            Ok(Some(Command::Exit)) => return Ok(exit),
            Ok(Some(Command::Retry)) => conversation.retry(),
            Ok(Some(command)) => {
                if !obey(&mut conversation, command) {
                    exit = refused;
                }
                continue;
            }
            Err(problem) => {
                print_warning(&problem);
                exit = refused;
                continue;
            }
        };
        match turn? {
            TurnResult::Answered(answer) => {
                if !quiet {
                    say(&format!("[{}]", run::speed_line(&answer)));
                }
            }
            TurnResult::Refused(problem) => {
                print_warning(&problem);
                exit = refused;
            }
        }
        // At a terminal an interrupt has ended the answer and nothing else.
        if run::is_to_end() || (!lines.is_terminal() && run::was_interrupted()) {
            return Ok(Exit::FoundBad);
        }
    }
}

/// Does what needs no answer of the model. False where it could not be done, which is said.
fn obey(conversation: &mut ChatSession<'_, '_>, command: Command) -> bool {
    match command {
        Command::Help => say(HELP),
        Command::Clear => {
            conversation.clear();
            say("the conversation begins anew; the system message stays");
        }
        Command::System(None) => match conversation.system() {
            Some(system) => say(&terminal::lines(system)),
            None => say("there is no system message; /system TEXT gives one"),
        },
        Command::System(Some(text)) => {
            conversation.set_system(text);
            say("the model is told this from the next answer on");
        }
        Command::Undo => match conversation.undo() {
            Some(question) => say(&format!("taken back: {}", terminal::one_line(&question))),
            None => {
                print_warning("there is nothing to take back");
                return false;
            }
        },
        Command::Save(path) => match save(conversation, &path) {
            Ok(messages) => {
                let path = path.display().to_string();
                say(&format!("{}: {messages} messages", terminal::one_line(&path)));
            }
            Err(error) => {
                print_warning(&format!("{}: not saved: {error}", path.display()));
                return false;
            }
        },
        Command::Say(_) | Command::Retry | Command::Exit => {}
    }
    true
}

/// Writes the conversation as one line that `pixel-llm run --input` reads; how many messages it
/// has.
fn save(conversation: &ChatSession<'_, '_>, path: &Path) -> io::Result<usize> {
    let messages = conversation.messages();
    let objects: Vec<_> = messages
        .iter()
        .map(|message| serde_json::json!({"role": message.role, "content": message.content}))
        .collect();
    let line = serde_json::json!({"id": "chat", "messages": objects});
    // What is there is never replaced.
    let mut file = std::fs::File::create_new(path)?;
    writeln!(file, "{line}")?;
    file.sync_all()?;
    Ok(messages.len())
}

/// A word of the program beside the conversation, on standard error.
fn say(text: &str) {
    // When standard error is closed there is nobody left to tell.
    let _ = writeln!(terminal::stderr(), "{text}");
}

/// Whether a person sees the answers as they come.
fn is_seen() -> bool {
    io::stdout().is_terminal()
}
