//! The window driven as a person would: xdotool types a prompt, drags, zooms, looks for a head and
//! mutes it; after each step there is a picture of the whole screen.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::time::Duration;

use super::screen::Screen;

#[test]
fn a_person_types_a_prompt_drags_zooms_and_mutes_a_head() {
    let folder = tempfile::tempdir().unwrap();
    let Some(screen) = Screen::start(folder.path(), "world_walk") else { return };
    let empty = screen.look();
    let Some((mut program, window)) = screen.open(folder.path()) else { return };
    screen.hand(&["mousemove", "640", "300"]);
    let whole = screen.changed("1-overview", &empty, 10_000);

    screen.hand(&["key", "Return"]);
    std::thread::sleep(Duration::from_millis(500));
    screen.hand(&["key", "End"]);
    screen.hand(&["key", "--repeat", "24", "BackSpace"]);
    screen.hand(&["type", "--delay", "60", "The little cat"]);
    let typed = screen.changed("2-typed", &whole, 100);
    screen.hand(&["key", "Return"]);
    let answered = screen.changed("3-answered", &typed, 3_000);

    screen.hand(&["mousemove", "640", "300", "mousedown", "1"]);
    for step in 1..=6 {
        let x = (640 - step * 30).to_string();
        screen.hand(&["mousemove", &x, "320"]);
        std::thread::sleep(Duration::from_millis(60));
    }
    screen.hand(&["mouseup", "1"]);
    let dragged = screen.changed("4-dragged", &answered, 10_000);
    screen.hand(&["mousemove", "560", "330"]);
    for _ in 0..8 {
        screen.hand(&["click", "4"]);
        std::thread::sleep(Duration::from_millis(60));
    }
    let zoomed = screen.changed("5-zoomed", &dragged, 10_000);

    screen.hand(&["key", "slash"]);
    std::thread::sleep(Duration::from_millis(500));
    screen.hand(&["type", "--delay", "60", "layer 1 head 2"]);
    screen.hand(&["key", "Return"]);
    let found = screen.changed("6-found-a-head", &zoomed, 10_000);
    screen.hand(&["key", "m"]);
    let muted = screen.changed("7-muted", &found, 3_000);
    screen.hand(&["key", "1"]);
    screen.changed("8-lens", &muted, 3_000);
    // A window of one pixel and back is no end.
    screen.hand(&["windowsize", &window, "1", "1"]);
    std::thread::sleep(Duration::from_secs(1));
    screen.hand(&["windowsize", &window, "1280", "720"]);
    std::thread::sleep(Duration::from_secs(2));
    screen.hand(&["key", "Home"]);
    screen.changed("9-home-again", &muted, 10_000);
    assert_eq!(program.0.try_wait().unwrap(), None, "the window lives on");
}
