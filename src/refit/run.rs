//! A whole refit: calibrate, measure, choose, check against the uniform file, report.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::choose::{Choice, MatrixOption, choose};
use super::divergence::{Divergence, ParentFigures};
use super::importance::{ColumnImportance, importance};
use super::sensitivity::{ChildTrial, Sensitivities};
use super::text::RefitText;
use super::uniform::uniform;
use super::{RefitError, RefitProblem};
use crate::forward::cpu::CpuModel;
use crate::model::rewrite::{matrices, size_in};
use crate::model::{Encoding, PixelModel};

/// What a refit works with.
#[derive(Debug)]
pub struct RefitTask<'a> {
    /// The model.
    pub parent: &'a CpuModel,
    /// What may be looked at.
    pub calibration: &'a RefitText,
    /// What decides; no part of the calibration text.
    pub gate: &'a RefitText,
    /// Bytes that all tensors may take.
    pub most_bytes: u64,
    /// Encodings to choose from.
    pub encodings: &'a [Encoding],
    /// Where what was measured is kept.
    pub kept: Option<&'a Path>,
    /// What the calibration text is, in words.
    pub text_name: &'a str,
    /// A folder for children that are gone again.
    pub folder: &'a Path,
}

/// What a person is told meanwhile.
pub trait RefitProgress {
    /// Something begins, of so many steps.
    fn begins(&self, what: &'static str, steps: usize);
    /// So many steps more are done.
    fn done(&self, steps: usize);
}

/// A matrix and what it became.
#[derive(Clone, Debug, Serialize)]
pub struct RefitMatrix {
    /// Its GGUF name.
    pub name: String,
    /// How it was stored.
    pub before: Encoding,
    /// How it is stored now.
    pub after: Encoding,
    /// What it alone costs so, in nats per token of the calibration text.
    pub divergence: f64,
}

/// A file that was measured on the gate text.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// Bytes of all tensors.
    pub bytes: u64,
    /// What it comes to.
    #[serde(flatten)]
    pub found: Divergence,
}

/// What came of a refit.
#[derive(Clone, Debug, Serialize)]
pub struct RefitReport {
    /// Bytes of all tensors before.
    pub bytes_before: u64,
    /// The mean loss of the gate text with the parent, in nats.
    pub loss_before: f64,
    /// The sum of what was measured of each matrix alone, on the calibration text.
    pub foretold: f64,
    /// The chosen mix on the gate text.
    pub mix: Measured,
    /// The uniform encoding of as many bytes or the next more, where there is one.
    pub uniform_encoding: Option<Encoding>,
    /// The uniform file on the gate text.
    pub uniform: Option<Measured>,
    /// Whether the mix is what is offered: it diverges less than the uniform file.
    pub is_mix: bool,
    /// Each matrix of what is offered.
    pub matrices: Vec<RefitMatrix>,
}

/// What is to be written.
#[derive(Debug)]
pub struct Refitted {
    /// An encoding for each tensor.
    pub encodings: Vec<Encoding>,
    /// How much inputs matter.
    pub importance: ColumnImportance,
    /// What came of it.
    pub report: RefitReport,
}

/// What came of the check.
struct CheckedMix {
    /// Whether the mix is what is offered.
    is_mix: bool,
    mix: Measured,
    uniform: Option<UniformFile>,
    /// The parent's loss of the gate text, in nats.
    loss_before: f64,
}

/// All matrices in one encoding.
struct UniformFile {
    encoding: Encoding,
    /// That of each tensor.
    encodings: Vec<Encoding>,
    measured: Measured,
}

impl RefitTask<'_> {
    fn model(&self) -> &Arc<PixelModel> {
        self.parent.model()
    }

    /// Does it.
    ///
    /// # Errors
    /// The bytes are too few, or the model or a child cannot be read, written or computed.
    pub fn run(&self, progress: &dyn RefitProgress) -> Result<Refitted, RefitError> {
        let model = self.model();
        let as_is: Vec<Encoding> = model.tensors().iter().map(|tensor| tensor.encoding()).collect();
        let of_matrices: Vec<usize> = matrices(model).collect();
        let fixed = self.bytes_of(&as_is) - self.bytes_at(&of_matrices, &as_is);
        let least: u64 = of_matrices.iter().map(|&at| self.least_bytes(at)).sum::<u64>() + fixed;
        if least > self.most_bytes {
            let (wanted, least) = (self.most_bytes, least);
            return Err(RefitProblem::TooSmall { wanted, least }.into());
        }
        progress.begins("how much inputs matter", self.calibration.tokens());
        let told = |tokens| progress.done(tokens);
        let importance = importance(self.parent, self.calibration, &told)?;
        let trial = ChildTrial { model, importance: &importance, folder: self.folder };
        let options = self.options(&trial, &of_matrices, &as_is, progress)?;
        let budget = self.most_bytes - fixed;
        let chosen = choose(&options, budget)
            .ok_or(RefitProblem::TooSmall { wanted: self.most_bytes, least })?;
        let mix = applied(&as_is, &of_matrices, &options, &chosen);
        let checked = self.check(&trial, &mix, progress)?;
        let encodings = match &checked.uniform {
            Some(uniform) if !checked.is_mix => uniform.encodings.clone(),
            _ => mix,
        };
        let matrices = self.matrices(&of_matrices, &options, &encodings);
        let report = RefitReport {
            bytes_before: self.bytes_of(&as_is),
            loss_before: checked.loss_before,
            foretold: chosen.divergence,
            mix: checked.mix,
            uniform_encoding: checked.uniform.as_ref().map(|uniform| uniform.encoding),
            uniform: checked.uniform.map(|uniform| uniform.measured),
            is_mix: checked.is_mix,
            matrices,
        };
        Ok(Refitted { encodings, importance, report })
    }

    /// What each matrix costs in each encoding, by its name, without choosing any.
    ///
    /// # Errors
    /// The model or a child cannot be read, written or computed.
    pub fn survey(
        &self,
        progress: &dyn RefitProgress,
    ) -> Result<Vec<(String, Vec<MatrixOption>)>, RefitError> {
        let model = self.model();
        let as_is: Vec<Encoding> = model.tensors().iter().map(|tensor| tensor.encoding()).collect();
        let of_matrices: Vec<usize> = matrices(model).collect();
        progress.begins("how much inputs matter", self.calibration.tokens());
        let told = |tokens| progress.done(tokens);
        let importance = importance(self.parent, self.calibration, &told)?;
        let trial = ChildTrial { model, importance: &importance, folder: self.folder };
        let options = self.options(&trial, &of_matrices, &as_is, progress)?;
        let names = of_matrices.iter().map(|&at| model.tensors()[at].name.clone());
        Ok(names.zip(options).collect())
    }

    /// Each matrix in each encoding, measured.
    fn options(
        &self,
        trial: &ChildTrial<'_>,
        of_matrices: &[usize],
        as_is: &[Encoding],
        progress: &dyn RefitProgress,
    ) -> Result<Vec<Vec<MatrixOption>>, RefitError> {
        let model = self.model();
        let root = crate::pxi::hex(&model.header().root);
        let mut kept = match self.kept {
            Some(path) => Sensitivities::read(path, &root, self.text_name),
            None => Sensitivities::new(&root, self.text_name),
        };
        let wanted = |at: usize| {
            let all = self.encodings.iter().copied();
            all.filter(move |&encoding| self.is_option(at, encoding, as_is[at]))
        };
        let name = |at: usize| &model.tensors()[at].name;
        let missing: Vec<(usize, Encoding)> = of_matrices
            .iter()
            .flat_map(|&at| wanted(at).map(move |encoding| (at, encoding)))
            .filter(|&(at, encoding)| kept.get(name(at), encoding).is_none())
            .collect();
        if !missing.is_empty() {
            progress.begins("what the parent expects", self.calibration.tokens());
            let parent = ParentFigures::of(self.parent, self.calibration, &|n| progress.done(n))?;
            progress.begins("what each matrix costs", missing.len());
            for (at, encoding) in missing {
                let mut encodings = as_is.to_vec();
                encodings[at] = encoding;
                let found = trial.measure(&encodings, &parent, self.calibration)?;
                kept.put(name(at), encoding, found);
                if let Some(path) = self.kept {
                    kept.write(path)?;
                }
                progress.done(1);
            }
        }
        let option = |at: usize, encoding: Encoding| {
            let bytes = size_in(model, at, encoding).unwrap_or(u64::MAX);
            // What stays as it is changes nothing.
            let divergence = kept.get(name(at), encoding).map_or(0.0, |found| found.mean);
            MatrixOption { encoding, bytes, divergence }
        };
        let of = |&at: &usize| {
            let encodings = std::iter::once(as_is[at]).chain(wanted(at));
            encodings.map(|encoding| option(at, encoding)).collect()
        };
        Ok(of_matrices.iter().map(of).collect())
    }

    /// Measures the mix and the uniform file of its bytes on the gate text.
    fn check(
        &self,
        trial: &ChildTrial<'_>,
        mix: &[Encoding],
        progress: &dyn RefitProgress,
    ) -> Result<CheckedMix, RefitError> {
        progress.begins("the check on another text", 3);
        let parent = ParentFigures::of(self.parent, self.gate, &|_| ())?;
        progress.done(1);
        let measure = |encodings: &[Encoding]| -> Result<Measured, RefitError> {
            let found = trial.measure(encodings, &parent, self.gate)?;
            progress.done(1);
            Ok(Measured { bytes: self.bytes_of(encodings), found })
        };
        let mix = measure(mix)?;
        let uniform = match uniform(self.model(), self.encodings, mix.bytes) {
            Some((encoding, encodings)) => {
                let measured = measure(&encodings)?;
                Some(UniformFile { encoding, encodings, measured })
            }
            None => None,
        };
        let is_mix = uniform.as_ref().is_none_or(|UniformFile { encodings, measured, .. }| {
            let fits = self.bytes_of(encodings) <= self.most_bytes;
            !fits || mix.found.mean <= measured.found.mean
        });
        Ok(CheckedMix { is_mix, mix, uniform, loss_before: parent.loss })
    }

    /// Whether a matrix may be in an encoding: another than its own, in fewer bytes.
    fn is_option(&self, at: usize, encoding: Encoding, as_is: Encoding) -> bool {
        let size = |encoding| size_in(self.model(), at, encoding);
        encoding != as_is && size(encoding).is_some_and(|bytes| Some(bytes) < size(as_is))
    }

    fn least_bytes(&self, at: usize) -> u64 {
        let own = self.model().tensors()[at].encoding();
        let all = self.encodings.iter().copied().chain([own]);
        all.filter_map(|encoding| size_in(self.model(), at, encoding)).min().unwrap_or(0)
    }

    fn bytes_at(&self, tensors: &[usize], encodings: &[Encoding]) -> u64 {
        let size = |&at: &usize| size_in(self.model(), at, encodings[at]).unwrap_or(0);
        tensors.iter().map(size).sum()
    }

    fn bytes_of(&self, encodings: &[Encoding]) -> u64 {
        let all: Vec<usize> = (0..encodings.len()).collect();
        self.bytes_at(&all, encodings)
    }

    fn matrices(
        &self,
        of_matrices: &[usize],
        options: &[Vec<MatrixOption>],
        encodings: &[Encoding],
    ) -> Vec<RefitMatrix> {
        let tensors = self.model().tensors();
        let matrix = |(&at, options): (&usize, &Vec<MatrixOption>)| {
            let after = encodings[at];
            let option = options.iter().find(|option| option.encoding == after);
            let divergence = option.map_or(f64::NAN, |option| option.divergence);
            let (name, before) = (tensors[at].name.clone(), tensors[at].encoding());
            RefitMatrix { name, before, after, divergence }
        };
        of_matrices.iter().zip(options).map(matrix).collect()
    }
}

/// The encodings of all tensors with what was chosen for matrices.
fn applied(
    as_is: &[Encoding],
    of_matrices: &[usize],
    options: &[Vec<MatrixOption>],
    chosen: &Choice,
) -> Vec<Encoding> {
    let mut encodings = as_is.to_vec();
    for ((&at, options), &option) in of_matrices.iter().zip(options).zip(&chosen.options) {
        encodings[at] = options[option].encoding;
    }
    encodings
}
