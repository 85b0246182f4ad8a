//! The searches for scales that the encoders share: some scales are tried, for each of which the
//! best factor is known by least squares, and what came nearest is kept. They are those of
//! llama.cpp's reference, operation by operation, so that the same bytes come out.

/// Below this a group counts as all zero.
pub(super) const ZERO: f32 = 1e-15;

/// The nearest whole number, a half to the even one. What is no number gives 0 and what is too
/// large the least of 23 bits, as the reference's trick with the bits of a sum does.
pub(super) fn nearest(value: f32) -> i32 {
    ((value + 12_582_912.0).to_bits() & 0x007f_ffff).cast_signed() - 0x0040_0000
}

/// Codes around zero: `weight = scale * (code - half)`. Gives the scale. Without `importance` an
/// error counts by the square of its weight.
pub(super) fn symmetric(
    weights: &[f32],
    importance: Option<&[f32]>,
    half: i32,
    codes: &mut [u8],
) -> f32 {
    let mut largest = 0f32;
    for &weight in weights {
        if weight.abs() > largest.abs() {
            largest = weight;
        }
    }
    if largest.abs() < ZERO {
        codes.fill(0);
        return 0.0;
    }
    let code = |inverse: f32, weight: f32| nearest(inverse * weight).clamp(-half, half - 1);
    let sums = |inverse: f32| {
        let (mut with_code, mut of_code) = (0f32, 0f32);
        for (at, &weight) in weights.iter().enumerate() {
            let code = code(inverse, weight) as f32;
            let counts = importance.map_or(weight * weight, |importance| importance[at]);
            with_code += counts * weight * code;
            of_code += counts * code * code;
        }
        (with_code, of_code)
    };
    let mut chosen = -(half as f32) / largest;
    let (with_code, of_code) = sums(chosen);
    let mut scale = if of_code == 0.0 { 0.0 } else { with_code / of_code };
    let mut best = scale * with_code;
    for step in (-9..=9).filter(|step| *step != 0) {
        let inverse = -(half as f32 + 0.1 * step as f32) / largest;
        let (with_code, of_code) = sums(inverse);
        if of_code > 0.0 && with_code * with_code > best * of_code {
            chosen = inverse;
            scale = with_code / of_code;
            best = scale * with_code;
        }
    }
    for (to, &weight) in codes.iter_mut().zip(weights) {
        *to = (code(chosen, weight) + half) as u8;
    }
    scale
}

/// The scales that [`affine`] tries: `(first + step * n + most) / range` for n from 0 to `last`.
#[derive(Clone, Copy)]
pub(super) struct Tries {
    pub first: f32,
    pub step: f32,
    pub last: u32,
}

/// Codes from a minimum on that is at most 0: `weight = scale * code - minimum`. Gives scale and
/// minimum, which is taken off.
pub(super) fn affine(
    weights: &[f32],
    importance: &[f32],
    most: i32,
    tries: Tries,
    codes: &mut [u8],
) -> (f32, f32) {
    let (mut least, mut greatest) = (weights[0], weights[0]);
    let (mut counts, mut with_weight) = (0f32, 0f32);
    for (at, (&weight, &count)) in weights.iter().zip(importance).enumerate() {
        least = if weight < least { weight } else { least };
        greatest = if weight > greatest { weight } else { greatest };
        // The first is the sum, not added to nothing: -0 stays what it is.
        (counts, with_weight) = if at == 0 {
            (count, count * weight)
        } else {
            (counts + count, with_weight + count * weight)
        };
    }
    if least > 0.0 {
        least = 0.0;
    }
    codes.fill(0);
    if greatest == least {
        return (0.0, -least);
    }
    let code =
        |inverse: f32, from: f32, weight: f32| nearest(inverse * (weight - from)).clamp(0, most);
    let error = |codes: &[u8], scale: f32, from: f32| {
        let mut sum = 0f32;
        for ((&code, &weight), &count) in codes.iter().zip(weights).zip(importance) {
            let far = scale * f32::from(code) + from - weight;
            sum += count * (far * far);
        }
        sum
    };
    let inverse = most as f32 / (greatest - least);
    let mut scale = 1.0 / inverse;
    for (to, &weight) in codes.iter_mut().zip(weights) {
        *to = code(inverse, least, weight) as u8;
    }
    let mut best = error(codes, scale, least);
    let mut tried = codes.to_vec();
    for n in 0..=tries.last {
        // From the minimum that is best so far, as the reference has it.
        let inverse = (tries.first + tries.step * n as f32 + most as f32) / (greatest - least);
        let (mut of_code, mut of_square, mut with_code) = (0f32, 0f32, 0f32);
        for (at, (&weight, &count)) in weights.iter().zip(importance).enumerate() {
            let code = code(inverse, least, weight);
            tried[at] = code as u8;
            let code = code as f32;
            of_code += count * code;
            of_square += count * code * code;
            with_code += count * code * weight;
        }
        let determinant = counts * of_square - of_code * of_code;
        if determinant > 0.0 {
            let mut fitted = (counts * with_code - with_weight * of_code) / determinant;
            let mut from = (of_square * with_weight - of_code * with_code) / determinant;
            if from > 0.0 {
                from = 0.0;
                fitted = with_code / of_square;
            }
            let far = error(&tried, fitted, from);
            if far < best {
                codes.copy_from_slice(&tried);
                (best, scale, least) = (far, fitted, from);
            }
        }
    }
    (scale, -least)
}

/// Codes of numbers of at least 0, as scales are: `value = scale * code`. Gives the scale.
pub(super) fn positive(values: &[f32], importance: &[f32], most: i32, codes: &mut [u8]) -> f32 {
    let greatest = values.iter().copied().fold(0f32, f32::max);
    codes.fill(0);
    if greatest < ZERO {
        return 0.0;
    }
    let code = |inverse: f32, value: f32| nearest(inverse * value).clamp(0, most);
    let error = |inverse: f32| {
        let scale = 1.0 / inverse;
        let far = |(value, count): (&f32, &f32)| {
            let far = value - scale * code(inverse, *value) as f32;
            count * far * far
        };
        values.iter().zip(importance).map(far).sum::<f32>()
    };
    let tries = [0, -4, -3, -2, -1, 1, 2, 3, 4];
    let inverses = tries.map(|step| (0.1 * step as f32 + most as f32) / greatest);
    let best = inverses.into_iter().map(|inverse| (error(inverse), inverse));
    let (_, inverse) =
        best.reduce(|a, b| if b.0 < a.0 { b } else { a }).expect("there are nine of them");
    let (mut with_code, mut of_code) = (0f32, 0f32);
    for ((to, &value), &count) in codes.iter_mut().zip(values).zip(importance) {
        let code = code(inverse, value);
        *to = code as u8;
        with_code += count * value * code as f32;
        of_code += count * (code * code) as f32;
    }
    if of_code > 0.0 { with_code / of_code } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_goes_to_the_even_number() {
        assert_eq!([0.5, 1.5, -0.5, -1.5, 2.4, -7.6].map(nearest), [0, 2, 0, -2, 2, -8]);
        assert_eq!(nearest(f32::NAN), 0);
    }
}
