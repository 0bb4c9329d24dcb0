//! The same training step from dense OpenBLAS products, on as many threads: what one would write without sparse kernels.
//!
//! The wide layers' features are dealt to the threads in equal parts, the samples of the hidden layers in tiles, as
//! in `late_fast::model`; every product is OpenBLAS's on one thread, everything between them a vectorised kernel.

use std::time::Instant;

use late_fast::model::{Buffer, HiddenDropout, Layer, Network, StepOptions, Tensor};
use late_fast::parallel::{self, split_rows, tiles};
use late_fast::profile::{Phase, Profile};
use late_fast_kernels::activation::{bias_relu_dropout, column_sums, relu_dropout_backward};
use late_fast_kernels::adam::adam;
use late_fast_kernels::dropout::row_key;
use late_fast_kernels::gemm::gemm;
use late_fast_kernels::{Adam, DenseView, DenseViewMut, Isa, WideLayerMut, WideWeightsMut};

use crate::common::dense::{self, DenseBatch, DenseBlock, Scratch};

/// Samples of a tile of the hidden layers, and input units of a tile of their weights.
const SAMPLE_TILE: usize = 128;
const WEIGHT_TILE: usize = 100;

/// A network with the room for a step.
pub(crate) struct DenseNetwork {
    pub(crate) network: Network,
    pub(crate) profile: Profile,
    activations: Vec<Buffer>,
    gradients: Vec<Buffer>,
    weight_gradients: Vec<Buffer>,
    keys: Vec<u64>,
    /// For every thread its partial sum and what its products leave.
    parts: Vec<(Buffer, Scratch)>,
}

/// What a step's passes share.
struct Pass {
    isa: Isa,
    keep: f32,
    adam: Adam,
    scale: f32,
}

impl DenseNetwork {
    pub(crate) fn new(network: Network, n_samples: usize, threads: usize) -> Self {
        let widths = || network.architecture.hidden_widths();
        let k = network.architecture.wide();
        let zeros = |len| Buffer::zeros(len).unwrap();
        Self {
            profile: Profile::default(),
            activations: widths().map(|width| zeros(n_samples * width)).collect(),
            gradients: widths().map(|width| zeros(n_samples * width)).collect(),
            weight_gradients: network.hidden.iter().map(|layer| zeros(layer.weight.value.len())).collect(),
            keys: vec![0; n_samples],
            parts: (0..threads).map(|_| (zeros(n_samples * k), Scratch::new(n_samples, k))).collect(),
            network,
        }
    }

    /// One step; returns the mean of the loss.
    pub(crate) fn step(&mut self, batch: &DenseBatch, options: &StepOptions) -> f64 {
        self.network.steps += 1;
        let pass = Pass {
            isa: options.isa,
            keep: options.dropout.map_or(1.0, |dropout| dropout.keep),
            adam: Adam::at_step(f64::from(options.learning_rate), 0.9, 0.999, 1e-8, self.network.steps),
            scale: 1.0 / batch.nnz as f32,
        };
        let start = Instant::now();
        self.encode(&pass, batch);
        let start = self.profile.lap(Phase::Encoder, start);
        self.forward_hidden(&pass, batch, options.dropout);
        let start = self.profile.lap(Phase::Middle, start);
        let sum = self.decode(&pass, batch);
        let start = self.profile.lap(Phase::Decoder, start);
        self.backward_hidden(&pass);
        let start = self.profile.lap(Phase::Middle, start);
        self.update_encoder(&pass, batch);
        let start = self.profile.lap(Phase::EncoderStep, start);
        self.update_hidden(&pass);
        self.profile.lap(Phase::Optimiser, start);
        sum / batch.nnz as f64
    }

    fn encode(&mut self, pass: &Pass, batch: &DenseBatch) {
        let k = self.network.architecture.wide();
        let w = &self.network.encoder.weight.value;
        let blocks = deal(&batch.blocks, self.parts.len());
        parallel::map(blocks.into_iter().zip(&mut self.parts).collect(), |(blocks, (partial, _))| {
            if let (Some(first), Some(last)) = (blocks.first(), blocks.last()) {
                let w = &w[first.features.start * k..last.features.end * k];
                dense::forward(pass.isa, partial, blocks, w, k);
            }
        });
    }

    fn forward_hidden(&mut self, pass: &Pass, batch: &DenseBatch, dropout: Option<HiddenDropout>) {
        let Self { network, activations, keys, parts, .. } = self;
        let n_samples = keys.len();
        for (k, n_out) in network.architecture.hidden_widths().enumerate() {
            if let Some(HiddenDropout { seed, epoch, .. }) = dropout {
                let stream = u32::try_from(k + 1).unwrap();
                for (key, &sample) in keys.iter_mut().zip(&batch.samples) {
                    *key = row_key(seed, stream, epoch, u64::from(sample));
                }
            }
            let (before, rest) = activations.split_at_mut(k);
            let rows = tiles(n_samples, SAMPLE_TILE);
            let outs = split_rows(&mut rest[0], &rows, n_out);
            let keys = dropout.map(|_| &*keys);
            parallel::map(rows.into_iter().zip(outs).collect(), |(rows, out)| {
                let bias = if let Some(input) = before.last() {
                    let Layer { weight, bias } = &network.hidden[k - 1];
                    let n_in = input.len() / n_samples;
                    let x = DenseView::new(&input[rows.start * n_in..rows.end * n_in], rows.len(), n_in);
                    let w = DenseView::new(&weight.value, n_in, n_out);
                    gemm(pass.isa, DenseViewMut::new(out, rows.len(), n_out), x, w, 0.0);
                    bias
                } else {
                    sum_partials(out, parts, rows.start * n_out);
                    &network.encoder.bias
                };
                bias_relu_dropout(pass.isa, out, &bias.value, pass.keep, keys.map(|keys| &keys[rows]));
            });
        }
    }

    fn decode(&mut self, pass: &Pass, batch: &DenseBatch) -> f64 {
        let k = self.network.architecture.wide();
        let d: &[f32] = self.activations.last().unwrap();
        let Layer { weight, bias } = &mut self.network.decoder;
        let mut rest = WideLayerMut {
            weights: wide_weights(weight),
            bias: &mut bias.value,
            bias_m: &mut bias.m,
            bias_v: &mut bias.v,
        };
        let mut tasks = Vec::new();
        for (blocks, part) in deal(&batch.blocks, self.parts.len()).into_iter().zip(&mut self.parts) {
            let (layer, others) = rest.split_at(n_features(blocks), k);
            rest = others;
            tasks.push((blocks, layer, part));
        }
        let sums = parallel::map(tasks, |(blocks, layer, (dd, scratch))| {
            dense::decoder_step(pass.isa, dd, layer, blocks, d, k, pass.scale, &pass.adam, scratch)
        });
        sums.into_iter().sum()
    }

    fn backward_hidden(&mut self, pass: &Pass) {
        let Self { network, activations, gradients, parts, keys, .. } = self;
        let n_samples = keys.len();
        for (k, activation) in activations.iter().enumerate().rev() {
            let width = network.architecture.hidden_width(k);
            let (rest, after) = gradients.split_at_mut(k + 1);
            let rows = tiles(n_samples, SAMPLE_TILE);
            let outs = split_rows(&mut rest[k], &rows, width);
            parallel::map(rows.into_iter().zip(outs).collect(), |(rows, out)| {
                if let Some(dy) = after.first() {
                    let n_out = dy.len() / n_samples;
                    let dy = DenseView::new(&dy[rows.start * n_out..rows.end * n_out], rows.len(), n_out);
                    let wt = DenseView::new(&network.hidden[k].weight.value, width, n_out).transposed();
                    gemm(pass.isa, DenseViewMut::new(out, rows.len(), width), dy, wt, 0.0);
                } else {
                    sum_partials(out, parts, rows.start * width);
                }
                let h = &activation[rows.start * width..rows.end * width];
                relu_dropout_backward(pass.isa, out, h, pass.keep);
            });
        }
    }

    fn update_encoder(&mut self, pass: &Pass, batch: &DenseBatch) {
        let k = self.network.architecture.wide();
        let dh: &[f32] = &self.gradients[0];
        let mut rest = wide_weights(&mut self.network.encoder.weight);
        let mut tasks = Vec::new();
        for (blocks, part) in deal(&batch.blocks, self.parts.len()).into_iter().zip(&mut self.parts) {
            let (layer, others) = rest.split_at(n_features(blocks), k);
            rest = others;
            tasks.push((blocks, layer, part));
        }
        parallel::map(tasks, |(blocks, layer, (_, scratch))| {
            dense::encoder_step(pass.isa, layer, blocks, dh, k, &pass.adam, scratch);
        });
    }

    fn update_hidden(&mut self, pass: &Pass) {
        let Self { network, activations, gradients, weight_gradients, keys, .. } = self;
        update_bias(pass, &mut network.encoder.bias, &gradients[0]);
        for (k, (Layer { weight, bias }, dw)) in network.hidden.iter_mut().zip(weight_gradients).enumerate() {
            let (x, dy) = (&activations[k], &gradients[k + 1]);
            let (n_samples, n_out) = (keys.len(), bias.value.len());
            let n_in = x.len() / n_samples;
            let x = DenseView::new(x, n_samples, n_in);
            let dy_view = DenseView::new(dy, n_samples, n_out);
            let units = tiles(n_in, WEIGHT_TILE);
            let Tensor { value, m, v } = weight;
            let [w, m, v, dw] = [value, m, v, dw].map(|rows| split_rows(rows, &units, n_out).into_iter());
            let tasks = units.clone().into_iter().zip(w.zip(m).zip(v.zip(dw))).collect();
            parallel::both(
                || update_bias(pass, bias, dy),
                || {
                    parallel::map(tasks, |(units, ((w, m), (v, dw)))| {
                        let out = DenseViewMut::new(dw, units.len(), n_out);
                        gemm(pass.isa, out, x.columns(units).transposed(), dy_view, 0.0);
                        adam(pass.isa, w, m, v, dw, &pass.adam);
                    });
                },
            );
        }
    }
}

fn update_bias(pass: &Pass, bias: &mut Tensor, dy: &[f32]) {
    let mut db = vec![0.0; bias.value.len()];
    column_sums(pass.isa, &mut db, dy);
    adam(pass.isa, &mut bias.value, &mut bias.m, &mut bias.v, &db, &pass.adam);
}

fn wide_weights(tensor: &mut Tensor) -> WideWeightsMut<'_> {
    let Tensor { value, m, v } = tensor;
    WideWeightsMut { w: value, m, v, first: 0 }
}

fn n_features(blocks: &[DenseBlock]) -> usize {
    blocks.iter().map(|block| block.features.len()).sum()
}

/// Runs of blocks, one for each of `n_parts`.
fn deal(blocks: &[DenseBlock], n_parts: usize) -> Vec<&[DenseBlock]> {
    let cut = |part| blocks.len() * part / n_parts;
    (0..n_parts).map(|part| &blocks[cut(part)..cut(part + 1)]).collect()
}

/// The sum of the parts' results from `first` on.
fn sum_partials(out: &mut [f32], parts: &[(Buffer, Scratch)], first: usize) {
    out.fill(0.0);
    for (partial, _) in parts {
        for (sum, part) in out.iter_mut().zip(&partial[first..]) {
            *sum += part;
        }
    }
}
