//! From the arguments to the networks that are to be trained.

use std::path::{Path, PathBuf};

use super::super::args::{FeaturesArg, TrainArgs, ValidationArg};
use crate::config::{DEFAULT_HOLDOUT, DEFAULT_SPLIT, TrainConfig, Validation};
use crate::error::{Error, Result};
use crate::matrix::Major;
use crate::train::Reference;

/// A network to train.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) config: TrainConfig,
    /// The model to start from.
    pub(super) reference: Option<Reference>,
    /// Where its results go.
    pub(super) out: PathBuf,
}

/// Where the results of one network lie in a directory of two.
pub(in crate::cli) fn subdirectory(samples: Major) -> &'static str {
    match samples {
        Major::Cells => "genes",
        Major::Genes => "cells",
    }
}

/// The networks that are asked for: one in `out`, or two in directories of their own below it, which start from models
/// in such directories below that of `--init`.
pub(super) fn parts_of(args: &TrainArgs, out: &Path) -> Result<Vec<Part>> {
    let samples = match args.features {
        FeaturesArg::Genes => &[Major::Cells][..],
        FeaturesArg::Cells => &[Major::Genes],
        FeaturesArg::Both => &[Major::Cells, Major::Genes],
    };
    let is_one = samples.len() == 1;
    if !is_one && args.validation == ValidationArg::Samples {
        return Err(Error::Usage {
            problem: "--features both needs entries that are hidden from both networks, and --validation samples hides \
                      whole cells from one and whole genes from the other"
                .into(),
            remedy: "leave --validation out".into(),
        });
    }
    let part = |&samples: &Major| {
        let place = |dir: &Path| if is_one { dir.to_owned() } else { dir.join(subdirectory(samples)) };
        let reference = args.init.as_deref().map(|dir| Reference::open(&place(dir))).transpose()?;
        let defaults = reference.as_ref().map_or_else(TrainConfig::default, Reference::defaults);
        let config = config_of(args, samples, defaults)?;
        config.validate()?;
        if let Some(reference) = &reference {
            reference.check(&config)?;
        }
        Ok(Part { config, reference, out: place(out) })
    };
    samples.iter().map(part).collect()
}

/// An option that has no effect without another.
pub(super) fn unused(options: &str, without: &str) -> Error {
    Error::Usage {
        problem: format!("{options} have no effect without {without}"),
        remedy: "add it, or leave them out".into(),
    }
}

/// The settings: those given, and `defaults` for widths, scale and learning rate.
fn config_of(args: &TrainArgs, samples: Major, defaults: TrainConfig) -> Result<TrainConfig> {
    let validation = match (args.validation, args.holdout, &args.split) {
        (ValidationArg::Entries, _, Some(_)) => {
            return Err(unused("the shares of --split", "--validation samples"));
        }
        (ValidationArg::Samples, Some(_), _) => {
            return Err(unused("--holdout and its share", "--validation entries"));
        }
        (ValidationArg::Entries, holdout, None) => {
            Validation::Entries { holdout: holdout.unwrap_or(DEFAULT_HOLDOUT) }
        }
        (ValidationArg::Samples, None, None) => Validation::Samples { split: DEFAULT_SPLIT },
        (ValidationArg::Samples, None, Some(shares)) => {
            let split = <[f64; 3]>::try_from(shares.as_slice()).map_err(|_| Error::Usage {
                problem: format!("--split has {} shares", shares.len()),
                remedy: "give three, of training, validation and test samples, such as 0.7,0.15,0.15".into(),
            })?;
            Validation::Samples { split }
        }
    };
    Ok(TrainConfig {
        samples,
        hidden: args.hidden.clone().unwrap_or(defaults.hidden),
        dropout_in: args.dropout_in,
        dropout_hidden: args.dropout_hidden,
        learning_rate: args.lr.unwrap_or(defaults.learning_rate),
        batch_size: args.batch_size,
        epochs: args.epochs,
        patience: args.patience,
        loss: args.loss,
        loss_norm: args.loss_norm,
        transform: args.transform.unwrap_or(defaults.transform),
        store_dtype: args.input.store_dtype,
        validation,
        shuffle_window: args.shuffle_window,
        param_dtype: args.param_dtype,
        kernel: args.kernel,
        freeze_encoder: args.freeze_encoder,
        seed: args.seed,
    })
}
