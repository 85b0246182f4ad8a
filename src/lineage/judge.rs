//! Judging and promoting: the gate measures the child's file, whatever was written of it, and only
//! what it passes takes the place of the current one.

use std::sync::Arc;

use super::document::Lineage;
use super::entry::{GateUse, LineageEntry, LineageVerdict, MadeBy, TextRole, short};
use super::error::LineageError;
use super::measure::{ChildMeasurement, Compared, ExamSource, FoundFigures, MeasureListener};
use super::store::LineageStore;
use super::texts::disjoint;
use crate::model::PixelModel;

/// What judges children of a lineage.
pub struct Judge<'a> {
    /// Where they are.
    pub store: &'a LineageStore,
    /// The model that all come from.
    pub founder: &'a Arc<PixelModel>,
    /// Where questions come from.
    pub exams: &'a dyn ExamSource,
    /// Who hears what is measured.
    pub listener: &'a dyn MeasureListener,
}

/// What the gate said of a child.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The child as the lineage has it now.
    pub child: LineageEntry,
    /// Whether it passed.
    pub passes: bool,
}

impl Judge<'_> {
    /// Measures a child and notes whether it passed. Without `gate` it is judged by the one that it
    /// was proposed for.
    ///
    /// # Errors
    /// It is not there, it is in use, its texts overlap with the gate's, a model cannot be read or
    /// computed, or the lineage cannot be written.
    pub fn judge(
        &self,
        child: &str,
        gate: Option<GateUse>,
        by: &MadeBy,
    ) -> Result<Judgement, LineageError> {
        let lineage = self.store.read()?;
        let (gate, found) = self.measured(&lineage, child, gate)?;
        let passes = gate.passes();
        let verdict = if passes { LineageVerdict::Passed } else { LineageVerdict::Rejected };
        self.note(child, verdict, (gate, found), by)
    }

    /// Measures a child, and if it passes puts it in the place of the current one. The report text
    /// is looked at once it has passed, and decides nothing.
    ///
    /// # Errors
    /// As [`Judge::judge`], or it does not come from the current one.
    pub fn promote(&self, child: &str, by: &MadeBy) -> Result<Judgement, LineageError> {
        let lineage = self.store.read()?;
        self.check_base(&lineage, child)?;
        let (gate, mut found) = self.measured(&lineage, child, None)?;
        if !gate.passes() {
            return self.note(child, LineageVerdict::Rejected, (gate, found), by);
        }
        if lineage.verdict(child) != Some(LineageVerdict::Passed) {
            self.note(child, LineageVerdict::Passed, (gate.clone(), found.clone()), by)?;
        }
        let report = self.measure(&lineage, child, &gate, TextRole::Report)?;
        found.figures.extend(report.figures.into_iter().filter(|it| !it.text.is_empty()));
        found.texts.extend(report.texts);
        self.note(child, LineageVerdict::Promoted, (gate, found), by)
    }

    /// What it was measured against has to be what it takes the place of.
    fn check_base(&self, lineage: &Lineage, child: &str) -> Result<(), LineageError> {
        let unknown = || LineageError::UnknownChild(child.to_owned());
        let entry = lineage.now(child).ok_or_else(unknown)?;
        let refused = |why: String| LineageError::Refused { child: child.to_owned(), why };
        if entry.verdict == LineageVerdict::Promoted {
            return Err(refused("it is promoted already".into()));
        }
        let current = lineage.current().unwrap_or_default();
        if entry.base() != Some(current) {
            let base = entry.base().map_or("nothing", short);
            return Err(refused(format!(
                "it comes from {base}, and {} is current: go back to {base} first (`lineage \
                 back`), or make it anew from the current one",
                short(current)
            )));
        }
        Ok(())
    }

    fn measured(
        &self,
        lineage: &Lineage,
        child: &str,
        gate: Option<GateUse>,
    ) -> Result<(GateUse, FoundFigures), LineageError> {
        let unknown = || LineageError::UnknownChild(child.to_owned());
        let entry = lineage.now(child).ok_or_else(unknown)?;
        let no_gate = || LineageError::Refused {
            child: child.to_owned(),
            why: "it was proposed without a gate, and nothing is in its place: `lineage judge`"
                .into(),
        };
        let mut gate = gate.or(entry.gate).ok_or_else(no_gate)?;
        gate.outcome.clear();
        let mut found = self.measure(lineage, child, &gate, TextRole::Gate)?;
        // What was looked at may be no part of what decides.
        let mut texts = found.texts.clone();
        texts.extend(entry.texts.into_iter().filter(|text| text.role == TextRole::Calibration));
        disjoint(&texts)?;
        gate.outcome = gate.data.judge(&found.figures);
        found.texts.dedup();
        Ok((gate, found))
    }

    fn measure(
        &self,
        lineage: &Lineage,
        child: &str,
        gate: &GateUse,
        role: TextRole,
    ) -> Result<FoundFigures, LineageError> {
        let founder = self.founder;
        let base = lineage.now(child).and_then(|entry| entry.base().map(str::to_owned));
        let refused = || LineageError::Refused {
            child: child.to_owned(),
            why: "it is the founder, which nothing is measured against".into(),
        };
        let base = base.ok_or_else(refused)?;
        let parent = self.store.open(lineage, &base, founder)?;
        let model = self.store.open(lineage, child, founder)?;
        let models = Compared { founder, parent: &parent, child: &model };
        ChildMeasurement::new(models, &gate.data, self.exams, self.listener).run(role)
    }

    fn note(
        &self,
        child: &str,
        verdict: LineageVerdict,
        (gate, found): (GateUse, FoundFigures),
        by: &MadeBy,
    ) -> Result<Judgement, LineageError> {
        let passes = gate.passes();
        let lineage = self.store.append(|lineage| {
            // The current one may be another since it was looked at.
            if verdict == LineageVerdict::Promoted {
                self.check_base(lineage, child)?;
            }
            let note = LineageStore::note(lineage, child, verdict, by)?;
            Ok(LineageEntry {
                figures: found.figures,
                texts: found.texts,
                gate: Some(gate),
                ..note
            })
        })?;
        let child = lineage.now(child).expect("it was added");
        Ok(Judgement { child, passes })
    }
}
