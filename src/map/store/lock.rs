//! One writer at a time, in any process: a lock on the file `lock` of the map's folder, held by the
//! operating system, which gives it back when the process ends in whatever way.

use crate::map::MapError;
use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

/// The right to write to a map, until it is dropped.
#[derive(Debug)]
pub(super) struct WriterLock {
    /// Closing the file gives the lock back.
    _file: File,
}

impl WriterLock {
    pub(super) fn take(folder: &Path) -> Result<Self, MapError> {
        let path = folder.join("lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let file = crate::files::open_regular_with(&path, &mut options)
            .map_err(|error| MapError::io("open to write")(error).at(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(MapError::Locked.at(folder)),
            Err(TryLockError::Error(error)) => Err(MapError::io("lock")(error).at(&path)),
        }
    }
}
