//! What a run will take, before it starts.

use late_fast_kernels::{Bf16, F32, Isa};

use super::reference::ReferencePlan;
use super::split::Split;
use crate::budget;
use crate::config::{ParamDtype, TrainConfig};
use crate::error::Result;
use crate::minibatch::Minibatch;
use crate::model::{Architecture, Workspace};
use crate::store::Summary;

/// What is kept in memory, and what in mapped files because memory is short. Adam reads and writes its moments and the
/// weights in every step; the copy of the best weights is touched once an epoch at most, so it goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// Everything in memory.
    InMemory,
    /// The copy of the best weights in files.
    BestInFiles,
    /// That, and weights and moments of the wide layers in files.
    AllInFiles,
}

/// Windows of the matrix that are mapped at a time: one in use, one that is being read.
const WINDOWS: f64 = 2.0;

/// Parameters, steps and bytes of a training run.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Plan {
    /// The model that training starts from, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferencePlan>,
    /// The shape of the network.
    pub architecture: Architecture,
    /// Weights and biases.
    pub n_parameters: u64,
    /// Samples trained on in an epoch.
    pub n_samples: u64,
    /// Minibatches in an epoch.
    pub steps_per_epoch: u64,
    /// Bytes of the weights and the copy of the best ones.
    pub weight_bytes: u64,
    /// Bytes of Adam's moments.
    pub optimiser_bytes: u64,
    /// Bytes of weights and moments beside those of the wide layers.
    pub narrow_bytes: u64,
    /// What is kept where.
    pub kept: Kept,
    /// Bytes of minibatches, activations and gradients.
    pub minibatch_bytes: u64,
    /// Bytes of the program and of names and counts of cells and genes.
    pub fixed_bytes: u64,
    /// Bytes of the blocks that reading and transposing hold at a time.
    pub block_bytes: u64,
    /// Bytes of the mapped matrix, on disk.
    pub store_bytes: u64,
    /// Bytes of it that are mapped at a time.
    pub window_bytes: u64,
}

impl Plan {
    /// Plans the training of a network on the matrix that `summary` describes, a row a sample, with
    /// `n_names` cells and genes in all.
    pub fn new(config: &TrainConfig, summary: &Summary, split: &Split, n_names: usize, isa: Isa) -> Self {
        let n_features = split.features.len();
        let n_samples = split.train.len();
        let architecture = Architecture { n_features, hidden: config.hidden.clone() };
        let n_parameters = architecture.n_parameters();
        let wide_parameters = 2 * architecture.wide() as u64 * n_features as u64;
        let batch = config.batch_size.min(n_samples.max(1));
        let n_tasks = Minibatch::max_tasks(n_features);
        let (value_bytes, workspace_bytes) = match config.param_dtype {
            ParamDtype::F32 => (
                architecture.value_bytes::<F32>(),
                Workspace::<F32>::bytes(isa, &architecture, batch, n_tasks),
            ),
            ParamDtype::Bf16 => (
                architecture.value_bytes::<Bf16>(),
                Workspace::<Bf16>::bytes(isa, &architecture, batch, n_tasks),
            ),
        };
        let (store_bytes, nnz) = (summary.store_bytes(), summary.tally.nnz);
        let window_share = (WINDOWS * config.shuffle_window as f64 / nnz.max(1) as f64).min(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of bytes")]
        let window_bytes = (window_share * store_bytes as f64) as u64;
        let narrow = n_parameters - wide_parameters;
        // One of the two wide layers has no moments when it stays as it is.
        let wide_bytes = value_bytes - narrow * size_of::<f32>() as u64;
        let frozen_bytes = if config.freeze_encoder { wide_bytes / 2 } else { 0 };
        let nnz_per_batch = entries_of_largest_batch(&summary.row_nnz, batch);
        Self {
            n_parameters,
            n_samples: n_samples as u64,
            steps_per_epoch: n_samples.div_ceil(config.batch_size) as u64,
            weight_bytes: 2 * value_bytes,
            optimiser_bytes: 2 * (value_bytes - frozen_bytes),
            minibatch_bytes: workspace_bytes + Minibatch::bytes(n_features, batch, nnz_per_batch),
            fixed_bytes: budget::fixed_bytes(n_names),
            block_bytes: budget::block_bytes(summary.tally.nnz),
            store_bytes,
            window_bytes,
            narrow_bytes: 3 * narrow * size_of::<f32>() as u64,
            kept: Kept::InMemory,
            reference: None,
            architecture,
        }
    }

    /// Memory the run will use at its peak.
    pub fn memory_bytes(&self) -> u64 {
        let parameters = match self.kept {
            Kept::InMemory => self.weight_bytes + self.optimiser_bytes,
            Kept::BestInFiles => self.weight_bytes / 2 + self.optimiser_bytes,
            Kept::AllInFiles => self.narrow_bytes,
        };
        // Blocks are gone, or not yet there, while the network trains.
        let training = parameters + self.minibatch_bytes + self.window_bytes;
        training.max(self.block_bytes) + self.fixed_bytes
    }

    /// Bytes of weights and moments that are kept in mapped files.
    pub fn file_bytes(&self) -> u64 {
        match self.kept {
            Kept::InMemory => 0,
            Kept::BestInFiles => self.weight_bytes / 2,
            Kept::AllInFiles => self.weight_bytes + self.optimiser_bytes,
        }
    }

    /// Bytes of a checkpoint.
    pub fn checkpoint_bytes(&self) -> u64 {
        self.weight_bytes + self.optimiser_bytes
    }

    /// Bytes of the model that is written in the end, in single precision.
    pub fn model_bytes(&self) -> u64 {
        self.n_parameters * size_of::<f32>() as u64
    }

    /// Keeps in files what does not fit into `allowed` bytes of memory.
    pub fn fit(&mut self, allowed: u64) {
        for kept in [Kept::InMemory, Kept::BestInFiles, Kept::AllInFiles] {
            self.kept = kept;
            if self.memory_bytes() <= allowed {
                return;
            }
        }
    }

    /// Refuses a plan above the budget.
    ///
    /// # Errors
    /// Names need, budget and the options that reduce the need.
    pub fn check(&self, allowed: u64, config: &TrainConfig) -> Result<()> {
        budget::check(self.memory_bytes(), allowed, || {
            let other = match config.features_name() {
                "cells" => ", or --features genes, whose network does not grow with the cells",
                _ => "",
            };
            format!(
                "use narrower layers (--hidden, now {}), a smaller --batch-size (now {}), a larger --memory{other}",
                config.hidden.iter().map(usize::to_string).collect::<Vec<_>>().join(","),
                config.batch_size,
            )
        })
    }
}

/// About the entries of the largest minibatch: those of an average one and three standard deviations. Rows without
/// an entry are no samples.
pub fn entries_of_largest_batch(row_nnz: &[u64], batch_size: usize) -> u64 {
    let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for &nnz in row_nnz.iter().filter(|&&nnz| nnz > 0) {
        let nnz = nnz as f64;
        (n, sum, squares) = (n + 1.0, sum + nnz, squares + nnz * nnz);
    }
    let n = f64::max(n, 1.0);
    let (mean, batch_size) = (sum / n, batch_size as f64);
    let deviation = (squares / n - mean * mean).max(0.0).sqrt();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of entries")]
    {
        (batch_size * mean + 3.0 * batch_size.sqrt() * deviation).ceil().min(sum) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::entries_of_largest_batch;

    #[test]
    fn skewed_samples_make_room_for_larger_batches() {
        assert_eq!(entries_of_largest_batch(&[10, 10, 0, 10, 10], 2), 20);
        assert_eq!(entries_of_largest_batch(&[1, 1, 1, 97], 4), 100);
        assert!(entries_of_largest_batch(&[vec![1; 900], vec![100; 100]].concat(), 100) > 1090 + 800);
        assert_eq!(entries_of_largest_batch(&[], 4), 0);
    }
}
