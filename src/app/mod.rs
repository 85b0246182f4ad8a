//! The modes of the program, as Bevy apps and command-line tools. With `main.rs` the only place that knows every
//! stage.

pub mod headless;
