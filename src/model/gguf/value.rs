//! The values of metadata pairs: the 13 types of the format, arrays typed and flat.

use std::fmt;

use super::{GgufString, Strings};

/// The type of a value; the discriminant is the number in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names are the format's")]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    /// Every type, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::String,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    /// The type with this number.
    #[must_use]
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        // The numbers are successive from 0, so that the place in the list is the number.
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// The number in the file.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        })
    }
}

/// The value of a metadata pair. Equality is that of the numbers, so a NaN is not equal to itself;
/// to ask whether two lists of pairs are the same in a file, compare their
/// [`metadata_bytes`](super::metadata_bytes).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the format's")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(GgufString),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Value {
    /// The type of this value.
    #[must_use]
    pub const fn value_type(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
            Self::Bool(_) => ValueType::Bool,
            Self::String(_) => ValueType::String,
            Self::Array(_) => ValueType::Array,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }

    /// The number, where this is an integer of any size.
    #[must_use]
    pub(crate) fn as_integer(&self) -> Option<i128> {
        // In 128 bits, which hold both u64 and i64.
        Some(match *self {
            Self::U8(value) => value.into(),
            Self::I8(value) => value.into(),
            Self::U16(value) => value.into(),
            Self::I16(value) => value.into(),
            Self::U32(value) => value.into(),
            Self::I32(value) => value.into(),
            Self::U64(value) => value.into(),
            Self::I64(value) => value.into(),
            _ => return None,
        })
    }
}

/// A string value from text.
impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

/// An array value: elements of one type, none of which is an array.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the format's")]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    String(Strings),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

impl Array {
    /// The type of the elements.
    #[must_use]
    pub const fn element_type(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
            Self::Bool(_) => ValueType::Bool,
            Self::String(_) => ValueType::String,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::I8(values) => values.len(),
            Self::U16(values) => values.len(),
            Self::I16(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::Bool(values) => values.len(),
            Self::String(values) => values.len(),
            Self::U64(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// True where there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, where they are integers that fit an `i64`.
    #[must_use]
    pub(crate) fn to_i64s(&self) -> Option<Vec<i64>> {
        match self {
            Self::U8(values) => Some(values.iter().map(|value| (*value).into()).collect()),
            Self::I8(values) => Some(values.iter().map(|value| (*value).into()).collect()),
            Self::U16(values) => Some(values.iter().map(|value| (*value).into()).collect()),
            Self::I16(values) => Some(values.iter().map(|value| (*value).into()).collect()),
            Self::U32(values) => Some(values.iter().map(|value| (*value).into()).collect()),
            Self::I32(values) => Some(values.iter().map(|value| (*value).into()).collect()),
            Self::U64(values) => values.iter().map(|value| (*value).try_into().ok()).collect(),
            Self::I64(values) => Some(values.clone()),
            Self::F32(_) | Self::F64(_) | Self::Bool(_) | Self::String(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_their_numbers() {
        for (number, value_type) in (0..).zip(ValueType::ALL) {
            assert_eq!(value_type.number(), number);
            assert_eq!(ValueType::from_number(number), Some(value_type));
        }
        assert_eq!(ValueType::from_number(13), None);
        assert_eq!(ValueType::from_number(u32::MAX), None);
    }

    #[test]
    fn integers_of_every_size_are_integers() {
        assert_eq!(Value::U64(u64::MAX).as_integer(), Some(u64::MAX.into()));
        assert_eq!(Value::I8(-1).as_integer(), Some(-1));
        assert_eq!(Value::Bool(true).as_integer(), None);
        assert_eq!(Value::F32(1.0).as_integer(), None);
        assert_eq!(Array::U64(vec![u64::MAX]).to_i64s(), None);
        assert_eq!(Array::U16(vec![7]).to_i64s(), Some(vec![7]));
        assert_eq!(Array::Bool(vec![]).to_i64s(), None);
    }
}
