//! From a corpus to lines.

use std::collections::BTreeSet;

use serde::Serialize;

use super::draw::{Draws, Lists, SlotValues, Sources};
use super::of_model::OfModel;
use super::text::fill;
use super::{Corpus, HeldOut, Template, WordList};
use crate::model::PixelModel;
use crate::names::number_of;
use crate::training::data::Checker;

/// Draws for one line that may fail or repeat another before a template counts as used up.
const TRIES_PER_LINE: u32 = 20;

/// Hashes are compared with a share by this many parts.
const PARTS: u64 = 1 << 32;

/// Why there are no lines.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CorpusError {
    /// A list has no word at a number.
    #[error("list `{list}` has {words} words, and slot values ask for number {at}")]
    NoWord {
        /// The list.
        list: String,
        /// Which was wanted, from 0.
        at: i64,
        /// How many there are.
        words: usize,
    },
    /// It asks about a model, and none is named.
    #[error("this corpus asks about a model: name one with --model")]
    NeedsModel,
    /// The model does not have what is asked about.
    #[error("this corpus asks about parts that the model does not have")]
    NotInModel,
    /// Nothing can be drawn by the rules.
    #[error("template `{0}`: in a thousand draws its rules never held")]
    Rules(String),
    /// So many different words cannot be invented.
    #[error("list `{0}`: its parts do not make so many different words")]
    FewWords(String),
}

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CorpusLine {
    /// What the model is given.
    pub prompt: String,
    /// What is right.
    pub completion: String,
    /// How an answer is compared, unless it has to be equal.
    #[serde(skip_serializing_if = "Checker::is_exact")]
    pub check: Checker,
    /// A number of what it is held out, or not, by: lines with the same values of those slots have
    /// the same, and are right or wrong together more often than others.
    #[serde(skip)]
    pub group: u64,
}

/// Lines to learn, and lines that are held out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CorpusLines {
    /// To learn.
    pub train: Vec<CorpusLine>,
    /// Held out.
    pub valid: Vec<CorpusLine>,
}

/// Lines as a file has them, which `train` reads.
///
/// # Errors
/// None that is known: texts and numbers are JSON.
pub fn to_json_lines(lines: &[CorpusLine]) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut bytes, line)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// Makes at most so many lines to learn, and at most so many that are held out. There are fewer
/// where templates have no more different ones.
///
/// # Errors
/// A template asks for what there is not.
pub fn generate(
    corpus: &Corpus,
    model: Option<&PixelModel>,
    seed: u64,
    (train, valid): (usize, usize),
) -> Result<CorpusLines, CorpusError> {
    let lists = lists(corpus, seed)?;
    let of_model = model.map(OfModel);
    let sources = Sources { lists: &lists, model: of_model.as_ref() };
    let mut made = Made { lines: CorpusLines::default(), prompts: BTreeSet::new() };
    let shares: u64 = corpus.templates.iter().map(|it| u64::from(it.share)).sum();
    let (mut before, mut wanted_before) = (0, [0, 0]);
    for template in &corpus.templates {
        // Rounded in sum, so that all templates together make what is wanted.
        before += u64::from(template.share);
        let up_to = [train, valid].map(|all| (all as u64 * before / shares.max(1)) as usize);
        let wanted = [up_to[0] - wanted_before[0], up_to[1] - wanted_before[1]];
        wanted_before = up_to;
        match &template.each {
            Some(list) => made.facts(corpus, template, list, &sources, seed)?,
            None => made.drawn(corpus, template, &sources, seed, wanted)?,
        }
    }
    let mut lines = made.lines;
    // Templates follow one another: in a file their lines are mixed.
    shuffle(&mut lines.train, seed, "corpus.train");
    shuffle(&mut lines.valid, seed, "corpus.valid");
    lines.train.truncate(train);
    lines.valid.truncate(valid);
    Ok(lines)
}

fn lists(corpus: &Corpus, seed: u64) -> Result<Lists, CorpusError> {
    let mut lists = Lists::new();
    for (name, list) in &corpus.lists {
        if let WordList::Words(words) = list {
            lists.insert(name.clone(), words.clone());
        }
    }
    for (name, list) in &corpus.lists {
        let WordList::Invented { count, parts, least, most } = list else { continue };
        let parts = lists.get(parts).cloned().unwrap_or_default();
        let mut draws = Draws::new(seed, &format!("corpus.list.{name}"), 0);
        let (mut words, mut tries) = (Vec::new(), 0);
        while words.len() < *count {
            let length = least + draws.below((most - least) as u64 + 1) as usize;
            let word = draws.invent(&parts, length);
            if !words.contains(&word) {
                words.push(word);
            }
            tries += 1;
            if tries > count * TRIES_PER_LINE as usize {
                return Err(CorpusError::FewWords(name.clone()));
            }
        }
        lists.insert(name.clone(), words);
    }
    Ok(lists)
}

struct Made {
    lines: CorpusLines,
    prompts: BTreeSet<String>,
}

impl Made {
    /// One fact for each word of a list, asked for in every way.
    fn facts(
        &mut self,
        corpus: &Corpus,
        template: &Template,
        list: &str,
        sources: &Sources<'_>,
        seed: u64,
    ) -> Result<(), CorpusError> {
        let words = sources.lists.get(list).cloned().unwrap_or_default();
        let stream = format!("corpus.{}", template.id);
        for (at, word) in words.into_iter().enumerate() {
            let given = SlotValues::from([(list.to_owned(), word)]);
            let mut draws = Draws::new(seed, &stream, at as u32);
            let values = sources
                .draw(&template.slots, &template.rules, &given, &mut draws)?
                .ok_or_else(|| CorpusError::Rules(template.id.clone()))?;
            // Facts follow one another in the ways that are held out, so that each way is as often.
            let first = (number_of(&template.id) ^ seed) as usize;
            let held = first.wrapping_add(at) % template.prompts.len().max(1);
            for (way, prompt) in template.prompts.iter().enumerate() {
                let line = line(template, prompt, &values, &corpus.held_out);
                let is_held = match &corpus.held_out {
                    HeldOut::OnePrompt => way == held,
                    HeldOut::Slots { share, .. } => is_held(line.group, *share),
                };
                self.push(line, is_held);
            }
        }
        Ok(())
    }

    /// Lines of values that are drawn for each.
    fn drawn(
        &mut self,
        corpus: &Corpus,
        template: &Template,
        sources: &Sources<'_>,
        seed: u64,
        wanted: [usize; 2],
    ) -> Result<(), CorpusError> {
        let stream = format!("corpus.{}", template.id);
        let most = (wanted[0] + wanted[1]) as u32;
        let mut missing = wanted;
        // Where few are held out, many are drawn until there are enough of them.
        let tries = most.saturating_mul(TRIES_PER_LINE).max(1000);
        for index in 0..tries {
            if missing == [0, 0] {
                break;
            }
            let mut draws = Draws::new(seed, &stream, index);
            let values = sources
                .draw(&template.slots, &template.rules, &SlotValues::new(), &mut draws)?
                .ok_or_else(|| CorpusError::Rules(template.id.clone()))?;
            let HeldOut::Slots { share, .. } = &corpus.held_out else {
                if missing[0] == 0 {
                    break;
                }
                self.fact(template, &values, &mut missing);
                continue;
            };
            let way = draws.below(template.prompts.len().max(1) as u64) as usize;
            let Some(prompt) = template.prompts.get(way) else { break };
            let line = line(template, prompt, &values, &corpus.held_out);
            let is_held = is_held(line.group, *share);
            let left = &mut missing[usize::from(is_held)];
            if *left > 0 && self.push(line, is_held) {
                *left -= 1;
            }
        }
        Ok(())
    }

    /// A fact that was drawn, asked for in every way: the one that is held out follows from its
    /// values.
    fn fact(&mut self, template: &Template, values: &SlotValues, missing: &mut [usize; 2]) {
        let known = |prompt: &String| self.prompts.contains(&fill(prompt, values));
        if template.prompts.is_empty() || template.prompts.iter().any(known) {
            return;
        }
        let held = (hash(values, values.keys()) >> 32) as usize % template.prompts.len().max(1);
        let (mut told, learnt) = (0, template.prompts.len() - 1);
        let others = template.prompts.iter().enumerate().filter(|(way, _)| *way != held);
        for (_, prompt) in others {
            let line = line(template, prompt, values, &HeldOut::OnePrompt);
            if missing[0] > 0 && self.push(line, false) {
                missing[0] -= 1;
                told += 1;
            }
        }
        // What is held out was told in all other ways.
        if told == learnt
            && missing[1] > 0
            && self.push(line(template, &template.prompts[held], values, &HeldOut::OnePrompt), true)
        {
            missing[1] -= 1;
        }
    }

    /// Takes a line whose prompt no other has.
    fn push(&mut self, line: CorpusLine, is_held: bool) -> bool {
        let is_new = self.prompts.insert(line.prompt.clone());
        if is_new {
            let lines = if is_held { &mut self.lines.valid } else { &mut self.lines.train };
            lines.push(line);
        }
        is_new
    }
}

/// Whether a group of lines is held out: by the hash of its values alone, whatever the seed, so
/// that corpora of several seeds hold out the same.
fn is_held(group: u64, share: f64) -> bool {
    ((group >> 32) as f64) < share * PARTS as f64
}

/// The number of a line's group: a hash of the values that are held out together. All values where
/// none of the slots is there.
fn group(values: &SlotValues, held_out: &HeldOut) -> u64 {
    let HeldOut::Slots { slots, any_order, .. } = held_out else {
        return hash(values, values.keys());
    };
    let named: Vec<&String> = slots.iter().filter(|slot| values.contains_key(*slot)).collect();
    match (named.is_empty(), any_order) {
        (true, _) => hash(values, values.keys()),
        (false, false) => hash(values, named),
        (false, true) => {
            let mut texts: Vec<&str> = named.iter().map(|name| values[*name].as_str()).collect();
            texts.sort_unstable();
            hash_of(&texts)
        }
    }
}

fn hash<'a>(values: &SlotValues, names: impl IntoIterator<Item = &'a String>) -> u64 {
    let texts: Vec<String> =
        names.into_iter().map(|name| format!("{name}={}", values[name])).collect();
    hash_of(&texts)
}

fn hash_of<T: AsRef<str>>(texts: &[T]) -> u64 {
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    // FNV's high bits follow the last letters poorly: a product spreads them.
    number_of(&texts.join("\u{0}")).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn line(template: &Template, prompt: &str, values: &SlotValues, held_out: &HeldOut) -> CorpusLine {
    CorpusLine {
        group: group(values, held_out),
        prompt: fill(prompt, values),
        completion: fill(&template.answer, values),
        check: template.check.checker(|text| fill(text, values)),
    }
}

fn shuffle(lines: &mut [CorpusLine], seed: u64, stream: &str) {
    let mut draws = Draws::new(seed, stream, 0);
    for last in (1..lines.len()).rev() {
        lines.swap(last, draws.below(last as u64 + 1) as usize);
    }
}
