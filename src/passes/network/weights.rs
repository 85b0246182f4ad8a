//! Where the weights are: all of them on the device, or streamed through it where they do not fit.

use bevy::render::renderer::{RenderDevice, RenderQueue};

use super::{NetworkError, NetworkModel, Sizes};
use crate::residency::compute::{Limits, Part, Plan, Pool, PoolError};
use crate::tiles::{Pages, Shape};

/// The page textures that bind groups are made with.
pub(super) enum Weights {
    /// Every tile has its place.
    Whole(Box<Pages>),
    /// Tiles are brought ahead of the dispatches that read them.
    Streamed(Box<Pool>),
}

/// A piece of the output matrix: its first row group, how many, and where it is.
pub(super) type Piece<'a> = (u32, u32, &'a Pages);

impl Weights {
    /// Puts the weights on the device, or begins to stream them; then a step has one pass, whose tokens the CPU knows.
    pub fn open(
        device: &RenderDevice,
        queue: &RenderQueue,
        wanted: &NetworkModel,
        sizes: &mut Sizes,
    ) -> Result<Self, NetworkError> {
        let limits = device.limits();
        let limits = Limits {
            cap: wanted.memory.unwrap_or(u64::MAX),
            max_height: Shape::most_height(&limits),
            max_layers: limits.max_texture_array_layers,
            columns: sizes.columns,
        };
        match Plan::new(&wanted.model, limits).map_err(PoolError::from)? {
            None => Ok(Self::Whole(Box::new(Pages::upload(device, queue, &wanted.model)?))),
            Some(plan) => {
                sizes.repeats = 1;
                Ok(Self::Streamed(Box::new(Pool::new(device, queue, &wanted.model, plan)?)))
            }
        }
    }

    /// Where the embedding's rows are.
    pub fn embedding(&self) -> &Pages {
        match self {
            Self::Whole(pages) => pages,
            Self::Streamed(pool) => pool.rows(),
        }
    }

    /// Where a layer's matrices are when it runs.
    pub fn layer(&self, index: u32) -> &Pages {
        match self {
            Self::Whole(pages) => pages,
            Self::Streamed(pool) => pool.slot(&pool.plan().units[index as usize]),
        }
    }

    /// The output matrix of so many row groups.
    pub fn output(&self, groups: u32) -> Vec<Piece<'_>> {
        match self {
            Self::Whole(pages) => vec![(0, groups, pages)],
            Self::Streamed(pool) => pool
                .plan()
                .units
                .iter()
                .filter_map(|unit| match unit.part {
                    Part::Output { first_group, groups } => Some((first_group, groups, pool.slot(unit))),
                    Part::Layer(_) => None,
                })
                .collect(),
        }
    }

    /// The pages that the embedding reads, and what streams if anything does.
    pub fn into_parts(self) -> (Pages, Option<Pool>) {
        match self {
            Self::Whole(pages) => (*pages, None),
            Self::Streamed(pool) => (pool.rows().clone(), Some(*pool)),
        }
    }
}
