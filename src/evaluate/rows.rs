//! The matrices side by side, a cell at a time: counts from memory-mapped stores, imputed values as they stream by.

use std::ops::Range;
use std::path::Path;

use super::join::{ABSENT, Join};
use super::scale::{Logs, Scale};
use crate::budget;
use crate::error::{Error, Result};
use crate::io::Source;
use crate::matrix::RowBlock;
use crate::parallel::tiles;
use crate::store::{RowEntries, Store};

/// Entries that are taken from a store of imputed values at a time, unless a row alone has more; and the most rows.
const STORE_ENTRIES: u64 = 1 << 22;
const STORE_ROWS: usize = 1 << 12;
/// Bytes of one of them: as it is read, twice while a vector grows, and as a real number.
const STORED_BYTES: u64 = 2 * (size_of::<u32>() + size_of::<f32>()) as u64 + size_of::<f64>() as u64;

/// Counts of the joint cells and genes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts<'a> {
    /// A row a cell.
    pub(super) store: &'a Store,
    /// The row of every joint cell.
    pub(super) rows: &'a [u32],
    /// The joint gene of every column.
    pub(super) genes: &'a [u32],
}

impl Counts<'_> {
    /// Fills `counts` with the joint cell's, a value a joint gene.
    fn read(&self, cell: usize, entries: &mut RowEntries, counts: &mut [f64]) -> Result<()> {
        counts.fill(0.0);
        entries.clear();
        self.store.read_row(self.rows[cell] as usize, entries)?;
        for (&column, &value) in entries.indices.iter().zip(&entries.values) {
            let gene = self.genes[column as usize];
            if gene != ABSENT {
                counts[gene as usize] = f64::from(value);
            }
        }
        Ok(())
    }

    /// Says that the rows of these joint cells are not needed for a while.
    fn release(&self, cells: impl Iterator<Item = usize> + Clone) {
        let rows = cells.map(|cell| self.rows[cell] as usize);
        if let (Some(first), Some(last)) = (rows.clone().min(), rows.max()) {
            self.store.release(first..last + 1);
        }
    }
}

/// Where imputed values come from.
#[derive(Clone, Copy)]
pub enum ImputedRows<'a> {
    /// A file that is stored cell by cell.
    Stream(&'a dyn Source),
    /// A store with a row a cell.
    Store(&'a Store),
}

/// All matrices.
pub(super) struct Matrices<'a> {
    pub(super) cells: &'a Join,
    pub(super) genes: &'a Join,
    pub(super) input: Counts<'a>,
    pub(super) truth: Option<Counts<'a>>,
    pub(super) test: Option<Counts<'a>>,
    pub(super) imputed: ImputedRows<'a>,
    /// The file of the imputed values.
    pub(super) path: &'a Path,
    pub(super) scale: Scale,
    /// Totals of all rows of the input's store.
    pub(super) totals: &'a [f64],
    pub(super) logs: Logs,
}

/// Some cells in the order of the imputed file.
pub(super) struct Chunk<'a> {
    block: &'a RowBlock,
    /// Rows of the block with the joint cells they are.
    pub(super) rows: &'a [(usize, usize)],
}

/// One cell, a value a joint gene.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) cell: usize,
    /// Counts of the input and their logarithms.
    pub(super) input: Side,
    /// Those of the truth, or of the input where there is no truth.
    pub(super) truth: Side,
    /// Imputed ones.
    pub(super) imputed: Side,
    /// Counts of the test molecules.
    pub(super) test: Vec<f64>,
    /// Whether imputed values were negative, on their own scale.
    pub(super) negative: u64,
    entries: RowEntries,
}

/// ImputedRows of one matrix.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) counts: Vec<f64>,
    /// log10(count + 1)
    pub(super) logs: Vec<f64>,
}

impl Side {
    fn new(n_genes: usize) -> Self {
        Self { counts: vec![0.0; n_genes], logs: vec![0.0; n_genes] }
    }
}

impl Matrices<'_> {
    /// Room for a cell.
    pub(super) fn row(&self) -> Row {
        let n_genes = self.genes.len();
        let test = vec![0.0; if self.test.is_some() { n_genes } else { 0 }];
        let side = || Side::new(n_genes);
        Row { input: side(), truth: side(), imputed: side(), test, ..Row::default() }
    }

    /// Reads the `index`-th cell of a chunk.
    pub(super) fn read(&self, chunk: &Chunk<'_>, index: usize, row: &mut Row) -> Result<()> {
        let (block_row, cell) = chunk.rows[index];
        row.cell = cell;
        self.read_counts(&self.input, cell, &mut row.entries, &mut row.input)?;
        match &self.truth {
            Some(truth) => self.read_counts(truth, cell, &mut row.entries, &mut row.truth)?,
            None => {
                row.truth.counts.copy_from_slice(&row.input.counts);
                row.truth.logs.copy_from_slice(&row.input.logs);
            }
        }
        if let Some(test) = &self.test {
            test.read(cell, &mut row.entries, &mut row.test)?;
        }
        self.read_imputed(chunk.block, block_row, row)
    }

    fn read_counts(
        &self,
        counts: &Counts<'_>,
        cell: usize,
        entries: &mut RowEntries,
        side: &mut Side,
    ) -> Result<()> {
        counts.read(cell, entries, &mut side.counts)?;
        for (log, &count) in side.logs.iter_mut().zip(&side.counts) {
            *log = if count == 0.0 { 0.0 } else { self.logs.of(count) };
        }
        Ok(())
    }

    fn read_imputed(&self, block: &RowBlock, block_row: usize, row: &mut Row) -> Result<()> {
        let joint = &self.genes.joint[0];
        let total = self.totals[self.input.rows[row.cell] as usize];
        row.imputed.counts.fill(0.0);
        row.imputed.logs.fill(0.0);
        row.negative = 0;
        let (indices, values) = block.row(block_row);
        for (&column, &value) in indices.iter().zip(values) {
            let gene = joint[column as usize];
            if gene == ABSENT {
                continue;
            }
            let (log, count) = self.scale.convert(value, total);
            if !count.is_finite() {
                return Err(self.beyond_scale(row.cell, gene as usize, value));
            }
            row.negative += u64::from(value < 0.0);
            row.imputed.logs[gene as usize] = log;
            row.imputed.counts[gene as usize] = count;
        }
        Ok(())
    }

    fn beyond_scale(&self, cell: usize, gene: usize, value: f64) -> Error {
        Error::input(
            self.path,
            format!("cell {:?}, gene {:?}", self.cells.names[cell], self.genes.names[gene]),
            format!("a value on the scale {}", self.scale.formula()),
            value.to_string(),
            "say with --imputed-scale which scale it is",
        )
    }

    /// Hands all joint cells to `consume`, up to `chunk_rows` at a time.
    pub(super) fn visit(
        &self,
        chunk_rows: usize,
        consume: &mut dyn FnMut(&Chunk<'_>) -> Result<()>,
    ) -> Result<()> {
        let joint = &self.cells.joint[0];
        let mut visit = |block: &RowBlock, first_row: usize| {
            let kept: Vec<(usize, usize)> = (0..block.n_rows())
                .map(|row| (row, joint[first_row + row]))
                .filter(|&(_, cell)| cell != ABSENT)
                .map(|(row, cell)| (row, cell as usize))
                .collect();
            for rows in kept.chunks(chunk_rows) {
                consume(&Chunk { block, rows })?;
                let cells = rows.iter().map(|&(_, cell)| cell);
                for counts in [Some(self.input), self.truth, self.test].into_iter().flatten() {
                    counts.release(cells.clone());
                }
            }
            Ok(())
        };
        let mut first_row = 0;
        match self.imputed {
            ImputedRows::Stream(source) => source
                .for_each_block(&mut |block, _| {
                    let block = block.into_reals();
                    visit(&block, first_row)?;
                    first_row += block.n_rows();
                    Ok(())
                })
                .map(drop),
            ImputedRows::Store(store) => {
                for rows in spans(&store.summary().row_nnz) {
                    visit(&stored(store, rows.clone())?, rows.start)?;
                    store.release(rows);
                }
                Ok(())
            }
        }
    }
}

impl ImputedRows<'_> {
    /// Bytes of the blocks that are held at a time.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Stream(source) => budget::block_bytes(source.declared_nnz()),
            Self::Store(store) => {
                let row_nnz = &store.summary().row_nnz;
                let entries = |rows: Range<usize>| row_nnz[rows].iter().sum::<u64>();
                spans(row_nnz).into_iter().map(entries).max().unwrap_or(0) * STORED_BYTES
            }
        }
    }
}

/// Cuts rows with so many entries each into runs that are taken at a time.
fn spans(row_nnz: &[u64]) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let (mut start, mut entries) = (0, 0);
    for (row, &nnz) in row_nnz.iter().enumerate() {
        if row > start && (entries + nnz > STORE_ENTRIES || row - start == STORE_ROWS) {
            spans.push(start..row);
            (start, entries) = (row, 0);
        }
        entries += nnz;
    }
    if start < row_nnz.len() {
        spans.push(start..row_nnz.len());
    }
    spans
}

/// Rows of a store as a block.
fn stored(store: &Store, rows: Range<usize>) -> Result<RowBlock> {
    let mut entries = RowEntries::default();
    let mut indptr = vec![0];
    for row in rows {
        store.read_row(row, &mut entries)?;
        indptr.push(entries.indices.len());
    }
    let values = entries.values.into_iter().map(f64::from).collect();
    Ok(RowBlock { indptr, indices: entries.indices, values })
}

/// Cells that one task of [`sums`] and [`joint_entries`] reads, and tasks between two reports of progress.
const TASK_CELLS: usize = 1 << 10;
const TASKS: usize = 64;

/// Sums of some matrices over the joint cells and genes.
///
/// # Errors
/// When a file was changed.
pub(super) fn sums(matrices: &Matrices<'_>, of: &[Counts<'_>], progress: &dyn Fn(u64)) -> Result<Vec<f64>> {
    let mut total = vec![0.0; of.len()];
    let mut add = |part: Vec<f64>| total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    each_task(matrices, progress, &mut add, |cells| {
        let (mut entries, mut counts) = (RowEntries::default(), vec![0.0; matrices.genes.len()]);
        let mut sums = vec![0.0; of.len()];
        for cell in cells.clone() {
            for (matrix, sum) in of.iter().zip(&mut sums) {
                matrix.read(cell, &mut entries, &mut counts)?;
                *sum += counts.iter().sum::<f64>();
            }
        }
        of.iter().for_each(|matrix| matrix.release(cells.clone()));
        Ok(sums)
    })?;
    Ok(total)
}

/// Entries of the joint cells and genes that are not 0 in the input or in the truth: those that are ranked.
///
/// # Errors
/// When a file was changed.
pub(super) fn joint_entries(matrices: &Matrices<'_>, progress: &dyn Fn(u64)) -> Result<u64> {
    let mut total = 0;
    each_task(matrices, progress, &mut |part: u64| total += part, |cells| {
        let mut entries = RowEntries::default();
        let mut counts = [vec![0.0; matrices.genes.len()], vec![0.0; matrices.genes.len()]];
        let mut n = 0;
        for cell in cells.clone() {
            let sides = [Some(&matrices.input), matrices.truth.as_ref()];
            for (matrix, counts) in sides.iter().zip(&mut counts) {
                matrix.map_or(Ok(()), |matrix| matrix.read(cell, &mut entries, counts))?;
            }
            n += counts[0].iter().zip(&counts[1]).filter(|(a, b)| **a != 0.0 || **b != 0.0).count() as u64;
        }
        for matrix in [Some(matrices.input), matrices.truth].into_iter().flatten() {
            matrix.release(cells.clone());
        }
        Ok(n)
    })?;
    Ok(total)
}

/// Hands what `work` makes of runs of joint cells to `add`, in their order.
fn each_task<T: Send>(
    matrices: &Matrices<'_>,
    progress: &dyn Fn(u64),
    add: &mut dyn FnMut(T),
    work: impl Fn(Range<usize>) -> Result<T> + Sync + Send,
) -> Result<()> {
    for tasks in tiles(matrices.cells.len(), TASK_CELLS).chunks(TASKS) {
        for part in crate::parallel::map(tasks.to_vec(), &work) {
            add(part?);
        }
        progress(tasks.iter().map(ExactSizeIterator::len).sum::<usize>() as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_rows_are_taken_by_their_entries() {
        let cover = |row_nnz: &[u64]| {
            let spans = spans(row_nnz);
            assert_eq!(spans.iter().map(ExactSizeIterator::len).sum::<usize>(), row_nnz.len());
            assert!(spans.windows(2).all(|pair| pair[0].end == pair[1].start));
            for rows in &spans {
                let entries: u64 = row_nnz[rows.clone()].iter().sum();
                assert!(
                    rows.len() <= STORE_ROWS && (entries <= STORE_ENTRIES || rows.len() == 1),
                    "{rows:?}"
                );
            }
            spans
        };
        // Dense rows of 30,000 genes: the bound holds, and blocks are worth their tasks.
        assert!(cover(&[30_000; 5000]).iter().all(|rows| rows.len() <= 139));
        assert_eq!(cover(&[100; 10_000]).len(), 3);
        assert_eq!(cover(&[0, STORE_ENTRIES + 1, 0, STORE_ENTRIES, 1]).len(), 4);
        assert!(cover(&[]).is_empty());
    }
}
