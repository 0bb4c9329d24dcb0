//! One minibatch through the network: forward, loss, backward and Adam.

use std::ops::Range;

use late_fast_kernels::Isa;
use late_fast_kernels::adam::Adam;

use super::network::{Layer, Network};
use super::workspace::Workspace;
use super::{decoder, encoder, hidden};
use crate::error::Result;
use crate::minibatch::Minibatch;

/// Adam's constants, as in TensorFlow and PyTorch.
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

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
    /// The loss.
    pub loss: LossKind,
    /// Learning rate of Adam.
    pub learning_rate: f32,
    /// Dropout of the hidden layers; the input's is the minibatch's own.
    pub dropout: Option<HiddenDropout>,
}

/// What the layers' backward passes share in one step.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) isa: Isa,
    /// Width of the activations beside the wide layers.
    pub(super) k: usize,
    /// One over the number of entries the mean is over.
    pub(super) scale: f32,
    /// The probability to keep a hidden unit.
    pub(super) keep: f32,
    pub(super) adam: Adam,
}

/// Errors of one minibatch, to be added up over an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
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

impl Network {
    /// One training step on `batch`: all weights and moments move. A batch without an observed entry
    /// changes nothing.
    ///
    /// # Errors
    /// When the workspace cannot grow.
    pub fn train_step(
        &mut self,
        workspace: &mut Workspace,
        batch: &Minibatch,
        options: &StepOptions,
    ) -> Result<StepResult> {
        let count = options.loss.count(batch);
        if batch.targets.nnz() == 0 {
            return Ok(StepResult::default());
        }
        self.encode(workspace, batch, options.isa, options.dropout)?;
        self.steps += 1;
        let pass = Pass {
            isa: options.isa,
            k: self.architecture.wide(),
            #[expect(clippy::cast_possible_truncation, reason = "the network computes in f32")]
            scale: count.recip() as f32,
            keep: options.dropout.map_or(1.0, |d| d.keep),
            adam: Adam::at_step(f64::from(options.learning_rate), BETA1, BETA2, EPSILON, self.steps),
        };
        let widths = self.architecture.hidden_widths();
        let (n_samples, n_tasks) = (batch.n_samples(), batch.n_tasks());
        let Some((output, before)) = self.layers.split_last_mut() else {
            unreachable!("a network has at least two layers")
        };
        let d = &workspace.activations[widths.len() - 1][..n_samples * pass.k];
        let output_step = match options.loss {
            LossKind::MaskedMse { .. } => decoder::masked_step,
            LossKind::Mse => decoder::dense_step,
        };
        let sum = output_step(&pass, &mut workspace.partials, output, batch, d);
        hidden::backward(&pass, workspace, before, n_samples, &widths, n_tasks);
        encoder::backward(&pass, &mut before[0], batch, &workspace.gradients[0][..n_samples * pass.k]);
        Ok(StepResult { sum, count })
    }

    /// The masked error of the held-out entries of `batch`, without dropout.
    ///
    /// # Errors
    /// When the workspace cannot grow.
    pub fn held_out_error(
        &self,
        workspace: &mut Workspace,
        batch: &Minibatch,
        isa: Isa,
    ) -> Result<StepResult> {
        self.encode(workspace, batch, isa, None)?;
        let (d, k) = (self.last_hidden(workspace, batch.n_samples()), self.architecture.wide());
        let sum = decoder::masked_error(isa, self.output_layer(), batch, d, k, Minibatch::held_out_of);
        Ok(StepResult { sum, count: batch.held_out.nnz() as f64 })
    }

    /// The loss of the entries of `batch` that are input and target at once, without dropout.
    ///
    /// # Errors
    /// When the workspace cannot grow.
    pub fn reconstruction_error(
        &self,
        workspace: &mut Workspace,
        batch: &Minibatch,
        isa: Isa,
        loss: LossKind,
    ) -> Result<StepResult> {
        self.encode(workspace, batch, isa, None)?;
        let (d, k) = (self.last_hidden(workspace, batch.n_samples()), self.architecture.wide());
        let sum = match loss {
            LossKind::MaskedMse { .. } => {
                decoder::masked_error(isa, self.output_layer(), batch, d, k, Minibatch::targets_of)
            }
            LossKind::Mse => decoder::dense_error(isa, self.output_layer(), batch, d, k),
        };
        Ok(StepResult { sum, count: loss.count(batch) })
    }

    /// Fills the workspace with the hidden activations of `batch`.
    ///
    /// # Errors
    /// When the workspace cannot grow.
    pub fn encode(
        &self,
        workspace: &mut Workspace,
        batch: &Minibatch,
        isa: Isa,
        dropout: Option<HiddenDropout>,
    ) -> Result<()> {
        let widths = self.architecture.hidden_widths();
        workspace.reserve(&self.architecture, batch.n_samples(), batch.n_tasks())?;
        encoder::forward(isa, &mut workspace.partials, &self.layers[0], batch, self.architecture.wide());
        let layers = &self.layers[..widths.len()];
        hidden::forward(isa, workspace, layers, &batch.samples, &widths, batch.n_tasks(), dropout);
        Ok(())
    }

    /// The latent code of the batch encoded last, `n_samples x n_latent`.
    pub fn latent<'a>(&self, workspace: &'a Workspace, n_samples: usize) -> &'a [f32] {
        &workspace.activations[self.architecture.latent_index()][..n_samples * self.architecture.n_latent()]
    }

    /// The last hidden activation of the batch encoded last, `n_samples x wide`.
    pub fn last_hidden<'a>(&self, workspace: &'a Workspace, n_samples: usize) -> &'a [f32] {
        let last = self.architecture.hidden_widths().len() - 1;
        &workspace.activations[last][..n_samples * self.architecture.wide()]
    }

    /// The dense output of some features for every row of `d` (the last hidden activation),
    /// `n_samples x features`.
    pub fn output(&self, isa: Isa, d: &[f32], features: Range<usize>) -> Vec<f32> {
        let k = self.architecture.wide();
        let layer = self.output_layer();
        let mut y = vec![0.0; d.len() / k * features.len()];
        let w = &layer.weight.value[features.start * k..features.end * k];
        decoder::relu_affine(isa, &mut y, d, w, &layer.bias.value[features], k);
        y
    }

    fn output_layer(&self) -> &Layer {
        &self.layers[self.layers.len() - 1]
    }
}
