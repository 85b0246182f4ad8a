//! What the type of a corpus cannot say.

use std::collections::BTreeSet;

use super::text::slots_of;
use super::{Corpus, CorpusCheck, HeldOut, Rule, Template, TemplateSlot, WordList};
use crate::content::did_you_mean;
use crate::content::registry::{Review, check_id};

/// The most words of a list, and the most that are invented.
const MAX_WORDS: usize = 100_000;

impl Corpus {
    /// What is wrong with it that its type cannot say.
    pub fn review(&self, review: &mut Review<'_>) {
        review.require(!self.title.trim().is_empty(), "title", || {
            "expected a title, found an empty text".into()
        });
        for (name, list) in &self.lists {
            self.review_list(name, list, review);
        }
        review.require(!self.templates.is_empty(), "templates", || "expected at least one".into());
        let mut ids = BTreeSet::new();
        for (at, template) in self.templates.iter().enumerate() {
            let path = format!("templates[{at}]");
            if let Err(why) = check_id(&template.id) {
                review.wrong(&format!("{path}.id"), why);
            } else if !ids.insert(&template.id) {
                review.wrong(&format!("{path}.id"), format!("`{}` is there twice", template.id));
            }
            self.review_template(&path, template, review);
        }
        if let HeldOut::Slots { share, .. } = &self.held_out {
            review.require(*share > 0.0 && *share < 1.0, "held_out", || {
                format!("expected a share above 0 and below 1, found {share}")
            });
        }
        let lone = self.templates.iter().find(|it| it.prompts.len() < 2);
        if let (HeldOut::OnePrompt, Some(template)) = (&self.held_out, lone) {
            review.wrong(
                "held_out",
                format!(
                    "OnePrompt holds out one of several ways to ask, and template `{}` has one",
                    template.id
                ),
            );
        }
    }

    fn review_list(&self, name: &str, list: &WordList, review: &mut Review<'_>) {
        let path = format!("lists.{name}");
        match list {
            WordList::Words(words) => {
                review.require((1..=MAX_WORDS).contains(&words.len()), &path, || {
                    format!("expected 1 to {MAX_WORDS} words, found {}", words.len())
                });
            }
            WordList::Invented { count, parts, least, most } => {
                review.require((1..=MAX_WORDS).contains(count), &path, || {
                    format!("expected a count of 1 to {MAX_WORDS}, found {count}")
                });
                review.require(*least >= 1 && least <= most, &path, || {
                    format!("expected 1 part or more, and no less at most; found {least} to {most}")
                });
                let is_words = matches!(self.lists.get(parts), Some(WordList::Words(_)));
                review.require(is_words, &path, || {
                    format!("`{parts}` is no list of words to put words together from")
                });
            }
        }
    }

    fn review_template(&self, path: &str, template: &Template, review: &mut Review<'_>) {
        let mut known: BTreeSet<&str> = BTreeSet::new();
        if let Some(list) = &template.each {
            self.require_list(&format!("{path}.each"), list, review);
            known.insert(list);
        }
        for (at, slot) in template.slots.iter().enumerate() {
            let path = format!("{path}.slots[{at}]");
            let (lists, texts, slots) = slot.uses();
            lists.iter().for_each(|list| self.require_list(&path, list, review));
            texts.iter().for_each(|text| require_text(&path, text, &known, review));
            for slot in slots {
                require_slot(&path, slot, &known, review);
            }
            if let TemplateSlot::Number(_, least, most) = slot {
                review.require(least <= most, &path, || {
                    format!("expected the lesser number first, found {least} and {most}")
                });
            }
            known.extend(slot.gives());
        }
        for (at, rule) in template.rules.iter().enumerate() {
            let (Rule::Less(one, other) | Rule::Different(one, other)) = rule;
            for slot in [one, other] {
                require_slot(&format!("{path}.rules[{at}]"), slot, &known, review);
            }
        }
        review.require(!template.prompts.is_empty(), &format!("{path}.prompts"), || {
            "expected at least one".into()
        });
        for (at, prompt) in template.prompts.iter().enumerate() {
            require_text(&format!("{path}.prompts[{at}]"), prompt, &known, review);
        }
        let answer = format!("{path}.answer");
        require_text(&answer, &template.answer, &known, review);
        review.require(!template.answer.trim().is_empty(), &answer, || {
            "expected an answer, found an empty text".into()
        });
        let check = format!("{path}.check");
        match &template.check {
            CorpusCheck::OneOf(texts) => {
                texts.iter().for_each(|text| require_text(&check, text, &known, review));
            }
            CorpusCheck::Number(within) => review.require(*within >= 0.0, &check, || {
                format!("expected a distance from 0, found {within}")
            }),
            CorpusCheck::Pattern(pattern) => require_text(&check, pattern, &known, review),
            CorpusCheck::Exact => (),
        }
    }

    fn require_list(&self, path: &str, list: &str, review: &mut Review<'_>) {
        let known = self.lists.keys().map(String::as_str);
        review.require(self.lists.contains_key(list), path, || {
            format!("there is no list `{list}`{}", did_you_mean(list, known))
        });
    }
}

fn require_slot(path: &str, slot: &str, known: &BTreeSet<&str>, review: &mut Review<'_>) {
    review.require(known.contains(slot), path, || {
        format!("there is no slot `{slot}` before it{}", did_you_mean(slot, known.iter().copied()))
    });
}

fn require_text(path: &str, text: &str, known: &BTreeSet<&str>, review: &mut Review<'_>) {
    match slots_of(text) {
        Err(why) => review.wrong(path, why),
        Ok(slots) => slots.into_iter().for_each(|slot| require_slot(path, slot, known, review)),
    }
}

impl TemplateSlot {
    /// Lists, texts with slots and slots that it uses.
    fn uses(&self) -> (Vec<&str>, Vec<&str>, Vec<&str>) {
        let (mut lists, mut texts, mut slots): (Vec<&str>, Vec<&str>, Vec<&str>) =
            (Vec::new(), Vec::new(), Vec::new());
        match self {
            Self::Pick(_, list) | Self::Invent(_, list, _) => lists.push(list),
            Self::Choice(_, choices) | Self::Sorted(_, choices) => {
                texts.extend(choices.iter().map(String::as_str))
            }
            Self::Sum(_, one, other) | Self::Difference(_, one, other) => {
                slots.extend([one.as_str(), other]);
            }
            Self::At(_, list, slot) => {
                lists.push(list);
                slots.push(slot);
            }
            Self::Plural(_, slot, one, more) => {
                slots.push(slot);
                texts.extend([one.as_str(), more]);
            }
            Self::Letters(_, text, letter) => texts.extend([text.as_str(), letter]),
            Self::Article(_, text) | Self::Capital(_, text) => texts.push(text),
            Self::Number(..)
            | Self::HeadPlace
            | Self::HeadPair
            | Self::SpreadPair
            | Self::TileStatistics
            | Self::Matrix => (),
        }
        (lists, texts, slots)
    }

    /// The slots that have values behind it.
    fn gives(&self) -> Vec<&str> {
        match self {
            Self::Pick(name, ..)
            | Self::Number(name, ..)
            | Self::Invent(name, ..)
            | Self::Choice(name, ..)
            | Self::Sum(name, ..)
            | Self::Difference(name, ..)
            | Self::At(name, ..)
            | Self::Plural(name, ..)
            | Self::Article(name, ..)
            | Self::Capital(name, ..)
            | Self::Sorted(name, ..)
            | Self::Letters(name, ..) => vec![name],
            Self::HeadPlace => vec!["layer", "head", "x", "y"],
            Self::HeadPair => vec!["layer", "one", "other", "direction", "further"],
            Self::SpreadPair => vec!["layer", "one", "other", "wider"],
            Self::TileStatistics => vec!["tile", "tensor", "spread", "peak"],
            Self::Matrix => vec!["tensor", "rows", "columns", "encoding", "layer"],
        }
    }

    /// Whether it needs a model.
    pub fn is_of_model(&self) -> bool {
        matches!(
            self,
            Self::HeadPlace
                | Self::HeadPair
                | Self::SpreadPair
                | Self::TileStatistics
                | Self::Matrix
        )
    }
}

impl Corpus {
    /// Whether a template asks about a model.
    pub fn needs_model(&self) -> bool {
        self.templates.iter().flat_map(|it| &it.slots).any(TemplateSlot::is_of_model)
    }
}
