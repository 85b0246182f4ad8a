//! What the GPU tests share.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are steps of tests, which fail by panicking"
)]

use std::path::Path;
use std::sync::Arc;

use bevy::app::App;
use pixel_llm::engine::gpu::headless::{GpuChoice, GpuError, headless_app};
use pixel_llm::engine::gpu::{GpuEngine, GpuEngineError};
use pixel_llm::engine::{Column, Engine, LogitsQuery, QueryKind};
use pixel_llm::forward::gpu::ForwardPlugin;
use pixel_llm::forward::gpu::model::Quads;
use pixel_llm::forward::gpu::readback::read_buffer;
use pixel_llm::forward::gpu::shaders::{ShadersPlugin, load_sources};
use pixel_llm::forward::sampling::{Key, SamplingParams};
use pixel_llm::model::PixelModel;

use super::engine::{batch, on_gpu};

/// An app with a GPU, the forward pass and the shaders of `folder` in the place of ours, or `None`
/// where there is no adapter, which is said aloud. With `PIXEL_LLM_REQUIRE_GPU` set, as on a
/// machine that is known to have one, it is an error.
pub fn forward_app(folder: Option<&Path>) -> Option<App> {
    match headless_app(&GpuChoice::default()) {
        Ok(mut app) => {
            let sources = load_sources(folder).expect("the test wrote these files");
            app.add_plugins((ShadersPlugin { sources }, ForwardPlugin));
            Some(app)
        }
        Err(error @ GpuError::NoAdapter { .. })
            if std::env::var_os("PIXEL_LLM_REQUIRE_GPU").is_none() =>
        {
            eprintln!("SKIPPED, nothing was tested: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Whether there is an adapter; that there is none is said aloud.
pub fn has_adapter() -> bool {
    forward_app(None).is_some()
}

/// An engine for 64 positions, or `None` with a loud word where there is no adapter.
pub fn engine(model: Arc<PixelModel>, slots: usize) -> Option<GpuEngine> {
    engine_for(model, slots, 64)
}

/// An engine for `context` positions, or `None` with a loud word where there is no adapter.
pub fn engine_for(model: Arc<PixelModel>, slots: usize, context: usize) -> Option<GpuEngine> {
    match GpuEngine::new(model, slots, context, &GpuChoice::default()) {
        Ok(engine) => Some(engine),
        Err(GpuEngineError::Gpu(error @ GpuError::NoAdapter { .. }))
            if std::env::var_os("PIXEL_LLM_REQUIRE_GPU").is_none() =>
        {
            eprintln!("SKIPPED, nothing was tested: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Tokens as the columns of a sequence from a position on.
pub fn columns(ids: &[u32], slot: u32, first: u32) -> Vec<Column> {
    ids.iter().zip(first..).map(|(&token, position)| Column { token, slot, position }).collect()
}

/// A draw from the logits of a column, number `index` of its request; `window` holds all its tokens
/// so far.
pub fn ask(column: u32, params: &SamplingParams, index: u32, window: &[u32]) -> LogitsQuery {
    let window_limit = params.window_len() as u32;
    let recent = &window[window.len() - window.len().min(params.window_len())..];
    let kind = QueryKind::Draw {
        words: params.words(Key::new(params.seed, 7), index),
        window: recent.to_vec(),
        window_limit,
        bias: params.logit_bias.clone(),
    };
    LogitsQuery { column, kind, logprob: false, top: 0 }
}

/// The logits of a prompt's tokens in as few passes as there is room for.
pub fn together(engine: &mut GpuEngine, ids: &[u32]) -> Vec<Vec<f32>> {
    let most = engine.capacity().columns;
    (0..)
        .step_by(most)
        .zip(ids.chunks(most))
        .flat_map(|(first, piece)| on_gpu(engine, &batch(piece, 0, first)))
        .collect()
}

/// The logits of a prompt's tokens, one to a pass.
pub fn alone(engine: &mut GpuEngine, ids: &[u32]) -> Vec<Vec<f32>> {
    (0..)
        .zip(ids.chunks(1))
        .flat_map(|(first, piece)| on_gpu(engine, &batch(piece, 0, first)))
        .collect()
}

/// Numbers on the device.
pub fn read_numbers(engine: &GpuEngine, quads: &Quads) -> Vec<f32> {
    let (_, device, queue) = engine.network();
    quads.read(device, queue).unwrap()
}

/// How many barriers have failed so far. A busy machine makes them fail, and then
/// what was computed in whole layers does not count.
pub fn failed_barriers(engine: &GpuEngine) -> u32 {
    let (network, device, queue) = engine.network();
    bytemuck::pod_collect_to_vec::<u8, u32>(
        &read_buffer(device, queue, &network.buffers.barriers).unwrap(),
    )[0]
}
