//! A round of school as a task: the current model learns from its own answers what it can prove,
//! and what came of it is a candidate, whether the school's own limits took it or not: the gate
//! decides, and a lineage has every attempt.

use std::sync::Arc;
use std::time::Instant;

use super::lineage::{MergedCandidate, OwnLineage, Slices, gate_of, merge_and_propose, proposed};
use super::{ModelContext, ProgressListener, TaskReport, WorkError, WorkResult};
use crate::lineage::{
    CorpusExams, ExamLines, ExamSource, GateExam, LineageParent, MakingOf, ParentRole, TextRole,
    digest, lines_use,
};
use crate::model::{Adapter, PixelModel};
use crate::school::{
    LearntFrom, SchoolProgress, SchoolSettings, SchoolTask, Subject, SubjectExercises, run,
};
use crate::training::corpus::{CorpusLine, to_json_lines};
use crate::training::data::{DataOptions, Dataset, TargetChoice};

impl SchoolProgress for Slices<'_, '_> {
    fn begins(&self, what: &str, steps: usize) {
        self.start(what, steps);
    }

    fn done(&self, steps: usize) {
        self.count(steps);
    }

    fn goes_on(&self) -> bool {
        self.passes()
    }
}

/// Holds a school on the current model and proposes what came of its last round.
pub(super) fn round(
    context: &ModelContext,
    worker: &str,
    (name, gate): (&str, &str),
    (rounds, seed): (u32, u64),
    progress: &mut ProgressListener<'_>,
) -> WorkResult<TaskReport> {
    let gate = gate_of(context, gate)?;
    let Some(assets) = &context.assets else {
        return Err(WorkError::Other("no subjects are known to this work".into()));
    };
    let subject: Subject = assets.content("subject", name).map_err(WorkError::other)?;
    let start = Instant::now();
    let own = OwnLineage::open(context)?;
    let on = context.on(Arc::clone(&own.current))?;
    let settings = SchoolSettings { rounds, seed, ..SchoolSettings::default() };
    let folder = tempfile::tempdir_in(&context.folder).map_err(WorkError::other)?;
    let slices = Slices::new(context, progress);
    let taught = run(SchoolTask {
        model: &own.current,
        text: &on.text,
        subject: &subject,
        name,
        settings: &settings,
        plain: None,
        folder: Some(folder.path()),
        replaces: false,
        progress: &slices,
    });
    let taught = taught.map_err(|error| match error {
        crate::school::SchoolError::Stopped => WorkError::Cancelled,
        error => WorkError::other(error),
    })?;
    let report = taught.report;
    let of_child = |learnt| {
        let of_round = |round: &crate::school::RoundReport| {
            round.candidates.iter().find(|it| it.learnt == learnt).cloned()
        };
        let kept = report.kept_round.and_then(|round| report.rounds.get(round as usize - 1));
        kept.or(report.rounds.last()).and_then(of_round)
    };
    let Some(child) = of_child(LearntFrom::Verified) else {
        return Err(WorkError::Other(format!("nothing was learnt: it ended {}", report.ended)));
    };
    let path = child.file.clone().unwrap_or_default();
    let bytes = std::fs::read(&path).map_err(WorkError::other)?;
    let adapter = Adapter::open(&path, &own.current).map_err(WorkError::other)?;
    let exercises = SubjectExercises::new(&subject, &own.current, &on.text, &settings);
    let exercises = exercises.map_err(WorkError::other)?;
    let tokens = exercises.pool.iter().map(|it| it.tokens.len() as u64).sum();
    let lines: Vec<String> =
        exercises.pool.iter().map(|it| format!("{:?}\t{}", it.tokens, it.answer)).collect();
    let text = lines_use(TextRole::Calibration, lines.iter().map(String::as_str), tokens);
    let how = MakingOf::new("school_round").with("subject", name).with("rounds", rounds);
    let candidate = MergedCandidate {
        adapter,
        laid: LineageParent { digest: digest(&bytes), role: ParentRole::Adapter },
        how: MakingOf { seed: Some(seed), ..how },
        text,
        gate,
    };
    let (entry, survives) = merge_and_propose(context, worker, &own, (candidate, start))?;
    let rounds = report.rounds.len() as f64;
    let last = report.rounds.last();
    Ok(proposed(&entry, &format!("what it verified of {name}"))
        .with("survives", survives)
        .with("rounds", rounds)
        .with("samples", last.map_or(0.0, |round| round.samples as f64))
        .with("right", last.map_or(0.0, |round| round.right as f64))
        .with("school_passed", f64::from(u8::from(child.passed))))
}

/// Exams of corpora and of subjects.
pub(super) struct AllExams<'a> {
    pub corpora: CorpusExams<'a>,
}

impl ExamSource for AllExams<'_> {
    fn lines(&self, exam: &GateExam, model: &Arc<PixelModel>) -> Result<ExamLines, String> {
        let GateExam::Subject { name, exercises, seed } = exam else {
            return self.corpora.lines(exam, model);
        };
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let subject: Subject =
            self.corpora.assets.content("subject", name).map_err(|error| words(&error))?;
        let text = crate::batch::ModelText::new(model).map_err(|error| words(&error))?;
        let settings =
            SchoolSettings { held_out: *exercises, seed: *seed, ..SchoolSettings::default() };
        let made = SubjectExercises::new(&subject, model, &text, &settings);
        let made = made.map_err(|error| words(&error))?.gate;
        let line = |exercise: &crate::school::Exercise| CorpusLine {
            prompt: exercise.prompt.clone(),
            completion: exercise.answer.clone(),
            check: exercise.check.clone(),
            group: exercise.group,
        };
        let groups = made.iter().map(|exercise| exercise.group).collect();
        let lines = made.iter().map(line).collect::<Vec<_>>();
        let lines = to_json_lines(&lines).map_err(|error| words(&error))?;
        let context = model.config().context_length as usize;
        let options =
            DataOptions { targets: TargetChoice::Auto, end: true, context, truncate: false };
        let data = Dataset::parse(format!("{name}, held out"), &lines, &text, &options)
            .map_err(|error| words(&error))?;
        let kinds = made.into_iter().map(|exercise| exercise.kind).collect();
        Ok(ExamLines { data, kinds, groups })
    }
}
