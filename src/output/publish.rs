//! Outputs get their names when they are complete, files and directories.

use std::path::Path;

use super::Format;
use crate::atomic::{self, PendingDirectory};
use crate::error::{Error, Result};
use crate::text::MTX_FILES;

/// A finished output that waits to get its name; dropped, it is removed.
#[derive(Debug)]
pub enum Pending {
    /// A file.
    File(atomic::Pending),
    /// A directory.
    Directory(PendingDirectory),
}

impl Pending {
    /// Gives it its name.
    ///
    /// # Errors
    /// [`Error::Exists`] when something has taken the name meanwhile and may not be replaced.
    pub fn publish(self) -> Result<()> {
        match self {
            Self::File(pending) => pending.publish(),
            Self::Directory(pending) => pending.publish(),
        }
    }
}

/// Lets `write` fill a file or directory of `format` under a temporary name beside `path`, and syncs it to disk.
///
/// # Errors
/// [`Error::Exists`] when `path` exists and `force` is off; else those of `write` and of the system.
pub fn prepare<T>(
    path: &Path,
    format: Format,
    force: bool,
    write: impl FnOnce(&Path) -> Result<T>,
) -> Result<(Pending, T)> {
    refuse_existing(path, format, force)?;
    match format {
        Format::Mtx => atomic::prepare_directory(path, force, &MTX_FILES, write)
            .map(|(pending, result)| (Pending::Directory(pending), result)),
        _ => atomic::prepare(path, force, write).map(|(pending, result)| (Pending::File(pending), result)),
    }
}

/// [`prepare`] and [`Pending::publish`].
///
/// # Errors
/// Those of the two.
pub fn write_atomically<T>(
    path: &Path,
    format: Format,
    force: bool,
    write: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    let (pending, result) = prepare(path, format, force, write)?;
    pending.publish()?;
    Ok(result)
}

/// Refuses an output that is in the way, before any work is done for it.
///
/// # Errors
/// [`Error::Exists`] when `path` exists and `force` is off; and when it is something else than the format.
pub fn refuse_existing(path: &Path, format: Format, force: bool) -> Result<()> {
    match format {
        Format::Mtx => atomic::refuse_directory(path, force, &MTX_FILES),
        _ => atomic::refuse_existing(path, force),
    }
}

/// Bytes of an output that was written.
///
/// # Errors
/// When it is no longer there.
pub fn size(path: &Path, format: Format) -> Result<u64> {
    let size = |path: &Path| {
        let metadata = path.metadata().map_err(|e| Error::io(path, "read back", e))?;
        Ok(metadata.len())
    };
    match format {
        Format::Mtx => MTX_FILES.iter().map(|name| size(&path.join(name))).sum(),
        _ => size(path),
    }
}
