//! Memory stays flat while one flies, prompts, mutes, paints and takes it back: the rounds of the
//! tour that `benches/README.md` measures with, on the built-in model.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::path::Path;
use std::sync::Arc;

use crate::common::world::open_world;
use pixel_llm::app::explore::Offscreen;
use pixel_llm::memory::own_in_bytes;
use pixel_llm::world::tour::{Tour, TourRun};

/// What further rounds may add: less than what a kernel takes that is compiled anew at each token.
const MOST_GROWN: u64 = 12 << 20;

fn rounds(world: &mut Offscreen, tour: &Tour, count: u32) -> u64 {
    for _ in 0..count {
        world.app.insert_resource(TourRun::new(tour.clone(), None, false));
        assert_eq!(world.take_tour().unwrap(), [""; 0]);
    }
    own_in_bytes().unwrap()
}

#[test]
fn further_rounds_take_no_more_memory_than_the_first() {
    let model = Arc::new(pixel_llm::app::kinds::assets().default_model().unwrap());
    let Some(mut world) = open_world(model, [320, 240]) else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/frames");
    let tour: Tour =
        pixel_llm::app::kinds::assets().with_folder(Some(folder)).content("tour", "soak").unwrap();
    let before = rounds(&mut world, &tour, 2);
    let after = rounds(&mut world, &tour, 4);
    let grown = after.saturating_sub(before);
    println!("{} KiB after 2 rounds, {} KiB more after 4 others", before >> 10, grown >> 10);
    assert!(grown < MOST_GROWN, "{} KiB more after {} KiB", grown >> 10, before >> 10);
}
