//! The wide layers' operations as dense products through BLAS, a block of features at a time: for data so dense that
//! it pays, and for the plain autoencoder, whose loss counts every entry.

use std::ops::Range;

use late_fast_kernels::activation::column_sums;
use late_fast_kernels::adam::{adam, adam_rows};
use late_fast_kernels::decoder::EntryLoss;
use late_fast_kernels::gemm::gemm;
use late_fast_kernels::{Adam, CsrView, DenseView, DenseViewMut, Isa, WideLayerMut, WideWeightsMut};

use super::precision::Precision;
use super::step::Pass;

/// Features of a block.
pub(super) const BLOCK: usize = 128;

/// Values of scratch memory that a block needs: outputs, gradients, weights and their gradient.
pub(super) fn scratch_len(n_samples: usize, k: usize) -> usize {
    2 * BLOCK * (n_samples + k)
}

/// The scratch memory of a block of `width` features.
struct Scratch<'a> {
    y: &'a mut [f32],
    g: &'a mut [f32],
    w: &'a mut [f32],
    dw: &'a mut [f32],
}

impl<'a> Scratch<'a> {
    fn new(scratch: &'a mut [f32], n_samples: usize, width: usize, k: usize) -> Self {
        let (y, rest) = scratch.split_at_mut(n_samples * width);
        let (g, rest) = rest.split_at_mut(n_samples * width);
        let (w, rest) = rest.split_at_mut(width * k);
        Self { y, g, w, dw: &mut rest[..width * k] }
    }
}

/// Calls `work(features, their layer)` for one block of features after another; returns the sum.
pub(super) fn for_each_block<S: Precision>(
    layer: WideLayerMut<'_, S>,
    block: usize,
    k: usize,
    mut work: impl FnMut(Range<usize>, WideLayerMut<'_, S>) -> f64,
) -> f64 {
    let (n_features, mut rest, mut sum) = (layer.bias.len(), layer, 0.0);
    for start in (0..n_features).step_by(block) {
        let features = start..n_features.min(start + block);
        let (head, tail) = rest.split_at(features.len(), k);
        rest = tail;
        sum += work(features, head);
    }
    sum
}

/// [`for_each_block`] of weights without biases.
pub(super) fn for_each_weights_block<S: Precision>(
    weights: WideWeightsMut<'_, S>,
    n_features: usize,
    block: usize,
    k: usize,
    mut work: impl FnMut(Range<usize>, WideWeightsMut<'_, S>),
) {
    let mut rest = weights;
    for start in (0..n_features).step_by(block) {
        let features = start..n_features.min(start + block);
        let (head, tail) = rest.split_at(features.len(), k);
        rest = tail;
        work(features, head);
    }
}

/// [`decoder_step`](late_fast_kernels::decoder::decoder_step) through every output of the features of `targets`
/// (features x samples).
pub(super) fn decoder_step<S: Precision>(
    pass: &Pass,
    dd: &mut [f32],
    layer: WideLayerMut<'_, S>,
    targets: CsrView<'_>,
    d: &[f32],
    scratch: &mut [f32],
) -> f64 {
    through_outputs(pass, dd, layer, d, scratch, |features, y, g| {
        let (width, mut sum) = (features.len(), 0.0);
        g.fill(0.0);
        for_each_entry(targets.rows(features), |sample, feature, x| {
            let at = sample * width + feature;
            let (loss, slope) = EntryLoss::MaskedSquare.at(y[at], x);
            g[at] = if y[at] > 0.0 { slope * pass.scale } else { 0.0 };
            sum += loss;
        });
        sum
    })
}

/// The decoder's step with the loss on every entry, zeros included, but for the `held_out` ones.
pub(super) fn unmasked_decoder_step<S: Precision>(
    pass: &Pass,
    dd: &mut [f32],
    layer: WideLayerMut<'_, S>,
    entries: [CsrView<'_>; 2],
    d: &[f32],
    scratch: &mut [f32],
) -> f64 {
    through_outputs(pass, dd, layer, d, scratch, |features, y, g| {
        let sum = errors(g, y, entries.map(|entries| entries.rows(features.clone())));
        for (g, &y) in g.iter_mut().zip(y) {
            *g = if y > 0.0 { 2.0 * pass.scale * *g } else { 0.0 };
        }
        sum
    })
}

/// A decoder's step, where `loss(features, y, g)` writes the gradient of a block's outputs `y`, both
/// `n_samples x features`, and returns the block's loss. Returns the sum.
fn through_outputs<S: Precision>(
    pass: &Pass,
    dd: &mut [f32],
    layer: WideLayerMut<'_, S>,
    d: &[f32],
    scratch: &mut [f32],
    mut loss: impl FnMut(Range<usize>, &[f32], &mut [f32]) -> f64,
) -> f64 {
    let Pass { isa, k, .. } = *pass;
    for_each_block(layer, BLOCK, k, |features, layer| {
        let width = features.len();
        let Scratch { y, g, w, dw } = Scratch::new(scratch, d.len() / k, width, k);
        outputs(isa, y, d, &layer, w, k);
        let sum = loss(features.clone(), y, g);
        backward(pass, dd, layer, (g, d), (w, dw, &mut y[..width]), features.start > 0);
        sum
    })
}

/// The sum of squared errors over every entry of some features, zeros included, but for the held-out ones.
pub(super) fn unmasked_error(
    isa: Isa,
    (w, bias): (&[f32], &[f32]),
    entries: [CsrView<'_>; 2],
    d: &[f32],
    k: usize,
) -> f64 {
    let mut y = vec![0.0; entries[0].n_cols() * bias.len()];
    let mut errors_of = vec![0.0; y.len()];
    relu_affine(isa, &mut y, d, w, bias, k);
    errors(&mut errors_of, &y, entries)
}

/// Writes `y - x`, 0 where an entry is held out; returns the sum of squares.
fn errors(errors: &mut [f32], y: &[f32], [targets, held_out]: [CsrView<'_>; 2]) -> f64 {
    let width = targets.n_rows();
    errors.copy_from_slice(y);
    for_each_entry(targets, |sample, feature, x| errors[sample * width + feature] -= x);
    for_each_entry(held_out, |sample, feature, _| errors[sample * width + feature] = 0.0);
    errors.iter().map(|&e| f64::from(e).powi(2)).sum()
}

/// The outputs of a block; `w` is scratch memory for its weights.
fn outputs<S: Precision>(
    isa: Isa,
    y: &mut [f32],
    d: &[f32],
    layer: &WideLayerMut<'_, S>,
    w: &mut [f32],
    k: usize,
) {
    relu_affine(isa, y, d, S::as_f32(isa, layer.weights.w, k, w), layer.bias, k);
}

/// From the gradient of a block's outputs to those of `d`, weights and biases, and Adam's step.
fn backward<S: Precision>(
    pass: &Pass,
    dd: &mut [f32],
    layer: WideLayerMut<'_, S>,
    (g, d): (&[f32], &[f32]),
    (w, dw, db): (&mut [f32], &mut [f32], &mut [f32]),
    add: bool,
) {
    let Pass { isa, k, .. } = *pass;
    let (n_samples, width) = (d.len() / k, db.len());
    let beta = if add { 1.0 } else { 0.0 };
    column_sums(isa, db, g);
    let g = DenseView::new(g, n_samples, width);
    let w = DenseView::new(S::as_f32(isa, layer.weights.w, k, w), width, k);
    gemm(isa, DenseViewMut::new(dd, n_samples, k), g, w, beta);
    gemm(isa, DenseViewMut::new(dw, width, k), g.transposed(), DenseView::new(d, n_samples, k), 0.0);
    adam_rows(isa, layer.weights, dw, k, &pass.adam);
    adam(isa, layer.bias, layer.bias_m, layer.bias_v, db, &pass.adam);
}

/// [`spmm`](late_fast_kernels::spmm::spmm) of a block of at most [`BLOCK`] features as a dense product;
/// `x: n_samples x features`.
pub(super) fn encoder_forward<S: Precision>(
    isa: Isa,
    out: &mut [f32],
    x: CsrView<'_>,
    w: &[S::Word],
    k: usize,
    scratch: &mut [f32],
    add: bool,
) {
    let (n_samples, width) = (x.n_rows(), x.n_cols());
    let Scratch { y: dense, w: f32_weights, .. } = Scratch::new(scratch, n_samples, width, k);
    dense.fill(0.0);
    for_each_entry(x, |feature, sample, value| dense[sample * width + feature] = value);
    let w = S::as_f32(isa, w, k, f32_weights);
    let (x, w) = (DenseView::new(dense, n_samples, width), DenseView::new(w, width, k));
    gemm(isa, DenseViewMut::new(out, n_samples, k), x, w, if add { 1.0 } else { 0.0 });
}

/// [`encoder_step`](late_fast_kernels::encoder::encoder_step) as dense products; `xt: features x n_samples`.
pub(super) fn encoder_step<S: Precision>(
    isa: Isa,
    layer: WideWeightsMut<'_, S>,
    xt: CsrView<'_>,
    dh: &[f32],
    k: usize,
    adam: &Adam,
    scratch: &mut [f32],
) {
    let n_samples = xt.n_cols();
    for_each_weights_block(layer, xt.n_rows(), BLOCK, k, |features, weights| {
        let width = features.len();
        let Scratch { y: dense, dw, .. } = Scratch::new(scratch, n_samples, width, k);
        dense.fill(0.0);
        for_each_entry(xt.rows(features), |sample, feature, value| {
            dense[feature * n_samples + sample] = value
        });
        let (x, dh) = (DenseView::new(dense, width, n_samples), DenseView::new(dh, n_samples, k));
        gemm(isa, DenseViewMut::new(dw, width, k), x, dh, 0.0);
        adam_rows(isa, weights, dw, k, adam);
    });
}

/// `y = relu(d w^T + bias)`: the dense output of some features, `n_samples x n_features`.
pub(super) fn relu_affine(isa: Isa, y: &mut [f32], d: &[f32], w: &[f32], bias: &[f32], k: usize) {
    let n_samples = d.len() / k;
    let width = bias.len();
    let out = DenseViewMut::new(y, n_samples, width);
    gemm(isa, out, DenseView::new(d, n_samples, k), DenseView::new(w, width, k).transposed(), 0.0);
    for row in y.chunks_exact_mut(width.max(1)) {
        for (y, b) in row.iter_mut().zip(bias) {
            let z = *y + b;
            // NaN passes, so that a broken network shows in the loss.
            *y = if z < 0.0 { 0.0 } else { z };
        }
    }
}

/// Calls `visit(column, row, value)` for every entry.
fn for_each_entry(entries: CsrView<'_>, mut visit: impl FnMut(usize, usize, f32)) {
    for row in 0..entries.n_rows() {
        let (columns, values) = entries.row(row);
        for (&column, &value) in columns.iter().zip(values) {
            visit(column as usize, row, value);
        }
    }
}
