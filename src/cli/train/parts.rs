//! From the arguments to the networks that are to be trained.

use std::path::{Path, PathBuf};

use super::super::args::{FeaturesArg, TrainArgs, ValidationArg};
use crate::config::{DEFAULT_HOLDOUT, DEFAULT_SPLIT, MODEL_FILE, TrainConfig, Validation, features_name};
use crate::error::{Error, Result};
use crate::impute::check_pair;
use crate::matrix::Major;
use crate::model::{ModelInfo, StoredModel};
use crate::store::Fingerprint;
use crate::train::{Reference, list_checkpoints};

/// A network to train.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) config: TrainConfig,
    /// The model to start from.
    pub(super) reference: Option<Reference>,
    /// Where its results go.
    pub(super) out: PathBuf,
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
    let part = |&samples: &Major| {
        let place = |dir: &Path| if is_one { dir.to_owned() } else { dir.join(features_name(samples)) };
        let reference = args.init.as_deref().map(|dir| Reference::open(&place(dir))).transpose()?;
        let defaults = reference.as_ref().map_or_else(TrainConfig::default, Reference::defaults);
        let config = config_of(args, samples, defaults)?;
        config.validate()?;
        if let Some(reference) = &reference {
            reference.check(&config)?;
        }
        Ok(Part { config, reference, out: place(out) })
    };
    let parts: Vec<Part> = samples.iter().map(part).collect::<Result<_>>()?;
    if let [genes, cells] = &parts[..] {
        check_pair(&genes.config, &cells.config)?;
    }
    refuse_other_layout(out, is_one)?;
    Ok(parts)
}

/// Refuses a directory of two networks for one, and the other way round.
fn refuse_other_layout(out: &Path, is_one: bool) -> Result<()> {
    let [genes, cells] = [Major::Cells, Major::Genes].map(|samples| out.join(features_name(samples)));
    let found = if is_one {
        [genes, cells].map(|dir| dir.join(MODEL_FILE))
    } else {
        [out.join(MODEL_FILE), out.join(MODEL_FILE)]
    };
    match found.into_iter().find(|path| path.exists()) {
        None => Ok(()),
        Some(path) => Err(Error::Usage {
            problem: format!(
                "{} is of a run that trained {}",
                path.display(),
                if is_one { "two networks (--features both)" } else { "one network" }
            ),
            remedy: "choose another --out".into(),
        }),
    }
}

/// What is in the directory of a part.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// Nothing to go on from.
    New,
    /// Checkpoints of a run that was interrupted. A model beside them is an earlier one, which was to be replaced.
    Unfinished,
    /// A model of this description.
    Finished(Box<ModelInfo>),
}

impl Part {
    /// Looks into the directory of a run that is to be resumed.
    ///
    /// # Errors
    /// When a model is there that was trained with other settings.
    pub(super) fn state(&self) -> Result<State> {
        let path = self.out.join(MODEL_FILE);
        if self.out.exists() && !list_checkpoints(&self.out)?.is_empty() {
            return Ok(State::Unfinished);
        }
        if !path.exists() {
            return Ok(State::New);
        }
        let info = StoredModel::open(&path)?.info;
        let own =
            TrainConfig { epochs: info.config.epochs, patience: info.config.patience, ..self.config.clone() };
        if own != info.config {
            return Err(other_model(&path, "was trained with other settings"));
        }
        let own = self.reference.as_ref().map(Reference::hash);
        if own != info.reference.as_ref().map(|reference| &*reference.hash) {
            return Err(other_model(&path, "started from another one (--init)"));
        }
        Ok(State::Finished(Box::new(info)))
    }
}

impl State {
    pub(super) fn is_finished(&self) -> bool {
        matches!(self, Self::Finished(_))
    }

    /// Refuses a finished model of another matrix than `input`; where only the names are known yet, by those.
    pub(super) fn check_input(&self, out: &Path, names: &str, input: Option<&Fingerprint>) -> Result<()> {
        match self {
            Self::Finished(info) => {
                let is_another =
                    |own: &Fingerprint| own.names != names || input.is_some_and(|input| input != own);
                // Older models do not say.
                if info.input.as_ref().is_some_and(is_another) {
                    return Err(other_model(&out.join(MODEL_FILE), "was trained on another matrix"));
                }
                Ok(())
            }
            Self::New | Self::Unfinished => Ok(()),
        }
    }
}

fn other_model(path: &Path, reason: &str) -> Error {
    Error::Usage {
        problem: format!("{}: the model there {reason}", path.display()),
        remedy: "choose another --out, or start over with --force and without --resume".into(),
    }
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
