//! 1  PixelFS.
