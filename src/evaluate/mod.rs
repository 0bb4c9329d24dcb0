//! How good an imputation is: metrics against the truth, against labels and against other molecules, and the data of
//! every figure of the report. What is computed is in `README.md` beside this file.
//!
//! The matrices are joined by name and read three times, the imputed one as it streams by, the others from
//! memory-mapped stores: once for sums over entries, once for covariances of genes, once for some cells.

mod clusters;
mod components;
mod figures;
mod gram;
mod groups;
mod join;
mod labels;
mod maps;
mod metrics;
mod moments;
mod neighbours;
mod openproblems;
mod pass;
mod pca;
mod plan;
mod rows;
mod run;
mod scale;
mod scatters;
mod spearman;
mod summary;
mod tables;
mod trained;
mod tsne;

use std::path::Path;

pub use gram::Which;
pub use groups::{Errors, Grouping, Part};
pub use join::{ABSENT, Join, Side};
pub use labels::Labels;
pub use metrics::{
    Agreement, ClusterScores, Clustering, FileFacts, FourErrors, GeneCorrelations, Group, Kind, Kinds,
    Metrics, Pca, PerElement, VERSION, Zeros,
};
pub use moments::{Distribution, Moments};
pub use openproblems::OpenProblems;
pub use pass::{Gene, Scores};
pub use rows::ImputedRows;
pub use run::evaluate;
pub use scale::Scale;
pub use tables::refuse_tables;
pub use trained::{Epoch, TrainedRun};

use crate::io::Source;
use crate::report::Report;
use crate::store::Store;

/// Counts, with a row a cell.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    /// The file.
    pub source: &'a dyn Source,
    /// Its entries.
    pub store: &'a Store,
}

/// The imputed matrix.
#[derive(Clone, Copy)]
pub struct Imputed<'a> {
    /// The file.
    pub source: &'a dyn Source,
    /// Its values.
    pub rows: ImputedRows<'a>,
    /// Their scale.
    pub scale: Scale,
    /// What the file says of itself, as (name, text).
    pub record: &'a [(String, String)],
}

/// What is compared.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The matrix that was imputed.
    pub input: Matrix<'a>,
    /// The truth.
    pub truth: Option<Matrix<'a>>,
    /// Other molecules of the same cells.
    pub test: Option<Matrix<'a>>,
    /// The imputed matrix.
    pub imputed: Imputed<'a>,
    /// Where labels come from.
    pub labels: Option<LabelSource<'a>>,
    /// The run that made the model.
    pub run: Option<&'a TrainedRun>,
}

/// Where labels come from.
#[derive(Clone, Copy, Debug)]
pub enum LabelSource<'a> {
    /// A table, and the column of it.
    Table(&'a Path, Option<&'a str>),
    /// A column of the cells of the input, or else of the truth.
    Column(&'a str),
}

/// How.
#[derive(Clone, Debug)]
pub struct Options {
    /// Principal components that are clustered.
    pub components: usize,
    /// Cells that are clustered; of more, a sample.
    pub max_cells: usize,
    /// Genes whose correlations are compared.
    pub correlated_genes: usize,
    /// Pairs of genes to be shown; without any, the most correlated ones.
    pub gene_pairs: Vec<(String, String)>,
    /// Whether tSNE maps are made.
    pub tsne: bool,
    /// Entries that are ranked for Spearman's correlation; of more, a sample of about that many.
    pub ranked_entries: u64,
    /// Bytes of memory that may be used.
    pub memory: u64,
    /// Seed of everything drawn.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            components: 50,
            max_cells: 10_000,
            correlated_genes: 500,
            gene_pairs: Vec::new(),
            tsne: true,
            ranked_entries: 1 << 22,
            memory: u64::MAX,
            seed: 2,
        }
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The numbers.
    pub metrics: Metrics,
    /// The page.
    pub report: Report,
    /// What the user must not miss.
    pub warnings: Vec<String>,
    /// Figures that cannot be drawn, and why; the page says so, too.
    pub missing: Vec<String>,
    /// Names of the cells, with their labels and scores.
    cells: tables::Cells,
    /// Names of the genes, with what is known of them.
    genes: tables::Genes,
}
