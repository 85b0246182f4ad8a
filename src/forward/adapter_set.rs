//! Which adapters act on a sequence.

use std::sync::Arc;

/// The adapters that act on a sequence, each with a factor. They add up. A sequence's keys and
/// values hang on them, so that no two of other sets share any.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AdapterSet(Option<Arc<[(u32, f32)]>>);

impl AdapterSet {
    /// The model as it is in its file.
    pub const NONE: Self = Self(None);

    /// A set of adapters, which are named by their index among those of the model, and factors. One
    /// that is named twice has the sum of both factors; one whose factor is 0 is left out, so that
    /// nothing is added to a bit of what the model gives.
    pub fn new(adapters: impl IntoIterator<Item = (u32, f32)>) -> Self {
        let mut set: Vec<(u32, f32)> = Vec::new();
        for (adapter, factor) in adapters {
            match set.binary_search_by_key(&adapter, |&(known, _)| known) {
                Ok(at) => set[at].1 += factor,
                Err(at) => set.insert(at, (adapter, factor)),
            }
        }
        set.retain(|&(_, factor)| factor != 0.0);
        Self((!set.is_empty()).then(|| set.into()))
    }

    /// The adapters in ascending order, and their factors, none of which is 0.
    pub fn factors(&self) -> &[(u32, f32)] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether the model is as it is in its file.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_the_same_however_they_are_named() {
        let set = AdapterSet::new([(3, 0.5), (1, 1.0), (3, 0.25), (2, 0.0)]);
        assert_eq!(set.factors(), [(1, 1.0), (3, 0.75)]);
        assert_eq!(set, AdapterSet::new([(1, 1.0), (3, 0.75)]));
        assert!(AdapterSet::new([(0, 1.0), (0, -1.0)]).is_empty());
    }
}
