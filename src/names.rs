//! Names: what somebody may have meant who has misspelt one, and numbers that tell them apart.

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
    // Of equally near names the first by letters, in whatever order they come.
    let best = known.map(|known| (distance(known), known)).min()?;
    (best.0 <= most).then_some(best.1)
}

/// A number that is the same in every version: FNV-1a of 64 bits. It tells names apart that nobody
/// chose to be alike.
pub(crate) fn number_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
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

    #[test]
    fn numbers_of_names_are_those_of_fnv_1a() {
        assert_eq!(number_of(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(number_of("foobar"), 0x8594_4171_f739_67e8);
    }
}
