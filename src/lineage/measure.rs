//! Measures a child beside its parent, and beside the uniform file, from their files alone.
//!
//! In: opened models, a plain text, exams. Out: [`MeasuredFigure`]s, paired over windows and over
//! questions. Nothing that was written of a child before is read here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::entry::{TextRole, TextUse};
use super::error::LineageError;
use super::exams::{parts_of, tokens_of};
use super::figure::{Against, FigureKind, FigureName, MeasuredFigure};
use super::gate::{Gate, GateExam};
use super::texts::{lines_use, own_text, text_use};
use super::uniform::uniform_of;
use crate::batch::ModelText;
use crate::engine::{Batch, Column, CpuEngine, Engine, EngineError, LogitsQuery};
use crate::forward::cpu::{CpuModel, CpuOptions};
use crate::model::PixelModel;
use crate::refit::{ParentFigures, RefitText, WindowFigures};
use crate::training::data::Dataset;
use crate::training::evaluate::{SLOTS, ask, positions};

/// Tokens of a timed answer, and answers of each model.
const TIMED: usize = 32;
const RUNS: usize = 8;

/// Questions with their right answers.
#[derive(Clone, Debug)]
pub struct ExamLines {
    /// Each with a question.
    pub data: Dataset,
    /// Of which kind each question is, if there are kinds: figures of each are measured too.
    pub kinds: Vec<String>,
    /// Of which group each question is: those of one group are right or wrong together.
    pub groups: Vec<u64>,
}

/// Where exams come from.
pub trait ExamSource {
    /// An exam's questions, encoded for a model.
    ///
    /// # Errors
    /// There are none, in words.
    fn lines(&self, exam: &GateExam, model: &Arc<PixelModel>) -> Result<ExamLines, String>;
}

/// Who hears what is measured, holds it up and stops it.
pub trait MeasureListener {
    /// Something begins.
    fn begins(&self, what: &str);
    /// Between two windows: it may wait here while others need the processor.
    fn between(&self) {}
    /// Whether to stop.
    fn stop(&self) -> &AtomicBool;
}

/// The models that are compared.
#[derive(Debug)]
pub struct Compared<'a> {
    /// What all others come from: it writes the texts.
    pub founder: &'a Arc<PixelModel>,
    /// What was changed.
    pub parent: &'a Arc<PixelModel>,
    /// What it became.
    pub child: &'a Arc<PixelModel>,
}

/// What was measured, and on which texts.
#[derive(Clone, Debug, Default)]
pub struct FoundFigures {
    /// The figures.
    pub figures: Vec<MeasuredFigure>,
    /// The texts.
    pub texts: Vec<TextUse>,
}

/// Measures everything that a gate asks of a child.
pub struct ChildMeasurement<'a> {
    models: Compared<'a>,
    gate: &'a Gate,
    exams: &'a dyn ExamSource,
    listener: &'a dyn MeasureListener,
}

fn computing(model: &Arc<PixelModel>) -> Result<CpuModel, LineageError> {
    Ok(CpuModel::new(Arc::clone(model), CpuOptions::default())?)
}

impl<'a> ChildMeasurement<'a> {
    /// Of some models by a gate.
    pub fn new(
        models: Compared<'a>,
        gate: &'a Gate,
        exams: &'a dyn ExamSource,
        listener: &'a dyn MeasureListener,
    ) -> Self {
        Self { models, gate, exams, listener }
    }

    fn go_on(&self, what: &str) -> Result<(), LineageError> {
        self.listener.between();
        if self.listener.stop().load(Ordering::Relaxed) {
            return Err(LineageError::Stopped);
        }
        self.listener.begins(what);
        Ok(())
    }

    /// On the text of a role, which is the gate's or the report's.
    ///
    /// # Errors
    /// A model cannot be computed, an exam's questions are not there, or it was stopped.
    pub fn run(&self, role: TextRole) -> Result<FoundFigures, LineageError> {
        let mut found = FoundFigures::default();
        self.bytes(&mut found);
        self.plain(role, &mut found)?;
        if role == TextRole::Gate {
            self.speed(&mut found)?;
            for (name, exam) in &self.gate.exams {
                self.go_on(&format!("the exam {name}"))?;
                self.exam(name, exam, &mut found)?;
            }
        }
        Ok(found)
    }

    fn bytes(&self, found: &mut FoundFigures) {
        let [parent, child] = [self.models.parent, self.models.child].map(|model| bytes_of(model));
        let name = FigureName::plain(FigureKind::Bytes);
        let pair = (parent as f64, child as f64);
        found.figures.push(MeasuredFigure::exact(name, Against::Parent, pair.0, pair.1));
    }

    /// Tokens per second of one answer on the processor, by turns, where the gate asks for it.
    fn speed(&self, found: &mut FoundFigures) -> Result<(), LineageError> {
        let name = FigureName::plain(FigureKind::TokensPerSecond);
        if !self.gate.lines.iter().any(|line| line.figure == name) {
            return Ok(());
        }
        let engine = |model| Ok::<_, LineageError>(CpuEngine::new(computing(model)?, 1, TIMED));
        let mut engines = [engine(self.models.parent)?, engine(self.models.child)?];
        let mut speeds = [Vec::new(), Vec::new()];
        for run in 0..=RUNS {
            self.go_on("how fast both answer")?;
            // Whoever comes first changes from run to run.
            for side in [run % 2, (run + 1) % 2] {
                let speed = tokens_per_second(&mut engines[side])?;
                // The first reads pages that nobody has read before.
                if run > 0 {
                    speeds[side].push(speed);
                }
            }
        }
        let pair = [&speeds[0][..], &speeds[1]];
        found.figures.push(MeasuredFigure::paired(name, Against::Parent, "", pair));
        Ok(())
    }

    /// Divergence, best tokens and loss of the plain text.
    fn plain(&self, role: TextRole, found: &mut FoundFigures) -> Result<(), LineageError> {
        self.go_on(&format!("the founder writes the {} text", role.name()))?;
        let seed = match role {
            TextRole::Report => self.gate.seed.wrapping_add(1),
            _ => self.gate.seed,
        };
        let text = self.text(seed)?;
        let used = text_use(role, &text.windows);
        self.go_on(&format!("what the parent expects of the {} text", role.name()))?;
        let of_parent = ParentFigures::of(&computing(self.models.parent)?, &text, &|_| {
            self.listener.between()
        })?;
        self.go_on(&format!("what the child expects of the {} text", role.name()))?;
        let of_child = of_parent
            .compare_windows(&computing(self.models.child)?, &text, &|_| self.listener.between())?;
        let same = text.windows.len();
        // Of itself a model diverges by nothing, and has the same best tokens.
        let parent: Vec<WindowFigures> = of_parent
            .window_losses(&text)
            .into_iter()
            .map(|loss| WindowFigures { divergence: 0.0, same_best: 1.0, loss })
            .collect();
        debug_assert_eq!(parent.len(), same);
        found.figures.extend(plain_figures(Against::Parent, &used.digest, &parent, &of_child));
        if self.gate.compares_with(Against::Uniform) {
            self.go_on("the uniform file of as many bytes")?;
            self.uniform((&of_parent, &of_child), &text, &used.digest, found)?;
        }
        found.texts.push(used);
        Ok(())
    }

    fn text(&self, seed: u64) -> Result<RefitText, LineageError> {
        let founder = self.models.founder;
        let words = ModelText::new(founder).map_err(|error| LineageError::Exam {
            exam: "the plain text".into(),
            why: error.to_string(),
        })?;
        let tokens = self.gate.tokens;
        Ok(own_text(&computing(founder)?, words.tokenizer(), tokens, seed)?)
    }

    /// The same of the uniform file, which is made here.
    fn uniform(
        &self,
        (of_parent, of_child): (&ParentFigures, &[WindowFigures]),
        text: &RefitText,
        digest: &str,
        found: &mut FoundFigures,
    ) -> Result<(), LineageError> {
        // Importance is measured on a third text, which neither decides nor reports.
        let calibration = self.text(self.gate.seed.wrapping_add(2))?;
        let folder = tempfile::tempdir().map_err(LineageError::io(".", "make a folder"))?;
        let parent = computing(self.models.parent)?;
        let uniform =
            uniform_of(&parent, bytes_of(self.models.child), &calibration, folder.path())?;
        // Nothing has as many bytes: there is nothing to compare with, and no such line holds.
        let Some(uniform) = uniform else { return Ok(()) };
        let of_uniform = of_parent.compare_windows(&uniform, text, &|_| self.listener.between())?;
        found.figures.extend(plain_figures(Against::Uniform, digest, &of_uniform, of_child));
        let [uniform, child] =
            [bytes_of(uniform.model()) as f64, bytes_of(self.models.child) as f64];
        let name = FigureName::plain(FigureKind::Bytes);
        found.figures.push(MeasuredFigure::exact(name, Against::Uniform, uniform, child));
        Ok(())
    }

    /// Which questions both answer rightly.
    fn exam(
        &self,
        name: &str,
        exam: &GateExam,
        found: &mut FoundFigures,
    ) -> Result<(), LineageError> {
        let failed = |why: String| LineageError::Exam { exam: name.to_owned(), why };
        let lines = self.exams.lines(exam, self.models.founder).map_err(failed)?;
        let parent = self.right(self.models.parent, name, &lines)?;
        let child = self.right(self.models.child, name, &lines)?;
        let questions = parts_of(&lines.data);
        let questions = questions.iter().map(String::as_str);
        let used = lines_use(TextRole::Gate, questions, tokens_of(&lines.data));
        let mut of_kinds: BTreeMap<&str, ([Vec<f64>; 2], Vec<u64>)> = BTreeMap::new();
        for (at, (parent, child)) in parent.iter().zip(&child).enumerate() {
            let kind = lines.kinds.get(at).map(String::as_str).filter(|kind| *kind != name);
            for name in std::iter::once(name).chain(kind) {
                let ([parents, children], groups) = of_kinds.entry(name).or_default();
                parents.push(*parent);
                children.push(*child);
                groups.extend(lines.groups.get(at));
            }
        }
        for (name, ([parent, child], groups)) in of_kinds {
            let name = FigureName::of(FigureKind::ExactMatch, name);
            let (text, pair) = (&used.digest, [&parent[..], &child]);
            found.figures.push(MeasuredFigure::paired_in_groups(name, text, pair, &groups));
        }
        found.texts.push(used);
        Ok(())
    }

    /// Of each question 1 where it is answered rightly.
    fn right(
        &self,
        model: &Arc<PixelModel>,
        name: &str,
        lines: &ExamLines,
    ) -> Result<Vec<f64>, LineageError> {
        let failed = |why: String| LineageError::Exam { exam: name.to_owned(), why };
        let text = ModelText::new(model).map_err(|error| failed(error.to_string()))?;
        let context = positions(&lines.data, model.config().context_length) as usize;
        let mut engine = CpuEngine::new(computing(model)?, SLOTS, context);
        let asked = ask(&mut engine, &text, &lines.data, self.listener.stop(), &mut || ());
        let asked = asked.map_err(|error| failed(error.to_string()))?;
        let asked = asked.ok_or(LineageError::Stopped)?;
        Ok(asked.iter().map(|line| f64::from(u8::from(line.is_right))).collect())
    }
}

/// Of an answer to one token.
fn tokens_per_second(engine: &mut CpuEngine) -> Result<f64, LineageError> {
    let failed = |error: EngineError| LineageError::Exam {
        exam: "tokens_per_second".into(),
        why: error.to_string(),
    };
    let start = Instant::now();
    for position in 0..TIMED as u32 {
        let columns = vec![Column { token: 1, slot: 0, position }];
        let asks = vec![LogitsQuery::greedy(0)];
        engine.step(&Batch { columns, asks, steps: 1, ..Batch::default() }).map_err(failed)?;
    }
    Ok(TIMED as f64 / start.elapsed().as_secs_f64().max(1e-9))
}

/// Bytes of all tensors.
pub(super) fn bytes_of(model: &PixelModel) -> u64 {
    let tensors = model.tensors().iter();
    tensors
        .map(|tensor| {
            let row = tensor.encoding().row_bytes(tensor.tiling.columns).unwrap_or(0);
            row * tensor.tiling.rows
        })
        .sum()
}

fn plain_figures(
    against: Against,
    text: &str,
    parent: &[WindowFigures],
    child: &[WindowFigures],
) -> [MeasuredFigure; 3] {
    let of = |kind: FigureKind, of: fn(&WindowFigures) -> f64| {
        let values = |side: &[WindowFigures]| side.iter().map(of).collect::<Vec<f64>>();
        let pair = [&values(parent)[..], &values(child)];
        MeasuredFigure::paired(FigureName::plain(kind), against, text, pair)
    };
    [
        of(FigureKind::Divergence, |window| window.divergence),
        of(FigureKind::SameBest, |window| window.same_best),
        of(FigureKind::Loss, |window| window.loss),
    ]
}
