//! The head of a Matrix Market file and the names that come with it.

use std::io::{BufRead, Read};
use std::path::Path;

use super::LONGEST_LINE;
use crate::budget::NameRoom;
use crate::error::{Error, Result};
use crate::matrix::{Axis, Column};
use crate::text::{Lines, MAX_EXPANSION, is_compressed, open_text, read_lines, read_problem};

/// The first line and all comments together may be this long.
const MOST_HEAD_BYTES: u64 = 16 << 20;
const BANNER: &str = "%%MatrixMarket";
/// A text of its own takes about as much beside its letters.
const FIELD_BYTES: usize = 32;
const REMEDY: &str = "the file is incomplete or its writer has a bug; write or download it again";

/// What the values are said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Integer,
    Real,
    /// None are written: all are 1.
    Pattern,
}

/// What stands before the entries.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) field: Field,
    pub(super) n_rows: u64,
    pub(super) n_columns: u64,
    pub(super) nnz: u64,
    /// Number of the first line after it.
    pub(super) first_line: u64,
}

impl Header {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let mut input = open_text(path)?.take(MOST_HEAD_BYTES);
        let mut text = Vec::new();
        let mut line = 0;
        let mut next = |text: &mut Vec<u8>| {
            text.clear();
            line += 1;
            input.read_until(b'\n', text).map_err(|e| read_problem(path, e))?;
            Ok::<_, Error>(line)
        };
        next(&mut text)?;
        let banner = String::from_utf8_lossy(&text).to_ascii_lowercase();
        let banner = banner.trim_start_matches('\u{feff}');
        let field = parse_banner(path, banner)?;
        loop {
            let line = next(&mut text)?;
            if text.starts_with(b"%") || (!text.is_empty() && text.trim_ascii().is_empty()) {
                continue;
            }
            let sizes: Option<Vec<u64>> =
                text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).map(parse_size).collect();
            let Some(&[n_rows, n_columns, nnz]) = sizes.as_deref() else {
                let found = show(&text);
                let expected = "the numbers of genes, cells and entries";
                return Err(Error::input(path, format!("line {line}"), expected, found, REMEDY));
            };
            return Ok(Self { field, n_rows, n_columns, nnz, first_line: line + 1 });
        }
    }
}

impl Header {
    /// Refuses more entries than a file of its size can hold: nothing may be set aside on its word.
    pub(super) fn check_room(&self, path: &Path) -> Result<()> {
        let size = path.metadata().map_err(|e| Error::io(path, "examine", e))?.len();
        let text = if is_compressed(path)? { size.saturating_mul(MAX_EXPANSION) } else { size };
        // "1 1 1", or "1 1" where no value is written; the last line may lack its line feed.
        let shortest = if self.field == Field::Pattern { 4 } else { 6 };
        let most = (text + 1) / shortest;
        if self.nnz <= most {
            return Ok(());
        }
        let line = format!("line {}", self.first_line - 1);
        let expected = format!("at most {most} entries, which is what a file of {size} bytes can hold");
        Err(Error::input(path, line, expected, format!("{} entries", self.nnz), REMEDY))
    }
}

/// Words of a line for a message.
pub(super) fn show(text: &[u8]) -> String {
    const LONGEST: usize = 60;
    let text = text.trim_ascii();
    if text.is_empty() {
        return "nothing".into();
    }
    let shown: String = String::from_utf8_lossy(text).chars().take(LONGEST).collect();
    format!("{shown:?}")
}

fn parse_size(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// The first line, in small letters.
fn parse_banner(path: &Path, line: &str) -> Result<Field> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let expected = format!("{BANNER} matrix coordinate integer|real|pattern general");
    let refused = |remedy: &str| Error::input(path, "line 1", &*expected, show(line.as_bytes()), remedy);
    let [banner, "matrix", format, field, symmetry] = words[..] else { return Err(refused(REMEDY)) };
    if banner != BANNER.to_ascii_lowercase() {
        return Err(refused(REMEDY));
    }
    if format == "array" {
        return Err(refused("write the matrix as coordinates, which a dense array is not"));
    }
    if symmetry != "general" {
        return Err(refused("cells by genes are not symmetric: this is another kind of matrix"));
    }
    match (format, field) {
        ("coordinate", "integer" | "unsigned-integer") => Ok(Field::Integer),
        ("coordinate", "real" | "double") => Ok(Field::Real),
        ("coordinate", "pattern") => Ok(Field::Pattern),
        ("coordinate", "complex") => {
            Err(refused("expression is not complex: this is another kind of matrix"))
        }
        _ => Err(refused(REMEDY)),
    }
}

/// Calls `use_line` with the fields of every line of a file without a header, which have tabs between them. Quotes mean
/// nothing; bytes that are no UTF-8 are replaced, with a note.
fn read_fields(
    path: &Path,
    room: &mut NameRoom,
    notes: &mut Vec<String>,
    mut use_line: impl FnMut(u64, &[&str]),
) -> Result<()> {
    let mut lossy = 0_usize;
    read_lines(path, LONGEST_LINE, &|_| {}, |blocks| {
        for block in blocks {
            let block = block?;
            for (number, line) in Lines::of(block.first, &block.bytes) {
                let text = String::from_utf8_lossy(line);
                lossy += usize::from(matches!(text, std::borrow::Cow::Owned(_)));
                let fields: Vec<&str> = text.split('\t').collect();
                let letters = line.len() + fields.len() * FIELD_BYTES;
                room.take(path, || format!("line {number}"), 1, letters as u64)?;
                use_line(number, &fields);
            }
        }
        Ok(())
    })?;
    if lossy > 0 {
        notes.push(format!("{}: {lossy} lines are not UTF-8; other bytes were replaced", path.display()));
    }
    Ok(())
}

/// The first column: the other ones that some programs write are not names.
pub(super) fn read_cells(path: &Path, room: &mut NameRoom, notes: &mut Vec<String>) -> Result<Axis> {
    let mut names = Vec::new();
    let mut last_line = 0;
    read_fields(path, room, notes, |number, fields| {
        if !fields[0].is_empty() {
            names.push(fields[0].to_owned());
            last_line = number;
        }
    })?;
    check_gaps(path, names.len(), last_line)?;
    Ok(Axis::from_names(names))
}

/// Id, name, feature type and, of multiome data, the place in the genome.
pub(super) fn read_genes(path: &Path, room: &mut NameRoom, notes: &mut Vec<String>) -> Result<Axis> {
    const MORE: [&str; 4] = ["feature_types", "chromosome", "start", "end"];
    let (mut ids, mut names) = (Vec::new(), Vec::new());
    let mut more: [Vec<String>; 4] = Default::default();
    let mut last_line = 0;
    read_fields(path, room, notes, |number, fields| {
        if fields.iter().all(|field| field.is_empty()) {
            return;
        }
        last_line = number;
        ids.push(fields[0].to_owned());
        names.push((*fields.get(1).unwrap_or(&fields[0])).to_owned());
        for (place, column) in more.iter_mut().enumerate() {
            if let Some(field) = fields.get(place + 2) {
                column.push((*field).to_owned());
            }
        }
    })?;
    check_gaps(path, names.len(), last_line)?;
    let mut genes = Axis::from_names(names);
    genes.columns.push(("gene_ids".to_owned(), Column::Strings(ids)));
    for (name, values) in MORE.into_iter().zip(more) {
        if !values.is_empty() && values.len() == genes.len() {
            genes.columns.push((name.to_owned(), Column::Strings(values)));
        } else if !values.is_empty() {
            let expected = format!("{name} in every line or in none");
            let found = format!("{} of {} lines", values.len(), genes.len());
            return Err(Error::input(path, "columns", expected, found, REMEDY));
        }
    }
    Ok(genes)
}

/// Blank lines may stand at the end only: elsewhere a name is missing, and all that follow would move.
fn check_gaps(path: &Path, n_names: usize, last_line: u64) -> Result<()> {
    if n_names as u64 == last_line {
        return Ok(());
    }
    let found = format!("{n_names} names on {last_line} lines");
    Err(Error::input(path, "lines", "a name on every line", found, REMEDY))
}
