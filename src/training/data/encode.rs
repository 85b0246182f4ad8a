//! What a line says as tokens, of which some are targets.

use super::check::Checker;
use super::line::{DataLine, LineShape};
use crate::batch::{Chat, Message, ModelText, Prompt, TextError, TextModel};
use crate::training::Sequence;

/// Which tokens are targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetChoice {
    /// Completions and the assistant's turns; of a text everything.
    #[default]
    Auto,
    /// Completions and the assistant's turns, so that a text has no target.
    Completion,
    /// Every token that comes after another.
    All,
}

/// How lines become sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataOptions {
    /// Which tokens are targets.
    pub targets: TargetChoice,
    /// Whether the token that ends an answer is learnt with it.
    pub end: bool,
    /// Tokens of the longest sequence.
    pub context: usize,
    /// Whether a longer one is cut at its end, instead of being refused.
    pub truncate: bool,
}

/// A line as tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The line, from 1.
    pub line: u64,
    /// What is learnt.
    pub sequence: Sequence,
    /// What can be asked of it and compared, unless it is a text.
    pub question: Option<DataQuestion>,
}

/// A prompt whose right answer is known.
#[derive(Debug, Clone, PartialEq)]
pub struct DataQuestion {
    /// The tokens that the model is given.
    pub prompt: Vec<u32>,
    /// What it is to say.
    pub answer: String,
    /// How its answer is compared with that.
    pub check: Checker,
    /// Tokens of that.
    pub answer_tokens: usize,
}

/// Why a line has no sequence.
#[derive(Debug, thiserror::Error)]
pub(super) enum EncodeError {
    #[error(transparent)]
    Text(#[from] TextError),
    #[error("there is no token to learn: {0}")]
    NoTarget(&'static str),
    #[error(
        "{tokens} tokens, and --context is {context}: give --context {tokens} where the model \
         allows it, or --truncate to cut lines at their end"
    )]
    TooLong { tokens: usize, context: usize },
    #[error(
        "the chat template writes message {message} otherwise once others follow it, so its \
         tokens cannot be told apart: give each answer a line of its own"
    )]
    Rewritten { message: usize },
    #[error(
        "the chat template does not begin the answer of message {message} as it asks for one, so \
         what is learnt would not be what is asked"
    )]
    Opening { message: usize },
}

/// Tokens, and which of them are targets.
struct Marked {
    tokens: Vec<u32>,
    is_target: Vec<bool>,
    question: Option<DataQuestion>,
}

/// Makes a line an example. The second says whether it was cut.
pub(super) fn encode(
    line: u64,
    data: &DataLine,
    text: &ModelText,
    options: &DataOptions,
) -> Result<(Example, bool), EncodeError> {
    let mut marked = match &data.shape {
        LineShape::Completion { prompt, completion } => {
            completion_of(prompt, completion, text, options)?
        }
        LineShape::Messages { messages, is_target, variables } => {
            messages_of(messages, is_target, variables, text, options)?
        }
        LineShape::Text(content) => text_of(content, text, options)?,
    };
    if options.targets == TargetChoice::All {
        marked.is_target.fill(true);
    }
    // Nothing comes before the first token, so nothing predicts it.
    if let Some(first) = marked.is_target.first_mut() {
        *first = false;
    }
    let (tokens, context) = (marked.tokens.len(), options.context);
    let is_cut = tokens > context;
    if is_cut && !options.truncate {
        return Err(EncodeError::TooLong { tokens, context });
    }
    let had_target = marked.is_target.contains(&true);
    marked.tokens.truncate(context);
    marked.is_target.truncate(context);
    if !marked.is_target.contains(&true) {
        return Err(EncodeError::NoTarget(match (had_target, &data.shape) {
            (true, _) => "--truncate cut all of them off; raise --context",
            (_, LineShape::Text(_)) if options.targets == TargetChoice::Completion => {
                "a text has no completion; leave --loss out, or give --loss all"
            }
            (_, LineShape::Text(_)) => "the text has one token at most",
            (_, LineShape::Messages { .. }) => "no message is an assistant's that says something",
            (_, LineShape::Completion { .. }) => "the completion is empty",
        }));
    }
    let Marked { tokens, is_target, question } = marked;
    let question = question
        .filter(|question| question.prompt.len() < context)
        .map(|question| DataQuestion { check: data.check.clone(), ..question });
    let sequence = Sequence { tokens, is_target, weight: data.weight };
    Ok((Example { line, sequence, question }, is_cut))
}

fn completion_of(
    prompt: &str,
    completion: &str,
    text: &ModelText,
    options: &DataOptions,
) -> Result<Marked, EncodeError> {
    // As a request's prompt is encoded, so that what is learnt is what is asked.
    let mut tokens = text.encode(&Prompt::Text(prompt.to_owned()))?;
    let prompt = tokens.clone();
    tokens.extend(text.tokenizer().encode_continuation(completion));
    let answer_tokens = tokens.len() - prompt.len();
    // An end alone is an answer too, but a line that says nothing is most likely a mistake.
    if answer_tokens > 0 {
        tokens.extend(text.tokenizer().eos().filter(|_| options.end));
    }
    let is_target = (0..tokens.len()).map(|at| at >= prompt.len()).collect();
    let question = (!prompt.is_empty() && answer_tokens > 0).then(|| DataQuestion {
        prompt,
        answer: completion.to_owned(),
        check: Checker::Exact,
        answer_tokens,
    });
    Ok(Marked { tokens, is_target, question })
}

fn text_of(content: &str, text: &ModelText, options: &DataOptions) -> Result<Marked, EncodeError> {
    let mut tokens = text.encode(&Prompt::Text(content.to_owned()))?;
    let end = text.tokenizer().eos().filter(|end| options.end && tokens.last() != Some(end));
    // As above: an end alone teaches nothing.
    tokens.extend(end.filter(|_| !content.is_empty()));
    let is_target = vec![options.targets != TargetChoice::Completion; tokens.len()];
    Ok(Marked { tokens, is_target, question: None })
}

/// A conversation. Where an answer begins and ends is found by rendering what comes before it and
/// what comes up to its end: a search for its text would find the same words elsewhere.
fn messages_of(
    messages: &[Message],
    learns: &[bool],
    variables: &[(String, String)],
    text: &ModelText,
    options: &DataOptions,
) -> Result<Marked, EncodeError> {
    let render = |count: usize, opens_answer: bool| {
        let (messages, variables) = (messages[..count].to_vec(), variables.to_vec());
        let chat = Chat { messages, variables, opens_answer, continues_last: false };
        text.encode(&Prompt::Chat(chat))
    };
    let mut tokens = render(messages.len(), false)?;
    let mut is_target = vec![false; tokens.len()];
    let mut question = None;
    for (at, message) in messages.iter().enumerate().filter(|(at, _)| learns[*at]) {
        let before = render(at, true)?;
        let through =
            if at + 1 == messages.len() { tokens.clone() } else { render(at + 1, false)? };
        if !tokens.starts_with(&through) {
            return Err(EncodeError::Rewritten { message: at + 1 });
        }
        if !through.starts_with(&before) {
            return Err(EncodeError::Opening { message: at + 1 });
        }
        let turn = before.len()..through.len();
        // Behind the end templates write a line break, which the next turn's begin would be.
        let end = turn.clone().rev().find(|&at| text.is_end(tokens[at]));
        let last = match end {
            Some(end) if options.end => end + 1,
            Some(end) => end,
            None => turn.end,
        };
        is_target[turn.start..last].fill(true);
        if end.is_none() && options.end && at + 1 == messages.len() {
            // The template leaves the end to who runs the model.
            if let Some(end) = text.tokenizer().eos() {
                tokens.push(end);
                is_target.push(true);
            }
        }
        if let Some(answer) = message.content.clone().filter(|answer| !answer.trim().is_empty()) {
            let answer_tokens = last.saturating_sub(turn.start);
            let check = Checker::Exact;
            question = Some(DataQuestion { prompt: before, answer, check, answer_tokens });
        }
    }
    Ok(Marked { tokens, is_target, question })
}
