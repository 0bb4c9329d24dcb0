//! The first pass: everything that is summed up entry by entry.

use std::ops::Range;

use super::groups::{Errors, Grouping, PairSample};
use super::moments::Moments;
use super::openproblems::Losses;
use super::rows::{Chunk, Matrices, Row};
use super::spearman::Pair;
use crate::error::Result;
use crate::parallel;

/// A count below this is taken for a zero.
const HALF: f64 = 0.5;
/// Entries that one task sums up, and the fewest and most cells it takes.
const TASK_ENTRIES: usize = 1 << 16;
const TASK_CELLS: (usize, usize) = (16, 256);
/// Tasks whose sums are held before they are added up, by their bytes.
const TASKS_BYTES: usize = 48 << 20;
const MOST_TASKS: usize = 32;

/// How the entries are looked at.
#[derive(Debug)]
pub(super) struct Spec<'a> {
    pub(super) grouping: &'a Grouping,
    pub(super) pairs: PairSample,
    /// Molecules of test to those of the input, where there are test counts.
    pub(super) test_ratio: f64,
}

/// What is known of a gene.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gene {
    /// Imputed against truth (or input), all entries, on the logarithmic scale.
    pub imputed: Moments,
    /// Input against truth.
    pub input: Moments,
    /// Imputed against truth where that is not 0.
    pub nonzero: Moments,
    /// Counts of input and truth.
    pub counts: Moments,
    /// Entries that are 0 (imputed: below half a count) in truth, input and imputed.
    pub zeros: [u64; 3],
}

/// Correlations and errors of one cell or gene; NaN where they are not defined.
#[derive(Clone, Copy, Debug)]
pub struct Scores {
    /// Imputed with truth, all entries.
    pub pearson: f64,
    /// Input with truth, all entries.
    pub pearson_input: f64,
    /// Imputed with truth where that is not 0.
    pub pearson_nonzero: f64,
    /// Standard deviation of imputed to that of truth.
    pub sd_ratio: f64,
    /// Standard deviation of input to that of truth.
    pub sd_ratio_input: f64,
    /// Root mean squared error of imputed, all entries.
    pub rmse: f64,
    /// That of the input.
    pub rmse_input: f64,
}

impl Scores {
    pub(super) fn new(imputed: &Moments, input: &Moments, nonzero: &Moments) -> Self {
        let known = |value: Option<f64>| value.unwrap_or(f64::NAN);
        Self {
            pearson: known(imputed.pearson()),
            pearson_input: known(input.pearson()),
            pearson_nonzero: known(nonzero.pearson()),
            sd_ratio: known(imputed.sd_ratio()),
            sd_ratio_input: known(input.sd_ratio()),
            rmse: known(imputed.rmse()),
            rmse_input: known(input.rmse()),
        }
    }
}

/// The mean of squares.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MeanSquare {
    pub(super) n: u64,
    sum: f64,
}

impl MeanSquare {
    #[inline]
    fn push(&mut self, error: f64) {
        self.n += 1;
        self.sum += error * error;
    }

    fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.sum += other.sum;
    }

    pub(super) fn mean(&self) -> Option<f64> {
        super::moments::finite(self.sum / self.n as f64)
    }
}

/// Sums over some cells.
#[derive(Debug)]
pub(super) struct Sums {
    pub(super) genes: Vec<Gene>,
    pub(super) cells: Vec<Scores>,
    /// Of the genes, once all cells are summed up.
    pub(super) gene_scores: Vec<Scores>,
    /// Against input and truth, over all entries and over those that are not 0 there.
    pub(super) mse: [[MeanSquare; 2]; 2],
    /// Imputed, observed and all entries that are not 0 in the truth; on the logarithmic scale and as counts.
    pub(super) kinds: [[Moments; 2]; 3],
    pub(super) groups: Vec<Errors>,
    /// Truth's zeros that stay below half a count, and exactly 0.
    pub(super) kept_zeros: [u64; 2],
    pub(super) negative: u64,
    /// Of imputed and of observed entries (imputed value and truth, on the logarithmic scale).
    pub(super) pairs: [Vec<Pair>; 2],
    pub(super) losses: Losses,
}

/// Places in [`Sums::kinds`] and [`Sums::pairs`].
pub(super) const IMPUTED: usize = 0;
pub(super) const OBSERVED: usize = 1;
pub(super) const NONZERO: usize = 2;

impl Sums {
    fn new(n_genes: usize, spec: &Spec<'_>) -> Self {
        Self {
            genes: vec![Gene::default(); n_genes],
            cells: Vec::new(),
            gene_scores: Vec::new(),
            mse: Default::default(),
            kinds: Default::default(),
            groups: spec.grouping.names().iter().map(|_| Errors::new()).collect(),
            kept_zeros: [0; 2],
            negative: 0,
            pairs: Default::default(),
            losses: Losses::default(),
        }
    }

    fn add(&mut self, other: &mut Self) {
        for (own, more) in self.genes.iter_mut().zip(&other.genes) {
            own.imputed.add(&more.imputed);
            own.input.add(&more.input);
            own.nonzero.add(&more.nonzero);
            own.counts.add(&more.counts);
            own.zeros.iter_mut().zip(more.zeros).for_each(|(own, more)| *own += more);
        }
        self.cells.append(&mut other.cells);
        for (own, more) in self.mse.iter_mut().flatten().zip(other.mse.iter().flatten()) {
            own.add(more);
        }
        for (own, more) in self.kinds.iter_mut().flatten().zip(other.kinds.iter().flatten()) {
            own.add(more);
        }
        self.groups.iter_mut().zip(&other.groups).for_each(|(own, more)| own.add(more));
        self.kept_zeros.iter_mut().zip(other.kept_zeros).for_each(|(own, more)| *own += more);
        self.negative += other.negative;
        self.pairs.iter_mut().zip(&mut other.pairs).for_each(|(own, more)| own.append(more));
        self.losses.add(&other.losses);
    }

    fn add_cell(&mut self, matrices: &Matrices<'_>, spec: &Spec<'_>, row: &Row) {
        let mut scores = [Moments::default(); 3];
        let input_row = matrices.input.rows[row.cell];
        let (pair_key, group_key) = (spec.pairs.cell_key(row.cell), spec.grouping.cell_key(input_row));
        for (gene, facts) in self.genes.iter_mut().enumerate() {
            let counts = [&row.truth, &row.input, &row.imputed].map(|side| side.counts[gene]);
            let [truth, input, imputed] = [&row.truth, &row.input, &row.imputed].map(|side| side.logs[gene]);
            facts.imputed.push(imputed, truth);
            facts.input.push(input, truth);
            facts.counts.push(counts[1], counts[0]);
            scores[0].push(imputed, truth);
            scores[1].push(input, truth);
            let is_zero = [counts[0] == 0.0, counts[1] == 0.0, counts[2] < HALF];
            for (zeros, is_zero) in facts.zeros.iter_mut().zip(is_zero) {
                *zeros += u64::from(is_zero);
            }
            for (side, reference) in [input, truth].into_iter().enumerate() {
                self.mse[side][0].push(imputed - reference);
                if !is_zero[1 - side] {
                    self.mse[side][1].push(imputed - reference);
                }
            }
            if is_zero[0] {
                self.kept_zeros[0] += u64::from(is_zero[2]);
                self.kept_zeros[1] += u64::from(counts[2] == 0.0);
            } else {
                facts.nonzero.push(imputed, truth);
                scores[2].push(imputed, truth);
                push_both(&mut self.kinds[NONZERO], (imputed, truth), (counts[2], counts[0]));
            }
            if is_zero[0] && is_zero[1] {
                continue;
            }
            let kind = if is_zero[1] { IMPUTED } else { OBSERVED };
            push_both(&mut self.kinds[kind], (imputed, truth), (counts[2], counts[0]));
            let column = matrices.genes.positions[1][gene];
            let group = spec.grouping.of(row.cell, gene, group_key, column, kind == IMPUTED);
            self.groups[group].push(imputed, truth);
            if spec.pairs.takes(pair_key, gene) {
                #[expect(clippy::cast_possible_truncation, reason = "ranks need no more")]
                self.pairs[kind].push((imputed as f32, truth as f32));
            }
        }
        self.cells.push(Scores::new(&scores[0], &scores[1], &scores[2]));
        self.negative += row.negative;
        if matrices.test.is_some() {
            self.losses.add_cell(&row.imputed.counts, &row.test, spec.test_ratio);
        }
    }
}

fn push_both(moments: &mut [Moments; 2], logs: (f64, f64), counts: (f64, f64)) {
    moments[0].push(logs.0, logs.1);
    moments[1].push(counts.0, counts.1);
}

/// Cells that one task sums up.
fn task_cells(n_genes: usize) -> usize {
    (TASK_ENTRIES / n_genes.max(1)).clamp(TASK_CELLS.0, TASK_CELLS.1)
}

/// Tasks whose sums are held at a time: a function of the data, so that they are added up in the same order on any
/// machine.
fn tasks_at_a_time(n_genes: usize) -> usize {
    (TASKS_BYTES / (n_genes * size_of::<Gene>()).max(1)).clamp(2, MOST_TASKS)
}

/// Bytes that the pass holds, beside the pairs.
pub(super) fn bytes(n_cells: usize, n_genes: usize) -> u64 {
    let sums = (tasks_at_a_time(n_genes) + 1) * n_genes * size_of::<Gene>();
    // They are kept for the tables.
    (sums + 2 * (n_cells + n_genes) * size_of::<Scores>()) as u64
}

/// Looks at every entry once.
///
/// # Errors
/// When a file was changed, or holds what its scale has no place for.
pub(super) fn run(matrices: &Matrices<'_>, spec: &Spec<'_>, progress: &dyn Fn(u64)) -> Result<Sums> {
    let n_genes = matrices.genes.len();
    let cells = task_cells(n_genes);
    let mut total = Sums::new(n_genes, spec);
    matrices.visit(cells * tasks_at_a_time(n_genes), &mut |chunk| {
        let parts =
            parallel::map(parallel::tiles(chunk.rows.len(), cells), |rows| sum(matrices, spec, chunk, rows));
        for part in parts {
            total.add(&mut part?);
        }
        progress(chunk.rows.len() as u64);
        Ok(())
    })?;
    let scores = |gene: &Gene| Scores::new(&gene.imputed, &gene.input, &gene.nonzero);
    total.gene_scores = total.genes.iter().map(scores).collect();
    Ok(total)
}

fn sum(matrices: &Matrices<'_>, spec: &Spec<'_>, chunk: &Chunk<'_>, rows: Range<usize>) -> Result<Sums> {
    let mut sums = Sums::new(matrices.genes.len(), spec);
    let mut row = matrices.row();
    for index in rows {
        matrices.read(chunk, index, &mut row)?;
        sums.add_cell(matrices, spec, &row);
    }
    Ok(sums)
}
