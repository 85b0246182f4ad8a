//! A whole `.pxi` file: what is accepted must decode to what its header says, in every way of
//! reading it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pixel_llm::pxi::{self, HEADER_LEN};

fuzz_target!(|input: &[u8]| {
    // Half of the inputs get a header that is consistent, or mutation would hardly come past it.
    let mut file = input.to_vec();
    if let Some((&choice, rest)) = input.split_last()
        && choice >= 128
        && rest.len() >= HEADER_LEN
    {
        file.truncate(rest.len());
        repair_header(&mut file, choice);
    }
    let Ok(contents) = pxi::parse(&file) else { return };
    assert_eq!(contents.to_file_bytes(), file);
    let verified = contents.verify().is_ok();
    match contents.read_all() {
        Ok(payload) => {
            let len = payload.len() as u64;
            assert_eq!(len, contents.header().original_size());
            let (offset, slice_len) = (len / 3, len / 2);
            let slice = contents.read_range(offset, slice_len)
                .expect("the range is within the payload");
            assert_eq!(slice, payload[offset as usize..(offset + slice_len) as usize]);
            assert!(contents.read_range(len, 1).is_err());
            if let Ok(borrowed) = contents.payload() {
                assert_eq!(borrowed, payload);
            }
        }
        Err(error) => assert!(!verified && error.is_damage(), "{error}"),
    }
});

/// Makes magic, version, width, height and compression agree with a size taken from the input.
fn repair_header(file: &mut [u8], choice: u8) {
    let size = u64::from(u16::from_be_bytes([file[12], file[13]]));
    let width = u32::from(choice & 31) + 1;
    let height = size.div_ceil(3).div_ceil(width.into()) as u32;
    file[..6].copy_from_slice(b"PXIF\x01\x00");
    file[6..14].copy_from_slice(&size.to_be_bytes());
    file[14..18].copy_from_slice(&width.to_be_bytes());
    file[18..22].copy_from_slice(&height.to_be_bytes());
    file[22] = choice >> 5 & 3;
}
