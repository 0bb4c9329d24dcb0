//! Scratch memory of a step, allocated once and reused.

use super::architecture::Architecture;
use super::buffer::Buffer;
use crate::error::Result;

/// Activations, gradients and partial sums of one minibatch.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Output of every hidden layer, `batch_size x width`; after dropout when training.
    pub(super) activations: Vec<Buffer>,
    /// The loss's gradient with respect to each, same shapes.
    pub(super) gradients: Vec<Buffer>,
    /// One `batch_size x wide` sum for every task.
    pub(super) partials: Buffer,
    /// Weight gradients of the hidden layers.
    pub(super) weight_gradients: Vec<Buffer>,
}

impl Default for Buffer {
    fn default() -> Self {
        match Self::zeros(0) {
            Ok(empty) => empty,
            Err(_) => unreachable!("an empty buffer needs no memory"),
        }
    }
}

impl Workspace {
    /// Makes room for a minibatch of `n_samples` whose features are dealt to `n_tasks`.
    pub(super) fn reserve(
        &mut self,
        architecture: &Architecture,
        n_samples: usize,
        n_tasks: usize,
    ) -> Result<()> {
        let widths = architecture.hidden_widths();
        self.activations.resize_with(widths.len(), Buffer::default);
        self.gradients.resize_with(widths.len(), Buffer::default);
        self.weight_gradients.resize_with(widths.len() - 1, Buffer::default);
        for (k, width) in widths.iter().enumerate() {
            self.activations[k].reserve(n_samples * width)?;
            self.gradients[k].reserve(n_samples * width)?;
        }
        for (k, w) in widths.windows(2).enumerate() {
            self.weight_gradients[k].reserve(w[0] * w[1])?;
        }
        self.partials.reserve(n_tasks * n_samples * architecture.wide())
    }

    /// Bytes for a minibatch of `n_samples` whose features are dealt to `n_tasks`.
    pub fn bytes(architecture: &Architecture, n_samples: usize, n_tasks: usize) -> u64 {
        let widths = architecture.hidden_widths();
        let floats = 2 * n_samples * widths.iter().sum::<usize>()
            + widths.windows(2).map(|w| w[0] * w[1]).sum::<usize>()
            + n_tasks * n_samples * architecture.wide();
        floats as u64 * size_of::<f32>() as u64
    }
}
