//! A model whose every weight was trained: its file, and what it begins with where nothing of it
//! was learnt before.
//!
//! In: a model, for its shapes, its tokenizer and its metadata, and [`Parameter`]s. Out: a model
//! file of floats; or parameters that are drawn.

use std::path::Path;

use super::start::noise;
use super::{Parameter, TrainerState};
use crate::model::convert::convert;
use crate::model::export::export_floats;
use crate::model::gguf::Gguf;
use crate::model::{Encoding, ModelError, PixelModel};
use crate::pxi::Target;

/// The standard deviation of token embeddings.
const EMBEDDING_SPREAD: f64 = 0.02;

/// Writes a model with these weights, as GGUF, or as pixels where the name ends in `.pxi`. Matrices
/// are stored in `encoding`, which is F32, F16 or BF16, vectors as F32; what is not trained stays
/// as it is. The file appears when it is whole.
///
/// # Errors
/// A weight does not fit the encoding, or the file cannot be written.
pub fn write(
    model: &PixelModel,
    parameters: &[Parameter],
    encoding: Encoding,
    output: &Path,
    replaces: bool,
) -> Result<(), ModelError> {
    let values = |tensor: usize| {
        let name = &model.tensors()[tensor].name;
        let found = parameters.iter().find(|parameter| parameter.name == *name);
        found.map(|parameter| &*parameter.values)
    };
    let target = Target::new(output, replaces);
    if !output.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("pxi")) {
        return export_floats(model, encoding, &values, target, &|_| ());
    }
    let folder = output.parent().filter(|folder| *folder != Path::new(""));
    let between = tempfile::Builder::new()
        .prefix(".train-")
        .suffix(".gguf")
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(|source| {
            let action = format!("cannot make a file beside {}", output.display());
            ModelError::Io { action, source }
        })?
        .into_temp_path();
    // It has its name already, and nobody else's file has.
    export_floats(model, encoding, &values, Target::new(&between, true), &|_| ())?;
    convert(&Gguf::open(&between)?, target, &|_| ())?;
    Ok(())
}

/// A state in which nothing was learnt: embeddings of a small normal spread, matrices of one over
/// the root of their inputs, those that write into the residual stream less by the root of twice
/// the layers, norms of 1 and biases of 0. Each tensor is drawn from a stream of its own name.
pub fn from_scratch(model: &PixelModel, state: TrainerState, seed: u64) -> TrainerState {
    let layers = f64::from(model.config().layer_count);
    let fresh = |parameter: Parameter| {
        let Parameter { name, rows, columns, .. } = &parameter;
        let part = name.rsplit('.').nth(1).unwrap_or_default();
        let spread = match part {
            "token_embd" | "output" => EMBEDDING_SPREAD,
            "attn_output" | "ffn_down" => 1.0 / (*columns as f64 * 2.0 * layers).sqrt(),
            _ => 1.0 / (*columns as f64).sqrt(),
        };
        let word = noise(seed, name, 0);
        let values = match (name.ends_with(".bias"), part.ends_with("norm")) {
            (true, _) => vec![0.0; rows * columns],
            (_, true) => vec![1.0; rows * columns],
            _ => (0..(rows * columns) as u64).map(|at| normal(&word, at, spread)).collect(),
        };
        let zeros = vec![0.0; values.len()];
        Parameter { values, first: zeros.clone(), second: zeros, ..parameter }
    };
    TrainerState { step: 0, parameters: state.parameters.into_iter().map(fresh).collect() }
}

/// Number `at` of a normal distribution, from two words (Box and Muller 1958).
fn normal(word: &impl Fn(u64) -> u32, at: u64, spread: f64) -> f32 {
    let uniform = |word: u32| (f64::from(word) + 0.5) * 2.0f64.powi(-32);
    let (one, other) = (uniform(word(2 * at)), uniform(word(2 * at + 1)));
    let radius = (-2.0 * one.ln()).sqrt();
    (spread * radius * (std::f64::consts::TAU * other).cos()) as f32
}
