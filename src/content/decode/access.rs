//! serde's view of a node and of what lies inside it.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::stand_in::StandIn;
use super::{DecodeError, Findings, unknown_field};
use crate::content::problem::Problem;
use crate::content::tree::{Field, Node, Place, Value};

/// The way to a node, as a chain on the stack.
#[derive(Clone, Copy)]
pub enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A node on its way into a schema, or read step by step.
#[derive(Clone, Copy)]
pub struct At<'a> {
    pub(super) node: &'a Node,
    pub(super) path: Path<'a>,
    /// Where the field's name stands, of a field.
    pub(super) name_place: &'a Place,
    pub(super) findings: &'a Findings<'a>,
    /// Whether a name before the parentheses was taken for a variant already.
    pub(super) is_content: bool,
}

type Decoded<T> = Result<T, DecodeError>;

impl<'a> At<'a> {
    /// The whole of a text.
    pub(in crate::content) fn root(node: &'a Node, findings: &'a Findings<'a>) -> Self {
        Self { node, path: Path::Root, name_place: &node.place, findings, is_content: false }
    }

    pub(super) fn inside<'b>(&'b self, node: &'b Node, path: Path<'b>) -> At<'b> {
        At { node, path, name_place: &node.place, findings: self.findings, is_content: false }
    }

    fn is_bad(&self) -> bool {
        self.findings.bad.borrow().contains(&std::ptr::from_ref(self.node))
    }

    fn unlike<'de, V: Visitor<'de>>(&self, visitor: &V) -> DecodeError {
        DecodeError::invalid_type(Unexpected::Other(&self.node.value.describe()), visitor)
            .placed(self)
    }

    fn any<'de, V: Visitor<'de>>(self, visitor: V) -> Decoded<V::Value> {
        let visited = match &self.node.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Signed(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Char(value) => visitor.visit_char(*value),
            Value::Text(value) => visitor.visit_str(value),
            // Most likely a text that lacks its quotes; only `deserialize_any` takes a name for
            // one.
            Value::Name(_) => return Err(self.unlike(&visitor)),
            Value::List(items) => visitor.visit_seq(Items { at: &self, items, next: 0 }),
            // `()` is RON's unit.
            Value::Tuple(_, items) if items.is_empty() => visitor.visit_unit(),
            Value::Tuple(_, items) => visitor.visit_seq(Items { at: &self, items, next: 0 }),
            Value::Map(pairs) => {
                visitor.visit_map(Pairs { at: &self, pairs, next: 0, value: None })
            }
            Value::Struct(_, fields) => {
                visitor.visit_map(Fields { at: &self, fields, known: None, missing: &[], next: 0 })
            }
        };
        visited.map_err(|error| error.placed(&self))
    }

    fn visit_fields<'de, V: Visitor<'de>>(
        &self,
        known: &'static [&'static str],
        fields: &[Field],
        visitor: V,
    ) -> Decoded<V::Value> {
        let missing = self
            .findings
            .missing
            .borrow()
            .get(&std::ptr::from_ref(self.node))
            .cloned()
            .unwrap_or_default();
        for field in fields.iter().filter(|field| !known.contains(&field.name.as_str())) {
            // Each message compares the name with all that are known, which a million unknown
            // fields are spared.
            if self.findings.is_full() {
                break;
            }
            let path = Path::Field(&self.path, &field.name).to_string();
            let is_of_now =
                |name: &&&str| !self.findings.renamed.iter().any(|(old, _)| old == *name);
            let of_now: Vec<&str> = known.iter().filter(is_of_now).copied().collect();
            let message = unknown_field(&field.name, &of_now);
            self.findings.push(Problem::at(&field.place, Some(&path), message));
        }
        let access = Fields { at: self, fields, known: Some(known), missing: &missing, next: 0 };
        visitor.visit_map(access).map_err(|error| error.placed(self))
    }
}

macro_rules! scalar {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Decoded<V::Value> {
            if self.is_bad() { StandIn::new().$method(visitor) } else { self.any(visitor) }
        }
    )*};
}

impl<'de> Deserializer<'de> for At<'_> {
    type Error = DecodeError;

    scalar! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32
        deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_unit deserialize_seq deserialize_map
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Decoded<V::Value> {
        match &self.node.value {
            Value::Name(name) => {
                visitor.visit_str(name).map_err(|error: DecodeError| error.placed(&self))
            }
            _ => self.any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Decoded<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Decoded<V::Value> {
        self.deserialize_any(visitor)
    }

    /// `None`, `Some(value)`, or the value alone.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Decoded<V::Value> {
        match &self.node.value {
            _ if self.is_bad() => visitor.visit_none(),
            Value::Name(name) if name == "None" => visitor.visit_none(),
            Value::Tuple(Some(name), items) if name == "Some" && items.len() == 1 => {
                visitor.visit_some(self.inside(&items[0], self.path))
            }
            // `Some(a: 1)`: the parentheses of what is inside are left out, and the name was the
            // option's.
            Value::Tuple(Some(name), _) | Value::Struct(Some(name), _) if name == "Some" => {
                visitor.visit_some(At { is_content: true, ..self })
            }
            // `Some` may be left out: specs/mods.md, Errors.
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Decoded<V::Value> {
        match &self.node.value {
            Value::Name(found) if found == name => visitor.visit_unit(),
            _ => self.deserialize_unit(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Decoded<V::Value> {
        match &self.node.value {
            Value::Tuple(found, items)
                if items.len() == 1 && found.as_deref().is_none_or(|found| found == name) =>
            {
                visitor.visit_newtype_struct(self.inside(&items[0], self.path))
            }
            // So may a newtype's parentheses.
            _ => visitor.visit_newtype_struct(self),
        }
        .map_err(|error| error.placed(&self))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Decoded<V::Value> {
        if self.is_bad() {
            return StandIn::new().deserialize_tuple(length, visitor);
        }
        let (Value::Tuple(_, items) | Value::List(items)) = &self.node.value else {
            return Err(self.unlike(&visitor));
        };
        // The visitor tells of too few; of too many it would not hear.
        if items.len() > length {
            return Err(DecodeError::invalid_length(items.len(), &visitor).placed(&self));
        }
        visitor.visit_seq(Items { at: &self, items, next: 0 }).map_err(|error| error.placed(&self))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Decoded<V::Value> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Decoded<V::Value> {
        if self.is_bad() {
            return StandIn::new().deserialize_struct(name, known, visitor);
        }
        let is_named = |found: &Option<String>| {
            self.is_content || found.as_deref().is_none_or(|found| found == name)
        };
        match &self.node.value {
            Value::Struct(found, fields) if is_named(found) => {
                self.visit_fields(known, fields, visitor)
            }
            // `()` and `Name()`: the parser cannot tell a struct that leaves out all fields from a
            // tuple.
            Value::Tuple(found, items) if items.is_empty() && is_named(found) => {
                self.visit_fields(known, &[], visitor)
            }
            Value::Name(found) if found == name => self.visit_fields(known, &[], visitor),
            _ => Err(self.unlike(&visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Decoded<V::Value> {
        if self.is_bad() {
            return StandIn::new().deserialize_enum(name, variants, visitor);
        }
        let (Value::Name(variant)
        | Value::Tuple(Some(variant), _)
        | Value::Struct(Some(variant), _)) = &self.node.value
        else {
            let message = format!(
                "expected {}, found {}",
                super::one_of(variants),
                self.node.value.describe()
            );
            return Err(DecodeError::new(message).placed(&self));
        };
        visitor
            .visit_enum(Variant { at: &self, name: variant })
            .map_err(|error| error.placed(&self))
    }

    forward_to_deserialize_any! { i128 u128 }
}

struct Items<'a> {
    at: &'a At<'a>,
    items: &'a [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Decoded<Option<T::Value>> {
        let Some(node) = self.items.get(self.next) else { return Ok(None) };
        let at = self.at.inside(node, Path::Index(&self.at.path, self.next));
        self.next += 1;
        seed.deserialize(at).map(Some).map_err(|error| error.placed(&at))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Pairs<'a> {
    at: &'a At<'a>,
    pairs: &'a [(Node, Node)],
    next: usize,
    value: Option<(&'a Node, String)>,
}

impl<'de> MapAccess<'de> for Pairs<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Decoded<Option<K::Value>> {
        let Some((key, value)) = self.pairs.get(self.next) else { return Ok(None) };
        self.next += 1;
        let name = match &key.value {
            Value::Text(text) | Value::Name(text) => text.clone(),
            other => other.describe(),
        };
        let at = self.at.inside(key, Path::Field(&self.at.path, &name));
        let decoded = seed.deserialize(at).map_err(|error| error.placed(&at))?;
        self.value = Some((value, name));
        Ok(Some(decoded))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Decoded<T::Value> {
        let (node, name) = self.value.take().expect("serde asks for a key before its value");
        let at = self.at.inside(node, Path::Field(&self.at.path, &name));
        seed.deserialize(at).map_err(|error| error.placed(&at))
    }
}

struct Fields<'a> {
    at: &'a At<'a>,
    fields: &'a [Field],
    /// The schema's fields, where it says; others were reported and are left out.
    known: Option<&'static [&'static str]>,
    /// Fields that stand-ins are given for.
    missing: &'a [&'static str],
    next: usize,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Decoded<Option<K::Value>> {
        let is_known =
            |field: &Field| self.known.is_none_or(|known| known.contains(&field.name.as_str()));
        while self.fields.get(self.next).is_some_and(|field| !is_known(field)) {
            self.next += 1;
        }
        let name = match self.fields.get(self.next) {
            Some(field) => field.name.as_str(),
            // Here `next` has passed all fields: it goes on through those that are missing.
            None => match self.missing.get(self.next - self.fields.len()) {
                Some(name) => name,
                None => return Ok(None),
            },
        };
        let name: StrDeserializer<'_, DecodeError> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Decoded<T::Value> {
        let field = self.fields.get(self.next);
        self.next += 1;
        let Some(field) = field else { return seed.deserialize(StandIn::new()) };
        let at = self.at.inside(&field.node, Path::Field(&self.at.path, &field.name));
        seed.deserialize(at).map_err(|error| error.placed(&at))
    }
}

struct Variant<'a> {
    at: &'a At<'a>,
    name: &'a str,
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Decoded<(V::Value, Self)> {
        let name: StrDeserializer<'_, DecodeError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl Variant<'_> {
    fn wants(&self, what: &str) -> DecodeError {
        let found = match &self.at.node.value {
            Value::Name(_) => "none".into(),
            other => other.describe(),
        };
        DecodeError::new(format!("`{}` takes {what}, found {found}", self.name)).placed(self.at)
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = DecodeError;

    fn unit_variant(self) -> Decoded<()> {
        match &self.at.node.value {
            Value::Name(_) => Ok(()),
            Value::Tuple(_, items) if items.is_empty() => Ok(()),
            _ => Err(self.wants("no values")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Decoded<T::Value> {
        match &self.at.node.value {
            Value::Name(_) => Err(self.wants(&format!("a value, as in `{}(...)`", self.name))),
            Value::Tuple(_, items) if items.len() == 1 => {
                let at = self.at.inside(&items[0], Path::Index(&self.at.path, 0));
                seed.deserialize(at).map_err(|error| error.placed(&at))
            }
            // `Name(a: 1)`: the newtype's parentheses are left out, and the name was the variant's.
            _ => seed.deserialize(At { is_content: true, ..*self.at }),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Decoded<V::Value> {
        match &self.at.node.value {
            Value::Tuple(_, items) if items.len() <= length => visitor
                .visit_seq(Items { at: self.at, items, next: 0 })
                .map_err(|error| error.placed(self.at)),
            _ => Err(self.wants(&format!("{length} values"))),
        }
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        known: &'static [&'static str],
        visitor: V,
    ) -> Decoded<V::Value> {
        match &self.at.node.value {
            Value::Struct(_, fields) => self.at.visit_fields(known, fields, visitor),
            Value::Tuple(_, items) if items.is_empty() => self.at.visit_fields(known, &[], visitor),
            _ => Err(self.wants("fields")),
        }
    }
}
