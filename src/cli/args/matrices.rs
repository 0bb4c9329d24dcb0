//! Arguments of the commands that make, convert and compare matrices.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use super::MatrixArgs;
use crate::config::TrainConfig;
use crate::evaluate::{Options, Scale};
use crate::perturb::SplitOptions;
use crate::simulate::SimulateLayout;
#[derive(Debug, Args)]
pub(in crate::cli) struct SimulateArgs {
    /// The 10x HDF5 file to write
    #[arg(value_name = "OUT.h5")]
    pub(in crate::cli) out: PathBuf,
    /// Number of cells
    #[arg(long, value_name = "N")]
    pub(in crate::cli) cells: usize,
    /// Number of genes
    #[arg(long, value_name = "N")]
    pub(in crate::cli) genes: usize,
    /// Expected share of entries that are not 0
    #[arg(long, value_name = "SHARE", default_value_t = 0.072)]
    pub(in crate::cli) density: f64,
    /// Layout of the file
    #[arg(long, value_enum, default_value_t)]
    pub(in crate::cli) layout: SimulateLayout,
    /// Name of the genome, which in layout v2 is the group's
    #[arg(long, value_name = "NAME", default_value = "simulated")]
    pub(in crate::cli) genome: String,
    /// Number of cell types
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(in crate::cli) cell_types: usize,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().seed)]
    pub(in crate::cli) seed: u64,
    /// Write the cells' types here, as CSV [default: OUT.labels.csv, without OUT's own extension]
    #[arg(long, value_name = "FILE.csv")]
    pub(in crate::cli) labels: Option<PathBuf>,
    /// Write the expected counts here: dense, 2 GiB at most
    #[arg(long, value_name = "FILE.h5ad")]
    pub(in crate::cli) truth: Option<PathBuf>,
}

/// The matrix that a benchmark input is made from.
#[derive(Debug, Args)]
pub(in crate::cli) struct SourceArgs {
    /// 10x HDF5 or Matrix Market, AnnData h5ad, csv or tsv; told apart by content
    #[arg(long = "input", visible_alias = "h5", short = 'i', value_name = "FILE")]
    pub(in crate::cli) path: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) matrix: MatrixArgs,
    /// Directory in which the unpacked matrix is kept for later runs, made if missing [default: not kept; beside the output meanwhile]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) cache: Option<PathBuf>,
    /// Seed of the choice
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().seed)]
    pub(in crate::cli) seed: u64,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("amount").required(true))]
pub(in crate::cli) struct MaskArgs {
    #[command(flatten)]
    pub(in crate::cli) source: SourceArgs,
    /// The file to write: .h5 (10x HDF5), .h5ad (AnnData), or another that `convert` writes
    #[arg(long, short, value_name = "FILE")]
    pub(in crate::cli) out: PathBuf,
    /// Share of all cells x genes that stays observed, exactly
    #[arg(long, value_name = "SHARE", group = "amount")]
    pub(in crate::cli) density: Option<f64>,
    /// Share of the observed entries that stays, exactly
    #[arg(long, value_name = "SHARE", group = "amount")]
    pub(in crate::cli) keep: Option<f64>,
    /// Leave the layers `truth` and `masked` out of an h5ad file
    #[arg(long)]
    pub(in crate::cli) no_truth: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("amount").required(true))]
pub(in crate::cli) struct DownsampleArgs {
    #[command(flatten)]
    pub(in crate::cli) source: SourceArgs,
    /// The file to write: .h5 (10x HDF5), .h5ad (AnnData), or another that `convert` writes
    #[arg(long, short, value_name = "FILE")]
    pub(in crate::cli) out: PathBuf,
    /// Keep each molecule with this probability
    #[arg(long, value_name = "SHARE", group = "amount")]
    pub(in crate::cli) fraction: Option<f64>,
    /// Keep exactly so many molecules of every cell; cells with fewer stay as they are
    #[arg(long, value_name = "N", group = "amount")]
    pub(in crate::cli) per_cell: Option<u64>,
    /// Keep exactly so many molecules of the whole matrix
    #[arg(long, value_name = "N", group = "amount")]
    pub(in crate::cli) total: Option<u64>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SplitArgs {
    #[command(flatten)]
    pub(in crate::cli) source: SourceArgs,
    /// The file for the molecules to train on: .h5 (10x HDF5), .h5ad (AnnData), or another that `convert` writes
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) train: PathBuf,
    /// The file for the other molecules
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) test: PathBuf,
    /// Probability of a molecule to be for training
    #[arg(long, value_name = "SHARE", default_value_t = SplitOptions::default().fraction)]
    pub(in crate::cli) fraction: f64,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct EvaluateArgs {
    /// The matrix that was imputed: any file that `train` reads; told apart by content
    #[arg(long = "input", visible_alias = "h5", short = 'i', value_name = "FILE")]
    pub(in crate::cli) input: PathBuf,
    /// The imputed matrix, of late-fast or of any other program: AnnData h5ad
    #[arg(long, value_name = "FILE.h5ad")]
    pub(in crate::cli) imputed: PathBuf,
    /// The truth, such as the matrix before `mask` hid entries of it: any file that `train` reads, the input's own
    /// included [default: none; what needs no truth is measured]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) truth: Option<PathBuf>,
    /// Other molecules of the same cells, such as the --test file of `split`: any file that `train` reads. Adds the losses
    /// of the Open Problems denoising task [default: none]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) test: Option<PathBuf>,
    /// Labels of cells, such as their types: csv or tsv, also compressed, with names of columns in the first line and
    /// barcodes in the first column. Adds how far clusters agree with them, and colours; at most 200 different ones
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) labels: Option<PathBuf>,
    /// The column of the --labels file [default: label, or the only one]; without --labels a column of the input's
    /// obs, or of the truth's (h5ad)
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) labels_column: Option<String>,
    /// Directory that `train` wrote: adds learning curves, settings, and errors of what was trained on and of what was
    /// not [default: none]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) model: Option<PathBuf>,
    /// Directory for metrics.json, genes.csv, cells.csv, report.html and its figures and tables; made if it is not there
    #[arg(long, short, value_name = "DIR")]
    pub(in crate::cli) out: PathBuf,
    /// The imputed values are in layers/NAME [default: late, if there is one, else X]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) imputed_layer: Option<String>,
    /// Scale of the imputed values; of another program's file it has to be said [default: what a file of late-fast says]
    #[arg(long, value_enum, value_name = "SCALE")]
    pub(in crate::cli) imputed_scale: Option<Scale>,
    /// h5ad, loom: the truth is in layers/NAME [default: X or matrix]
    #[arg(long, value_name = "NAME", requires = "truth")]
    pub(in crate::cli) truth_layer: Option<String>,
    /// h5ad, loom: the test counts are in layers/NAME [default: X or matrix]
    #[arg(long, value_name = "NAME", requires = "test")]
    pub(in crate::cli) test_layer: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) matrix: MatrixArgs,
    /// Pairs of genes to show, by name [default: the 3 most correlated ones]
    #[arg(long, value_name = "A:B,..", value_delimiter = ',', value_parser = parse_gene_pair)]
    pub(in crate::cli) gene_pairs: Vec<(String, String)>,
    /// Number of genes whose correlations with each other are compared: those with the highest mean
    #[arg(long, value_name = "N", default_value_t = Options::default().correlated_genes)]
    pub(in crate::cli) correlated_genes: usize,
    /// Number of principal components by which cells are compared with labels and mapped
    #[arg(long, value_name = "N", default_value_t = Options::default().components)]
    pub(in crate::cli) components: usize,
    /// Number of cells that are compared with labels and mapped; of more, so many are drawn. All cells count in all else
    #[arg(long, value_name = "N", default_value_t = Options::default().max_cells)]
    pub(in crate::cli) max_cells: usize,
    /// Make no tSNE maps, which take some seconds
    #[arg(long)]
    pub(in crate::cli) no_tsne: bool,
    /// Directory in which unpacked matrices are kept for later runs, made if missing [default: not kept; beside --out meanwhile]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) cache: Option<PathBuf>,
    /// Seed of everything that is drawn
    #[arg(long, value_name = "N", default_value_t = Options::default().seed)]
    pub(in crate::cli) seed: u64,
}

/// Parses "CD3D:CD3E".
fn parse_gene_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((a, b)) if !a.is_empty() && !b.is_empty() => Ok((a.to_owned(), b.to_owned())),
        _ => Err("give two genes, such as CD3D:CD3E".into()),
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ConvertArgs {
    /// 10x HDF5 or Matrix Market, AnnData h5ad, csv or tsv; told apart by content
    #[arg(value_name = "IN")]
    pub(in crate::cli) input: PathBuf,
    /// The file to write: .h5 (10x HDF5), .h5ad (AnnData), .hd5 (pandas), / (a 10x Matrix Market directory), .csv, .tsv, .csv.gz or .tsv.gz
    #[arg(value_name = "OUT")]
    pub(in crate::cli) output: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) matrix: MatrixArgs,
    /// Format to write, whatever the name
    #[arg(long, value_enum, value_name = "KIND")]
    pub(in crate::cli) to: Option<KindArg>,
    /// h5ad: a dense matrix, in chunks, instead of a sparse one
    #[arg(long)]
    pub(in crate::cli) dense: bool,
    /// Directory in which the unpacked matrix is kept for later runs, made if missing [default: not kept; beside the output meanwhile]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) cache: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum KindArg {
    /// 10x HDF5 of Cell Ranger 3 and later; counts only
    H5,
    /// AnnData
    H5ad,
    /// pandas frame in HDF5, as the original LATE reads it
    Hd5,
    /// 10x Matrix Market directory of Cell Ranger 3 and later
    Mtx,
    /// text with commas, a line for each cell
    Csv,
    /// text with tabs
    Tsv,
    /// compressed
    #[value(name = "csv.gz")]
    CsvGz,
    /// compressed
    #[value(name = "tsv.gz")]
    TsvGz,
}
