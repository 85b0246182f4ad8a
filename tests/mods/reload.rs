//! Files that change while the program runs.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::fs;
use std::time::{Duration, Instant};

use pixel_llm::content::watch::{Reload, Reloader, Watcher};
use pixel_llm::content::{Loaded, load};

use crate::made::{EXPERIMENT, manifest, title};

#[test]
fn a_bad_save_keeps_the_last_good_state_and_a_good_one_is_seen_soon() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("m");
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("mod.ron"), manifest("m", "")).unwrap();
    let file = inside.join("e.experiment.ron");
    fs::write(&file, EXPERIMENT).unwrap();
    let loaded = load(&pixel_llm::app::kinds::registry(), Some(folder.path()));
    let reloader = || {
        Reloader::new(
            pixel_llm::app::kinds::registry().into(),
            Some(folder.path().into()),
            None,
            loaded.clone(),
        )
    };
    let mut by_hand = reloader();
    assert_eq!((by_hand.reload(), title(by_hand.good(), "e").as_str()), (Reload::Unchanged, "T"));
    let watcher = Watcher::new(reloader()).unwrap();
    let news = |what: &str| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if let Some(news) = watcher.take() {
                println!("{what}: {:?}", start.elapsed());
                return (news, start.elapsed());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{what}: nothing was heard");
    };
    fs::write(&file, "(titel: ").unwrap();
    let (bad, _) = news("a bad save");
    assert!(bad.loaded.is_none(), "the last good state stays");
    assert_eq!(
        bad.problems[0].to_string(),
        "m/e.experiment.ron:1:9: expected a value, found the end of the file"
    );
    assert_eq!(by_hand.reload(), Reload::Kept);
    assert_eq!(title(by_hand.good(), "e"), "T");
    // The best of a few: other programs may have the processors meanwhile.
    let mut best = Duration::MAX;
    for number in 0..4 {
        fs::write(&file, EXPERIMENT.replace("\"T\"", &format!("\"Number {number}\""))).unwrap();
        best = best.min(news("a save").1);
    }
    assert!(best < Duration::from_millis(500), "{best:?}");
    fs::write(&file, EXPERIMENT.replace("\"T\"", "\"Better\"")).unwrap();
    // A save may be heard in two steps, of which the first is half a file.
    let good = loop {
        let (heard, _) = news("a good save");
        if heard.loaded.as_ref().is_some_and(|loaded| title(loaded, "e") == "Better") {
            break heard;
        }
    };
    assert_eq!(good.problems, Vec::new());
    assert_eq!(by_hand.reload(), Reload::Taken);
    // What is read is no change: nothing more is heard of it.
    std::thread::sleep(Duration::from_millis(300));
    assert!(watcher.take().is_none());
    fs::remove_dir_all(&inside).unwrap();
    // A folder goes file by file, and half of a mod is a broken one.
    let gone = |heard: &Loaded| heard.contents.get("experiment", "e").is_none();
    while !news("a mod that goes").0.loaded.as_ref().is_some_and(gone) {}
}
