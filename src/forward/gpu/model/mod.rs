//! A model on the device: its tiles, its activations, its cache of keys and values, and every
//! dispatch of a forward step.
//!
//! In: a [`GpuModelSource`] in the render world before the app is prepared, and a [`Step`] before
//! each forward step. Out: logits and sampled tokens in the buffers of [`GpuModel`].

mod adapters;
mod buffers;
mod build;
mod hooks;
mod quads;
mod record;
mod streamed;
mod vectors;
mod weights;

use std::sync::Arc;

use bevy::{
    prelude::*,
    render::{Render, RenderApp, RenderStartup, RenderSystems},
};

use super::kernels::KernelFamily;
use super::{Forward, ForwardPluginSystems, ForwardSystems};
use crate::forward::BindError;
use crate::model::{ModelError, PixelModel};
use crate::residency::compute::{Pool, PoolError, StreamTuning};
use crate::tiles::PagesError;

pub use buffers::{Buffers, MOST_BIASES, MOST_RECENT, SamplingBuffers, Sizes};
pub use build::{GpuModel, KernelUse};
pub use hooks::{Unread, set_hooks, take_unread};
pub(crate) use hooks::{seen_within, watched_buffer};
pub use quads::Quads;
pub(super) use record::compile_needed;
pub use record::{SamplingMode, Step};
pub use streamed::StreamFailure;

/// Why a model cannot run on the device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuModelError {
    /// Its tiles cannot be put there.
    #[error(transparent)]
    Pages(#[from] PagesError),
    /// Its tiles cannot be streamed through it.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// It cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its tensors are not those that the kernels read.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A size that the kernels do not take.
    #[error("{what} is {found}; the GPU kernels need a multiple of {multiple}: use --device cpu")]
    Shape {
        /// Which size, in words.
        what: &'static str,
        /// Its value in this model.
        found: u32,
        /// What it would have to be a multiple of.
        multiple: u32,
    },
    /// Gate and up are stored in different encodings.
    #[error(
        "layer {layer}: gate is {gate} and up is {up}; the GPU kernels need one encoding: \
         use --device cpu"
    )]
    Encodings {
        /// The layer's number, from 0.
        layer: u32,
        /// The encoding of gate, by its GGML name.
        gate: &'static str,
        /// The encoding of up, by its GGML name.
        up: &'static str,
    },
    /// The adapter has no subgroups of eight lanes or more, and the kernels that were asked for
    /// need them.
    #[error("the adapter's subgroups have {least} to {most} lanes; these kernels need 8 or more")]
    Subgroups {
        /// Fewest lanes of a subgroup.
        least: u32,
        /// Most lanes of a subgroup.
        most: u32,
    },
    /// An adapter that is not one of this model.
    #[error("the adapter does not fit the model: {0}")]
    Adapter(String),
    /// A buffer beyond what the device binds.
    #[error(
        "{what} would take {size} bytes; the device binds at most {most}: \
         ask for less context or --parallel"
    )]
    Buffer {
        /// What the buffer would hold.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// Bytes of the largest buffer that the device binds.
        most: u64,
    },
}

/// The model to compute with and the sizes to make room for.
#[derive(Resource, Clone, Debug)]
pub struct GpuModelSource {
    /// The model whose tiles go to the device.
    pub model: Arc<PixelModel>,
    /// Room for sequences and columns.
    pub sizes: Sizes,
    /// How the kernels share their work.
    pub family: KernelFamily,
    /// Workgroups that share a layer of one column and wait for each other, one per thread of a
    /// software adapter; 0 where they must not.
    pub persistent_workgroups: u32,
    /// Whether all kernels are compiled at once, beside the frames of a window, so that none keeps
    /// a step waiting later on. Otherwise each is compiled when a step first needs it.
    pub compile_ahead: bool,
    /// Bytes of the device's memory that the weights may take; more are streamed. `None` is as many
    /// as it has.
    pub memory: Option<u64>,
    /// How they are streamed where they are.
    pub tuning: StreamTuning,
}

/// Puts a [`GpuModelSource`] on the device and runs it in the [`Forward`] schedule. Comes after
/// `ForwardPlugin`.
pub struct GpuModelPlugin {
    /// The model and its sizes.
    pub model: GpuModelSource,
}

/// Frames that are drawn before the model is put on the device, in the render world: while that
/// goes on a window shows what they say. Without it the model is put there first of all.
#[derive(Resource, Debug)]
pub struct HeldBack(pub u32);

// A system's own condition is asked for even where that of its set has refused.
fn is_due(held_back: Option<Res<HeldBack>>) -> bool {
    held_back.is_some_and(|held_back| held_back.0 <= 1)
}

fn count_down(mut held_back: ResMut<HeldBack>, mut commands: Commands) {
    match held_back.0 {
        0 | 1 => commands.remove_resource::<HeldBack>(),
        frames => held_back.0 = frames - 1,
    }
}

/// What came of putting the model on the device.
#[derive(Resource, Debug, Default)]
pub(crate) struct GpuModelFailure(pub Option<GpuModelError>);

impl Plugin for GpuModelPlugin {
    fn build(&self, app: &mut App) {
        let Some(render_app) = app.get_sub_app_mut(RenderApp) else { return };
        render_app
            .insert_resource(self.model.clone())
            .init_resource::<GpuModelFailure>()
            .init_resource::<Step>()
            .init_resource::<StreamFailure>()
            .add_systems(
                RenderStartup,
                build::build_network
                    .after(ForwardPluginSystems::Kernels)
                    .run_if(not(resource_exists::<HeldBack>)),
            )
            .add_systems(
                Render,
                (build::build_network.run_if(is_due), count_down)
                    .chain()
                    .in_set(RenderSystems::Cleanup)
                    .run_if(resource_exists::<HeldBack>),
            )
            .add_systems(
                Forward,
                (
                    record::record_start.in_set(ForwardSystems::Embed),
                    record::record_layers.in_set(ForwardSystems::Layers),
                    record::record_head.in_set(ForwardSystems::Head),
                    record::record_sampling.in_set(ForwardSystems::Sample),
                )
                    .run_if(resource_exists::<GpuModel>.and_then(not(resource_exists::<Pool>))),
            )
            .add_systems(
                Forward,
                streamed::stream_step
                    .in_set(ForwardSystems::Layers)
                    // Only one of them ever runs: this is for whoever looks for systems that could
                    // run in any order.
                    .after(record::record_layers)
                    .run_if(resource_exists::<GpuModel>.and_then(resource_exists::<Pool>)),
            );
    }
}
