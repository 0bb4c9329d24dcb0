//! `metrics.json`. The keys are documented in `README.md` beside this file and stay as they are.

use serde::Serialize;

use super::groups::Errors;
use super::moments::{Distribution, Moments};
use super::openproblems::OpenProblems;

/// Version of the keys: grows when one changes its meaning.
pub const VERSION: u32 = 1;

/// Everything that was measured. What cannot be computed is null.
#[derive(Clone, Debug, Serialize)]
pub struct Metrics {
    /// Version of the keys.
    pub version: u32,
    /// Version of the program.
    pub late_fast: &'static str,
    /// The seed of everything drawn.
    pub seed: u64,
    /// What was compared.
    pub files: Vec<FileFacts>,
    /// Scale of the imputed values.
    pub scale: &'static str,
    /// Imputed values below 0, on their own scale.
    pub negative_values: u64,
    /// Cells that all files have.
    pub cells: u64,
    /// Genes that all files have.
    pub genes: u64,
    /// The original's four.
    pub mse: FourErrors,
    /// Errors by kind of entry.
    pub entries: Kinds,
    /// Errors by what the model was trained on, where that is known.
    pub groups: Vec<Group>,
    /// Per gene; null without truth.
    pub per_gene: Option<PerElement>,
    /// Per cell; null without truth.
    pub per_cell: Option<PerElement>,
    /// Zeros.
    pub zeros: Zeros,
    /// Errors of correlations between genes; null without truth.
    pub gene_correlations: Option<GeneCorrelations>,
    /// Principal components.
    pub pca: Pca,
    /// Agreement with labels; null without labels.
    pub clustering: Option<Clustering>,
    /// Losses of the denoising task; null without test counts.
    pub open_problems: Option<OpenProblems>,
}

/// A file and what of it is compared.
#[derive(Clone, Debug, Serialize)]
pub struct FileFacts {
    /// What it is: imputed, input, truth or test.
    pub role: &'static str,
    /// The file.
    pub path: String,
    /// Its layout.
    pub layout: String,
    /// Its cells.
    pub cells: u64,
    /// Its genes.
    pub genes: u64,
    /// Cells that not all files have.
    pub cells_left_out: u64,
    /// Genes that not all files have.
    pub genes_left_out: u64,
}

/// Mean squared errors of the imputed values on the logarithmic scale.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FourErrors {
    /// Against the input, where that is not 0.
    pub input_nonzero: Option<f64>,
    /// Against the input, all entries.
    pub input_all: Option<f64>,
    /// Against the truth, where that is not 0.
    pub truth_nonzero: Option<f64>,
    /// Against the truth, all entries.
    pub truth_all: Option<f64>,
}

/// Errors against the truth, or the input where there is no truth.
#[derive(Clone, Debug, Serialize)]
pub struct Kinds {
    /// Not 0 in the truth, 0 in the input.
    pub imputed: Kind,
    /// Not 0 in the input.
    pub observed: Kind,
    /// Not 0 in the truth.
    pub nonzero: Kind,
}

/// Entries of one kind.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Kind {
    /// How many.
    pub n: u64,
    /// On the logarithmic scale.
    pub log10: Agreement,
    /// As counts.
    pub counts: Agreement,
    /// Rank correlation, the same on every scale.
    pub spearman: Option<f64>,
    /// The pairs it was computed from.
    pub spearman_pairs: u64,
}

/// Imputed values against others.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Agreement {
    /// Mean squared error.
    pub mse: Option<f64>,
    /// Its root.
    pub rmse: Option<f64>,
    /// Mean absolute error.
    pub mae: Option<f64>,
    /// Mean of imputed minus truth.
    pub bias: Option<f64>,
    /// Pearson's correlation.
    pub pearson: Option<f64>,
}

impl Agreement {
    /// Of summed up pairs (imputed, truth).
    pub fn of(moments: &Moments) -> Self {
        Self {
            mse: moments.mse(),
            rmse: moments.rmse(),
            mae: moments.mae(),
            bias: moments.bias(),
            pearson: moments.pearson(),
        }
    }
}

/// Errors of one group of entries, on the logarithmic scale.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// Such as "validation, imputed".
    pub name: String,
    /// How many entries.
    pub n: u64,
    /// Their errors.
    #[serde(flatten)]
    pub log10: Agreement,
}

impl Group {
    pub(super) fn new(name: String, errors: &Errors) -> Self {
        Self { name, n: errors.moments.n(), log10: Agreement::of(&errors.moments) }
    }
}

/// How per-gene or per-cell numbers are distributed, all on the logarithmic scale.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PerElement {
    /// Correlation of imputed with truth, all entries.
    pub pearson: Distribution,
    /// Of input with truth, all entries.
    pub pearson_input: Distribution,
    /// Of imputed with truth where that is not 0.
    pub pearson_nonzero: Distribution,
    /// Standard deviation of imputed to that of truth.
    pub sd_ratio: Distribution,
    /// Of input to that of truth.
    pub sd_ratio_input: Distribution,
    /// Root mean squared error of imputed.
    pub rmse: Distribution,
    /// Of input.
    pub rmse_input: Distribution,
}

/// Zeros before and after.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Zeros {
    /// Zeros of the truth.
    pub truth_zeros: Option<u64>,
    /// Share of them that stay below half a count.
    pub below_half: Option<f64>,
    /// Share of them that are exactly 0.
    pub exactly_zero: Option<f64>,
    /// Share of entries that are 0 in the truth.
    pub rate_truth: Option<f64>,
    /// In the input.
    pub rate_input: Option<f64>,
    /// Share of imputed entries below half a count.
    pub rate_imputed: Option<f64>,
}

/// Errors of the correlations between pairs of genes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GeneCorrelations {
    /// The genes with the highest mean in the truth.
    pub genes: u64,
    /// Root mean squared difference to the truth's correlations, imputed.
    pub rmse_imputed: Option<f64>,
    /// Input.
    pub rmse_input: Option<f64>,
    /// Pairs that have a correlation in imputed and truth.
    pub pairs_imputed: u64,
    /// In input and truth.
    pub pairs_input: u64,
}

/// Shares of the variance.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pca {
    /// Components that were asked for.
    pub components: u64,
    /// Most variable genes that were used of each matrix.
    pub genes: u64,
    /// Cells of which components were kept.
    pub sampled_cells: u64,
    /// Share of the genes' variance in the components, input.
    pub variance_input: Option<f64>,
    /// Truth.
    pub variance_truth: Option<f64>,
    /// Imputed.
    pub variance_imputed: Option<f64>,
    /// Latent code, of its sampled cells.
    pub variance_latent: Option<f64>,
}

/// Agreement with labels, over labelled sampled cells.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Clustering {
    /// Distinct labels among them, the k of k-means.
    pub labels: u64,
    /// Cells without a label.
    pub unlabelled: u64,
    /// Labelled cells that were compared.
    pub cells: u64,
    /// Neighbours that purity looks at.
    pub neighbours: u64,
    /// Of the input.
    pub input: ClusterScores,
    /// Of the truth.
    pub truth: Option<ClusterScores>,
    /// Of the imputed values.
    pub imputed: ClusterScores,
    /// Of the latent code.
    pub latent: Option<ClusterScores>,
}

/// How far clusters agree with labels.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ClusterScores {
    /// Adjusted Rand index of k-means.
    pub ari: Option<f64>,
    /// Normalised mutual information of k-means (arithmetic mean of the entropies).
    pub nmi: Option<f64>,
    /// Mean silhouette of the labels.
    pub silhouette: Option<f64>,
    /// Mean share of a cell's nearest neighbours with its label.
    pub knn_purity: Option<f64>,
}
