//! Questions about the model itself, whose answers are true of its file.

use super::TemplateSlot;
use super::draw::{Draws, SlotValues};
use super::generate::CorpusError;
use crate::model::PixelModel;
use crate::model::adapter::TARGETS;

/// Draws of two things before it counts as impossible that two differ.
const TRIES: u32 = 1000;
/// The least difference of two spreads, as a share of the larger.
const LEAST_DIFFERENCE: f32 = 0.02;
/// Directions: the axis of the land, and the sign with which it grows.
const DIRECTIONS: [(&str, usize, i64); 4] =
    [("east", 0, 1), ("west", 0, -1), ("south", 1, 1), ("north", 1, -1)];
/// What the matrices of a layer are called in a sentence, in the order of [`TARGETS`].
const SPOKEN: [&str; 7] = ["queries", "keys", "values", "outputs", "gates", "ups", "downs"];

/// A model that is asked about.
pub(super) struct OfModel<'a>(pub &'a PixelModel);

impl OfModel<'_> {
    /// The values of slots that one thing of the model gives.
    ///
    /// # Errors
    /// The model has no such thing.
    pub fn draw(&self, slot: &TemplateSlot, draws: &mut Draws) -> Result<SlotValues, CorpusError> {
        let values = match slot {
            TemplateSlot::HeadPlace => self.head(draws),
            TemplateSlot::HeadPair => self.two_heads(draws),
            TemplateSlot::SpreadPair => self.two_matrices(draws),
            TemplateSlot::TileStatistics => self.tile(draws),
            _ => self.matrix(draws),
        };
        values.ok_or(CorpusError::NotInModel)
    }

    /// A head, and a cell of its queries' weights.
    fn head(&self, draws: &mut Draws) -> Option<SlotValues> {
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

    /// Two heads of a layer, and which lies further in a direction.
    fn two_heads(&self, draws: &mut Draws) -> Option<SlotValues> {
        let config = self.0.config();
        let plan = self.0.plan();
        let middle = |layer: u32, head: u32| {
            let found = plan.heads.iter().find(|it| (it.layer, it.head) == (layer, head))?;
            let rect = found.rect;
            Some([rect.x + rect.width / 2, rect.y + rect.height / 2])
        };
        (0..TRIES).find_map(|_| {
            let layer = draws.below(u64::from(config.layer_count)) as u32;
            let [one, other] = [(); 2].map(|()| draws.below(u64::from(config.head_count)) as u32);
            let (direction, axis, sign) = *draws.pick(&DIRECTIONS)?;
            let [of_one, of_other] = [middle(layer, one)?[axis], middle(layer, other)?[axis]];
            let further = match (sign * (of_one - of_other)).signum() {
                1 => one,
                -1 => other,
                _ => return None,
            };
            Some(values([
                ("layer", layer.to_string()),
                ("one", one.to_string()),
                ("other", other.to_string()),
                ("direction", direction.to_owned()),
                ("further", further.to_string()),
            ]))
        })
    }

    /// Two matrices of a layer, and which has the wider weights.
    fn two_matrices(&self, draws: &mut Draws) -> Option<SlotValues> {
        (0..TRIES).find_map(|_| {
            let layer = draws.below(u64::from(self.0.config().layer_count));
            let [one, other] = [(); 2].map(|()| draws.below(SPOKEN.len() as u64) as usize);
            let [of_one, of_other] = [self.spread(layer, one)?, self.spread(layer, other)?];
            // Nearer than this the table does not say it in any digits that people read.
            if (of_one - of_other).abs() < LEAST_DIFFERENCE * of_one.max(of_other) {
                return None;
            }
            let wider = if of_one > of_other { one } else { other };
            Some(values([
                ("layer", layer.to_string()),
                ("one", SPOKEN[one].to_owned()),
                ("other", SPOKEN[other].to_owned()),
                ("wider", SPOKEN[wider].to_owned()),
            ]))
        })
    }

    /// The mean standard deviation of a matrix's tiles.
    fn spread(&self, layer: u64, target: usize) -> Option<f32> {
        let model = self.0;
        let name = format!("blk.{layer}.{}.weight", TARGETS[target]);
        let tensor = &model.tensors()[model.tensor_index(&name)?];
        let count = u32::try_from(tensor.tiling.tile_count()).ok()?;
        let tiles = tensor.first_tile..tensor.first_tile + count;
        let sum: f32 = tiles.map(|tile| model.tile_statistics(tile).spread).sum();
        Some(sum / count as f32)
    }

    /// A tile and what its table says of it.
    fn tile(&self, draws: &mut Draws) -> Option<SlotValues> {
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
    fn matrix(&self, draws: &mut Draws) -> Option<SlotValues> {
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

fn values<const N: usize>(pairs: [(&str, String); N]) -> SlotValues {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
