//! The special tokens that a file names by number. A number that is no token of the vocabulary
//! means none, as in llama.cpp, which then goes on with numbers of its own for the beginning and
//! the end of a sequence.

use super::spec::TokenizerSpec;

/// The special tokens, each in the vocabulary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpecialIds {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub eot: Option<u32>,
    pub unk: Option<u32>,
}

/// What llama.cpp takes for the beginning of a sequence where a file does not say.
pub(crate) fn usual_bos(is_llama: bool) -> u32 {
    if is_llama { 1 } else { 11 }
}

/// What llama.cpp takes for the end of a sequence where a file does not say.
pub(crate) fn usual_eos(is_llama: bool) -> u32 {
    if is_llama { 2 } else { 11 }
}

impl SpecialIds {
    /// Those of `spec`; a number outside of the vocabulary is told in `warnings`.
    pub fn new(spec: &TokenizerSpec, warnings: &mut Vec<String>) -> SpecialIds {
        let count = spec.tokens.len();
        let is_llama = spec.model == "llama";
        let mut checked = |name: &str, id: Option<u32>, usual: Option<u32>| {
            let found = id?;
            if (found as usize) < count {
                return id;
            }
            let usual = usual.filter(|&usual| (usual as usize) < count);
            let then = usual.map_or("taken for none".to_owned(), |usual| {
                format!("token {usual} is taken instead, as llama.cpp does")
            });
            warnings.push(format!(
                "tokenizer.ggml.{name}_token_id is {found}, outside of the vocabulary of {count} \
                 tokens: {then}"
            ));
            usual
        };
        let bos = checked("bos", spec.bos, Some(usual_bos(is_llama)));
        let eos = checked("eos", spec.eos, Some(usual_eos(is_llama)));
        let eot = checked("eot", spec.eot, None);
        let unk = checked("unknown", spec.unk, is_llama.then_some(0));
        // Only for its warning: nothing pads here.
        checked("padding", spec.pad, None);
        SpecialIds { bos, eos, eot, unk }
    }
}
