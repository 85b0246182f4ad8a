//! LZ4: the whole payload as one block of the LZ4 block format, with no size before it.
//!
//! A block is walked before it is decoded, so that memory is asked for only when the block really
//! decodes to the size that the header states. Spec: `specs/pxi.md`, "Compression 2".

use super::{Compression, PxiError};
use std::ops::RangeInclusive;

/// The longest payload of one block: the limit of the reference implementation
/// (`LZ4_MAX_INPUT_SIZE`).
pub const MAX_PAYLOAD_LEN: u64 = 0x7E00_0000;

/// No byte of a block adds more than this to the payload: a length byte of 255 adds 255.
const MAX_RATIO: u64 = 255;
/// A match is at least this long.
const SHORTEST_MATCH: u64 = 4;

/// The payload lengths that so many stored bytes may decode to.
///
/// The lower end is the format's worst case turned around: a block is at most payload + payload /
/// 255 + 16.
pub(super) fn decoded_len_range(stored_len: u64) -> RangeInclusive<u64> {
    let least = stored_len.saturating_sub(16);
    // Rounded so that the shortest payload of the worst case is still taken.
    least - least.div_ceil(256)..=stored_len.saturating_mul(MAX_RATIO).min(MAX_PAYLOAD_LEN)
}

/// Compresses a payload, which must be within [`MAX_PAYLOAD_LEN`].
pub(super) fn compress(payload: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress(payload)
}

/// Refuses stored bytes that are not a block of exactly `original_size` bytes. Allocates nothing.
pub(super) fn check(stored: &[u8], original_size: u64) -> Result<(), PxiError> {
    let decoded_len = Walk { block: stored, position: 0 }.decoded_len()?;
    if decoded_len != original_size {
        let problem = format!("decodes to {decoded_len} bytes, expected {original_size}");
        return Err(PxiError::encoding(Compression::Lz4, stored.len(), problem));
    }
    Ok(())
}

/// Decodes a whole block. Memory is asked for only after [`check`].
pub(super) fn decompress(stored: &[u8], original_size: u64) -> Result<Vec<u8>, PxiError> {
    check(stored, original_size)?;
    let no_memory = PxiError::OutOfMemory { bytes: original_size };
    let Ok(len) = usize::try_from(original_size) else { return Err(no_memory) };
    let mut payload = Vec::new();
    if payload.try_reserve_exact(len).is_err() {
        return Err(no_memory);
    }
    payload.resize(len, 0);
    // The walk has told the length; a decoder that disagrees is not believed.
    match lz4_flex::block::decompress_into(stored, &mut payload) {
        Ok(written) if written == len => Ok(payload),
        Ok(written) => {
            let problem = format!("decodes to {written} bytes, expected {len}");
            Err(PxiError::encoding(Compression::Lz4, stored.len(), problem))
        }
        Err(error) => Err(PxiError::encoding(Compression::Lz4, stored.len(), error)),
    }
}

/// A walk over the sequences of a block that adds up lengths and looks at no literal.
struct Walk<'a> {
    block: &'a [u8],
    position: usize,
}

impl Walk<'_> {
    fn decoded_len(mut self) -> Result<u64, PxiError> {
        let mut decoded_len = 0;
        loop {
            // Each turn takes a byte or fails, so the walk ends with the block.
            let token = self.byte("a token")?;
            let literals = self.length(token >> 4)?;
            if literals > (self.block.len() - self.position) as u64 {
                return Err(self.fault(format!("{literals} literals run past the end")));
            }
            // At most the bytes that remain, so the cast loses nothing.
            self.position += literals as usize;
            decoded_len += literals;
            // The last sequence has literals only.
            if self.position == self.block.len() {
                return Ok(decoded_len);
            }
            let offset = u16::from_le_bytes([self.byte("an offset")?, self.byte("an offset")?]);
            if offset == 0 || u64::from(offset) > decoded_len {
                return Err(self.fault(format!("offset is {offset}, expected 1 to {decoded_len}")));
            }
            decoded_len += SHORTEST_MATCH + self.length(token & 15)?;
        }
    }

    /// A length that starts with four bits of the token; 15 says that bytes follow, until one is
    /// not 255. The sum stays under 255 times the block's length, which fits a u64.
    fn length(&mut self, nibble: u8) -> Result<u64, PxiError> {
        let mut length = u64::from(nibble);
        if nibble == 15 {
            loop {
                let more = self.byte("a length")?;
                length += u64::from(more);
                if more != u8::MAX {
                    break;
                }
            }
        }
        Ok(length)
    }

    fn byte(&mut self, what: &str) -> Result<u8, PxiError> {
        let Some(&byte) = self.block.get(self.position) else {
            return Err(self.fault(format!("ends where {what} should be")));
        };
        self.position += 1;
        Ok(byte)
    }

    fn fault(&self, problem: String) -> PxiError {
        PxiError::encoding(Compression::Lz4, self.position, problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Vec<u8>> {
        let noise: Vec<u8> =
            (0..70_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        vec![vec![], vec![1], vec![0; 100_000], noise, b"abcdabcdabcdabcdxyz".repeat(50)]
    }

    #[test]
    fn the_walk_agrees_with_the_decoder() {
        for payload in samples() {
            let stored = compress(&payload);
            let size = payload.len() as u64;
            assert!(decoded_len_range(stored.len() as u64).contains(&size), "{size}");
            assert_eq!(decompress(&stored, size).unwrap(), payload);
            assert!(check(&stored, size + 1).is_err());
        }
    }

    #[test]
    fn every_truncation_of_a_block_is_refused() {
        let payload = b"abcdabcdabcdabcdxyz".repeat(20);
        let stored = compress(&payload);
        for len in 0..stored.len() {
            assert!(decompress(&stored[..len], payload.len() as u64).is_err(), "{len}");
        }
    }

    #[test]
    fn an_empty_payload_is_one_zero_byte() {
        assert_eq!(compress(&[]), [0]);
        check(&[0], 0).unwrap();
        assert!(check(&[], 0).is_err());
    }

    #[test]
    fn faults_name_their_place() {
        let problem = |stored: &[u8]| check(stored, 4).unwrap_err().to_string();
        assert_eq!(
            problem(&[0x20, 1]),
            "lz4 encoding at stored byte 1: 2 literals run past the end"
        );
        assert_eq!(
            problem(&[0x10, 1, 0, 0, 0]),
            "lz4 encoding at stored byte 4: offset is 0, expected 1 to 1"
        );
        assert_eq!(
            problem(&[0x10, 1, 2, 0, 0]),
            "lz4 encoding at stored byte 4: offset is 2, expected 1 to 1"
        );
        assert_eq!(
            problem(&[0xF0, 255]),
            "lz4 encoding at stored byte 2: ends where a length should be"
        );
        assert_eq!(
            problem(&[0x10, 1, 1]),
            "lz4 encoding at stored byte 3: ends where an offset should be"
        );
    }
}
