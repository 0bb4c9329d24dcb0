//! Where the elements of a dataset lie in the file, and reading them in parallel.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hdf5::dataset::Layout;
use rayon::prelude::*;

use super::chunk_index;
use super::file::HdfFile;
use super::filters::{Pipeline, Scratch};
use crate::budget::human_bytes;
use crate::error::{Error, Result};

/// HDF5's own limit for a chunk.
const MAX_CHUNK_BYTES: u64 = u32::MAX as u64;
/// Elements that a file may declare without storing them (fill values).
const MAX_UNSTORED: u64 = 1 << 22;
/// The same in bytes, for long strings and records.
const MAX_UNSTORED_BYTES: u64 = 256 << 20;
/// Chunks side by side that are kept for the next read take at most so much.
pub(crate) const KEPT_BYTES: u64 = 64 << 20;
/// A chunk is in memory as it is stored, between two filters, and decoded.
const CHUNK_COPIES: u64 = 3;
/// One positioned read of a contiguous dataset.
const READ_BYTES: usize = 1 << 20;

/// A 1-D or 2-D dataset as rows of fixed-size elements. A 1-D dataset has one element per row.
pub(crate) struct ByteArray {
    path: PathBuf,
    name: String,
    raw: Arc<File>,
    dims: Vec<usize>,
    element_size: usize,
    storage: Storage,
    fill: Vec<u8>,
}

enum Storage {
    /// Nothing is stored: fill values.
    Absent,
    /// In one piece, at this offset.
    Contiguous(u64),
    /// In the object header; already read.
    Inline(Vec<u8>),
    Chunked(Chunks),
}

struct Chunks {
    /// Rows and columns of a chunk.
    rows: usize,
    columns: usize,
    /// Sorted by band and column.
    table: Vec<Chunk>,
    pipeline: Pipeline,
    kept: Mutex<Kept>,
}

/// Decoded chunks in which the last read ended, by their place in the table: the next one goes on there. One of any size, or
/// several of [`KEPT_BYTES`] in all.
type Kept = Vec<(usize, Arc<Vec<u8>>)>;

/// A decoded chunk, in the thread's memory or kept for the next read.
enum Decoded<'a> {
    Scratch(&'a [u8]),
    Kept(Arc<Vec<u8>>),
}

impl Decoded<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Scratch(bytes) => bytes,
            Self::Kept(bytes) => bytes,
        }
    }
}

#[derive(Clone, Copy)]
struct Chunk {
    /// Which row of chunks.
    band: usize,
    /// Which column of chunks.
    column: usize,
    address: u64,
    size: u64,
    mask: u32,
}

impl ByteArray {
    /// Finds out where `dataset` lies. `inline` gives the bytes of a compact dataset.
    pub(crate) fn open(
        file: &HdfFile,
        dataset: &hdf5::Dataset,
        name: &str,
        element_size: usize,
        fill: Vec<u8>,
        inline: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Self> {
        let path = file.path();
        let dims = dataset.shape();
        let mut array = Self {
            path: path.to_owned(),
            name: name.to_owned(),
            raw: file.raw(),
            dims,
            element_size,
            storage: Storage::Absent,
            fill,
        };
        if array.dims.is_empty() || array.dims.len() > 2 {
            return Err(array.problem(
                "1 or 2 dimensions",
                array.dims.len().to_string(),
                "use another dataset",
            ));
        }
        let elements = array.dims.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim as u64));
        let bytes = elements.and_then(|count| count.checked_mul(element_size as u64));
        let (Some(elements), Some(bytes)) = (elements, bytes) else {
            return Err(array.problem("a shape that fits a file", format!("{:?}", array.dims), DAMAGED));
        };
        array.storage = match dataset.layout() {
            Layout::Contiguous => match dataset.offset() {
                None => Storage::Absent,
                Some(offset) => {
                    if offset.checked_add(bytes).is_none_or(|end| end > file.size()) {
                        return Err(array.beyond_end(bytes));
                    }
                    Storage::Contiguous(offset)
                }
            },
            Layout::Compact => Storage::Inline(inline()?),
            Layout::Chunked => Storage::Chunked(array.chunk_table(file, dataset)?),
            Layout::Virtual => unreachable!("refused on opening"),
        };
        array.check_stored(elements)?;
        Ok(array)
    }

    /// The shape.
    pub(crate) fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The first dimension.
    pub(crate) fn n_rows(&self) -> usize {
        self.dims[0]
    }

    /// The second dimension; 1 for a 1-D dataset.
    pub(crate) fn n_columns(&self) -> usize {
        self.dims.get(1).copied().unwrap_or(1)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the bytes begin, when they lie in one piece as they are.
    pub(crate) fn contiguous_offset(&self) -> Option<u64> {
        match self.storage {
            Storage::Contiguous(offset) => Some(offset),
            _ => None,
        }
    }

    /// Rows of a chunk, when there are chunks.
    pub(crate) fn chunk_rows(&self) -> Option<usize> {
        match &self.storage {
            Storage::Chunked(chunks) => Some(chunks.rows),
            _ => None,
        }
    }

    /// Columns of a chunk, when there are chunks.
    pub(crate) fn chunk_columns(&self) -> Option<usize> {
        match &self.storage {
            Storage::Chunked(chunks) => Some(chunks.columns),
            _ => None,
        }
    }

    /// "contiguous", or the chunk shape and the compression.
    pub(crate) fn describe(&self) -> String {
        match &self.storage {
            Storage::Absent => "nothing stored".to_owned(),
            Storage::Contiguous(_) | Storage::Inline(_) => "contiguous, uncompressed".to_owned(),
            Storage::Chunked(chunks) => {
                let shape = if self.dims.len() == 1 {
                    chunks.rows.to_string()
                } else {
                    format!("{} x {}", chunks.rows, chunks.columns)
                };
                format!("chunks of {shape}, compression: {}", chunks.pipeline.describe())
            }
        }
    }

    /// Reads whole rows, converting bytes to elements in parallel. `output` holds
    /// `rows.len() * n_columns()` elements; `convert` is given as many elements of bytes as of output.
    pub(crate) fn read<T: Send>(
        &self,
        rows: Range<usize>,
        output: &mut [T],
        convert: impl Fn(&[u8], &mut [T]) + Sync,
    ) -> Result<()> {
        debug_assert!(rows.end <= self.n_rows() && output.len() == rows.len() * self.n_columns());
        let size = self.element_size;
        match &self.storage {
            Storage::Absent => {
                self.fill_with(output, &convert);
                Ok(())
            }
            Storage::Inline(bytes) => {
                let begin = rows.start * self.n_columns() * size;
                convert(&bytes[begin..begin + output.len() * size], output);
                Ok(())
            }
            Storage::Contiguous(offset) => {
                let begin = offset + (rows.start * self.n_columns() * size) as u64;
                let step = (READ_BYTES / size).max(1);
                output.par_chunks_mut(step).enumerate().try_for_each_init(Vec::new, |bytes, (index, part)| {
                    bytes.resize(part.len() * size, 0);
                    self.read_at(bytes, begin + (index * step * size) as u64)?;
                    convert(bytes, part);
                    Ok(())
                })
            }
            Storage::Chunked(chunks) => self.read_chunked(chunks, &rows, output, &convert),
        }
    }

    fn read_chunked<T: Send>(
        &self,
        chunks: &Chunks,
        rows: &Range<usize>,
        output: &mut [T],
        convert: &(impl Fn(&[u8], &mut [T]) + Sync),
    ) -> Result<()> {
        if output.is_empty() {
            return Ok(());
        }
        let n_columns = self.n_columns();
        let mut parts = Vec::new();
        let mut rest = output;
        for band in rows.start / chunks.rows..=(rows.end - 1) / chunks.rows {
            let begin = rows.start.max(band * chunks.rows);
            let end = rows.end.min((band + 1).saturating_mul(chunks.rows));
            let (part, others) = rest.split_at_mut((end - begin) * n_columns);
            parts.push((band, begin..end, part));
            rest = others;
        }
        parts.into_par_iter().try_for_each_init(Scratch::new, |scratch, (band, rows, part)| {
            self.read_band(chunks, scratch, band, &rows, part, convert)
        })
    }

    /// Reads whole columns, one after the other: `columns.len()` x `n_rows()` elements.
    pub(crate) fn read_columns<T: Copy + Default + Send + Sync>(
        &self,
        columns: Range<usize>,
        convert: impl Fn(&[u8], &mut [T]) + Sync,
    ) -> Result<Vec<T>> {
        let n_rows = self.n_rows();
        let mut output = vec![T::default(); columns.len() * n_rows];
        if output.is_empty() {
            return Ok(output);
        }
        // What is not in chunks is one tile.
        let (tile_rows, tile_columns) = match &self.storage {
            Storage::Chunked(chunks) => (chunks.rows, chunks.columns),
            _ => (n_rows, self.n_columns()),
        };
        let (n_bands, first) = (n_rows.div_ceil(tile_rows), columns.start / tile_columns);
        let span = |tile: usize| {
            let left = (first + tile) * tile_columns;
            columns.start.max(left)..columns.end.min(left.saturating_add(tile_columns))
        };
        let n_tiles = (columns.end - 1) / tile_columns + 1 - first;
        let tiles = (0..n_tiles * n_bands).into_par_iter().map_init(Scratch::new, |scratch, index| {
            let (tile, band) = (index / n_bands, index % n_bands);
            match &self.storage {
                Storage::Chunked(chunks) => self.read_tile(chunks, scratch, band, &span(tile), &convert),
                _ => self.read_strip(&span(tile), &convert),
            }
        });
        let tiles: Vec<Vec<T>> = tiles.collect::<Result<_>>()?;
        output.par_chunks_mut(n_rows).zip(columns.clone()).for_each(|(output, column)| {
            let tile = column / tile_columns - first;
            let span = span(tile);
            let tiles = &tiles[tile * n_bands..(tile + 1) * n_bands];
            let values =
                tiles.iter().flat_map(|tile| tile.iter().skip(column - span.start).step_by(span.len()));
            output.iter_mut().zip(values).for_each(|(to, from)| *to = *from);
        });
        Ok(output)
    }

    /// The part of a chunk that lies in `columns`, row by row.
    fn read_tile<T: Copy + Default>(
        &self,
        chunks: &Chunks,
        scratch: &mut Scratch,
        band: usize,
        columns: &Range<usize>,
        convert: &impl Fn(&[u8], &mut [T]),
    ) -> Result<Vec<T>> {
        let size = self.element_size;
        let rows = band * chunks.rows..self.n_rows().min((band + 1).saturating_mul(chunks.rows));
        let mut tile = vec![T::default(); rows.len() * columns.len()];
        let key = (band, columns.start / chunks.columns);
        match chunks.table.binary_search_by_key(&key, |chunk| (chunk.band, chunk.column)) {
            Ok(index) => {
                let decoded = self.chunk_bytes(chunks, scratch, index, &rows)?;
                let left = columns.start % chunks.columns * size;
                let lines = decoded.bytes().chunks_exact(chunks.columns * size);
                for (part, line) in tile.chunks_exact_mut(columns.len()).zip(lines) {
                    convert(&line[left..left + part.len() * size], part);
                }
            }
            Err(_) => self.fill_with(&mut tile, convert),
        }
        Ok(tile)
    }

    /// The part of a dataset without chunks that lies in `columns`, row by row.
    fn read_strip<T: Copy + Default>(
        &self,
        columns: &Range<usize>,
        convert: &impl Fn(&[u8], &mut [T]),
    ) -> Result<Vec<T>> {
        let size = self.element_size;
        let mut strip = vec![T::default(); self.n_rows() * columns.len()];
        let length = columns.len() * size;
        let mut bytes = vec![0; length];
        for (row, part) in strip.chunks_exact_mut(columns.len()).enumerate() {
            let begin = (row * self.n_columns() + columns.start) * size;
            match &self.storage {
                Storage::Contiguous(offset) => self.read_at(&mut bytes, offset + begin as u64)?,
                Storage::Inline(inline) => bytes.copy_from_slice(&inline[begin..begin + length]),
                Storage::Absent | Storage::Chunked(_) => {
                    self.fill_with(part, convert);
                    continue;
                }
            }
            convert(&bytes, part);
        }
        Ok(strip)
    }

    /// Reads `rows`, all of one row of chunks.
    fn read_band<T: Send>(
        &self,
        chunks: &Chunks,
        scratch: &mut Scratch,
        band: usize,
        rows: &Range<usize>,
        output: &mut [T],
        convert: &(impl Fn(&[u8], &mut [T]) + Sync),
    ) -> Result<()> {
        let n_columns = self.n_columns();
        let size = self.element_size;
        let top = band * chunks.rows;
        for column in 0..n_columns.div_ceil(chunks.columns) {
            let left = column * chunks.columns;
            let width = chunks.columns.min(n_columns - left);
            let key = chunks.table.binary_search_by_key(&(band, column), |chunk| (chunk.band, chunk.column));
            let decoded = match key {
                Ok(index) => Some(self.chunk_bytes(chunks, scratch, index, rows)?),
                Err(_) => None,
            };
            let bytes = decoded.as_ref().map(Decoded::bytes);
            let whole_rows = width == n_columns && chunks.columns == n_columns;
            match bytes {
                Some(bytes) if whole_rows => {
                    let row_bytes = n_columns * size;
                    convert(&bytes[(rows.start - top) * row_bytes..(rows.end - top) * row_bytes], output);
                }
                bytes => {
                    for row in rows.clone() {
                        let to = (row - rows.start) * n_columns + left;
                        let part = &mut output[to..to + width];
                        match bytes {
                            Some(bytes) => {
                                let from = (row - top) * chunks.columns * size;
                                convert(&bytes[from..from + width * size], part);
                            }
                            None => self.fill_with(part, convert),
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The decoded chunk; kept when `rows` end inside it, since the next read begins there.
    fn chunk_bytes<'a>(
        &self,
        chunks: &Chunks,
        scratch: &'a mut Scratch,
        index: usize,
        rows: &Range<usize>,
    ) -> Result<Decoded<'a>> {
        let chunk = chunks.table[index];
        let goes_on = rows.end < (chunk.band + 1).saturating_mul(chunks.rows).min(self.n_rows());
        let kept = || chunks.kept.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut kept = kept();
            if let Some(place) = kept.iter().position(|(kept, _)| *kept == index) {
                let bytes = if goes_on { Arc::clone(&kept[place].1) } else { kept.swap_remove(place).1 };
                return Ok(Decoded::Kept(bytes));
            }
        }
        self.read_at(scratch.stored(super::to_usize(chunk.size)), chunk.address)?;
        let decoded_size = chunks.rows * chunks.columns * self.element_size;
        chunks.pipeline.decode(scratch, chunk.mask, self.element_size, decoded_size).map_err(|fault| {
            let place = format!("chunk {index} at byte {}", chunk.address);
            self.problem("intact chunks", format!("a damaged one ({place}): {fault}"), DAMAGED)
        })?;
        if goes_on {
            let mut kept = kept();
            // What others have left that lies above is not read again.
            kept.retain(|(kept, _)| chunks.table[*kept].band == chunk.band);
            let others: usize = kept.iter().map(|(_, bytes)| bytes.len()).sum();
            if kept.is_empty() || others.saturating_add(decoded_size) as u64 <= KEPT_BYTES {
                let bytes = Arc::new(scratch.decoded().to_vec());
                kept.push((index, Arc::clone(&bytes)));
                return Ok(Decoded::Kept(bytes));
            }
        }
        Ok(Decoded::Scratch(scratch.decoded()))
    }

    fn fill_with<T>(&self, output: &mut [T], convert: &impl Fn(&[u8], &mut [T])) {
        let step = (READ_BYTES / self.element_size.max(1)).clamp(1, 1024);
        let bytes = self.fill.repeat(step.min(output.len()));
        for part in output.chunks_mut(step) {
            convert(&bytes[..part.len() * self.element_size], part);
        }
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        self.raw.read_exact_at(bytes, offset).map_err(|source| Error::io(&self.path, "read", source))
    }

    fn chunk_table(&self, file: &HdfFile, dataset: &hdf5::Dataset) -> Result<Chunks> {
        let pipeline = Pipeline::of(dataset, &self.path, &self.name)?;
        let shape = dataset.chunk().unwrap_or_default();
        let (rows, columns) = match shape[..] {
            [rows] if self.dims.len() == 1 => (rows, 1),
            [rows, columns] if self.dims.len() == 2 => (rows, columns),
            _ => return Err(self.problem("chunks of the dataset's rank", format!("{shape:?}"), DAMAGED)),
        };
        let decoded = (rows as u64)
            .checked_mul(columns as u64)
            .and_then(|count| count.checked_mul(self.element_size as u64))
            .filter(|&bytes| bytes > 0 && bytes <= MAX_CHUNK_BYTES);
        let Some(decoded) = decoded else {
            return Err(self.problem("chunks under 4 GiB", format!("{shape:?}"), DAMAGED));
        };
        if file.memory().is_some_and(|memory| decoded.saturating_mul(CHUNK_COPIES) > memory) {
            let remedy = "allow more with --memory, or write the file again with smaller chunks";
            let found = format!("chunks of {}", human_bytes(decoded));
            return Err(self.problem("chunks that fit in memory", found, remedy));
        }
        let unfiltered_edges =
            dataset.create_plist().ok().and_then(|plist| plist.chunk_opts()).is_some_and(|options| {
                options.contains(hdf5::dataset::ChunkOpts::DONT_FILTER_PARTIAL_CHUNKS)
            });
        let entries = chunk_index::entries(file, dataset)
            .map_err(|index| self.problem("a readable chunk index", format!("no entry {index}"), DAMAGED))?;
        let mut table = Vec::with_capacity(entries.len());
        for entry in entries {
            let [top, left] = entry.offset.map(super::to_usize);
            let partial =
                top.saturating_add(rows) > self.n_rows() || left.saturating_add(columns) > self.n_columns();
            let mask = if unfiltered_edges && partial { u32::MAX } else { entry.mask };
            let inside = entry.address.checked_add(entry.size).is_some_and(|end| end <= file.size());
            if !inside || !pipeline.can_expand(entry.size, decoded) {
                return Err(self.beyond_end(decoded));
            }
            let (band, column) = (top / rows, left / columns);
            table.push(Chunk { band, column, address: entry.address, size: entry.size, mask });
        }
        table.sort_unstable_by_key(|chunk| (chunk.band, chunk.column));
        Ok(Chunks { rows, columns, table, pipeline, kept: Mutex::default() })
    }

    /// Refuses a shape far beyond what is stored: nothing may be allocated on its word.
    fn check_stored(&self, elements: u64) -> Result<()> {
        let stored = match &self.storage {
            Storage::Contiguous(_) => elements,
            Storage::Absent => 0,
            Storage::Inline(bytes) => (bytes.len() / self.element_size.max(1)) as u64,
            Storage::Chunked(chunks) => {
                (chunks.table.len() as u64).saturating_mul((chunks.rows * chunks.columns) as u64)
            }
        };
        let unstored = elements.saturating_sub(stored);
        let unstored_bytes = unstored.saturating_mul(self.element_size as u64);
        let too_many = unstored > MAX_UNSTORED || unstored_bytes > MAX_UNSTORED_BYTES;
        // A dense matrix is read in bands; never written chunks of it cost nothing.
        if too_many && (self.dims.len() == 1 || stored == 0) {
            return Err(self.problem(
                format!("{elements} stored elements (shape {:?})", self.dims),
                format!("at most {stored}"),
                "the file is incomplete or damaged; write or download it again",
            ));
        }
        Ok(())
    }

    fn beyond_end(&self, bytes: u64) -> Error {
        self.problem("data inside the file", format!("{bytes} bytes that cannot be in it"), DAMAGED)
    }

    pub(crate) fn problem(
        &self,
        expected: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Error {
        Error::input(&self.path, &self.name, expected, found, remedy)
    }
}

const DAMAGED: &str = "the file is damaged; download or copy it again";
