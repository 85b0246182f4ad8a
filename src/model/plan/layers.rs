//! Builds the plan: how many lanes a layer has and where layers lie, then each layer, then the sea
//! and the yard.

use std::collections::HashMap;
use std::ops::Range;

use super::grid::Grid;
use super::rules::{Arrangement, Bank, Rules, Side};
use super::strip::{BANKS, Strip};
use super::{HeadPlan, LayerPlan, MapPlan, Orientation, Plot, Rect, default_orientation};
use crate::model::config::ModelConfig;
use crate::model::tensors::Tensor;
use crate::model::tiling::Layout;

/// The most lanes of a layer that are tried: a model of one layer has 16 of them at 2.2 : 1.
const MOST_LANES: u32 = 24;
/// The most rows of layers that are tried. With 5, every model of 4 to 80 layers that was tried
/// covers three quarters of its screen; with 4, one of 40 layers and a small vocabulary does not.
const MOST_ROWS: i64 = 5;
/// How near to the shape that is asked for the land is to come, by its width over its height. A
/// land of 1.85 to 2.62 : 1 covers three quarters of a screen of 1280 x 720 and of one of
/// 2560 x 1440, between what stands above and below it.
const LEAST_SHAPE: f64 = 0.84;
/// The most of the land that is to be holes, and where no land has so few, the most then: of 53
/// layers some row is short. Vectors, which are not counted here, take the rest of 0.08 and 0.09.
const MOST_HOLES: [f64; 2] = [0.075, 0.086];
/// What a bend and a lane have to bring, in parts of the screen that is covered: the plainer land
/// is taken where both cover nearly as much.
const COST_OF_A_BEND: f64 = 0.04;
const COST_OF_A_LANE: f64 = 0.005;
/// The same of a river of the next of [`BANKS`].
const COST_OF_BREADTH: f64 = 0.03;

pub(super) fn plan(config: &ModelConfig, tensors: &[Tensor], rules: &Rules) -> MapPlan {
    let mut builder = LayersBuilder::new(config, tensors, rules);
    (builder.strips, builder.grid) = builder.best_shape();
    let districts = rules.districts;
    let output = builder.by_name.remove("output.weight");
    let embedding = builder.by_name.remove("token_embd.weight");
    let gap = builder.units(rules.spacing.districts);
    let [width, layers_height] = builder.layers_size(&builder.strips, &builder.grid);
    let mut y = 0;
    for (tensor, side, is_output) in
        [(output, districts.output, true), (embedding, districts.embedding, false)]
    {
        if let (Some(tensor), Side::North) = (tensor, side) {
            y += builder.sea(tensor, is_output, y).height + gap;
        }
    }
    for layer in 0..config.layer_count {
        builder.layer(layer, y);
    }
    builder.river = match rules.layers {
        Arrangement::Snake { .. } => builder.whole_river(width),
        _ => builder.layers.iter().map(|layer| layer.river).collect(),
    };
    y += layers_height;
    // The output norm is a line under the last layer, on the way to what reads it.
    let norm = builder.by_name.remove("output_norm.weight");
    if let (Some(norm), Some(x)) = (norm, builder.layers.last().map(|layer| layer.rect.x)) {
        y = builder.vector(norm, x, y + builder.strips[0].gap);
    }
    for (tensor, side, is_output) in
        [(embedding, districts.embedding, false), (output, districts.output, true)]
    {
        if let (Some(tensor), Side::South) = (tensor, side) {
            y += gap + builder.sea(tensor, is_output, y + gap).height;
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
    rules: &'a Rules,
    by_name: HashMap<&'a str, usize>,
    /// Vectors of each layer, in the order of the file.
    vectors: HashMap<u32, Vec<usize>>,
    unit: i64,
    /// Of every row of layers, and of the last one, which has wider ones where it has fewer.
    strips: [Strip; 2],
    grid: Grid,
    plots: Vec<Vec<Plot>>,
    layers: Vec<LayerPlan>,
    heads: Vec<HeadPlan>,
    river: Vec<Rect>,
    embedding: Rect,
    output: Rect,
}

impl<'a> LayersBuilder<'a> {
    fn new(config: &'a ModelConfig, tensors: &'a [Tensor], rules: &'a Rules) -> Self {
        let usual = i64::from(config.embedding_size / 256).max(1);
        let unit = rules.spacing.unit.map_or(usual, i64::from);
        let names = tensors.iter().enumerate();
        let by_name: HashMap<_, _> =
            names.map(|(index, tensor)| (tensor.name.as_str(), index)).collect();
        let mut vectors: HashMap<u32, Vec<usize>> = HashMap::new();
        for (index, tensor) in tensors.iter().enumerate() {
            if let (Some((layer, _)), Layout::Vector) = (tensor.layer(), tensor.tiling.layout) {
                vectors.entry(layer).or_default().push(index);
            }
        }
        Self {
            config,
            tensors,
            rules,
            by_name,
            vectors,
            unit,
            strips: [Strip::new(config, (&rules.spacing, unit), [0; 2], (1, BANKS[0])); 2],
            grid: Grid::new(rules.layers, config.layer_count, 1),
            plots: vec![Vec::new(); tensors.len()],
            layers: Vec::new(),
            heads: Vec::new(),
            river: Vec::new(),
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

    /// Lanes of a layer and places of the layers, so that the land comes near to the shape that is
    /// asked for, with few holes.
    fn best_shape(&self) -> ([Strip; 2], Grid) {
        let shores = self.shores();
        let layers = i64::from(self.config.layer_count);
        let (aspect, rows, banks) = match self.rules.layers {
            Arrangement::Snake { aspect } => {
                (f64::from(aspect), 1..=MOST_ROWS.min(layers), &BANKS[..])
            }
            // Their rules say where each layer lies; only its own shape is left to choose.
            _ => (f64::from(super::rules::ASPECT), 1..=1, &BANKS[..1]),
        };
        // In three rows 80 layers need 27 columns; where the last row would be empty, fewer do.
        let rows = rows.filter(|&rows| steps(layers, steps(layers, rows)) == rows);
        let most = MOST_LANES.min(self.config.hidden_size);
        let area = |tensor: &Tensor| tensor.tiling.rows as f64 * tensor.tiling.columns as f64;
        let cells: f64 = self.tensors.iter().map(area).sum();
        let mut best = ((0, f64::NEG_INFINITY), None);
        for rows in rows {
            let grid = Grid::new(self.rules.layers, self.config.layer_count, rows);
            let sizes = (1..=most).flat_map(|lanes| (0..banks.len()).map(move |at| (lanes, at)));
            for (lanes, breadth) in sizes {
                let strips = self.strips(&grid, shores, (lanes, banks[breadth]));
                let (shape, full) = self.covered(&strips, &grid, aspect, cells);
                let has_few_holes = |most: &&f64| shape >= LEAST_SHAPE && 1.0 - full <= **most;
                let good = MOST_HOLES.iter().filter(has_few_holes).count();
                let worth = shape * full
                    - COST_OF_A_BEND * (rows - 1) as f64
                    - COST_OF_A_LANE * f64::from(lanes - 1)
                    - COST_OF_BREADTH * breadth as f64;
                if best.1.is_none() || (good, worth) > best.0 {
                    best = ((good, worth), Some((strips, grid.clone())));
                }
            }
        }
        best.1.unwrap_or_else(|| (self.strips, self.grid.clone()))
    }

    /// The strips of so many lanes, and those of the last row: of as many more as its layers have
    /// room for.
    fn strips(&self, grid: &Grid, shores: [i64; 2], (lanes, banks): (u32, i64)) -> [Strip; 2] {
        let spacing = (&self.rules.spacing, self.unit);
        let strip = |lanes| Strip::new(self.config, spacing, shores, (lanes, banks));
        let usual = strip(lanes);
        if !matches!(self.rules.layers, Arrangement::Snake { .. }) {
            return [usual; 2];
        }
        let gap = self.units(self.rules.spacing.layers);
        let across = |strip: &Strip, layers: i64| layers * (strip.width + gap) - gap;
        let last = grid.places.iter().filter(|place| place.1 + 1 == grid.rows).count() as i64;
        let most = (i64::from(lanes) * grid.columns / last.max(1)) as u32;
        let fits = |lanes: &u32| across(&strip(*lanes), last) <= across(&usual, grid.columns);
        let more = (lanes..=most.min(self.config.hidden_size)).rev().find(fits);
        [usual, more.map_or(usual, strip)]
    }

    /// The part of a screen of that width over its height that a rectangle of the land's shape
    /// covers, where all of it is on it; and the part of that which plots, of so many cells
    /// together, and river cover.
    fn covered(&self, strips: &[Strip; 2], grid: &Grid, aspect: f64, cells: f64) -> (f64, f64) {
        let [width, mut height] = self.layers_size(strips, grid);
        let bands = grid.columns * i64::from(strips[0].lanes);
        for name in ["token_embd.weight", "output.weight"] {
            if let Some(&tensor) = self.by_name.get(name) {
                let tokens = self.tensors[tensor].tiling.rows as i64;
                height += steps(tokens, bands) + self.units(self.rules.spacing.districts);
            }
        }
        let of_layers = grid.places.iter().map(|place| {
            let strip = &strips[usize::from(place.1 + 1 == grid.rows)];
            strip.width as f64 * strip.river as f64
        });
        let mut river: f64 = of_layers.sum();
        if matches!(self.rules.layers, Arrangement::Snake { .. }) {
            // The spaces between layers, and at each bend the way to it, from it, and down.
            let gap = self.units(self.rules.spacing.layers);
            let (usual, bends) = (&strips[0], grid.rows - 1);
            let spaces = grid.places.len() as i64 - grid.rows;
            let beside = 2 * (self.bend() + gap);
            let down = (usual.height() + gap - usual.river) * self.bend();
            let along = spaces * gap + bends * beside;
            river += (along * usual.river + bends * down) as f64;
        }
        let (width, height) = (width as f64, height as f64);
        let full = cells + river;
        let shape = width / height / aspect;
        (shape.min(1.0 / shape), full / (width * height))
    }

    /// Room for vectors on both shores: the most that a layer needs.
    fn shores(&self) -> [i64; 2] {
        let mut most = [0; 2];
        for layer in 0..self.config.layer_count {
            for (room, vectors) in most.iter_mut().zip(self.shore_vectors(layer)) {
                let down =
                    |tensor: &usize| self.lines(*tensor) + self.units(self.rules.spacing.plots);
                *room = (*room).max(vectors.iter().map(down).sum());
            }
        }
        most
    }

    /// The vectors of a layer that stand on the shores, in their order from the bank: of the
    /// attention, with those that nobody knows, and of the feed-forward.
    fn shore_vectors(&self, layer: u32) -> [Vec<usize>; 2] {
        let of_layer = self.vectors.get(&layer).map_or(&[][..], |list| list);
        let name = |index: usize| self.tensors[index].layer().map_or("", |(_, name)| name);
        let mut shores = [Vec::new(), Vec::new()];
        for &index in of_layer {
            match name(index) {
                // Beside their rows.
                "attn_q.bias" | "attn_k.bias" | "attn_v.bias" | "ffn_gate.bias" | "ffn_up.bias" => {
                }
                "ffn_norm.weight" | "ffn_down.bias" => shores[1].push(index),
                _ => shores[0].push(index),
            }
        }
        shores
    }

    /// Width and height of all layers with their spaces, and of the bends beside them.
    fn layers_size(&self, [usual, last]: &[Strip; 2], grid: &Grid) -> [i64; 2] {
        let gap = self.units(self.rules.spacing.layers);
        let [west, east] = self.bends(grid);
        [
            west + grid.columns * (usual.width + gap) - gap + east,
            (grid.rows - 1) * (usual.height() + gap) + last.height(),
        ]
    }

    /// Across the river where it bends: half of what it is elsewhere, since what lies beside a bend
    /// is empty.
    fn bend(&self) -> i64 {
        self.strips[0].river / 2
    }

    /// Room west and east of the layers: for the river's bends, or for canals.
    fn bends(&self, grid: &Grid) -> [i64; 2] {
        let bend = self.bend() + self.units(self.rules.spacing.layers);
        match self.rules.layers {
            Arrangement::Snake { .. } => {
                [3, 2].map(|rows| if grid.rows >= rows { bend } else { 0 })
            }
            _ => [0, self.units(self.rules.spacing.layers)],
        }
    }

    /// Left edge of a column of layers, of rows but the last.
    fn column_x(&self, column: i64) -> i64 {
        let gap = self.units(self.rules.spacing.layers);
        self.bends(&self.grid)[0] + column * (self.strips[0].width + gap)
    }

    /// Left edge of the layer at a place, with its strip: from the side where its row begins.
    fn strip_at(&self, (column, row, westward): (i64, i64, bool)) -> (i64, Strip) {
        let strip = self.strips[usize::from(row + 1 == self.grid.rows)];
        let step = strip.width + self.units(self.rules.spacing.layers);
        let columns = self.grid.columns;
        // Strips of the last row may be wider than its columns. Only rows of a snake run west as a
        // whole; of others all strips are as wide as a column.
        let x = if westward {
            self.column_x(columns - 1) + self.strips[0].width
                - strip.width
                - (columns - 1 - column) * step
        } else {
            self.column_x(0) + column * step
        };
        (x, strip)
    }

    fn layer(&mut self, layer: u32, top: i64) {
        let place = self.grid.places[layer as usize];
        let (x, strip) = self.strip_at(place);
        let (row, westward) = (place.1, place.2);
        let gap = self.units(self.rules.spacing.layers);
        let y = top + row * (self.strips[0].height() + gap);
        let across = |y: i64, height: i64| Rect::new(x, y, strip.width, height);
        let is_north = self.rules.heads == Bank::North;
        let [attention_shore, field_shore] = strip.shores;
        let (north, shore) =
            if is_north { (strip.heads, attention_shore) } else { (strip.fields, field_shore) };
        let river = across(y + north + shore, strip.river);
        let south = river.y + river.height + strip.shores[usize::from(is_north)];
        let banks = [across(y, north), across(south, strip.height() - (south - y))];
        let (attention, feed_forward) =
            if is_north { (banks[0], banks[1]) } else { (banks[1], banks[0]) };
        let channels = (0..i64::from(strip.lanes))
            .map(|lane| Rect { x: x + lane * strip.pitch, width: self.depth(), ..river })
            .collect();
        for (bank, vectors) in [attention, feed_forward].into_iter().zip(self.shore_vectors(layer))
        {
            // From the bank to the river: downwards from that in the north.
            let mut y =
                if bank.y < river.y { bank.y + bank.height } else { river.y + river.height };
            for tensor in vectors {
                self.by_name.remove(self.tensors[tensor].name.as_str());
                y = self.vector(tensor, x, y + strip.gap);
            }
        }
        self.attention(layer, attention, &strip);
        self.fields(layer, feed_forward, &strip);
        let rect = across(y, strip.height());
        self.layers.push(LayerPlan {
            layer,
            rect,
            attention,
            feed_forward,
            river,
            channels,
            westward,
        });
    }

    fn attention(&mut self, layer: u32, bank: Rect, strip: &Strip) {
        let (size, gap) = (i64::from(self.config.head_size), strip.gap);
        let share = self.config.heads_per_kv();
        let weights = ["attn_q", "attn_k", "attn_v", "attn_output"]
            .map(|name| self.take(layer, name, "weight"));
        let biases = ["attn_q", "attn_k", "attn_v"].map(|name| self.take(layer, name, "bias"));
        let mut pairs = 0..;
        let mut next = || {
            let (x, y) = strip.pair(pairs.next().expect("it has no end"));
            (bank.x + x, bank.y + y)
        };
        for group in 0..self.config.kv_head_count {
            let (x, y) = next();
            for (kind, y) in [(1, y), (2, y + size + gap)] {
                self.rows(weights[kind], self.head_part(group), (x, y));
                self.row_biases(biases[kind], self.head_part(group), (x, y));
            }
            for head in group * share..(group + 1) * share {
                let (x, y) = next();
                self.rows(weights[0], self.head_part(head), (x, y));
                self.row_biases(biases[0], self.head_part(head), (x, y));
                self.columns(weights[3], self.head_part(head), (x, y + size + gap));
                let rect = Rect::new(x, y, self.depth(), 2 * size + gap);
                self.heads.push(HeadPlan { layer, head, kv_head: group, rect });
            }
        }
    }

    /// A head's dimensions among those of all heads.
    fn head_part(&self, head: u32) -> Range<u64> {
        let size = u64::from(self.config.head_size);
        u64::from(head) * size..u64::from(head + 1) * size
    }

    /// Gate, up and down under each other; each lane has the same neurons of all three.
    fn fields(&mut self, layer: u32, bank: Rect, strip: &Strip) {
        let down = strip.field() + self.units(self.rules.spacing.groups);
        for (index, name) in (0..).zip(["ffn_gate", "ffn_up", "ffn_down"]) {
            let weight = self.take(layer, name, "weight");
            // The bias of down has a dimension of the stream for each of its own: it is on a shore.
            let bias = self.take(layer, name, "bias");
            for lane in 0..strip.lanes {
                let neurons = strip.neurons(lane);
                let at = (bank.x + i64::from(lane) * strip.pitch, bank.y + index * down);
                if name == "ffn_down" {
                    self.columns(weight, neurons, at);
                } else {
                    self.rows(weight, neurons.clone(), at);
                    self.row_biases(bias, neurons, at);
                }
            }
        }
    }

    /// Rows of a matrix that reads the stream: each a line of cells.
    fn rows(&mut self, tensor: Option<usize>, rows: Range<u64>, at: (i64, i64)) {
        let Some(tensor) = tensor else { return };
        let columns = 0..self.tensors[tensor].tiling.columns;
        self.plot(tensor, [rows, columns], Orientation::ColumnsAlongX, at);
    }

    /// Columns of a matrix that writes the stream: each a line of cells.
    fn columns(&mut self, tensor: Option<usize>, columns: Range<u64>, at: (i64, i64)) {
        let Some(tensor) = tensor else { return };
        let rows = 0..self.tensors[tensor].tiling.rows;
        self.plot(tensor, [rows, columns], Orientation::RowsAlongX, at);
    }

    /// A part of a matrix, its upper left cell at `(x, y)`.
    fn plot(
        &mut self,
        tensor: usize,
        [rows, columns]: [Range<u64>; 2],
        orientation: Orientation,
        (x, y): (i64, i64),
    ) {
        let size = [&rows, &columns].map(|part| (part.end - part.start) as i64);
        let [height, width] =
            if orientation == Orientation::RowsAlongX { [size[1], size[0]] } else { size };
        let rect = Rect::new(x, y, width, height);
        self.plots[tensor].push(Plot { tensor, rows, columns, orientation, rect });
    }

    /// Biases of rows: a column of cells right of the plot at `(x, y)`.
    fn row_biases(&mut self, tensor: Option<usize>, columns: Range<u64>, (x, y): (i64, i64)) {
        let Some(tensor) = tensor else { return };
        let height = (columns.end - columns.start) as i64;
        let rect = Rect::new(x + self.depth() + self.strips[0].gap, y, 1, height);
        let orientation = Orientation::Wrapped;
        self.plots[tensor].push(Plot { tensor, rows: 0..1, columns, orientation, rect });
    }

    /// Lines of a vector that is wrapped at the width of the stream.
    fn lines(&self, tensor: usize) -> i64 {
        steps(self.tensors[tensor].tiling.columns as i64, self.depth())
    }

    /// A vector whose dimensions lie under those of the plots above. Returns its lower edge.
    fn vector(&mut self, tensor: usize, x: i64, y: i64) -> i64 {
        let elements = self.tensors[tensor].tiling.columns as i64;
        let rect = Rect::new(x, y, elements.min(self.depth()), self.lines(tensor));
        self.whole(tensor, Orientation::Wrapped, rect);
        y + rect.height
    }

    /// The river from its source to its end: a reach for each row of layers, from bend to bend, and
    /// the bends. No two share a cell.
    fn whole_river(&self, width: i64) -> Vec<Rect> {
        let bend = self.bend();
        let mut pieces: Vec<Rect> = Vec::new();
        for row in 0..self.grid.rows {
            let of_row = (self.layers.iter().zip(&self.grid.places))
                .filter(|(_, place)| place.1 == row)
                .map(|(layer, _)| layer.river);
            let mut reach = of_row.fold(Rect::default(), Rect::union);
            // An even row flows east and an odd one west; a row but the first begins in the bend
            // where the one before ended, and a row but the last ends in one.
            let (is_first, is_last) = (row == 0, row + 1 == self.grid.rows);
            let flows_west = row % 2 == 1;
            let east = if flows_west { !is_first } else { !is_last };
            let west = if flows_west { !is_last } else { !is_first };
            let right = if east { width } else { reach.x + reach.width };
            let left = if west { 0 } else { reach.x };
            reach = Rect::new(left, reach.y, right - left, reach.height);
            if let Some(before) = pieces.last().copied() {
                let x = if row % 2 == 1 { width - bend } else { 0 };
                let top = before.y + before.height;
                pieces.push(Rect::new(x, top, bend, reach.y - top));
            }
            pieces.push(reach);
        }
        pieces
    }

    /// The output or the embedding, as bands: a line of cells for each token, each band as wide as
    /// the stream and under a lane of the layers.
    fn sea(&mut self, tensor: usize, is_output: bool, y: i64) -> Rect {
        let tokens = self.tensors[tensor].tiling.rows;
        let bands = (self.grid.columns * i64::from(self.strips[0].lanes)) as u64;
        let tall = tokens.div_ceil(bands).max(1);
        let lanes = i64::from(self.strips[0].lanes);
        let mut all = Rect::default();
        for (band, start) in (0..).zip((0..tokens).step_by(tall as usize)) {
            let x = self.column_x(band / lanes) + band % lanes * self.strips[0].pitch;
            let rows = start..tokens.min(start + tall);
            let height = (rows.end - rows.start) as i64;
            self.rows(Some(tensor), rows, (x, y));
            all = all.union(Rect::new(x, y, self.depth(), height));
        }
        *(if is_output { &mut self.output } else { &mut self.embedding }) = all;
        all
    }

    /// What has no other place, below everything. Returns the height of the map.
    fn yard(&mut self, bottom: i64, width: i64) -> i64 {
        let mut rest: Vec<usize> = self.by_name.values().copied().collect();
        // In the order of the file.
        rest.sort_unstable();
        let mut bottom = bottom;
        let spacing = self.rules.spacing;
        for (index, tensor) in rest.into_iter().enumerate() {
            let space = if index == 0 { spacing.districts } else { spacing.groups };
            let y = bottom + self.units(space);
            bottom = match default_orientation(&self.tensors[tensor]) {
                Orientation::Wrapped => {
                    let elements = self.tensors[tensor].tiling.columns as i64;
                    let across = elements.min(width);
                    let rect = Rect::new(0, y, across, steps(elements, across));
                    self.whole(tensor, Orientation::Wrapped, rect);
                    y + rect.height
                }
                _ => self.bands(tensor, y, width),
            };
        }
        bottom
    }

    /// A matrix in bands as wide as the map, its columns along y. Returns their lower edge.
    fn bands(&mut self, tensor: usize, y: i64, width: i64) -> i64 {
        let tiling = self.tensors[tensor].tiling;
        let tall = tiling.columns as i64;
        let mut y = y;
        for start in (0..tiling.rows).step_by(width.max(1) as usize) {
            let rows = start..tiling.rows.min(start + width as u64);
            let rect = Rect::new(0, y, (rows.end - rows.start) as i64, tall);
            let columns = 0..tiling.columns;
            let orientation = Orientation::RowsAlongX;
            self.plots[tensor].push(Plot { tensor, rows, columns, orientation, rect });
            y += tall + self.units(self.rules.spacing.groups);
        }
        y - self.units(self.rules.spacing.groups)
    }

    fn whole(&mut self, tensor: usize, orientation: Orientation, rect: Rect) {
        let tiling = self.tensors[tensor].tiling;
        let (rows, columns) = (0..tiling.rows, 0..tiling.columns);
        self.plots[tensor].push(Plot { tensor, rows, columns, orientation, rect });
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
            river: self.river,
            embedding: self.embedding,
            output: self.output,
            ornaments: Vec::new(),
            signs: Vec::new(),
        }
    }
}
