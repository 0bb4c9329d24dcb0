//! Rows of cells in, a table of text with a column for every gene out.

use std::path::Path;

use super::sink::{TextSink, push_number};
use crate::error::Result;
use crate::matrix::RowBlock;

/// A csv or tsv file that is being written: genes in the first line, then a line for each cell, in order, that begins with
/// its name.
pub struct TableWriter<'a> {
    sink: TextSink,
    delimiter: u8,
    cells: std::slice::Iter<'a, String>,
    n_genes: usize,
}

impl<'a> TableWriter<'a> {
    /// Creates the file and writes its first line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(
        path: &Path,
        delimiter: u8,
        is_gzip: bool,
        cells: &'a [String],
        genes: &[String],
    ) -> Result<Self> {
        let mut sink = TextSink::create(path, is_gzip, 0)?;
        for gene in genes {
            sink.buffer().push(delimiter);
            push_name(sink.buffer(), gene, delimiter);
            sink.flush(false)?;
        }
        sink.buffer().push(b'\n');
        Ok(Self { sink, delimiter, cells: cells.iter(), n_genes: genes.len() })
    }

    /// Adds cells.
    ///
    /// # Errors
    /// When writing fails.
    ///
    /// # Panics
    /// When there are more rows than cells.
    pub fn write_rows(&mut self, block: &RowBlock) -> Result<()> {
        let zero = [self.delimiter, b'0'];
        for row in 0..block.n_rows() {
            let Some(cell) = self.cells.next() else { unreachable!("there are as many rows as cells") };
            let out = self.sink.buffer();
            push_name(out, cell, self.delimiter);
            let (indices, values) = block.row(row);
            let mut next = 0;
            for (&gene, &value) in indices.iter().zip(values) {
                (next..gene).for_each(|_| out.extend_from_slice(&zero));
                out.push(self.delimiter);
                push_number(out, value);
                next = gene + 1;
            }
            (next as usize..self.n_genes).for_each(|_| out.extend_from_slice(&zero));
            out.push(b'\n');
            self.sink.flush(false)?;
        }
        Ok(())
    }

    /// Completes the file.
    ///
    /// # Errors
    /// When writing fails.
    ///
    /// # Panics
    /// When there were fewer rows than cells.
    pub fn finish(self) -> Result<()> {
        assert_eq!(self.cells.len(), 0, "rows");
        self.sink.finish(b"")
    }
}

/// Appends a name, in quotes where it has to be.
fn push_name(out: &mut Vec<u8>, name: &str, delimiter: u8) {
    let is_special = |byte: u8| byte == delimiter || matches!(byte, b'"' | b'\n' | b'\r');
    if !name.bytes().any(is_special) {
        out.extend_from_slice(name.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in name.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\"\""),
            // One line is one cell.
            b'\n' | b'\r' => out.push(b' '),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
