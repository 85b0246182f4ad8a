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

/// Opens the device for a context. It is called on the thread that works.
pub type OpenDevice = dyn Fn(&Arc<PixelModel>, usize) -> OpenedDevice + Send + Sync;
