//! Adapters as layers of the map: each lies over the model with a switch and a strength, and the
//! next answer is computed with those that are on.
//!
//! In: [`LoadedAdapters`], as a person sets them. Out: factors beside the pages on the device, and
//! what the next step is computed with, in [`ModelState`](super::think::ModelState).

use std::sync::{Arc, Mutex, PoisonError};

use bevy::core_pipeline::schedule::camera_driver;
use bevy::prelude::*;
use bevy::render::renderer::{RenderGraph, RenderGraphSystems, RenderQueue};
use bevy::render::{GpuResourceAppExt, RenderApp};
use serde::Deserialize;

use super::WorldSystems;
use super::layout::Atlas;
use super::notices::Notices;
use super::tour::{TourProblem, TourStep};
use crate::forward::AdapterSet;
use crate::forward::gpu::model::GpuModel;
use crate::forward::gpu::{EditedWeights, ForwardPluginSystems, InterventionsSystems};
use crate::model::adapter::LowRank;
use crate::model::{Adapter, PixelModel};

/// How an adapter takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum AdapterSwitch {
    /// It does not act.
    Off,
    /// It acts.
    #[default]
    On,
    /// It acts, and no other does.
    Alone,
}

impl AdapterSwitch {
    /// All of them, in their order on the screen.
    pub const ALL: [Self; 3] = [Self::Off, Self::On, Self::Alone];

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Alone => "alone",
        }
    }
}

/// An adapter that lies over the model.
#[derive(Debug, Clone)]
pub struct LoadedAdapter {
    /// What it is called: its file's name, or that of what was learnt.
    pub name: Arc<str>,
    /// Its factors.
    pub adapter: Arc<Adapter>,
    /// Whether it acts.
    pub switch: AdapterSwitch,
    /// Times its own strength.
    pub strength: f32,
    /// Another for other factors.
    id: u64,
}

/// All adapters that lie over the model.
#[derive(Resource, Debug, Clone, Default)]
pub struct LoadedAdapters {
    /// In the order in which they came.
    pub all: Vec<LoadedAdapter>,
    last_id: u64,
}

/// An adapter that acts on an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ActingAdapter {
    /// What it is called.
    pub name: Arc<str>,
    /// Times its own strength, not 0.
    pub strength: f32,
    id: u64,
}

impl LoadedAdapters {
    /// Lays an adapter over the model; one of the same name goes, and its switch stays.
    pub fn put(&mut self, name: &str, adapter: Adapter, strength: f32) {
        self.last_id += 1;
        let (id, adapter) = (self.last_id, Arc::new(adapter));
        match self.all.iter_mut().find(|known| *known.name == *name) {
            Some(known) => (known.adapter, known.id) = (adapter, id),
            None => {
                let (name, switch) = (name.into(), AdapterSwitch::On);
                self.all.push(LoadedAdapter { name, adapter, switch, strength, id });
            }
        }
    }

    /// The one of a name.
    pub fn named(&self, name: &str) -> Option<&LoadedAdapter> {
        self.all.iter().find(|known| *known.name == *name)
    }

    /// Sets how the one of a name takes part; false where there is none. Only one is alone.
    pub fn switch(&mut self, name: &str, switch: AdapterSwitch) -> bool {
        let Some(at) = self.all.iter().position(|known| *known.name == *name) else {
            return false;
        };
        if switch == AdapterSwitch::Alone {
            let others = self.all.iter_mut().filter(|one| one.switch == AdapterSwitch::Alone);
            others.for_each(|other| other.switch = AdapterSwitch::On);
        }
        self.all[at].switch = switch;
        true
    }

    /// Those that act, by their places.
    pub(super) fn acting_places(&self) -> impl Iterator<Item = (usize, &LoadedAdapter)> {
        let is_alone = |one: &LoadedAdapter| one.switch == AdapterSwitch::Alone;
        let any_alone = self.all.iter().any(is_alone);
        let acts = move |one: &LoadedAdapter| match one.switch {
            AdapterSwitch::Off => false,
            AdapterSwitch::On => !any_alone,
            AdapterSwitch::Alone => true,
        };
        self.all.iter().enumerate().filter(move |(_, one)| acts(one) && one.strength != 0.0)
    }

    /// What those that act add to, matrix by matrix.
    pub fn acting_updates(&self) -> impl Iterator<Item = &LowRank> {
        self.acting_places().flat_map(|(_, one)| &one.adapter.updates)
    }

    /// Those that act.
    pub fn acting(&self) -> Vec<ActingAdapter> {
        let acting = |(_, one): (usize, &LoadedAdapter)| ActingAdapter {
            name: Arc::clone(&one.name),
            strength: one.strength,
            id: one.id,
        };
        self.acting_places().map(acting).collect()
    }

    fn set(&self) -> AdapterSet {
        AdapterSet::new(self.acting_places().map(|(at, one)| (at as u32, one.strength)))
    }
}

/// What the device is to have.
#[derive(Default)]
struct WantedAdapters {
    model: Option<Arc<PixelModel>>,
    adapters: Vec<Arc<Adapter>>,
    ids: Vec<u64>,
    set: AdapterSet,
    /// Why it cannot have them, in words.
    failure: Option<String>,
}

/// What both worlds share; they never run at the same time here.
#[derive(Resource, Clone, Default)]
struct AdapterLink(Arc<Mutex<WantedAdapters>>);

impl AdapterLink {
    fn with<R>(&self, act: impl FnOnce(&mut WantedAdapters) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the device has.
#[derive(Resource, Default)]
struct AdaptersThere {
    ids: Vec<u64>,
    set: AdapterSet,
}

/// Where adapters come to the device, in `RenderGraph`: before steps are taken.
#[derive(SystemSet, Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct AdapterSystems;

/// Adds [`LoadedAdapters`] and carries them to the device. Comes after `GpuModelPlugin`.
pub(super) struct AdaptersPlugin;

impl Plugin for AdaptersPlugin {
    fn build(&self, app: &mut App) {
        let link = AdapterLink::default();
        app.init_resource::<LoadedAdapters>()
            .insert_resource(link.clone())
            .add_systems(
                Update,
                (follow_tour.in_set(WorldSystems::Act), tell.in_set(WorldSystems::Frame)),
            )
            .add_systems(PostUpdate, share.after(InterventionsSystems::Gather));
        let Some(render_app) = app.get_sub_app_mut(RenderApp) else { return };
        render_app.insert_resource(link).init_gpu_resource::<AdaptersThere>().add_systems(
            RenderGraph,
            bring
                .in_set(AdapterSystems)
                .after(ForwardPluginSystems::Compile)
                .in_set(RenderGraphSystems::Render)
                .before(camera_driver)
                .run_if(resource_exists::<GpuModel>),
        );
    }
}

/// Says what the device is to have.
fn share(
    loaded: Res<LoadedAdapters>,
    edited: Res<EditedWeights>,
    atlas: Res<Atlas>,
    link: Res<AdapterLink>,
) {
    if !loaded.is_changed() && !edited.is_changed() {
        return;
    }
    link.with(|wanted| {
        wanted.model = Some(Arc::clone(atlas.model()));
        wanted.adapters = loaded.all.iter().map(|one| Arc::clone(&one.adapter)).collect();
        wanted.ids = loaded.all.iter().map(|one| one.id).collect();
        // While a comparison asks the model as its file says, nothing lies over it.
        wanted.set = if edited.bypassed { AdapterSet::NONE } else { loaded.set() };
    });
}

/// Puts on the device what it has not yet.
fn bring(world: &mut World) {
    let link = world.resource::<AdapterLink>().clone();
    let there = world.resource::<AdaptersThere>();
    let (mut ids, mut set) = (there.ids.clone(), there.set.clone());
    link.with(|wanted| {
        let Some(model) = wanted.model.as_ref().filter(|_| wanted.failure.is_none()) else {
            return;
        };
        if wanted.ids != ids {
            if let Err(error) = GpuModel::set_adapters(world, model, &wanted.adapters) {
                wanted.failure = Some(error.to_string());
                return;
            }
            (ids, set) = (wanted.ids.clone(), AdapterSet::NONE);
        }
        if wanted.set != set {
            let queue = world.resource::<RenderQueue>().clone();
            let mut network = world.resource_mut::<GpuModel>();
            // What watches for changes of the model means another one, on another device.
            network.bypass_change_detection().set_slot(&queue, 0, &wanted.set);
            set = wanted.set.clone();
        }
    });
    *world.resource_mut::<AdaptersThere>() = AdaptersThere { ids, set };
}

/// Tells what the device could not take, and takes it away again.
fn tell(link: Res<AdapterLink>, mut loaded: ResMut<LoadedAdapters>, mut notices: ResMut<Notices>) {
    if let Some(why) = link.with(|wanted| wanted.failure.take()) {
        loaded.all.clear();
        notices.tell(format!("the adapters cannot be used here: {why}"));
    }
}

/// Takes the steps of a tour that switch adapters.
fn follow_tour(
    mut steps: MessageReader<TourStep>,
    mut loaded: ResMut<LoadedAdapters>,
    mut problems: MessageWriter<TourProblem>,
) {
    for step in steps.read() {
        let TourStep::Adapter { name, switch } = step else { continue };
        if !loaded.switch(name, *switch) {
            let why = format!("the tour switches the adapter {name:?}, which is not there");
            problems.write(TourProblem::Failed(why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::Architecture;

    fn loaded() -> LoadedAdapters {
        let adapter = || Adapter {
            architecture: Architecture::Llama,
            alpha: 1.0,
            updates: Vec::new(),
            base: None,
            run: None,
        };
        let mut loaded = LoadedAdapters::default();
        loaded.put("a", adapter(), 1.0);
        loaded.put("b", adapter(), 0.5);
        loaded
    }

    #[test]
    fn one_that_is_alone_silences_the_others_and_another_takes_its_place() {
        let mut loaded = loaded();
        assert_eq!(loaded.set(), AdapterSet::new([(0, 1.0), (1, 0.5)]));
        assert!(loaded.switch("b", AdapterSwitch::Alone));
        assert_eq!(loaded.set(), AdapterSet::new([(1, 0.5)]));
        assert!(loaded.switch("a", AdapterSwitch::Alone));
        assert_eq!(loaded.set(), AdapterSet::new([(0, 1.0)]));
        assert!(loaded.switch("a", AdapterSwitch::Off));
        assert_eq!(loaded.set(), AdapterSet::new([(1, 0.5)]), "nobody is alone any more");
        loaded.all[1].strength = 0.0;
        assert!(loaded.set().is_empty() && loaded.acting().is_empty());
        assert!(!loaded.switch("c", AdapterSwitch::On));
    }

    #[test]
    fn what_is_learnt_anew_is_another_and_keeps_its_switch() {
        let mut loaded = loaded();
        loaded.switch("a", AdapterSwitch::Off);
        let before = loaded.all[0].id;
        let again = loaded.all[1].adapter.as_ref().clone();
        loaded.put("a", again, 1.0);
        assert_eq!((loaded.all.len(), loaded.all[0].switch), (2, AdapterSwitch::Off));
        assert_ne!(loaded.all[0].id, before);
    }
}
