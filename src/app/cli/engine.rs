//! The engine that the arguments ask for, shared by all commands that run a model.

use clap::ValueEnum;

use crate::model::PixelModel;
use crate::passes::reference::{CpuModel, CpuOptions};
use crate::tokens::{CpuEngine, Engine};

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// The processor, as long as the GPU path is not the faster one.
    #[default]
    Auto,
    /// A GPU, or a software adapter in its place, through Bevy's render graph.
    Gpu,
    /// The processor.
    Cpu,
}

/// Opens a model for `slots` sequences of up to `context` positions; `None` is what the model was made for.
///
/// # Errors
/// The model was made for fewer positions, or the device cannot run it.
pub fn open_engine(
    device: Device,
    model: PixelModel,
    slots: usize,
    context: Option<u32>,
) -> anyhow::Result<Box<dyn Engine>> {
    let most = model.config().context_length;
    let context = context.unwrap_or(most);
    anyhow::ensure!(context <= most, "--context {context}: the model was made for at most {most}");
    match device {
        #[cfg(feature = "world")]
        Device::Gpu => {
            let choice = crate::app::headless::GpuChoice::default();
            let engine =
                crate::app::gpu_engine::GpuEngine::new(model.into(), slots, context as usize, &choice)?;
            Ok(Box::new(engine))
        }
        #[cfg(not(feature = "world"))]
        Device::Gpu => {
            anyhow::bail!("--device gpu: this program was built without a GPU path; use cpu or auto")
        }
        Device::Auto | Device::Cpu => {
            let model = CpuModel::new(model, CpuOptions::default())?;
            Ok(Box::new(CpuEngine::new(model, slots, context as usize)))
        }
    }
}
