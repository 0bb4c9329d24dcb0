//! The arguments as typed.

mod matrices;
mod train;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(super) use self::matrices::{
    ConvertArgs, DownsampleArgs, EvaluateArgs, KindArg, MaskArgs, SimulateArgs, SourceArgs, SplitArgs,
};
pub(super) use self::train::{FeaturesArg, Interval, TrainArgs, ValidationArg};
use super::memory::parse_bytes;
use crate::config::TrainConfig;
use crate::impute::{OutputDtype, OutputProducts, OutputScale, Policy, Shard};
use crate::io::ReadOptions;
use crate::matrix::Major;
use crate::store::StoreDtype;

/// Impute single-cell RNA-seq counts with an autoencoder trained on the observed entries (LATE).
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Train a network on a count matrix
    Train(Box<TrainArgs>),
    /// Impute a matrix with a trained network
    Impute(ImputeArgs),
    /// Put the shards of an imputation together
    Merge(MergeArgs),
    /// Impute a matrix with two networks, one with genes and one with cells as features: every gene with the better one
    Combine(CombineArgs),
    /// Measure an imputation: against the truth, labels, other molecules
    Evaluate(Box<EvaluateArgs>),
    /// Say what is in a file: layout, shape, density, names, problems
    Inspect(InspectArgs),
    /// Write a matrix in another format
    Convert(ConvertArgs),
    /// Make a synthetic 10x matrix of any size, with cell types
    Simulate(SimulateArgs),
    /// Hide random entries of a matrix, to impute them and compare
    Mask(MaskArgs),
    /// Thin out the molecules of a count matrix
    Downsample(DownsampleArgs),
    /// Split the molecules of a count matrix in two, for training and for testing
    Split(SplitArgs),
    /// Show which kernels are used on this CPU, and how fast they are
    Kernels(KernelsArgs),
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Common {
    /// Threads to use [default: one for each core]
    #[arg(long, global = true, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(super) threads: usize,
    /// Memory the run may use, such as 8G [default: what the machine or its cgroup has]
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_bytes)]
    pub(super) memory: Option<u64>,
    /// Replace existing outputs
    #[arg(long, global = true)]
    pub(super) force: bool,
    /// Print results and errors only
    #[arg(long, short, global = true)]
    pub(super) quiet: bool,
    /// Print results as JSON, one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// The file to read.
#[derive(Debug, Args)]
pub(super) struct InputArgs {
    /// 10x HDF5 or Matrix Market, AnnData h5ad, loom, pandas hd5, csv or tsv; told apart by content
    #[arg(long = "input", visible_alias = "h5", short = 'i', value_name = "FILE")]
    pub(super) path: PathBuf,
    #[command(flatten)]
    pub(super) matrix: MatrixArgs,
    /// Element type of values that are no counts, where the matrix has to be unpacked
    #[arg(long, value_enum, default_value_t)]
    pub(super) store_dtype: StoreDtype,
}

/// Which matrix of the file.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct MatrixArgs {
    /// 10x: only the genes of this genome; `all` merges the groups of a v2 file
    #[arg(long, value_name = "NAME")]
    pub(super) genome: Option<String>,
    /// h5ad, loom: read layers/NAME instead of X or matrix
    #[arg(long, value_name = "NAME", conflicts_with = "use_raw")]
    pub(super) layer: Option<String>,
    /// h5ad: read raw/X with raw/var
    #[arg(long)]
    pub(super) use_raw: bool,
    /// csv, tsv, hd5: what a line or row is [default: cells]
    #[arg(long, value_enum)]
    pub(super) orientation: Option<OrientationArg>,
    /// hd5: read missing values (NaN) as zeros
    #[arg(long)]
    pub(super) nan_as_zero: bool,
    /// loom: the row attribute that names the genes [default: Gene, else var_names]
    #[arg(long, value_name = "NAME")]
    pub(super) gene_attr: Option<String>,
    /// loom: the column attribute that names the cells [default: CellID, else obs_names]
    #[arg(long, value_name = "NAME")]
    pub(super) cell_attr: Option<String>,
    /// Matrix Market: what the names of the three files begin with, where a directory has several matrices
    #[arg(long, value_name = "TEXT")]
    pub(super) prefix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OrientationArg {
    /// a line is a cell
    Cells,
    /// a line is a gene
    Genes,
}

#[derive(Debug, Args)]
pub(super) struct ImputeArgs {
    /// Directory written by `train`, or a model file
    #[arg(long, short, value_name = "DIR|FILE")]
    pub(super) model: PathBuf,
    #[command(flatten)]
    pub(super) input: InputArgs,
    #[command(flatten)]
    pub(super) file: ImputedArgs,
    /// Impute shard i of n into OUT.shard-000i-of-000n.h5ad, for `merge`; `slurm`: the task of a job array. A shard that is done
    /// is skipped
    #[arg(long, value_name = "i/n|slurm", value_parser = parse_shard)]
    pub(super) shard: Option<ShardArg>,
    /// Write the latent code only
    #[arg(long, conflicts_with_all = ["policy", "output_scale", "products", "dtype"])]
    pub(super) latent_only: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Which shard.
#[derive(Clone, Copy, Debug)]
pub(super) enum ShardArg {
    Given(Shard),
    /// What Slurm says in the environment.
    Slurm,
}

fn parse_shard(text: &str) -> Result<ShardArg, String> {
    if text == "slurm" { Ok(ShardArg::Slurm) } else { text.parse().map(ShardArg::Given) }
}

#[derive(Debug, Args)]
pub(super) struct CombineArgs {
    /// Directory or model file of the network with genes as features
    #[arg(long, value_name = "DIR|FILE")]
    pub(super) genes_model: PathBuf,
    /// Directory or model file of the network with cells as features, trained with the same --holdout and --seed
    #[arg(long, value_name = "DIR|FILE")]
    pub(super) cells_model: PathBuf,
    /// The matrix both were trained on
    #[command(flatten)]
    pub(super) input: InputArgs,
    #[command(flatten)]
    pub(super) file: ImputedArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct MergeArgs {
    /// The merged h5ad
    #[arg(value_name = "OUT.h5ad")]
    pub(super) out: PathBuf,
    /// All shards, in any order
    #[arg(value_name = "SHARD", required = true)]
    pub(super) shards: Vec<PathBuf>,
}

/// Where the imputed file goes.
#[derive(Debug, Args)]
pub(super) struct ImputedArgs {
    /// The imputed file, .h5ad; or the imputed values alone as .hd5, .csv, .tsv, .csv.gz, .tsv.gz, or a Matrix Market directory
    /// (with a / at its end)
    #[arg(long, short, value_name = "OUT.h5ad")]
    pub(super) out: PathBuf,
    /// Directory in which the unpacked matrix is kept for later runs, made if missing [default: not kept; beside --out meanwhile]
    #[arg(long, value_name = "DIR")]
    pub(super) cache: Option<PathBuf>,
}

/// What the imputed file holds.
#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// What becomes of observed entries in the imputed matrix [default: replace]
    #[arg(long, value_enum)]
    pub(super) policy: Option<Policy>,
    /// Scale of the imputed values [default: log10]
    #[arg(long, value_enum)]
    pub(super) output_scale: Option<OutputScale>,
    /// Write only the genes named in this file, one name or id a line
    #[arg(long, value_name = "FILE")]
    pub(super) genes: Option<PathBuf>,
    /// Precision of the factors of the output's product [default: auto]
    #[arg(long, value_enum)]
    pub(super) products: Option<OutputProducts>,
    /// Element type of the imputed values [default: f32]
    #[arg(long, value_enum)]
    pub(super) dtype: Option<OutputDtype>,
}

#[derive(Debug, Args)]
pub(super) struct KernelsArgs {
    /// Features of the network that is timed
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(super) features: u32,
    /// Samples in its minibatch
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().batch_size)]
    pub(super) batch_size: usize,
    /// Share of its entries that are observed
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    pub(super) density: f64,
    /// Time nothing
    #[arg(long, conflicts_with_all = ["features", "batch_size", "density"])]
    pub(super) list: bool,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The file
    #[arg(value_name = "FILE")]
    pub(super) path: PathBuf,
    #[command(flatten)]
    pub(super) matrix: MatrixArgs,
}

impl InputArgs {
    /// The options beside the path as they were given, to be repeated in a command that is shown.
    pub(super) fn options_as_typed(&self) -> String {
        let mut text = self.matrix.as_typed();
        if self.store_dtype == StoreDtype::F16 {
            text += " --store-dtype f16";
        }
        text
    }
}

impl MatrixArgs {
    /// The options as meant.
    pub(super) fn options(&self) -> ReadOptions {
        ReadOptions {
            genome: self.genome.clone(),
            layer: self.layer.clone(),
            use_raw: self.use_raw,
            orientation: self.orientation.map(|orientation| match orientation {
                OrientationArg::Cells => Major::Cells,
                OrientationArg::Genes => Major::Genes,
            }),
            prefix: self.prefix.clone(),
            nan_as_zero: self.nan_as_zero,
            gene_attr: self.gene_attr.clone(),
            cell_attr: self.cell_attr.clone(),
            ..ReadOptions::default()
        }
    }

    /// The options as they were given, to be repeated in a command that is shown.
    pub(super) fn as_typed(&self) -> String {
        let mut text = String::new();
        let options = [
            ("--genome", &self.genome),
            ("--layer", &self.layer),
            ("--prefix", &self.prefix),
            ("--gene-attr", &self.gene_attr),
            ("--cell-attr", &self.cell_attr),
        ];
        for (option, value) in options {
            if let Some(value) = value {
                text += &format!(" {option} {}", quoted(value));
            }
        }
        if self.use_raw {
            text += " --use-raw";
        }
        if self.nan_as_zero {
            text += " --nan-as-zero";
        }
        if let Some(orientation) = self.orientation.and_then(|orientation| orientation.to_possible_value()) {
            text += &format!(" --orientation {}", orientation.get_name());
        }
        text
    }
}

impl OutputArgs {
    /// Whether no option was given.
    pub(super) fn is_empty(&self) -> bool {
        self.policy.is_none()
            && self.output_scale.is_none()
            && self.products.is_none()
            && self.dtype.is_none()
            && self.genes.is_none()
    }
}

/// `text` as a word of a shell command.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
