//! Mapping a store and reading its rows.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::mmap::Map;
use super::write::Summary;
use crate::error::{Error, Result};
use crate::io::{Dtype, InPlace, RawArray};
use crate::matrix::Major;

/// A memory-mapped sparse matrix, one compressed row per sample.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    map: Map,
    indptr: RawArray,
    indices: RawArray,
    data: RawArray,
    major: Major,
    n_rows: usize,
    n_cols: usize,
    summary: Summary,
}

/// The entries of one row, appended to by [`Store::read_row`].
#[derive(Clone, Debug, Default)]
pub struct RowEntries {
    /// Positions on the minor axis, as stored.
    pub indices: Vec<u32>,
    /// The stored values.
    pub values: Vec<f32>,
}

impl RowEntries {
    /// Removes all entries, keeping the allocation.
    pub fn clear(&mut self) {
        self.indices.clear();
        self.values.clear();
    }
}

impl Store {
    /// Maps the arrays at `place`. `summary` is what a pass over the same entries found.
    pub(super) fn map(
        place: &InPlace,
        major: Major,
        n_cols: usize,
        summary: Summary,
    ) -> Result<Self> {
        let map = Map::open(&place.path)?;
        let file_bytes = map.bytes().len() as u64;
        for (name, array) in [("indptr", place.indptr), ("indices", place.indices), ("data", place.data)] {
            let end = array.len.checked_mul(array.dtype.size() as u64).and_then(|n| n.checked_add(array.offset));
            if end.is_none_or(|end| end > file_bytes) {
                return Err(Error::input(
                    &place.path,
                    name,
                    format!("{} elements inside the file", array.len),
                    format!("a file of {file_bytes} bytes"),
                    "the file is incomplete: make or download it again",
                ));
            }
        }
        let n_rows = place.indptr.len.saturating_sub(1) as usize;
        Ok(Self {
            path: place.path.clone(),
            map,
            indptr: place.indptr,
            indices: place.indices,
            data: place.data,
            major,
            n_rows,
            n_cols,
            summary,
        })
    }

    /// The file that is mapped.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which axis a row stands for.
    pub fn major(&self) -> Major {
        self.major
    }

    /// The number of rows (samples).
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The number of columns (features, before unobserved ones are left out).
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// The number of cells.
    pub fn n_cells(&self) -> usize {
        if self.major == Major::Cells { self.n_rows } else { self.n_cols }
    }

    /// The number of genes.
    pub fn n_genes(&self) -> usize {
        if self.major == Major::Genes { self.n_rows } else { self.n_cols }
    }

    /// What is known of the entries.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Bytes of the three arrays on disk.
    pub fn array_bytes(&self) -> u64 {
        [self.indptr, self.indices, self.data].iter().map(|a| a.len * a.dtype.size() as u64).sum()
    }

    /// The element type of the entries.
    pub fn data_dtype(&self) -> Dtype {
        self.data.dtype
    }

    /// The entries of row `row`, as a range of entry numbers.
    ///
    /// # Errors
    /// When the file was changed since it was checked.
    pub fn row_span(&self, row: usize) -> Result<Range<usize>> {
        let begin = integer_at(self.array(self.indptr), self.indptr.dtype, row);
        let end = integer_at(self.array(self.indptr), self.indptr.dtype, row + 1);
        if begin > end || end > self.data.len {
            return Err(self.changed(format!("row {row}")));
        }
        Ok(begin as usize..end as usize)
    }

    /// The number of entries of row `row`.
    pub fn row_nnz(&self, row: usize) -> Result<usize> {
        self.row_span(row).map(|span| span.len())
    }

    /// Appends the entries of row `row` to `out`. Every index is below [`Store::n_cols`].
    ///
    /// # Errors
    /// When the file was changed since it was checked.
    pub fn read_row(&self, row: usize, out: &mut RowEntries) -> Result<()> {
        let span = self.row_span(row)?;
        let first = out.indices.len();
        let index_bytes = self.elements(self.indices, span.clone());
        let dtype = self.indices.dtype;
        out.indices.extend(
            (0..span.len()).map(|k| u32::try_from(integer_at(index_bytes, dtype, k)).unwrap_or(u32::MAX)),
        );
        let n_cols = self.n_cols;
        if out.indices[first..].iter().any(|&index| index as usize >= n_cols) {
            return Err(self.changed(format!("row {row}")));
        }
        extend_f32(self.elements(self.data, span), self.data.dtype, &mut out.values);
        Ok(())
    }

    /// The raw little-endian bytes of the values of `span` and the size of one.
    pub(super) fn data_bytes(&self, span: Range<usize>) -> (&[u8], usize) {
        (self.elements(self.data, span), self.data.dtype.size())
    }

    /// The raw little-endian bytes of the indices of `span` and their type.
    pub(super) fn index_bytes(&self, span: Range<usize>) -> (&[u8], Dtype) {
        (self.elements(self.indices, span), self.indices.dtype)
    }

    fn array(&self, array: RawArray) -> &[u8] {
        let begin = array.offset as usize;
        &self.map.bytes()[begin..begin + array.len as usize * array.dtype.size()]
    }

    fn elements(&self, array: RawArray, span: Range<usize>) -> &[u8] {
        let size = array.dtype.size();
        &self.array(array)[span.start * size..span.end * size]
    }

    fn changed(&self, object: String) -> Error {
        Error::input(
            &self.path,
            object,
            "the entries that were checked when the run began",
            "others",
            "the file was changed by another program during the run: start again",
        )
    }
}

/// Element `k` of a little-endian integer array; a negative value becomes `u64::MAX`.
pub(super) fn integer_at(bytes: &[u8], dtype: Dtype, k: usize) -> u64 {
    macro_rules! element {
        ($t:ty) => {{
            const SIZE: usize = size_of::<$t>();
            let mut raw = [0; SIZE];
            raw.copy_from_slice(&bytes[k * SIZE..][..SIZE]);
            u64::try_from(<$t>::from_le_bytes(raw)).unwrap_or(u64::MAX)
        }};
    }
    match dtype {
        Dtype::I8 => element!(i8),
        Dtype::I16 => element!(i16),
        Dtype::I32 => element!(i32),
        Dtype::I64 => element!(i64),
        Dtype::U8 => element!(u8),
        Dtype::U16 => element!(u16),
        Dtype::U32 => element!(u32),
        Dtype::U64 => element!(u64),
        Dtype::F16 | Dtype::F32 | Dtype::F64 => u64::MAX,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the network computes in f32")]
fn extend_f32(bytes: &[u8], dtype: Dtype, out: &mut Vec<f32>) {
    macro_rules! convert {
        ($t:ty, $to_f32:expr) => {{
            let elements = bytes.as_chunks::<{ size_of::<$t>() }>().0;
            out.extend(elements.iter().map(|raw| $to_f32(<$t>::from_le_bytes(*raw))));
        }};
    }
    match dtype {
        Dtype::I8 => convert!(i8, f32::from),
        Dtype::I16 => convert!(i16, f32::from),
        Dtype::I32 => convert!(i32, |x| x as f32),
        Dtype::I64 => convert!(i64, |x| x as f32),
        Dtype::U8 => convert!(u8, f32::from),
        Dtype::U16 => convert!(u16, f32::from),
        Dtype::U32 => convert!(u32, |x| x as f32),
        Dtype::U64 => convert!(u64, |x| x as f32),
        Dtype::F16 => convert!(half::f16, half::f16::to_f32),
        Dtype::F32 => convert!(f32, |x| x),
        Dtype::F64 => convert!(f64, |x| x as f32),
    }
}
