//! The GPU as work sees it. What opens one knows Bevy; nothing here does.

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::{Engine, EngineError};
use crate::forward::HookPoint;
use crate::model::PixelModel;

/// A model on a GPU.
pub trait WorkDevice {
    /// The adapter's name, for people.
    fn name(&self) -> String;

    /// The engine on it.
    fn engine(&mut self) -> &mut dyn Engine;

    /// Runs tokens from an empty context and keeps what passes at places that have a buffer:
    /// `values[column * features + feature]`.
    ///
    /// # Errors
    /// The device was lost, or a place has no buffer.
    fn watch(
        &mut self,
        tokens: &[u32],
        points: &[HookPoint],
    ) -> Result<HashMap<HookPoint, Vec<f32>>, EngineError>;
}

/// A device, or `None` where there is no adapter.
pub(crate) type OpenedDevice = Result<Option<Box<dyn WorkDevice>>, EngineError>;

/// What a trial of streaming has found.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamingFigures {
    /// For people.
    pub line: String,
    /// Milliseconds for a token as it is streamed from now on, and as usual.
    pub milliseconds: [f64; 2],
    /// Bytes that the weights may take.
    pub cap: u64,
    /// Slots in turn, and units ahead.
    pub tuning: [u8; 2],
}

/// What opens devices, on the thread that works.
pub trait WorkDevices: Send + Sync {
    /// Opens one for a context.
    ///
    /// # Errors
    /// The model cannot be run on it.
    fn open(&self, model: &Arc<PixelModel>, context: usize) -> OpenedDevice;

    /// Finds out how a model is streamed fastest, through what the adapter gives or, where all of
    /// it fits that, through half of its size, and keeps it for every later run. `None` where there
    /// is no adapter. `begins` hears what is tried, and says whether to go on.
    ///
    /// # Errors
    /// The model cannot be run on it, or it was told to stop.
    fn tune_streaming(
        &self,
        model: &Arc<PixelModel>,
        begins: &dyn Fn(&str) -> bool,
    ) -> Result<Option<StreamingFigures>, EngineError>;
}
