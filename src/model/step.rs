//! One minibatch through the network: forward, loss, backward and Adam.

use std::time::Instant;

use late_fast_kernels::Isa;
use late_fast_kernels::adam::Adam;
use late_fast_kernels::dropout::row_key;

use super::forms::Operation;
use super::network::Network;
use super::precision::Precision;
use super::workspace::Workspace;
use super::{decoder, encoder, forms, hidden};
use crate::config::KernelForm;
use crate::error::Result;
use crate::minibatch::Minibatch;
use crate::profile::Phase;

/// Adam's constants, as in TensorFlow and PyTorch.
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
/// Stream of the random bits of stochastic rounding of the wide layers, and what tells the encoder's from the decoder's.
const ROUNDING_STREAM: u32 = 1 << 17;

/// Dropout of the hidden activations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HiddenDropout {
    /// The probability to keep a unit.
    pub keep: f32,
    /// The run's seed.
    pub seed: u64,
    /// The epoch, counted from 0.
    pub epoch: u64,
}

/// Which entries the loss counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossKind {
    /// Observed entries only: LATE. The mean is over them, or over `n_columns` entries a sample.
    MaskedMse {
        /// `None`: divide by the observed entries of the minibatch. `Some(n)`: by n for every sample,
        /// as the original does with n all features.
        n_columns: Option<usize>,
    },
    /// Every entry, zeros included: the plain autoencoder.
    Mse,
}

/// What a training step needs beside the batch.
#[derive(Clone, Copy, Debug)]
pub struct StepOptions {
    /// Which kernels to use.
    pub isa: Isa,
    /// The form of the wide layers' products.
    pub form: KernelForm,
    /// The loss.
    pub loss: LossKind,
    /// Keys stochastic rounding, where parameters are stored in 16 bits.
    pub seed: u64,
    /// Learning rate of Adam.
    pub learning_rate: f32,
    /// Dropout of the hidden layers; the input's is the minibatch's own.
    pub dropout: Option<HiddenDropout>,
}

/// What the layers' backward passes share in one step.
#[derive(Debug)]
pub struct Pass {
    pub(super) isa: Isa,
    pub(super) form: KernelForm,
    /// Width of the activations beside the wide layers.
    pub(super) k: usize,
    /// One over the number of entries the mean is over.
    pub(super) scale: f32,
    /// The probability to keep a hidden unit.
    pub(super) keep: f32,
    /// Hidden activations, from the first on, that parameters lead to which stay as they are.
    pub(super) n_frozen: usize,
    pub(super) adam: Adam,
}

impl Pass {
    /// Whether an operation on `batch` takes its dense form.
    pub(super) fn is_dense<S: Precision>(&self, operation: Operation, batch: &Minibatch) -> bool {
        forms::is_dense_for::<S>(self.isa, self.form, operation, batch)
    }
}

/// Errors of one minibatch, to be added up over an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StepResult {
    /// Sum of squared errors.
    pub sum: f64,
    /// The number of entries the mean is over.
    pub count: f64,
}

impl StepResult {
    /// Sum over count; `NaN` when nothing was counted.
    pub fn mean(self) -> f64 {
        self.sum / self.count
    }

    /// Adds another minibatch.
    pub fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.count += other.count;
    }
}

impl LossKind {
    /// How many entries of `batch` the mean is over.
    fn count(self, batch: &Minibatch) -> f64 {
        let samples = batch.n_samples() as f64;
        match self {
            Self::MaskedMse { n_columns: None } => batch.targets.nnz() as f64,
            Self::MaskedMse { n_columns: Some(n) } => samples * n as f64,
            Self::Mse => samples * batch.n_features() as f64 - batch.held_out.nnz() as f64,
        }
    }
}

impl<S: Precision> Network<S> {
    /// One training step on `batch`: all weights and moments that are not frozen move. A batch without an observed entry
    /// changes nothing.
    ///
    /// # Errors
    /// When the workspace cannot grow.
    pub fn train_step(
        &mut self,
        workspace: &mut Workspace<S>,
        batch: &Minibatch,
        options: &StepOptions,
    ) -> Result<StepResult> {
        let count = options.loss.count(batch);
        if batch.targets.nnz() == 0 {
            return Ok(StepResult::default());
        }
        self.encode(workspace, batch, options.isa, options.form, options.dropout)?;
        self.steps += 1;
        let pass = Pass {
            isa: options.isa,
            form: options.form,
            k: self.architecture.wide(),
            #[expect(clippy::cast_possible_truncation, reason = "the network computes in f32")]
            scale: count.recip() as f32,
            keep: options.dropout.map_or(1.0, |d| d.keep),
            n_frozen: if self.encoder_is_frozen { self.architecture.latent_index() + 1 } else { 0 },
            adam: Adam::at_step(f64::from(options.learning_rate), BETA1, BETA2, EPSILON, self.steps)
                .keyed(row_key(options.seed, ROUNDING_STREAM, 0, 0)),
        };
        let start = Instant::now();
        let sum = match options.loss {
            LossKind::MaskedMse { .. } => decoder::masked_step(&pass, workspace, &mut self.decoder, batch),
            LossKind::Mse => decoder::unmasked_step(&pass, workspace, &mut self.decoder, batch),
        };
        let start = workspace.profile.lap(Phase::Decoder, start);
        hidden::backward(&pass, workspace, &self.hidden, &self.architecture, batch);
        let start = workspace.profile.lap(Phase::Middle, start);
        let pass = Pass { adam: pass.adam.keyed(u64::from(ROUNDING_STREAM)), ..pass };
        if !self.encoder_is_frozen {
            encoder::backward(&pass, workspace, &mut self.encoder, batch);
        }
        let start = workspace.profile.lap(Phase::EncoderStep, start);
        hidden::update(&pass, workspace, &mut self.encoder.bias, &mut self.hidden, &self.architecture, batch);
        workspace.profile.lap(Phase::Optimiser, start);
        Ok(StepResult { sum, count })
    }

    /// The masked error of the held-out entries of `batch`, without dropout.
    ///
    /// # Errors
    /// When the workspace cannot grow.
    pub fn held_out_error(
        &self,
        workspace: &mut Workspace<S>,
        batch: &Minibatch,
        isa: Isa,
        form: KernelForm,
    ) -> Result<StepResult> {
        self.encode(workspace, batch, isa, form, None)?;
        let (d, k) = (self.last_hidden(workspace, batch.n_samples()), self.architecture.wide());
        let sum = decoder::masked_error(isa, &self.decoder, batch, d, k, Minibatch::held_out_of);
        Ok(StepResult { sum, count: batch.held_out.nnz() as f64 })
    }

    /// The squared error of every held-out entry of `batch`, in their order, without dropout.
    ///
    /// # Errors
    /// When the workspace cannot grow.
    pub fn held_out_errors(
        &self,
        workspace: &mut Workspace<S>,
        batch: &Minibatch,
        isa: Isa,
    ) -> Result<Vec<f64>> {
        self.encode(workspace, batch, isa, KernelForm::Auto, None)?;
        let (d, k) = (self.last_hidden(workspace, batch.n_samples()), self.architecture.wide());
        let entries_of = Minibatch::held_out_of;
        let collect = |errors: &mut dyn Iterator<Item = f64>| errors.collect::<Vec<_>>();
        Ok(decoder::masked_errors(isa, &self.decoder, batch, d, k, entries_of, collect).concat())
    }

    /// The loss of the entries of `batch` that are input and target at once, without dropout.
    ///
    /// # Errors
    /// When the workspace cannot grow.
    pub fn reconstruction_error(
        &self,
        workspace: &mut Workspace<S>,
        batch: &Minibatch,
        isa: Isa,
        form: KernelForm,
        loss: LossKind,
    ) -> Result<StepResult> {
        self.encode(workspace, batch, isa, form, None)?;
        let (d, k) = (self.last_hidden(workspace, batch.n_samples()), self.architecture.wide());
        let sum = match loss {
            LossKind::MaskedMse { .. } => {
                decoder::masked_error(isa, &self.decoder, batch, d, k, Minibatch::targets_of)
            }
            LossKind::Mse => decoder::unmasked_error(isa, &self.decoder, batch, d, k),
        };
        Ok(StepResult { sum, count: loss.count(batch) })
    }

    /// Fills the workspace with the hidden activations of `batch`.
    ///
    /// # Errors
    /// When the workspace cannot grow.
    pub fn encode(
        &self,
        workspace: &mut Workspace<S>,
        batch: &Minibatch,
        isa: Isa,
        form: KernelForm,
        dropout: Option<HiddenDropout>,
    ) -> Result<()> {
        workspace.reserve(isa, &self.architecture, batch)?;
        let start = Instant::now();
        encoder::forward(isa, form, workspace, &self.encoder, batch, self.architecture.wide());
        let start = workspace.profile.lap(Phase::Encoder, start);
        hidden::forward(
            isa,
            workspace,
            &self.encoder.bias.value,
            &self.hidden,
            &self.architecture,
            batch,
            dropout,
        );
        workspace.profile.lap(Phase::Middle, start);
        Ok(())
    }

    /// The latent code of the batch encoded last, `n_samples x n_latent`.
    pub fn latent<'a>(&self, workspace: &'a Workspace<S>, n_samples: usize) -> &'a [f32] {
        &workspace.activations[self.architecture.latent_index()][..n_samples * self.architecture.n_latent()]
    }

    /// The last hidden activation of the batch encoded last, `n_samples x wide`.
    pub fn last_hidden<'a>(&self, workspace: &'a Workspace<S>, n_samples: usize) -> &'a [f32] {
        let last = self.architecture.n_hidden() - 1;
        &workspace.activations[last][..n_samples * self.architecture.wide()]
    }
}
