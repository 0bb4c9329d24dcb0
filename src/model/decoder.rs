//! The last layer: the last hidden activation to n features, compared with the targets.

use std::ops::Range;

use late_fast_kernels::Isa;
use late_fast_kernels::activation::column_sums;
use late_fast_kernels::adam::adam;
use late_fast_kernels::decoder::{EntryLoss, WideLayerMut, decoder_step};
use late_fast_kernels::gemm::gemm;
use late_fast_kernels::sddmm::sddmm;
use late_fast_kernels::{CsrView, DenseView, DenseViewMut};

use super::network::Layer;
use super::step::Pass;
use crate::minibatch::Minibatch;
use crate::parallel::{self, split_rows, tiles};

/// Dense outputs are formed for this many features at a time.
const DENSE_BLOCK: usize = 128;

/// The part of the layer that belongs to one task's features, and the task's gradient of `d`.
struct Task<'a> {
    features: Range<usize>,
    layer: WideLayerMut<'a>,
    dd: &'a mut [f32],
}

fn deal<'a>(layer: &'a mut Layer, partials: &'a mut [f32], batch: &Minibatch, k: usize) -> Vec<Task<'a>> {
    let ranges: Vec<_> = (0..batch.n_tasks()).map(|task| batch.task_features(task)).collect();
    let Layer { weight, bias } = layer;
    let weights = split_rows(&mut weight.value, &ranges, k)
        .into_iter()
        .zip(split_rows(&mut weight.m, &ranges, k))
        .zip(split_rows(&mut weight.v, &ranges, k));
    let biases = split_rows(&mut bias.value, &ranges, 1)
        .into_iter()
        .zip(split_rows(&mut bias.m, &ranges, 1))
        .zip(split_rows(&mut bias.v, &ranges, 1));
    let dds = partials.chunks_exact_mut(batch.n_samples() * k);
    ranges
        .iter()
        .zip(weights)
        .zip(biases)
        .zip(dds)
        .map(|(((features, ((w, m), v)), ((bias, bias_m), bias_v)), dd)| Task {
            features: features.clone(),
            layer: WideLayerMut { w, m, v, bias, bias_m, bias_v },
            dd,
        })
        .collect()
}

/// Masked loss of the targets, its gradient with respect to `d` (`n_samples x k`, one partial sum a
/// task), and Adam's step on the layer. Returns the sum of the entries' losses; gradients carry the scale.
pub(super) fn masked_step(
    pass: &Pass,
    partials: &mut [f32],
    layer: &mut Layer,
    batch: &Minibatch,
    d: &[f32],
) -> f64 {
    let Pass { isa, k, scale, .. } = *pass;
    let sums = parallel::map(deal(layer, partials, batch, k), |task| {
        task.dd.fill(0.0);
        let targets = batch.targets_of(task.features);
        decoder_step(isa, task.dd, task.layer, targets, d, k, scale, &pass.adam, EntryLoss::MaskedSquare)
    });
    sums.into_iter().sum()
}

/// The sum of squared errors at the entries of `entries_of(features)` (features x samples).
pub(super) fn masked_error<'b>(
    isa: Isa,
    layer: &Layer,
    batch: &'b Minibatch,
    d: &[f32],
    k: usize,
    entries_of: impl Fn(&'b Minibatch, Range<usize>) -> CsrView<'b> + Sync + Send,
) -> f64 {
    let tasks = (0..batch.n_tasks()).map(|task| batch.task_features(task)).collect();
    let sums = parallel::map(tasks, |features: Range<usize>| {
        let entries = entries_of(batch, features.clone());
        let mut y = vec![0.0; entries.nnz()];
        let w = &layer.weight.value[features.start * k..features.end * k];
        sddmm(isa, &mut y, entries, d, w, &layer.bias.value[features], k);
        y.iter().zip(entries.data()).map(|(&y, &x)| f64::from(y - x).powi(2)).sum::<f64>()
    });
    sums.into_iter().sum()
}

/// As [`masked_step`], with the loss on every entry, zeros included, but for the held-out ones: the
/// plain autoencoder. Dense products, a block of features at a time.
pub(super) fn dense_step(
    pass: &Pass,
    partials: &mut [f32],
    layer: &mut Layer,
    batch: &Minibatch,
    d: &[f32],
) -> f64 {
    let Pass { isa, k, scale, .. } = *pass;
    let step = &pass.adam;
    let n_samples = batch.n_samples();
    let sums = parallel::map(deal(layer, partials, batch, k), |task| {
        let WideLayerMut { w, m, v, bias, bias_m, bias_v } = task.layer;
        let mut error = vec![0.0; n_samples * DENSE_BLOCK];
        let mut dw = vec![0.0; DENSE_BLOCK * k];
        let mut db = vec![0.0; DENSE_BLOCK];
        let mut sum = 0.0;
        task.dd.fill(0.0);
        for local in tiles(task.features.len(), DENSE_BLOCK) {
            let features = task.features.start + local.start..task.features.start + local.end;
            let width = local.len();
            let span = local.start * k..local.end * k;
            let error = &mut error[..n_samples * width];
            sum += dense_block_error(
                isa,
                error,
                (&w[span.clone()], &bias[local.clone()]),
                batch,
                features,
                d,
                k,
            );
            for g in &mut *error {
                *g *= 2.0 * scale;
            }
            let g = DenseView::new(error, n_samples, width);
            let wide = DenseView::new(&w[span.clone()], width, k);
            gemm(isa, DenseViewMut::new(task.dd, n_samples, k), g, wide, 1.0);
            let dw = &mut dw[..width * k];
            gemm(isa, DenseViewMut::new(dw, width, k), g.transposed(), DenseView::new(d, n_samples, k), 0.0);
            column_sums(isa, &mut db[..width], error);
            adam(isa, &mut w[span.clone()], &mut m[span.clone()], &mut v[span], dw, step);
            let bias = &mut bias[local.clone()];
            adam(isa, bias, &mut bias_m[local.clone()], &mut bias_v[local], &db[..width], step);
        }
        sum
    });
    sums.into_iter().sum()
}

/// The sum of squared errors over every entry, zeros included, but for the held-out ones.
pub(super) fn dense_error(isa: Isa, layer: &Layer, batch: &Minibatch, d: &[f32], k: usize) -> f64 {
    let blocks = tiles(batch.n_features(), DENSE_BLOCK);
    let sums = parallel::map(blocks, |features| {
        let mut error = vec![0.0; batch.n_samples() * features.len()];
        let w = &layer.weight.value[features.start * k..features.end * k];
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
