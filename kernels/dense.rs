//! Borrowed dense matrices: whole slices, or some of their columns, or their transpose.

use std::ops::Range;

use crate::table::size;

/// A row-major matrix over a borrowed slice, possibly some columns of a wider one, possibly transposed.
#[derive(Clone, Copy, Debug)]
pub struct DenseView<'a> {
    data: &'a [f32],
    n_rows: usize,
    n_cols: usize,
    stride: usize,
    transposed: bool,
}

/// A row-major matrix over a borrowed slice that is written to.
#[derive(Debug)]
pub struct DenseViewMut<'a> {
    data: &'a mut [f32],
    n_rows: usize,
    n_cols: usize,
}

impl<'a> DenseView<'a> {
    /// All of `data: n_rows × n_cols`.
    ///
    /// # Panics
    /// If the length is another.
    #[must_use]
    #[track_caller]
    pub fn new(data: &'a [f32], n_rows: usize, n_cols: usize) -> Self {
        assert_eq!(data.len(), size(n_rows, n_cols), "data is not {n_rows} × {n_cols}");
        Self { data, n_rows, n_cols, stride: n_cols, transposed: false }
    }

    /// Some columns.
    ///
    /// # Panics
    /// If the range goes beyond the columns.
    #[must_use]
    #[track_caller]
    pub fn columns(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.n_cols, "columns {range:?} of {}", self.n_cols);
        let step = if self.transposed { self.stride } else { 1 };
        let start = size(range.start, step).min(self.data.len());
        Self { data: &self.data[start..], n_cols: range.len(), ..self }
    }

    /// The transpose.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { n_rows: self.n_cols, n_cols: self.n_rows, transposed: !self.transposed, ..self }
    }

    /// Number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Number of columns.
    #[must_use]
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// The element at (row, col).
    pub(crate) fn at(&self, row: usize, col: usize) -> f32 {
        let (row, col) = if self.transposed { (col, row) } else { (row, col) };
        self.data[row * self.stride + col]
    }

    /// # Panics
    /// If an element is outside the slice, which no constructor allows: for those who pass pointers on.
    pub(crate) fn assert_within(&self) {
        let (rows, cols) =
            if self.transposed { (self.n_cols, self.n_rows) } else { (self.n_rows, self.n_cols) };
        if rows > 0 && cols > 0 {
            let fits = cols <= self.stride && size(rows - 1, self.stride) + cols <= self.data.len();
            assert!(fits, "the view exceeds its slice");
        }
    }

    /// The slice from the first element on, the distance between stored rows, and whether those are the
    /// view's columns.
    pub(crate) fn parts(&self) -> (&'a [f32], usize, bool) {
        (self.data, self.stride, self.transposed)
    }
}

impl<'a> DenseViewMut<'a> {
    /// All of `data: n_rows × n_cols`.
    ///
    /// # Panics
    /// If the length is another.
    #[must_use]
    #[track_caller]
    pub fn new(data: &'a mut [f32], n_rows: usize, n_cols: usize) -> Self {
        assert_eq!(data.len(), size(n_rows, n_cols), "data is not {n_rows} × {n_cols}");
        Self { data, n_rows, n_cols }
    }

    /// Number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Number of columns.
    #[must_use]
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    pub(crate) fn data(&mut self) -> &mut [f32] {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_transposes_address_the_same_elements() {
        let data: Vec<f32> = (0_u8..12).map(f32::from).collect();
        let view = DenseView::new(&data, 3, 4).columns(1..3);
        assert_eq!((view.n_rows(), view.n_cols()), (3, 2));
        assert_eq!((view.at(0, 0), view.at(2, 1)), (1.0, 10.0));
        let transposed = view.transposed();
        assert_eq!((transposed.n_rows(), transposed.n_cols()), (2, 3));
        assert_eq!(transposed.at(1, 2), 10.0);
        let last = transposed.columns(1..3);
        assert_eq!((last.n_rows(), last.n_cols()), (2, 2));
        assert_eq!((last.at(0, 0), last.at(1, 1)), (5.0, 10.0));
        assert_eq!(transposed.columns(3..3).n_cols(), 0);
    }

    #[test]
    #[should_panic(expected = "columns 1..5 of 4")]
    fn columns_are_checked() {
        let _ = DenseView::new(&[0.0; 12], 3, 4).columns(1..5);
    }
}
