//! `pixel-llm lineage`: every child of a model, which one is in use, and why.

mod show;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use clap::{Args, Subcommand};

use super::output::{Doing, Exit, Output, doing, print_note};
use crate::coach::ModelMark;
use crate::content::assets::Assets;
use crate::lineage::{
    CorpusExams, Gate, GateUse, Judge, Judgement, Lineage, LineageError, LineageProposal,
    LineageSettings, LineageStore, LineageVerdict, MadeBy, MakingOf, MeasureListener, base, export,
    paint, short,
};
use crate::model::PixelModel;
use crate::outputs::{Format, check_output};
use crate::pxi::Target;

/// Arguments of `lineage`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = false,
    after_help = "A model's children are in a folder of the user's data, beside the coach's queue. \
        Agents make them (`coach run --phase 5`), and so does whoever has a file: `judge FILE` \
        takes it as a candidate. What decides is a gate, a content of mods: it measures the \
        child's file, and what was written of it changes nothing. A child that passed is promoted \
        with a person's leave, which is this command.

Examples:
  pixel-llm lineage                            of the built-in model
  pixel-llm lineage model.gguf --png family.png
  pixel-llm lineage show 3fa81c
  pixel-llm lineage judge smaller.pxi --gate refit
  pixel-llm lineage promote 3fa81c
  pixel-llm lineage back                       the one before is in use again
  pixel-llm lineage write 3fa81c --output child.gguf
  pixel-llm lineage --model model.gguf delete 3fa81c

Exit codes: 0 done, 1 something is not as it should be or a gate says no, 2 cannot run."
)]
pub struct LineageArgs {
    /// The model that all others come from; the built-in one when left out.
    model: Option<PathBuf>,
    /// The same, where an action is named.
    #[arg(long = "model", global = true, value_name = "MODEL", id = "founder")]
    of_model: Option<PathBuf>,
    /// The folder with lineage.json [default: the model's in the user's data folder].
    #[arg(long, global = true, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Paint it: an island for each model.
    #[arg(long, value_name = "FILE.png")]
    png: Option<PathBuf>,
    /// Replace the picture if it exists.
    #[arg(long, requires = "png")]
    overwrite: bool,
    #[command(subcommand)]
    command: Option<LineageCommand>,
}

#[derive(Debug, Subcommand)]
enum LineageCommand {
    /// Everything about one model.
    Show {
        /// Its root hash, or the first digits of it.
        digest: String,
    },
    /// Have a gate measure a candidate, or a file that becomes one.
    Judge {
        /// Its root hash, or the first digits, or a .pxi file.
        what: String,
        /// The gate [default: the one that it was proposed for].
        #[arg(long, value_name = "NAME")]
        gate: Option<String>,
    },
    /// Measure a child once more, and put it in the place of the current one if it passes.
    Promote {
        /// Its root hash, or the first digits of it.
        digest: String,
    },
    /// Take the current one out of use: the one before is in use again.
    Back,
    /// Delete a child's file; its entries stay.
    Delete {
        /// Its root hash, or the first digits of it.
        digest: String,
    },
    /// Write a child as a GGUF file that tells where it comes from.
    Write {
        /// Its root hash, or the first digits of it; the current one when left out.
        digest: Option<String>,
        /// The file to write.
        #[arg(long, value_name = "FILE.gguf")]
        output: PathBuf,
        /// Replace the file if it exists.
        #[arg(long)]
        overwrite: bool,
    },
}

/// What is being measured, shown until the next begins.
#[derive(Default)]
struct MeasureShown {
    now: Mutex<Option<Doing>>,
    stop: AtomicBool,
}

impl MeasureListener for MeasureShown {
    fn begins(&self, what: &str) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        // The one before goes first: two at once would overwrite each other.
        drop(now.take());
        *now = Some(doing(what));
    }

    fn stop(&self) -> &AtomicBool {
        &self.stop
    }
}

/// A family and what belongs to it.
struct Family<'a> {
    founder: Arc<PixelModel>,
    store: LineageStore,
    assets: &'a Assets,
}

/// Runs `lineage`.
///
/// # Errors
/// There is no lineage, it contradicts itself, or what is asked for cannot be done.
pub fn run(args: LineageArgs, assets: &Assets, out: &mut Output) -> anyhow::Result<Exit> {
    let model = match (&args.model, &args.of_model) {
        (Some(one), Some(other)) if one != other => {
            anyhow::bail!("two models are named, {} and {}", one.display(), other.display())
        }
        (one, other) => one.as_deref().or(other.as_deref()),
    };
    let founder = Arc::new(super::open_model_quickly(model, assets)?);
    let folder = match args.folder {
        Some(folder) => folder,
        None => {
            let queue = super::coach::default_queue_of(&ModelMark::of(&founder))?;
            queue.parent().unwrap_or(Path::new(".")).to_owned()
        }
    };
    let store = LineageStore::in_folder(&folder);
    let family = Family { founder, store, assets };
    match args.command {
        None => family.list(args.png.map(|path| (path, args.overwrite)), out),
        Some(LineageCommand::Show { digest }) => {
            let lineage = family.store.read()?;
            let child = lineage.find(&digest)?;
            let entry = lineage.now(child).context("it was found")?;
            out.print(&entry, |entry| show::one(&lineage, entry))?;
            Ok(Exit::Ok)
        }
        Some(LineageCommand::Judge { what, gate }) => family.judge(&what, gate, out),
        Some(LineageCommand::Promote { digest }) => {
            let child = family.store.read()?.find(&digest)?.to_owned();
            let judged = family.with_judge(|judge| judge.promote(&child, &MadeBy::a_person()))?;
            tell(&family.store.read()?, &judged, out)
        }
        Some(LineageCommand::Back) => {
            let lineage = family.store.back(&MadeBy::a_person())?;
            out.print(&show::ListedFamily::new(&lineage, &family.store), show::list)?;
            Ok(Exit::Ok)
        }
        Some(LineageCommand::Delete { digest }) => {
            let child = family.store.read()?.find(&digest)?.to_owned();
            let lineage = family.store.delete(&child, &MadeBy::a_person())?;
            out.print(&show::ListedFamily::new(&lineage, &family.store), show::list)?;
            Ok(Exit::Ok)
        }
        Some(LineageCommand::Write { digest, output, overwrite }) => {
            family.write(digest.as_deref(), &output, overwrite)
        }
    }
}

fn tell(lineage: &Lineage, judged: &Judgement, out: &mut Output) -> anyhow::Result<Exit> {
    out.print(&judged.child, |child| show::one(lineage, child))?;
    Ok(if judged.passes { Exit::Ok } else { Exit::FoundBad })
}

impl Family<'_> {
    fn with_judge(
        &self,
        work: impl FnOnce(&Judge<'_>) -> Result<Judgement, LineageError>,
    ) -> Result<Judgement, LineageError> {
        let (listener, exams) = (MeasureShown::default(), CorpusExams { assets: self.assets });
        let (store, founder) = (&self.store, &self.founder);
        work(&Judge { store, founder, exams: &exams, listener: &listener })
    }

    fn list(&self, png: Option<(PathBuf, bool)>, out: &mut Output) -> anyhow::Result<Exit> {
        let lineage = self.store.read()?;
        if let Some((path, overwrite)) = png {
            let read = [self.store.path(), self.founder.path()];
            check_output(&path, read, Format::Png, overwrite)?;
            let picture = paint(&lineage, &self.store, &self.founder)?.picture;
            picture.write_png(Target::new(&path, overwrite))?;
        }
        let listed = show::ListedFamily::new(&lineage, &self.store);
        out.print(&listed, show::list)?;
        for problem in &listed.problems {
            print_note(problem);
        }
        Ok(if listed.problems.is_empty() { Exit::Ok } else { Exit::FoundBad })
    }

    fn judge(&self, what: &str, gate: Option<String>, out: &mut Output) -> anyhow::Result<Exit> {
        let gate = gate.map(|name| -> anyhow::Result<GateUse> {
            let data: Gate = self.assets.content("gate", &name)?;
            Ok(GateUse::new(name, data))
        });
        let gate = gate.transpose()?;
        let by = MadeBy::a_person();
        let child = if Path::new(what).is_file() {
            self.propose(Path::new(what), gate.clone(), &by)?
        } else {
            self.store.read()?.find(what)?.to_owned()
        };
        let judged = self.with_judge(|judge| judge.judge(&child, gate, &by))?;
        if judged.child.verdict == LineageVerdict::Passed {
            let child = short(&child);
            print_note(&format!("it passed: `pixel-llm lineage promote {child}` puts it in use"));
        }
        tell(&self.store.read()?, &judged, out)
    }

    /// Takes a file that somebody made as a candidate that comes from the current one. The file
    /// itself stays where it is.
    fn propose(&self, file: &Path, gate: Option<GateUse>, by: &MadeBy) -> anyhow::Result<String> {
        let gate = gate.context("name what is to judge the file with --gate, such as refit")?;
        let lineage = self.store.found(&self.founder)?;
        let child = crate::lineage::digest_of(&PixelModel::open(file)?);
        if lineage.verdict(&child).is_some() {
            return Ok(child);
        }
        let parent = lineage.current().unwrap_or_default().to_owned();
        let between = tempfile::Builder::new().suffix(".pxi").tempfile_in(self.store.folder())?;
        std::fs::copy(file, between.path())?;
        let path = between.into_temp_path();
        let proposal = LineageProposal {
            file: path.to_path_buf(),
            parents: vec![base(parent)],
            how: MakingOf::new("file").with("file", file.display().to_string()),
            texts: Vec::new(),
            by: by.clone(),
            gate,
        };
        self.store.propose(proposal, &LineageSettings::of_user()?)?;
        // It was moved to its place; there is nothing to remove.
        let _ = path.keep();
        Ok(child)
    }

    fn write(&self, digest: Option<&str>, output: &Path, overwrite: bool) -> anyhow::Result<Exit> {
        let lineage = self.store.read()?;
        let child = match digest {
            Some(digest) => lineage.find(digest)?.to_owned(),
            None => lineage.current().unwrap_or_default().to_owned(),
        };
        let read = [self.store.path(), self.founder.path()];
        check_output(output, read, Format::Gguf, overwrite)?;
        let model = self.store.open(&lineage, &child, &self.founder)?;
        export(&lineage, &model, Target::new(output, overwrite))?;
        Ok(Exit::Ok)
    }
}
