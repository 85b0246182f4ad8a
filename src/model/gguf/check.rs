//! Checks across tensors, and between the vocabulary's lists: what no single field shows.

use std::collections::HashMap;

use super::error::{At, GgufError};
use super::{Array, GgufTensor, Metadata, Result, align_up};

/// Refuses tensors of one file that share a name, lie at odd offsets, overlap, leave gaps, or reach
/// past its end.
///
/// Every byte between the tensors belongs to one of them or to the padding after it, as in every
/// file that GGML's own writers make. What comes after the last tensor is nothing, as for
/// llama.cpp: its padding may be missing, and some tools append to a file.
///
/// # Errors
/// For the first tensor, in the order of the data, that breaks a rule.
pub fn check_tensors(
    tensors: &[GgufTensor],
    alignment: u64,
    data_start: u64,
    file_len: u64,
) -> Result<()> {
    check_names(tensors)?;
    let mut in_order: Vec<(u64, &GgufTensor)> = (0..).zip(tensors).collect();
    // The header may list tensors in any order; overlaps and gaps show only in that of the data.
    in_order.sort_by_key(|(_, tensor)| tensor.offset);

    let mut previous: Option<&GgufTensor> = None;
    let mut end = data_start;
    let mut padded_end = data_start;
    for (index, tensor) in in_order {
        end = check_place(tensor, alignment, file_len, previous, end, padded_end)
            .in_tensor(index, &tensor.name)?;
        // An end within a file's length can be rounded up; the greatest number fits no offset.
        padded_end = align_up(end, alignment).unwrap_or(u64::MAX);
        previous = Some(tensor);
    }
    Ok(())
}

/// Checks one tensor after the previous one, which ended at `end`, and gives where it ends.
fn check_place(
    tensor: &GgufTensor,
    alignment: u64,
    file_len: u64,
    previous: Option<&GgufTensor>,
    end: u64,
    padded_end: u64,
) -> Result<u64> {
    let &GgufTensor { offset, len, .. } = tensor;
    let tensor_end = offset.checked_add(len).filter(|tensor_end| *tensor_end <= file_len);
    let tensor_end = tensor_end.ok_or(GgufError::PastEnd { offset, len, file_len })?;
    // This and the overlap before the gap: an aligned offset that is not below the end is not below
    // the padded one either, so that the message of a gap can subtract.
    if !offset.is_multiple_of(alignment) {
        return Err(GgufError::Unaligned { found: offset, alignment });
    }
    if offset < end {
        let other = previous.map_or_else(|| "the header".to_owned(), |tensor| tensor.name.clone());
        return Err(GgufError::Overlap { found: offset, other, end });
    }
    if offset != padded_end {
        return Err(GgufError::Gap { found: offset, expected: padded_end });
    }
    Ok(tensor_end)
}

/// Refuses two tensors of one name; `tensors` may be those of several files.
pub(super) fn check_names(tensors: &[GgufTensor]) -> Result<()> {
    let mut seen = HashMap::new();
    for (index, tensor) in (0..).zip(tensors) {
        if let Some(first) = seen.insert(tensor.name.as_str(), index) {
            return Err(GgufError::DuplicateTensor { first }).in_tensor(index, &tensor.name);
        }
    }
    Ok(())
}

/// Refuses lists of the tokenizer that have the wrong type, tokens that are more or fewer than the
/// vocabulary, and scores or types that are fewer. More of those are passed over, as llama.cpp
/// does.
///
/// The vocabulary is the rows of the embedding; where the file has none, what the metadata says it
/// is.
///
/// # Errors
/// For the first list that disagrees.
pub fn check_vocabulary(metadata: &Metadata, tensors: &[GgufTensor]) -> Result<()> {
    const TOKENS: &str = "tokenizer.ggml.tokens";
    const SCORES: &str = "tokenizer.ggml.scores";
    const TYPES: &str = "tokenizer.ggml.token_type";

    let tokens = metadata.strings(TOKENS)?.map(|tokens| tokens.len() as u64);
    let scores = metadata.f32s(SCORES)?.map(|scores| scores.len() as u64);
    // The types need be integers, but not be copied to be counted.
    metadata.i64s(TYPES)?;
    let types = metadata.array(TYPES)?.map(|types: &Array| types.len() as u64);

    // The embedding before the metadata: its rows are what a token id indexes.
    let vocabulary = match tensors.iter().find(|tensor| tensor.name == "token_embd.weight") {
        Some(embedding) => Some(("rows of token_embd.weight".to_owned(), embedding.rows())),
        None => match metadata.str("general.architecture")? {
            Some(architecture) => {
                let key = format!("{architecture}.vocab_size");
                metadata.u64(&key)?.map(|size| (key, size))
            }
            None => None,
        },
    };
    let vocabulary = vocabulary.or_else(|| tokens.map(|tokens| (TOKENS.to_owned(), tokens)));
    let Some((vocabulary, expected)) = vocabulary else { return Ok(()) };
    for (key, found) in [(TOKENS, tokens), (SCORES, scores), (TYPES, types)] {
        let fits = |found: u64| found == expected || (found > expected && key != TOKENS);
        if let Some(found) = found.filter(|&found| !fits(found)) {
            return Err(GgufError::Vocabulary { key, found, vocabulary, expected });
        }
    }
    Ok(())
}
