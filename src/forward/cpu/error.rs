//! What can be wrong with a request for a forward pass.

use crate::forward::{BindError, HookError};
use crate::model::{AdapterError, ModelError};

/// Why a model cannot be computed with, or a pass not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// The model cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its tensors are not those that the kernels read.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A hook does not fit the model or the columns.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// An adapter does not fit the model.
    #[error(transparent)]
    Adapter(Box<AdapterError>),
    /// A slot has an adapter that the model does not have.
    #[error("slot {slot} has adapter {adapter}, but the model has {adapters} of them")]
    UnknownAdapter {
        /// Index of the slot.
        slot: u32,
        /// Index of the adapter, from 0.
        adapter: u32,
        /// Adapters that the model has.
        adapters: usize,
    },
    /// A column's token is not in the vocabulary.
    #[error("column {column}: token {token} is outside of the vocabulary of {vocab_size}")]
    Token {
        /// Index of the column.
        column: usize,
        /// The token's id, from 0.
        token: u32,
        /// Tokens in the vocabulary.
        vocab_size: u32,
    },
    /// A column's sequence is not one of the cache's.
    #[error("column {column}: slot {slot}, but the cache has {slots}")]
    Slot {
        /// Index of the column.
        column: usize,
        /// Index of the slot, from 0.
        slot: u32,
        /// Slots of the cache.
        slots: usize,
    },
    /// A column's position does not follow the ones that its sequence has.
    #[error("column {column}: position {position} in slot {slot}, expected one up to {length}")]
    Position {
        /// Index of the column.
        column: usize,
        /// Index of the slot, from 0.
        slot: u32,
        /// The position that was asked for, from 0.
        position: u32,
        /// Positions that the slot has.
        length: usize,
    },
    /// The cache is full.
    #[error("column {column}: position {position} is beyond the cache's {capacity} positions")]
    Full {
        /// Index of the column.
        column: usize,
        /// The position that was asked for, from 0.
        position: u32,
        /// Positions that the cache may hold per slot.
        capacity: usize,
    },
    /// The cache was made for another model.
    #[error("the cache is for {cache:?} (layers, KV heads, head size), the model has {model:?}")]
    Cache {
        /// Shape of the cache.
        cache: [usize; 3],
        /// Shape of the model.
        model: [usize; 3],
    },
    /// Factors that are not one per layer or head.
    #[error("{found} {name} factors, expected {expected} or none")]
    Interventions {
        /// Which factors: `head` or `layer`.
        name: &'static str,
        /// How many were given.
        found: usize,
        /// How many the model has.
        expected: usize,
    },
}

// By hand, since it is boxed: every error of an engine would have its size.
impl From<AdapterError> for ForwardError {
    fn from(error: AdapterError) -> Self {
        Self::Adapter(Box::new(error))
    }
}
