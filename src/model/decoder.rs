//! The last layer: the last hidden activation to n features, compared with the targets.

use std::ops::Range;

use late_fast_kernels::activation::column_sums;
use late_fast_kernels::adam::{adam, adam_rows};
use late_fast_kernels::decoder::{Batch, EntryLoss, decoder_step};
use late_fast_kernels::gemm::gemm;
use late_fast_kernels::sddmm::sddmm;
use late_fast_kernels::{CsrView, DenseView, DenseViewMut, Isa, WideLayerMut};

use super::encoder::TaskWeights;
use super::network::Layer;
use super::precision::Precision;
use super::step::Pass;
use super::workspace::{Workspace, scratch_len};
use crate::minibatch::Minibatch;
use crate::parallel::{self, Divide, TaskRows, tiles};

/// Dense outputs are formed for this many features at a time.
const DENSE_BLOCK: usize = 128;

/// The biases and their moments of consecutive tasks.
struct TaskBiases<'a> {
    values: [&'a mut [f32]; 3],
    batch: &'a Minibatch,
    first: usize,
}

impl Divide for TaskBiases<'_> {
    fn divide(self, task: usize) -> (Self, Self) {
        let first = self.batch.task_features(task).start;
        let at = first - self.first;
        let [(b, b_rest), (m, m_rest), (v, v_rest)] = self.values.map(|values| values.split_at_mut(at));
        let batch = self.batch;
        (
            Self { values: [b, m, v], batch, first: self.first },
            Self { values: [b_rest, m_rest, v_rest], batch, first },
        )
    }
}

/// Runs `work(task, layer, dd, scratch)` for every task; `dd`, the task's gradient of `d`, is not initialised.
fn step_tasks<S: Precision>(
    layer: &mut Layer<S>,
    [partials, scratch]: [&mut [f32]; 2],
    batch: &Minibatch,
    k: usize,
    work: &(impl Fn(usize, WideLayerMut<'_, S>, &mut [f32], &mut [f32]) -> f64 + Sync),
) -> f64 {
    let n_tasks = batch.n_tasks();
    let Layer { weight, bias } = layer;
    let biases = TaskBiases { values: [&mut bias.value, &mut bias.m, &mut bias.v], batch, first: 0 };
    let per_task = [batch.n_samples() * k, scratch.len() / n_tasks.max(1)];
    let dds = TaskRows::new(&mut partials[..n_tasks * per_task[0]], per_task[0], &|task| task);
    let scratch = TaskRows::new(&mut scratch[..n_tasks * per_task[1]], per_task[1], &|task| task);
    let parts = ((TaskWeights::<S>::new(weight, batch, k), biases), (dds, scratch));
    parallel::sum(0..n_tasks, parts, &|task, ((weights, biases), (dd, scratch))| {
        let [bias, bias_m, bias_v] = biases.values;
        work(task, WideLayerMut { weights: weights.weights, bias, bias_m, bias_v }, dd.rows, scratch.rows)
    })
}

/// Masked loss of the targets, its gradient with respect to `d` (the last hidden activation, one partial sum a
/// task), and Adam's step on the layer. Returns the sum of the entries' losses; gradients carry the scale.
pub(super) fn masked_step<S: Precision>(
    pass: &Pass,
    workspace: &mut Workspace<S>,
    layer: &mut Layer<S>,
    batch: &Minibatch,
) -> f64 {
    let Pass { isa, k, scale, .. } = *pass;
    let last = workspace.activations.len() - 1;
    let d = &workspace.activations[last][..batch.n_samples() * k];
    let d_rows = S::as_rows(isa, d, k, &mut workspace.rows);
    let scratch = &mut workspace.scratch[..batch.n_tasks() * scratch_len(batch, k)];
    step_tasks(layer, [&mut workspace.partials, scratch], batch, k, &|task, layer, dd, scratch| {
        let (mut sum, mut rest) = (0.0, layer);
        for (block, (features, by_sample)) in batch.task_inputs(task).enumerate() {
            let (layer, others) = rest.split_at(features.len(), k);
            rest = others;
            let read = Batch { targets: batch.targets_of(features), by_sample, d, d_rows };
            let loss = EntryLoss::MaskedSquare;
            sum += decoder_step(isa, dd, layer, read, scratch, k, scale, &pass.adam, loss, block > 0);
        }
        sum
    })
}

/// The sum of squared errors at the entries of `entries_of(features)` (features x samples).
pub(super) fn masked_error<'b, S: Precision>(
    isa: Isa,
    layer: &Layer<S>,
    batch: &'b Minibatch,
    d: &[f32],
    k: usize,
    entries_of: impl Fn(&'b Minibatch, Range<usize>) -> CsrView<'b> + Sync + Send,
) -> f64 {
    let tasks = (0..batch.n_tasks()).map(|task| batch.task_features(task)).collect();
    let row_words = S::row_words(k);
    let sums = parallel::map(tasks, |features: Range<usize>| {
        let entries = entries_of(batch, features.clone());
        let mut y = vec![0.0; entries.nnz()];
        let w = &layer.weight.value[features.start * row_words..features.end * row_words];
        sddmm::<S>(isa, &mut y, entries, d, w, &layer.bias.value[features], k);
        y.iter().zip(entries.data()).map(|(&y, &x)| f64::from(y - x).powi(2)).sum::<f64>()
    });
    sums.into_iter().sum()
}

/// As [`masked_step`], with the loss on every entry, zeros included, but for the held-out ones: the
/// plain autoencoder. Dense products, a block of features at a time.
pub(super) fn dense_step<S: Precision>(
    pass: &Pass,
    workspace: &mut Workspace<S>,
    layer: &mut Layer<S>,
    batch: &Minibatch,
) -> f64 {
    let Pass { isa, k, scale, .. } = *pass;
    let n_samples = batch.n_samples();
    let last = workspace.activations.len() - 1;
    let d = &workspace.activations[last][..n_samples * k];
    step_tasks(layer, [&mut workspace.partials, &mut []], batch, k, &|task, layer, dd, _| {
        let all = batch.task_features(task);
        let mut error = vec![0.0; n_samples * DENSE_BLOCK];
        let mut dw = vec![0.0; DENSE_BLOCK * k];
        let mut w = vec![0.0; DENSE_BLOCK * k];
        let mut db = vec![0.0; DENSE_BLOCK];
        let (mut sum, mut rest) = (0.0, layer);
        for local in tiles(all.len(), DENSE_BLOCK) {
            let features = all.start + local.start..all.start + local.end;
            let width = local.len();
            let (layer, others) = rest.split_at(width, k);
            rest = others;
            let w = S::as_f32(isa, layer.weights.w, k, &mut w);
            let error = &mut error[..n_samples * width];
            sum += dense_block_error(isa, error, (w, layer.bias), batch, features, d, k);
            for g in &mut *error {
                *g *= 2.0 * scale;
            }
            let g = DenseView::new(error, n_samples, width);
            let beta = if local.start > 0 { 1.0 } else { 0.0 };
            gemm(isa, DenseViewMut::new(dd, n_samples, k), g, DenseView::new(w, width, k), beta);
            let dw = &mut dw[..width * k];
            gemm(isa, DenseViewMut::new(dw, width, k), g.transposed(), DenseView::new(d, n_samples, k), 0.0);
            column_sums(isa, &mut db[..width], error);
            adam_rows(isa, layer.weights, dw, k, &pass.adam);
            adam(isa, layer.bias, layer.bias_m, layer.bias_v, &db[..width], &pass.adam);
        }
        sum
    })
}

/// The sum of squared errors over every entry, zeros included, but for the held-out ones.
pub(super) fn dense_error<S: Precision>(
    isa: Isa,
    layer: &Layer<S>,
    batch: &Minibatch,
    d: &[f32],
    k: usize,
) -> f64 {
    let blocks = tiles(batch.n_features(), DENSE_BLOCK);
    let row_words = S::row_words(k);
    let sums = parallel::map(blocks, |features| {
        let mut error = vec![0.0; batch.n_samples() * features.len()];
        let mut w = vec![0.0; features.len() * k];
        let rows = &layer.weight.value[features.start * row_words..features.end * row_words];
        let w = S::as_f32(isa, rows, k, &mut w);
        dense_block_error(isa, &mut error, (w, &layer.bias.value[features.clone()]), batch, features, d, k)
    });
    sums.into_iter().sum()
}

/// Writes `relu(d w^T + bias) - x` (`n_samples x features`), 0 where the output is 0 or the entry is held
/// out; returns the sum of the squared errors, those at outputs of 0 included.
fn dense_block_error(
    isa: Isa,
    error: &mut [f32],
    (w, bias): (&[f32], &[f32]),
    batch: &Minibatch,
    features: Range<usize>,
    d: &[f32],
    k: usize,
) -> f64 {
    let width = features.len();
    relu_affine(isa, error, d, w, bias, k);
    let active: Vec<bool> = error.iter().map(|&y| y > 0.0).collect();
    for_each_entry(batch.targets_of(features.clone()), |row, feature, x| error[row * width + feature] -= x);
    for_each_entry(batch.held_out_of(features), |row, feature, _| error[row * width + feature] = 0.0);
    let sum = error.iter().map(|&e| f64::from(e).powi(2)).sum();
    for (e, active) in error.iter_mut().zip(active) {
        if !active {
            *e = 0.0;
        }
    }
    sum
}

/// `y = relu(d w^T + bias)`: the dense output of some features, `n_samples x n_features`.
pub(super) fn relu_affine(isa: Isa, y: &mut [f32], d: &[f32], w: &[f32], bias: &[f32], k: usize) {
    let n_samples = d.len() / k;
    let width = bias.len();
    let out = DenseViewMut::new(y, n_samples, width);
    gemm(isa, out, DenseView::new(d, n_samples, k), DenseView::new(w, width, k).transposed(), 0.0);
    for row in y.chunks_exact_mut(width.max(1)) {
        for (y, b) in row.iter_mut().zip(bias) {
            *y = (*y + b).max(0.0);
        }
    }
}

/// Calls `visit(sample, feature, value)` for every entry of a features x samples view.
fn for_each_entry(entries: CsrView<'_>, mut visit: impl FnMut(usize, usize, f32)) {
    for feature in 0..entries.n_rows() {
        let (samples, values) = entries.row(feature);
        for (&sample, &value) in samples.iter().zip(values) {
            visit(sample as usize, feature, value);
        }
    }
}
