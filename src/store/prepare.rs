//! From a source to the stores a run needs.

use std::path::Path;

use tempfile::NamedTempFile;

use super::cache::Cache;
use super::open::Store;
use super::transpose::{Room, transpose};
use super::write::{Layout, Summary};
use crate::atomic::{check_free_space, create_temporary};
use crate::budget::MOST_BLOCK_BYTES;
use crate::error::{Error, Result};
use crate::io::{InPlace, Source};
use crate::matrix::Major;

/// Names of temporary stores begin with this.
const TEMPORARY_PREFIX: &str = ".late-fast-store-";
/// Bytes of the store that a transposition goes through at a time, at most.
const MOST_BLOCK_PAGES: u64 = 1 << 30;
const REMEDY: &str = "free space, or choose another directory with --cache";

/// Where stores are made, and which.
#[derive(Clone, Copy)]
pub struct Storing<'a> {
    /// The directory for stores that are written.
    pub dir: &'a Path,
    /// The axes of which rows are needed.
    pub wanted: &'a [Major],
    /// Bytes of memory that the run may use; the larger, the longer the pieces a transpose is written in.
    pub memory: u64,
    /// How stores are kept for later runs. Without it, their files lose their names as soon as they are mapped, so
    /// that the system frees them when the run ends, however it ends.
    pub cache: Option<&'a Cache<'a>>,
}

impl Storing<'_> {
    /// What of the memory a transposition uses: for its tiles never more than is counted for blocks of the input, and
    /// for the store's pages, which the system keeps if it can.
    fn room(&self) -> Room {
        Room {
            tiles: MOST_BLOCK_BYTES / 2,
            block: (self.memory / 8).clamp(MOST_BLOCK_BYTES / 4, MOST_BLOCK_PAGES),
        }
    }

    /// A kept store of the source with rows of `major`.
    pub(super) fn find(&self, source: &dyn Source, major: Major) -> Option<Store> {
        self.cache.and_then(|cache| cache.find(self.dir, source, major))
    }

    /// Maps the store that was written to `file`, and keeps it if it is to be kept.
    pub(super) fn finish(
        &self,
        file: NamedTempFile,
        place: &InPlace,
        major: Major,
        n_cols: usize,
        summary: Summary,
    ) -> Result<Store> {
        let store = Store::map(place, major, n_cols, summary)?;
        match self.cache {
            Some(cache) => cache.publish(store, file, self.dir),
            None => Ok(store),
        }
    }

    /// Makes sure that a store of this layout fits the directory, and its transpose as well if that will be needed.
    pub(super) fn check_space(&self, source: &dyn Source, layout: &Layout) -> Result<()> {
        let major = source.major();
        let (rows, columns) = (source.axis(major).len(), source.axis(major.other()).len());
        let transposed = self.wanted.contains(&major.other());
        let transposed = transposed.then(|| Layout::new((columns, rows), layout.nnz, layout.data).bytes());
        let both = layout.bytes().saturating_add(transposed.unwrap_or(0));
        check_free_space(
            self.dir,
            both,
            || match transposed {
                Some(_) => format!("the matrix, unpacked and transposed ({} entries),", layout.nnz),
                None => format!("the unpacked matrix ({} entries)", layout.nnz),
            },
            REMEDY,
        )
    }

    fn check_transposed(&self, native: &Store) -> Result<()> {
        let summary = native.summary();
        let what = || format!("the transposed matrix ({} entries)", summary.tally.nnz);
        check_free_space(self.dir, summary.transposed().store_bytes(), what, REMEDY)
    }
}

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

/// Progress display: the step's name, entries done since the last call.
pub(super) type Progress<'a> = &'a dyn Fn(&'static str, u64);

/// Makes the source, which [`unpack`](super::unpack) made a store of, available with rows of every wanted axis.
///
/// # Errors
/// When the store was changed, or its transpose does not fit the directory or cannot be written.
pub fn prepare(
    source: &dyn Source,
    native: Store,
    storing: &Storing<'_>,
    progress: Progress<'_>,
) -> Result<Prepared> {
    let major = native.major().other();
    let transposed = if !storing.wanted.contains(&major) {
        None
    } else if let Some(kept) = storing.find(source, major) {
        Some(kept)
    } else {
        storing.check_transposed(&native)?;
        let file = temporary(storing.dir)?;
        let (cells, genes) = (source.cells(), source.genes());
        let progress = |n| progress("transposing", n);
        let place = transpose(&native, cells, genes, file.path(), storing.room(), &progress)?;
        Some(storing.finish(file, &place, major, native.n_rows(), native.summary().transposed())?)
    };
    Ok(Prepared { native, transposed })
}

/// An open, hence locked, file: other runs leave it alone.
pub(super) fn temporary(dir: &Path) -> Result<NamedTempFile> {
    create_temporary(dir, TEMPORARY_PREFIX)
        .map_err(|e| Error::io(dir, "create a temporary file for the matrix store", e))
}
