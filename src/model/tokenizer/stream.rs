//! Tokens to text one by one: a character's bytes may be spread over tokens, so they wait until it
//! is complete.

use super::Tokenizer;
use super::spec::TokenType;

/// A text that grows by one token at a time and is handed out in whole characters.
///
/// It borrows nothing, so that it can be kept beside the sequence that it belongs to; every call
/// must be given the same tokenizer.
#[derive(Debug, Clone, Default)]
pub struct DecodeStream {
    skip_special: bool,
    /// The next token's leading space is the tokenizer's own and not part of the text.
    drops_space: bool,
    pending: Vec<u8>,
}

impl DecodeStream {
    /// A stream that continues a text, such as the answer to a prompt.
    pub fn continuing(skip_special: bool) -> DecodeStream {
        DecodeStream { skip_special, ..DecodeStream::default() }
    }

    /// A stream whose first token is the first of its text.
    pub fn from_start(tokenizer: &Tokenizer, skip_special: bool) -> DecodeStream {
        let drops_space = tokenizer.adds_space_prefix();
        DecodeStream { skip_special, drops_space, pending: Vec::new() }
    }

    /// Takes the next token and returns the text that is complete with it, which may be empty.
    /// Bytes that can no longer become a character are returned as U+FFFD.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        self.append(tokenizer, id);
        take_complete(&mut self.pending)
    }

    /// Ends the text: what was still waiting is an incomplete character, given as U+FFFD.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }

    /// Appends the bytes of a token without looking for whole characters.
    pub(super) fn append(&mut self, tokenizer: &Tokenizer, id: u32) {
        let kind = tokenizer.token_type(id);
        let bytes = tokenizer.token_bytes(id);
        if kind.is_some_and(|kind| kind.is_special() || kind == TokenType::UserDefined) {
            if !(self.skip_special && tokenizer.is_special(id)) {
                self.pending.extend(bytes);
            }
            // Encoding puts a space after a special token as it does at the start.
            self.drops_space = tokenizer.adds_space_prefix();
        } else {
            let own_space = self.drops_space && bytes.first() == Some(&b' ');
            self.pending.extend(&bytes[usize::from(own_space)..]);
            self.drops_space = false;
        }
    }
}

/// Takes all but a last incomplete character out of `pending`.
fn take_complete(pending: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut rest = pending.as_slice();
    while let Err(error) = std::str::from_utf8(rest) {
        let (valid, after) = rest.split_at(error.valid_up_to());
        text.push_str(std::str::from_utf8(valid).expect("valid up to here, says the error"));
        rest = after;
        // No length means that the text ends within a character, which the next token may complete.
        let Some(invalid) = error.error_len() else { break };
        text.push(char::REPLACEMENT_CHARACTER);
        rest = &rest[invalid..];
    }
    if let Ok(valid) = std::str::from_utf8(rest) {
        text.push_str(valid);
        rest = &[];
    }
    let waiting = rest.len();
    pending.drain(..pending.len() - waiting);
    text
}
