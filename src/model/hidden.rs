//! The hidden layers: small dense products, cut into tiles of samples (or of weights) for the threads.

use std::ops::Range;

use late_fast_kernels::Isa;
use late_fast_kernels::activation::{bias_relu_dropout, column_sums, relu_dropout_backward};
use late_fast_kernels::adam::{Adam, adam};
use late_fast_kernels::dropout::row_key;
use late_fast_kernels::gemm::gemm;
use late_fast_kernels::{DenseView, DenseViewMut};

use super::buffer::Buffer;
use super::network::{Layer, Tensor};
use super::step::{HiddenDropout, Pass};
use super::workspace::Workspace;
use crate::parallel::{self, split_rows, tiles};

/// Samples go through all hidden layers in tiles of this many. BLAS packs the weights anew for every tile: at 64
/// that took a quarter of the products' time.
const SAMPLE_TILE: usize = 128;
/// Weight gradients are formed in tiles of this many input units.
const WEIGHT_TILE: usize = 128;

/// From the encoder's partial sums to the last hidden activation, filling `workspace.activations`.
///
/// `layers` are all of the network's but the last, `samples` the batch's rows of the store (they key
/// the dropout masks), `widths` the widths of the activations.
pub(super) fn forward(
    isa: Isa,
    workspace: &mut Workspace,
    layers: &[Layer],
    samples: &[u32],
    widths: &[usize],
    n_tasks: usize,
    dropout: Option<HiddenDropout>,
) {
    let n_samples = samples.len();
    let row_tiles = tiles(n_samples, SAMPLE_TILE);
    let activations = by_tile(&mut workspace.activations, &row_tiles, widths, n_samples);
    let partials = &workspace.partials[..n_tasks * n_samples * widths[0]];
    let tasks = row_tiles.iter().zip(activations).collect();
    parallel::map(tasks, |(rows, mut activations): (&Range<usize>, Vec<&mut [f32]>)| {
        for (k, layer) in layers.iter().enumerate() {
            let (before, rest) = activations.split_at_mut(k);
            let out = &mut *rest[0];
            match before.last() {
                None => sum_partials(out, partials, n_tasks, rows, n_samples, widths[0]),
                Some(input) => gemm(
                    isa,
                    DenseViewMut::new(out, rows.len(), widths[k]),
                    DenseView::new(input, rows.len(), widths[k - 1]),
                    DenseView::new(&layer.weight.value, widths[k - 1], widths[k]),
                    0.0,
                ),
            }
            let keys: Option<Vec<u64>> = dropout.map(|d| {
                let stream = u32::try_from(k + 1).unwrap_or(u32::MAX);
                samples[rows.clone()]
                    .iter()
                    .map(|&s| row_key(d.seed, stream, d.epoch, u64::from(s)))
                    .collect()
            });
            let keep = dropout.map_or(1.0, |d| d.keep);
            bias_relu_dropout(isa, out, &layer.bias.value, keep, keys.as_deref());
        }
    });
}

/// From the decoder's partial sums of the last activation's gradient back to the first activation's:
/// fills `workspace.gradients`, then takes Adam's step on the hidden layers' weights and on all hidden biases.
pub(super) fn backward(
    pass: &Pass,
    workspace: &mut Workspace,
    layers: &mut [Layer],
    n_samples: usize,
    widths: &[usize],
    n_tasks: usize,
) {
    let Pass { isa, keep, .. } = *pass;
    let row_tiles = tiles(n_samples, SAMPLE_TILE);
    let gradients = by_tile(&mut workspace.gradients, &row_tiles, widths, n_samples);
    let last = widths.len() - 1;
    let partials = &workspace.partials[..n_tasks * n_samples * widths[last]];
    let activations = &workspace.activations;
    let tasks = row_tiles.iter().zip(gradients).collect();
    let shared_layers = &*layers;
    parallel::map(tasks, |(rows, mut gradients): (&Range<usize>, Vec<&mut [f32]>)| {
        for k in (0..=last).rev() {
            let (rest, after) = gradients.split_at_mut(k + 1);
            let out = &mut *rest[k];
            match after.first() {
                None => sum_partials(out, partials, n_tasks, rows, n_samples, widths[last]),
                Some(dy) => gemm(
                    isa,
                    DenseViewMut::new(out, rows.len(), widths[k]),
                    DenseView::new(dy, rows.len(), widths[k + 1]),
                    DenseView::new(&shared_layers[k + 1].weight.value, widths[k], widths[k + 1]).transposed(),
                    0.0,
                ),
            }
            let activation = &activations[k][rows.start * widths[k]..rows.end * widths[k]];
            relu_dropout_backward(isa, out, activation, keep);
        }
    });
    update(isa, workspace, layers, n_samples, widths, &pass.adam);
}

/// One piece of the hidden layers' update.
enum Update<'a> {
    /// Some input units of a layer: their rows of weights, moments and gradient.
    Weights { units: Range<usize>, rows: [&'a mut [f32]; 4], x: DenseView<'a>, dy: DenseView<'a> },
    /// A layer's biases.
    Biases { bias: &'a mut Tensor, dy: &'a [f32], width: usize },
}

/// `dW = x^T dy` and `db = sum of dy` of every layer but the wide ones' weights, and Adam's step on them.
fn update(
    isa: Isa,
    workspace: &mut Workspace,
    layers: &mut [Layer],
    n_samples: usize,
    widths: &[usize],
    step: &Adam,
) {
    let mut updates = Vec::new();
    let mut weight_gradients = workspace.weight_gradients.iter_mut();
    for (k, layer) in layers.iter_mut().enumerate() {
        let width = widths[k];
        let dy = &workspace.gradients[k][..n_samples * width];
        updates.push(Update::Biases { bias: &mut layer.bias, dy, width });
        let Some(n_in) = k.checked_sub(1).map(|k| widths[k]) else { continue };
        let Some(dw) = weight_gradients.next() else { continue };
        let x = DenseView::new(&workspace.activations[k - 1][..n_samples * n_in], n_samples, n_in);
        let unit_tiles = tiles(n_in, WEIGHT_TILE);
        let weight = &mut layer.weight;
        let pieces = unit_tiles
            .iter()
            .zip(split_rows(&mut weight.value, &unit_tiles, width))
            .zip(split_rows(&mut weight.m, &unit_tiles, width))
            .zip(split_rows(&mut weight.v, &unit_tiles, width))
            .zip(split_rows(dw, &unit_tiles, width));
        updates.extend(pieces.map(|((((units, w), m), v), g)| Update::Weights {
            units: units.clone(),
            rows: [w, m, v, g],
            x,
            dy: DenseView::new(dy, n_samples, width),
        }));
    }
    parallel::map(updates, |update| match update {
        Update::Weights { units, rows: [w, m, v, g], x, dy } => {
            let dw = DenseViewMut::new(g, units.len(), dy.n_cols());
            gemm(isa, dw, x.columns(units).transposed(), dy, 0.0);
            adam(isa, w, m, v, g, step);
        }
        Update::Biases { bias, dy, width } => {
            let mut db = vec![0.0; width];
            column_sums(isa, &mut db, dy);
            adam(isa, &mut bias.value, &mut bias.m, &mut bias.v, &db, step);
        }
    });
}

/// For every tile of samples its rows of each buffer.
fn by_tile<'a>(
    buffers: &'a mut [Buffer],
    row_tiles: &[Range<usize>],
    widths: &[usize],
    n_samples: usize,
) -> Vec<Vec<&'a mut [f32]>> {
    let mut tiles: Vec<Vec<&mut [f32]>> = row_tiles.iter().map(|_| Vec::new()).collect();
    for (buffer, &width) in buffers.iter_mut().zip(widths) {
        let rows = split_rows(&mut buffer[..n_samples * width], row_tiles, width);
        for (tile, rows) in tiles.iter_mut().zip(rows) {
            tile.push(rows);
        }
    }
    tiles
}

/// The sum of the tasks' partial results for some samples, always added in the order of the tasks.
fn sum_partials(
    out: &mut [f32],
    partials: &[f32],
    n_tasks: usize,
    rows: &Range<usize>,
    n_samples: usize,
    width: usize,
) {
    out.fill(0.0);
    for task in 0..n_tasks {
        let first = (task * n_samples + rows.start) * width;
        for (sum, part) in out.iter_mut().zip(&partials[first..]) {
            *sum += part;
        }
    }
}
