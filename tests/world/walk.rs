//! The window driven as a person would: xdotool types a prompt, drags, zooms, looks for a head and
//! mutes it, on a virtual display without a window manager; after each step there is a picture of
//! the whole screen.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking as tests do"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::display::{Display, Guarded};

/// The longest that anything may take: the software adapter compiles its kernels first, and other
/// tests run beside.
const PATIENCE: Duration = Duration::from_secs(90);

/// A virtual display whose screen is a file.
struct Screen {
    display: Display,
    frame: PathBuf,
    pictures: PathBuf,
}

#[derive(Clone, PartialEq)]
struct Picture {
    width: usize,
    rgb: Vec<u8>,
}

impl Picture {
    /// Pixels that differ by more than a shade.
    fn differs(&self, other: &Self) -> usize {
        let is_far = |(a, b): &(&[u8], &[u8])| a.iter().zip(*b).any(|(a, b)| a.abs_diff(*b) > 24);
        self.rgb.chunks(3).zip(other.rgb.chunks(3)).filter(is_far).count()
    }
}

impl Screen {
    fn start(folder: &Path) -> Option<Self> {
        if Command::new("xdotool").arg("version").output().is_err() {
            eprintln!("SKIPPED, nothing was tested: xdotool is not installed");
            return None;
        }
        let display = Display::start(&["-fbdir".as_ref(), folder.as_ref()])?;
        let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("world_walk");
        std::fs::create_dir_all(&pictures).unwrap();
        Some(Self { display, frame: folder.join("Xvfb_screen0"), pictures })
    }

    /// The screen as it is: an X window dump, of which the words before the pixels say how they
    /// lie.
    fn look(&self) -> Picture {
        let bytes = std::fs::read(&self.frame).unwrap();
        let word =
            |at: usize| u32::from_be_bytes(bytes[at * 4..at * 4 + 4].try_into().unwrap()) as usize;
        let (header, width, height, bits, line, colours) =
            (word(0), word(4), word(5), word(11), word(12), word(19));
        assert_eq!((width, height, bits), (1280, 720, 32));
        let pixels = &bytes[header + colours * 12..];
        let rgb = (0..height)
            .flat_map(|y| {
                pixels[y * line..y * line + width * 4].chunks(4).flat_map(|p| [p[2], p[1], p[0]])
            })
            .collect();
        Picture { width, rgb }
    }

    fn keep(&self, name: &str, picture: &Picture) {
        let file = std::fs::File::create(self.pictures.join(format!("{name}.png"))).unwrap();
        let height = picture.rgb.len() / 3 / picture.width;
        let mut encoder = png::Encoder::new(file, picture.width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().unwrap().write_image_data(&picture.rgb).unwrap();
    }

    fn hand(&self, arguments: &[&str]) -> String {
        let output = Command::new("xdotool")
            .env("DISPLAY", &self.display.name)
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "xdotool {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Waits until so many pixels differ from a picture and the screen has come to rest, and keeps
    /// what is there then.
    fn changed(&self, name: &str, before: &Picture, least: usize) -> Picture {
        let start = Instant::now();
        let mut last = self.look();
        let mut found = 0;
        while start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(400));
            let now = self.look();
            found = found.max(now.differs(before));
            if now.differs(before) >= least && now.differs(&last) < 40 {
                self.keep(name, &now);
                return now;
            }
            last = now;
        }
        self.keep(name, &last);
        panic!(
            "{name}: at most {found} pixels changed, {least} should; see {}",
            self.pictures.display()
        );
    }
}

#[test]
fn a_person_types_a_prompt_drags_zooms_and_mutes_a_head() {
    let folder = tempfile::tempdir().unwrap();
    let Some(screen) = Screen::start(folder.path()) else { return };
    let mut program = screen.display.program();
    // This person's own settings and tasks would be another test, and are not to be touched.
    program
        .env("PIXEL_LLM_CONFIG", folder.path())
        .env("XDG_DATA_HOME", folder.path())
        .stderr(Stdio::piped());
    let empty = screen.look();
    let mut program = Guarded(program.spawn().unwrap());
    let start = Instant::now();
    while screen.look().differs(&empty) < 10_000 {
        if let Some(status) = program.0.try_wait().unwrap() {
            let mut said = String::new();
            std::io::Read::read_to_string(&mut program.0.stderr.take().unwrap(), &mut said)
                .unwrap();
            if said.contains("no graphics adapter")
                && std::env::var_os("PIXEL_LLM_REQUIRE_GPU").is_none()
            {
                eprintln!("SKIPPED, nothing was tested: {said}");
                return;
            }
            panic!("{status}: {said}");
        }
        assert!(start.elapsed() < PATIENCE, "the window shows nothing");
        std::thread::sleep(Duration::from_millis(200));
    }
    let window = screen.hand(&["search", "--onlyvisible", "--name", "pixel-llm"]);
    let window = window.lines().next().unwrap();
    // Without a window manager nobody else gives it the keyboard.
    screen.hand(&["windowfocus", "--sync", window]);
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
    screen.hand(&["windowsize", window, "1", "1"]);
    std::thread::sleep(Duration::from_secs(1));
    screen.hand(&["windowsize", window, "1280", "720"]);
    std::thread::sleep(Duration::from_secs(2));
    screen.hand(&["key", "Home"]);
    screen.changed("9-home-again", &muted, 10_000);
    assert_eq!(program.0.try_wait().unwrap(), None, "the window lives on");
}
