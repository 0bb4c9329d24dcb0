//! The first layer: n features to the first hidden layer, from stored entries only.

use late_fast_kernels::encoder::encoder_step;
use late_fast_kernels::spmm::spmm;
use late_fast_kernels::{Isa, WideWeightsMut};

use super::buffer::Buffer;
use super::network::{Layer, Tensor};
use super::precision::Precision;
use super::step::Pass;
use crate::minibatch::Minibatch;
use crate::parallel::{self, Divide, TaskRows};

/// `partials[t] = X_t W_t` for the features of every task t, each `n_samples x k`; their sum in task
/// order is `X W`.
pub(super) fn forward<S: Precision>(
    isa: Isa,
    partials: &mut [f32],
    layer: &Layer<S>,
    batch: &Minibatch,
    k: usize,
) {
    let (size, row_words) = (batch.n_samples() * k, S::row_words(k));
    let partials = &mut partials[..batch.n_tasks() * size];
    let parts = TaskRows::new(partials, size, &|task| task);
    parallel::each(0..batch.n_tasks(), parts, &|task, partial| {
        for (block, (features, inputs)) in batch.task_inputs(task).enumerate() {
            let w = &layer.weight.value[features.start * row_words..features.end * row_words];
            spmm::<S>(isa, partial.rows, inputs, w, k, block > 0);
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

/// `dW = X^T dh`, and Adam's step on W; `dh` is `n_samples x k`.
pub(super) fn backward<S: Precision>(
    pass: &Pass,
    layer: &mut Layer<S>,
    batch: &Minibatch,
    dh: &[f32],
    rows: &mut Buffer<S::Word>,
) {
    let dh = S::as_rows(pass.isa, dh, pass.k, rows);
    let parts = TaskWeights::<S>::new(&mut layer.weight, batch, pass.k);
    parallel::each(0..batch.n_tasks(), parts, &|task, part| {
        let inputs = batch.inputs_of(batch.task_features(task));
        encoder_step(pass.isa, part.weights, inputs, dh, pass.k, &pass.adam);
    });
}
