//! Control tokens of a chat template, told from what messages say.
//!
//! A template's control tokens are rendered as [`Signs`], characters that neither the template nor
//! the conversation has. So nothing that is said can become one, however a template cuts, joins or
//! changes it, and whatever a message says is kept as it is.

use std::collections::HashSet;

use crate::model::chat::{ChatError, ChatMessage, Signs, visit_texts};
use crate::model::tokenizer::Tokenizer;

/// The roles that may stand within a control token that a template puts together, as in
/// `'<|' + message.role + '|>'`.
const ROLES: [&str; 16] = [
    "system",
    "user",
    "assistant",
    "tool",
    "developer",
    "function",
    "model",
    "ipython",
    "observation",
    "environment",
    "context",
    "document",
    "documents",
    "tool_response",
    "human",
    "bot",
];

/// Where signs are taken from: Unicode gives the characters of its last plane to private use.
const SIGNS: std::ops::RangeInclusive<char> = '\u{100000}'..='\u{10fffd}';

/// The control tokens that one template writes.
#[derive(Debug)]
pub struct TemplateTokens {
    ids: Vec<u32>,
    /// The tokens and the joints, without signs yet.
    blank: Signs,
    /// The characters of the template that are no signs.
    taken: HashSet<char>,
}

impl TemplateTokens {
    /// Those of a template's source and of the texts that it is given with it.
    pub fn new(tokenizer: &Tokenizer, source: &str) -> Self {
        let mut tokens = tokenizer.control_tokens_in(source);
        tokens.extend(
            [tokenizer.bos(), tokenizer.eos()]
                .into_iter()
                .flatten()
                .filter_map(|id| Some((id, tokenizer.token_text(id)?)))
                .filter(|(_, text)| !text.is_empty()),
        );
        // The longest first, since one may hold another.
        tokens.sort_by_key(|(id, text)| (std::cmp::Reverse(text.len()), *id));
        tokens.dedup();
        let mut joints: Vec<(String, String)> = Vec::new();
        for role in ROLES {
            let texts = tokenizer.control_tokens_with(role);
            let around = texts.filter_map(|text| text.split_once(role));
            for (before, after) in
                around.filter(|(before, after)| !before.is_empty() && !after.is_empty())
            {
                let joint = (before.to_owned(), after.to_owned());
                if source.contains(before) && source.contains(after) && !joints.contains(&joint) {
                    joints.push(joint);
                }
            }
        }
        let taken = source.chars().filter(|letter| SIGNS.contains(letter)).collect();
        // Each conversation has signs of its own.
        let texts = tokens.iter().map(|(_, text)| ((*text).to_owned(), '\0'));
        let blank = Signs { tokens: texts.collect(), joints, around_role: None };
        Self { ids: tokens.into_iter().map(|(id, _)| id).collect(), blank, taken }
    }

    /// Signs that a conversation does not have.
    ///
    /// # Errors
    /// It has all of them, or cannot be read.
    pub fn signs(
        &self,
        messages: &[ChatMessage],
        variables: &[(String, String)],
    ) -> Result<Signs, ChatError> {
        let mut taken = self.taken.clone();
        visit_texts(messages, variables, &mut |text| {
            // Few texts have any, and a byte tells.
            if text.as_bytes().contains(&0xf4) {
                taken.extend(text.chars().filter(|letter| SIGNS.contains(letter)));
            }
        })?;
        let mut free = SIGNS.filter(|letter| !taken.contains(letter));
        let mut next = || {
            free.next().ok_or_else(|| {
                let problem = "the conversation uses up the characters U+100000 to U+10FFFD, and \
                    some \
                               have to stand for its control tokens: leave one out";
                ChatError::Render { problem: problem.to_owned() }
            })
        };
        let mut signs = self.blank.clone();
        if !signs.joints.is_empty() {
            signs.around_role = Some([next()?, next()?]);
        }
        for (_, sign) in &mut signs.tokens {
            *sign = next()?;
        }
        Ok(signs)
    }

    /// The tokens of what a template rendered with these signs.
    pub fn encode(&self, tokenizer: &Tokenizer, text: &str, signs: &Signs) -> Vec<u32> {
        let mut parts: Vec<Result<u32, String>> = Vec::new();
        let mut said = String::new();
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            let after = &rest[letter.len_utf8()..];
            rest = after;
            let token = if !SIGNS.contains(&letter) {
                None
            } else if let Some(at) = signs.tokens.iter().position(|(_, sign)| *sign == letter) {
                Some(self.ids[at])
            } else if let Some([open, close]) = signs.around_role
                && (letter == open || letter == close)
            {
                let Some((id, before, len)) = (letter == open)
                    .then(|| around_role(tokenizer, &said, after, signs, close))
                    .flatten()
                else {
                    // No token stands around this role, so its signs are no text.
                    continue;
                };
                said.truncate(said.len() - before);
                rest = &after[len..];
                Some(id)
            } else {
                None
            };
            match token {
                Some(id) => {
                    parts.extend((!said.is_empty()).then(|| Err(std::mem::take(&mut said))));
                    parts.push(Ok(id));
                }
                None => said.push(letter),
            }
        }
        parts.extend((!said.is_empty()).then_some(Err(said)));
        tokenizer
            .encode_parts(parts.iter().map(|part| part.as_ref().copied().map_err(String::as_str)))
    }
}

/// The control token that a template put together around a role: its id, how much of it stands
/// before the sign and how much after.
fn around_role(
    tokenizer: &Tokenizer,
    said: &str,
    after: &str,
    signs: &Signs,
    close: char,
) -> Option<(u32, usize, usize)> {
    let role = ROLES
        .into_iter()
        .find(|role| after.strip_prefix(role).is_some_and(|behind| behind.starts_with(close)))?;
    let behind = &after[role.len() + close.len_utf8()..];
    signs.joints.iter().find_map(|(first, last)| {
        if !said.ends_with(first.as_str()) || !behind.starts_with(last.as_str()) {
            return None;
        }
        let id = tokenizer.token_id(&format!("{first}{role}{last}"))?;
        let len = role.len() + close.len_utf8() + last.len();
        // A plain token may be spelt the same.
        tokenizer.is_special(id).then_some((id, first.len(), len))
    })
}
