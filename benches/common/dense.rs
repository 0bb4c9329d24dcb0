//! What the sparse kernels do, done by dense OpenBLAS products on the densified minibatch: the row to beat.
//!
//! Features are taken in blocks, so that what a product leaves is still in the caches for the loss or for Adam.

use std::ops::Range;

use late_fast::minibatch::Minibatch;
use late_fast::parallel::tiles;
use late_fast_kernels::activation::{bias_relu_dropout, column_sums};
use late_fast_kernels::adam::adam;
use late_fast_kernels::gemm::gemm;
use late_fast_kernels::testing::Aligned;
use late_fast_kernels::{Adam, CsrView, DenseView, DenseViewMut, Isa, WideLayerMut, WideWeightsMut};

/// Most features of a block: the step at 256 x 20,000 takes 3% more with 256 or with all of them, from 512 to 4096 the same.
const BLOCK: usize = 1024;

/// A block of features of a minibatch.
pub struct DenseBlock {
    pub features: Range<usize>,
    /// `n_samples x features`
    inputs: Aligned,
    /// The same shape; 0 where nothing was observed.
    targets: Aligned,
}

/// A minibatch with all its zeros.
pub struct DenseBatch {
    pub blocks: Vec<DenseBlock>,
    pub samples: Vec<u32>,
    /// Observed entries.
    pub nnz: usize,
}

/// What a product leaves for the next.
pub struct Scratch {
    y: Aligned,
    dw: Aligned,
    db: Vec<f32>,
}

impl DenseBatch {
    /// The blocks are a multiple of `n_parts`, of about the same width.
    pub fn new(batch: &Minibatch, n_parts: usize) -> Self {
        let n_blocks = batch.n_features().div_ceil(BLOCK).next_multiple_of(n_parts);
        let block = |features: Range<usize>| DenseBlock {
            inputs: densified(batch.inputs_of(features.clone())),
            targets: densified(batch.targets_of(features.clone())),
            features,
        };
        Self {
            blocks: tiles(batch.n_features(), batch.n_features().div_ceil(n_blocks))
                .into_iter()
                .map(block)
                .collect(),
            samples: batch.samples.clone(),
            nnz: batch.targets.nnz(),
        }
    }
}

/// `samples x features` from `features x samples`.
fn densified(entries: CsrView<'_>) -> Aligned {
    let width = entries.n_rows();
    let mut dense = Aligned::new(&vec![0.0; entries.n_cols() * width]);
    for feature in 0..width {
        let (samples, values) = entries.row(feature);
        for (&sample, &value) in samples.iter().zip(values) {
            dense[sample as usize * width + feature] = value;
        }
    }
    dense
}

impl Scratch {
    pub fn new(n_samples: usize, k: usize) -> Self {
        let zeros = |len| Aligned::new(&vec![0.0; len]);
        Self { y: zeros(n_samples * BLOCK), dw: zeros(BLOCK * k), db: vec![0.0; BLOCK] }
    }
}

/// `out = x w`; `w` has the rows of the blocks' features.
pub fn forward(isa: Isa, out: &mut [f32], blocks: &[DenseBlock], w: &[f32], k: usize) {
    let (mut rest, n_samples) = (w, out.len() / k);
    for (number, DenseBlock { features, inputs, .. }) in blocks.iter().enumerate() {
        let n = features.len();
        let (w, others) = rest.split_at(n * k);
        rest = others;
        let (x, w) = (DenseView::new(inputs, n_samples, n), DenseView::new(w, n, k));
        gemm(isa, DenseViewMut::new(out, n_samples, k), x, w, if number > 0 { 1.0 } else { 0.0 });
    }
}

/// `y = relu(d w^T + bias)` of some features, `n_samples x features`.
pub fn outputs(isa: Isa, y: &mut [f32], d: &[f32], w: &[f32], bias: &[f32], k: usize) {
    let (n_samples, n) = (d.len() / k, bias.len());
    let wt = DenseView::new(w, n, k).transposed();
    gemm(isa, DenseViewMut::new(y, n_samples, n), DenseView::new(d, n_samples, k), wt, 0.0);
    bias_relu_dropout(isa, y, bias, 1.0, None);
}

/// [`outputs`] of all blocks, as validation wants them: into scratch.
pub fn all_outputs(
    isa: Isa,
    blocks: &[DenseBlock],
    d: &[f32],
    w: &[f32],
    bias: &[f32],
    k: usize,
    scratch: &mut Scratch,
) {
    let n_samples = d.len() / k;
    for DenseBlock { features, .. } in blocks {
        let Range { start, end } = *features;
        let y = &mut scratch.y[..n_samples * features.len()];
        outputs(isa, y, d, &w[start * k..end * k], &bias[start..end], k);
    }
}

/// The decoder's step: three products, the loss of the observed entries and Adam. Returns the sum of squared errors.
#[allow(clippy::too_many_arguments, reason = "outputs, inputs, sizes, as in the kernels")]
pub fn decoder_step(
    isa: Isa,
    dd: &mut [f32],
    layer: WideLayerMut<'_>,
    blocks: &[DenseBlock],
    d: &[f32],
    k: usize,
    grad_scale: f32,
    coefficients: &Adam,
    scratch: &mut Scratch,
) -> f64 {
    let (mut sum, mut rest, n_samples) = (0.0, layer, d.len() / k);
    for (number, DenseBlock { features, targets, .. }) in blocks.iter().enumerate() {
        let n = features.len();
        let (layer, others) = rest.split_at(n, k);
        rest = others;
        let WideWeightsMut { w, m, v, .. } = layer.weights;
        let y = &mut scratch.y[..n_samples * n];
        outputs(isa, y, d, w, layer.bias, k);
        sum += masked_square(y, targets, 2.0 * grad_scale);
        let (g, beta) = (DenseView::new(y, n_samples, n), if number > 0 { 1.0 } else { 0.0 });
        gemm(isa, DenseViewMut::new(dd, n_samples, k), g, DenseView::new(w, n, k), beta);
        let dw = &mut scratch.dw[..n * k];
        gemm(isa, DenseViewMut::new(dw, n, k), g.transposed(), DenseView::new(d, n_samples, k), 0.0);
        adam(isa, w, m, v, dw, coefficients);
        let db = &mut scratch.db[..n];
        column_sums(isa, db, y);
        adam(isa, layer.bias, layer.bias_m, layer.bias_v, db, coefficients);
    }
    sum
}

/// Turns outputs into gradients: without branches, so that it is vectorised.
fn masked_square(y: &mut [f32], targets: &[f32], scale: f32) -> f64 {
    const LANES: usize = 16;
    let mut sum = 0.0;
    for (y, targets) in y.chunks_mut(64 * LANES).zip(targets.chunks(64 * LANES)) {
        let mut sums = [0.0; LANES];
        for (y, targets) in y.chunks_mut(LANES).zip(targets.chunks(LANES)) {
            for ((y, &target), sum) in y.iter_mut().zip(targets).zip(&mut sums) {
                let error = if target > 0.0 { *y - target } else { 0.0 };
                *sum += error * error;
                *y = if *y > 0.0 { scale * error } else { 0.0 };
            }
        }
        sum += f64::from(sums.iter().sum::<f32>());
    }
    sum
}

/// The encoder's gradient and Adam.
pub fn encoder_step(
    isa: Isa,
    layer: WideWeightsMut<'_>,
    blocks: &[DenseBlock],
    dh: &[f32],
    k: usize,
    coefficients: &Adam,
    scratch: &mut Scratch,
) {
    let (mut rest, n_samples) = (layer, dh.len() / k);
    for DenseBlock { features, inputs, .. } in blocks {
        let n = features.len();
        let (WideWeightsMut { w, m, v, .. }, others) = rest.split_at(n, k);
        rest = others;
        let xt = DenseView::new(inputs, n_samples, n).transposed();
        let dw = &mut scratch.dw[..n * k];
        gemm(isa, DenseViewMut::new(dw, n, k), xt, DenseView::new(dh, n_samples, k), 0.0);
        adam(isa, w, m, v, dw, coefficients);
    }
}
