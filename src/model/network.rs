//! The parameters, their initial values and the state of Adam.

use std::ops::Range;

use late_fast_kernels::{F32, Isa};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::architecture::Architecture;
use super::buffer::{Buffer, Placement};
use super::precision::Precision;
use crate::error::Result;
use crate::hdf::to_usize;
use crate::parallel::{self, split_rows, tiles};

/// Initial weights are drawn from N(0, 1e-3^2) and biases from N(0.1, 1e-3^2), as in the original.
const INIT_SD: f32 = 1e-3;
const INIT_BIAS: f32 = 0.1;
/// Initial values are drawn in chunks of this many, each from a stream of its own.
const INIT_CHUNK: u64 = 1 << 16;
/// Values that one task draws, or converts between storages.
const ROWS_TASK: usize = 1 << 20;

/// A parameter array with its Adam moments.
#[derive(Debug)]
pub struct Tensor<W = f32> {
    /// The parameters.
    pub value: Buffer<W>,
    /// First moment.
    pub m: Buffer<W>,
    /// Second moment.
    pub v: Buffer<W>,
}

/// An affine layer, its weights stored as `S`.
#[derive(Debug)]
pub struct Layer<S: Precision = F32> {
    /// First and hidden layers: `n_in x n_out`. Last layer: `n_out x n_in`. Thus both wide layers have
    /// one row per feature.
    pub weight: Tensor<S::Word>,
    /// `n_out`
    pub bias: Tensor,
}

/// All layers, from input to output.
#[derive(Debug)]
pub struct Network<S: Precision = F32> {
    /// The shape.
    pub architecture: Architecture,
    /// From the features to the first hidden activation.
    pub encoder: Layer<S>,
    /// From each hidden activation to the next.
    pub hidden: Vec<Layer>,
    /// From the last hidden activation to the features.
    pub decoder: Layer<S>,
    /// Whether the parameters up to the latent layer stay as they are; the first layer's then have no moments.
    pub encoder_is_frozen: bool,
    /// Optimiser steps taken.
    pub steps: u64,
}

/// Weights and biases at some time, without moments.
#[derive(Debug)]
pub struct Snapshot<S: Precision> {
    pub(super) wide: [Buffer<S::Word>; 2],
    pub(super) others: Vec<Buffer>,
}

impl<W: bytemuck::Pod> Tensor<W> {
    fn zeros(len: usize, place: Placement<'_>) -> Result<Self> {
        let zeros = || Buffer::zeros_in(len, place);
        Ok(Self { value: zeros()?, m: zeros()?, v: zeros()? })
    }

    /// An array that is not trained.
    fn fixed(value: Buffer<W>) -> Self {
        Self { value, m: Buffer::default(), v: Buffer::default() }
    }
}

impl<S: Precision> Network<S> {
    /// A network with every parameter and moment 0, those of the wide layers kept at `place`.
    ///
    /// # Errors
    /// When the system has no memory, or the disk no space, for it.
    pub fn zeros_in(architecture: Architecture, place: Placement<'_>) -> Result<Self> {
        Self::zeros_with(architecture, place, false)
    }

    fn zeros_with(architecture: Architecture, place: Placement<'_>, encoder_is_frozen: bool) -> Result<Self> {
        let (n, k) = (architecture.n_features, architecture.wide());
        let bias = |n_out| Tensor::zeros(n_out, Placement::Memory);
        let len = n * S::row_words(k);
        let encoder_weight = if encoder_is_frozen {
            Tensor::fixed(Buffer::zeros_in(len, place)?)
        } else {
            Tensor::zeros(len, place)?
        };
        let encoder = Layer { weight: encoder_weight, bias: bias(k)? };
        let decoder = Layer { weight: Tensor::zeros(len, place)?, bias: bias(n)? };
        let pairs = architecture.hidden_widths().zip(architecture.hidden_widths().skip(1));
        let hidden = pairs.map(|(n_in, n_out)| {
            Ok(Layer { weight: Tensor::zeros(n_in * n_out, Placement::Memory)?, bias: bias(n_out)? })
        });
        let hidden = hidden.collect::<Result<_>>()?;
        Ok(Self { encoder, hidden, decoder, architecture, encoder_is_frozen, steps: 0 })
    }

    /// A network with the original's random start, a function of `seed` alone.
    ///
    /// # Errors
    /// When the system has no memory, or the disk no space, for it.
    pub fn initialised_in(architecture: Architecture, seed: u64, place: Placement<'_>) -> Result<Self> {
        Self::initialised_with(architecture, seed, place, false)
    }

    pub(super) fn initialised_with(
        architecture: Architecture,
        seed: u64,
        place: Placement<'_>,
        encoder_is_frozen: bool,
    ) -> Result<Self> {
        let mut network = Self::zeros_with(architecture, place, encoder_is_frozen)?;
        let k = network.architecture.wide();
        let last = network.architecture.n_hidden() as u64;
        fill_wide::<S>(&mut network.encoder.weight.value, k, seed, 0);
        fill_wide::<S>(&mut network.decoder.weight.value, k, seed, 2 * last);
        for (layer, hidden) in (1..).zip(&mut network.hidden) {
            fill_normal(&mut hidden.weight.value, 0, 0.0, seed, 2 * layer);
        }
        let hidden = network.hidden.iter_mut().map(|layer| &mut layer.bias);
        let biases = std::iter::once(&mut network.encoder.bias).chain(hidden);
        for (layer, bias) in (0..).zip(biases.chain([&mut network.decoder.bias])) {
            fill_normal(&mut bias.value, 0, INIT_BIAS, seed, 2 * layer + 1);
        }
        Ok(network)
    }
}

impl Network {
    /// [`Network::zeros_in`] memory.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn zeros(architecture: Architecture) -> Result<Self> {
        Self::zeros_in(architecture, Placement::Memory)
    }

    /// [`Network::initialised_in`] memory.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn initialised(architecture: Architecture, seed: u64) -> Result<Self> {
        Self::initialised_in(architecture, seed, Placement::Memory)
    }

    /// Weight and bias arrays, layer by layer.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let layers = [&self.encoder].into_iter().chain(&self.hidden).chain([&self.decoder]);
        layers.flat_map(|layer| [&layer.weight, &layer.bias])
    }

    /// Weight and bias arrays, layer by layer.
    pub fn tensors_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        let layers = [&mut self.encoder].into_iter().chain(&mut self.hidden).chain([&mut self.decoder]);
        layers.flat_map(|layer| [&mut layer.weight, &mut layer.bias])
    }
}

impl<S: Precision> Network<S> {
    /// The network that starts from the parameters of `start`, with moments of 0.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn starting_from(start: Network) -> Result<Self> {
        let Network { architecture, encoder, hidden, decoder, .. } = start;
        let k = architecture.wide();
        let mut network = Self::zeros_in(architecture, Placement::Memory)?;
        for (to, from) in [(&mut network.encoder, encoder), (&mut network.decoder, decoder)] {
            let from_rows = &from.weight.value;
            for_rows(&mut to.weight.value, S::row_words(k), k, |rows, out| {
                S::write_rows(Isa::detect(), out, &from_rows[rows.start * k..rows.end * k], k);
            });
            to.bias = from.bias;
        }
        network.hidden = hidden;
        Ok(network)
    }

    /// The trained network in single precision, kept at `place`, its moments dropped.
    ///
    /// # Errors
    /// When the system has no memory, or the disk no space, for it.
    pub fn into_f32(self, place: Placement<'_>) -> Result<Network> {
        let k = self.architecture.wide();
        let words = S::row_words(k);
        let wide = |layer: Layer<S>| -> Result<Layer> {
            let Layer { weight: Tensor { value, m, v }, bias } = layer;
            drop((m, v));
            let mut values = Buffer::zeros_in(value.len() / words * k, place)?;
            for_rows(&mut values, k, k, |rows, out| {
                S::read_rows(Isa::detect(), out, &value[rows.start * words..rows.end * words], k);
            });
            Ok(Layer { weight: Tensor::fixed(values), bias })
        };
        let Self { architecture, encoder, hidden, decoder, encoder_is_frozen, steps } = self;
        let (encoder, decoder) = (wide(encoder)?, wide(decoder)?);
        Ok(Network { encoder, hidden, decoder, architecture, encoder_is_frozen, steps })
    }

    /// A copy of all weights and biases, without moments, those of the wide layers kept at `place`.
    ///
    /// # Errors
    /// When the system has no memory, or the disk no space, for it.
    pub fn snapshot(&mut self, place: Placement<'_>) -> Result<Snapshot<S>> {
        let wide = [self.encoder.weight.value.duplicate(place)?, self.decoder.weight.value.duplicate(place)?];
        let others = self.narrow_mut().map(|value| value.duplicate(Placement::Memory));
        let others = others.collect::<Result<_>>()?;
        Ok(Snapshot { wide, others })
    }

    /// Copies weights and biases into a snapshot of this network.
    pub fn update_snapshot(&mut self, snapshot: &mut Snapshot<S>) {
        snapshot.wide[0].copy_from_slice(&self.encoder.weight.value);
        snapshot.wide[1].copy_from_slice(&self.decoder.weight.value);
        for (copy, value) in snapshot.others.iter_mut().zip(self.narrow_mut()) {
            copy.copy_from_slice(value);
        }
    }

    /// Puts the weights and biases of a snapshot back.
    pub fn restore(&mut self, snapshot: &Snapshot<S>) {
        self.encoder.weight.value.copy_from_slice(&snapshot.wide[0]);
        self.decoder.weight.value.copy_from_slice(&snapshot.wide[1]);
        for (value, copy) in self.narrow_mut().zip(&snapshot.others) {
            value.copy_from_slice(copy);
        }
    }

    /// Everything but the wide weights.
    fn narrow_mut(&mut self) -> impl Iterator<Item = &mut Buffer> {
        let hidden =
            self.hidden.iter_mut().flat_map(|layer| [&mut layer.weight.value, &mut layer.bias.value]);
        [&mut self.encoder.bias.value, &mut self.decoder.bias.value].into_iter().chain(hidden)
    }
}

/// Calls `work(rows, their part of out)` for runs of rows of a matrix of `width` columns, in parallel. `k` is the number
/// of values in a row.
pub(super) fn for_rows<W: Send>(
    out: &mut [W],
    width: usize,
    k: usize,
    work: impl Fn(Range<usize>, &mut [W]) + Sync + Send,
) {
    let rows = tiles(out.len() / width, (ROWS_TASK / k).max(1));
    let tasks = rows.iter().cloned().zip(split_rows(out, &rows, width)).collect();
    parallel::map(tasks, |(rows, part)| work(rows, part));
}

/// The initial weights of a wide layer.
fn fill_wide<S: Precision>(weights: &mut [S::Word], k: usize, seed: u64, tensor: u64) {
    for_rows(weights, S::row_words(k), k, |rows, out| {
        let mut values = vec![0.0; rows.len() * k];
        fill_normal(&mut values, (rows.start * k) as u64, 0.0, seed, tensor);
        S::write_rows(Isa::detect(), out, &values, k);
    });
}

/// The initial values of array number `tensor` from its element `first` on: normal around `mean`.
fn fill_normal(values: &mut [f32], first: u64, mean: f32, seed: u64, tensor: u64) {
    let mut rest = values;
    let mut at = first;
    while !rest.is_empty() {
        let (chunk, skipped) = (at / INIT_CHUNK, at % INIT_CHUNK);
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(tensor << 40 | chunk);
        let normal = StandardNormal.sample_iter(&mut generator);
        let length = rest.len().min(to_usize(INIT_CHUNK - skipped));
        let (part, others) = rest.split_at_mut(length);
        for (value, normal) in part.iter_mut().zip(normal.skip(to_usize(skipped))) {
            let normal: f32 = normal;
            *value = mean + INIT_SD * normal;
        }
        at += length as u64;
        rest = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_values_have_the_mean_and_spread_of_the_original() {
        let network =
            Network::initialised(Architecture { n_features: 700, hidden: vec![300, 20] }, 5).unwrap();
        for (name, tensor) in network.architecture.value_names().zip(network.tensors()) {
            let values = &tensor.value;
            let n = values.len() as f64;
            let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
            let sd = (values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n).sqrt();
            let expected = if name.ends_with("bias") { 0.1 } else { 0.0 };
            assert!((mean - expected).abs() < 4e-3 / n.sqrt(), "{name}: mean {mean}");
            assert!((sd - 1e-3).abs() < 4e-3 / n.sqrt(), "{name}: sd {sd}");
        }
        let other = Network::initialised(network.architecture.clone(), 6).unwrap();
        assert_ne!(network.encoder.weight.value[..9], other.encoder.weight.value[..9]);
        assert_ne!(network.encoder.weight.value[..9], network.hidden[0].weight.value[..9]);
    }

    #[test]
    fn shapes_match_the_arrays() {
        let network = Network::zeros(Architecture { n_features: 11, hidden: vec![5, 4, 3] }).unwrap();
        assert_eq!(network.tensors().count(), network.architecture.value_names().count());
        for (shape, tensor) in network.architecture.value_shapes().zip(network.tensors()) {
            assert_eq!(shape.iter().product::<usize>(), tensor.value.len());
        }
    }
}
