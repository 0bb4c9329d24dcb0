//! Going through the rows of a store in order, in blocks of bounded size, on all threads.

use std::ops::Range;

use crate::error::Result;
use crate::matrix::RowBlock;
use crate::parallel;
use crate::store::{RowEntries, Store};

/// Entries of a block are changed while those of the block before are written: 6 MB for each matrix.
pub const BLOCK_ENTRIES: usize = 1 << 19;
/// A block's rows are dealt to the threads in about so many parts.
const TASKS: usize = 16;

/// The rows of a store, cut into blocks of about `block_entries` entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    pub(super) store: &'a Store,
    pub(super) block_entries: usize,
}

impl Rows<'_> {
    /// Hands what `make` makes of some consecutive rows to `consume`, in the order of the rows. `progress` is told the
    /// entries gone through since it was called last.
    pub(super) fn for_each<R: Send>(
        &self,
        make: impl Fn(Range<usize>) -> Result<R> + Sync,
        mut consume: impl FnMut(R) -> Result<()>,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        let nnz = &self.store.summary().row_nnz;
        let task_entries = self.block_entries.div_ceil(TASKS);
        let make_block = |block: Range<usize>| {
            let parts = parallel::map(cut(nnz, block.clone(), task_entries), &make);
            let entries = nnz[block.clone()].iter().sum::<u64>();
            self.store.release(block);
            (entries, parts)
        };
        let blocks = cut(nnz, 0..nnz.len(), self.block_entries);
        parallel::ahead(blocks, make_block, |(entries, parts)| {
            for part in parts {
                consume(part?)?;
            }
            progress(entries);
            Ok(())
        })
    }

    /// Lets `change(row, its entries, matrices)` append the entries of one row to `n` matrices, and hands their rows on.
    pub(super) fn rewrite(
        &self,
        n: usize,
        change: impl Fn(usize, &RowEntries<f64>, &mut [RowBlock]) + Sync,
        mut consume: impl FnMut(&[RowBlock]) -> Result<()>,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        let make = |rows: Range<usize>| {
            let mut entries = RowEntries::default();
            let mut matrices = vec![RowBlock { indptr: vec![0], ..RowBlock::default() }; n];
            for row in rows {
                entries.clear();
                self.store.read_exact_row(row, &mut entries)?;
                change(row, &entries, &mut matrices);
                matrices.iter_mut().for_each(RowBlock::end_row);
            }
            Ok(matrices)
        };
        self.for_each(make, |matrices| consume(&matrices), progress)
    }
}

/// Cuts `rows`, of which each has `nnz` entries, into runs of about `entries` entries, and of as many rows at most.
fn cut(nnz: &[u64], rows: Range<usize>, entries: usize) -> Vec<Range<usize>> {
    let entries = entries.max(1);
    let mut runs = Vec::new();
    let (mut start, mut held) = (rows.start, 0);
    for row in rows.clone() {
        held += nnz[row];
        if held >= entries as u64 || row + 1 - start >= entries || row + 1 == rows.end {
            runs.push(start..row + 1);
            (start, held) = (row + 1, 0);
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_every_row_once() {
        let nnz: Vec<u64> = (0..1000).map(|row| row * 7919 % 50).collect();
        for (rows, entries) in [(0..1000, 100), (3..500, 1), (7..8, 1000), (0..1000, usize::MAX)] {
            let runs = cut(&nnz, rows.clone(), entries);
            assert!(runs.iter().cloned().flatten().eq(rows), "{entries}");
        }
        assert!(cut(&nnz, 5..5, 10).is_empty());
        assert_eq!(cut(&[0; 10], 0..10, 4), [0..4, 4..8, 8..10], "empty rows are bounded, too");
    }
}
