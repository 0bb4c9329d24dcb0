//! The parameters, their initial values and the state of Adam.

use late_fast_kernels::F32;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::architecture::Architecture;
use super::buffer::Buffer;
use super::precision::Precision;
use crate::error::Result;
use crate::parallel;

/// Initial weights are drawn from N(0, 1e-3^2) and biases from N(0.1, 1e-3^2), as in the original.
const INIT_SD: f32 = 1e-3;
const INIT_BIAS: f32 = 0.1;
/// Initial values are drawn in chunks of this many, each from a stream of its own.
const INIT_CHUNK: usize = 1 << 16;

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
    /// Optimiser steps taken.
    pub steps: u64,
}

/// Weights and biases at some time, without moments.
#[derive(Debug)]
pub struct Snapshot<S: Precision> {
    wide: [Buffer<S::Word>; 2],
    others: Vec<Buffer>,
}

impl<W: bytemuck::Pod> Tensor<W> {
    fn zeros(len: usize) -> Result<Self> {
        Ok(Self { value: Buffer::zeros(len)?, m: Buffer::zeros(len)?, v: Buffer::zeros(len)? })
    }
}

impl Network {
    /// A network with every parameter and moment 0.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn zeros(architecture: Architecture) -> Result<Self> {
        let (n, k) = (architecture.n_features, architecture.wide());
        let pairs = architecture.hidden_widths().zip(architecture.hidden_widths().skip(1));
        let layer =
            |n_weights, n_out| Ok(Layer { weight: Tensor::zeros(n_weights)?, bias: Tensor::zeros(n_out)? });
        let hidden = pairs.map(|(n_in, n_out)| layer(n_in * n_out, n_out)).collect::<Result<_>>()?;
        Ok(Self { encoder: layer(n * k, k)?, hidden, decoder: layer(n * k, n)?, architecture, steps: 0 })
    }

    /// A network with the original's random start, a function of `seed` alone.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn initialised(architecture: Architecture, seed: u64) -> Result<Self> {
        let mut network = Self::zeros(architecture)?;
        for (number, tensor) in (0..).zip(network.tensors_mut()) {
            let mean = if number % 2 == 0 { 0.0 } else { INIT_BIAS };
            fill_normal(&mut tensor.value, mean, INIT_SD, seed, number);
        }
        Ok(network)
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
        let k = start.architecture.wide();
        let wide = |layer: Layer| -> Result<Layer<S>> {
            let value = S::from_f32(layer.weight.value, k)?;
            let (m, v) = (Buffer::zeros(value.len())?, Buffer::zeros(value.len())?);
            Ok(Layer { weight: Tensor { value, m, v }, bias: layer.bias })
        };
        let Network { architecture, encoder, hidden, decoder, .. } = start;
        Ok(Self { encoder: wide(encoder)?, hidden, decoder: wide(decoder)?, architecture, steps: 0 })
    }

    /// The trained network in single precision, its moments dropped.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn into_f32(self) -> Result<Network> {
        let k = self.architecture.wide();
        let wide = |layer: Layer<S>| -> Result<Layer> {
            let Layer { weight: Tensor { value, m, v }, bias } = layer;
            drop((m, v));
            let weight = Tensor { value: S::into_f32(value, k)?, m: Buffer::default(), v: Buffer::default() };
            Ok(Layer { weight, bias })
        };
        let Self { architecture, encoder, hidden, decoder, steps } = self;
        Ok(Network { encoder: wide(encoder)?, hidden, decoder: wide(decoder)?, architecture, steps })
    }

    /// A copy of all weights and biases, without moments.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn snapshot(&mut self) -> Result<Snapshot<S>> {
        let wide = [self.encoder.weight.value.duplicate()?, self.decoder.weight.value.duplicate()?];
        let others = self.narrow_mut().map(|value| value.duplicate()).collect::<Result<_>>()?;
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

fn fill_normal(values: &mut [f32], mean: f32, sd: f32, seed: u64, tensor: u64) {
    let chunks = (0_u64..).zip(values.chunks_mut(INIT_CHUNK)).collect();
    parallel::map(chunks, |(chunk, values): (u64, &mut [f32])| {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(tensor << 40 | chunk);
        for value in values {
            let normal: f32 = StandardNormal.sample(&mut generator);
            *value = mean + sd * normal;
        }
    });
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
