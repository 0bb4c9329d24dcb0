//! A run of compressed rows on its way from a file to the store.

/// Consecutive compressed rows of a matrix: validated, every row's indices strictly increasing,
/// every value finite and greater than zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowBlock {
    /// Offsets of the rows in `indices` and `values`; starts at 0, one longer than the rows.
    pub indptr: Vec<usize>,
    /// Positions on the minor axis.
    pub indices: Vec<u32>,
    /// The entries. `f64` holds every count below 2^53 and every f32 exactly.
    pub values: Vec<f64>,
}

impl RowBlock {
    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.indptr.len().saturating_sub(1)
    }

    /// The number of stored entries.
    pub fn nnz(&self) -> usize {
        self.indices.len()
    }

    /// The indices and values of row `row` of this block.
    pub fn row(&self, row: usize) -> (&[u32], &[f64]) {
        let span = self.indptr[row]..self.indptr[row + 1];
        (&self.indices[span.clone()], &self.values[span])
    }
}
