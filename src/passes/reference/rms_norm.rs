//! The twin of `rms_norm.wgsl`.

use crate::passes::params::RmsNormParams;

/// Root-mean-square normalisation of each row: `y = x / sqrt(mean(x * x) + epsilon) * weight`.
///
/// Squares are summed in double precision, so that the twin's own error does not count against the kernel's budget.
///
/// # Panics
/// If `x` and `y` are not `[rows, width]` or `weight` is not `[width]`.
pub fn rms_norm(params: &RmsNormParams, x: &[f32], weight: &[f32], y: &mut [f32]) {
    let (rows, width) = (params.rows as usize, params.width as usize);
    assert_eq!(x.len(), rows * width, "x is [rows, width]");
    assert_eq!(y.len(), x.len(), "y is [rows, width]");
    assert_eq!(weight.len(), width, "weight is [width]");
    if width == 0 {
        return;
    }

    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        let squares: f64 = x.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
        let mean = squares / width as f64;
        let scale = (mean + f64::from(params.epsilon)).sqrt().recip() as f32;
        for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
            *y = x * scale * weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_each_row_by_itself() {
        // The mean squares of the rows are 25 / 2 and 0.
        let mut y = [f32::NAN; 4];
        rms_norm(&RmsNormParams::new(2, 2, 1e-6), &[3.0, 4.0, 0.0, 0.0], &[1.0, 2.0], &mut y);
        let scale = (12.5_f32 + 1e-6).sqrt().recip();
        assert!((y[0] - 3.0 * scale).abs() < 1e-6, "{y:?}");
        assert!((y[1] - 8.0 * scale).abs() < 1e-6, "{y:?}");
        assert_eq!(y[2..], [0.0, 0.0], "a row of zeros stays finite");
    }
}
