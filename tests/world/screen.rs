//! A screen that is looked at as a person would, with a mouse and a keyboard: a virtual display
//! without a window manager, and xdotool.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "these are steps of tests, which fail by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::display::{Display, Guarded};

/// The longest that anything may take: the software adapter compiles its kernels first, and other
/// tests run beside.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A virtual display whose screen is a file.
pub struct Screen {
    pub display: Display,
    frame: PathBuf,
    /// Where pictures are kept to be looked at.
    pub pictures: PathBuf,
}

/// What is seen.
#[derive(Clone, PartialEq)]
pub struct Picture {
    width: usize,
    rgb: Vec<u8>,
}

impl Picture {
    /// Pixels that differ by more than a shade.
    pub fn differs(&self, other: &Self) -> usize {
        let is_far = |(a, b): &(&[u8], &[u8])| a.iter().zip(*b).any(|(a, b)| a.abs_diff(*b) > 24);
        self.rgb.chunks(3).zip(other.rgb.chunks(3)).filter(is_far).count()
    }
}

impl Screen {
    /// Begins with a folder for its frames, and the name of another for pictures, or says loudly
    /// what is missing.
    pub fn start(folder: &Path, name: &str) -> Option<Self> {
        if Command::new("xdotool").arg("version").output().is_err() {
            eprintln!("SKIPPED, nothing was tested: xdotool is not installed");
            return None;
        }
        let display = Display::start(&["-fbdir".as_ref(), folder.as_ref()])?;
        let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&pictures).unwrap();
        Some(Self { display, frame: folder.join("Xvfb_screen0"), pictures })
    }

    /// The screen as it is: an X window dump, of which the words before the pixels say how they
    /// lie.
    pub fn look(&self) -> Picture {
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

    /// Keeps a picture.
    pub fn keep(&self, name: &str, picture: &Picture) {
        let file = std::fs::File::create(self.pictures.join(format!("{name}.png"))).unwrap();
        let height = picture.rgb.len() / 3 / picture.width;
        let mut encoder = png::Encoder::new(file, picture.width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().unwrap().write_image_data(&picture.rgb).unwrap();
    }

    /// Does something with the mouse or the keyboard; gives what xdotool says.
    pub fn hand(&self, arguments: &[&str]) -> String {
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
    pub fn changed(&self, name: &str, before: &Picture, least: usize) -> Picture {
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

    /// Opens the program in a window with the keyboard, with settings and tasks of its own in a
    /// folder, and what it says in the file `said` there. Gives it with its window's number, or
    /// `None` with a loud word where there is no adapter.
    pub fn open(&self, folder: &Path) -> Option<(Guarded, String)> {
        let said = folder.join("said");
        let mut program = self.display.program();
        // This person's own settings and tasks would be another test, and are not to be touched.
        program
            .env("PIXEL_LLM_CONFIG", folder)
            .env("XDG_DATA_HOME", folder)
            .stderr(std::fs::File::create(&said).unwrap());
        let empty = self.look();
        let mut program = Guarded(program.spawn().unwrap());
        let start = Instant::now();
        while self.look().differs(&empty) < 10_000 {
            if let Some(status) = program.0.try_wait().unwrap() {
                let said = std::fs::read_to_string(&said).unwrap();
                if said.contains("no graphics adapter")
                    && std::env::var_os("PIXEL_LLM_REQUIRE_GPU").is_none()
                {
                    eprintln!("SKIPPED, nothing was tested: {said}");
                    return None;
                }
                panic!("{status}: {said}");
            }
            assert!(start.elapsed() < PATIENCE, "the window shows nothing");
            std::thread::sleep(Duration::from_millis(200));
        }
        let window = self.hand(&["search", "--onlyvisible", "--name", "pixel-llm"]);
        let window = window.lines().next().unwrap().to_owned();
        // Without a window manager nobody else gives it the keyboard.
        self.hand(&["windowfocus", "--sync", &window]);
        Some((program, window))
    }
}
