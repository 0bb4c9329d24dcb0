//! Rows in, a dense chunked dataset out, in memory that does not grow with the number of rows.

use std::path::{Path, PathBuf};

use hdf5::{Dataset, Group};

use super::numeric::descriptor;
use super::write::flush;
use crate::error::{Error, Result};
use crate::io::Dtype;
use crate::matrix::RowBlock;

/// Bytes of a chunk, of whole rows if possible; libhdf5 holds as much of a dataset at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Deflate's level: most values are 0, and no level finds that hard.
const COMPRESSION: u8 = 1;

/// A dense matrix that is being written, row by row.
pub struct DenseWriter {
    path: PathBuf,
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
    /// Creates the matrix `name` of `shape` (rows, columns) in `parent`, a group of the file at `path`. Values are converted
    /// to `dtype`: f32 or f64. Without any element there is nothing to compress.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path, parent: &Group, name: &str, shape: [usize; 2], dtype: Dtype) -> Result<Self> {
        let failed = |e| {
            let object = format!("{}/{name}", parent.name().trim_end_matches('/'));
            Error::hdf5(path, object, "create the dataset", e)
        };
        let row_bytes = (shape[1] * dtype.size()).max(1);
        let chunk_rows = (CHUNK_BYTES / row_bytes).clamp(1, shape[0].max(1));
        let builder = parent.new_dataset_builder();
        let builder = if shape.contains(&0) {
            builder
        } else {
            builder
                .chunk([chunk_rows, shape[1].min(CHUNK_BYTES / dtype.size())])
                .shuffle()
                .deflate(COMPRESSION)
        };
        let dataset = builder.empty_as(descriptor(dtype)).shape(shape).create(name).map_err(failed)?;
        Ok(Self { path: path.to_owned(), dataset, dtype, shape, chunk_rows, written: 0, pending: Vec::new() })
    }

    /// The dataset, to which attributes may be added.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Adds rows.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write_rows(&mut self, block: &RowBlock) -> Result<()> {
        let n_columns = self.shape[1];
        for row in 0..block.n_rows() {
            let begin = self.pending.len();
            self.pending.resize(begin + n_columns, 0.0);
            let (indices, values) = block.row(row);
            for (&column, &value) in indices.iter().zip(values) {
                self.pending[begin + column as usize] = value;
            }
            if self.pending.len() == self.chunk_rows * n_columns {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let n_columns = self.shape[1];
        let n_rows = self.pending.len().checked_div(n_columns).unwrap_or(0);
        if n_rows == 0 {
            return Ok(());
        }
        let rows = self.written..self.written + n_rows;
        let failed = |e| Error::hdf5(&self.path, self.dataset.name(), "write", e);
        let shape = |e: ndarray::ShapeError| failed(hdf5::Error::Internal(e.to_string()));
        if self.dtype == Dtype::F32 {
            #[expect(clippy::cast_possible_truncation, reason = "the type was chosen to fit")]
            let values: Vec<f32> = self.pending.iter().map(|&value| value as f32).collect();
            let values = ndarray::Array2::from_shape_vec([n_rows, n_columns], values).map_err(shape)?;
            self.dataset.write_slice(&values, (rows.clone(), ..)).map_err(failed)?;
        } else {
            let values =
                ndarray::ArrayView2::from_shape([n_rows, n_columns], &self.pending).map_err(shape)?;
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
        flush(&self.dataset)
    }
}
