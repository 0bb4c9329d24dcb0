//! A run of compressed rows on its way from a file to the store.

use std::ops::Range;

/// Types that entries come in.
pub trait Number: Copy + Send + Sync {
    /// The same number; exact.
    fn to_f64(self) -> f64;
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Number for $type {
            #[inline]
            fn to_f64(self) -> f64 {
                self.into()
            }
        }
    )*};
}
numbers!(u32, f32, f64);

/// Consecutive compressed rows of a matrix: validated, every row's indices strictly increasing,
/// every value finite and greater than zero (or, from a source opened for any finite values, other than zero).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowBlock<V = f64> {
    /// Offsets of the rows in `indices` and `values`; starts at 0, one longer than the rows.
    pub indptr: Vec<usize>,
    /// Positions on the minor axis.
    pub indices: Vec<u32>,
    /// The entries. `f64` holds every count below 2^53 and every f32 exactly.
    pub values: Vec<V>,
}

/// Indices and values of some rows.
pub type PartMut<'a, V> = (&'a mut [u32], &'a mut [V]);

impl<V> RowBlock<V> {
    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.indptr.len().saturating_sub(1)
    }

    /// The number of stored entries.
    pub fn nnz(&self) -> usize {
        self.indices.len()
    }

    /// Appends an entry to the row that [`RowBlock::end_row`] will end.
    #[inline]
    pub fn push(&mut self, index: u32, value: V) {
        self.indices.push(index);
        self.values.push(value);
    }

    /// Ends a row: what was appended since the last one. Offsets must have been started with a 0.
    pub fn end_row(&mut self) {
        self.indptr.push(self.indices.len());
    }

    /// Puts the rows of all parts together.
    pub fn concat(mut parts: Vec<Self>) -> Self
    where
        V: Copy,
    {
        if parts.len() == 1
            && let Some(part) = parts.pop()
        {
            return part;
        }
        let nnz = parts.iter().map(Self::nnz).sum();
        let (indices, values) = (Vec::with_capacity(nnz), Vec::with_capacity(nnz));
        let mut whole = Self { indptr: vec![0], indices, values };
        for part in &parts {
            let begin = whole.nnz();
            whole.indices.extend_from_slice(&part.indices);
            whole.values.extend_from_slice(&part.values);
            whole.indptr.extend(part.indptr[1..].iter().map(|offset| begin + offset));
        }
        whole
    }

    /// The offsets; and indices and values, to be changed on several threads, of runs of rows each of which begins where the one
    /// before ends, the first with row 0.
    pub fn split_mut(&mut self, runs: &[Range<usize>]) -> (&[usize], Vec<PartMut<'_, V>>) {
        let (mut indices, mut values) = (&mut self.indices[..], &mut self.values[..]);
        let mut parts = Vec::with_capacity(runs.len());
        for run in runs {
            let nnz = self.indptr[run.end] - self.indptr[run.start];
            let (of_indices, of_values) = (indices.split_at_mut(nnz), values.split_at_mut(nnz));
            parts.push((of_indices.0, of_values.0));
            (indices, values) = (of_indices.1, of_values.1);
        }
        (&self.indptr, parts)
    }

    /// The indices and values of row `row` of this block.
    pub fn row(&self, row: usize) -> (&[u32], &[V]) {
        self.rows(row..row + 1)
    }

    /// The indices and values of some rows, one after the other.
    pub fn rows(&self, rows: Range<usize>) -> (&[u32], &[V]) {
        let span = self.indptr[rows.start]..self.indptr[rows.end];
        (&self.indices[span.clone()], &self.values[span])
    }

    /// The same rows with values of another type.
    pub fn convert<W: From<V>>(self) -> RowBlock<W> {
        let Self { indptr, indices, values } = self;
        RowBlock { indptr, indices, values: values.into_iter().map(W::from).collect() }
    }

    /// Cuts the rows into runs of about `entries` entries, and of as many rows at most.
    pub fn split(&self, entries: usize) -> Vec<Range<usize>> {
        let n_rows = self.n_rows();
        let mut tasks = Vec::new();
        let mut start = 0;
        for row in 0..n_rows {
            if self.indptr[row + 1] - self.indptr[start] >= entries
                || row + 1 - start >= entries
                || row + 1 == n_rows
            {
                tasks.push(start..row + 1);
                start = row + 1;
            }
        }
        tasks
    }
}

/// Rows as a source hands them out.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Counts below 2^32 - 1: half the bytes, and sums that are exact in any order.
    Counts(RowBlock<u32>),
    /// Values that stand in the file as 32-bit reals, or shorter ones: half the bytes as well.
    Singles(RowBlock<f32>),
    /// Any values.
    Reals(RowBlock),
}

impl Block {
    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        match self {
            Self::Counts(block) => block.n_rows(),
            Self::Singles(block) => block.n_rows(),
            Self::Reals(block) => block.n_rows(),
        }
    }

    /// The number of stored entries.
    pub fn nnz(&self) -> usize {
        match self {
            Self::Counts(block) => block.nnz(),
            Self::Singles(block) => block.nnz(),
            Self::Reals(block) => block.nnz(),
        }
    }

    /// The same rows with real values.
    pub fn into_reals(self) -> RowBlock {
        match self {
            Self::Counts(block) => block.convert(),
            Self::Singles(block) => block.convert(),
            Self::Reals(block) => block,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_cover_every_row_once() {
        let block = |indptr| RowBlock::<f64> { indptr, ..RowBlock::default() };
        let tasks = block((0..=500).map(|row| row * 1000).collect()).split(1 << 16);
        assert_eq!(tasks.iter().map(ExactSizeIterator::len).sum::<usize>(), 500);
        assert!(tasks.len() > 5);
        assert!(tasks.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(block(vec![0]).split(1).is_empty());
    }
}
