//! The first layer: n features to the first hidden layer, from stored entries only.

use late_fast_kernels::Isa;
use late_fast_kernels::encoder::{WideWeightsMut, encoder_step};
use late_fast_kernels::spmm::spmm;

use super::network::Layer;
use super::step::Pass;
use crate::minibatch::Minibatch;
use crate::parallel::{self, split_rows};

/// `partials[t] = X_t W_t` for the features of every task t, each `n_samples x k`; their sum in task
/// order is `X W`.
pub(super) fn forward(isa: Isa, partials: &mut [f32], layer: &Layer, batch: &Minibatch, k: usize) {
    let size = batch.n_samples() * k;
    let tasks = (0..batch.n_tasks()).zip(partials.chunks_exact_mut(size)).collect();
    parallel::map(tasks, |(task, partial): (usize, &mut [f32])| {
        partial.fill(0.0);
        for (features, inputs) in batch.task_inputs(task) {
            spmm(isa, partial, inputs, &layer.weight.value[features.start * k..features.end * k], k);
        }
    });
}

/// `dW = X^T dh`, and Adam's step on W; `dh` is `n_samples x k`.
pub(super) fn backward(pass: &Pass, layer: &mut Layer, batch: &Minibatch, dh: &[f32]) {
    let k = pass.k;
    let ranges: Vec<_> = (0..batch.n_tasks()).map(|task| batch.task_features(task)).collect();
    let weight = &mut layer.weight;
    let tasks = ranges
        .iter()
        .zip(split_rows(&mut weight.value, &ranges, k))
        .zip(split_rows(&mut weight.m, &ranges, k))
        .zip(split_rows(&mut weight.v, &ranges, k))
        .collect();
    parallel::map(tasks, |(((features, w), m), v)| {
        let inputs = batch.inputs_of(features.clone());
        encoder_step(pass.isa, WideWeightsMut { w, m, v }, inputs, dh, k, &pass.adam);
    });
}
