//! Adapters on the device, beside the pages of the model that they act on: their factors as pixels
//! of 32-bit floats, and the stages of layers that add `B (A x)` to each product.
//!
//! In: [`Adapter`]s, by [`GpuModel::set_adapters`], and which of them act on which sequence, by
//! [`GpuModel::set_slot`]. A step in which none acts has the model's own stages, and its own bits.

use std::sync::Arc;

use bevy::ecs::change_detection::DetectChangesMut;
use bevy::ecs::world::World;
use bevy::render::render_resource::{
    Buffer, BufferDescriptor, BufferInitDescriptor, BufferUsages, CommandEncoderDescriptor,
    PipelineCache,
};
use bevy::render::renderer::{RenderDevice, RenderQueue};

use super::build::{KernelStage, ModelBuilder};
use super::{GpuModel, GpuModelError, Quads};
use crate::forward::AdapterSet;
use crate::forward::bind::BoundModel;
use crate::forward::gpu::adapter_places::{AdaptedLayer, AdapterPlaces, GROUPS, ROW};
use crate::forward::gpu::kernels::bindings::AdapterBindings;
use crate::forward::gpu::kernels::{Kernels, fused_layer};
use crate::forward::gpu::shaders::Shaders;
use crate::model::PixelModel;
use crate::model::adapter::{Adapter, TARGETS};
use crate::residency::compute::Pool;

/// Words of four that a layer has of an adapter: one for each group of matrices that read the same,
/// one for each matrix.
const ENTRIES: usize = GROUPS + TARGETS.len();

/// What acts beside a model's matrices.
#[derive(Debug)]
pub(super) struct AdaptersOnDevice {
    /// As the layers of the model, with what adapters add.
    pub layers: Vec<KernelStage>,
    /// How many adapters there are.
    count: usize,
    strengths: Buffer,
    /// What acts on each sequence.
    slots: Vec<AdapterSet>,
}

/// What all adapters are bound to.
pub(super) struct AdapterResources {
    factors: Quads,
    adapted: Buffer,
    strengths: Buffer,
    narrowed: Quads,
}

impl AdapterResources {
    pub fn bindings(&self) -> AdapterBindings<'_> {
        AdapterBindings {
            factors: self.factors.binding(),
            adapted: self.adapted.as_entire_binding(),
            strengths: self.strengths.as_entire_binding(),
            narrowed: self.narrowed.binding(),
        }
    }
}

/// Rows of quads, where the device has room for so many.
fn store(
    device: &RenderDevice,
    what: &'static str,
    quads: u64,
    textures: bool,
) -> Result<Quads, GpuModelError> {
    let rows = quads.div_ceil(u64::from(ROW)).max(1);
    let limits = device.limits();
    let bytes = limits.max_buffer_size.min(limits.max_storage_buffer_binding_size);
    let row = u64::from(ROW) * 16;
    let most = if textures { u64::from(limits.max_texture_dimension_2d) * row } else { bytes };
    match u32::try_from(rows) {
        Ok(rows) if u64::from(rows) * row <= most => {
            Ok(Quads::new(device, what, ROW, rows, textures))
        }
        _ => Err(GpuModelError::Buffer { what, size: rows * row, most }),
    }
}

/// The words of one layer and adapter, whose factors begin at a quad, and in a column of each group
/// behind what adapters before it have there.
fn entries(layer: &AdaptedLayer, first: u32, before: [u32; GROUPS]) -> [[u32; 4]; ENTRIES] {
    let mut words = [[0; 4]; ENTRIES];
    for (group, factor) in layer.first.iter().enumerate() {
        words[group] = [first + factor.place, factor.quads, before[group], 0];
    }
    for (target, adapted) in layer.targets.iter().enumerate() {
        let Some(adapted) = adapted else { continue };
        let low = before[AdapterPlaces::group_of(target)] + adapted.before;
        let place = first + adapted.second.place;
        words[GROUPS + target] = [place, adapted.quads, low, adapted.scale.to_bits()];
    }
    words
}

impl GpuModel {
    /// Puts adapters beside the model in a render world, in the place of those that were there.
    /// Sets name them by their place among these. None act before [`GpuModel::set_slot`] says so.
    ///
    /// # Errors
    /// One does not fit the model or the device.
    pub fn set_adapters(
        world: &mut World,
        model: &PixelModel,
        adapters: &[Arc<Adapter>],
    ) -> Result<(), GpuModelError> {
        if adapters.is_empty() {
            let mut network = world.resource_mut::<Self>();
            network.bypass_change_detection().adapters = None;
            return Ok(());
        }
        let made = world.resource_scope(|world, mut kernels| {
            let kernels: &mut Kernels = &mut kernels;
            world.resource::<Self>().with_adapters(world, kernels, model, adapters)
        })?;
        let mut network = world.resource_mut::<Self>();
        // What watches for changes of the model means another one, on another device.
        network.bypass_change_detection().adapters = Some(made);
        Ok(())
    }

    fn with_adapters(
        &self,
        world: &World,
        kernels: &mut Kernels,
        model: &PixelModel,
        adapters: &[Arc<Adapter>],
    ) -> Result<AdaptersOnDevice, GpuModelError> {
        let device = world.resource::<RenderDevice>();
        let queue = world.resource::<RenderQueue>();
        let bound = BoundModel::new(model)?;
        let mut places = Vec::new();
        let mut rows = 0;
        for adapter in adapters {
            adapter
                .check(model, true)
                .map_err(|error| GpuModelError::Adapter(error.to_string()))?;
            let scale = |rank: usize| {
                if adapter.alpha == 0.0 { 1.0 } else { adapter.alpha / rank as f32 }
            };
            let placed = AdapterPlaces::new(adapter, &bound.layers, scale)
                .map_err(GpuModelError::Adapter)?;
            let more = placed.quads / ROW;
            places.push((placed, rows));
            rows += more;
        }
        let textures = self.family.textures;
        let factors = store(device, "adapters", u64::from(rows) * u64::from(ROW), textures)?;
        for ((placed, first), adapter) in places.iter().zip(adapters) {
            write(device, queue, &factors, (*first, placed.quads / ROW), &placed.values(adapter));
        }
        let (words, stride) = words(&places, self.layers.len());
        let columns = u64::from(self.sizes.columns)
            .max(u64::from(self.buffers.places.workgroups) * u64::from(fused_layer::MOST_COLUMNS));
        let strengths = u64::from(self.sizes.slots) * adapters.len() as u64;
        let resources = AdapterResources {
            factors,
            adapted: device.create_buffer_with_data(&BufferInitDescriptor {
                label: Some("adapted"),
                contents: bytemuck::cast_slice(&words),
                usage: BufferUsages::STORAGE,
            }),
            strengths: device.create_buffer(&BufferDescriptor {
                label: Some("strengths"),
                size: (strengths * 4).max(16),
                usage: BufferUsages::STORAGE | BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }),
            narrowed: store(device, "narrowed", columns * u64::from(stride), textures)?,
        };
        let builder = ModelBuilder {
            family: self.family,
            adapted: true,
            kernels,
            device,
            queue,
            cache: world.resource::<PipelineCache>(),
            shaders: world.resource::<Shaders>(),
        };
        let ranks = |layer: usize| {
            let of = |(placed, _): &(AdapterPlaces, u32)| {
                placed.layers[layer].first.map(|factor| factor.quads)
            };
            places.iter().map(of).fold([0; GROUPS], |sum: [u32; GROUPS], quads| {
                std::array::from_fn(|group| sum[group] + quads[group])
            })
        };
        let pool = world.get_resource::<Pool>();
        let layers = builder.adapted_layers(self, &bound, pool, &resources, ranks);
        let slots = vec![AdapterSet::NONE; self.sizes.slots as usize];
        let count = adapters.len();
        Ok(AdaptersOnDevice { layers, count, strengths: resources.strengths, slots })
    }

    /// How many adapters lie beside the model.
    pub fn adapter_count(&self) -> usize {
        self.adapters.as_ref().map_or(0, |adapters| adapters.count)
    }

    /// Says which adapters act on a sequence from the next step on.
    pub fn set_slot(&mut self, queue: &RenderQueue, slot: u32, set: &AdapterSet) {
        let count = self.adapter_count();
        let Some(adapters) = &mut self.adapters else { return };
        let mut strengths = vec![0f32; count];
        for &(adapter, factor) in set.factors() {
            if let Some(strength) = strengths.get_mut(adapter as usize) {
                *strength = factor;
            }
        }
        let at = u64::from(slot) * count as u64 * 4;
        queue.write_buffer(&adapters.strengths, at, bytemuck::cast_slice(&strengths));
        adapters.slots[slot as usize] = set.clone();
    }

    /// What acts on a sequence.
    pub(crate) fn slot_adapters(&self, slot: u32) -> &AdapterSet {
        let slots = self.adapters.as_ref().map_or(&[][..], |adapters| &adapters.slots);
        slots.get(slot as usize).unwrap_or(&AdapterSet::NONE)
    }

    /// The stages of layers: with adapters, or those of the model alone.
    pub(super) fn layer_stages(&self, adapted: bool) -> &[KernelStage] {
        match &self.adapters {
            Some(adapters) if adapted => &adapters.layers,
            _ => &self.layers,
        }
    }
}

/// Writes rows of factors.
fn write(
    device: &RenderDevice,
    queue: &RenderQueue,
    factors: &Quads,
    (first, rows): (u32, u32),
    numbers: &[f32],
) {
    let from = device.create_buffer_with_data(&BufferInitDescriptor {
        label: Some("adapters"),
        contents: bytemuck::cast_slice(numbers),
        usage: BufferUsages::COPY_SRC,
    });
    let mut encoder = device.create_command_encoder(&CommandEncoderDescriptor::default());
    factors.copy_from(&mut encoder, first, rows, &from);
    queue.submit([encoder.finish()]);
}

/// What kernels find adapters by, and quads of a column of what is narrowed.
fn words(places: &[(AdapterPlaces, u32)], layers: usize) -> (Vec<[u32; 4]>, u32) {
    let mut words = vec![[places.len() as u32, 0, 0, 0]];
    let mut stride = 1;
    for layer in 0..layers {
        let mut before = [0; GROUPS];
        for (placed, first) in places {
            let layer = &placed.layers[layer];
            words.extend(entries(layer, first * ROW, before));
            for (before, factor) in before.iter_mut().zip(&layer.first) {
                *before += factor.quads;
            }
        }
        stride = before.into_iter().fold(stride, u32::max);
    }
    words[0][1] = stride;
    (words, stride)
}
