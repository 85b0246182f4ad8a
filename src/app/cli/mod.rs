//! The command-line tools: each takes its arguments and an [`output::Output`], and gives an exit
//! code.

use std::path::Path;

use crate::content::assets::Assets;
use crate::model::resolve::{CacheNote, TileCheck};
use crate::model::{Cache, PixelModel};

pub mod bench;
pub mod cache;
pub mod chat;
pub mod coach;
pub mod convert;
pub mod corpus;
pub mod draft;
pub mod engine;
pub mod evaluate;
pub mod experiment;
pub mod fs;
pub mod inspect;
pub mod lineage;
pub mod lora;
pub mod map;
pub mod merge;
pub mod mods;
mod numbers;
pub mod output;
pub mod pages;
pub mod perplexity;
pub mod prompt_cache;
pub mod prune;
pub mod refit;
pub mod run;
pub mod school;
#[cfg(feature = "serve")]
pub mod serve;
pub mod simulate;
pub mod suggest;
mod table;
mod texts;
pub mod train;
pub mod verify;

/// Opens the model that was named, or the built-in one, for whoever reads every weight. A GGUF file
/// is converted into the cache when it is new, and anew when its conversion is damaged.
///
/// # Errors
/// The file cannot be read, converted or opened.
pub(crate) fn open_model(model: Option<&Path>, assets: &Assets) -> anyhow::Result<PixelModel> {
    open_with(model, TileCheck::Whole, assets)
}

/// The same for whoever needs few weights at first, and checks each as it comes.
///
/// # Errors
/// As [`open_model`].
pub(crate) fn open_model_quickly(
    model: Option<&Path>,
    assets: &Assets,
) -> anyhow::Result<PixelModel> {
    open_with(model, TileCheck::Quick, assets)
}

fn open_with(
    model: Option<&Path>,
    check: TileCheck,
    assets: &Assets,
) -> anyhow::Result<PixelModel> {
    let Some(path) = model else {
        return Ok(assets.default_model()?);
    };
    let mut note = |note: CacheNote| output::print_note(&note.to_string());
    let model = Cache::default().open(path, check, &mut note, |work| {
        let bar = output::progress_bytes("converting", Some(work));
        // Where no bar shows, a line says it, until this closure goes.
        let said = bar.is_hidden().then(|| output::doing("converting the model, once"));
        Box::new(move |done| {
            let _ = &said;
            if done < work { bar.set_position(done) } else { bar.finish_and_clear() }
        })
    })?;
    Ok(model)
}
