//! Marks on entities: heads and layers that are muted, weakened or strengthened.

use bevy::prelude::*;

/// On a [`Head`](super::Head): its output is zero. On a [`Layer`](super::Layer): it is skipped,
/// since nothing of it is added to the residual stream. Stronger than [`Scale`], which it leaves
/// where it is.
#[derive(Component, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Muted;

/// On a [`Head`](super::Head): a factor on what it gives. On a [`Layer`](super::Layer): a factor on
/// everything that it adds to the residual stream. Without it, 1.
#[derive(Component, Debug, Clone, Copy, PartialEq)]
pub struct Scale(pub f32);

/// The factor that an entity's marks come to. One that is not a finite number would make every
/// logit one that is not: it counts as 1.
pub fn factor(muted: Option<&Muted>, scale: Option<&Scale>) -> f32 {
    match (muted, scale) {
        (Some(Muted), _) => 0.0,
        (None, Some(&Scale(factor))) if factor.is_finite() => factor,
        (None, _) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn muted_is_stronger_than_a_factor_and_a_factor_is_finite() {
        assert_eq!(factor(Some(&Muted), Some(&Scale(3.0))), 0.0);
        assert_eq!(factor(None, Some(&Scale(-3.0))), -3.0);
        assert_eq!(factor(None, None), 1.0);
        for wrong in [f32::NAN, f32::INFINITY] {
            assert_eq!(factor(None, Some(&Scale(wrong))), 1.0);
        }
    }
}
