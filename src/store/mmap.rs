//! Memory maps: the only unsafe code outside the kernels.
#![allow(unsafe_code, reason = "mapping a file is unsafe by nature; the promise is stated here, once")]

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::error::{Error, Result};

/// A file's bytes, mapped read-only.
///
/// # Promise
/// The caller keeps the file unchanged while it is mapped: late-fast maps only stores that it wrote
/// itself and inputs that it opened read-only. If another program changes such a file, values read
/// later may differ; nothing read through the map is trusted as an index without a check. If another
/// program *shortens* it, the operating system ends the process with SIGBUS: no result is damaged,
/// since outputs get their final name only when complete.
#[derive(Debug)]
pub(crate) struct Map(Mmap);

impl Map {
    /// Maps the whole file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
        // SAFETY: the map is read-only and private to this struct; see the promise above for what
        // happens when another process changes the file.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(path, "map into memory", e))?;
        Ok(Self(map))
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
