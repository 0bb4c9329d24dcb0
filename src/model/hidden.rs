//! The hidden layers: small dense products, cut into tiles of samples (or of weights) for the threads.

use late_fast_kernels::activation::{bias_relu_dropout, column_sums, relu_dropout_backward};
use late_fast_kernels::adam::adam;
use late_fast_kernels::dropout::row_key;
use late_fast_kernels::{DenseView, DenseViewMut, Isa};

use super::architecture::Architecture;
use super::network::{Layer, Tensor};
use super::precision::Precision;
use super::products::Products;
use super::step::{HiddenDropout, Pass};
use super::workspace::Workspace;
use crate::minibatch::Minibatch;
use crate::parallel::{self, TaskRows};

/// Samples are dealt in tiles of this many. BLAS packs the weights anew for every tile: at 64 that took a quarter
/// of the products' time.
const SAMPLE_TILE: usize = 128;
/// Weight gradients are formed in tiles of this many input units: a whole and even number of them in the default
/// widths, so that two threads have the same to do.
const WEIGHT_TILE: usize = 100;

/// Words of scratch memory of the products.
pub(super) fn scratch_words<S: Precision>(isa: Isa, architecture: &Architecture, n_samples: usize) -> usize {
    let products = S::products(isa);
    let pairs = (1..architecture.n_hidden())
        .map(|k| (architecture.hidden_width(k - 1), architecture.hidden_width(k)));
    let of_pair = |(n_in, n_out): (usize, usize)| {
        let by_sample = products.scratch_words(SAMPLE_TILE, n_out, n_in).max(products.scratch_words(
            SAMPLE_TILE,
            n_in,
            n_out,
        ));
        let by_unit = products.scratch_words(WEIGHT_TILE, n_out, n_samples);
        (n_samples.div_ceil(SAMPLE_TILE) * by_sample).max(n_in.div_ceil(WEIGHT_TILE) * by_unit)
    };
    pairs.map(of_pair).max().unwrap_or(0)
}

/// From the encoder's partial sums to the last hidden activation, filling `workspace.activations`.
pub(super) fn forward<S: Precision>(
    isa: Isa,
    workspace: &mut Workspace<S>,
    encoder_bias: &[f32],
    layers: &[Layer],
    architecture: &Architecture,
    batch: &Minibatch,
    dropout: Option<HiddenDropout>,
) {
    let Workspace { activations, partials, keys, products: scratch, .. } = workspace;
    let products = S::products(isa);
    let n_tiles = batch.n_samples().div_ceil(SAMPLE_TILE);
    let (n_samples, n_tasks) = (batch.n_samples(), batch.n_tasks());
    let keep = dropout.map_or(1.0, |dropout| dropout.keep);
    let tile_row = |tile| n_samples.min(tile * SAMPLE_TILE);
    for (k, width) in architecture.hidden_widths().enumerate() {
        let keys = dropout.map(|dropout| {
            fill_keys(keys, dropout, k, &batch.samples);
            &keys[..n_samples]
        });
        let (before, rest) = activations.split_at_mut(k);
        let bias = k.checked_sub(1).map_or(encoder_bias, |k| &layers[k].bias.value);
        // The first activation is a sum of partial results, not a product.
        let n_in = k.checked_sub(1).map_or(0, |k| architecture.hidden_width(k));
        let words = if k == 0 { 0 } else { products.scratch_words(SAMPLE_TILE, width, n_in) };
        let out = TaskRows::new(&mut rest[0][..n_samples * width], width, &tile_row);
        let scratch = TaskRows::equal(&mut scratch[..n_tiles * words], n_tiles);
        parallel::each(0..n_tiles, (out, scratch), &|tile, (out, scratch)| {
            let (out, first) = (out.rows, tile_row(tile));
            let n_rows = out.len() / width;
            match before.last().zip(k.checked_sub(1)) {
                None => sum_partials(out, partials, n_tasks, first * width, n_samples * width),
                Some((input, k)) => {
                    let input = &input[first * n_in..(first + n_rows) * n_in];
                    let weight = DenseView::new(&layers[k].weight.value, n_in, width);
                    let input = DenseView::new(input, n_rows, n_in);
                    products.multiply(
                        isa,
                        DenseViewMut::new(out, n_rows, width),
                        input,
                        weight,
                        scratch.rows,
                    );
                }
            }
            bias_relu_dropout(isa, out, bias, keep, keys.map(|keys| &keys[first..first + n_rows]));
        });
    }
}

/// Keys the masks of hidden activation `k`.
fn fill_keys(keys: &mut [u64], dropout: HiddenDropout, k: usize, samples: &[u32]) {
    let stream = u32::try_from(k + 1).unwrap_or(u32::MAX);
    for (key, &sample) in keys.iter_mut().zip(samples) {
        *key = row_key(dropout.seed, stream, dropout.epoch, u64::from(sample));
    }
}

/// From the decoder's partial sums of the last activation's gradient back to that of the first activation that is not
/// frozen: fills `workspace.gradients`.
pub(super) fn backward<S: Precision>(
    pass: &Pass,
    workspace: &mut Workspace<S>,
    layers: &[Layer],
    architecture: &Architecture,
    batch: &Minibatch,
) {
    let Pass { isa, keep, .. } = *pass;
    let Workspace { activations, gradients, partials, products: scratch, .. } = workspace;
    let products = S::products(isa);
    let n_tiles = batch.n_samples().div_ceil(SAMPLE_TILE);
    let (n_samples, n_tasks) = (batch.n_samples(), batch.n_tasks());
    let tile_row = |tile| n_samples.min(tile * SAMPLE_TILE);
    for k in (pass.n_frozen..activations.len()).rev() {
        let width = architecture.hidden_width(k);
        let (rest, after) = gradients.split_at_mut(k + 1);
        // The last gradient is a sum of partial results, not a product.
        let n_out = if after.is_empty() { 0 } else { architecture.hidden_width(k + 1) };
        let words = if n_out == 0 { 0 } else { products.scratch_words(SAMPLE_TILE, width, n_out) };
        let out = TaskRows::new(&mut rest[k][..n_samples * width], width, &tile_row);
        let scratch = TaskRows::equal(&mut scratch[..n_tiles * words], n_tiles);
        parallel::each(0..n_tiles, (out, scratch), &|tile, (out, scratch)| {
            let (out, first) = (out.rows, tile_row(tile));
            let n_rows = out.len() / width;
            match after.first() {
                None => sum_partials(out, partials, n_tasks, first * width, n_samples * width),
                Some(dy) => {
                    let dy = DenseView::new(&dy[first * n_out..(first + n_rows) * n_out], n_rows, n_out);
                    let weight = DenseView::new(&layers[k].weight.value, width, n_out).transposed();
                    products.multiply(isa, DenseViewMut::new(out, n_rows, width), dy, weight, scratch.rows);
                }
            }
            relu_dropout_backward(isa, out, &activations[k][first * width..][..out.len()], keep);
        });
    }
}

/// `dW = x^T dy` and `db = sum of dy` of every layer that is not frozen but the wide ones' weights, and Adam's step on
/// them.
pub(super) fn update<S: Precision>(
    pass: &Pass,
    workspace: &mut Workspace<S>,
    encoder_bias: &mut Tensor,
    layers: &mut [Layer],
    architecture: &Architecture,
    batch: &Minibatch,
) {
    let Workspace { activations, gradients, weight_gradients, bias_gradients, products: scratch, .. } =
        workspace;
    let products = S::products(pass.isa);
    let n_samples = batch.n_samples();
    let mut bias_gradients = bias_gradients.iter_mut().skip(pass.n_frozen);
    let mut update_bias = |bias: &mut Tensor, dy: &[f32]| {
        let Some(db) = bias_gradients.next() else { unreachable!("one for each hidden activation") };
        let db = &mut db[..bias.value.len()];
        column_sums(pass.isa, db, dy);
        adam(pass.isa, &mut bias.value, &mut bias.m, &mut bias.v, db, &pass.adam);
    };
    let dy_of = |k: usize| &gradients[k][..n_samples * architecture.hidden_width(k)];
    if pass.n_frozen == 0 {
        update_bias(encoder_bias, dy_of(0));
    }
    // Layer k leads to activation k + 1.
    let layers = layers.iter_mut().enumerate().zip(weight_gradients).skip(pass.n_frozen.saturating_sub(1));
    for ((k, Layer { weight, bias }), dw) in layers {
        let (n_in, n_out) = (architecture.hidden_width(k), architecture.hidden_width(k + 1));
        let (x, dy) = (&activations[k][..n_samples * n_in], dy_of(k + 1));
        parallel::both(
            || update_bias(bias, dy),
            || {
                update_weights(
                    pass,
                    products,
                    scratch,
                    weight,
                    &mut dw[..n_in * n_out],
                    (x, n_in),
                    (dy, n_out),
                )
            },
        );
    }
}

/// Gradient and Adam's step of one hidden layer's weights, from its input `x` and its output's gradient.
fn update_weights(
    pass: &Pass,
    products: Products,
    scratch: &mut [u32],
    weight: &mut Tensor,
    dw: &mut [f32],
    (x, n_in): (&[f32], usize),
    (dy, n_out): (&[f32], usize),
) {
    let n_samples = dy.len() / n_out;
    let (x, dy) = (DenseView::new(x, n_samples, n_in), DenseView::new(dy, n_samples, n_out));
    let first_unit = |tile| n_in.min(tile * WEIGHT_TILE);
    let Tensor { value, m, v } = weight;
    let rows = |rows| TaskRows::new(rows, n_out, &first_unit);
    let n_tiles = n_in.div_ceil(WEIGHT_TILE);
    let words = products.scratch_words(WEIGHT_TILE, n_out, n_samples);
    let scratch = TaskRows::equal(&mut scratch[..n_tiles * words], n_tiles);
    let parts = ((rows(value), rows(dw)), (rows(m), rows(v)));
    parallel::each(0..n_tiles, (parts, scratch), &|tile, (((w, g), (m, v)), scratch)| {
        let units = first_unit(tile)..first_unit(tile + 1);
        let dw = DenseViewMut::new(g.rows, units.len(), n_out);
        products.multiply(pass.isa, dw, x.columns(units).transposed(), dy, scratch.rows);
        adam(pass.isa, w.rows, m.rows, v.rows, g.rows, &pass.adam);
    });
}

/// The sum of the tasks' partial results, `task_len` values each, from `first` on; always added in the order of
/// the tasks.
fn sum_partials(out: &mut [f32], partials: &[f32], n_tasks: usize, first: usize, task_len: usize) {
    out.fill(0.0);
    for task in 0..n_tasks {
        for (sum, part) in out.iter_mut().zip(&partials[task * task_len + first..]) {
            *sum += part;
        }
    }
}
