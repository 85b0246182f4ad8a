//! `attend`: every query head over the keys and values of its sequence, up to its own position.
//!
//! The softmax is made page by page: a running maximum and sum, and an output that is scaled down
//! whenever the maximum grows. So it is for each stretch of 512 positions by itself, and stretches
//! are put together in their order: a single column is shared out by them, and yet has the same
//! bits on any number of threads. Keys and values are read once for all heads that share them, and
//! for all columns of a block.

use half::f16;
use pulp::Simd;
use rayon::prelude::*;

use super::Column;
use super::cache::{CacheType, CachedPart, KvCache, PAGE, SCALED};
use super::lanes::{exp, half, prefetch};
use super::processor::{Processor, Work, run};
use crate::forward::params::AttendParams;

/// Multiplications below which one thread is done before another has taken its part.
const WORTH_SHARING: usize = 1 << 19;
/// Pages of a stretch.
const STRETCH: usize = 8;
/// Columns that read keys and values together: with three heads to a key, 24 rows of scores, which
/// leave room in the first cache for a page.
const BLOCK: usize = 8;
/// Queries whose sums are held in registers together.
const ROWS: usize = 4;

/// Writes what each head of each column gives to `out`: columns `stride` apart, heads side by side.
pub fn attend(
    params: &AttendParams,
    columns: &[Column],
    query: &[f32],
    cache: &KvCache,
    stride: usize,
    out: &mut [f32],
) {
    let size = params.head_size as usize;
    let width = params.head_count as usize * size;
    let group = params.heads_per_kv as usize * size;
    // A block's columns are of one sequence and follow one another in it.
    let follows = |a: &Column, b: &Column| a.slot == b.slot && a.position < b.position;
    let one_block = |(index, out): (usize, &mut [f32])| {
        let mut first = index * BLOCK;
        let mut out = out;
        let end = (first + BLOCK).min(columns.len());
        for columns in columns[first..end].chunk_by(follows) {
            let (here, rest) = out.split_at_mut(columns.len() * stride);
            let query = &query[first * width..][..columns.len() * width];
            let heads = Heads { params, columns, query, cache };
            for kv_head in 0..width / group {
                let mut sums = vec![0.0; heads.sums(columns.len())];
                let mut of_stretch = sums.clone();
                for stretch in 0..heads.stretches() {
                    heads.attend(kv_head, stretch, &mut of_stretch);
                    heads.join(stretch, &of_stretch, &mut sums);
                }
                heads.finish(kv_head, &sums, here, stride);
            }
            first += columns.len();
            out = rest;
        }
    };
    let work: usize = columns.iter().map(|column| (column.position as usize + 1) * 2 * width).sum();
    match columns {
        _ if work < WORTH_SHARING => {
            out.chunks_mut(stride * BLOCK).enumerate().for_each(one_block);
        }
        [_] => {
            // A single column is cut into its stretches.
            let heads = Heads { params, columns, query: &query[..width], cache };
            let (stretches, sums) = (heads.stretches(), heads.sums(1));
            let mut parts = vec![0.0; width / group * stretches * sums];
            parts.par_chunks_exact_mut(sums).enumerate().for_each(|(index, part)| {
                heads.attend(index / stretches, index % stretches, part);
            });
            for (kv_head, parts) in parts.chunks_exact(stretches * sums).enumerate() {
                let mut all = vec![0.0; sums];
                for (stretch, part) in parts.chunks_exact(sums).enumerate() {
                    heads.join(stretch, part, &mut all);
                }
                heads.finish(kv_head, &all, out, stride);
            }
        }
        _ => out.par_chunks_mut(stride * BLOCK).enumerate().for_each(one_block),
    }
}

/// The queries of some columns of one sequence, in the order of their positions.
struct Heads<'a> {
    params: &'a AttendParams,
    columns: &'a [Column],
    query: &'a [f32],
    cache: &'a KvCache,
}

impl Heads<'_> {
    /// Stretches that the last column needs.
    fn stretches(&self) -> usize {
        let last = self.columns.last().map_or(0, |column| column.position as usize + 1);
        last.div_ceil(STRETCH * PAGE)
    }

    /// Numbers that the rows of `columns` columns and one KV head take: per row the weighted sum of
    /// the values, then the largest score and the sum of the weights.
    fn sums(&self, columns: usize) -> usize {
        columns * self.params.heads_per_kv as usize * self.row()
    }

    fn row(&self) -> usize {
        self.params.head_size as usize + 2
    }

    /// Attends to one stretch alone.
    fn attend(&self, kv_head: usize, stretch: usize, sums: &mut [f32]) {
        run(Stretch { heads: self, kv_head, first_page: stretch * STRETCH, sums });
    }

    /// Adds a stretch to those before it.
    fn join(&self, stretch: usize, part: &[f32], sums: &mut [f32]) {
        let size = self.params.head_size as usize;
        if stretch == 0 {
            sums.copy_from_slice(part);
            return;
        }
        let rows = sums.chunks_exact_mut(self.row()).zip(part.chunks_exact(self.row()));
        for (index, (sums, part)) in rows.enumerate() {
            let column = &self.columns[index / self.params.heads_per_kv as usize];
            if (column.position as usize) < stretch * STRETCH * PAGE {
                continue;
            }
            let most = sums[size].max(part[size]);
            let [before, here] = [sums[size], part[size]].map(|of| (of - most).exp());
            for (sum, part) in sums.iter_mut().zip(part) {
                *sum = *sum * before + part * here;
            }
            sums[size] = most;
        }
    }

    /// Writes the outputs, which are the sums by the sum of the weights.
    fn finish(&self, kv_head: usize, sums: &[f32], out: &mut [f32], stride: usize) {
        let (size, per_kv) = (self.params.head_size as usize, self.params.heads_per_kv as usize);
        for (index, sums) in sums.chunks_exact(self.row()).enumerate() {
            let head = kv_head * per_kv + index % per_kv;
            let out = &mut out[index / per_kv * stride + head * size..][..size];
            let scale = 1.0 / sums[size + 1];
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum * scale);
        }
    }
}

/// The scores of a row with a page, then their weights.
type Scores = [f32; PAGE];

/// A stretch of positions and one KV head.
struct Stretch<'a> {
    heads: &'a Heads<'a>,
    kv_head: usize,
    first_page: usize,
    sums: &'a mut [f32],
}

impl Work for Stretch<'_> {
    type Output = ();

    #[inline(always)]
    fn with<P: Processor>(self, processor: P) {
        match self.heads.cache.cache_type() {
            CacheType::F32 => self.attend::<P, f32, AsKept>(processor),
            CacheType::F16 => self.attend::<P, f16, AsKept>(processor),
            CacheType::Q8 => self.attend::<P, f32, Widened>(processor),
        }
    }
}

impl Stretch<'_> {
    #[inline(always)]
    fn attend<P: Processor, K: Cached, S: PageSource<K>>(self, processor: P) {
        let Self { heads, kv_head, first_page, sums } = self;
        let Heads { params, columns, query, cache } = heads;
        let (size, per_kv) = (params.head_size as usize, params.heads_per_kv as usize);
        let width = params.head_count as usize * size;
        for sums in sums.chunks_exact_mut(heads.row()) {
            sums.fill(0.0);
            sums[size] = f32::NEG_INFINITY;
        }
        let slot = columns[0].slot as usize;
        let last = columns[columns.len() - 1].position as usize + 1;
        let rows = columns.len() * per_kv;
        // Rows are columns by heads: those of a column together.
        let query_of = |row: usize| {
            let head = kv_head * per_kv + row % per_kv;
            &query[row / per_kv * width + head * size..][..size]
        };
        let mut scores = vec![[0.0; PAGE]; rows];
        let mut room = [S::room(size), S::room(size)];
        let [key_room, value_room] = &mut room;
        let end = (first_page + STRETCH).min(last.div_ceil(PAGE));
        for page in first_page..end {
            let of = |page| cache.page(params.layer as usize, slot, kv_head, page);
            let [keys, values] = of(page);
            // Of the next page, keys and values are asked for in turn.
            let next = (page + 1 < end).then(|| of(page + 1));
            let [next_keys, next_values] = next.map_or([None; 2], |next| next.map(Some));
            let keys = S::keys(keys, key_room);
            let values = S::values(values, size, value_room);
            // Positions that a row sees of the page: those of its column and before.
            let seen = |row: usize| {
                let length = columns[row / per_kv].position as usize + 1;
                length.saturating_sub(page * PAGE).min(PAGE)
            };
            let first = (0..rows).find(|&row| seen(row) > 0).unwrap_or(rows);
            ask_for(next_keys);
            let mut row = first;
            while row < rows {
                row += match rows - row {
                    1 => score::<P, K, 1>(processor, keys, [query_of(row)], &mut scores[row..]),
                    2 => {
                        let queries = [query_of(row), query_of(row + 1)];
                        score::<P, K, 2>(processor, keys, queries, &mut scores[row..])
                    }
                    3 => {
                        let queries = [query_of(row), query_of(row + 1), query_of(row + 2)];
                        score::<P, K, 3>(processor, keys, queries, &mut scores[row..])
                    }
                    _ => {
                        let queries = [
                            query_of(row),
                            query_of(row + 1),
                            query_of(row + 2),
                            query_of(row + 3),
                        ];
                        score::<P, K, ROWS>(processor, keys, queries, &mut scores[row..])
                    }
                };
            }
            for row in first..rows {
                let sums = &mut sums[row * heads.row()..][..heads.row()];
                weigh::<P::Vectors>(params.score_scale, seen(row), &mut scores[row], sums, size);
            }
            ask_for(next_values);
            let mut row = first;
            while row < rows {
                // What lies behind a row's own position is not for it, were it multiplied by zero.
                let alike = (row + 1..rows.min(row + ROWS)).take_while(|&at| seen(at) == seen(row));
                let count = 1 + alike.count();
                let (weights, sums) = (&scores[row..], &mut sums[row * heads.row()..]);
                let (values, stride) = (&values[..seen(row) * size], heads.row());
                match count {
                    1 => add::<P, K, 1>(processor, values, size, weights, sums, stride),
                    2 => add::<P, K, 2>(processor, values, size, weights, sums, stride),
                    3 => add::<P, K, 3>(processor, values, size, weights, sums, stride),
                    _ => add::<P, K, ROWS>(processor, values, size, weights, sums, stride),
                }
                row += count;
            }
        }
    }
}

/// A number as the cache keeps it.
trait Cached: Copy {
    /// Numbers of this type.
    fn of(numbers: CachedPart<'_>) -> &[Self];

    /// Its value.
    fn number(self) -> f32;

    /// A vector of values, from as many numbers.
    fn vector<P: Processor>(processor: P, numbers: &[Self]) -> <P::Vectors as Simd>::f32s;
}

impl Cached for f32 {
    #[inline(always)]
    fn of(numbers: CachedPart<'_>) -> &[Self] {
        let CachedPart::F32(numbers) = numbers else { return &[] };
        numbers
    }

    #[inline(always)]
    fn number(self) -> f32 {
        self
    }

    #[inline(always)]
    fn vector<P: Processor>(_: P, numbers: &[Self]) -> <P::Vectors as Simd>::f32s {
        P::Vectors::as_simd_f32s(numbers).0[0]
    }
}

impl Cached for f16 {
    #[inline(always)]
    fn of(numbers: CachedPart<'_>) -> &[Self] {
        let CachedPart::F16(numbers) = numbers else { return &[] };
        numbers
    }

    #[inline(always)]
    fn number(self) -> f32 {
        half(u32::from(self.to_bits()))
    }

    #[inline(always)]
    fn vector<P: Processor>(processor: P, numbers: &[Self]) -> <P::Vectors as Simd>::f32s {
        processor.widen(numbers)
    }
}

/// Where the numbers of a page come from.
trait PageSource<K> {
    /// Room for a head's page.
    fn room(size: usize) -> Vec<f32>;

    /// Keys, `[dimension][position]`.
    fn keys<'a>(part: CachedPart<'a>, room: &'a mut [f32]) -> &'a [K];

    /// Values, `[position][dimension]`.
    fn values<'a>(part: CachedPart<'a>, size: usize, room: &'a mut [f32]) -> &'a [K];
}

/// From the cache itself.
struct AsKept;

impl<K: Cached> PageSource<K> for AsKept {
    fn room(_: usize) -> Vec<f32> {
        Vec::new()
    }

    #[inline(always)]
    fn keys<'a>(part: CachedPart<'a>, _: &'a mut [f32]) -> &'a [K] {
        K::of(part)
    }

    #[inline(always)]
    fn values<'a>(part: CachedPart<'a>, _: usize, _: &'a mut [f32]) -> &'a [K] {
        K::of(part)
    }
}

/// From 8 bits and scales, widened once for all rows that read them.
struct Widened;

impl PageSource<f32> for Widened {
    fn room(size: usize) -> Vec<f32> {
        vec![0.0; size * PAGE]
    }

    #[inline(always)]
    fn keys<'a>(part: CachedPart<'a>, room: &'a mut [f32]) -> &'a [f32] {
        let CachedPart::Q8(numbers, scales) = part else { return &[] };
        let (numbers, _) = numbers.as_chunks::<PAGE>();
        let (scales, _) = scales.as_chunks::<PAGE>();
        let blocks = room.as_chunks_mut::<PAGE>().0.chunks_mut(SCALED);
        for ((room, numbers), scales) in blocks.zip(numbers.chunks(SCALED)).zip(scales) {
            let mut of_positions = [0.0; PAGE];
            for position in 0..PAGE {
                of_positions[position] = scales[position].number();
            }
            for (room, numbers) in room.iter_mut().zip(numbers) {
                for position in 0..PAGE {
                    room[position] = f32::from(numbers[position]) * of_positions[position];
                }
            }
        }
        room
    }

    #[inline(always)]
    fn values<'a>(part: CachedPart<'a>, size: usize, room: &'a mut [f32]) -> &'a [f32] {
        let CachedPart::Q8(numbers, scales) = part else { return &[] };
        let positions = room.chunks_exact_mut(size).zip(numbers.chunks_exact(size));
        for ((room, numbers), scales) in positions.zip(scales.chunks_exact(size.div_ceil(SCALED))) {
            let blocks = room.chunks_mut(SCALED).zip(numbers.chunks(SCALED));
            for ((room, numbers), scale) in blocks.zip(scales) {
                let scale = scale.number();
                room.iter_mut().zip(numbers).for_each(|(to, from)| *to = f32::from(*from) * scale);
            }
        }
        room
    }
}

/// Asks for numbers that come next.
#[inline(always)]
fn ask_for(part: Option<CachedPart<'_>>) {
    match part {
        Some(CachedPart::F32(numbers)) => ask_for_all(numbers),
        Some(CachedPart::F16(numbers)) => ask_for_all(numbers),
        Some(CachedPart::Q8(numbers, _)) => ask_for_all(numbers),
        None => {}
    }
}

#[inline(always)]
fn ask_for_all<K>(numbers: &[K]) {
    for line in numbers.chunks(64 / size_of::<K>()) {
        prefetch(line.as_ptr());
    }
}

/// Products of some queries with all keys of a page, `[dimension][position]`; gives their number.
#[inline(always)]
fn score<P: Processor, K: Cached, const COUNT: usize>(
    processor: P,
    keys: &[K],
    queries: [&[f32]; COUNT],
    out: &mut [Scores],
) -> usize {
    // As many vectors of positions as leave registers for four queries.
    if P::Vectors::F32_LANES >= 16 {
        score_vectors::<P, K, COUNT, 4>(processor, keys, queries, out);
    } else {
        score_vectors::<P, K, COUNT, 2>(processor, keys, queries, out);
    }
    COUNT
}

#[inline(always)]
fn score_vectors<P: Processor, K: Cached, const COUNT: usize, const VECTORS: usize>(
    processor: P,
    keys: &[K],
    queries: [&[f32]; COUNT],
    out: &mut [Scores],
) {
    let (simd, lanes) = (processor.vectors(), P::Vectors::F32_LANES);
    let (keys, _) = keys.as_chunks::<PAGE>();
    for first in (0..PAGE / lanes).step_by(VECTORS) {
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; COUNT];
        for (dimension, keys) in keys.iter().enumerate() {
            let keys: [_; VECTORS] = std::array::from_fn(|vector| {
                K::vector(processor, &keys[(first + vector) * lanes..][..lanes])
            });
            for (query, sums) in queries.iter().zip(&mut sums) {
                let query = simd.splat_f32s(query[dimension]);
                for (sum, key) in sums.iter_mut().zip(keys) {
                    *sum = simd.mul_add_e_f32s(key, query, *sum);
                }
            }
        }
        for (out, sums) in out.iter_mut().zip(sums) {
            let out = &mut P::Vectors::as_mut_simd_f32s(out).0[first..];
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum);
        }
    }
}

/// Makes weights of the scores of the first `seen` positions and zeros of the others; scales down
/// what the row has so far, where a score is larger than all before.
#[inline(always)]
fn weigh<S: Simd>(scale: f32, seen: usize, scores: &mut Scores, sums: &mut [f32], size: usize) {
    let most_before = sums[size];
    let mut most = [most_before; 16];
    for (position, score) in scores.iter_mut().enumerate() {
        *score = if position < seen { *score * scale } else { f32::NEG_INFINITY };
    }
    for scores in scores.as_chunks::<16>().0 {
        for lane in 0..16 {
            most[lane] = if scores[lane] > most[lane] { scores[lane] } else { most[lane] };
        }
    }
    let most = most.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut total = [0.0; 16];
    for scores in scores.as_chunks_mut::<16>().0 {
        for lane in 0..16 {
            scores[lane] = exp::<S>(scores[lane] - most);
            total[lane] += scores[lane];
        }
    }
    // The first page has nothing to scale down: exp(-inf) is 0, and so are sum and output.
    let shrink = exp::<S>(most_before - most);
    sums[..size].iter_mut().for_each(|sum| *sum *= shrink);
    sums[size] = most;
    sums[size + 1] = sums[size + 1] * shrink + total.into_iter().sum::<f32>();
}

/// Adds the values of a page's positions, each times its weight, to the sums of some rows, which
/// lie `stride` apart.
#[inline(always)]
fn add<P: Processor, K: Cached, const COUNT: usize>(
    processor: P,
    values: &[K],
    size: usize,
    weights: &[Scores],
    sums: &mut [f32],
    stride: usize,
) {
    let lanes = P::Vectors::F32_LANES;
    let whole = size / lanes;
    let mut vector = 0;
    if lanes >= 16 {
        while vector + 4 <= whole {
            add_vectors::<P, K, COUNT, 4>(processor, values, size, vector, weights, sums, stride);
            vector += 4;
        }
    }
    while vector + 2 <= whole {
        add_vectors::<P, K, COUNT, 2>(processor, values, size, vector, weights, sums, stride);
        vector += 2;
    }
    while vector < whole {
        add_vectors::<P, K, COUNT, 1>(processor, values, size, vector, weights, sums, stride);
        vector += 1;
    }
    for dimension in whole * lanes..size {
        for (row, weights) in weights.iter().enumerate().take(COUNT) {
            let sum = &mut sums[row * stride + dimension];
            for (value, weight) in values.chunks_exact(size).zip(weights) {
                *sum += weight * value[dimension].number();
            }
        }
    }
}

#[inline(always)]
fn add_vectors<P: Processor, K: Cached, const COUNT: usize, const VECTORS: usize>(
    processor: P,
    values: &[K],
    size: usize,
    first: usize,
    weights: &[Scores],
    sums: &mut [f32],
    stride: usize,
) {
    let (simd, lanes) = (processor.vectors(), P::Vectors::F32_LANES);
    let first = first * lanes;
    let weights: &[Scores; COUNT] = weights.first_chunk().expect("there are so many rows");
    let mut held = [[simd.splat_f32s(0.0); VECTORS]; COUNT];
    for (row, held) in held.iter_mut().enumerate() {
        let (vectors, _) = P::Vectors::as_simd_f32s(&sums[row * stride + first..]);
        held.iter_mut().zip(vectors).for_each(|(held, sum)| *held = *sum);
    }
    for (position, value) in values.chunks_exact(size).enumerate() {
        let value: [_; VECTORS] = std::array::from_fn(|vector| {
            K::vector(processor, &value[first + vector * lanes..][..lanes])
        });
        for (held, weights) in held.iter_mut().zip(weights) {
            let weight = simd.splat_f32s(weights[position]);
            for (sum, value) in held.iter_mut().zip(value) {
                *sum = simd.mul_add_e_f32s(weight, value, *sum);
            }
        }
    }
    for (row, held) in held.iter().enumerate() {
        let (vectors, _) = P::Vectors::as_mut_simd_f32s(&mut sums[row * stride + first..]);
        vectors.iter_mut().zip(held).for_each(|(sum, held)| *sum = *held);
    }
}
