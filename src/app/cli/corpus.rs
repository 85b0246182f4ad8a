//! `pixel-llm corpus`: lines of training data out of a corpus of the program or of a mod.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::open_model;
use super::output::{Exit, Output, print_warning};
use crate::content::assets::Assets;
use crate::pxi::{AtomicFile, Target};
use crate::training::corpus::{Corpus, CorpusLine, generate, to_json_lines};

/// Arguments of `corpus`: a name, how many lines, and where they go.
#[derive(Debug, Args)]
#[command(
    after_help = "A corpus is a content of mods, NAME.corpus.ron: templates with slots, lists, \
    numbers and rules. Written are DIR/NAME-train.jsonl and DIR/NAME-valid.jsonl; nothing that is \
    held out in the second is told in the first. The same seed gives the same lines.

Examples:
  pixel-llm corpus                                             those that there are
  pixel-llm corpus facts --lines 200 --out data
  pixel-llm corpus self --model model.gguf --lines 500 --out data
  pixel-llm mods new my-mod --kind corpus                      one of your own"
)]
pub struct CorpusArgs {
    /// Its name; all of them are listed when left out.
    name: Option<String>,
    /// Lines to learn, at most.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = count)]
    lines: usize,
    /// Lines that are held out, at most [default: a quarter of --lines].
    #[arg(long, value_name = "N", value_parser = count)]
    valid_lines: Option<usize>,
    /// What everything that is drawn follows from.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The folder of both files.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// The model that is asked about, for corpora that ask about one; else the built-in one.
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Replace files that are there.
    #[arg(long)]
    force: bool,
}

fn count(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|it| (1..=10_000_000).contains(it));
    number.ok_or_else(|| "expected a number from 1 to 10000000".into())
}

#[derive(Serialize)]
struct CorpusEntry {
    name: String,
    title: String,
    description: String,
    asks_about_a_model: bool,
}

#[derive(Serialize)]
struct CorpusReport {
    corpus: String,
    seed: u64,
    train: String,
    train_lines: usize,
    valid: String,
    valid_lines: usize,
}

/// Runs `corpus`.
///
/// # Errors
/// There is no such corpus, it asks for what there is not, or the files cannot be written.
pub fn run(args: &CorpusArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    let Some(name) = &args.name else {
        let all: Vec<CorpusEntry> = assets
            .all::<Corpus>("corpus")?
            .into_iter()
            .map(|(name, corpus)| CorpusEntry {
                name,
                asks_about_a_model: corpus.needs_model(),
                title: corpus.title,
                description: corpus.description,
            })
            .collect();
        out.print(&all, |all| {
            let line = |it: &CorpusEntry| format!("{:<12} {}\n", it.name, it.description);
            all.iter().map(line).collect()
        })?;
        return Ok(Exit::Ok);
    };
    let corpus: Corpus = assets.content("corpus", name)?;
    anyhow::ensure!(
        args.model.is_none() || corpus.needs_model(),
        "--model: the corpus {name} asks about no model; leave it out"
    );
    let file = |part: &str| args.out.join(format!("{name}-{part}.jsonl"));
    let (train, valid) = (file("train"), file("valid"));
    for path in [&train, &valid] {
        crate::outputs::refuse_existing(path, args.force)?;
    }
    let model = match corpus.needs_model() {
        true => Some(open_model(args.model.as_deref(), assets)?),
        false => None,
    };
    let wanted = (args.lines, args.valid_lines.unwrap_or(args.lines.div_ceil(4)));
    let lines = generate(&corpus, model.as_ref(), args.seed, wanted)?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    for (kind, found, wanted) in
        [("to learn", lines.train.len(), wanted.0), ("held out", lines.valid.len(), wanted.1)]
    {
        if found < wanted {
            print_warning(&format!("{name} makes {found} different lines {kind}, not {wanted}"));
        }
    }
    write(&train, &lines.train, args.force)?;
    write(&valid, &lines.valid, args.force)?;
    let report = CorpusReport {
        corpus: name.clone(),
        seed: args.seed,
        train: train.display().to_string(),
        train_lines: lines.train.len(),
        valid: valid.display().to_string(),
        valid_lines: lines.valid.len(),
    };
    out.print(&report, |it| {
        format!(
            "{} lines to learn are in {}, {} that are held out in {}",
            it.train_lines, it.train, it.valid_lines, it.valid
        )
    })?;
    Ok(Exit::Ok)
}

fn write(path: &Path, lines: &[CorpusLine], force: bool) -> anyhow::Result<()> {
    use std::io::Write;
    let bytes = to_json_lines(lines)?;
    let failed = || format!("cannot write {}", path.display());
    let mut file = AtomicFile::create(Target::new(path, force)).with_context(failed)?;
    file.write_all(&bytes).with_context(failed)?;
    file.commit().with_context(failed)
}
