//! Read-only memory maps: the crate's only unsafe code.

use memmap2::Mmap;
use std::{fs::File, io, ops::Deref};

/// The bytes of a file, read from the disk when they are first touched.
#[derive(Debug)]
pub(super) struct Map(Mmap);

impl Map {
    /// Maps the whole file.
    pub(super) fn new(file: &File) -> io::Result<Self> {
        // # Safety
        // A map's bytes must not change while they are borrowed, and no program can keep another one from
        // writing to a file. What we can promise: nothing in this crate writes into a finished file. Files are
        // made under a temporary name and renamed into place (`atomic.rs`), so replacing one leaves the old
        // bytes where this map holds them. If another program does overwrite the file in place, a reader sees
        // other bytes, which are only ever used as plain numbers after a bounds check; no value in the crate
        // relies on two reads of a mapped byte being equal for its memory safety. If another program shortens
        // the file, the operating system ends this process (SIGBUS) when it touches the missing part.
        let map = unsafe { Mmap::map(file) }?;
        Ok(Self(map))
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
