//! The first layer: n features to the first hidden layer, from stored entries only.

use late_fast_kernels::encoder::encoder_step;
use late_fast_kernels::spmm::spmm;
use late_fast_kernels::{Isa, WideWeightsMut};

use super::forms::{self, Operation};
use super::network::{Layer, Tensor};
use super::precision::Precision;
use super::step::Pass;
use super::workspace::Workspace;
use crate::config::KernelForm;
use crate::minibatch::Minibatch;
use crate::parallel::{self, Divide, TaskRows};

/// `partials[t] = X_t W_t` for the features of every task t, each `n_samples x k`; their sum in task
/// order is `X W`.
pub(super) fn forward<S: Precision>(
    isa: Isa,
    form: KernelForm,
    workspace: &mut Workspace<S>,
    layer: &Layer<S>,
    batch: &Minibatch,
    k: usize,
) {
    let (n_tasks, size, row_words) = (batch.n_tasks(), batch.n_samples() * k, S::row_words(k));
    let is_dense = forms::is_dense_for::<S>(isa, form, Operation::EncoderForward, batch);
    let partials = TaskRows::equal(&mut workspace.partials[..n_tasks * size], n_tasks);
    let scratch = TaskRows::equal(&mut workspace.scratch, n_tasks);
    parallel::each(0..n_tasks, (partials, scratch), &|task, (partial, scratch)| {
        for (block, (features, inputs)) in batch.task_inputs(task).enumerate() {
            let w = &layer.weight.value[features.start * row_words..features.end * row_words];
            if is_dense {
                S::encoder_forward_dense(isa, partial.rows, inputs, w, k, scratch.rows, block > 0);
            } else {
                spmm::<S>(isa, partial.rows, inputs, w, k, block > 0);
            }
        }
    });
}

/// Wide weights of consecutive tasks.
pub(super) struct TaskWeights<'a, S: Precision> {
    pub(super) weights: WideWeightsMut<'a, S>,
    batch: &'a Minibatch,
    k: usize,
}

impl<'a, S: Precision> TaskWeights<'a, S> {
    pub(super) fn new(tensor: &'a mut Tensor<S::Word>, batch: &'a Minibatch, k: usize) -> Self {
        let Tensor { value, m, v } = tensor;
        Self { weights: WideWeightsMut { w: value, m, v, first: 0 }, batch, k }
    }
}

impl<S: Precision> Divide for TaskWeights<'_, S> {
    fn divide(self, task: usize) -> (Self, Self) {
        let n_features = self.batch.task_features(task).start - self.weights.first;
        let (weights, rest) = self.weights.split_at(n_features, self.k);
        (Self { weights, ..self }, Self { weights: rest, ..self })
    }
}

/// `dW = X^T dh`, and Adam's step on W, where `dh` is the gradient of the first hidden activation.
pub(super) fn backward<S: Precision>(
    pass: &Pass,
    workspace: &mut Workspace<S>,
    layer: &mut Layer<S>,
    batch: &Minibatch,
) {
    let (n_tasks, k) = (batch.n_tasks(), pass.k);
    let Workspace { gradients, rows, panels, scratch, .. } = workspace;
    let dh = &gradients[0][..batch.n_samples() * k];
    let weights = TaskWeights::<S>::new(&mut layer.weight, batch, k);
    if pass.is_dense::<S>(Operation::EncoderStep, batch) {
        let dh = S::prepare_factor(pass.isa, dh, batch.n_samples(), panels);
        let scratch = TaskRows::equal(scratch, n_tasks);
        parallel::each(0..n_tasks, (weights, scratch), &|task, (part, scratch)| {
            let inputs = batch.inputs_of(batch.task_features(task));
            S::encoder_step_dense(pass, part.weights, inputs, &dh, scratch.rows);
        });
    } else {
        let dh = S::as_rows(pass.isa, dh, k, rows);
        parallel::each(0..n_tasks, weights, &|task, part| {
            let inputs = batch.inputs_of(batch.task_features(task));
            encoder_step(pass.isa, part.weights, inputs, dh, k, &pass.adam);
        });
    }
}
