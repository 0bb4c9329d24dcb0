//! Tables of text: names in the first line and the first column, numbers elsewhere; comma, tab or semicolon, also compressed.
//!
//! The names of the lines are known when all of it was read. So it is parsed on opening, once, into a [`Spill`]: reading it
//! a second time would cost inflating and searching again.

mod parse;

use std::path::Path;

use self::parse::{Dialect, Rows, split_names};
use super::spill::{CHUNK_ENTRIES, Spill, SpillWriter};
use super::{Head, ReadOptions, Source, Tally};
use crate::budget::NameRoom;
use crate::error::{Error, Result};
use crate::matrix::{Axis, Block, Major};
use crate::text::{Lines, parse_lines, read_lines};

/// What may stand between fields.
const DELIMITERS: [(u8, &str); 3] = [(b',', "commas"), (b'\t', "tabs"), (b';', "semicolons")];

/// A table.
pub(super) struct Table {
    head: Head,
    spill: Spill,
}

impl Table {
    /// Reads the file; `progress` is told the bytes of it.
    pub(super) fn open(path: &Path, options: &ReadOptions, progress: &dyn Fn(u64)) -> Result<Self> {
        let major = options.orientation.unwrap_or(Major::Cells);
        let mut notes = Vec::new();
        let expected_bytes = path.metadata().map_err(|e| Error::io(path, "examine", e))?.len();
        let spill = SpillWriter::new(&options.scratch(), expected_bytes, CHUNK_ENTRIES);
        let (dialect, rows, spill) = read_lines(path, options.longest_line(), progress, |blocks| {
            read_table(path, options, major, blocks, spill, &mut notes)
        })?;
        let mut axes = [rows, dialect.columns].map(Axis::from_names);
        for (axis, noun) in axes.iter_mut().zip(dialect.nouns) {
            strip_byte_literals(axis, noun, &mut notes);
        }
        let delimiter =
            DELIMITERS.iter().find(|(byte, _)| *byte == dialect.delimiter).map_or("", |(_, name)| name);
        let layout = format!("text with {delimiter}");
        Ok(Self { head: Head::of_table(path, &layout, "line", major, axes, notes), spill })
    }
}

/// Reads all lines: how the table is written, the names of its lines, and the values.
fn read_table(
    path: &Path,
    options: &ReadOptions,
    major: Major,
    blocks: &mut dyn Iterator<Item = Result<Lines>>,
    mut spill: SpillWriter,
    notes: &mut Vec<String>,
) -> Result<(Dialect, Vec<String>, Spill)> {
    let mut first_block = blocks.next().transpose()?.unwrap_or_default();
    let header = first_block.take_first().unwrap_or_default();
    if first_block.bytes.is_empty() {
        // A first line that is longer than a block.
        first_block = blocks.next().transpose()?.unwrap_or_default();
    }
    let mut lossy = 0;
    let mut room = options.names();
    let dialect = read_header(path, major, &header, &first_block, &mut room, &mut lossy, notes)?;
    drop(header);
    let mut names = Vec::new();
    let first = first_block.first;
    let blocks = std::iter::once(Ok(first_block)).chain(blocks);
    parse_lines(
        blocks,
        first,
        |line, piece| dialect.parse(path, line, piece),
        |part| {
            let Rows { names: mut new, last_line, lossy: more, block } = part;
            let letters = new.iter().map(String::len).sum::<usize>();
            room.take(path, || format!("line {last_line}"), new.len() as u64, letters as u64)?;
            for row in 0..block.n_rows() {
                let (indices, values) = block.row(row);
                spill.push_row(names.len() + row, indices, values)?;
            }
            names.append(&mut new);
            lossy += more;
            Ok(())
        },
    )?;
    if names.is_empty() || u32::try_from(names.len()).is_err() {
        let expected = "a line for each cell or gene below the first one";
        let remedy = "check that this is the right file, and a whole one";
        return Err(Error::input(path, "lines", expected, names.len().to_string(), remedy));
    }
    if lossy > 0 {
        notes.push(format!("{lossy} names are not UTF-8; other bytes were replaced"));
    }
    let spill = spill.finish(names.len())?;
    Ok((dialect, names, spill))
}

/// What the first line tells, with a look at the next one.
fn read_header(
    path: &Path,
    major: Major,
    header: &[u8],
    next: &Lines,
    room: &mut NameRoom,
    lossy: &mut usize,
    notes: &mut Vec<String>,
) -> Result<Dialect> {
    let problem = |line: u64, expected: &str, found: String| {
        let remedy = "give a table with names in the first line and in the first column, and commas, tabs or semicolons \
                      between fields";
        Error::input(path, format!("line {line}"), expected, found, remedy)
    };
    let second = Lines::of(next.first, &next.bytes).map(|(_, line)| line).find(|line| !line.is_empty());
    let second = second.unwrap_or_default();
    // A first line without any is a single name, above a column of names and one of values.
    let [line, other] = [header, second];
    let sample =
        if DELIMITERS.iter().any(|(byte, _)| count_outside_quotes(line, *byte) > 0) { line } else { other };
    let (n, delimiter) = DELIMITERS
        .iter()
        .rev()
        .map(|(byte, _)| (count_outside_quotes(sample, *byte), *byte))
        .max()
        .unwrap_or((0, b','));
    if n == 0 {
        return Err(problem(1, "commas, tabs or semicolons between names", "none of them".into()));
    }
    let unbalanced = |line| problem(line, "quotes that are closed on the same line", "an open one".into());
    room.take(
        path,
        || "line 1".into(),
        count_outside_quotes(header, delimiter) as u64 + 1,
        header.len() as u64,
    )?;
    let mut columns = split_names(header, delimiter, lossy).ok_or_else(|| unbalanced(1))?;
    let fields = split_names(second, delimiter, &mut 0).ok_or_else(|| unbalanced(next.first))?.len();
    if fields == columns.len() + 1 && !second.is_empty() {
        notes.push("the first line has no field above the names of the lines, as R writes it".into());
    } else {
        columns.remove(0);
    }
    if u32::try_from(columns.len()).is_ok_and(|n| n < u32::MAX) {
        let nouns = [major.row_noun(), major.other().row_noun()];
        return Ok(Dialect { delimiter, columns, nouns });
    }
    Err(problem(1, "fewer than 2^32 columns", columns.len().to_string()))
}

/// How often the byte stands in a line, but for quoted fields.
fn count_outside_quotes(line: &[u8], byte: u8) -> usize {
    line.split(|byte| *byte == b'"').step_by(2).map(|part| memchr::memchr_iter(byte, part).count()).sum()
}

/// Names like `b'ENSMUSG00000051951'`, which Python makes of bytes, lose what is no name.
fn strip_byte_literals(axis: &mut Axis, noun: &str, notes: &mut Vec<String>) {
    let inner = |name: &str| {
        let quoted = name.strip_prefix('b')?;
        let quote = quoted.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        quoted[1..].strip_suffix(quote).map(str::to_owned)
    };
    let stripped: Option<Vec<String>> = axis.names.iter().map(|name| inner(name)).collect();
    if let Some(names) = stripped.filter(|names| !names.is_empty()) {
        notes.push(format!("{noun} names were like {}; they are read as {}", axis.names[0], names[0]));
        axis.names = names;
    }
}

impl Source for Table {
    fn head(&self) -> &Head {
        &self.head
    }

    fn declared_nnz(&self) -> u64 {
        self.spill.nnz()
    }

    fn for_each_block(&self, consume: &mut dyn FnMut(Block, &Tally) -> Result<()>) -> Result<Tally> {
        self.spill.for_each_block(consume)
    }

    fn sample(&self) -> Option<Vec<f64>> {
        Some(self.spill.sample())
    }
}
