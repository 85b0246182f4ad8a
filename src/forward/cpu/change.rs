//! `change`: a caller's change to values on their way.

use crate::forward::params::ChangeParams;

/// Scales the values of each of some columns, whose first values in `target` are at `rows`, and
/// adds to them. A factor of 0 replaces.
pub fn change(params: &ChangeParams, rows: &[u32], added: &[f32], target: &mut [f32]) {
    let features = params.features as usize;
    for (&first, added) in
        rows.iter().zip(added.chunks_exact(features)).take(params.columns as usize)
    {
        for (value, added) in target[first as usize..][..features].iter_mut().zip(added) {
            // Not by a product: 0 times infinity is no number, and a replaced value may be one.
            let scaled = if params.scale == 0.0 { 0.0 } else { *value * params.scale };
            *value = scaled + added;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    #[test]
    fn only_the_columns_that_are_named_change_and_a_factor_of_zero_replaces() {
        let mut params =
            ChangeParams { features: 2, columns: 1, scale: 3.0, ..ChangeParams::zeroed() };
        let mut target = [1.0, 2.0, f32::NAN, 4.0, 5.0, 6.0];
        change(&params, &[4, 0], &[0.5, -0.5, 9.0, 9.0], &mut target);
        assert_eq!((&target[..2], &target[4..]), (&[1.0, 2.0][..], &[15.5, 17.5][..]));
        params.scale = 0.0;
        change(&params, &[2], &[7.0, 8.0], &mut target);
        assert_eq!(target, [1.0, 2.0, 7.0, 8.0, 15.5, 17.5]);
    }
}
