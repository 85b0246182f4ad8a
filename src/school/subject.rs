//! `*.subject.ron`: exercises whose answers a checker can prove, in the grammar of corpora.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::content::did_you_mean;
use crate::content::registry::{Review, check_id};
use crate::training::corpus::{Corpus, HeldOut, Template, WordList};

/// Exercises, as a file says them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// What people call it.
    pub title: String,
    /// What is learnt, and by whom.
    #[serde(default)]
    pub description: String,
    /// Lists by their names.
    #[serde(default)]
    pub lists: BTreeMap<String, WordList>,
    /// Forms of exercises.
    pub templates: Vec<Template>,
    /// Kinds of exercises, which are judged apart, and their templates; where none are named each
    /// template is a kind.
    #[serde(default)]
    pub kinds: BTreeMap<String, Vec<String>>,
    /// Which exercises never come into the pool: by the values of slots.
    pub held_out: HeldOut,
}

impl Subject {
    /// Its kinds with their templates, by name.
    pub fn kinds(&self) -> BTreeMap<String, Vec<String>> {
        if !self.kinds.is_empty() {
            return self.kinds.clone();
        }
        let own = |template: &Template| (template.id.clone(), vec![template.id.clone()]);
        self.templates.iter().map(own).collect()
    }

    /// The corpus of some of its templates.
    pub fn corpus(&self, templates: &[String]) -> Corpus {
        Corpus {
            title: self.title.clone(),
            description: self.description.clone(),
            lists: self.lists.clone(),
            templates: self
                .templates
                .iter()
                .filter(|template| templates.contains(&template.id))
                .cloned()
                .collect(),
            held_out: self.held_out.clone(),
        }
    }

    /// Whether an exercise asks about the model.
    pub fn needs_model(&self) -> bool {
        self.whole().needs_model()
    }

    fn whole(&self) -> Corpus {
        let all: Vec<String> = self.templates.iter().map(|it| it.id.clone()).collect();
        self.corpus(&all)
    }

    /// What is wrong with it that its type cannot say.
    pub fn review(&self, review: &mut Review<'_>) {
        self.whole().review(review);
        let by_slots = matches!(&self.held_out, HeldOut::Slots { slots, .. } if !slots.is_empty());
        review.require(by_slots, "held_out", || {
            "an exercise is held out by what it is about: Slots(share: .., slots: [..])".into()
        });
        let known = || self.templates.iter().map(|template| template.id.as_str());
        let mut named: BTreeSet<&str> = BTreeSet::new();
        for (kind, templates) in &self.kinds {
            let path = format!("kinds.{kind}");
            if let Err(why) = check_id(kind) {
                review.wrong(&path, why);
            }
            review.require(!templates.is_empty(), &path, || "expected at least one".into());
            for template in templates {
                let near = || did_you_mean(template, known());
                review.require(known().any(|id| id == template), &path, || {
                    format!("there is no template `{template}`{}", near())
                });
                review.require(named.insert(template), &path, || {
                    format!("template `{template}` is of two kinds")
                });
            }
        }
        if let (false, Some(left)) =
            (self.kinds.is_empty(), known().find(|template| !named.contains(template)))
        {
            review.wrong("kinds", format!("template `{left}` is of no kind"));
        }
    }
}
