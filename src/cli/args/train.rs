//! Arguments of `train`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{InputArgs, OutputArgs};
use crate::config::{KernelForm, Loss, LossNorm, ParamDtype, TrainConfig};
use crate::minibatch::Transform;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum FeaturesArg {
    /// a sample is a cell
    Genes,
    /// a sample is a gene
    Cells,
    /// one network after the other; `combine` takes the better one for every gene
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ValidationArg {
    /// hide a share of the observed entries (--holdout) and score them; every sample trains
    Entries,
    /// keep samples apart (--split), as in the paper
    Samples,
}

/// Time between two checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Interval {
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
pub(in crate::cli) struct TrainArgs {
    #[command(flatten)]
    pub(in crate::cli) input: InputArgs,
    /// What the network's features are
    #[arg(long, value_enum, default_value_t = FeaturesArg::Genes)]
    pub(in crate::cli) features: FeaturesArg,
    /// Directory for model, history and settings [default: <input's name>.late]
    #[arg(long, short, value_name = "DIR")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Start from this model (a directory written by `train`, or a model file): TRANSLATE. Genes are found in it by id, then by
    /// name; the others start at random. With --features both: a directory written so
    #[arg(long, value_name = "DIR|FILE")]
    pub(in crate::cli) init: Option<PathBuf>,
    /// Keep the layers up to the latent one as they are in --init; genes that the model lacks are not read then
    #[arg(long, requires = "init")]
    pub(in crate::cli) freeze_encoder: bool,
    /// Impute the matrix as well, into this file: .h5ad, or one of the other formats of `impute --out`
    #[arg(long, value_name = "OUT.h5ad")]
    pub(in crate::cli) impute: Option<PathBuf>,
    /// Directory in which the unpacked matrix is kept for later runs, made if missing [default: not kept; beside --out meanwhile]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) cache: Option<PathBuf>,
    /// Print the plan and stop
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Go on from the last checkpoint in --out; from the start if there is none
    #[arg(long, conflicts_with = "dry_run")]
    pub(in crate::cli) resume: bool,
    /// Time between two checkpoints, such as 30min or 2h; `never` leaves only the one that a signal asks for
    #[arg(long, value_name = "TIME", default_value = "15min", value_parser = parse_interval)]
    pub(in crate::cli) checkpoint_interval: Interval,
    /// Widths of the hidden layers up to the latent one; 1, 2 or 3 of them give the original's 3, 5 or 7 layers [default: 800,400,
    /// or those of --init]
    #[arg(long, value_name = "W,..", value_delimiter = ',')]
    pub(in crate::cli) hidden: Option<Vec<usize>>,
    /// Dropout rate of the input
    #[arg(long, value_name = "RATE", default_value_t = TrainConfig::default().dropout_in)]
    pub(in crate::cli) dropout_in: f32,
    /// Dropout rate of the hidden layers
    #[arg(long, value_name = "RATE", default_value_t = TrainConfig::default().dropout_hidden)]
    pub(in crate::cli) dropout_hidden: f32,
    /// Learning rate of Adam [default: 0.0003, or 0.00003 with --init]
    #[arg(long, value_name = "RATE")]
    pub(in crate::cli) lr: Option<f32>,
    /// Samples in a minibatch
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().batch_size)]
    pub(in crate::cli) batch_size: usize,
    /// Most epochs to train
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().epochs)]
    pub(in crate::cli) epochs: u64,
    /// Stop after this many epochs without a better validation error
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().patience)]
    pub(in crate::cli) patience: u64,
    /// Which entries the loss counts
    #[arg(long, value_enum, default_value_t = TrainConfig::default().loss)]
    pub(in crate::cli) loss: Loss,
    /// What the masked loss is divided by
    #[arg(long, value_enum, default_value_t = TrainConfig::default().loss_norm)]
    pub(in crate::cli) loss_norm: LossNorm,
    /// Scale the network learns [default: log10, or that of --init]
    #[arg(long, value_enum)]
    pub(in crate::cli) transform: Option<Transform>,
    /// What training is validated on
    #[arg(long, value_enum, default_value_t = ValidationArg::Entries)]
    pub(in crate::cli) validation: ValidationArg,
    /// Observed entries whose samples are mixed at a time, where the matrix has more
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().shuffle_window)]
    pub(in crate::cli) shuffle_window: u64,
    /// Share of the observed entries to hide and score, with --validation entries [default: 0.05]
    #[arg(long, value_name = "SHARE")]
    pub(in crate::cli) holdout: Option<f64>,
    /// Shares of training, validation and test samples, with --validation samples [default: 0.7,0.15,0.15]
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', num_args = 1)]
    pub(in crate::cli) split: Option<Vec<f64>>,
    /// Storage of the wide layers' weights and moments while training
    #[arg(long, value_enum, default_value_t = TrainConfig::default().param_dtype)]
    pub(in crate::cli) param_dtype: ParamDtype,
    /// Form of the wide layers' products
    #[arg(long, value_enum, default_value_t = TrainConfig::default().kernel)]
    pub(in crate::cli) kernel: KernelForm,
    /// Say where the time went
    #[arg(long, conflicts_with = "dry_run")]
    pub(in crate::cli) profile: bool,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = TrainConfig::default().seed)]
    pub(in crate::cli) seed: u64,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
}
