//! From rows of the store to a minibatch in the two orders the kernels read.

use std::ops::Range;

use late_fast_kernels::CsrView;
use late_fast_kernels::dropout::{kept, row_key};

use super::HOLDOUT_STREAM;
use super::transform::{Lookup, Transform};
use crate::error::Result;
use crate::matrix::Major;
use crate::store::{RowEntries, Store};

/// A feature without entries still costs its optimiser pass: about as much as this many entries.
const ENTRIES_PER_FEATURE: usize = 8;
/// Blocks of one minibatch are dealt to at most this many tasks. The number depends on the data alone,
/// never on the threads, since each task has a partial sum of its own and their order fixes the result's bits.
const MAX_TASKS: usize = 32;
const BLOCKS_PER_TASK: usize = 4;
const MIN_TASKS: usize = 4;

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
    blocks: Vec<FeatureBlock>,
    /// Inputs by block and sample; `n_samples + 1` offsets for every block.
    input_indptr: Vec<usize>,
    input_features: Vec<u32>,
    input_values: Vec<f32>,
    /// Runs of blocks that cost about the same.
    tasks: Vec<Range<usize>>,
}

/// A run of features and its place in the blocked inputs.
#[derive(Clone, Debug)]
struct FeatureBlock {
    features: Range<usize>,
    indptr: Range<usize>,
}

impl Minibatch {
    /// Features are worked on in blocks of this many: their weight rows stay in a core's L2 cache.
    pub const FEATURE_BLOCK: usize = 256;

    /// The most tasks that a minibatch of this many features is dealt to.
    pub fn max_tasks(n_features: usize) -> usize {
        let n_blocks = n_features.div_ceil(Self::FEATURE_BLOCK);
        (n_blocks / BLOCKS_PER_TASK).clamp(MIN_TASKS, MAX_TASKS).min(n_blocks)
    }

    /// About the bytes of all minibatches in flight with `nnz` entries each, and of gathering them.
    pub fn bytes(n_features: usize, n_samples: usize, nnz: u64) -> u64 {
        const BYTES_PER_ENTRY: u64 = 4 + 4 + 4 + 8;
        let n_blocks = n_features.div_ceil(Self::FEATURE_BLOCK);
        let offsets = 2 * n_features + n_blocks * (n_samples + 1);
        let one = nnz * BYTES_PER_ENTRY + (offsets * size_of::<usize>()) as u64;
        (super::loader::BUFFERS as u64 + 1) * one
    }

    /// A minibatch of samples `0..indptr.len() - 1` with the given rows, without dropout or hold-out.
    ///
    /// # Panics
    /// If `indptr` is not one of rows within `features` and `values`, or a feature is not below `n_features`.
    pub fn from_rows(n_features: usize, indptr: &[usize], features: &[u32], values: &[f32]) -> Self {
        let rows =
            RowMajor { ends: indptr[1..].to_vec(), features: features.to_vec(), values: values.to_vec() };
        let mut out = Self { samples: (0..).take(rows.ends.len()).collect(), ..Self::default() };
        out.arrange(&rows, &RowMajor::default(), n_features, None, &mut Vec::new());
        out
    }

    /// Fills everything but the samples' numbers from their entries.
    fn arrange(
        &mut self,
        kept: &RowMajor,
        hidden: &RowMajor,
        n_features: usize,
        dropout: Option<InputDropout>,
        cursor: &mut Vec<usize>,
    ) {
        sort_by_feature(kept, n_features, cursor, &mut self.targets);
        sort_by_feature(hidden, n_features, cursor, &mut self.held_out);
        self.inputs.clear();
        self.inputs.extend_from_slice(&self.targets.values);
        if let Some(dropout) = dropout {
            drop_inputs(dropout, self);
        }
        block_inputs(cursor, self);
        deal_tasks(self);
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

    /// The blocks of features of task `task`, each with its inputs (samples x features of the block).
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
}

/// A view over arrays that this file built.
fn view<'a>(indptr: &'a [usize], indices: &'a [u32], data: &'a [f32], n_cols: usize) -> CsrView<'a> {
    match CsrView::new(indptr, indices, data, indptr.len().saturating_sub(1), n_cols) {
        Ok(view) => view,
        Err(problem) => unreachable!("a minibatch built by this module is inconsistent: {problem}"),
    }
}

/// Which observed entries are hidden for validation: a function of cell and gene, so that both
/// orientations hide the same ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Holdout {
    /// The share of the observed entries to hide.
    pub share: f64,
    /// The run's seed.
    pub seed: u64,
}

impl Holdout {
    /// The key of one cell, for [`Holdout::hides`].
    pub fn cell_key(self, cell: u64) -> u64 {
        row_key(self.seed, HOLDOUT_STREAM, 0, cell)
    }

    /// Whether the entry of the cell with this key and of `gene` is hidden.
    #[expect(clippy::cast_possible_truncation, reason = "a probability")]
    pub fn hides(self, cell_key: u64, gene: u32) -> bool {
        !kept(cell_key, gene, (1.0 - self.share) as f32)
    }
}

/// Dropout of the network's input; acts on stored entries only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputDropout {
    /// The probability to keep an entry.
    pub keep: f32,
    /// The run's seed.
    pub seed: u64,
    /// The epoch, counted from 0.
    pub epoch: u64,
}

/// What a minibatch is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Purpose {
    /// Held-out entries are set apart; dropout may thin the input.
    Train(Option<InputDropout>),
    /// As for training, without dropout.
    Validate,
    /// Every entry is input: nothing is held out.
    Impute,
}

/// Gathers minibatches from a store. Plain loops on one thread: it runs beside the training step.
#[derive(Debug)]
pub struct Builder<'a> {
    store: &'a Store,
    /// For every column of the store the network's feature, or [`Builder::NO_FEATURE`].
    features: &'a [u32],
    n_features: usize,
    cell_totals: &'a [f64],
    lookup: Lookup,
    holdout: Option<Holdout>,
    row: RowEntries,
    kept: RowMajor,
    hidden: RowMajor,
    cursor: Vec<usize>,
}

/// Entries in the order of the samples.
#[derive(Debug, Default)]
struct RowMajor {
    ends: Vec<usize>,
    features: Vec<u32>,
    values: Vec<f32>,
}

impl<'a> Builder<'a> {
    /// Marks a column that the network does not know.
    pub const NO_FEATURE: u32 = u32::MAX;

    /// `features` maps every column of `store` to one of the network's `n_features`, or to
    /// [`Builder::NO_FEATURE`].
    pub fn new(
        store: &'a Store,
        features: &'a [u32],
        n_features: usize,
        transform: Transform,
        holdout: Option<Holdout>,
    ) -> Self {
        assert_eq!(features.len(), store.n_cols(), "one feature for every column");
        Self {
            store,
            features,
            n_features,
            cell_totals: &store.summary().cell_sums,
            lookup: Lookup::new(transform),
            holdout,
            row: RowEntries::default(),
            kept: RowMajor::default(),
            hidden: RowMajor::default(),
            cursor: Vec::new(),
        }
    }

    /// Gathers `samples` (rows of the store) into `out`, whose allocations are reused.
    ///
    /// # Errors
    /// When the store was changed by another program.
    pub fn build(&mut self, samples: &[u32], purpose: Purpose, out: &mut Minibatch) -> Result<()> {
        self.kept.clear();
        self.hidden.clear();
        for &sample in samples {
            self.row.clear();
            self.store.read_row(sample as usize, &mut self.row)?;
            self.add_row(sample, purpose);
        }
        out.samples.clear();
        out.samples.extend_from_slice(samples);
        let dropout = match purpose {
            Purpose::Train(dropout) => dropout,
            Purpose::Validate | Purpose::Impute => None,
        };
        out.arrange(&self.kept, &self.hidden, self.n_features, dropout, &mut self.cursor);
        Ok(())
    }

    /// Sorts the entries of the row read last into the kept and the hidden ones.
    fn add_row(&mut self, sample: u32, purpose: Purpose) {
        let by_cell = self.store.major() == Major::Cells;
        let holdout = if purpose == Purpose::Impute { None } else { self.holdout };
        let row_cell_key = holdout.filter(|_| by_cell).map(|h| h.cell_key(u64::from(sample)));
        for (&column, &value) in self.row.indices.iter().zip(&self.row.values) {
            let feature = self.features[column as usize];
            if feature == Self::NO_FEATURE {
                continue;
            }
            let cell = if by_cell { sample } else { column };
            let gene = if by_cell { column } else { sample };
            let hidden = holdout
                .is_some_and(|h| h.hides(row_cell_key.unwrap_or_else(|| h.cell_key(u64::from(cell))), gene));
            let rows = if hidden { &mut self.hidden } else { &mut self.kept };
            rows.features.push(feature);
            rows.values.push(self.lookup.forward(value, self.cell_totals[cell as usize]));
        }
        self.kept.ends.push(self.kept.features.len());
        self.hidden.ends.push(self.hidden.features.len());
    }
}

impl RowMajor {
    fn clear(&mut self) {
        self.ends.clear();
        self.features.clear();
        self.values.clear();
    }
}

/// Counting sort of the entries by feature; within a feature samples stay in order.
fn sort_by_feature(rows: &RowMajor, n_features: usize, cursor: &mut Vec<usize>, out: &mut FeatureMajor) {
    out.indptr.clear();
    out.indptr.resize(n_features + 1, 0);
    for &feature in &rows.features {
        out.indptr[feature as usize + 1] += 1;
    }
    for feature in 0..n_features {
        out.indptr[feature + 1] += out.indptr[feature];
    }
    cursor.clear();
    cursor.extend_from_slice(&out.indptr[..n_features]);
    out.samples.resize(rows.features.len(), 0);
    out.values.resize(rows.features.len(), 0.0);
    let mut begin = 0;
    for (sample, &end) in (0_u32..).zip(&rows.ends) {
        for entry in begin..end {
            let slot = &mut cursor[rows.features[entry] as usize];
            out.samples[*slot] = sample;
            out.values[*slot] = rows.values[entry];
            *slot += 1;
        }
        begin = end;
    }
}

/// Inverted dropout of the inputs, keyed by (seed, epoch, sample, feature).
fn drop_inputs(dropout: InputDropout, out: &mut Minibatch) {
    let keys: Vec<u64> = out
        .samples
        .iter()
        .map(|&sample| row_key(dropout.seed, 0, dropout.epoch, u64::from(sample)))
        .collect();
    let scale = dropout.keep.recip();
    for (feature, span) in (0_u32..).zip(out.targets.indptr.windows(2)) {
        for entry in span[0]..span[1] {
            let key = keys[out.targets.samples[entry] as usize];
            out.inputs[entry] *= if kept(key, feature, dropout.keep) { scale } else { 0.0 };
        }
    }
}

/// Cuts the features into blocks and sorts each block's inputs by sample, leaving dropped ones out.
fn block_inputs(cursor: &mut Vec<usize>, out: &mut Minibatch) {
    let (n_samples, n_features) = (out.n_samples(), out.n_features());
    out.blocks.clear();
    out.input_indptr.clear();
    out.input_features.clear();
    out.input_values.clear();
    for start in (0..n_features).step_by(Minibatch::FEATURE_BLOCK) {
        let features = start..(start + Minibatch::FEATURE_BLOCK).min(n_features);
        let entries = out.targets.indptr[features.start]..out.targets.indptr[features.end];
        let base = out.input_features.len();
        cursor.clear();
        cursor.resize(n_samples + 1, 0);
        for entry in entries {
            cursor[out.targets.samples[entry] as usize + 1] += usize::from(out.inputs[entry] != 0.0);
        }
        cursor[0] = base;
        for sample in 0..n_samples {
            cursor[sample + 1] += cursor[sample];
        }
        let first_offset = out.input_indptr.len();
        out.input_indptr.extend_from_slice(cursor);
        out.input_features.resize(cursor[n_samples], 0);
        out.input_values.resize(cursor[n_samples], 0.0);
        for (local, feature) in (0_u32..).zip(features.clone()) {
            for entry in out.targets.indptr[feature]..out.targets.indptr[feature + 1] {
                if out.inputs[entry] != 0.0 {
                    let slot = &mut cursor[out.targets.samples[entry] as usize];
                    out.input_features[*slot] = local;
                    out.input_values[*slot] = out.inputs[entry];
                    *slot += 1;
                }
            }
        }
        out.blocks.push(FeatureBlock { features, indptr: first_offset..out.input_indptr.len() });
    }
}

/// Deals the blocks to tasks of about equal cost.
fn deal_tasks(out: &mut Minibatch) {
    let n_blocks = out.blocks.len();
    let n_tasks = Minibatch::max_tasks(out.n_features());
    let total = out.targets.nnz() + ENTRIES_PER_FEATURE * out.n_features();
    out.tasks.clear();
    let mut start = 0;
    for task in 0..n_tasks {
        let goal = total * (task + 1) / n_tasks;
        let mut stop = start;
        while stop < n_blocks {
            let end = out.blocks[stop].features.end;
            let cost_so_far = out.targets.indptr[end] + ENTRIES_PER_FEATURE * end;
            if stop > start && cost_so_far > goal {
                break;
            }
            stop += 1;
        }
        if task + 1 == n_tasks {
            stop = n_blocks;
        }
        if stop > start {
            out.tasks.push(start..stop);
        }
        start = stop;
    }
}
