//! What a run begins with: a new adapter, one to go on from, or the model's own tensors.

use super::cpu::tensor_weights;
use super::{LoraSettings, Parameter, TrainError, Trained, TrainingSettings};
use crate::forward::sampling::Key;
use crate::model::adapter::{LowRank, TARGETS};
use crate::model::{Adapter, PixelModel};
use crate::names;

/// The words of a stream of noise: word `i` is word `i mod 4` of the noise of group `i / 4`
/// (specs/forward.md section 7).
pub(crate) fn noise(seed: u64, stream: &str, index: u32) -> impl Fn(u64) -> u32 + use<> {
    let key = Key::new(seed, names::number_of(stream));
    move |word| key.noise(index, (word / 4) as u32)[(word % 4) as usize]
}

/// The factor of an update.
pub(crate) fn scale(settings: &TrainingSettings, rank: usize) -> f32 {
    match &settings.what {
        Trained::Lora(lora) if lora.rank_stabilised => lora.alpha / (rank as f32).sqrt(),
        Trained::Lora(lora) if lora.alpha != 0.0 => lora.alpha / rank as f32,
        _ => 1.0,
    }
}

/// What is trained, before the first step: A uniform within one over the root of its inputs, B
/// zero, as PEFT begins.
///
/// # Errors
/// The settings do not fit the model.
pub fn parameters(
    model: &PixelModel,
    settings: &TrainingSettings,
    start: Option<&Adapter>,
) -> Result<Vec<Parameter>, TrainError> {
    match (&settings.what, start) {
        (Trained::Full, Some(_)) => Err(TrainError::Model(
            "a full run does not go on from an adapter: merge it into the model first".into(),
        )),
        (Trained::Full, None) => Ok(full(model)),
        (Trained::Lora(_), Some(adapter)) => Ok(adapter.updates.iter().flat_map(halves).collect()),
        (Trained::Lora(lora), None) => new_adapter(model, lora, settings.seed),
    }
}

/// A tensor with nothing learnt yet.
fn parameter(name: String, rows: usize, columns: usize, values: Vec<f32>) -> Parameter {
    let zeros = vec![0.0; values.len()];
    Parameter { name, rows, columns, values, first: zeros.clone(), second: zeros }
}

fn halves(update: &LowRank) -> [Parameter; 2] {
    let LowRank { tensor, inputs, outputs, rank, a, b } = update;
    [
        parameter(format!("{tensor}.lora_a"), *rank, *inputs, a.clone()),
        parameter(format!("{tensor}.lora_b"), *outputs, *rank, b.clone()),
    ]
}

fn new_adapter(
    model: &PixelModel,
    lora: &LoraSettings,
    seed: u64,
) -> Result<Vec<Parameter>, TrainError> {
    let layers = model.config().layer_count;
    let (first, end) = lora.layers.unwrap_or((0, layers));
    if lora.rank == 0 || first >= end || end > layers || lora.targets.is_empty() {
        return Err(TrainError::Model(format!(
            "an adapter of rank {} on {} matrices of layers {first} to {end}: the model has layers \
             0 to {layers}, and rank and matrices are at least 1",
            lora.rank,
            lora.targets.len()
        )));
    }
    if let Some(target) = lora.targets.iter().find(|name| !TARGETS.contains(&name.as_str())) {
        let known = TARGETS.join(", ");
        return Err(TrainError::Model(format!("no matrix {target:?} to train: there are {known}")));
    }
    let mut all = Vec::new();
    for layer in first..end {
        // In the order of the matrices, whatever the order in which they were asked for.
        for target in TARGETS.iter().filter(|name| lora.targets.iter().any(|t| t == *name)) {
            let tensor = format!("blk.{layer}.{target}.weight");
            let of_file = model
                .tensor(&tensor)
                .ok_or_else(|| TrainError::Model(format!("the model has no tensor {tensor}")))?;
            let (inputs, outputs) = (of_file.tiling.columns as usize, of_file.tiling.rows as usize);
            let stream = format!("{tensor}.lora_a");
            let word = noise(seed, &stream, 0);
            let bound = 1.0 / (inputs as f64).sqrt();
            let uniform = |at: u64| {
                (bound * (2.0 * (f64::from(word(at)) + 0.5) * 2.0f64.powi(-32) - 1.0)) as f32
            };
            let a = (0..(lora.rank * inputs) as u64).map(uniform).collect();
            let b = vec![0.0; outputs * lora.rank];
            all.extend(halves(&LowRank { tensor, inputs, outputs, rank: lora.rank, a, b }));
        }
    }
    Ok(all)
}

/// Every tensor, unpacked: what is trained is kept and written as floats, so that no step is lost
/// in an encoding.
fn full(model: &PixelModel) -> Vec<Parameter> {
    let mut all = Vec::new();
    for (index, tensor) in model.tensors().iter().enumerate() {
        // Divisors of frequencies are part of what positions mean, not of what is learnt.
        if tensor.name == "rope_freqs.weight" {
            continue;
        }
        let (rows, columns) = (tensor.tiling.rows as usize, tensor.tiling.columns as usize);
        all.push(parameter(tensor.name.clone(), rows, columns, tensor_weights(model, index)));
    }
    all
}

/// The adapter that parameters are.
pub fn adapter(
    model: &PixelModel,
    settings: &TrainingSettings,
    parameters: &[Parameter],
) -> Option<Adapter> {
    let Trained::Lora(lora) = &settings.what else { return None };
    let updates = parameters.chunks_exact(2).map(|halves| LowRank {
        tensor: halves[0].name.trim_end_matches(".lora_a").to_owned(),
        inputs: halves[0].columns,
        outputs: halves[1].rows,
        rank: halves[0].rows,
        a: halves[0].values.clone(),
        b: halves[1].values.clone(),
    });
    // A reader divides alpha by the rank: with rank-stabilised factors it gets what makes up for
    // that.
    let alpha =
        if lora.rank_stabilised { lora.alpha * (lora.rank as f32).sqrt() } else { lora.alpha };
    Some(Adapter {
        architecture: model.config().architecture,
        alpha,
        updates: updates.collect(),
        base: Some(model.header().root),
        run: None,
    })
}
