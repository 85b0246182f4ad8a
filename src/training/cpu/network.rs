//! The tensors that a trainer computes with: those of the file, or its own where all is trained;
//! and what is trained, with its gradients and moments.

use std::sync::Arc;

use super::low_rank::TrainedFactor;
use crate::forward::bind::{BoundMatrix, BoundModel, LayerVector, rope_params};
use crate::forward::cpu::matrix::Matrix;
use crate::forward::cpu::rope::Rotation;
use crate::forward::params::{LayerParams, MatrixParams};
use crate::model::adapter::TARGETS;
use crate::model::rearrange::scatter;
use crate::model::tensors::lay_out;
use crate::model::tiling::Tiling;
use crate::model::weights::tile_weights;
use crate::model::{Encoding, PixelModel};
use crate::training::optimizer::{AdamW, Updated, sum_of_squares};
use crate::training::{Parameter, TrainError, Trained, TrainingSettings, start};

/// A matrix as passes read it.
#[derive(Debug)]
pub struct NetworkWeights {
    params: MatrixParams,
    tensor: usize,
    /// The trainer's own tiles, of plain floats; else those of the file are read.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    tiling: Tiling,
    bytes: Vec<u8>,
    parameter: usize,
}

/// The update of a matrix.
#[derive(Debug)]
pub struct LowRankUpdate {
    /// Its A among the parameters; B is the next.
    pub parameter: usize,
    /// The rank.
    pub rank: usize,
    /// The factor of the update.
    pub scale: f32,
    /// A, its features the matrix's inputs.
    pub a: TrainedFactor,
    /// B, its features the matrix's outputs.
    pub b: TrainedFactor,
}

/// A layer's tensors.
#[derive(Debug)]
pub struct TrainedLayer {
    /// In the order of [`TARGETS`].
    pub matrices: [NetworkWeights; 7],
    /// In the order of [`TARGETS`].
    pub updates: [Option<LowRankUpdate>; 7],
    /// By [`LayerVector`]; with each its place among the parameters where it is trained.
    vectors: Vec<(Vec<f32>, Option<usize>)>,
    /// The parameters of its kernels.
    pub params: LayerParams,
}

impl TrainedLayer {
    /// The numbers of a vector; none where the layer has no such vector.
    pub fn vector(&self, vector: LayerVector) -> &[f32] {
        &self.vectors[vector as usize].0
    }

    /// The place of a vector among the parameters.
    pub fn vector_parameter(&self, vector: LayerVector) -> Option<usize> {
        self.vectors[vector as usize].1
    }
}

/// Everything that a pass reads and a step changes.
#[derive(Debug)]
pub struct Network {
    /// The file.
    pub model: Arc<PixelModel>,
    /// Angles of positions.
    pub rotation: Rotation,
    /// Token embeddings.
    pub embedding: NetworkWeights,
    /// Layers.
    pub layers: Vec<TrainedLayer>,
    /// The last norm.
    pub output_norm: (Vec<f32>, Option<usize>),
    /// The output matrix, where it is not the embedding.
    output: Option<NetworkWeights>,
    /// What is trained.
    pub parameters: Vec<Parameter>,
    /// Of each parameter, in its own order.
    pub gradients: Vec<Vec<f32>>,
}

impl Network {
    /// Binds a model's tensors; `parameters` are what is trained, in any state.
    pub fn new(
        model: Arc<PixelModel>,
        settings: &TrainingSettings,
        parameters: Vec<Parameter>,
    ) -> Result<Self, TrainError> {
        let bound = BoundModel::new(&model).map_err(|why| TrainError::Model(why.to_string()))?;
        let config = model.config().clone();
        let is_full = settings.what == Trained::Full;
        let binder = Binder { model: &model, parameters: &parameters, is_full };
        let layers = bound.layers.iter().enumerate().map(|(index, layer)| {
            let name = |name: &str| format!("blk.{index}.{name}");
            let [query, key, value] = &layer.qkv;
            let matrices = [query, key, value, &layer.output, &layer.gate, &layer.up, &layer.down];
            let update = |target: &str| {
                let tensor = name(&format!("{target}.weight"));
                let a = format!("{tensor}.lora_a");
                let parameter = parameters.iter().position(|parameter| parameter.name == a)?;
                let rank = parameters[parameter].rows;
                let scale = start::scale(settings, rank);
                Some(LowRankUpdate {
                    parameter,
                    rank,
                    scale,
                    a: TrainedFactor::default(),
                    b: TrainedFactor::default(),
                })
            };
            let vectors = LayerVector::ALL.map(|vector| {
                let parameter = binder.parameter(&name(vector.name()));
                (layer.vector(vector).to_vec(), parameter)
            });
            TrainedLayer {
                matrices: matrices.map(|matrix| binder.weights(matrix)),
                updates: TARGETS.map(update),
                vectors: vectors.into(),
                params: layer.params(&config, 0, 1.0),
            }
        });
        let mut network = Self {
            rotation: Rotation::new(&rope_params(&config), bound.rope_factors.as_deref()),
            embedding: binder.weights(&bound.embedding),
            layers: layers.collect(),
            output_norm: (bound.output_norm.clone(), binder.parameter("output_norm.weight")),
            output: (!config.tied_embeddings).then(|| binder.weights(&bound.output)),
            gradients: parameters.iter().map(|p| vec![0.0; p.values.len()]).collect(),
            parameters,
            model,
        };
        network.take_up();
        Ok(network)
    }

    /// A matrix to multiply with.
    pub fn matrix<'a>(&'a self, weights: &'a NetworkWeights) -> Matrix<'a> {
        let bytes = match &weights.own {
            Some(own) => &own.bytes,
            None => self.model.tensor_bytes(weights.tensor),
        };
        Matrix::new(&weights.params, bytes)
    }

    /// The place of a matrix among the parameters.
    pub fn parameter_of(&self, weights: &NetworkWeights) -> Option<usize> {
        weights.own.as_ref().map(|own| own.parameter)
    }

    /// The output matrix.
    pub fn output(&self) -> &NetworkWeights {
        self.output.as_ref().unwrap_or(&self.embedding)
    }

    /// Lays the parameters' numbers out as passes read them.
    pub fn take_up(&mut self) {
        let Self { layers, parameters, embedding, output, output_norm, .. } = self;
        let numbers = |parameter: usize| &parameters[parameter].values;
        for layer in layers {
            for update in layer.updates.iter_mut().flatten() {
                let (a, b) = (&parameters[update.parameter], &parameters[update.parameter + 1]);
                let rank = update.rank;
                update.a =
                    TrainedFactor::new(a.columns, rank, |at, k| a.values[k * a.columns + at]);
                update.b = TrainedFactor::new(b.rows, rank, |at, k| b.values[at * rank + k]);
            }
            for (vector, parameter) in &mut layer.vectors {
                if let Some(parameter) = *parameter {
                    vector.copy_from_slice(numbers(parameter));
                }
            }
            layer.matrices.iter_mut().for_each(|matrix| matrix.take_up(parameters));
        }
        embedding.take_up(parameters);
        if let Some(output) = output {
            output.take_up(parameters);
        }
        if let (vector, Some(parameter)) = output_norm {
            vector.copy_from_slice(numbers(*parameter));
        }
    }

    /// The norm of all gradients together.
    pub fn gradient_norm(&self) -> f64 {
        let squares = self.gradients.iter().map(|gradient| sum_of_squares(gradient));
        squares.sum::<f64>().sqrt()
    }

    /// One update of everything; `step` counts from 1.
    pub fn update(&mut self, optimizer: &AdamW, rate: f32, step: u64, factor: f32) {
        for (parameter, gradient) in self.parameters.iter_mut().zip(&self.gradients) {
            // Of an adapter both halves are matrices, whatever the rank.
            let decays = parameter.rows > 1 || parameter.name.ends_with(".lora_a");
            let Parameter { values, first, second, .. } = parameter;
            optimizer.update(
                rate,
                step,
                factor,
                Updated { values, gradient, first, second, decays },
            );
        }
        self.take_up();
    }
}

impl NetworkWeights {
    fn take_up(&mut self, parameters: &[Parameter]) {
        let Some(own) = &mut self.own else { return };
        let numbers: &[u8] = bytemuck::cast_slice(&parameters[own.parameter].values);
        let row = own.tiling.columns as usize * size_of::<f32>();
        for shape in own.tiling.tiles() {
            let rows = shape.rows.start as usize * row..shape.rows.end as usize * row;
            let lines = shape.lines.start as usize * LINE..shape.lines.end as usize * LINE;
            scatter(&own.tiling, &shape, &numbers[rows], &mut own.bytes[lines]);
        }
    }
}

const LINE: usize = crate::model::planes::LINE_BYTES as usize;

struct Binder<'a> {
    model: &'a PixelModel,
    parameters: &'a [Parameter],
    is_full: bool,
}

impl Binder<'_> {
    fn parameter(&self, name: &str) -> Option<usize> {
        self.parameters.iter().position(|parameter| parameter.name == name)
    }

    fn weights(&self, matrix: &BoundMatrix) -> NetworkWeights {
        let (params, tensor) = (matrix.params, matrix.tensor);
        if !self.is_full {
            return NetworkWeights { params, tensor, own: None };
        }
        let of_file = &self.model.tensors()[tensor];
        let shape = (of_file.name.clone(), of_file.dimensions.clone(), Encoding::F32);
        let own = lay_out(vec![shape]).expect("floats of a shape that the file has");
        let params = MatrixParams::new(&own[0]).expect("a matrix stays one");
        let tiling = own[0].tiling;
        let parameter = self.parameter(&of_file.name).expect("every tensor is trained");
        let bytes = vec![0; tiling.line_count() as usize * LINE];
        NetworkWeights { params, tensor, own: Some(Own { tiling, bytes, parameter }) }
    }
}

/// All weights of a tensor, a row after another.
pub fn tensor_weights(model: &PixelModel, tensor: usize) -> Vec<f32> {
    let tiling = &model.tensors()[tensor].tiling;
    let columns = tiling.columns as usize;
    let mut weights = vec![0.0; tiling.rows as usize * columns];
    let bytes = model.tensor_bytes(tensor);
    for shape in tiling.tiles() {
        let lines = shape.lines.start as usize * LINE..shape.lines.end as usize * LINE;
        let of_tile = tile_weights(tiling, &shape, &bytes[lines]);
        let width = (shape.columns.end - shape.columns.start) as usize;
        for (row, of_row) in shape.rows.clone().zip(of_tile.chunks_exact(width.max(1))) {
            let at = row as usize * columns + shape.columns.start as usize;
            weights[at..at + width].copy_from_slice(of_row);
        }
    }
    weights
}
