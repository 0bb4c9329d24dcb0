//! Lines of entries.

use std::path::Path;

use super::header::{Field, show};
use crate::error::{Error, Result};
use crate::io::entry::{Entry, Rule, value_fault};
use crate::matrix::{Axis, Major};
use crate::text::{Lines, parse_number};

/// Entries of some consecutive lines.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) cells: Vec<u32>,
    pub(super) genes: Vec<u32>,
    pub(super) values: Vec<f64>,
    /// The number of each 0 that was left out, as if it were one.
    pub(super) zeros: u64,
    /// The last line with an entry.
    pub(super) last_line: u64,
}

impl Entries {
    /// Entries in the file: the zeros count.
    pub(super) fn declared(&self) -> u64 {
        self.cells.len() as u64 + self.zeros
    }
}

/// What the lines are read by.
pub(super) struct Format<'a> {
    pub(super) path: &'a Path,
    pub(super) field: Field,
    pub(super) cells: &'a Axis,
    /// All of the file.
    pub(super) genes: &'a Axis,
    /// Whether cells come first.
    pub(super) transposed: bool,
}

impl Format<'_> {
    /// Reads a piece of the file that begins with line `first`.
    pub(super) fn parse(&self, first: u64, piece: &[u8]) -> Result<Entries> {
        // "12345 1 1" and a line feed, or a bit more.
        let expected = piece.len() / 10;
        let mut entries = Entries {
            cells: Vec::with_capacity(expected),
            genes: Vec::with_capacity(expected),
            values: Vec::with_capacity(expected),
            ..Entries::default()
        };
        for (number, line) in Lines::of(first, piece) {
            match self.parse_line(line) {
                Some([gene, cell, value]) if is_fine(gene, cell, value, self) => {
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
                    let (gene, cell) = (gene as u32 - 1, cell as u32 - 1);
                    entries.last_line = number;
                    if value == 0.0 {
                        entries.zeros += 1;
                    } else {
                        entries.cells.push(cell);
                        entries.genes.push(gene);
                        entries.values.push(value);
                    }
                }
                _ if line.trim_ascii().is_empty() => {}
                _ => return Err(self.fault(number, line)),
            }
        }
        Ok(entries)
    }

    /// Gene and cell as they are written, and the value. As f64, in which all valid ones are exact.
    #[inline]
    fn parse_line(&self, line: &[u8]) -> Option<[f64; 3]> {
        let (first, rest) = take_index(line)?;
        let (second, rest) = take_index(rest)?;
        let value = match self.field {
            Field::Pattern if rest.trim_ascii().is_empty() => 1.0,
            Field::Pattern => return None,
            Field::Integer | Field::Real => parse_number(rest)?,
        };
        let (gene, cell) = if self.transposed { (second, first) } else { (first, second) };
        Some([gene as f64, cell as f64, value])
    }

    /// What is wrong with a line that cannot be used.
    #[cold]
    fn fault(&self, number: u64, line: &[u8]) -> Error {
        let problem = |expected: String, found: String, remedy: &str| {
            Error::input(self.path, format!("line {number}"), expected, found, remedy)
        };
        let damaged = "the file is damaged or its writer has a bug; write or download it again";
        let Some([gene, cell, value]) = self.parse_line(line) else {
            let order = if self.transposed { "cell gene" } else { "gene cell" };
            let value = if self.field == Field::Pattern { "" } else { " value" };
            return problem(format!("{order}{value}, as numbers"), show(line), damaged);
        };
        for (index, axis, noun) in [(gene, self.genes, "gene"), (cell, self.cells, "cell")] {
            if !(1.0..=axis.len() as f64).contains(&index) {
                let expected = format!("a {noun} from 1 to {}", axis.len());
                return problem(expected, format!("{noun} {index}"), damaged);
            }
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "just checked")]
        let [gene, cell] = [gene, cell].map(|index| index as usize - 1);
        let place = format!(
            "line {number}, {}, {}",
            Major::Cells.describe_row(&self.cells.names, cell),
            Major::Genes.describe_row(&self.genes.names, gene)
        );
        let expected = value_fault(value, Rule::Real).unwrap_or("a number");
        let remedy = "matrices to impute hold counts, or values that grow with them: take raw counts";
        Error::input(self.path, place, expected, value.to_string(), remedy)
    }
}

#[inline]
fn is_fine(gene: f64, cell: f64, value: f64, format: &Format<'_>) -> bool {
    let inside = |index: f64, axis: &Axis| index >= 1.0 && index <= axis.len() as f64;
    inside(gene, format.genes)
        && inside(cell, format.cells)
        && (value.is_zero() || value.is_clean(Rule::Real))
}

/// Reads a whole number and the space after it.
#[inline]
fn take_index(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    let mut at = 0;
    while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        // Too large ones stay too large.
        value = value.saturating_mul(10).saturating_add(u64::from(digit));
        at += 1;
    }
    match text.get(at) {
        Some(b' ' | b'\t') if at > 0 => Some((value, &text[at + 1..])),
        // Further spaces before the number, or nothing behind it.
        Some(b' ' | b'\t') => take_index(text.trim_ascii_start()),
        None if at > 0 => Some((value, &[])),
        _ => None,
    }
}
