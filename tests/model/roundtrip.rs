//! GGUF to pixels and back gives every tensor's bytes and every pair; a flipped bit is told by its
//! tile.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use crate::common::tiny::{Random, Tiny};
use pixel_llm::model::convert::convert;
use pixel_llm::model::export::export;
use pixel_llm::model::gguf::Gguf;
use pixel_llm::model::verify::verify;
use pixel_llm::model::weights::tile_weights;
use pixel_llm::model::{Encoding, ModelError, PixelModel, quant};

fn silent(_: u64) {}

/// Converts there and back, and compares everything.
fn round_trip(gguf: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let (pxi, back) = (folder.path().join("model.pxi"), folder.path().join("back.gguf"));
    let before = Gguf::open(gguf).unwrap();
    convert(&before, &pxi, &silent).unwrap();
    pixel_llm::pxi::PxiFile::open(&pxi).unwrap().verify().unwrap();
    let model = PixelModel::open(&pxi).unwrap();
    assert_eq!(verify(&model, &silent), []);
    export(&model, &back, &silent).unwrap();
    let after = Gguf::open(&back).unwrap();
    assert_eq!(before.metadata(), after.metadata());
    assert_eq!(before.alignment(), after.alignment());
    assert_eq!(before.tensors().len(), after.tensors().len());
    for (a, b) in before.tensors().iter().zip(after.tensors()) {
        assert_eq!((&a.name, &a.dims, a.encoding), (&b.name, &b.dims, b.encoding));
        assert!(before.read(a).unwrap() == after.read(b).unwrap(), "{} differs", a.name);
    }
    let sizes = [&pxi, &back].map(|path| path.metadata().unwrap().len());
    assert!(sizes.iter().all(|&size| size > 0) && folder.path().read_dir().unwrap().count() == 2);
}

#[test]
fn every_encoding_and_family_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    for (index, encoding) in Encoding::ALL.into_iter().enumerate() {
        let architecture = ["llama", "qwen2", "qwen3"][index % 3];
        let path = folder.path().join(format!("{encoding}.gguf"));
        Tiny::new(architecture, encoding, index as u64).write(&path);
        round_trip(&path);
    }
}

#[test]
fn the_seedling_comes_back() {
    for kind in ["f32", "f16", "q8_0"] {
        if let Some(path) = crate::common::shared(&format!("models/seedling/seedling-{kind}.gguf"))
        {
            round_trip(&path);
        }
    }
}

#[test]
fn smollm2_comes_back() {
    if let Some(path) = crate::common::smollm2() {
        round_trip(&path);
    }
}

#[test]
fn a_matrix_too_wide_for_a_tile_and_a_long_vector_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.gguf");
    let mut tiny = Tiny::new("llama", Encoding::Q6_K, 3);
    let mut random = Random(4);
    tiny.add(&mut random, "extra.wide", &[256 * 23, 130], Encoding::Q4_K);
    tiny.add(&mut random, "extra.long", &[40_000], Encoding::F32);
    tiny.add(&mut random, "extra.cut", &[32 * 5000], Encoding::Q5_0);
    tiny.add(&mut random, "extra.cube", &[32, 7, 5, 3], Encoding::Q8_0);
    tiny.write(&path);
    round_trip(&path);
}

#[test]
fn tiles_decode_to_the_same_numbers_as_gguf() {
    let folder = tempfile::tempdir().unwrap();
    for (index, encoding) in Encoding::ALL.into_iter().enumerate() {
        let (gguf, pxi) = (folder.path().join("a.gguf"), folder.path().join("a.pxi"));
        Tiny::new("llama", encoding, 70 + index as u64).write(&gguf);
        let gguf = Gguf::open(&gguf).unwrap();
        convert(&gguf, &pxi, &silent).unwrap();
        let model = PixelModel::open(&pxi).unwrap();
        for (tensor, source) in model.tensors().iter().zip(gguf.tensors()) {
            let mut expected = vec![0.0; (tensor.tiling.rows * tensor.tiling.columns) as usize];
            quant::dequantize(source.encoding, &gguf.read(source).unwrap(), &mut expected);
            for tile in tensor.tiles() {
                let (_, shape) = model.tile_shape(tile);
                let mut weights =
                    tile_weights(&tensor.tiling, &shape, model.tile(tile).unwrap()).into_iter();
                let (mut peak, mut sum, mut count) = (0f32, 0f64, 0u64);
                for row in shape.rows.clone() {
                    for column in shape.columns.clone() {
                        let weight = weights.next().unwrap();
                        assert_eq!(
                            weight.to_bits(),
                            expected[(row * tensor.tiling.columns + column) as usize].to_bits()
                        );
                        peak = peak.max(weight.abs());
                        sum += f64::from(weight);
                        count += 1;
                    }
                }
                let statistics = model.tile_statistics(tile);
                assert_eq!(statistics.peak, peak, "{} tile {tile}", tensor.name);
                assert!((f64::from(statistics.mean) - sum / count as f64).abs() < 1e-5);
            }
        }
    }
}

/// Where in the file a flipped bit must be told to lie.
fn flip(pxi: &Path, bytes: &[u8], at: usize, bit: u32) -> Result<Vec<u32>, ModelError> {
    let mut damaged = bytes.to_vec();
    damaged[at] ^= 1 << bit;
    std::fs::write(pxi, damaged).unwrap();
    let model = PixelModel::open(pxi)?;
    let bad: Vec<u32> = verify(&model, &silent).into_iter().map(|damaged| damaged.tile).collect();
    for tile in 0..model.tile_count() {
        assert_eq!(model.tile(tile).is_err(), bad.contains(&tile), "reading tile {tile} alone");
    }
    Ok(bad)
}

#[test]
fn any_flipped_bit_is_told_by_its_tile_or_refused_with_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let (gguf, pxi) = (folder.path().join("a.gguf"), folder.path().join("a.pxi"));
    Tiny::new("qwen2", Encoding::Q4_1, 9).write(&gguf);
    convert(&Gguf::open(&gguf).unwrap(), &pxi, &silent).unwrap();
    let bytes = std::fs::read(&pxi).unwrap();
    let model = PixelModel::open(&pxi).unwrap();
    let ranges: Vec<_> = (0..model.tile_count()).map(|tile| model.tile_range(tile)).collect();
    let (tiles, payload) = (ranges[0].start, ranges.last().unwrap().end);
    drop(model);
    let mut random = Random(2026);
    for _ in 0..120 {
        let at = tiles + random.below((payload - tiles) as u64) as usize;
        let expected = ranges.iter().position(|range| range.contains(&at)).unwrap() as u32;
        let bit = random.below(8) as u32;
        assert_eq!(
            flip(&pxi, &bytes, at + 64, bit).unwrap(),
            [expected],
            "payload byte {at}, bit {bit}"
        );
    }
    for _ in 0..300 {
        let at = random.below(tiles as u64) as usize;
        let error = flip(&pxi, &bytes, at + 64, random.below(8) as u32)
            .expect_err("the head is damaged")
            .to_string();
        assert!(error.contains("a.pxi: ") && error.lines().count() == 1, "{error}");
    }
    for at in 0..256 {
        flip(&pxi, &bytes, at + 64, random.below(8) as u32).expect_err("every header bit counts");
    }
}

#[test]
fn swapped_tiles_are_both_told() {
    let folder = tempfile::tempdir().unwrap();
    let (gguf, pxi) = (folder.path().join("a.gguf"), folder.path().join("a.pxi"));
    Tiny::new("llama", Encoding::Q8_0, 9).write(&gguf);
    convert(&Gguf::open(&gguf).unwrap(), &pxi, &silent).unwrap();
    let mut bytes = std::fs::read(&pxi).unwrap();
    let model = PixelModel::open(&pxi).unwrap();
    // Two tiles of the same size: those of the gate and up matrices of layer 0.
    let [a, b] = ["ffn_gate", "ffn_up"]
        .map(|name| model.tensor(&format!("blk.0.{name}.weight")).unwrap().first_tile);
    let (from, to) = (model.tile_range(a), model.tile_range(b));
    let first = bytes[from.start + 64..from.end + 64].to_vec();
    bytes.copy_within(to.start + 64..to.end + 64, from.start + 64);
    bytes[to.start + 64..to.end + 64].copy_from_slice(&first);
    std::fs::write(&pxi, bytes).unwrap();
    let model = PixelModel::open(&pxi).unwrap();
    let damaged = verify(&model, &silent);
    assert_eq!(damaged.iter().map(|tile| tile.tile).collect::<Vec<_>>(), [a, b]);
    assert_eq!(damaged[0].tensor, "blk.0.ffn_gate.weight");
    assert!(model.tile(a + 1).is_ok());
}
