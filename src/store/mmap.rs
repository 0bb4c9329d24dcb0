//! Memory maps: the only unsafe code outside the kernels.
#![allow(unsafe_code, reason = "mapping a file is unsafe by nature; the promise is stated here, once")]

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::{Mmap, MmapMut};

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
        // Linux maps what it has cached in 2 MiB pieces as such: blocks of half a megabyte here and there then counted
        // as 1.9 GB of this process's memory instead of 0.35. Advice only.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::NoHugePage);
        Ok(Self(map))
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Asks the system to begin reading these bytes.
    pub(crate) fn will_need(&self, bytes: Range<usize>) {
        /// Linux reads no more than its readahead window for one piece of advice.
        const PIECE: usize = 128 << 10;
        #[cfg(unix)]
        for start in bytes.clone().step_by(PIECE) {
            // Advice only: without it the bytes are read when they are looked at.
            let length = PIECE.min(bytes.end - start);
            let _ = self.0.advise_range(memmap2::Advice::WillNeed, start, length);
        }
    }

    /// Takes these bytes out of the memory this process is charged for. They stay in the system's cache as long as
    /// there is room, and come back when they are looked at.
    pub(crate) fn release(&self, bytes: Range<usize>) {
        #[cfg(unix)]
        if !bytes.is_empty() {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: the map is read-only and backed by a file, so that pages that are dropped come back with
            // the file's content: nothing is lost, even while another thread reads them.
            let _ = unsafe { self.0.unchecked_advise_range(advice, bytes.start, bytes.len()) };
        }
    }
}

/// Bytes of a file that has no name, mapped for writing: memory that the system may move to disk.
///
/// # Promise
/// Nobody else can reach the file. Its blocks are allocated before it is mapped: a full disk is an error here and
/// not a SIGBUS later.
pub(crate) fn map_unnamed(dir: &Path, len: usize) -> std::io::Result<MmapMut> {
    let file = tempfile::tempfile_in(dir)?;
    fs4::FileExt::allocate(&file, len as u64)?;
    // SAFETY: the file has no name and no other handle, so only this map changes it.
    unsafe { MmapMut::map_mut(&file) }
}
