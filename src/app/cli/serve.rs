//! `pixel-llm serve`: an OpenAI endpoint over HTTP.
//!
//! Comes in: a model and where to listen. Goes out: answers to whoever asks there, until a signal
//! ends it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::draft::DraftArgs;
use super::engine::{Device, GpuMemory, PrecisionArgs, open_engine};
use super::lora::LoraArgs;
use super::open_model;
use super::output::{Exit, Output, print_note, print_warning};
use super::prompt_cache::PromptCacheArgs;
use super::run::{SamplingArgs, interruptible};
use crate::batch::prefixes::KeepRule;
use crate::batch::request::{DEFAULT_MAX_TOKENS, Defaults};
use crate::batch::{ModelText, RunOutcome, Scheduler, TextModel};
use crate::content::assets::Assets;
use crate::serve::{
    ApiKeys, HttpServer, RequestQueue, ServedModel, ServerMetrics, ServerState, answer_queue,
};

/// Positions of a slot, if nobody says: room for a conversation, in little memory.
const DEFAULT_CONTEXT: u32 = 2048;

/// The most connections at once, where the system allows as many files.
const MOST_CONNECTIONS: usize = 8192;

/// Files that are no connections.
const OTHER_FILES: u64 = 64;

/// Arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pixel-llm serve model.gguf
  pixel-llm serve model.gguf --port 9000 --parallel 16 --context 4096 --device cpu
  pixel-llm serve model.gguf --lora facts=facts.gguf
  pixel-llm serve model.gguf --host 0.0.0.0 --api-key-file keys.txt
  curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Why is the sky blue?\"}]}'

Any OpenAI client takes http://127.0.0.1:8080/v1 as its base URL. An adapter of --lora NAME=FILE \
is asked for by \"model\": \"NAME\". SIGTERM or Ctrl-C ends the server once running requests are \
answered, a second one at once. specs/serve.md has the paths and what is promised of them.")]
pub struct ServeArgs {
    /// A PXI-LLM or GGUF file; the built-in model when left out.
    pub model: Option<PathBuf>,

    /// The address to listen on. One that other machines reach wants --api-key-file or --no-key.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", help_heading = "Serving")]
    pub host: IpAddr,
    /// The port to listen on; 0 is any that is free.
    #[arg(long, value_name = "PORT", default_value_t = 8080, help_heading = "Serving")]
    pub port: u16,
    /// The name under which requests ask for the model [default: what its file says].
    #[arg(long, value_name = "NAME", help_heading = "Serving")]
    pub name: Option<String>,
    /// Answer only who sends one of the keys in this file, one a line, as `Authorization: Bearer`.
    #[arg(long, value_name = "FILE", conflicts_with = "no_key", help_heading = "Serving")]
    pub api_key_file: Option<PathBuf>,
    /// Let whoever reaches the address ask without a key.
    #[arg(long, help_heading = "Serving")]
    pub no_key: bool,
    /// How many requests may wait for a slot; others are told to come again (429).
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1024,
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Serving",
    )]
    pub queue: u32,
    /// How long what is asked already may take once the server is told to end, such as 30s or 5m.
    #[arg(long, value_name = "TIME", default_value = "30s", help_heading = "Serving")]
    pub grace: GraceTime,

    /// How tokens are chosen where a request does not say.
    #[command(flatten)]
    pub sampling: SamplingArgs,

    /// How many requests to answer at once.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..=256),
        help_heading = "Running",
    )]
    pub parallel: u16,
    /// How many tokens of prompt and answer each of them has room for [default: 2048, or what the
    /// model was made for].
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Running",
    )]
    pub context: Option<u32>,
    /// What computes. Auto takes a GPU where there is one, else the processor.
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

/// A time as a person writes it: a number of seconds, or with `s`, `m` or `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraceTime(Duration);

impl FromStr for GraceTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = match text.strip_suffix(['s', 'm', 'h']) {
            Some(digits) => (digits, &text[digits.len()..]),
            None => (text, "s"),
        };
        let seconds = match unit {
            "m" => 60,
            "h" => 3600,
            _ => 1,
        };
        let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds));
        let time = seconds.map(|seconds| Self(Duration::from_secs(seconds)));
        time.ok_or_else(|| "expected a time, such as 30s, 5m or 0".into())
    }
}

/// What `--json` prints once the server answers.
#[derive(Debug, Serialize)]
struct ServerReady<'a> {
    url: String,
    model: &'a str,
    device: &'a str,
    slots: usize,
    context: usize,
}

/// Serves until a signal ends it.
///
/// # Errors
/// It cannot listen, the model cannot be opened, or its device gave out.
pub fn run(args: &ServeArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    anyhow::ensure!(
        args.host.is_loopback() || args.api_key_file.is_some() || args.no_key,
        "--host {}: other machines may reach this address; give --api-key-file FILE, or --no-key \
         to let everybody ask",
        args.host
    );
    let keys = args.api_key_file.as_deref().map(ApiKeys::read).transpose()?;
    let queue = Arc::new(RequestQueue::new(args.queue as usize));
    let metrics = Arc::new(ServerMetrics::default());
    let state = Arc::new(ServerState::new(Arc::clone(&queue), Arc::clone(&metrics), keys));
    let address = SocketAddr::new(args.host, args.port);
    // Before the model is opened, which may take long: /health says so meanwhile.
    let server = HttpServer::start(address, connections(), Arc::clone(&state))?;
    print_note(&format!("listening on http://{}", server.address()));
    let served = serve(args, assets, out, &server, &state, (&queue, &metrics));
    server.finish();
    served
}

fn serve(
    args: &ServeArgs,
    assets: &Assets,
    out: &mut Output,
    server: &HttpServer,
    state: &ServerState,
    (queue, metrics): (&RequestQueue, &ServerMetrics),
) -> anyhow::Result<Exit> {
    let model = open_model(args.model.as_deref(), assets)?;
    let text = ModelText::new(&model).context("the model's tokenizer cannot be used")?;
    text.warnings().iter().for_each(|warning| print_warning(warning));
    let text = Arc::new(text);
    let names = args.lora.names()?;
    let adapters = args.lora.load(&model, true)?;
    let drafts = args.draft.check(&model, &text, assets)?;
    let made_for = model.config().context_length;
    let context = args.context.unwrap_or(DEFAULT_CONTEXT.min(made_for));
    let root = crate::pxi::hex(&model.header().root);
    let device = args.prompt_cache.device(args.device)?;
    let room = (args.memory, args.precision, adapters);
    let mut engine = open_engine(device, model, args.parallel.into(), Some(context), room)?;
    let capacity = engine.capacity();
    let drafts = drafts.open(capacity)?;
    let prefixes = args.prompt_cache.open(KeepRule::Shared, &*engine)?;
    let mut scheduler =
        Scheduler::new(&*text, capacity).drafting(drafts).keeping(prefixes).telling_scores();
    let name = args.name.clone().unwrap_or_else(|| text.name().to_owned());
    anyhow::ensure!(
        !names.contains(&name),
        "--lora: an adapter is called {name:?}, as the model is; name it: --lora OTHER=FILE"
    );
    let ready = ServerReady {
        url: format!("http://{}", server.address()),
        model: &name,
        device: &engine.device(),
        slots: capacity.slots,
        context: capacity.context,
    };
    out.print(&ready, |ready| {
        format!(
            "{} on {}: {} at once, {} tokens each; {}/v1\n",
            ready.model, ready.device, ready.slots, ready.context, ready.url
        )
    })?;
    out.flush()?;
    state.open(ServedModel {
        text: Arc::clone(&text),
        name,
        adapters: names.clone(),
        defaults: Defaults {
            sampling: args.sampling.params(),
            max_tokens: args.sampling.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
            stop: args.sampling.stops(),
            adapters: names,
            ..Defaults::default()
        },
        capacity,
        device: engine.device(),
        root,
        created: jiff::Timestamp::now().as_second(),
    });
    let grace = args.grace.0;
    let outcome = interruptible(|stop| {
        answer_queue(&mut scheduler, &mut *engine, queue, metrics, stop, grace, print_warning)
    })?;
    // Cut off are those whose time was over.
    Ok(if outcome == RunOutcome::Complete { Exit::Ok } else { Exit::FoundBad })
}

/// How many connections may be open: what the system allows, less what else is open.
fn connections() -> usize {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
            let wanted = hard.min(MOST_CONNECTIONS as u64 + OTHER_FILES).max(soft);
            let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok();
            let files = if raised { wanted } else { soft };
            let files = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX);
            return files.clamp(1, MOST_CONNECTIONS);
        }
    }
    // What systems allow at the least.
    192
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_or_without_a_unit() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("0", 0), ("2h", 7200)] {
            assert_eq!(text.parse(), Ok(GraceTime(Duration::from_secs(seconds))), "{text}");
        }
        for text in ["", "s", "1d", "-1", "1.5s", "99999999999999999999", "18446744073709551615h"] {
            assert!(text.parse::<GraceTime>().is_err(), "{text}");
        }
    }
}
