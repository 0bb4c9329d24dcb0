//! The arguments as typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use super::evaluate::EvaluateArgs;
use super::memory::parse_bytes;
use crate::config::{KernelForm, Loss, LossNorm, ParamDtype, TrainConfig};
use crate::impute::{OutputDtype, OutputProducts, OutputScale, Policy, Shard};
use crate::io::ReadOptions;
use crate::matrix::Major;
use crate::minibatch::Transform;
use crate::perturb::SplitOptions;
use crate::simulate::SimulateLayout;
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
    /// 10x HDF5 (v2, v3), AnnData h5ad, loom or pandas hd5; told apart by content
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
    /// hd5: what a row is [default: cells]
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OrientationArg {
    /// a row is a cell
    Cells,
    /// a row is a gene
    Genes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FeaturesArg {
    /// a sample is a cell
    Genes,
    /// a sample is a gene
    Cells,
    /// one network after the other; `combine` takes the better one for every gene
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ValidationArg {
    /// hide a share of the observed entries (--holdout) and score them; every sample trains
    Entries,
    /// keep samples apart (--split), as in the paper
    Samples,
}

/// Time between two checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interval {
    Every(Duration),
    Never,
}

/// Parses "30s", "15min", "1h 30m" or "never".
fn parse_interval(text: &str) -> Result<Interval, String> {
    if text == "never" {
        return Ok(Interval::Never);
    }
    let time =
        humantime::parse_duration(text).map_err(|e| format!("{e}; give a time such as 15min, or never"))?;
    Ok(Interval::Every(time))
}

#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    #[command(flatten)]
    pub(super) input: InputArgs,
    /// What the network's features are
    #[arg(long, value_enum, default_value_t = FeaturesArg::Genes)]
    pub(super) features: FeaturesArg,
    /// Directory for model, history and settings [default: <input's name>.late]
    #[arg(long, short, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Start from this model (a directory written by `train`, or a model file): TRANSLATE. Genes are found in it by id, then by
    /// name; the others start at random. With --features both: a directory written so
    #[arg(long, value_name = "DIR|FILE")]
    pub(super) init: Option<PathBuf>,
    /// Keep the layers up to the latent one as they are in --init; genes that the model lacks are not read then
    #[arg(long, requires = "init")]
    pub(super) freeze_encoder: bool,
    /// Impute the matrix as well, into this file
    #[arg(long, value_name = "OUT.h5ad")]
    pub(super) impute: Option<PathBuf>,
    /// Directory in which the unpacked matrix is kept for later runs [default: not kept; beside --out meanwhile]
    #[arg(long, value_name = "DIR")]
    pub(super) cache: Option<PathBuf>,
    /// Print the plan and stop
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Go on from the last checkpoint in --out; from the start if there is none
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) resume: bool,
    /// Time between two checkpoints, such as 30min or 2h; `never` leaves only the one that a signal asks for
    #[arg(long, value_name = "TIME", default_value = "15min", value_parser = parse_interval)]
    pub(super) checkpoint_interval: Interval,
    /// Widths of the hidden layers up to the latent one; 1, 2 or 3 of them give the original's 3, 5 or 7 layers [default: 800,400,
    /// or those of --init]
    #[arg(long, value_name = "W,..", value_delimiter = ',')]
    pub(super) hidden: Option<Vec<usize>>,
    /// Dropout rate of the input
    #[arg(long, value_name = "RATE", default_value_t = TrainConfig::default().dropout_in)]
    pub(super) dropout_in: f32,
    /// Dropout rate of the hidden layers
    #[arg(long, value_name = "RATE", default_value_t = TrainConfig::default().dropout_hidden)]
    pub(super) dropout_hidden: f32,
    /// Learning rate of Adam [default: 0.0003, or 0.00003 with --init]
    #[arg(long, value_name = "RATE")]
    pub(super) lr: Option<f32>,
    /// Samples in a minibatch
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().batch_size)]
    pub(super) batch_size: usize,
    /// Most epochs to train
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().epochs)]
    pub(super) epochs: u64,
    /// Stop after this many epochs without a better validation error
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().patience)]
    pub(super) patience: u64,
    /// Which entries the loss counts
    #[arg(long, value_enum, default_value_t = TrainConfig::default().loss)]
    pub(super) loss: Loss,
    /// What the masked loss is divided by
    #[arg(long, value_enum, default_value_t = TrainConfig::default().loss_norm)]
    pub(super) loss_norm: LossNorm,
    /// Scale the network learns [default: log10, or that of --init]
    #[arg(long, value_enum)]
    pub(super) transform: Option<Transform>,
    /// What training is validated on
    #[arg(long, value_enum, default_value_t = ValidationArg::Entries)]
    pub(super) validation: ValidationArg,
    /// Observed entries whose samples are mixed at a time, where the matrix has more
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().shuffle_window)]
    pub(super) shuffle_window: u64,
    /// Share of the observed entries to hide and score, with --validation entries [default: 0.05]
    #[arg(long, value_name = "SHARE")]
    pub(super) holdout: Option<f64>,
    /// Shares of training, validation and test samples, with --validation samples [default: 0.7,0.15,0.15]
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', num_args = 1)]
    pub(super) split: Option<Vec<f64>>,
    /// Storage of the wide layers' weights and moments while training
    #[arg(long, value_enum, default_value_t = TrainConfig::default().param_dtype)]
    pub(super) param_dtype: ParamDtype,
    /// Form of the wide layers' products
    #[arg(long, value_enum, default_value_t = TrainConfig::default().kernel)]
    pub(super) kernel: KernelForm,
    /// Say where the time went
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) profile: bool,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().seed)]
    pub(super) seed: u64,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct ImputeArgs {
    /// Directory written by `train`, or a model file
    #[arg(long, short, value_name = "DIR|FILE")]
    pub(super) model: PathBuf,
    #[command(flatten)]
    pub(super) input: InputArgs,
    /// The imputed h5ad
    #[arg(long, short, value_name = "OUT.h5ad")]
    pub(super) out: PathBuf,
    /// Directory in which the unpacked matrix is kept for later runs [default: not kept; beside --out meanwhile]
    #[arg(long, value_name = "DIR")]
    pub(super) cache: Option<PathBuf>,
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
    /// The imputed h5ad
    #[arg(long, short, value_name = "OUT.h5ad")]
    pub(super) out: PathBuf,
    /// Directory in which the unpacked matrix is kept for later runs [default: not kept; beside --out meanwhile]
    #[arg(long, value_name = "DIR")]
    pub(super) cache: Option<PathBuf>,
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
pub(super) struct SimulateArgs {
    /// The 10x HDF5 file to write
    #[arg(value_name = "OUT.h5")]
    pub(super) out: PathBuf,
    /// Number of cells
    #[arg(long, value_name = "N")]
    pub(super) cells: usize,
    /// Number of genes
    #[arg(long, value_name = "N")]
    pub(super) genes: usize,
    /// Expected share of entries that are not 0
    #[arg(long, value_name = "SHARE", default_value_t = 0.072)]
    pub(super) density: f64,
    /// Layout of the file
    #[arg(long, value_enum, default_value_t)]
    pub(super) layout: SimulateLayout,
    /// Name of the genome, which in layout v2 is the group's
    #[arg(long, value_name = "NAME", default_value = "simulated")]
    pub(super) genome: String,
    /// Number of cell types
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(super) cell_types: usize,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().seed)]
    pub(super) seed: u64,
    /// Write the cells' types here, as CSV [default: OUT.labels.csv, without OUT's own extension]
    #[arg(long, value_name = "FILE.csv")]
    pub(super) labels: Option<PathBuf>,
    /// Write the expected counts here: dense, 2 GiB at most
    #[arg(long, value_name = "FILE.h5ad")]
    pub(super) truth: Option<PathBuf>,
}

/// The matrix that a benchmark input is made from.
#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    /// 10x HDF5 (v2, v3), AnnData h5ad, loom or pandas hd5; told apart by content
    #[arg(long = "input", visible_alias = "h5", short = 'i', value_name = "FILE")]
    pub(super) path: PathBuf,
    #[command(flatten)]
    pub(super) matrix: MatrixArgs,
    /// Directory in which the unpacked matrix is kept for later runs [default: not kept; beside the output meanwhile]
    #[arg(long, value_name = "DIR")]
    pub(super) cache: Option<PathBuf>,
    /// Seed of the choice
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().seed)]
    pub(super) seed: u64,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("amount").required(true))]
pub(super) struct MaskArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// The file to write: .h5 (10x HDF5), .h5ad (AnnData) or .hd5 (pandas)
    #[arg(long, short, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// Share of all cells x genes that stays observed, exactly
    #[arg(long, value_name = "SHARE", group = "amount")]
    pub(super) density: Option<f64>,
    /// Share of the observed entries that stays, exactly
    #[arg(long, value_name = "SHARE", group = "amount")]
    pub(super) keep: Option<f64>,
    /// Leave the layers `truth` and `masked` out of an h5ad file
    #[arg(long)]
    pub(super) no_truth: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("amount").required(true))]
pub(super) struct DownsampleArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// The file to write: .h5 (10x HDF5), .h5ad (AnnData) or .hd5 (pandas)
    #[arg(long, short, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// Keep each molecule with this probability
    #[arg(long, value_name = "SHARE", group = "amount")]
    pub(super) fraction: Option<f64>,
    /// Keep exactly so many molecules of every cell; cells with fewer stay as they are
    #[arg(long, value_name = "N", group = "amount")]
    pub(super) per_cell: Option<u64>,
    /// Keep exactly so many molecules of the whole matrix
    #[arg(long, value_name = "N", group = "amount")]
    pub(super) total: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct SplitArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// The file for the molecules to train on: .h5 (10x HDF5), .h5ad (AnnData) or .hd5 (pandas)
    #[arg(long, value_name = "FILE")]
    pub(super) train: PathBuf,
    /// The file for the other molecules
    #[arg(long, value_name = "FILE")]
    pub(super) test: PathBuf,
    /// Probability of a molecule to be for training
    #[arg(long, value_name = "SHARE", default_value_t = SplitOptions::default().fraction)]
    pub(super) fraction: f64,
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
