//! JSON as a template's values, with the order of its fields, which templates print.

use std::fmt;

use minijinja::value::{Value, ValueKind};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{ChatError, Mark};

/// A value read from JSON.
pub(super) struct Json(pub Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any).map(Json)
    }
}

/// The same names and JSON, with each of its texts marked.
pub(super) fn marked(
    fields: &[(String, String)],
    mark: Mark<'_>,
) -> Result<Vec<(String, String)>, ChatError> {
    let field = |(name, json): &(String, String)| {
        let failed = |error: &dyn fmt::Display| ChatError::Render {
            problem: format!("`{name}` cannot be given to it: {error}"),
        };
        let Json(value) = serde_json::from_str(json).map_err(|error| failed(&error))?;
        let value = marked_value(value, mark).map_err(|error| failed(&error))?;
        Ok((name.clone(), super::json::written(&value).map_err(|error| failed(&error))?))
    };
    fields.iter().map(field).collect()
}

fn marked_value(value: Value, mark: Mark<'_>) -> Result<Value, minijinja::Error> {
    if let Some(text) = value.as_str() {
        return Ok(Value::from(mark(text)));
    }
    match value.kind() {
        ValueKind::Seq => {
            let items = value.try_iter()?.map(|item| marked_value(item, mark));
            Ok(Value::from(items.collect::<Result<Vec<_>, _>>()?))
        }
        ValueKind::Map => {
            let pair = |key: Value| {
                let item = value.get_item(&key)?;
                Ok((marked_value(key, mark)?, marked_value(item, mark)?))
            };
            let pairs = value.try_iter()?.map(pair).collect::<Result<Vec<_>, minijinja::Error>>()?;
            Ok(Value::from_pairs(pairs))
        }
        _ => Ok(value),
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::from(()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Json(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::from(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields: Vec<(String, Value)> = Vec::new();
        while let Some((name, Json(value))) = map.next_entry()? {
            fields.push((name, value));
        }
        Ok(Value::from_pairs(fields))
    }
}
