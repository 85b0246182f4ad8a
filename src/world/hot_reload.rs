//! Mods in the window: what the land, its colours and its keys are like follows the files, while
//! they are edited.

use std::sync::Arc;

use bevy::prelude::*;

use super::content;
use crate::content::Problem;
use crate::content::assets::Assets;
use crate::content::watch::{Reloader, Watcher, can_watch, problems};
use crate::forward::Interventions;
use crate::world::keys::Keys;
use crate::world::layout::{Atlas, Place};
use crate::world::settings::Settings;
use crate::world::{Map, WorldSystems};

/// Follows the mods' files.
///
/// Needs [`Assets`], [`Map`], [`Keys`] and [`Settings`] as resources. Changes the resource
/// [`Assets`]; who builds something of contents looks whether it has changed. Its systems run in
/// `Update`, before [`WorldSystems::Input`].
pub struct LiveModsPlugin;

/// What is told of the mods.
#[derive(Resource, Default)]
pub struct LiveMods {
    watcher: Option<Watcher>,
    /// Everything that is wrong; what was good before stays in use.
    pub problems: Vec<Problem>,
    /// Whether a person has read them.
    pub dismissed: bool,
}

impl Plugin for LiveModsPlugin {
    fn build(&self, app: &mut App) {
        let assets = app.world().resource::<Assets>();
        let (mods, own) = (assets.mods(), assets.folder());
        let mut live = LiveMods { problems: problems(assets.loaded()), ..default() };
        if can_watch(mods, own) {
            let [mods, own] = [mods, own].map(|folder| folder.map(Into::into));
            let reloader =
                Reloader::new(assets.registry().clone(), mods, own, assets.loaded().clone());
            match Watcher::new(reloader) {
                Ok(watcher) => live.watcher = Some(watcher),
                Err(error) => warn!("changes of mods are seen only at the next start: {error}"),
            }
        }
        app.insert_resource(live).add_systems(
            Update,
            (listen, refresh.run_if(resource_changed::<Assets>))
                .chain()
                .before(WorldSystems::Input),
        );
    }
}

/// Takes what the watcher has found.
fn listen(mut live: ResMut<LiveMods>, mut assets: ResMut<Assets>, mut map: ResMut<Map>) {
    let Some(news) = live.watcher.as_ref().and_then(Watcher::take) else { return };
    match news.loaded {
        Some(loaded) => {
            *assets = assets.with_loaded(loaded);
            map.tell("mods were loaded again");
        }
        None => map.tell("a mod has an error; what was good before stays"),
    }
    live.problems = news.problems;
    live.dismissed = false;
}

/// Makes the window what the contents say.
fn refresh(
    assets: Res<Assets>,
    mut map: ResMut<Map>,
    mut keys: ResMut<Keys>,
    mut settings: ResMut<Settings>,
    mut interventions: ResMut<Interventions>,
) {
    // When it begins, all of it has just been read.
    if assets.is_added() {
        return;
    }
    match (content::palettes(&assets), content::keys(&assets), assets.rules()) {
        (Ok(palettes), Ok(new_keys), Ok(rules)) => {
            if palettes != map.palettes && !palettes.is_empty() {
                map.palettes = palettes;
                settings.set_changed();
            }
            *keys = new_keys;
            let model = map.atlas.model().laid_out(&rules);
            if model.plan() != map.atlas.model().plan() {
                lay_out(&mut map, Atlas::new(Arc::new(model)));
                // The quads that are drawn are made anew when interventions have changed.
                interventions.set_changed();
            }
        }
        (palettes, keys, rules) => {
            let wrong = [palettes.err(), keys.err(), rules.err()];
            let text: Vec<_> = wrong.iter().flatten().map(ToString::to_string).collect();
            map.tell(text.join("; "));
        }
    }
}

/// Puts another atlas of the same model in the place of the map's, and stays where one is in the
/// model.
fn lay_out(map: &mut Map, atlas: Atlas) {
    let (x, y) = map.view.cell_at(map.view.size.map(|side| side / 2.0));
    let here = map.atlas.trail(x, y).pop().unwrap_or(Place::Model);
    let rects = map.atlas.rect(&here).zip(atlas.rect(&here));
    map.flight = None;
    map.back.clear();
    map.forward.clear();
    map.view = match rects {
        Some((before, after)) if here != Place::Model => {
            map.view.centre[0] += (after.x - before.x) as f64;
            map.view.centre[1] += (after.y - before.y) as f64;
            map.view.bounded(atlas.bounds())
        }
        _ => map.view.fit(atlas.bounds()),
    };
    map.atlas = atlas;
}
