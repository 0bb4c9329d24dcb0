//! What opening a file tells of its matrix.

use std::path::{Path, PathBuf};

use super::names::check_orientation;
use crate::matrix::{Axis, Major};

/// What opening a file tells of its matrix.
#[derive(Clone, Debug)]
pub struct Head {
    /// The file.
    pub path: PathBuf,
    /// The layout, for people: "10x HDF5 v3", "AnnData h5ad (CSR X)", ...
    pub layout: String,
    /// Which axis a compressed row of the file stands for.
    pub major: Major,
    /// The cells.
    pub cells: Axis,
    /// The genes, after feature-type and genome filtering.
    pub genes: Axis,
    /// The genome of all genes, where the file names it once and not gene by gene.
    pub genome: Option<String>,
    /// Things the user should know, such as dropped feature types or repeated names.
    pub notes: Vec<String>,
    /// Things the user must not miss, as when cells and genes seem to be mixed up.
    pub warnings: Vec<String>,
}

impl Head {
    /// Adds what there is to note of the names.
    pub fn new(
        path: &Path,
        layout: impl Into<String>,
        major: Major,
        [cells, genes]: [Axis; 2],
        mut notes: Vec<String>,
    ) -> Self {
        let (of_cells, of_genes) =
            rayon::join(|| cells.count_repeated_names(), || genes.count_repeated_names());
        for (repeated, noun) in [(of_cells, "cell"), (of_genes, "gene")] {
            if repeated > 0 {
                notes
                    .push(format!("{repeated} {noun} names stand more than once; they are kept as they are"));
            }
        }
        let (path, layout) = (path.to_owned(), layout.into());
        Self { path, layout, major, cells, genes, genome: None, notes, warnings: Vec::new() }
    }

    /// Of a table that does not say whether its rows, each of them a `record`, are cells or genes: `major` does. Warns where
    /// the names tell otherwise.
    pub(super) fn of_table(
        path: &Path,
        layout: &str,
        record: &str,
        major: Major,
        [rows, columns]: [Axis; 2],
        notes: Vec<String>,
    ) -> Self {
        let axes = match major {
            Major::Cells => [rows, columns],
            Major::Genes => [columns, rows],
        };
        let layout = format!("{layout} (a {record} is a {})", major.row_noun());
        let head = Self::new(path, layout, major, axes, notes);
        let warnings = check_orientation(record, major, &head.cells, &head.genes).into_iter().collect();
        Self { warnings, ..head }
    }

    /// The cells or the genes.
    pub fn axis(&self, major: Major) -> &Axis {
        match major {
            Major::Cells => &self.cells,
            Major::Genes => &self.genes,
        }
    }
}
