//! Values of slots, out of counter noise.

use std::collections::BTreeMap;

use super::generate::CorpusError;
use super::of_model::OfModel;
use super::text::{article, capital, fill};
use super::{Rule, TemplateSlot};
use crate::forward::sampling::Key;
use crate::names::number_of;

/// How often values are drawn until the rules hold.
const ATTEMPTS: u32 = 1000;

/// Values by their slots.
pub(super) type SlotValues = BTreeMap<String, String>;

/// Lists with all their words.
pub(super) type Lists = BTreeMap<String, Vec<String>>;

/// Numbers of one stream of noise, one after another.
pub(super) struct Draws {
    key: Key,
    index: u32,
    used: u32,
}

impl Draws {
    pub fn new(seed: u64, stream: &str, index: u32) -> Self {
        Self { key: Key::new(seed, number_of(stream)), index, used: 0 }
    }

    fn word(&mut self) -> u32 {
        let word = self.key.noise(self.index, self.used / 4)[self.used as usize % 4];
        self.used += 1;
        word
    }

    /// A number below a limit that is at least 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The high part of a product: of 64 bits, so that no number is likelier to be seen.
        let word = u64::from(self.word()) << 32 | u64::from(self.word());
        ((u128::from(word) * u128::from(limit)) >> 64) as u64
    }

    /// One of a list that is not empty.
    pub fn pick<'l, T>(&mut self, list: &'l [T]) -> Option<&'l T> {
        if list.is_empty() { None } else { list.get(self.below(list.len() as u64) as usize) }
    }

    /// A word of so many parts, none of them twice.
    pub fn invent(&mut self, parts: &[String], count: usize) -> String {
        let mut left: Vec<&String> = parts.iter().collect();
        let mut word = String::new();
        for _ in 0..count.min(parts.len()) {
            let at = self.below(left.len() as u64) as usize;
            word.push_str(left.swap_remove(at));
        }
        capital(&word)
    }
}

/// What slots are drawn from.
pub(super) struct Sources<'a> {
    pub lists: &'a Lists,
    pub model: Option<&'a OfModel<'a>>,
}

impl Sources<'_> {
    /// Draws values until the rules hold; `None` where they never do.
    pub fn draw(
        &self,
        slots: &[TemplateSlot],
        rules: &[Rule],
        given: &SlotValues,
        draws: &mut Draws,
    ) -> Result<Option<SlotValues>, CorpusError> {
        'attempts: for _ in 0..ATTEMPTS {
            let mut values = given.clone();
            for slot in slots {
                self.take(slot, &mut values, draws)?;
                // At once: later slots may have no value where a rule does not hold.
                if !rules.iter().all(|rule| holds(rule, &values)) {
                    continue 'attempts;
                }
            }
            return Ok(Some(values));
        }
        Ok(None)
    }

    fn take(
        &self,
        slot: &TemplateSlot,
        values: &mut SlotValues,
        draws: &mut Draws,
    ) -> Result<(), CorpusError> {
        let list = |name: &String| self.lists.get(name).map(Vec::as_slice).unwrap_or_default();
        let number =
            |name: &String| values.get(name).and_then(|it| it.parse::<i64>().ok()).unwrap_or(0);
        let (name, value) = match slot {
            TemplateSlot::Pick(name, of) => {
                (name, draws.pick(list(of)).cloned().unwrap_or_default())
            }
            TemplateSlot::Number(name, least, most) => {
                let width = most.abs_diff(*least).saturating_add(1);
                (name, least.saturating_add_unsigned(draws.below(width)).to_string())
            }
            TemplateSlot::Invent(name, parts, count) => (name, draws.invent(list(parts), *count)),
            TemplateSlot::Choice(name, texts) => {
                (name, draws.pick(texts).map(|text| fill(text, values)).unwrap_or_default())
            }
            TemplateSlot::Sum(name, one, other) => {
                (name, number(one).saturating_add(number(other)).to_string())
            }
            TemplateSlot::Difference(name, one, other) => {
                (name, number(one).saturating_sub(number(other)).to_string())
            }
            TemplateSlot::At(name, of, at) => {
                let word = usize::try_from(number(at)).ok().and_then(|at| list(of).get(at));
                let word = word.ok_or_else(|| CorpusError::NoWord {
                    list: of.clone(),
                    at: number(at),
                    words: list(of).len(),
                })?;
                (name, word.clone())
            }
            TemplateSlot::Plural(name, of, one, more) => {
                (name, fill(if number(of) == 1 { one } else { more }, values))
            }
            TemplateSlot::Article(name, text) => {
                let text = fill(text, values);
                (name, format!("{} {text}", article(&text)))
            }
            TemplateSlot::Capital(name, text) => (name, capital(&fill(text, values))),
            TemplateSlot::Sorted(name, texts) => {
                let mut texts: Vec<String> = texts.iter().map(|it| fill(it, values)).collect();
                texts.sort_unstable();
                (name, texts.join(" "))
            }
            TemplateSlot::Letters(name, text, letter) => {
                let (text, letter) = (fill(text, values), fill(letter, values));
                let count = if letter.is_empty() { 0 } else { text.matches(&*letter).count() };
                (name, count.to_string())
            }
            TemplateSlot::HeadPlace
            | TemplateSlot::HeadPair
            | TemplateSlot::SpreadPair
            | TemplateSlot::TileStatistics
            | TemplateSlot::Matrix => {
                let model = self.model.ok_or(CorpusError::NeedsModel)?;
                values.extend(model.draw(slot, draws)?);
                return Ok(());
            }
        };
        values.insert(name.clone(), value);
        Ok(())
    }
}

/// Whether a rule holds, as far as its slots have values yet.
fn holds(rule: &Rule, values: &SlotValues) -> bool {
    let (Rule::Less(one, other) | Rule::Different(one, other)) = rule;
    let (Some(one), Some(other)) = (values.get(one), values.get(other)) else { return true };
    match rule {
        Rule::Less(..) => one.parse::<i64>().ok() < other.parse::<i64>().ok(),
        Rule::Different(..) => one != other,
    }
}
