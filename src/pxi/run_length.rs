//! Run-length encoding: pairs of a count, 1 to 255, and the byte that is repeated that often.
//!
//! The encoder writes the longest runs, so a payload has one encoding. The decoder takes any valid
//! pairs. Spec: `specs/pxi.md`, "Compression 1".

use super::{Compression, PIECE_LEN, PxiError};
use std::{
    io::{self, Write},
    ops::RangeInclusive,
};

const LONGEST_RUN: u8 = u8::MAX;

/// The payload lengths that so many stored bytes may decode to.
pub(super) fn decoded_len_range(stored_len: u64) -> RangeInclusive<u64> {
    let pairs = stored_len / 2;
    pairs..=pairs.saturating_mul(u64::from(LONGEST_RUN))
}

/// Encodes a stream; it holds nothing but the run that is still growing.
#[derive(Default)]
pub(super) struct RunLengthEncoder {
    run: Option<(u8, u8)>,
}

impl RunLengthEncoder {
    pub(super) fn encode(&mut self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        for &byte in bytes {
            match &mut self.run {
                Some((count, value)) if *value == byte && *count < LONGEST_RUN => *count += 1,
                run => {
                    if let Some((count, value)) = run.replace((1, byte)) {
                        out.write_all(&[count, value])?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes the last run.
    pub(super) fn finish(self, out: &mut impl Write) -> io::Result<()> {
        match self.run {
            Some((count, value)) => out.write_all(&[count, value]),
            None => Ok(()),
        }
    }
}

/// Refuses stored bytes that do not decode to exactly `original_size` bytes. Allocates nothing.
pub(super) fn check(stored: &[u8], original_size: u64) -> Result<(), PxiError> {
    let fault =
        |offset, problem: String| PxiError::encoding(Compression::RunLength, offset, problem);
    let (pairs, rest) = stored.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(fault(stored.len() - 1, "a count without its byte".into()));
    }
    let mut decoded_len = 0_u64;
    for (index, &[count, _]) in pairs.iter().enumerate() {
        if count == 0 {
            return Err(fault(index * 2, "a run of 0 bytes".into()));
        }
        // At most 255 times half the length of a slice, which fits.
        decoded_len += u64::from(count);
    }
    if decoded_len != original_size {
        let problem = format!("decodes to {decoded_len} bytes, expected {original_size}");
        return Err(fault(stored.len(), problem));
    }
    Ok(())
}

/// Decodes `len` bytes from `offset` on. The stored bytes must have passed [`check`] and hold the
/// range.
pub(super) fn copy_range(
    stored: &[u8],
    offset: u64,
    len: u64,
    out: &mut dyn Write,
) -> io::Result<()> {
    // A run is at most 255 bytes: written one by one, calls would cost more than bytes.
    let mut piece = Vec::with_capacity(PIECE_LEN);
    let mut skip = offset;
    let mut left = len;
    let (pairs, _) = stored.as_chunks::<2>();
    for &[count, value] in pairs {
        if left == 0 {
            break;
        }
        let run = u64::from(count);
        let skipped = skip.min(run);
        skip -= skipped;
        let taken = (run - skipped).min(left);
        left -= taken;
        if piece.len() + taken as usize > PIECE_LEN {
            out.write_all(&piece)?;
            piece.clear();
        }
        piece.resize(piece.len() + taken as usize, value);
    }
    out.write_all(&piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(pieces: &[&[u8]]) -> Vec<u8> {
        let mut stored = Vec::new();
        let mut encoder = RunLengthEncoder::default();
        for piece in pieces {
            encoder.encode(piece, &mut stored).unwrap();
        }
        encoder.finish(&mut stored).unwrap();
        stored
    }

    #[test]
    fn runs_are_the_longest_possible_wherever_the_stream_is_cut() {
        assert_eq!(encode(&[b"aaab"]), [3, b'a', 1, b'b']);
        assert_eq!(encode(&[b"a", b"", b"aa", b"b"]), [3, b'a', 1, b'b']);
        assert_eq!(encode(&[&[9; 256]]), [255, 9, 1, 9]);
        assert!(encode(&[]).is_empty());
    }

    #[test]
    fn any_range_is_decoded() {
        let payload = [vec![1; 300], vec![2; 3], vec![1]].concat();
        let stored = encode(&[&payload]);
        check(&stored, 304).unwrap();
        for start in 0..=payload.len() {
            for end in start..=payload.len() {
                let mut decoded = Vec::new();
                copy_range(&stored, start as u64, (end - start) as u64, &mut decoded).unwrap();
                assert_eq!(decoded, payload[start..end], "{start}..{end}");
            }
        }
    }

    #[test]
    fn faults_name_their_place() {
        let offset = |stored: &[u8], size| match check(stored, size) {
            Err(PxiError::Encoding { offset, .. }) => offset,
            other => panic!("expected an encoding fault, got {other:?}"),
        };
        assert_eq!(offset(&[1, 5, 1], 1), 2);
        assert_eq!(offset(&[1, 5, 0, 5], 1), 2);
        assert_eq!(offset(&[1, 5, 2, 5], 4), 4);
        assert_eq!(offset(&[], 1), 0);
    }
}
