//! Molecular cross-validation: every molecule goes to one of two matrices.
//!
//! [Batson et al. 2019](https://doi.org/10.1101/786269). The denoising task of Open Problems splits so, with a fraction of
//! 0.9 and no overlap: a binomial number of every entry's molecules is for training, the rest for testing. It then leaves out
//! the genes of which no molecule is for training; here the axes stay.

use std::path::Path;

use super::downsample::to_count;
use super::draw::Coin;
use super::rows::Rows;
use super::written::{Counter, Written};
use super::{Setup, cell_store, check_counts, check_format, check_share, content, record};
use crate::error::Result;
use crate::io::Source;
use crate::output::{Format, MatrixFile, prepare, publish_together};
use crate::random::{Purpose, generator};
use crate::store::Prepared;

/// How to split.
#[derive(Clone, Debug)]
pub struct SplitOptions {
    /// The probability of a molecule to be for training.
    pub fraction: f64,
    /// Seed and output.
    pub setup: Setup,
}

/// What went where.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SplitReport {
    /// Cells in each of the files.
    pub n_cells: usize,
    /// Genes in each of the files.
    pub n_genes: usize,
    /// Entries of the input.
    pub input_nnz: u64,
    /// The molecules for training.
    pub train: Written,
    /// The other molecules.
    pub test: Written,
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self { fraction: 0.9, setup: Setup::default() }
    }
}

impl SplitOptions {
    /// Refuses a fraction that leaves nothing for one side.
    ///
    /// # Errors
    /// Names the option.
    pub fn check(&self) -> Result<()> {
        check_share("--fraction", self.fraction, "between 0 and 1, such as 0.9", |share| {
            share > 0.0 && share < 1.0
        })
    }
}

/// Writes the molecules of `source`, made available by `prepared` with rows of cells, to two files, which get their names
/// together. `progress` is told the step and the entries it has gone through since it was called last.
///
/// # Errors
/// When the values are no counts, or writing fails.
pub fn split(
    source: &dyn Source,
    prepared: &Prepared,
    options: &SplitOptions,
    [train, test]: [&Path; 2],
    progress: &dyn Fn(&'static str, u64),
) -> Result<SplitReport> {
    options.check()?;
    let formats = [Format::of(train)?, Format::of(test)?];
    let store = cell_store(prepared);
    let summary = store.summary();
    check_counts(source, store)?;
    for format in formats {
        check_format(source, store, format, "choose names for --train and --test that end in .h5ad")?;
    }
    let coin = Coin::new(options.fraction);
    let records = ["train", "test"].map(|part| {
        let options_given = vec![("part", part.to_owned()), ("fraction", options.fraction.to_string())];
        record("split", source, options_given, &options.setup)
    });
    let create = |path: &Path, side: usize| {
        MatrixFile::create(path, formats[side], content(source, summary, &records[side]))
    };
    let rows = Rows { store, block_entries: options.setup.block_entries };
    let write = |train: &Path, test: &Path| {
        let mut files = [create(train, 0)?, create(test, 1)?];
        let mut counters = [0, 1].map(|_| Counter::new(store.n_cols()));
        rows.rewrite(
            2,
            |cell, entries, matrices| {
                let mut generator = generator(options.setup.seed, Purpose::Molecules, cell as u64);
                for (&gene, &value) in entries.indices.iter().zip(&entries.values) {
                    let count = to_count(value);
                    let train = coin.toss(count, &mut generator);
                    for (matrix, molecules) in matrices.iter_mut().zip([train, count - train]) {
                        if molecules > 0 {
                            matrix.push(gene, molecules as f64);
                        }
                    }
                }
            },
            |matrices| {
                for ((matrix, file), counter) in matrices.iter().zip(&mut files).zip(&mut counters) {
                    counter.add(matrix, summary);
                    file.write_rows(0, matrix)?;
                }
                Ok(())
            },
            &|n| progress("splitting", n),
        )?;
        files.into_iter().try_for_each(MatrixFile::finish)?;
        Ok(counters)
    };
    let (train_file, (test_file, counters)) =
        prepare(train, formats[0], options.setup.force, |train_path| {
            prepare(test, formats[1], options.setup.force, |test_path| write(train_path, test_path))
        })?;
    publish_together([train_file, test_file])?;
    let [train_counter, test_counter] = counters;
    Ok(SplitReport {
        n_cells: store.n_rows(),
        n_genes: store.n_cols(),
        input_nnz: summary.tally.nnz,
        train: train_counter.finish(train, formats[0], summary)?,
        test: test_counter.finish(test, formats[1], summary)?,
    })
}
