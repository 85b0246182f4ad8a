//! Whether the model is on the device, told from the render world to whoever looks at it.

use std::sync::{Arc, Mutex, PoisonError};

use bevy::prelude::*;
use bevy::render::{Render, RenderApp, RenderSystems};

use super::Edits;
use crate::forward::gpu::model::{GpuModel, GpuModelFailure};
use crate::residency::compute::Pool;

/// What became of putting the model on the device.
#[derive(Resource, Debug, Clone, PartialEq, Eq, Default)]
pub enum DeviceState {
    /// It is on its way.
    #[default]
    Starting,
    /// Every tile is there.
    Ready,
    /// It is larger than the device's memory, and its tiles come and go.
    Streamed,
    /// The kernels cannot compute it: why, in words.
    Refused(String),
}

/// What the render world saw last; the two worlds never run at the same time here.
#[derive(Resource, Clone, Default)]
struct SeenState(Arc<Mutex<DeviceState>>);

/// Adds [`DeviceState`] and what tells it from the render world.
pub(super) struct DeviceStatePlugin;

impl Plugin for DeviceStatePlugin {
    fn build(&self, app: &mut App) {
        let seen = SeenState::default();
        app.init_resource::<DeviceState>()
            .insert_resource(seen.clone())
            .add_systems(First, take_in);
        let Some(render_app) = app.get_sub_app_mut(RenderApp) else { return };
        render_app.insert_resource(seen).add_systems(Render, look.in_set(RenderSystems::Cleanup));
    }
}

fn look(
    seen: Res<SeenState>,
    network: Option<Res<GpuModel>>,
    pool: Option<Res<Pool>>,
    failure: Option<Res<GpuModelFailure>>,
) {
    let mut state = seen.0.lock().unwrap_or_else(PoisonError::into_inner);
    *state =
        match (network, failure.and_then(|failure| failure.0.as_ref().map(ToString::to_string))) {
            (_, Some(why)) => DeviceState::Refused(why),
            (Some(_), None) if pool.is_some() => DeviceState::Streamed,
            (Some(_), None) => DeviceState::Ready,
            (None, None) => return,
        };
}

fn take_in(seen: Res<SeenState>, mut state: ResMut<DeviceState>, mut edits: ResMut<Edits>) {
    let found = seen.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if state.set_if_neq(found) {
        edits.fixed = match &*state {
            DeviceState::Starting | DeviceState::Ready => None,
            DeviceState::Streamed => Some(
                "this model is larger than the device's memory and streams: it cannot be painted"
                    .into(),
            ),
            DeviceState::Refused(_) => {
                Some("this model is not on the device: it cannot be painted".into())
            }
        };
    }
}
