//! Some value of whatever type is asked for, to stand in for one that is wrong until the rest has
//! been looked at. Nothing is ever made of it: what was decoded with a stand-in is thrown away.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::DecodeError;

/// A type that holds itself as its first variant would never end.
const MAX_DEPTH: u8 = 32;

/// A value of any type.
#[derive(Clone, Copy)]
pub(crate) struct StandIn {
    depth: u8,
}

type Decoded<T> = Result<T, DecodeError>;

impl StandIn {
    pub fn new() -> Self {
        Self { depth: 0 }
    }

    fn deeper(self) -> Decoded<Self> {
        if self.depth == MAX_DEPTH {
            return Err(DecodeError::new("a value is missing".into()));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

macro_rules! gives {
    ($($method:ident $visit:ident $value:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Decoded<V::Value> {
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for StandIn {
    type Error = DecodeError;

    gives! {
        deserialize_bool visit_bool false;
        // 1 and not 0, which `NonZero` types refuse.
        deserialize_i8 visit_i8 1;
        deserialize_i16 visit_i16 1;
        deserialize_i32 visit_i32 1;
        deserialize_i64 visit_i64 1;
        deserialize_u8 visit_u8 1;
        deserialize_u16 visit_u16 1;
        deserialize_u32 visit_u32 1;
        deserialize_u64 visit_u64 1;
        deserialize_f32 visit_f32 1.0;
        deserialize_f64 visit_f64 1.0;
        deserialize_char visit_char 'x';
        deserialize_str visit_str "x";
        deserialize_string visit_str "x";
        deserialize_identifier visit_str "x";
        deserialize_bytes visit_bytes b"";
        deserialize_byte_buf visit_bytes b"";
        // Both are empty, so nothing of them counts towards the depth.
        deserialize_seq visit_seq Repeated { of: StandIn::new(), left: 0 };
        deserialize_map visit_map Named { of: StandIn::new(), names: &[] };
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Decoded<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Decoded<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Decoded<V::Value> {
        visitor.visit_none()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Decoded<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Decoded<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Decoded<V::Value> {
        visitor.visit_newtype_struct(self.deeper()?)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Decoded<V::Value> {
        visitor.visit_seq(Repeated { of: self, left: length })
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
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Decoded<V::Value> {
        visitor.visit_map(Named { of: self, names })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Decoded<V::Value> {
        let first = variants.first().copied().unwrap_or_default();
        visitor.visit_enum(First { of: self, first })
    }

    serde::forward_to_deserialize_any! { i128 u128 }
}

struct Repeated {
    of: StandIn,
    left: usize,
}

impl<'de> SeqAccess<'de> for Repeated {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Decoded<Option<T::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.of.deeper()?).map(Some)
    }
}

struct Named {
    of: StandIn,
    names: &'static [&'static str],
}

impl<'de> MapAccess<'de> for Named {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Decoded<Option<K::Value>> {
        let Some((first, others)) = self.names.split_first() else { return Ok(None) };
        self.names = others;
        let name: StrDeserializer<'_, DecodeError> = (*first).into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Decoded<T::Value> {
        seed.deserialize(self.of.deeper()?)
    }
}

struct First {
    of: StandIn,
    first: &'static str,
}

impl<'de> EnumAccess<'de> for First {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Decoded<(V::Value, Self)> {
        let name: StrDeserializer<'_, DecodeError> = self.first.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for First {
    type Error = DecodeError;

    fn unit_variant(self) -> Decoded<()> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Decoded<T::Value> {
        seed.deserialize(self.of.deeper()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Decoded<V::Value> {
        self.of.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Decoded<V::Value> {
        visitor.visit_map(Named { of: self.of, names })
    }
}
