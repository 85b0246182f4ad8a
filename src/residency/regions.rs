//! Keys, values and activations as regions of an infinite map, so that they can be looked at as the
//! weights can.
//!
//! In: numbers of a running model. Out: pixels in regions named `cache LAYER keys`,
//! `cache LAYER values` and `activations NAME`: a pixel per number, a row per position or column;
//! red for what is above zero, blue for what is below, as bright as it is large beside the median
//! of its region: some numbers of a residual stream are hundreds of times as large as the others,
//! which would be black beside the largest.

use crate::map::{InfiniteMap, MapError, Region};
use crate::model::ModelConfig;

/// The regions of a model's cache.
#[derive(Debug, Clone)]
pub struct CacheRegions {
    layers: Vec<[Region; 2]>,
    row: usize,
}

impl CacheRegions {
    /// Finds room on a map for the keys and values of every layer, for so many positions.
    ///
    /// # Errors
    /// The map cannot be written to, or has regions of these names.
    pub fn place(
        map: &mut InfiniteMap,
        config: &ModelConfig,
        positions: u32,
    ) -> Result<Self, MapError> {
        let row = config.kv_size();
        let mut place = |layer: u32, what: &str| {
            map.allocate(&Self::name(layer, what), row.into(), positions.max(1).into())
        };
        let layers = (0..config.layer_count)
            .map(|layer| Ok([place(layer, "keys")?, place(layer, "values")?]));
        Ok(Self { layers: layers.collect::<Result<_, MapError>>()?, row: row as usize })
    }

    /// The name of a layer's region of `keys` or `values`.
    pub fn name(layer: u32, what: &str) -> String {
        format!("cache {layer} {what}")
    }

    /// The regions of a layer's keys and values.
    pub fn layer(&self, layer: u32) -> Option<&[Region; 2]> {
        self.layers.get(layer as usize)
    }

    /// Writes what a layer's keys and values are now, position by position from the first; what
    /// does not fit its region is left out.
    ///
    /// # Errors
    /// The map cannot be written to.
    pub fn write(
        &self,
        map: &mut InfiniteMap,
        layer: u32,
        [keys, values]: [&[f32]; 2],
    ) -> Result<(), MapError> {
        let Some(regions) = self.layer(layer) else { return Ok(()) };
        write_rows(map, &regions[0], keys, self.row)?;
        write_rows(map, &regions[1], values, self.row)
    }
}

/// Finds room for activations of `width` numbers per column and writes them. A region of this name
/// is written again if it has the same size.
///
/// # Errors
/// The map cannot be written to, or a region of this name has another size.
pub(crate) fn write_activations(
    map: &mut InfiniteMap,
    name: &str,
    numbers: &[f32],
    width: usize,
) -> Result<Region, MapError> {
    let name = format!("activations {name}");
    let region = match map.region(&name) {
        Some(region) => region.clone(),
        None => map.allocate(
            &name,
            width.max(1) as u64,
            numbers.len().div_ceil(width.max(1)).max(1) as u64,
        )?,
    };
    write_rows(map, &region, numbers, width)?;
    Ok(region)
}

fn write_rows(
    map: &mut InfiniteMap,
    region: &Region,
    numbers: &[f32],
    width: usize,
) -> Result<(), MapError> {
    let room = usize::try_from(region.rect.height()).unwrap_or(usize::MAX);
    let rows = (numbers.len() / width.max(1)).min(room);
    let same_width = region.rect.width() == width as u128;
    if rows == 0 || !same_width {
        return Ok(());
    }
    let numbers = &numbers[..rows * width];
    let corner = region.rect.corner();
    let rect = crate::map::Rect::new(corner.x, corner.y, width as u64, rows as u64)?;
    map.write_pixels(&rect, &pixels(numbers))
}

/// As bright as there is are numbers of so many times the median size, and all that are larger: of
/// numbers with a normal distribution, one in a hundred.
pub(crate) const BRIGHTEST: f32 = 4.0;

/// A pixel per number, which are compared with the median of them by size.
pub fn pixels(numbers: &[f32]) -> Vec<u8> {
    // Without zeros: a median of 0 would make all other numbers as bright as can be.
    let mut sizes: Vec<f32> = numbers
        .iter()
        .map(|number| number.abs())
        .filter(|size| size.is_finite() && *size > 0.0)
        .collect();
    let middle = sizes.len() / 2;
    let median = if sizes.is_empty() {
        1.0
    } else {
        *sizes.select_nth_unstable_by(middle, f32::total_cmp).1
    };
    // The least positive numbers would give a scale that is none.
    let scale = (255.0 / (BRIGHTEST * median)).min(f32::MAX);
    let pixel = |&number: &f32| {
        if !number.is_finite() {
            // Magenta: no number is both red and blue.
            return [255, 0, 255];
        }
        // What is brighter than can be is cut off.
        let bright = (number.abs() * scale).round() as u8;
        if number > 0.0 { [bright, bright / 3, 0] } else { [0, bright / 3, bright] }
    };
    numbers.iter().flat_map(pixel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::TileSize;

    #[test]
    fn numbers_have_the_colour_of_their_sign_and_the_brightness_of_their_size() {
        assert_eq!(
            pixels(&[2.0, -1.0, 0.0, f32::NAN, 1.0, 1e9, -0.5]),
            [128, 42, 0, 0, 21, 64, 0, 0, 0, 255, 0, 255, 64, 21, 0, 255, 85, 0, 0, 10, 32]
        );
        assert_eq!(pixels(&[0.0]), [0, 0, 0]);
        assert_eq!(pixels(&[f32::MIN_POSITIVE / 8.0]).len(), 3);
    }

    #[test]
    fn activations_have_a_region_that_can_be_written_again() {
        let mut map = InfiniteMap::in_memory(TileSize::default());
        let region = write_activations(&mut map, "residual", &[1.0, -1.0, 0.5, 0.0], 2).unwrap();
        assert_eq!((region.rect.width(), region.rect.height()), (2, 2));
        let again = write_activations(&mut map, "residual", &[0.0, 0.0, 0.0, 4.0], 2).unwrap();
        assert_eq!(again.rect, region.rect);
        let patch = map.read_pixels(&region.rect).unwrap();
        let last =
            crate::map::Point { x: region.rect.corner().x + 1, y: region.rect.corner().y + 1 };
        assert_eq!(patch.pixel(last), Some([64, 21, 0]));
    }
}
