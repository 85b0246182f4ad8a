//! The family of the model as islands beside its land: the picture of the lineage, painted again
//! whenever the lineage has an entry more.
//!
//! In: `lineage.json` in the folder of the queue. Out: a [`FamilyPicture`] and where it lies on the
//! map; `panel` draws it. Painting reads every weight of the models that are shown, so that it is
//! done on a thread of its own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bevy::prelude::*;

use super::WorldSystems;
use super::layout::Atlas;
use crate::agents::QueueWorkers;
use crate::lineage::{LineageStore, paint};
use crate::model::PixelModel;
use crate::model::plan::Rect;
use crate::model::poster::Picture;

/// How often the file is looked at.
const LOOK_SECONDS: f32 = 1.0;
/// Between the land and the islands, in parts of the land's width.
const STRAIT: f64 = 0.04;

/// The islands, where there are any.
#[derive(Resource, Default)]
pub struct FamilyPicture {
    /// The picture; its number grows with each.
    pub picture: Option<(u64, Arc<Picture>)>,
    /// What a thread has painted since.
    painted: Arc<Mutex<Option<Picture>>>,
    /// The file's state of which there is a picture, or will be.
    seen: Option<SystemTime>,
}

impl FamilyPicture {
    /// Where it lies on the map: east of the land, as high as that.
    pub fn place(&self, bounds: Rect) -> Option<Rect> {
        let (_, picture) = self.picture.as_ref()?;
        let height = bounds.height.max(bounds.width / 4);
        let width = height as f64 * f64::from(picture.width) / f64::from(picture.height.max(1));
        let strait = (bounds.width as f64 * STRAIT) as i64;
        let y = bounds.y + (bounds.height - height) / 2;
        Some(Rect { x: bounds.x + bounds.width + strait, y, width: width as i64, height })
    }
}

/// Paints the family. Comes with the agents, who make it.
pub(super) struct FamilyPlugin;

impl Plugin for FamilyPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<FamilyPicture>()
            .add_systems(Update, follow.in_set(WorldSystems::Frame));
    }
}

fn follow(
    workers: Option<Res<QueueWorkers>>,
    atlas: Res<Atlas>,
    time: Res<Time<Real>>,
    mut waited: Local<f32>,
    mut family: ResMut<FamilyPicture>,
) {
    let Some(workers) = workers else { return };
    *waited += time.delta_secs();
    if *waited < LOOK_SECONDS {
        return;
    }
    *waited = 0.0;
    let painted = family.painted.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(picture) = painted {
        let number = family.picture.as_ref().map_or(0, |(number, _)| number + 1);
        family.picture = Some((number, Arc::new(picture)));
    }
    let store = LineageStore::in_folder(&workers.runner().shared_queue().folder());
    let Some(changed) = changed(store.path()) else { return };
    if family.seen == Some(changed) {
        return;
    }
    family.seen = Some(changed);
    let (painted, model) = (Arc::clone(&family.painted), Arc::clone(atlas.model()));
    let folder = store.folder().to_owned();
    // Without the thread the land has no islands this time.
    let _ = std::thread::Builder::new()
        .name("family".into())
        .spawn(move || paint_it(folder, &model, &painted));
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

fn paint_it(folder: PathBuf, model: &Arc<PixelModel>, painted: &Mutex<Option<Picture>>) {
    let store = LineageStore::in_folder(&folder);
    let picture = store.read().and_then(|lineage| paint(&lineage, &store, model));
    match picture {
        Ok(picture) => {
            *painted.lock().unwrap_or_else(PoisonError::into_inner) = Some(picture);
        }
        Err(error) => debug!("no islands: {error}"),
    }
}
