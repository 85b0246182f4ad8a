//! Answers of a form: which tokens may come next, so that what comes is JSON of a schema, or what a
//! regular expression or a grammar allows.
//!
//! Forms are compiled by llguidance. What is forbidden becomes biases of the draw, so that every
//! device draws as it always does.

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{
    ApproximateTokEnv, InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie,
};
use llguidance::{Matcher, ParserFactory};
use serde_json::Value;

use super::request::AnswerForm;
use super::text::TextModel;

/// What a forbidden token's logit gets: as good as minus infinity, and finite, since what kernels
/// make of infinity is not certain.
pub(super) const FORBIDDEN: f32 = -1e30;

/// Compiles forms for one vocabulary, which it looks through once.
pub(super) struct FormCompiler {
    factory: ParserFactory,
}

impl FormCompiler {
    /// A compiler for the tokens of a model.
    ///
    /// # Errors
    /// The vocabulary cannot be used.
    pub fn new(text: &dyn TextModel, vocab: usize) -> Result<Self, String> {
        let size = u32::try_from(vocab).map_err(|_| "the vocabulary is too large")?;
        let ends: Vec<u32> = (0..size).filter(|&token| text.is_end(token)).collect();
        // A special token is no text, so that it has no bytes here, and none comes but at the end.
        let bytes = |token: u32| {
            if text.is_special(token) { Vec::new() } else { text.token_bytes(token) }
        };
        let words: Vec<Vec<u8>> = (0..size).map(bytes).collect();
        // A model without an end token ends where the form does.
        let info = TokRxInfo::new(size, ends.first().copied().unwrap_or(u32::MAX));
        let mut trie = TokTrie::from(&info, &words);
        if ends.len() > 1 {
            trie = trie.with_eos_tokens(&ends);
        }
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let slices = SlicedBiasComputer::json_slices();
        let factory = ParserFactory::new(&env, InferenceCapabilities::default(), &slices);
        let mut factory = factory.map_err(|error| error.to_string())?;
        factory.quiet();
        Ok(Self { factory })
    }

    /// The state of an answer of a form before its first token.
    ///
    /// # Errors
    /// The form is none, or allows nothing; why, in words.
    pub fn begin(&self, form: &AnswerForm) -> Result<FormState, String> {
        let grammar = match form {
            AnswerForm::Json(schema) => {
                let schema: Value =
                    serde_json::from_str(schema).map_err(|error| error.to_string())?;
                TopLevelGrammar::from_json_schema(schema)
            }
            AnswerForm::Regex(regex) => TopLevelGrammar::from_regex(regex),
            AnswerForm::Grammar(grammar) => TopLevelGrammar::from_lark(grammar.clone()),
        };
        let parser = self.factory.create_parser(grammar).map_err(|error| one_line(&error))?;
        let mut state =
            FormState { matcher: Box::new(Matcher::new(Ok(parser))), forbidden: Vec::new() };
        state.look_ahead()?;
        Ok(state)
    }
}

/// Where an answer stands in its form.
pub(super) struct FormState {
    matcher: Box<Matcher>,
    /// The biases that forbid what may not come next.
    forbidden: Vec<(u32, f32)>,
}

impl FormState {
    /// The biases that forbid what may not come next.
    pub fn forbidden(&self) -> &[(u32, f32)] {
        &self.forbidden
    }

    /// Takes the token that came; true where the form is complete and nothing may follow.
    ///
    /// # Errors
    /// The form is too much to follow; why, in words.
    pub fn take(&mut self, token: u32) -> Result<bool, String> {
        self.matcher.consume_token(token).map_err(|error| one_line(&error))?;
        if self.matcher.is_stopped() {
            return Ok(true);
        }
        self.look_ahead()?;
        Ok(false)
    }

    fn look_ahead(&mut self) -> Result<(), String> {
        let allowed: SimpleVob = self.matcher.compute_mask().map_err(|error| one_line(&error))?;
        self.forbidden.clear();
        let tokens = 0..u32::try_from(allowed.len()).unwrap_or(u32::MAX);
        let forbidden = tokens.filter(|&token| !allowed.is_allowed(token));
        self.forbidden.extend(forbidden.map(|token| (token, FORBIDDEN)));
        if self.forbidden.len() == allowed.len() {
            return Err("no token of the model may come next".into());
        }
        Ok(())
    }
}

/// What is wrong with a form, without the lines that show where.
fn one_line(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
