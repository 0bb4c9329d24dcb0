//! Outputs get their names when they are complete, files and directories.

use std::path::Path;

use super::Format;
use crate::atomic::{self, PendingDirectory, Published};
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

    fn publish_revocably(self) -> Result<Published> {
        match self {
            Self::File(pending) => pending.publish_revocably(),
            Self::Directory(pending) => pending.publish_revocably(),
        }
    }
}

/// Gives outputs that belong together their names: all of them or none.
///
/// # Errors
/// Those of [`Pending::publish`], of the first that cannot get its name.
pub fn publish_together(outputs: impl IntoIterator<Item = Pending>) -> Result<()> {
    let mut published = Vec::new();
    for output in outputs {
        match output.publish_revocably() {
            Ok(done) => published.push(done),
            Err(error) => {
                published.into_iter().rev().for_each(Published::take_back);
                return Err(error);
            }
        }
    }
    Ok(())
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
    super::check_name(path)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [(&str, Format); 2] = [("train.h5", Format::TenX), ("train", Format::Mtx)];

    /// Fills an output, a file or the first file of a directory, with `text`.
    fn pending(path: &Path, format: Format, text: &str) -> Pending {
        let write = |temporary: &Path| {
            let file =
                if format == Format::Mtx { temporary.join(MTX_FILES[0]) } else { temporary.to_owned() };
            std::fs::write(&file, text).map_err(|e| Error::io(&file, "write", e))
        };
        prepare(path, format, true, write).unwrap().0
    }

    fn text(path: &Path) -> Option<String> {
        let file = if path.is_dir() { path.join(MTX_FILES[0]) } else { path.to_owned() };
        std::fs::read_to_string(file).ok()
    }

    #[test]
    fn outputs_that_belong_together_appear_together() {
        for (name, format) in FORMATS {
            for old in [None, Some("old")] {
                let dir = tempfile::tempdir().unwrap();
                let [train, test] = [name, "test.h5"].map(|name| dir.path().join(name));
                if let Some(old) = old {
                    pending(&train, format, old).publish().unwrap();
                }
                let count = || dir.path().read_dir().unwrap().count();
                let before = count();
                let outputs = || [pending(&train, format, "new"), pending(&test, Format::TenX, "new")];
                let failing = outputs();
                // Nothing can be renamed to a directory that is not empty.
                std::fs::create_dir_all(test.join("inside")).unwrap();
                assert!(publish_together(failing).is_err());
                assert_eq!(text(&train).as_deref(), old, "{name}");
                assert_eq!(count(), before + 1, "nothing but what was there");
                std::fs::remove_dir_all(&test).unwrap();
                publish_together(outputs()).unwrap();
                assert_eq!([&train, &test].map(|path| text(path)), [Some("new".into()), Some("new".into())]);
                assert_eq!(count(), 2, "{name}");
            }
        }
    }
}
