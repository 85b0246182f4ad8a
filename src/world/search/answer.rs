//! A word in the sequence that is on the screen: where it stands, which heads look at it most, and
//! which layers the logit lens says would say it.

use super::{Findings, Found, folded};
use crate::model::ModelConfig;
use crate::world::think::lens::{Lens, LensView, TOLD};
use crate::world::think::{GeneratedToken, Generation};

/// Places in the text, heads and layers that are told of.
const MOST: [usize; 3] = [4, 3, 4];
/// Tokens around a word that are told with it, on either side.
const AROUND: usize = 3;

/// Where all heads look from a token: made once for all words that are looked for from there, since
/// 1024 heads over 1000 tokens are 0.1 s of products.
#[derive(Debug, Default)]
pub(super) struct Looks {
    of: (u64, usize),
    /// Layer by layer; none where the values were not kept.
    shares: Option<Vec<Vec<f32>>>,
}

impl Looks {
    /// Adds what is found of a word in the sequence, looked at from a token.
    pub fn find(
        &mut self,
        text: &str,
        (mind, lens, config): (&Generation, &Lens, &ModelConfig),
        from: usize,
        findings: &mut Findings,
    ) {
        let [words, heads, layers] = MOST;
        let places = occurrences(&mind.thoughts, text);
        let word = |place: &[usize; 2]| Found::Word {
            at: place[1],
            is_prompt: place[1] < mind.prompt_len,
            around: around(&mind.thoughts, *place),
        };
        findings.found.extend(places.iter().take(words).map(word));
        if let more @ 1.. = places.len().saturating_sub(words) {
            findings.notes.push(format!("it stands in {more} more places of the text"));
        }
        if !places.is_empty() {
            self.heads((mind, config), from, &places, heads, findings);
        }
        let is_meant = findings.found.iter().any(|found| !matches!(found, Found::Place(_)));
        if is_meant {
            of_lens(text, mind, (lens, from), layers, findings);
        }
    }

    fn heads(
        &mut self,
        (mind, config): (&Generation, &ModelConfig),
        from: usize,
        places: &[[usize; 2]],
        most: usize,
        findings: &mut Findings,
    ) {
        let places: Vec<[usize; 2]> =
            places.iter().filter(|[_, end]| *end <= from).copied().collect();
        if mind.is_busy() {
            findings.notes.push("heads that look at it: when the answer is there".into());
            return;
        }
        if places.is_empty() {
            findings.notes.push("no head looks at what comes after the token looked at".into());
            return;
        }
        if self.of != (mind.generation(), from) || self.shares.is_none() {
            let all = (0..config.layer_count)
                .flat_map(|layer| (0..config.head_count).map(move |head| (layer, head)));
            let shares = all.map(|(layer, head)| mind.attention(config, from, layer, head));
            (self.of, self.shares) = ((mind.generation(), from), shares.collect());
        }
        let Some(shares) = &self.shares else {
            let why = "what heads look at was not kept: the sequence is too long for it";
            findings.notes.push(why.into());
            return;
        };
        let mut sums: Vec<(usize, f32)> = shares
            .iter()
            .map(|shares| places.iter().flat_map(|&[start, end]| &shares[start..=end]).sum())
            .enumerate()
            .collect();
        sums.sort_by(|a, b| b.1.total_cmp(&a.1));
        let head = |at: usize| (at as u32 / config.head_count, at as u32 % config.head_count);
        let sums = sums.into_iter().take(most);
        findings.found.extend(sums.map(|(at, share)| Found::Head { head: head(at), share, from }));
    }
}

/// Adds the layers that would say a word after a token, where the lens has told of that.
fn of_lens(
    text: &str,
    mind: &Generation,
    (lens, from): (&Lens, usize),
    most: usize,
    findings: &mut Findings,
) {
    let is_of = |view: &&LensView| (view.generation, view.at) == (mind.generation(), from);
    let Some(view) = lens.view.as_ref().filter(is_of) else {
        findings.notes.push("layers that would say it: open the logit lens (L)".into());
        return;
    };
    let wanted = folded(text);
    let mut said: Vec<Found> = Vec::new();
    for (state, told) in view.layers.iter().enumerate() {
        let texts = told.iter().map(|&(token, probability)| (mind.text_of(token), probability));
        let mut like = texts.filter(|(text, _)| folded(text.trim_start()).starts_with(&wanted));
        if let Some((text, probability)) = like.next() {
            let layer = state.checked_sub(1).map(|layer| layer as u32);
            said.push(Found::Layer { layer, text, probability, after: from });
        }
    }
    let chance = |found: &Found| match found {
        Found::Layer { probability, .. } => *probability,
        _ => 0.0,
    };
    if said.is_empty() {
        findings.notes.push(format!("no layer's lens has it among its first {TOLD}"));
    }
    said.sort_by(|a, b| chance(b).total_cmp(&chance(a)));
    said.truncate(most);
    findings.found.extend(said);
}

/// The first and the last token of each place where a word stands; a word may have several tokens.
fn occurrences(thoughts: &[GeneratedToken], text: &str) -> Vec<[usize; 2]> {
    let wanted = folded(text);
    let (mut all, mut ends) = (String::new(), Vec::new());
    for thought in thoughts {
        all.push_str(&folded(&thought.text));
        ends.push(all.len());
    }
    let token_of = |byte: usize| ends.partition_point(|&end| end <= byte);
    let begins = |at: usize| !all[..at].ends_with(char::is_alphanumeric);
    let found: Vec<usize> = all.match_indices(&wanted).map(|(at, _)| at).collect();
    // Where it begins no word, it is part of one; some languages have no spaces.
    let is_word = found.iter().any(|&at| begins(at));
    let found = found.into_iter().filter(|&at| begins(at) || !is_word);
    found.map(|at| [token_of(at), token_of(at + wanted.len() - 1)]).collect()
}

/// The text around a word.
fn around(thoughts: &[GeneratedToken], [start, end]: [usize; 2]) -> String {
    let (first, last) = (start.saturating_sub(AROUND), (end + AROUND).min(thoughts.len() - 1));
    let text: String = thoughts[first..=last].iter().map(|thought| thought.text.as_str()).collect();
    let dots = |is_cut: bool| if is_cut { "\u{2026}" } else { "" };
    format!("{}{}{}", dots(first > 0), text.trim(), dots(last + 1 < thoughts.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thoughts(texts: &[&str]) -> Vec<GeneratedToken> {
        let thought = |text: &&str| GeneratedToken { text: (*text).into(), ..Default::default() };
        texts.iter().map(thought).collect()
    }

    #[test]
    fn a_word_is_found_over_several_tokens_and_where_it_begins_before_where_it_is_a_part() {
        let said = thoughts(&["The", " ca", "t", " sat", ".", " Concat", " the", " Cat", "s"]);
        assert_eq!(occurrences(&said, "cat"), [[1, 2], [7, 7]]);
        assert_eq!(occurrences(&said, "oncat"), [[5, 5]], "no word begins so");
        assert_eq!(occurrences(&said, "the cat"), [[0, 2], [6, 7]]);
        assert_eq!(occurrences(&said, "dog"), [[0; 2]; 0]);
        assert_eq!(around(&said, [7, 7]), "\u{2026}. Concat the Cats");
    }
}
