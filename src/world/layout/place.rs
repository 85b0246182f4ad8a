//! Places: what a person points at, names and goes to.

use super::Atlas;
use crate::model::plan::Rect;
use crate::terminal::one_line;

/// The tensor in which each token has its row.
const EMBEDDING: &str = "token_embd.weight";

/// Something on the map that has a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Place {
    /// Everything, from edge to edge of the map.
    Model,
    /// The token embedding, where tokens set out.
    Embedding,
    /// The output matrix, where the next token is told; the embedding where they are one.
    Output,
    /// A layer, from 0.
    Layer(u32),
    /// A layer's heads: a bank of the river.
    Attention(u32),
    /// A layer's feed-forward fields: the other bank.
    FeedForward(u32),
    /// A query head of a layer.
    Head(u32, u32),
    /// A tensor by its GGUF name.
    Tensor(String),
    /// A token of the vocabulary: its line of cells in the token embedding.
    Token(u32),
    /// A weight: the tensor's name, row, column.
    Weight(String, u64, u64),
}

/// What is at a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// The tensor's index in the model's table.
    pub tensor: usize,
    /// Row of the tensor.
    pub row: u64,
    /// Column of the tensor.
    pub column: u64,
    /// The tile that holds it.
    pub tile: u32,
    /// The layer that it belongs to.
    pub layer: Option<u32>,
    /// The query head that it belongs to alone.
    pub head: Option<u32>,
}

impl Atlas {
    /// Where a place lies, or `None` where the model has no such place.
    pub fn rect(&self, place: &Place) -> Option<Rect> {
        let plan = self.model().plan();
        let layer = |layer: u32| plan.layers.get(layer as usize);
        match place {
            Place::Model => Some(self.bounds()),
            Place::Embedding => Some(plan.embedding),
            Place::Output if plan.output.width == 0 => Some(plan.embedding),
            Place::Output => Some(plan.output),
            Place::Layer(index) => layer(*index).map(|layer| layer.rect),
            Place::Attention(index) => layer(*index).map(|layer| layer.attention),
            Place::FeedForward(index) => layer(*index).map(|layer| layer.feed_forward),
            Place::Head(layer, head) => plan
                .heads
                .iter()
                .find(|plan| plan.layer == *layer && plan.head == *head)
                .map(|plan| plan.rect),
            Place::Tensor(name) => {
                self.model().tensor_index(name).map(|tensor| plan.tensor_rect(tensor))
            }
            Place::Token(token) => {
                let tensor = self.model().tensor_index(EMBEDDING)?;
                let rows = u64::from(*token)..u64::from(*token) + 1;
                let columns = 0..self.model().tensors()[tensor].tiling.columns;
                plan.plots_of(tensor).iter().find_map(|plot| plot.part(&rows, &columns))
            }
            Place::Weight(name, row, column) => {
                let tensor = self.model().tensor_index(name)?;
                let plots = plan.plots_of(tensor).iter();
                let mut holding =
                    plots.filter(|plot| plot.rows.contains(row) && plot.columns.contains(column));
                let (x, y) = holding.next()?.cell(*row, *column);
                Some(Rect::new(x, y, 1, 1))
            }
        }
    }

    /// What a place is called, in words.
    pub fn name(&self, place: &Place) -> String {
        match place {
            // Names come from the model's file, and may have control characters.
            Place::Model => one_line(&self.title()).into_owned(),
            Place::Embedding => "token embedding".into(),
            Place::Output => "output".into(),
            Place::Layer(layer) => format!("layer {layer}"),
            Place::Attention(layer) => format!("layer {layer} attention"),
            Place::FeedForward(layer) => format!("layer {layer} feed-forward"),
            Place::Head(layer, head) => format!("layer {layer} head {head}"),
            Place::Tensor(name) => one_line(name).into_owned(),
            Place::Token(token) => format!("token {token}"),
            Place::Weight(name, row, column) => format!("{} [{row}, {column}]", one_line(name)),
        }
    }

    /// What a place is called where the places around it are named before it.
    pub(crate) fn short_name(&self, place: &Place) -> String {
        match place {
            Place::Attention(_) => "heads".into(),
            Place::FeedForward(_) => "feed-forward".into(),
            Place::Head(_, head) => format!("head {head}"),
            Place::Tensor(name) => match self.model().tensor_index(name) {
                Some(tensor) => match self.model().tensors()[tensor].layer() {
                    Some((_, name)) => super::labels::short(name).into(),
                    None => name.clone(),
                },
                None => name.clone(),
            },
            Place::Weight(_, row, column) => format!("[{row}, {column}]"),
            _ => self.name(place),
        }
    }

    /// What is at a cell.
    pub(crate) fn spot(&self, x: i64, y: i64) -> Option<Spot> {
        let plan = self.model().plan();
        let plot = plan.plots.iter().find(|plot| plot.weight_at(x, y).is_some())?;
        let (row, column) = plot.weight_at(x, y)?;
        let tensor = &self.model().tensors()[plot.tensor];
        let tile = tensor.first_tile + tensor.tiling.tile_of(row, column) as u32;
        let size = u64::from(self.model().config().head_size).max(1);
        // Keys and values may serve several query heads, so that they are of none alone.
        let head = match tensor.layer() {
            Some((_, "attn_q.weight")) => Some((row / size) as u32),
            Some((_, "attn_output.weight")) => Some((column / size) as u32),
            _ => None,
        };
        let layer = tensor.layer().map(|(layer, _)| layer);
        Some(Spot { tensor: plot.tensor, row, column, tile, layer, head })
    }

    /// The named places around a cell, from the model to the tensor: the breadcrumb.
    pub fn trail(&self, x: i64, y: i64) -> Vec<Place> {
        let cell = Rect::new(x, y, 1, 1);
        let plan = self.model().plan();
        let mut trail = vec![Place::Model];
        if plan.embedding.contains(&cell) {
            trail.push(Place::Embedding);
        } else if plan.output.width > 0 && plan.output.contains(&cell) {
            trail.push(Place::Output);
        }
        if let Some(layer) = plan.layers.iter().find(|layer| layer.rect.contains(&cell)) {
            trail.push(Place::Layer(layer.layer));
            // Heads first: they lie within attention's rectangle.
            if let Some(head) = plan
                .heads
                .iter()
                .find(|head| head.layer == layer.layer && head.rect.contains(&cell))
            {
                trail.push(Place::Head(head.layer, head.head));
            } else if layer.feed_forward.contains(&cell) {
                trail.push(Place::FeedForward(layer.layer));
            } else if layer.attention.contains(&cell) {
                trail.push(Place::Attention(layer.layer));
            }
        }
        if let Some(spot) = self.spot(x, y) {
            trail.push(Place::Tensor(self.model().tensors()[spot.tensor].name.clone()));
        }
        trail
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn atlas() -> Atlas {
        Atlas::new(Arc::new(crate::app::kinds::assets().default_model().unwrap()))
    }

    #[test]
    fn every_place_lies_on_the_map_and_what_is_not_there_has_none() {
        let atlas = atlas();
        let config = atlas.model().config().clone();
        let mut places = vec![Place::Model, Place::Embedding, Place::Output];
        for layer in 0..config.layer_count {
            places.extend([
                Place::Layer(layer),
                Place::Attention(layer),
                Place::FeedForward(layer),
            ]);
            places.extend((0..config.head_count).map(|head| Place::Head(layer, head)));
        }
        places.extend(
            atlas.model().tensors().iter().map(|tensor| Place::Tensor(tensor.name.clone())),
        );
        for place in places {
            let rect = atlas.rect(&place).unwrap_or_else(|| panic!("{place:?}"));
            assert!(rect.width > 0 && atlas.bounds().contains(&rect), "{place:?} at {rect:?}");
        }
        let last = config.vocab_size - 1;
        let line = |token| atlas.rect(&Place::Token(token)).unwrap();
        assert_eq!([line(last).width, line(last).height], [i64::from(config.embedding_size), 1]);
        assert_eq!([line(1).x - line(0).x, line(1).y - line(0).y], [0, 1]);
        let none = Place::Token(config.vocab_size);
        for absent in [Place::Layer(999), Place::Head(0, 99), Place::Tensor("no".into()), none] {
            assert_eq!(atlas.rect(&absent), None, "{absent:?}");
        }
    }

    #[test]
    fn a_weight_is_found_where_it_is_and_knows_its_head() {
        let atlas = atlas();
        let size = u64::from(atlas.model().config().head_size);
        let place = Place::Weight("blk.1.attn_q.weight".into(), 2 * size + 3, 7);
        let rect = atlas.rect(&place).unwrap();
        let spot = atlas.spot(rect.x, rect.y).unwrap();
        assert_eq!(
            (spot.row, spot.column, spot.layer, spot.head),
            (2 * size + 3, 7, Some(1), Some(2))
        );
        let trail = atlas.trail(rect.x, rect.y);
        let tensor = Place::Tensor("blk.1.attn_q.weight".into());
        assert_eq!(trail, [Place::Model, Place::Layer(1), Place::Head(1, 2), tensor]);
        let names: Vec<String> = trail[1..].iter().map(|place| atlas.short_name(place)).collect();
        assert_eq!(names, ["layer 1", "head 2", "Q"]);
    }
}
