//! From the three arrays of a compressed matrix to validated blocks of rows.

use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use super::entry::{Entry, Rule, value_fault};
use super::{Dtype, Head, InPlace, Tally, Values};
use crate::error::{Error, Result};
use crate::hdf::{FromElement, HdfFile, NumericArray, to_usize};
use crate::matrix::{Block, Major, PartMut, RowBlock};
use crate::parallel;

/// Entries of a block: 16 to 24 MB decoded, some ten chunks of the usual writers.
const BLOCK_ENTRIES: u64 = 2 << 20;
/// Rows of a block, for matrices that are mostly empty.
const BLOCK_ROWS: usize = 1 << 20;
/// Entries that one task checks.
const TASK_ENTRIES: usize = 1 << 16;
/// A sample of the values is that many spans of so many entries: usually a chunk each.
const SAMPLES: usize = 64;
const SAMPLE_ENTRIES: usize = 1 << 14;
/// A row may hold this many entries per column, and so many more.
const MAX_REPEATS: u64 = 4;
const FREE_ENTRIES: u64 = 1 << 20;
/// In a column map: this column is left out.
pub(super) const DROPPED: u32 = u32::MAX;

/// A compressed sparse matrix in a file.
pub(super) struct Compressed {
    indptr: Vec<u64>,
    indptr_array: NumericArray,
    indices: NumericArray,
    data: NumericArray,
    n_columns: usize,
}

/// How rows and columns of a file are called, for messages.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) major: Major,
    pub(super) rows: &'a [String],
    pub(super) columns: &'a [String],
    /// What to do when the values are no counts.
    pub(super) remedy: &'a str,
    /// Which values are allowed.
    pub(super) values: Values,
}

impl<'a> Names<'a> {
    /// Of a matrix with `major` as rows.
    pub(super) fn of(head: &'a Head, major: Major, remedy: &'a str, values: Values) -> Self {
        let names = |major| &head.axis(major).names[..];
        Self { major, rows: names(major), columns: names(major.other()), remedy, values }
    }

    pub(super) fn row(&self, row: usize) -> String {
        self.major.describe_row(self.rows, row)
    }

    pub(super) fn column(&self, column: usize) -> String {
        self.major.other().describe_row(self.columns, column)
    }

    /// What values of this type have to be.
    pub(super) fn rule(&self, dtype: Dtype) -> Rule {
        match self.values {
            Values::Finite => Rule::Finite,
            Values::Expression if dtype.is_real() => Rule::Real,
            Values::Expression => Rule::Count,
        }
    }
}

impl Compressed {
    /// Opens `data`, `indices` and `indptr` in `group` and checks lengths and row offsets.
    pub(super) fn open(
        file: &HdfFile,
        group: &str,
        n_rows: usize,
        n_columns: usize,
        names: &Names<'_>,
    ) -> Result<Self> {
        let open = |member: &str| {
            let array = NumericArray::open(file, &format!("{group}/{member}"))?;
            if array.dims().len() == 1 {
                return Ok(array);
            }
            Err(array.problem("one dimension", format!("shape {:?}", array.dims()), REWRITE))
        };
        let (indptr_array, indices, data) = (open("indptr")?, open("indices")?, open("data")?);
        for array in [&indptr_array, &indices] {
            if array.dtype().is_real() {
                return Err(array.problem("integers", array.dtype().to_string(), REWRITE));
            }
        }
        if data.n_rows() != indices.n_rows() {
            let expected = format!("{} entries, as {}", indices.n_rows(), indices.name());
            return Err(data.problem(expected, data.n_rows().to_string(), REWRITE));
        }
        if u32::try_from(n_columns).is_err() {
            return Err(indices.problem(
                "fewer than 2^32 columns",
                n_columns.to_string(),
                "split the matrix",
            ));
        }
        if indptr_array.n_rows() != n_rows + 1 {
            let expected = format!("{} offsets (one more than {}s)", n_rows + 1, names.major.row_noun());
            return Err(indptr_array.problem(expected, indptr_array.n_rows().to_string(), REWRITE));
        }
        let indptr = indptr_array.read_all()?;
        let matrix = Self { indptr, indptr_array, indices, data, n_columns };
        matrix.check_offsets(names)?;
        Ok(matrix)
    }

    fn check_offsets(&self, names: &Names<'_>) -> Result<()> {
        let nnz = self.data.n_rows() as u64;
        let problem = |row: usize, expected: String| {
            let object = format!("{}[{row}], {}", self.indptr_array.name(), names.row(row.saturating_sub(1)));
            Error::input(self.path(), object, expected, self.indptr_array.show(row), REWRITE)
        };
        if self.indptr[0] != 0 {
            return Err(problem(0, "0".to_owned()));
        }
        if let Some(row) = self.indptr.windows(2).position(|pair| pair[1] < pair[0] || pair[1] > nnz) {
            let expected = format!("an offset from {} to {nnz} (offsets never decrease)", self.indptr[row]);
            return Err(problem(row + 1, expected));
        }
        // Repeated entries are summed, but a row is held in memory whole: damage must not make it huge.
        let longest = (self.n_columns as u64).saturating_mul(MAX_REPEATS).saturating_add(FREE_ENTRIES);
        if let Some(row) = (0..self.n_rows()).find(|&row| self.row_len(row) > longest) {
            let object = format!("{}[{}], {}", self.indptr_array.name(), row + 1, names.row(row));
            let noun = names.major.other().row_noun();
            let expected = format!("at most {longest} entries in a row of {} {noun}s", self.n_columns);
            let found = format!("{} entries", self.row_len(row));
            return Err(Error::input(self.path(), object, expected, found, REWRITE));
        }
        let last = self.indptr.len() - 1;
        if self.indptr[last] != nnz {
            return Err(problem(last, format!("{nnz}, the number of entries")));
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        self.data.path()
    }

    pub(super) fn n_rows(&self) -> usize {
        self.indptr.len() - 1
    }

    pub(super) fn nnz(&self) -> u64 {
        self.data.n_rows() as u64
    }

    /// Entries of one row as declared.
    pub(super) fn row_len(&self, row: usize) -> u64 {
        self.indptr[row + 1] - self.indptr[row]
    }

    /// Where the arrays lie, when all three can be mapped.
    pub(super) fn in_place(&self) -> Option<InPlace> {
        Some(InPlace {
            path: self.path().to_owned(),
            indptr: self.indptr_array.in_place()?,
            indices: self.indices.in_place()?,
            data: self.data.in_place()?,
        })
    }

    /// Types and storage of the arrays, for people.
    pub(super) fn describe(&self) -> Vec<(String, String)> {
        [&self.data, &self.indices, &self.indptr_array]
            .map(|array| (array.name().to_owned(), array.describe()))
            .to_vec()
    }

    /// Some values from all over the matrix, as they stand in the file, unchecked. An unreadable part gives none:
    /// whoever reads all of it will be told.
    pub(super) fn sample(&self) -> Vec<f64> {
        let len = self.data.n_rows();
        let step = (len / SAMPLES).max(SAMPLE_ENTRIES);
        let spans = (0..len).step_by(step).map(|start| start..len.min(start + SAMPLE_ENTRIES));
        let parts: Vec<_> =
            spans.collect::<Vec<_>>().into_par_iter().map(|span| self.data.read::<f64>(span)).collect();
        parts.into_iter().flat_map(Result::unwrap_or_default).collect()
    }

    /// Reads and validates rows. `map` gives every column's new position, or [`DROPPED`]; new
    /// positions increase with the old.
    pub(super) fn read_rows(
        &self,
        rows: Range<usize>,
        map: Option<&[u32]>,
        names: &Names<'_>,
    ) -> Result<(Block, Tally)> {
        let begin = self.indptr[rows.start];
        let span = to_usize(begin)..to_usize(self.indptr[rows.end]);
        let indptr: Vec<usize> =
            self.indptr[rows.start..=rows.end].iter().map(|&offset| to_usize(offset - begin)).collect();
        let (dtype, rule) = (self.data.dtype(), names.rule(self.data.dtype()));
        if dtype.is_single() {
            let raw: RowBlock<f32> = self.read_entries(indptr, &span)?;
            return if self.all_clean(&raw, rule) {
                Ok(mapped(raw, map))
            } else {
                self.mend(&raw, map, rows.start, names)
            };
        }
        let raw: RowBlock = if dtype.is_real() {
            self.read_entries(indptr, &span)?
        } else {
            let counts: RowBlock<u32> = self.read_entries(indptr, &span)?;
            if self.all_clean(&counts, rule) {
                return Ok(mapped(counts, map));
            }
            RowBlock { indptr: counts.indptr, indices: counts.indices, values: self.data.read(span)? }
        };
        if self.all_clean(&raw, rule) {
            return Ok(mapped(raw, map));
        }
        self.mend(&raw, map, rows.start, names)
    }

    /// Reads the entries numbered `span`.
    fn read_entries<V: FromElement>(&self, indptr: Vec<usize>, span: &Range<usize>) -> Result<RowBlock<V>> {
        let (indices, values) =
            rayon::join(|| self.indices.read(span.clone()), || self.data.read(span.clone()));
        Ok(RowBlock { indptr, indices: indices?, values: values? })
    }

    /// Whether nothing has to be mended: the usual case, at memory speed.
    fn all_clean<V: Entry>(&self, block: &RowBlock<V>, rule: Rule) -> bool {
        block.split(TASK_ENTRIES).into_par_iter().all(|task| is_clean(block, task, self.n_columns, rule))
    }

    /// Sorts, merges, maps and checks rows.
    fn mend<V: Entry>(
        &self,
        raw: &RowBlock<V>,
        map: Option<&[u32]>,
        first_row: usize,
        names: &Names<'_>,
    ) -> Result<(Block, Tally)> {
        let tasks = raw.split(TASK_ENTRIES).into_par_iter();
        let parts: Vec<_> = tasks.map(|task| self.normalise(raw, task, map, first_row, names)).collect();
        let mut tally = Tally::default();
        let mut mended = Vec::new();
        for part in parts {
            let (part, counted) = part?;
            tally.add(&counted);
            mended.push(part);
        }
        Ok((Block::Reals(RowBlock::concat(mended)), tally))
    }

    /// [`Compressed::mend`] for the rows of one task.
    fn normalise<V: Entry>(
        &self,
        raw: &RowBlock<V>,
        task: Range<usize>,
        map: Option<&[u32]>,
        first_row: usize,
        names: &Names<'_>,
    ) -> Result<(RowBlock, Tally)> {
        let mut block: RowBlock = RowBlock { indptr: vec![0], ..RowBlock::default() };
        let mut tally = Tally::default();
        let mut order: Vec<(u32, f64)> = Vec::new();
        for row in task {
            let (indices, values) = raw.row(row);
            for (place, (&column, &value)) in indices.iter().zip(values).enumerate() {
                let entry = to_usize(self.indptr[first_row + row]) + place;
                self.check_entry(first_row + row, entry, column, value, names)?;
            }
            order.clear();
            let numbers = values.iter().map(|value| if value.is_zero() { 0.0 } else { value.to_f64() });
            order.extend(indices.iter().copied().zip(numbers));
            if !indices.is_sorted() {
                tally.unsorted_rows += 1;
                // Stable, so that repeated entries are summed in the file's order.
                order.sort_by_key(|&(column, _)| column);
            }
            let begin = block.indices.len();
            let mut previous = DROPPED;
            let rule = names.rule(self.data.dtype());
            for &(column, value) in &order {
                let target = map.map_or(column, |map| map[column as usize]);
                if target == DROPPED {
                    continue;
                }
                if value == 0.0 {
                    tally.explicit_zeros += 1;
                } else if target == previous && block.indices.len() > begin {
                    tally.merged_duplicates += 1;
                    if let Some(last) = block.values.last_mut() {
                        *last += value;
                        if let Some(expected) = value_fault(*last, rule) {
                            let place =
                                format!("{}, {}", names.row(first_row + row), names.column(column as usize));
                            let object = format!("{}, {place}, repeated entries summed", self.data.name());
                            let found = last.to_string();
                            return Err(Error::input(self.path(), object, expected, found, names.remedy));
                        }
                    }
                } else {
                    block.indices.push(target);
                    block.values.push(value);
                    previous = target;
                }
            }
            block.indptr.push(block.indices.len());
        }
        tally.nnz = block.nnz() as u64;
        Ok((block, tally))
    }

    fn check_entry<V: Entry>(
        &self,
        row: usize,
        entry: usize,
        column: u32,
        value: V,
        names: &Names<'_>,
    ) -> Result<()> {
        if column as usize >= self.n_columns {
            let object = format!("{}[{entry}], {}", self.indices.name(), names.row(row));
            let expected = format!(
                "the index of a {}, from 0 to {}",
                names.major.other().row_noun(),
                self.n_columns.saturating_sub(1)
            );
            return Err(Error::input(self.path(), object, expected, self.indices.show(entry), REWRITE));
        }
        let Some(expected) = value_fault(value, names.rule(self.data.dtype())) else { return Ok(()) };
        let place = format!("{}, {}", names.row(row), names.column(column as usize));
        let object = format!("{}[{entry}], {place}", self.data.name());
        Err(Error::input(self.path(), object, expected, self.data.show(entry), names.remedy))
    }
}

const REWRITE: &str = "the file is damaged or its writer has a bug; write or download it again";

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.nnz += other.nnz;
        self.explicit_zeros += other.explicit_zeros;
        self.merged_duplicates += other.merged_duplicates;
        self.unsorted_rows += other.unsorted_rows;
        self.missing += other.missing;
    }
}

/// Rows in which there is nothing to mend, with columns by `map` if there is one.
fn mapped<V: Entry>(mut rows: RowBlock<V>, map: Option<&[u32]>) -> (Block, Tally) {
    if let Some(map) = map {
        map_columns(&mut rows, map);
    }
    let tally = Tally { nnz: rows.nnz() as u64, ..Tally::default() };
    (V::block(rows), tally)
}

/// Gives entries their new column, which keeps their order, and drops those that have none.
fn map_columns<V: Entry>(block: &mut RowBlock<V>, map: &[u32]) {
    let tasks = block.split(TASK_ENTRIES);
    let (indptr, parts) = block.split_mut(&tasks);
    let close_up = |(rows, (indices, values)): (&Range<usize>, PartMut<'_, V>)| {
        let (mut ends, mut place) = (Vec::with_capacity(rows.len()), 0);
        for row in rows.clone() {
            let begin = indptr[rows.start];
            for entry in indptr[row] - begin..indptr[row + 1] - begin {
                let target = map[indices[entry] as usize];
                // Without a branch on what is dropped: what follows is written over it.
                (indices[place], values[place]) = (target, values[entry]);
                place += usize::from(target != DROPPED);
            }
            ends.push(place);
        }
        ends
    };
    let ends: Vec<Vec<usize>> = tasks.par_iter().zip(parts).map(close_up).collect();
    let mut indptr = vec![0];
    for (rows, ends) in tasks.into_iter().zip(ends) {
        let (begin, done) = (block.indptr[rows.start], indptr[rows.start]);
        indptr.extend(ends.into_iter().map(|end| done + end));
        let nnz = indptr[rows.end] - done;
        block.indices.copy_within(begin..begin + nnz, done);
        block.values.copy_within(begin..begin + nnz, done);
    }
    block.indptr = indptr;
    block.indices.truncate(block.indptr[block.n_rows()]);
    block.values.truncate(block.indptr[block.n_rows()]);
}

/// Whether the rows need no correction at all.
fn is_clean<V: Entry>(block: &RowBlock<V>, rows: Range<usize>, n_columns: usize, rule: Rule) -> bool {
    let (indices, values) = block.rows(rows.clone());
    if !values.iter().fold(true, |clean, &value| clean & value.is_clean(rule)) {
        return false;
    }
    let highest = indices.iter().fold(0, |highest, &column| column.max(highest));
    if !indices.is_empty() && highest as usize >= n_columns {
        return false;
    }
    rows.into_iter().all(|row| {
        let (indices, _) = block.row(row);
        indices.windows(2).fold(true, |sorted, pair| sorted & (pair[0] < pair[1]))
    })
}

/// Cuts rows into blocks of about [`BLOCK_ENTRIES`], given the length of each.
pub(super) fn plan_blocks(n_rows: usize, row_len: impl Fn(usize) -> u64) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let (mut start, mut entries) = (0, 0_u64);
    for row in 0..n_rows {
        let length = row_len(row);
        if row > start && (entries.saturating_add(length) > BLOCK_ENTRIES || row - start >= BLOCK_ROWS) {
            blocks.push(start..row);
            (start, entries) = (row, 0);
        }
        entries = entries.saturating_add(length);
    }
    if start < n_rows {
        blocks.push(start..n_rows);
    }
    blocks
}

/// Hands the blocks to `consume` in order, reading one ahead in the thread pool.
pub(super) fn stream(
    blocks: &[Range<usize>],
    read: impl Fn(Range<usize>) -> Result<(Block, Tally)> + Sync,
    consume: &mut dyn FnMut(Block, &Tally) -> Result<()>,
) -> Result<Tally> {
    let mut total = Tally::default();
    parallel::ahead(blocks.iter().cloned(), read, |current| {
        let (block, tally) = current?;
        total.add(&tally);
        consume(block, &tally)
    })?;
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_row_once_and_stay_bounded() {
        let lengths: Vec<u64> = (0..1000).map(|row| (row * 7919) % 100_000).collect();
        let blocks = plan_blocks(lengths.len(), |row| lengths[row]);
        assert!(blocks.len() > 1);
        let mut next = 0;
        for block in &blocks {
            assert_eq!(block.start, next);
            next = block.end;
            let entries: u64 = lengths[block.clone()].iter().sum();
            assert!(entries <= BLOCK_ENTRIES || block.len() == 1);
        }
        assert_eq!(next, lengths.len());
        assert!(plan_blocks(0, |_| 0).is_empty());
        assert_eq!(plan_blocks(3, |_| BLOCK_ENTRIES * 2).len(), 3, "a long row is a block");
    }

    #[test]
    fn columns_are_mapped_and_dropped_on_every_thread() {
        const COLUMNS: u32 = 1000;
        let place = |column: u32| if column % 7 < 3 { DROPPED } else { column - column % 7 };
        let [all, none, some] = [|column| column + 5, |_| DROPPED, place];
        for to in [all, none, some] {
            let mut block = RowBlock::<u32> { indptr: vec![0], ..RowBlock::default() };
            let mut expected = block.clone();
            for row in 0..2000_u32 {
                for column in (0..COLUMNS).filter(|column| (column * 31 + row * 17) % 11 < row % 5) {
                    block.push(column, row + column);
                    if to(column) != DROPPED {
                        expected.push(to(column), row + column);
                    }
                }
                block.end_row();
                expected.end_row();
            }
            assert!(block.nnz() > 4 * TASK_ENTRIES);
            let map: Vec<u32> = (0..COLUMNS).map(to).collect();
            map_columns(&mut block, &map);
            assert!(block == expected);
        }
        let mut empty = RowBlock::<u32> { indptr: vec![0], ..RowBlock::default() };
        map_columns(&mut empty, &[0]);
        assert_eq!(empty.n_rows(), 0);
    }

    #[test]
    fn an_error_of_the_consumer_stops_the_stream() {
        let blocks = [0..1, 1..2, 2..3];
        let mut seen = 0;
        let result = stream(
            &blocks,
            |_| {
                let block = RowBlock { indptr: vec![0, 0], ..RowBlock::default() };
                Ok((Block::Reals(block), Tally::default()))
            },
            &mut |_, _| {
                seen += 1;
                Err(Error::Usage { problem: "enough".into(), remedy: "stop".into() })
            },
        );
        assert!(result.is_err());
        assert_eq!(seen, 1);
    }

    /// 2^32 entries and a few more, of which only the last ones are in the file: the rest is a hole.
    #[test]
    fn rows_beyond_2_to_the_32_entries_are_read() {
        const COLUMNS: usize = 255;
        let row_len = MAX_REPEATS * COLUMNS as u64 + FREE_ENTRIES;
        let n_long = usize::try_from((1_u64 << 32).div_ceil(row_len)).unwrap();
        let mut indptr: Vec<u64> = (0..=n_long as u64).map(|row| row * row_len).collect();
        let begin = to_usize(indptr[n_long]);
        indptr.extend([begin as u64 + 3, begin as u64 + 3, begin as u64 + 5]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.h5");
        let mut builder = hdf5::FileBuilder::new();
        builder.with_access_plist(|access| access.file_locking(false));
        let file = builder.create(&path).unwrap();
        let group = file.create_group("X").unwrap();
        group.new_dataset_builder().with_data(&indptr).create("indptr").unwrap();
        for (name, values) in [("indices", [3_u8, 7, 254, 0, 9]), ("data", [1, 2, 3, 4, 5])] {
            let dataset = group.new_dataset::<u8>().shape(begin + 5).create(name).unwrap();
            dataset.write_slice(&values[..], begin..begin + 5).unwrap();
        }
        drop(group);
        file.close().unwrap();
        let names: [Vec<String>; 2] = [n_long + 3, COLUMNS].map(|n| (0..n).map(|n| n.to_string()).collect());
        let [rows, columns] = &names;
        let names = Names { major: Major::Cells, rows, columns, remedy: "", values: Values::Expression };
        let file = HdfFile::open(&path).unwrap();
        let matrix = Compressed::open(&file, "X", n_long + 3, COLUMNS, &names).unwrap();
        assert!(begin as u64 > u64::from(u32::MAX) && matrix.nnz() == begin as u64 + 5);
        let (block, tally) = matrix.read_rows(n_long..n_long + 3, None, &names).unwrap();
        let block = block.into_reals();
        assert_eq!(tally.nnz, 5);
        assert_eq!(block.row(0), (&[3, 7, 254][..], &[1.0, 2.0, 3.0][..]));
        assert_eq!(block.row(1), (&[][..], &[][..]));
        assert_eq!(block.row(2), (&[0, 9][..], &[4.0, 5.0][..]));
    }
}
