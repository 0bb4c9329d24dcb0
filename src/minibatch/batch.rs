//! A minibatch in the two orders the kernels read.

use std::ops::Range;

use late_fast_kernels::CsrView;

use super::arrange::{Hidden, Rows};

/// A feature without entries still costs its optimiser pass: about as much as this many entries.
const ENTRIES_PER_FEATURE: usize = 8;
/// Blocks of one minibatch are dealt to at most this many tasks. The number depends on the data alone,
/// never on the threads, since each task has a partial sum of its own and their order fixes the result's bits.
const MAX_TASKS: usize = 32;
const BLOCKS_PER_TASK: usize = 8;
const MIN_TASKS: usize = 8;

/// Entries sorted by feature: the transpose of a minibatch.
#[derive(Clone, Debug, Default)]
pub struct FeatureMajor {
    /// Offsets of the features, `n_features + 1`.
    pub indptr: Vec<usize>,
    /// The sample (row of the minibatch) of every entry; increasing within a feature.
    pub samples: Vec<u32>,
    /// The values of the entries, on the network's scale.
    pub values: Vec<f32>,
}

impl FeatureMajor {
    /// The number of entries.
    pub fn nnz(&self) -> usize {
        self.samples.len()
    }
}

/// Some samples, gathered and transformed.
#[derive(Clone, Debug, Default)]
pub struct Minibatch {
    /// Rows of the store, one for each sample.
    pub samples: Vec<u32>,
    /// What the output is compared with: the observed entries that may be trained on.
    pub targets: FeatureMajor,
    /// The same entries as input to the network, scaled; 0 where dropout removed one.
    pub inputs: Vec<f32>,
    /// Entries that are hidden from input and loss, for validation.
    pub held_out: FeatureMajor,
    /// Blocks of features, in order.
    pub(super) blocks: Vec<FeatureBlock>,
    /// Inputs by block and sample; `n_samples + 1` offsets for every block.
    pub(super) input_indptr: Vec<usize>,
    pub(super) input_features: Vec<u32>,
    pub(super) input_values: Vec<f32>,
    /// Runs of blocks that cost about the same.
    tasks: Vec<Range<usize>>,
}

/// A run of features and its place in the blocked inputs.
#[derive(Clone, Debug)]
pub(super) struct FeatureBlock {
    pub(super) features: Range<usize>,
    pub(super) indptr: Range<usize>,
}

impl Minibatch {
    /// Features are worked on in blocks of this many: their weight rows stay in a core's L2 cache.
    pub const FEATURE_BLOCK: usize = 128;

    /// The most tasks that a minibatch of this many features is dealt to.
    pub fn max_tasks(n_features: usize) -> usize {
        let n_blocks = n_features.div_ceil(Self::FEATURE_BLOCK);
        (n_blocks / BLOCKS_PER_TASK).clamp(MIN_TASKS, MAX_TASKS).min(n_blocks)
    }

    /// About the bytes of all minibatches in flight with `nnz` entries each, and of gathering them.
    pub fn bytes(n_features: usize, n_samples: usize, nnz: u64) -> u64 {
        const BYTES_PER_ENTRY: u64 = 4 + 4 + 4 + 8;
        const BYTES_TO_GATHER: u64 = 1 + 4;
        let n_blocks = n_features.div_ceil(Self::FEATURE_BLOCK);
        let runs = n_blocks * (n_samples + 1);
        let one = nnz * BYTES_PER_ENTRY + ((2 * n_features + runs) * size_of::<usize>()) as u64;
        let gathering = nnz * BYTES_TO_GATHER + (runs * size_of::<usize>()) as u64;
        super::loader::BUFFERS as u64 * one + gathering
    }

    /// A minibatch of samples `0..indptr.len() - 1` with the given rows, without dropout or hold-out. A feature comes
    /// at most once in a row.
    ///
    /// # Panics
    /// If `indptr` is not one of rows within `features` and `values`, or a feature is not below `n_features`.
    pub fn from_rows(n_features: usize, indptr: &[usize], features: &[u32], values: &[f32]) -> Self {
        let n_samples = indptr.len() - 1;
        let mut out = Self { samples: (0..).take(n_samples).collect(), ..Self::default() };
        let mut rows = Rows::default();
        rows.start(n_samples, n_features, 1.0);
        for row in indptr.windows(2) {
            let (to_features, to_values) = rows.room(row[1] - row[0]);
            to_features.copy_from_slice(&features[row[0]..row[1]]);
            to_values.copy_from_slice(&values[row[0]..row[1]]);
            rows.end_row(row[1] - row[0], |_, _| ());
        }
        rows.arrange(&mut out);
        Hidden::default().sort_by_feature(n_features, &mut out.held_out);
        out.deal_tasks();
        out
    }

    /// The number of samples.
    pub fn n_samples(&self) -> usize {
        self.samples.len()
    }

    /// The number of features of the network.
    pub fn n_features(&self) -> usize {
        self.targets.indptr.len().saturating_sub(1)
    }

    /// How many tasks the features are dealt to.
    pub fn n_tasks(&self) -> usize {
        self.tasks.len()
    }

    /// The features of task `task`.
    pub fn task_features(&self, task: usize) -> Range<usize> {
        let blocks = &self.blocks[self.tasks[task].clone()];
        match (blocks.first(), blocks.last()) {
            (Some(first), Some(last)) => first.features.start..last.features.end,
            _ => 0..0,
        }
    }

    /// The blocks of features of task `task`.
    pub fn task_blocks(&self, task: usize) -> impl Iterator<Item = Range<usize>> {
        self.blocks[self.tasks[task].clone()].iter().map(|block| block.features.clone())
    }

    /// The blocks of features of task `task`, each with its inputs (samples x features of the block): the
    /// entries of [`Minibatch::targets_of`] in the other order, features increasing within a sample, and 0
    /// where dropout removed one.
    pub fn task_inputs(&self, task: usize) -> impl Iterator<Item = (Range<usize>, CsrView<'_>)> {
        self.blocks[self.tasks[task].clone()].iter().map(|block| {
            let view = view(
                &self.input_indptr[block.indptr.clone()],
                &self.input_features,
                &self.input_values,
                block.features.len(),
            );
            (block.features.clone(), view)
        })
    }

    /// The targets of a run of features (features x samples).
    pub fn targets_of(&self, features: Range<usize>) -> CsrView<'_> {
        view(
            &self.targets.indptr[features.start..=features.end],
            &self.targets.samples,
            &self.targets.values,
            self.n_samples(),
        )
    }

    /// The inputs of a run of features (features x samples).
    pub fn inputs_of(&self, features: Range<usize>) -> CsrView<'_> {
        view(
            &self.targets.indptr[features.start..=features.end],
            &self.targets.samples,
            &self.inputs,
            self.n_samples(),
        )
    }

    /// The held-out entries of a run of features (features x samples).
    pub fn held_out_of(&self, features: Range<usize>) -> CsrView<'_> {
        view(
            &self.held_out.indptr[features.start..=features.end],
            &self.held_out.samples,
            &self.held_out.values,
            self.n_samples(),
        )
    }

    /// Deals the blocks to tasks of about equal cost.
    pub(super) fn deal_tasks(&mut self) {
        let n_blocks = self.blocks.len();
        let n_tasks = Self::max_tasks(self.n_features());
        let total = self.targets.nnz() + ENTRIES_PER_FEATURE * self.n_features();
        self.tasks.clear();
        let mut start = 0;
        for task in 0..n_tasks {
            let goal = total * (task + 1) / n_tasks;
            let mut stop = start;
            while stop < n_blocks {
                let end = self.blocks[stop].features.end;
                let cost_so_far = self.targets.indptr[end] + ENTRIES_PER_FEATURE * end;
                if stop > start && cost_so_far > goal {
                    break;
                }
                stop += 1;
            }
            if task + 1 == n_tasks {
                stop = n_blocks;
            }
            if stop > start {
                self.tasks.push(start..stop);
            }
            start = stop;
        }
    }
}

/// A view over arrays that this module built.
fn view<'a>(indptr: &'a [usize], indices: &'a [u32], data: &'a [f32], n_cols: usize) -> CsrView<'a> {
    match CsrView::new(indptr, indices, data, indptr.len().saturating_sub(1), n_cols) {
        Ok(view) => view,
        Err(problem) => unreachable!("a minibatch built by this module is inconsistent: {problem}"),
    }
}
