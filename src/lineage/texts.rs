//! Texts that measure a child, by the digests of their parts: what decides was not looked at.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::document::digest;
use super::entry::{TextRole, TextUse};
use super::error::LineageError;
use crate::forward::cpu::CpuModel;
use crate::forward::cpu::ForwardError;
use crate::model::Tokenizer;
use crate::refit::text::WINDOW;
use crate::refit::{RefitText, written_by};

/// Hexadecimal digits by which a part is known.
const PART_DIGITS: usize = 12;

/// A text's name by its windows of tokens.
pub fn text_use(role: TextRole, windows: &[Vec<u32>]) -> TextUse {
    let part = |window: &Vec<u32>| {
        let mut hash = Sha256::new();
        window.iter().for_each(|token| hash.update(token.to_le_bytes()));
        crate::pxi::hex(&hash.finalize())[..PART_DIGITS].to_owned()
    };
    let tokens = windows.iter().map(|window| window.len() as u64).sum();
    of_parts(role, windows.iter().map(part).collect(), tokens)
}

/// A text's name by its lines, such as questions with their answers.
pub fn lines_use<'a>(
    role: TextRole,
    lines: impl IntoIterator<Item = &'a str>,
    tokens: u64,
) -> TextUse {
    let part = |line: &str| digest(line)[..PART_DIGITS].to_owned();
    of_parts(role, lines.into_iter().map(part).collect(), tokens)
}

fn of_parts(role: TextRole, parts: Vec<String>, tokens: u64) -> TextUse {
    TextUse { role, digest: digest(parts.join("\n")), tokens, parts }
}

/// Whether texts of different roles share nothing.
///
/// # Errors
/// Two of them do.
pub fn disjoint(texts: &[TextUse]) -> Result<(), LineageError> {
    for (at, text) in texts.iter().enumerate() {
        let parts: HashSet<&String> = text.parts.iter().collect();
        for other in texts[at + 1..].iter().filter(|other| other.role != text.role) {
            if other.digest == text.digest || other.parts.iter().any(|it| parts.contains(it)) {
                let (first, second) = (text.role.name(), other.role.name());
                return Err(LineageError::Overlap { first, second });
            }
        }
    }
    Ok(())
}

/// A text of a model's kind: it writes it itself, freely, each window from where a document begins.
///
/// # Errors
/// The model cannot compute.
pub fn own_text(
    model: &CpuModel,
    tokenizer: &Tokenizer,
    tokens: u32,
    seed: u64,
) -> Result<RefitText, ForwardError> {
    let length = WINDOW.min(model.config().context_length as usize);
    let count = (tokens as usize / length).max(1);
    written_by(model, tokenizer.first_token(), seed, [count, length], &|_| ())
}
