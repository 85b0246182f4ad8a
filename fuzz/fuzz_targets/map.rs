//! The two tables of a map's folder: an index or a directory that is accepted gives back the bytes
//! it was read from, and everything it names is on the plane.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pixel_llm::map::{Directory, Index};

fuzz_target!(|input: &[u8]| {
    if let Ok(index) = Index::parse(input) {
        assert_eq!(index.encode(), input);
        for region in &index.regions {
            assert!(region.length <= region.capacity());
        }
    }
    if let Ok(directory) = Directory::parse(input) {
        let counts = directory.counts();
        assert_eq!(directory.tiles().len(), counts.tiles as usize);
        for (tile, slot) in directory.tiles() {
            assert!(directory.tile_size.rect_of(tile).is_ok());
            assert!(directory.digest(slot).is_some());
            assert_eq!(directory.slot_of(tile), Some(slot));
        }
        for tile in directory.removed() {
            assert!(directory.tile_size.rect_of(tile).is_ok());
            assert_eq!(directory.slot_of(tile), None);
        }
        assert!(directory.digest(counts.slots).is_none());
    }
});
