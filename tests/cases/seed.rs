//! The same seed, the same text.
