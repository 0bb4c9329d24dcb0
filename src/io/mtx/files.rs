//! Finding the three files of a 10x Matrix Market directory.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::ReadOptions;

/// How the file of the entries is called, after a prefix.
const MATRIX: [&str; 2] = ["matrix.mtx.gz", "matrix.mtx"];
/// How the genes are called: first those that only one version has.
const GENES: [&str; 4] = ["genes.tsv", "genes.tsv.gz", "features.tsv.gz", "features.tsv"];
const CELLS: [&str; 2] = ["barcodes.tsv.gz", "barcodes.tsv"];
const REMEDY: &str = "put matrix.mtx, genes.tsv or features.tsv, and barcodes.tsv (each also as .gz) into one directory, \
    all three with the same prefix if any";

/// The files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) matrix: PathBuf,
    pub(super) genes: PathBuf,
    pub(super) cells: PathBuf,
    /// The genome that the name of a subdirectory tells.
    pub(super) genome: Option<String>,
}

impl Files {
    /// The files that belong to `path`, a directory or the file of the entries.
    pub(super) fn find(path: &Path, options: &ReadOptions) -> Result<Self> {
        if !path.is_dir() {
            refuse_genome(path, options)?;
            if options.prefix.is_some() {
                let problem = format!("--prefix is for directories, which {} is not", path.display());
                return Err(Error::Usage { problem, remedy: "leave out --prefix".into() });
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let prefix = MATRIX.iter().find_map(|matrix| name.strip_suffix(matrix)).unwrap_or("");
            return Self::beside(path, crate::atomic::parent(path), prefix);
        }
        let prefixes = prefixes(path)?;
        if !prefixes.is_empty() {
            refuse_genome(path, options)?;
            let prefix = choose_prefix(path, &prefixes, options.prefix.as_deref())?;
            return Self::in_directory(path, prefix);
        }
        let subdirectories = subdirectories(path)?;
        let named = options.genome.as_deref();
        let chosen = match (named, &subdirectories[..]) {
            (None, [one]) => one,
            (None, []) => return Err(nothing_found(path)),
            (None, several) => {
                return Err(Error::Usage {
                    problem: format!("{} holds several matrices: {}", path.display(), several.join(", ")),
                    remedy: "choose one with --genome NAME, or give its directory".into(),
                });
            }
            (Some(name), several) => several.iter().find(|other| *other == name).ok_or_else(|| {
                let found = if several.is_empty() { "none".to_owned() } else { several.join(", ") };
                let expected = format!("a directory {name:?} with a matrix");
                Error::input(path, "genome", expected, found, "give one of these to --genome, or none")
            })?,
        };
        let directory = path.join(chosen);
        let prefixes = self::prefixes(&directory)?;
        let prefix = choose_prefix(&directory, &prefixes, options.prefix.as_deref())?;
        Ok(Self { genome: Some(chosen.clone()), ..Self::in_directory(&directory, prefix)? })
    }

    fn in_directory(dir: &Path, prefix: &str) -> Result<Self> {
        let matrix = existing(dir, prefix, &MATRIX).ok_or_else(|| nothing_found(dir))?;
        Self::beside(&matrix, dir, prefix)
    }

    fn beside(matrix: &Path, dir: &Path, prefix: &str) -> Result<Self> {
        let find = |names: &[&str], what: &str| {
            existing(dir, prefix, names).ok_or_else(|| {
                let expected = format!("{prefix}{}, {what}", names.join(&format!(" or {prefix}")));
                Error::input(matrix, "files beside it", expected, "none of these", REMEDY)
            })
        };
        Ok(Self {
            matrix: matrix.to_owned(),
            genes: find(&GENES, "the names of the genes")?,
            cells: find(&CELLS, "the names of the cells")?,
            genome: None,
        })
    }

    pub(super) fn list(&self) -> Vec<PathBuf> {
        vec![self.matrix.clone(), self.genes.clone(), self.cells.clone()]
    }

    /// Whether the genes are in a file of Cell Ranger 1 and 2.
    pub(super) fn is_v2(&self) -> bool {
        let name = self.genes.file_name().unwrap_or_default().to_string_lossy();
        name.trim_end_matches(".gz").ends_with(GENES[0])
    }
}

fn existing(dir: &Path, prefix: &str, names: &[&str]) -> Option<PathBuf> {
    names.iter().map(|name| dir.join(format!("{prefix}{name}"))).find(|path| path.is_file())
}

fn refuse_genome(path: &Path, options: &ReadOptions) -> Result<()> {
    if options.genome.is_none() {
        return Ok(());
    }
    Err(Error::Usage {
        problem: format!(
            "--genome is for 10x HDF5 files and for directories with one matrix for each genome, which {} is not",
            path.display()
        ),
        remedy: "leave out --genome".into(),
    })
}

/// What stands before "matrix.mtx" in the names of files in a directory, sorted.
fn prefixes(dir: &Path) -> Result<Vec<String>> {
    let failed = |e| Error::io(dir, "list", e);
    let mut prefixes = Vec::new();
    for entry in dir.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let prefix = MATRIX.iter().find_map(|matrix| name.strip_suffix(matrix));
        if let Some(prefix) = prefix
            && entry.path().is_file()
            // Files that are being written, or that macOS puts beside others.
            && !prefix.starts_with('.')
        {
            prefixes.push(prefix.to_owned());
        }
    }
    prefixes.sort_unstable();
    prefixes.dedup();
    Ok(prefixes)
}

fn choose_prefix<'a>(dir: &Path, prefixes: &'a [String], wanted: Option<&str>) -> Result<&'a str> {
    let list = || {
        let quoted: Vec<String> = prefixes.iter().map(|prefix| format!("{prefix:?}")).collect();
        quoted.join(", ")
    };
    match (wanted, prefixes) {
        (None, [one]) => Ok(one),
        (None, _) => Err(Error::Usage {
            problem: format!("{} holds several matrices, with the prefixes {}", dir.display(), list()),
            remedy: "choose one with --prefix".into(),
        }),
        (Some(wanted), _) => {
            prefixes.iter().find(|prefix| *prefix == wanted).map(String::as_str).ok_or_else(|| {
                let remedy = "give one of these to --prefix";
                Error::input(
                    dir,
                    "directory",
                    format!("{wanted}matrix.mtx or .gz"),
                    format!("prefixes {}", list()),
                    remedy,
                )
            })
        }
    }
}

/// Names of subdirectories that hold a matrix, sorted.
fn subdirectories(dir: &Path) -> Result<Vec<String>> {
    let failed = |e| Error::io(dir, "list", e);
    let mut names = Vec::new();
    for entry in dir.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.path().is_dir() && prefixes(&entry.path()).is_ok_and(|prefixes| !prefixes.is_empty()) {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn nothing_found(dir: &Path) -> Error {
    Error::input(dir, "directory", "a 10x Matrix Market directory", "no matrix.mtx or matrix.mtx.gz", REMEDY)
}
