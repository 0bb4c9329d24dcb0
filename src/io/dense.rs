//! Dense matrices, of one dataset or several side by side, read in bands of rows; zeros are dropped.

use std::ops::Range;

use rayon::prelude::*;

use super::entry::{Entry, value_fault};
use super::stream::{Names, stream};
use super::{Dtype, Tally};
use crate::budget::MOST_BLOCK_BYTES;
use crate::error::{Error, Result};
use crate::hdf::{HdfFile, KEPT_BYTES, NumericArray};
use crate::matrix::{Block, RowBlock};

/// Elements of a band, unless the chunks are taller.
const BAND_ELEMENTS: usize = 2 << 20;
/// Elements up to which a band grows to hold whole chunks; of taller ones some are kept inflated, others are inflated repeatedly.
const MAX_BAND_ELEMENTS: usize = 4 << 20;
/// What an element takes at most, where nothing is zero: as a number, as part of a tile and of a band put together, and
/// twice (one band is read ahead) as part of a block and of its conversion to f64.
const BYTES_PER_ELEMENT: u64 = 3 * 8 + 2 * 24;
const _: () = assert!(MAX_BAND_ELEMENTS as u64 * BYTES_PER_ELEMENT + KEPT_BYTES <= MOST_BLOCK_BYTES);
/// Elements that one task checks or compresses.
const TASK_ELEMENTS: usize = BAND_ELEMENTS / 16;

/// A dense matrix.
pub(super) struct Dense {
    parts: Vec<Part>,
    n_rows: usize,
    n_columns: usize,
    missing: Missing,
}

/// A dataset that holds some columns of a matrix.
pub(super) struct Part {
    pub(super) array: NumericArray,
    /// Whether its columns are rows of the matrix.
    pub(super) across: bool,
    /// Which columns of the matrix it holds; all of them in order if not given.
    pub(super) targets: Option<Vec<usize>>,
}

/// What is done with NaN, by which some programs mean that there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is an error.
    Refused,
    /// It is an error that names this option.
    RefusedUnless(&'static str),
    /// It is read as zero.
    Zero,
}

impl Dense {
    /// Opens a dataset whose rows are those of the matrix.
    pub(super) fn open(file: &HdfFile, name: &str, n_rows: usize, n_columns: usize) -> Result<Self> {
        let array = NumericArray::open(file, name)?;
        if array.dims() != [n_rows, n_columns] {
            let expected = format!("shape [{n_rows}, {n_columns}], as the axes");
            let found = format!("{:?}", array.dims());
            return Err(array.problem(expected, found, "write the file again with the tool that made it"));
        }
        let part = Part { array, across: false, targets: None };
        Self::of(vec![part], [n_rows, n_columns], Missing::Refused)
    }

    /// Puts parts together, which must be of two dimensions and fill the `shape` (rows, columns) of the matrix.
    pub(super) fn of(parts: Vec<Part>, shape: [usize; 2], missing: Missing) -> Result<Self> {
        let [n_rows, n_columns] = shape;
        match parts.first() {
            Some(part) if u32::try_from(n_columns).is_err() => {
                let found = n_columns.to_string();
                Err(part.array.problem("fewer than 2^32 columns", found, "split the matrix"))
            }
            _ => Ok(Self { parts, n_rows, n_columns, missing }),
        }
    }

    pub(super) fn elements(&self) -> u64 {
        self.n_rows as u64 * self.n_columns as u64
    }

    pub(super) fn describe(&self) -> Vec<(String, String)> {
        self.parts.iter().map(|part| (part.array.name().to_owned(), part.array.describe())).collect()
    }

    pub(super) fn for_each_block(
        &self,
        names: &Names<'_>,
        consume: &mut dyn FnMut(Block, &Tally) -> Result<()>,
    ) -> Result<Tally> {
        let chunk = self.parts.iter().filter_map(Part::chunk).max();
        let step = band_rows(self.n_columns, chunk);
        let bands: Vec<_> =
            (0..self.n_rows).step_by(step).map(|row| row..self.n_rows.min(row + step)).collect();
        stream(&bands, |rows| self.read_band(rows, names), consume)
    }

    /// Reads rows as the narrowest type that holds what is in them.
    fn read_band(&self, rows: Range<usize>, names: &Names<'_>) -> Result<(Block, Tally)> {
        let all = |is: fn(Dtype) -> bool| self.parts.iter().all(|part| is(part.array.dtype()));
        if all(Dtype::is_single) {
            let (block, tally) = self.read_as(&rows, names)??;
            return Ok((Block::Singles(block), tally));
        }
        // Larger counts, and what is none, are told by the second reading.
        if all(|dtype| !dtype.is_real())
            && let Ok((block, tally)) = self.read_as(&rows, names)?
        {
            return Ok((Block::Counts(block), tally));
        }
        let (block, tally) = self.read_as(&rows, names)??;
        Ok((Block::Reals(block), tally))
    }

    /// The inner error is that of a value.
    fn read_as<V: Entry>(
        &self,
        rows: &Range<usize>,
        names: &Names<'_>,
    ) -> Result<Result<(RowBlock<V>, Tally)>> {
        let mut tally = Tally::default();
        if self.n_columns == 0 {
            return Ok(Ok((RowBlock { indptr: vec![0; rows.len() + 1], ..RowBlock::default() }, tally)));
        }
        let mut band = Vec::new();
        for part in &self.parts {
            let mut values = part.read(rows)?;
            match part.check(&mut values, rows.start, self.missing, names) {
                Ok(missing) => tally.missing += missing,
                Err(fault) => return Ok(Err(fault)),
            }
            match &part.targets {
                None => band = values,
                Some(targets) if !targets.is_empty() => {
                    band.resize(rows.len() * self.n_columns, V::default());
                    let pairs = band.par_chunks_mut(self.n_columns).zip(values.par_chunks(targets.len()));
                    pairs.for_each(|(row, values)| {
                        targets.iter().zip(values).for_each(|(&column, &value)| row[column] = value);
                    });
                }
                Some(_) => {}
            }
        }
        let block = compress(&band, self.n_columns);
        tally.nnz = block.nnz() as u64;
        Ok(Ok((block, tally)))
    }
}

impl Part {
    /// Rows of the matrix in a chunk.
    fn chunk(&self) -> Option<usize> {
        if self.across { self.array.chunk_columns() } else { self.array.chunk_rows() }
    }

    /// Reads the values of some rows of the matrix, row by row.
    fn read<V: Entry>(&self, rows: &Range<usize>) -> Result<Vec<V>> {
        if self.across { self.array.read_columns(rows.clone()) } else { self.array.read(rows.clone()) }
    }

    /// Checks the values of rows from `first_row` on, and counts the missing ones.
    fn check<V: Entry>(
        &self,
        values: &mut [V],
        first_row: usize,
        missing: Missing,
        names: &Names<'_>,
    ) -> Result<u64> {
        let rule = names.rule(self.array.dtype());
        let check = |values: &mut [V]| {
            let is_right = |value: V| value.is_zero() | value.is_clean(rule);
            // Without early exit, so that the loop vectorises.
            if values.iter().fold(true, |right, &value| right & is_right(value)) {
                return (None, 0);
            }
            let mut n_missing = 0;
            if missing == Missing::Zero {
                for value in values.iter_mut().filter(|value| value.to_f64().is_nan()) {
                    *value = V::default();
                    n_missing += 1;
                }
            }
            (values.iter().position(|&value| !is_right(value)), n_missing)
        };
        let results: Vec<_> = values.par_chunks_mut(TASK_ELEMENTS).map(check).collect();
        for (task, (fault, _)) in results.iter().enumerate() {
            if let Some(place) = fault {
                let place = task * TASK_ELEMENTS + place;
                return Err(self.fault(place, values[place], first_row, missing, names));
            }
        }
        Ok(results.iter().map(|(_, missing)| missing).sum())
    }

    /// The error of a value, the one at `place` of a band that begins with row `first_row`.
    fn fault<V: Entry>(
        &self,
        place: usize,
        value: V,
        first_row: usize,
        missing: Missing,
        names: &Names<'_>,
    ) -> Error {
        let width = if self.across { self.array.n_rows() } else { self.array.n_columns() };
        let (row, own) = (first_row + place / width, place % width);
        let column = self.targets.as_ref().map_or(own, |targets| targets[own]);
        let (first, second) = if self.across { (own, row) } else { (row, own) };
        let position = format!("{}[{first}, {second}]", self.array.name());
        let object = format!("{position}, {}, {}", names.row(row), names.column(column));
        let expected = value_fault(value, names.rule(self.array.dtype())).unwrap_or("another value");
        let remedy = match missing {
            Missing::RefusedUnless(option) if value.to_f64().is_nan() => {
                format!("{option} reads missing values as zeros")
            }
            _ => names.remedy.to_owned(),
        };
        Error::input(self.array.path(), object, expected, value.to_string(), remedy)
    }
}

/// Drops the zeros of rows of `n_columns` each.
fn compress<V: Entry>(band: &[V], n_columns: usize) -> RowBlock<V> {
    let rows_per_task = (TASK_ELEMENTS / n_columns).max(1);
    let counts = band.par_chunks(n_columns).with_min_len(rows_per_task);
    let counts = counts.map(|row| row.iter().map(|value| usize::from(!value.is_zero())).sum());
    let mut indptr: Vec<usize> = counts.collect();
    indptr.insert(0, 0);
    for row in 1..indptr.len() {
        indptr[row] += indptr[row - 1];
    }
    let n_rows = indptr.len() - 1;
    let nnz = indptr[n_rows];
    let mut block = RowBlock { indptr, indices: vec![0; nnz], values: vec![V::default(); nnz] };
    let tasks: Vec<_> =
        (0..n_rows).step_by(rows_per_task).map(|row| row..n_rows.min(row + rows_per_task)).collect();
    let (_, parts) = block.split_mut(&tasks);
    band.par_chunks(rows_per_task * n_columns).zip(parts).for_each(|(rows, (indices, values))| {
        let mut place = 0;
        for row in rows.chunks_exact(n_columns) {
            for (column, &value) in (0_u32..).zip(row) {
                // Without a branch on what is zero: a zero is written over by what follows.
                if let (Some(to_index), Some(to_value)) = (indices.get_mut(place), values.get_mut(place)) {
                    (*to_index, *to_value) = (column, value);
                }
                place += usize::from(!value.is_zero());
            }
        }
    });
    block
}

/// Whether a band as high as a chunk of `chunk_rows` may hold all `n_columns`.
pub(super) fn fits_band(chunk_rows: usize, n_columns: usize) -> bool {
    chunk_rows.saturating_mul(n_columns) <= MAX_BAND_ELEMENTS
}

/// Rows of a band: whole chunks where that stays in bounds.
fn band_rows(n_columns: usize, chunk_rows: Option<usize>) -> usize {
    let rows = (BAND_ELEMENTS / n_columns.max(1)).clamp(1, 1 << 20);
    match chunk_rows {
        Some(chunk) if fits_band(chunk, n_columns) => {
            rows.next_multiple_of(chunk).min((rows / chunk).max(1) * chunk)
        }
        _ => rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_dropped_and_rows_stay() {
        for n_columns in [1, 3, 70, TASK_ELEMENTS + 1] {
            let value = |place: usize| if place % 5 < 2 || place % 70 > 50 { 0.0 } else { place as f64 };
            for n_rows in [0, 1, 5, (3 * TASK_ELEMENTS / n_columns).min(5000)] {
                let band: Vec<f64> = (1..=n_rows * n_columns).map(value).collect();
                let block = compress(&band, n_columns);
                let mut expected = RowBlock { indptr: vec![0], ..RowBlock::default() };
                for row in band.chunks_exact(n_columns) {
                    let entries = (0_u32..).zip(row).filter(|&(_, &value)| value != 0.0);
                    entries.for_each(|(column, &value)| expected.push(column, value));
                    expected.end_row();
                }
                assert!(block == expected, "{n_rows} x {n_columns}");
            }
        }
    }

    #[test]
    fn bands_hold_whole_chunks_while_memory_allows() {
        assert_eq!(band_rows(1000, None), 2097);
        assert_eq!(band_rows(1000, Some(500)), 2000);
        assert_eq!(band_rows(1000, Some(4000)), 4000);
        assert_eq!(band_rows(1000, Some(5000)), 2097);
        assert_eq!(band_rows(100_000, Some(100_000)), 20);
        assert_eq!(band_rows(usize::MAX, None), 1);
        assert_eq!(band_rows(0, None), 1 << 20);
    }
}
