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
use super::write::{create, encode_indices, encode_values, open_for_filling};
use crate::error::{Error, Result};
use crate::hdf::to_usize;
use crate::io::{Dtype, InPlace, RawArray};
use crate::matrix::Axis;
use crate::parallel;

/// Memory of a tile for each entry: a row number, a value of at most four bytes, and their bytes to be written.
const TILE_ENTRY_BYTES: u64 = 12;
/// A block has at least that many tiles, so that all threads have work, unless there are fewer columns.
const LEAST_TILES: u64 = 16;
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
    let output = Output { file: open_for_filling(path)?, place: &place };
    let mut ends = Vec::with_capacity(summary.row_nnz.len() + 1);
    ends.push(0_u64);
    for nnz in &summary.row_nnz {
        ends.push(ends[ends.len() - 1] + nnz);
    }
    let indptr_bytes: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
    output.write_at(&indptr_bytes, place.indptr, 0)?;

    let nnz = summary.tally.nnz;
    let n_threads = parallel::n_threads() as u64;
    let tile_entries = (room.tiles / n_threads / TILE_ENTRY_BYTES).max(1);
    // Where the next run of each column goes.
    let mut next = ends[..ends.len() - 1].to_vec();
    for rows in split_rows(store, tile_entries, room.block) {
        let block_nnz: u64 = store.summary().row_nnz[rows.clone()].iter().sum();
        // Columns are taken to have the same share of their entries in every block.
        let share = block_nnz as f64 / nnz as f64;
        let tile_entries = tile_entries.min(block_nnz / LEAST_TILES);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a limit of any size")]
        let tiles = split_columns(&ends, (tile_entries as f64 / share) as u64);
        // As many at a time as there are threads and a few more, so that progress shows.
        for tiles in tiles.chunks(to_usize(n_threads * 4)) {
            let mut cursors = &mut next[tiles[0].start..];
            let mut tasks = Vec::new();
            for columns in tiles {
                let (head, tail) = cursors.split_at_mut(columns.len());
                tasks.push((columns.clone(), head));
                cursors = tail;
            }
            let written = parallel::map(tasks, |(columns, next)| {
                let tile = Tile::gather(store, rows.clone(), columns, place.data.dtype)?;
                tile.write(&output, next)?;
                Ok(tile.rows.len() as u64)
            });
            for entries in written {
                progress(entries?);
            }
        }
    }
    if next[..] == ends[1..] { Ok(place) } else { Err(Error::changed(store.path(), "entries")) }
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

/// Cuts the columns into runs of at most `max_entries` entries (a longer column is a run of its own).
fn split_columns(ends: &[u64], max_entries: u64) -> Vec<Range<usize>> {
    let n_cols = ends.len() - 1;
    let mut parts = Vec::new();
    let mut start = 0;
    while start < n_cols {
        let mut stop = start + 1;
        while stop < n_cols && ends[stop + 1] - ends[start] <= max_entries {
            stop += 1;
        }
        parts.push(start..stop);
        start = stop;
    }
    parts
}

/// The entries of some columns in some rows, column by column.
struct Tile {
    /// Where each column ends.
    ends: Vec<usize>,
    rows: Vec<u32>,
    /// Little-endian, in the result's type.
    values: Vec<u8>,
    dtype: Dtype,
}

impl Tile {
    fn gather(store: &Store, rows: Range<usize>, columns: Range<usize>, dtype: Dtype) -> Result<Self> {
        let changed = |row: usize| Error::changed(store.path(), format!("row {row}"));
        let mut indices = Vec::new();
        // First count, then place.
        let mut cursors = vec![0_usize; columns.len() + 1];
        for row in rows.clone() {
            Self::part(store, row, &columns, &mut indices)?;
            for &column in &indices {
                let count = cursors.get_mut((column as usize).wrapping_sub(columns.start) + 1);
                *count.ok_or_else(|| changed(row))? += 1;
            }
        }
        for column in 0..columns.len() {
            cursors[column + 1] += cursors[column];
        }
        let n_entries = cursors[columns.len()];
        let mut tile = Self {
            ends: cursors[1..].to_vec(),
            rows: vec![0; n_entries],
            values: vec![0; n_entries * dtype.size()],
            dtype,
        };
        let mut bytes = Vec::new();
        for row in rows {
            let span = Self::part(store, row, &columns, &mut indices)?;
            let number = u32::try_from(row).map_err(|_| changed(row))?;
            let values = converted(store.data_bytes(span), dtype, &mut bytes);
            let placed = match dtype.size() {
                1 => tile.place::<1>(number, &indices, values, columns.start, &mut cursors),
                2 => tile.place::<2>(number, &indices, values, columns.start, &mut cursors),
                _ => tile.place::<4>(number, &indices, values, columns.start, &mut cursors),
            };
            placed.ok_or_else(|| changed(row))?;
        }
        Ok(tile)
    }

    /// The entries of `row` in `columns`: their numbers, and their columns in `indices`.
    fn part(
        store: &Store,
        row: usize,
        columns: &Range<usize>,
        indices: &mut Vec<u32>,
    ) -> Result<Range<usize>> {
        let span = store.row_span(row)?;
        let part = store.columns_of(span.clone(), columns);
        let part = span.start + part.start..span.start + part.end;
        indices.clear();
        store.extend_indices(part.clone(), indices);
        Ok(part)
    }

    /// Puts the entries of a row behind those of earlier rows. `None` when there were fewer of them before.
    fn place<const N: usize>(
        &mut self,
        row: u32,
        indices: &[u32],
        values: &[u8],
        first_column: usize,
        cursors: &mut [usize],
    ) -> Option<()> {
        let stored = self.values.as_chunks_mut::<N>().0;
        for (&column, value) in indices.iter().zip(values.as_chunks::<N>().0) {
            let cursor = cursors.get_mut((column as usize).wrapping_sub(first_column))?;
            *self.rows.get_mut(*cursor)? = row;
            *stored.get_mut(*cursor)? = *value;
            *cursor += 1;
        }
        Some(())
    }

    /// Writes every column's run to `next`, its place, which moves on. Runs that follow each other are written
    /// together.
    fn write(&self, output: &Output<'_>, next: &mut [u64]) -> Result<()> {
        let mut bytes = Vec::new();
        let mut begin = 0;
        let mut column = 0;
        while column < next.len() {
            let first = next[column];
            let mut end = first;
            let mut start = begin;
            while column < next.len() && next[column] == end {
                let length = (self.ends[column] - start) as u64;
                next[column] += length;
                end += length;
                start = self.ends[column];
                column += 1;
            }
            if start > begin {
                bytes.clear();
                encode_indices(&self.rows[begin..start], output.place.indices.dtype, &mut bytes);
                output.write_at(&bytes, output.place.indices, first)?;
                let size = self.dtype.size();
                output.write_at(&self.values[begin * size..start * size], output.place.data, first)?;
            }
            begin = start;
        }
        Ok(())
    }
}

/// The values as little-endian `dtype`, in `bytes` if they are not already.
fn converted<'a>((data, stored): (&'a [u8], Dtype), dtype: Dtype, bytes: &'a mut Vec<u8>) -> &'a [u8] {
    if stored == dtype {
        return data;
    }
    let values: Vec<f64> = (0..data.len() / stored.size()).map(|k| value_at(data, stored, k)).collect();
    bytes.clear();
    encode_values(&values, dtype, bytes);
    bytes
}

/// The file that is written.
struct Output<'a> {
    file: File,
    place: &'a InPlace,
}

impl Output<'_> {
    fn write_at(&self, bytes: &[u8], array: RawArray, element: u64) -> Result<()> {
        let at = array.offset + element * array.dtype.size() as u64;
        self.file
            .write_all_at(bytes, at)
            .map_err(|e| Error::io(&self.place.path, "write the transposed store", e))
    }
}
