//! Where the weights are: all of them on the device, or streamed through it where they do not fit.
//!
//! The caller says how much a device holds, or it is found out: wgpu does not report it, but it
//! does report that a texture has no room.

use bevy::log::warn;
use bevy::render::render_resource::{BufferDescriptor, BufferUsages, PollType};
use bevy::render::renderer::{RenderDevice, RenderQueue};

use super::{GpuModelError, GpuModelSource, Sizes};
use crate::residency::compute::{Limits, Part, Plan, Pool, PoolError, weights_in_bytes};
use crate::size::MemorySize;
use crate::tiles::{Pages, PagesError, Shape};

/// Of the device's memory, what is left free beside the weights and the keys and values where
/// nobody says how much the weights may take: for activations, the picture and the system.
const MARGIN_BYTES: u64 = 256 << 20;
/// Of what did not fit, the part that is tried next.
const SMALLER: [u64; 2] = [3, 4];

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
    /// Puts the weights on the device, or begins to stream them; then a step has one pass, whose
    /// tokens the CPU knows. Where no cap is given, the largest is taken that leaves room for the
    /// rest.
    pub fn open(
        device: &RenderDevice,
        queue: &RenderQueue,
        wanted: &GpuModelSource,
        sizes: &mut Sizes,
    ) -> Result<Self, GpuModelError> {
        let Some(cap) = wanted.memory else {
            return Self::open_largest(device, queue, wanted, sizes);
        };
        Self::open_capped(device, queue, wanted, sizes, cap)
    }

    fn open_largest(
        device: &RenderDevice,
        queue: &RenderQueue,
        wanted: &GpuModelSource,
        sizes: &mut Sizes,
    ) -> Result<Self, GpuModelError> {
        let config = wanted.model.config();
        let cache = [config.layer_count, 2, config.kv_size(), sizes.slots, sizes.rows(), 4];
        let cache = cache.into_iter().map(u64::from).fold(1, u64::saturating_mul);
        let margin = MARGIN_BYTES.saturating_add(cache);
        // A copy, since `sizes` is read while one try after the other may change it.
        let mut sizes_now = *sizes;
        let found = with_room(
            weights_in_bytes(&wanted.model),
            |cap| {
                // Given back when the weights are there: as much is then free for the rest.
                let _margin = hold(device, margin)?;
                Self::open_capped(device, queue, wanted, &mut sizes_now, cap)
            },
            |error, cap| {
                // What was given up is free after this; a lost device is found by whoever uses it
                // next.
                let _ = device.poll(PollType::wait_indefinitely());
                // Where no plan is left, a smaller cap would only hide that there is no room.
                let smaller = is_no_room(error) && Self::plan(device, wanted, sizes, cap).is_ok();
                if smaller {
                    warn!("{error}; {} are tried", MemorySize(cap));
                }
                smaller
            },
        );
        *sizes = sizes_now;
        match found {
            // As little as there can be was tried, so that it is the margin that does not fit.
            Err(error) if is_no_room(&error) => {
                Self::open_capped(device, queue, wanted, sizes, u64::MAX)
            }
            found => found,
        }
    }

    fn plan(
        device: &RenderDevice,
        wanted: &GpuModelSource,
        sizes: &Sizes,
        cap: u64,
    ) -> Result<Option<Plan>, PoolError> {
        let limits = device.limits();
        let limits = Limits {
            cap,
            max_height: Shape::most_height(&limits),
            max_layers: limits.max_texture_array_layers,
            columns: sizes.columns,
            tuning: wanted.tuning,
        };
        Ok(Plan::new(&wanted.model, limits)?)
    }

    fn open_capped(
        device: &RenderDevice,
        queue: &RenderQueue,
        wanted: &GpuModelSource,
        sizes: &mut Sizes,
        cap: u64,
    ) -> Result<Self, GpuModelError> {
        match Self::plan(device, wanted, sizes, cap)? {
            None => Ok(Self::Whole(Box::new(Pages::upload(device, queue, &wanted.model)?))),
            Some(plan) => {
                // The embedding's rows are brought by token, which the CPU has to know by then.
                sizes.steps = 1;
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
                    Part::Output { first_group, groups } => {
                        Some((first_group, groups, pool.slot(unit)))
                    }
                    Part::Layer(_) => None,
                })
                .collect(),
        }
    }

    /// The pages that the embedding reads, and what streams if anything does.
    pub(crate) fn into_parts(self) -> (Pages, Option<Pool>) {
        match self {
            Self::Whole(pages) => (*pages, None),
            Self::Streamed(pool) => (pool.rows().clone(), Some(*pool)),
        }
    }
}

/// Opens something of `all` bytes without a cap, then with three quarters of them, and so on with
/// ever less, as long as `smaller` says of an error that it may help.
fn with_room<T, E>(
    all: u64,
    mut open: impl FnMut(u64) -> Result<T, E>,
    smaller: impl Fn(&E, u64) -> bool,
) -> Result<T, E> {
    let mut cap = u64::MAX;
    loop {
        let found = open(cap);
        // The first cap is none: three quarters are of the weights themselves.
        cap = cap.min(all) / SMALLER[1] * SMALLER[0];
        match found {
            Err(error) if smaller(&error, cap) => {}
            found => return found,
        }
    }
}

/// Memory that is the caller's until it is dropped.
fn hold(device: &RenderDevice, bytes: u64) -> Result<Vec<Pages>, PagesError> {
    let limits = device.limits();
    let places = device.create_buffer(&BufferDescriptor {
        label: Some("forward:margin"),
        size: 4,
        usage: BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    // In textures: that one has no room is what wgpu tells on every back end.
    let layer = Shape { height: Shape::most_height(&limits), layers: 1 };
    let layers = bytes.div_ceil(layer.size_in_bytes());
    (0..layers).map(|_| Pages::empty(device, layer, places.clone())).collect()
}

fn is_no_room(error: &GpuModelError) -> bool {
    matches!(
        error,
        GpuModelError::Pages(PagesError::NoRoom { .. })
            | GpuModelError::Pool(PoolError::Pages(PagesError::NoRoom { .. }))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens 1000 bytes where there is room for so many, streamed through 100 at least.
    fn opened(room: u64) -> (Result<u64, u64>, Vec<u64>) {
        let mut tried = Vec::new();
        let open = |cap: u64| {
            tried.push(cap);
            let needed = cap.min(1000);
            if needed <= room { Ok(needed) } else { Err(needed) }
        };
        let found = with_room(1000, open, |_, cap| cap >= 100);
        (found, tried)
    }

    #[test]
    fn what_does_not_fit_is_streamed_through_as_much_as_does() {
        assert_eq!(opened(5000), (Ok(1000), vec![u64::MAX]));
        let (found, tried) = opened(600);
        assert_eq!((found, tried), (Ok(561), vec![u64::MAX, 750, 561]));
        assert_eq!(opened(99).0, Err(129), "no less can be");
    }
}
