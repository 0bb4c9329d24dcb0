//! The epoch loop.

use std::time::Instant;

use late_fast_kernels::{Bf16, F32, Isa};

use super::split::Split;
use crate::config::{Loss, LossNorm, ParamDtype, TrainConfig};
use crate::error::{Error, Result};
use crate::minibatch::{
    Builder, InputDropout, Loader, Minibatch, Purpose, batches_in_order, shuffled_batches,
};
use crate::model::{
    Architecture, HiddenDropout, LossKind, Network, Precision, StepOptions, StepResult, Workspace,
};
use crate::parallel;
use crate::profile::{Phase, Profile};
use crate::store::Store;

/// What is known after an epoch.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: u64,
    /// Mean training loss over the epoch's steps, with dropout, as it was when each step was taken.
    pub train_loss: f64,
    /// Mean validation error after the epoch, without dropout.
    pub validation_loss: f64,
    /// Whether this is the best epoch so far.
    pub best: bool,
    /// Wall time of the epoch, validation included.
    pub seconds: f64,
    /// Training samples a second, validation not included.
    pub samples_per_second: f64,
}

/// Is told how training goes.
pub trait Observer {
    /// A training step on `n_samples` ended; `loss` is the mean over the epoch so far.
    fn step(&self, epoch: u64, n_samples: usize, loss: f64);
    /// An epoch ended.
    fn epoch(&self, record: &EpochRecord);
}

/// A trained network and how it came to be.
#[derive(Debug)]
pub struct Trained {
    /// With the weights of the best epoch.
    pub network: Network,
    /// Where the time went.
    pub profile: Profile,
    /// One record for every epoch.
    pub history: Vec<EpochRecord>,
    /// The epoch whose weights were kept, counted from 1.
    pub best_epoch: u64,
    /// Its validation error.
    pub best_validation_loss: f64,
    /// Whether patience ran out before the last epoch.
    pub stopped_early: bool,
    /// What ended training after the best epoch, if something went wrong.
    pub failure: Option<Error>,
}

/// Trains a network on the rows of `store` and returns it with the weights of its best epoch.
///
/// # Errors
/// When the loss is not finite, memory is short or the store was changed.
pub fn train(
    store: &Store,
    split: &Split,
    config: &TrainConfig,
    isa: Isa,
    observer: &dyn Observer,
) -> Result<Trained> {
    match config.param_dtype {
        ParamDtype::F32 => train_stored::<F32>(store, split, config, isa, observer),
        ParamDtype::Bf16 => train_stored::<Bf16>(store, split, config, isa, observer),
    }
}

/// [`train`] with the wide layers stored as `S`.
fn train_stored<S: Precision>(
    store: &Store,
    split: &Split,
    config: &TrainConfig,
    isa: Isa,
    observer: &dyn Observer,
) -> Result<Trained> {
    let architecture = Architecture { n_features: split.features.len(), hidden: config.hidden.clone() };
    let network = Network::<S>::starting_from(Network::initialised(architecture, config.seed)?)?;
    let builder = Builder::new(
        store,
        &split.feature_of_column,
        split.features.len(),
        config.transform,
        split.holdout,
        isa,
    );
    let loader = Loader::new(builder, prefetch());
    let mut run = Run { store, split, config, isa, network, workspace: Workspace::default(), loader };
    let mut best = run.network.snapshot()?;
    let mut history: Vec<EpochRecord> = Vec::new();
    let (mut best_epoch, mut best_loss) = (0, f64::INFINITY);
    let mut failure = None;
    for epoch in 0..config.epochs {
        let started = Instant::now();
        let (train_loss, seconds, validation_loss) = match run.epoch(epoch, observer) {
            Ok(outcome) => outcome,
            Err(error @ Error::Training { .. }) if best_epoch > 0 => {
                failure = Some(error);
                break;
            }
            Err(error) => return Err(error),
        };
        let is_best = validation_loss < best_loss;
        if is_best {
            (best_epoch, best_loss) = (epoch + 1, validation_loss);
            run.network.update_snapshot(&mut best);
        }
        let record = EpochRecord {
            epoch: epoch + 1,
            train_loss,
            validation_loss,
            best: is_best,
            seconds: started.elapsed().as_secs_f64(),
            samples_per_second: split.train.len() as f64 / seconds,
        };
        observer.epoch(&record);
        history.push(record);
        if epoch + 1 >= best_epoch.saturating_add(config.patience) {
            break;
        }
    }
    run.network.restore(&best);
    drop(best);
    let stopped_early = failure.is_none() && (history.len() as u64) < config.epochs;
    let mut profile = run.loader.profile;
    profile.add(&run.workspace.profile);
    Ok(Trained {
        network: run.network.into_f32()?,
        profile,
        history,
        best_epoch,
        best_validation_loss: best_loss,
        stopped_early,
        failure,
    })
}

/// The parts of a run that epochs share.
struct Run<'a, S: Precision> {
    store: &'a Store,
    split: &'a Split,
    config: &'a TrainConfig,
    isa: Isa,
    network: Network<S>,
    workspace: Workspace<S>,
    loader: Loader<'a>,
}

impl<S: Precision> Run<'_, S> {
    /// Trains and validates once; returns training loss, seconds of training and validation error.
    fn epoch(&mut self, epoch: u64, observer: &dyn Observer) -> Result<(f64, f64, f64)> {
        let started = Instant::now();
        let train_loss = self.train_epoch(epoch, observer)?;
        let seconds = started.elapsed().as_secs_f64();
        Ok((train_loss, seconds, self.validation(epoch)?))
    }

    /// Visits every training sample once and returns the mean loss.
    fn train_epoch(&mut self, epoch: u64, observer: &dyn Observer) -> Result<f64> {
        let config = self.config;
        let plan = shuffled_batches(&self.split.train, config.batch_size, config.seed, epoch);
        let options = StepOptions {
            isa: self.isa,
            form: config.kernel,
            loss: self.loss_kind(),
            seed: config.seed,
            learning_rate: config.learning_rate,
            dropout: (config.dropout_hidden > 0.0).then_some(HiddenDropout {
                keep: 1.0 - config.dropout_hidden,
                seed: config.seed,
                epoch,
            }),
        };
        let input_dropout = (config.dropout_in > 0.0).then_some(InputDropout {
            keep: 1.0 - config.dropout_in,
            seed: config.seed,
            epoch,
        });
        let (network, workspace) = (&mut self.network, &mut self.workspace);
        let mut total = StepResult::default();
        let mut steps = 0;
        self.loader.for_each(&plan, Purpose::Train(input_dropout), |batch| {
            let result = network.train_step(workspace, batch, &options)?;
            steps += 1;
            if !result.sum.is_finite() {
                return Err(not_finite(epoch, steps, "training loss"));
            }
            total.add(result);
            observer.step(epoch + 1, batch.n_samples(), total.mean());
            Ok(())
        })?;
        Ok(total.mean())
    }

    /// [`Run::validate`]; all its time is that of validation.
    fn validation(&mut self, epoch: u64) -> Result<f64> {
        let (start, step, load) = (Instant::now(), self.workspace.profile, self.loader.profile);
        let result = self.validate(epoch);
        (self.workspace.profile, self.loader.profile) = (step, load);
        self.loader.profile.lap(Phase::Validation, start);
        result
    }

    /// The mean validation error of the present weights.
    fn validate(&mut self, epoch: u64) -> Result<f64> {
        let plan = batches_in_order(&self.split.validation, self.config.batch_size);
        let loss = self.loss_kind();
        let (network, workspace, isa) = (&self.network, &mut self.workspace, self.isa);
        let form = self.config.kernel;
        let by_entries = self.split.holdout.is_some();
        let mut total = StepResult::default();
        self.loader.for_each(&plan, Purpose::Validate, |batch: &Minibatch| {
            total.add(if by_entries {
                network.held_out_error(workspace, batch, isa, form)?
            } else {
                network.reconstruction_error(workspace, batch, isa, form, loss)?
            });
            Ok(())
        })?;
        if total.mean().is_finite() {
            Ok(total.mean())
        } else {
            Err(not_finite(epoch, 0, "validation error"))
        }
    }

    fn loss_kind(&self) -> LossKind {
        match (self.config.loss, self.config.loss_norm) {
            (Loss::MaskedMse, LossNorm::Nonzero) => LossKind::MaskedMse { n_columns: None },
            (Loss::MaskedMse, LossNorm::All) => LossKind::MaskedMse { n_columns: Some(self.store.n_cols()) },
            (Loss::Mse, _) => LossKind::Mse,
        }
    }
}

/// Gathering ahead takes a thread of its own: not when the user allowed only one.
fn prefetch() -> bool {
    parallel::n_threads() > 1
}

fn not_finite(epoch: u64, minibatch: u64, what: &str) -> Error {
    let place = if minibatch == 0 { String::new() } else { format!(", minibatch {minibatch}") };
    Error::Training {
        problem: format!("the {what} is no longer a finite number (epoch {}{place})", epoch + 1),
        remedy: "try a smaller --lr, and look for extreme values in the input (late-fast inspect)".into(),
    }
}
