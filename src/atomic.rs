//! Outputs appear under their final name only when they are complete and on disk.

mod directory;

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub use directory::{PendingDirectory, prepare_directory, refuse_directory};

use crate::budget::human_bytes;
use crate::error::{Error, Result};

/// Unfinished outputs carry this suffix.
const SUFFIX: &str = ".tmp";

/// A finished file under a temporary name, on disk, waiting to get its own.
/// Dropped without [`Pending::publish`], it is removed.
#[derive(Debug)]
pub struct Pending {
    temporary: tempfile::NamedTempFile,
    path: PathBuf,
    force: bool,
}

/// Lets `write` fill a temporary file beside `path` and syncs it to disk.
///
/// # Errors
/// [`Error::Exists`] when `path` exists and `force` is off; else those of `write` and of the system.
pub fn prepare<T>(path: &Path, force: bool, write: impl FnOnce(&Path) -> Result<T>) -> Result<(Pending, T)> {
    refuse_existing(path, force)?;
    let temporary =
        create_temporary(parent(path), &temporary_prefix(path)).map_err(|e| Error::io(path, "create", e))?;
    let permissions = temporary.as_file().metadata().map_err(|e| Error::io(path, "create", e))?.permissions();
    let result = write(temporary.path()).map_err(|e| e.renamed(temporary.path(), path))?;
    // A writer may have put a file of its own in the temporary's place.
    std::fs::set_permissions(temporary.path(), permissions)
        .and_then(|()| File::open(temporary.path())?.sync_all())
        .map_err(|e| Error::io(path, "write", e))?;
    Ok((Pending { temporary, path: path.to_owned(), force }, result))
}

impl Pending {
    /// Renames the file to its own name and syncs the directory.
    ///
    /// # Errors
    /// [`Error::Exists`] when something has taken the name meanwhile and may not be replaced.
    pub fn publish(self) -> Result<()> {
        let path = self.path.clone();
        self.rename()?;
        sync(parent(&path))
    }

    fn rename(self) -> Result<()> {
        let Self { temporary, path, force } = self;
        let renamed = if force { temporary.persist(&path) } else { temporary.persist_noclobber(&path) };
        renamed.map(drop).map_err(|e| match e.error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::Exists { path: path.clone() },
            _ => Error::io(&path, "rename the finished file to", e.error),
        })
    }

    /// As [`Pending::publish`], with a second name for the file that is replaced, so that it can be put back.
    ///
    /// # Errors
    /// Those of [`Pending::publish`].
    pub fn publish_revocably(self) -> Result<Published> {
        let path = self.path.clone();
        let dir = parent(&path);
        // Where files have one name only, what is replaced is lost.
        let old = tempfile::Builder::new()
            .prefix(&temporary_prefix(&path))
            .suffix(SUFFIX)
            .make_in(dir, |name| std::fs::hard_link(&path, name))
            .ok()
            .map(tempfile::NamedTempFile::into_temp_path);
        self.rename()?;
        let published = Published { path, old: old.map(Old::File) };
        match sync(parent(&published.path)) {
            Ok(()) => Ok(published),
            Err(e) => {
                published.take_back();
                Err(e)
            }
        }
    }
}

/// An output that has got its name. What it replaced, if anything, is kept until this is dropped.
#[derive(Debug)]
pub struct Published {
    path: PathBuf,
    old: Option<Old>,
}

/// What was replaced, under a temporary name.
#[derive(Debug)]
enum Old {
    File(tempfile::TempPath),
    Directory(tempfile::TempDir),
}

impl Published {
    /// Takes the name away again and puts back what had it before, as far as the system lets.
    pub fn take_back(self) {
        let Self { path, old } = self;
        // That it cannot be done does not matter: this follows an error, which is told.
        let _ = match old {
            Some(Old::File(old)) => old.persist(&path).map_err(|e| e.error),
            Some(Old::Directory(old)) => directory::exchange(old.path(), &path),
            None if path.is_dir() => std::fs::remove_dir_all(&path),
            None => std::fs::remove_file(&path),
        };
        let _ = sync(parent(&path));
    }
}

/// Creates a file in `dir` whose name begins with `prefix` and that is removed when dropped; before that, removes
/// what runs that were killed have left behind under that prefix.
///
/// The file stays locked while it is open, which tells it from one that nobody writes any more. Where locks do
/// not work, nothing is taken for abandoned.
///
/// # Errors
/// When it cannot be created.
pub fn create_temporary(dir: &Path, prefix: &str) -> std::io::Result<tempfile::NamedTempFile> {
    remove_abandoned(dir, prefix)?;
    loop {
        let temporary = tempfile::Builder::new()
            .prefix(prefix)
            .suffix(SUFFIX)
            .permissions(Permissions::from_mode(0o666)) // the umask applies, as for any new file
            .tempfile_in(dir)?;
        if claim(temporary.as_file(), temporary.path()) {
            return Ok(temporary);
        }
    }
}

/// Locks what was just made at `path`. False if another run took it for abandoned before that, and removed it: it has
/// the lock until then.
fn claim(made: &File, path: &Path) -> bool {
    // Where locks do not work, nothing is removed.
    let _ = made.lock();
    path.symlink_metadata().map_or_else(|e| e.kind() != std::io::ErrorKind::NotFound, |_| true)
}

/// Lets `remove` remove what nobody has [claimed](claim), and holds the lock meanwhile.
fn remove_unclaimed(path: &Path, remove: impl FnOnce(&Path) -> std::io::Result<()>) {
    if let Ok(found) = File::open(path)
        && found.try_lock().is_ok()
    {
        // Another run may have been faster.
        let _ = remove(path);
    }
}

/// Removes temporary files whose name begins with `prefix` and that nobody writes any more.
///
/// # Errors
/// When the directory cannot be listed.
pub fn remove_abandoned(dir: &Path, prefix: &str) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_ours = name.starts_with(prefix) && name.ends_with(SUFFIX);
        if is_ours {
            remove_unclaimed(&entry.path(), |path| std::fs::remove_file(path));
        }
    }
    Ok(())
}

/// [`prepare`] and [`Pending::publish`]: on any error the temporary file is removed and whatever stands at
/// `path` stays untouched.
///
/// # Errors
/// Those of the two.
pub fn write_atomically<T>(path: &Path, force: bool, write: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let (pending, result) = prepare(path, force, write)?;
    pending.publish()?;
    Ok(result)
}

/// Refuses an output that is in the way, before any work is done for it.
///
/// # Errors
/// [`Error::Exists`] when `path` exists and `force` is off.
pub fn refuse_existing(path: &Path, force: bool) -> Result<()> {
    match path.symlink_metadata() {
        Ok(_) if !force => Err(Error::Exists { path: path.to_owned() }),
        Ok(found) if !found.is_file() => {
            Err(Error::io(path, "replace", std::io::Error::other("it is not a regular file")))
        }
        // What stands in the way of looking stands in the way of writing, too: found by `try_directory`.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Finds out whether files can be written in a directory, before work is done for them.
///
/// # Errors
/// When they cannot.
pub fn try_directory(dir: &Path) -> Result<()> {
    tempfile::tempfile_in(dir).map(drop).map_err(|e| Error::io(dir, "write in the directory", e))
}

/// Makes sure that `needed` bytes are free where `dir` lies, before work is done for them.
///
/// # Errors
/// Names `what` takes so much, both sizes and the `remedy`.
pub fn check_free_space(dir: &Path, needed: u64, what: impl FnOnce() -> String, remedy: &str) -> Result<()> {
    let free = fs4::available_space(dir).map_err(|e| Error::io(dir, "find out the free space", e))?;
    if free >= needed {
        return Ok(());
    }
    Err(Error::Resources {
        problem: format!(
            "{}: {} takes {}, and {} are free there",
            dir.display(),
            what(),
            human_bytes(needed),
            human_bytes(free)
        ),
        remedy: remedy.into(),
    })
}

/// A directory for results, removed again if nothing was put into a new one.
#[derive(Debug)]
pub struct ResultDirectory {
    path: PathBuf,
    is_new: bool,
}

impl ResultDirectory {
    /// Makes the directory, unless it is there, and makes sure that it can be written.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn open(path: &Path) -> Result<Self> {
        let is_new = match std::fs::create_dir(path) {
            Ok(()) => true,
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => false,
            Err(e) => return Err(Error::io(path, "create the directory", e)),
        };
        let directory = Self { path: path.to_owned(), is_new };
        try_directory(path)?;
        Ok(directory)
    }
}

impl Drop for ResultDirectory {
    fn drop(&mut self) {
        if self.is_new {
            // Fails, as it should, when there is something in it.
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

/// Whether both paths lead to the same existing file.
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (a.metadata(), b.metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

/// Whether both paths are the same name in the same directory, whether a file is there or not.
pub fn is_same_name(a: &Path, b: &Path) -> bool {
    a.file_name() == b.file_name() && (parent(a) == parent(b) || is_same_file(parent(a), parent(b)))
}

/// What the temporary names of an output begin with.
fn temporary_prefix(path: &Path) -> String {
    format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy())
}

fn sync(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| Error::io(dir, "sync the directory", e))
}

/// The directory `path` lies in.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        std::fs::write(&path, "old").unwrap();
        let failed = write_atomically(&path, true, |temporary| {
            std::fs::write(temporary, "half").unwrap();
            Err::<(), _>(Error::Exists { path: temporary.to_owned() })
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(dir.path()), ["out"]);
    }

    #[test]
    fn what_killed_runs_left_behind_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let (abandoned, foreign) = (dir.path().join(".out.Xy12.tmp"), dir.path().join(".other.Xy12.tmp"));
        std::fs::write(&abandoned, "half").unwrap();
        std::fs::write(&foreign, "half").unwrap();
        let in_use = create_temporary(dir.path(), ".out.").unwrap();
        assert!(!abandoned.exists() && foreign.exists());
        write_atomically(&path, false, |_| Ok(())).unwrap();
        assert!(in_use.path().exists(), "a file that another run writes was removed");
    }

    #[test]
    fn runs_that_begin_together_leave_each_other_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        let mine = create_temporary(dir.path(), ".out.").unwrap();
                        std::thread::yield_now();
                        assert!(mine.path().exists(), "it was taken for abandoned");
                    }
                });
            }
        });
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn overwriting_needs_force() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let write = |text: &'static str| {
            move |temporary: &Path| {
                std::fs::write(temporary, text).map_err(|e| Error::io(temporary, "write", e))
            }
        };
        write_atomically(&path, false, write("one")).unwrap();
        assert!(matches!(write_atomically(&path, false, write("two")), Err(Error::Exists { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        write_atomically(&path, true, write("two")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(names(dir.path()), ["out"]);
    }
}
