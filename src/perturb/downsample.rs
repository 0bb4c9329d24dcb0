//! Thinning out molecules: shallower sequencing of the same cells.

use std::path::Path;

use super::draw::{Coin, choose};
use super::rows::Rows;
use super::written::{Counter, Written};
use super::{Setup, cell_store, check_counts, check_format, check_share, content, record};
use crate::error::{Error, Result};
use crate::io::Source;
use crate::matrix::RowBlock;
use crate::output::{Format, MatrixFile, write_atomically};
use crate::random::{Purpose, generator};
use crate::store::{Prepared, RowEntries, Summary};

/// How many molecules stay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// Each with this probability (`--fraction`).
    Fraction(f64),
    /// So many of every cell, or all of its molecules if it has fewer (`--per-cell`).
    PerCell(u64),
    /// So many of the whole matrix (`--total`).
    Total(u64),
}

/// How to thin out.
#[derive(Clone, Debug)]
pub struct DownsampleOptions {
    /// How many molecules stay.
    pub amount: Amount,
    /// Seed and output.
    pub setup: Setup,
}

/// What was left.
#[derive(Clone, Debug, serde::Serialize)]
pub struct DownsampleReport {
    /// Cells in the file.
    pub n_cells: usize,
    /// Genes in the file.
    pub n_genes: usize,
    /// Entries of the input.
    pub input_nnz: u64,
    /// Molecules of the input.
    pub input_molecules: u64,
    /// Cells that have fewer molecules than every cell was to keep, and kept all of them.
    pub smaller_cells: usize,
    /// The thinned matrix.
    #[serde(flatten)]
    pub output: Written,
}

impl Default for DownsampleOptions {
    fn default() -> Self {
        Self { amount: Amount::Fraction(1.0), setup: Setup::default() }
    }
}

impl Amount {
    /// Refuses a share that is none.
    ///
    /// # Errors
    /// Names the option.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Fraction(share) => {
                check_share("--fraction", share, "from 0 to 1", |share| (0.0..=1.0).contains(&share))
            }
            Self::PerCell(_) | Self::Total(_) => Ok(()),
        }
    }

    fn option(self) -> (&'static str, String) {
        match self {
            Self::Fraction(share) => ("fraction", share.to_string()),
            Self::PerCell(n) => ("per_cell", n.to_string()),
            Self::Total(n) => ("total", n.to_string()),
        }
    }
}

/// What is drawn of a cell's molecules.
enum Draw {
    Tosses(Coin),
    /// So many of each cell.
    Numbers(Vec<u64>),
}

impl Draw {
    fn new(amount: Amount, seed: u64, summary: &Summary) -> Result<Self> {
        amount.check()?;
        let totals = cell_totals(summary);
        match amount {
            Amount::Fraction(share) => Ok(Self::Tosses(Coin::new(share))),
            Amount::PerCell(n) => Ok(Self::Numbers(totals.into_iter().map(|total| total.min(n)).collect())),
            Amount::Total(n) => {
                let all: u64 = totals.iter().sum();
                if n > all {
                    return Err(Error::Usage {
                        problem: format!("--total {n} is more than the {all} molecules of the input"),
                        remedy: "give a lower number".into(),
                    });
                }
                let mut numbers = Vec::with_capacity(totals.len());
                choose(&totals, n, &mut generator(seed, Purpose::CellTotals, 0), &mut numbers);
                Ok(Self::Numbers(numbers))
            }
        }
    }

    /// Appends what is left of a cell to `out`.
    fn thin(&self, seed: u64, cell: usize, entries: &RowEntries<f64>, out: &mut RowBlock) {
        let mut generator = generator(seed, Purpose::Molecules, cell as u64);
        let counts = entries.values.iter().map(|&value| to_count(value));
        let mut push = |gene: u32, left: u64| {
            if left > 0 {
                out.push(gene, left as f64);
            }
        };
        match self {
            Self::Tosses(coin) => {
                for (&gene, count) in entries.indices.iter().zip(counts) {
                    push(gene, coin.toss(count, &mut generator));
                }
            }
            Self::Numbers(numbers) => {
                let mut left = Vec::with_capacity(entries.indices.len());
                choose(&counts.collect::<Vec<_>>(), numbers[cell], &mut generator, &mut left);
                entries.indices.iter().zip(left).for_each(|(&gene, left)| push(gene, left));
            }
        }
    }
}

/// A whole number of molecules.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers below 2^53")]
pub(super) fn to_count(value: f64) -> u64 {
    value as u64
}

/// The molecules of every cell.
fn cell_totals(summary: &Summary) -> Vec<u64> {
    summary.cell_sums.iter().map(|&sum| to_count(sum)).collect()
}

/// Writes what is left of the counts of `source`, made available by `prepared` with rows of cells, to `path`. `progress` is
/// told the step and the entries it has gone through since it was called last.
///
/// # Errors
/// When the values are no counts, there are fewer molecules than are to stay, or writing fails.
pub fn downsample(
    source: &dyn Source,
    prepared: &Prepared,
    options: &DownsampleOptions,
    path: &Path,
    progress: &dyn Fn(&'static str, u64),
) -> Result<DownsampleReport> {
    let format = Format::of(path)?;
    let store = cell_store(prepared);
    let summary = store.summary();
    check_counts(source, store)?;
    check_format(source, store, format, "choose a name for --out that ends in .h5ad")?;
    let draw = Draw::new(options.amount, options.setup.seed, summary)?;
    let record = record("downsample", source, vec![options.amount.option()], &options.setup);
    let rows = Rows { store, block_entries: options.setup.block_entries };
    let counter = write_atomically(path, format, options.setup.force, |temporary| {
        let mut file = MatrixFile::create(temporary, format, content(source, summary, &record))?;
        let mut counter = Counter::new(store.n_cols());
        rows.rewrite(
            1,
            |cell, entries, matrices| draw.thin(options.setup.seed, cell, entries, &mut matrices[0]),
            |matrices| {
                counter.add(&matrices[0], summary);
                file.write_rows(0, &matrices[0])
            },
            &|n| progress("downsampling", n),
        )?;
        file.finish()?;
        Ok(counter)
    })?;
    let totals = cell_totals(summary);
    let smaller_cells = match options.amount {
        Amount::PerCell(n) => totals.iter().filter(|&&total| total < n).count(),
        Amount::Fraction(_) | Amount::Total(_) => 0,
    };
    Ok(DownsampleReport {
        n_cells: store.n_rows(),
        n_genes: store.n_cols(),
        input_nnz: summary.tally.nnz,
        input_molecules: totals.iter().sum(),
        smaller_cells,
        output: counter.finish(path, format, summary)?,
    })
}
