//! From a source to a store in one pass: every entry is checked, summed up and written while it is at hand.
//!
//! The layout is guessed from a sample of the values. It can turn out too narrow, or entries are left out or
//! merged on reading: then it is read again with what is known by then. The sample makes that rare, and as its
//! values are those of the file, the type is never wider than need be.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rayon::prelude::*;
use tempfile::NamedTempFile;

use super::halves::HalfFit;
use super::open::Store;
use super::prepare::{Progress, Storing, temporary};
use super::sum::{Facts, Summable, add_columns};
use super::write::{
    Layout, StoreDtype, Summary, create, data_dtype, encode_indices, encode_values, open_for_filling,
};
use crate::error::{Error, Result};
use crate::io::{Dtype, InPlace, RawArray, Source, Tally};
use crate::matrix::{Block, Major, RowBlock};

/// Entries that one task looks at and writes: they stay in its core's cache meanwhile.
const TASK_ENTRIES: usize = 1 << 16;
/// What the attempts are called.
const NAMES: [&str; 2] = ["unpacking", "unpacking again"];

/// Streams the source once, checks every entry and sums it up. `progress` is told the entries of each block.
/// Real values are to be stored as `real_dtype`, unless the file itself can serve as the store: its transpose is
/// f32 then, since both orientations have to hold the same values.
///
/// # Errors
/// When the source is damaged, no entry is observed, or a value does not fit `real_dtype`.
pub fn scan(source: &dyn Source, real_dtype: StoreDtype, progress: &dyn Fn(u64)) -> Result<Summary> {
    let mut pass = Pass::new(source, real_dtype, None);
    pass.run(progress)?;
    pass.summarise()
}

/// The store of a source in its own orientation: the file itself where it can be mapped, else one that is written.
/// Checks and sums up as [`scan`] does.
///
/// # Errors
/// Those of [`scan`], and when the store does not fit its directory or cannot be written.
pub fn unpack(
    source: &dyn Source,
    real_dtype: StoreDtype,
    storing: &Storing<'_>,
    progress: Progress<'_>,
) -> Result<Store> {
    let n_columns = source.axis(source.major().other()).len();
    if let Some(kept) = storing.find(source, source.major()) {
        return Ok(kept);
    }
    source.load(&|n| progress("parsing", n))?;
    let mut layout = guess(source, real_dtype);
    let mut names = NAMES.iter();
    let mut is_known = false;
    loop {
        let writer = match &layout {
            Some(layout) => {
                storing.check_space(source, layout)?;
                Some(Writer::create(source, layout, temporary(storing.dir)?)?)
            }
            None => None,
        };
        let name = if writer.is_none() { "checking" } else { names.next().unwrap_or(&NAMES[1]) };
        let mut pass = Pass::new(source, real_dtype, writer);
        pass.is_guess = !is_known;
        if !pass.run(&|n| progress(name, n))? {
            layout = pass.wider;
            continue;
        }
        let summary = pass.summarise()?;
        if let Some(place) = mappable(source, &summary.tally) {
            return Store::map(&place, source.major(), n_columns, summary);
        }
        let exact = summary.layout();
        match pass.writer {
            Some(writer) if layout == Some(exact) && writer.is_complete() => {
                let Writer { temporary, place, .. } = writer;
                return storing.finish(temporary, &place, source.major(), n_columns, summary);
            }
            _ if is_known => return Err(Error::changed(source.path(), "entries")),
            _ => (layout, is_known) = (Some(exact), true),
        }
    }
}

/// The layout to begin with; `None` when the file may serve itself, or the number of entries is not known.
fn guess(source: &dyn Source, real_dtype: StoreDtype) -> Option<Layout> {
    if source.in_place().is_some() {
        return None;
    }
    let sample = source.sample()?;
    let (whole, max) = Summable::range(&sample[..]);
    let shape = (source.axis(source.major()).len(), source.axis(source.major().other()).len());
    Some(Layout::new(shape, source.declared_nnz(), data_dtype(whole, max, real_dtype)))
}

/// Where the entries lie when the file itself serves as the store: nothing in it had to be mended.
fn mappable(source: &dyn Source, tally: &Tally) -> Option<InPlace> {
    let clean = *tally == Tally { nnz: tally.nnz, ..Tally::default() };
    source.in_place().filter(|_| clean)
}

/// One pass over the source.
struct Pass<'a> {
    source: &'a dyn Source,
    real_dtype: StoreDtype,
    summary: Summary,
    half_fit: HalfFit,
    /// Given up when entries were left out and the layout is a guess: the arrays would be too long.
    writer: Option<Writer>,
    is_guess: bool,
    /// A layout that holds what did not fit the writer's.
    wider: Option<Layout>,
}

impl<'a> Pass<'a> {
    fn new(source: &'a dyn Source, real_dtype: StoreDtype, writer: Option<Writer>) -> Self {
        let n_columns = source.axis(source.major().other()).len();
        let mut summary = Summary { integer: true, col_nnz: vec![0; n_columns], ..Summary::default() };
        if source.major() == Major::Genes {
            summary.cell_sums = vec![0.0; source.cells().len()];
        }
        Self {
            source,
            real_dtype,
            summary,
            half_fit: HalfFit::default(),
            writer,
            is_guess: true,
            wider: None,
        }
    }

    /// Reads everything, unless the writer turns out too narrow: then it returns false.
    fn run(&mut self, progress: &dyn Fn(u64)) -> Result<bool> {
        let result = self.source.for_each_block(&mut |block, tally| {
            if tally.explicit_zeros + tally.merged_duplicates > 0 && self.is_guess {
                self.writer = None;
            }
            match &block {
                Block::Counts(block) => self.add(block),
                Block::Singles(block) => self.add(block),
                Block::Reals(block) => self.add(block),
            }?;
            progress(block.nnz() as u64);
            match self.wider {
                None => Ok(()),
                // Ends the stream; nobody sees it.
                Some(_) => Err(Error::changed(self.source.path(), "types")),
            }
        });
        if self.wider.is_some() {
            return Ok(false);
        }
        self.summary.tally = result?;
        Ok(true)
    }

    /// Sums up and writes the rows that follow.
    fn add<V: Summable>(&mut self, block: &RowBlock<V>) -> Result<()> {
        let Self { source, real_dtype, ref mut summary, .. } = *self;
        let first_row = summary.row_nnz.len();
        let rows_are_cells = source.major() == Major::Cells;
        let writer = self.writer.as_ref();
        if let Some(writer) = writer {
            writer.check_room(source.path(), block.n_rows(), block.nnz())?;
        }
        let sums = (!rows_are_cells).then_some(&mut summary.cell_sums[..]);
        let ((), facts) = rayon::join(
            || add_columns(block, &mut summary.col_nnz, sums),
            || {
                let work = |bytes: &mut Vec<u8>, rows: Range<usize>| {
                    let facts = Facts::of(block, rows.clone(), first_row, real_dtype);
                    match writer {
                        Some(writer) if writer.holds(&facts) => {
                            writer.write(block, rows, bytes).map(|()| facts)
                        }
                        _ => Ok(facts),
                    }
                };
                block.split(TASK_ENTRIES).into_par_iter().map_init(Vec::new, work).collect::<Vec<_>>()
            },
        );
        summary.row_nnz.extend(block.indptr.windows(2).map(|ends| (ends[1] - ends[0]) as u64));
        let mut fits = true;
        for facts in facts {
            let facts = facts?;
            fits &= self.writer.as_ref().is_none_or(|writer| writer.holds(&facts));
            facts.add_to(&mut self.summary, &mut self.half_fit, rows_are_cells);
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if fits {
            return writer.advance(block);
        }
        let data = data_dtype(self.summary.integer, self.summary.max, real_dtype);
        self.wider = Some(Layout { data, ..writer.layout });
        Ok(())
    }

    /// What was found, after [`Pass::run`].
    fn summarise(&mut self) -> Result<Summary> {
        let mut summary = std::mem::take(&mut self.summary);
        let source = self.source;
        if summary.tally.nnz == 0 {
            return Err(Error::input(
                source.path(),
                source.head().layout.clone(),
                "at least one observed (non-zero) entry",
                format!("{} cells x {} genes, all zero", source.cells().len(), source.genes().len()),
                "check that this is the right file, layer (--layer), genome (--genome) and feature type",
            ));
        }
        let is_mapped = mappable(source, &summary.tally).is_some();
        if self.real_dtype == StoreDtype::F16 && !summary.integer && !is_mapped {
            summary.real_dtype = StoreDtype::F16;
            summary.raised = self.half_fit.check(source)?;
        }
        Ok(summary)
    }
}

/// Fills the arrays of a store in row order.
struct Writer {
    layout: Layout,
    place: InPlace,
    file: File,
    /// Rows and entries of the blocks written so far.
    rows: u64,
    entries: u64,
    /// Holds the name until the store is mapped.
    temporary: NamedTempFile,
}

impl Writer {
    fn create(source: &dyn Source, layout: &Layout, temporary: NamedTempFile) -> Result<Self> {
        let path = temporary.path();
        let place = create(path, source.major(), source.cells(), source.genes(), layout)?;
        let file = open_for_filling(path)?;
        let writer = Self { layout: *layout, place, file, rows: 0, entries: 0, temporary };
        writer.write_at(&0_i64.to_le_bytes(), writer.place.indptr, 0)?;
        Ok(writer)
    }

    /// Whether the store's type holds the values.
    fn holds(&self, facts: &Facts) -> bool {
        let limit = match self.layout.data {
            Dtype::U8 => u8::MAX.into(),
            Dtype::U16 => u16::MAX.into(),
            Dtype::U32 => u32::MAX.into(),
            _ => return true,
        };
        facts.whole && facts.max <= limit
    }

    fn check_room(&self, input: &Path, rows: usize, entries: usize) -> Result<()> {
        let too_many = self.entries + entries as u64 > self.place.data.len
            || self.rows + rows as u64 >= self.place.indptr.len;
        if too_many { Err(Error::changed(input, "entries")) } else { Ok(()) }
    }

    /// Writes indices and values of some rows of the next block.
    fn write<V: Summable>(&self, block: &RowBlock<V>, rows: Range<usize>, bytes: &mut Vec<u8>) -> Result<()> {
        let first = self.entries + block.indptr[rows.start] as u64;
        let (indices, values) = block.rows(rows);
        bytes.clear();
        encode_indices(indices, self.place.indices.dtype, bytes);
        self.write_at(bytes, self.place.indices, first)?;
        bytes.clear();
        encode_values(values, self.place.data.dtype, bytes);
        self.write_at(bytes, self.place.data, first)
    }

    /// Writes the offsets of the block, whose rows are written.
    fn advance<V>(&mut self, block: &RowBlock<V>) -> Result<()> {
        let ends = block.indptr[1..].iter().map(|&end| self.entries + end as u64);
        let bytes: Vec<u8> = ends.flat_map(u64::to_le_bytes).collect();
        self.write_at(&bytes, self.place.indptr, self.rows + 1)?;
        self.rows += block.n_rows() as u64;
        self.entries += block.nnz() as u64;
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.entries == self.place.data.len && self.rows + 1 == self.place.indptr.len
    }

    fn write_at(&self, bytes: &[u8], array: RawArray, element: u64) -> Result<()> {
        let at = array.offset + element * array.dtype.size() as u64;
        self.file
            .write_all_at(bytes, at)
            .map_err(|e| Error::io(&self.place.path, "write the matrix store", e))
    }
}
