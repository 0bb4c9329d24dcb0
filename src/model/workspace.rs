//! Scratch memory of a step, allocated once and reused.

use late_fast_kernels::{F32, Isa, decoder};

use super::architecture::Architecture;
use super::buffer::Buffer;
use super::hidden;
use super::precision::Precision;
use crate::error::Result;
use crate::minibatch::Minibatch;
use crate::profile::Profile;

/// Activations, gradients and partial sums of one minibatch.
#[derive(Debug)]
pub struct Workspace<S: Precision = F32> {
    /// Output of every hidden layer, `batch_size x width`; after dropout when training.
    pub(super) activations: Vec<Buffer>,
    /// The loss's gradient with respect to each, same shapes.
    pub(super) gradients: Vec<Buffer>,
    /// One `batch_size x wide` sum for every task.
    pub(super) partials: Buffer,
    /// Weight gradients of the hidden layers.
    pub(super) weight_gradients: Vec<Buffer>,
    /// Bias gradients of the hidden activations.
    pub(super) bias_gradients: Vec<Buffer>,
    /// Keys of the samples' dropout masks.
    pub(super) keys: Vec<u64>,
    /// The activation or gradient beside a wide layer, stored as the layer is.
    pub(super) rows: Buffer<S::Word>,
    /// The same as panels, for the dense forms.
    pub(super) panels: Buffer<u32>,
    /// What the wide layers' operations need, for every task.
    pub(super) scratch: Buffer,
    /// What the hidden layers' products need, for every tile.
    pub(super) products: Buffer<u32>,
    /// Where the time of all steps went.
    pub profile: Profile,
}

impl<S: Precision> Default for Workspace<S> {
    fn default() -> Self {
        Self {
            activations: Vec::new(),
            gradients: Vec::new(),
            partials: Buffer::default(),
            weight_gradients: Vec::new(),
            bias_gradients: Vec::new(),
            keys: Vec::new(),
            rows: Buffer::default(),
            panels: Buffer::default(),
            scratch: Buffer::default(),
            products: Buffer::default(),
            profile: Profile::default(),
        }
    }
}

impl<S: Precision> Workspace<S> {
    /// Makes room for a minibatch.
    pub(super) fn reserve(&mut self, isa: Isa, architecture: &Architecture, batch: &Minibatch) -> Result<()> {
        let (n_samples, wide, n_hidden) = (batch.n_samples(), architecture.wide(), architecture.n_hidden());
        self.activations.resize_with(n_hidden, Buffer::default);
        self.gradients.resize_with(n_hidden, Buffer::default);
        self.bias_gradients.resize_with(n_hidden, Buffer::default);
        self.weight_gradients.resize_with(n_hidden - 1, Buffer::default);
        for (k, width) in architecture.hidden_widths().enumerate() {
            self.activations[k].reserve(n_samples * width)?;
            self.gradients[k].reserve(n_samples * width)?;
            self.bias_gradients[k].reserve(width)?;
            if k > 0 {
                self.weight_gradients[k - 1].reserve(architecture.hidden_width(k - 1) * width)?;
            }
        }
        self.products.reserve(hidden::scratch_words::<S>(isa, architecture, n_samples))?;
        self.keys.resize(n_samples.max(self.keys.len()), 0);
        self.rows.reserve(n_samples * S::row_words(wide))?;
        let [panels, scratch] = S::dense_scratch(isa, n_samples, wide);
        self.panels.reserve(panels)?;
        self.scratch.reserve(batch.n_tasks() * scratch.max(sparse_scratch_len(batch, wide)))?;
        self.partials.reserve(batch.n_tasks() * n_samples * wide)
    }

    /// Bytes for a minibatch of `n_samples` whose features are dealt to `n_tasks`, if it is as full as can be.
    pub fn bytes(isa: Isa, architecture: &Architecture, n_samples: usize, n_tasks: usize) -> u64 {
        let (wide, widths) = (architecture.wide(), || architecture.hidden_widths());
        let block = Minibatch::FEATURE_BLOCK.min(architecture.n_features);
        let sparse = decoder::scratch_len(n_samples, block, n_samples * block, wide);
        let [panels, dense] = S::dense_scratch(isa, n_samples, wide);
        let values = 2 * n_samples * widths().sum::<usize>()
            + widths().sum::<usize>()
            + widths().zip(widths().skip(1)).map(|(n_in, n_out)| n_in * n_out).sum::<usize>()
            + n_samples * S::row_words(wide)
            + panels
            + hidden::scratch_words::<S>(isa, architecture, n_samples)
            + n_tasks * (n_samples * wide + sparse.max(dense));
        (values * size_of::<f32>() + n_samples * size_of::<u64>()) as u64
    }
}

/// Scratch memory of one task of the decoder's sparse step.
fn sparse_scratch_len(batch: &Minibatch, k: usize) -> usize {
    let blocks = (0..batch.n_tasks()).flat_map(|task| batch.task_blocks(task));
    blocks
        .map(|features| {
            let nnz = batch.targets.indptr[features.end] - batch.targets.indptr[features.start];
            decoder::scratch_len(batch.n_samples(), features.len(), nnz, k)
        })
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use late_fast_kernels::Bf16;

    fn reserved<S: Precision>(workspace: &Workspace<S>) -> usize {
        let Workspace { activations, gradients, weight_gradients, bias_gradients, .. } = workspace;
        let buffers = activations.iter().chain(gradients).chain(weight_gradients).chain(bias_gradients);
        let values: usize = buffers.map(|buffer| buffer.len()).sum();
        let others = [workspace.partials.len(), workspace.scratch.len(), workspace.rows.len()];
        let words = [workspace.panels.len(), workspace.products.len()];
        4 * (values + others.iter().chain(&words).sum::<usize>()) + 8 * workspace.keys.len()
    }

    fn plan_covers<S: Precision>(isa: Isa, n_samples: usize, hidden: &[usize]) {
        let n_features = 300;
        let (mut indptr, mut features) = (vec![0], vec![]);
        for _ in 0..n_samples {
            features.extend(0..n_features);
            indptr.push(features.len());
        }
        let n_features = n_features as usize;
        let batch = Minibatch::from_rows(n_features, &indptr, &features, &vec![1.0; features.len()]);
        let architecture = Architecture { n_features, hidden: hidden.to_vec() };
        let mut workspace = Workspace::<S>::default();
        workspace.reserve(isa, &architecture, &batch).unwrap();
        let planned = Workspace::<S>::bytes(isa, &architecture, n_samples, Minibatch::max_tasks(n_features));
        assert!(planned >= reserved(&workspace) as u64, "{isa} {n_samples} {hidden:?}");
    }

    #[test]
    fn the_plan_covers_what_is_reserved() {
        for isa in Isa::available() {
            for n_samples in [1, 40, 700] {
                for hidden in [&[20][..], &[64, 33], &[40, 30, 20]] {
                    plan_covers::<F32>(isa, n_samples, hidden);
                    plan_covers::<Bf16>(isa, n_samples, hidden);
                }
            }
        }
    }
}
