//! Mapping a store and reading its rows.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::mmap::Map;
use super::write::Summary;
use crate::error::{Error, Result};
use crate::hdf::to_usize;
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

/// The entries of one row, appended to by [`Store::read_row`] and [`Store::read_exact_row`].
#[derive(Clone, Debug, Default)]
pub struct RowEntries<V = f32> {
    /// Positions on the minor axis, as stored.
    pub indices: Vec<u32>,
    /// The stored values.
    pub values: Vec<V>,
}

impl<V> RowEntries<V> {
    /// Removes all entries, keeping the allocation.
    pub fn clear(&mut self) {
        self.indices.clear();
        self.values.clear();
    }
}

impl Store {
    /// Maps the arrays at `place`. `summary` is what a pass over the same entries found.
    pub(super) fn map(place: &InPlace, major: Major, n_cols: usize, summary: Summary) -> Result<Self> {
        let map = Map::open(&place.path)?;
        let file_bytes = map.bytes().len() as u64;
        for (name, array) in [("indptr", place.indptr), ("indices", place.indices), ("data", place.data)] {
            let end =
                array.len.checked_mul(array.dtype.size() as u64).and_then(|n| n.checked_add(array.offset));
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
        let n_rows = to_usize(place.indptr.len.saturating_sub(1));
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

    /// The file got another name.
    pub(super) fn rename(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// The bytes of offsets, indices and values.
    pub(super) fn arrays(&self) -> (&[u8], &[u8], &[u8]) {
        (self.array(self.indptr), self.array(self.indices), self.array(self.data))
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

    /// What is known of the entries.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The entries of row `row`, as a range of entry numbers.
    ///
    /// # Errors
    /// When the file was changed since it was checked.
    pub fn row_span(&self, row: usize) -> Result<Range<usize>> {
        let begin = integer_at(self.array(self.indptr), self.indptr.dtype, row);
        let end = integer_at(self.array(self.indptr), self.indptr.dtype, row + 1);
        if begin > end || end > self.data.len {
            return Err(Error::changed(&self.path, format!("row {row}")));
        }
        Ok(to_usize(begin)..to_usize(end))
    }

    /// Appends the entries of row `row` to `out`. Every index is below [`Store::n_cols`].
    ///
    /// # Errors
    /// When the file was changed since it was checked.
    pub fn read_row(&self, row: usize, out: &mut RowEntries) -> Result<()> {
        let span = self.read_columns(row, &mut out.indices)?;
        extend_f32(self.elements(self.data, span), self.data.dtype, &mut out.values);
        Ok(())
    }

    /// [`Store::read_row`] without rounding: 32-bit numbers have no place for counts above 2^24.
    ///
    /// # Errors
    /// When the file was changed since it was checked.
    pub fn read_exact_row(&self, row: usize, out: &mut RowEntries<f64>) -> Result<()> {
        let span = self.read_columns(row, &mut out.indices)?;
        extend_f64(self.elements(self.data, span), self.data.dtype, &mut out.values);
        Ok(())
    }

    /// Appends the columns of the entries of row `row`, every one below [`Store::n_cols`], and returns where the entries
    /// lie.
    ///
    /// # Errors
    /// When the file was changed since it was checked.
    pub fn read_columns(&self, row: usize, out: &mut Vec<u32>) -> Result<Range<usize>> {
        let span = self.row_span(row)?;
        let first = out.len();
        extend_indices(self.elements(self.indices, span.clone()), self.indices.dtype, out);
        let n_cols = self.n_cols;
        // Looks at every index, which vectorises.
        if out[first..].iter().fold(false, |bad, &index| bad | (index as usize >= n_cols)) {
            return Err(Error::changed(&self.path, format!("row {row}")));
        }
        Ok(span)
    }

    /// The type of the values.
    pub fn dtype(&self) -> Dtype {
        self.data.dtype
    }

    /// The raw little-endian bytes of the values of `span` and their type.
    pub(super) fn data_bytes(&self, span: Range<usize>) -> (&[u8], Dtype) {
        (self.elements(self.data, span), self.data.dtype)
    }

    /// The type of the indices.
    pub(super) fn index_dtype(&self) -> Dtype {
        self.indices.dtype
    }

    /// Bytes of an entry: of its index and its value.
    pub(super) fn entry_bytes(&self) -> usize {
        self.indices.dtype.size() + self.data.dtype.size()
    }

    /// Appends how many entries of the row at `span` stand before each column in `limits`, which increase.
    pub(super) fn find_columns(&self, span: Range<usize>, limits: &[usize], out: &mut Vec<u32>) {
        find_limits(self.elements(self.indices, span), self.indices.dtype, limits, out);
    }

    /// Appends the indices of `span`.
    pub(super) fn extend_indices(&self, span: Range<usize>, out: &mut Vec<u32>) {
        extend_indices(self.elements(self.indices, span), self.indices.dtype, out);
    }

    /// Asks the system to begin reading the entries of `rows`.
    pub fn will_need(&self, rows: Range<usize>) {
        for bytes in self.bytes_of(rows) {
            self.map.will_need(bytes);
        }
    }

    /// Says that the entries of `rows` are not needed for a while: they no longer count as this process's memory.
    pub fn release(&self, rows: Range<usize>) {
        for bytes in self.bytes_of(rows) {
            self.map.release(bytes);
        }
    }

    /// Where indices and values of `rows` lie in the file; nowhere if the file was changed, which reading them will tell.
    fn bytes_of(&self, rows: Range<usize>) -> [Range<usize>; 2] {
        let (Ok(first), Ok(last)) = (self.row_span(rows.start), self.row_span(rows.end.saturating_sub(1)))
        else {
            return [0..0, 0..0];
        };
        [self.indices, self.data].map(|array| {
            let at = |entry: usize| to_usize(array.offset) + entry * array.dtype.size();
            at(first.start)..at(last.end.max(first.start))
        })
    }

    fn array(&self, array: RawArray) -> &[u8] {
        let begin = to_usize(array.offset);
        &self.map.bytes()[begin..begin + to_usize(array.len) * array.dtype.size()]
    }

    fn elements(&self, array: RawArray, span: Range<usize>) -> &[u8] {
        let size = array.dtype.size();
        &self.array(array)[span.start * size..span.end * size]
    }
}

/// Evaluates `$use` with the raw `$elements` of a little-endian array and the function that `$read`s one.
macro_rules! with_elements {
    ($bytes:expr, $dtype:expr, $elements:ident, $read:ident => $use:expr) => {{
        macro_rules! typed {
            ($t:ty) => {{
                let $elements = $bytes.as_chunks::<{ size_of::<$t>() }>().0;
                let $read = <$t>::from_le_bytes;
                $use
            }};
        }
        match $dtype {
            Dtype::I8 => typed!(i8),
            Dtype::I16 => typed!(i16),
            Dtype::I32 => typed!(i32),
            Dtype::I64 => typed!(i64),
            Dtype::U8 => typed!(u8),
            Dtype::U16 => typed!(u16),
            Dtype::U32 => typed!(u32),
            Dtype::U64 => typed!(u64),
            Dtype::F16 => typed!(half::f16),
            Dtype::F32 => typed!(f32),
            Dtype::F64 => typed!(f64),
        }
    }};
}

/// Conversions that `as` would do, for `half::f16` as well.
trait Element: Copy {
    fn to_f64(self) -> f64;
    fn to_index(self) -> u64;
}

macro_rules! element {
    ($($t:ty)*) => {$(
        impl Element for $t {
            #[allow(clippy::cast_lossless, clippy::cast_precision_loss, reason = "one body for all types")]
            fn to_f64(self) -> f64 {
                self as f64
            }

            fn to_index(self) -> u64 {
                u64::try_from(self).unwrap_or(u64::MAX)
            }
        }
    )*};
}

element!(i8 i16 i32 i64 u8 u16 u32 u64);

macro_rules! real_element {
    ($($t:ty)*) => {$(
        impl Element for $t {
            fn to_f64(self) -> f64 {
                self.into()
            }

            fn to_index(self) -> u64 {
                u64::MAX
            }
        }
    )*};
}

real_element!(half::f16 f32 f64);

/// Element `k` of a little-endian integer array; `u64::MAX` when it is negative or not an integer.
pub(super) fn integer_at(bytes: &[u8], dtype: Dtype, k: usize) -> u64 {
    with_elements!(bytes, dtype, elements, read => read(elements[k]).to_index())
}

/// Appends how many elements of a sorted little-endian integer array are below each of `limits`, which increase.
/// Looks at all of them one after the other: that memory can keep up with, unlike with jumps.
fn find_limits(bytes: &[u8], dtype: Dtype, limits: &[usize], out: &mut Vec<u32>) {
    with_elements!(bytes, dtype, elements, read => {
        let mut begin = 0;
        for &limit in limits {
            let rest = &elements[begin..];
            begin += rest.iter().take_while(|raw| read(**raw).to_index() < limit as u64).count();
            out.push(u32::try_from(begin).unwrap_or(u32::MAX));
        }
    });
}

/// Element `k` of a little-endian array.
pub(super) fn value_at(bytes: &[u8], dtype: Dtype, k: usize) -> f64 {
    with_elements!(bytes, dtype, elements, read => read(elements[k]).to_f64())
}

/// Appends all elements of a little-endian integer array; `u32::MAX` stands for what does not fit.
fn extend_indices(bytes: &[u8], dtype: Dtype, out: &mut Vec<u32>) {
    with_elements!(bytes, dtype, elements, read => out.extend(
        elements.iter().map(|raw| u32::try_from(read(*raw).to_index()).unwrap_or(u32::MAX))
    ));
}

/// Appends all elements of a little-endian array.
#[expect(clippy::cast_possible_truncation, reason = "the network computes in f32")]
fn extend_f32(bytes: &[u8], dtype: Dtype, out: &mut Vec<f32>) {
    with_elements!(bytes, dtype, elements, read => out.extend(elements.iter().map(|raw| read(*raw).to_f64() as f32)));
}

/// Appends all elements of a little-endian array.
fn extend_f64(bytes: &[u8], dtype: Dtype, out: &mut Vec<f64>) {
    with_elements!(bytes, dtype, elements, read => out.extend(elements.iter().map(|raw| read(*raw).to_f64())));
}
