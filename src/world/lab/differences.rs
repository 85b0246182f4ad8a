//! How much heads and fields give otherwise after a change: for each token that both answers share,
//! the norm of the difference of what they gave.
//!
//! What a head gives is what attention gathers, before the output matrix; what a field gives is
//! what its neurons hold, before `down`; both as much as the factors of heads and layers leave.
//! Tokens count as far as both answers have the same text up to them: after the first fork the
//! inputs differ, and so would everything.

use std::sync::Arc;

use crate::model::ModelConfig;
use crate::model::plan::MapPlan;
use crate::world::heatmap::{HeatmapLayer, HeatmapScale};
use crate::world::layout::Place;
use crate::world::think::{GeneratedToken, Generation, LayerOutputs, ModelState};

/// Places of a kind that are named as those that differ most.
const MOST_NAMED: usize = 2;

/// How much what was given at one token differs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Difference {
    /// Norm of the difference of what each head gave, layer by layer.
    pub heads: Vec<f32>,
    /// Norm of the difference of what each layer's fields held.
    pub fields: Vec<f32>,
}

/// A token of the sequence before the change.
#[derive(Debug, Clone)]
struct Before {
    token: u32,
    state: Arc<ModelState>,
    outputs: Option<Arc<LayerOutputs>>,
}

/// The differences at all tokens that both answers share.
#[derive(Debug, Clone, Default)]
pub struct Differences {
    before: Vec<Before>,
    /// By token, as far as the texts are the same; none where the values were not kept.
    pub at: Vec<Option<Difference>>,
    /// The text of each of these tokens.
    pub(crate) texts: Vec<String>,
}

impl Differences {
    /// Keeps what was given until now, to be compared with what comes.
    pub(super) fn remember(mind: &Generation) -> Self {
        let before = done(mind).iter().map(|thought| Before {
            token: thought.token,
            state: Arc::clone(&thought.state),
            outputs: thought.outputs.clone(),
        });
        Self { before: before.collect(), ..Self::default() }
    }

    /// Forgets what came, to compare with what comes next.
    pub(super) fn anew(self) -> Self {
        Self { before: self.before, ..Self::default() }
    }

    /// Compares the tokens whose steps were taken since.
    pub(super) fn follow(&mut self, mind: &Generation, config: &ModelConfig) {
        while let Some(before) = self.before.get(self.at.len())
            && let Some(now) = done(mind).get(self.at.len())
            && now.token == before.token
        {
            let pair = before.outputs.as_deref().zip(now.outputs.as_deref());
            let factors = [&before.state, &now.state].map(|state| &*state.interventions.layers);
            self.at.push(pair.map(|(before, now)| compare([before, now], factors, config)));
            self.texts.push(now.text.clone());
        }
    }

    /// Lets go of the values: of each token two norms a layer and head are left.
    pub(super) fn close(&mut self) {
        self.before = Vec::new();
    }

    /// The difference at a token.
    pub fn get(&self, at: usize) -> Option<&Difference> {
        self.at.get(at)?.as_ref()
    }
}

/// The tokens whose steps were taken.
fn done(mind: &Generation) -> &[GeneratedToken] {
    mind.latest_place().and_then(|at| mind.thoughts.get(..=at)).unwrap_or_default()
}

/// The norms of the differences of what two steps gave.
fn compare(outputs: [&LayerOutputs; 2], factors: [&[f32]; 2], config: &ModelConfig) -> Difference {
    let layers = config.layer_count as usize;
    let heads = config.head_count as usize;
    let norms = |of: fn(&LayerOutputs) -> &[f32], parts: usize| -> Vec<f32> {
        let [before, now] = outputs.map(of);
        let wide = (before.len() / (layers * parts).max(1)).max(1);
        let both = before.chunks(wide).zip(now.chunks(wide)).enumerate();
        both.map(|(part, (before, now))| {
            let [was, is] = factors.map(|list| list.get(part / parts).copied().unwrap_or(1.0));
            let squares = before.iter().zip(now).map(|(a, b)| (is * b - was * a).powi(2));
            squares.sum::<f32>().sqrt()
        })
        .collect()
    };
    Difference {
        heads: norms(|outputs| &outputs.heads, heads),
        fields: norms(|outputs| &outputs.fields, 1),
    }
}

impl Difference {
    /// The heads and then the fields that differ most, the most first, with how much they do.
    pub fn most(&self, config: &ModelConfig) -> Vec<(Place, f32)> {
        let largest = |norms: &[f32]| -> Vec<(usize, f32)> {
            let mut order: Vec<(usize, f32)> = norms.iter().copied().enumerate().collect();
            order.retain(|(_, norm)| *norm > 0.0);
            order.sort_by(|a, b| b.1.total_cmp(&a.1));
            order.truncate(MOST_NAMED);
            order
        };
        let head =
            |at: usize| Place::Head(at as u32 / config.head_count, at as u32 % config.head_count);
        let heads = largest(&self.heads).into_iter().map(|(at, norm)| (head(at), norm));
        let fields = largest(&self.fields).into_iter();
        heads.chain(fields.map(|(at, norm)| (Place::FeedForward(at as u32), norm))).collect()
    }

    /// What tints the land: a layer of heads and one of fields, each from nothing to its own most.
    pub fn layers(&self, plan: &MapPlan) -> [HeatmapLayer; 2] {
        let heads = plan.heads.iter().map(|head| head.rect).zip(self.heads.iter().copied());
        let fields = plan.layers.iter().map(|layer| layer.feed_forward);
        let fields = fields.zip(self.fields.iter().copied());
        let layer = |name, cells| {
            HeatmapLayer::new(name, "difference of outputs", HeatmapScale::Changed, cells)
        };
        [layer("heads", heads.collect()), layer("fields", fields.collect())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_of_values_and_not_of_norms_and_counts_factors_of_layers() {
        let model = crate::app::kinds::assets().default_model().unwrap();
        let config = model.config();
        let (layers, heads) = (config.layer_count as usize, config.head_count as usize);
        let size = config.head_size as usize;
        let outputs = |value: f32| LayerOutputs {
            heads: vec![value; layers * heads * size],
            fields: vec![value; layers * 10],
        };
        let (before, now) = (outputs(1.0), outputs(-1.0));
        let mut factors = vec![1.0; layers];
        factors[1] = 0.0;
        let found = compare([&before, &now], [&[], &factors], config);
        assert_eq!((found.heads.len(), found.fields.len()), (layers * heads, layers));
        let whole = (size as f32).sqrt();
        assert!((found.heads[0] - 2.0 * whole).abs() < 1e-4, "their norms are the same");
        assert!((found.heads[heads] - whole).abs() < 1e-4, "a muted layer gives nothing now");
        assert!((found.fields[1] - 10f32.sqrt()).abs() < 1e-4, "{:?}", found.fields);
        let same = compare([&before, &before], [&[], &[]], config);
        assert!(same.heads.iter().chain(&same.fields).all(|norm| *norm == 0.0));
        assert_eq!(same.most(config), [], "what does not differ is not named");
        let most = found.most(config);
        assert_eq!(most.len(), 2 * MOST_NAMED);
        assert_eq!(most[0], (Place::Head(0, 0), found.heads[0]));
        assert_eq!(most[2], (Place::FeedForward(0), found.fields[0]));
    }
}
