//! What tells a matrix from others without a pass over its entries.

use serde::{Deserialize, Serialize};

use super::write::Summary;
use crate::io::Source;
use crate::matrix::{Major, hash_texts};

/// Hashes that tell a matrix from others, whichever axis its rows are, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Of the names of cells and genes, in order: known as soon as the file is open.
    pub names: String,
    /// Of the entries of every cell and gene and the cells' sums.
    pub counts: String,
}

impl Fingerprint {
    /// Of a matrix whose entries, as the file has them, `summary` describes.
    pub fn of(source: &dyn Source, summary: &Summary) -> Self {
        let (by_cell, by_gene) = match source.major() {
            Major::Cells => (&summary.row_nnz, &summary.col_nnz),
            Major::Genes => (&summary.col_nnz, &summary.row_nnz),
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&summary.tally.nnz.to_le_bytes());
        hasher.update(bytemuck::cast_slice(by_cell));
        hasher.update(bytemuck::cast_slice(by_gene));
        hasher.update(bytemuck::cast_slice(&summary.cell_sums));
        Self { names: Self::names_of(source), counts: hasher.finalize().to_hex().to_string() }
    }

    /// Of the names alone.
    pub fn names_of(source: &dyn Source) -> String {
        let mut hasher = blake3::Hasher::new();
        for axis in [source.cells(), source.genes()] {
            hash_texts(&mut hasher, axis.names.iter().map(String::as_str));
        }
        hasher.finalize().to_hex().to_string()
    }
}
