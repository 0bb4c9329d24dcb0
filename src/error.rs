//! The library's errors: each names the file, the object inside it, what was expected, what was
//! found and what to do.

use std::path::{Path, PathBuf};

/// `Result` with this library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong outside programming errors.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("{}: cannot {action}: {source}{}", path.display(), io_remedy(source))]
    Io {
        /// The file or directory concerned.
        path: PathBuf,
        /// What was attempted, as in "cannot {action}".
        action: &'static str,
        /// The system's own words.
        source: std::io::Error,
    },
    /// A file's content is not what it has to be.
    #[error(transparent)]
    Input(Box<InputProblem>),
    /// libhdf5 failed.
    #[error("{}: {object}: cannot {action}: {source}", path.display())]
    Hdf5 {
        /// The HDF5 file.
        path: PathBuf,
        /// The object inside the file, as an HDF5 path.
        object: String,
        /// What was attempted, as in "cannot {action}".
        action: &'static str,
        /// libhdf5's own words.
        source: Box<hdf5::Error>,
    },
    /// An output exists and may not be overwritten.
    #[error("{}: exists already; choose another name, or allow overwriting with --force", path.display())]
    Exists {
        /// The output in the way.
        path: PathBuf,
    },
    /// An option has a value that cannot be used.
    #[error("{problem}; {remedy}")]
    Usage {
        /// What does not fit.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// The machine has too little of something.
    #[error("{problem}; {remedy}")]
    Resources {
        /// What is short.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// The run would need more memory than it may use.
    #[error("the plan needs {needed} of memory but --memory allows {allowed}; {remedy}")]
    Memory {
        /// Estimated need, for people.
        needed: String,
        /// The budget, for people.
        allowed: String,
        /// Which options would make it fit.
        remedy: String,
    },
    /// Training cannot go on.
    #[error("{problem}; {remedy}")]
    Training {
        /// What happened, and where.
        problem: String,
        /// What to try.
        remedy: String,
    },
}

/// What is wrong inside an input file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {object}: expected {expected}, found {found}; {remedy}", path.display())]
pub struct InputProblem {
    /// The file.
    pub path: PathBuf,
    /// Dataset path, line, cell or gene inside the file.
    pub object: String,
    /// What a valid file has there.
    pub expected: String,
    /// What this file has there.
    pub found: String,
    /// What the user can do.
    pub remedy: String,
}

impl Error {
    /// Wraps an I/O error; reads as "`path`: cannot `action`: ...".
    pub fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }

    /// Describes invalid content of a file.
    pub fn input(
        path: &Path,
        object: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Input(Box::new(InputProblem {
            path: path.to_owned(),
            object: object.into(),
            expected: expected.into(),
            found: found.into(),
            remedy: remedy.into(),
        }))
    }

    /// A file whose content was checked is no longer the same.
    pub fn changed(path: &Path, object: impl Into<String>) -> Self {
        Self::input(
            path,
            object,
            "what was found when the file was checked",
            "something else",
            "the file was changed by another program during the run: start again",
        )
    }

    /// The same error about the file that `temporary` was to become.
    #[must_use]
    pub fn renamed(mut self, temporary: &Path, path: &Path) -> Self {
        let named = match &mut self {
            Self::Io { path, .. } | Self::Hdf5 { path, .. } | Self::Exists { path } => path,
            Self::Input(problem) => &mut problem.path,
            Self::Usage { .. } | Self::Resources { .. } | Self::Memory { .. } | Self::Training { .. } => {
                return self;
            }
        };
        if named == temporary {
            path.clone_into(named);
        }
        self
    }

    /// Wraps a libhdf5 error; reads as "`path`: `object`: cannot `action`: ...".
    pub fn hdf5(path: &Path, object: impl Into<String>, action: &'static str, source: hdf5::Error) -> Self {
        Self::Hdf5 { path: path.to_owned(), object: object.into(), action, source: Box::new(source) }
    }
}

fn io_remedy(source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match source.kind() {
        ErrorKind::NotFound => "; check the path",
        ErrorKind::PermissionDenied => "; check the permissions",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "; free space there, or write elsewhere (--out, --cache)"
        }
        ErrorKind::ReadOnlyFilesystem => "; write elsewhere (--out, --cache)",
        _ => "",
    }
}
