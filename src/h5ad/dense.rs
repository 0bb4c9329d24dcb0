//! Rows in, a dense chunked matrix out, in memory that does not grow with the number of cells.

use std::path::{Path, PathBuf};

use hdf5::{Dataset, Group};

use super::write::{descriptor, write_encoding};
use crate::error::{Error, Result};
use crate::hdf;
use crate::io::Dtype;
use crate::matrix::RowBlock;

/// Bytes of a chunk, of whole rows; libhdf5 holds as much of a dataset at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Deflate's level: most values are 0, and no level finds that hard.
const COMPRESSION: u8 = 1;

/// A dense matrix of an AnnData file that is being written. Cells come as rows, in order.
pub struct DenseWriter {
    path: PathBuf,
    name: String,
    dataset: Dataset,
    dtype: Dtype,
    shape: [usize; 2],
    /// Rows of a chunk.
    chunk_rows: usize,
    /// Rows in the file.
    written: usize,
    /// Values of the rows that follow.
    pending: Vec<f64>,
}

impl DenseWriter {
    /// Creates the matrix `name` of `shape` (cells, genes) in `parent`, a group of the file at `path`. Values are converted
    /// to `dtype`: f32 or f64.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path, parent: &Group, name: &str, shape: [usize; 2], dtype: Dtype) -> Result<Self> {
        let failed = |e| Error::hdf5(path, name, "create the dataset", e);
        let row_bytes = (shape[1] * dtype.size()).max(1);
        let chunk_rows = (CHUNK_BYTES / row_bytes).clamp(1, shape[0].max(1));
        let builder = parent.new_dataset_builder();
        let builder = if shape.contains(&0) {
            builder
        } else {
            builder.chunk([chunk_rows, shape[1]]).shuffle().deflate(COMPRESSION)
        };
        let dataset = builder.empty_as(descriptor(dtype)).shape(shape).create(name).map_err(failed)?;
        write_encoding(&dataset, "array", "0.2.0")?;
        let (path, name) = (path.to_owned(), name.to_owned());
        Ok(Self { path, name, dataset, dtype, shape, chunk_rows, written: 0, pending: Vec::new() })
    }

    /// Adds cells.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write_rows(&mut self, block: &RowBlock) -> Result<()> {
        let n_genes = self.shape[1];
        for row in 0..block.n_rows() {
            let begin = self.pending.len();
            self.pending.resize(begin + n_genes, 0.0);
            let (indices, values) = block.row(row);
            for (&gene, &value) in indices.iter().zip(values) {
                self.pending[begin + gene as usize] = value;
            }
            if self.pending.len() == self.chunk_rows * n_genes {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let n_genes = self.shape[1];
        let n_rows = self.pending.len().checked_div(n_genes).unwrap_or(0);
        if n_rows == 0 {
            return Ok(());
        }
        let rows = self.written..self.written + n_rows;
        let failed = |e| Error::hdf5(&self.path, &*self.name, "write", e);
        let shape = |e: ndarray::ShapeError| failed(hdf5::Error::Internal(e.to_string()));
        if self.dtype == Dtype::F32 {
            #[expect(clippy::cast_possible_truncation, reason = "the type was chosen to fit")]
            let values: Vec<f32> = self.pending.iter().map(|&value| value as f32).collect();
            let values = ndarray::Array2::from_shape_vec([n_rows, n_genes], values).map_err(shape)?;
            self.dataset.write_slice(&values, (rows.clone(), ..)).map_err(failed)?;
        } else {
            let values = ndarray::ArrayView2::from_shape([n_rows, n_genes], &self.pending).map_err(shape)?;
            self.dataset.write_slice(values, (rows.clone(), ..)).map_err(failed)?;
        }
        self.written = rows.end;
        self.pending.clear();
        Ok(())
    }

    /// Completes the matrix.
    ///
    /// # Errors
    /// When writing fails.
    ///
    /// # Panics
    /// When there are not as many rows as announced.
    pub fn finish(mut self) -> Result<()> {
        self.flush()?;
        assert!(self.written == self.shape[0] || self.shape[1] == 0, "rows");
        hdf::flush(&self.dataset)
    }
}
