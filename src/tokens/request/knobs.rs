//! The fields that change how a request is answered, the same in both shapes of line.
//!
//! | field | takes |
//! |---|---|
//! | `max_tokens`, `max_completion_tokens` | a whole number; 0 only looks at the prompt |
//! | `temperature`, `top_p`, `min_p`, `top_k` | see [`SamplingParams`](crate::tokens::SamplingParams) |
//! | `repeat_penalty`, `repeat_last_n`, `frequency_penalty`, `presence_penalty` | the same |
//! | `seed` | a whole number |
//! | `stop` | a string, or a list of up to 16 |
//! | `logit_bias` | an object from token id to a number |
//! | `logprobs` | `true`, or how many alternatives; `top_logprobs`: how many |
//! | `prompt_logprobs` | the same for the prompt |
//! | `echo` | whether a completion's text begins with its prompt |
//! | `n`, `best_of` | only 1 |
//!
//! A `null` is as good as no field.

use super::error::{LineProblem, Problem};
use super::fields::Field;
use super::{MAX_STOPS, MAX_TOP_LOGPROBS, Request};
use crate::tokens::sampling::{BIAS, MIN_P, PENALTY, REPEAT_PENALTY, Range, TEMPERATURE, TOP_P};

/// Every knob, for the hint at a misspelt field.
pub(super) const NAMES: &[&str] = &[
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repeat_penalty",
    "repeat_last_n",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "stop",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "prompt_logprobs",
    "echo",
    "n",
    "best_of",
];

/// Fields of OpenAI's body that cannot change an answer here, or say what the command line says.
const WITHOUT_EFFECT: &[&str] = &["model", "user", "metadata", "store", "service_tier", "stream_options"];

/// Fields of OpenAI's body whose absence would silently change what an answer means.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("tools", "calling tools"),
    ("tool_choice", "calling tools"),
    ("functions", "calling functions"),
    ("function_call", "calling functions"),
    ("response_format", "forcing the form of an answer"),
    ("suffix", "filling in before a suffix"),
];

/// What became of a field.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// It is in the request now.
    Known,
    /// No knob has this name.
    Unknown,
}

/// Puts a knob's value into the request.
pub(super) fn apply(request: &mut Request, field: &Field<'_>) -> Result<Applied, LineProblem> {
    let name = field.name.as_ref();
    if field.is_null() && (NAMES.contains(&name) || UNSUPPORTED.iter().any(|(other, _)| *other == name)) {
        return Ok(Applied::Known);
    }
    let sampling = &mut request.sampling;
    match name {
        "max_tokens" | "max_completion_tokens" => request.max_tokens = whole(field, u32::MAX)?,
        "temperature" => sampling.temperature = number(field, &TEMPERATURE)?,
        "top_p" => sampling.top_p = number(field, &TOP_P)?,
        "top_k" => sampling.top_k = whole(field, u32::MAX)?,
        "min_p" => sampling.min_p = number(field, &MIN_P)?,
        "repeat_penalty" => sampling.repeat_penalty = number(field, &REPEAT_PENALTY)?,
        "repeat_last_n" => sampling.repeat_last_n = whole(field, u32::MAX)?,
        "frequency_penalty" => sampling.frequency_penalty = number(field, &PENALTY)?,
        "presence_penalty" => sampling.presence_penalty = number(field, &PENALTY)?,
        "seed" => {
            // A negative seed is taken by its bits: OpenAI allows any 64-bit integer.
            sampling.seed = match field.read::<i64>("") {
                Ok(seed) => seed.cast_unsigned(),
                Err(_) => field.read("a whole number of 64 bits")?,
            };
            request.stream = 0;
        }
        "stop" => request.stop = stops(field)?,
        "logit_bias" => sampling.logit_bias = biases(field)?,
        "logprobs" => request.logprobs = alternatives(field, request.logprobs)?,
        "top_logprobs" => request.logprobs = Some(whole(field, MAX_TOP_LOGPROBS)?),
        "prompt_logprobs" => request.prompt_logprobs = alternatives(field, request.prompt_logprobs)?,
        "echo" => request.echo = field.read("true or false")?,
        "n" | "best_of" => {
            if field.read::<u64>("1")? != 1 {
                return Err(field.expected("1: give the prompt several ids instead"));
            }
        }
        "stream" if field.read::<bool>("true or false").is_ok() => {}
        _ if WITHOUT_EFFECT.contains(&name) => {}
        _ => {
            return match UNSUPPORTED.iter().find(|(other, _)| *other == name) {
                Some((_, what)) => Err(field.at_name(Problem::Unsupported(what))),
                None => Ok(Applied::Unknown),
            };
        }
    }
    Ok(Applied::Known)
}

fn number(field: &Field<'_>, range: &Range) -> Result<f32, LineProblem> {
    let value: f64 = field.read(range.text)?;
    if range.holds(value) { Ok(value as f32) } else { Err(field.expected(range.text)) }
}

fn whole(field: &Field<'_>, most: u32) -> Result<u32, LineProblem> {
    let expected = format!("a whole number from 0 to {most}");
    let value: u32 = field.read(&expected)?;
    if value <= most { Ok(value) } else { Err(field.expected(expected)) }
}

/// `true` keeps what `top_logprobs` may have said before, `false` is none, a number is that many.
fn alternatives(field: &Field<'_>, before: Option<u32>) -> Result<Option<u32>, LineProblem> {
    if let Ok(wanted) = field.read::<bool>("") {
        return Ok(wanted.then(|| before.unwrap_or(0)));
    }
    let expected = format!("true, false or a whole number from 0 to {MAX_TOP_LOGPROBS}");
    match field.read::<u32>(&expected)? {
        count if count <= MAX_TOP_LOGPROBS => Ok(Some(count)),
        _ => Err(field.expected(expected)),
    }
}

fn stops(field: &Field<'_>) -> Result<Vec<String>, LineProblem> {
    let expected = format!("a string or a list of up to {MAX_STOPS} strings");
    let elements = field.elements().unwrap_or_else(|| vec![field.clone()]);
    if elements.len() > MAX_STOPS {
        return Err(field.expected(format!("at most {MAX_STOPS} stop strings")));
    }
    let stop = |element: &Field<'_>| match element.string(&expected)? {
        stop if stop.is_empty() => Err(element.expected("a string that is not empty")),
        stop => Ok(stop.into_owned()),
    };
    elements.iter().map(stop).collect()
}

fn biases(field: &Field<'_>) -> Result<Vec<(u32, f32)>, LineProblem> {
    let entries = field.object("an object from token id to a number")?;
    let bias = |entry: &Field<'_>| {
        let token = entry.name.parse().map_err(|_| {
            let found = format!("{:?}", entry.name);
            entry.at_name(Problem::Expected { expected: "a token id".into(), found })
        })?;
        Ok((token, number(entry, &BIAS)?))
    };
    entries.iter().map(bias).collect()
}
