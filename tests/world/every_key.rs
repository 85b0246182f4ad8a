//! Each key that F1 lists is pressed in the window, and something comes of it that is seen. What
//! the keys are is read from their file; a picture is kept after each.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use super::screen::{PATIENCE, Picture, Screen};
use pixel_llm::world::keys::UserAction;
use pixel_llm::world::tabs::Tab;

/// Pixels that a panel of the drawer changes at least, and the land by its size.
const PANEL: usize = 4_000;
/// Pixels of a few words.
const WORDS: usize = 150;
/// Pixels of another word on a button.
const BUTTON: usize = 80;
/// Pixels that may differ where the same is seen again: a caret, a number of a chart.
const SAME: usize = 60;

/// What xdotool calls a key of the file.
fn name_of(key: &str) -> String {
    if let Some(key) = key.strip_prefix("Control+") {
        return format!("ctrl+{}", name_of(key));
    }
    let signs =
        ["BracketLeft", "BracketRight", "Slash", "Space", "Comma", "Period", "Minus", "Equal"];
    let plain = ["Arrow", "Digit"].iter().find_map(|prefix| key.strip_prefix(prefix));
    match key {
        "Enter" => "Return".into(),
        "Backspace" => "BackSpace".into(),
        "NumpadAdd" => "KP_Add".into(),
        "NumpadSubtract" => "KP_Subtract".into(),
        sign if signs.contains(&sign) => sign.to_lowercase(),
        letter if letter.starts_with("Key") => letter["Key".len()..].to_lowercase(),
        other => plain.unwrap_or(other).to_owned(),
    }
}

/// How a key is tried: what is done before, how many pixels it changes, what is done after.
struct Trial {
    action: UserAction,
    before: &'static [&'static str],
    least: usize,
    after: &'static [&'static str],
}

/// Every action, in an order in which each has something to change.
fn trials() -> Vec<Trial> {
    use UserAction as A;
    let mut all = Vec::new();
    let mut add = |action, before, least, after| {
        all.push(Trial { action, before, least, after });
    };
    add(A::ZoomIn, &[][..], PANEL, &[][..]);
    add(A::ZoomOut, &[], PANEL, &[]);
    add(A::Home, &["hold e"], PANEL, &[]);
    for action in [A::PanLeft, A::PanRight, A::PanUp, A::PanDown] {
        // From the same place each time: the map ends somewhere.
        add(action, &["key Home"], PANEL, &[]);
    }
    add(A::Back, &["key Home", "hold e", "key Home", "hold d"], PANEL, &[]);
    add(A::Forward, &[], PANEL, &["key Home"]);
    add(A::NextColouring, &[], PANEL, &["key c", "key c"]);
    // From afar the legend alone has another palette's colours.
    add(A::NextPalette, &[], WORDS, &[]);
    add(A::NextTheme, &[], PANEL, &["key t"]);
    add(A::LargerText, &[], PANEL, &[]);
    add(A::SmallerText, &[], PANEL, &[]);
    add(A::UsualText, &["key ctrl+equal"], PANEL, &[]);
    add(A::Search, &[], WORDS, &["key Escape"]);
    add(A::Prompt, &[], WORDS, &["key Escape"]);
    add(A::AnswerAgain, &["key Return", "key Return"], WORDS, &["rest"]);
    add(A::Earlier, &[], WORDS, &[]);
    add(A::Later, &[], WORDS, &[]);
    add(A::Pause, &[], BUTTON, &[]);
    add(A::Step, &["key Return", "ask and pause"], WORDS, &["key space", "rest"]);
    add(A::Mute, &["find"], WORDS, &["rest", "key m", "rest", "key Escape"]);
    add(A::Solo, &[], WORDS, &["rest", "key o", "rest", "key Escape"]);
    add(A::Paint, &[], PANEL, &["key g", "key Escape"]);
    for action in [A::Undo, A::Redo, A::Bookmark] {
        add(action, &["forget"], WORDS, &[]);
    }
    add(A::NextBookmark, &["forget"], WORDS, &[]);
    for action in Tab::ALL.into_iter().filter_map(Tab::action) {
        add(action, &[], PANEL, &["key Escape"]);
    }
    add(A::Close, &["key Home", "key i"], PANEL, &[]);
    add(A::TakeTour, &["forget"], PANEL, &["key F2", "key Escape"]);
    add(A::PauseAgents, &["forget", "key j"], WORDS, &[]);
    all
}

/// A window, and what it has said so far.
struct Watched<'a> {
    screen: &'a Screen,
    folder: &'a Path,
}

impl Watched<'_> {
    /// Waits until nothing moves; gives what is seen then, or is seen after long.
    fn rest(&self) -> Picture {
        let start = Instant::now();
        let mut last = self.screen.look();
        let mut still = 0;
        while still < 2 && start.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.screen.look();
            still = if now.differs(&last) < SAME { still + 1 } else { 0 };
            last = now;
        }
        last
    }

    /// The most pixels that are another than before, as soon as they are enough.
    fn most_changed(&self, before: &Picture, enough: usize) -> usize {
        let start = Instant::now();
        let mut most = 0;
        while most < enough && start.elapsed() < PATIENCE / 6 {
            most = most.max(self.screen.look().differs(before));
            std::thread::sleep(Duration::from_millis(50));
        }
        most
    }

    /// Holds a key for so long that it goes on in several frames.
    fn hold(&self, key: &str) {
        self.screen.hand(&["keydown", key]);
        std::thread::sleep(Duration::from_millis(400));
        self.screen.hand(&["keyup", key]);
    }

    fn step(&self, step: &str) {
        match step.split_once(' ') {
            // The answer takes seconds.
            Some(("ask", _)) => {
                self.screen.hand(&["key", "Return", "sleep", "0.15", "key", "space"]);
            }
            Some(("key", key)) => _ = self.screen.hand(&["key", key]),
            Some(("hold", key)) => self.hold(key),
            _ => match step {
                "rest" => {}
                // A notice is told for five seconds.
                "forget" => std::thread::sleep(Duration::from_millis(5500)),
                "find" => {
                    self.screen.hand(&["key", "slash"]);
                    std::thread::sleep(Duration::from_millis(500));
                    self.screen.hand(&["type", "--delay", "60", "layer 1 head 2"]);
                    self.screen.hand(&["key", "Return"]);
                }
                other => panic!("no step {other}"),
            },
        }
        self.rest();
    }

    /// What the program has said on the terminal that it should not.
    fn complaints(&self) -> Vec<String> {
        let said = std::fs::read_to_string(self.folder.join("said")).unwrap();
        let is_bad = |line: &&str| ["ERROR", "WARN", "panicked"].iter().any(|x| line.contains(x));
        said.lines().filter(is_bad).map(str::to_owned).collect()
    }
}

#[test]
#[ignore = "takes four minutes"]
fn each_key_that_is_listed_does_something_that_is_seen() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/keys/default.keys.ron");
    let text = std::fs::read_to_string(file).unwrap();
    let keys: BTreeMap<UserAction, Vec<String>> = ron::from_str(&text).unwrap();
    let listed: BTreeSet<UserAction> = keys.keys().copied().collect();
    let tried: BTreeSet<UserAction> = trials().iter().map(|trial| trial.action).collect();
    assert_eq!(listed, tried, "each action is tried");

    let folder = tempfile::tempdir().unwrap();
    let Some(screen) = Screen::start(folder.path(), "world_every_key") else { return };
    // Nothing moves by itself, so that what changes has been done by a key.
    let settings = "(reduced_motion: true, welcomed: true)";
    std::fs::write(folder.path().join("settings.ron"), settings).unwrap();
    let Some((mut program, _)) = screen.open(folder.path()) else { return };
    let watched = Watched { screen: &screen, folder: folder.path() };
    screen.hand(&["mousemove", "640", "300"]);
    watched.step("key k");
    // What the adapter and the display are said to lack.
    let usual = watched.complaints();
    assert!(usual.iter().all(|line| line.contains("WARN")), "{usual:?}");
    let (mut count, mut unseen) = (0, Vec::new());
    for trial in trials() {
        for key in &keys[&trial.action] {
            for step in trial.before {
                watched.step(step);
            }
            let before = watched.rest();
            let name = name_of(key);
            use UserAction::{PanDown, PanLeft, PanRight, PanUp, ZoomIn, ZoomOut};
            match trial.action {
                PanLeft | PanRight | PanUp | PanDown | ZoomIn | ZoomOut => watched.hold(&name),
                _ => _ = screen.hand(&["key", &name]),
            }
            let most = watched.most_changed(&before, trial.least);
            let now = watched.rest();
            count += 1;
            screen.keep(&format!("{count:02}-{:?}-{name}", trial.action), &now);
            let place = screen.pictures.display();
            assert_eq!(program.0.try_wait().unwrap(), None, "{key}: the window lives; {place}");
            assert_eq!(watched.complaints(), usual, "{key}");
            if most < trial.least {
                let (action, least) = (trial.action, trial.least);
                unseen.push(format!("{key}, {action:?}: {most} pixels changed, {least} should"));
            }
            for step in trial.after {
                watched.step(step);
            }
        }
    }
    assert!(unseen.is_empty(), "see {}: {unseen:#?}", screen.pictures.display());
    assert_eq!(count, keys.values().flatten().count());
}
