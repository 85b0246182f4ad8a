//! The family of the model as islands beside its land: the picture of the lineage, painted again
//! whenever the lineage has an entry more. A click on an island selects it, and a tour's step walks
//! from the founder to the current one.
//!
//! In: `lineage.json` in the [`FamilyFolder`]. Out: a [`FamilyPicture`] and where it lies on the
//! map; `panel` draws it. Painting reads every weight of the models that are shown, so that it is
//! done on a thread of its own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bevy::prelude::*;

use super::WorldSystems;
use super::camera::{MapCamera, Navigate};
use super::layout::Atlas;
use super::pointer::Selection;
use super::tour::{TourProblem, TourRun, TourStep, TourSystems, hold};
use crate::lineage::{FamilyPainting, Island, LineageStore, paint};
use crate::model::PixelModel;
use crate::model::plan::Rect;

/// How often the file is looked at.
const LOOK_SECONDS: f32 = 1.0;
/// Between the land and the islands, in parts of the land's width.
const STRAIT: f64 = 0.04;
/// How long a walk stands at an island: its figures are read there.
const STAY_SECONDS: f32 = 7.0;

/// Where the lineage of the model is kept; without it there are no islands.
#[derive(Resource, Debug, Clone)]
pub struct FamilyFolder(pub PathBuf);

/// The islands, where there are any.
#[derive(Resource, Default)]
pub struct FamilyPicture {
    /// The picture; its number grows with each.
    pub painting: Option<(u64, Arc<FamilyPainting>)>,
    /// The island that is selected.
    pub selected: Option<usize>,
    /// What a thread has painted since, or why it did not.
    painted: Arc<Mutex<Option<Result<FamilyPainting, String>>>>,
    /// The file's state of which there is a picture, or will be.
    seen: Option<SystemTime>,
    /// Why there is none.
    problem: Option<String>,
    walk: Option<Walk>,
}

/// A walk that a tour has asked for.
#[derive(Debug)]
struct Walk {
    /// How many islands of the way it has come to.
    done: usize,
    /// Seconds that it stays where it is.
    stays: f32,
}

impl FamilyPicture {
    /// Where it lies on the map: east of the land, as high as that.
    pub fn place(&self, bounds: Rect) -> Option<Rect> {
        let (_, painting) = self.painting.as_ref()?;
        let picture = &painting.picture;
        let height = bounds.height.max(bounds.width / 4);
        let width = height as f64 * f64::from(picture.width) / f64::from(picture.height.max(1));
        let strait = (bounds.width as f64 * STRAIT) as i64;
        let y = bounds.y + (bounds.height - height) / 2;
        Some(Rect { x: bounds.x + bounds.width + strait, y, width: width as i64, height })
    }

    /// The island that is selected.
    pub fn island(&self) -> Option<&Island> {
        self.painting.as_ref()?.1.islands.get(self.selected?)
    }

    /// Where an island lies on the map.
    fn island_place(&self, at: usize, bounds: Rect) -> Option<Rect> {
        let (_, painting) = self.painting.as_ref()?;
        let (all, island) = (self.place(bounds)?, painting.islands.get(at)?);
        let scale = all.height as f64 / f64::from(painting.picture.height.max(1));
        let [x, y, width, height] = island.place.map(|pixels| (f64::from(pixels) * scale) as i64);
        Some(Rect { x: all.x + x, y: all.y + y, width: width.max(1), height: height.max(1) })
    }

    /// The island at a cell of the map.
    pub(super) fn island_at(&self, (x, y): (i64, i64), bounds: Rect) -> Option<usize> {
        let (_, painting) = self.painting.as_ref()?;
        (0..painting.islands.len()).find(|&at| {
            self.island_place(at, bounds).is_some_and(|place| {
                (place.x..place.x + place.width).contains(&x)
                    && (place.y..place.y + place.height).contains(&y)
            })
        })
    }

    /// The view of an island.
    pub(super) fn view_of(&self, at: usize, camera: &MapCamera, bounds: Rect) -> Option<Navigate> {
        let place = self.island_place(at, bounds)?;
        Some(Navigate::View(camera.view.fit(place), None))
    }
}

/// Paints the family and walks through it.
pub(super) struct FamilyPlugin;

impl Plugin for FamilyPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<FamilyPicture>()
            .add_systems(
                Update,
                hold.in_set(TourSystems::Hold)
                    .run_if(|family: Res<FamilyPicture>| family.walk.is_some()),
            )
            .add_systems(Update, walk.in_set(WorldSystems::Act).before(super::camera::navigate))
            .add_systems(Update, follow.in_set(WorldSystems::Frame));
    }
}

/// Walks from the founder to the current one where a tour says so: each is flown to and selected,
/// and its title is said.
fn walk(
    mut steps: MessageReader<TourStep>,
    time: Res<Time>,
    atlas: Res<Atlas>,
    camera: Res<MapCamera>,
    tour: Option<ResMut<TourRun>>,
    mut family: ResMut<FamilyPicture>,
    mut navigate: MessageWriter<Navigate>,
    mut problems: MessageWriter<TourProblem>,
) {
    if steps.read().any(|step| *step == TourStep::Family) {
        family.walk = Some(Walk { done: 0, stays: 0.0 });
    }
    let Some(mut walk) = family.walk.take() else { return };
    let Some(mut tour) = tour else { return };
    let Some((_, painting)) = family.painting.clone() else {
        // It is painted at first sight, which takes the time that its weights take to be read.
        match &family.problem {
            Some(why) => _ = problems.write(TourProblem::Failed(why.clone())),
            None => family.walk = Some(walk),
        }
        return;
    };
    walk.stays -= time.delta_secs();
    if camera.flight.is_some() || (walk.stays > 0.0 && !tour.hurry) {
        family.walk = Some(walk);
        return;
    }
    // At the end the last one stays selected.
    let Some(&at) = painting.way.get(walk.done) else { return };
    family.selected = Some(at);
    tour.caption = painting.islands[at].title.clone();
    if let Some(there) = family.view_of(at, &camera, atlas.bounds()) {
        navigate.write(there);
    }
    family.walk = Some(Walk { done: walk.done + 1, stays: STAY_SECONDS });
}

fn follow(
    folder: Option<Res<FamilyFolder>>,
    atlas: Res<Atlas>,
    selection: Res<Selection>,
    time: Res<Time<Real>>,
    mut waited: Local<f32>,
    mut camera: ResMut<MapCamera>,
    mut family: ResMut<FamilyPicture>,
) {
    // One thing is selected, on the land or beside it.
    if selection.is_changed() && selection.0.is_some() && family.selected.is_some() {
        family.selected = None;
    }
    let Some(folder) = folder else {
        if family.walk.is_some() && family.problem.is_none() {
            family.problem = Some("this model has no folder for a family".into());
        }
        return;
    };
    *waited += time.delta_secs();
    // A walk that waits for its picture has nothing else to look at.
    if *waited < LOOK_SECONDS && (family.walk.is_none() || family.painting.is_some()) {
        return;
    }
    *waited = 0.0;
    let painted = family.painted.lock().unwrap_or_else(PoisonError::into_inner).take();
    match painted {
        Some(Ok(painting)) => {
            let number = family.painting.as_ref().map_or(0, |(number, _)| number + 1);
            family.painting = Some((number, Arc::new(painting)));
            camera.beside = family.place(atlas.bounds());
        }
        Some(Err(why)) => family.problem = Some(why),
        None => {}
    }
    let store = LineageStore::in_folder(&folder.0);
    let Some(changed) = changed(store.path()) else {
        if family.problem.is_none() {
            let why = "there is no family yet: the coach's fifth phase makes one, and so does \
                       pixel-llm coach start family";
            family.problem = Some(why.into());
        }
        return;
    };
    if family.seen == Some(changed) {
        return;
    }
    (family.seen, family.problem) = (Some(changed), None);
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

fn paint_it(
    folder: PathBuf,
    model: &Arc<PixelModel>,
    painted: &Mutex<Option<Result<FamilyPainting, String>>>,
) {
    let store = LineageStore::in_folder(&folder);
    let painting = store.read().and_then(|lineage| paint(&lineage, &store, model));
    let painting = painting.map_err(|error| format!("no islands: {error}"));
    if let Err(why) = &painting {
        debug!("{why}");
    }
    *painted.lock().unwrap_or_else(PoisonError::into_inner) = Some(painting);
}
