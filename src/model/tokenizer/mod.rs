//! Text to token ids and back, from a model file's own metadata.
//!
//! In: a [`TokenizerSpec`], the `tokenizer.*` pairs as plain values. Out: a [`Tokenizer`] for
//! byte-level BPE (`gpt2`, with the pre-tokenisers that [`pre_tokenizers`] names) or
//! SentencePiece's BPE (`llama`). [`Tokenizer::new`] refuses a damaged vocabulary with a
//! [`TokenizerError`]; nothing fails after that.
//!
//! Ids are those of llama.cpp, with one difference that is wanted: special tokens written out in a
//! text, user-defined ones among them, are matched only where [`EncodeOptions::parse_special`] asks
//! for it. Text from outside can then never end a turn.
//!
//! `decode(encode(text))` is `text`, except where the vocabulary lacks a byte
//! ([`Tokenizer::missing_bytes`]) and, for `llama`, that U+2581, its own sign for a space, comes
//! back as a space.

mod alphabet;
mod byte_level;
mod error;
mod metadata;
mod pre;
mod sentence_piece;
mod spec;
mod special;
mod special_ids;
mod split;
mod stream;
mod vocabulary;

pub use error::TokenizerError;
pub use spec::{MODELS, TokenType, TokenizerSpec};
pub use stream::DecodeStream;
pub use vocabulary::MAX_TOKENS;

use byte_level::ByteLevel;
use sentence_piece::SentencePiece;
use special::{SpecialTokens, TextPart};
use special_ids::SpecialIds;
use vocabulary::Vocabulary;

/// Every value of `tokenizer.ggml.pre` that is known; the first is what is meant where a file does
/// not say.
pub fn pre_tokenizers() -> impl Iterator<Item = &'static str> {
    pre::names()
}

/// What [`Tokenizer::encode`] does beside cutting text into tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EncodeOptions {
    /// Add the beginning and the end of a sequence if the model wants them. A rendered chat
    /// template has its own.
    pub add_special: bool,
    /// Match control and user-defined tokens that are written out in the text. For text that is
    /// trusted, such as a rendered chat template.
    pub parse_special: bool,
}

/// A vocabulary and the way to use it.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    special: SpecialTokens,
    /// Those of `special` that steer the model, and the others, which are text.
    control: SpecialTokens,
    user_defined: SpecialTokens,
    model: TokenizerModel,
    bos: Option<u32>,
    eos: Option<u32>,
    /// The tokens that `add_special` puts before and after a text.
    before: Option<u32>,
    after: Option<u32>,
    warnings: Vec<String>,
}

/// The token that is added to every text because of `why`. Where a file does not say which, it is
/// the `usual` one, if the vocabulary of `count` tokens has it.
fn added(
    id: &mut Option<u32>,
    name: &str,
    usual: u32,
    count: usize,
    why: &str,
    warnings: &mut Vec<String>,
) -> Option<u32> {
    if id.is_none() {
        // The number that llama.cpp gives to a token of which a file says nothing.
        *id = Some(usual).filter(|&usual| (usual as usize) < count);
        let then = id.map_or("none is added".to_owned(), |id| {
            format!("token {id} is added, as llama.cpp does")
        });
        warnings.push(format!(
            "{why}, but there is no tokenizer.ggml.{name}_token_id in the vocabulary of {count} \
             tokens: {then}"
        ));
    }
    *id
}

#[derive(Debug)]
enum TokenizerModel {
    ByteLevel(Box<ByteLevel>),
    SentencePiece(Box<SentencePiece>),
}

impl Tokenizer {
    /// Checks `spec` and builds the tokenizer.
    pub fn new(spec: &TokenizerSpec) -> Result<Tokenizer, TokenizerError> {
        if !MODELS.contains(&spec.model.as_str()) {
            return Err(TokenizerError::UnknownModel { found: error::shorten(&spec.model) });
        }
        let is_llama = spec.model == "llama";
        let mut warnings = spec.warnings.clone();
        let ids = SpecialIds::new(spec, &mut warnings);
        let vocabulary = Vocabulary::new(spec, &ids, &mut warnings)?;
        if let Some(found) =
            spec.scores.as_ref().map(Vec::len).filter(|&found| found < vocabulary.len())
        {
            let field = "tokenizer.ggml.scores";
            return Err(TokenizerError::CountMismatch { field, found, expected: vocabulary.len() });
        }
        let special = SpecialTokens::new(&vocabulary)?;
        let control = SpecialTokens::of(&vocabulary, TokenType::is_special)?;
        let user_defined = SpecialTokens::of(&vocabulary, |kind| kind == TokenType::UserDefined)?;
        // SentencePiece names these tokens itself, so a file need not say which they are.
        let usual = |name: &str| {
            let id = vocabulary.id(name).filter(|_| is_llama)?;
            vocabulary.kind(id).filter(|kind| kind.is_special()).map(|_| id)
        };
        let mut bos = ids.bos.or_else(|| usual("<s>"));
        let mut eos = ids.eos.or_else(|| usual("</s>"));
        let unknown = ids.unk.or_else(|| usual("<unk>"));
        let model = if is_llama {
            TokenizerModel::SentencePiece(Box::new(SentencePiece::new(
                spec,
                &vocabulary,
                unknown,
                &mut warnings,
            )?))
        } else {
            TokenizerModel::ByteLevel(Box::new(ByteLevel::new(spec, &vocabulary, &mut warnings)?))
        };
        let begins = pre::named(spec.pre.as_deref()).is_some_and(|pre| pre.begins);
        let begins = spec.add_bos.unwrap_or(is_llama || begins);
        let before = begins.then(|| {
            let why = match spec.add_bos {
                Some(_) => "tokenizer.ggml.add_bos_token is true",
                None => "texts begin with a token of their own with this vocabulary",
            };
            let usual = special_ids::usual_bos(is_llama);
            added(&mut bos, "bos", usual, vocabulary.len(), why, &mut warnings)
        });
        let after = spec.add_eos.unwrap_or(false).then(|| {
            let why = "tokenizer.ggml.add_eos_token is true";
            let usual = special_ids::usual_eos(is_llama);
            added(&mut eos, "eos", usual, vocabulary.len(), why, &mut warnings)
        });
        Ok(Tokenizer {
            vocabulary,
            special,
            control,
            user_defined,
            model,
            bos,
            eos,
            before: before.flatten(),
            after: after.flatten(),
            warnings,
        })
    }

    /// The token ids of `text`.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Vec<u32> {
        // Three bytes a token is less than most text has.
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        ids.extend(self.before.filter(|_| options.add_special));
        if options.parse_special {
            self.encode_around(&self.special, text, &mut true, &mut ids);
        } else if !text.is_empty() {
            // An empty one would get SentencePiece's space prefix, and so a token.
            self.encode_text(text, true, &mut ids);
        }
        ids.extend(self.after.filter(|_| options.add_special));
        ids
    }

    /// The token ids of a text that goes on from another, with special tokens that are written out
    /// in it: what a model is to say after a prompt. Nothing is put before it.
    pub fn encode_continuation(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.encode_around(&self.special, text, &mut false, &mut ids);
        ids
    }

    /// The control tokens that are written out in `text`, each once.
    pub(crate) fn control_tokens_in<'t>(&'t self, text: &str) -> Vec<(u32, &'t str)> {
        let mut ids = Vec::new();
        self.control.partition(text, |part| {
            if let TextPart::Token(id) = part {
                ids.push(id);
            }
        });
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(|id| Some((id, self.token_text(id)?))).collect()
    }

    /// The control tokens whose text holds `part`.
    pub(crate) fn control_tokens_with<'t>(
        &'t self,
        part: &'t str,
    ) -> impl Iterator<Item = &'t str> {
        let texts = self
            .vocabulary
            .iter()
            .filter(|(_, _, kind)| kind.is_special())
            .map(|(_, text, _)| text);
        texts.filter(move |text| text.contains(part))
    }

    /// The token ids of what several parts say together. Control tokens are given by their ids;
    /// one that is written out in a text is text.
    pub fn encode_parts<'t>(
        &self,
        parts: impl IntoIterator<Item = Result<u32, &'t str>>,
    ) -> Vec<u32> {
        let (mut ids, mut at_start) = (Vec::new(), true);
        for part in parts {
            match part {
                Ok(id) => {
                    ids.push(id);
                    at_start = true;
                }
                Err(text) => self.encode_around(&self.user_defined, text, &mut at_start, &mut ids),
            }
        }
        ids
    }

    /// Adds the ids of `text`, in which `whole` tokens stay whole. After one, as `at_start` tells,
    /// a text begins anew.
    fn encode_around(
        &self,
        whole: &SpecialTokens,
        text: &str,
        at_start: &mut bool,
        ids: &mut Vec<u32>,
    ) {
        whole.partition(text, |part| match part {
            TextPart::Text(text) => {
                self.encode_text(text, *at_start, ids);
                *at_start = false;
            }
            TextPart::Token(id) => {
                ids.push(id);
                *at_start = true;
            }
        });
    }

    fn encode_text(&self, text: &str, at_start: bool, ids: &mut Vec<u32>) {
        match &self.model {
            TokenizerModel::ByteLevel(model) => model.encode(text, ids),
            TokenizerModel::SentencePiece(model) => model.encode(text, at_start, ids),
        }
    }

    /// The text of a whole sequence, without its control tokens if `skip_special`. Bytes that are
    /// no UTF-8 become U+FFFD; ids outside the vocabulary add nothing. To continue a text use a
    /// [`DecodeStream`].
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let mut stream = DecodeStream::from_start(self, skip_special);
        for &id in ids {
            stream.append(self, id);
        }
        stream.finish()
    }

    /// What the file says that makes no sense and was passed over, and what it leaves out that
    /// changes answers: a line each, for a person to read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The number of tokens.
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// The raw bytes that one token adds to a text, a part of a character perhaps; none outside the
    /// vocabulary.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.vocabulary.bytes(id)
    }

    /// The token as the file writes it, such as `Ġthe`, `▁the` or `<0x0A>`.
    pub fn token_text(&self, id: u32) -> Option<&str> {
        self.vocabulary.text(id)
    }

    /// The token that the file writes as `text`.
    pub(crate) fn token_id(&self, text: &str) -> Option<u32> {
        self.vocabulary.id(text)
    }

    /// What the token is.
    pub fn token_type(&self, id: u32) -> Option<TokenType> {
        self.vocabulary.kind(id)
    }

    /// Whether the token steers the model and is not text.
    pub fn is_special(&self, id: u32) -> bool {
        self.token_type(id).is_some_and(TokenType::is_special)
    }

    /// Whether the token ends an answer: the end of a sequence, of a turn, or one that is known to
    /// mean that.
    pub fn is_end(&self, id: u32) -> bool {
        self.end_tokens().binary_search(&id).is_ok()
    }

    /// The tokens for which [`is_end`](Self::is_end) holds, ascending.
    pub fn end_tokens(&self) -> &[u32] {
        self.vocabulary.ends()
    }

    /// The token that begins a sequence.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that [`EncodeOptions::add_special`] puts before a text, if the model wants one.
    pub fn first_token(&self) -> Option<u32> {
        self.before
    }

    /// The token that ends a sequence.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The bytes for which the vocabulary has no token. In a byte-level vocabulary they are lost;
    /// in a SentencePiece vocabulary a character with one of them becomes the unknown token.
    pub fn missing_bytes(&self) -> Vec<u8> {
        match &self.model {
            TokenizerModel::ByteLevel(model) => model.missing_bytes(),
            TokenizerModel::SentencePiece(model) => model.missing_bytes(),
        }
    }

    fn adds_space_prefix(&self) -> bool {
        matches!(&self.model, TokenizerModel::SentencePiece(model) if model.add_space_prefix())
    }
}
