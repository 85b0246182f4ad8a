//! One line to what it says.

use super::check::Checker;
use crate::batch::Message;
use crate::batch::request::{LineProblems, messages_of, required};
use crate::content::decode::At;
use crate::content::{did_you_mean, json};
use crate::names::is_near;

/// What a line of training data says.
#[derive(Clone, Debug, PartialEq)]
pub struct DataLine {
    /// What is learnt.
    pub shape: LineShape,
    /// What each of its targets counts, above 0; 1 where the line does not say.
    pub weight: f32,
    /// How an answer is compared with the right one.
    pub check: Checker,
    /// The column of the field that targets come from, for messages.
    pub column: usize,
    /// Fields that nothing here reads.
    pub ignored: Vec<String>,
}

/// The shape of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum LineShape {
    /// `{"prompt", "completion"}`: what comes after a text.
    Completion {
        /// What the model is given.
        prompt: String,
        /// What it is to say.
        completion: String,
    },
    /// `{"messages"}`: a conversation for the model's chat template.
    Messages {
        /// The messages in order.
        messages: Vec<Message>,
        /// Whether an assistant's message is a target; false for every other one.
        is_target: Vec<bool>,
        /// What the chat template may read beside them: names and JSON.
        variables: Vec<(String, String)>,
    },
    /// `{"text"}`: a text as it is.
    Text(String),
}

/// The fields of a line.
const FIELDS: [&str; 7] = ["prompt", "completion", "messages", "text", "weight", "tools", "check"];

/// Reads a line.
///
/// # Errors
/// All that is wrong with it.
pub fn parse_data_line(line: &str) -> Result<DataLine, LineProblems> {
    let read = |whole: &At<'_>| {
        if !whole.has_fields("an object") {
            return None;
        }
        let (shape, column) = shape_of(whole)?;
        let is_misread = |field: &At<'_>| !FIELDS.contains(&field.name());
        let mut ignored = Vec::new();
        for field in whole.fields().filter(is_misread) {
            // What is spelt almost as a field of ours was to be one.
            match FIELDS.iter().any(|name| is_near(field.name(), name)) {
                true => field.wrong_name(format!("no such field{}", near(field.name()))),
                false => ignored.push(field.name().to_owned()),
            }
        }
        let weight = whole.field("weight").map_or(Some(1.0), |field| weight_of(&field))?;
        let check = whole.field("check").map_or(Some(Checker::Exact), |it| check_of(&it))?;
        Some(DataLine { shape, weight, check, column, ignored })
    };
    Ok(json::read(&json::without_lone_surrogates(line), read)?)
}

fn near(name: &str) -> String {
    did_you_mean(name, FIELDS)
}

fn weight_of(field: &At<'_>) -> Option<f32> {
    const EXPECTED: &str = "a number above 0";
    let weight: f32 = field.read(EXPECTED)?;
    if weight.is_finite() && weight > 0.0 {
        return Some(weight);
    }
    field.expected(EXPECTED);
    None
}

fn check_of(field: &At<'_>) -> Option<Checker> {
    const EXPECTED: &str =
        "\"exact\", {\"one_of\": [..]}, {\"number\": DISTANCE} or {\"pattern\": ..}";
    let Ok(check) = serde_json::from_str::<Checker>(field.json()) else {
        field.expected(EXPECTED);
        return None;
    };
    match check.problem() {
        Some(problem) => {
            field.wrong(problem);
            None
        }
        None => Some(check),
    }
}

fn shape_of(whole: &At<'_>) -> Option<(LineShape, usize)> {
    let column = |field: &At<'_>| field.place().column as usize;
    let is_there = |name: &str| whole.field(name).is_some();
    let is_pair = is_there("prompt") || is_there("completion");
    match (is_pair, whole.field("messages"), whole.field("text")) {
        (true, Some(other), _) | (true, _, Some(other)) => {
            other.wrong_name("expected a line of one shape, and `prompt` or `completion` is there");
            None
        }
        (_, Some(_), Some(text)) => {
            text.wrong_name("expected a line of one shape, and `messages` is there");
            None
        }
        (_, Some(messages), None) => {
            let shape = conversation(whole, &messages)?;
            Some((shape, column(&messages)))
        }
        (_, None, Some(text)) => {
            Some((LineShape::Text(text.text("a string")?.to_owned()), column(&text)))
        }
        (true, None, None) => {
            // Both are read, so that both are told of.
            let prompt = required(whole, "prompt").and_then(|it| it.text("a string"));
            let field = required(whole, "completion")?;
            let completion = field.text("a string")?.to_owned();
            let shape = LineShape::Completion { prompt: prompt?.to_owned(), completion };
            Some((shape, column(&field)))
        }
        (false, None, None) => {
            let misspelt = whole.fields().find(|field| !near(field.name()).is_empty());
            match misspelt {
                Some(field) => {
                    field.wrong_name(format!("no such field{}", near(field.name())));
                }
                None => whole.wrong(
                    "expected `prompt` and `completion`, or `messages`, or `text`, and none of \
                     them is there",
                ),
            }
            None
        }
    }
}

fn conversation(whole: &At<'_>, field: &At<'_>) -> Option<LineShape> {
    let mut messages = messages_of(field);
    let mut is_target = Vec::new();
    let items: Vec<At<'_>> = field.items().into_iter().flatten().collect();
    for (message, item) in messages.iter_mut().zip(&items) {
        // OpenAI's word for an assistant's turn that is not learnt.
        let learns = match item.field("weight") {
            None => true,
            Some(weight) => match weight.read::<f64>("0 or 1")? {
                0.0 => false,
                1.0 => true,
                _ => {
                    weight.expected("0 or 1");
                    return None;
                }
            },
        };
        message.rest.retain(|(name, _)| name != "weight");
        is_target.push(learns && message.role == "assistant");
    }
    let tools = whole.field("tools").filter(|tools| !tools.is_null());
    let variables = tools.map(|tools| ("tools".to_owned(), tools.json().to_owned()));
    Some(LineShape::Messages { messages, is_target, variables: variables.into_iter().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: &str) -> String {
        parse_data_line(line).unwrap_err().to_string()
    }

    #[test]
    fn three_shapes_are_read() {
        let line = parse_data_line(r#"{"prompt": "a", "completion": " b", "weight": 2}"#).unwrap();
        let shape = LineShape::Completion { prompt: "a".into(), completion: " b".into() };
        assert_eq!((line.shape, line.weight, line.column), (shape, 2.0, 31));
        let line = parse_data_line(r#"{"text": "a", "source": 7}"#).unwrap();
        assert_eq!(
            (line.shape, line.ignored),
            (LineShape::Text("a".into()), vec!["source".into()])
        );
        let turns = r#"{"messages": [{"role": "user", "content": "a"},
            {"role": "assistant", "content": "b", "weight": 0},
            {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}"#;
        let line = parse_data_line(&turns.replace('\n', " ")).unwrap();
        let LineShape::Messages { messages, is_target, .. } = line.shape else { panic!() };
        assert_eq!(is_target, [false, false, false, true]);
        assert!(messages.iter().all(|message| message.rest.is_empty()), "{messages:?}");
    }

    #[test]
    fn what_is_wrong_has_a_column_and_a_field() {
        for (line, expected) in [
            ("{", "column 1: not valid JSON"),
            ("[]", "column 1: expected an object"),
            (r#"{"prompt": "a"}"#, "`completion`"),
            (r#"{"prompt": "a", "completion": 5}"#, "column 31: `completion`: expected a string"),
            (r#"{"prompt": "a", "compleetion": "b"}"#, "did you mean `completion`?"),
            (r#"{"prompt": "a", "completion": "b", "wieght": 1}"#, "did you mean `weight`?"),
            (r#"{"prompt": "a", "completion": "b", "weight": 0}"#, "a number above 0"),
            (r#"{"text": "a", "messages": []}"#, "expected a line of one shape"),
            (r#"{"story": "a"}"#, "none of them is there"),
        ] {
            let found = problem(line);
            assert!(found.contains(expected), "{line}: {found}");
        }
    }
}
