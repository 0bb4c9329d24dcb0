//! From a source to the stores a run needs.

use std::path::Path;

use tempfile::TempPath;

use super::open::Store;
use super::transpose::transpose;
use super::write::{minor_axis, scan, unpack};
use crate::error::{Error, Result};
use crate::io::{Source, Tally};
use crate::matrix::Major;

/// Temporary stores carry this prefix, so that what a killed run left behind can be recognised.
pub(crate) const TEMPORARY_PREFIX: &str = ".late-fast-store-";

/// The stores made from one source.
#[derive(Debug)]
pub struct Prepared {
    native: Store,
    transposed: Option<Store>,
}

impl Prepared {
    /// The store with a row per cell or per gene, if it was asked for (or is the source's own).
    pub fn with_rows(&self, major: Major) -> Option<&Store> {
        std::iter::once(&self.native).chain(&self.transposed).find(|store| store.major() == major)
    }
}

/// Steps of [`prepare`], for progress display: the step's name, entries done since the last call.
pub type Progress<'a> = &'a dyn Fn(&'static str, u64);

/// Checks the source and makes it available with rows of every axis in `wanted`, in files under
/// `cache_dir` that are removed when the result is dropped.
pub fn prepare(
    source: &dyn Source,
    wanted: &[Major],
    cache_dir: &Path,
    progress: Progress<'_>,
) -> Result<Prepared> {
    let summary = scan(source, &|n| progress("checking", n))?;
    if summary.tally.nnz == 0 {
        return Err(Error::input(
            source.path(),
            source.layout(),
            "at least one observed (non-zero) entry",
            format!("{} cells x {} genes, all zero", source.cells().len(), source.genes().len()),
            "check that this is the right file, layer (--layer), genome (--genome) and feature type",
        ));
    }
    let n_cols = minor_axis(source).len();
    let clean = summary.tally == Tally { nnz: summary.tally.nnz, ..Tally::default() };
    let native = match source.in_place() {
        Some(place) if clean => Store::map(&place, source.major(), n_cols, summary, None)?,
        _ => {
            let path = temporary(cache_dir)?;
            let place = unpack(source, &summary, &path, &|n| progress("unpacking", n))?;
            Store::map(&place, source.major(), n_cols, summary, Some(path))?
        }
    };
    let transposed = if wanted.contains(&native.major().other()) {
        let path = temporary(cache_dir)?;
        let place =
            transpose(&native, source.cells(), source.genes(), &path, &|n| progress("transposing", n))?;
        let (n_cols, summary) = (native.n_rows(), native.summary().transposed());
        Some(Store::map(&place, native.major().other(), n_cols, summary, Some(path))?)
    } else {
        None
    };
    Ok(Prepared { native, transposed })
}

fn temporary(dir: &Path) -> Result<TempPath> {
    tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .suffix(".h5ad")
        .tempfile_in(dir)
        .map(tempfile::NamedTempFile::into_temp_path)
        .map_err(|e| Error::io(dir, "create a temporary file for the matrix store", e))
}
