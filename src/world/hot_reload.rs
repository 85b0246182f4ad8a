//! Mods in the window: what the land, its colours and its keys are like follows the files, while
//! they are edited.

use std::sync::Arc;

use bevy::prelude::*;

use super::content;
use crate::content::Problem;
use crate::content::assets::Assets;
use crate::content::watch::{Reloader, Watcher, can_watch, problems};
use crate::forward::Interventions;
use crate::world::WorldSystems;
use crate::world::camera::{MapCamera, ViewHistory};
use crate::world::keys::KeyBindings;
use crate::world::layout::{Atlas, Place};
use crate::world::notices::Notices;
use crate::world::palette::Palettes;
use crate::world::settings::Settings;
use crate::world::view::View;

/// Follows the mods' files.
///
/// Needs what [`super::WorldPlugin`] needs, and [`Assets`]. Changes the resource
/// [`Assets`]; who builds something of contents looks whether it has changed. Its systems run in
/// `Update`, before [`WorldSystems::Input`].
pub(crate) struct LiveModsPlugin;

/// What is told of the mods.
#[derive(Resource, Default)]
pub struct LiveMods {
    watcher: Option<Watcher>,
    /// Everything that is wrong; what was good before stays in use.
    pub problems: Vec<Problem>,
    /// Whether there is news of them that nobody was shown.
    pub is_news: bool,
}

impl Plugin for LiveModsPlugin {
    fn build(&self, app: &mut App) {
        let assets = app.world().resource::<Assets>();
        let (mods, own) = (assets.mods(), assets.folder());
        let problems = problems(assets.loaded());
        let mut live = LiveMods { is_news: !problems.is_empty(), problems, ..default() };
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
fn listen(mut live: ResMut<LiveMods>, mut assets: ResMut<Assets>, mut notices: ResMut<Notices>) {
    let Some(news) = live.watcher.as_ref().and_then(Watcher::take) else { return };
    match news.loaded {
        Some(loaded) => {
            *assets = assets.with_loaded(loaded);
            notices.tell("mods were loaded again");
        }
        None => notices.tell("a mod has an error; what was good before stays"),
    }
    live.is_news = !news.problems.is_empty();
    live.problems = news.problems;
}

/// Makes the window what the contents say.
fn refresh(
    assets: Res<Assets>,
    (mut atlas, mut palettes): (ResMut<Atlas>, ResMut<Palettes>),
    (mut camera, mut history): (ResMut<MapCamera>, ResMut<ViewHistory>),
    mut notices: ResMut<Notices>,
    mut keys: ResMut<KeyBindings>,
    mut settings: ResMut<Settings>,
    mut interventions: ResMut<Interventions>,
) {
    // When it begins, all of it has just been read.
    if assets.is_added() {
        return;
    }
    match (content::palettes(&assets), content::keys(&assets), assets.rules()) {
        (Ok(new_palettes), Ok(new_keys), Ok(rules)) => {
            // Without palettes there would be none to draw with: those of before stay.
            if new_palettes != palettes.0 && !new_palettes.is_empty() {
                palettes.0 = new_palettes;
                // The table of colours is baked anew when settings have changed.
                settings.set_changed();
            }
            *keys = new_keys;
            let model = atlas.model().laid_out(&rules);
            if model.plan() != atlas.model().plan() {
                let laid_out = Atlas::new(Arc::new(model));
                let view = same_place(&camera.view, &atlas, &laid_out);
                camera.jump(view);
                // Its views are of cells that now show something else.
                history.clear();
                *atlas = laid_out;
                // The quads that are drawn are made anew when interventions have changed.
                interventions.set_changed();
            }
        }
        (palettes, keys, rules) => {
            let wrong = [palettes.err(), keys.err(), rules.err()];
            let text: Vec<_> = wrong.iter().flatten().map(ToString::to_string).collect();
            notices.tell(text.join("; "));
        }
    }
}

/// Where one is in the model, on another atlas of it.
fn same_place(view: &View, before: &Atlas, after: &Atlas) -> View {
    let (x, y) = view.cell_at(view.middle());
    let here = before.trail(x, y).pop().unwrap_or(Place::Model);
    match before.rect(&here).zip(after.rect(&here)) {
        Some((from, to)) if here != Place::Model => {
            let [x, y] = view.centre;
            let centre = [x + (to.x - from.x) as f64, y + (to.y - from.y) as f64];
            View { centre, ..*view }.bounded(after.bounds())
        }
        _ => view.fit(after.bounds()),
    }
}
