//! Work on the lineage: candidates are made of the current model, judged by their gates, promoted.
//!
//! In: `lineage.json` and the files of children in the queue's folder, and the loaded model, which
//! is the founder. Out: candidates, verdicts, `sensitivity.json`, a picture.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::school::AllExams;
use super::teach::adapter_path;
use super::{ModelContext, PauseToken, ProgressListener, TaskReport, WorkError, WorkResult};
use crate::coach::FineTune;
use crate::forward::cpu::{CpuModel, CpuOptions};
use crate::lineage::{
    CorpusExams, Gate, GateUse, Judge, Judgement, Lineage, LineageEntry, LineageError,
    LineageParent, LineageProposal, LineageSettings, LineageStore, LineageVerdict, MadeBy,
    MakingOf, MeasureListener, ParentRole, TextRole, TextUse, base, digest, digest_of, lines_use,
    origin_of, own_text, parts_of, short, text_use, tokens_of, write_child, write_merged,
};
use crate::model::{Adapter, PixelModel};
use crate::refit::{ENCODINGS, RefitProgress, RefitTask, RefitText};

/// Where sensitivities are kept, in the folder of the queue.
pub const SENSITIVITY_FILE: &str = "sensitivity.json";
/// The picture of the lineage, in the folder of the queue.
pub const LINEAGE_PICTURE_FILE: &str = "lineage.png";

impl From<LineageError> for WorkError {
    fn from(error: LineageError) -> Self {
        match error {
            LineageError::Stopped => Self::Cancelled,
            error => Self::Other(error.to_string()),
        }
    }
}

/// What is said for leave to promote a child: it is kept as leave for a command is, and no command.
pub fn of_promotion(child: &str) -> Vec<String> {
    vec!["promote".into(), child.into()]
}

/// Says what is done, waits while work is held, and is stopped with it.
pub(super) struct Slices<'a, 'b> {
    token: &'a PauseToken,
    progress: Mutex<&'a mut ProgressListener<'b>>,
    /// What is being done, and of how many steps so many are.
    at: Mutex<(String, usize, usize)>,
}

impl<'a, 'b> Slices<'a, 'b> {
    pub fn new(context: &'a ModelContext, progress: &'a mut ProgressListener<'b>) -> Self {
        let at = Mutex::new((String::new(), 0, 0));
        Self { token: &context.pause_token, progress: Mutex::new(progress), at }
    }

    /// Waits while work is held; whether it goes on.
    pub fn passes(&self) -> bool {
        self.token.pass()
    }

    pub fn start(&self, what: &str, steps: usize) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = (what.to_owned(), steps, 0);
        self.say(what.to_owned());
    }

    pub fn count(&self, steps: usize) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.2 += steps;
        let words = format!("{}, {} of {}", at.0, at.2, at.1);
        drop(at);
        self.say(words);
    }

    pub fn say(&self, what: String) {
        (self.progress.lock().unwrap_or_else(PoisonError::into_inner))(what);
    }
}

impl RefitProgress for Slices<'_, '_> {
    fn begins(&self, what: &'static str, steps: usize) {
        self.start(what, steps);
    }

    fn done(&self, steps: usize) {
        self.token.pass();
        self.count(steps);
    }
}

impl MeasureListener for Slices<'_, '_> {
    fn begins(&self, what: &str) {
        self.say(what.to_owned());
    }

    fn between(&self) {
        self.token.pass();
    }

    fn stop(&self) -> &AtomicBool {
        self.token.cancellation()
    }
}

/// The lineage of the loaded model, and its current one.
pub(super) struct OwnLineage {
    pub store: LineageStore,
    pub current: Arc<PixelModel>,
}

impl OwnLineage {
    pub fn open(context: &ModelContext) -> WorkResult<Self> {
        let store = LineageStore::in_folder(&context.folder);
        let lineage = store.found(&context.model)?;
        let current = lineage.current().unwrap_or_default();
        let current = store.open(&lineage, current, &context.model)?;
        Ok(Self { store, current })
    }
}

/// The same context on the lineage's current model.
pub(super) fn on_current(context: &ModelContext) -> WorkResult<ModelContext> {
    context.on(OwnLineage::open(context)?.current)
}

pub(super) fn gate_of(context: &ModelContext, name: &str) -> WorkResult<GateUse> {
    let Some(assets) = &context.assets else {
        return Err(WorkError::Other("no gates are known to this work".into()));
    };
    let gate: Gate = assets.content("gate", name).map_err(WorkError::other)?;
    Ok(GateUse::new(name, gate))
}

/// A calibration text of the current model's own, and another on which a refit takes its choice.
fn refit_texts(parent: &CpuModel, (tokens, seed): (u32, u64)) -> WorkResult<[RefitText; 2]> {
    let text = crate::batch::ModelText::new(parent.model())?;
    let write = |seed| own_text(parent, text.tokenizer(), tokens, seed);
    Ok([write(seed)?, write(seed.wrapping_add(3 << 32))?])
}

fn text_name((tokens, seed): (u32, u64)) -> String {
    format!("{tokens} tokens written by the model with seed {seed}")
}

/// A folder in the queue's for files that are gone again.
fn passing_folder(context: &ModelContext) -> WorkResult<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix(".child-").tempdir_in(&context.folder);
    folder.map_err(WorkError::other)
}

/// What each matrix costs in each encoding.
pub(super) fn survey_sensitivity(
    context: &ModelContext,
    text: (u32, u64),
    progress: &mut ProgressListener<'_>,
) -> WorkResult<TaskReport> {
    let own = OwnLineage::open(context)?;
    let parent = computing(&own.current)?;
    progress("the model writes a text".into());
    let [calibration, check] = refit_texts(&parent, text)?;
    let (folder, kept) = (passing_folder(context)?, context.folder.join(SENSITIVITY_FILE));
    let name = text_name(text);
    let task = task_of((&parent, &calibration, &check), (&kept, &name), folder.path());
    let found = task.survey(&Slices::new(context, progress)).map_err(WorkError::other)?;
    context.go_on()?;
    let options: usize = found.iter().map(|(_, options)| options.len()).sum();
    // Per weight: a large matrix costs more because it is large.
    let per_weight = |(name, options): &(String, Vec<crate::refit::MatrixOption>)| {
        let smallest = options.iter().min_by_key(|option| option.bytes)?;
        let weights = own.current.tensor(name)?.weight_count();
        Some((name.clone(), smallest.divergence / weights as f64))
    };
    let most = found.iter().filter_map(per_weight).max_by(|a, b| a.1.total_cmp(&b.1));
    let most = most.map_or_else(String::new, |(name, _)| {
        format!("; per weight {name} costs most in its smallest")
    });
    let mut report =
        TaskReport::new(format!("{options} encodings of {} matrices measured{most}", found.len()))
            .with("matrices", found.len() as f64)
            .with("options", options as f64);
    report.files.push(SENSITIVITY_FILE.into());
    Ok(report)
}

fn computing(model: &Arc<PixelModel>) -> WorkResult<CpuModel> {
    Ok(CpuModel::new(Arc::clone(model), CpuOptions::default())?)
}

fn task_of<'a>(
    (parent, calibration, gate): (&'a CpuModel, &'a RefitText, &'a RefitText),
    (kept, text_name): (&'a Path, &'a str),
    folder: &'a Path,
) -> RefitTask<'a> {
    RefitTask {
        parent,
        calibration,
        gate,
        most_bytes: u64::MAX,
        encodings: &ENCODINGS,
        kept: Some(kept),
        text_name,
        folder,
    }
}

/// Makes the current model smaller and proposes it.
pub(super) fn refit(
    context: &ModelContext,
    worker: &str,
    (bits, gate): (f64, &str),
    text: (u32, u64),
    progress: &mut ProgressListener<'_>,
) -> WorkResult<TaskReport> {
    if !(1.0..=32.0).contains(&bits) {
        return Err(WorkError::Other(format!("{bits} bits: a weight takes 1 to 32")));
    }
    let gate = gate_of(context, gate)?;
    let start = Instant::now();
    let own = OwnLineage::open(context)?;
    let parent = computing(&own.current)?;
    progress("the model writes the texts".into());
    let [calibration, check] = refit_texts(&parent, text)?;
    let (folder, kept) = (passing_folder(context)?, context.folder.join(SENSITIVITY_FILE));
    let name = text_name(text);
    let weights: u64 = own.current.tensors().iter().map(|tensor| tensor.weight_count()).sum();
    let task = RefitTask {
        most_bytes: (weights as f64 * bits / 8.0) as u64,
        ..task_of((&parent, &calibration, &check), (&kept, &name), folder.path())
    };
    let refitted = task.run(&Slices::new(context, progress)).map_err(WorkError::other)?;
    context.go_on()?;
    let importance = &refitted.importance.of;
    let origin = origin_of(&own.current);
    let file = write_child(&own.current, &refitted.encodings, importance, &origin, folder.path())?;
    // The text on which a choice was taken was looked at too.
    let texts = [&calibration, &check].map(|it| text_use(TextRole::Calibration, &it.windows));
    let how = MakingOf::new("refit").with("bits", bits).with("tokens", text.0);
    let proposal = LineageProposal {
        file,
        parents: vec![base(digest_of(&own.current))],
        how: MakingOf { seed: Some(text.1), seconds: start.elapsed().as_secs_f64(), ..how },
        texts: texts.into(),
        by: MadeBy::agent(worker),
        gate,
    };
    let child = propose(&own.store, proposal)?;
    let report = &refitted.report;
    let what = if report.is_mix { "a mix" } else { "the uniform file, which was no worse" };
    Ok(proposed(&child, &format!("{what} at {bits} bits"))
        .with("bytes", report.mix.bytes as f64)
        .with("bytes_before", report.bytes_before as f64)
        .with("foretold_divergence", report.foretold)
        .with("divergence", report.mix.found.mean)
        .with("is_mix", f64::from(u8::from(report.is_mix))))
}

/// Writes what was learnt into the current model and proposes it.
pub(super) fn merge_adapter(
    context: &ModelContext,
    worker: &str,
    (corpus, gate): (&str, &str),
    progress: &mut ProgressListener<'_>,
) -> WorkResult<TaskReport> {
    let gate = gate_of(context, gate)?;
    let start = Instant::now();
    let own = OwnLineage::open(context)?;
    let path = adapter_path(context, corpus);
    if !path.is_file() {
        return Err(WorkError::Other(format!(
            "there is no adapter {}: fine_tune(corpus: \"{corpus}\", of_current: true) writes it",
            path.display()
        )));
    }
    let adapter = Adapter::open(&path, &own.current).map_err(WorkError::other)?;
    adapter.check(&own.current, false).map_err(WorkError::other)?;
    let lines = super::teach::lines_of(context, corpus, "train")?;
    let learnt = parts_of(&lines);
    let learnt = learnt.iter().map(String::as_str);
    let text = lines_use(TextRole::Calibration, learnt, tokens_of(&lines));
    let run = adapter.run.clone().unwrap_or_default();
    let bytes = std::fs::read(&path).map_err(WorkError::other)?;
    let laid = LineageParent { digest: digest(&bytes), role: ParentRole::Adapter };
    let how = MakingOf::new("merge_adapter").with("corpus", corpus).with("run", run);
    progress("the adapter is written into the weights".into());
    let written = MergedCandidate { adapter, laid, how, text, gate };
    let (child, survives) = merge_and_propose(context, worker, &own, (written, start))?;
    let share = 100.0 * survives.max(0.0);
    let what = format!("with what it learnt from {corpus}, of which {share:.0} % survives,");
    Ok(proposed(&child, &what).with("survives", survives))
}

/// An adapter that is to be part of a child.
pub(super) struct MergedCandidate {
    pub adapter: Adapter,
    pub laid: LineageParent,
    pub how: MakingOf,
    pub text: TextUse,
    pub gate: GateUse,
}

pub(super) fn merge_and_propose(
    context: &ModelContext,
    worker: &str,
    own: &OwnLineage,
    (written, start): (MergedCandidate, Instant),
) -> WorkResult<(LineageEntry, f64)> {
    let folder = passing_folder(context)?;
    let (file, survives) = write_merged(&own.current, written.adapter, folder.path())?;
    let proposal = LineageProposal {
        file,
        parents: vec![base(digest_of(&own.current)), written.laid],
        how: MakingOf { seconds: start.elapsed().as_secs_f64(), ..written.how },
        texts: vec![written.text],
        by: MadeBy::agent(worker),
        gate: written.gate,
    };
    Ok((propose(&own.store, proposal)?, survives))
}

fn propose(store: &LineageStore, proposal: LineageProposal) -> WorkResult<LineageEntry> {
    let settings = LineageSettings::of_user().map_err(WorkError::other)?;
    match store.propose(proposal, &settings) {
        // Whoever made it was stopped before the queue knew: it is the same one, and waits.
        Err(LineageError::Known { child, verdict }) if is_open(verdict) => {
            let known = store.read()?.now(&child);
            known.ok_or_else(|| LineageError::UnknownChild(child).into())
        }
        proposed => Ok(proposed?),
    }
}

const fn is_open(verdict: LineageVerdict) -> bool {
    matches!(verdict, LineageVerdict::Candidate | LineageVerdict::Passed)
}

pub(super) fn proposed(child: &LineageEntry, what: &str) -> TaskReport {
    let base = short(child.base().unwrap_or_default());
    let name = short(&child.child);
    let mut report = TaskReport::new(format!("{name} comes from {base}: {what} is a candidate"))
        .with("candidate_bytes", child.place.bytes() as f64);
    report.text = Some(format!("child {}", child.child));
    report
}

/// Teaches the current model: its adapter belongs to it.
pub(super) fn fine_tune(
    context: &ModelContext,
    how: &FineTune,
    progress: &mut ProgressListener<'_>,
) -> WorkResult<TaskReport> {
    if how.of_current {
        return super::teach::fine_tune(&on_current(context)?, how, progress);
    }
    super::teach::fine_tune(context, how, progress)
}

/// What came of a candidate.
pub(in crate::coach) enum Promotion {
    /// It was judged, and promoted or rejected.
    Judged(Box<Judgement>),
    /// It passed, and a person has to give leave.
    Asks(String),
}

/// Has the gate measure the oldest open candidate of an action. `may_promote` says whether a person
/// has given leave for a child, by its digest; where it has not, what passed waits.
pub(in crate::coach) fn promote(
    context: &ModelContext,
    (worker, made_by): (&str, &str),
    may_promote: &dyn Fn(&str) -> bool,
    progress: &mut ProgressListener<'_>,
) -> WorkResult<Promotion> {
    let settings = LineageSettings::of_user().map_err(WorkError::other)?;
    let own = OwnLineage::open(context)?;
    let lineage = own.store.read()?;
    let child = open_candidate(&lineage, made_by)?;
    let Some(assets) = &context.assets else {
        return Err(WorkError::Other("no exams are known to this work".into()));
    };
    let slices = Slices::new(context, progress);
    let exams = AllExams { corpora: CorpusExams { assets } };
    let (store, founder) = (&own.store, &context.model);
    let judge = Judge { store, founder, exams: &exams, listener: &slices };
    let by_person = may_promote(&child);
    if by_person || settings.promote == crate::lineage::PromoteWhen::OnGate {
        let person = by_person.then(|| "a person".to_owned());
        let by = MadeBy { person, ..MadeBy::agent(worker) };
        return Ok(Promotion::Judged(Box::new(judge.promote(&child, &by)?)));
    }
    if lineage.verdict(&child) == Some(LineageVerdict::Passed) {
        return Ok(Promotion::Asks(child));
    }
    let judged = judge.judge(&child, None, &MadeBy::agent(worker))?;
    if judged.passes { Ok(Promotion::Asks(child)) } else { Ok(Promotion::Judged(Box::new(judged))) }
}

/// The oldest candidate of an action that is neither promoted nor rejected: of the current model,
/// if there is one.
fn open_candidate(lineage: &Lineage, made_by: &str) -> WorkResult<String> {
    let children = lineage.children();
    let open = || {
        let of_action = |child: &&LineageEntry| child.how.action == made_by;
        children.iter().filter(|child| is_open(child.verdict)).filter(of_action)
    };
    let child = open().find(|child| child.base() == lineage.current()).or_else(|| open().next());
    child.map(|child| child.child.clone()).ok_or_else(|| {
        WorkError::Other(format!("{made_by} has made no candidate that is not judged"))
    })
}

/// What a judgement comes to as a report.
pub(in crate::coach) fn report_of(judgement: &Judgement) -> TaskReport {
    let child = &judgement.child;
    let outcome = child.gate.as_ref().map_or(&[][..], |gate| &gate.outcome);
    let held = outcome.iter().filter(|line| line.holds).count();
    let promoted = child.verdict == LineageVerdict::Promoted;
    let mut report = TaskReport::new(format!(
        "{} is {}: {held} of {} lines of its gate hold",
        short(&child.child),
        child.verdict.words(),
        outcome.len()
    ))
    .with("judged", 1.0)
    .with("promoted", f64::from(u8::from(promoted)))
    .with("gate_lines", outcome.len() as f64)
    .with("gate_lines_held", held as f64);
    for figure in child.figures.iter().filter(|figure| figure.child.is_finite()) {
        let name = match figure.against {
            crate::lineage::Against::Parent => figure.name.to_string(),
            against => format!("{}_against_{}", figure.name, against.name()),
        };
        report.metrics.entry(name).or_insert(figure.child);
    }
    let words: Vec<&str> = outcome.iter().map(|line| line.because.as_str()).collect();
    report.text = Some(words.join("\n"));
    report
}

/// Paints the lineage.
pub(super) fn picture(context: &ModelContext) -> WorkResult<TaskReport> {
    let store = LineageStore::in_folder(&context.folder);
    let lineage = store.found(&context.model)?;
    let picture = crate::lineage::paint(&lineage, &store, &context.model)?.picture;
    let path = context.folder.join(LINEAGE_PICTURE_FILE);
    picture.write_png(crate::pxi::Target::new(&path, true))?;
    let children = lineage.children();
    let count = |verdict| children.iter().filter(|child| child.verdict == verdict).count() as f64;
    let mut report = TaskReport::new(format!(
        "{} islands, {} in use",
        children.len(),
        short(lineage.current().unwrap_or_default())
    ))
    .with("islands", children.len() as f64)
    .with("promoted", count(LineageVerdict::Promoted))
    .with("rejected", count(LineageVerdict::Rejected));
    report.files.push(LINEAGE_PICTURE_FILE.into());
    Ok(report)
}
