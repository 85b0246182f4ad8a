//! Questions about the model itself, whose answers are true of its file.

use super::Slot;
use super::draw::{Draws, Values};
use super::generate::CorpusError;
use crate::model::PixelModel;

/// A model that is asked about.
pub(super) struct OfModel<'a>(pub &'a PixelModel);

impl OfModel<'_> {
    /// The values of slots that one thing of the model gives.
    ///
    /// # Errors
    /// The model has no such thing.
    pub fn draw(&self, slot: &Slot, draws: &mut Draws) -> Result<Values, CorpusError> {
        let values = match slot {
            Slot::HeadPlace => self.head(draws),
            Slot::TileStatistics => self.tile(draws),
            _ => self.matrix(draws),
        };
        values.ok_or(CorpusError::NotInModel)
    }

    /// A head, and a cell of its queries' weights.
    fn head(&self, draws: &mut Draws) -> Option<Values> {
        let model = self.0;
        let plan = model.plan();
        let head = draws.pick(&plan.heads)?;
        let tensor = model.tensor_index(&format!("blk.{}.attn_q.weight", head.layer))?;
        let size = u64::from(model.config().head_size);
        let columns = model.tensors()[tensor].tiling.columns;
        let row = u64::from(head.head) * size + draws.below(size);
        let column = draws.below(columns);
        // Plots share out rows or columns; the one that has this weight shows where it lies.
        let (x, y) = plan
            .plots_of(tensor)
            .iter()
            .map(|plot| plot.cell(row, column))
            .find(|&(x, y)| plan.weight_at(x, y) == Some((tensor, row, column)))?;
        Some(values([
            ("layer", head.layer.to_string()),
            ("head", head.head.to_string()),
            ("x", x.to_string()),
            ("y", y.to_string()),
        ]))
    }

    /// A tile and what its table says of it.
    fn tile(&self, draws: &mut Draws) -> Option<Values> {
        let model = self.0;
        let tile = u32::try_from(draws.below(u64::from(model.tile_count()))).ok()?;
        let (tensor, _) = model.tile_shape(tile);
        let statistics = model.tile_statistics(tile);
        Some(values([
            ("tile", tile.to_string()),
            ("tensor", model.tensors().get(tensor)?.name.clone()),
            ("spread", format!("{:.4}", statistics.spread)),
            ("peak", format!("{:.4}", statistics.peak)),
        ]))
    }

    /// A matrix of a layer.
    fn matrix(&self, draws: &mut Draws) -> Option<Values> {
        let model = self.0;
        let is_matrix = |tensor: &&crate::model::Tensor| {
            tensor.name.starts_with("blk.") && tensor.tiling.rows > 1
        };
        let matrices: Vec<_> = model.tensors().iter().filter(is_matrix).collect();
        let matrix = draws.pick(&matrices)?;
        let layer = matrix.name.split('.').nth(1)?;
        Some(values([
            ("tensor", matrix.name.clone()),
            ("rows", matrix.tiling.rows.to_string()),
            ("columns", matrix.tiling.columns.to_string()),
            ("encoding", matrix.encoding().to_string()),
            ("layer", layer.to_owned()),
        ]))
    }
}

fn values<const N: usize>(pairs: [(&str, String); N]) -> Values {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
