pub use today::*;
