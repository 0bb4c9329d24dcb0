//! A borrowed sparse matrix whose indices were checked once.

use std::fmt;
use std::ops::Range;

/// A compressed sparse row matrix over borrowed arrays.
///
/// Used as `n_samples × n_features` and, transposed, as `n_features × n_samples`. Construction proves that
/// `indptr` is monotone and within the arrays and that every index is below `n_cols`; the kernels rely on it.
/// Indices need not be sorted; repeated ones add up. `indptr[0]` may exceed 0, so views can share arrays.
#[derive(Clone, Copy, Debug)]
pub struct CsrView<'a> {
    indptr: &'a [usize],
    indices: &'a [u32],
    data: &'a [f32],
    n_cols: usize,
}

/// Why arrays do not form a [`CsrView`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewError {
    /// `indptr` must hold one more value than there are rows.
    IndptrLength {
        /// `n_rows + 1`.
        expected: usize,
        /// `indptr.len()`.
        got: usize,
    },
    /// A row ends before it starts.
    IndptrDecreases {
        /// The row.
        row: usize,
    },
    /// The last row ends beyond the arrays.
    IndptrBeyondData {
        /// The last value of `indptr`.
        end: usize,
        /// The shorter of `indices` and `data`.
        len: usize,
    },
    /// `indices` and `data` differ in length.
    LengthsDiffer {
        /// `indices.len()`.
        indices: usize,
        /// `data.len()`.
        data: usize,
    },
    /// An index is not a column.
    IndexOutOfRange {
        /// Its position in `indices`.
        at: usize,
        /// The index.
        index: u32,
        /// Number of columns.
        n_cols: usize,
    },
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IndptrLength { expected, got } => {
                write!(f, "indptr has {got} values, expected rows + 1 = {expected}")
            }
            Self::IndptrDecreases { row } => write!(f, "indptr decreases at row {row}"),
            Self::IndptrBeyondData { end, len } => {
                write!(f, "indptr ends at {end}, beyond the {len} stored entries")
            }
            Self::LengthsDiffer { indices, data } => write!(f, "{indices} indices but {data} data values"),
            Self::IndexOutOfRange { at, index, n_cols } => {
                write!(f, "index {index} at entry {at} is outside the {n_cols} columns")
            }
        }
    }
}

impl std::error::Error for ViewError {}

impl<'a> CsrView<'a> {
    /// Checks the arrays: `indptr: n_rows + 1`, `indices` and `data` of one length.
    ///
    /// # Errors
    /// The first violation found.
    pub fn new(
        indptr: &'a [usize],
        indices: &'a [u32],
        data: &'a [f32],
        n_rows: usize,
        n_cols: usize,
    ) -> Result<Self, ViewError> {
        let expected = n_rows.saturating_add(1);
        let (true, Some(&start), Some(&end)) = (indptr.len() == expected, indptr.first(), indptr.last())
        else {
            return Err(ViewError::IndptrLength { expected, got: indptr.len() });
        };
        if let Some(row) = indptr.windows(2).position(|pair| pair[0] > pair[1]) {
            return Err(ViewError::IndptrDecreases { row });
        }
        if indices.len() != data.len() {
            return Err(ViewError::LengthsDiffer { indices: indices.len(), data: data.len() });
        }
        let Some(used) = indices.get(start..end) else {
            return Err(ViewError::IndptrBeyondData { end, len: indices.len() });
        };
        // The maximum vectorises; only a failure looks for the culprit.
        let max = used.iter().copied().max();
        if max.is_some_and(|max| max as usize >= n_cols) {
            let at = used.iter().position(|&index| index as usize >= n_cols).unwrap_or(0);
            return Err(ViewError::IndexOutOfRange { at: start + at, index: used[at], n_cols });
        }
        Ok(Self { indptr, indices, data, n_cols })
    }

    /// Number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Number of columns.
    #[must_use]
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Number of stored entries of the rows in view.
    #[must_use]
    pub fn nnz(&self) -> usize {
        self.indptr[self.indptr.len() - 1] - self.indptr[0]
    }

    /// Row offsets into the shared arrays, `n_rows + 1`; the first may exceed 0.
    #[must_use]
    pub fn indptr(&self) -> &'a [usize] {
        self.indptr
    }

    /// Column of each stored entry, in view order.
    #[must_use]
    pub fn indices(&self) -> &'a [u32] {
        &self.indices[self.entries()]
    }

    /// Value of each stored entry, in view order.
    #[must_use]
    pub fn data(&self) -> &'a [f32] {
        &self.data[self.entries()]
    }

    /// Columns and values of one row.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> (&'a [u32], &'a [f32]) {
        let entries = self.indptr[row]..self.indptr[row + 1];
        (&self.indices[entries.clone()], &self.data[entries])
    }

    /// The same matrix restricted to some rows; costs nothing.
    ///
    /// # Panics
    /// If the range goes beyond the rows.
    #[must_use]
    pub fn rows(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.n_rows(),
            "rows {range:?} of {}",
            self.n_rows()
        );
        Self { indptr: &self.indptr[range.start..=range.end], ..*self }
    }

    fn entries(&self) -> Range<usize> {
        self.indptr[0]..self.indptr[self.indptr.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_may_start_inside_shared_arrays() {
        let view = CsrView::new(&[1, 1, 3], &[9, 0, 2, 9], &[9.0, 1.0, 2.0, 9.0], 2, 3).unwrap();
        assert_eq!((view.n_rows(), view.n_cols(), view.nnz()), (2, 3, 2));
        assert_eq!((view.indices(), view.data()), (&[0, 2][..], &[1.0, 2.0][..]));
        assert_eq!(view.row(0), (&[][..], &[][..]));
        assert_eq!(view.row(1), (&[0, 2][..], &[1.0, 2.0][..]));
        let second = view.rows(1..2);
        assert_eq!((second.n_rows(), second.nnz(), second.row(0)), (1, 2, view.row(1)));
        assert_eq!(view.rows(2..2).nnz(), 0);
    }

    #[test]
    fn empty_matrices_are_views() {
        assert_eq!(CsrView::new(&[0], &[], &[], 0, 0).unwrap().nnz(), 0);
        assert_eq!(CsrView::new(&[0, 0], &[], &[], 1, 0).unwrap().nnz(), 0);
    }

    #[test]
    fn broken_arrays_are_refused() {
        let new = |indptr, indices, data| CsrView::new(indptr, indices, data, 1, 2).unwrap_err();
        assert_eq!(new(&[], &[], &[]), ViewError::IndptrLength { expected: 2, got: 0 });
        assert_eq!(new(&[0, 0, 0], &[], &[]), ViewError::IndptrLength { expected: 2, got: 3 });
        assert_eq!(new(&[1, 0], &[0], &[0.0]), ViewError::IndptrDecreases { row: 0 });
        assert_eq!(new(&[0, 2], &[0], &[0.0]), ViewError::IndptrBeyondData { end: 2, len: 1 });
        assert_eq!(new(&[0, 1], &[0], &[]), ViewError::LengthsDiffer { indices: 1, data: 0 });
        let error = new(&[0, 2], &[1, 2], &[0.0; 2]);
        assert_eq!(error, ViewError::IndexOutOfRange { at: 1, index: 2, n_cols: 2 });
        assert_eq!(error.to_string(), "index 2 at entry 1 is outside the 2 columns");
    }
}
