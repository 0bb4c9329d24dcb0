//! Directories that appear under their final name only when they are complete and on disk.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Old, Published, SUFFIX, claim, parent, remove_unclaimed, sync, temporary_prefix};
use crate::error::{Error, Result};

/// A finished directory under a temporary name, on disk, waiting to get its own.
/// Dropped without [`PendingDirectory::publish`], it is removed.
#[derive(Debug)]
pub struct PendingDirectory {
    temporary: tempfile::TempDir,
    /// Tells it from what killed runs left behind.
    _lock: File,
    path: PathBuf,
    /// What may be replaced.
    known: &'static [&'static str],
    force: bool,
}

/// Lets `write` fill a temporary directory beside `path` and syncs it to disk. With `force` an existing one is replaced if
/// there is nothing in it but files that are called as in `known`, where `*.csv` is any name with this end.
///
/// # Errors
/// [`Error::Exists`] when `path` exists and may not be replaced; else those of `write` and of the system.
pub fn prepare_directory<T>(
    path: &Path,
    force: bool,
    known: &'static [&'static str],
    write: impl FnOnce(&Path) -> Result<T>,
) -> Result<(PendingDirectory, T)> {
    refuse_directory(path, force, known)?;
    let failed = |e| Error::io(path, "create", e);
    let prefix = temporary_prefix(path);
    remove_abandoned(parent(path), &prefix, known);
    let (temporary, lock) = loop {
        let temporary = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(SUFFIX)
            .permissions(Permissions::from_mode(0o777)) // the umask applies, as for any new directory
            .tempdir_in(parent(path))
            .map_err(failed)?;
        match File::open(temporary.path()) {
            Ok(made) if claim(&made, temporary.path()) => break (temporary, made),
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
    };
    let result = write(temporary.path()).map_err(|e| moved(e, temporary.path(), path))?;
    for entry in temporary.path().read_dir().map_err(failed)? {
        entry
            .and_then(|entry| File::open(entry.path())?.sync_all())
            .map_err(|e| Error::io(path, "write", e))?;
    }
    sync(temporary.path())?;
    Ok((PendingDirectory { temporary, _lock: lock, path: path.to_owned(), known, force }, result))
}

impl PendingDirectory {
    /// Renames the directory to its own name and syncs the one around it.
    ///
    /// # Errors
    /// [`Error::Exists`] when something has taken the name meanwhile and may not be replaced.
    pub fn publish(self) -> Result<()> {
        self.publish_revocably().map(drop)
    }

    /// As [`PendingDirectory::publish`]; what is replaced can be put back.
    ///
    /// # Errors
    /// Those of [`PendingDirectory::publish`].
    pub fn publish_revocably(self) -> Result<Published> {
        let Self { temporary, path, known, force, _lock } = self;
        let failed = |e: std::io::Error| match e.kind() {
            ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty => Error::Exists { path: path.clone() },
            _ => Error::io(&path, "rename the finished directory to", e),
        };
        let (from, to) = (temporary.path(), without_slash(&path));
        let exists = path.symlink_metadata().is_ok();
        refuse_directory(&path, force, known)?;
        let renamed = if exists {
            exchange(from, &to)
        } else {
            renameat_with(CWD, from, CWD, &to, RenameFlags::NOREPLACE).map_err(std::io::Error::from)
        };
        let mut old = None;
        match renamed {
            // The old one has the temporary name now.
            Ok(()) if exists => old = Some(Old::Directory(temporary)),
            Ok(()) => drop(temporary.keep()),
            // Not every file system knows these ways.
            Err(e) if matches!(e.raw_os_error(), Some(EINVAL | ENOSYS | EOPNOTSUPP)) => {
                if exists {
                    remove_known(&to, known);
                }
                // Replaces an empty directory, and no other.
                std::fs::rename(from, &to).map_err(failed)?;
                drop(temporary.keep());
            }
            Err(e) => return Err(failed(e)),
        }
        let published = Published { path: to, old };
        sync(parent(&path))?;
        Ok(published)
    }
}

/// Lets two directories change their names.
pub(super) fn exchange(a: &Path, b: &Path) -> std::io::Result<()> {
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

const EINVAL: i32 = rustix::io::Errno::INVAL.raw_os_error();
const ENOSYS: i32 = rustix::io::Errno::NOSYS.raw_os_error();
const EOPNOTSUPP: i32 = rustix::io::Errno::OPNOTSUPP.raw_os_error();

/// Refuses a directory that is in the way, before any work is done for it.
///
/// # Errors
/// [`Error::Exists`] when `path` exists and `force` is off; with `force` when it is no directory, or holds other files than
/// those called as in `known`.
pub fn refuse_directory(path: &Path, force: bool, known: &[&str]) -> Result<()> {
    let Ok(found) = without_slash(path).symlink_metadata() else { return Ok(()) };
    if !force {
        return Err(Error::Exists { path: path.to_owned() });
    }
    let refused = |reason: String| Err(Error::io(path, "replace", std::io::Error::other(reason)));
    if !found.is_dir() {
        return refused("it is not a directory".into());
    }
    for entry in path.read_dir().map_err(|e| Error::io(path, "list", e))? {
        let name = entry.map_err(|e| Error::io(path, "list", e))?.file_name();
        if !is_known(&name, known) {
            return refused(format!("there are other files in it, such as {}", name.display()));
        }
    }
    Ok(())
}

fn is_known(name: &OsStr, known: &[&str]) -> bool {
    let name = name.as_encoded_bytes();
    known.iter().any(|known| match known.strip_prefix('*') {
        Some(end) => name.ends_with(end.as_bytes()),
        None => name == known.as_bytes(),
    })
}

/// Removes the files called as in `known`; what cannot be removed is in the way of what comes next, which says so.
fn remove_known(dir: &Path, known: &[&str]) {
    for entry in dir.read_dir().into_iter().flatten().flatten() {
        if is_known(&entry.file_name(), known) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Removes directories that nobody fills any more, if there is nothing in them but what a writer of `known` files put there.
fn remove_abandoned(dir: &Path, prefix: &str, known: &[&str]) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_ours = name.starts_with(prefix) && name.ends_with(SUFFIX) && entry.path().is_dir();
        if is_ours && refuse_directory(&entry.path(), true, known).is_ok() {
            remove_unclaimed(&entry.path(), |path| std::fs::remove_dir_all(path));
        }
    }
}

/// The error about the file that one in `temporary` was to become.
fn moved(error: Error, temporary: &Path, path: &Path) -> Error {
    let file = match &error {
        Error::Io { path, .. } | Error::Hdf5 { path, .. } | Error::Exists { path } => path.clone(),
        Error::Input(problem) => problem.path.clone(),
        _ => return error,
    };
    match file.strip_prefix(temporary) {
        Ok(name) => error.renamed(&file, &path.join(name)),
        Err(_) => error,
    }
}

/// A link with a slash behind it would be followed.
fn without_slash(path: &Path) -> PathBuf {
    path.components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(text: &'static str) -> impl Fn(&Path) -> Result<()> {
        move |dir| std::fs::write(dir.join("a"), text).map_err(|e| Error::io(&dir.join("a"), "write", e))
    }

    fn put(path: &Path, force: bool, text: &'static str) -> Result<()> {
        prepare_directory(path, force, &["a"], write(text))?.0.publish()
    }

    #[test]
    fn directories_are_replaced_whole_and_only_with_force() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out/");
        put(&path, false, "one").unwrap();
        assert!(matches!(put(&path, false, "two"), Err(Error::Exists { .. })));
        assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "one");
        put(&path, true, "two").unwrap();
        assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "two");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        let fresh = dir.path().join("fresh");
        std::fs::create_dir(&fresh).unwrap();
        assert_eq!(mode, std::fs::metadata(fresh).unwrap().permissions().mode());
        assert_eq!(dir.path().read_dir().unwrap().count(), 2, "nothing is left behind");
    }

    #[test]
    fn what_others_put_there_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        put(&path, false, "one").unwrap();
        std::fs::write(path.join("notes.txt"), "mine").unwrap();
        let message = put(&path, true, "two").unwrap_err().to_string();
        assert!(message.contains("notes.txt"), "{message}");
        assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "one");
        let file = dir.path().join("file");
        std::fs::write(&file, "mine").unwrap();
        assert!(put(&file, true, "two").is_err());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(put(&link.join(""), true, "two").is_err());
    }

    #[test]
    fn names_may_be_known_by_their_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let put = |name: &'static str| {
            let write =
                |dir: &Path| std::fs::write(dir.join(name), name).map_err(|e| Error::io(dir, "write", e));
            prepare_directory(&path, true, &["*.csv"], write)?.0.publish()
        };
        put("one.csv").unwrap();
        put("two.csv").unwrap();
        assert!(!path.join("one.csv").exists() && path.join("two.csv").exists());
        std::fs::write(path.join("csv"), "mine").unwrap();
        assert!(put("three.csv").unwrap_err().to_string().contains("such as csv"));
        remove_known(&path, &["*.csv"]);
        assert_eq!(path.read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_nothing_and_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let failed = prepare_directory(&path, false, &["a"], |temporary| {
            std::fs::write(temporary.join("a"), "half").unwrap();
            Err::<(), _>(Error::io(&temporary.join("a"), "write", std::io::Error::other("full")))
        });
        assert!(failed.unwrap_err().to_string().contains("out/a: cannot write"));
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
        std::fs::create_dir(dir.path().join(".out.Xy12.tmp")).unwrap();
        put(&path, false, "one").unwrap();
        assert_eq!(dir.path().read_dir().unwrap().count(), 1, "what killed runs left behind is removed");
    }
}
