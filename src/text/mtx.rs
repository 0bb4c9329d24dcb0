//! Rows of cells in, a 10x Matrix Market directory in the layout of Cell Ranger 3 and later out.

use std::path::Path;

use super::sink::{TextSink, push_number, push_whole};
use crate::error::Result;
use crate::matrix::RowBlock;

/// The files of a directory: entries, genes, cells.
pub const MTX_FILES: [&str; 3] = ["matrix.mtx.gz", "features.tsv.gz", "barcodes.tsv.gz"];
/// The feature type of genes.
const GENE_EXPRESSION: &str = "Gene Expression";
/// Digits of the largest number of entries.
const MOST_DIGITS: usize = 20;
/// The longest description that is kept.
const MOST_DESCRIPTION: usize = 4096;

/// A Matrix Market directory that is being written. Cells come as rows, in order; names come last.
pub struct MtxWriter {
    dir: std::path::PathBuf,
    sink: TextSink,
    /// (genes, cells)
    shape: [usize; 2],
    whole: bool,
    description: String,
    head_bytes: usize,
    n_cells: u64,
    nnz: u64,
}

impl MtxWriter {
    /// Creates the file of the entries in `dir`, which exists. `shape` is (genes, cells); with `whole` the values are declared
    /// to be integers; `description` says how the matrix was made.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(dir: &Path, shape: [usize; 2], whole: bool, description: &str) -> Result<Self> {
        let mut description: String = description.chars().take(MOST_DESCRIPTION).collect();
        description.retain(|c| !c.is_control());
        // The number of entries is not known yet: the comment leaves room for its digits.
        let head = head(shape, whole, &description, u64::MAX, 0);
        let sink =
            TextSink::create(&dir.join(MTX_FILES[0]), true, u16::try_from(head.len()).unwrap_or(u16::MAX))?;
        let dir = dir.to_owned();
        Ok(Self { dir, sink, shape, whole, description, head_bytes: head.len(), n_cells: 0, nnz: 0 })
    }

    /// Adds cells.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write_rows(&mut self, block: &RowBlock) -> Result<()> {
        for row in 0..block.n_rows() {
            self.n_cells += 1;
            let out = self.sink.buffer();
            let (indices, values) = block.row(row);
            for (&gene, &value) in indices.iter().zip(values) {
                push_whole(out, u64::from(gene) + 1);
                out.push(b' ');
                push_whole(out, self.n_cells);
                out.push(b' ');
                push_number(out, value);
                out.push(b'\n');
            }
            self.nnz += indices.len() as u64;
            self.sink.flush(false)?;
        }
        Ok(())
    }

    /// Writes the names and completes the files. Without `types`, all genes are "Gene Expression".
    ///
    /// # Errors
    /// When writing fails.
    ///
    /// # Panics
    /// When there are not as many cells and genes as announced.
    pub fn finish(
        self,
        barcodes: &[String],
        ids: &[String],
        names: &[String],
        types: Option<&[String]>,
    ) -> Result<()> {
        let [n_genes, n_cells] = self.shape;
        assert_eq!(self.n_cells, n_cells as u64, "cells");
        assert!(barcodes.len() == n_cells && ids.len() == n_genes && names.len() == n_genes, "names");
        let padding = MOST_DIGITS - self.nnz.to_string().len();
        let head = head(self.shape, self.whole, &self.description, self.nnz, padding);
        debug_assert_eq!(head.len(), self.head_bytes);
        self.sink.finish(head.as_bytes())?;
        let mut features = TextSink::create(&self.dir.join(MTX_FILES[1]), true, 0)?;
        for (gene, (id, name)) in ids.iter().zip(names).enumerate() {
            let kind = types.map_or(GENE_EXPRESSION, |types| &types[gene]);
            push_line(&mut features, &[id, name, kind])?;
        }
        features.finish(b"")?;
        let mut cells = TextSink::create(&self.dir.join(MTX_FILES[2]), true, 0)?;
        for barcode in barcodes {
            push_line(&mut cells, &[barcode])?;
        }
        cells.finish(b"")
    }
}

/// What stands before the entries.
fn head([n_genes, n_cells]: [usize; 2], whole: bool, description: &str, nnz: u64, padding: usize) -> String {
    let field = if whole { "integer" } else { "real" };
    let version = env!("CARGO_PKG_VERSION");
    let description = serde_json::Value::from(description);
    format!(
        "%%MatrixMarket matrix coordinate {field} general\n\
         %metadata_json: {{\"software_version\": \"late-fast {version}\", \"format_version\": 2, \
         \"description\": {description}}}{:padding$}\n{n_genes} {n_cells} {nnz}\n",
        ""
    )
}

/// Texts with tabs between them; what would end a text becomes a space.
fn push_line(sink: &mut TextSink, texts: &[&str]) -> Result<()> {
    for (place, text) in texts.iter().enumerate() {
        let out = sink.buffer();
        if place > 0 {
            out.push(b'\t');
        }
        out.extend(text.bytes().map(|byte| if matches!(byte, b'\t' | b'\n' | b'\r') { b' ' } else { byte }));
    }
    sink.buffer().push(b'\n');
    sink.flush(false)
}
