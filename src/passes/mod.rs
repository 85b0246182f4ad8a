//! 6  The forward pass: from token ids to logits, through kernels that read weights from tiles as they lie in the file.
//!
//! In: the tiles of a model, columns (a token at a position of a sequence) and a cache of keys and values. Out: logits.
//! A kernel is one name everywhere: its parameters in [`params`], its CPU twin in [`reference`].

pub mod params;
pub mod reference;
