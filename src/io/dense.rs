//! Dense matrices, read in bands of rows; zeros are dropped.

use std::ops::Range;

use rayon::prelude::*;

use super::Tally;
use super::stream::{Names, append, is_storable, stream, value_fault};
use crate::error::{Error, Result};
use crate::hdf::{HdfFile, NumericArray};
use crate::matrix::{Block, RowBlock};

/// Elements of a band, unless the chunks are taller.
const BAND_ELEMENTS: usize = 2 << 20;
/// Elements up to which a band grows to hold whole chunks, which otherwise are inflated repeatedly.
const MAX_BAND_ELEMENTS: usize = 32 << 20;

/// A dense matrix of cells by genes.
pub(super) struct Dense {
    array: NumericArray,
}

impl Dense {
    pub(super) fn open(file: &HdfFile, name: &str, n_rows: usize, n_columns: usize) -> Result<Self> {
        let array = NumericArray::open(file, name)?;
        if array.dims() != [n_rows, n_columns] {
            let expected = format!("shape [{n_rows}, {n_columns}], as the axes");
            let found = format!("{:?}", array.dims());
            return Err(array.problem(expected, found, "write the file again with anndata"));
        }
        if u32::try_from(n_columns).is_err() {
            return Err(array.problem("fewer than 2^32 columns", n_columns.to_string(), "split the matrix"));
        }
        Ok(Self { array })
    }

    pub(super) fn elements(&self) -> u64 {
        self.array.n_rows() as u64 * self.array.n_columns() as u64
    }

    pub(super) fn describe(&self) -> Vec<(String, String)> {
        vec![(self.array.name().to_owned(), self.array.describe())]
    }

    pub(super) fn for_each_block(
        &self,
        names: &Names<'_>,
        consume: &mut dyn FnMut(Block, &Tally) -> Result<()>,
    ) -> Result<Tally> {
        let n_rows = self.array.n_rows();
        let step = band_rows(self.array.n_columns(), self.array.chunk_rows());
        let bands: Vec<_> = (0..n_rows).step_by(step).map(|row| row..n_rows.min(row + step)).collect();
        stream(&bands, |rows| self.read_band(rows, names), consume)
    }

    fn read_band(&self, rows: Range<usize>, names: &Names<'_>) -> Result<(Block, Tally)> {
        let n_columns = self.array.n_columns();
        let mut block = RowBlock { indptr: vec![0], ..RowBlock::default() };
        if n_columns == 0 {
            block.indptr.resize(rows.len() + 1, 0);
            return Ok((Block::Reals(block), Tally::default()));
        }
        let values = self.array.read::<f64>(rows.clone())?;
        let rows_per_task = (BAND_ELEMENTS / 16 / n_columns).max(1);
        let parts: Vec<_> = values
            .par_chunks(rows_per_task * n_columns)
            .enumerate()
            .map(|(task, values)| self.compress(values, rows.start + task * rows_per_task, names))
            .collect();
        for part in parts {
            append(&mut block, &part?);
        }
        let tally = Tally { nnz: block.nnz() as u64, ..Tally::default() };
        Ok((Block::Reals(block), tally))
    }

    fn compress(&self, values: &[f64], first_row: usize, names: &Names<'_>) -> Result<RowBlock> {
        let rule = names.rule(self.array.dtype());
        let mut block = RowBlock { indptr: vec![0], ..RowBlock::default() };
        for (row, values) in values.chunks_exact(self.array.n_columns()).enumerate() {
            for (column, &value) in (0_u32..).zip(values) {
                if is_storable(value, rule) {
                    block.indices.push(column);
                    block.values.push(value);
                } else if let Some(expected) = value_fault(value, rule) {
                    let place = format!("{}, {}", names.row(first_row + row), names.column(column as usize));
                    let object = format!("{}[{}, {column}], {place}", self.array.name(), first_row + row);
                    let found = value.to_string();
                    return Err(Error::input(self.array.path(), object, expected, found, names.remedy));
                }
            }
            block.indptr.push(block.indices.len());
        }
        Ok(block)
    }
}

/// Rows of a band: whole chunks where that stays in bounds.
fn band_rows(n_columns: usize, chunk_rows: Option<usize>) -> usize {
    let rows = (BAND_ELEMENTS / n_columns.max(1)).clamp(1, 1 << 20);
    match chunk_rows {
        Some(chunk) if chunk.saturating_mul(n_columns) <= MAX_BAND_ELEMENTS => {
            rows.next_multiple_of(chunk).min((rows / chunk).max(1) * chunk)
        }
        _ => rows,
    }
}

#[cfg(test)]
mod tests {
    use super::band_rows;

    #[test]
    fn bands_hold_whole_chunks_while_memory_allows() {
        assert_eq!(band_rows(1000, None), 2097);
        assert_eq!(band_rows(1000, Some(500)), 2000);
        assert_eq!(band_rows(1000, Some(5000)), 5000);
        assert_eq!(band_rows(100_000, Some(100_000)), 20);
        assert_eq!(band_rows(usize::MAX, None), 1);
        assert_eq!(band_rows(0, None), 1 << 20);
    }
}
