//! From rows of entries to the two orders of a minibatch.
//!
//! A row is sorted by feature, so its entries of one block of features are a run: the sample-major block is a copy
//! of runs, and its transpose scatters into a region that fits the L1 cache (1,500 entries at 256 x 20,000 and 5%).
//! Gathering such a minibatch takes 2.3 ms so, and 3.7 with a counting sort over all features and another back
//! into blocks (one thread, no dropout, one run of `benches/minibatch.rs`).

use super::batch::{FeatureBlock, FeatureMajor, Minibatch};

const FEATURE_BLOCK: usize = Minibatch::FEATURE_BLOCK;

/// Runs are copied in pieces of this many entries, whatever their length, since the branch on the exact length is
/// the dear part: runs of one minibatch have 6 entries on average at 5%. Pieces of 8 are as fast. What lies beyond a
/// run is overwritten by the next one, and arrays that are read or written so are longer by a piece.
const PIECE: usize = 16;

/// Marks a dropped entry among the codes.
const DROPPED: u8 = 1 << 7;
const _: () =
    assert!(FEATURE_BLOCK <= DROPPED as usize, "a feature's place in its block leaves the bit free");

/// Entries row by row, features increasing within a row. Five bytes an entry, not the twelve of feature, value and
/// input: these arrays compete with the minibatch for the L2 cache.
#[derive(Debug, Default)]
pub(super) struct Rows {
    n_samples: usize,
    n_features: usize,
    /// What the inputs that are not dropped are multiplied by.
    scale: f32,
    /// Entries of the rows that have ended; there is room for more.
    nnz: usize,
    /// Place of the feature in its block, and whether the input is [`DROPPED`].
    codes: Vec<u8>,
    values: Vec<f32>,
    /// Where the run of a block and sample ends, `n_blocks x n_samples`; 0 where there is none.
    ends: Vec<usize>,
    /// Where the next run of a sample begins; one for every row that has ended.
    begins: Vec<usize>,
    row: Row,
    block: Block,
}

/// What is needed of the row that is being added only.
#[derive(Debug, Default)]
struct Row {
    features: Vec<u32>,
    /// 0 where the input is dropped.
    mask: Vec<f32>,
    order: Vec<u64>,
}

/// What the transpose of one block needs beside the block itself, in the block's order.
#[derive(Debug, Default)]
struct Block {
    samples: Vec<u32>,
    values: Vec<f32>,
}

impl Rows {
    /// Forgets all rows; `n_samples` are to come, whose inputs are multiplied by `scale`.
    pub(super) fn start(&mut self, n_samples: usize, n_features: usize, scale: f32) {
        (self.n_samples, self.n_features, self.scale) = (n_samples, n_features, scale);
        self.nnz = 0;
        self.begins.clear();
        self.ends.clear();
        self.ends.resize(n_samples * n_features.div_ceil(FEATURE_BLOCK), 0);
    }

    /// Room for features and values of the next row, which has at most `len` entries.
    pub(super) fn room(&mut self, len: usize) -> (&mut [u32], &mut [f32]) {
        let end = self.nnz + len;
        grow(&mut self.codes, end + PIECE);
        grow(&mut self.values, end + PIECE);
        grow(&mut self.row.features, len);
        (&mut self.row.features[..len], &mut self.values[self.nnz..end])
    }

    /// Ends a row of the first `len` entries of the room. `drop(mask, features)` makes 0 of the ones in `mask`
    /// where an input is dropped.
    ///
    /// # Panics
    /// If a feature is not below `n_features`, or there was no room for `len` entries.
    pub(super) fn end_row(&mut self, len: usize, drop: impl FnOnce(&mut [f32], &[u32])) {
        let span = self.nnz..self.nnz + len;
        let (features, values) = (&mut self.row.features[..len], &mut self.values[span.clone()]);
        if !is_sorted(features) {
            sort(features, values, &mut self.row.order);
        }
        debug_assert!(features.windows(2).all(|pair| pair[0] < pair[1]), "a feature comes twice in a row");
        let last = features.last().copied();
        assert!(last.is_none_or(|last| (last as usize) < self.n_features), "feature {last:?} is unknown");
        fill(&mut self.row.mask, 1.0, len);
        drop(&mut self.row.mask, features);
        let codes = self.codes[span.clone()].iter_mut();
        for ((code, &feature), &mask) in codes.zip(&*features).zip(&self.row.mask) {
            #[expect(clippy::cast_possible_truncation, reason = "a block is small")]
            let place = (feature as usize % FEATURE_BLOCK) as u8;
            *code = if mask == 0.0 { place | DROPPED } else { place };
        }
        let sample = self.begins.len();
        for (&feature, end) in features.iter().zip(span.start + 1..) {
            self.ends[feature as usize / FEATURE_BLOCK * self.n_samples + sample] = end;
        }
        self.begins.push(span.start);
        self.nnz = span.end;
    }

    /// Fills targets, inputs and blocks of `out`.
    pub(super) fn arrange(&mut self, out: &mut Minibatch) {
        let (n_samples, n_features, nnz) = (self.n_samples, self.n_features, self.nnz);
        let n_blocks = n_features.div_ceil(FEATURE_BLOCK);
        out.blocks.clear();
        out.input_indptr.resize(n_blocks * (n_samples + 1), 0);
        grow(&mut out.input_features, nnz + PIECE);
        grow(&mut out.input_values, nnz + PIECE);
        out.inputs.resize(nnz, 0.0);
        out.targets.indptr.resize(n_features + 1, 0);
        out.targets.indptr[0] = 0;
        out.targets.samples.resize(nnz, 0);
        out.targets.values.resize(nnz, 0.0);
        for number in 0..n_blocks {
            let start = number * FEATURE_BLOCK;
            let features = start..(start + FEATURE_BLOCK).min(n_features);
            let indptr = number * (n_samples + 1)..(number + 1) * (n_samples + 1);
            let block = FeatureBlock { features, indptr };
            self.copy_runs(number, &block, out);
            self.block.transpose(&block, out);
            out.blocks.push(block);
        }
    }

    /// Copies the runs of block `number`, sample by sample.
    fn copy_runs(&mut self, number: usize, block: &FeatureBlock, out: &mut Minibatch) {
        let ends = &self.ends[number * self.n_samples..][..self.n_samples];
        let begins = &mut self.begins[..];
        let nnz: usize = ends.iter().zip(&*begins).map(|(&end, &begin)| end.max(begin) - begin).sum();
        grow(&mut self.block.samples, nnz + PIECE);
        grow(&mut self.block.values, nnz + PIECE);
        let offsets = &mut out.input_indptr[block.indptr.clone()];
        let base = out.targets.indptr[block.features.start];
        let scale = self.scale;
        let mut at = 0;
        offsets[0] = base;
        for (((sample, begin), &end), offset) in (0_u32..).zip(begins).zip(ends).zip(&mut offsets[1..]) {
            let end = end.max(*begin);
            for piece in (0..end - *begin).step_by(PIECE) {
                let (from, to) = (*begin + piece, at + piece);
                let (codes, values) = (piece_of(&self.codes, from), piece_of(&self.values, from));
                let inputs =
                    std::array::from_fn(|i| if codes[i] & DROPPED == 0 { values[i] * scale } else { 0.0 });
                set_piece(&mut out.input_features, base + to, codes.map(|code| u32::from(code & !DROPPED)));
                set_piece(&mut out.input_values, base + to, inputs);
                set_piece(&mut self.block.values, to, values);
                set_piece(&mut self.block.samples, to, [sample; PIECE]);
            }
            at += end - *begin;
            *begin = end;
            *offset = base + at;
        }
    }
}

impl Block {
    /// Sorts the entries of `block`, in `out` and here, by feature: samples stay in order.
    fn transpose(&self, block: &FeatureBlock, out: &mut Minibatch) {
        let offsets = &out.input_indptr[block.indptr.clone()];
        let entries = offsets[0]..offsets[offsets.len() - 1];
        let nnz = entries.len();
        let local = &out.input_features[entries.clone()];
        let mut next = [0; FEATURE_BLOCK];
        for &feature in local {
            next[feature as usize % FEATURE_BLOCK] += 1;
        }
        let mut begin = 0;
        let indptr = &mut out.targets.indptr[block.features.start + 1..=block.features.end];
        for (next, offset) in next.iter_mut().zip(indptr) {
            (*next, begin) = (begin, begin + *next);
            *offset = entries.start + begin;
        }
        let from = (&out.input_values[entries.clone()], &self.values[..nnz], &self.samples[..nnz]);
        let inputs = &mut out.inputs[entries.clone()];
        let values = &mut out.targets.values[entries.clone()];
        let samples = &mut out.targets.samples[entries];
        for (((&feature, &input), &value), &sample) in local.iter().zip(from.0).zip(from.1).zip(from.2) {
            let slot = &mut next[feature as usize % FEATURE_BLOCK];
            inputs[*slot] = input;
            values[*slot] = value;
            samples[*slot] = sample;
            *slot += 1;
        }
    }
}

fn grow<T: Copy + Default>(values: &mut Vec<T>, len: usize) {
    if values.len() < len {
        values.resize(len, T::default());
    }
}

/// Makes `values` as many times `value` as `len` says.
pub(super) fn fill(values: &mut Vec<f32>, value: f32, len: usize) {
    values.clear();
    values.resize(len, value);
}

#[inline(always)]
fn piece_of<T: Copy + Default>(values: &[T], at: usize) -> [T; PIECE] {
    let mut piece = [T::default(); PIECE];
    piece.copy_from_slice(&values[at..at + PIECE]);
    piece
}

#[inline(always)]
fn set_piece<T: Copy>(values: &mut [T], at: usize, piece: [T; PIECE]) {
    values[at..at + PIECE].copy_from_slice(&piece);
}

/// Looks at every entry, which vectorises: rows of a store are sorted.
fn is_sorted(features: &[u32]) -> bool {
    let next = features.iter().skip(1);
    !features.iter().zip(next).fold(false, |decreases, (a, b)| decreases | (a > b))
}

/// Sorts a row by feature, as must be where the network's order of features is not the store's. A feature comes
/// once in a row, so there are no ties whose order would matter.
#[expect(clippy::cast_possible_truncation, reason = "the halves of a word are meant")]
fn sort(features: &mut [u32], values: &mut [f32], order: &mut Vec<u64>) {
    order.clear();
    order.extend(features.iter().zip(&*values).map(|(&f, v)| u64::from(f) << 32 | u64::from(v.to_bits())));
    order.sort_unstable();
    for ((feature, value), &entry) in features.iter_mut().zip(values).zip(&*order) {
        (*feature, *value) = ((entry >> 32) as u32, f32::from_bits(entry as u32));
    }
}

/// Held-out entries, row by row, in any order within a row.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    ends: Vec<usize>,
    nnz: usize,
    /// `nnz` entries, then room.
    features: Vec<u32>,
    values: Vec<f32>,
    cursor: Vec<usize>,
}

impl Hidden {
    /// Forgets all rows.
    pub(super) fn start(&mut self) {
        self.ends.clear();
        self.nnz = 0;
    }

    /// Room for features and values of the next row, which has at most `len` entries.
    pub(super) fn room(&mut self, len: usize) -> (&mut [u32], &mut [f32]) {
        let end = self.nnz + len;
        grow(&mut self.features, end);
        grow(&mut self.values, end);
        (&mut self.features[self.nnz..end], &mut self.values[self.nnz..end])
    }

    /// Ends a row of the first `len` entries of the room.
    pub(super) fn end_row(&mut self, len: usize) {
        self.nnz += len;
        self.ends.push(self.nnz);
    }

    /// Counting sort of the entries by feature; within a feature samples stay in order. They are too few for runs.
    pub(super) fn sort_by_feature(&mut self, n_features: usize, out: &mut FeatureMajor) {
        out.indptr.clear();
        out.indptr.resize(n_features + 1, 0);
        for &feature in &self.features[..self.nnz] {
            out.indptr[feature as usize + 1] += 1;
        }
        for feature in 0..n_features {
            out.indptr[feature + 1] += out.indptr[feature];
        }
        self.cursor.clear();
        self.cursor.extend_from_slice(&out.indptr[..n_features]);
        out.samples.resize(self.nnz, 0);
        out.values.resize(self.nnz, 0.0);
        let mut begin = 0;
        for (sample, &end) in (0_u32..).zip(&self.ends) {
            for entry in begin..end {
                let slot = &mut self.cursor[self.features[entry] as usize];
                out.samples[*slot] = sample;
                out.values[*slot] = self.values[entry];
                *slot += 1;
            }
            begin = end;
        }
    }
}
