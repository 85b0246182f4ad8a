//! From hooks to what is recorded for them: where their values are, and the dispatches and copies
//! that act there.

mod layers;

use bevy::render::{
    render_resource::{
        Buffer, BufferDescriptor, BufferInitDescriptor, BufferUsages, PipelineCache,
    },
    renderer::RenderDevice,
};

use super::{Effect, Hook, HookAction, HookError, Placed, StepHooks, Watched};
use crate::forward::HookPoint;
use crate::forward::cpu::Column;
use crate::forward::gpu::kernels::bindings::ChangeBindings;
use crate::forward::gpu::kernels::{Kernels, change};
use crate::forward::gpu::model::{GpuModel, Quads};
use crate::forward::gpu::shaders::Shaders;
use crate::forward::params::ChangeParams;

/// Makes what is to be recorded of hooks.
pub(super) struct Builder<'a> {
    pub network: &'a GpuModel,
    pub device: &'a RenderDevice,
    pub cache: &'a PipelineCache,
    pub shaders: &'a Shaders,
    pub kernels: &'a mut Kernels,
    pub columns: &'a [Column],
}

impl<'a> Builder<'a> {
    pub fn build(mut self, hooks: &[Hook]) -> Result<StepHooks, HookError> {
        let (mut placed, mut watched, mut size) = (Vec::new(), Vec::new(), 0);
        for hook in hooks {
            let Place { after, numbers, first } = self.place(hook.point)?;
            let columns = self.columns_of(hook)?;
            let rows = self.rows(hook, &columns, first)?;
            let features = hook.point.features(&self.network.config);
            let (buffer, is_mirror) = match numbers {
                Numbers::Buffer(buffer) => (buffer.clone(), false),
                Numbers::Quads(quads) => quads.as_buffer(self.device),
            };
            let buffer = &buffer;
            let mirror = |back| match numbers {
                Numbers::Quads(quads) if is_mirror => {
                    Some(Effect::Mirror { quads: quads.clone(), buffer: buffer.clone(), back })
                }
                _ => None,
            };
            let effect = match &hook.action {
                HookAction::Watch => {
                    let runs = copies(&rows, features, &mut size);
                    watched.push(Watched {
                        point: hook.point,
                        columns,
                        features: features as usize,
                        values: Vec::new(),
                    });
                    Effect::Copy { from: buffer.clone(), runs }
                }
                HookAction::Replace(values) => {
                    self.change(hook, buffer, &rows, 0.0, Some(values))?
                }
                HookAction::Scale(factor) => self.change(hook, buffer, &rows, *factor, None)?,
                HookAction::Add(values) => self.change(hook, buffer, &rows, 1.0, Some(values))?,
            };
            let back = matches!(effect, Effect::Change { .. }).then(|| mirror(true)).flatten();
            let effects = [mirror(false), Some(effect), back].into_iter().flatten();
            placed.extend(effects.map(|effect| Placed { after, effect }));
        }
        let most = self.device.limits().max_buffer_size;
        if size > most {
            return Err(HookError::TooMuch { size, most });
        }
        Ok(StepHooks::new(placed, watched, self.staging(size)))
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

    /// The kernel after which a buffer holds the values, the buffer, and where in it those of the
    /// first column begin.
    fn place(&self, point: HookPoint) -> Result<Place<'a>, HookError> {
        let network: &'a GpuModel = self.network;
        let (layers, b) = (network.config.layer_count, &network.buffers);
        let layer = point.layer().unwrap_or(0);
        if layer >= layers {
            return Err(HookError::Layer { point, layers });
        }
        let [keys, values] = &b.cache[layer as usize];
        let (stage, places) = (&network.layers[layer as usize], &b.places);
        let (stage, kernel, numbers, quad) = match point {
            HookPoint::Embedding => {
                (&network.embed, "embed", Numbers::Quads(&b.activations), places.residual)
            }
            HookPoint::Query(_) => (stage, "rotate", Numbers::Quads(&b.activations), places.query),
            HookPoint::Key(_) => (stage, "rotate", Numbers::Quads(keys), 0),
            HookPoint::Value(_) => (stage, "rotate", Numbers::Quads(values), 0),
            HookPoint::HeadOutput(_) => {
                (stage, "attend", Numbers::Quads(&b.activations), places.attended)
            }
            HookPoint::Hidden(_) => {
                (stage, "gate_up", Numbers::Quads(&b.activations), places.hidden)
            }
            HookPoint::Residual(_) => {
                (stage, "down", Numbers::Quads(&b.activations), places.residual)
            }
            HookPoint::Logits => (&network.logits, "logits", Numbers::Buffer(&b.logits), 0),
            HookPoint::AttentionNorm(_)
            | HookPoint::AttentionOutput(_)
            | HookPoint::FeedForwardNorm(_)
            | HookPoint::Gate(_)
            | HookPoint::Up(_)
            | HookPoint::FeedForwardOutput(_)
            | HookPoint::FinalNorm => return Err(HookError::NotOnGpu { point }),
        };
        if stage.dispatches.iter().all(|dispatch| dispatch.name != kernel) {
            // Fused with another since, so that nothing would ever be seen here.
            return Err(HookError::NotOnGpu { point });
        }
        Ok(Place { after: (kernel, layer), numbers, first: quad * 4 })
    }

    /// The columns that a hook names.
    fn columns_of(&self, hook: &Hook) -> Result<Vec<Column>, HookError> {
        let all: Vec<Column> = match hook.point {
            HookPoint::Logits => {
                self.columns.iter().copied().filter(|column| column.wants_logits).collect()
            }
            _ => self.columns.to_vec(),
        };
        let range = hook.columns.start as usize..hook.columns.end as usize;
        match all.get(range) {
            Some(columns) if !columns.is_empty() => Ok(columns.to_vec()),
            _ => {
                let (point, columns, available) =
                    (hook.point, hook.columns.clone(), all.len() as u32);
                Err(HookError::Columns { point, columns, available })
            }
        }
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
        let expected = features as usize * rows.len();
        let zeros;
        let added = match added {
            Some(added) => added,
            None => {
                zeros = vec![0.0; expected];
                &zeros
            }
        };
        if added.len() != expected {
            return Err(HookError::Values { point, found: added.len(), columns, features });
        }
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
        let kernel = self.kernels.request(&change::SOURCE, defs, self.shaders, self.cache);
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

/// Where values are.
struct Place<'a> {
    after: (&'static str, u32),
    numbers: Numbers<'a>,
    first: u32,
}

#[derive(Clone, Copy)]
enum Numbers<'a> {
    Buffer(&'a Buffer),
    Quads(&'a Quads),
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
