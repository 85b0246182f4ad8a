//! What a run is of: a checkpoint of another run is refused by the name of what differs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::training::run::RunSettings;

/// What a run's numbers follow from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunIdentity {
    /// The root hash of the model, in hexadecimal.
    pub base: String,
    /// SHA-256 of the training data.
    pub data: String,
    /// SHA-256 of the validation data, if there is any.
    pub valid: Option<String>,
    /// SHA-256 of the adapter that it began with, if there was one.
    pub start: Option<String>,
    /// What was asked for.
    pub settings: RunSettings,
}

/// What people call a value: by how it is given.
const NAMES: [(&str, &str); 24] = [
    ("base", "the model"),
    ("data", "the training data"),
    ("valid", "the validation data (--valid)"),
    ("start", "what it begins with (--lora, --from-scratch)"),
    ("settings.training.what", "--full"),
    ("settings.training.what.Lora.rank", "--rank"),
    ("settings.training.what.Lora.alpha", "--alpha"),
    ("settings.training.what.Lora.rank_stabilised", "--rslora"),
    ("settings.training.what.Lora.dropout", "--dropout"),
    ("settings.training.what.Lora.targets", "--target"),
    ("settings.training.what.Lora.layers", "--layers"),
    ("settings.training.optimizer.weight_decay", "--weight-decay"),
    ("settings.training.optimizer.clip", "--clip"),
    ("settings.training.schedule.decay", "--schedule"),
    ("settings.training.schedule.rate", "--lr"),
    ("settings.training.schedule.least", "the least rate (--lr)"),
    ("settings.training.schedule.warmup", "the steps of --warmup"),
    ("settings.training.schedule.steps", "the number of steps"),
    ("settings.training.seed", "--seed"),
    ("settings.batch_tokens", "--batch-tokens"),
    ("settings.epochs", "--epochs"),
    ("settings.data", "how lines are read"),
    ("settings.evaluate_every", "--eval-every"),
    ("settings", "the settings"),
];

impl RunIdentity {
    /// What differs from a run that was kept, each with both values; empty where it is the same.
    pub fn differences(&self, kept: &Self) -> Vec<String> {
        let values =
            [kept, self].map(|identity| serde_json::to_value(identity).unwrap_or_default());
        let mut found = Vec::new();
        compare("", &values[0], &values[1], &mut found);
        found
    }
}

fn compare(path: &str, kept: &Value, now: &Value, found: &mut Vec<String>) {
    match (kept, now) {
        (Value::Object(kept), Value::Object(now)) if kept.keys().eq(now.keys()) => {
            for (name, kept) in kept {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&path, kept, &now[name], found);
            }
        }
        _ if kept == now => (),
        _ => {
            let name = NAMES.iter().find(|(known, _)| *known == path);
            let name = name.map_or(path, |(_, name)| name);
            found.push(format!("{name} was {} and is {}", shown(kept), shown(now)));
        }
    }
}

/// A value in few letters: of a digest its beginning.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) if text.len() == 64 => format!("{}..", &text[..12]),
        Value::String(text) => text.clone(),
        // A 32-bit float as a double has digits that nobody wrote.
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map_or_else(String::new, |it| (it as f32).to_string())
        }
        other => other.to_string(),
    }
}
