//! Files of version 1.0, whose coarse table says less and whose writers had another map: they open,
//! are shown on today's map, and a copy of one is a file of today.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::path::Path;

use half::f16;
use pixel_llm::model::convert::convert;
use pixel_llm::model::edits::{WeightEdits, save_copy};
use pixel_llm::model::gguf::Gguf;
use pixel_llm::model::{Encoding, PixelModel};
use pixel_llm::pxi::{PayloadFile, Target, parse};
use sha2::{Digest, Sha256};

use crate::common::tiny::Tiny;

fn u64_at(payload: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(payload[at..at + 8].try_into().unwrap())
}

/// The payload of version 1.0 that has the weights of one of 1.1: every point of the coarse table
/// has a mean of -3 and a spread of 4, and the rectangles are those of no map.
fn of_version_1_0(payload: &[u8]) -> Vec<u8> {
    let [table, tiles_table, coarse, tiles] =
        [0x98, 0xA8, 0xB0, 0xB8].map(|at| u64_at(payload, at) as usize);
    let tile_count = u32::from_le_bytes(payload[0x7C..0x80].try_into().unwrap()) as usize;
    let point = [-3.0, 4.0].map(f16::from_f32).map(f16::to_le_bytes);
    let mut head = payload[..coarse].to_vec();
    head.extend(point.as_flattened().repeat(64 * tile_count));
    let start = (head.len() + 64).next_multiple_of(4096) - 64;
    head.resize(start, 0);
    head[0x05] = 0;
    head[0x2C..0x34].copy_from_slice(&[7, 0, 0, 0, 9, 0, 0, 0]);
    head[0xB8..0xC0].copy_from_slice(&(start as u64).to_le_bytes());
    let mut record = table;
    while record + 72 <= tiles_table {
        let name = usize::from(u16::from_le_bytes([head[record], head[record + 1]]));
        head[record + 56..record + 72].fill(0xEE);
        record += 72 + name;
    }
    head[0xC8..0xE8].fill(0);
    let checksum = Sha256::digest(&head);
    head[0xC8..0xE8].copy_from_slice(&checksum);
    head.extend(&payload[tiles..]);
    head
}

fn write(path: &Path, payload: &[u8]) {
    let file = PayloadFile::create(Target::new(path, false), 1024, payload.len() as u64).unwrap();
    file.write_at(0, payload).unwrap();
    file.finish(&|_| ()).unwrap();
}

#[test]
fn files_of_the_first_version_open_and_are_shown_on_the_new_land() {
    let folder = tempfile::tempdir().unwrap();
    let [gguf, new, old, copy] =
        ["a.gguf", "new.pxi", "old.pxi", "copy.pxi"].map(|name| folder.path().join(name));
    Tiny::new("qwen3", Encoding::Q4_1, 3).write(&gguf);
    convert(&Gguf::open(&gguf).unwrap(), &new, &|_| ()).unwrap();
    let file = std::fs::read(&new).unwrap();
    let payload = parse(&file).unwrap().payload().unwrap().to_vec();
    write(&old, &of_version_1_0(&payload));

    let [new_model, model] = [&new, &old].map(|path| PixelModel::open(path).unwrap());
    assert_eq!(model.header().root, new_model.header().root);
    assert_eq!(model.plan(), new_model.plan());
    model.check_tiles().unwrap();
    for tile in 0..model.tile_count() {
        assert_eq!(model.tile(tile).unwrap(), new_model.tile(tile).unwrap());
        assert_eq!(model.tile_statistics(tile), new_model.tile_statistics(tile));
    }
    let picture = pixel_llm::model::poster::paint(&model, 200, &|_| ()).unwrap();
    assert_eq!(picture.width.max(picture.height), 200);

    save_copy(&model, &WeightEdits::default(), &copy, &|_| ()).unwrap();
    assert_eq!(std::fs::read(&copy).unwrap(), file, "a copy is what a conversion of today is");
}
