//! PXI-LLM files: the head is parsed as it is, then again with its checksums made right, so that
//! the rules behind them are reached; every tile of a head that holds is decoded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pixel_llm::model::header::{HEAD_CHECKSUM, Header, TILE_RECORD_BYTES};
use pixel_llm::model::planes::LINE_BYTES;
use pixel_llm::model::weights::tile_weights;
use pixel_llm::model::FileHead;
use sha2::{Digest, Sha256};

fuzz_target!(|file: &[u8]| {
    let Ok(contents) = pixel_llm::pxi::parse(file) else { return };
    let Ok(payload) = contents.payload() else { return };
    read(payload);
    let mut mended = payload.to_vec();
    if mend(&mut mended).is_some() {
        read(&mended);
    }
});

fn read(payload: &[u8]) {
    let Ok(head) = FileHead::parse(payload) else { return };
    for (index, tensor) in head.tensors.iter().enumerate() {
        for (tile, shape) in tensor.tiling.tiles().enumerate() {
            let lines = tensor.first_line + shape.lines.start;
            let start = head.header.sections.tiles + lines * LINE_BYTES;
            let bytes = &payload[start as usize..(start + shape.size_in_bytes()) as usize];
            tile_weights(&tensor.tiling, &shape, bytes);
            head.plan.tile_rects(&head.tensors, index, tile as u64);
        }
    }
}

/// Makes root and head checksum right, as far as the header's offsets allow.
fn mend(payload: &mut [u8]) -> Option<()> {
    let header = Header::parse(payload, payload.len() as u64).ok()?;
    let table = header.sections.tile_table as usize;
    let records = payload.get(table..)?.chunks_exact(TILE_RECORD_BYTES as usize);
    let records = records.take(header.tile_count as usize);
    let mut root = Sha256::new();
    records.for_each(|record| root.update(&record[..32]));
    payload[0x34..0x54].copy_from_slice(&root.finalize());
    let tiles = header.sections.tiles as usize;
    payload[HEAD_CHECKSUM].fill(0);
    let checksum = Sha256::digest(payload.get(..tiles)?);
    payload[HEAD_CHECKSUM].copy_from_slice(&checksum);
    Some(())
}
