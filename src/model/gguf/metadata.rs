//! The metadata pairs of a file, in their order, with typed access.

use std::ops::Deref;

use super::error::GgufError;
use super::{Array, Result, Strings, Value};
use crate::model::Encoding;

/// Metadata pairs in the order of the file. It derefs to a slice of pairs.
///
/// The typed getters give `None` where the key is absent and an error where its value is of another
/// type; a key that must be there is asked for with `.ok_or_else(|| GgufError::missing(key))`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata(Vec<(String, Value)>);

impl From<Vec<(String, Value)>> for Metadata {
    fn from(pairs: Vec<(String, Value)>) -> Self {
        Self(pairs)
    }
}

impl From<Metadata> for Vec<(String, Value)> {
    fn from(metadata: Metadata) -> Self {
        metadata.0
    }
}

impl Deref for Metadata {
    type Target = [(String, Value)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// The key under which files tell how most of their tensors are stored.
pub const FILE_TYPE: &str = "general.file_type";

/// The number that [`FILE_TYPE`] has for a file that is mostly in an encoding (llama.cpp's
/// `llama_ftype`).
#[must_use]
pub fn file_type(encoding: Encoding) -> u32 {
    match encoding {
        Encoding::F32 => 0,
        Encoding::F16 => 1,
        Encoding::Q4_0 => 2,
        Encoding::Q4_1 => 3,
        Encoding::Q8_0 => 7,
        Encoding::Q5_0 => 8,
        Encoding::Q5_1 => 9,
        Encoding::Q4_K => 15,
        Encoding::Q5_K => 17,
        Encoding::Q6_K => 18,
        Encoding::BF16 => 32,
    }
}

impl Metadata {
    /// The same pairs of a file that is mostly in an encoding; nothing is said where nothing was.
    #[must_use]
    pub fn with_file_type(mut self, encoding: Encoding) -> Self {
        for (key, value) in &mut self.0 {
            if key == FILE_TYPE {
                *value = Value::U32(file_type(encoding));
            }
        }
        self
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        // A scan, not a map: files have a few dozen pairs, and their order has to be kept.
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// An unsigned number; writers disagree on the size, so an integer of any type that fits is
    /// taken.
    ///
    /// # Errors
    /// Where the value is no integer or does not fit.
    pub fn u32(&self, key: &str) -> Result<Option<u32>> {
        self.integer(key, "u32")
    }

    /// An unsigned number, from an integer of any type that fits.
    ///
    /// # Errors
    /// Where the value is no integer or does not fit.
    pub fn u64(&self, key: &str) -> Result<Option<u64>> {
        self.integer(key, "u64")
    }

    /// A float, from either size.
    ///
    /// # Errors
    /// Where the value is no float.
    pub fn f32(&self, key: &str) -> Result<Option<f32>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::F32(value)) => Ok(Some(*value)),
            Some(Value::F64(value)) => Ok(Some(*value as f32)),
            Some(other) => Err(wrong_type(key, other, "f32")),
        }
    }

    /// A truth value.
    ///
    /// # Errors
    /// Where the value is no bool.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong_type(key, other, "bool")),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// Where the value is no string or is not UTF-8.
    pub fn str(&self, key: &str) -> Result<Option<&str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(value)) => match value.to_str() {
                Some(text) => Ok(Some(text)),
                None => Err(GgufError::InPair {
                    index: self.0.iter().position(|(known, _)| known == key).unwrap_or_default()
                        as u64,
                    key: key.to_owned(),
                    error: Box::new(GgufError::NotUtf8 {
                        field: "value",
                        found: format!("{value:?}"),
                    }),
                }),
            },
            Some(other) => Err(wrong_type(key, other, "string")),
        }
    }

    /// An array of any type.
    ///
    /// # Errors
    /// Where the value is no array.
    pub fn array(&self, key: &str) -> Result<Option<&Array>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(array)) => Ok(Some(array)),
            Some(other) => Err(wrong_type(key, other, "array")),
        }
    }

    /// An array of strings.
    ///
    /// # Errors
    /// Where the value is no array of strings.
    pub fn strings(&self, key: &str) -> Result<Option<&Strings>> {
        match self.array(key)? {
            None => Ok(None),
            Some(Array::String(strings)) => Ok(Some(strings)),
            Some(other) => Err(wrong_element(key, other, "string")),
        }
    }

    /// An array of floats.
    ///
    /// # Errors
    /// Where the value is no array of `f32`.
    pub(crate) fn f32s(&self, key: &str) -> Result<Option<&[f32]>> {
        match self.array(key)? {
            None => Ok(None),
            Some(Array::F32(values)) => Ok(Some(values)),
            Some(other) => Err(wrong_element(key, other, "f32")),
        }
    }

    /// An array of integers of any type.
    ///
    /// # Errors
    /// Where the value is no array of integers, or one does not fit an `i64`.
    pub(crate) fn i64s(&self, key: &str) -> Result<Option<Vec<i64>>> {
        match self.array(key)? {
            None => Ok(None),
            Some(array) => {
                array.to_i64s().map(Some).ok_or_else(|| wrong_element(key, array, "integers"))
            }
        }
    }

    /// The pairs whose key is not one of `keys`.
    #[must_use]
    pub fn without(self, keys: &[&str]) -> Self {
        Self(self.0.into_iter().filter(|(key, _)| !keys.contains(&key.as_str())).collect())
    }

    fn integer<T: TryFrom<i128>>(&self, key: &str, expected: &'static str) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let found = value.as_integer().ok_or_else(|| wrong_type(key, value, expected))?;
        match found.try_into() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(GgufError::OutOfRange { key: key.to_owned(), found, expected }),
        }
    }
}

fn wrong_type(key: &str, found: &Value, expected: &'static str) -> GgufError {
    GgufError::WrongType { key: key.to_owned(), found: found.value_type(), expected }
}

fn wrong_element(key: &str, found: &Array, expected: &'static str) -> GgufError {
    GgufError::WrongElement { key: key.to_owned(), found: found.element_type(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        Metadata::from(vec![
            ("wide".to_owned(), Value::U64(7)),
            ("huge".to_owned(), Value::U64(1 << 40)),
            ("negative".to_owned(), Value::I32(-1)),
            ("epsilon".to_owned(), Value::F32(1e-5)),
            ("flag".to_owned(), Value::Bool(true)),
            ("text".to_owned(), "hello".into()),
            ("odd".to_owned(), Value::String(vec![0xff].into())),
            ("ids".to_owned(), Value::Array(Array::I32(vec![1, -2]))),
            ("words".to_owned(), Value::Array(Array::String(["a", "b"].into_iter().collect()))),
        ])
    }

    #[test]
    fn getters_give_what_is_there() {
        let metadata = metadata();
        assert_eq!(metadata.u32("wide").unwrap(), Some(7));
        assert_eq!(metadata.u64("huge").unwrap(), Some(1 << 40));
        assert_eq!(metadata.f32("epsilon").unwrap(), Some(1e-5));
        assert_eq!(metadata.bool("flag").unwrap(), Some(true));
        assert_eq!(metadata.str("text").unwrap(), Some("hello"));
        assert_eq!(metadata.i64s("ids").unwrap(), Some(vec![1, -2]));
        assert_eq!(metadata.strings("words").unwrap().unwrap().get(1), Some(&b"b"[..]));
        assert_eq!(metadata.u32("absent").unwrap(), None);
        assert_eq!(metadata.strings("absent").unwrap(), None);
    }

    #[test]
    fn getters_name_the_key_and_both_types() {
        let metadata = metadata();
        for (error, words) in [
            (metadata.u32("huge").unwrap_err(), ["huge", "1099511627776", "u32"]),
            (metadata.u32("negative").unwrap_err(), ["negative", "-1", "u32"]),
            (metadata.u32("text").unwrap_err(), ["text", "string", "u32"]),
            (metadata.f32("wide").unwrap_err(), ["wide", "u64", "f32"]),
            (metadata.bool("wide").unwrap_err(), ["wide", "u64", "bool"]),
            (metadata.str("flag").unwrap_err(), ["flag", "bool", "string"]),
            (metadata.str("odd").unwrap_err(), ["odd", "value", "UTF-8"]),
            (metadata.strings("ids").unwrap_err(), ["ids", "i32", "string"]),
            (metadata.f32s("ids").unwrap_err(), ["ids", "i32", "f32"]),
            (metadata.i64s("words").unwrap_err(), ["words", "string", "integers"]),
            (metadata.array("text").unwrap_err(), ["text", "string", "array"]),
        ] {
            let message = error.to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
    }
}
