//! Entries in any order become rows.
//!
//! 10x writes cell after cell: each is a row as soon as the next one begins. Where a cell comes back later, what is read from
//! then on is sorted, as much at a time as memory allows, and these runs are merged with each other and with the rows before.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::parse::Entries;
use crate::error::{Error, Result};
use crate::hdf::to_usize;
use crate::io::Tally;
use crate::io::entry::{Entry, Rule};
use crate::io::spill::{CHUNK_ENTRIES, RowCursor, Spill, SpillWriter};
use crate::io::stream::DROPPED;

/// Entries that are sorted at a time: 64 MB, and as much while they are.
const RUN_ENTRIES: usize = 4 << 20;
/// Entries of a chunk of a run: one of each run is in memory while they are merged.
const RUN_CHUNK: usize = 1 << 12;
/// Entries of a row, beyond those of all its columns, before repeated ones are summed.
const FREE_ENTRIES: usize = 1 << 20;

/// Puts rows together.
pub(super) struct Assembler<'a> {
    path: &'a Path,
    scratch: PathBuf,
    expected_bytes: u64,
    n_cells: usize,
    n_genes: usize,
    /// For every gene of the file its place, or [`DROPPED`].
    map: Option<&'a [u32]>,
    run_entries: usize,
    spill: SpillWriter,
    tally: Tally,
    /// The cell whose entries are `row`.
    cell: u32,
    row: Vec<(u32, f64)>,
    /// `row` in the form that the spill takes.
    indices: Vec<u32>,
    values: Vec<f64>,
    sorting: Option<Sorting>,
}

/// What is sorted outside memory.
struct Sorting {
    /// Cell and gene in one number, and the value.
    buffer: Vec<(u64, f64)>,
    /// All runs, one after the other.
    writer: SpillWriter,
    /// Where each run ends, in chunks.
    ends: Vec<usize>,
}

impl<'a> Assembler<'a> {
    /// Rows of `n_cells` by `n_genes`, of a file of `nnz` entries; what does not fit in memory goes to `scratch`.
    pub(super) fn new(
        path: &'a Path,
        scratch: &Path,
        nnz: u64,
        (n_cells, n_genes): (usize, usize),
        map: Option<&'a [u32]>,
    ) -> Self {
        let expected_bytes = nnz.saturating_mul(3);
        Self {
            path,
            scratch: scratch.to_owned(),
            expected_bytes,
            n_cells,
            n_genes,
            map,
            run_entries: RUN_ENTRIES,
            spill: SpillWriter::new(scratch, expected_bytes, CHUNK_ENTRIES),
            tally: Tally::default(),
            cell: 0,
            row: Vec::new(),
            indices: Vec::new(),
            values: Vec::new(),
            sorting: None,
        }
    }

    /// Sorts so many entries at a time.
    #[cfg(test)]
    fn with_runs_of(mut self, run_entries: usize) -> Self {
        self.run_entries = run_entries;
        self
    }

    /// Adds the entries that follow.
    pub(super) fn add(&mut self, entries: &Entries) -> Result<()> {
        self.tally.explicit_zeros += entries.zeros;
        for ((&cell, &gene), &value) in entries.cells.iter().zip(&entries.genes).zip(&entries.values) {
            let gene = self.map.map_or(gene, |map| map[gene as usize]);
            if gene == DROPPED {
                continue;
            }
            if let Some(sorting) = &mut self.sorting {
                sorting.buffer.push((u64::from(cell) << 32 | u64::from(gene), value));
                if sorting.buffer.len() >= self.run_entries {
                    self.end_run()?;
                }
                continue;
            }
            if cell != self.cell {
                self.end_row()?;
                if cell < self.cell {
                    self.start_sorting(cell, gene, value);
                    continue;
                }
                self.cell = cell;
            }
            self.row.push((gene, value));
            if self.row.len() > self.n_genes * 2 + FREE_ENTRIES {
                self.sum_repeats()?;
            }
        }
        Ok(())
    }

    fn start_sorting(&mut self, cell: u32, gene: u32, value: f64) {
        self.sorting = Some(Sorting {
            buffer: vec![(u64::from(cell) << 32 | u64::from(gene), value)],
            writer: SpillWriter::new(&self.scratch, self.expected_bytes.saturating_mul(2), RUN_CHUNK),
            ends: Vec::new(),
        });
    }

    /// Hands on the row in hand.
    fn end_row(&mut self) -> Result<()> {
        if self.row.is_empty() {
            return Ok(());
        }
        self.sum_repeats()?;
        self.indices.clear();
        self.values.clear();
        self.indices.extend(self.row.iter().map(|entry| entry.0));
        self.values.extend(self.row.iter().map(|entry| entry.1));
        self.row.clear();
        self.spill.push_row(self.cell as usize, &self.indices, &self.values)
    }

    /// Sorts the row in hand by gene and adds up repeated entries.
    fn sum_repeats(&mut self) -> Result<()> {
        let increasing = |pair: &[(u32, f64)]| pair[0].0 < pair[1].0;
        if self.row.windows(2).all(increasing) {
            return Ok(());
        }
        // Cell Ranger 3 writes the genes of a cell backwards.
        if self.row.windows(2).all(|pair| pair[0].0 > pair[1].0) {
            self.row.reverse();
            return Ok(());
        }
        // Stable, so that repeated entries are summed in the file's order.
        self.row.sort_by_key(|&(gene, _)| gene);
        let before = self.row.len();
        self.row.dedup_by(sum_equal);
        self.tally.merged_duplicates += (before - self.row.len()) as u64;
        self.values.clear();
        self.values.extend(self.row.iter().map(|entry| entry.1));
        check_sums(self.path, self.cell.into(), &self.values)
    }

    /// Sorts what has gathered and puts it aside.
    fn end_run(&mut self) -> Result<()> {
        let Some(sorting) = &mut self.sorting else { return Ok(()) };
        // Stable, so that repeated entries are summed in the file's order.
        sorting.buffer.par_sort_by_key(|&(key, _)| key);
        let before = sorting.buffer.len();
        sorting.buffer.dedup_by(sum_equal);
        self.tally.merged_duplicates += (before - sorting.buffer.len()) as u64;
        let mut rest = &sorting.buffer[..];
        while let Some(&(key, _)) = rest.first() {
            let cell = key >> 32;
            let (row, after) = rest.split_at(rest.partition_point(|entry| entry.0 >> 32 == cell));
            self.indices.clear();
            self.values.clear();
            #[expect(clippy::cast_possible_truncation, reason = "the gene is in the lower half")]
            self.indices.extend(row.iter().map(|entry| entry.0 as u32));
            self.values.extend(row.iter().map(|entry| entry.1));
            check_sums(self.path, cell, &self.values)?;
            sorting.writer.push_row(to_usize(cell), &self.indices, &self.values)?;
            rest = after;
        }
        sorting.buffer.clear();
        sorting.ends.push(sorting.writer.start_again()?);
        Ok(())
    }

    /// The rows of all entries, and what was met; its entries are those that are left.
    pub(super) fn finish(mut self) -> Result<(Spill, Tally)> {
        self.end_row()?;
        self.end_run()?;
        let Some(Sorting { buffer, writer, ends }) = self.sorting.take() else {
            let spill = self.spill.finish(self.n_cells)?;
            return Ok((spill, self.tally));
        };
        drop(buffer);
        let next = SpillWriter::new(&self.scratch, self.expected_bytes, CHUNK_ENTRIES);
        let before = std::mem::replace(&mut self.spill, next).finish(self.n_cells)?;
        let runs = writer.close()?;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let runs = starts.zip(&ends).map(|(start, &end)| runs.rows(start..end));
        let mut cursors: Vec<RowCursor<'_>> =
            std::iter::once(before.rows(0..before.n_chunks())).chain(runs).collect();
        // The cell that comes next in each run: cells in order, and a cell's runs in order.
        let mut heap = BinaryHeap::with_capacity(cursors.len());
        for (run, cursor) in cursors.iter_mut().enumerate() {
            heap.extend(cursor.row()?.map(|row| Reverse((row, run))));
        }
        while let Some(Reverse((row, run))) = heap.pop() {
            let cell = u32::try_from(row).unwrap_or(u32::MAX);
            if cell != self.cell {
                self.end_row()?;
                self.cell = cell;
            }
            cursors[run].take(&mut self.row);
            if self.row.len() > self.n_genes * 2 + FREE_ENTRIES {
                self.sum_repeats()?;
            }
            heap.extend(cursors[run].row()?.map(|row| Reverse((row, run))));
        }
        self.end_row()?;
        let spill = self.spill.finish(self.n_cells)?;
        Ok((spill, self.tally))
    }
}

/// Adds an entry to the one before if both are at the same place.
fn sum_equal<K: PartialEq>(next: &mut (K, f64), kept: &mut (K, f64)) -> bool {
    let same = next.0 == kept.0;
    if same {
        kept.1 += next.1;
    }
    same
}

fn check_sums(path: &Path, cell: u64, values: &[f64]) -> Result<()> {
    let Some(value) = values.iter().find(|value| !value.is_clean(Rule::Real)) else { return Ok(()) };
    let object = format!("cell {}, repeated entries summed", cell + 1);
    let remedy = "the file is damaged or its writer has a bug; write or download it again";
    Err(Error::input(path, object, "a number up to 3.4e38", value.to_string(), remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Reads entries of 50 cells by 20 genes in pieces, with runs of `run_entries`.
    fn assemble(entries: &[(u32, u32, f64)], run_entries: usize) -> (BTreeMap<(usize, u32), f64>, Tally) {
        let dir = tempfile::tempdir().unwrap();
        let path = Path::new("matrix.mtx");
        let mut assembler = Assembler::new(path, dir.path(), 0, (50, 20), None).with_runs_of(run_entries);
        for piece in entries.chunks(13) {
            let mut part = Entries::default();
            for &(cell, gene, value) in piece {
                part.cells.push(cell);
                part.genes.push(gene);
                part.values.push(value);
            }
            assembler.add(&part).unwrap();
        }
        let (spill, tally) = assembler.finish().unwrap();
        let mut found = BTreeMap::new();
        let mut next = 0;
        spill
            .for_each_block(&mut |block, _| {
                let block = block.into_reals();
                for row in 0..block.n_rows() {
                    let (indices, values) = block.row(row);
                    assert!(indices.is_sorted());
                    found.extend(indices.iter().zip(values).map(|(&gene, &value)| ((next, gene), value)));
                    next += 1;
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(next, 50);
        (found, tally)
    }

    #[test]
    fn entries_in_any_order_give_the_same_rows() {
        let mut entries: Vec<(u32, u32, f64)> = (0..1000_u32)
            .filter(|place| place % 3 != 0)
            .map(|place| (place / 20, place % 20, f64::from(place % 7 + 1)))
            .collect();
        let (expected, tally) = assemble(&entries, 1 << 20);
        assert_eq!((expected.len(), &tally), (entries.len(), &Tally::default()));
        // Sorted up to the middle; by gene; backwards; and shuffled.
        let n = entries.len();
        entries[n / 2..].reverse();
        let half = entries.clone();
        entries.sort_by_key(|entry| entry.1);
        let by_gene = entries.clone();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.0));
        let backwards = entries.clone();
        entries.sort_by_key(|entry| (entry.0 * 7919 + entry.1 * 104_729) % 1009);
        for order in [half, by_gene, backwards, entries] {
            for run_entries in [1, 7, 100, 1 << 20] {
                assert_eq!(assemble(&order, run_entries), (expected.clone(), Tally::default()));
            }
        }
    }

    #[test]
    fn repeated_entries_are_summed_wherever_they_are() {
        let mut entries: Vec<(u32, u32, f64)> =
            (0..100_u32).map(|place| (place / 20, place % 20, 1.0)).collect();
        entries.extend([(0, 3, 2.0), (0, 3, 4.0), (4, 19, 1.5), (0, 3, 8.0)]);
        for run_entries in [1, 3, 1000] {
            let (found, tally) = assemble(&entries, run_entries);
            assert_eq!((found.len(), tally.merged_duplicates), (100, 4));
            assert_eq!((found[&(0, 3)], found[&(4, 19)]), (15.0, 2.5));
        }
        entries.sort_by_key(|entry| entry.0);
        assert_eq!(assemble(&entries, 1000).0[&(0, 3)], 15.0);
    }
}
