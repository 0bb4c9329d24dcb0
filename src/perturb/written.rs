//! What was written, counted while it is.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::matrix::RowBlock;
use crate::output::{self, Format};
use crate::store::Summary;

/// A matrix that was written.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// Its entries.
    pub nnz: u64,
    /// Their share of cells x genes; 0 where there are none.
    pub density: f64,
    /// The sum of all counts, where the values are counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub molecules: Option<u64>,
    /// Cells that have no entry left and had one.
    pub emptied_cells: usize,
    /// Genes that have no entry left and had one.
    pub emptied_genes: usize,
    /// Size of the file.
    pub bytes: u64,
}

/// Counts the rows of a matrix as they come, in order.
#[derive(Debug)]
pub(super) struct Counter {
    nnz: u64,
    total: f64,
    next_cell: usize,
    emptied_cells: usize,
    gene_nnz: Vec<u64>,
}

impl Counter {
    pub(super) fn new(n_genes: usize) -> Self {
        Self { nnz: 0, total: 0.0, next_cell: 0, emptied_cells: 0, gene_nnz: vec![0; n_genes] }
    }

    /// Counts some rows; `before` is what is known of the matrix they come from.
    pub(super) fn add(&mut self, rows: &RowBlock, before: &Summary) {
        self.nnz += rows.nnz() as u64;
        // Exact for counts: sums of all of them stay below 2^53.
        self.total += rows.values.iter().sum::<f64>();
        let cells = self.next_cell..self.next_cell + rows.n_rows();
        self.next_cell = cells.end;
        let left = rows.indptr.windows(2).map(|pair| pair[1] - pair[0]);
        let emptied = before.row_nnz[cells].iter().zip(left).filter(|&(&had, left)| had > 0 && left == 0);
        self.emptied_cells += emptied.count();
        rows.indices.iter().for_each(|&gene| self.gene_nnz[gene as usize] += 1);
    }

    pub(super) fn nnz(&self) -> u64 {
        self.nnz
    }

    /// The counts of the matrix, once it is at `path`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers below 2^53")]
    pub(super) fn finish(self, path: &Path, format: Format, before: &Summary) -> Result<Written> {
        let emptied = before.col_nnz.iter().zip(&self.gene_nnz).filter(|&(&had, &left)| had > 0 && left == 0);
        let elements = before.row_nnz.len() as f64 * before.col_nnz.len() as f64;
        Ok(Written {
            path: path.to_owned(),
            nnz: self.nnz,
            density: self.nnz as f64 / elements.max(1.0),
            molecules: before.integer.then_some(self.total as u64),
            emptied_cells: self.emptied_cells,
            emptied_genes: emptied.count(),
            bytes: output::size(path, format)?,
        })
    }
}
