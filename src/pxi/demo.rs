//! The payload of the original implementation's demo: the golden vector of `specs/pxi.md`.

/// 3,600 bytes of text: two lines, repeated.
pub fn payload() -> Vec<u8> {
    let mut payload = b"Hello, Pixel World! ".repeat(100);
    payload.extend(b"\nThis is data stored as pixels.\n".repeat(50));
    payload
}
