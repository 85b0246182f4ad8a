//! JSON as a template's values, with the order of its fields, which templates print.

use std::fmt;

use minijinja::value::{Value, ValueKind};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::ChatError;

/// A value read from JSON.
pub(super) struct Json(pub Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any).map(Json)
    }
}

/// Shows each text in a field's JSON to `visit`.
pub(super) fn visit_texts(
    (name, json): &(String, String),
    visit: &mut dyn FnMut(&str),
) -> Result<(), ChatError> {
    let Json(value) = serde_json::from_str(json).map_err(|error| {
        let problem = format!("`{name}` cannot be given to it: {error}");
        ChatError::Render { problem }
    })?;
    visit(name);
    visit_value(&value, visit);
    Ok(())
}

fn visit_value(value: &Value, visit: &mut dyn FnMut(&str)) {
    if let Some(text) = value.as_str() {
        return visit(text);
    }
    // A map gives its names.
    for item in value.try_iter().into_iter().flatten() {
        visit_value(&item, visit);
        if let Ok(of_name) = value.get_item(&item)
            && value.kind() == ValueKind::Map
        {
            visit_value(&of_name, visit);
        }
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
