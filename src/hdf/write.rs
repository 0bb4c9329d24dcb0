//! Writing HDF5 so that no error of the system is lost.
//!
//! libhdf5 holds back what is written and writes it when an object is closed, where the `hdf5` crate cannot tell of an
//! error: a full disk would go unnoticed. So contiguous data is not held back, and the rest is asked for while the objects
//! are open.

use std::path::Path;

use hdf5::Location;

use super::HdfFile;
use crate::error::{Error, Result};

/// Creates a file whose larger objects start at multiples of `alignment`, without locking it: some network file systems
/// refuse locks.
///
/// # Errors
/// When it cannot be created.
pub fn create(path: &Path, alignment: u64) -> Result<hdf5::File> {
    hdf5::FileBuilder::new()
        .with_fapl(|access| access.file_locking(false).alignment(0, alignment).sieve_buf_size(0))
        .create(path)
        .map_err(|e| Error::hdf5(path, "/", "create the file", e))
}

/// Opens a file that is there, to add to it.
///
/// # Errors
/// When it cannot be opened.
pub fn extend(path: &Path) -> Result<hdf5::File> {
    hdf5::FileBuilder::new()
        .with_access_plist(|access| access.file_locking(false).sieve_buf_size(0))
        .open_rw(path)
        .map_err(|e| Error::hdf5(path, "/", "open the file for writing", e))
}

/// Writes what was held back of the open objects of the file that `object` is in. To be called before a chunked dataset is
/// dropped.
///
/// # Errors
/// When it cannot be written.
pub fn flush(object: &Location) -> Result<()> {
    let file = object.file().and_then(|file| file.flush());
    file.map_err(|e| Error::hdf5(Path::new(&object.filename()), object.name(), "write it", e))
}

/// Completes a file at `path` of which no object is in use any more.
///
/// # Errors
/// When it cannot be written, or is not whole.
pub fn close(file: hdf5::File, path: &Path) -> Result<()> {
    let failed = |e| Error::hdf5(path, "/", "complete the file", e);
    file.flush().map_err(failed)?;
    file.close().map_err(failed)?;
    // Its end is set in the last moment.
    HdfFile::open(path).map(drop)
}
