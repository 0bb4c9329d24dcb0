//! The parameters, their initial values and the state of Adam.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::architecture::Architecture;
use super::buffer::Buffer;
use crate::error::Result;
use crate::parallel;

/// Initial weights are drawn from N(0, 1e-3^2) and biases from N(0.1, 1e-3^2), as in the original.
const INIT_SD: f32 = 1e-3;
const INIT_BIAS: f32 = 0.1;
/// Initial values are drawn in chunks of this many, each from a stream of its own.
const INIT_CHUNK: usize = 1 << 16;

/// A parameter array with its Adam moments.
#[derive(Debug)]
pub struct Tensor {
    /// The parameters.
    pub value: Buffer,
    /// First moment.
    pub m: Buffer,
    /// Second moment.
    pub v: Buffer,
}

/// An affine layer.
#[derive(Debug)]
pub struct Layer {
    /// First and hidden layers: `n_in x n_out`. Last layer: `n_out x n_in`. Thus both wide layers have
    /// one row per feature.
    pub weight: Tensor,
    /// `n_out`
    pub bias: Tensor,
}

/// All layers, from input to output.
#[derive(Debug)]
pub struct Network {
    /// The shape.
    pub architecture: Architecture,
    /// `hidden_widths().len() + 1` layers; the first is the encoder's wide layer, the last the decoder's.
    pub layers: Vec<Layer>,
    /// Optimiser steps taken.
    pub steps: u64,
}

impl Tensor {
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
        let mut widths = vec![architecture.n_features];
        widths.extend(architecture.hidden_widths());
        widths.push(architecture.n_features);
        let layers = widths
            .windows(2)
            .map(|w| Ok(Layer { weight: Tensor::zeros(w[0] * w[1])?, bias: Tensor::zeros(w[1])? }))
            .collect::<Result<_>>()?;
        Ok(Self { architecture, layers, steps: 0 })
    }

    /// A network with the original's random start, a function of `seed` alone.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn initialised(architecture: Architecture, seed: u64) -> Result<Self> {
        let mut network = Self::zeros(architecture)?;
        for (tensor, values) in (0..).zip(network.values_mut()) {
            let mean = if tensor % 2 == 0 { 0.0 } else { INIT_BIAS };
            fill_normal(values, mean, INIT_SD, seed, tensor);
        }
        Ok(network)
    }

    /// Weight and bias arrays, layer by layer.
    pub fn values(&self) -> impl Iterator<Item = &Buffer> {
        self.layers.iter().flat_map(|layer| [&layer.weight.value, &layer.bias.value])
    }

    /// Weight and bias arrays, layer by layer.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Buffer> {
        self.layers.iter_mut().flat_map(|layer| [&mut layer.weight.value, &mut layer.bias.value])
    }

    /// A copy of all weights and biases, without moments.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn snapshot(&self) -> Result<Vec<Buffer>> {
        self.values().map(Buffer::duplicate).collect()
    }

    /// Copies weights and biases into a snapshot of this network.
    pub fn update_snapshot(&self, snapshot: &mut [Buffer]) {
        for (copy, value) in snapshot.iter_mut().zip(self.values()) {
            copy.copy_from_slice(value);
        }
    }

    /// Puts the weights and biases of a snapshot back.
    pub fn restore(&mut self, snapshot: &[Buffer]) {
        for (value, copy) in self.values_mut().zip(snapshot) {
            value.copy_from_slice(copy);
        }
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
        for (name, values) in network.architecture.value_names().zip(network.values()) {
            let n = values.len() as f64;
            let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
            let sd = (values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n).sqrt();
            let expected = if name.ends_with("bias") { 0.1 } else { 0.0 };
            assert!((mean - expected).abs() < 4e-3 / n.sqrt(), "{name}: mean {mean}");
            assert!((sd - 1e-3).abs() < 4e-3 / n.sqrt(), "{name}: sd {sd}");
        }
        let other = Network::initialised(network.architecture.clone(), 6).unwrap();
        assert_ne!(network.layers[0].weight.value[..9], other.layers[0].weight.value[..9]);
        assert_ne!(network.layers[0].weight.value[..9], network.layers[1].weight.value[..9]);
    }

    #[test]
    fn shapes_match_the_arrays() {
        let network = Network::zeros(Architecture { n_features: 11, hidden: vec![5, 4, 3] }).unwrap();
        assert_eq!(network.values().count(), network.architecture.value_names().count());
        for (shape, values) in network.architecture.value_shapes().zip(network.values()) {
            assert_eq!(shape.iter().product::<usize>(), values.len());
        }
    }
}
