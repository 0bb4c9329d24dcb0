//! The epoch loop.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use late_fast_kernels::{Bf16, F32, Isa};
use serde::{Deserialize, Serialize};

use super::checkpoint::{Due, Keeper};
use super::split::Split;
use crate::config::{Loss, LossNorm, ParamDtype, TrainConfig};
use crate::error::{Error, Result};
use crate::minibatch::{
    Builder, InputDropout, Loader, Minibatch, Purpose, Schedule, batches_in_order, shuffled_batches,
};
use crate::model::{
    Architecture, HiddenDropout, LossKind, Network, Placement, Precision, Snapshot, Start, StepOptions,
    StepResult, Workspace,
};
use crate::parallel;
use crate::profile::{Phase, Profile};
use crate::store::Store;

/// What is known after an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: u64,
    /// Mean training loss over the epoch's steps, with dropout, as it was when each step was taken.
    pub train_loss: f64,
    /// Mean validation error after the epoch, without dropout.
    pub validation_loss: f64,
    /// Whether this is the best epoch so far.
    pub best: bool,
    /// Wall time of the epoch, validation included; time between an interruption and going on is not counted.
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
    /// Something the user should know.
    fn note(&self, text: &str);
}

/// What is trained, and on what.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The matrix, a row a sample.
    pub store: &'a Store,
    /// Its samples and features.
    pub split: &'a Split,
    /// The settings.
    pub config: &'a TrainConfig,
    /// Which kernels to use.
    pub isa: Isa,
    /// Where the wide layers' weights and moments are kept.
    pub parameters: Placement<'a>,
    /// Where the copy of the best ones is kept.
    pub best: Placement<'a>,
    /// What the network starts from; at random without it.
    pub start: Option<Start<'a>>,
}

/// How training ended.
#[derive(Debug)]
pub enum Outcome {
    /// It is done.
    Finished(Box<Trained>),
    /// It was stopped, and can go on from a checkpoint.
    Stopped {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// The epoch it was taken in, counted from 1.
        epoch: u64,
    },
}

/// A trained network and how it came to be.
#[derive(Debug)]
pub struct Trained {
    /// With the weights of the best epoch.
    pub network: Network,
    /// Where the time went, since the last interruption.
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
    /// The validation error before the first step, where the network did not start at random.
    pub loss_at_start: Option<f64>,
}

/// Where a run is between two steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Epochs that are over.
    pub epoch: u64,
    /// Minibatches of the present epoch that were trained on.
    pub batches: usize,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Errors of the present epoch's minibatches.
    pub total: StepResult,
    /// Time spent on the present epoch.
    pub seconds: f64,
    /// The best epoch so far, counted from 1; 0 before there is one.
    pub best_epoch: u64,
    /// Its validation error.
    pub best_loss: Option<f64>,
    /// One record for every epoch that is over.
    pub history: Vec<EpochRecord>,
    /// The validation error before the first step, where the network did not start at random.
    #[serde(default)]
    pub loss_at_start: Option<f64>,
}

/// Trains a network, and ends with the weights of its best epoch. With a `keeper` it takes checkpoints; with `resume`
/// it goes on from the last one, if there is one.
///
/// # Errors
/// When the loss is not finite, memory is short, the store was changed, or no checkpoint fits.
pub fn train(
    task: &Task<'_>,
    keeper: Option<&mut Keeper>,
    resume: bool,
    observer: &dyn Observer,
) -> Result<Outcome> {
    match task.config.param_dtype {
        ParamDtype::F32 => Run::<F32>::start(*task, keeper, observer)?.train(resume),
        ParamDtype::Bf16 => Run::<Bf16>::start(*task, keeper, observer)?.train(resume),
    }
}

/// A run in progress, its wide layers stored as `S`.
struct Run<'a, S: Precision> {
    task: Task<'a>,
    keeper: Option<&'a mut Keeper>,
    observer: &'a dyn Observer,
    network: Network<S>,
    best: Snapshot<S>,
    workspace: Workspace<S>,
    loader: Loader<'a>,
    position: Position,
}

impl<'a, S: Precision> Run<'a, S> {
    fn start(task: Task<'a>, keeper: Option<&'a mut Keeper>, observer: &'a dyn Observer) -> Result<Self> {
        let Task { store, split, config, isa, .. } = task;
        let n_features = split.features.len();
        let mut network = match &task.start {
            Some(start) => Network::<S>::starting_at(start, config.seed, task.parameters)?,
            None => {
                let architecture = Architecture { n_features, hidden: config.hidden.clone() };
                Network::initialised_in(architecture, config.seed, task.parameters)?
            }
        };
        let best = network.snapshot(task.best)?;
        let features = &split.feature_of_column;
        let builder = Builder::new(store, features, n_features, config.transform, split.holdout, isa);
        let loader = Loader::new(builder, prefetch());
        let workspace = Workspace::default();
        Ok(Self { task, keeper, observer, network, best, workspace, loader, position: Position::default() })
    }

    fn train(mut self, resume: bool) -> Result<Outcome> {
        if let (true, Some(keeper)) = (resume, &self.keeper) {
            let found = keeper.restore(&mut self.network, &mut self.best, self.observer)?;
            if let Some(position) = found {
                let Position { epoch, batches, .. } = position;
                self.observer.note(&format!("going on in epoch {} after {batches} minibatches", epoch + 1));
                self.position = position;
            }
        }
        self.look_at_start()?;
        let mut failure = None;
        while !self.is_done() {
            match self.epoch() {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(checkpoint)) => {
                    return Ok(Outcome::Stopped { checkpoint, epoch: self.position.epoch + 1 });
                }
                Err(error @ Error::Training { .. }) if self.position.best_epoch > 0 => {
                    failure = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.finish(failure)
    }

    /// Validates what a network that did not start at random knows already.
    fn look_at_start(&mut self) -> Result<()> {
        let is_at_start = self.position == Position::default();
        if is_at_start && self.task.start.is_some() {
            let loss = self.validation()?;
            self.position.loss_at_start = Some(loss);
            self.observer.note(&format!("at the start: validation error {loss:.5}"));
        }
        Ok(())
    }

    /// Whether the last epoch was trained, or patience ran out.
    fn is_done(&self) -> bool {
        let Position { epoch, best_epoch, .. } = self.position;
        let config = self.task.config;
        epoch >= config.epochs || (epoch > 0 && epoch >= best_epoch.saturating_add(config.patience))
    }

    fn finish(mut self, failure: Option<Error>) -> Result<Outcome> {
        self.network.restore(&self.best);
        drop(self.best);
        let Position { history, best_epoch, best_loss, loss_at_start, .. } = self.position;
        let mut profile = self.loader.profile;
        profile.add(&self.workspace.profile);
        drop((self.workspace, self.loader));
        Ok(Outcome::Finished(Box::new(Trained {
            network: self.network.into_f32(self.task.parameters)?,
            profile,
            best_epoch,
            best_validation_loss: best_loss.unwrap_or(f64::NAN),
            stopped_early: failure.is_none() && (history.len() as u64) < self.task.config.epochs,
            history,
            failure,
            loss_at_start,
        })))
    }

    /// Trains on what is left of the present epoch and validates. Breaks with a checkpoint when the run is to stop.
    fn epoch(&mut self) -> Result<ControlFlow<PathBuf>> {
        let started = Instant::now();
        if let ControlFlow::Break(checkpoint) = self.train_epoch(started)? {
            return Ok(ControlFlow::Break(checkpoint));
        }
        let training = self.position.seconds + started.elapsed().as_secs_f64();
        let validation_loss = self.validation()?;
        let position = &mut self.position;
        let is_best = position.best_loss.is_none_or(|best| validation_loss < best);
        position.epoch += 1;
        if is_best {
            (position.best_epoch, position.best_loss) = (position.epoch, Some(validation_loss));
            self.network.update_snapshot(&mut self.best);
        }
        let record = EpochRecord {
            epoch: position.epoch,
            train_loss: position.total.mean(),
            validation_loss,
            best: is_best,
            seconds: position.seconds + started.elapsed().as_secs_f64(),
            samples_per_second: self.task.split.train.len() as f64 / training,
        };
        position.history.push(record);
        (position.batches, position.total, position.seconds) = (0, StepResult::default(), 0.0);
        self.observer.epoch(&record);
        if self.is_done() {
            return Ok(ControlFlow::Continue(()));
        }
        let Self { keeper, network, best, position, observer, .. } = self;
        keep(keeper.as_deref_mut(), network, best, *observer, || position.clone())
    }

    /// Trains on what is left of the present epoch, which goes on at `started`.
    fn train_epoch(&mut self, started: Instant) -> Result<ControlFlow<PathBuf>> {
        let Task { split, store, config, isa, .. } = self.task;
        let epoch = self.position.epoch;
        let row_nnz = &store.summary().row_nnz;
        let schedule = shuffled_batches(
            &split.train,
            row_nnz,
            config.shuffle_window,
            config.batch_size,
            config.seed,
            epoch,
        );
        let options = StepOptions {
            isa,
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
        let Self { network, best, workspace, keeper, observer, position, loader, .. } = self;
        let (first, before) = (position.batches, position.seconds);
        let mut checkpoint = None;
        let _ = loader.for_each(&schedule, first, Purpose::Train(input_dropout), |batch| {
            let result = network.train_step(workspace, batch, &options)?;
            position.batches += 1;
            position.steps = network.steps;
            if !result.sum.is_finite() {
                return Err(not_finite(epoch, position.batches, "training loss"));
            }
            position.total.add(result);
            observer.step(epoch + 1, batch.n_samples(), position.total.mean());
            let seconds = before + started.elapsed().as_secs_f64();
            let at = || Position { seconds, ..position.clone() };
            let flow = keep(keeper.as_deref_mut(), network, best, *observer, at)?;
            checkpoint = flow.break_value();
            Ok(if checkpoint.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(checkpoint.map_or(ControlFlow::Continue(()), ControlFlow::Break))
    }

    /// [`Run::validate`]; all its time is that of validation.
    fn validation(&mut self) -> Result<f64> {
        let (start, step, load) = (Instant::now(), self.workspace.profile, self.loader.profile);
        let result = self.validate();
        (self.workspace.profile, self.loader.profile) = (step, load);
        self.loader.profile.lap(Phase::Validation, start);
        result
    }

    /// The mean validation error of the present weights.
    fn validate(&mut self) -> Result<f64> {
        let Task { split, store, config, isa, .. } = self.task;
        let row_nnz = &store.summary().row_nnz;
        let schedule: Schedule =
            batches_in_order(&split.validation, row_nnz, config.shuffle_window, config.batch_size);
        let loss = self.loss_kind();
        let (network, workspace) = (&self.network, &mut self.workspace);
        let form = config.kernel;
        let by_entries = split.holdout.is_some();
        let mut total = StepResult::default();
        let _ = self.loader.for_each(&schedule, 0, Purpose::Validate, |batch: &Minibatch| {
            total.add(if by_entries {
                network.held_out_error(workspace, batch, isa, form)?
            } else {
                network.reconstruction_error(workspace, batch, isa, form, loss)?
            });
            Ok(ControlFlow::Continue(()))
        })?;
        if total.mean().is_finite() {
            Ok(total.mean())
        } else {
            Err(not_finite(self.position.epoch, 0, "validation error"))
        }
    }

    fn loss_kind(&self) -> LossKind {
        let Task { store, config, .. } = self.task;
        match (config.loss, config.loss_norm) {
            (Loss::MaskedMse, LossNorm::Nonzero) => LossKind::MaskedMse { n_columns: None },
            (Loss::MaskedMse, LossNorm::All) => LossKind::MaskedMse { n_columns: Some(store.n_cols()) },
            (Loss::Mse, _) => LossKind::Mse,
        }
    }
}

/// Takes a checkpoint if one is due; breaks with it when the run is to stop.
fn keep<S: Precision>(
    keeper: Option<&mut Keeper>,
    network: &mut Network<S>,
    best: &mut Snapshot<S>,
    observer: &dyn Observer,
    position: impl FnOnce() -> Position,
) -> Result<ControlFlow<PathBuf>> {
    let Some((keeper, due)) = keeper.and_then(|keeper| keeper.is_due().map(|due| (keeper, due))) else {
        return Ok(ControlFlow::Continue(()));
    };
    match (keeper.write(network, best, &position()), due) {
        (Ok(path), Due::Stop) => Ok(ControlFlow::Break(path)),
        (Ok(_), Due::Interval) => Ok(ControlFlow::Continue(())),
        (Err(error), Due::Stop) => Err(error),
        (Err(error), Due::Interval) => {
            // What was learned is in memory: ending the run for want of a checkpoint would lose it for certain.
            observer.note(&format!("warning: no checkpoint: {error}; training goes on"));
            keeper.postpone();
            Ok(ControlFlow::Continue(()))
        }
    }
}

/// Gathering ahead takes a thread of its own: not when the user allowed only one.
fn prefetch() -> bool {
    parallel::n_threads() > 1
}

fn not_finite(epoch: u64, minibatch: usize, what: &str) -> Error {
    let place = if minibatch == 0 { String::new() } else { format!(", minibatch {minibatch}") };
    Error::Training {
        problem: format!("the {what} is no longer a finite number (epoch {}{place})", epoch + 1),
        remedy: "try a smaller --lr, and look for extreme values in the input (late-fast inspect)".into(),
    }
}
