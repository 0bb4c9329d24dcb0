//! Lines of a table.

use std::borrow::Cow;
use std::path::Path;

use memchr::memchr;

use crate::error::{Error, Result};
use crate::io::entry::{Entry, Rule, value_fault};
use crate::matrix::RowBlock;
use crate::text::{Lines, parse_number};

const DIGITS_PER_PASS: usize = 15;
/// The longest word of a message.
const LONGEST_SHOWN: usize = 60;

/// How the table is written.
#[derive(Clone, Debug)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    /// What the columns are called.
    pub(super) columns: Vec<String>,
    /// "cell" or "gene": what a line and what a column is.
    pub(super) nouns: [&'static str; 2],
}

/// Some consecutive lines.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) names: Vec<String>,
    /// The number of the last of them.
    pub(super) last_line: u64,
    /// Names that are not UTF-8.
    pub(super) lossy: usize,
    pub(super) block: RowBlock,
}

type NameAndRest<'a> = (Cow<'a, [u8]>, Option<&'a [u8]>);

/// Why a line cannot be used.
enum Fault {
    /// So many values.
    Length(usize),
    /// This word, in this column.
    Word(usize, Vec<u8>),
    /// A quoted text does not end on its line.
    Quote,
}

impl Dialect {
    /// Reads a piece of the file that begins with line `first`.
    pub(super) fn parse(&self, path: &Path, first: u64, piece: &[u8]) -> Result<Rows> {
        let mut rows = Rows { block: RowBlock { indptr: vec![0], ..RowBlock::default() }, ..Rows::default() };
        for (number, line) in Lines::of(first, piece) {
            if line.trim_ascii().is_empty() && !self.columns.is_empty() {
                continue;
            }
            let (name, values) = match self.split_name(line) {
                Ok(parts) => parts,
                Err(fault) => return Err(self.problem(path, number, "", fault)),
            };
            let name = to_text(name, &mut rows.lossy);
            if let Err(fault) = self.parse_values(values, &mut rows.block) {
                return Err(self.problem(path, number, &name, fault));
            }
            rows.block.end_row();
            rows.names.push(name);
            rows.last_line = number;
        }
        Ok(rows)
    }

    /// The name that a line begins with, and what follows the delimiter behind it, if there is one.
    fn split_name<'a>(&self, line: &'a [u8]) -> Result<NameAndRest<'a>, Fault> {
        let is_quoted = line.first() == Some(&b'"');
        let end = if is_quoted {
            closing_quote(line)? + 1
        } else {
            memchr(self.delimiter, line).unwrap_or(line.len())
        };
        let name = if is_quoted { unquote(&line[1..end - 1]) } else { line[..end].into() };
        match line.get(end) {
            None => Ok((name, None)),
            Some(byte) if *byte == self.delimiter => Ok((name, Some(&line[end + 1..]))),
            Some(_) => Err(Fault::Quote),
        }
    }

    fn parse_values(&self, values: Option<&[u8]>, out: &mut RowBlock) -> Result<(), Fault> {
        let n_columns = self.columns.len();
        let Some(mut rest) = values else {
            return if n_columns == 0 { Ok(()) } else { Err(Fault::Length(0)) };
        };
        let mut column = 0_usize;
        loop {
            // Most of them.
            while let [b'0', next, ..] = rest
                && *next == self.delimiter
            {
                column += 1;
                rest = &rest[2..];
            }
            let (word_end, value) = self.next_value(rest, column)?;
            if !value.is_zero() {
                if !value.is_clean(Rule::Real) || value.is_nan() {
                    let word = &rest[..word_end];
                    let inner = word.strip_prefix(b"\"").and_then(|word| word.strip_suffix(b"\""));
                    return Err(Fault::Word(column, inner.unwrap_or(word).to_vec()));
                }
                if column < n_columns {
                    #[expect(clippy::cast_possible_truncation, reason = "there are fewer than 2^32 columns")]
                    out.push(column as u32, value);
                }
            }
            column += 1;
            if word_end == rest.len() {
                break;
            }
            rest = &rest[word_end + 1..];
        }
        if column == n_columns { Ok(()) } else { Err(Fault::Length(column)) }
    }

    /// The number that `rest` begins with and where it ends.
    #[inline]
    fn next_value(&self, rest: &[u8], column: usize) -> Result<(usize, f64), Fault> {
        let mut value = 0_u64;
        let mut at = 0;
        while at < DIGITS_PER_PASS
            && let Some(digit) = rest.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)
        {
            value = value * 10 + u64::from(digit);
            at += 1;
        }
        if at > 0 && rest.get(at).is_none_or(|byte| *byte == self.delimiter) {
            return Ok((at, value as f64));
        }
        let (end, word) = if rest.first() == Some(&b'"') {
            let end = closing_quote(rest)? + 1;
            (end, &rest[1..end - 1])
        } else {
            let end = memchr(self.delimiter, rest).unwrap_or(rest.len());
            (end, &rest[..end])
        };
        if rest.get(end).is_some_and(|byte| *byte != self.delimiter) {
            return Err(Fault::Quote);
        }
        match parse_number(word) {
            Some(value) => Ok((end, value)),
            None => Err(Fault::Word(column, word.to_vec())),
        }
    }

    #[cold]
    fn problem(&self, path: &Path, number: u64, name: &str, fault: Fault) -> Error {
        let [row, column_noun] = self.nouns;
        let line =
            if name.is_empty() { format!("line {number}") } else { format!("line {number}, {row} {name:?}") };
        let n = self.columns.len();
        match fault {
            Fault::Length(found) => {
                let expected = format!("{n} values, one for each {column_noun} named in the first line");
                let remedy = "the file is incomplete or its writer has a bug; write or download it again";
                Error::input(path, line, expected, found.to_string(), remedy)
            }
            Fault::Quote => {
                let remedy = "write names on one line, and quotes around whole fields only";
                Error::input(path, line, "quotes that end before the next field", "others", remedy)
            }
            Fault::Word(column, word) => {
                let called = self.columns.get(column).map_or("none", String::as_str);
                let object = format!("{line}, {column_noun} {called:?} (column {})", column + 2);
                let value = parse_number(&word);
                let expected = value.and_then(|value| value_fault(value, Rule::Real)).unwrap_or("a number");
                let found = match String::from_utf8_lossy(word.trim_ascii()) {
                    word if word.is_empty() => "nothing".to_owned(),
                    word => format!("{:?}", word.chars().take(LONGEST_SHOWN).collect::<String>()),
                };
                let remedy = match value {
                    Some(value) if value < 0.0 => {
                        "scaled or centred values cannot be imputed; take raw counts"
                    }
                    Some(_) => "take raw counts",
                    None => {
                        "beside names in the first line and the first column there have to be numbers only, 0 where nothing \
                             was counted"
                    }
                };
                Error::input(path, object, expected, found, remedy)
            }
        }
    }
}

/// Names that stand in one line with delimiters between them.
pub(super) fn split_names(line: &[u8], delimiter: u8, lossy: &mut usize) -> Option<Vec<String>> {
    if !line.contains(&b'"') {
        return Some(line.split(|byte| *byte == delimiter).map(|name| to_text(name.into(), lossy)).collect());
    }
    // A carriage return inside quotes belongs to the name: the line's own was taken off.
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .delimiter(delimiter)
        .terminator(csv::Terminator::Any(b'\n'))
        .from_reader(line);
    let mut record = csv::ByteRecord::new();
    let complete = reader.read_byte_record(&mut record).ok()? && is_balanced(line);
    complete.then(|| record.iter().map(|name| to_text(name.into(), lossy)).collect())
}

/// Whether every quote is closed.
fn is_balanced(line: &[u8]) -> bool {
    memchr::memchr_iter(b'"', line).count().is_multiple_of(2)
}

/// Where the quote is closed that the text begins with; quotes inside are doubled.
fn closing_quote(text: &[u8]) -> Result<usize, Fault> {
    let mut at = 1;
    loop {
        at += memchr(b'"', &text[at..]).ok_or(Fault::Quote)?;
        if text.get(at + 1) != Some(&b'"') {
            return Ok(at);
        }
        at += 2;
    }
}

fn unquote(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'"', text).is_none() {
        return text.into();
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr(b'"', rest) {
        plain.extend_from_slice(&rest[..=at]);
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    plain.extend_from_slice(rest);
    plain.into()
}

fn to_text(name: Cow<'_, [u8]>, lossy: &mut usize) -> String {
    String::from_utf8(name.into_owned()).unwrap_or_else(|error| {
        *lossy += 1;
        String::from_utf8_lossy(error.as_bytes()).into_owned()
    })
}
