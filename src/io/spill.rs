//! Rows that were parsed once, kept in a compact form from which they are streamed as often as needed.
//!
//! Text can be read in one direction only, what is wrong with it shows at any place, and inflating and parsing it cost far more
//! than anything that follows. So it is gone through once, and every pass reads this: some 2.5 bytes for a count, in memory up
//! to [`IN_MEMORY`], else in an unnamed file that the system removes with the process.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::Tally;
use super::stream::{plan_blocks, stream};
use crate::atomic::check_free_space;
use crate::error::{Error, Result};
use crate::hdf::to_usize;
use crate::matrix::{Block, RowBlock};

/// Entries of a chunk, which one task decodes.
pub(super) const CHUNK_ENTRIES: usize = 1 << 16;
/// Rows of a chunk, for matrices that are mostly empty.
const CHUNK_ROWS: usize = 1 << 18;
/// Up to here no file is needed.
const IN_MEMORY: usize = 32 << 20;
/// With a file, this much is written at a time.
const WRITE_BYTES: usize = 4 << 20;
/// Counts below are kept as such.
const MOST_COUNT: f64 = (u32::MAX - 1) as f64;
const REMEDY: &str = "free space there, or name another directory with --cache";

/// Some consecutive rows.
#[derive(Clone, Debug)]
struct Chunk {
    bytes: Range<u64>,
    rows: Range<usize>,
    nnz: u64,
    /// Whether all values are counts.
    whole: bool,
}

/// Takes rows in increasing order.
pub(super) struct SpillWriter {
    scratch: PathBuf,
    /// What is expected in all, for the check of free space.
    expected_bytes: u64,
    chunk_entries: usize,
    chunks: Vec<Chunk>,
    buffer: Vec<u8>,
    file: Option<File>,
    /// Bytes before the buffer.
    flushed: u64,
    /// The first row of the chunk in hand, and its rows with entries.
    first_row: usize,
    rows: Vec<usize>,
    entries: RowBlock,
    max: f64,
    fraction: Option<f64>,
}

impl SpillWriter {
    /// Files are made in `scratch`, where about `expected_bytes` will be needed.
    pub(super) fn new(scratch: &Path, expected_bytes: u64, chunk_entries: usize) -> Self {
        Self {
            scratch: scratch.to_owned(),
            expected_bytes,
            chunk_entries,
            chunks: Vec::new(),
            buffer: Vec::new(),
            file: None,
            flushed: 0,
            first_row: 0,
            rows: Vec::new(),
            entries: RowBlock { indptr: vec![0], ..RowBlock::default() },
            max: 0.0,
            fraction: None,
        }
    }

    /// Adds the entries of `row`: indices increase, values are positive. Rows that are left out are empty.
    pub(super) fn push_row(&mut self, row: usize, indices: &[u32], values: &[f64]) -> Result<()> {
        if row - self.first_row >= CHUNK_ROWS {
            self.end_chunk(row)?;
        }
        if !indices.is_empty() {
            self.rows.push(row);
            self.entries.indices.extend_from_slice(indices);
            self.entries.values.extend_from_slice(values);
            self.entries.end_row();
        }
        if self.entries.nnz() >= self.chunk_entries { self.end_chunk(row + 1) } else { Ok(()) }
    }

    /// Starts again at row 0. Returns the number of chunks before.
    pub(super) fn start_again(&mut self) -> Result<usize> {
        self.end_chunk(self.rows.last().map_or(self.first_row, |row| row + 1))?;
        self.first_row = 0;
        Ok(self.chunks.len())
    }

    /// Ends the rows, of which there are `n_rows`.
    pub(super) fn finish(mut self, n_rows: usize) -> Result<Spill> {
        while n_rows - self.first_row > CHUNK_ROWS {
            let last = self.rows.last().map_or(0, |row| row + 1);
            self.end_chunk(last.max(self.first_row + CHUNK_ROWS).min(n_rows))?;
        }
        self.end_chunk(n_rows)?;
        self.close()
    }

    /// [`SpillWriter::finish`] for rows that started again.
    pub(super) fn close(mut self) -> Result<Spill> {
        let held = match self.file.take() {
            Some(file) => {
                self.write(&file)?;
                Held::File(file, self.scratch)
            }
            None => Held::Memory(self.buffer),
        };
        let nnz = self.chunks.iter().map(|chunk| chunk.nnz).sum();
        Ok(Spill { held, chunks: self.chunks, nnz, max: self.max, fraction: self.fraction })
    }

    fn end_chunk(&mut self, end: usize) -> Result<()> {
        if end == self.first_row {
            return Ok(());
        }
        let values = &self.entries.values;
        let is_count = |value: f64| value.fract() == 0.0 && value <= MOST_COUNT;
        let whole = values.iter().fold(true, |whole, &value| whole & is_count(value));
        self.max = values.iter().fold(self.max, |max, &value| max.max(value));
        if !whole && self.fraction.is_none() {
            self.fraction = values.iter().copied().find(|value| value.fract() != 0.0);
        }
        let begin = self.flushed + self.buffer.len() as u64;
        encode(&self.rows, &self.entries, self.first_row, whole, &mut self.buffer);
        let bytes = begin..self.flushed + self.buffer.len() as u64;
        self.chunks.push(Chunk { bytes, rows: self.first_row..end, nnz: self.entries.nnz() as u64, whole });
        self.first_row = end;
        self.rows.clear();
        self.entries.indptr.truncate(1);
        self.entries.indices.clear();
        self.entries.values.clear();
        if self.file.is_none() && self.buffer.len() > IN_MEMORY {
            let what = || "what was parsed".to_owned();
            check_free_space(&self.scratch, self.expected_bytes, what, REMEDY)?;
            let file = tempfile::tempfile_in(&self.scratch);
            self.file = Some(file.map_err(|e| Error::io(&self.scratch, "create a temporary file in", e))?);
        }
        match self.file.take() {
            Some(file) => {
                if self.buffer.len() > WRITE_BYTES {
                    self.write(&file)?;
                }
                self.file = Some(file);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn write(&mut self, mut file: &File) -> Result<()> {
        file.write_all(&self.buffer).map_err(|e| Error::io(&self.scratch, "write a temporary file in", e))?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

enum Held {
    Memory(Vec<u8>),
    /// And the directory it is in.
    File(File, PathBuf),
}

/// Rows that can be streamed.
pub(super) struct Spill {
    held: Held,
    chunks: Vec<Chunk>,
    nnz: u64,
    max: f64,
    fraction: Option<f64>,
}

impl Spill {
    /// The number of entries.
    pub(super) fn nnz(&self) -> u64 {
        self.nnz
    }

    /// The number of chunks.
    pub(super) fn n_chunks(&self) -> usize {
        self.chunks.len()
    }

    /// The largest value, and one with a fraction if there is one: enough to know the type of all.
    pub(super) fn sample(&self) -> Vec<f64> {
        std::iter::once(self.max).chain(self.fraction).collect()
    }

    /// Streams the rows in blocks of bounded size.
    pub(super) fn for_each_block(
        &self,
        consume: &mut dyn FnMut(Block, &Tally) -> Result<()>,
    ) -> Result<Tally> {
        let blocks = plan_blocks(self.chunks.len(), |chunk| {
            // Rows take memory, too.
            self.chunks[chunk].nnz + self.chunks[chunk].rows.len() as u64
        });
        stream(&blocks, |chunks| self.read(&self.chunks[chunks]), consume)
    }

    fn read(&self, chunks: &[Chunk]) -> Result<(Block, Tally)> {
        let bytes = self.bytes(chunks)?;
        let begin = chunks.first().map_or(0, |chunk| chunk.bytes.start);
        let bytes_of =
            |chunk: &Chunk| &bytes[to_usize(chunk.bytes.start - begin)..to_usize(chunk.bytes.end - begin)];
        let nnz = chunks.iter().map(|chunk| chunk.nnz).sum();
        let block = if chunks.iter().all(|chunk| chunk.whole) {
            let parts = chunks.par_iter().map(|chunk| decode(bytes_of(chunk), chunk, |count, _| count));
            Block::Counts(RowBlock::concat(parts.collect()))
        } else {
            Block::Reals(RowBlock::concat(
                chunks.par_iter().map(|chunk| decode_reals(bytes_of(chunk), chunk)).collect(),
            ))
        };
        Ok((block, Tally { nnz, ..Tally::default() }))
    }

    fn bytes(&self, chunks: &[Chunk]) -> Result<std::borrow::Cow<'_, [u8]>> {
        let ([first, ..], [.., last]) = (chunks, chunks) else { return Ok((&[][..]).into()) };
        let span = first.bytes.start..last.bytes.end;
        match &self.held {
            Held::Memory(bytes) => Ok((&bytes[to_usize(span.start)..to_usize(span.end)]).into()),
            Held::File(file, dir) => {
                let mut bytes = vec![0; to_usize(span.end - span.start)];
                file.read_exact_at(&mut bytes, span.start)
                    .map_err(|e| Error::io(dir, "read a temporary file in", e))?;
                Ok(bytes.into())
            }
        }
    }

    /// Goes through the rows of some chunks one by one.
    pub(super) fn rows(&self, chunks: Range<usize>) -> RowCursor<'_> {
        RowCursor {
            spill: self,
            chunks,
            block: RowBlock { indptr: vec![0], ..RowBlock::default() },
            first: 0,
            row: 0,
        }
    }
}

/// Rows one after the other, a chunk of them decoded at a time.
pub(super) struct RowCursor<'a> {
    spill: &'a Spill,
    /// Those to come.
    chunks: Range<usize>,
    block: RowBlock,
    first: usize,
    /// The row in the block.
    row: usize,
}

impl RowCursor<'_> {
    /// The row to look at, which is not empty; `None` at the end.
    pub(super) fn row(&mut self) -> Result<Option<usize>> {
        loop {
            while self.row < self.block.n_rows() {
                if !self.block.row(self.row).0.is_empty() {
                    return Ok(Some(self.first + self.row));
                }
                self.row += 1;
            }
            let Some(next) = self.chunks.next() else { return Ok(None) };
            let chunk = std::slice::from_ref(&self.spill.chunks[next]);
            self.block = self.spill.read(chunk)?.0.into_reals();
            (self.first, self.row) = (chunk[0].rows.start, 0);
        }
    }

    /// Takes the entries of that row.
    pub(super) fn take(&mut self, entries: &mut Vec<(u32, f64)>) {
        let (indices, values) = self.block.row(self.row);
        entries.extend(indices.iter().copied().zip(values.iter().copied()));
        self.row += 1;
    }
}

/// Per row that has entries: how far it is from the one before, how many entries; and per entry how far from the one
/// before, and the value.
fn encode(rows: &[usize], entries: &RowBlock, first_row: usize, whole: bool, out: &mut Vec<u8>) {
    out.reserve(entries.nnz() * 3 + rows.len() * 4);
    let mut next_row = first_row;
    for (place, &row) in rows.iter().enumerate() {
        let (indices, values) = entries.row(place);
        push_varint(out, (row - next_row) as u64);
        push_varint(out, indices.len() as u64);
        next_row = row + 1;
        let mut next = 0;
        for (&index, &value) in indices.iter().zip(values) {
            push_varint(out, u64::from(index - next));
            next = index + 1;
            if whole {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
                push_varint(out, value as u64);
            } else {
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
}

fn decode_reals(bytes: &[u8], chunk: &Chunk) -> RowBlock {
    if chunk.whole {
        return decode(bytes, chunk, |count, _| f64::from(count));
    }
    decode(bytes, chunk, |_, value| value)
}

/// Decodes a chunk; `make` gets the count or the real value.
fn decode<V>(bytes: &[u8], chunk: &Chunk, make: impl Fn(u32, f64) -> V) -> RowBlock<V> {
    let nnz = to_usize(chunk.nnz);
    let mut block = RowBlock {
        indptr: Vec::with_capacity(chunk.rows.len() + 1),
        indices: Vec::with_capacity(nnz),
        values: Vec::with_capacity(nnz),
    };
    block.indptr.push(0);
    let mut rest = bytes;
    while !rest.is_empty() {
        let empty = take_varint(&mut rest);
        block.indptr.resize(block.indptr.len() + to_usize(empty), block.indices.len());
        let mut next = 0;
        for _ in 0..take_varint(&mut rest) {
            #[expect(clippy::cast_possible_truncation, reason = "indices and counts were of 32 bits")]
            let index = next + take_varint(&mut rest) as u32;
            next = index + 1;
            #[expect(clippy::cast_possible_truncation, reason = "indices and counts were of 32 bits")]
            let value = if chunk.whole {
                make(take_varint(&mut rest) as u32, 0.0)
            } else {
                let (value, after) =
                    rest.split_first_chunk().map_or(([0; 8], &[][..]), |(v, after)| (*v, after));
                rest = after;
                make(0, f64::from_le_bytes(value))
            };
            block.push(index, value);
        }
        block.end_row();
    }
    block.indptr.resize(chunk.rows.len() + 1, block.indices.len());
    block
}

#[inline]
fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "seven bits are left")]
    out.push(value as u8);
}

#[inline]
fn take_varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
        shift += 7;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rows = Vec<(usize, Vec<u32>, Vec<f64>)>;

    fn rows(n: usize, value: impl Fn(usize) -> f64) -> Rows {
        let row = |row: usize| {
            let indices: Vec<u32> = (0..40_u32).map(|k| k * 97 + u32::try_from(row % 50).unwrap()).collect();
            let values = (0..40).map(|k| value(row + k)).collect();
            (row, indices, values)
        };
        (0..n).filter(|row| row % 7 != 3).map(row).collect()
    }

    fn read(spill: &Spill) -> (Vec<Vec<(u32, f64)>>, bool) {
        let (mut out, mut all_counts) = (Vec::new(), true);
        let tally = spill
            .for_each_block(&mut |block, _| {
                all_counts &= matches!(block, Block::Counts(_));
                let block = block.into_reals();
                out.extend((0..block.n_rows()).map(|row| {
                    let (indices, values) = block.row(row);
                    indices.iter().copied().zip(values.iter().copied()).collect::<Vec<_>>()
                }));
                Ok(())
            })
            .unwrap();
        assert_eq!(tally.nnz, spill.nnz());
        (out, all_counts)
    }

    #[test]
    fn rows_come_back_as_they_were_from_memory_and_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let count = |k: usize| (k * k % 300 + 1) as f64;
        for (n, value, is_whole) in [
            (1000, &count as &dyn Fn(usize) -> f64, true),
            (500_000, &count, true),
            (110_000, &|k| k as f64 + 0.5, false),
        ] {
            let mut writer = SpillWriter::new(dir.path(), 0, CHUNK_ENTRIES);
            let rows = rows(n, value);
            for (row, indices, values) in &rows {
                writer.push_row(*row, indices, values).unwrap();
            }
            assert_eq!(writer.file.is_some(), n > 1000);
            let spill = writer.finish(n + CHUNK_ROWS * 2 + 5).unwrap();
            let (read, all_counts) = read(&spill);
            assert_eq!(read.len(), n + CHUNK_ROWS * 2 + 5);
            assert_eq!(all_counts, is_whole);
            assert_eq!(read.iter().map(Vec::len).sum::<usize>(), rows.len() * 40);
            for (row, indices, values) in rows {
                assert!(read[row].iter().copied().eq(indices.into_iter().zip(values)), "row {row}");
            }
        }
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "the file has no name");
    }
}
