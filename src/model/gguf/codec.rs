//! Metadata pairs as bytes: the encoding of GGUF 3, which is that of GGUF 2. A PXI-LLM file holds
//! its metadata in the same encoding, as a block of its own.
//!
//! A pair is a key (length u64, bytes), a value type (u32) and the value; a string is as a key; an
//! array is an element type (u32), a count (u64) and the elements. All numbers are little-endian.

use std::collections::HashMap;
use std::io::Read;

use super::error::{At, GgufError};
use super::source::GgufSource;
use super::{Array, MAX_KEY_BYTES, MAX_PAIRS, Metadata, Result, Strings, Value, ValueType};

/// The bytes of the smallest pair: a key of one byte and a value of one byte.
pub(super) const MIN_PAIR_BYTES: u64 = 8 + 1 + 4 + 1;
/// The bytes of the smallest string.
const MIN_STRING_BYTES: u64 = 8;

/// The pairs in the encoding of GGUF 3, without a count.
#[must_use]
pub fn metadata_bytes(pairs: &[(String, Value)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in pairs {
        put_string(&mut bytes, key.as_bytes());
        put_u32(&mut bytes, value.value_type().number());
        put_value(&mut bytes, value);
    }
    bytes
}

/// Reads `count` pairs that fill `bytes` exactly.
///
/// # Errors
/// Where the bytes are not `count` pairs with different keys.
pub fn parse_metadata(bytes: &[u8], count: u64) -> Result<Metadata> {
    let mut source = GgufSource::new(bytes, bytes.len() as u64);
    source.check_count("pair count", count, MIN_PAIR_BYTES, MAX_PAIRS)?;
    // A count that is too small leaves bytes over, which is refused below: none may go unread.
    let metadata = read_pairs(&mut source, count)?;
    match source.remaining() {
        0 => Ok(metadata),
        count => Err(GgufError::Trailing { field: "pairs", count }),
    }
}

/// Reads `count` pairs; the caller has compared `count` with the bytes that remain.
pub(super) fn read_pairs<R: Read>(source: &mut GgufSource<R>, count: u64) -> Result<Metadata> {
    // Without capacity: a pair takes more in memory than the 14 bytes that it may have in the file,
    // so a count alone must reserve nothing.
    let mut pairs: Vec<(String, Value)> = Vec::new();
    let mut seen = HashMap::new();
    for index in 0..count {
        let key = source.name("key", MAX_KEY_BYTES).in_pair(index, "")?;
        if let Some(first) = seen.insert(key.clone(), index) {
            return Err(GgufError::DuplicateKey { key: key.clone(), first }).in_pair(index, &key);
        }
        let value = read_value(source).in_pair(index, &key)?;
        pairs.push((key, value));
    }
    Ok(Metadata::from(pairs))
}

fn read_type<R: Read>(source: &mut GgufSource<R>, field: &'static str) -> Result<ValueType> {
    let found = source.u32(field)?;
    ValueType::from_number(found).ok_or(GgufError::UnknownValueType { field, found })
}

fn read_value<R: Read>(source: &mut GgufSource<R>) -> Result<Value> {
    const FIELD: &str = "value";
    Ok(match read_type(source, "value type")? {
        ValueType::U8 => Value::U8(u8::from_le_bytes(source.bytes(FIELD)?)),
        ValueType::I8 => Value::I8(i8::from_le_bytes(source.bytes(FIELD)?)),
        ValueType::U16 => Value::U16(u16::from_le_bytes(source.bytes(FIELD)?)),
        ValueType::I16 => Value::I16(i16::from_le_bytes(source.bytes(FIELD)?)),
        ValueType::U32 => Value::U32(source.u32(FIELD)?),
        ValueType::I32 => Value::I32(i32::from_le_bytes(source.bytes(FIELD)?)),
        ValueType::F32 => Value::F32(f32::from_le_bytes(source.bytes(FIELD)?)),
        ValueType::Bool => Value::Bool(bool_of(FIELD, source.bytes(FIELD)?)?),
        ValueType::String => Value::String(source.string(FIELD)?),
        ValueType::Array => Value::Array(read_array(source)?),
        ValueType::U64 => Value::U64(source.u64(FIELD)?),
        ValueType::I64 => Value::I64(i64::from_le_bytes(source.bytes(FIELD)?)),
        ValueType::F64 => Value::F64(f64::from_le_bytes(source.bytes(FIELD)?)),
    })
}

fn read_array<R: Read>(source: &mut GgufSource<R>) -> Result<Array> {
    const FIELD: &str = "array element";
    let element_type = read_type(source, "array element type")?;
    let count = source.u64("array length")?;
    // One byte an element is the least; each type compares again with its own size.
    source.check_count("array length", count, 1, u64::MAX)?;
    Ok(match element_type {
        ValueType::U8 => Array::U8(source.elements(FIELD, count, |b| Ok(u8::from_le_bytes(b)))?),
        ValueType::I8 => Array::I8(source.elements(FIELD, count, |b| Ok(i8::from_le_bytes(b)))?),
        ValueType::U16 => Array::U16(source.elements(FIELD, count, |b| Ok(u16::from_le_bytes(b)))?),
        ValueType::I16 => Array::I16(source.elements(FIELD, count, |b| Ok(i16::from_le_bytes(b)))?),
        ValueType::U32 => Array::U32(source.elements(FIELD, count, |b| Ok(u32::from_le_bytes(b)))?),
        ValueType::I32 => Array::I32(source.elements(FIELD, count, |b| Ok(i32::from_le_bytes(b)))?),
        ValueType::F32 => Array::F32(source.elements(FIELD, count, |b| Ok(f32::from_le_bytes(b)))?),
        ValueType::Bool => Array::Bool(source.elements(FIELD, count, |b| bool_of(FIELD, b))?),
        ValueType::String => Array::String(read_strings(source, count)?),
        // No recursion, so no file can nest deep enough to exhaust the stack.
        ValueType::Array => return Err(GgufError::NestedArray),
        ValueType::U64 => Array::U64(source.elements(FIELD, count, |b| Ok(u64::from_le_bytes(b)))?),
        ValueType::I64 => Array::I64(source.elements(FIELD, count, |b| Ok(i64::from_le_bytes(b)))?),
        ValueType::F64 => Array::F64(source.elements(FIELD, count, |b| Ok(f64::from_le_bytes(b)))?),
    })
}

fn read_strings<R: Read>(source: &mut GgufSource<R>, count: u64) -> Result<Strings> {
    const FIELD: &str = "array element";
    source.check_count("array length", count, MIN_STRING_BYTES, usize::MAX as u64)?;
    // The check bounds the count by `usize::MAX` too. Room for an end is the 8 bytes that a
    // string's length takes in the file.
    let mut strings = Strings::with_room(count as usize);
    for _ in 0..count {
        let length = source.u64(FIELD)?;
        strings.push_with(|bytes| source.append(FIELD, length, bytes))?;
    }
    Ok(strings)
}

fn bool_of(field: &'static str, [byte]: [u8; 1]) -> Result<bool> {
    match byte {
        // The format calls any other byte invalid, and it would not come back on the way to GGUF.
        0 => Ok(false),
        1 => Ok(true),
        found => Err(GgufError::NotBool { field, found }),
    }
}

fn put_value(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(value) => bytes.extend(value.to_le_bytes()),
        Value::I8(value) => bytes.extend(value.to_le_bytes()),
        Value::U16(value) => bytes.extend(value.to_le_bytes()),
        Value::I16(value) => bytes.extend(value.to_le_bytes()),
        Value::U32(value) => bytes.extend(value.to_le_bytes()),
        Value::I32(value) => bytes.extend(value.to_le_bytes()),
        Value::F32(value) => bytes.extend(value.to_le_bytes()),
        Value::Bool(value) => bytes.push(u8::from(*value)),
        Value::String(value) => put_string(bytes, value.as_bytes()),
        Value::Array(array) => put_array(bytes, array),
        Value::U64(value) => bytes.extend(value.to_le_bytes()),
        Value::I64(value) => bytes.extend(value.to_le_bytes()),
        Value::F64(value) => bytes.extend(value.to_le_bytes()),
    }
}

fn put_array(bytes: &mut Vec<u8>, array: &Array) {
    put_u32(bytes, array.element_type().number());
    put_u64(bytes, array.len() as u64);
    match array {
        Array::U8(values) => bytes.extend(values),
        Array::I8(values) => bytes.extend(values.iter().map(|value| value.cast_unsigned())),
        Array::U16(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::I16(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::U32(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::I32(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::F32(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::Bool(values) => bytes.extend(values.iter().map(|value| u8::from(*value))),
        Array::String(strings) => strings.iter().for_each(|string| put_string(bytes, string)),
        Array::U64(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::I64(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Array::F64(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
    }
}

pub(super) fn put_string(bytes: &mut Vec<u8>, string: &[u8]) {
    put_u64(bytes, string.len() as u64);
    bytes.extend_from_slice(string);
}

pub(super) fn put_u32(bytes: &mut Vec<u8>, value: u32) {
    bytes.extend(value.to_le_bytes());
}

pub(super) fn put_u64(bytes: &mut Vec<u8>, value: u64) {
    bytes.extend(value.to_le_bytes());
}
