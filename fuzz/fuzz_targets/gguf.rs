//! Any bytes are a valid GGUF file or a typed error, and metadata that was read is written as it
//! was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pixel_llm::model::gguf::{metadata_bytes, parse, parse_metadata};

fuzz_target!(|file: &[u8]| {
    let Ok(header) = parse(file) else { return };
    let bytes = metadata_bytes(&header.metadata);
    let again =
        parse_metadata(&bytes, header.metadata.len() as u64)
            .expect("metadata that was read can be read");
    assert_eq!(metadata_bytes(&again), bytes);
    assert_eq!(&file[24..24 + bytes.len()], bytes);
});
