//! From hooks to what is recorded for them: where their values are, and the dispatches and copies
//! that act there.

use bevy::render::{
    render_resource::{
        Buffer, BufferDescriptor, BufferInitDescriptor, BufferUsages, PipelineCache,
    },
    renderer::RenderDevice,
};

use super::{DeviceNumbers, Effect, LAST, Placed, StepHooks, WatchedPlace};
use crate::forward::cpu::Column;
use crate::forward::gpu::kernels::bindings::ChangeBindings;
use crate::forward::gpu::kernels::{Kernels, change};
use crate::forward::gpu::model::GpuModel;
use crate::forward::gpu::shaders::Shaders;
use crate::forward::params::ChangeParams;
use crate::forward::{Hook, HookAction, HookError, HookPoint, Watched};

/// Makes what is to be recorded of hooks.
pub(super) struct HookBuilder<'a> {
    pub network: &'a GpuModel,
    pub device: &'a RenderDevice,
    pub cache: &'a PipelineCache,
    pub shaders: &'a Shaders,
    pub kernels: &'a mut Kernels,
    pub columns: &'a [Column],
}

impl HookBuilder<'_> {
    pub fn build(mut self, hooks: &[Hook]) -> Result<StepHooks, HookError> {
        let (mut placed, mut watched, mut size) = (Vec::new(), Vec::new(), 0);
        let only_watches = hooks.iter().all(|hook| hook.action == HookAction::Watch);
        for hook in hooks {
            let columns = hook.check(&self.network.config, self.columns)?;
            let HookSource { after, numbers, first } = self.source(hook.point)?;
            let rows = self.rows(hook, &columns, first)?;
            let features = hook.point.features(&self.network.config);
            let (scale, added) = match &hook.action {
                HookAction::Watch => {
                    // No kernel overwrites the place before the next layer, and each copy in
                    // between would end a compute pass.
                    let after = match hook.point.layer() {
                        Some(layer) if only_watches => (LAST, layer),
                        _ => after,
                    };
                    // A texture is copied to multiples of a texel.
                    size = u64::next_multiple_of(size, 16);
                    let start = size;
                    let runs = copies(&rows, features, &mut size);
                    add_copies(
                        &mut placed,
                        after,
                        runs.into_iter().map(|run| (numbers.clone(), run)),
                    );
                    let (point, features) = (hook.point, features as usize);
                    let watch = Watched { point, columns, features, values: Vec::new() };
                    watched.push(WatchedPlace { start, watched: watch });
                    continue;
                }
                HookAction::Replace(values) => (0.0, Some(values)),
                HookAction::Scale(factor) => (*factor, None),
                HookAction::Add(values) => (1.0, Some(values)),
            };
            // `change` is compiled for a buffer: what is in a texture goes there and back.
            let (buffer, mirrored) = match &numbers {
                DeviceNumbers::Buffer(buffer) => (buffer.clone(), None),
                DeviceNumbers::Quads(quads) => {
                    let (buffer, is_mirror) = quads.as_buffer(self.device);
                    (buffer, is_mirror.then_some(quads))
                }
            };
            let mirror = |back| {
                let (quads, buffer) = (Box::new(mirrored?.clone()), buffer.clone());
                Some(Effect::Mirror { quads, buffer, back })
            };
            let change = self.change(hook, &buffer, &rows, scale, added)?;
            let effects = [mirror(false), Some(change), mirror(true)].into_iter().flatten();
            placed.extend(effects.map(|effect| Placed { after, effect }));
        }
        let most = self.device.limits().max_buffer_size;
        if size > most {
            return Err(HookError::TooMuch { size, most });
        }
        let ends = ["embed", LAST, "logits"];
        let is_within = |placed: &Placed| {
            !ends.contains(&placed.after.0) || !matches!(placed.effect, Effect::Copy(_))
        };
        let within_layers = placed.iter().any(is_within);
        Ok(StepHooks { placed, watched, within_layers, staging: self.staging(size) })
    }

    /// Room for what is watched.
    fn staging(&self, size: u64) -> Option<Buffer> {
        (size > 0).then(|| {
            self.device.create_buffer(&BufferDescriptor {
                label: Some("forward:watched"),
                size,
                usage: BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            })
        })
    }

    /// Where the values of a place are.
    fn source(&self, point: HookPoint) -> Result<HookSource, HookError> {
        let network = self.network;
        let (b, layer) = (&network.buffers, point.layer().unwrap_or(0));
        let [keys, values] = &b.cache[layer as usize];
        let places = &b.places;
        let (kernel, numbers, quad) = match point {
            HookPoint::Embedding => ("embed", &b.activations, places.residual),
            HookPoint::Query(_) => ("rope", &b.activations, places.query),
            HookPoint::Key(_) => ("rope", keys, 0),
            HookPoint::Value(_) => ("rope", values, 0),
            HookPoint::HeadOutput(_) => ("attend", &b.activations, places.attended),
            HookPoint::Hidden(_) => ("gate_up", &b.activations, places.hidden),
            HookPoint::Residual(_) => ("down", &b.activations, places.residual),
            HookPoint::Logits => {
                let numbers = DeviceNumbers::Buffer(b.logits.clone());
                return Ok(HookSource { after: ("logits", layer), numbers, first: 0 });
            }
            HookPoint::AttentionNorm(_)
            | HookPoint::AttentionOutput(_)
            | HookPoint::FeedForwardNorm(_)
            | HookPoint::Gate(_)
            | HookPoint::Up(_)
            | HookPoint::FeedForwardOutput(_)
            | HookPoint::FinalNorm => return Err(HookError::NotOnGpu { point }),
        };
        let numbers = DeviceNumbers::Quads(numbers.clone());
        Ok(HookSource { after: (kernel, layer), numbers, first: quad * 4 })
    }

    /// Where the values of each column begin in the buffer of the place, those of the first of all
    /// columns at `first`. A device binds buffers only below 4 GiB, so a place within one is within
    /// 32 bits.
    fn rows(&self, hook: &Hook, columns: &[Column], first: u32) -> Result<Vec<u32>, HookError> {
        let (network, sizes) = (self.network, self.network.sizes);
        let stride = match hook.point {
            HookPoint::Logits => network.logits_stride() as u32,
            point => point.features(&network.config),
        };
        if !matches!(hook.point, HookPoint::Key(_) | HookPoint::Value(_)) {
            return Ok(hook.columns.clone().map(|row| first + row * stride).collect());
        }
        let row = |column: &Column| {
            let Column { slot, position, .. } = *column;
            if slot >= sizes.slots || position >= sizes.context {
                let (slots, context) = (sizes.slots, sizes.context);
                return Err(HookError::Cache { point: hook.point, slot, position, slots, context });
            }
            Ok(first + (slot * sizes.rows() + position) * stride)
        };
        columns.iter().map(row).collect()
    }

    fn change(
        &mut self,
        hook: &Hook,
        buffer: &Buffer,
        rows: &[u32],
        scale: f32,
        added: Option<&Vec<f32>>,
    ) -> Result<Effect, HookError> {
        let point = hook.point;
        if point == HookPoint::Logits {
            return Err(HookError::ChangedLogits);
        }
        let (features, columns) = (point.features(&self.network.config), rows.len() as u32);
        let zeros;
        let added = match added {
            Some(added) => added,
            None => {
                // The kernel always adds: to scale alone, it adds 0.
                zeros = vec![0.0; features as usize * rows.len()];
                &zeros
            }
        };
        // A layer's weights begin with those of its feed-forward norm; then come those of the next
        // norm.
        let (is_residual, norm_weights, gain) = match point {
            HookPoint::Embedding => (1, 0, 0),
            HookPoint::Residual(layer) => (1, layer as usize + 1, features),
            _ => (0, 0, 0),
        };
        let [residual, scaled, squares] = {
            let places = &self.network.buffers.places;
            [places.residual, places.scaled, places.squares].map(|quad| quad * 4)
        };
        let params =
            ChangeParams { features, columns, scale, is_residual, residual, scaled, squares, gain };
        let data = |label, contents: &[u8], usage| {
            self.device.create_buffer_with_data(&BufferInitDescriptor {
                label: Some(label),
                contents,
                usage,
            })
        };
        let uniform = data("params", bytemuck::bytes_of(&params), BufferUsages::UNIFORM);
        let rows = data("rows", bytemuck::cast_slice(rows), BufferUsages::STORAGE);
        let added = data("added", bytemuck::cast_slice(added), BufferUsages::STORAGE);
        let defs = self.network.family.shader_defs();
        let kernel = self.kernels.request(&change::SOURCE, defs, self.shaders);
        let resources = ChangeBindings {
            params: uniform.as_entire_binding(),
            rows: rows.as_entire_binding(),
            added: added.as_entire_binding(),
            numbers: buffer.as_entire_binding(),
            gain: self.network.norm_weights[norm_weights].as_entire_binding(),
        };
        let group = self.kernels.get(kernel).bind(self.device, self.cache, resources);
        Ok(Effect::Change { kernel, group, workgroups: change::workgroups(&params) })
    }
}

/// Where the values of a place are.
struct HookSource {
    /// The kernel that makes them, and in which layer.
    after: (&'static str, u32),
    numbers: DeviceNumbers,
    /// The first of the first column.
    first: u32,
}

/// Adds copies to those that are made after a kernel, in one pause where nothing comes between.
fn add_copies(
    placed: &mut Vec<Placed>,
    after: (&'static str, u32),
    copies: impl Iterator<Item = (DeviceNumbers, [u64; 3])>,
) {
    match placed.iter_mut().rev().find(|placed| placed.after == after) {
        Some(Placed { effect: Effect::Copy(runs), .. }) => runs.extend(copies),
        _ => placed.push(Placed { after, effect: Effect::Copy(copies.collect()) }),
    }
}

/// Copies of rows to the end of what is watched, `size` bytes so far; rows side by side are copied
/// together.
fn copies(rows: &[u32], features: u32, size: &mut u64) -> Vec<[u64; 3]> {
    let row_size = u64::from(features) * 4;
    let mut runs: Vec<[u64; 3]> = Vec::new();
    for &row in rows {
        let from = u64::from(row) * 4;
        match runs.last_mut() {
            Some([first, _, length]) if *first + *length == from => *length += row_size,
            _ => runs.push([from, *size, row_size]),
        }
        *size += row_size;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_side_by_side_are_one_copy_and_every_row_has_its_place() {
        let mut size = 100;
        let runs = copies(&[6, 9, 30, 33, 36, 0], 3, &mut size);
        assert_eq!(runs, [[24, 100, 24], [120, 124, 36], [0, 160, 12]]);
        assert_eq!(size, 172);
    }
}
