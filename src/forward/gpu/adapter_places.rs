//! An adapter on the device: its factors in lines as the model's matrices are, beside their
//! gradients and both moments.
//!
//! Kernels that answer read the values from there, and those of training read and write all four.
//!
//! Matrices that share their inputs share one first factor, `[inputs, sum of ranks]`, so that one
//! kernel multiplies it for all of them. Ranks are filled with zeros to a multiple of 4; those stay
//! zero, since their gradients are.

use crate::forward::bind::{BoundLayer, BoundMatrix};
use crate::model::adapter::{Adapter, LowRank, TARGETS};

/// Groups of a layer's matrices that share their inputs.
pub const GROUPS: usize = 4;
/// The group of each of [`TARGETS`].
const GROUP_OF: [usize; TARGETS.len()] = [0, 0, 0, 1, 2, 2, 3];
/// Copies of what is trained: values, gradients, two moments.
pub const COPIES: u32 = 4;
/// Quads of a row of their texture; each copy has whole rows.
pub const ROW: u32 = 1024;

/// A factor `[rows, rank]` in lines of 64 rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct FactorPlace {
    /// Its first quad among the values.
    pub place: u32,
    /// Rows.
    pub rows: u32,
    /// Quads of a row.
    pub quads: u32,
}

impl FactorPlace {
    fn quads_in_all(&self) -> u32 {
        self.rows.next_multiple_of(64) * self.quads
    }

    /// The number of the values that `[row, column]` is.
    fn number(&self, row: usize, column: usize) -> usize {
        let (quads, quad) = (self.quads as usize, column / 4);
        (self.place as usize + (row / 64 * quads + quad) * 64 + row % 64) * 4 + column % 4
    }
}

/// An adapted matrix.
#[derive(Debug, Clone)]
pub struct Adapted {
    /// The matrix's tensor.
    pub name: String,
    rank: usize,
    /// Its columns of the first factor, and quads before them.
    first: FactorPlace,
    /// Quads of the first factor before its own.
    pub before: u32,
    /// Quads of its own rank.
    pub quads: u32,
    /// The second factor, `[outputs, rank]`.
    pub second: FactorPlace,
    /// The factor of the update.
    pub scale: f32,
}

/// What is adapted of a layer.
#[derive(Debug, Clone, Default)]
pub struct AdaptedLayer {
    /// For each of [`TARGETS`].
    pub targets: [Option<Adapted>; TARGETS.len()],
    /// The first factor of each group; no quads where nothing of it is adapted.
    pub first: [FactorPlace; GROUPS],
}

impl AdaptedLayer {
    /// Whether anything is adapted.
    pub fn is_adapted(&self) -> bool {
        self.targets.iter().any(Option::is_some)
    }
}

/// Where an adapter lies.
#[derive(Debug, Clone)]
pub struct AdapterPlaces {
    /// What is adapted of each layer.
    pub layers: Vec<AdaptedLayer>,
    /// Quads of one copy, whole rows.
    pub quads: u32,
    /// Matrices in the order of their updates.
    order: Vec<(usize, usize)>,
}

/// The layer and the target that a tensor's name says.
fn target_of(tensor: &str) -> Option<(usize, usize)> {
    let (layer, name) = tensor.strip_prefix("blk.")?.split_once('.')?;
    let name = name.strip_suffix(".weight")?;
    Some((layer.parse().ok()?, TARGETS.iter().position(|target| *target == name)?))
}

fn matrix(layer: &BoundLayer, target: usize) -> &BoundMatrix {
    layer.matrices()[target]
}

impl AdapterPlaces {
    /// Places for an adapter of bound layers; `scale` is the factor of updates of a rank.
    ///
    /// # Errors
    /// In words: a matrix that is not there or has other sizes.
    pub fn new(
        adapter: &Adapter,
        bound: &[BoundLayer],
        scale: impl Fn(usize) -> f32,
    ) -> Result<Self, String> {
        let mut layers = vec![AdaptedLayer::default(); bound.len()];
        let mut order = Vec::new();
        for update in &adapter.updates {
            let place = target_of(&update.tensor).filter(|&(layer, _)| layer < bound.len());
            let (layer, target) =
                place.ok_or_else(|| format!("{}: no matrix that is adapted", update.tensor))?;
            let params = matrix(&bound[layer], target).params;
            let sizes = (params.rows as usize, params.columns as usize);
            let (numbers, rank) = ((update.a.len(), update.b.len()), update.rank);
            if sizes != (update.outputs, update.inputs)
                || numbers != (rank * update.inputs, rank * update.outputs)
            {
                return Err(format!("{}: the adapter's sizes are not the matrix's", update.tensor));
            }
            let adapted = &mut layers[layer];
            let first = &mut adapted.first[GROUP_OF[target]];
            let quads = rank.div_ceil(4) as u32;
            adapted.targets[target] = Some(Adapted {
                name: update.tensor.clone(),
                rank,
                first: FactorPlace::default(),
                before: first.quads,
                quads,
                second: FactorPlace { place: 0, rows: params.rows, quads },
                scale: scale(rank),
            });
            *first = FactorPlace { place: 0, rows: params.columns, quads: first.quads + quads };
            order.push((layer, target));
        }
        let mut places = Self { layers, quads: 0, order };
        let all = places.place();
        places.quads = all.and_then(|all| all.checked_next_multiple_of(ROW)).ok_or_else(|| {
            "the adapter has more numbers than a device counts: lower --rank".to_owned()
        })?;
        Ok(places)
    }

    /// The group of one of [`TARGETS`].
    pub fn group_of(target: usize) -> usize {
        GROUP_OF[target]
    }

    /// Gives every factor its place; how many quads they have, if those can be counted.
    fn place(&mut self) -> Option<u32> {
        let mut next = 0u32;
        let mut place = |factor: &mut FactorPlace| {
            factor.place = next;
            next = next.checked_add(factor.quads_in_all())?;
            Some(())
        };
        for layer in &mut self.layers {
            layer.first.iter_mut().try_for_each(&mut place)?;
            for (target, adapted) in layer.targets.iter_mut().enumerate() {
                let Some(adapted) = adapted else { continue };
                adapted.first = layer.first[GROUP_OF[target]];
                place(&mut adapted.second)?;
            }
        }
        Some(next)
    }

    /// The most quads of rank of each group in any layer.
    pub fn ranks(&self) -> [u32; GROUPS] {
        std::array::from_fn(|group| {
            self.layers.iter().map(|layer| layer.first[group].quads).max().unwrap_or(0)
        })
    }

    fn adapted(&self) -> impl Iterator<Item = &Adapted> {
        self.order.iter().filter_map(|&(layer, target)| self.layers[layer].targets[target].as_ref())
    }

    /// The numbers of one copy as they lie on the device.
    pub fn values(&self, adapter: &Adapter) -> Vec<f32> {
        let mut numbers = vec![0.0; self.quads as usize * 4];
        for (adapted, update) in self.adapted().zip(&adapter.updates) {
            let LowRank { inputs, outputs, rank, a, b, .. } = update;
            adapted.write_first(&mut numbers, a, *rank, *inputs);
            adapted.write_second(&mut numbers, b, *rank, *outputs);
        }
        numbers
    }

    /// Puts what has the form of the adapter's factors, two for each matrix, in the device's order:
    /// name, rows, columns and numbers of each.
    ///
    /// # Errors
    /// In words: other tensors, or other sizes.
    pub fn laid_out<'a>(
        &self,
        tensors: &[(&'a str, usize, usize, &'a [f32])],
    ) -> Result<Vec<f32>, String> {
        let mut numbers = vec![0.0; self.quads as usize * 4];
        let find = |name: String, (rows, columns): (usize, usize)| {
            let found = tensors.iter().find(|tensor| tensor.0 == name);
            let found = *found.ok_or_else(|| format!("it has no {name}"))?;
            if (found.1, found.2, found.3.len()) != (rows, columns, rows * columns) {
                return Err(format!("{name} has other sizes"));
            }
            Ok(found.3)
        };
        for adapted in self.adapted() {
            let (rank, inputs) = (adapted.rank, adapted.first.rows as usize);
            let outputs = adapted.second.rows as usize;
            let a = find(format!("{}.lora_a", adapted.name), (rank, inputs))?;
            let b = find(format!("{}.lora_b", adapted.name), (outputs, rank))?;
            adapted.write_first(&mut numbers, a, rank, inputs);
            adapted.write_second(&mut numbers, b, rank, outputs);
        }
        if tensors.len() != 2 * self.order.len() {
            return Err(format!("it has {} tensors", tensors.len()));
        }
        Ok(numbers)
    }

    /// Each factor of a copy: its name, rows, columns and numbers, a row after another.
    pub fn factors<'a>(
        &'a self,
        numbers: &'a [f32],
    ) -> impl Iterator<Item = (String, usize, usize, Vec<f32>)> + 'a {
        self.adapted().flat_map(move |adapted| {
            let (rank, inputs) = (adapted.rank, adapted.first.rows as usize);
            let outputs = adapted.second.rows as usize;
            let before = adapted.before as usize * 4;
            let a = (0..rank).flat_map(|row| {
                (0..inputs).map(move |column| numbers[adapted.first.number(column, before + row)])
            });
            let b = (0..outputs).flat_map(|row| {
                (0..rank).map(move |column| numbers[adapted.second.number(row, column)])
            });
            [
                (format!("{}.lora_a", adapted.name), rank, inputs, a.collect()),
                (format!("{}.lora_b", adapted.name), outputs, rank, b.collect()),
            ]
        })
    }
}

impl Adapted {
    fn write_first(&self, numbers: &mut [f32], a: &[f32], rank: usize, inputs: usize) {
        for row in 0..rank {
            for column in 0..inputs {
                let at = self.first.number(column, self.before as usize * 4 + row);
                numbers[at] = a[row * inputs + column];
            }
        }
    }

    fn write_second(&self, numbers: &mut [f32], b: &[f32], rank: usize, outputs: usize) {
        for row in 0..outputs {
            for column in 0..rank {
                numbers[self.second.number(row, column)] = b[row * rank + column];
            }
        }
    }
}
