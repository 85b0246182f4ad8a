//! Read-only memory maps: the crate's only unsafe code.

use memmap2::Mmap;
use std::{fs::File, io, ops::Deref};

/// The bytes of a file, read from the disk when they are first touched.
#[derive(Debug)]
pub(super) struct MappedFile(Mmap);

impl MappedFile {
    /// Maps the whole file.
    pub(super) fn new(file: &File) -> io::Result<Self> {
        // # Safety
        // A map's bytes must not change while they are borrowed, and no program can keep another
        // one from writing to a file. What we can promise: nothing in this crate writes into a
        // finished file. Files are made under a temporary name and renamed into place
        // (`atomic.rs`), so replacing one leaves the old bytes where this map holds them. If
        // another program does overwrite the file in place, a reader sees other bytes, which are
        // only ever used as plain numbers after a bounds check; no value in the crate relies on two
        // reads of a mapped byte being equal for its memory safety. If another program shortens the
        // file, the operating system ends this process (SIGBUS) when it touches the missing part.
        let map = unsafe { Mmap::map(file) }?;
        Ok(Self(map))
    }

    /// Asks the system to read a part ahead. That it does not is no failure.
    #[cfg(unix)]
    pub(super) fn will_need(&self, offset: usize, len: usize) {
        let _ = self.0.advise_range(memmap2::Advice::WillNeed, offset, len);
    }

    /// Gives the pages of a part back to the system; they are read again when they are next
    /// touched. That it keeps them is no failure.
    #[cfg(unix)]
    pub(super) fn release(&self, offset: usize, len: usize) {
        // # Safety
        // Dropping pages changes what is read from a map only where memory was written that no file
        // holds. This map is read-only and shared with its file: whoever reads a dropped page, even
        // through a slice that is borrowed now, gets the file's bytes again, of which `new` says
        // what is promised.
        let _ = unsafe {
            self.0.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, len)
        };
    }

    /// There is no such advice here.
    #[cfg(not(unix))]
    pub(super) fn will_need(&self, _offset: usize, _len: usize) {}

    /// There is no such advice here.
    #[cfg(not(unix))]
    pub(super) fn release(&self, _offset: usize, _len: usize) {}
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
