//! What can be wrong with an adapter, in words that name the file, the tensor and what to do.

use std::path::{Path, PathBuf};

use crate::model::error::ModelError;
use crate::model::gguf::GgufError;

/// Why an adapter cannot be read, written or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The file is no sound GGUF file, or cannot be written.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The file of pixels is unsound.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The file says that it is something else, or of a kind that is not taken.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A tensor is missing, misshapen or of a kind that is not taken.
    #[error("{}: tensor {name}: {problem}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name there.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It does not fit the model's matrices.
    #[error("the adapter does not fit {model}: {problem}")]
    Shape {
        /// The model's file.
        model: String,
        /// The matrix, and both shapes.
        problem: String,
    },
    /// It was trained on another model.
    #[error(
        "the adapter was trained on the model with root hash {trained}, but {model} has {found}; \
         name that model, or take it all the same: --lora-any-base, and --force for merge"
    )]
    Base {
        /// The model's file.
        model: String,
        /// The root hash that the adapter names, in hex.
        trained: String,
        /// The root hash of the model, in hex.
        found: String,
    },
}

impl AdapterError {
    /// Something is wrong with a whole file.
    pub(super) fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), problem: problem.into() }
    }

    /// Something is wrong with one of a file's tensors.
    pub(super) fn tensor(path: &Path, name: &str, problem: impl Into<String>) -> Self {
        Self::Tensor { path: path.to_owned(), name: name.to_owned(), problem: problem.into() }
    }
}
