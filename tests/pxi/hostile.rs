//! Damaged and hostile `.pxi` files are refused with an error that says why, and ask for no memory.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use pixel_llm::pxi::{self, Compression, HEADER_LEN, PxiError, PxiFile, PxiWriter, WriteOptions};
use std::{fs, io::Write};

fn file_bytes(payload: &[u8], compression: Compression) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pxi");
    let mut writer =
        PxiWriter::create(&path, WriteOptions { compression, ..Default::default() }).unwrap();
    writer.write_all(payload).unwrap();
    writer.finish().unwrap();
    fs::read(path).unwrap()
}

fn check(file: &[u8]) -> Result<(), PxiError> {
    pxi::parse(file)?.verify()
}

#[test]
fn every_truncation_is_refused() {
    for compression in Compression::ALL {
        let file = file_bytes(&pxi::demo::payload(), compression);
        for len in 0..file.len() {
            let refused = check(&file[..len]).expect_err("a truncated file was accepted");
            assert!(refused.is_damage(), "{refused}");
        }
    }
}

#[test]
fn every_longer_file_is_refused() {
    for compression in Compression::ALL {
        for extra in [&[0_u8][..], &[0; 2], &[1, 0], &[1, 1], &[0; 64], &[0xFF; 3072]] {
            let file = [&file_bytes(&pxi::demo::payload(), compression), extra].concat();
            assert!(check(&file).is_err(), "{compression} and {extra:?}");
        }
    }
}

/// What `specs/pxi.md` says is not covered: the width of a compressed or empty file, as far as it
/// does not decide the height, and the choice among the LZ4 blocks that decode to the same payload.
fn is_uncovered(file: &[u8], byte: usize) -> bool {
    let (is_compressed, is_empty) = (file[22] != 0, file[6..14] == [0; 8]);
    ((14..18).contains(&byte) && (is_compressed || is_empty))
        || (byte >= HEADER_LEN && file[22] == 2)
}

#[test]
fn every_flipped_bit_is_found() {
    for compression in Compression::ALL {
        let file = file_bytes(&pxi::demo::payload()[1960..2100], compression);
        let mut uncovered = 0;
        for byte in 0..file.len() {
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[byte] ^= 1 << bit;
                match check(&flipped) {
                    Err(refused) => assert!(refused.is_damage(), "{refused}"),
                    Ok(()) => {
                        assert!(
                            is_uncovered(&file, byte),
                            "{compression}: bit {bit} of byte {byte}"
                        );
                        let payload = pxi::parse(&flipped).unwrap().read_all().unwrap();
                        assert_eq!(payload, pxi::parse(&file).unwrap().read_all().unwrap());
                        uncovered += 1;
                    }
                }
            }
        }
        assert_eq!(uncovered == 0, compression == Compression::None);
    }
}

#[test]
fn a_flipped_bit_of_the_tail_is_found() {
    let mut file = file_bytes(&pxi::demo::payload(), Compression::None);
    *file.last_mut().unwrap() = 1;
    let refused = check(&file).unwrap_err();
    assert!(matches!(refused, PxiError::Tail { offset: 6143, found: 1 }), "{refused}");
    // It is no reason to refuse the payload, which is intact.
    assert_eq!(pxi::parse(&file).unwrap().read_all().unwrap(), pxi::demo::payload());
}

#[test]
fn a_later_minor_version_is_read_but_not_vouched_for() {
    let mut file = file_bytes(&pxi::demo::payload(), Compression::None);
    file[5] = 1;
    file[60] = 7;
    let contents = pxi::parse(&file).unwrap();
    assert_eq!(contents.read_all().unwrap(), pxi::demo::payload());
    assert!(matches!(contents.verify(), Err(PxiError::Field { field: "version", .. })));
    file[5] = 0;
    let refused = check(&file);
    assert!(matches!(refused, Err(PxiError::Field { field: "reserved", .. })), "{refused:?}");
}

/// A header that claims `size` bytes, with the height that goes with it.
fn claim(size: u64, width: u32, compression: u8, stored: &[u8]) -> Vec<u8> {
    let mut file = file_bytes(&[], Compression::None);
    let height = size.div_ceil(3).div_ceil(width.into()) as u32;
    file[6..14].copy_from_slice(&size.to_be_bytes());
    file[14..18].copy_from_slice(&width.to_be_bytes());
    file[18..22].copy_from_slice(&height.to_be_bytes());
    file[22] = compression;
    file.extend_from_slice(stored);
    file
}

#[test]
fn a_small_file_cannot_claim_a_large_payload() {
    for compression in 0..3 {
        for size in [1 << 20, 1 << 40, 1 << 60, u64::MAX - 2, u64::MAX] {
            for width in [1 << 31, u32::MAX] {
                let file = claim(size, width, compression, &[0xFF; 16]);
                let refused = pxi::parse(&file).expect_err("a claim was believed");
                assert!(
                    matches!(refused, PxiError::Field { .. } | PxiError::Length { .. }),
                    "{refused}"
                );
            }
        }
    }
}

#[test]
fn a_claim_that_the_length_allows_is_checked_before_memory_is_asked_for() {
    // 255 times what is stored passes the header's bound, but these bytes decode to less.
    let problem = |file: &[u8]| match pxi::parse(file).unwrap().read_all() {
        Err(PxiError::Encoding { problem, .. }) => problem,
        other => panic!("expected an encoding fault, got {other:?}"),
    };
    let run_length = claim(4080, 1024, 1, &[[255, 7]; 16].as_flattened()[..32]);
    pxi::parse(&run_length).unwrap().read_all().unwrap();
    let short = claim(4080, 1024, 1, &[[254, 7]; 16].as_flattened()[..32]);
    assert_eq!(problem(&short), "decodes to 4064 bytes, expected 4080");
    let block = claim(4080, 1024, 2, &[0x10, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(!problem(&block).is_empty());
}

#[test]
fn an_lz4_payload_over_the_limit_is_refused() {
    let stored = vec![0; 10_000_000];
    let refused = pxi::parse(&claim(pxi::MAX_LZ4_PAYLOAD_LEN + 1, 1024, 2, &stored)).unwrap_err();
    assert!(matches!(refused, PxiError::Field { field: "original_size", .. }), "{refused}");
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = PxiFile::open(folder.path().join("missing.pxi")).unwrap_err();
    assert!(matches!(missing.inner(), PxiError::Io { .. }), "{missing}");
    assert!(missing.to_string().contains("missing.pxi"), "{missing}");
    let directory = PxiFile::open(folder.path()).unwrap_err();
    assert!(matches!(directory.inner(), PxiError::NotRegular), "{directory}");
    let short = folder.path().join("short.pxi");
    for len in [0, 1, HEADER_LEN - 1] {
        fs::write(&short, &file_bytes(&[], Compression::None)[..len]).unwrap();
        let refused = PxiFile::open(&short).unwrap_err();
        assert!(matches!(refused.inner(), PxiError::Length { expected: 64, .. }), "{refused}");
    }
}
