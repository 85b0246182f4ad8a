//! Rounds: sample, check, teach, measure, judge.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::answers::Pupil;
use super::exercises::digest as exercises_digest;
use super::measure::{Exam, ExamResult, judge};
use super::plain::digest as plain_digest;
use super::report::{
    CandidateReport, FinalExam, LearntFrom, RoundReport, SchoolReport, SchoolText,
};
use super::sample::{Samples, lines, true_answers};
use super::teach::teach;
use super::{
    Exercise, PlainTexts, SchoolError, SchoolProblem, SchoolProgress, SchoolSettings, Subject,
    SubjectExercises,
};
use crate::batch::ModelText;
use crate::forward::cpu::{CpuModel, CpuOptions};
use crate::lineage::passes;
use crate::model::{Adapter, Encoding, PixelModel, hex};
use crate::pxi::Target;

/// Rounds that may fail one after another.
const FAILURES: u32 = 2;

/// What a school is held with.
pub struct SchoolTask<'a> {
    /// The model, which stays as it is.
    pub model: &'a Arc<PixelModel>,
    /// Its text side.
    pub text: &'a ModelText,
    /// What is learnt.
    pub subject: &'a Subject,
    /// The subject's name.
    pub name: &'a str,
    /// How.
    pub settings: &'a SchoolSettings,
    /// Text of the model's own kind; it writes some itself where there is none.
    pub plain: Option<PlainTexts>,
    /// Where children are written, if anywhere.
    pub folder: Option<&'a Path>,
    /// Whether files there may be replaced.
    pub replaces: bool,
    /// Who looks on.
    pub progress: &'a dyn SchoolProgress,
}

/// What came of a school.
#[derive(Clone, Debug)]
pub struct Taught {
    /// All that was measured.
    pub report: SchoolReport,
    /// The last child that passed.
    pub child: Option<Adapter>,
}

/// Holds a school. The same model, subject, settings and texts give the same child, bit for bit.
///
/// # Errors
/// What is asked for cannot be, nothing was right, the model cannot be computed, a child cannot be
/// written, or it was stopped.
pub fn run(task: SchoolTask<'_>) -> Result<Taught, SchoolError> {
    check(task.settings)?;
    let exercises = SubjectExercises::new(task.subject, task.model, task.text, task.settings)?;
    let plain = match task.plain.clone() {
        Some(plain) => plain,
        None => {
            let model = CpuModel::new(Arc::clone(task.model), CpuOptions::default())?;
            PlainTexts::written_by(&model, task.text, task.settings, task.progress)?
        }
    };
    School::new(task, exercises, plain).hold()
}

fn check(settings: &SchoolSettings) -> Result<(), SchoolProblem> {
    let is_share = (0.0..1.0).contains(&settings.replay);
    let is_rate = settings.rate.is_finite() && settings.rate > 0.0;
    let is_warm = settings.temperature.is_finite() && settings.temperature > 0.0;
    let wrong = match () {
        () if !is_share => format!("a replay of {}: a share from 0 to below 1", settings.replay),
        () if !is_rate => format!("a rate of {}: a number above 0", settings.rate),
        () if !is_warm => {
            format!("a temperature of {}: above 0, or all samples are one", settings.temperature)
        }
        () if settings.rounds == 0 || settings.samples == 0 || settings.steps == 0 => {
            "rounds, samples and steps are at least 1".into()
        }
        () if settings.rank == 0 || settings.batch_tokens == 0 => {
            "the rank and the tokens of a step are at least 1".into()
        }
        () => return Ok(()),
    };
    Err(SchoolProblem::Setting(wrong))
}

struct School<'a> {
    task: SchoolTask<'a>,
    exercises: SubjectExercises,
    plain: PlainTexts,
    digests: [String; 4],
    positions: usize,
    /// A verified answer of each exercise that has one, of all rounds.
    verified: BTreeMap<usize, Vec<u32>>,
    /// The child that passed last.
    kept: Option<(u32, Adapter)>,
}

impl<'a> School<'a> {
    fn new(task: SchoolTask<'a>, exercises: SubjectExercises, plain: PlainTexts) -> Self {
        let pieces = plain.gate.iter().chain(&plain.report).map(Vec::len).max().unwrap_or(1);
        let positions = exercises.positions().max(pieces);
        let digests = [
            exercises_digest(&exercises.gate),
            plain_digest(&plain.gate),
            exercises_digest(&exercises.report),
            plain_digest(&plain.report),
        ];
        Self { task, exercises, plain, digests, positions, verified: BTreeMap::new(), kept: None }
    }

    fn pupil(&self) -> Pupil<'a> {
        let SchoolTask { model, text, progress, .. } = self.task;
        Pupil { model, text, progress, positions: self.positions }
    }

    /// What decides.
    fn gate(&self) -> Exam<'_> {
        let [exercises_digest, plain_digest, ..] = &self.digests;
        let (exercises, plain) = (&self.exercises.gate, &self.plain.gate);
        Exam { exercises, exercises_digest, plain, plain_digest }
    }

    fn hold(mut self) -> Result<Taught, SchoolError> {
        let (pupil, settings) = (self.pupil(), self.task.settings);
        let mut parent = self.gate().of(&pupil, None, (settings, "the model"))?;
        let (mut rounds, mut failed) = (Vec::new(), 0);
        let mut ended = format!("after {} rounds", settings.rounds);
        for round in 1..=settings.rounds {
            let Some((report, child)) = self.round(round, &parent)? else {
                ended = format!("in round {round} no exercise was newly verified");
                break;
            };
            let passed = child.is_some();
            rounds.push(report);
            if let Some((adapter, result)) = child {
                self.kept = Some((round, adapter));
                parent = result;
            }
            failed = if passed { 0 } else { failed + 1 };
            if failed == FAILURES {
                ended = format!("rounds {} and {round} failed the gate", round - 1);
                break;
            }
        }
        self.report(rounds, ended)
    }

    /// One round: its report, and the child where it passed; nothing where no exercise was newly
    /// verified.
    #[expect(clippy::type_complexity, reason = "a child is its adapter and what came of its exam")]
    fn round(
        &mut self,
        round: u32,
        parent: &ExamResult,
    ) -> Result<Option<(RoundReport, Option<(Adapter, ExamResult)>)>, SchoolError> {
        let (pupil, settings) = (self.pupil(), self.task.settings);
        let current = self.kept.as_ref().map(|(_, adapter)| adapter);
        let samples = Samples::draw(&pupil, current, &self.exercises.pool, (settings, round))?;
        let before = self.verified.len();
        for (at, answer) in samples.verified() {
            self.verified.entry(at).or_insert(answer);
        }
        let newly_verified = self.verified.len() - before;
        if self.verified.is_empty() {
            return Err(SchoolProblem::NothingVerified(samples.count()).into());
        }
        if newly_verified == 0 {
            return Ok(None);
        }
        let (pool, count) = (&self.exercises.pool, self.verified.len());
        let seed = settings.seed.wrapping_add(u64::from(round));
        let taught = [
            (LearntFrom::Verified, self.verified.clone()),
            (LearntFrom::Unchecked, samples.unchecked(count, seed)),
            (LearntFrom::TrueAnswers, true_answers(pool, count, (self.ending(&samples), seed))),
        ];
        let (mut candidates, mut kept) = (Vec::new(), None);
        for (learnt, answers) in taught {
            let (report, adapter, result) = self.candidate((round, learnt), &answers, parent)?;
            if learnt == LearntFrom::Verified && report.passed {
                kept = Some((adapter, result));
            }
            candidates.push(report);
        }
        let report = RoundReport {
            round,
            samples: samples.count(),
            right: samples.right(),
            easy: samples.easy(),
            newly_verified,
            candidates,
        };
        Ok(Some((report, kept)))
    }

    /// How the true answers end: as most right ones do, else as sequences do.
    fn ending(&self, samples: &Samples) -> Option<u32> {
        samples.ending().or_else(|| self.task.text.tokenizer().eos())
    }

    fn candidate(
        &self,
        (round, learnt): (u32, LearntFrom),
        answers: &BTreeMap<usize, Vec<u32>>,
        parent: &ExamResult,
    ) -> Result<(CandidateReport, Adapter, ExamResult), SchoolError> {
        let SchoolTask { model, settings, progress, .. } = self.task;
        let what = match learnt {
            LearntFrom::Verified => "verified answers",
            LearntFrom::Unchecked => "answers that nobody checked",
            LearntFrom::TrueAnswers => "true answers",
        };
        progress.begins(&format!("round {round}: {what}"), settings.steps as usize);
        let lines = lines(&self.exercises.pool, answers);
        let mut adapter = teach(model, (&lines, &self.plain.replay), settings, progress)?;
        let SchoolTask { name, .. } = self.task;
        adapter.run = Some(format!("school {name}, seed {}, round {round}, {what}", settings.seed));
        let gate = self.gate();
        let result = gate.of(&self.pupil(), Some(&adapter), (settings, what))?;
        let figures = gate.compare(parent, &result);
        let verdict = judge(&figures);
        let report = CandidateReport {
            learnt,
            lines: lines.len(),
            adapter: hex(&adapter.digest()),
            file: self.write(&adapter, round, learnt)?,
            passed: passes(&verdict),
            figures,
            verdict,
        };
        Ok((report, adapter, result))
    }

    /// Writes a round's child; controls are measured alone.
    fn write(
        &self,
        adapter: &Adapter,
        round: u32,
        learnt: LearntFrom,
    ) -> Result<Option<PathBuf>, SchoolError> {
        let Some(folder) = self.task.folder.filter(|_| learnt == LearntFrom::Verified) else {
            return Ok(None);
        };
        let path = folder.join(child_file(self.task.name, round));
        adapter.write(Target::new(&path, self.task.replaces), Encoding::F32)?;
        Ok(Some(path))
    }

    fn report(self, rounds: Vec<RoundReport>, ended: String) -> Result<Taught, SchoolError> {
        let (pupil, settings) = (self.pupil(), self.task.settings);
        let mut final_exam = None;
        if let Some((_, adapter)) = &self.kept {
            let [.., exercises_digest, plain_digest] = &self.digests;
            let (exercises, plain) = (&self.exercises.report, &self.plain.report);
            let exam = Exam { exercises, exercises_digest, plain, plain_digest };
            let model = exam.of(&pupil, None, (settings, "the model, report"))?;
            let child = exam.of(&pupil, Some(adapter), (settings, "the child, report"))?;
            let figures = exam.compare(&model, &child);
            let verdict = judge(&figures);
            let holds = passes(&verdict);
            final_exam = Some(FinalExam { figures, verdict, holds });
        }
        let report = SchoolReport {
            model: hex(&self.task.model.header().root),
            subject: self.task.name.to_owned(),
            settings: settings.clone(),
            plain_source: self.plain.source.clone(),
            texts: texts(&self.exercises, &self.plain),
            rounds,
            kept_round: self.kept.as_ref().map(|(round, _)| *round),
            final_exam,
            ended,
        };
        Ok(Taught { report, child: self.kept.map(|(_, adapter)| adapter) })
    }
}

/// The file of a round's child, in the folder of children.
pub(crate) fn child_file(subject: &str, round: u32) -> String {
    format!("{subject}-round-{round}.gguf")
}

fn texts(exercises: &SubjectExercises, plain: &PlainTexts) -> Vec<SchoolText> {
    let of = |role, exercises: &[Exercise]| SchoolText {
        role,
        digest: exercises_digest(exercises),
        count: exercises.len(),
        tokens: exercises.iter().map(|it| it.tokens.len()).sum(),
    };
    let plain_of = |role, pieces: &[Vec<u32>]| SchoolText {
        role,
        digest: plain_digest(pieces),
        count: pieces.len(),
        tokens: pieces.iter().map(Vec::len).sum(),
    };
    vec![
        of("pool", &exercises.pool),
        of("gate", &exercises.gate),
        of("report", &exercises.report),
        plain_of("replay", &plain.replay),
        plain_of("plain_gate", &plain.gate),
        plain_of("plain_report", &plain.report),
    ]
}
