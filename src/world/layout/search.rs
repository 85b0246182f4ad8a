//! From names to places: "layer 12 head 3", "L12 H3", a tensor's name, "embedding".

use super::{Atlas, Place};

/// The most places that a search gives.
pub(crate) const MOST_FOUND: usize = 12;

/// The places that a text may mean, the likeliest first.
pub fn places(atlas: &Atlas, text: &str) -> Vec<Place> {
    let text = text.trim().to_lowercase();
    if text.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let layer = number_after(&text, &["layer", "blk", "l"]);
    let head = number_after(&text, &["head", "h"]);
    match (layer, head) {
        (Some(layer), Some(head)) => found.push(Place::Head(layer, head)),
        (Some(layer), None) => {
            found.push(Place::Layer(layer));
            if text.contains("att") {
                found.insert(0, Place::Attention(layer));
            }
            if text.contains("feed") || text.contains("ffn") || text.contains("mlp") {
                found.insert(0, Place::FeedForward(layer));
            }
        }
        (None, Some(head)) => {
            found.extend(
                (0..atlas.model().config().layer_count).map(|layer| Place::Head(layer, head)),
            );
        }
        (None, None) => {}
    }
    for (words, place) in [
        ("token embedding", Place::Embedding),
        ("output", Place::Output),
        ("model everything home", Place::Model),
    ] {
        if words.split(' ').any(|word| word.starts_with(&text)) || words == text {
            found.push(place);
        }
    }
    let tensors = atlas.model().tensors().iter();
    let named = tensors.filter(|tensor| tensor.name.to_lowercase().contains(&text));
    let named = named.map(|tensor| Place::Tensor(tensor.name.clone()));
    // Whoever writes a dot means a tensor.
    let at = if text.contains('.') { 0 } else { found.len() };
    found.splice(at..at, named);
    // Before the list is cut: what this model does not have takes no place in it.
    found.retain(|place| atlas.rect(place).is_some());
    found.truncate(MOST_FOUND);
    found
}

/// The number after one of some words: "layer 12", "l12".
fn number_after(text: &str, words: &[&str]) -> Option<u32> {
    for word in words {
        for (at, _) in text.match_indices(word) {
            // Else the `l` of "model 3" would mean a layer.
            let starts = at == 0 || !text[..at].ends_with(|c: char| c.is_alphanumeric());
            let rest = text[at + word.len()..].trim_start_matches([' ', '.', ':', '#']);
            let digits: &str =
                &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())];
            if starts && let Ok(number) = digits.parse() {
                return Some(number);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn people_find_what_they_name() {
        let atlas = Atlas::new(Arc::new(crate::app::kinds::assets().default_model().unwrap()));
        let first = |text: &str| places(&atlas, text).into_iter().next();
        assert_eq!(first("layer 1 head 2"), Some(Place::Head(1, 2)));
        assert_eq!(first("l1 h2"), Some(Place::Head(1, 2)));
        assert_eq!(first("Layer 2"), Some(Place::Layer(2)));
        assert_eq!(first("layer 2 ffn"), Some(Place::FeedForward(2)));
        assert_eq!(first("embedding"), Some(Place::Embedding));
        assert_eq!(first("blk.0.ffn_down"), Some(Place::Tensor("blk.0.ffn_down.weight".into())));
        assert!(places(&atlas, "blk.0.ffn_down").contains(&Place::FeedForward(0)));
        assert_eq!(places(&atlas, "layer 99"), []);
        assert_eq!(places(&atlas, "  "), []);
        assert!(places(&atlas, "weight").len() <= MOST_FOUND);
    }
}
