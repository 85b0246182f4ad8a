//! The family beside the land: a tour walks through it, and a click shows what was measured.

use std::path::Path;
use std::sync::Arc;

use crate::common::world::open_world;
use pixel_llm::lineage::{
    Against, FigureKind, FigureName, FilePlace, LineageStore, LineageVerdict, MadeBy,
    MeasuredFigure, base, digest_of,
};
use pixel_llm::model::PixelModel;
use pixel_llm::world::camera::MapCamera;
use pixel_llm::world::family::{FamilyFolder, FamilyPicture};
use pixel_llm::world::layout::Atlas;
use pixel_llm::world::tour::{Tour, TourRun};

const SIZE: [u32; 2] = [1280, 720];

/// A founder, a child that was promoted and one that was rejected; files of children are not looked
/// for, since none of them is opened.
fn family(folder: &Path, model: &PixelModel) {
    let store = LineageStore::in_folder(folder);
    store.found(model).expect("the folder is there");
    let founder = digest_of(model);
    let verdicts = [LineageVerdict::Candidate, LineageVerdict::Passed, LineageVerdict::Promoted];
    for (child, last) in [('a', 3), ('b', 1)] {
        for verdict in &verdicts[..last] {
            store
                .append(|lineage| {
                    let mut entry = lineage.entries()[0].clone();
                    entry.child = child.to_string().repeat(64);
                    entry.parents = vec![base(founder.clone())];
                    entry.how.action = format!("refit_{child}");
                    entry.by = MadeBy::agent("Archie");
                    entry.figures = vec![MeasuredFigure::paired(
                        FigureName::plain(FigureKind::Loss),
                        Against::Parent,
                        "t",
                        [&[1.0, 2.0], &[0.5, 1.0]],
                    )];
                    entry.place = FilePlace::File { file: "children/none.pxi".into(), bytes: 1 };
                    entry.verdict = *verdict;
                    entry.replaces =
                        (*verdict == LineageVerdict::Promoted).then(|| founder.clone());
                    Ok(entry)
                })
                .expect("it follows from the one before");
        }
    }
}

#[test]
fn a_tour_walks_from_the_founder_to_the_one_in_use_and_complains_where_there_is_none() {
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let Some(mut world) = open_world(Arc::clone(&model), SIZE) else { return };
    let tour: Tour = ron::from_str("(title: \"t\", steps: [Family, Caption(\"\")])").unwrap();
    let folder = tempfile::tempdir().unwrap();
    world.app.insert_resource(FamilyFolder(folder.path().to_owned()));
    world.app.insert_resource(TourRun::new(tour.clone(), None, false));
    let complaints = world.take_tour().unwrap();
    assert!(complaints.iter().any(|it| it.contains("no family yet")), "{complaints:?}");

    family(folder.path(), &model);
    // The family that was complained of is looked for once in a second.
    world.app.insert_resource(FamilyFolder(folder.path().to_owned()));
    let painted = |world: &pixel_llm::app::explore::Offscreen| {
        world.app.world().resource::<FamilyPicture>().painting.is_some()
    };
    for _ in 0..2000 {
        if painted(&world) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        world.update(1);
    }
    assert!(painted(&world));
    let bounds = world.app.world().resource::<Atlas>().bounds();
    let family = world.app.world().resource::<FamilyPicture>();
    let place = family.place(bounds).unwrap();
    assert!(place.x > bounds.x + bounds.width, "beside the land");
    let (_, painting) = family.painting.clone().unwrap();
    assert_eq!((painting.islands.len(), &painting.way[..]), (3, &[0, 1][..]));
    assert_eq!(painting.islands[1].title, "refit a: current");
    assert!(painting.islands[1].figures.iter().any(|it| it.starts_with("loss: 1.5000 to 0.7500")));

    world.app.insert_resource(TourRun::new(tour, None, false));
    assert_eq!(world.take_tour().unwrap(), [""; 0]);
    let shown = world.app.world().resource::<FamilyPicture>().island().map(|it| it.title.clone());
    assert_eq!(shown.as_deref(), Some("refit a: current"));
    let view = world.app.world().resource::<MapCamera>().view;
    let there = |centre: f64, start: i64, cells: i64| {
        (start as f64..(start + cells) as f64).contains(&centre)
    };
    assert!(there(view.centre[0], place.x, place.width), "{view:?} is over {place:?}");
    assert!(there(view.centre[1], place.y, place.height), "{view:?} is over {place:?}");
}
