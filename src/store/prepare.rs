//! From a source to the stores a run needs.

use std::path::Path;

use tempfile::NamedTempFile;

use super::open::Store;
use super::transpose::transpose;
use super::write::{Summary, unpack};
use crate::atomic::create_temporary;
use crate::error::{Error, Result};
use crate::io::{InPlace, Source, Tally};
use crate::matrix::Major;

/// Names of temporary stores begin with this.
const TEMPORARY_PREFIX: &str = ".late-fast-store-";

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
type Progress<'a> = &'a dyn Fn(&'static str, u64);

/// Makes the source, which [`scan`](super::scan) summed up, available with rows of every axis in `wanted`.
///
/// Stores are written to files in `cache_dir` whose names are removed as soon as they are mapped: the system
/// frees them when the run ends, however it ends.
///
/// # Errors
/// When the source was changed, or the stores cannot be written.
pub fn prepare(
    source: &dyn Source,
    summary: Summary,
    wanted: &[Major],
    cache_dir: &Path,
    progress: Progress<'_>,
) -> Result<Prepared> {
    let n_cols = summary.col_nnz.len();
    let native = match mappable(source, &summary.tally) {
        Some(place) => Store::map(&place, source.major(), n_cols, summary)?,
        None => {
            let file = temporary(cache_dir)?;
            let place = unpack(source, &summary, file.path(), &|n| progress("unpacking", n))?;
            Store::map(&place, source.major(), n_cols, summary)?
        }
    };
    let transposed = if wanted.contains(&native.major().other()) {
        let file = temporary(cache_dir)?;
        let place =
            transpose(&native, source.cells(), source.genes(), file.path(), &|n| progress("transposing", n))?;
        Some(Store::map(&place, native.major().other(), native.n_rows(), native.summary().transposed())?)
    } else {
        None
    };
    Ok(Prepared { native, transposed })
}

/// Where the entries lie when the file itself serves as the store: nothing in it had to be mended.
pub(super) fn mappable(source: &dyn Source, tally: &Tally) -> Option<InPlace> {
    let clean = *tally == Tally { nnz: tally.nnz, ..Tally::default() };
    source.in_place().filter(|_| clean)
}

/// An open, hence locked, file: other runs leave it alone.
fn temporary(dir: &Path) -> Result<NamedTempFile> {
    create_temporary(dir, TEMPORARY_PREFIX)
        .map_err(|e| Error::io(dir, "create a temporary file for the matrix store", e))
}
