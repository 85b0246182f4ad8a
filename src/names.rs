//! What somebody may have meant who has misspelt a name.

/// The nearest of some names to one that is none of them, if it is near enough to be what was
/// meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    // A third of the letters may be others; of a short name, one.
    let most = (name.chars().count() / 3).max(1);
    // Names whose lengths differ by more are further apart, and comparing long ones is slow.
    let known = known
        .into_iter()
        .filter(|known| known.chars().count().abs_diff(name.chars().count()) <= most);
    let distance = |known: &str| strsim::damerau_levenshtein(&lower, &known.to_lowercase());
    let best = known.map(|known| (distance(known), known)).min()?;
    (best.0 <= most).then_some(best.1)
}

/// Whether a name is probably a misspelling of another.
pub fn is_near(name: &str, other: &str) -> bool {
    nearest(name, [other]).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_known_and_a_strange_one_is_not() {
        let known = ["verify_tiles", "survey_heads", "review"];
        assert_eq!(nearest("verify_tile", known), Some("verify_tiles"));
        assert_eq!(nearest("Servey_Heads", known), Some("survey_heads"));
        assert_eq!(nearest("dance", known), None);
        assert!(is_near("ide", "id") && !is_near("x", "prompt"));
    }
}
