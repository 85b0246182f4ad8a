//! Builds the plan: a layer once, then layers along the river, then the delta, the light and the
//! yard.

use std::collections::HashMap;
use std::ops::Range;

use super::rules::{Arrangement, Bank, Grid, Rules, Side, Spacing};
use super::{HeadPlan, LayerPlan, MapPlan, Orientation, Plot, Rect, default_orientation};
use crate::model::config::ModelConfig;
use crate::model::tensors::Tensor;
use crate::model::tiling::Layout;

/// Heads side by side: the multiple of `share` that divides `heads` nearest, as a ratio, to sqrt(2
/// heads).
pub fn grid_width(heads: u32, share: u32) -> u32 {
    let target = f64::from(2 * heads).sqrt();
    let off = |width: &u32| (f64::from(*width) / target).ln().abs();
    let widths =
        (1..=heads / share).map(|n| n * share).filter(|&width| heads.is_multiple_of(width));
    // The smaller where both are as near: the plan has to be the same everywhere.
    widths.min_by(|a, b| off(a).total_cmp(&off(b)).then(a.cmp(b))).unwrap_or(heads)
}

pub(super) fn plan(config: &ModelConfig, tensors: &[Tensor], rules: &Rules) -> MapPlan {
    let mut builder = LayersBuilder::new(config, tensors, rules);
    let grid = Grid::new(rules.layers, config.layer_count, |aspect| builder.river_columns(aspect));
    let (width, layers_height) = builder.block_size(grid.columns, grid.rows);
    let gap = i64::from(rules.spacing.districts) * builder.unit;

    let output = builder.by_name.remove("output.weight");
    let embedding = builder.by_name.remove("token_embd.weight");
    let mut y = 0;
    for (tensor, side, is_output) in
        [(output, rules.districts.output, true), (embedding, rules.districts.embedding, false)]
    {
        if let (Some(tensor), Side::North) = (tensor, side) {
            y += builder.district(tensor, is_output, y, width).height + gap;
        }
    }
    // The output norm is a bridge just above the last layer, at the end of the river; where layers
    // leave no room for it, it goes to the yard.
    let norm = builder.by_name.get("output_norm.weight").copied();
    let norm_height = norm.map_or(0, |norm| builder.bridge_height(norm) + 2 * builder.unit);
    // A snake has nothing but free ground north of its last layer.
    let is_free = matches!(rules.layers, Arrangement::Snake { .. })
        || grid.places.last().is_some_and(|place| place.1 == 0);
    let between = i64::from(rules.spacing.layers) * builder.unit;
    let top = y + if is_free { norm_height } else { 0 };
    for (layer, &place) in (0..config.layer_count).zip(&grid.places) {
        builder.layer(layer, place, top);
    }
    if let (Some(norm), Some(last)) = (norm, builder.layers.last())
        && (is_free || between >= norm_height)
    {
        let x = last.river.x + builder.unit;
        let y = last.rect.y - norm_height;
        builder.by_name.remove("output_norm.weight");
        builder.bridge(norm, x, y);
    }
    y = top + layers_height;
    for (tensor, side, is_output) in
        [(embedding, rules.districts.embedding, false), (output, rules.districts.output, true)]
    {
        if let (Some(tensor), Side::South) = (tensor, side) {
            y += gap + builder.district(tensor, is_output, y + gap, width).height;
        }
    }
    let height = builder.yard(y, width);
    builder.finish([width, height])
}

/// How many steps of a length cover a distance; both are at least 1.
fn steps(distance: i64, step: i64) -> i64 {
    (distance + step - 1) / step
}

struct LayersBuilder<'a> {
    config: &'a ModelConfig,
    tensors: &'a [Tensor],
    by_name: HashMap<&'a str, usize>,
    unit: i64,
    spacing: Spacing,
    heads_bank: Bank,
    plots: Vec<Vec<Plot>>,
    layers: Vec<LayerPlan>,
    heads: Vec<HeadPlan>,
    embedding: Rect,
    output: Rect,
}

impl<'a> LayersBuilder<'a> {
    fn new(config: &'a ModelConfig, tensors: &'a [Tensor], rules: &Rules) -> Self {
        let usual = i64::from(config.embedding_size / 64).max(4);
        Self {
            config,
            tensors,
            by_name: tensors
                .iter()
                .enumerate()
                .map(|(index, tensor)| (tensor.name.as_str(), index))
                .collect(),
            unit: rules.spacing.unit.map_or(usual, i64::from),
            spacing: rules.spacing,
            heads_bank: rules.heads,
            plots: vec![Vec::new(); tensors.len()],
            layers: Vec::new(),
            heads: Vec::new(),
            embedding: Rect::default(),
            output: Rect::default(),
        }
    }

    fn depth(&self) -> i64 {
        i64::from(self.config.embedding_size)
    }

    /// So many units, in cells.
    fn units(&self, count: u32) -> i64 {
        i64::from(count) * self.unit
    }

    /// Room for a bias above its plot.
    fn bias_room(&self) -> i64 {
        if self.config.qkv_biases { 1 + self.unit } else { 0 }
    }

    fn grid(&self) -> (i64, i64) {
        let width = grid_width(self.config.head_count, self.config.heads_per_kv());
        (i64::from(width), i64::from(self.config.head_count / width))
    }

    /// K and V, then Q and O of each head.
    fn group_width(&self) -> i64 {
        let plots = 2 + 2 * i64::from(self.config.heads_per_kv());
        plots * i64::from(self.config.head_size) + (plots - 1) * self.units(self.spacing.plots)
    }

    fn attention_size(&self) -> (i64, i64) {
        let (width, rows) = self.grid();
        let groups = width / i64::from(self.config.heads_per_kv());
        (
            groups * self.group_width() + (groups - 1) * self.units(self.spacing.groups),
            rows * (self.depth() + self.bias_room()) + (rows - 1) * self.units(self.spacing.groups),
        )
    }

    fn feed_forward_size(&self) -> (i64, i64) {
        (i64::from(self.config.hidden_size), 3 * self.depth() + 2 * self.units(self.spacing.groups))
    }

    fn layer_size(&self) -> (i64, i64) {
        let (attention, fields) = (self.attention_size(), self.feed_forward_size());
        let between = self.units(self.spacing.river + 2 * self.spacing.banks);
        (attention.0 + between + fields.0, attention.1.max(fields.1))
    }

    fn block_size(&self, columns: i64, rows: i64) -> (i64, i64) {
        let (width, height) = self.layer_size();
        let gap = self.units(self.spacing.layers);
        (columns * width + (columns - 1) * gap, rows * height + (rows - 1) * gap)
    }

    fn river_columns(&self, aspect: f64) -> i64 {
        let layers = i64::from(self.config.layer_count);
        let off = |columns: &i64| {
            let (width, height) = self.block_size(*columns, steps(layers, *columns));
            (width as f64 / height as f64 / aspect).ln().abs()
        };
        // Of 30 layers in 7 columns of 5 the seventh would be empty, and the river end in the
        // south.
        let odd = (1..=layers)
            .step_by(2)
            .filter(|&columns| steps(layers, steps(layers, columns)) == columns);
        odd.min_by(|a, b| off(a).total_cmp(&off(b)).then(a.cmp(b))).unwrap_or(1)
    }

    fn layer(&mut self, layer: u32, (column, row, northward): (i64, i64, bool), top: i64) {
        let (width, height) = self.layer_size();
        let gap = self.units(self.spacing.layers);
        let (x, y) = (column * (width + gap), top + row * (height + gap));
        let (attention, fields) = (self.attention_size(), self.feed_forward_size());
        let [bank, river] = [self.spacing.banks, self.spacing.river].map(|count| self.units(count));
        let (west, east) = match self.heads_bank {
            Bank::West => (attention, fields),
            Bank::East => (fields, attention),
        };
        let [west, east] = [
            Rect::new(x, y, west.0, west.1),
            Rect::new(x + west.0 + 2 * bank + river, y, east.0, east.1),
        ];
        let plan = LayerPlan {
            layer,
            rect: Rect::new(x, y, width, height),
            attention: if self.heads_bank == Bank::West { west } else { east },
            river: Rect::new(x + west.width + bank, y, river, height),
            feed_forward: if self.heads_bank == Bank::West { east } else { west },
            northward,
        };
        self.attention(layer, plan.attention);
        for (index, name) in ["ffn_gate", "ffn_up", "ffn_down"].into_iter().enumerate() {
            let y = y + index as i64 * (self.depth() + self.units(self.spacing.groups));
            let orientation = if name == "ffn_down" {
                Orientation::ColumnsAlongX
            } else {
                Orientation::RowsAlongX
            };
            if let Some(tensor) = self.take(layer, name, "weight") {
                self.whole(
                    tensor,
                    orientation,
                    Rect::new(plan.feed_forward.x, y, fields.0, self.depth()),
                );
            }
        }
        self.bridges(layer, plan.river, northward);
        self.layers.push(plan);
    }

    fn attention(&mut self, layer: u32, bank: Rect) {
        let [plot_gap, group_gap] =
            [self.spacing.plots, self.spacing.groups].map(|count| self.units(count));
        let (size, depth) = (i64::from(self.config.head_size), self.depth());
        let share = self.config.heads_per_kv();
        let groups_across = self.grid().0 / i64::from(share);
        let weights = ["attn_q", "attn_k", "attn_v", "attn_output"]
            .map(|name| self.take(layer, name, "weight"));
        let biases = ["attn_q", "attn_k", "attn_v"].map(|name| self.take(layer, name, "bias"));
        for group in 0..self.config.kv_head_count {
            let (across, down) =
                (i64::from(group) % groups_across, i64::from(group) / groups_across);
            let mut x = bank.x + across * (self.group_width() + group_gap);
            let y = bank.y + down * (depth + self.bias_room() + group_gap) + self.bias_room();
            for kind in [1, 2] {
                self.head_plot(weights[kind], biases[kind], group, Orientation::RowsAlongX, x, y);
                x += size + plot_gap;
            }
            for head in group * share..(group + 1) * share {
                let rect = Rect::new(x, y, 2 * size + plot_gap, depth);
                self.head_plot(weights[0], biases[0], head, Orientation::RowsAlongX, x, y);
                self.head_plot(
                    weights[3],
                    None,
                    head,
                    Orientation::ColumnsAlongX,
                    x + size + plot_gap,
                    y,
                );
                self.heads.push(HeadPlan { layer, head, kv_head: group, rect });
                x += 2 * (size + plot_gap);
            }
        }
    }

    /// One head's part of a matrix, and of its bias above it.
    fn head_plot(
        &mut self,
        weight: Option<usize>,
        bias: Option<usize>,
        head: u32,
        along: Orientation,
        x: i64,
        y: i64,
    ) {
        let (size, depth) = (u64::from(self.config.head_size), self.depth());
        let part = u64::from(head) * size..u64::from(head + 1) * size;
        let rect = Rect::new(x, y, size as i64, depth);
        if let Some(tensor) = weight {
            let (rows, columns) = match along {
                Orientation::ColumnsAlongX => (0..depth as u64, part.clone()),
                _ => (part.clone(), 0..depth as u64),
            };
            self.plots[tensor].push(Plot { tensor, rows, columns, orientation: along, rect });
        }
        if let Some(tensor) = bias {
            let rect = Rect::new(x, y - self.bias_room(), size as i64, 1);
            self.plots[tensor].push(Plot {
                tensor,
                rows: 0..1,
                columns: part,
                orientation: Orientation::Wrapped,
                rect,
            });
        }
    }

    /// Norms and whatever other vectors a layer has, across the river.
    fn bridges(&mut self, layer: u32, river: Rect, northward: bool) {
        let prefix = format!("blk.{layer}.");
        let middle = self.take(layer, "ffn_norm", "weight");
        let mut rest: Vec<usize> = ["attn_norm", "attn_q_norm", "attn_k_norm"]
            .into_iter()
            .filter_map(|name| self.take(layer, name, "weight"))
            .collect();
        let mut others: Vec<usize> = (self.by_name.iter())
            .filter(|(name, index)| {
                name.starts_with(&prefix) && self.tensors[**index].tiling.layout == Layout::Vector
            })
            .map(|(_, &index)| index)
            .collect();
        // The map of names has no order, and the plan has to be the same each time.
        others.sort_unstable();
        for &index in &others {
            self.by_name.remove(self.tensors[index].name.as_str());
        }
        rest.extend(others);
        let x = river.x + self.unit;
        if let Some(tensor) = middle {
            let height = self.bridge_height(tensor);
            self.bridge(tensor, x, river.y + (river.height - height) / 2);
        }
        let mut gone = 0;
        for tensor in rest {
            let height = self.bridge_height(tensor);
            // From where the stream enters the layer.
            let y = if northward { river.y + river.height - gone - height } else { river.y + gone };
            self.bridge(tensor, x, y);
            gone += height + self.unit;
        }
    }

    /// From bank to bank, with a unit of water on either side.
    fn bridge_width(&self) -> i64 {
        self.units(self.spacing.river.saturating_sub(2).max(2))
    }

    fn bridge_height(&self, tensor: usize) -> i64 {
        steps(self.tensors[tensor].tiling.columns as i64, self.bridge_width())
    }

    fn bridge(&mut self, tensor: usize, x: i64, y: i64) {
        let rect = Rect::new(x, y, self.bridge_width(), self.bridge_height(tensor));
        self.whole(tensor, Orientation::Wrapped, rect);
    }

    /// The output or the embedding, as bands.
    fn district(&mut self, tensor: usize, is_output: bool, y: i64, width: i64) -> Rect {
        let rect = self.bands(tensor, 0, y, width);
        *(if is_output { &mut self.output } else { &mut self.embedding }) = rect;
        rect
    }

    /// A matrix in bands as wide as the map.
    fn bands(&mut self, tensor: usize, x: i64, y: i64, width: i64) -> Rect {
        let tiling = self.tensors[tensor].tiling;
        let mut all = Rect::default();
        for (index, start) in (0..tiling.rows).step_by(width.max(1) as usize).enumerate() {
            let rows = start..tiling.rows.min(start + width as u64);
            let y = y + index as i64 * (tiling.columns as i64 + 2 * self.unit);
            let rect = Rect::new(x, y, (rows.end - rows.start) as i64, tiling.columns as i64);
            let orientation = Orientation::RowsAlongX;
            self.plots[tensor].push(Plot {
                tensor,
                rows,
                columns: 0..tiling.columns,
                orientation,
                rect,
            });
            all = all.union(rect);
        }
        all
    }

    /// What has no other place, below everything. Returns the height of the map.
    fn yard(&mut self, bottom: i64, width: i64) -> i64 {
        let mut rest: Vec<usize> = self.by_name.values().copied().collect();
        // In the order of the file.
        rest.sort_unstable();
        let mut bottom = bottom;
        for (index, tensor) in rest.into_iter().enumerate() {
            let y = bottom + if index == 0 { 6 } else { 2 } * self.unit;
            let rect = match default_orientation(&self.tensors[tensor]) {
                Orientation::Wrapped => {
                    let elements = self.tensors[tensor].tiling.columns as i64;
                    let across = elements.min(width);
                    let rect = Rect::new(0, y, across, steps(elements, across));
                    self.whole(tensor, Orientation::Wrapped, rect);
                    rect
                }
                _ => self.bands(tensor, 0, y, width),
            };
            bottom = y + rect.height;
        }
        bottom
    }

    fn whole(&mut self, tensor: usize, orientation: Orientation, rect: Rect) {
        let tiling = self.tensors[tensor].tiling;
        self.plots[tensor].push(Plot {
            tensor,
            rows: 0..tiling.rows,
            columns: 0..tiling.columns,
            orientation,
            rect,
        });
    }

    /// The index of a layer's tensor, once.
    fn take(&mut self, layer: u32, name: &str, kind: &str) -> Option<usize> {
        self.by_name.remove(format!("blk.{layer}.{name}.{kind}").as_str())
    }

    fn finish(self, size: [i64; 2]) -> MapPlan {
        let mut of_tensor: Vec<Range<usize>> = Vec::new();
        let mut plots = Vec::new();
        for list in self.plots {
            of_tensor.push(plots.len()..plots.len() + list.len());
            plots.extend(list);
        }
        MapPlan {
            size,
            unit: self.unit,
            plots,
            of_tensor,
            layers: self.layers,
            heads: self.heads,
            embedding: self.embedding,
            output: self.output,
            ornaments: Vec::new(),
            signs: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::grid_width;

    #[test]
    fn grids_of_heads_are_those_of_the_specification() {
        for (heads, kv_heads, expected) in [
            (32, 32, 8),
            (32, 8, 8),
            (9, 3, 3),
            (6, 2, 3),
            (14, 2, 7),
            (12, 2, 6),
            (40, 8, 10),
            (1, 1, 1),
            (7, 1, 7),
        ] {
            assert_eq!(
                grid_width(heads, heads / kv_heads),
                expected,
                "{heads} heads, {kv_heads} KV heads"
            );
        }
    }
}
