//! Keys and values of the positions that sequences have so far, grown in pages.
//!
//! A *slot* is the place of one sequence. A page holds 64 positions of one slot for all layers and
//! KV heads: values `[layer][kv_head][position][dimension]`, keys `[layer][kv_head][dimension]
//! [position]`, so that a vector has the scores of as many positions. A short sequence costs little
//! of a long context.

use std::io::{self, Write};
use std::ops::Range;

use half::f16;

use super::activations::Panels;
use super::error::ForwardError;
use crate::forward::AdapterSet;
use crate::model::ModelConfig;

/// Positions in a page.
pub const PAGE: usize = 64;

/// How the numbers of keys and values are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheType {
    /// As they were computed, in 32 bits.
    #[default]
    F32,
    /// Rounded to 16 bits: half the memory, and half of what a token reads of a long context.
    F16,
    /// Rounded to 8 bits with a scale of 16 bits per 32 dimensions of a head, as the encoding of
    /// this name: little more than a quarter of the memory.
    Q8,
}

impl CacheType {
    /// All, in the order of their numbers in files.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Q8];

    /// Its number in files.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// Bytes of a head's row of so many numbers.
    pub fn row_bytes(self, head_size: u64) -> u64 {
        match self {
            Self::F32 => head_size * 4,
            Self::F16 => head_size * 2,
            // Scales of 16 bits.
            Self::Q8 => head_size + head_size.div_ceil(SCALED as u64) * 2,
        }
    }
}

/// Dimensions of a head that share a scale in [`CacheType::Q8`].
pub(super) const SCALED: usize = 32;

/// Where a head's row of one position lies among keys or values: numbers, and their scales.
#[derive(Debug, Clone, Copy)]
struct RowPlace {
    first: usize,
    step: usize,
    first_scale: usize,
    scale_step: usize,
    size: usize,
}

impl RowPlace {
    /// The numbers' places.
    fn places(self) -> impl Iterator<Item = usize> {
        (0..self.size).map(move |index| self.first + index * self.step)
    }

    /// The scales' places.
    fn scales(self) -> impl Iterator<Item = usize> {
        let count = self.size.div_ceil(SCALED);
        (0..count).map(move |index| self.first_scale + index * self.scale_step)
    }
}

/// Keys or values, in one of the types.
#[derive(Debug)]
enum CachedNumbers {
    F32(Box<[f32]>),
    F16(Box<[f16]>),
    Q8(Box<[i8]>, Box<[f16]>),
}

/// A part of them.
#[derive(Debug, Clone, Copy)]
pub(super) enum CachedPart<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    /// Numbers and their scales, laid out alike.
    Q8(&'a [i8], &'a [f16]),
}

impl CachedNumbers {
    fn new(cache_type: CacheType, shape: Shape) -> Self {
        let len = shape.page_len();
        match cache_type {
            CacheType::F32 => Self::F32(vec![0.0; len].into()),
            CacheType::F16 => Self::F16(vec![f16::ZERO; len].into()),
            CacheType::Q8 => {
                let scales = vec![f16::ZERO; shape.head_scales(shape.layers, 0)];
                Self::Q8(vec![0; len].into(), scales.into())
            }
        }
    }

    /// Numbers of a range, and the scales of another.
    fn part(&self, range: Range<usize>, scales: Range<usize>) -> CachedPart<'_> {
        match self {
            Self::F32(numbers) => CachedPart::F32(&numbers[range]),
            Self::F16(numbers) => CachedPart::F16(&numbers[range]),
            Self::Q8(numbers, all_scales) => CachedPart::Q8(&numbers[range], &all_scales[scales]),
        }
    }

    /// Writes a row.
    fn write(&mut self, row: RowPlace, from: &[f32]) {
        match self {
            Self::F32(numbers) => {
                row.places().zip(from).for_each(|(at, from)| numbers[at] = *from);
            }
            Self::F16(numbers) => {
                // A key beyond what 16 bits can say would make every score of its head infinite.
                let rounded = |from: &f32| f16::from_f32(bounded(*from));
                row.places().zip(from).for_each(|(at, from)| numbers[at] = rounded(from));
            }
            Self::Q8(numbers, scales) => {
                let mut places = row.places();
                for (scale, from) in row.scales().zip(from.chunks(SCALED)) {
                    let (of_all, rounded) = round(from);
                    scales[scale] = of_all;
                    places.by_ref().zip(rounded).for_each(|(at, number)| numbers[at] = number);
                }
            }
        }
    }

    /// Adds a row as it is kept, little-endian; scales after their numbers.
    fn to_bytes(&self, row: RowPlace, bytes: &mut Vec<u8>) {
        match self {
            Self::F32(numbers) => {
                row.places().for_each(|at| bytes.extend_from_slice(&numbers[at].to_le_bytes()));
            }
            Self::F16(numbers) => {
                row.places().for_each(|at| bytes.extend_from_slice(&numbers[at].to_le_bytes()));
            }
            Self::Q8(numbers, scales) => {
                bytes.extend(row.places().map(|at| numbers[at] as u8));
                row.scales().for_each(|at| bytes.extend_from_slice(&scales[at].to_le_bytes()));
            }
        }
    }

    /// The way back.
    fn set_bytes(&mut self, row: RowPlace, bytes: &[u8]) {
        match self {
            Self::F32(numbers) => {
                let (from, _) = bytes.as_chunks();
                row.places()
                    .zip(from)
                    .for_each(|(at, from)| numbers[at] = f32::from_le_bytes(*from));
            }
            Self::F16(numbers) => {
                let (from, _) = bytes.as_chunks();
                row.places()
                    .zip(from)
                    .for_each(|(at, from)| numbers[at] = f16::from_le_bytes(*from));
            }
            Self::Q8(numbers, scales) => {
                let (of_numbers, of_scales) = bytes.split_at(row.size);
                row.places().zip(of_numbers).for_each(|(at, from)| numbers[at] = *from as i8);
                let (from, _) = of_scales.as_chunks();
                row.scales()
                    .zip(from)
                    .for_each(|(at, from)| scales[at] = f16::from_le_bytes(*from));
            }
        }
    }

    fn copy_from(&mut self, other: &Self) {
        match (self, other) {
            (Self::F32(to), Self::F32(from)) => to.copy_from_slice(from),
            (Self::F16(to), Self::F16(from)) => to.copy_from_slice(from),
            (Self::Q8(to, to_scales), Self::Q8(from, from_scales)) => {
                to.copy_from_slice(from);
                to_scales.copy_from_slice(from_scales);
            }
            _ => unreachable!("one cache has one type"),
        }
    }
}

/// Numbers that share a scale, rounded to 8 bits: the largest of them is 127 of it. Where one is
/// not a number, or infinite, the scale is not a number, and so is all that it multiplies.
fn round(from: &[f32]) -> (f16, impl Iterator<Item = i8>) {
    let most = from.iter().fold(0f32, |most, number| most.max(number.abs()));
    let scale = match from.iter().all(|number| number.is_finite()) {
        true => f16::from_f32(bounded(most / 127.0)),
        false => f16::NAN,
    };
    let wide = scale.to_f32();
    let inverse = if wide > 0.0 { 1.0 / wide } else { 0.0 };
    // A float becomes the nearest of the integers that there are; what is not a number, zero.
    (scale, from.iter().map(move |number| (number * inverse).round().clamp(-127.0, 127.0) as i8))
}

/// A number within what 16 bits can say; what is not a number, or infinite, stays that.
fn bounded(number: f32) -> f32 {
    let most = f16::MAX.to_f32();
    if number.is_finite() { number.clamp(-most, most) } else { number }
}

impl CachedPart<'_> {
    /// Copies a row, whose places are counted from the part's beginning.
    fn copy(self, row: RowPlace, to: &mut [f32]) {
        for (index, (to, at)) in to.iter_mut().zip(row.places()).enumerate() {
            *to = match self {
                Self::F32(numbers) => numbers[at],
                Self::F16(numbers) => numbers[at].to_f32(),
                Self::Q8(numbers, scales) => {
                    let scale = row.first_scale + index / SCALED * row.scale_step;
                    f32::from(numbers[at]) * scales[scale].to_f32()
                }
            };
        }
    }
}

/// The keys and values of several sequences, and the room that a pass works in.
#[derive(Debug)]
pub struct KvCache {
    shape: Shape,
    capacity: usize,
    cache_type: CacheType,
    slots: Vec<Slot>,
    pub(super) workspace: Workspace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    layers: usize,
    kv_heads: usize,
    head_size: usize,
}

/// Where in a page a head's positions begin.
impl Shape {
    fn head(&self, layer: usize, kv_head: usize) -> usize {
        (layer * self.kv_heads + kv_head) * PAGE * self.head_size
    }

    /// Where its scales begin.
    fn head_scales(&self, layer: usize, kv_head: usize) -> usize {
        (layer * self.kv_heads + kv_head) * PAGE * self.head_size.div_ceil(SCALED)
    }

    fn page_len(&self) -> usize {
        self.head(self.layers, 0)
    }

    /// The row of a position in its page, among keys (0) or values (1), of a head whose numbers and
    /// scales begin at `first` and `first_scale`.
    fn row(&self, part: usize, at: usize, first: usize, first_scale: usize) -> RowPlace {
        let size = self.head_size;
        let scales = size.div_ceil(SCALED);
        let (first, step, first_scale, scale_step) = match part {
            0 => (first + at, PAGE, first_scale + at, PAGE),
            _ => (first + at * size, 1, first_scale + at * scales, 1),
        };
        RowPlace { first, step, first_scale, scale_step, size }
    }

    /// The same among those of all layers and heads.
    fn row_of(&self, part: usize, at: usize, (layer, kv_head): (usize, usize)) -> RowPlace {
        self.row(part, at, self.head(layer, kv_head), self.head_scales(layer, kv_head))
    }
}

#[derive(Debug, Default)]
struct Slot {
    pages: Vec<Page>,
    length: usize,
    /// What its keys and values were computed with.
    adapters: AdapterSet,
}

#[derive(Debug)]
struct Page {
    keys: CachedNumbers,
    values: CachedNumbers,
}

/// Buffers between kernels; kept, so that a token costs no allocation.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    pub residual: Panels,
    /// What a norm makes of it.
    pub normed: Panels,
    /// Query, key and value as the matrices write them.
    pub projected: [Panels; 3],
    /// Query by column, heads side by side.
    pub query: Vec<f32>,
    /// Key by column, KV heads side by side; so is value.
    pub key: Vec<f32>,
    pub value: Vec<f32>,
    /// What the heads give, by column.
    pub attended: Vec<f32>,
    /// Gate, then the hidden activations.
    pub gate: Panels,
    pub up: Panels,
    /// What a layer's half adds to the residual stream.
    pub update: Panels,
    /// Cosine and sine of each column's angles.
    pub angles: Vec<[f32; 2]>,
    /// A row of logits per column that wants them.
    pub output: Panels,
}

impl KvCache {
    /// A cache for `slots` sequences of at most `capacity` positions. Memory grows with the
    /// positions that are there.
    pub fn new(config: &ModelConfig, slots: usize, capacity: usize) -> Self {
        Self::of_type(config, slots, capacity, CacheType::default())
    }

    /// The same with numbers of a type.
    pub fn of_type(
        config: &ModelConfig,
        slots: usize,
        capacity: usize,
        cache_type: CacheType,
    ) -> Self {
        let shape = Shape {
            layers: config.layer_count as usize,
            kv_heads: config.kv_head_count as usize,
            head_size: config.head_size as usize,
        };
        let slots = std::iter::repeat_with(Slot::default).take(slots).collect();
        Self { shape, capacity, cache_type, slots, workspace: Workspace::default() }
    }

    /// Sequences that it has places for.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// How keys and values are kept.
    pub fn cache_type(&self) -> CacheType {
        self.cache_type
    }

    /// Positions that a slot may have.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Positions that a slot has; 0 for one that is not there.
    pub fn length(&self, slot: usize) -> usize {
        self.slots.get(slot).map_or(0, |slot| slot.length)
    }

    /// Forgets the positions of a slot from `length` on; 0 forgets the sequence. Its memory is kept
    /// for the next.
    pub fn truncate(&mut self, slot: usize, length: usize) {
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.length = slot.length.min(length);
        }
    }

    /// The adapters that act on a slot's columns; none for one that is not there.
    pub fn adapters(&self, slot: usize) -> &AdapterSet {
        const NONE: &AdapterSet = &AdapterSet::NONE;
        self.slots.get(slot).map_or(NONE, |slot| &slot.adapters)
    }

    /// The adapters that act on a slot's columns from now on. What was computed with others is
    /// forgotten.
    ///
    /// # Panics
    /// There is no such slot.
    pub fn set_adapters(&mut self, slot: usize, adapters: &AdapterSet) {
        if self.slots[slot].adapters != *adapters {
            self.slots[slot].adapters = adapters.clone();
            self.truncate(slot, 0);
        }
    }

    /// Makes `to` a copy of what `from` has, its adapters too, so that a prompt's beginning is
    /// computed once for many sequences.
    ///
    /// # Panics
    /// When one of the slots is not there.
    pub fn copy(&mut self, from: usize, to: usize) {
        // `get_disjoint_mut` refuses one slot twice, and there is nothing to copy.
        if from == to {
            return;
        }
        self.grow(to, self.slots[from].length);
        let [source, target] =
            self.slots.get_disjoint_mut([from, to]).expect("two slots of this cache");
        // Pages past the length are left from a longer sequence and belong to nobody.
        let used = source.length.div_ceil(PAGE);
        for (source, target) in source.pages[..used].iter().zip(&mut target.pages) {
            target.keys.copy_from(&source.keys);
            target.values.copy_from(&source.values);
        }
        target.length = source.length;
        target.adapters = source.adapters.clone();
    }

    /// Layers, KV heads and head size.
    pub(super) fn shape(&self) -> [usize; 3] {
        [self.shape.layers, self.shape.kv_heads, self.shape.head_size]
    }

    /// Makes room for a column's position and counts it.
    pub(super) fn push(
        &mut self,
        column: usize,
        slot: u32,
        position: u32,
    ) -> Result<(), ForwardError> {
        let Some(length) = self.slots.get(slot as usize).map(|slot| slot.length) else {
            return Err(ForwardError::Slot { column, slot, slots: self.slots.len() });
        };
        if position as usize >= self.capacity {
            return Err(ForwardError::Full { column, position, capacity: self.capacity });
        }
        if position as usize > length {
            return Err(ForwardError::Position { column, slot, position, length });
        }
        // A position that is written anew ends what came after it: those keys followed from another
        // token.
        let length = position as usize + 1;
        self.grow(slot as usize, length);
        self.slots[slot as usize].length = length;
        Ok(())
    }

    fn grow(&mut self, slot: usize, length: usize) {
        let kept = || CachedNumbers::new(self.cache_type, self.shape);
        let page = || Page { keys: kept(), values: kept() };
        let pages = &mut self.slots[slot].pages;
        if pages.len() < length.div_ceil(PAGE) {
            pages.resize_with(length.div_ceil(PAGE), page);
        }
    }

    /// Writes key and value of one position, all KV heads side by side.
    pub(super) fn write(
        &mut self,
        layer: usize,
        slot: usize,
        position: usize,
        key: &[f32],
        value: &[f32],
    ) {
        let (shape, size) = (self.shape, self.shape.head_size);
        let page = &mut self.slots[slot].pages[position / PAGE];
        for (kv_head, (key, value)) in
            key.chunks_exact(size).zip(value.chunks_exact(size)).enumerate().take(shape.kv_heads)
        {
            let at = position % PAGE;
            page.keys.write(shape.row_of(0, at, (layer, kv_head)), key);
            page.values.write(shape.row_of(1, at, (layer, kv_head)), value);
        }
    }

    /// Keys and values of a layer and slot, position by position: of each, the KV heads side by
    /// side.
    ///
    /// # Panics
    /// There is no such slot or layer.
    pub fn rows(&self, layer: usize, slot: usize) -> [Vec<f32>; 2] {
        let Shape { kv_heads, head_size, .. } = self.shape;
        let length = self.length(slot);
        let mut rows = [(); 2].map(|()| vec![0.0; length * kv_heads * head_size]);
        let places = (0..length).flat_map(|at| (0..kv_heads).map(move |head| (at, head)));
        for (position, head) in places {
            let [keys, values] = self.page(layer, slot, head, position / PAGE);
            let at = position % PAGE;
            let first = (position * kv_heads + head) * head_size;
            keys.copy(self.shape.row(0, at, 0, 0), &mut rows[0][first..][..head_size]);
            values.copy(self.shape.row(1, at, 0, 0), &mut rows[1][first..][..head_size]);
        }
        rows
    }

    /// Bytes of a row: what one position has in keys or in values of one layer, as they are kept.
    pub fn row_bytes(&self) -> usize {
        let Shape { kv_heads, head_size, .. } = self.shape;
        kv_heads * self.cache_type.row_bytes(head_size as u64) as usize
    }

    /// Writes rows of the first positions of a slot, little-endian: for each layer the keys,
    /// position by position, then the values; of each the KV heads side by side. Each row is
    /// filled with zeros to `stride` bytes.
    ///
    /// # Errors
    /// `out` has an error.
    ///
    /// # Panics
    /// The slot has fewer positions, or a row is longer than `stride`.
    pub fn export(
        &self,
        slot: usize,
        positions: usize,
        stride: usize,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        assert!(positions <= self.length(slot) && self.row_bytes() <= stride);
        let Shape { layers, kv_heads, .. } = self.shape;
        let mut row = Vec::with_capacity(stride);
        for (layer, part) in (0..layers).flat_map(|layer| [(layer, 0), (layer, 1)]) {
            for position in 0..positions {
                row.clear();
                let (page, at) = (&self.slots[slot].pages[position / PAGE], position % PAGE);
                let numbers = if part == 0 { &page.keys } else { &page.values };
                for kv_head in 0..kv_heads {
                    numbers.to_bytes(self.shape.row_of(part, at, (layer, kv_head)), &mut row);
                }
                row.resize(stride, 0);
                out.write_all(&row)?;
            }
        }
        Ok(())
    }

    /// Makes a slot have the first `positions` of what [`export`](Self::export) wrote for
    /// `exported` positions, and no others.
    ///
    /// # Panics
    /// There is no such slot, it has no room for them, or the rows are not whole.
    pub fn import(
        &mut self,
        slot: usize,
        positions: usize,
        (exported, stride, rows): (usize, usize, &[u8]),
    ) {
        assert!(positions <= exported.min(self.capacity));
        self.grow(slot, positions);
        let Shape { layers, kv_heads, .. } = self.shape;
        let row_bytes = self.row_bytes();
        for (layer, part) in (0..layers).flat_map(|layer| [(layer, 0), (layer, 1)]) {
            for position in 0..positions {
                let first = ((2 * layer + part) * exported + position) * stride;
                let row = &rows[first..first + row_bytes];
                let (page, at) = (&mut self.slots[slot].pages[position / PAGE], position % PAGE);
                let numbers = if part == 0 { &mut page.keys } else { &mut page.values };
                for (kv_head, bytes) in row.chunks_exact(row_bytes / kv_heads).enumerate() {
                    numbers.set_bytes(self.shape.row_of(part, at, (layer, kv_head)), bytes);
                }
            }
        }
        self.slots[slot].length = positions;
    }

    /// A page of a head's keys, `[dimension][position]`, and values, `[position][dimension]`. What
    /// lies behind the slot's length means nothing.
    pub(super) fn page(
        &self,
        layer: usize,
        slot: usize,
        kv_head: usize,
        page: usize,
    ) -> [CachedPart<'_>; 2] {
        let (start, page) = (self.shape.head(layer, kv_head), &self.slots[slot].pages[page]);
        let end = start + PAGE * self.shape.head_size;
        let scales = |kv_head| self.shape.head_scales(layer, kv_head);
        let scales = scales(kv_head)..scales(kv_head + 1);
        [page.keys.part(start..end, scales.clone()), page.values.part(start..end, scales)]
    }
}
