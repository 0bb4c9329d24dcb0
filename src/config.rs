//! Validated settings of a run, with every default and limit. Plain data: written into model files.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::matrix::Major;
use crate::minibatch::Transform;
use crate::store::StoreDtype;

/// How to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// What a sample is: with genes as features a sample is a cell.
    pub samples: Major,
    /// Widths of the hidden layers up to the latent one.
    pub hidden: Vec<usize>,
    /// Dropout rate of the input.
    pub dropout_in: f32,
    /// Dropout rate of every hidden layer.
    pub dropout_hidden: f32,
    /// Adam's learning rate.
    pub learning_rate: f32,
    /// Samples in a minibatch.
    pub batch_size: usize,
    /// Most epochs to train.
    pub epochs: u64,
    /// Epochs without a better validation error before training stops.
    pub patience: u64,
    /// Which entries the loss counts.
    pub loss: Loss,
    /// What the masked loss is divided by.
    pub loss_norm: LossNorm,
    /// Scale of the values the network learns.
    pub transform: Transform,
    /// Element type of values that are no counts in a store that is written; older models do not say.
    #[serde(default)]
    pub store_dtype: StoreDtype,
    /// What training is validated on.
    pub validation: Validation,
    /// Entries of which the samples are mixed in memory at a time.
    #[serde(default = "default_shuffle_window")]
    pub shuffle_window: u64,
    /// How the wide layers' weights and moments are stored while training.
    #[serde(default)]
    pub param_dtype: ParamDtype,
    /// The form of the wide layers' products.
    #[serde(default)]
    pub kernel: KernelForm,
    /// Whether the layers up to the latent one stay as those of the model that training starts from.
    #[serde(default)]
    pub freeze_encoder: bool,
    /// Seed of everything random.
    pub seed: u64,
}

/// How the wide layers' weights and moments are stored while training. Models are written in single precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ParamDtype {
    /// 32-bit
    #[default]
    F32,
    /// 16-bit with stochastic rounding: half the memory, faster; products of 16-bit factors where the CPU has AMX
    Bf16,
}

/// The form of the wide layers' products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum KernelForm {
    /// the cheaper one for each operation, by the minibatch's density
    #[default]
    Auto,
    /// touch stored entries only
    Sparse,
    /// multiply every entry, zeros included, and mask the result
    Dense,
}

/// Which entries the loss counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// observed (non-zero) entries only: LATE
    MaskedMse,
    /// every entry, zeros included: the plain autoencoder
    Mse,
}

/// What the masked loss is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LossNorm {
    /// the observed entries of the minibatch
    Nonzero,
    /// all entries of the minibatch, the original's scale
    All,
}

/// What training is validated on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum Validation {
    /// A share of the observed entries is hidden and scored; all samples train.
    Entries {
        /// The share.
        holdout: f64,
    },
    /// Some samples are kept apart: shares of training, validation and test samples.
    Samples {
        /// The shares.
        split: [f64; 3],
    },
}

/// Names of files in the directory of a run.
pub const CONFIG_FILE: &str = "config.json";
/// The learning curve.
pub const HISTORY_FILE: &str = "history.csv";
/// Which samples were trained on, or the rule by which entries were held out.
pub const SPLIT_FILE: &str = "split.json";
/// The model.
pub const MODEL_FILE: &str = "model.safetensors";

/// The paper's shares of training, validation and test samples.
pub const DEFAULT_SPLIT: [f64; 3] = [0.7, 0.15, 0.15];
/// The share of the observed entries that is hidden for validation.
pub const DEFAULT_HOLDOUT: f64 = 0.05;
/// Entries that are mixed at a time: 30,000 cells of 2,000 genes, a quarter of a gigabyte.
pub const DEFAULT_SHUFFLE_WINDOW: u64 = 1 << 26;

fn default_shuffle_window() -> u64 {
    DEFAULT_SHUFFLE_WINDOW
}

/// The original's settings, but for early stopping, which it has not, and validation by entries.
impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            samples: Major::Cells,
            hidden: vec![800, 400],
            dropout_in: 0.2,
            dropout_hidden: 0.5,
            learning_rate: 3e-4,
            batch_size: 256,
            epochs: 500,
            patience: 50,
            loss: Loss::MaskedMse,
            loss_norm: LossNorm::Nonzero,
            transform: Transform::Log10,
            store_dtype: StoreDtype::F32,
            validation: Validation::Entries { holdout: DEFAULT_HOLDOUT },
            shuffle_window: DEFAULT_SHUFFLE_WINDOW,
            param_dtype: ParamDtype::default(),
            kernel: KernelForm::default(),
            freeze_encoder: false,
            // The one the original draws its cells with.
            seed: 2,
        }
    }
}

/// Wider layers are refused: a mistyped width must not ask for terabytes.
const MAX_WIDTH: usize = late_fast_kernels::decoder::MAX_K;
const MAX_BATCH_SIZE: usize = 1 << 16;
/// The network of the original has one, two or three layers on each side.
const MAX_HIDDEN_LAYERS: usize = 8;

impl TrainConfig {
    /// Checks every setting on its own.
    ///
    /// # Errors
    /// Names the option, its value and what is allowed.
    pub fn validate(&self) -> Result<()> {
        let widths_fit = self.hidden.iter().all(|&w| (1..=MAX_WIDTH).contains(&w));
        check(
            (1..=MAX_HIDDEN_LAYERS).contains(&self.hidden.len()) && widths_fit,
            || format!("--hidden {:?}", self.hidden),
            &format!("give 1 to {MAX_HIDDEN_LAYERS} widths from 1 to {MAX_WIDTH}, such as --hidden 800,400"),
        )?;
        for (name, rate) in [("--dropout-in", self.dropout_in), ("--dropout-hidden", self.dropout_hidden)] {
            check(
                (0.0..1.0).contains(&rate),
                || format!("{name} {rate}"),
                "give a rate from 0 (no dropout) up to, not including, 1",
            )?;
        }
        check(
            self.learning_rate.is_finite() && self.learning_rate > 0.0,
            || format!("--lr {}", self.learning_rate),
            "give a learning rate above 0, such as 3e-4",
        )?;
        check(
            (1..=MAX_BATCH_SIZE).contains(&self.batch_size),
            || format!("--batch-size {}", self.batch_size),
            &format!("give a number from 1 to {MAX_BATCH_SIZE}"),
        )?;
        check(self.epochs > 0, || "--epochs 0".into(), "train for at least one epoch")?;
        check(
            self.shuffle_window > 0,
            || "--shuffle-window 0".into(),
            "give a number of entries, such as 67108864",
        )?;
        check(self.patience > 0, || "--patience 0".into(), "wait for at least one epoch")?;
        match self.validation {
            Validation::Entries { holdout } => check(
                holdout > 0.0 && holdout < 1.0,
                || format!("--holdout {holdout}"),
                "give a share between 0 and 1, such as 0.05",
            ),
            Validation::Samples { split } => check(
                split.iter().all(|s| s.is_finite() && *s >= 0.0) && split[0] > 0.0 && split[1] > 0.0,
                || format!("--split {},{},{}", split[0], split[1], split[2]),
                "give three shares such as 0.7,0.15,0.15; training and validation need some",
            ),
        }
    }

    /// What the features are called on the command line.
    pub fn features_name(&self) -> &'static str {
        features_name(self.samples)
    }
}

/// What the features are called where these are the samples; so are the directories of the two runs of
/// `--features both`.
pub fn features_name(samples: Major) -> &'static str {
    match samples {
        Major::Cells => "genes",
        Major::Genes => "cells",
    }
}

fn check(fine: bool, problem: impl FnOnce() -> String, remedy: &str) -> Result<()> {
    if fine {
        return Ok(());
    }
    Err(Error::Usage { problem: format!("{} cannot be used", problem()), remedy: remedy.into() })
}

#[cfg(test)]
mod tests {
    use super::TrainConfig;

    #[test]
    fn settings_of_earlier_versions_are_read() {
        let config = TrainConfig::default();
        let mut json = serde_json::to_value(&config).unwrap();
        let fields = json.as_object_mut().unwrap();
        for added in ["param_dtype", "kernel", "store_dtype", "shuffle_window", "freeze_encoder"] {
            assert!(fields.remove(added).is_some(), "{added} is not written");
        }
        assert_eq!(serde_json::from_value::<TrainConfig>(json).unwrap(), config);
    }
}
