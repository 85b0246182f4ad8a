//! `pixel-llm cache`: what is kept of GGUF models and of prompts, and how to be rid of it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::numbers::human_bytes;
use super::output::{Exit, Output, print_warning};
use super::table::{Align, Table};
use crate::batch::prefixes::{self, PrefixEntry};
use crate::model::Cache;
use crate::model::resolve::{KeptEntry, limit};
use crate::terminal::one_line;
use crate::words::counted;

/// Arguments of `cache`: whether to list or to remove, and of which models.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "A GGUF model is converted once, into $PIXEL_LLM_CACHE or the platform's cache \
        folder. When a
new conversion would bring them above $PIXEL_LLM_CACHE_LIMIT (20 GiB where nobody says), those go
that were not used for longest and are not in use; one that is larger by itself is not kept. The
limit is a number and a unit, such as 500M or 8GiB: K, M, G and T are powers of 1024, as are KiB and
the like; KB, MB, GB and TB are powers of 1000. 0 keeps nothing.

Examples:
  pixel-llm cache list
  pixel-llm cache list --json | jq '.conversions[].size_in_bytes'
  pixel-llm cache clear model.gguf
  pixel-llm cache clear
  pixel-llm cache list --prompt-cache kept"
)]
pub struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// List the conversions, those first that were not used for longest.
    #[command(after_help = "Examples:\n  pixel-llm cache list --json\n  pixel-llm cache list \
                      --prompt-cache kept")]
    List {
        /// List the prompts that are kept in this folder instead.
        #[arg(long, value_name = "DIR")]
        prompt_cache: Option<PathBuf>,
    },
    /// Remove conversions and what killed runs left. What a process uses stays. Models themselves
    /// are never touched.
    #[command(
        after_help = "Examples:\n  pixel-llm cache clear model.gguf\n  pixel-llm cache clear"
    )]
    Clear {
        /// Of these models only: GGUF files, or names that the list shows.
        #[arg(value_name = "MODEL")]
        models: Vec<PathBuf>,
        /// Remove the prompts that are kept in this folder instead; other files in it stay.
        #[arg(long, value_name = "DIR", conflicts_with = "models")]
        prompt_cache: Option<PathBuf>,
    },
}

#[derive(Serialize)]
struct Listed {
    folder: PathBuf,
    limit_in_bytes: u64,
    size_in_bytes: u64,
    conversions: Vec<KeptEntry>,
}

#[derive(Serialize)]
struct Cleared {
    removed: Vec<KeptEntry>,
    size_in_bytes: u64,
    leftovers: u32,
    in_use: usize,
}

/// Runs `cache`.
///
/// # Errors
/// The cache cannot be read, a file not removed, or a model is not in it.
pub fn run(args: &CacheArgs, out: &mut Output) -> anyhow::Result<Exit> {
    let cache = Cache::default();
    match &args.command {
        CacheCommand::List { prompt_cache: Some(folder) } => list_prompts(folder, out),
        CacheCommand::List { prompt_cache: None } => list(&cache, out),
        CacheCommand::Clear { prompt_cache: Some(folder), .. } => clear_prompts(folder, out),
        CacheCommand::Clear { models, prompt_cache: None } => clear(&cache, models, out),
    }
}

fn list(cache: &Cache, out: &mut Output) -> anyhow::Result<Exit> {
    let conversions = cache.entries()?;
    let size_in_bytes = conversions.iter().map(|entry| entry.size_in_bytes).sum();
    let limit_in_bytes = limit()?;
    let listed =
        Listed { folder: cache.folder().to_owned(), limit_in_bytes, size_in_bytes, conversions };
    out.print(&listed, |listed| {
        let mut table =
            Table::new([("NAME", Align::Left), ("SIZE", Align::Right), ("MADE OF", Align::Left)]);
        for entry in &listed.conversions {
            let made_of = entry.made_of.first().map_or_else(|| "-".into(), |path| shown(path));
            table.row([name(entry), human_bytes(entry.size_in_bytes), made_of]);
        }
        let (size, limit) = (human_bytes(listed.size_in_bytes), human_bytes(listed.limit_in_bytes));
        format!("{}{size} of at most {limit} in {}\n", table.render(), shown(&listed.folder))
    })?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct KeptPrompts {
    folder: PathBuf,
    size_in_bytes: u64,
    prompts: Vec<PrefixEntry>,
}

impl KeptPrompts {
    fn new(folder: &Path, prompts: Vec<PrefixEntry>) -> Self {
        let size_in_bytes = prompts.iter().map(|entry| entry.size_in_bytes).sum();
        Self { folder: folder.to_owned(), size_in_bytes, prompts }
    }
}

fn list_prompts(folder: &Path, out: &mut Output) -> anyhow::Result<Exit> {
    let prompts = prefixes::entries(folder).with_context(|| shown(folder))?;
    let is_bad = prompts.iter().any(|entry| entry.problem.is_some());
    out.print(&KeptPrompts::new(folder, prompts), |listed| {
        let columns = ["NAME", "SIZE", "TOKENS", "MODEL"];
        let align = [Align::Left, Align::Right, Align::Right, Align::Left];
        let mut table = Table::new(std::array::from_fn::<_, 4, _>(|at| (columns[at], align[at])));
        for entry in &listed.prompts {
            let tokens = entry.tokens.map_or_else(|| "-".into(), |tokens| tokens.to_string());
            let about = entry.model.clone().or_else(|| entry.problem.clone()).unwrap_or_default();
            let name = shown(Path::new(entry.file.file_name().unwrap_or_default()));
            table.row([name, human_bytes(entry.size_in_bytes), tokens, about]);
        }
        let size = human_bytes(listed.size_in_bytes);
        format!("{}{size} in {}\n", table.render(), shown(&listed.folder))
    })?;
    Ok(if is_bad { Exit::FoundBad } else { Exit::Ok })
}

fn clear_prompts(folder: &Path, out: &mut Output) -> anyhow::Result<Exit> {
    let removed = prefixes::clear(folder).with_context(|| shown(folder))?;
    out.print(&KeptPrompts::new(folder, removed), |cleared| {
        let prompts = counted(cleared.prompts.len() as u64, "kept prompt");
        format!("{prompts} removed, {}", human_bytes(cleared.size_in_bytes))
    })?;
    Ok(Exit::Ok)
}

fn clear(cache: &Cache, models: &[PathBuf], out: &mut Output) -> anyhow::Result<Exit> {
    let mut entries = if models.is_empty() { cache.entries()? } else { Vec::new() };
    for model in models {
        let of_model = match model.exists() {
            true => cache.entries_of(model)?,
            // The model itself may be gone.
            false => cache.entries()?.into_iter().filter(|entry| is_called(entry, model)).collect(),
        };
        anyhow::ensure!(
            !of_model.is_empty(),
            "{}: nothing is kept of it; `pixel-llm cache list` shows what is",
            shown(model)
        );
        entries.extend(of_model);
    }
    let (mut removed, mut in_use) = (Vec::new(), 0);
    for entry in entries {
        if entry.remove().map_err(|error| anyhow::anyhow!("{}: {error}", shown(&entry.file)))? {
            removed.push(entry);
        } else {
            in_use += 1;
            print_warning(&format!("{} is in use, so it stays", shown(&entry.file)));
        }
    }
    let leftovers = if models.is_empty() { cache.remove_leftovers() } else { (0, 0) };
    let size_in_bytes = removed.iter().map(|entry| entry.size_in_bytes).sum::<u64>() + leftovers.1;
    let cleared = Cleared { removed, size_in_bytes, leftovers: leftovers.0, in_use };
    out.print(&cleared, |cleared| {
        let conversions = counted(cleared.removed.len() as u64, "conversion");
        let leftovers = counted(cleared.leftovers, "leftover");
        format!("{conversions} and {leftovers} removed, {}", human_bytes(cleared.size_in_bytes))
    })?;
    Ok(if in_use > 0 { Exit::FoundBad } else { Exit::Ok })
}

fn is_called(entry: &KeptEntry, model: &Path) -> bool {
    entry.file.file_name() == Some(model.as_os_str())
        || entry.made_of.iter().any(|path| path == model)
}

fn name(entry: &KeptEntry) -> String {
    shown(Path::new(entry.file.file_name().unwrap_or_default()))
}

fn shown(path: &Path) -> String {
    one_line(&path.display().to_string()).into_owned()
}
