//! The other orientation of a store, in bounded memory.
//!
//! The store is cut into tiles: rows that the system's page cache holds, by columns whose entries fit a task's
//! memory. A task scatters the entries of its tile column by column and writes each column's run where it belongs in
//! the result. A tile takes whole columns where a row is long enough for that, so that the result is written in one
//! go; else the runs of a column in successive blocks of rows follow each other. How tiles are cut shows in the time
//! only, never in the result.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::open::{Store, value_at};
use super::write::{create, encode_values, open_for_filling};
use crate::error::{Error, Result};
use crate::hdf::to_usize;
use crate::io::{Dtype, InPlace, RawArray};
use crate::matrix::Axis;
use crate::parallel;

/// Memory of a tile for each entry: a row number and a value of at most four bytes each.
const TILE_ENTRY_BYTES: u64 = 8;
/// Rows whose parts are fetched together: they come from memory at the same time, not one after the other.
const FETCHED_ROWS: usize = 16;
/// Bytes of the counts of all columns that are made at the same time.
const COUNT_BYTES: usize = 64 << 20;
/// A block has at least that many tiles, so that all threads have work, unless there are fewer columns.
const LEAST_TILES: u64 = 16;
/// Tasks for each thread at a time.
const TILES_PER_THREAD: usize = 8;
/// Where a tile takes at least that many bytes of a row's indices, each page of the store is read about once even if
/// the tile spans all rows.
const LONG_PART_BYTES: u64 = 1 << 10;

/// How much a transposition takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Bytes of memory for the tiles of all threads.
    pub(super) tiles: u64,
    /// Bytes of the store in a block of rows.
    pub(super) block: u64,
}

/// Writes the transpose of `store` at `path`: its columns become rows.
pub(super) fn transpose(
    store: &Store,
    cells: &Axis,
    genes: &Axis,
    path: &Path,
    room: Room,
    progress: &dyn Fn(u64),
) -> Result<InPlace> {
    let summary = store.summary().transposed();
    let place = create(path, store.major().other(), cells, genes, &summary.layout())?;
    let output = Output { path, file: open_for_filling(path)? };
    let mut ends = Vec::with_capacity(summary.row_nnz.len() + 1);
    ends.push(0_u64);
    for nnz in &summary.row_nnz {
        ends.push(ends[ends.len() - 1] + nnz);
    }
    let indptr_bytes: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
    output.write(&indptr_bytes, place.indptr, 0..ends.len(), 0)?;

    let n_threads = parallel::n_threads();
    let most_entries = (room.tiles / n_threads as u64 / TILE_ENTRY_BYTES).max(1);
    let blocks = split_rows(store, most_entries, room.block);
    // Where the next run of each column goes.
    let mut next = ends[..ends.len() - 1].to_vec();
    for rows in &blocks {
        let counts = if blocks.len() == 1 { summary.row_nnz.clone() } else { count(store, rows)? };
        let block_entries: u64 = counts.iter().sum();
        let tiles = split_columns(&counts, most_entries.min(block_entries / LEAST_TILES));
        // A few for each thread at a time, so that progress shows and what is known of their rows stays small.
        for tiles in tiles.chunks(n_threads * TILES_PER_THREAD) {
            let parts = Parts::find(store, rows, tiles)?;
            let mut cursors = &mut next[tiles[0].start..];
            let mut tasks = Vec::new();
            for (number, columns) in tiles.iter().enumerate() {
                let (head, tail) = cursors.split_at_mut(columns.len());
                tasks.push((number, columns.clone(), head));
                cursors = tail;
            }
            let written = parallel::map(tasks, |(number, columns, next)| {
                let mut tile = Tile::new(&counts[columns.clone()], columns.start, &place);
                parts.gather(store, number, &mut tile)?;
                tile.write(&output, next)
            });
            for entries in written {
                progress(entries?);
            }
        }
        store.release(0..store.n_rows());
    }
    if next[..] == ends[1..] { Ok(place) } else { Err(changed(store)) }
}

fn changed(store: &Store) -> Error {
    Error::changed(store.path(), "entries")
}

/// Cuts the rows into blocks of about `block_bytes`; into one if a tile of `tile_entries` takes long parts of them.
fn split_rows(store: &Store, tile_entries: u64, block_bytes: u64) -> Vec<Range<usize>> {
    let part_bytes = tile_entries / (store.n_rows() as u64).max(1) * store.index_dtype().size() as u64;
    let entry_bytes = store.entry_bytes() as u64;
    let most = if part_bytes >= LONG_PART_BYTES { u64::MAX } else { (block_bytes / entry_bytes).max(1) };
    let mut blocks = Vec::new();
    let (mut start, mut entries) = (0, 0_u64);
    for (row, &nnz) in store.summary().row_nnz.iter().enumerate() {
        if row > start && entries + nnz > most {
            blocks.push(start..row);
            (start, entries) = (row, 0);
        }
        entries += nnz;
    }
    blocks.push(start..store.n_rows());
    blocks
}

/// Cuts the columns into runs of at most `most_entries` entries (a longer column is a run of its own).
fn split_columns(counts: &[u64], most_entries: u64) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut start, mut entries) = (0, 0);
    for (column, &count) in counts.iter().enumerate() {
        if column > start && entries + count > most_entries {
            parts.push(start..column);
            (start, entries) = (column, 0);
        }
        entries += count;
    }
    if start < counts.len() {
        parts.push(start..counts.len());
    }
    parts
}

/// Cuts rows into runs of equally many, one task each.
fn runs_of(rows: &Range<usize>, n_runs: usize) -> Vec<Range<usize>> {
    let tiles = parallel::tiles(rows.len(), rows.len().div_ceil(n_runs.max(1)).max(1));
    tiles.into_iter().map(|run| rows.start + run.start..rows.start + run.end).collect()
}

/// The entries of every column in `rows`.
fn count(store: &Store, rows: &Range<usize>) -> Result<Vec<u64>> {
    let n_columns = store.n_cols();
    let most_runs = COUNT_BYTES / size_of::<u32>() / n_columns.max(1);
    let runs = runs_of(rows, (parallel::n_threads() * TILES_PER_THREAD).min(most_runs));
    let counted = parallel::map(runs, |rows| {
        let mut counts = vec![0_u32; n_columns];
        let mut indices = Vec::new();
        for row in rows {
            indices.clear();
            store.extend_indices(store.row_span(row)?, &mut indices);
            for &column in &indices {
                *counts.get_mut(column as usize).ok_or_else(|| changed(store))? += 1;
            }
        }
        Ok(counts)
    });
    let mut total = vec![0_u64; n_columns];
    for counts in counted {
        let counts = counts?;
        total.iter_mut().zip(counts).for_each(|(total, count)| *total += u64::from(count));
    }
    Ok(total)
}

/// Where the parts of rows lie that tiles take.
struct Parts {
    rows: Range<usize>,
    /// Runs of equally many rows (the last may be shorter), with the bounds of all tiles for each row: entries of the
    /// row before the first tile, and up to the end of each.
    bounds: Vec<Vec<u32>>,
    rows_per_run: usize,
    n_bounds: usize,
}

impl Parts {
    /// Looks for `tiles`, which follow each other, in `rows`.
    fn find(store: &Store, rows: &Range<usize>, tiles: &[Range<usize>]) -> Result<Self> {
        let limits: Vec<usize> =
            std::iter::once(tiles[0].start).chain(tiles.iter().map(|tile| tile.end)).collect();
        let runs = runs_of(rows, parallel::n_threads() * TILES_PER_THREAD);
        let rows_per_run = runs.first().map_or(1, ExactSizeIterator::len);
        let bounds = parallel::map(runs, |rows| {
            let mut bounds = Vec::with_capacity(rows.len() * limits.len());
            for row in rows {
                store.find_columns(store.row_span(row)?, &limits, &mut bounds);
            }
            Ok(bounds)
        });
        Ok(Self {
            rows: rows.clone(),
            bounds: bounds.into_iter().collect::<Result<_>>()?,
            rows_per_run,
            n_bounds: limits.len(),
        })
    }

    /// The entries of `row` that tile `number` takes.
    fn part(&self, store: &Store, row: usize, number: usize) -> Result<Range<usize>> {
        let place = row - self.rows.start;
        let bounds = &self.bounds[place / self.rows_per_run][place % self.rows_per_run * self.n_bounds..];
        let span = store.row_span(row)?;
        let part = span.start + bounds[number] as usize..span.start + bounds[number + 1] as usize;
        if part.end <= span.end { Ok(part) } else { Err(changed(store)) }
    }

    /// Scatters the parts of all rows into tile `number`.
    fn gather(&self, store: &Store, number: usize, tile: &mut Tile<'_>) -> Result<()> {
        let (mut indices, mut values, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = self.rows.clone();
        while !rows.is_empty() {
            let group = rows.start..rows.end.min(rows.start + FETCHED_ROWS);
            rows.start = group.end;
            indices.clear();
            values.clear();
            ends.clear();
            for row in group.clone() {
                let part = self.part(store, row, number)?;
                store.extend_indices(part.clone(), &mut indices);
                convert(store.data_bytes(part), tile.place.data.dtype, &mut values);
                ends.push(indices.len());
            }
            tile.place_rows(group, &ends, &indices, &values).ok_or_else(|| changed(store))?;
        }
        Ok(())
    }
}

/// Appends the values as little-endian `dtype`.
fn convert((data, stored): (&[u8], Dtype), dtype: Dtype, bytes: &mut Vec<u8>) {
    if stored == dtype {
        bytes.extend_from_slice(data);
    } else {
        let values: Vec<f64> = (0..data.len() / stored.size()).map(|k| value_at(data, stored, k)).collect();
        encode_values(&values, dtype, bytes);
    }
}

/// The entries of some columns in some rows, column by column, as they are to be written.
struct Tile<'a> {
    place: &'a InPlace,
    first_column: usize,
    /// Where the next entry of each column goes; in the end, where each column ends.
    cursors: Vec<usize>,
    rows: Vec<u8>,
    values: Vec<u8>,
}

impl<'a> Tile<'a> {
    /// Room for so many entries of the columns from `first_column` on.
    fn new(counts: &[u64], first_column: usize, place: &'a InPlace) -> Self {
        let mut n_entries = 0;
        let mut cursors = Vec::with_capacity(counts.len());
        for &count in counts {
            cursors.push(n_entries);
            n_entries += to_usize(count);
        }
        let rows = vec![0; n_entries * place.indices.dtype.size()];
        let values = vec![0; n_entries * place.data.dtype.size()];
        Self { place, first_column, cursors, rows, values }
    }

    /// Puts the entries of `rows` behind those of earlier rows; those of each end at `ends`. `None` when there is no
    /// room for one.
    fn place_rows(
        &mut self,
        rows: Range<usize>,
        ends: &[usize],
        indices: &[u32],
        values: &[u8],
    ) -> Option<()> {
        let mut begin = 0;
        let size = self.place.data.dtype.size();
        for (row, &end) in rows.zip(ends) {
            let row = u32::try_from(row).ok()?;
            let (indices, values) = (&indices[begin..end], &values[begin * size..end * size]);
            begin = end;
            let [low, high, ..] = row.to_le_bytes();
            match (self.place.indices.dtype.size(), size) {
                (2, 1) => self.place_row::<2, 1>([low, high], indices, values),
                (2, 2) => self.place_row::<2, 2>([low, high], indices, values),
                (2, _) => self.place_row::<2, 4>([low, high], indices, values),
                (_, 1) => self.place_row::<4, 1>(row.to_le_bytes(), indices, values),
                (_, 2) => self.place_row::<4, 2>(row.to_le_bytes(), indices, values),
                (_, _) => self.place_row::<4, 4>(row.to_le_bytes(), indices, values),
            }?;
        }
        Some(())
    }

    fn place_row<const R: usize, const V: usize>(
        &mut self,
        row: [u8; R],
        indices: &[u32],
        values: &[u8],
    ) -> Option<()> {
        let stored_rows = self.rows.as_chunks_mut::<R>().0;
        let stored_values = self.values.as_chunks_mut::<V>().0;
        for (&column, value) in indices.iter().zip(values.as_chunks::<V>().0) {
            let cursor = self.cursors.get_mut((column as usize).wrapping_sub(self.first_column))?;
            *stored_rows.get_mut(*cursor)? = row;
            *stored_values.get_mut(*cursor)? = *value;
            *cursor += 1;
        }
        Some(())
    }

    /// Writes every column's run to `next`, its place, which moves on. Runs that follow each other are written
    /// together. Returns the number of entries.
    fn write(&self, output: &Output<'_>, next: &mut [u64]) -> Result<u64> {
        let mut begin = 0;
        let mut column = 0;
        while column < next.len() {
            let first = next[column];
            let mut following = first;
            let mut end = begin;
            while column < next.len() && next[column] == following {
                following += (self.cursors[column] - end) as u64;
                next[column] = following;
                end = self.cursors[column];
                column += 1;
            }
            output.write(&self.rows, self.place.indices, begin..end, first)?;
            output.write(&self.values, self.place.data, begin..end, first)?;
            begin = end;
        }
        Ok(begin as u64)
    }
}

/// The file that is written.
struct Output<'a> {
    path: &'a Path,
    file: File,
}

impl Output<'_> {
    /// Writes those of the elements in `bytes` to `array`, from its element `first` on.
    fn write(&self, bytes: &[u8], array: RawArray, elements: Range<usize>, first: u64) -> Result<()> {
        let size = array.dtype.size();
        self.file
            .write_all_at(
                &bytes[elements.start * size..elements.end * size],
                array.offset + first * size as u64,
            )
            .map_err(|e| Error::io(self.path, "write the transposed store", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_column_once_and_stay_bounded() {
        let counts: Vec<u64> = (0..1000).map(|column| column * 7919 % 500).collect();
        let tiles = split_columns(&counts, 2000);
        assert_eq!((tiles[0].start, tiles[tiles.len() - 1].end), (0, 1000));
        assert!(tiles.windows(2).all(|pair| pair[0].end == pair[1].start));
        let entries = |tile: &Range<usize>| counts[tile.clone()].iter().sum::<u64>();
        assert!(tiles.iter().all(|tile| entries(tile) <= 2000));
        assert_eq!(split_columns(&[9, 9, 9], 1), [0..1, 1..2, 2..3], "a long column is a tile");
        assert!(split_columns(&[], 1).is_empty());
        assert_eq!(split_columns(&[u64::MAX / 4, 1 << 33], 1 << 34), [0..1, 1..2]);
    }

    #[test]
    fn runs_cover_every_row_once() {
        for (rows, n_runs) in [(3..103, 7), (0..1, 5), (5..5, 2), (0..10, 0)] {
            let runs = runs_of(&rows, n_runs);
            assert!(runs.iter().cloned().flatten().eq(rows.clone()), "{rows:?}");
            assert!(runs.len() <= n_runs.max(1));
        }
    }
}
