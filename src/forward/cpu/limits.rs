//! What this processor does at most: how fast it reads memory, and how fast the kernels multiply
//! what lies in its caches. Measured beside a model, so that its stages can be held against it.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::activations::Panels;
use super::lanes::LANES;
use super::matrix::Matrix;
use super::model::CpuModel;
use super::multiply::multiply_row_group;

/// Bytes that are read: more than caches hold.
const READ_BYTES: usize = 1 << 30;
/// How often; the best counts, since what other programs take is no limit.
const READS: usize = 4;
/// Columns that are multiplied together: as many as a pass of a prompt.
const COLUMNS: usize = 128;
/// How long each thread multiplies.
const MULTIPLYING: Duration = Duration::from_millis(300);

/// Rates of all of the processor's threads together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessorLimits {
    /// Bytes per second in one streaming read of memory.
    pub read_bytes: f64,
    /// Multiplications per second of a model's weights with activations, both in the caches.
    pub multiplications: f64,
}

impl ProcessorLimits {
    /// Measures them: about two seconds, and a gigabyte of memory.
    pub(super) fn measure(model: &CpuModel) -> Self {
        Self { read_bytes: read_rate(), multiplications: multiplication_rate(model) }
    }
}

fn read_rate() -> f64 {
    // Not of zeros: the system would give one page for all of them.
    let words: Vec<u64> = (0..READ_BYTES as u64 / 8).into_par_iter().collect();
    let share = words.len().div_ceil(rayon::current_num_threads());
    let read = || {
        let start = Instant::now();
        let sum = words.par_chunks(share).map(sum).reduce(|| 0, u64::wrapping_add);
        std::hint::black_box(sum);
        READ_BYTES as f64 / start.elapsed().as_secs_f64().max(1e-9)
    };
    (0..READS).map(|_| read()).fold(0.0, f64::max)
}

/// In eight sums, so that no addition waits for another.
fn sum(words: &[u64]) -> u64 {
    let (eights, rest) = words.as_chunks::<8>();
    let mut sums = [0_u64; 8];
    for eight in eights {
        for (sum, word) in sums.iter_mut().zip(eight) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.into_iter().chain(rest.iter().copied()).fold(0, u64::wrapping_add)
}

/// Each thread multiplies a row group of its own with many columns, over and over.
fn multiplication_rate(model: &CpuModel) -> f64 {
    let (params, bytes) = model.some_matrix();
    let matrix = Matrix::new(&params, bytes);
    let mut panels = Panels::default();
    panels.resize(matrix.columns(), COLUMNS);
    for (at, value) in panels.as_mut_slice().iter_mut().enumerate() {
        *value = (at % 17) as f32 / 8.0 - 1.0;
    }
    let input = panels.input_in_bits(model.activation_bits(), &[&matrix]);
    let rates = rayon::broadcast(|thread| {
        let group = thread.index() % matrix.row_groups();
        let mut out = vec![0.0; LANES * COLUMNS];
        let (start, mut runs) = (Instant::now(), 0_u32);
        while start.elapsed() < MULTIPLYING {
            multiply_row_group(&matrix, group, &input, &mut out);
            runs += 1;
        }
        std::hint::black_box(&out);
        let each = (LANES * COLUMNS * matrix.columns()) as f64;
        f64::from(runs) * each / start.elapsed().as_secs_f64()
    });
    rates.into_iter().sum()
}
