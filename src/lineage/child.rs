//! Making a child's file: a model in other encodings or with other weights, which says from what it
//! was made.

use std::path::{Path, PathBuf};

use super::document::Lineage;
use super::error::LineageError;
use super::store::{digest_of, name_of};
use crate::model::adapter::merge::merge;
use crate::model::convert::convert;
use crate::model::gguf::{Gguf, Value};
use crate::model::rewrite::rewrite;
use crate::model::{Adapter, Encoding, ModelError, PixelModel};
use crate::pxi::Target;

/// The least part of an update that has to survive in the model's own encodings; else the changed
/// matrices are stored in half precision.
const LEAST_SURVIVAL: f64 = 0.9;

fn text(text: &str) -> Value {
    Value::String(text.into())
}

/// What a child's metadata say of its parent.
pub fn origin_of(parent: &PixelModel) -> Vec<(String, Value)> {
    vec![
        ("general.base_model.count".to_owned(), Value::U32(1)),
        ("general.base_model.0.name".to_owned(), text(&name_of(parent))),
        ("pixel_llm.lineage.parent_root".to_owned(), text(&digest_of(parent))),
    ]
}

/// Writes a model in other encodings as a `.pxi` file in a folder: the path.
///
/// # Errors
/// A tile is damaged, a weight does not fit its encoding, or a file cannot be written.
pub fn write_child(
    model: &PixelModel,
    encodings: &[Encoding],
    importance: &[Option<Vec<f32>>],
    origin: &[(String, Value)],
    folder: &Path,
) -> Result<PathBuf, ModelError> {
    let (between, child) = (folder.join("child.gguf"), folder.join("child.pxi"));
    rewrite(model, encodings, importance, origin, Target::new(&between, true), &|_| ())?;
    convert(&Gguf::open(&between)?, Target::new(&child, true), &|_| ())?;
    // What it was made through is of no more use, and as large.
    let _ = std::fs::remove_file(between);
    Ok(child)
}

/// Writes a model with an adapter in its weights as a `.pxi` file in a folder: the path, and how
/// much of the update survives. The encodings stay as they are where that is nearly all of it.
///
/// # Errors
/// As [`write_child`].
pub fn write_merged(
    model: &PixelModel,
    adapter: Adapter,
    folder: &Path,
) -> Result<(PathBuf, f64), ModelError> {
    let adapters = [(adapter, 1.0)];
    let merged = folder.join("merged.gguf");
    let write = |encoding: Option<Encoding>| {
        merge(model, &adapters, encoding, Target::new(&merged, true), &|_| ())
    };
    let first = write(None)?;
    let mut survives = first.merged.total.share();
    if survives < LEAST_SURVIVAL {
        drop(first);
        let second = write(Some(Encoding::F16))?;
        survives = second.merged.total.share();
        second.finish()?;
    } else {
        first.finish()?;
    }
    let between = folder.join("merged.pxi");
    convert(&Gguf::open(&merged)?, Target::new(&between, true), &|_| ())?;
    let whole = PixelModel::open(&between)?;
    let child = as_it_is(&whole, &origin_of(model), folder)?;
    for file in [merged, between] {
        let _ = std::fs::remove_file(file);
    }
    Ok((child, survives))
}

fn as_it_is(
    model: &PixelModel,
    origin: &[(String, Value)],
    folder: &Path,
) -> Result<PathBuf, ModelError> {
    let encodings: Vec<Encoding> = model.tensors().iter().map(|tensor| tensor.encoding()).collect();
    let importance = vec![None; encodings.len()];
    write_child(model, &encodings, &importance, origin, folder)
}

/// Writes a child as a GGUF file that tells its origin alone: its base model by name and digest,
/// and the SHA-256 of its last entry.
///
/// # Errors
/// The child is not there, or the file cannot be written.
pub fn export(
    lineage: &Lineage,
    child: &PixelModel,
    target: impl Into<Target>,
) -> Result<(), LineageError> {
    let digest = digest_of(child);
    let unknown = || LineageError::UnknownChild(digest.clone());
    let at = lineage.entries().iter().rposition(|entry| entry.child == digest);
    let at = at.ok_or_else(unknown)?;
    let mut origin = vec![("general.lineage.chain".to_owned(), text(&lineage.entry_digest(at)))];
    let entry = &lineage.entries()[at];
    if let Some(base) = entry.base() {
        let name = format!("{} {base}", lineage.name);
        origin.push(("general.base_model.count".into(), Value::U32(1)));
        origin.push(("general.base_model.0.name".into(), text(&name)));
        origin.push(("pixel_llm.lineage.parent_root".into(), text(base)));
    }
    let encodings: Vec<Encoding> = child.tensors().iter().map(|tensor| tensor.encoding()).collect();
    let importance = vec![None; encodings.len()];
    Ok(rewrite(child, &encodings, &importance, &origin, target, &|_| ())?)
}
