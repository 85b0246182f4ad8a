//! The byte alphabet of byte-level BPE: each of the 256 bytes as one printable character, so that a
//! vocabulary of arbitrary byte strings can be written as text. Printable Latin-1 bytes stand for
//! themselves; the others take the characters from U+0100 on, in order.

use std::sync::LazyLock;

/// One more than the last character of the alphabet: 68 bytes are not printable.
const END: usize = 256 + 68;

struct Alphabet {
    of_byte: [char; 256],
    of_char: [Option<u8>; END],
}

static ALPHABET: LazyLock<Alphabet> = LazyLock::new(|| {
    let mut alphabet = Alphabet { of_byte: ['\0'; 256], of_char: [None; END] };
    let mut spare = 256;
    for byte in 0..=255_u8 {
        let code = match byte {
            // GPT-2's list: 0xAD, the soft hyphen, is not among them, since it prints nothing.
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => u32::from(byte),
            _ => {
                spare += 1;
                spare - 1
            }
        };
        let letter = char::from_u32(code).expect("the alphabet ends before U+0144");
        alphabet.of_byte[usize::from(byte)] = letter;
        alphabet.of_char[code as usize] = Some(byte);
    }
    alphabet
});

/// The character that stands for `byte`.
pub(crate) fn letter_of(byte: u8) -> char {
    ALPHABET.of_byte[usize::from(byte)]
}

/// The byte that `letter` stands for, if it is one of the alphabet's.
pub(crate) fn byte_of(letter: char) -> Option<u8> {
    ALPHABET.of_char.get(letter as usize).copied().flatten()
}

/// The bytes that `token` spells, or none if a character is not of the alphabet.
pub fn spell(token: &str) -> Option<Vec<u8>> {
    token.chars().map(byte_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_bytes_are_one_to_one() {
        for byte in 0..=255 {
            assert_eq!(byte_of(letter_of(byte)), Some(byte));
        }
        assert_eq!((0..=255).map(letter_of).max(), Some('\u{143}'));
        assert_eq!(byte_of('\u{144}'), None);
        assert_eq!(byte_of(' '), None);
    }

    #[test]
    fn well_known_letters() {
        assert_eq!((letter_of(b' '), letter_of(b'\n'), letter_of(b'a')), ('Ġ', 'Ċ', 'a'));
        assert_eq!(spell("Ġthe").as_deref(), Some(&b" the"[..]));
        assert_eq!(spell("a b"), None);
    }
}
