//! What the GPU tests share.

use std::path::Path;
use std::sync::Arc;

use bevy::app::App;
use pixel_llm::{
    app::gpu_engine::{GpuEngine, GpuEngineError},
    app::headless::{GpuChoice, GpuError, headless_app},
    model::PixelModel,
    passes::PassesPlugin,
    shaders::{ShadersPlugin, load_sources},
};

/// An app with a GPU, the forward pass and the shaders of `folder` in the place of ours, or `None` where there is no adapter, which is said aloud. With
/// `PIXEL_LLM_REQUIRE_GPU` set, as on a machine that is known to have one, it is an error.
pub fn forward_app(folder: Option<&Path>) -> Option<App> {
    match headless_app(&GpuChoice::default()) {
        Ok(mut app) => {
            let sources = load_sources(folder).expect("the test wrote these files");
            app.add_plugins((ShadersPlugin { sources }, PassesPlugin));
            Some(app)
        }
        Err(error @ GpuError::NoAdapter { .. }) if std::env::var_os("PIXEL_LLM_REQUIRE_GPU").is_none() => {
            eprintln!("SKIPPED, nothing was tested: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// An engine, or `None` with a loud word where there is no adapter.
pub fn engine(model: Arc<PixelModel>, slots: usize) -> Option<GpuEngine> {
    match GpuEngine::new(model, slots, 64, &GpuChoice::default()) {
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
