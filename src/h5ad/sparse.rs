//! Rows in, a compressed CSR matrix out, in memory that does not grow with the number of entries.

use std::path::{Path, PathBuf};

use hdf5::Group;

use super::write::{SparseGroup, SparseSpec, create_sparse};
use crate::error::{Error, Result};
use crate::hdf;
use crate::io::Dtype;
use crate::matrix::{Major, RowBlock};

/// Entries are written this many at a time: whole chunks.
const BLOCK: usize = 1 << 18;

/// A CSR matrix of an AnnData file that is being written. Cells come as rows, in order. Several of one file may be written
/// in turn.
pub struct SparseWriter {
    path: PathBuf,
    name: String,
    group: SparseGroup,
    /// Type of the values in the file.
    dtype: Dtype,
    /// Entries in the file.
    written: usize,
    /// Where each row ends.
    ends: Vec<i64>,
    indices: Vec<i32>,
    values: Vec<f64>,
}

impl SparseWriter {
    /// Creates the matrix `name` of `shape` (cells, genes) in `parent`, a group of the file at `path`. Values are converted to
    /// `dtype`: u8, f32 or f64.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path, parent: &Group, name: &str, shape: [usize; 2], dtype: Dtype) -> Result<Self> {
        let spec = SparseSpec {
            shape: (shape[0] as u64, shape[1] as u64),
            major: Major::Cells,
            // Grows as it is written.
            nnz: 0,
            data: dtype,
            indices: Dtype::I32,
            compressed: true,
        };
        let group = create_sparse(parent, name, &spec)?;
        Ok(Self {
            path: path.to_owned(),
            name: group.group.name().trim_start_matches('/').to_owned(),
            group,
            dtype,
            written: 0,
            ends: vec![0],
            indices: Vec::new(),
            values: Vec::new(),
        })
    }

    /// Adds cells.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write_rows(&mut self, block: &RowBlock) -> Result<()> {
        let base = self.ends.last().copied().unwrap_or(0);
        self.ends.extend(block.indptr[1..].iter().map(|&end| base + end as i64));
        self.indices.extend(block.indices.iter().map(|&index| index.cast_signed()));
        self.values.extend_from_slice(&block.values);
        self.flush(false)
    }

    /// Writes entries in whole blocks, or all of them.
    fn flush(&mut self, all: bool) -> Result<()> {
        let n = self.indices.len();
        let n = if all { n } else { n - n % BLOCK };
        if n == 0 {
            return Ok(());
        }
        let place = self.written..self.written + n;
        self.write(n).map_err(|e| Error::hdf5(&self.path, &self.name, "write", e))?;
        self.written = place.end;
        self.indices.drain(..n);
        self.values.drain(..n);
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the type was chosen to fit")]
    fn write(&self, n: usize) -> hdf5::Result<()> {
        let SparseGroup { indices, data, .. } = &self.group;
        let place = self.written..self.written + n;
        indices.resize([place.end])?;
        data.resize([place.end])?;
        indices.write_slice(&self.indices[..n], place.clone())?;
        let values = self.values[..n].iter();
        match self.dtype {
            Dtype::U8 => data.write_slice(&values.map(|&value| value as u8).collect::<Vec<_>>(), place),
            Dtype::F32 => data.write_slice(&values.map(|&value| value as f32).collect::<Vec<_>>(), place),
            _ => data.write_slice(&self.values[..n], place),
        }
    }

    /// Completes the matrix and returns the number of its entries.
    ///
    /// # Errors
    /// When writing fails.
    ///
    /// # Panics
    /// When there are not as many rows as announced.
    pub fn finish(mut self) -> Result<u64> {
        self.flush(true)?;
        assert_eq!(self.ends.len(), self.group.indptr.size(), "rows");
        let written = self.group.indptr.write(&self.ends);
        written.map_err(|e| Error::hdf5(&self.path, format!("{}/indptr", self.name), "write", e))?;
        hdf::flush(&self.group.group)?;
        Ok(self.written as u64)
    }
}
