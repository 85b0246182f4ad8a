//! PixelFS: files that come back as they went in, hostile files, and the commands on them.

mod cli;
mod hostile;
mod roundtrip;
