//! What lies on the map: things of a kind and a number, each with its rectangle.
//!
//! Pixel tiles, regions, the tiles of a model, notes and agents share one index; a kind tells them
//! apart (`specs/map.md`, "What shares the index").

use super::{MapError, geometry::Rect};
use serde::Serialize;
use std::{fmt, ops::BitOr};

/// What kind of thing an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(u8);

impl Kind {
    /// A tile of the map's own pixels. Its number says where it is stored and means nothing outside
    /// the map.
    pub const PIXELS: Self = Self(0);
    /// A named region. See [`super::InfiniteMap::region_of`].
    pub const REGION: Self = Self(1);
    /// A tile of a model; its number is the tile's number in the model's tile table.
    pub const MODEL_TILE: Self = Self(2);
    /// What a forward pass leaves behind.
    pub(crate) const ACTIVATION: Self = Self(3);
    /// Something a person wrote down.
    pub(crate) const NOTE: Self = Self(4);
    /// Somebody who works here.
    pub(crate) const AGENT: Self = Self(5);
    /// Kinds there can be: the bits of [`Kinds`].
    pub const COUNT: u8 = 32;
    /// The first kind that this crate gives no meaning.
    pub(crate) const FIRST_FREE: u8 = 16;

    /// A kind of one's own.
    ///
    /// # Errors
    /// The number is not from [`Self::FIRST_FREE`] to one less than [`Self::COUNT`].
    pub(crate) fn free(number: u8) -> Result<Self, MapError> {
        if (Self::FIRST_FREE..Self::COUNT).contains(&number) {
            return Ok(Self(number));
        }
        Err(MapError::TooLarge {
            what: "kind",
            found: number.into(),
            limit: (Self::COUNT - 1).into(),
        })
    }

    /// The name that people read.
    pub fn name(self) -> &'static str {
        match self {
            Self::PIXELS => "pixels",
            Self::REGION => "region",
            Self::MODEL_TILE => "model tile",
            Self::ACTIVATION => "activation",
            Self::NOTE => "note",
            Self::AGENT => "agent",
            _ => "other",
        }
    }

    pub(super) const fn from_code(code: u8) -> Self {
        Self(code)
    }

    pub(super) const fn code(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A set of kinds, to ask for some of them only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// The empty set, which meets no other.
    pub(crate) const NONE: Self = Self(0);
    /// Every kind, those that are free included.
    pub const ALL: Self = Self(u32::MAX);

    /// Whether the kind is in the set.
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & 1 << kind.0 != 0
    }

    /// Whether the sets share a kind.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl From<Kind> for Kinds {
    fn from(kind: Kind) -> Self {
        Self(1 << kind.0)
    }
}

impl<K: Into<Kinds>> BitOr<K> for Kinds {
    type Output = Self;

    fn bitor(self, other: K) -> Self {
        Self(self.0 | other.into().0)
    }
}

impl<K: Into<Kinds>> BitOr<K> for Kind {
    type Output = Kinds;

    fn bitor(self, other: K) -> Kinds {
        Kinds::from(self) | other
    }
}

/// Something with a place on the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Item {
    /// Its pixels, or cells. At most 2^32 wide and high.
    #[serde(flatten)]
    pub rect: Rect,
    /// Which of the kinds that share the index.
    pub kind: Kind,
    /// Which one of its kind it is, below 2^56.
    #[serde(skip)]
    pub number: u64,
}

impl Item {
    /// The numbers of items are below this.
    pub(crate) const NUMBER_LIMIT: u64 = 1 << 56;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_was_put_in() {
        let set = Kind::NOTE | Kind::AGENT;
        assert!(
            set.contains(Kind::NOTE) && set.contains(Kind::AGENT) && !set.contains(Kind::PIXELS)
        );
        assert!(Kinds::ALL.contains(Kind::free(31).unwrap()));
        assert!(Kind::free(32).is_err() && Kind::free(5).is_err());
    }
}
